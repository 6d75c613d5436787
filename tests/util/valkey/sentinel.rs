//! A primary and a replica, watched by three sentinels.

use crate::valkey::{Valkey, ValkeySetup};
use crate::{DEADLINE, wait_until};

/// What the sentinels call the pair.
pub const MASTER: &str = "mymaster";
const QUORUM: &str = "2";
/// How long a server may be silent, in milliseconds. A busy machine holds processes up for a good part of it.
const DOWN_AFTER: &str = "1000";
/// How often the sentinels look, in milliseconds. Their own second is as long as a server may be silent, so that
/// one that has just taken over would seem down. A replica is good to take over only if it has told about itself,
/// which it is asked once a second then, within five periods of pings.
const PERIODS: [(&str, &str); 5] = [
    ("ping-period", "300"),
    ("info-period", "200"),
    ("ask-period", "100"),
    ("publish-period", "200"),
    ("min-link-reconnect-period", "100"),
];

/// A pair of servers and its sentinels.
pub struct ValkeySentinel {
    /// The primary and the replica, as they were at the start.
    stores: [Valkey; 2],
    sentinels: [Valkey; 3],
}

impl ValkeySentinel {
    /// Starts a pair that fails over when its primary has not answered for a second.
    ///
    /// # Panics
    ///
    /// When the sentinels do not agree in time.
    pub fn start() -> ValkeySentinel {
        Self::start_with(|setup| setup)
    }

    /// Starts a pair with more settings for each of the two stores.
    ///
    /// # Panics
    ///
    /// When the sentinels do not agree in time.
    pub fn start_with(settings: impl Fn(ValkeySetup) -> ValkeySetup) -> ValkeySentinel {
        let primary = settings(ValkeySetup::new()).start();
        let port = primary.port().to_string();
        let replica = settings(ValkeySetup::new()).set("replicaof", &format!("127.0.0.1 {port}"));
        let stores = [primary, replica.start()];
        wait_until("the replica is in step", DEADLINE, || {
            stores[1].info_is("master_link_status", "up")
        });
        let sentinel = || start_sentinel(&port);
        let sentinels = [sentinel(), sentinel(), sentinel()];
        let pair = ValkeySentinel { stores, sentinels };
        wait_until("the sentinels know all", DEADLINE, || {
            pair.sentinels
                .iter()
                .all(|it| count(it, "SENTINELS") == 2 && count(it, "REPLICAS") == 1)
        });
        pair
    }

    /// The stores: the primary and the replica as they were at the start.
    pub fn stores(&mut self) -> &mut [Valkey; 2] {
        &mut self.stores
    }

    /// The sentinels.
    pub fn sentinels(&mut self) -> &mut [Valkey; 3] {
        &mut self.sentinels
    }

    /// The sentinels as `127.0.0.1:port`, separated by commas.
    pub fn hosts(&self) -> String {
        let hosts = self.sentinels.each_ref().map(|it| it.address().to_string());
        hosts.join(",")
    }

    /// The index of the store that all sentinels that run call the primary, once it says so itself.
    pub fn primary(&self) -> Option<usize> {
        let mut running = self.sentinels.iter().filter(|it| it.is_running());
        let port = primary_port(running.next()?)?;
        let agreed = running.all(|it| primary_port(it) == Some(port));
        let index = self.stores.iter().position(|store| store.port() == port)?;
        let store = &self.stores[index];
        let is_primary = store.is_running() && store.info_is("role", "master");
        (agreed && is_primary).then_some(index)
    }

    /// Kills the primary and returns its index.
    ///
    /// # Panics
    ///
    /// When there is none.
    pub fn kill_primary(&mut self) -> usize {
        let index = self.primary().expect("there is a primary");
        self.stores[index].kill();
        index
    }

    /// Waits until there is a primary that all agree on, and returns its index.
    ///
    /// # Panics
    ///
    /// When that takes too long.
    pub fn wait_for_primary(&self) -> usize {
        wait_until("there is a primary", DEADLINE, || self.primary().is_some());
        self.primary().expect("there was one just now")
    }
}

/// Starts a sentinel of a pair whose primary has this port.
fn start_sentinel(port: &str) -> Valkey {
    let setting = |name: &str| format!("sentinel {name} {MASTER}");
    let sentinel = ValkeySetup::new()
        .sentinel()
        .set(&setting("monitor"), &format!("127.0.0.1 {port} {QUORUM}"))
        .set(&setting("down-after-milliseconds"), DOWN_AFTER)
        .set(&setting("failover-timeout"), "3000")
        .start();
    for (name, millis) in PERIODS {
        let () = sentinel.command(&["SENTINEL", "DEBUG", name, millis]);
    }
    sentinel
}

/// How many of something a sentinel knows of the pair.
fn count(sentinel: &Valkey, what: &str) -> usize {
    let list = sentinel.try_command::<Vec<redis::Value>>(&["SENTINEL", what, MASTER]);
    list.map_or(0, |list| list.len())
}

fn primary_port(sentinel: &Valkey) -> Option<u16> {
    let question = ["SENTINEL", "GET-MASTER-ADDR-BY-NAME", MASTER];
    let (_, port) = sentinel.try_command::<(String, String)>(&question).ok()?;
    port.parse().ok()
}
