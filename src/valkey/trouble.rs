//! What Valkey's refusals mean for whoever asked.

use redis::{ServerError, Value};

/// Why a command was not done. None of these was: what Valkey refuses has had no effect.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Trouble {
    /// There is no memory for it.
    NoMemory,
    /// The script is not loaded.
    NoScript,
    /// It may be done soon, by the same server.
    Later,
    /// Another server of the cluster has it, or will have it soon.
    Moved,
    /// This server does not serve, or not any more: another one may, or this one later.
    Unfit(&'static str),
    /// Something else; the text is for the log.
    Other(String),
}

/// The answer, or what is wrong.
pub(super) fn check(answer: Value) -> Result<Value, Trouble> {
    match answer {
        Value::ServerError(error) => Err(trouble(&error)),
        answer => Ok(answer),
    }
}

/// The slot that another server has, when that is what is wrong: `MOVED 3999 127.0.0.1:6381`.
pub(super) fn moved_slot(error: &ServerError) -> Option<u16> {
    let details = error.details().filter(|_| error.code() == "MOVED")?;
    details.split(' ').next()?.parse().ok()
}

fn trouble(error: &ServerError) -> Trouble {
    // A script found out itself that a key of its topic is on its way. Scripts that look for keys
    // may be done again.
    let is_elsewhere = |details: &str| details.contains("non local key");
    match error.code() {
        _ if error.details().is_some_and(is_elsewhere) => Trouble::Moved,
        "OOM" => Trouble::NoMemory,
        "NOSCRIPT" => Trouble::NoScript,
        "NOREPLICAS" | "MISCONF" | "BUSY" => Trouble::Later,
        // What is being moved is waited for: it is a matter of moments.
        "MOVED" | "ASK" | "TRYAGAIN" => Trouble::Moved,
        "LOADING" => Trouble::Unfit("Valkey is loading its data"),
        "READONLY" => Trouble::Unfit("Valkey is a replica"),
        "MASTERDOWN" => Trouble::Unfit("Valkey has lost its primary"),
        "CLUSTERDOWN" => Trouble::Unfit("the Valkey cluster is down"),
        "NOAUTH" | "WRONGPASS" => Trouble::Unfit("Valkey refuses the credentials"),
        _ => Trouble::Other(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_say_what_to_do() {
        let trouble = |line: &str| {
            let answer = redis::parse_redis_value(format!("-{line}\r\n").as_bytes());
            check(answer.unwrap()).unwrap_err()
        };
        assert_eq!(trouble("MOVED 3999 127.0.0.1:6381"), Trouble::Moved);
        assert_eq!(trouble("ASK 3999 127.0.0.1:6381"), Trouble::Moved);
        let script = "ERR Script attempted to access a non local key in a cluster node script: x";
        assert_eq!(trouble(script), Trouble::Moved);
        assert_eq!(trouble("OOM command not allowed"), Trouble::NoMemory);
        let readonly = trouble("READONLY You can't write against a read only replica.");
        assert!(matches!(readonly, Trouble::Unfit(_)));
        assert!(matches!(trouble("ERR no such thing"), Trouble::Other(_)));
    }

    #[test]
    fn a_slot_that_has_moved_is_named() {
        for (line, slot) in [
            ("MOVED 3999 127.0.0.1:6381", Some(3_999)),
            ("MOVED x 127.0.0.1:6381", None),
            ("ASK 3999 127.0.0.1:6381", None),
        ] {
            let answer = redis::parse_redis_value(format!("-{line}\r\n").as_bytes());
            let Ok(Value::ServerError(error)) = answer else {
                panic!("{line} is an error");
            };
            assert_eq!(moved_slot(&error), slot, "{line}");
        }
    }
}
