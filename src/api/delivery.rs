//! A message as subscribers get it: made once, at publish, with its WebSocket frame in front.
//!
//! ```text
//! frame header │ {"type":"message", │ "message_id":…,"topic":…,"payload":…,"timestamp":…,"metadata":…}
//!              └ WebSocket only     └ shared by all transports, behind a `{` of their own
//! ```

use super::publish::Publication;
use crate::topic::{FrameLayout, MessageId};
use crate::ws::frame::{self, Opcode};

/// What only WebSocket sends.
const TYPE: &[u8] = br#"{"type":"message","#;
const FRONT: &[u8] = br#"{"type":"message","message_id":""#;
const TOPIC: &[u8] = br#"","topic":""#;
const PAYLOAD: &[u8] = br#"","payload":"#;
const TIMESTAMP: &[u8] = br#","timestamp":""#;
const METADATA: &[u8] = br#"","metadata":"#;

/// The part of a frame that all transports share: the members of the object behind `type`, and its
/// closing brace.
pub fn shared_part(frame: &[u8]) -> &[u8] {
    // The length's marks of RFC 6455 section 5.2; the server's frames have no mask.
    let header_len = match frame.get(1) {
        Some(127) => 10,
        Some(126) => 4,
        _ => 2,
    };
    frame.get(header_len + TYPE.len()..).unwrap_or_default()
}

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
}
