//! Where a consumer wants to start, as it says it in `offset`, `since` and `Last-Event-ID` (SPEC
//! sections 5, 6 and 8).

use crate::topic::{Cursor, MessageId, Start, TopicHash, TopicName};

/// Where to start in each of the topics asked for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Offset {
    /// Behind the newest message.
    Last,
    /// Before the oldest message kept.
    Earliest,
    /// Behind this message; in other topics than its own, behind its time.
    Behind(MessageId),
    /// Behind the place that the cursor has for the topic; boxed, as it is rare and large.
    Cursor(Box<Cursor>),
}

impl Offset {
    /// Reads `last`, `earliest`, a message id or a cursor.
    pub fn parse(text: &str) -> Option<Offset> {
        match text {
            "last" => Some(Offset::Last),
            "earliest" => Some(Offset::Earliest),
            _ if text.starts_with("cur_") => {
                let cursor = Cursor::parse(text).ok()?;
                Some(Offset::Cursor(Box::new(cursor)))
            }
            _ => MessageId::parse(text).ok().map(Offset::Behind),
        }
    }

    /// Where to start in `topic`. A topic that the cursor lacks starts at its end.
    pub fn start(&self, topic: &TopicName) -> Start {
        match self {
            Offset::Last => Start::Last,
            Offset::Earliest => Start::Earliest,
            Offset::Behind(id) => Start::Behind(*id),
            Offset::Cursor(cursor) => cursor
                .get(TopicHash::of(topic.as_str()))
                .map_or(Start::Last, Start::Behind),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topic::{Epoch, Position};
    use proptest::prelude::*;

    fn name(text: &str) -> TopicName {
        TopicName::parse(text).unwrap()
    }

    #[test]
    fn all_four_forms() {
        let topic = TopicHash::of("a");
        let position = Position::new(5, 6);
        let epoch = Epoch::new(7);
        let id = MessageId {
            position,
            epoch,
            topic,
        };
        let mut cursor = Cursor::new(epoch);
        cursor.set(topic, position);
        let cursor_text = cursor.to_string();
        for (text, offset, in_a, in_b) in [
            ("last", Offset::Last, Start::Last, Start::Last),
            (
                "earliest",
                Offset::Earliest,
                Start::Earliest,
                Start::Earliest,
            ),
            (
                &id.to_string(),
                Offset::Behind(id),
                Start::Behind(id),
                Start::Behind(id),
            ),
            (
                &cursor_text,
                Offset::Cursor(Box::new(cursor)),
                Start::Behind(id),
                Start::Last,
            ),
        ] {
            assert_eq!(Offset::parse(text), Some(offset.clone()));
            assert_eq!(offset.start(&name("a")), in_a);
            assert_eq!(offset.start(&name("b")), in_b, "{text}");
        }
    }

    #[test]
    fn names_no_place() {
        for bad in ["", "LAST", " last", "msg_", "cur_", "cur_abc", "0", "$"] {
            assert_eq!(Offset::parse(bad), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_answered(text in "(cur_|msg_)?[0-9a-w]{0,40}|.{0,20}") {
            if let Some(Offset::Behind(id)) = Offset::parse(&text) {
                prop_assert_eq!(id.to_string(), text);
            }
        }
    }
}
