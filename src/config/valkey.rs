//! The decided settings of the persistent tier.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

/// How Valkey is reached and used. There is one exactly with `--storage-backend valkey`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ValkeySettings {
    /// What the addresses are.
    pub topology: ValkeyTopology,
    /// Host and port of each node or sentinel that was named: 1 to
    /// [`VALKEY_ADDRESSES_MAX`](super::VALKEY_ADDRESSES_MAX), exactly one if standalone. Hosts are lower
    /// case, IPv6 addresses without brackets.
    pub addresses: Vec<(String, u16)>,
    /// ACL user of Valkey; `None` for the default one. Not empty.
    pub username: Option<Secret>,
    /// Password for Valkey. Not empty.
    pub password: Option<Secret>,
    /// ACL user of the sentinels. Not empty, and only if they are asked.
    pub sentinel_username: Option<Secret>,
    /// Password for the sentinels. Not empty, and only if they are asked.
    pub sentinel_password: Option<Secret>,
    /// Number of the database, at least 0; 0 in a cluster.
    pub db: i64,
    /// Whether TLS is spoken with Valkey and with sentinels.
    pub use_tls: bool,
    /// PEM file of authorities, in place of those of the system; only with TLS. Not opened yet.
    pub ca_file: Option<PathBuf>,
    /// What all keys and channels begin with: at most [`VALKEY_PREFIX_MAX`](super::VALKEY_PREFIX_MAX)
    /// printable ASCII characters, no white space and no braces, which would hide the hash tags.
    pub prefix: String,
    /// Time in which a request must have been answered, 100 ms to 60 s.
    pub timeout: Duration,
    /// Bytes that wait for Valkey; at least two messages of the largest size.
    pub queue_bytes_max: usize,
    /// Replicas that must have a message before its publisher is answered, 0 to 16.
    pub wait: u32,
    /// Time for which a topic is followed after its last reader has left, 1 s to 1 h.
    pub linger: Duration,
    /// Age at which a message leaves its stream, at least 1 s.
    pub retention: Duration,
    /// Time for which the position of a topic's newest message outlives the last publish: `retention` and
    /// the time for which consumers keep their places, so that no place is left without its topic's end.
    pub last_retention: Duration,
    /// What happens to messages while Valkey is away.
    pub on_outage: OnOutage,
}

/// What the addresses of Valkey stand for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ValkeyTopology {
    /// The one server.
    Standalone,
    /// Some nodes of a cluster, which tell of the others.
    Cluster,
    /// Sentinels, which tell where the primary is.
    Sentinel {
        /// The name under which they know it, not empty.
        master: String,
    },
}

/// What happens to messages that are published while Valkey is away.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OnOutage {
    /// They are refused with 503.
    Reject,
    /// They are kept in files and replayed.
    Spool {
        /// Where the files are, as typed. Not opened yet.
        directory: PathBuf,
        /// Bytes of all files; at least two messages of the largest size.
        bytes_max: u64,
    },
}

/// A text that logs and error sentences must not show. It shows itself to who asks by
/// [`expose`](Secret::expose), never in its `Debug` form.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Hides the text.
    pub fn new(text: String) -> Secret {
        Secret(text)
    }

    /// The text, for the one who must send it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_shown_to_who_asks_only() {
        let secret = Secret::new("hunter2".to_owned());
        assert_eq!(secret.expose(), "hunter2");
        for text in [format!("{secret:?}"), format!("{:#?}", Some(&secret))] {
            assert!(!text.contains("hunter2"), "{text}");
        }
    }
}
