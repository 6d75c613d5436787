//! Tests of what must be the same whether messages and consumers live in memory or behind it.

use crate::valkey::log_key;
use crate::{DEADLINE, Server, Valkey, ValkeyCluster, wait_until, with_workers};

/// Counts members of sets, or keys, over all keys of a kind. ARGV: the kind, what to count.
const COUNT: &str = "
    local total = 0
    for _, key in ipairs(redis.call('KEYS', 'pulsar:{*}:c:' .. ARGV[1] .. ':*')) do
        total = total + (ARGV[2] == 'keys' and 1 or redis.call('ZLEXCOUNT', key, '[a', '(b'))
    end
    return total";

/// Where messages and consumers live.
pub struct Place {
    flags: Vec<String>,
    store: Store,
}

/// Of what servers share.
enum Store {
    Nothing,
    Single(Valkey),
    Cluster(ValkeyCluster),
}

impl Store {
    /// The servers that have each key once.
    fn primaries(&self) -> &[Valkey] {
        match self {
            Store::Nothing => &[],
            Store::Single(store) => std::slice::from_ref(store),
            Store::Cluster(cluster) => &cluster.nodes()[..3],
        }
    }
}

/// Runs a test in memory, with one worker and with several, and on a store behind memory.
pub fn everywhere(test: impl Fn(&Place)) {
    with_workers(|workers| test(&Place::in_memory(workers)));
    eprintln!("on a store behind memory");
    test(&Place::behind_memory("4"));
}

impl Place {
    /// In the memory of a server with so many workers.
    pub fn in_memory(workers: &str) -> Place {
        Place::of(&["--workers", workers], Store::Nothing)
    }

    fn of(flags: &[&str], store: Store) -> Place {
        Place {
            flags: flags.iter().map(|flag| (*flag).to_owned()).collect(),
            store,
        }
    }

    /// On a cluster that servers with so many workers share.
    pub fn on_a_cluster(workers: &str) -> Place {
        let cluster = ValkeyCluster::start();
        let hosts = cluster.hosts();
        let backend = ["--storage-backend", "valkey", "--valkey-mode", "cluster"];
        let flags = ["--workers", workers, "--valkey-host", &hosts];
        Place::of(&[&backend[..], &flags].concat(), Store::Cluster(cluster))
    }

    /// On a store that servers with so many workers share.
    pub fn behind_memory(workers: &str) -> Place {
        let store = Valkey::start();
        let port = store.port().to_string();
        let backend = ["--storage-backend", "valkey", "--valkey-port", &port];
        let flags = [&["--workers", workers], &backend[..]].concat();
        Place::of(&flags, Store::Single(store))
    }

    /// Moves a topic to another primary, where there are several.
    ///
    /// # Panics
    ///
    /// When they refuse.
    pub fn disturb(&self, topic: &str) {
        if let Store::Cluster(cluster) = &self.store {
            let slot = cluster.slot(&log_key(topic));
            let from = cluster.primary_of(slot).expect("each slot is served");
            cluster.move_slot(slot, (from + 1) % 3);
        }
    }

    /// A server with these flags in addition, when it is ready.
    pub fn start(&self, more: &[&str]) -> Server {
        let server = self.launch(more);
        server.wait_until_ready();
        server
    }

    /// A server with these flags in addition, when it listens.
    pub fn launch(&self, more: &[&str]) -> Server {
        let flags = self.flags.iter().map(String::as_str);
        let flags: Vec<&str> = flags.chain(more.iter().copied()).collect();
        Server::start(&flags)
    }

    /// Waits until so many messages are pending, of all consumers.
    pub fn wait_for_pending(&self, server: &Server, count: u64) {
        self.wait_for(server, "proxy_pending_messages", ["o", "pending"], count);
    }

    /// Messages that are pending, of all consumers.
    pub fn pending(&self, server: &Server) -> u64 {
        match &self.store {
            Store::Nothing => server.metric("proxy_pending_messages", &[]) as u64,
            store => count(store, ["o", "pending"]),
        }
    }

    /// Waits until there are so many durable consumers.
    pub fn wait_for_consumers(&self, server: &Server, count: u64) {
        self.wait_for(server, "proxy_consumers", ["s", "keys"], count);
    }

    fn wait_for(&self, server: &Server, metric: &str, what: [&str; 2], wanted: u64) {
        if let Store::Nothing = self.store {
            return server.wait_for_metric(metric, &[], wanted as f64);
        }
        let name = format!("{metric} {wanted}");
        wait_until(&name, DEADLINE, || count(&self.store, what) == wanted);
    }
}

fn count(store: &Store, [kind, what]: [&str; 2]) -> u64 {
    let count = |it: &Valkey| it.command::<u64>(&["EVAL", COUNT, "0", kind, what]);
    store.primaries().iter().map(count).sum()
}
