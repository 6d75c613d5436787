//! Every setting, declared once: name, help, default, bounds and the reason for them.
//!
//! Bounds are where the server still works as it promises, not where it is comfortable.

use std::time::Duration;

use super::table::{About, Computed, Declared, Fixed, Group, Plain, Shape};
use super::value::{Count, Size};

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
const TIB: u64 = 1 << 40;

/// The shortest timeout that a busy loop can still keep.
const TIMEOUT_MIN: Duration = Duration::from_millis(10);
/// Past an hour a timeout is a mistake in the unit.
const TIMEOUT_MAX: Duration = Duration::from_secs(3_600);
/// History in memory for longer than a month is a mistake in the unit.
const RETENTION_MAX: Duration = Duration::from_secs(30 * 86_400);

/// Most worker threads: a topic keeps its interested workers in the bits of one `u64`.
pub const WORKERS_MAX: usize = 64;
/// Of the plain HTTP connections, the last ones that are kept for `/health`, `/ready` and `/metrics`.
pub const HTTP_CONNECTIONS_RESERVED: usize = 16;
/// Most headers of a request that `--headers-max` may allow: they are parsed into an array.
pub const HEADERS_LIMIT: usize = 256;
/// What a delivered message has beyond the body it was published in: frame header (10 bytes), a topic
/// of 255 characters of four bytes, id (34), timestamp (27), field names and punctuation (87), and the
/// store's record of it. Payload and metadata are never longer than they came.
pub const ENVELOPE_BYTES_MAX: usize = 1_536;

const _: () = assert!(10 + 255 * 4 + 34 + 27 + 87 <= ENVELOPE_BYTES_MAX);
const _: () = assert!(WORKERS_MAX <= u64::BITS as usize);

// Server.

/// Loopback, because without credentials nothing else is safe.
pub(crate) const HOST: Plain = Plain {
    about: About::new(
        "host",
        Group::Server,
        "ADDRESS",
        "Address to listen on: IPv4, IPv6 or localhost; one that is not loopback needs --insecure-no-auth",
    ),
    default: "127.0.0.1",
};

pub(crate) const PORT: Fixed<Count> = Fixed::new(
    About::new(
        "port",
        Group::Server,
        "NUMBER",
        "TCP port to listen on; 0 lets the system choose",
    )
    .plain_name("HTTP_PORT"),
    Count(8_080),
    Count(0),
    Count(65_535),
);

/// One thread per core: each is a loop that is never idle under load.
pub(crate) const WORKERS: Computed<Count> = Computed::new(
    About::new("workers", Group::Server, "NUMBER", "Worker threads").plain_name("WORKERS"),
    "number of cores, at most 64",
    Count(1),
    Count(WORKERS_MAX as u64),
);

pub(crate) const APP_NAME: Plain = Plain {
    about: About::new(
        "app-name",
        Group::Server,
        "TEXT",
        "Name of this installation",
    )
    .plain_name("APP_NAME"),
    default: "Pulsar Proxy",
};

pub(crate) const CONFIG: Plain = Plain {
    about: About::new(
        "config",
        Group::Server,
        "FILE",
        "TOML file with settings; its keys are the flags' names with _ for -",
    ),
    default: "",
};

/// None, for those who restart by hand; a load balancer needs the time in which it sees `/ready`.
pub(crate) const DRAIN_DELAY: Fixed<Duration> = Fixed::new(
    About::new(
        "drain-delay",
        Group::Server,
        "DURATION",
        "Time between SIGTERM, when /ready turns 503, and the end of listening",
    ),
    Duration::ZERO,
    Duration::ZERO,
    TIMEOUT_MAX,
);

pub(crate) const DRAIN_TIMEOUT: Fixed<Duration> = Fixed::new(
    About::new(
        "drain-timeout",
        Group::Server,
        "DURATION",
        "Time in which connections are closed one after another at shutdown",
    ),
    Duration::from_secs(30),
    Duration::ZERO,
    TIMEOUT_MAX,
);

// Storage.

pub(crate) const STORAGE_BACKEND: Plain = Plain {
    about: About::new(
        "storage-backend",
        Group::Storage,
        "NAME",
        "Where messages are kept",
    )
    .plain_name("STORAGE_BACKEND")
    .not_built(),
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

pub(crate) const PERSISTENT_TIER_RETENTION: Fixed<Duration> = Fixed::new(
    About::new(
        "persistent-tier-retention",
        Group::Storage,
        "DURATION",
        "Age at which a message leaves the persistent tier",
    )
    .plain_name("PERSISTENT_TIER_RETENTION")
    .not_built(),
    Duration::from_secs(86_400),
    Duration::from_secs(1),
    Duration::from_secs(3_650 * 86_400),
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

// Limits.

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

pub(crate) const RATE_LIMIT_PER_CLIENT: Fixed<Count> = Fixed::new(
    About::new(
        "rate-limit-per-client",
        Group::Limits,
        "NUMBER",
        "Messages a minute that one client may publish; 0 is no limit",
    )
    .plain_name("RATE_LIMIT_PER_CLIENT")
    .not_built(),
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

// HTTP.

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

// WebSocket.

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
pub(super) const OUTBOX_BYTES_DEFAULT: u64 = MIB;

// Access.

pub(crate) const INSECURE_NO_AUTH: Plain = Plain {
    about: About::new(
        "insecure-no-auth",
        Group::Access,
        "SWITCH",
        "Listen on an address that is not loopback although no credentials are configured",
    )
    .shape(Shape::Switch),
    default: "off",
};

pub(crate) const ALLOWED_ORIGINS: Plain = Plain {
    about: About::new(
        "allowed-origins",
        Group::Access,
        "LIST",
        "Origins of web pages that may use the server, as scheme://host[:port] or null",
    )
    .shape(Shape::List),
    default: "",
};

pub(crate) const ALLOWED_HOSTS: Plain = Plain {
    about: About::new(
        "allowed-hosts",
        Group::Access,
        "LIST",
        "Hosts, without port, that requests may name beside loopback ones; * allows all",
    )
    .shape(Shape::List),
    default: "",
};

// Logs and metrics.

pub(crate) const LOG_LEVEL: Plain = Plain {
    about: About::new(
        "log-level",
        Group::Logs,
        "LEVEL",
        "Least level that is logged: DEBUG, INFO, WARNING, ERROR or CRITICAL",
    )
    .plain_name("LOG_LEVEL"),
    default: "INFO",
};

pub(crate) const LOG_FORMAT: Plain = Plain {
    about: About::new(
        "log-format",
        Group::Logs,
        "FORMAT",
        "Form of the log on stderr: text, json, or auto, which is text on a terminal",
    ),
    default: "auto",
};

pub(crate) const METRICS_TOPICS_MAX: Fixed<Count> = Fixed::new(
    About::new(
        "metrics-topics-max",
        Group::Logs,
        "NUMBER",
        "Topics with metrics of their own; the rest is summed as *",
    ),
    Count(1_000),
    Count(0),
    Count(1_000_000),
);

/// Every setting, in the order of `--help` and the README.
pub(crate) static SETTINGS: [&dyn Declared; 44] = [
    &HOST,
    &PORT,
    &WORKERS,
    &APP_NAME,
    &CONFIG,
    &DRAIN_DELAY,
    &DRAIN_TIMEOUT,
    &STORAGE_BACKEND,
    &HOT_TIER_RETENTION,
    &PERSISTENT_TIER_RETENTION,
    &MAX_MESSAGES_PER_TOPIC,
    &TOPIC_BYTES_MAX,
    &MEMORY_MAX,
    &CLIENT_RETENTION,
    &DEAD_LETTER_TOPIC,
    &MAX_CONNECTIONS,
    &HTTP_CONNECTIONS_MAX,
    &TOPICS_MAX,
    &MAX_MESSAGE_SIZE,
    &RATE_LIMIT_PER_CLIENT,
    &SUBSCRIPTIONS_MAX,
    &CONSUMERS_MAX,
    &GROUP_MEMBERS_MAX,
    &IDEMPOTENCY_BYTES_MAX,
    &HEAD_TIMEOUT,
    &BODY_TIMEOUT,
    &KEEP_ALIVE_TIMEOUT,
    &HEAD_BYTES_MAX,
    &HEADERS_MAX,
    &TARGET_BYTES_MAX,
    &PIPELINE_MAX,
    &PROXY_IDLE_TIMEOUT,
    &WS_PING_INTERVAL,
    &WS_IDLE_TIMEOUT,
    &LAG_TIMEOUT,
    &WS_COMPRESSION,
    &WS_ECHO,
    &OUTBOX_BYTES_MAX,
    &INSECURE_NO_AUTH,
    &ALLOWED_ORIGINS,
    &ALLOWED_HOSTS,
    &LOG_LEVEL,
    &LOG_FORMAT,
    &METRICS_TOPICS_MAX,
];

// A request line that is allowed must fit into a head that is allowed.
const _: () = assert!(TARGET_BYTES_MAX.default.0 < HEAD_BYTES_MAX.default.0);
// An idle client gets at least one ping before it is given up.
const _: () = assert!(WS_PING_INTERVAL.default.as_millis() < WS_IDLE_TIMEOUT.default.as_millis(),);
// The largest message fits into the history of its topic, the outbox and the least memory budget.
const _: () =
    assert!(MAX_MESSAGE_SIZE.default.0 + (ENVELOPE_BYTES_MAX as u64) < TOPIC_BYTES_MAX.default.0,);
const _: () = assert!(
    MAX_MESSAGE_SIZE.quantity.max.0 + (ENVELOPE_BYTES_MAX as u64) < OUTBOX_BYTES_MAX.quantity.max.0,
);
