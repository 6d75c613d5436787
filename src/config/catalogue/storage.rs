//! What is kept of the messages, and where.

use std::time::Duration;

use super::super::table::{About, Computed, Fixed, Group, Plain};
use super::super::value::{Count, Size};
use super::{KIB, MIB, RETENTION_MAX, TIB, TIMEOUT_MIN};

pub(crate) const STORAGE_BACKEND: Plain = Plain {
    about: About::new(
        "storage-backend",
        Group::Storage,
        "NAME",
        "Where messages are kept: memory, or valkey, which outlives the process and joins instances",
    )
    .plain_name("STORAGE_BACKEND"),
    default: "memory",
};

pub(crate) const HOT_TIER_RETENTION: Fixed<Duration> = Fixed::new(
    About::new(
        "hot-tier-retention",
        Group::Storage,
        "DURATION",
        "Age at which a message leaves the history in memory",
    )
    .plain_name("HOT_TIER_RETENTION"),
    Duration::from_secs(600),
    TIMEOUT_MIN,
    RETENTION_MAX,
);

pub(crate) const MAX_MESSAGES_PER_TOPIC: Fixed<Count> = Fixed::new(
    About::new(
        "max-messages-per-topic",
        Group::Storage,
        "NUMBER",
        "Messages in the history of one topic",
    )
    .plain_name("MAX_MESSAGES_PER_TOPIC"),
    Count(1_000_000),
    Count(1),
    Count(1_000_000_000),
);

/// A quarter of a GiB, so that one busy topic does not push the others out of a small machine.
pub(crate) const TOPIC_BYTES_MAX: Fixed<Size> = Fixed::new(
    About::new(
        "topic-bytes-max",
        Group::Storage,
        "SIZE",
        "Bytes in the history of one topic",
    ),
    Size(256 * MIB),
    Size(4 * KIB),
    Size(16 * TIB),
);

/// Half, because the kernel needs as much again for the sockets' buffers.
pub(crate) const MEMORY_MAX: Computed<Size> = Computed::new(
    About::new(
        "memory-max",
        Group::Storage,
        "SIZE",
        "Bytes of all histories, outboxes and pending messages together",
    ),
    "half of the memory of the machine or container",
    Size(16 * MIB),
    Size(16 * TIB),
);
