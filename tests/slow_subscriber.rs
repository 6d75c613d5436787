//! A subscriber that does not read costs its bound and nobody else anything.

use std::time::Duration;

use serde_json::{Value, json};
use test_util::checker::{Ledger, Publisher, Reader};
use test_util::owed::publish_numbers;
use test_util::stream::Stream;
use test_util::{Client, DEADLINE, Event, Server, wait_until, with_workers};

const MIB: u64 = 1024 * 1024;
/// Messages in all: with the padding about 20 MB, many times what the server may keep.
const MESSAGES: usize = 2_000;
const PADDING: usize = 10_000;
/// Messages between two looks at the readers: they must not lag for want of a processor.
const CHUNK: usize = 100;

const FLAGS: [&str; 6] = [
    "--topic-bytes-max",
    "4MiB",
    "--outbox-bytes-max",
    "256KiB",
    "--max-message-size",
    "64KiB",
];

#[test]
fn a_subscriber_that_never_reads_is_cut_off_and_costs_no_more_than_its_bounds() {
    with_workers(|workers| {
        let server = start(workers, &["--lag-timeout", "2s"]);
        let ledger = Ledger::default();
        let mut readers = readers(&server);
        let mut stuck = stuck(&server, "disconnect");
        let mut publisher = Publisher::connect(&ledger, server.addr(), "p").padded(PADDING);
        publish_and_read(&mut publisher, &mut readers, &ledger, CHUNK);
        let closed_before = server.metric("proxy_websocket_disconnections_total", &[]);
        let before = server.rss();

        publish_and_read(&mut publisher, &mut readers, &ledger, MESSAGES);
        let grown = server.rss().saturating_sub(before);
        let bound = 4 * MIB + 11 * MIB / 4;
        eprintln!("grown by {grown} bytes");
        assert!(
            grown <= bound + bound / 10,
            "grown by {grown} bytes, {bound} allowed"
        );
        check(readers, &ledger);

        server.wait_for_metric(
            "proxy_websocket_disconnections_total",
            &[],
            closed_before + 1.0 + 10.0,
        );
        assert!(
            lag_closes(&server) >= 1.0,
            "counted by its reason:\n{}",
            server.metrics()
        );
        let end = read_to_end(&mut stuck);
        assert!(
            matches!(end, Event::Close(Some(4008)) | Event::Gone),
            "{end:?}"
        );
        server.wait_for_metric("proxy_websocket_connections_active", &[], 0.0);
    });
}

/// What stands around the messages of a stream is its own, and with a cursor larger than these.
#[test]
fn a_stream_that_nobody_reads_counts_in_memory_and_ends_after_a_while() {
    with_workers(|workers| {
        let flags = ["--ws-idle-timeout", "5s", "--ws-ping-interval", "1s"];
        let server = Server::start(&[&["--workers", workers][..], &flags].concat());
        let topics: Vec<String> = (0..50).map(|index| format!("t{index}")).collect();
        let path = format!("/api/v1/stream?topics={}&on_lag=skip", topics.join(","));
        let mut stuck = Stream::open(server.addr(), &path);
        stuck.expect_event("subscribed");
        for first in (0..10_000).step_by(100) {
            publish_numbers(&server, "t0", first..first + 100);
        }
        server.wait_for_metric("proxy_lagging_subscriptions_total", &[], 1.0);
        let beside = |page: &str| {
            let sum = |name| test_util::metrics::sum(page, name, &[]);
            sum("proxy_memory_used_bytes") - sum("proxy_store_bytes")
        };
        let held = beside(&server.metrics());
        assert!(held > MIB as f64 / 2.0, "{held} bytes");
        // The gauges of a worker are up to a second old.
        server.wait_for_metric("proxy_streams_active", &[], 1.0);
        server.wait_for_metric("proxy_streams_active", &[], 0.0);
        let left = beside(&server.metrics());
        assert!(left < MIB as f64 / 4.0, "{left} bytes");
    });
}

#[test]
fn a_subscriber_that_skips_is_told_what_it_missed_and_goes_on() {
    with_workers(|workers| {
        let server = start(workers, &["--lag-timeout", "2s"]);
        let ledger = Ledger::default();
        let mut readers = readers(&server);
        let mut slow = Reader::skipping(server.addr());
        slow.subscribe("t", "last");
        let mut publisher = Publisher::connect(&ledger, server.addr(), "p").padded(PADDING);
        publish_and_read(&mut publisher, &mut readers, &ledger, MESSAGES);
        check(readers, &ledger);

        slow.read_all(&ledger);
        publisher.publish("t");
        slow.read_all(&ledger);
        let trace = slow.trace("t");
        assert!(
            !trace.gaps.is_empty(),
            "20 MB do not fit: {} came",
            trace.received.len()
        );
        assert!(
            trace.gaps.iter().all(|gap| gap.reason == "lagged"),
            "{:?}",
            trace.gaps
        );
        assert!(trace.received.len() < MESSAGES, "{}", trace.received.len());
        let newest = ledger.newest("t");
        assert_eq!(trace.received.last().map(|(id, _)| id), newest.as_ref());
        slow.leave().iter().for_each(|trace| ledger.check(trace));
    });
}

#[test]
fn a_subscriber_without_progress_is_cut_off_even_if_nothing_is_lost_yet() {
    with_workers(|workers| {
        let server = start(workers, &["--lag-timeout", "1s"]);
        let mut stuck = stuck(&server, "disconnect");
        let mut publisher = test_util::Http::open(server.addr());
        // More than the kernel's buffers and the outbox hold, less than the topic keeps.
        let payload = json!({"mark": "m", "padding": "x".repeat(50_000)});
        let message = json!({"topic": "t", "payload": payload});
        wait_until("the stuck subscriber is cut off", 3 * DEADLINE, || {
            publisher.publish(&message);
            std::thread::sleep(Duration::from_millis(20));
            server.metric("proxy_websocket_connections_active", &[]) == 0.0
        });
        let end = read_to_end(&mut stuck);
        assert!(
            matches!(end, Event::Close(Some(4008)) | Event::Gone),
            "{end:?}"
        );
    });
}

#[test]
fn a_message_that_finds_no_room_waits_without_being_tried_again_and_again() {
    let server = Server::start(&["--workers", "1", "--lag-timeout", "60s"]);
    let _stuck = stuck(&server, "skip");
    let mut publisher = test_util::Http::open(server.addr());
    let message = |bytes| json!({"topic": "t", "payload": {"padding": "x".repeat(bytes)}});
    (0..6).for_each(|_| _ = publisher.publish(&message(300_000)));
    // A third of an outbox waits, so that the connection may read on; what comes next does not fit
    // beside it.
    wait_until("the kernel's buffers are full", 3 * DEADLINE, || {
        publisher.publish(&message(300_000));
        server.metric("proxy_outbox_bytes", &[]) > 0.0
    });
    publisher.publish(&message(900_000));
    let before = server.metric("process_cpu_seconds_total", &[]);
    // A span to measure in: nothing is to happen meanwhile.
    std::thread::sleep(Duration::from_secs(2));
    let used = server.metric("process_cpu_seconds_total", &[]) - before;
    assert!(used < 0.5, "{used} s of processor time in 2 s");
}

fn start(workers: &str, more: &[&str]) -> Server {
    Server::start(&[&FLAGS[..], &["--workers", workers], more].concat())
}

fn readers(server: &Server) -> Vec<Reader> {
    let reader = |_| {
        let mut reader = Reader::connect(server.addr());
        reader.subscribe("t", "last");
        reader
    };
    (0..10).map(reader).collect()
}

/// A subscriber with small kernel buffers that never reads.
fn stuck(server: &Server, on_lag: &str) -> Client {
    let mut client = Client::connect(server.addr());
    set_receive_buffer(&client, 16 * 1024);
    client.subscribe(json!({"topics": ["t"], "on_lag": on_lag}));
    client
}

fn set_receive_buffer(client: &Client, bytes: usize) {
    let socket = socket2::SockRef::from(client.stream());
    socket
        .set_recv_buffer_size(bytes)
        .expect("a TCP socket has this option");
}

/// Publishes `count` messages, waiting for the readers now and then.
fn publish_and_read(
    publisher: &mut Publisher<'_>,
    readers: &mut [Reader],
    ledger: &Ledger,
    count: usize,
) {
    for _ in 0..count.div_ceil(CHUNK) {
        for _ in 0..CHUNK {
            publisher.publish("t");
        }
        std::thread::scope(|scope| {
            for part in readers.chunks_mut(5) {
                scope.spawn(move || part.iter_mut().for_each(|reader| reader.read_all(ledger)));
            }
        });
    }
}

fn check(readers: Vec<Reader>, ledger: &Ledger) {
    for reader in readers {
        for trace in reader.leave() {
            assert!(
                trace.gaps.is_empty(),
                "a reader that reads misses nothing: {:?}",
                trace.gaps
            );
            assert_eq!(trace.received.len(), ledger.count("t"));
            ledger.check(&trace);
        }
    }
}

/// Connections closed for lagging, by whatever family counts closes by reason.
fn lag_closes(server: &Server) -> f64 {
    let samples = test_util::metrics::samples(&server.metrics());
    let counts = samples.into_iter().filter(|sample| {
        sample.name.contains("closed")
            && sample
                .label("reason")
                .is_some_and(|reason| reason.contains("lag"))
    });
    counts.map(|sample| sample.value).sum()
}

/// Reads what was on its way, and returns how the connection ended.
fn read_to_end(client: &mut Client) -> Event {
    // Through a small buffer the kernel would send a little now and then.
    set_receive_buffer(client, 1024 * 1024);
    loop {
        match client.next(DEADLINE) {
            Event::Text(text) => {
                let message: Value = serde_json::from_str(&text).expect("the server sends JSON");
                assert_eq!(message["type"], "message", "{message}");
            }
            end => return end,
        }
    }
}
