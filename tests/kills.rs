//! Every consumer gets each message once and in order, or is told that it is lost, whatever
//! transport it uses and however often its connection is cut.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use test_util::checker::{Ledger, Publisher};
use test_util::consumer::{Consumer, Transport};
use test_util::{Cut, DEADLINE, Random, Server, wait_until, with_workers};

const ONE: &[&str] = &["orders"];
const TEN: &[&str] = &[
    "t0",
    "t1",
    "t2",
    "t3",
    "t4",
    "t5",
    "t6",
    "t7",
    "日本語",
    "t-9",
];
const PUBLISHERS: usize = 3;
const ALL: [Transport; 5] = [
    Transport::WebSocket,
    Transport::Poll,
    Transport::RelayPoll,
    Transport::Events,
    Transport::Lines,
];
/// Those that name what is lost.
const TELLING: [Transport; 4] = [
    Transport::WebSocket,
    Transport::Poll,
    Transport::Events,
    Transport::Lines,
];
/// Those that share the same offsets for several topics.
const CURSORS: [Transport; 2] = [Transport::Poll, Transport::Events];

#[test]
fn a_loop_of_polls_loses_and_repeats_nothing() {
    let kinds = [Transport::Poll, Transport::RelayPoll];
    for topics in [ONE, TEN] {
        with_workers(|workers| {
            let consumers = run(&["--workers", workers], topics, |address| {
                let kinds = [kinds, kinds].concat();
                Plan::of(address, topics, &kinds, Habit::Stay)
            });
            assert!(consumers.iter().all(|gaps| *gaps == 0), "nothing was lost");
        });
    }
}

#[test]
fn one_topic_over_connections_that_are_cut() {
    with_workers(|workers| {
        let gaps = run(&["--workers", workers], ONE, |address| {
            Plan::of(address, ONE, &ALL, Habit::Return)
        });
        assert!(gaps.iter().all(|gaps| *gaps == 0), "nothing was lost");
    });
}

#[test]
fn ten_topics_over_connections_that_are_cut() {
    with_workers(|workers| {
        let gaps = run(&["--workers", workers], TEN, |address| {
            Plan::of(address, TEN, &ALL[..4], Habit::Return)
        });
        assert!(gaps.iter().all(|gaps| *gaps == 0), "nothing was lost");
    });
}

#[test]
fn from_one_transport_to_another() {
    with_workers(|workers| {
        for (topics, kinds) in [(ONE, &TELLING[..]), (TEN, &CURSORS[..])] {
            let gaps = run(&["--workers", workers], topics, |address| {
                let kinds: Vec<_> = kinds.iter().cycle().take(4).copied().collect();
                Plan::of(address, topics, &kinds, Habit::Wander)
            });
            assert!(gaps.iter().all(|gaps| *gaps == 0), "nothing was lost");
        }
    });
}

#[test]
fn with_a_short_history_all_that_is_lost_is_declared_on_every_transport() {
    for topics in [ONE, TEN] {
        with_workers(|workers| {
            let flags = ["--workers", workers, "--max-messages-per-topic", "100"];
            let kinds = if topics.len() == 1 {
                &TELLING[..]
            } else {
                &TELLING[..3]
            };
            let gaps = run(&flags, topics, |address| {
                Plan::of(address, topics, kinds, Habit::StayAway)
            });
            for (kind, gaps) in kinds.iter().zip(gaps) {
                assert!(gaps > 0, "{kind:?} missed nothing");
            }
        });
    }
}

/// One consumer and what it does.
struct Plan {
    consumer: Consumer,
    habit: Habit,
    seed: u64,
}

/// What becomes of connections.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Habit {
    /// They stay.
    Stay,
    /// They are cut at random moments, and the consumer returns at once.
    Return,
    /// The same, and it returns over any transport.
    Wander,
    /// They are cut, and the consumer returns when the history has forgotten where it was.
    StayAway,
}

impl Plan {
    fn of(address: SocketAddr, topics: &[&str], kinds: &[Transport], habit: Habit) -> Vec<Plan> {
        let plan = |(number, kind): (usize, &Transport)| {
            let seed = 1000 * topics.len() as u64 + number as u64;
            Plan {
                consumer: Consumer::new(address, *kind, topics, seed),
                habit,
                seed,
            }
        };
        kinds.iter().enumerate().map(plan).collect()
    }
}

/// Publishes while the consumers read; returns for each consumer how many gaps it was told.
fn run(flags: &[&str], topics: &[&str], plans: impl Fn(SocketAddr) -> Vec<Plan>) -> Vec<usize> {
    let server = Server::start(flags);
    let address = server.addr();
    let ledger = Ledger::default();
    let mut first = Publisher::connect(&ledger, address, "first");
    topics.iter().for_each(|topic| first.publish(topic));
    let plans = plans(address);
    let publishing = AtomicUsize::new(PUBLISHERS);
    let waiting = AtomicUsize::new(plans.len());
    let consumers: Vec<Consumer> = std::thread::scope(|scope| {
        let (ledger, publishing, waiting) = (&ledger, &publishing, &waiting);
        let consumers: Vec<_> = plans
            .into_iter()
            .map(|plan| scope.spawn(move || consume(plan, topics, ledger, publishing, waiting)))
            .collect();
        for number in 0..PUBLISHERS {
            scope.spawn(move || publish(address, topics, ledger, publishing, waiting, number));
        }
        let join = |consumer: std::thread::ScopedJoinHandle<'_, Consumer>| {
            consumer.join().expect("no consumer fails")
        };
        consumers.into_iter().map(join).collect()
    });
    consumers
        .iter()
        .map(|consumer| check(consumer, &ledger))
        .collect()
}

/// Checks that all there was has come or was declared lost; returns the number of gaps.
fn check(consumer: &Consumer, ledger: &Ledger) -> usize {
    let mut gaps = 0;
    for trace in consumer.traces() {
        assert_eq!(Some(&trace.last), ledger.newest(&trace.topic).as_ref());
        ledger.check(trace);
        if trace.gaps.is_empty() {
            assert_eq!(trace.received.len(), ledger.count(&trace.topic));
        }
        gaps += trace.gaps.len();
    }
    gaps
}

fn consume(
    mut plan: Plan,
    topics: &[&str],
    ledger: &Ledger,
    publishing: &AtomicUsize,
    waiting: &AtomicUsize,
) -> Consumer {
    eprintln!("consumer with seed {}", plan.seed);
    let mut random = Random::new(plan.seed);
    let consumer = &mut plan.consumer;
    // From here on there is a place to return to.
    let ready = CountDown(waiting);
    consumer.read_all(ledger);
    drop(ready);
    while publishing.load(Ordering::Acquire) > 0 {
        consumer.read_until(Instant::now() + Duration::from_micros(random.below(40_000)));
        if plan.habit == Habit::Stay {
            continue;
        }
        consumer.cut(random.choose(&[Cut::Reset, Cut::Close, Cut::Finish]));
        if plan.habit == Habit::Wander {
            let kinds: &[Transport] = if topics.len() == 1 {
                &TELLING
            } else {
                &CURSORS
            };
            consumer.switch(random.choose(kinds));
        }
        if plan.habit == Habit::StayAway {
            let all = || {
                topics
                    .iter()
                    .map(|topic| ledger.count(topic))
                    .sum::<usize>()
            };
            let more = all() + topics.len() * 150;
            wait_until("more is published", 2 * DEADLINE, || {
                all() >= more || publishing.load(Ordering::Acquire) == 0
            });
        }
    }
    consumer.read_all(ledger);
    eprintln!("{} connections", consumer.connections());
    plan.consumer
}

fn publish(
    address: SocketAddr,
    topics: &[&str],
    ledger: &Ledger,
    publishing: &AtomicUsize,
    waiting: &AtomicUsize,
    number: usize,
) {
    let _done = CountDown(publishing);
    wait_until("all consumers have begun", DEADLINE, || {
        waiting.load(Ordering::Acquire) == 0
    });
    let mut publisher = Publisher::connect(ledger, address, &format!("p{number}"));
    let mut random = Random::new(number as u64);
    let end = Instant::now() + Duration::from_millis(1500);
    while Instant::now() < end {
        publisher.publish(random.choose(topics));
        if random.below(4) == 0 {
            let count = 1 + random.below(30);
            let bulk: Vec<&str> = (0..count).map(|_| random.choose(topics)).collect();
            publisher.publish_bulk(&bulk);
        }
        // The machine is small, and the consumers must get to run.
        std::thread::sleep(Duration::from_micros(random.below(8_000)));
    }
}

/// Counts down when dropped, also when its thread panics: nobody must wait for ever.
struct CountDown<'a>(&'a AtomicUsize);

impl Drop for CountDown<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Release);
    }
}
