//! WebSocket, and what holds for every connection on which messages are pushed.

use std::time::Duration;

use super::super::table::{About, Computed, Fixed, Group, Plain, Shape};
use super::super::value::Size;
use super::{GIB, KIB, MIB, TIMEOUT_MAX, TIMEOUT_MIN};

pub(crate) const WS_PING_INTERVAL: Fixed<Duration> = Fixed::new(
    About::new(
        "ws-ping-interval",
        Group::WebSocket,
        "DURATION",
        "Idle time until the server pings",
    ),
    Duration::from_secs(20),
    TIMEOUT_MIN,
    TIMEOUT_MAX,
);

/// Three pings.
pub(crate) const WS_IDLE_TIMEOUT: Fixed<Duration> = Fixed::new(
    About::new(
        "ws-idle-timeout",
        Group::WebSocket,
        "DURATION",
        "Time without a sign of life after which a WebSocket, or a stream that is not read, is closed",
    ),
    Duration::from_secs(60),
    TIMEOUT_MIN,
    TIMEOUT_MAX,
);

pub(crate) const LAG_TIMEOUT: Fixed<Duration> = Fixed::new(
    About::new(
        "lag-timeout",
        Group::WebSocket,
        "DURATION",
        "Time that a slow consumer may take nothing of what waits for it",
    ),
    Duration::from_secs(30),
    TIMEOUT_MIN,
    TIMEOUT_MAX,
);

pub(crate) const WS_COMPRESSION: Plain = Plain {
    about: About::new(
        "ws-compression",
        Group::WebSocket,
        "SWITCH",
        "Accept permessage-deflate where a client offers it: less is sent, more is computed",
    )
    .shape(Shape::Switch),
    default: "off",
};

pub(crate) const WS_ECHO: Plain = Plain {
    about: About::new(
        "ws-echo",
        Group::WebSocket,
        "SWITCH",
        "Serve /ws/echo, which sends back what it gets; for conformance tests",
    )
    .shape(Shape::Switch),
    default: "off",
};

pub(crate) const OUTBOX_BYTES_MAX: Computed<Size> = Computed::new(
    About::new(
        "outbox-bytes-max",
        Group::WebSocket,
        "SIZE",
        "Bytes that wait for one connection before it must catch up from the history",
    ),
    "1MiB, or what one message needs",
    Size(4 * KIB),
    Size(GIB),
);

/// The default of `--outbox-bytes-max`, unless one message needs more.
pub(crate) const OUTBOX_BYTES_DEFAULT: u64 = MIB;
