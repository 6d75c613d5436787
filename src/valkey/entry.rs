//! What Valkey's answers say: positions, entries of streams. Valkey is trusted not to lie, but what
//! has not the expected form is refused and never panics.

use redis::Value;

use crate::topic::Position;

/// An entry of a topic's stream.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RawEntry {
    /// Its place.
    pub position: Position,
    /// The place of the message before it; [`Position::ZERO`] when none is known.
    pub predecessor: Position,
    /// Seconds.
    pub ttl: Option<u64>,
    /// What [`stored_part`](crate::api::delivery::stored_part) gave.
    pub stored_part: Vec<u8>,
}

/// A part of a topic's stream.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RawStrand {
    /// Oldest first.
    pub entries: Vec<RawEntry>,
    /// More stands behind them.
    pub has_more: bool,
    /// The newest position of the topic.
    pub last: Position,
    /// Valkey's time in milliseconds.
    pub now_millis: u64,
}

/// A position as Valkey writes it: `<milliseconds>-<counter>`. `None` for what is none of ours.
pub(super) fn parse_position(text: &[u8]) -> Option<Position> {
    let text = std::str::from_utf8(text).ok()?;
    let (millis, counter) = text.split_once('-')?;
    let (millis, counter) = (parse_number(millis)?, parse_number(counter)?);
    let counter = u32::try_from(counter).ok()?;
    let is_ours = millis <= Position::MILLIS_MAX && counter <= Position::COUNTER_MAX;
    is_ours.then(|| Position::new(millis, counter))
}

/// The text of a position for Valkey.
pub(super) fn position_text(position: Position) -> String {
    format!("{}-{}", position.millis(), position.counter())
}

/// The positions that publishing or looking gave: `None` in it for what was not found.
pub(super) fn positions(answer: &Value) -> Option<Vec<Option<Position>>> {
    let Value::Array(items) = answer else {
        return None;
    };
    items.iter().map(found_position).collect()
}

/// Outside `None`: not of the form; inside: empty.
fn found_position(item: &Value) -> Option<Option<Position>> {
    let text = bytes(item)?;
    if text.is_empty() {
        return Some(None);
    }
    parse_position(text).map(Some)
}

/// What the script that reads has answered.
pub(super) fn strand(answer: Value) -> Option<RawStrand> {
    let Value::Array(parts) = answer else {
        return None;
    };
    let [entries, has_more, last, now]: [Value; 4] = parts.try_into().ok()?;
    let Value::Array(entries) = entries else {
        return None;
    };
    Some(RawStrand {
        entries: entries.into_iter().map(entry).collect::<Option<_>>()?,
        has_more: has_more == Value::Int(1),
        last: parse_position(bytes(&last)?)?,
        now_millis: number(&now)?,
    })
}

fn entry(item: Value) -> Option<RawEntry> {
    let Value::Array(parts) = item else {
        return None;
    };
    let [position, predecessor, ttl, stored_part]: [Value; 4] = parts.try_into().ok()?;
    let Value::BulkString(stored_part) = stored_part else {
        return None;
    };
    let ttl = number(&ttl)?;
    Some(RawEntry {
        position: parse_position(bytes(&position)?)?,
        predecessor: parse_position(bytes(&predecessor)?)?,
        ttl: (ttl > 0).then_some(ttl),
        stored_part,
    })
}

/// The bytes of a text.
pub(super) fn bytes(value: &Value) -> Option<&[u8]> {
    match value {
        Value::BulkString(bytes) => Some(bytes),
        Value::SimpleString(text) => Some(text.as_bytes()),
        _ => None,
    }
}

/// A number, also as text.
pub(super) fn number(value: &Value) -> Option<u64> {
    match value {
        Value::Int(number) => u64::try_from(*number).ok(),
        _ => parse_number(std::str::from_utf8(bytes(value)?).ok()?),
    }
}

fn parse_number(text: &str) -> Option<u64> {
    // `parse` would take a sign as well.
    text.bytes()
        .all(|byte| byte.is_ascii_digit())
        .then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bulk(text: &str) -> Value {
        Value::BulkString(text.as_bytes().to_vec())
    }

    #[test]
    fn positions_are_read_as_they_are_written() {
        let position = Position::new(1_769_860_800_123, Position::COUNTER_MAX);
        assert_eq!(
            parse_position(position_text(position).as_bytes()),
            Some(position)
        );
        assert_eq!(parse_position(b"0-0"), Some(Position::ZERO));
        for bad in [
            "",
            "-",
            "1",
            "1-",
            "-1",
            "+1-1",
            "1-4194304",
            "281474976710656-0",
            "1-1-1",
        ] {
            assert_eq!(parse_position(bad.as_bytes()), None, "{bad}");
        }
        assert_eq!(parse_position(b"\xff-1"), None);
    }

    #[test]
    fn what_was_not_found_has_no_position() {
        let answer = Value::Array(vec![bulk("1-2"), bulk("")]);
        assert_eq!(
            positions(&answer),
            Some(vec![Some(Position::new(1, 2)), None])
        );
        assert_eq!(positions(&Value::Array(vec![Value::Nil])), None);
        assert_eq!(positions(&Value::Nil), None);
    }

    #[test]
    fn a_strand_is_read_or_refused_whole() {
        let entry = |ttl: &str| Value::Array(vec![bulk("5-1"), bulk("4-0"), bulk(ttl), bulk("x")]);
        let answer = |entries, last: &str| {
            Value::Array(vec![
                Value::Array(entries),
                Value::Int(1),
                bulk(last),
                bulk("77"),
            ])
        };
        let read = strand(answer(vec![entry("0"), entry("60")], "9-0")).unwrap();
        assert_eq!(read.entries[0].position, Position::new(5, 1));
        assert_eq!(read.entries[0].predecessor, Position::new(4, 0));
        assert_eq!((read.entries[0].ttl, read.entries[1].ttl), (None, Some(60)));
        assert!(read.has_more && read.last == Position::new(9, 0) && read.now_millis == 77);
        assert!(strand(answer(vec![entry("x")], "9-0")).is_none());
        assert!(strand(answer(vec![Value::Nil], "9-0")).is_none());
        assert!(strand(answer(vec![], "9")).is_none());
        assert!(strand(Value::Array(vec![])).is_none());
    }
}
