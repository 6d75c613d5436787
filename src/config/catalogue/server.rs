//! The process itself: where it listens, who may reach it, what it logs and measures, how it ends.

use std::time::Duration;

use super::super::table::{About, Computed, Fixed, Group, Plain, Shape};
use super::super::value::Count;
use super::{TIMEOUT_MAX, WORKERS_MAX};

/// Loopback, because without credentials nothing else is safe.
pub(crate) const HOST: Plain = Plain {
    about: About::new(
        "host",
        Group::Server,
        "ADDRESS",
        "Address to listen on: IPv4, IPv6 or localhost; one that is not loopback needs credentials or --insecure-no-auth",
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

pub(crate) const UNIX_SOCKET: Plain = Plain {
    about: About::new(
        "unix-socket",
        Group::Server,
        "FILE",
        "Unix socket to listen on as well, for processes of the same machine",
    ),
    default: "",
};

pub(crate) const UNIX_SOCKET_MODE: Plain = Plain {
    about: About::new(
        "unix-socket-mode",
        Group::Server,
        "OCTAL",
        "Permissions of that socket as in chmod; who may write to it may connect",
    ),
    default: "660",
};

pub(crate) const TLS_CERT: Plain = Plain {
    about: About::new(
        "tls-cert",
        Group::Server,
        "FILE",
        "PEM file of the certificate for HTTPS and those behind it; read again on SIGHUP and when it \
         changes",
    ),
    default: "",
};

pub(crate) const TLS_KEY: Plain = Plain {
    about: About::new(
        "tls-key",
        Group::Server,
        "FILE",
        "PEM file of the private key of that certificate; read again with it",
    ),
    default: "",
};

pub(crate) const TLS_CLIENT_CA: Plain = Plain {
    about: About::new(
        "tls-client-ca",
        Group::Server,
        "FILE",
        "PEM file of the authorities of which each HTTPS client must show a certificate; read again with it",
    ),
    default: "",
};

/// Without it there is one port, and nobody talks to it in plain text by mistake.
pub(crate) const TLS_PORT: Computed<Count> = Computed::new(
    About::new(
        "tls-port",
        Group::Server,
        "NUMBER",
        "TCP port for HTTPS, while that of --port stays plain; 0 lets the system choose",
    ),
    "none: with a certificate, --port is for HTTPS",
    Count(0),
    Count(65_535),
);

pub(crate) const TRUSTED_PROXIES: Plain = Plain {
    about: About::new(
        "trusted-proxies",
        Group::Server,
        "LIST",
        "Networks or addresses of reverse proxies, whose Forwarded or X-Forwarded-For tells who a client is",
    )
    .shape(Shape::List),
    default: "",
};

pub(crate) const PROXY_PROTOCOL: Plain = Plain {
    about: About::new(
        "proxy-protocol",
        Group::Server,
        "SWITCH",
        "Expect the PROXY protocol, version 1 or 2, on each connection from --trusted-proxies",
    )
    .shape(Shape::Switch),
    default: "off",
};

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

/// A server takes several times as many handshakes a second on one core, TLS included, and has its
/// other clients to serve meanwhile.
pub(crate) const DRAIN_RECONNECT_RATE: Fixed<Count> = Fixed::new(
    About::new(
        "drain-reconnect-rate",
        Group::Server,
        "NUMBER",
        "Clients a second that come back elsewhere after a shutdown: they are told when, within 2 s or as \
         much longer as this takes, at most 5m",
    ),
    Count(1_000),
    Count(1),
    Count(1_000_000),
);

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
