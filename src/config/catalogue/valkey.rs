//! The persistent tier: where Valkey is, who we are there, what is kept, and what an outage means.

use std::time::Duration;

use super::super::table::{About, Computed, Fixed, Group, Plain, Shape};
use super::super::value::{Count, Size};
use super::{MIB, TIB, TIMEOUT_MAX};

/// Most addresses of `--valkey-host`: any few nodes of a cluster tell of the others.
pub const VALKEY_ADDRESSES_MAX: usize = 64;
/// Longest `--valkey-prefix`, in characters: it is part of every key.
pub const VALKEY_PREFIX_MAX: usize = 64;
/// Longest name or password for Valkey, in bytes: more is a file that was pasted by mistake.
pub const SECRET_BYTES_MAX: usize = 4_096;

/// Port where a Valkey listens if nothing else is said.
pub(crate) const VALKEY_PORT_DEFAULT: u16 = 6_379;
/// Port where a Sentinel listens if nothing else is said.
pub(crate) const SENTINEL_PORT_DEFAULT: u16 = 26_379;

pub(crate) const PERSISTENT_TIER_RETENTION: Fixed<Duration> = Fixed::new(
    About::new(
        "persistent-tier-retention",
        Group::Storage,
        "DURATION",
        "Age at which a message leaves Valkey",
    )
    .plain_name("PERSISTENT_TIER_RETENTION"),
    Duration::from_secs(86_400),
    Duration::from_secs(1),
    Duration::from_secs(3_650 * 86_400),
);

pub(crate) const VALKEY_HOST: Plain = Plain {
    about: About::new(
        "valkey-host",
        Group::Valkey,
        "LIST",
        "Host of Valkey, as host[:port] with IPv6 addresses in brackets; some nodes of a cluster, or the sentinels",
    )
    .plain_name("VALKEY_HOST")
    .shape(Shape::List),
    default: "127.0.0.1",
};

pub(crate) const VALKEY_PORT: Computed<Count> = Computed::new(
    About::new(
        "valkey-port",
        Group::Valkey,
        "NUMBER",
        "TCP port of each host that is listed without one",
    )
    .plain_name("VALKEY_PORT"),
    "6379, or 26379 with sentinels",
    Count(1),
    Count(65_535),
);

pub(crate) const VALKEY_MODE: Plain = Plain {
    about: About::new(
        "valkey-mode",
        Group::Valkey,
        "NAME",
        "What the hosts are: standalone (one server), cluster or sentinel",
    ),
    default: "standalone",
};

pub(crate) const VALKEY_USERNAME: Plain = Plain {
    about: About::new(
        "valkey-username",
        Group::Valkey,
        "TEXT",
        "ACL user of Valkey; without one the password is that of the default user",
    )
    .plain_name("VALKEY_USERNAME")
    .secret(),
    default: "",
};

pub(crate) const VALKEY_PASSWORD: Plain = Plain {
    about: About::new(
        "valkey-password",
        Group::Valkey,
        "TEXT",
        "Password for Valkey; others can see command lines, so better given by another source",
    )
    .plain_name("VALKEY_PASSWORD")
    .secret(),
    default: "",
};

/// The last number that Valkey's own count of databases, a signed 32-bit number, can allow.
pub(crate) const VALKEY_DB: Fixed<Count> = Fixed::new(
    About::new(
        "valkey-db",
        Group::Valkey,
        "NUMBER",
        "Number of the database; a cluster has 0 alone",
    )
    .plain_name("VALKEY_DB"),
    Count(0),
    Count(0),
    Count(i32::MAX as u64 - 1),
);

pub(crate) const VALKEY_USE_TLS: Plain = Plain {
    about: About::new(
        "valkey-use-tls",
        Group::Valkey,
        "SWITCH",
        "Speak TLS with Valkey, and with sentinels",
    )
    .plain_name("VALKEY_USE_TLS")
    .shape(Shape::Switch),
    default: "off",
};

pub(crate) const VALKEY_CA_FILE: Plain = Plain {
    about: About::new(
        "valkey-ca-file",
        Group::Valkey,
        "FILE",
        "PEM file of the authorities that may sign Valkey's certificate; without one those of the system",
    ),
    default: "",
};

pub(crate) const VALKEY_SENTINEL_MASTER: Plain = Plain {
    about: About::new(
        "valkey-sentinel-master",
        Group::Valkey,
        "NAME",
        "Name under which the sentinels know the primary",
    ),
    default: "mymaster",
};

pub(crate) const VALKEY_SENTINEL_USERNAME: Plain = Plain {
    about: About::new(
        "valkey-sentinel-username",
        Group::Valkey,
        "TEXT",
        "ACL user of the sentinels",
    )
    .secret(),
    default: "",
};

pub(crate) const VALKEY_SENTINEL_PASSWORD: Plain = Plain {
    about: About::new(
        "valkey-sentinel-password",
        Group::Valkey,
        "TEXT",
        "Password for the sentinels; like valkey-password better not given by a flag",
    )
    .secret(),
    default: "",
};

pub(crate) const VALKEY_PREFIX: Plain = Plain {
    about: About::new(
        "valkey-prefix",
        Group::Valkey,
        "TEXT",
        "What the names of all keys and channels begin with; the same for all instances that share topics",
    ),
    default: "pulsar:",
};

/// Shorter than the patience of common publishers, longer than a fail-over of a small set.
pub(crate) const VALKEY_TIMEOUT: Fixed<Duration> = Fixed::new(
    About::new(
        "valkey-timeout",
        Group::Valkey,
        "DURATION",
        "Time in which Valkey must have answered a request",
    ),
    Duration::from_secs(5),
    Duration::from_millis(100),
    Duration::from_secs(60),
);

pub(crate) const VALKEY_QUEUE_BYTES_MAX: Fixed<Size> = Fixed::new(
    About::new(
        "valkey-queue-bytes-max",
        Group::Valkey,
        "SIZE",
        "Bytes that wait for Valkey before publishers get 503",
    ),
    Size(64 * MIB),
    Size(MIB),
    Size(TIB),
);

/// None: replicas cost each publish a round trip, and a single server has none to wait for.
pub(crate) const VALKEY_WAIT: Fixed<Count> = Fixed::new(
    About::new(
        "valkey-wait",
        Group::Valkey,
        "NUMBER",
        "Replicas that must have a message before its publisher is answered",
    ),
    Count(0),
    Count(0),
    Count(16),
);

/// Long enough for polls that come one after another, and for clients that connect again.
pub(crate) const VALKEY_LINGER: Fixed<Duration> = Fixed::new(
    About::new(
        "valkey-linger",
        Group::Valkey,
        "DURATION",
        "Time for which a topic is still followed after its last reader has left",
    ),
    Duration::from_secs(10),
    Duration::from_secs(1),
    TIMEOUT_MAX,
);

/// Reject, because 201 promises a place in the order, and a spool can only promise a later one.
pub(crate) const ON_OUTAGE: Plain = Plain {
    about: About::new(
        "on-outage",
        Group::Valkey,
        "NAME",
        "What happens to messages while Valkey is away: reject (503), or spool (202, kept in a file until it is back)",
    ),
    default: "reject",
};

pub(crate) const SPOOL_DIR: Plain = Plain {
    about: About::new(
        "spool-dir",
        Group::Valkey,
        "DIRECTORY",
        "Where the files of the spool are; one directory for each instance",
    ),
    default: "",
};

pub(crate) const SPOOL_BYTES_MAX: Fixed<Size> = Fixed::new(
    About::new(
        "spool-bytes-max",
        Group::Valkey,
        "SIZE",
        "Bytes of the spool's files; messages beyond get 503",
    ),
    Size(256 * MIB),
    Size(MIB),
    Size(16 * TIB),
);
