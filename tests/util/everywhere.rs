//! Tests of what must be the same whether messages and consumers live in memory or behind it.

use crate::{DEADLINE, Server, Valkey, wait_until, with_workers};

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
    store: Option<Valkey>,
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
        Place {
            flags: vec!["--workers".to_owned(), workers.to_owned()],
            store: None,
        }
    }

    /// On a store that servers with so many workers share.
    pub fn behind_memory(workers: &str) -> Place {
        let store = Valkey::start();
        let port = store.port().to_string();
        let backend = ["--storage-backend", "valkey", "--valkey-port", &port];
        let flags = [&["--workers", workers], &backend[..]].concat();
        Place {
            flags: flags.into_iter().map(str::to_owned).collect(),
            store: Some(store),
        }
    }

    /// A server with these flags in addition, when it is ready.
    pub fn start(&self, more: &[&str]) -> Server {
        let flags = self.flags.iter().map(String::as_str);
        let flags: Vec<&str> = flags.chain(more.iter().copied()).collect();
        let server = Server::start(&flags);
        server.wait_until_ready();
        server
    }

    /// Waits until so many messages are pending, of all consumers.
    pub fn wait_for_pending(&self, server: &Server, count: u64) {
        self.wait_for(server, "proxy_pending_messages", ["o", "pending"], count);
    }

    /// Messages that are pending, of all consumers.
    pub fn pending(&self, server: &Server) -> u64 {
        match &self.store {
            None => server.metric("proxy_pending_messages", &[]) as u64,
            Some(store) => count(store, ["o", "pending"]),
        }
    }

    /// Waits until there are so many durable consumers.
    pub fn wait_for_consumers(&self, server: &Server, count: u64) {
        self.wait_for(server, "proxy_consumers", ["s", "keys"], count);
    }

    fn wait_for(&self, server: &Server, metric: &str, what: [&str; 2], wanted: u64) {
        let Some(store) = &self.store else {
            return server.wait_for_metric(metric, &[], wanted as f64);
        };
        let name = format!("{metric} {wanted}");
        wait_until(&name, DEADLINE, || count(store, what) == wanted);
    }
}

fn count(store: &Valkey, [kind, what]: [&str; 2]) -> u64 {
    store.command(&["EVAL", COUNT, "0", kind, what])
}
