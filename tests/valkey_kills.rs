//! Random outages of a store that writes everything to disk before it answers: what was acknowledged comes once and in
//! order to every reader, and nothing that was not comes twice.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, ScopedJoinHandle};
use std::time::{Duration, Instant};

use test_util::checker::{Ledger, Trace};
use test_util::consumer::{Consumer, Transport};
use test_util::valkey::instances;
use test_util::{DEADLINE, Fate, Random, RoamingPublisher, Server, Valkey, ValkeyProxy};
use test_util::{ValkeySetup, wait_until};

const TOPICS: &[&str] = &["a", "b", "c"];
const PUBLISHERS: usize = 6;
const ROUNDS: usize = 6;

#[test]
fn the_store_is_killed_again_and_again() {
    run(1, |valkey, _, random| {
        valkey.kill();
        thread::sleep(Duration::from_millis(random.below(300)));
        valkey.restart();
    });
}

#[test]
fn the_network_fails_in_every_way() {
    run(2, |_, proxy, random| {
        match random.below(4) {
            0 => proxy.cut(),
            1 => {
                proxy.refuse();
                proxy.cut();
            }
            2 => proxy.stall(),
            _ => proxy.drop_replies(),
        }
        thread::sleep(Duration::from_millis(random.below(1500)));
        proxy.accept();
        proxy.flow();
        proxy.pass_replies();
    });
}

/// Publishes and reads on two instances; every now and then trouble comes and goes.
fn run(seed: u64, trouble: impl Fn(&mut Valkey, &ValkeyProxy, &mut Random)) {
    let mut valkey = ValkeySetup::new().durable().start();
    let proxy = ValkeyProxy::start(valkey.address());
    let flags = ["--workers", "2", "--valkey-timeout", "1s"];
    let servers: [Server; 2] = instances(proxy.port(), &flags);
    let addresses = servers.each_ref().map(Server::addr);
    let ledger = Ledger::default();
    let (over, all_published) = (AtomicBool::new(false), AtomicBool::new(false));
    let traces: Vec<Vec<Trace>> = thread::scope(|scope| {
        let (ledger, over, all_published) = (&ledger, &over, &all_published);
        // However this ends, nobody must wait for ever.
        let (ending, published) = (SetOnDrop(over), SetOnDrop(all_published));
        let publish = |number: usize| {
            let address = addresses[number % 2];
            scope.spawn(move || publish(ledger, address, number, over))
        };
        let publishers: Vec<_> = (0..PUBLISHERS).map(publish).collect();
        let read = |(number, transport): (usize, Transport)| {
            let address = addresses[number % 2];
            scope.spawn(move || read(ledger, address, transport, all_published))
        };
        let kinds = [
            Transport::WebSocket,
            Transport::WebSocket,
            Transport::Events,
            Transport::Poll,
        ];
        let readers: Vec<_> = kinds.into_iter().enumerate().map(read).collect();
        let mut random = Random::new(seed);
        for _ in 0..ROUNDS {
            more_is_published(ledger);
            trouble(&mut valkey, &proxy, &mut random);
        }
        more_is_published(ledger);
        drop(ending);
        let fates = publishers.into_iter().map(joined);
        let (accepted, refused) = fates.fold((0, 0), |sum, it| (sum.0 + it.0, sum.1 + it.1));
        eprintln!("{accepted} accepted, {refused} refused");
        drop(published);
        readers.into_iter().map(joined).collect()
    });
    for trace in traces.iter().flatten() {
        ledger.check(trace);
        assert!(trace.gaps.is_empty(), "{:?}", trace.gaps);
    }
}

/// Publishes until it is over; returns how many messages were accepted and how many refused.
fn publish(
    ledger: &Ledger,
    address: SocketAddr,
    number: usize,
    over: &AtomicBool,
) -> (usize, usize) {
    let mut publisher = RoamingPublisher::new(ledger, &[address], &format!("p{number}"));
    let (mut accepted, mut refused) = (0, 0);
    for topic in TOPICS.iter().cycle() {
        match publisher.publish(topic) {
            Fate::Accepted(_) => accepted += 1,
            Fate::Refused(response) => {
                assert_eq!(response.status, 503, "{response:?}");
                assert!(response.header("retry-after").is_some(), "{response:?}");
                refused += 1;
            }
            Fate::Gone => panic!("the server has not gone"),
        }
        if over.load(Ordering::Acquire) {
            break;
        }
        // The machine is small, and the readers must get to run.
        thread::sleep(Duration::from_millis(2));
    }
    (accepted, refused)
}

/// Reads until all has come that was accepted.
fn read(
    ledger: &Ledger,
    address: SocketAddr,
    transport: Transport,
    all_published: &AtomicBool,
) -> Vec<Trace> {
    // A new subscription or poll may be refused during an outage; those that stand stay.
    let mut consumer = Consumer::roaming(&[address], transport, TOPICS, 7);
    while !all_published.load(Ordering::Acquire) {
        consumer.read_until(Instant::now() + Duration::from_millis(50));
    }
    consumer.read_all(ledger);
    consumer.traces().cloned().collect()
}

/// Waits until a good number of messages was accepted since now.
fn more_is_published(ledger: &Ledger) {
    let all = || {
        TOPICS
            .iter()
            .map(|topic| ledger.count(topic))
            .sum::<usize>()
    };
    let enough = all() + 100;
    wait_until("more is published", DEADLINE, || all() >= enough);
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
