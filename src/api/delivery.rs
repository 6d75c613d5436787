//! A message as subscribers get it: made once, at publish, with its WebSocket frame in front.
//!
//! ```text
//! frame header │ {"type":"message", │ "message_id":…,"topic":…,"payload":…,"timestamp":…,"metadata":…}
//!              └ WebSocket only     └ shared by all transports, behind a `{` of their own
//! ```

use std::ops::Range;

use super::json::append_number;
use super::publish::Publication;
use crate::topic::{FrameLayout, MessageId};
use crate::ws::frame::{self, Opcode};

const FRONT: &[u8] = br#"{"type":"message","message_id":""#;
/// What of that is not shared by all transports.
const TYPE: &[u8] = br#"{"type":"message","#;
const TOPIC: &[u8] = br#"","topic":""#;
const PAYLOAD: &[u8] = br#"","payload":"#;
const TIMESTAMP: &[u8] = br#","timestamp":""#;
const METADATA: &[u8] = br#"","metadata":"#;

/// Most bytes that the envelope adds to payload and metadata of a request: the fixed text, an id, a
/// timestamp, a frame header. The topic's name stands in the request as well.
pub const ENVELOPE_BYTES_MAX: usize = 256;

/// Appends the frame of a message, with zeros where its id will stand.
pub fn encode(publication: &Publication<'_>, timestamp: &str, out: &mut Vec<u8>) -> FrameLayout {
    let topic = publication.topic.as_bytes();
    let metadata = publication.metadata.as_deref().unwrap_or(b"null");
    // A topic's name consists of characters that JSON does not escape.
    let parts: [&[u8]; 11] = [
        FRONT,
        &[b'0'; MessageId::LEN],
        TOPIC,
        topic,
        PAYLOAD,
        &publication.payload,
        TIMESTAMP,
        timestamp.as_bytes(),
        METADATA,
        metadata,
        b"}",
    ];
    let len = parts.iter().map(|part| part.len()).sum();
    let start = out.len();
    out.reserve(frame::header_len(len) + len);
    frame::encode_header(Opcode::Text, len, out);
    let id_at = out.len() - start + FRONT.len();
    for part in parts {
        out.extend_from_slice(part);
    }
    FrameLayout {
        id_at,
        topic_at: id_at + MessageId::LEN + TOPIC.len(),
        topic_len: topic.len(),
    }
}

/// The whole JSON object of a message, as WebSocket clients get it: `frame` without its header.
///
/// `frame` is one that [`encode`] made: unmasked, final, text.
pub fn payload(frame: &[u8]) -> &[u8] {
    let header_len = match frame.get(1) {
        Some(126) => 4,
        Some(127) => 10,
        _ => 2,
    };
    frame.get(header_len..).unwrap_or_default()
}

/// What all transports share of a message: all behind `{"type":"message",`, up to and with the last
/// `}`. `frame` is as for [`payload`].
pub fn shared_part(frame: &[u8]) -> &[u8] {
    payload(frame).get(TYPE.len()..).unwrap_or_default()
}

/// What of a message does not depend on its id: all behind the comma after it. `frame` is as for
/// [`payload`].
pub fn stored_part(frame: &[u8]) -> &[u8] {
    payload(frame)
        .get(FRONT.len() + MessageId::LEN + 2..)
        .unwrap_or_default()
}

/// Appends the frame of the message that [`stored_part`] was taken from, with zeros where its id
/// will stand. `None` when it is of another topic, or was not made here.
pub fn restore(stored_part: &[u8], topic: &str, out: &mut Vec<u8>) -> Option<FrameLayout> {
    let rest = stored_part.strip_prefix(&TOPIC[2..])?;
    rest.strip_prefix(topic.as_bytes())?.strip_prefix(PAYLOAD)?;
    let len = FRONT.len() + MessageId::LEN + 2 + stored_part.len();
    let start = out.len();
    out.reserve(frame::header_len(len) + len);
    frame::encode_header(Opcode::Text, len, out);
    let id_at = out.len() - start + FRONT.len();
    for part in [FRONT, &[b'0'; MessageId::LEN], &TOPIC[..2], stored_part] {
        out.extend_from_slice(part);
    }
    Some(FrameLayout {
        id_at,
        topic_at: id_at + MessageId::LEN + TOPIC.len(),
        topic_len: topic.len(),
    })
}

/// Where [`payload`] stands in a frame.
pub fn payload_range(frame: &[u8]) -> Range<usize> {
    frame.len() - payload(frame).len()..frame.len()
}

/// Appends what stands instead of the last `}` of a message for an at-least-once consumer: the
/// number of the delivery, from 1.
pub fn append_attempt(out: &mut Vec<u8>, attempt: u32) {
    out.extend_from_slice(b",\"delivery_attempt\":");
    append_number(out, u64::from(attempt));
    out.push(b'}');
}

/// The id in a frame of [`encode`]: [`MessageId::LEN`] bytes of ASCII.
pub fn message_id(frame: &[u8]) -> &[u8] {
    let start = payload_range(frame).start + FRONT.len();
    &frame[start..start + MessageId::LEN]
}

const _: () = assert!(
    FRONT.len()
        + TOPIC.len()
        + PAYLOAD.len()
        + TIMESTAMP.len()
        + METADATA.len()
        + MessageId::LEN
        + crate::moment::Timestamp::LEN
        + "null}".len()
        + frame::HEADER_LEN_MAX
        <= ENVELOPE_BYTES_MAX,
    "the bound covers the envelope"
);

#[cfg(test)]
mod tests {
    use super::*;
    use std::borrow::Cow;

    #[test]
    fn stands_in_one_frame_with_the_parts_where_the_layout_says() {
        for (payload_len, header_len) in [(2, 4), (70_000, 10)] {
            let payload = format!("{{{}}}", " ".repeat(payload_len - 2));
            let publication = Publication {
                topic: Cow::Borrowed("caf\u{e9}-1"),
                payload: Cow::Borrowed(payload.as_bytes()),
                ttl: None,
                metadata: None,
            };
            let mut out = b"before".to_vec();
            let layout = encode(&publication, "2026-01-31T12:00:00.123456Z", &mut out);
            let frame = &out["before".len()..];
            assert_eq!(super::payload(frame), &frame[header_len..]);
            let shared = std::str::from_utf8(shared_part(frame)).unwrap();
            assert!(shared.starts_with("\"message_id\":\"0") && shared.ends_with("null}"));
            let mut attempt = Vec::new();
            attempt.extend_from_slice(frame[header_len..].strip_suffix(b"}").unwrap());
            append_attempt(&mut attempt, 3);
            let attempt: serde_json::Value = serde_json::from_slice(&attempt).unwrap();
            assert_eq!(attempt["delivery_attempt"], 3);
            let id = &frame[layout.id_at..layout.id_at + MessageId::LEN];
            assert_eq!(id, [b'0'; MessageId::LEN]);
            let topic = &frame[layout.topic_at..layout.topic_at + layout.topic_len];
            assert_eq!(topic, "caf\u{e9}-1".as_bytes());
            let value: serde_json::Value = serde_json::from_slice(&frame[header_len..]).unwrap();
            let shared: serde_json::Value =
                serde_json::from_slice(&[b"{", shared_part(frame)].concat()).unwrap();
            assert_eq!(value["message_id"], shared["message_id"]);
            assert_eq!(value["type"], "message");
            assert!(shared.get("type").is_none() && shared["metadata"].is_null());
            assert_eq!(value["topic"], "caf\u{e9}-1");
            assert_eq!(value["timestamp"], "2026-01-31T12:00:00.123456Z");
            assert!(value["metadata"].is_null() && value["payload"].is_object());
        }
    }

    #[test]
    fn the_stored_part_makes_the_same_frame_again() {
        for payload_len in [2, 200, 70_000] {
            let payload = format!("{{{}}}", " ".repeat(payload_len - 2));
            let publication = Publication {
                topic: Cow::Borrowed("caf\u{e9}-1"),
                payload: Cow::Borrowed(payload.as_bytes()),
                ttl: None,
                metadata: Some(Cow::Borrowed(br#"{"a":"b"}"#)),
            };
            let mut frame = Vec::new();
            let layout = encode(&publication, "2026-01-31T12:00:00.123456Z", &mut frame);
            let stored = stored_part(&frame);
            assert!(stored.starts_with(b"\"topic\":\"caf"));
            let mut again = b"before".to_vec();
            let restored = restore(stored, "caf\u{e9}-1", &mut again).unwrap();
            assert_eq!(again["before".len()..], frame);
            assert_eq!(
                (restored.id_at, restored.topic_at, restored.topic_len),
                (layout.id_at, layout.topic_at, layout.topic_len)
            );
            assert!(restore(stored, "caf", &mut again).is_none());
            assert!(restore(&stored[1..], "caf\u{e9}-1", &mut again).is_none());
        }
    }

    #[test]
    fn what_is_no_frame_has_no_parts() {
        for bytes in [&b""[..], b"\x81", b"\x81\x7e", b"\x81\x02{}"] {
            assert!(shared_part(bytes).is_empty());
        }
    }
}
