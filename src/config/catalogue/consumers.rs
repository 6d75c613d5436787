//! At-least-once consumers, and publishers that repeat their requests.

use std::time::Duration;

use super::super::table::{About, Fixed, Group, Plain};
use super::super::value::{Count, Size};
use super::{KIB, MIB, TIB, TIMEOUT_MIN};

/// A day, so that a consumer may miss a night and still go on where it was.
pub(crate) const CLIENT_RETENTION: Fixed<Duration> = Fixed::new(
    About::new(
        "client-retention",
        Group::Storage,
        "DURATION",
        "Time after which the place of an at-least-once consumer that nobody uses is dropped",
    ),
    Duration::from_secs(86_400),
    TIMEOUT_MIN,
    Duration::from_secs(3_650 * 86_400),
);

/// None: a topic that nobody reads should not fill up unasked.
pub(crate) const DEAD_LETTER_TOPIC: Plain = Plain {
    about: About::new(
        "dead-letter-topic",
        Group::Storage,
        "TOPIC",
        "Topic for messages whose deliveries are used up; without one they are dropped and counted",
    ),
    default: "",
};

/// One takes its names and a window of unacknowledged messages.
pub(crate) const CONSUMERS_MAX: Fixed<Count> = Fixed::new(
    About::new(
        "consumers-max",
        Group::Limits,
        "NUMBER",
        "At-least-once consumers at a time: a client or a group on one topic counts as one",
    ),
    Count(10_000),
    Count(1),
    Count(16_000_000),
);

/// Members claim in turn: more of them wait longer than a message takes.
pub(crate) const GROUP_MEMBERS_MAX: Fixed<Count> = Fixed::new(
    About::new(
        "group-members-max",
        Group::Limits,
        "NUMBER",
        "Members of one group on one topic at a time",
    ),
    Count(1_000),
    Count(1),
    Count(100_000),
);

/// Some 100,000 first answers, which a publisher that uses a key for each message at 160 a second
/// needs within the 600 s that they are remembered. At least one answer to a bulk of the longest
/// topics must fit.
pub(crate) const IDEMPOTENCY_BYTES_MAX: Fixed<Size> = Fixed::new(
    About::new(
        "idempotency-bytes-max",
        Group::Limits,
        "SIZE",
        "Bytes of remembered answers to publish requests with an Idempotency-Key",
    ),
    Size(64 * MIB),
    Size(128 * KIB),
    Size(TIB),
);
