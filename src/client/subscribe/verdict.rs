//! What the end of a connection means: whether to come back, and when.

use std::time::Duration;

use serde_json::Value;

use super::Stop;
use crate::client::failure::{Failure, FailureKind};
use crate::client::http::sentence;

/// Longest wait that a server may ask for.
const WAIT_MAX: Duration = Duration::from_secs(300);

/// What a close frame means (SPEC section 5). `told` is the code and sentence of the last error before it.
pub(super) fn of_close(
    code: u16,
    reason: &str,
    told: Option<&(String, String)>,
    was_there: bool,
) -> Stop {
    let failed = |kind, sentence: &str| Stop::Failed(Failure::new(kind, sentence));
    match code {
        4001 => failed(
            FailureKind::Denied,
            &format!("the credential holds no more ({reason})"),
        ),
        4003 => {
            let sentence = told.map_or("the credential does not allow it", |told| &told.1);
            failed(
                FailureKind::Denied,
                &format!("the server refuses: {sentence}"),
            )
        }
        4009 => failed(
            FailureKind::Failed,
            "the server has no memory for this connection",
        ),
        4010 => failed(
            FailureKind::Replaced,
            "another connection with the same client id has taken over",
        ),
        1000 => told.map_or_else(
            || again("the server has closed the connection", None),
            |(code, sentence)| of_error(code, sentence, was_there),
        ),
        1002 | 1003 | 1007 | 1009 => failed(
            FailureKind::Failed,
            &format!("the server refuses what was sent ({code} {reason})"),
        ),
        1001 => match wait(reason) {
            Some(after) => again("the server stops", Some(after)),
            None => again("the server has closed the connection", None),
        },
        4008 => again("the connection was too slow for the messages", None),
        4503 => again("the server stops", wait(reason)),
        _ => again(
            &format!("the server has closed the connection ({code} {reason})"),
            None,
        ),
    }
}

/// What an error means that answers a subscribe. One that was right once is right, and what is wrong passes.
pub(super) fn of_error(code: &str, sentence: &str, was_there: bool) -> Stop {
    let kind = match code {
        "RATE_LIMIT_EXCEEDED" => return again(sentence, Some(Duration::from_secs(1))),
        "UNAUTHORIZED" | "FORBIDDEN" => FailureKind::Denied,
        _ if was_there => return again(sentence, None),
        _ => FailureKind::Failed,
    };
    Stop::Failed(Failure::new(
        kind,
        format!("the server refuses: {sentence}"),
    ))
}

/// What an answer means that is no upgrade.
pub(super) fn of_status(status: u16, retry_after: Option<u64>, body: &[u8]) -> Stop {
    let sentence = sentence(status, body);
    match status {
        401 | 403 => of_error("FORBIDDEN", &sentence, false),
        408 | 429 | 500 | 502..=504 => {
            let after = retry_after.map(|it| Duration::from_secs(it).min(WAIT_MAX));
            again(&format!("the server is busy: {sentence}"), after)
        }
        _ => Stop::Failed(Failure::new(
            FailureKind::Failed,
            format!("there is no WebSocket of a Pulsar Proxy at this URL: {sentence}"),
        )),
    }
}

pub(super) fn again(why: &str, after: Option<Duration>) -> Stop {
    let why = why.to_owned();
    Stop::Again { why, after }
}

fn wait(reason: &str) -> Option<Duration> {
    let told: Value = serde_json::from_str(reason).ok()?;
    let millis = told["reconnect_after_ms"].as_u64()?;
    Some(Duration::from_millis(millis).min(WAIT_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_say_whether_to_come_back() {
        let told = ("LIMIT_EXCEEDED".to_owned(), "full".to_owned());
        for (code, reason, told, kind) in [
            (4001, "expired", None, Some(FailureKind::Denied)),
            (4003, "forbidden", None, Some(FailureKind::Denied)),
            (4009, "limit", None, Some(FailureKind::Failed)),
            (4010, "replaced", None, Some(FailureKind::Replaced)),
            (1000, "", Some(&told), Some(FailureKind::Failed)),
            (1009, "too_big", None, Some(FailureKind::Failed)),
            (1000, "", None, None),
            (1001, "idle", None, None),
            (1006, "", None, None),
            (4008, "lagging", None, None),
            (4029, "", None, None),
            (4503, "", None, None),
        ] {
            match of_close(code, reason, told, false) {
                Stop::Failed(failure) => assert_eq!(Some(failure.kind()), kind, "{code}"),
                Stop::Again { after, .. } => assert_eq!((None, after), (kind, None), "{code}"),
                Stop::Done => panic!("{code}"),
            }
        }
    }

    #[test]
    fn what_was_subscribed_to_once_is_tried_again_unless_it_is_forbidden() {
        for (code, was_there, comes_back) in [
            ("LIMIT_EXCEEDED", true, true),
            ("LIMIT_EXCEEDED", false, false),
            ("RATE_LIMIT_EXCEEDED", false, true),
            ("FORBIDDEN", true, false),
            ("UNAUTHORIZED", true, false),
        ] {
            let told = (code.to_owned(), "no".to_owned());
            for stop in [
                of_error(code, "no", was_there),
                of_close(1000, "", Some(&told), was_there),
            ] {
                let is_again = matches!(stop, Stop::Again { .. });
                assert_eq!(is_again, comes_back, "{code} {was_there}");
            }
        }
    }

    #[test]
    fn a_server_that_stops_says_when_to_come_back() {
        for (code, reason, millis) in [
            (1001, "{\"reconnect_after_ms\":1234}", 1_234),
            (4503, "{\"reconnect_after_ms\":999999999}", 300_000),
        ] {
            let Stop::Again { after, .. } = of_close(code, reason, None, false) else {
                panic!("{code}");
            };
            assert_eq!(after, Some(Duration::from_millis(millis)));
        }
        let busy = of_status(503, Some(2), b"");
        assert!(matches!(busy, Stop::Again { after: Some(it), .. } if it.as_secs() == 2));
        assert!(matches!(of_status(404, None, b"<html>"), Stop::Failed(_)));
    }
}
