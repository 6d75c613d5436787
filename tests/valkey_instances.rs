//! Three instances and one Valkey: messages are found once and in one order by every reader, whatever becomes of the
//! instances.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, ScopedJoinHandle};
use std::time::{Duration, Instant};

use test_util::checker::{Ledger, Trace};
use test_util::consumer::{Consumer, Transport};
use test_util::ports::free_port;
use test_util::valkey::instance;
use test_util::{DEADLINE, Fate, RoamingPublisher, Server, Valkey, ValkeySetup, wait_until};

const INSTANCES: usize = 3;
const PUBLISHERS: usize = 4;
const TOPICS: &[&str] = &["orders", "news"];
/// Kinds of readers, on each instance at the start. The relay's polls tell no gaps, and need none here.
const READERS: [Transport; 4] = [
    Transport::WebSocket,
    Transport::Poll,
    Transport::RelayPoll,
    Transport::Events,
];

/// Instances on ports that stay theirs.
struct Fleet {
    valkey: Valkey,
    ports: [u16; INSTANCES],
    servers: [Option<Server>; INSTANCES],
}

#[test]
fn one_instance_is_killed_and_comes_back() {
    run(|fleet, ledger| {
        for at in [1, 0] {
            more_is_published(ledger);
            let mut server = fleet.servers[at].take().expect("it runs");
            server.signal("KILL");
            assert_eq!(server.wait(DEADLINE), None, "a signal has no code");
            more_is_published(ledger);
            fleet.start(at);
        }
    });
}

#[test]
fn all_instances_are_restarted_one_after_the_other() {
    run(|fleet, ledger| {
        for at in 0..INSTANCES {
            more_is_published(ledger);
            let mut server = fleet.servers[at].take().expect("it runs");
            assert_eq!(server.stop(), Some(0));
            drop(server);
            more_is_published(ledger);
            fleet.start(at);
        }
    });
}

#[test]
fn valkey_is_restarted_under_all_of_them() {
    run(|fleet, ledger| {
        for _ in 0..2 {
            more_is_published(ledger);
            fleet.valkey.restart();
            for server in fleet.servers.iter().flatten() {
                server.wait_until_ready();
            }
        }
    });
}

/// Publishes and reads on all instances while `trouble` goes on, and checks what came.
fn run(trouble: impl FnOnce(&mut Fleet, &Ledger)) {
    let mut fleet = Fleet::start_all();
    let addresses = fleet
        .ports
        .map(|port| SocketAddr::from(([127, 0, 0, 1], port)));
    let ledger = Ledger::default();
    let over = AtomicBool::new(false);
    let all_published = AtomicBool::new(false);
    let traces: Vec<Vec<Trace>> = thread::scope(|scope| {
        let (ledger, over, all_published) = (&ledger, &over, &all_published);
        // However this ends, nobody must wait for ever.
        let ended = SetOnDrop(over);
        let publishers: Vec<_> = (0..PUBLISHERS)
            .map(|number| {
                scope.spawn(move || publish(ledger, &turned(addresses, number), number, over))
            })
            .collect();
        let readers: Vec<_> = (0..INSTANCES)
            .flat_map(|at| READERS.map(|transport| (at, transport)))
            .map(|(at, transport)| {
                scope.spawn(move || read(ledger, &turned(addresses, at), transport, all_published))
            })
            .collect();
        let published = SetOnDrop(all_published);
        trouble(&mut fleet, ledger);
        more_is_published(ledger);
        drop(ended);
        let accepted: usize = publishers.into_iter().map(joined).sum();
        assert!(accepted > 0);
        drop(published);
        readers.into_iter().map(joined).collect()
    });
    for trace in traces.iter().flatten() {
        ledger.check(trace);
        assert!(trace.gaps.is_empty(), "{:?}", trace.gaps);
        // What was doubtful may have come last, and not to all.
        let first = of(&traces[0], &trace.topic);
        let mut both = trace.received.iter().zip(&first.received);
        assert!(both.all(|(one, other)| one == other), "one order");
    }
}

fn of<'t>(traces: &'t [Trace], topic: &str) -> &'t Trace {
    let found = traces.iter().find(|trace| trace.topic == topic);
    found.expect("every reader reads all topics")
}

/// Publishes until it is over, and returns how many were accepted.
fn publish(ledger: &Ledger, addresses: &[SocketAddr], number: usize, over: &AtomicBool) -> usize {
    let mut publisher = RoamingPublisher::new(ledger, addresses, &format!("p{number}"));
    let mut accepted = 0;
    for topic in TOPICS.iter().cycle() {
        match publisher.publish(topic) {
            Fate::Accepted(_) => accepted += 1,
            Fate::Refused(response) => {
                assert_eq!(response.status, 503, "{response:?}");
                assert!(response.header("retry-after").is_some(), "{response:?}");
            }
            Fate::Gone => {}
        }
        if over.load(Ordering::Acquire) {
            break;
        }
        // The machine is small, and the readers must get to run.
        thread::sleep(Duration::from_millis(2));
    }
    accepted
}

/// Reads to the end of all that was published, wherever that is possible.
fn read(
    ledger: &Ledger,
    addresses: &[SocketAddr],
    transport: Transport,
    all_published: &AtomicBool,
) -> Vec<Trace> {
    let mut consumer = Consumer::roaming(addresses, transport, TOPICS, 7);
    while !all_published.load(Ordering::Acquire) {
        consumer.read_until(Instant::now() + Duration::from_millis(50));
    }
    consumer.read_all(ledger);
    consumer.traces().cloned().collect()
}

/// The addresses in the same order, beginning with another one.
fn turned(mut addresses: [SocketAddr; INSTANCES], by: usize) -> [SocketAddr; INSTANCES] {
    addresses.rotate_left(by % INSTANCES);
    addresses
}

/// Waits until a good number of messages was accepted since now.
fn more_is_published(ledger: &Ledger) {
    let all = || {
        TOPICS
            .iter()
            .map(|topic| ledger.count(topic))
            .sum::<usize>()
    };
    let enough = all() + 200;
    wait_until("more is published", DEADLINE, || all() >= enough);
}

impl Fleet {
    fn start_all() -> Fleet {
        let valkey = ValkeySetup::new().durable().start();
        let ports = std::array::from_fn(|_| free_port());
        let servers = [None, None, None];
        let mut fleet = Fleet {
            valkey,
            ports,
            servers,
        };
        (0..INSTANCES).for_each(|at| fleet.start(at));
        fleet
    }

    fn start(&mut self, at: usize) {
        let port = self.ports[at].to_string();
        let server = instance(self.valkey.port(), &["--workers", "2", "--port", &port]);
        server.wait_until_ready();
        self.servers[at] = Some(server);
    }
}

/// What a thread returned; it passes on its panic.
fn joined<T>(thread: ScopedJoinHandle<'_, T>) -> T {
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
