//! Every setting, declared once, by subject: name, help, default, bounds and the reason for them.
//!
//! Bounds are where the server still works as it promises, not where it is comfortable.

mod access;
mod consumers;
mod http;
mod limits;
mod server;
mod storage;
mod valkey;
mod websocket;

use std::time::Duration;

use super::table::Declared;

// One flat list for those who decide and check; the files only keep subjects apart.
pub(super) use self::{
    access::*, consumers::*, http::*, limits::*, server::*, storage::*, valkey::*, websocket::*,
};
pub use http::PROXY_IDLE_MARGIN;
pub use valkey::{SECRET_BYTES_MAX, VALKEY_ADDRESSES_MAX, VALKEY_PREFIX_MAX};

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

/// Every setting, in the order of `--help` and docs/SETTINGS.md.
pub(crate) static SETTINGS: [&dyn Declared; 88] = [
    &HOST,
    &PORT,
    &UNIX_SOCKET,
    &UNIX_SOCKET_MODE,
    &TLS_CERT,
    &TLS_KEY,
    &TLS_CLIENT_CA,
    &TLS_PORT,
    &TRUSTED_PROXIES,
    &PROXY_PROTOCOL,
    &WORKERS,
    &APP_NAME,
    &CONFIG,
    &DRAIN_DELAY,
    &DRAIN_TIMEOUT,
    &DRAIN_RECONNECT_RATE,
    &STORAGE_BACKEND,
    &HOT_TIER_RETENTION,
    &PERSISTENT_TIER_RETENTION,
    &MAX_MESSAGES_PER_TOPIC,
    &TOPIC_BYTES_MAX,
    &MEMORY_MAX,
    &CLIENT_RETENTION,
    &DEAD_LETTER_TOPIC,
    &VALKEY_HOST,
    &VALKEY_PORT,
    &VALKEY_MODE,
    &VALKEY_USERNAME,
    &VALKEY_PASSWORD,
    &VALKEY_DB,
    &VALKEY_USE_TLS,
    &VALKEY_CA_FILE,
    &VALKEY_SENTINEL_MASTER,
    &VALKEY_SENTINEL_USERNAME,
    &VALKEY_SENTINEL_PASSWORD,
    &VALKEY_PREFIX,
    &VALKEY_TIMEOUT,
    &VALKEY_QUEUE_BYTES_MAX,
    &VALKEY_WAIT,
    &VALKEY_LINGER,
    &ON_OUTAGE,
    &SPOOL_DIR,
    &SPOOL_BYTES_MAX,
    &MAX_CONNECTIONS,
    &HTTP_CONNECTIONS_MAX,
    &TOPICS_MAX,
    &MAX_MESSAGE_SIZE,
    &RATE_LIMIT_PER_CLIENT,
    &CLIENT_CONNECTIONS_MAX,
    &CLIENT_SUBSCRIPTIONS_MAX,
    &CLIENT_POLLS_MAX,
    &CLIENT_BYTES_MAX,
    &ADDRESS_CONNECTIONS_MAX,
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
    &API_DOCS,
    &WS_PING_INTERVAL,
    &WS_IDLE_TIMEOUT,
    &LAG_TIMEOUT,
    &WS_COMPRESSION,
    &WS_ECHO,
    &OUTBOX_BYTES_MAX,
    &API_KEYS,
    &API_KEYS_FILE,
    &JWT_SECRET_KEY,
    &JWT_PUBLIC_KEY,
    &JWT_JWKS,
    &JWT_JWKS_REFRESH,
    &JWT_ISSUER,
    &JWT_AUDIENCE,
    &ALLOW_QUERY_TOKEN,
    &METRICS_AUTH,
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
