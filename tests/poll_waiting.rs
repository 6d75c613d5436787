//! Waiting polls: woken together, freed when abandoned, counted, bounded, answered at the end.

use std::io::Write;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;
use test_util::link::{Filled, Link};
use test_util::poll::{self, ids, text};
use test_util::{DEADLINE, Http, Poller, Server, wait_until, with_workers};

const MIB: u64 = 1024 * 1024;

#[test]
fn a_closed_side_is_answered_at_once_as_on_timeout() {
    with_workers(|workers| {
        let server = Server::start(&["--workers", workers]);
        let mut poller = parked(&server, "t", 1);
        let began = Instant::now();
        poller.http.finish();
        let answer = poller.read();
        assert!(began.elapsed() < Duration::from_secs(5));
        assert_eq!(answer["timeout"], true);
        poller.http.expect_closed();
        wait_for_waiters(&server, 0);

        // Its offset is as good as any.
        let id = server.publish("t", &json!({}))["message_id"].clone();
        let mut next = Poller::open(server.addr(), &["t"], poller.since.as_deref());
        assert_eq!(ids(&next.poll("")["messages"]), [text(&id)]);
    });
}

#[test]
fn a_side_closed_with_the_request_is_answered_too() {
    with_workers(|workers| {
        let server = Server::start(&["--workers", workers]);
        for _ in 0..20 {
            let mut poller = Poller::open(server.addr(), &["t"], None);
            poller.send("timeout=60");
            poller.http.finish();
            assert_eq!(poller.read()["timeout"], true);
            poller.http.expect_closed();
        }
        wait_for_waiters(&server, 0);
    });
}

#[test]
fn an_abandoned_poll_is_freed_at_once() {
    with_workers(|workers| {
        let server = Server::start(&["--workers", workers]);
        let base = server.settled_descriptors();
        let links: Vec<Link> = (0..50)
            .map(|n| {
                let mut link = Link::open(server.addr());
                let path = poll::path(&[format!("t{}", n % 3)], None, "timeout=60");
                link.send(test_util::stream::request(server.addr(), &path, &[]));
                link
            })
            .collect();
        wait_for_waiters(&server, 50);
        links.into_iter().for_each(Link::reset);
        wait_for_waiters(&server, 0);
        server.assert_recovered(base);
        // Nobody is left to deliver to.
        (0..3).for_each(|n| _ = server.publish(&format!("t{n}"), &json!({})));
        let delivered = server.metric("proxy_messages_delivered_total", &[]);
        assert_eq!(delivered, 0.0);
    });
}

#[test]
fn requests_behind_a_waiting_poll_are_answered_behind_it() {
    with_workers(|workers| {
        let server = Server::start(&["--workers", workers]);
        let mut http = Http::open(server.addr());
        let poll = http.encode("GET", "/api/v1/poll?topics=t&timeout=30", &[], b"");
        let body = json!({"topic": "t", "payload": {"n": 2}}).to_string();
        let publish = http.encode("POST", "/api/v1/messages", &[], body.as_bytes());
        let health = http.encode("GET", "/health", &[], b"");
        http.send([poll.clone(), publish, health, poll].concat());
        wait_for_waiters(&server, 1);
        assert!(!http.has_answer());
        let first = server.publish("t", &json!({"n": 1}))["message_id"].clone();
        let answer = poll::check(&http.read_response(), 1);
        assert_eq!(ids(&answer["messages"]), [text(&first)]);
        assert_eq!(http.read_response().status, 201, "the publish waited");
        assert_eq!(http.read_response().json()["status"], "healthy");
        wait_for_waiters(&server, 1);
        assert!(!http.has_answer(), "its own publish was before it");
        let third = server.publish("t", &json!({"n": 3}))["message_id"].clone();
        let answer = poll::check(&http.read_response(), 1);
        assert_eq!(ids(&answer["messages"]), [text(&third)]);
    });
}

#[test]
fn a_chain_of_polls_in_one_write_is_answered_in_order() {
    with_workers(|workers| {
        let server = Server::start(&["--workers", workers]);
        let mut http = Http::open(server.addr());
        let path = "/api/v1/poll?topics=t&since=earliest&timeout=0";
        let request = http.encode("GET", path, &[], b"");
        http.send(request.repeat(100));
        for _ in 0..100 {
            assert_eq!(poll::check(&http.read_response(), 1)["timeout"], true);
        }
    });
}

#[test]
fn what_is_sent_behind_a_waiting_poll_is_held_in_bounds() {
    with_workers(|workers| {
        let server = Server::start(&["--workers", workers]);
        let mut poller = parked(&server, "t", 1);
        let before = server.rss();
        let padding = "x".repeat(20_000);
        let request = poller
            .http
            .encode("GET", "/health", &[("X-Padding", &padding)], b"");
        let count = 10_000_000 / request.len();
        let mut stream = poller.http.stream().try_clone().expect("a descriptor");
        let sent = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            let sent = &sent;
            scope.spawn(move || {
                for _ in 0..count {
                    stream.write_all(&request).expect("the server reads on");
                    sent.fetch_add(1, Ordering::Relaxed);
                }
            });
            // The kernel takes some megabytes, and then the writer stands still.
            let mut last = (0, Instant::now());
            wait_until("the writer stands still", DEADLINE, || {
                let now = sent.load(Ordering::Relaxed);
                if now != last.0 {
                    last = (now, Instant::now());
                }
                now == count || last.1.elapsed() > Duration::from_millis(300)
            });
            let grown = server.rss().saturating_sub(before);
            eprintln!("{} of {count} sent, grown by {grown} bytes", last.0);
            assert!(grown < 2 * MIB, "grown by {grown} bytes");
            server.publish("t", &json!({}));
            assert_eq!(ids(&poller.read()["messages"]).len(), 1);
            for _ in 0..count {
                assert_eq!(poller.http.read_response().status, 200);
            }
        });
    });
}

#[test]
fn one_publish_wakes_a_thousand() {
    assert!(test_util::raise_descriptor_limit() >= 1100);
    with_workers(|workers| {
        let server = Server::start(&["--workers", workers]);
        let mut pollers: Vec<Poller> = (0..1000)
            .map(|_| {
                let mut poller = Poller::open(server.addr(), &["t"], None);
                poller.send("timeout=60");
                poller
            })
            .collect();
        wait_for_waiters(&server, 1000);
        let began = Instant::now();
        let id = server.publish("t", &json!({}))["message_id"].clone();
        for poller in &mut pollers {
            assert_eq!(ids(&poller.read()["messages"]), [text(&id)]);
        }
        eprintln!("1,000 polls were answered within {:?}", began.elapsed());
        wait_for_waiters(&server, 0);
    });
}

#[test]
fn the_end_of_the_server_answers_waiting_polls() {
    with_workers(|workers| {
        let mut server = Server::start(&["--workers", workers]);
        let mut pollers: Vec<Poller> = (1..=20).map(|n| parked(&server, "t", n)).collect();
        let began = Instant::now();
        server.signal("TERM");
        for poller in &mut pollers {
            let response = poller.http.read_response();
            assert_eq!(poll::check(&response, 1)["timeout"], true);
            assert_eq!(response.header("connection"), Some("close"));
            poller.http.expect_closed();
        }
        assert_eq!(server.wait(DEADLINE), Some(0));
        assert!(
            began.elapsed() < Duration::from_secs(10),
            "{:?}",
            began.elapsed()
        );
    });
}

#[test]
fn polls_are_answered_before_a_proxy_gives_up() {
    with_workers(|workers| {
        let flags = ["--workers", workers, "--proxy-idle-timeout", "7"];
        let server = Server::start(&flags);
        let mut poller = Poller::open(server.addr(), &["t"], None);
        let began = Instant::now();
        assert_eq!(poller.poll("timeout=30")["timeout"], true);
        let took = began.elapsed();
        assert!(took >= Duration::from_millis(1_900), "{took:?}");
        assert!(took < Duration::from_secs(5), "{took:?}");
        let began = Instant::now();
        assert_eq!(poller.poll("timeout=1")["timeout"], true);
        assert!(
            began.elapsed() < Duration::from_millis(1_900),
            "its own is shorter"
        );
    });
}

#[test]
fn polls_count_as_connections_also_between_polls() {
    with_workers(|workers| {
        let server = Server::start(&["--workers", workers, "--max-connections", "5"]);
        let mut pollers: Vec<Poller> = (1..=5).map(|n| parked(&server, "t", n)).collect();
        assert_sent_away(&server);
        assert_eq!(server.get("/health").status, 200, "others are served");
        server.publish("t", &json!({}));
        for poller in &mut pollers {
            assert_eq!(ids(&poller.read()["messages"]).len(), 1);
        }
        assert_sent_away(&server);

        // Who asks for something else is no poll any more.
        assert_eq!(pollers[0].http.get("/health").status, 200);
        wait_until("a place is free", DEADLINE, || {
            server.get("/api/v1/poll?topics=t&timeout=0").status == 200
        });
        drop(pollers);
        wait_until("all places are free", DEADLINE, || {
            let mut five = (0..5)
                .map(|_| Http::open(server.addr()))
                .collect::<Vec<_>>();
            five.iter_mut()
                .all(|http| http.get("/api/v1/poll?topics=t&timeout=0").status == 200)
        });
    });
}

#[test]
fn bytes_behind_a_poll_that_are_no_request_end_the_connection_behind_it() {
    let server = Server::start(&[]);
    let mut poller = parked(&server, "t", 1);
    poller.http.send("nonsense\r\n\r\n");
    server.publish("t", &json!({}));
    assert_eq!(ids(&poller.read()["messages"]).len(), 1);
    poller
        .http
        .read_response()
        .assert_error(400, "INVALID_REQUEST");
    poller.http.expect_closed();
}

#[test]
fn a_poll_that_is_the_last_request_is_answered_and_closed() {
    with_workers(|workers| {
        let server = Server::start(&["--workers", workers]);
        let host = server.addr();
        for (version, last) in [("1.0", ""), ("1.1", "Connection: close\r\n")] {
            let mut link = Link::open(host);
            link.send(format!(
                "GET /api/v1/poll?topics=t&timeout=30 HTTP/{version}\r\nHost: {host}\r\n{last}\r\n"
            ));
            wait_for_waiters(&server, 1);
            server.publish("t", &json!({}));
            let end = Instant::now() + DEADLINE;
            while link.fill(end) != Filled::End {
                assert!(Instant::now() < end, "it stays open");
            }
            let response = link.take_response().expect("an answer");
            assert_eq!(ids(&poll::check(&response, 1)["messages"]).len(), 1);
        }
    });
}

/// A poll that waits, the `count`th.
fn parked(server: &Server, topic: &str, count: u32) -> Poller {
    let mut poller = Poller::open(server.addr(), &[topic], None);
    poller.send("timeout=60");
    wait_for_waiters(server, count);
    poller
}

fn wait_for_waiters(server: &Server, count: u32) {
    server.wait_for_metric("proxy_poll_waiters", &[], count.into());
}

fn assert_sent_away(server: &Server) {
    let mut http = Http::open(server.addr());
    let response = http.get("/api/v1/poll?topics=t&timeout=0");
    response.assert_error(503, "SERVICE_UNAVAILABLE");
    assert!(response.header("retry-after").is_some(), "{response:?}");
    http.expect_closed();
}
