//! HTTP/1.1: what one connection may send, and how long it may take.

use std::time::Duration;

use super::super::table::{About, Fixed, Group, Plain, Shape};
use super::super::value::{Count, Size};
use super::{HEADERS_LIMIT, KIB, MIB, TIMEOUT_MAX, TIMEOUT_MIN};

pub(crate) const HEAD_TIMEOUT: Fixed<Duration> = Fixed::new(
    About::new(
        "head-timeout",
        Group::Http,
        "DURATION",
        "Time for the head of a request, from its first byte or the start of the connection",
    ),
    Duration::from_secs(10),
    TIMEOUT_MIN,
    TIMEOUT_MAX,
);

pub(crate) const BODY_TIMEOUT: Fixed<Duration> = Fixed::new(
    About::new(
        "body-timeout",
        Group::Http,
        "DURATION",
        "Time for the body of a request",
    ),
    Duration::from_secs(30),
    TIMEOUT_MIN,
    TIMEOUT_MAX,
);

/// Longer than the 60 s of common load balancers, so that they, not we, close an idle connection.
pub(crate) const KEEP_ALIVE_TIMEOUT: Fixed<Duration> = Fixed::new(
    About::new(
        "keep-alive-timeout",
        Group::Http,
        "DURATION",
        "Time that a connection may be idle between two requests",
    ),
    Duration::from_secs(75),
    TIMEOUT_MIN,
    TIMEOUT_MAX,
);

pub(crate) const HEAD_BYTES_MAX: Fixed<Size> = Fixed::new(
    About::new(
        "head-bytes-max",
        Group::Http,
        "SIZE",
        "Bytes of request line and headers",
    ),
    Size(32 * KIB),
    Size(KIB),
    Size(MIB),
);

pub(crate) const HEADERS_MAX: Fixed<Count> = Fixed::new(
    About::new("headers-max", Group::Http, "NUMBER", "Headers of a request"),
    Count(100),
    Count(1),
    Count(HEADERS_LIMIT as u64),
);

pub(crate) const TARGET_BYTES_MAX: Fixed<Size> = Fixed::new(
    About::new(
        "target-bytes-max",
        Group::Http,
        "SIZE",
        "Bytes of the request target",
    ),
    Size(16 * KIB),
    Size(64),
    Size(MIB),
);

pub(crate) const PIPELINE_MAX: Fixed<Count> = Fixed::new(
    About::new(
        "pipeline-max",
        Group::Http,
        "NUMBER",
        "Pipelined requests held for one connection before reading stops",
    ),
    Count(16),
    Count(1),
    Count(1_024),
);

pub(crate) const API_DOCS: Plain = Plain {
    about: About::new(
        "api-docs",
        Group::Http,
        "SWITCH",
        "Serve /docs, /redoc, /openapi.json and /asyncapi.json, to everybody",
    )
    .shape(Shape::Switch),
    default: "on",
};

/// Off: what stands in front of the server is not known here.
pub(crate) const PROXY_IDLE_TIMEOUT: Fixed<Duration> = Fixed::new(
    About::new(
        "proxy-idle-timeout",
        Group::Http,
        "DURATION",
        "Time after which a proxy in front ends a silent request; polls are answered 5s before; 0 is never",
    ),
    Duration::ZERO,
    Duration::ZERO,
    TIMEOUT_MAX,
);

/// How long before `--proxy-idle-timeout` a poll is answered, so that the answer still gets through.
pub const PROXY_IDLE_MARGIN: Duration = Duration::from_secs(5);
