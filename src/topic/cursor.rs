//! Cursors: one position per topic, for consumers of several topics (SPEC section 6).
//!
//! A cursor is `cur_`, the epoch, and one entry a topic, in lower-case base32hex:
//!
//! ```text
//! cur_ a1b2 0123456789ab 00pl3c3v0k0000 …
//!      |    topic hash (60), position (70 bits): 26 characters a topic, by rising hash
//!      epoch (20 bits)
//! ```
//!
//! It names no topic and grants nothing: whoever makes one up can ask for no more than with message
//! ids. Each cursor has one text only.

use std::fmt;

use super::id::{
    EPOCH_CHARS, Epoch, HASH_CHARS, MessageId, POSITION_CHARS, Position, TopicHash, decode_bits,
    encode_bits,
};

const PREFIX: &[u8; 4] = b"cur_";
const ENTRIES_AT: usize = PREFIX.len() + EPOCH_CHARS;
const ENTRY_CHARS: usize = HASH_CHARS + POSITION_CHARS;

/// A place in each of some topics, all of one epoch.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Cursor {
    epoch: Epoch,
    /// By strictly rising hash; at most [`Cursor::TOPICS_MAX`].
    entries: Vec<(TopicHash, Position)>,
}

/// The text is not a cursor.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("not a cursor")]
pub struct CursorError;

impl Cursor {
    /// Most topics of one cursor: those of one subscribe or poll.
    pub const TOPICS_MAX: usize = 50;
    /// Most bytes of a cursor's text.
    pub const LEN_MAX: usize = ENTRIES_AT + Self::TOPICS_MAX * ENTRY_CHARS;

    /// A cursor of this epoch without topics.
    pub fn new(epoch: Epoch) -> Cursor {
        Cursor {
            epoch,
            entries: Vec::new(),
        }
    }

    /// Puts the place of a topic, instead of the one it had. A cursor that has
    /// [`Cursor::TOPICS_MAX`] topics takes no other.
    pub fn set(&mut self, topic: TopicHash, position: Position) {
        match self.find(topic) {
            Ok(index) => self.entries[index].1 = position,
            Err(index) if self.entries.len() < Self::TOPICS_MAX => {
                self.entries.insert(index, (topic, position));
            }
            Err(_) => {}
        }
    }

    /// The place of a topic, as the id of the message that stands there.
    pub fn get(&self, topic: TopicHash) -> Option<MessageId> {
        let (topic, position) = self.entries[self.find(topic).ok()?];
        Some(MessageId {
            position,
            epoch: self.epoch,
            topic,
        })
    }

    /// Reads a cursor.
    ///
    /// # Errors
    /// When the text is not exactly of the form that [`Cursor::append`] writes.
    pub fn parse(text: &str) -> Result<Cursor, CursorError> {
        let text = text.as_bytes();
        let (head, rest) = text.split_at_checked(ENTRIES_AT).ok_or(CursorError)?;
        let epoch = head.strip_prefix(PREFIX).ok_or(CursorError)?;
        if text.len() > Self::LEN_MAX || !rest.len().is_multiple_of(ENTRY_CHARS) {
            return Err(CursorError);
        }
        let epoch = Epoch::new(read(epoch)? as u32);
        let entries: Vec<_> = rest
            .chunks_exact(ENTRY_CHARS)
            .map(|entry| {
                let (hash, position) = entry.split_at(HASH_CHARS);
                let hash = TopicHash(read(hash)? as u64);
                Ok((hash, Position::from_bits(read(position)?)))
            })
            .collect::<Result<_, CursorError>>()?;
        if entries.is_sorted_by(|(left, _), (right, _)| left < right) {
            Ok(Cursor { epoch, entries })
        } else {
            Err(CursorError)
        }
    }

    /// Appends the text: at most [`Cursor::LEN_MAX`] bytes of ASCII, none of which JSON escapes.
    pub fn append(&self, out: &mut Vec<u8>) {
        let start = out.len();
        out.resize(start + ENTRIES_AT + self.entries.len() * ENTRY_CHARS, 0);
        let (head, rest) = out[start..].split_at_mut(ENTRIES_AT);
        let (prefix, epoch) = head.split_at_mut(PREFIX.len());
        prefix.copy_from_slice(PREFIX);
        encode_bits(u128::from(self.epoch.0), epoch);
        for (text, (topic, position)) in rest.chunks_exact_mut(ENTRY_CHARS).zip(&self.entries) {
            let (hash_text, position_text) = text.split_at_mut(HASH_CHARS);
            encode_bits(u128::from(topic.bits()), hash_text);
            encode_bits(position.bits(), position_text);
        }
    }

    /// The index of a topic, or where it would stand.
    fn find(&self, topic: TopicHash) -> Result<usize, usize> {
        self.entries.binary_search_by_key(&topic, |(hash, _)| *hash)
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = Vec::new();
        self.append(&mut text);
        f.write_str(std::str::from_utf8(&text).expect("base32hex is ASCII"))
    }
}

fn read(text: &[u8]) -> Result<u128, CursorError> {
    decode_bits(text).map_err(|_| CursorError)
}

const _: () = assert!(Cursor::LEN_MAX <= 2048, "SPEC section 6 promises 2 KiB");

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn cursor(entries: &[(&str, u64, u32)]) -> Cursor {
        let mut cursor = Cursor::new(Epoch::new(7));
        for (name, millis, counter) in entries {
            cursor.set(TopicHash::of(name), Position::new(*millis, *counter));
        }
        cursor
    }

    #[test]
    fn the_order_of_setting_does_not_show() {
        let one = cursor(&[("a", 1, 0), ("b", 2, 5), ("c", 3, 0)]);
        let other = cursor(&[("c", 9, 9), ("b", 2, 5), ("a", 1, 0), ("c", 3, 0)]);
        assert_eq!(one, other);
        assert_eq!(one.to_string(), other.to_string());
        let at = one.get(TopicHash::of("b")).unwrap();
        assert_eq!(at.position, Position::new(2, 5));
        assert_eq!((at.epoch, at.topic), (Epoch::new(7), TopicHash::of("b")));
        assert_eq!(one.get(TopicHash::of("d")), None);
    }

    #[test]
    fn takes_fifty_topics_and_no_more() {
        let mut full = Cursor::new(Epoch::new(u32::MAX));
        for number in 0..=Cursor::TOPICS_MAX {
            let position = Position::new(u64::MAX, u32::MAX);
            full.set(TopicHash::of(&number.to_string()), position);
        }
        assert_eq!(full.get(TopicHash::of("50")), None);
        full.set(TopicHash::of("49"), Position::ZERO);
        assert_eq!(
            full.get(TopicHash::of("49")).unwrap().position,
            Position::ZERO
        );
        let text = full.to_string();
        assert_eq!(text.len(), Cursor::LEN_MAX);
        assert_eq!(Cursor::parse(&text), Ok(full));
        let longer = format!("{text}{}", &text[text.len() - ENTRY_CHARS..]);
        assert_eq!(Cursor::parse(&longer), Err(CursorError));
    }

    #[test]
    fn refuses_what_append_does_not_write() {
        let good = cursor(&[("a", 1, 0), ("b", 2, 5)]).to_string();
        let (head, entries) = good.split_at(ENTRIES_AT);
        let (first, second) = entries.split_at(ENTRY_CHARS);
        for bad in [
            "".to_owned(),
            "cur_".to_owned(),
            "cur_000".to_owned(),
            good.to_uppercase(),
            good.replace("cur_", "msg_"),
            good[..good.len() - 1].to_owned(),
            format!("{good}0"),
            format!("{good}é"),
            format!("{head}{second}{first}"),
            format!("{head}{first}{first}"),
            format!("{head}{first}{}w", &second[..ENTRY_CHARS - 1]),
            "cur_0é0é".to_owned(),
            "cur_".repeat(1 << 18),
        ] {
            assert_eq!(Cursor::parse(&bad), Err(CursorError), "{bad:.80}");
        }
        assert!(Cursor::parse(head).is_ok());
    }

    proptest! {
        #[test]
        fn round_trip_keeps_every_place(
            epoch: u32,
            places in prop::collection::btree_map("[a-z]{1,8}", (0..=Position::MILLIS_MAX, 0..=Position::COUNTER_MAX), 0..50),
        ) {
            let mut cursor = Cursor::new(Epoch::new(epoch));
            let places: BTreeMap<String, Position> = places
                .into_iter()
                .map(|(name, (millis, counter))| (name, Position::new(millis, counter)))
                .collect();
            for (name, position) in &places {
                cursor.set(TopicHash::of(name), *position);
            }
            let text = cursor.to_string();
            prop_assert!(text.len() <= Cursor::LEN_MAX);
            let read = Cursor::parse(&text).unwrap();
            for (name, position) in places {
                let topic = TopicHash::of(&name);
                let epoch = Epoch::new(epoch);
                prop_assert_eq!(read.get(topic), Some(MessageId { position, epoch, topic }));
            }
            prop_assert_eq!(read, cursor);
        }

        #[test]
        fn what_parses_is_its_own_text(text in "cur_[0-9a-v]{4}([0-9a-v]{26}){0,3}[0-9a-w]?") {
            if let Ok(cursor) = Cursor::parse(&text) {
                prop_assert_eq!(cursor.to_string(), text);
            }
        }
    }
}
