//! What a server says of itself, and what that means for messages.

use redis::Value;

use super::entry::bytes;

/// Oldest version that has sharded channels and flags of scripts.
const MAJOR_VERSION_MIN: u64 = 7;

/// What is known of a server; what it may not tell is `None`.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub(super) struct Node {
    /// Another one with each start.
    pub(super) run_id: Option<String>,
    version: Option<String>,
    role: Option<String>,
    is_loading: bool,
    is_in_cluster: bool,
    maxmemory_policy: Option<String>,
    aof_enabled: Option<String>,
    appendfsync: Option<String>,
}

impl Node {
    /// From the answers to `INFO` and `CONFIG GET appendfsync`.
    pub(super) fn new(info: &Value, fsync: &Value) -> Node {
        let Some(Ok(info)) = text_of(info).map(std::str::from_utf8) else {
            tracing::debug!("Valkey does not tell about itself (INFO): it is not checked");
            return Node::default();
        };
        let find = |name: &str| {
            let mut lines = info.lines().filter_map(|line| line.split_once(':'));
            let (_, value) = lines.find(|(key, _)| *key == name)?;
            Some(value.trim().to_owned())
        };
        Node {
            run_id: find("run_id"),
            // Valkey tells the version of Redis as well that it is compatible with: 7.2.4.
            version: find("valkey_version").or_else(|| find("redis_version")),
            role: find("role"),
            is_in_cluster: find("cluster_enabled").is_some_and(|it| it == "1"),
            is_loading: find("loading").is_some_and(|loading| loading != "0"),
            maxmemory_policy: find("maxmemory_policy"),
            aof_enabled: find("aof_enabled"),
            appendfsync: setting(fsync),
        }
    }

    /// Why it cannot be worked with, by one who wants a node of a cluster, or none.
    pub(super) fn refusal(&self, wants_cluster: bool) -> Option<&'static str> {
        if self
            .major_version()
            .is_some_and(|major| major < MAJOR_VERSION_MIN)
        {
            return Some("Valkey is too old: version 7.2 (or Redis 7.0) is the least");
        }
        if self.is_loading {
            return Some("Valkey is loading its data");
        }
        if self.is_in_cluster && !wants_cluster {
            return Some("Valkey is a node of a cluster: valkey-mode must be cluster");
        }
        let is_replica = self.role.as_deref().is_some_and(|role| role != "master");
        is_replica.then_some("Valkey is a replica")
    }

    /// Says in the log what should be changed.
    pub(super) fn warn(&self) {
        if let Some(policy) = self
            .maxmemory_policy
            .as_deref()
            .filter(|name| *name != "noeviction")
        {
            tracing::warn!(
                "Valkey's maxmemory-policy is {policy}: it may drop messages and consumers' \
                 places when its memory is full; set it to noeviction"
            );
        }
        match (self.aof_enabled.as_deref(), self.appendfsync.as_deref()) {
            (Some("0"), _) => tracing::warn!(
                "Valkey keeps no append-only file: what it stored since its last snapshot is lost \
                 when it stops; set appendonly to yes"
            ),
            (Some(_), Some(fsync)) if fsync != "always" => tracing::info!(
                "Valkey's appendfsync is {fsync}: a power failure may lose what was stored within \
                 the last second or more; always loses nothing"
            ),
            _ => {}
        }
    }

    fn major_version(&self) -> Option<u64> {
        self.version.as_deref()?.split('.').next()?.parse().ok()
    }
}

/// For the log.
pub(super) fn version_error(node: &Node) -> String {
    let unknown = || "unknown".to_owned();
    let version = node.version.clone().unwrap_or_else(unknown);
    let role = node.role.clone().unwrap_or_else(unknown);
    format!("version {version}, role {role}")
}

fn text_of(answer: &Value) -> Option<&[u8]> {
    match answer {
        Value::VerbatimString { text, .. } => Some(text.as_bytes()),
        answer => bytes(answer),
    }
}

/// The value of a setting, from a list of its name and value.
fn setting(answer: &Value) -> Option<String> {
    let Value::Array(parts) = answer else {
        return None;
    };
    let value = std::str::from_utf8(bytes(parts.get(1)?)?).ok()?;
    Some(value.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(info: &str) -> Node {
        Node::new(&Value::BulkString(info.as_bytes().to_vec()), &Value::Nil)
    }

    #[test]
    fn a_server_is_known_by_what_it_says() {
        let good =
            node("# Server\r\nredis_version:7.0.15\r\nrun_id:abc\r\nloading:0\r\nrole:master\r\n");
        assert_eq!(
            (good.run_id.as_deref(), good.refusal(false)),
            (Some("abc"), None)
        );
        assert_eq!(
            node("").refusal(false),
            None,
            "what is not told is not refused"
        );
        assert!(
            node("redis_version:6.2.7\r\n")
                .refusal(false)
                .unwrap()
                .contains("too old")
        );
        assert!(
            node("redis_version:7.2.4\r\nvalkey_version:8.0.1\r\n")
                .refusal(false)
                .is_none()
        );
        assert!(
            node("role:slave\r\n")
                .refusal(false)
                .unwrap()
                .contains("replica")
        );
        let cluster = node("cluster_enabled:1\r\n");
        assert!(cluster.refusal(false).unwrap().contains("cluster"));
        assert_eq!(cluster.refusal(true), None);
        assert!(
            node("loading:1\r\n")
                .refusal(false)
                .unwrap()
                .contains("loading")
        );
    }
}
