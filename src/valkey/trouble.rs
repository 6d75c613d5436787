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

fn trouble(error: &ServerError) -> Trouble {
    match error.code() {
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
