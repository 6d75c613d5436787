//! Consumers that are owed each message until they acknowledge it (SPEC section 5, DESIGN "Delivery
//! modes"): what they ask for, and its bounds.

use std::ops::RangeInclusive;

/// What an at-least-once consumer asks for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AtLeastOnce {
    /// Who consumes: 1 to [`NAME_CHARS_MAX`] characters. Has a durable position in each topic.
    pub client_id: Box<str>,
    /// The group in which it shares its topics, if any: 1 to [`NAME_CHARS_MAX`] characters.
    pub group: Option<Box<str>>,
    /// Microseconds until a message that is not acknowledged is delivered again; within
    /// [`ACK_TIMEOUT_SECONDS`].
    pub ack_timeout: u64,
    /// Most messages without acknowledgement at a time; within [`WINDOW`].
    pub window: u32,
    /// Deliveries after which a message is given up; 0 for never, else within [`MAX_DELIVERIES`].
    pub max_deliveries: u32,
    /// The place asked for counts, not the durable position.
    pub reset: bool,
}

/// Most characters (Unicode scalar values) of a `client_id` and of a `group`.
pub const NAME_CHARS_MAX: usize = 255;
/// Bounds of `ack_timeout`, in seconds.
pub const ACK_TIMEOUT_SECONDS: RangeInclusive<f64> = 1.0..=3600.0;
/// Bounds of `window`.
pub const WINDOW: RangeInclusive<u32> = 1..=10_000;
/// Bounds of `max_deliveries`.
pub const MAX_DELIVERIES: RangeInclusive<u32> = 0..=1000;

impl AtLeastOnce {
    /// A consumer of this name that asks for nothing in particular.
    pub fn new(client_id: &str) -> AtLeastOnce {
        AtLeastOnce {
            client_id: client_id.into(),
            group: None,
            ack_timeout: 30_000_000,
            window: 1000,
            max_deliveries: 0,
            reset: false,
        }
    }
}

/// The text can name a client or a group.
pub(super) fn is_name(text: &str) -> bool {
    !text.is_empty() && text.chars().nth(NAME_CHARS_MAX).is_none()
}

/// Microseconds of this many seconds: a number that is not negative, and small.
pub(super) fn micros(seconds: f64) -> u64 {
    (seconds * 1e6).round() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_count_characters() {
        assert!(is_name("é") && is_name(&"é".repeat(NAME_CHARS_MAX)));
        assert!(!is_name("") && !is_name(&"é".repeat(NAME_CHARS_MAX + 1)));
    }

    #[test]
    fn seconds_may_have_fractions() {
        assert_eq!(micros(0.0), 0);
        assert_eq!(micros(1.5), 1_500_000);
        assert_eq!(micros(3600.0), 3_600_000_000);
        assert_eq!(micros(1.000_000_4), 1_000_000);
    }
}
