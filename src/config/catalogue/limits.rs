//! What one process carries at a time.

use super::super::table::{About, Fixed, Group};
use super::super::value::{Count, Size};
use super::{HTTP_CONNECTIONS_RESERVED, KIB, MIB};

pub(crate) const MAX_CONNECTIONS: Fixed<Count> = Fixed::new(
    About::new(
        "max-connections",
        Group::Limits,
        "NUMBER",
        "WebSocket connections, streams and polling clients at a time",
    )
    .plain_name("MAX_CONNECTIONS_PER_INSTANCE"),
    Count(10_000),
    Count(1),
    Count(16_000_000),
);

/// Plain requests come and go; a few hundred connections carry all a machine can answer.
pub(crate) const HTTP_CONNECTIONS_MAX: Fixed<Count> = Fixed::new(
    About::new(
        "http-connections-max",
        Group::Limits,
        "NUMBER",
        "Other connections at a time; the last 16 serve only /health, /ready and /metrics",
    ),
    Count(1_024),
    Count(HTTP_CONNECTIONS_RESERVED as u64 + 1),
    Count(16_000_000),
);

/// A topic's own overhead is a few hundred bytes: this many take tens of megabytes.
pub(crate) const TOPICS_MAX: Fixed<Count> = Fixed::new(
    About::new("topics-max", Group::Limits, "NUMBER", "Topics at a time"),
    Count(100_000),
    Count(1),
    Count(100_000_000),
);

/// At most 64 MiB: a body is scanned in one go, and a larger one would hold up its worker.
pub(crate) const MAX_MESSAGE_SIZE: Fixed<Size> = Fixed::new(
    About::new(
        "max-message-size",
        Group::Limits,
        "SIZE",
        "Bytes of a request body or a WebSocket message from a client",
    )
    .plain_name("MAX_MESSAGE_SIZE"),
    Size(MIB),
    Size(KIB),
    Size(64 * MIB),
);

pub(crate) const CLIENT_CONNECTIONS_MAX: Fixed<Count> = of_client(
    "client-connections-max",
    "WebSockets, streams and waiting polls of one client at a time; 0 is no limit",
);

pub(crate) const CLIENT_SUBSCRIPTIONS_MAX: Fixed<Count> = of_client(
    "client-subscriptions-max",
    "Topics that all connections of one client are subscribed to; 0 is no limit",
);

pub(crate) const CLIENT_POLLS_MAX: Fixed<Count> = of_client(
    "client-polls-max",
    "Polls of one client that wait at a time; 0 is no limit",
);

pub(crate) const CLIENT_BYTES_MAX: Fixed<Size> = Fixed::new(
    About::new(
        "client-bytes-max",
        Group::Limits,
        "SIZE",
        "Bytes that wait for all connections of one client, or have come from it in part; 0 is no limit",
    ),
    Size(0),
    Size(0),
    Size(1 << 40),
);

pub(crate) const ADDRESS_CONNECTIONS_MAX: Fixed<Count> = of_client(
    "address-connections-max",
    "Connections of any kind from one address that is no trusted proxy's; 0 is no limit",
);

const fn of_client(name: &'static str, help: &'static str) -> Fixed<Count> {
    Fixed::new(
        About::new(name, Group::Limits, "NUMBER", help),
        Count(0),
        Count(0),
        Count(1_000_000_000),
    )
}

pub(crate) const RATE_LIMIT_PER_CLIENT: Fixed<Count> = Fixed::new(
    About::new(
        "rate-limit-per-client",
        Group::Limits,
        "NUMBER",
        "Messages a minute that one client may publish, other requests counted as one; 0 is no limit",
    )
    .plain_name("RATE_LIMIT_PER_CLIENT"),
    Count(0),
    Count(0),
    Count(1_000_000_000),
);

pub(crate) const SUBSCRIPTIONS_MAX: Fixed<Count> = Fixed::new(
    About::new(
        "subscriptions-max",
        Group::Limits,
        "NUMBER",
        "Topics of one connection at a time",
    ),
    Count(100),
    Count(1),
    Count(100_000),
);
