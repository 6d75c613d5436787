//! Every limit and default: what can be set, what was typed, and what was decided from it.
//!
//! [`Layers`] holds the sources as text, [`Layers::merge`] picks the strongest for each setting, and
//! [`decide`] turns that into a [`Config`], in which everything is parsed, in bounds and consistent. Nothing
//! here reads a file or the environment; the caller does, and hands in what it found.

mod catalogue;
mod check;
mod decide;
#[cfg(test)]
mod document;
mod error;
mod names;
mod read;
mod table;
mod typed;
mod valkey;
mod value;

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;

pub(crate) use catalogue::SETTINGS;
pub use catalogue::{
    ENVELOPE_BYTES_MAX, HEADERS_LIMIT, HTTP_CONNECTIONS_RESERVED, PROXY_IDLE_MARGIN,
    SECRET_BYTES_MAX, VALKEY_ADDRESSES_MAX, VALKEY_PREFIX_MAX, WORKERS_MAX,
};
pub use decide::decide;
pub use error::{ConfigError, Source};
pub(crate) use table::{About, Shape};
pub use typed::{Given, Layers, Typed};
pub use valkey::{OnOutage, Secret, ValkeySettings, ValkeyTopology};
pub(crate) use value::parse_duration;

/// Time in which the first subscribe of a WebSocket connection is due (SPEC section 5). It is no setting:
/// a client that has opened a connection has no reason to wait.
pub const SUBSCRIBE_TIMEOUT: Duration = Duration::from_secs(10);

/// What the machine offers, from which some defaults follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Machine {
    /// Cores that this process may use, at least 1.
    pub cores: usize,
    /// Bytes of memory that this process may use.
    pub memory: u64,
}

/// The decided settings. All bounds are inclusive and hold for the whole process unless said otherwise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Address to listen on; loopback unless `insecure_no_auth`.
    pub host: IpAddr,
    /// Port to listen on; 0 lets the system choose.
    pub port: u16,
    /// Worker threads, 1 to [`WORKERS_MAX`].
    pub workers: usize,
    /// Name of this installation, not empty.
    pub app_name: String,
    /// Time between SIGTERM and the end of listening.
    pub drain_delay: Duration,
    /// Time in which connections are closed at shutdown.
    pub drain_timeout: Duration,
    /// Clients a second that come back elsewhere after a shutdown, at least 1.
    pub drain_reconnect_rate: usize,

    /// Age at which a message leaves the history in memory.
    pub hot_tier_retention: Duration,
    /// Messages in the history of one topic, at least 1.
    pub max_messages_per_topic: usize,
    /// Bytes in the history of one topic; at least one message of the largest size.
    pub topic_bytes_max: usize,
    /// Bytes of all histories, outboxes and pending messages together; at least one outbox.
    pub memory_max: usize,
    /// Time after which the place of an at-least-once consumer that nobody uses is dropped.
    pub client_retention: Duration,
    /// Topic for messages whose deliveries are used up, as typed: what a name may be is not known
    /// here.
    pub dead_letter_topic: Option<Given>,
    /// The tier behind memory; `None` if messages are kept in memory alone.
    pub valkey: Option<ValkeySettings>,

    /// WebSocket connections, streams and polling clients at a time, at least 1.
    pub max_connections: usize,
    /// Other connections at a time, more than [`HTTP_CONNECTIONS_RESERVED`].
    pub http_connections_max: usize,
    /// Topics at a time, at least 1.
    pub topics_max: usize,
    /// Bytes of a request body or of a WebSocket message from a client, 1 KiB to 64 MiB.
    pub max_message_size: usize,
    /// Messages a minute that a client may publish; 0 for no limit.
    pub rate_limit_per_client: u32,
    /// WebSockets, streams and waiting polls of one client at a time; 0 for no limit.
    pub client_connections_max: usize,
    /// Topics that all connections of one client are subscribed to; 0 for no limit.
    pub client_subscriptions_max: usize,
    /// Polls of one client that wait at a time; 0 for no limit.
    pub client_polls_max: usize,
    /// Bytes that wait for all connections of one client, or have come in part; 0 for no limit.
    pub client_bytes_max: usize,
    /// Connections of any kind from one address; 0 for no limit.
    pub address_connections_max: usize,
    /// Topics of one connection at a time, at least 1.
    pub subscriptions_max: usize,
    /// At-least-once consumers at a time, at least 1; a client or a group on one topic is one.
    pub consumers_max: usize,
    /// Members of one group on one topic at a time, at least 1.
    pub group_members_max: usize,
    /// Bytes of remembered answers to requests with an `Idempotency-Key`, at least 128 KiB.
    pub idempotency_bytes_max: usize,

    /// Time for the head of a request, from its first byte.
    pub head_timeout: Duration,
    /// Time for the body of a request.
    pub body_timeout: Duration,
    /// Time that a connection may be idle between two requests.
    pub keep_alive_timeout: Duration,
    /// Bytes of request line and headers; more than `target_bytes_max`.
    pub head_bytes_max: usize,
    /// Headers of a request, 1 to [`HEADERS_LIMIT`].
    pub headers_max: usize,
    /// Bytes of the request target.
    pub target_bytes_max: usize,
    /// Pipelined requests held for one connection before reading stops, at least 1.
    pub pipeline_max: usize,
    /// Time after which a proxy in front ends a silent request: zero for never, else more than
    /// [`PROXY_IDLE_MARGIN`].
    pub proxy_idle_timeout: Duration,

    /// Whether the documents that describe the interface are served.
    pub api_docs: bool,
    /// Idle time until the server pings; shorter than `ws_idle_timeout`.
    pub ws_ping_interval: Duration,
    /// Time without a sign of life after which a WebSocket connection is closed.
    pub ws_idle_timeout: Duration,
    /// Time that a slow consumer may take nothing of what waits for it.
    pub lag_timeout: Duration,
    /// Whether permessage-deflate is accepted where it is offered.
    pub ws_compression: bool,
    /// Whether `/ws/echo` is served.
    pub ws_echo: bool,
    /// Bytes that wait for one connection; at least [`message_bytes_max`](Self::message_bytes_max).
    pub outbox_bytes_max: usize,

    /// Certificates; `None` without TLS.
    pub tls: Option<TlsSettings>,
    /// Where to listen in the file system as well.
    pub unix_socket: Option<UnixSocket>,

    /// Networks of the proxies that are believed who a client is.
    pub trusted_proxies: Vec<IpNet>,
    /// Whether these begin connections with a header of the PROXY protocol.
    pub proxy_protocol: bool,

    /// Which credentials are asked for.
    pub access: AccessSettings,
    /// Whether the operator allowed to listen on any address without credentials.
    pub insecure_no_auth: bool,
    /// Origins that may use the server, as browsers send them: lower case, without default port, or `null`.
    pub allowed_origins: Vec<String>,
    /// Hosts that requests may name beside loopback ones.
    pub allowed_hosts: AllowedHosts,

    /// Least level that is logged.
    pub log_level: LogLevel,
    /// Form of the log.
    pub log_format: LogFormat,
    /// Topics with metrics of their own.
    pub metrics_topics_max: usize,
}

impl Config {
    /// Host and port.
    pub fn address(&self) -> SocketAddr {
        SocketAddr::new(self.host, self.port)
    }

    /// Bytes that the largest message takes when it is delivered or kept.
    pub fn message_bytes_max(&self) -> usize {
        self.max_message_size + ENVELOPE_BYTES_MAX
    }
}

/// TLS to clients. Files are not opened yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsSettings {
    /// PEM file of the certificate and those behind it, as typed.
    pub certificate: Given,
    /// PEM file of its private key, as typed.
    pub key: Given,
    /// PEM file of the authorities of clients, as typed; without one, clients show no certificate.
    pub client_authorities: Option<Given>,
    /// The port for HTTPS if the main one stays plain.
    pub port: Option<u16>,
}

/// A socket in the file system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnixSocket {
    /// Its path.
    pub path: PathBuf,
    /// Its permissions, as in `chmod`.
    pub mode: u32,
}

/// Which credentials are asked for. Files are not opened yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessSettings {
    /// API keys, as typed.
    pub api_keys: Option<Given>,
    /// File of API keys, as typed.
    pub api_keys_file: Option<Given>,
    /// Secret of tokens; not empty.
    pub jwt_secret_key: Option<Secret>,
    /// PEM file of public keys of tokens, as typed.
    pub jwt_public_key: Option<Given>,
    /// File or address of a JSON Web Key Set, as typed.
    pub jwt_jwks: Option<Given>,
    /// Time between two fetches of that.
    pub jwks_refresh: Duration,
    /// Issuers whose tokens are accepted; of all if there are none.
    pub jwt_issuers: Vec<String>,
    /// What tokens must be for; anything if there are none.
    pub jwt_audiences: Vec<String>,
    /// Whether a credential may stand in a query.
    pub allow_query_token: bool,
    /// Whether `/metrics` is for those alone who may read every topic.
    pub metrics_auth: bool,
}

impl AccessSettings {
    /// Whether there is anything to check credentials with.
    pub fn asks_for_credentials(&self) -> bool {
        self.api_keys.is_some() || self.api_keys_file.is_some() || self.takes_tokens()
    }

    /// Where to fetch a JSON Web Key Set.
    pub fn jwks_url(&self) -> Option<&str> {
        let given = self.jwt_jwks.as_ref()?;
        is_url(&given.text).then_some(&*given.text)
    }

    /// Which file has a JSON Web Key Set.
    pub fn jwks_file(&self) -> Option<&Given> {
        self.jwt_jwks.as_ref().filter(|given| !is_url(&given.text))
    }

    /// Whether there is anything to verify tokens with.
    pub fn takes_tokens(&self) -> bool {
        let files = [&self.jwt_public_key, &self.jwt_jwks];
        self.jwt_secret_key.is_some() || files.into_iter().any(Option::is_some)
    }
}

fn is_url(text: &str) -> bool {
    ["http://", "https://"]
        .iter()
        .any(|scheme| text.starts_with(scheme))
}

/// Which hosts a request may name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AllowedHosts {
    /// Any; a reverse proxy in front may pass on whatever it serves.
    Any,
    /// These and loopback ones: lower case, without port, IPv6 addresses without brackets.
    Listed(Vec<String>),
}

/// How serious an event is; ordered from the least.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    /// For those who look for a fault.
    Debug,
    /// What the server does.
    Info,
    /// What an operator should look at some day.
    Warning,
    /// What failed.
    Error,
    /// What ends the server.
    Critical,
}

impl LogLevel {
    /// Every level, the least first.
    pub const ALL: [LogLevel; 5] = [
        LogLevel::Debug,
        LogLevel::Info,
        LogLevel::Warning,
        LogLevel::Error,
        LogLevel::Critical,
    ];

    /// The name that is accepted and printed.
    pub fn name(self) -> &'static str {
        match self {
            LogLevel::Debug => "DEBUG",
            LogLevel::Info => "INFO",
            LogLevel::Warning => "WARNING",
            LogLevel::Error => "ERROR",
            LogLevel::Critical => "CRITICAL",
        }
    }
}

/// The form of the log on stderr.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// Text on a terminal, JSON otherwise.
    Auto,
    /// A line that people read.
    Text,
    /// A JSON object on one line.
    Json,
}
