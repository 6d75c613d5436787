//! What the scripts on topics answer. Valkey is trusted not to lie, but what has not the expected
//! form is refused and never panics.

use redis::Value;

use super::super::entry::{bytes, number, parse_position};
use crate::topic::{Position, TopicDetails, TopicHash, TopicName, TopicStore, TopicSummary};

/// What is known of a topic.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Found {
    /// There is such a topic.
    Topic(TopicFacts),
    /// There is none, but there was one not long ago.
    Idle,
    /// Nothing.
    Gone,
}

/// What came of creating a topic.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Created {
    /// It is created.
    Now(TopicFacts),
    /// It was created before.
    Before,
}

/// A topic that exists.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TopicFacts {
    /// Messages kept.
    pub messages: u64,
    /// What they cost Valkey, as it estimates that itself.
    pub bytes: u64,
    /// Messages that trimming has taken.
    pub evicted: u64,
    /// The oldest message kept.
    pub oldest: Option<Position>,
    /// The newest message kept.
    pub newest: Option<Position>,
    /// When it was created, in wall-clock microseconds; `None` if it was not.
    pub created_at: Option<u64>,
    /// What its creator said of it.
    pub description: Option<Box<str>>,
}

impl Found {
    /// What describing or updating has answered; `None` for what has not its form.
    pub fn read(value: &Value) -> Option<Found> {
        match array(value)? {
            [state] if bytes(state)? == b"idle" => Some(Found::Idle),
            [state] if bytes(state)? == b"gone" => Some(Found::Gone),
            parts => facts(parts).map(Found::Topic),
        }
    }
}

impl Created {
    /// What creating has answered; `None` for what has not its form.
    pub fn read(value: &Value) -> Option<Created> {
        match array(value)? {
            [state] if bytes(state)? == b"exists" => Some(Created::Before),
            parts => facts(parts).map(Created::Now),
        }
    }
}

impl TopicFacts {
    /// The same as listings show it, with the subscriptions that this process has.
    pub fn summary(&self, name: TopicName, store: &TopicStore) -> TopicSummary {
        let hash = TopicHash::of(&name);
        TopicSummary {
            messages: usize::try_from(self.messages).unwrap_or(usize::MAX),
            bytes: self.bytes,
            subscribers: store.subscriptions(&name),
            oldest: self.oldest.map(|position| store.id(hash, position)),
            newest: self.newest.map(|position| store.id(hash, position)),
            name,
        }
    }

    /// Everything about the topic.
    pub fn details(self, name: TopicName, store: &TopicStore) -> TopicDetails {
        TopicDetails {
            hash: TopicHash::of(&name),
            summary: self.summary(name, store),
            created_at: self.created_at,
            description: self.description,
        }
    }
}

fn facts(parts: &[Value]) -> Option<TopicFacts> {
    let [
        state,
        messages,
        size,
        evicted,
        oldest,
        newest,
        created_at,
        description,
    ] = parts
    else {
        return None;
    };
    if bytes(state)? != b"topic" {
        return None;
    }
    let created_at = match created_at {
        Value::Nil => None,
        at => Some(number(at)?),
    };
    let description = match description {
        Value::Nil => None,
        text => Some(std::str::from_utf8(bytes(text)?).ok()?.into()),
    };
    Some(TopicFacts {
        messages: number(messages)?,
        bytes: number(size)?,
        evicted: number(evicted)?,
        oldest: position(oldest)?,
        newest: position(newest)?,
        created_at,
        description,
    })
}

/// Outside `None`: not of the form; inside: empty.
fn position(value: &Value) -> Option<Option<Position>> {
    match bytes(value)? {
        b"" => Some(None),
        text => parse_position(text).map(Some),
    }
}

pub(super) fn array(value: &Value) -> Option<&[Value]> {
    match value {
        Value::Array(parts) => Some(parts),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Value {
        Value::BulkString(text.as_bytes().to_vec())
    }

    fn topic() -> Vec<Value> {
        let numbers = [3, 4096, 7].map(Value::Int);
        let mut parts = vec![text("topic")];
        parts.extend(numbers);
        parts.extend(["5-1", "9-0", "17", "said"].map(text));
        parts
    }

    #[test]
    fn facts_are_read() {
        let facts = TopicFacts {
            messages: 3,
            bytes: 4096,
            evicted: 7,
            oldest: Some(Position::new(5, 1)),
            newest: Some(Position::new(9, 0)),
            created_at: Some(17),
            description: Some("said".into()),
        };
        let found = Found::read(&Value::Array(topic()));
        assert_eq!(found, Some(Found::Topic(facts.clone())));
        assert_eq!(
            Created::read(&Value::Array(topic())),
            Some(Created::Now(facts))
        );
        for (state, found) in [
            ("idle", Some(Found::Idle)),
            ("gone", Some(Found::Gone)),
            ("exists", None),
        ] {
            assert_eq!(Found::read(&Value::Array(vec![text(state)])), found);
        }
        let before = Created::read(&Value::Array(vec![text("exists")]));
        assert_eq!(before, Some(Created::Before));
    }

    #[test]
    fn what_is_absent_is_none() {
        let mut parts = topic();
        (parts[4], parts[5]) = (text(""), text(""));
        (parts[6], parts[7]) = (Value::Nil, Value::Nil);
        let Some(Found::Topic(facts)) = Found::read(&Value::Array(parts)) else {
            panic!("it is a topic");
        };
        assert_eq!((facts.oldest, facts.newest), (None, None));
        assert_eq!((facts.created_at, facts.description), (None, None));
    }

    #[test]
    fn other_answers_are_refused() {
        for (index, bad) in [
            (0, text("topics")),
            (0, Value::Nil),
            (1, Value::Int(-1)),
            (2, text("x")),
            (4, text("5")),
            (4, text("5-4194304")),
            (5, text("281474976710656-0")),
            (6, text("soon")),
            (7, Value::BulkString(vec![0xff])),
        ] {
            let mut parts = topic();
            parts[index] = bad;
            assert_eq!(Found::read(&Value::Array(parts)), None, "{index}");
        }
        assert_eq!(Found::read(&Value::Nil), None);
        assert_eq!(Found::read(&Value::Array(topic()[..7].to_vec())), None);
        assert_eq!(Created::read(&Value::Array(Vec::new())), None);
    }
}
