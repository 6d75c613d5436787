//! Dead letters: a message whose deliveries are used up, as it is published again (SPEC section 5).

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde_json::value::{RawValue, to_raw_value};

use super::publish::Publication;
use crate::topic::{MessageId, TopicName};

/// What a dead letter says of the message that it was, in its metadata.
pub const TOPIC_KEY: &str = "dead_letter_topic";
/// The message's id.
pub const ID_KEY: &str = "dead_letter_message_id";
/// How often it was delivered.
pub const ATTEMPTS_KEY: &str = "dead_letter_attempts";

/// The parts of a delivery that a dead letter keeps.
#[derive(serde::Deserialize)]
struct Dead<'d> {
    #[serde(borrow)]
    payload: &'d RawValue,
    #[serde(borrow)]
    metadata: Option<&'d RawValue>,
}

/// Metadata, whose values stay as they came.
type Metadata<'d> = BTreeMap<Cow<'d, str>, Box<RawValue>>;

/// The dead letter of a message that was delivered as `json` on `origin`: the same payload, and
/// metadata with what it was. `None` when `json` is no delivery.
pub fn of<'d>(
    json: &'d [u8],
    topic: &'d TopicName,
    origin: &str,
    id: &MessageId,
    attempts: u32,
) -> Option<Publication<'d>> {
    let dead: Dead<'d> = serde_json::from_slice(json).ok()?;
    // A key with a lone surrogate is no text: what the letter is counts for more.
    let metadata = dead
        .metadata
        .and_then(|it| serde_json::from_str(it.get()).ok());
    let mut metadata: Metadata<'_> = metadata.unwrap_or_default();
    for (key, value) in [
        (TOPIC_KEY, origin),
        (ID_KEY, &id.to_string()),
        (ATTEMPTS_KEY, &attempts.to_string()),
    ] {
        metadata.insert(key.into(), to_raw_value(value).ok()?);
    }
    let metadata = serde_json::to_vec(&metadata).ok()?;
    Some(Publication {
        topic: Cow::Borrowed(topic.as_str()),
        payload: Cow::Borrowed(dead.payload.get().as_bytes()),
        ttl: None,
        metadata: Some(metadata.into()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topic::{Epoch, Position, TopicHash};

    #[test]
    fn keeps_payload_and_metadata_and_says_what_it_was() {
        let id = MessageId {
            position: Position::new(1, 2),
            epoch: Epoch::new(3),
            topic: TopicHash::of("orders"),
        };
        let topic = TopicName::parse("dead").unwrap();
        let json =
            br#"{"type":"message","payload":{"n":1e999, "a":"\ud800"},"metadata":{"k":"v"}}"#;
        let letter = of(json, &topic, "orders", &id, 5).unwrap();
        assert_eq!(letter.topic, "dead");
        assert_eq!(&letter.payload[..], br#"{"n":1e999, "a":"\ud800"}"#);
        let metadata: serde_json::Value =
            serde_json::from_slice(&letter.metadata.unwrap()).unwrap();
        let expected = serde_json::json!({
            "k": "v", "dead_letter_topic": "orders",
            "dead_letter_message_id": id.to_string(), "dead_letter_attempts": "5",
        });
        assert_eq!(metadata, expected);
        let bare = br#"{"payload":{},"metadata":null}"#;
        assert!(of(bare, &topic, "orders", &id, 1).is_some());
        assert!(of(b"{}", &topic, "orders", &id, 1).is_none());
    }
}
