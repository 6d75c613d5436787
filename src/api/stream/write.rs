//! What streams are written of: Server-Sent Events (WHATWG HTML section 9.2) and NDJSON lines. All
//! JSON here is without line breaks, as both formats need.

use crate::api::reply::{self, Resume};
use crate::topic::Gap;

/// The two formats of a stream.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum StreamFormat {
    /// `text/event-stream`
    Events,
    /// `application/x-ndjson`
    Lines,
}

/// Milliseconds after which a browser connects again.
const RETRY: &[u8] = b"retry: 3000\n";

impl StreamFormat {
    /// Appends what stands in front of the JSON of a message. `id` is the message id or the cursor
    /// from which to go on behind it; [`StreamFormat::end_object`] follows the JSON.
    pub fn begin_message(self, out: &mut Vec<u8>, id: &[u8]) {
        self.begin(out, id, b"message");
    }

    /// Whether the object itself says where to go on behind it: a line has nothing else to say it
    /// with, and of several topics no message id tells it.
    pub fn tells_offset(self, id: &[u8]) -> bool {
        self == StreamFormat::Lines && id.starts_with(b"cur_")
    }

    /// Appends what stands behind the JSON of an object, whose `}` is the last byte of `out` where
    /// it [tells the offset](StreamFormat::tells_offset).
    pub fn end_object(self, out: &mut Vec<u8>, id: &[u8]) {
        if self.tells_offset(id) {
            out.pop();
            out.extend_from_slice(b",\"offset\":\"");
            out.extend_from_slice(id);
            out.extend_from_slice(b"\"}");
        }
        self.end(out);
    }

    fn end(self, out: &mut Vec<u8>) {
        out.extend_from_slice(match self {
            StreamFormat::Events => b"\n\n",
            StreamFormat::Lines => b"\n",
        });
    }

    /// Appends the first object: what is subscribed to and from where. `id` is where to go on if
    /// nothing else comes; empty where that is for a gap to say that follows at once.
    pub fn subscribed<'t>(
        self,
        out: &mut Vec<u8>,
        id: &[u8],
        topics: impl IntoIterator<Item = &'t str>,
        session_id: &str,
        timestamp: &str,
        resumes: &[Resume<'_>],
    ) {
        if self == StreamFormat::Events {
            out.extend_from_slice(RETRY);
        }
        self.begin(out, id, b"subscribed");
        reply::subscribed(out, topics, session_id, timestamp, Some(resumes));
        self.end_object(out, id);
    }

    /// Appends a gap. `id` is where to go on behind it; empty where another gap follows at once.
    pub fn gap(self, out: &mut Vec<u8>, id: &[u8], topic: &str, gap: &Gap) {
        self.begin(out, id, b"gap");
        reply::gap(out, topic, gap);
        self.end_object(out, id);
    }

    /// Appends the last word: what a WebSocket's close frame would say, and where it matters how
    /// many milliseconds a browser waits before it connects again.
    pub fn closed(self, out: &mut Vec<u8>, retry_ms: Option<u64>, code: u16, reason: &str) {
        if self == StreamFormat::Events {
            if let Some(retry_ms) = retry_ms {
                out.extend_from_slice(format!("retry: {retry_ms}\n").as_bytes());
            }
            out.extend_from_slice(b"event: close\ndata: ");
        }
        reply::closed(out, code, reason);
        self.end(out);
    }

    /// Appends a sign of life: a comment or an object.
    pub fn heartbeat(self, out: &mut Vec<u8>, timestamp: &str) {
        match self {
            StreamFormat::Events => out.extend_from_slice(b": heartbeat\n\n"),
            StreamFormat::Lines => {
                reply::heartbeat(out, timestamp);
                out.push(b'\n');
            }
        }
    }

    fn begin(self, out: &mut Vec<u8>, id: &[u8], event: &[u8]) {
        if self == StreamFormat::Lines {
            return;
        }
        // Without an id a client goes on from the one before (WHATWG HTML section 9.2.6).
        if !id.is_empty() {
            out.extend_from_slice(b"id: ");
            out.extend_from_slice(id);
            out.push(b'\n');
        }
        out.extend_from_slice(b"event: ");
        out.extend_from_slice(event);
        out.extend_from_slice(b"\ndata: ");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topic::{Epoch, GapReason, MessageId, Position, TopicHash};

    const NOW: &str = "2026-01-31T12:00:00.123456Z";

    fn id() -> MessageId {
        MessageId {
            position: Position::new(1, 2),
            epoch: Epoch::new(2),
            topic: TopicHash::of("a"),
        }
    }

    fn all(format: StreamFormat) -> String {
        let mut out = Vec::new();
        let resumes = [Resume {
            topic: "a",
            position: id(),
            recovered: true,
        }];
        format.subscribed(&mut out, b"ID0", ["a"], "sess_1", NOW, &resumes);
        format.begin_message(&mut out, b"ID1");
        out.extend_from_slice(b"{\"k\":1}");
        format.end_object(&mut out, b"cur_1");
        let lost = Gap {
            from: id(),
            to: id(),
            reason: GapReason::Lagged,
        };
        format.gap(&mut out, b"ID2", "a", &lost);
        format.heartbeat(&mut out, NOW);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn events() {
        let text = all(StreamFormat::Events);
        let events: Vec<&str> = text.split("\n\n").collect();
        assert!(events[0].starts_with(
            "retry: 3000\nid: ID0\nevent: subscribed\ndata: {\"type\":\"subscribed\","
        ));
        assert!(events[0].ends_with(r#""recovered":{"a":true}}"#));
        assert_eq!(events[1], "id: ID1\nevent: message\ndata: {\"k\":1}");
        assert!(events[2].starts_with("id: ID2\nevent: gap\ndata: {\"type\":\"gap\","));
        assert_eq!(events[3..], [": heartbeat", ""]);
    }

    #[test]
    fn a_browser_is_told_when_to_come_back_if_that_matters() {
        let closed = |format: StreamFormat, retry_ms| {
            let mut out = Vec::new();
            format.closed(&mut out, retry_ms, 1001, "x");
            String::from_utf8(out).unwrap()
        };
        let object = r#"{"type":"close","code":1001,"reason":"x"}"#;
        let event = format!("event: close\ndata: {object}\n\n");
        assert_eq!(closed(StreamFormat::Events, None), event);
        let retry = format!("retry: 70\n{event}");
        assert_eq!(closed(StreamFormat::Events, Some(70)), retry);
        let line = format!("{object}\n");
        assert_eq!(closed(StreamFormat::Lines, Some(70)), line);
    }

    #[test]
    fn lines() {
        let text = all(StreamFormat::Lines);
        let types: Vec<serde_json::Value> = text
            .lines()
            .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["type"].clone())
            .collect();
        assert_eq!(types[0], "subscribed");
        assert!(types[1].is_null());
        let message = all(StreamFormat::Lines).lines().nth(1).map(str::to_owned);
        assert_eq!(message.as_deref(), Some(r#"{"k":1,"offset":"cur_1"}"#));
        assert_eq!(types[2..], ["gap", "heartbeat"]);
    }
}
