//! What is said on channels, as bytes. Whoever may publish there may say anything: what is not
//! understood is `None` and changes nothing.
//!
//! ```text
//! a topic's channel   m 1769860800123-0 1769860800100-2 60 "topic":"t","payload":…}   a message
//!                       position        predecessor     ttl stored part
//!                     r 1769860800123-0            the topic was emptied, and goes on behind this
//!                     w                            its consumers should look again
//! the echo channel    17
//! ```

use super::entry::parse_position;
use crate::topic::Position;

/// What a topic's channel says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Said<'p> {
    /// A message was stored.
    Message(SaidMessage<'p>),
    /// The topic was emptied; its log goes on behind this position.
    Restart(Position),
    /// The topic's consumers should look again.
    Wake,
}

/// A stored message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SaidMessage<'p> {
    /// Its position.
    pub position: Position,
    /// That of the message before it in the topic; [`Position::ZERO`] when none is known.
    pub predecessor: Position,
    /// Seconds; `None` for a message that does not expire.
    pub ttl: Option<u64>,
    /// What [`stored_part`](crate::api::delivery::stored_part) gave; not checked here.
    pub stored_part: &'p [u8],
}

/// Reads what a topic's channel said.
pub fn parse(payload: &[u8]) -> Option<Said<'_>> {
    match payload.split_first()? {
        (b'm', rest) => message(rest.strip_prefix(b" ")?).map(Said::Message),
        (b'r', rest) => parse_position(rest.strip_prefix(b" ")?).map(Said::Restart),
        (b'w', []) => Some(Said::Wake),
        _ => None,
    }
}

/// Reads the number that the echo channel said.
pub fn parse_echo(payload: &[u8]) -> Option<u64> {
    number(payload)
}

fn message(text: &[u8]) -> Option<SaidMessage<'_>> {
    let (at, rest) = word(text)?;
    let (predecessor, rest) = word(rest)?;
    let (ttl, stored_part) = word(rest)?;
    Some(SaidMessage {
        position: parse_position(at)?,
        predecessor: parse_position(predecessor)?,
        ttl: number(ttl).map(|ttl| (ttl > 0).then_some(ttl))?,
        stored_part,
    })
}

/// What stands before the first space, and what behind it.
fn word(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let space = memchr::memchr(b' ', text)?;
    Some((&text[..space], &text[space + 1..]))
}

/// Decimal digits alone: `str::parse` would take a sign as well.
fn number(digits: &[u8]) -> Option<u64> {
    if !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(digits).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn any_position() -> impl Strategy<Value = Position> {
        (0..=Position::MILLIS_MAX, 0..=Position::COUNTER_MAX)
            .prop_map(|(millis, counter)| Position::new(millis, counter))
    }

    #[test]
    fn reads_the_three_kinds() {
        let message = SaidMessage {
            position: Position::new(17, 1),
            predecessor: Position::new(16, 0),
            ttl: None,
            stored_part: b"\"topic\":\"t t\"}",
        };
        assert_eq!(
            parse(b"m 17-1 16-0 0 \"topic\":\"t t\"}"),
            Some(Said::Message(message))
        );
        let expiring = SaidMessage {
            predecessor: Position::ZERO,
            ttl: Some(60),
            stored_part: b"",
            ..message
        };
        assert_eq!(parse(b"m 17-1 0-0 60 "), Some(Said::Message(expiring)));
        assert_eq!(parse(b"r 17-1"), Some(Said::Restart(Position::new(17, 1))));
        assert_eq!(parse(b"w"), Some(Said::Wake));
        assert_eq!(parse_echo(b"18446744073709551615"), Some(u64::MAX));
    }

    #[test]
    fn refuses_everything_else() {
        for bad in [
            &b""[..],
            b"m",
            b"m ",
            b"m 1-1",
            b"m 1-1 1-0",
            b"m 1-1 1-0 0",
            b"m 1-1 1-0 +1 x",
            b"m 1-1 1-0  x",
            b"m 1 1-0 0 x",
            b"m -1 1-0 0 x",
            b"m 1- 1-0 0 x",
            b"m 1-1-1 1-0 0 x",
            // The milliseconds and the counter have 48 and 22 bits.
            b"m 281474976710656-0 1-0 0 x",
            b"m 1-4194304 1-0 0 x",
            b"m 1-1 1-0 18446744073709551616 x",
            b"r",
            b"r 1",
            b"r 1-1 ",
            b"w ",
            b"x 1-1",
            b"\xff",
        ] {
            assert_eq!(parse(bad), None, "{}", bad.escape_ascii());
        }
        for bad in [
            &b""[..],
            b"-1",
            b"+1",
            b" 1",
            b"1 ",
            b"18446744073709551616",
        ] {
            assert_eq!(parse_echo(bad), None, "{}", bad.escape_ascii());
        }
    }

    proptest! {
        #[test]
        fn finds_the_parts_that_were_put_together(
            at in any_position(), before in any_position(), ttl in 0..=u64::MAX,
            stored_part in prop::collection::vec(any::<u8>(), 0..64),
        ) {
            let mut payload = format!("m {at:?} {before:?} {ttl} ").into_bytes();
            payload.extend_from_slice(&stored_part);
            let said = SaidMessage {
                position: at,
                predecessor: before,
                ttl: (ttl > 0).then_some(ttl),
                stored_part: &stored_part,
            };
            prop_assert_eq!(parse(&payload), Some(Said::Message(said)));
            let restart = format!("r {at:?}");
            prop_assert_eq!(parse(restart.as_bytes()), Some(Said::Restart(at)));
            prop_assert_eq!(parse_echo(ttl.to_string().as_bytes()), Some(ttl));
        }

        #[test]
        fn takes_any_bytes(payload in prop::collection::vec(any::<u8>(), 0..64),
                           near in "[mrw] ?[0-9]{0,20}-?[0-9]{0,9} ?[0-9]{0,3}-?[0-9]? ?[0-9]? ?") {
            for payload in [&payload[..], near.as_bytes()] {
                if let Some(Said::Message(said)) = parse(payload) {
                    prop_assert!(payload.ends_with(said.stored_part));
                }
                parse_echo(payload);
            }
        }
    }
}
