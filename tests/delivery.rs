//! Order and exactly once, per subscriber, whatever happens beside it.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::json;
use test_util::checker::{Ledger, Publisher, Reader, Trace};
use test_util::{Client, DEADLINE, Http, Server, wait_until, with_workers};

const TOPICS: [&str; 4] = ["orders", "alerts", "日本語", "x-1"];
const MOMENT: Duration = Duration::from_millis(2);

#[test]
fn nothing_is_lost_repeated_or_reordered_under_churn() {
    with_workers(|workers| {
        let server = Server::start(&["--workers", workers]);
        let address = server.addr();
        let ledger = Ledger::default();
        let publishing = AtomicUsize::new(4);
        let traces: Vec<Trace> = std::thread::scope(|scope| {
            let (ledger, publishing) = (&ledger, &publishing);
            let readers: Vec<_> = (0..8)
                .map(|_| scope.spawn(move || stay(address, ledger, publishing)))
                .chain(
                    (0..4).map(|seed| scope.spawn(move || come_and_go(address, publishing, seed))),
                )
                .chain(
                    (0..4).map(|seed| {
                        scope.spawn(move || reconnect(address, ledger, publishing, seed))
                    }),
                )
                .collect();
            for number in 0..4 {
                scope.spawn(move || publish(address, ledger, publishing, number));
            }
            readers
                .into_iter()
                .flat_map(|reader| reader.join().expect("no reader fails"))
                .collect()
        });
        for trace in &traces {
            assert!(
                trace.gaps.is_empty(),
                "nothing was trimmed: {:?}",
                trace.gaps
            );
            ledger.check(trace);
        }
        let all: usize = TOPICS.iter().map(|topic| ledger.count(topic)).sum();
        assert_eq!(all, 4 * (250 + 25 * 10));
    });
}

#[test]
fn with_a_short_history_all_that_is_lost_is_declared() {
    with_workers(|workers| {
        let flags = ["--workers", workers, "--max-messages-per-topic", "20"];
        let server = Server::start(&flags);
        let address = server.addr();
        let ledger = Ledger::default();
        let publishing = AtomicUsize::new(4);
        let traces: Vec<Trace> = std::thread::scope(|scope| {
            let (ledger, publishing) = (&ledger, &publishing);
            let readers: Vec<_> = (0..6)
                .map(|seed| scope.spawn(move || stay_away(address, ledger, publishing, seed)))
                .collect();
            for number in 0..4 {
                scope.spawn(move || publish(address, ledger, publishing, number));
            }
            let join = |reader: std::thread::ScopedJoinHandle<'_, Vec<Trace>>| {
                reader.join().expect("no reader fails")
            };
            readers.into_iter().flat_map(join).collect()
        });
        traces.iter().for_each(|trace| ledger.check(trace));
        let gaps: usize = traces.iter().map(|trace| trace.gaps.len()).sum();
        assert!(gaps > 0, "nobody missed anything");
    });
}

#[test]
fn topics_that_were_freed_come_back_without_loss_or_repetition() {
    with_workers(|workers| {
        let server = Server::start(&["--workers", workers, "--hot-tier-retention", "500ms"]);
        let ledger = Ledger::default();
        let mut publisher = Publisher::connect(&ledger, server.addr(), "p");
        publisher.publish("t");
        let mut last = ledger.newest("t").expect("just published");
        until_freed(&server);
        for round in 0..2 {
            let mut reader = Reader::connect(server.addr());
            let reply = reader.subscribe("t", &last);
            assert_eq!(
                reply["recovered"],
                json!({"t": true}),
                "it had read all: {reply}"
            );
            for _ in 0..20 {
                publisher.publish("t");
            }
            publisher.publish_bulk(&["t"; 10]);
            reader.read_all(&ledger);
            for trace in reader.leave() {
                assert_eq!(trace.received.len(), 30, "round {round}");
                assert!(trace.gaps.is_empty(), "round {round}: {:?}", trace.gaps);
                ledger.check(&trace);
            }
            until_freed(&server);
            last = miss(&server, &ledger, &last, round);
            until_freed(&server);
        }
    });
}

#[test]
fn bursts_larger_than_the_history_reach_all_who_stay() {
    with_workers(|workers| {
        let flags = ["--workers", workers, "--max-messages-per-topic", "100"];
        let server = Server::start(&flags);
        let address = server.addr();
        let ledger = Ledger::default();
        let mut readers: Vec<Reader> = (0..200)
            .map(|_| {
                let mut reader = Reader::connect(address);
                reader.subscribe("t", "last");
                reader
            })
            .collect();
        std::thread::scope(|scope| {
            for name in ["a", "b"] {
                let ledger = &ledger;
                scope.spawn(move || {
                    let mut publisher = Publisher::connect(ledger, address, name);
                    for _ in 0..6 {
                        publisher.publish_bulk(&["t"; 100]);
                    }
                });
            }
        });
        std::thread::scope(|scope| {
            for part in readers.chunks_mut(50) {
                let ledger = &ledger;
                scope.spawn(move || part.iter_mut().for_each(|reader| reader.read_all(ledger)));
            }
        });
        assert_eq!(ledger.count("t"), 1200);
        for reader in readers {
            assert_eq!(reader.trace("t").received.len(), 1200);
            assert!(reader.trace("t").gaps.is_empty());
            reader.vanish().iter().for_each(|trace| ledger.check(trace));
        }
    });
}

#[test]
fn a_subscriber_of_many_topics_gets_each_in_order() {
    with_workers(|workers| {
        let server = Server::start(&["--workers", workers]);
        let ledger = Ledger::default();
        let topics: Vec<String> = (0..100).map(|n| format!("topic-{n}")).collect();
        let names: Vec<&str> = topics.iter().map(String::as_str).collect();
        let mut reader = Reader::connect(server.addr());
        for topic in &names {
            reader.subscribe(topic, "last");
        }
        let mut publisher = Publisher::connect(&ledger, server.addr(), "p");
        for _ in 0..20 {
            publisher.publish_bulk(&names);
        }
        reader.read_all(&ledger);
        for trace in reader.leave() {
            assert_eq!(trace.received.len(), 20);
            ledger.check(&trace);
        }
    });
}

fn until_freed(server: &Server) {
    server.wait_for_metric("proxy_topic_message_count", &[("topic", "t")], 0.0);
}

/// A subscriber that was away in a round whose messages are gone: it is told so, once.
fn miss(server: &Server, ledger: &Ledger, last: &str, round: u32) -> String {
    let mut reader = Reader::connect(server.addr());
    let reply = reader.subscribe("t", last);
    assert_eq!(
        reply["recovered"],
        json!({"t": false}),
        "round {round}: {reply}"
    );
    Publisher::connect(ledger, server.addr(), &format!("late-{round}")).publish("t");
    reader.read_all(ledger);
    let newest = reader.last("t").to_owned();
    for trace in reader.leave() {
        assert_eq!(trace.gaps.len(), 1, "round {round}: {:?}", trace.gaps);
        assert_eq!(trace.gaps[0].from, last);
        assert_eq!(trace.gaps[0].reason, "trimmed");
        assert_eq!(trace.received.len(), 1);
        ledger.check(&trace);
    }
    newest
}

fn publish(address: SocketAddr, ledger: &Ledger, publishing: &AtomicUsize, number: usize) {
    let _done = Done(publishing);
    let mut publisher = Publisher::connect(ledger, address, &format!("p{number}"));
    for n in 0..250 {
        publisher.publish(TOPICS[(n + number) % 4]);
        if n % 10 == 0 {
            let topics: Vec<&str> = (0..10).map(|m| TOPICS[(n / 10 + m / 3) % 4]).collect();
            publisher.publish_bulk(&topics);
        }
    }
}

/// Subscribes to everything and reads to the end.
fn stay(address: SocketAddr, ledger: &Ledger, publishing: &AtomicUsize) -> Vec<Trace> {
    let mut reader = Reader::connect(address);
    for topic in TOPICS {
        reader.subscribe(topic, "earliest");
    }
    while publishing.load(Ordering::Acquire) > 0 {
        reader.read(100, MOMENT);
    }
    reader.read_all(ledger);
    let traces = reader.leave();
    for trace in &traces {
        assert_eq!(
            trace.received.len(),
            ledger.count(&trace.topic),
            "{}",
            trace.topic
        );
    }
    traces
}

/// Subscribes to one topic after the other, for a few messages each, from now or the beginning.
fn come_and_go(address: SocketAddr, publishing: &AtomicUsize, seed: usize) -> Vec<Trace> {
    let mut reader = Reader::connect(address);
    let mut turn = seed;
    reader.subscribe(TOPICS[turn % 4], "last");
    while publishing.load(Ordering::Acquire) > 0 {
        let next = TOPICS[(turn + 1) % 4];
        reader.subscribe(
            next,
            if turn.is_multiple_of(3) {
                "earliest"
            } else {
                "last"
            },
        );
        reader.read(turn % 7, MOMENT);
        reader.unsubscribe(TOPICS[turn % 4]);
        turn += 1;
    }
    reader.leave()
}

/// Breaks off again and again and resumes each topic by the id of its newest message.
fn reconnect(
    address: SocketAddr,
    ledger: &Ledger,
    publishing: &AtomicUsize,
    seed: usize,
) -> Vec<Trace> {
    let mut offsets = TOPICS.map(|_| "earliest".to_owned());
    let mut traces: Vec<Trace> = Vec::new();
    for turn in seed.. {
        let last_turn = publishing.load(Ordering::Acquire) == 0;
        let mut reader = Reader::connect(address);
        for (topic, offset) in TOPICS.iter().zip(&offsets) {
            let reply = reader.subscribe(topic, offset);
            assert_eq!(reply["recovered"][*topic], true, "{reply}");
        }
        if last_turn {
            reader.read_all(ledger);
        } else {
            reader.read(turn % 50, MOMENT);
        }
        for (topic, offset) in TOPICS.iter().zip(&mut offsets) {
            let last = reader.last(topic).to_owned();
            let trace = reader.trace(topic);
            assert!(
                *offset == "earliest" || trace.after == *offset,
                "resumed elsewhere: {trace:?}"
            );
            *offset = last;
        }
        traces.extend(if turn.is_multiple_of(2) {
            reader.leave()
        } else {
            reader.vanish()
        });
        if last_turn {
            break;
        }
    }
    for topic in TOPICS {
        let received: usize = traces
            .iter()
            .filter(|trace| trace.topic == topic)
            .map(|t| t.received.len())
            .sum();
        assert_eq!(
            received,
            ledger.count(topic),
            "each once over all connections: {topic}"
        );
    }
    traces
}

/// Resumes by message ids after having been away while many messages were published.
fn stay_away(
    address: SocketAddr,
    ledger: &Ledger,
    publishing: &AtomicUsize,
    seed: usize,
) -> Vec<Trace> {
    let mut offsets = TOPICS.map(|_| "last".to_owned());
    let mut traces: Vec<Trace> = Vec::new();
    for turn in seed.. {
        let last_turn = publishing.load(Ordering::Acquire) == 0;
        let mut reader = Reader::skipping(address);
        for (topic, offset) in TOPICS.iter().zip(&offsets) {
            reader.subscribe(topic, offset);
        }
        if last_turn {
            reader.read_all(ledger);
        } else {
            reader.read(turn % 50, MOMENT);
        }
        offsets = TOPICS.map(|topic| reader.last(topic).to_owned());
        traces.extend(if turn.is_multiple_of(2) {
            reader.leave()
        } else {
            reader.vanish()
        });
        if last_turn {
            return traces;
        }
        let count = || {
            TOPICS
                .iter()
                .map(|topic| ledger.count(topic))
                .sum::<usize>()
        };
        let more = count() + 120;
        wait_until("more is published", DEADLINE, || {
            count() >= more || publishing.load(Ordering::Acquire) == 0
        });
    }
    unreachable!("the loop has no end of its own")
}

/// Counts a publisher out, also when it panics: the readers must not wait for ever.
struct Done<'a>(&'a AtomicUsize);

impl Drop for Done<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Release);
    }
}

#[test]
fn a_burst_on_many_topics_makes_nobody_slow() {
    let flags = ["--outbox-bytes-max", "64KiB", "--max-message-size", "16KiB"];
    with_workers(|workers| {
        let server = Server::start(&[&flags[..], &["--workers", workers]].concat());
        let topics: Vec<String> = (0..100).map(|number| format!("t{number}")).collect();
        let mut client = Client::connect(server.addr());
        for part in topics.chunks(50) {
            client.subscribe(json!({"topics": part}));
        }
        let padding = "x".repeat(120);
        let messages: Vec<_> = topics
            .iter()
            .map(|topic| json!({"topic": topic, "payload": {"padding": padding}}))
            .collect();
        let body = json!({"messages": messages}).to_string();
        let mut http = Http::open(server.addr());
        let request = http.encode("POST", "/api/v1/messages/bulk", &[], body.as_bytes());
        http.send(request.repeat(8));
        for _ in 0..8 {
            assert_eq!(http.read_response().status, 207);
        }
        for _ in 0..800 {
            assert_eq!(client.read_json()["type"], "message");
        }
        let fell_behind = server.metric("proxy_lagging_subscriptions_total", &[]);
        assert_eq!(fell_behind, 0.0);
    });
}
