//! Valkey Cluster: three primaries and a replica of each.

use std::time::Duration;

use crate::ports::free_port;
use crate::valkey::{Valkey, ValkeySetup};
use crate::{DEADLINE, wait_until};

/// The primaries come first, and then their replicas in the same order.
const PRIMARIES: usize = 3;
const NODES: usize = 2 * PRIMARIES;
/// Slots of a cluster.
const SLOTS: u32 = 16_384;
/// Forming a cluster and a fail-over each take a few times the timeout of a node.
const AGREEMENT: Duration = DEADLINE.saturating_mul(2);

/// Six servers that are one cluster.
pub struct ValkeyCluster {
    nodes: Vec<Valkey>,
    bus_ports: Vec<u16>,
}

impl ValkeyCluster {
    /// Starts a cluster whose nodes count as failed after one second.
    ///
    /// # Panics
    ///
    /// When they do not agree in time.
    pub fn start() -> ValkeyCluster {
        Self::start_with(|setup| setup)
    }

    /// Starts a cluster with more settings for each node.
    ///
    /// # Panics
    ///
    /// When they do not agree in time.
    pub fn start_with(settings: impl Fn(ValkeySetup) -> ValkeySetup) -> ValkeyCluster {
        let bus_ports: Vec<u16> = (0..NODES).map(|_| free_port()).collect();
        let node = |bus_port: &u16| {
            let setup = ValkeySetup::new()
                .set("cluster-enabled", "yes")
                .set("cluster-port", &bus_port.to_string())
                .set("cluster-node-timeout", "1000")
                // A replica takes over however long it has not heard of its primary.
                .set("cluster-replica-validity-factor", "0");
            settings(setup).start()
        };
        let nodes = bus_ports.iter().map(node).collect();
        let cluster = ValkeyCluster { nodes, bus_ports };
        cluster.form();
        cluster
    }

    /// The nodes: three primaries, and then the replica of each, as they were at the start.
    pub fn nodes(&self) -> &[Valkey] {
        &self.nodes
    }

    /// One of the nodes.
    pub fn node(&mut self, index: usize) -> &mut Valkey {
        &mut self.nodes[index]
    }

    /// All nodes as `127.0.0.1:port`, separated by commas.
    pub fn hosts(&self) -> String {
        let host = |node: &Valkey| node.address().to_string();
        self.nodes.iter().map(host).collect::<Vec<_>>().join(",")
    }

    /// The slot of a key.
    pub fn slot(&self, key: &str) -> u32 {
        self.any().command(&["CLUSTER", "KEYSLOT", key])
    }

    /// The node that says of itself that it serves a slot as its primary, if one does.
    pub fn primary_of(&self, slot: u32) -> Option<usize> {
        let serves = |node: &&Valkey| serves(node, slot);
        let found = self.running().find(serves)?;
        self.nodes
            .iter()
            .position(|node| node.port() == found.port())
    }

    /// Kills the primary of a slot and returns its index.
    ///
    /// # Panics
    ///
    /// When the slot has none.
    pub fn kill_primary_of(&mut self, slot: u32) -> usize {
        let index = self.primary_of(slot).expect("the slot has a primary");
        self.nodes[index].kill();
        index
    }

    /// Waits until a slot has a primary and all nodes that run call the cluster whole; returns the primary.
    ///
    /// # Panics
    ///
    /// When that takes too long.
    pub fn wait_for_primary_of(&self, slot: u32) -> usize {
        wait_until("the slot has a primary", AGREEMENT, || {
            self.primary_of(slot).is_some() && self.running().all(is_whole)
        });
        self.primary_of(slot).expect("it had one just now")
    }

    /// Waits until every node runs, and every replica has what its primary has.
    ///
    /// # Panics
    ///
    /// When that takes too long.
    pub fn wait_until_complete(&self) {
        wait_until("the cluster is complete", AGREEMENT, || {
            self.nodes.iter().all(Valkey::is_running)
                && self
                    .nodes
                    .iter()
                    .all(|node| is_whole(node) && is_in_step(node))
        });
    }

    /// Moves a slot with all its keys to another primary, so that clients are told `ASK` in between and `MOVED`
    /// afterwards.
    ///
    /// # Panics
    ///
    /// When a node refuses a step.
    pub fn move_slot(&self, slot: u32, to: usize) {
        let from = self.move_keys(slot, to);
        self.end_move(slot, from, to);
    }

    /// Moves all keys of a slot to another primary, but not yet the slot. Returns the primary that has it.
    ///
    /// # Panics
    ///
    /// When a node refuses a step.
    pub fn move_keys(&self, slot: u32, to: usize) -> usize {
        let from = self.primary_of(slot).expect("the slot has a primary");
        let (source, target) = (&self.nodes[from], &self.nodes[to]);
        let [old, new] = [source, target].map(id);
        let (number, port) = (slot.to_string(), target.port().to_string());
        set_slot(target, slot, &["IMPORTING", &old]);
        set_slot(source, slot, &["MIGRATING", &new]);
        loop {
            let keys: Vec<String> = source.command(&["CLUSTER", "GETKEYSINSLOT", &number, "100"]);
            if keys.is_empty() {
                break;
            }
            let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
            let head = ["MIGRATE", "127.0.0.1", &port, "", "0", "5000", "KEYS"];
            let _: String = source.command(&[&head, &keys[..]].concat());
        }
        from
    }

    /// Moves a slot behind its keys.
    ///
    /// # Panics
    ///
    /// When a node refuses it.
    pub fn end_move(&self, slot: u32, from: usize, to: usize) {
        let new = id(&self.nodes[to]);
        for node in [to, from] {
            set_slot(&self.nodes[node], slot, &["NODE", &new]);
        }
    }

    fn form(&self) {
        let share = SLOTS / PRIMARIES as u32;
        for (index, node) in self.nodes.iter().enumerate() {
            let epoch = (index + 1).to_string();
            let () = node.command(&["CLUSTER", "SET-CONFIG-EPOCH", &epoch]);
            if index < PRIMARIES {
                let first = index as u32 * share;
                let last = if index + 1 == PRIMARIES {
                    SLOTS - 1
                } else {
                    first + share - 1
                };
                let [first, last] = [first, last].map(|slot| slot.to_string());
                let () = node.command(&["CLUSTER", "ADDSLOTSRANGE", &first, &last]);
            }
            let [port, bus] = [node.port(), self.bus_ports[index]].map(|port| port.to_string());
            let () = self
                .any()
                .command(&["CLUSTER", "MEET", "127.0.0.1", &port, &bus]);
        }
        let known = |node: &Valkey| {
            let nodes: String = node.command(&["CLUSTER", "NODES"]);
            nodes.lines().count() == NODES && !nodes.contains("handshake")
        };
        wait_until("all nodes know each other", AGREEMENT, || {
            self.nodes.iter().all(known)
        });
        let (primaries, replicas) = self.nodes.split_at(PRIMARIES);
        for (primary, replica) in primaries.iter().zip(replicas) {
            let id: String = primary.command(&["CLUSTER", "MYID"]);
            let () = replica.command(&["CLUSTER", "REPLICATE", &id]);
        }
        wait_until("the cluster is whole", AGREEMENT, || {
            self.nodes
                .iter()
                .all(|node| is_whole(node) && is_in_step(node))
                && replicas
                    .iter()
                    .all(|replica| replica.info_is("role", "slave"))
                && primaries
                    .iter()
                    .all(|node| node.info_number("connected_slaves") == 1)
        });
    }

    fn any(&self) -> &Valkey {
        self.running().next().expect("a node runs")
    }

    fn running(&self) -> impl Iterator<Item = &Valkey> {
        self.nodes.iter().filter(|node| node.is_running())
    }
}

fn id(node: &Valkey) -> String {
    node.command(&["CLUSTER", "MYID"])
}

fn set_slot(node: &Valkey, slot: u32, how: &[&str]) {
    let slot = slot.to_string();
    let () = node.command(&[&["CLUSTER", "SETSLOT", &slot], how].concat());
}

/// Whether a node says of itself that it is the primary of a slot.
fn serves(node: &Valkey, slot: u32) -> bool {
    let Ok(nodes) = node.try_command::<String>(&["CLUSTER", "NODES"]) else {
        return false;
    };
    let mut lines = nodes
        .lines()
        .map(|line| line.split(' ').collect::<Vec<_>>());
    let Some(own) = lines.find(|line| line[2].starts_with("myself")) else {
        return false;
    };
    // Behind the eighth field stand the slots that the node serves, and those on their way in brackets.
    let covers = |range: &&str| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let number = |text: &str| text.parse::<u32>().ok();
        matches!((number(first), number(last)), (Some(first), Some(last)) if (first..=last).contains(&slot))
    };
    own[2].contains("master") && own.iter().skip(8).any(covers)
}

fn is_whole(node: &Valkey) -> bool {
    let info = node.try_command::<String>(&["CLUSTER", "INFO"]);
    info.is_ok_and(|info| info.contains("cluster_state:ok"))
}

/// Whether a node is a primary, or a replica that has caught up.
fn is_in_step(node: &Valkey) -> bool {
    node.info_is("role", "master") || node.info_is("master_link_status", "up")
}
