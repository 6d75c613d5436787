//! The JSON of what the server says: WebSocket messages (SPEC section 5) and bodies of answers
//! (SPEC sections 3 and 10). Every function appends; timestamps come as text.

mod acked;
mod polled;

use crate::api::command::CommandError;
use crate::api::json::{append_id, append_joined, append_number, append_string, append_strings};
use crate::topic::{Gap, GapReason, MessageId};

pub use acked::{AckError, acked};
pub use polled::{NextOffset, PollAnswer, poll_stats};

/// Where a subscription to one topic starts, for clients that asked to be told.
#[derive(Clone, Copy, Debug)]
pub struct Resume<'a> {
    /// Name of the topic.
    pub topic: &'a str,
    /// Id to resume from.
    pub position: MessageId,
    /// Nothing behind the place asked for is lost.
    pub recovered: bool,
}

/// Appends `subscribed`. `topics` are told as asked; `resumes` are one a topic, where positions
/// are to be told.
pub fn subscribed<'t>(
    out: &mut Vec<u8>,
    topics: impl IntoIterator<Item = &'t str>,
    session_id: &str,
    timestamp: &str,
    resumes: Option<&[Resume<'_>]>,
) {
    out.extend_from_slice(b"{\"type\":\"subscribed\",\"topics\":");
    append_strings(out, topics);
    out.extend_from_slice(b",\"session_id\":");
    append_string(out, session_id);
    out.extend_from_slice(b",\"timestamp\":");
    append_string(out, timestamp);
    if let Some(resumes) = resumes {
        out.extend_from_slice(b",\"positions\":{");
        append_joined(out, resumes, |out, resume| {
            append_key(out, resume.topic);
            append_id(out, &resume.position);
        });
        out.extend_from_slice(b"},\"recovered\":{");
        append_joined(out, resumes, |out, resume| {
            append_key(out, resume.topic);
            append_bool(out, resume.recovered);
        });
        out.push(b'}');
    }
    out.push(b'}');
}

/// Appends `unsubscribed`.
pub fn unsubscribed<'t>(out: &mut Vec<u8>, topics: impl IntoIterator<Item = &'t str>) {
    out.extend_from_slice(b"{\"type\":\"unsubscribed\",\"topics\":");
    append_strings(out, topics);
    out.push(b'}');
}

/// Appends `pong`.
pub fn pong(out: &mut Vec<u8>, timestamp: &str) {
    out.extend_from_slice(b"{\"type\":\"pong\",\"timestamp\":");
    append_string(out, timestamp);
    out.push(b'}');
}

/// Appends `authenticated`: until when, if not for ever.
pub fn authenticated(out: &mut Vec<u8>, expires_at: Option<&str>) {
    out.extend_from_slice(b"{\"type\":\"authenticated\"");
    append_expiry(out, expires_at);
}

/// Appends `auth_expiring`: the word that the credential ends soon.
pub fn expiring(out: &mut Vec<u8>, expires_at: Option<&str>) {
    out.extend_from_slice(b"{\"type\":\"auth_expiring\"");
    append_expiry(out, expires_at);
}

fn append_expiry(out: &mut Vec<u8>, expires_at: Option<&str>) {
    out.extend_from_slice(b",\"expires_at\":");
    match expires_at {
        Some(timestamp) => append_string(out, timestamp),
        None => out.extend_from_slice(b"null"),
    }
    out.push(b'}');
}

/// Appends `heartbeat`.
pub fn heartbeat(out: &mut Vec<u8>, timestamp: &str) {
    out.extend_from_slice(b"{\"type\":\"heartbeat\",\"timestamp\":");
    append_string(out, timestamp);
    out.push(b'}');
}

/// Appends the last word of a stream: what a WebSocket's close frame would say.
pub fn closed(out: &mut Vec<u8>, code: u16, reason: &str) {
    out.extend_from_slice(b"{\"type\":\"close\",\"code\":");
    append_number(out, u64::from(code));
    out.extend_from_slice(b",\"reason\":");
    append_string(out, reason);
    out.push(b'}');
}

/// Appends `gap`.
pub fn gap(out: &mut Vec<u8>, topic: &str, gap: &Gap) {
    out.extend_from_slice(b"{\"type\":\"gap\",\"topic\":");
    append_string(out, topic);
    out.extend_from_slice(b",\"from\":");
    append_id(out, &gap.from);
    out.extend_from_slice(b",\"to\":");
    append_id(out, &gap.to);
    out.extend_from_slice(b",\"reason\":");
    append_string(
        out,
        match gap.reason {
            GapReason::Trimmed => "trimmed",
            GapReason::Lagged => "lagged",
            GapReason::EpochChanged => "epoch_changed",
        },
    );
    out.push(b'}');
}

/// Appends `error`.
pub fn error(out: &mut Vec<u8>, error: &CommandError) {
    out.extend_from_slice(b"{\"type\":\"error\",\"code\":");
    append_string(out, error.code.as_str());
    out.extend_from_slice(b",\"message\":");
    append_string(out, &error.message);
    out.extend_from_slice(b",\"details\":");
    match error.field {
        Some(field) => {
            out.extend_from_slice(b"{\"field\":");
            append_string(out, field);
            out.push(b'}');
        }
        None => out.extend_from_slice(b"null"),
    }
    out.push(b'}');
}

/// Appends the answer to a publish. A message that is stored later has no id yet.
pub fn published(out: &mut Vec<u8>, id: Option<&MessageId>, topic: &str, timestamp: &str) {
    out.extend_from_slice(b"{\"message_id\":");
    append_id_or_null(out, id);
    out.extend_from_slice(b",\"topic\":");
    append_string(out, topic);
    out.extend_from_slice(b",\"timestamp\":");
    append_string(out, timestamp);
    out.push(b'}');
}

/// What became of one message of a bulk: its topic, and its id or why it was not stored.
#[derive(Clone, Copy, Debug)]
pub struct BulkResult<'a> {
    /// Name of the topic.
    pub topic: &'a str,
    /// The id, which a message that is stored later does not have yet; or an error code.
    pub outcome: Result<Option<MessageId>, &'static str>,
}

/// Appends the answer to a bulk publish, with the results in the order of the request.
pub fn bulk_published(out: &mut Vec<u8>, results: &[BulkResult<'_>]) {
    out.extend_from_slice(b"{\"results\":[");
    append_joined(out, results, append_bulk_result);
    let accepted = results.iter().filter(|result| result.outcome.is_ok());
    let (total, accepted) = (results.len() as u64, accepted.count() as u64);
    out.extend_from_slice(b"],\"summary\":{\"total\":");
    append_number(out, total);
    out.extend_from_slice(b",\"accepted\":");
    append_number(out, accepted);
    out.extend_from_slice(b",\"rejected\":");
    append_number(out, total - accepted);
    out.extend_from_slice(b"}}");
}

fn append_bulk_result(out: &mut Vec<u8>, result: &BulkResult<'_>) {
    out.extend_from_slice(b"{\"message_id\":");
    append_id_or_null(out, result.outcome.as_ref().ok().and_then(Option::as_ref));
    out.extend_from_slice(b",\"topic\":");
    append_string(out, result.topic);
    match result.outcome {
        Ok(_) => out.extend_from_slice(b",\"status\":\"accepted\",\"error\":null}"),
        Err(code) => {
            out.extend_from_slice(b",\"status\":\"rejected\",\"error\":");
            append_string(out, code);
            out.push(b'}');
        }
    }
}

fn append_id_or_null(out: &mut Vec<u8>, id: Option<&MessageId>) {
    match id {
        Some(id) => append_id(out, id),
        None => out.extend_from_slice(b"null"),
    }
}

/// Appends the body of `/health`.
pub fn health(out: &mut Vec<u8>, timestamp: &str, version: &str) {
    out.extend_from_slice(b"{\"status\":\"healthy\",\"timestamp\":");
    append_string(out, timestamp);
    out.extend_from_slice(b",\"version\":");
    append_string(out, version);
    out.push(b'}');
}

/// Appends the body of `/ready`: each check with `ok` or what is wrong.
pub fn ready(out: &mut Vec<u8>, ready: bool, checks: &[(&str, &str)]) {
    out.extend_from_slice(b"{\"ready\":");
    append_bool(out, ready);
    out.extend_from_slice(b",\"checks\":{");
    append_joined(out, checks, |out, (check, state)| {
        append_key(out, check);
        append_string(out, state);
    });
    out.extend_from_slice(b"}}");
}

fn append_key(out: &mut Vec<u8>, key: &str) {
    append_string(out, key);
    out.push(b':');
}

fn append_bool(out: &mut Vec<u8>, value: bool) {
    out.extend_from_slice(if value { b"true" } else { b"false" });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topic::{Epoch, Position, TopicHash};

    const NOW: &str = "2026-01-31T12:00:00.123456Z";

    fn id(counter: u32) -> MessageId {
        MessageId {
            position: Position::new(1, counter),
            epoch: Epoch::new(2),
            topic: TopicHash::of("a"),
        }
    }

    fn text(append: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        append(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn subscribed_tells_positions_where_asked() {
        assert_eq!(
            text(|out| subscribed(out, ["b", "a", "b"], "sess_1", NOW, None)),
            format!(
                r#"{{"type":"subscribed","topics":["b","a","b"],"session_id":"sess_1","timestamp":"{NOW}"}}"#
            )
        );
        let resumes = [("a", true), ("größe", false)].map(|(topic, recovered)| Resume {
            topic,
            position: id(3),
            recovered,
        });
        let id = id(3);
        assert_eq!(
            text(|out| subscribed(out, ["a", "größe"], "s", NOW, Some(&resumes))),
            format!(
                r#"{{"type":"subscribed","topics":["a","größe"],"session_id":"s","timestamp":"{NOW}","positions":{{"a":"{id}","größe":"{id}"}},"recovered":{{"a":true,"größe":false}}}}"#
            )
        );
    }

    #[test]
    fn short_replies() {
        assert_eq!(
            text(|out| unsubscribed(out, ["a"])),
            r#"{"type":"unsubscribed","topics":["a"]}"#
        );
        assert_eq!(
            text(|out| pong(out, NOW)),
            format!(r#"{{"type":"pong","timestamp":"{NOW}"}}"#)
        );
        assert_eq!(
            text(|out| heartbeat(out, NOW)),
            format!(r#"{{"type":"heartbeat","timestamp":"{NOW}"}}"#)
        );
        assert_eq!(
            text(|out| health(out, NOW, "0.1.0")),
            format!(r#"{{"status":"healthy","timestamp":"{NOW}","version":"0.1.0"}}"#)
        );
        assert_eq!(
            text(|out| ready(out, false, &[("storage", "ok"), ("workers", "stalled")])),
            r#"{"ready":false,"checks":{"storage":"ok","workers":"stalled"}}"#
        );
    }

    #[test]
    fn gap_names_its_ends_and_reason() {
        let lost = Gap {
            from: id(1),
            to: id(9),
            reason: GapReason::EpochChanged,
        };
        assert_eq!(
            text(|out| gap(out, "a", &lost)),
            format!(
                r#"{{"type":"gap","topic":"a","from":"{}","to":"{}","reason":"epoch_changed"}}"#,
                id(1),
                id(9)
            )
        );
    }

    #[test]
    fn publish_answers() {
        let id = id(5);
        assert_eq!(
            text(|out| published(out, Some(&id), "a", NOW)),
            format!(r#"{{"message_id":"{id}","topic":"a","timestamp":"{NOW}"}}"#)
        );
        assert_eq!(
            text(|out| published(out, None, "a", NOW)),
            format!(r#"{{"message_id":null,"topic":"a","timestamp":"{NOW}"}}"#)
        );
        let results = [Ok(Some(id)), Err("SERVICE_UNAVAILABLE")].map(|outcome| BulkResult {
            topic: "a",
            outcome,
        });
        assert_eq!(
            text(|out| bulk_published(out, &results)),
            format!(
                r#"{{"results":[{{"message_id":"{id}","topic":"a","status":"accepted","error":null}},{{"message_id":null,"topic":"a","status":"rejected","error":"SERVICE_UNAVAILABLE"}}],"summary":{{"total":2,"accepted":1,"rejected":1}}}}"#
            )
        );
    }
}
