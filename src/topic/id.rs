//! Positions, epochs and message ids (SPEC section 1).
//!
//! A message id is `msg_` and 30 characters of lower-case base32hex, whose alphabet sorts like
//! its values, so that ids of one topic sort by position:
//!
//! ```text
//! msg_ 00pl3c3v0k0000 a1b2 0123456789ab
//!      position (70)  |    topic hash (60)
//!                     epoch (20 bits)
//! ```

use sha2::{Digest, Sha256};

const ALPHABET: &[u8; 32] = b"0123456789abcdefghijklmnopqrstuv";
const PREFIX: &[u8; 4] = b"msg_";
pub(super) const POSITION_CHARS: usize = 14;
pub(super) const EPOCH_CHARS: usize = 4;
pub(super) const HASH_CHARS: usize = 12;

/// Place of a message in its topic as the outside sees it: milliseconds and counter, the two
/// numbers of a Valkey stream id. Strictly increasing within a topic.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Position {
    /// The 70 bits, most significant word first: 12 bytes, where two numbers would take 16. Every
    /// subscription holds some.
    words: [u32; 3],
}

impl Position {
    /// Below every position that a store issues.
    pub const ZERO: Position = Position { words: [0; 3] };
    /// Largest value of the milliseconds: 48 bits.
    pub const MILLIS_MAX: u64 = (1 << 48) - 1;
    /// Largest value of the counter: 22 bits.
    pub const COUNTER_MAX: u32 = (1 << 22) - 1;

    /// A position from its two numbers, each capped at its largest value.
    pub fn new(millis: u64, counter: u32) -> Position {
        let millis = u128::from(millis.min(Self::MILLIS_MAX));
        Position::from_bits(millis << 22 | u128::from(counter.min(Self::COUNTER_MAX)))
    }

    /// Milliseconds since the Unix epoch, at most [`Position::MILLIS_MAX`].
    pub fn millis(self) -> u64 {
        (self.bits() >> 22) as u64
    }

    /// Counter within the millisecond, at most [`Position::COUNTER_MAX`].
    pub fn counter(self) -> u32 {
        self.words[2] & Self::COUNTER_MAX
    }

    pub(super) fn bits(self) -> u128 {
        let [high, middle, low] = self.words.map(u128::from);
        high << 64 | middle << 32 | low
    }

    pub(super) fn from_bits(bits: u128) -> Position {
        Position {
            words: [(bits >> 64) as u32, (bits >> 32) as u32, bits as u32],
        }
    }

    /// The position for a message that is stored at `now_millis` behind `self`: strictly above
    /// `self`, also when the clock stepped back or the counter of the millisecond is used up.
    #[must_use]
    pub fn next(self, now_millis: u64) -> Position {
        if now_millis > self.millis() {
            Position::new(now_millis, 0)
        } else {
            // One more; a full counter carries into the milliseconds.
            Position::from_bits(self.bits() + 1)
        }
    }

    /// The position right below this one, whether or not it was ever issued.
    pub(super) fn previous(self) -> Position {
        Position::from_bits(self.bits().saturating_sub(1))
    }
}

impl std::fmt::Debug for Position {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}-{}", self.millis(), self.counter())
    }
}

/// 20 random bits, chosen at each empty start of the store: positions of another epoch say nothing
/// about this one.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Epoch(pub(super) u32);

impl Epoch {
    /// The epoch of these bits; only the lower 20 count.
    pub fn new(bits: u32) -> Epoch {
        Epoch(bits & 0xf_ffff)
    }
}

/// The first 60 bits of SHA-256 of a topic's UTF-8 name: the same on every server.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct TopicHash(pub(super) u64);

impl TopicHash {
    /// The hash of a topic's name.
    pub fn of(name: &str) -> TopicHash {
        let digest = Sha256::digest(name.as_bytes());
        let first = digest.first_chunk::<8>().expect("SHA-256 has 32 bytes");
        TopicHash(u64::from_be_bytes(*first) >> 4)
    }

    /// Length of the text in bytes, always the same.
    pub const LEN: usize = HASH_CHARS;

    /// The 60 bits.
    pub fn bits(self) -> u64 {
        self.0
    }

    /// The text, as it stands at the end of message ids.
    pub fn encode(self) -> [u8; Self::LEN] {
        let mut text = [0; Self::LEN];
        encode_bits(u128::from(self.0), &mut text);
        text
    }
}

/// Names one message: where it stands, in which epoch, in which topic.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct MessageId {
    /// Place in the topic.
    pub position: Position,
    /// Epoch of the store that issued the position.
    pub epoch: Epoch,
    /// Hash of the topic's name.
    pub topic: TopicHash,
}

/// The text is not a message id.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("not a message id")]
pub struct MessageIdError;

impl MessageId {
    /// Length of the text in bytes, always the same.
    pub const LEN: usize = PREFIX.len() + POSITION_CHARS + EPOCH_CHARS + HASH_CHARS;

    /// The id as text.
    pub fn encode(&self) -> [u8; Self::LEN] {
        let mut text = [0; Self::LEN];
        text[..4].copy_from_slice(PREFIX);
        encode_bits(self.position.bits(), &mut text[4..18]);
        encode_bits(u128::from(self.epoch.0), &mut text[18..22]);
        encode_bits(u128::from(self.topic.0), &mut text[22..]);
        text
    }

    /// Reads an id.
    ///
    /// # Errors
    /// When the text is not exactly of the form that [`MessageId::encode`] writes.
    pub fn parse(text: &str) -> Result<MessageId, MessageIdError> {
        let text = text.as_bytes();
        if text.len() != Self::LEN || &text[..4] != PREFIX {
            return Err(MessageIdError);
        }
        let position = decode_bits(&text[4..18])?;
        let epoch = decode_bits(&text[18..22])?;
        let topic = decode_bits(&text[22..])?;
        Ok(MessageId {
            position: Position::from_bits(position),
            epoch: Epoch(epoch as u32),
            topic: TopicHash(topic as u64),
        })
    }
}

impl std::fmt::Display for MessageId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let text = self.encode();
        f.write_str(std::str::from_utf8(&text).expect("base32hex is ASCII"))
    }
}

/// Writes the lowest bits, five a character, as many as `text` has room for.
pub(super) fn encode_bits(mut bits: u128, text: &mut [u8]) {
    for byte in text.iter_mut().rev() {
        *byte = ALPHABET[(bits & 31) as usize];
        bits >>= 5;
    }
}

/// Reads what [`encode_bits`] wrote: at most 25 characters.
pub(super) fn decode_bits(text: &[u8]) -> Result<u128, MessageIdError> {
    text.iter().try_fold(0, |bits, byte| {
        let value = match byte {
            b'0'..=b'9' => byte - b'0',
            b'a'..=b'v' => byte - b'a' + 10,
            _ => return Err(MessageIdError),
        };
        Ok(bits << 5 | u128::from(value))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn id(millis: u64, counter: u32) -> MessageId {
        MessageId {
            position: Position::new(millis, counter),
            epoch: Epoch::new(7),
            topic: TopicHash::of("notifications"),
        }
    }

    #[test]
    fn topic_hash_is_the_front_of_sha256() {
        // printf %s abc | sha256sum: ba7816bf8f01cfea…
        assert_eq!(TopicHash::of("abc").bits(), 0xba7_816b_f8f0_1cfe);
    }

    #[test]
    fn refuses_what_encode_does_not_write() {
        let good = id(1, 2).to_string();
        assert_eq!(good.len(), MessageId::LEN);
        for bad in [
            "",
            "msg_",
            "last",
            &good[1..],
            &good.to_uppercase(),
            &good.replace("msg_", "msg-"),
        ] {
            assert_eq!(MessageId::parse(bad), Err(MessageIdError), "{bad}");
        }
    }

    #[test]
    fn next_rises_when_the_clock_steps_back_or_the_counter_is_full() {
        let at = Position::new(1000, 5);
        assert_eq!(at.next(999), Position::new(1000, 6));
        assert_eq!(at.next(1001), Position::new(1001, 0));
        let full = Position::new(1000, Position::COUNTER_MAX);
        assert_eq!(full.next(1000), Position::new(1001, 0));
    }

    proptest! {
        #[test]
        fn round_trip(millis in 0..=Position::MILLIS_MAX, counter in 0..=Position::COUNTER_MAX,
                      epoch: u32, name in "[a-z]{1,20}") {
            let id = MessageId {
                position: Position::new(millis, counter),
                epoch: Epoch::new(epoch),
                topic: TopicHash::of(&name),
            };
            prop_assert_eq!(MessageId::parse(&id.to_string()), Ok(id));
            prop_assert!(id.encode().ends_with(&id.topic.encode()));
        }

        #[test]
        fn text_sorts_like_positions(a in 0..1u64 << 48, b in 0..1u64 << 48, c in 0..1u32 << 22, d in 0..1u32 << 22) {
            let (left, right) = (id(a, c), id(b, d));
            prop_assert_eq!(left.position.cmp(&right.position), left.encode().cmp(&right.encode()));
        }
    }
}
