//! A server that stops while it is used from all sides: whatever was accepted is delivered to all who were there,
//! and nobody is cut off in the middle of something.

mod clients;
mod place;

use std::io::Write as _;
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use test_util::{Client, DEADLINE, Event, Http, Server, wait_until, with_workers};

use clients::{
    Book, Heard, TOPICS, publish, read_polls, read_stream, read_websocket, stream, websocket,
};

const BODY: &str = r#"{"topic":"t","payload":{"mark":"late"}}"#;

/// Publishers, WebSockets and streams on each way in, and half as many polls.
const CLIENTS: usize = 4;
/// Messages before it is told to stop.
const ACCEPTED: usize = 1_000;

#[test]
fn what_was_accepted_is_delivered_to_all_before_they_are_told_to_go() {
    with_workers(|workers| {
        let folder = tempfile::tempdir().expect("a folder can be made");
        let flags = ["--workers", workers, "--drain-timeout", "20s"];
        let (mut server, places) = place::start(&folder, &flags);
        let book = Book::default();
        let topics_of = |n: usize| &TOPICS[..1 + n % 2];
        thread::scope(|scope| {
            let mut consumers = Vec::new();
            for (place, n) in places
                .iter()
                .flat_map(|it| (0..CLIENTS).map(move |n| (it, n)))
            {
                let topics = topics_of(n);
                let socket = websocket(place, topics);
                consumers.push((topics, scope.spawn(move || read_websocket(socket))));
                let body = stream(place, topics);
                consumers.push((topics, scope.spawn(move || read_stream(body))));
            }
            let pollers: Vec<_> = places
                .iter()
                .flat_map(|place| (0..CLIENTS / 2).map(move |n| (place, topics_of(n))))
                .map(|(place, topics)| (topics, scope.spawn(move || read_polls(place, topics))))
                .collect();
            server.wait_for_metric("proxy_poll_waiters", &[], pollers.len() as f64);
            let book = &book;
            let publishers: Vec<_> = places
                .iter()
                .flat_map(|place| (0..CLIENTS).map(move |n| (place, n)))
                .enumerate()
                .map(|(at, (place, _))| {
                    scope.spawn(move || publish(place, book, &format!("p{at}")))
                })
                .collect();
            wait_until("some are accepted", DEADLINE, || {
                book.accepted() >= ACCEPTED
            });
            let began = Instant::now();
            server.signal("TERM");
            assert_eq!(server.wait(DEADLINE), Some(0));
            assert!(
                began.elapsed() < Duration::from_secs(20),
                "{:?}",
                began.elapsed()
            );
            for publisher in publishers {
                publisher.join().expect("nothing is cut off");
            }
            for (topics, consumer) in consumers {
                let heard: Heard = consumer.join().expect("nothing is cut off");
                assert!(heard.told.is_some(), "each is told to go");
                book.check(&heard, topics);
            }
            for (topics, poller) in pollers {
                book.check(&poller.join().expect("nothing is cut off"), topics);
            }
        });
    });
}

#[test]
fn who_reads_on_from_long_ago_is_given_the_rest_first() {
    with_workers(|workers| {
        let mut server = Server::start(&["--workers", workers, "--drain-timeout", "30s"]);
        // More than its outbox and what the kernel holds for it.
        let padding = "x".repeat(20_000);
        let message = |n: u64| json!({"topic": "t", "payload": {"n": n, "padding": padding}});
        for bulk in 0..20 {
            let messages: Vec<Value> = (0..40).map(|n| message(bulk * 40 + n)).collect();
            let body = json!({"messages": messages}).to_string();
            assert_eq!(server.post("/api/v1/messages/bulk", body).status, 207);
        }
        let (mut client, _) = Client::subscribed_from(server.addr(), &["t"], "earliest");
        server.signal("TERM");
        wait_until("nobody listens", DEADLINE, || {
            TcpStream::connect(server.addr()).is_err()
        });
        for n in 0..800 {
            assert_eq!(client.read_json()["payload"]["n"], n);
        }
        assert_eq!(client.expect_close(), Some(1001));
        assert_eq!(server.wait(DEADLINE), Some(0));
    });
}

#[test]
fn a_publisher_is_refused_from_when_on_subscribers_are_told_to_go() {
    with_workers(|workers| {
        // A quarter of it is the patience with requests.
        let mut server = Server::start(&["--workers", workers, "--drain-timeout", "8s"]);
        let mut client = Client::subscribed(server.addr(), &["t"]);
        let upload = || {
            let mut http = Http::open(server.addr());
            let length = BODY.len();
            http.send(format!(
                "POST /api/v1/messages HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\n\
                 Content-Length: {length}\r\n\r\n"
            ));
            assert_eq!(http.read_response().status, 100);
            http
        };
        let (mut early, mut late) = (upload(), upload());
        server.signal("TERM");
        wait_until("nobody listens", DEADLINE, || {
            TcpStream::connect(server.addr()).is_err()
        });
        early.send(BODY);
        let answer = early.read_response();
        let message = client.next(DEADLINE);
        if answer.status == 201 {
            assert!(
                matches!(&message, Event::Text(text) if text.contains("late")),
                "{message:?}"
            );
            assert_eq!(client.expect_close(), Some(1001));
        } else {
            // The machine was too slow for this half.
            assert_eq!(message, Event::Close(Some(1001)));
        }
        late.send(BODY);
        let answer = late.read_response();
        answer.assert_error(503, "SERVICE_UNAVAILABLE");
        assert!(answer.header("retry-after").is_some(), "{answer:?}");
        assert_eq!(answer.header("connection"), Some("close"));
        assert_eq!(
            client.next(DEADLINE),
            Event::Gone,
            "nothing follows a close"
        );
        assert_eq!(server.wait(DEADLINE), Some(0));
    });
}

#[test]
fn the_first_request_of_a_new_connection_may_be_on_its_way() {
    with_workers(|workers| {
        let mut server = Server::start(&["--workers", workers]);
        let mut http = Http::open(server.addr());
        // Accepted: those that come are seen in order, and so is this one before the next.
        server.wait_for_metric("proxy_counted_connections", &[("bound", "others")], 2.0);
        let began = Instant::now();
        server.signal("TERM");
        wait_until("nobody listens", DEADLINE, || {
            TcpStream::connect(server.addr()).is_err()
        });
        let request = http.encode("POST", "/api/v1/messages", &[], BODY.as_bytes());
        // An error means that it was closed.
        let _ = http.stream().write_all(&request);
        match http.try_read_response() {
            Some(answer) => {
                assert_eq!(answer.status, 201);
                assert_eq!(answer.header("connection"), Some("close"));
            }
            None => assert!(
                began.elapsed() >= Duration::from_millis(400),
                "{:?}",
                began.elapsed()
            ),
        }
        http.expect_closed();
        assert_eq!(server.wait(DEADLINE), Some(0));
    });
}

#[test]
fn the_more_consumers_there_are_the_longer_they_take_to_come_back() {
    const CONSUMERS: usize = 60;
    for (rate, spread) in [("10", 6_000), ("1000", 2_000)] {
        let folder = tempfile::tempdir().expect("a folder can be made");
        let flags = ["--workers", "2", "--drain-reconnect-rate", rate];
        let (mut server, places) = place::start(&folder, &flags);
        let sockets: Vec<_> = (0..CONSUMERS / 2)
            .map(|n| websocket(&places[n % 3], &["t"]))
            .collect();
        let streams: Vec<_> = (0..CONSUMERS / 2)
            .map(|n| stream(&places[n % 3], &["t"]))
            .collect();
        server.signal("TERM");
        let told = sockets
            .into_iter()
            .map(read_websocket)
            .chain(streams.into_iter().map(read_stream));
        let told: Vec<u64> = told
            .map(|heard| heard.told.expect("each is told"))
            .collect();
        let (first, last) = (told.iter().min(), told.iter().max());
        // Sixty numbers of which none is in a third of the range: that is one case in many billions.
        assert!(first < Some(&(spread / 3)), "{told:?}");
        assert!(
            last > Some(&(spread * 2 / 3)) && last < Some(&spread),
            "{told:?}"
        );
        assert_eq!(server.wait(DEADLINE), Some(0));
    }
}

#[test]
fn a_second_signal_ends_it_under_load_as_well() {
    let mut server = Server::start(&["--drain-timeout", "60s"]);
    // One that never reads holds the drain up.
    let padding = "x".repeat(20_000);
    let stuck = Client::subscribed(server.addr(), &["t"]);
    for _ in 0..20 {
        let messages = vec![json!({"topic": "t", "payload": {"padding": padding}}); 40];
        let body = json!({"messages": messages}).to_string();
        assert_eq!(server.post("/api/v1/messages/bulk", body).status, 207);
    }
    server.signal("TERM");
    wait_until("nobody listens", DEADLINE, || {
        TcpStream::connect(server.addr()).is_err()
    });
    let began = Instant::now();
    server.signal("TERM");
    assert_eq!(server.wait(DEADLINE), Some(128 + 15));
    assert!(
        began.elapsed() < Duration::from_secs(5),
        "{:?}",
        began.elapsed()
    );
    drop(stuck);
}
