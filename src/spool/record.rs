//! What is kept: messages of one topic that are published together. How they look as bytes.

use thiserror::Error;

/// Messages of one record: as many as one request may bring (SPEC section 3).
pub const MESSAGES_MAX: usize = 100;
/// Bytes of a topic's name: 255 characters (SPEC section 1) of at most four bytes.
pub const TOPIC_BYTES_MAX: usize = 4 * 255;
/// Bytes of a record's body. More than any request can bring, and little enough to be read at once.
pub const BODY_BYTES_MAX: usize = 128 << 20;

/// Marks in a message's byte of flags: which of the optional numbers follow.
const HAS_TTL: u8 = 1;
const HAS_EXPIRY: u8 = 2;

/// One to [`MESSAGES_MAX`] messages of one topic that belong together, in order.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Record<'a> {
    /// Name of the topic, 1..=[`TOPIC_BYTES_MAX`] bytes.
    pub topic: &'a str,
    /// The messages.
    pub messages: Vec<Message<'a>>,
}

/// A message of a [`Record`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Message<'a> {
    /// By what it is recognised when it is published twice.
    pub token: [u8; 16],
    /// How long it was to live, in seconds.
    pub ttl: Option<u64>,
    /// When its `ttl` runs out, in microseconds of the wall clock.
    pub expires_at: Option<u64>,
    /// The delivery JSON behind its id.
    pub stored_part: &'a [u8],
}

/// A [`Record`] that was read back.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OwnedRecord {
    /// When it was appended, in microseconds of the wall clock.
    pub appended_at: u64,
    /// Name of the topic.
    pub topic: Box<str>,
    /// The messages, in order.
    pub messages: Vec<OwnedMessage>,
}

/// A message of an [`OwnedRecord`]; the fields are those of [`Message`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OwnedMessage {
    /// By what it is recognised when it is published twice.
    pub token: [u8; 16],
    /// How long it was to live, in seconds.
    pub ttl: Option<u64>,
    /// When its `ttl` runs out, in microseconds of the wall clock.
    pub expires_at: Option<u64>,
    /// The delivery JSON behind its id.
    pub stored_part: Box<[u8]>,
}

/// A record that no spool keeps.
#[derive(Clone, Copy, PartialEq, Eq, Error, Debug)]
pub enum RecordError {
    /// The name is empty or longer than [`TOPIC_BYTES_MAX`].
    #[error("the topic's name has no byte or more than {TOPIC_BYTES_MAX}")]
    Topic,
    /// There is none, or there are more than [`MESSAGES_MAX`].
    #[error("there are no messages or more than {MESSAGES_MAX}")]
    Messages,
    /// Its body would be longer than [`BODY_BYTES_MAX`].
    #[error("the messages have more than {BODY_BYTES_MAX} bytes")]
    TooLong,
}

impl Record<'_> {
    /// The body's length in bytes.
    ///
    /// # Errors
    ///
    /// The record is outside its bounds.
    pub fn encoded_len(&self) -> Result<usize, RecordError> {
        if !(1..=TOPIC_BYTES_MAX).contains(&self.topic.len()) {
            return Err(RecordError::Topic);
        }
        if !(1..=MESSAGES_MAX).contains(&self.messages.len()) {
            return Err(RecordError::Messages);
        }
        let parts = self.messages.iter().map(Message::encoded_len);
        let len = parts.fold(2 + self.topic.len() + 1, usize::saturating_add);
        if len > BODY_BYTES_MAX {
            return Err(RecordError::TooLong);
        }
        Ok(len)
    }

    /// Appends the body.
    ///
    /// # Errors
    ///
    /// The record is outside its bounds; then nothing is appended.
    pub fn encode(&self, out: &mut Vec<u8>) -> Result<(), RecordError> {
        out.reserve(self.encoded_len()?);
        let topic_len = u16::try_from(self.topic.len()).map_err(|_| RecordError::Topic)?;
        let messages = u8::try_from(self.messages.len()).map_err(|_| RecordError::Messages)?;
        out.extend(topic_len.to_le_bytes());
        out.extend(self.topic.as_bytes());
        out.push(messages);
        for message in &self.messages {
            message.encode(out);
        }
        Ok(())
    }

    /// A copy that owns its parts.
    pub fn to_owned(&self, appended_at: u64) -> OwnedRecord {
        let messages = self.messages.iter().map(|message| OwnedMessage {
            token: message.token,
            ttl: message.ttl,
            expires_at: message.expires_at,
            stored_part: message.stored_part.into(),
        });
        OwnedRecord {
            appended_at,
            topic: self.topic.into(),
            messages: messages.collect(),
        }
    }
}

impl<'a> Record<'a> {
    /// Reads a body, all of it; `None` if it is not what [`Record::encode`] makes.
    pub fn decode(body: &'a [u8]) -> Option<Record<'a>> {
        if body.len() > BODY_BYTES_MAX {
            return None;
        }
        let (topic_len, rest) = body.split_first_chunk()?;
        let topic_len = usize::from(u16::from_le_bytes(*topic_len));
        let (topic, rest) = rest.split_at_checked(topic_len)?;
        let (&count, mut rest) = rest.split_first()?;
        let count = usize::from(count);
        if !(1..=TOPIC_BYTES_MAX).contains(&topic_len) || !(1..=MESSAGES_MAX).contains(&count) {
            return None;
        }
        let mut messages = Vec::with_capacity(count);
        for _ in 0..count {
            let (message, behind) = Message::decode(rest)?;
            messages.push(message);
            rest = behind;
        }
        rest.is_empty().then_some(Record {
            topic: std::str::from_utf8(topic).ok()?,
            messages,
        })
    }
}

impl<'a> Message<'a> {
    fn encoded_len(&self) -> usize {
        let numbers = usize::from(self.ttl.is_some()) + usize::from(self.expires_at.is_some());
        (16 + 1 + 8 * numbers + 4_usize).saturating_add(self.stored_part.len())
    }

    fn encode(&self, out: &mut Vec<u8>) {
        let flag = |number: Option<u64>, flag| if number.is_some() { flag } else { 0 };
        out.extend(self.token);
        out.push(flag(self.ttl, HAS_TTL) | flag(self.expires_at, HAS_EXPIRY));
        for number in [self.ttl, self.expires_at].into_iter().flatten() {
            out.extend(number.to_le_bytes());
        }
        let len = u32::try_from(self.stored_part.len()).expect("part of a record within its bound");
        out.extend(len.to_le_bytes());
        out.extend(self.stored_part);
    }

    fn decode(input: &'a [u8]) -> Option<(Message<'a>, &'a [u8])> {
        let (token, rest) = input.split_first_chunk()?;
        let (&flags, rest) = rest.split_first()?;
        if flags & !(HAS_TTL | HAS_EXPIRY) != 0 {
            return None;
        }
        let (ttl, rest) = number(rest, flags & HAS_TTL != 0)?;
        let (expires_at, rest) = number(rest, flags & HAS_EXPIRY != 0)?;
        let (len, rest) = rest.split_first_chunk()?;
        let len = usize::try_from(u32::from_le_bytes(*len)).ok()?;
        let (stored_part, rest) = rest.split_at_checked(len)?;
        let message = Message {
            token: *token,
            ttl,
            expires_at,
            stored_part,
        };
        Some((message, rest))
    }
}

/// A number, if there is one.
fn number(input: &[u8], is_there: bool) -> Option<(Option<u64>, &[u8])> {
    if !is_there {
        return Some((None, input));
    }
    let (number, rest) = input.split_first_chunk()?;
    Some((Some(u64::from_le_bytes(*number)), rest))
}

impl OwnedRecord {
    /// The same without its time, borrowed: what a spool takes.
    pub fn borrowed(&self) -> Record<'_> {
        let messages = self.messages.iter().map(|message| Message {
            token: message.token,
            ttl: message.ttl,
            expires_at: message.expires_at,
            stored_part: &message.stored_part,
        });
        Record {
            topic: &self.topic,
            messages: messages.collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(stored_part: &[u8]) -> Message<'_> {
        Message {
            token: [7; 16],
            ttl: Some(0),
            expires_at: None,
            stored_part,
        }
    }

    #[test]
    fn has_the_documented_bytes() {
        let record = Record {
            topic: "ab",
            messages: vec![message(b"xyz")],
        };
        let mut body = Vec::new();
        record.encode(&mut body).unwrap();
        let mut expected = b"\x02\0ab\x01".to_vec();
        expected.extend([7; 16]);
        expected.extend(b"\x01\0\0\0\0\0\0\0\0\x03\0\0\0xyz");
        assert_eq!(body, expected);
        assert_eq!(record.encoded_len(), Ok(body.len()));
        assert_eq!(Record::decode(&body), Some(record));
    }

    #[test]
    fn keeps_its_bounds() {
        let long = "a".repeat(TOPIC_BYTES_MAX + 1);
        let of = |topic, count| Record {
            topic,
            messages: vec![message(b""); count],
        };
        let mut out = Vec::new();
        assert_eq!(of("", 1).encode(&mut out), Err(RecordError::Topic));
        assert_eq!(of(&long, 1).encode(&mut out), Err(RecordError::Topic));
        assert_eq!(of("a", 0).encode(&mut out), Err(RecordError::Messages));
        assert_eq!(of("a", 101).encode(&mut out), Err(RecordError::Messages));
        let most = vec![0; BODY_BYTES_MAX / 50];
        let big = Record {
            topic: "a",
            messages: vec![message(&most); 50],
        };
        assert_eq!(big.encode(&mut out), Err(RecordError::TooLong));
        assert!(out.is_empty());
        assert_eq!(of(&long[1..], 100).encode(&mut out), Ok(()));
    }

    #[test]
    fn refuses_what_it_does_not_make() {
        let record = Record {
            topic: "é",
            messages: vec![message(b"1"), message(b"")],
        };
        let mut body = Vec::new();
        record.encode(&mut body).unwrap();
        for len in 0..body.len() {
            assert_eq!(Record::decode(&body[..len]), None, "cut to {len}");
        }
        for (at, wrong, why) in [
            (0, 0, "no topic"),
            (2, 0xff, "not UTF-8"),
            (4, 0, "no messages"),
            (4, 1, "bytes behind"),
            (4, 101, "too many messages"),
            (21, 4, "an unknown flag"),
        ] {
            let mut changed = body.clone();
            changed[at] = wrong;
            assert_eq!(Record::decode(&changed), None, "{why}");
        }
    }
}
