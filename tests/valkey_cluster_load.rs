//! A Valkey Cluster whose slots move and whose primaries are killed while all of it is published to and read: what was
//! acknowledged comes once and in order to every reader.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use test_util::checker::{Ledger, Trace};
use test_util::consumer::{Consumer, Transport};
use test_util::poll::list;
use test_util::valkey::log_key;
use test_util::{DEADLINE, Fate, RoamingPublisher, Server, ValkeyCluster, wait_until};

/// Enough for each node to have some.
const TOPICS: usize = 12;

#[test]
fn slots_move_under_load() {
    let cluster = ValkeyCluster::start();
    let servers = instances(&cluster, &[]);
    let topics = topics();
    under_load(&servers, &topics, |ledger| {
        for (number, topic) in topics.iter().enumerate() {
            more_is_published(ledger, &topics);
            let slot = cluster.slot(&log_key(topic));
            let from = cluster.primary_of(slot).expect("every slot is served");
            cluster.move_slot(slot, (from + 1 + number % 2) % 3);
        }
        more_is_published(ledger, &topics);
        // Also what belongs to no topic.
        for key in ["pulsar:epoch", "pulsar:topics"] {
            let slot = cluster.slot(key);
            let from = cluster.primary_of(slot).expect("every slot is served");
            cluster.move_slot(slot, (from + 1) % 3);
        }
        more_is_published(ledger, &topics);
        let all = ok(&servers[0], "/api/v1/topics");
        assert_eq!(list(&all).len(), TOPICS);
    });
    for server in &servers {
        let changes = server.metric("proxy_valkey_epoch_changes_total", &[]);
        assert!(changes == 0.0, "{changes}");
    }
}

#[test]
fn a_primary_is_killed_under_load() {
    let mut cluster = ValkeyCluster::start();
    // Else a fail-over may lose what was acknowledged.
    let servers = instances(&cluster, &["--valkey-wait", "1"]);
    let topics = topics();
    let homes = homes(&cluster, &topics);
    let slot = cluster.slot(&log_key(&topics[0]));
    under_load(&servers, &topics, |ledger| {
        more_is_published(ledger, &topics);
        let killed = cluster.kill_primary_of(slot);
        cluster.wait_for_primary_of(slot);
        let lost = topics.iter().filter(|topic| homes[*topic] == killed);
        let lost: Vec<String> = lost.cloned().collect();
        // With its replica gone the new primary can promise nothing until the old one is back.
        cluster.node(killed).restart();
        cluster.wait_until_complete();
        more_is_published(ledger, &lost);
        more_is_published(ledger, &topics);
    });
}

/// Two instances of a cluster that are ready.
fn instances(cluster: &ValkeyCluster, more: &[&str]) -> [Server; 2] {
    let hosts = cluster.hosts();
    let flags = ["--storage-backend", "valkey", "--valkey-mode", "cluster"];
    let flags = [&flags[..], &["--valkey-host", &hosts], more].concat();
    let servers = [(); 2].map(|()| Server::start(&flags));
    servers.iter().for_each(Server::wait_until_ready);
    servers
}

fn topics() -> Vec<String> {
    (0..TOPICS).map(|number| format!("t{number}")).collect()
}

/// The primary of each topic.
fn homes(cluster: &ValkeyCluster, topics: &[String]) -> BTreeMap<String, usize> {
    let home = |topic: &String| {
        let home = cluster.primary_of(cluster.slot(&log_key(topic)));
        (topic.clone(), home.expect("every slot is served"))
    };
    topics.iter().map(home).collect()
}

fn ok(server: &Server, path: &str) -> Value {
    let response = server.get(path);
    assert_eq!(response.status, 200, "{path}: {response:?}");
    response.json()
}

/// Publishes and reads on both servers while something happens; everything that was acknowledged must have come to
/// each reader once and in order.
fn under_load(servers: &[Server; 2], topics: &[String], happens: impl FnOnce(&Ledger)) {
    let ledger = Ledger::default();
    let (over, all_published) = (AtomicBool::new(false), AtomicBool::new(false));
    let traces: Vec<Vec<Trace>> = thread::scope(|scope| {
        let (ledger, over, all_published) = (&ledger, &over, &all_published);
        // However this ends, nobody must wait for ever.
        let (ending, published) = (SetOnDrop(over), SetOnDrop(all_published));
        let publish = |number: usize| {
            let address = servers[number % 2].addr();
            scope.spawn(move || publish(ledger, address, number, topics, over))
        };
        let publishers: Vec<_> = (0..4).map(publish).collect();
        let read = |(number, transport): (usize, Transport)| {
            let address = servers[number % 2].addr();
            scope.spawn(move || read(ledger, address, transport, topics, all_published))
        };
        let kinds = [
            Transport::WebSocket,
            Transport::WebSocket,
            Transport::Events,
            Transport::Poll,
        ];
        let readers: Vec<_> = kinds.into_iter().enumerate().map(read).collect();
        happens(ledger);
        drop(ending);
        for publisher in publishers {
            joined(publisher);
        }
        drop(published);
        readers.into_iter().map(joined).collect()
    });
    for trace in traces.iter().flatten() {
        ledger.check(trace);
        assert!(trace.gaps.is_empty(), "{:?}", trace.gaps);
    }
}

/// Publishes to all topics until it is over.
fn publish(
    ledger: &Ledger,
    address: SocketAddr,
    number: usize,
    topics: &[String],
    over: &AtomicBool,
) {
    let mut publisher = RoamingPublisher::new(ledger, &[address], &format!("p{number}"));
    for topic in topics.iter().cycle().skip(number * 3) {
        match publisher.publish(topic) {
            Fate::Accepted(_) => {}
            Fate::Refused(response) => assert_eq!(response.status, 503, "{response:?}"),
            Fate::Gone => panic!("the server has not gone"),
        }
        if over.load(Ordering::Acquire) {
            break;
        }
        // The machine is small, and the readers must get to run.
        thread::sleep(Duration::from_millis(2));
    }
}

/// Reads until all has come that was accepted.
fn read(
    ledger: &Ledger,
    address: SocketAddr,
    transport: Transport,
    topics: &[String],
    all_published: &AtomicBool,
) -> Vec<Trace> {
    let names: Vec<&str> = topics.iter().map(String::as_str).collect();
    // A new subscription or poll may be refused during an outage; those that stand stay.
    let mut consumer = Consumer::roaming(&[address], transport, &names, 7);
    while !all_published.load(Ordering::Acquire) {
        consumer.read_until(Instant::now() + Duration::from_millis(50));
    }
    consumer.read_all(ledger);
    consumer.traces().cloned().collect()
}

/// Waits until more was accepted for each of these topics since now.
fn more_is_published(ledger: &Ledger, topics: &[String]) {
    for topic in topics {
        let enough = ledger.count(topic) + 3;
        let is_enough = || ledger.count(topic) >= enough;
        wait_until("more is published", DEADLINE, is_enough);
    }
}

/// What a thread returned; it passes on its panic.
fn joined<T>(thread: thread::ScopedJoinHandle<'_, T>) -> T {
    let passed_on = |panic| std::panic::resume_unwind(panic);
    thread.join().unwrap_or_else(passed_on)
}

/// Sets a flag when dropped, also by a panic.
struct SetOnDrop<'a>(&'a AtomicBool);

impl Drop for SetOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}
