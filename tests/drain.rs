//! How the server ends: announced, orderly, in time.

use std::io::Write;
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;
use test_util::{Client, DEADLINE, Event, Http, Server, Wire, wait_until, with_workers};

const BODY: &[u8] = br#"{"topic":"t","payload":{}}"#;

#[test]
fn an_idle_server_ends_at_once_with_0() {
    with_workers(|workers| {
        let mut server = Server::start(&["--workers", workers]);
        let began = Instant::now();
        assert_eq!(server.stop(), Some(0));
        assert!(
            began.elapsed() < Duration::from_secs(10),
            "{:?}",
            began.elapsed()
        );
    });
}

#[test]
fn sigint_drains_too() {
    let mut server = Server::start(&[]);
    server.signal("INT");
    assert_eq!(server.wait(DEADLINE), Some(0));
}

#[test]
fn who_sends_all_the_time_is_told_too() {
    with_workers(|workers| {
        let mut server = Server::start(&["--workers", workers]);
        let mut wires: Vec<Wire> = (0..50)
            .map(|_| Wire::subscribed(server.addr(), "t"))
            .collect();
        let is_over = AtomicBool::new(false);
        let stream = |wire: &Wire| wire.stream().try_clone().expect("a descriptor is free");
        let streams: Vec<TcpStream> = wires.iter().map(stream).collect();
        std::thread::scope(|scope| {
            for mut stream in streams {
                let ping = test_util::wire::encode(0x89, b"");
                let is_over = &is_over;
                scope.spawn(move || {
                    while !is_over.load(Ordering::Relaxed) && stream.write_all(&ping).is_ok() {
                        std::thread::sleep(Duration::from_millis(1));
                    }
                });
            }
            wait_until("pings come in", DEADLINE, || {
                server.metric("proxy_received_bytes_total", &[]) > 50_000.0
            });
            server.signal("TERM");
            for wire in &mut wires {
                wire.expect_close(1001);
            }
            is_over.store(true, Ordering::Relaxed);
        });
        assert_eq!(server.wait(DEADLINE), Some(0));
    });
}

#[test]
fn a_request_that_waited_for_its_connection_to_be_accepted_is_answered() {
    let mut server = Server::start(&["--workers", "1"]);
    server.signal("STOP");
    let mut clients: Vec<Http> = (0..20).map(|_| Http::open(server.addr())).collect();
    for http in &mut clients {
        let request = http.encode("POST", "/api/v1/messages", &[], BODY);
        http.send(request);
    }
    server.signal("TERM");
    server.signal("CONT");
    for http in &mut clients {
        assert_eq!(http.read_response().status, 201);
        http.expect_closed();
    }
    assert_eq!(server.wait(DEADLINE), Some(0));
}

#[test]
fn during_the_delay_it_is_served_and_announced() {
    with_workers(|workers| {
        let flags = ["--workers", workers, "--drain-delay", "3s"];
        let mut server = Server::start(&flags);
        let mut client = Client::subscribed(server.addr(), &["t"]);
        let mut http = Http::open(server.addr());
        assert_eq!(http.get("/ready").status, 200);
        let began = Instant::now();
        server.signal("TERM");
        wait_until("/ready is red", DEADLINE, || {
            server.get("/ready").status == 503
        });
        let ready = server.get("/ready");
        assert_eq!(ready.json()["ready"], json!(false));

        let response = http.post("/api/v1/messages", BODY);
        assert_eq!(response.status, 201, "kept connections are served");
        assert_eq!(
            response.header("connection"),
            Some("close"),
            "and asked to go"
        );
        http.expect_closed();
        assert_eq!(server.get("/health").status, 200, "the process lives");
        assert_eq!(
            server.post("/api/v1/messages", BODY).status,
            201,
            "new ones are served"
        );
        assert_eq!(client.read_json()["type"], "message");
        assert_eq!(client.read_json()["type"], "message");
        assert!(
            began.elapsed() < Duration::from_secs(3),
            "the machine is too slow for this test"
        );

        assert_eq!(client.expect_close(), Some(1001));
        assert!(
            began.elapsed() >= Duration::from_millis(2_900),
            "{:?}",
            began.elapsed()
        );
        assert_eq!(client.next(DEADLINE), Event::Gone);
        assert_eq!(server.wait(DEADLINE), Some(0));
        assert!(
            TcpStream::connect(server.addr()).is_err(),
            "nobody listens any more"
        );
    });
}

#[test]
fn websockets_are_closed_with_1001_and_everything_is_over_in_time() {
    with_workers(|workers| {
        let flags = ["--workers", workers, "--drain-timeout", "5s"];
        let mut server = Server::start(&flags);
        let mut clients: Vec<Client> = (0..50)
            .map(|_| Client::subscribed(server.addr(), &["t"]))
            .collect();
        // One that will never answer its close.
        let silent = Client::subscribed(server.addr(), &["t"]);
        let began = Instant::now();
        server.signal("TERM");
        for client in &mut clients {
            assert_eq!(client.expect_close(), Some(1001));
            assert_eq!(client.next(DEADLINE), Event::Gone);
        }
        assert_eq!(server.wait(DEADLINE), Some(0));
        assert!(
            began.elapsed() < Duration::from_secs(9),
            "{:?}",
            began.elapsed()
        );
        drop(silent);
    });
}

#[test]
fn requests_already_received_are_answered() {
    with_workers(|workers| {
        let flags = ["--workers", workers, "--drain-delay", "1s"];
        let mut server = Server::start(&flags);
        let mut http = Http::open(server.addr());
        http.send(format!(
            "POST /api/v1/messages HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\n\
             Content-Length: {}\r\n\r\n",
            BODY.len()
        ));
        assert_eq!(
            http.read_response().status,
            100,
            "the head has been received"
        );
        server.signal("TERM");
        wait_until("/ready is red", DEADLINE, || {
            server.get("/ready").status == 503
        });
        http.send(BODY);
        let response = http.read_response();
        assert_eq!(response.status, 201, "{response:?}");
        assert_eq!(response.header("connection"), Some("close"));
        http.expect_closed();
        assert_eq!(server.wait(DEADLINE), Some(0));
    });
}

#[test]
fn idle_connections_do_not_hold_the_end_up() {
    with_workers(|workers| {
        let mut server = Server::start(&["--workers", workers, "--drain-timeout", "15s"]);
        let mut idle: Vec<Http> = (0..20).map(|_| Http::open(server.addr())).collect();
        idle[..10]
            .iter_mut()
            .for_each(|http| assert_eq!(http.get("/health").status, 200));
        let began = Instant::now();
        assert_eq!(server.stop(), Some(0));
        assert!(
            began.elapsed() < Duration::from_secs(10),
            "{:?}",
            began.elapsed()
        );
        idle.iter_mut().for_each(Http::expect_closed);
    });
}

#[test]
fn a_second_signal_ends_at_once() {
    with_workers(|workers| {
        let flags = ["--workers", workers, "--drain-delay", "60s"];
        let mut server = Server::start(&flags);
        let _client = Client::subscribed(server.addr(), &["t"]);
        server.signal("TERM");
        wait_until("/ready is red", DEADLINE, || {
            server.get("/ready").status == 503
        });
        let began = Instant::now();
        server.signal("TERM");
        server.wait(DEADLINE);
        assert!(
            began.elapsed() < Duration::from_secs(5),
            "{:?}",
            began.elapsed()
        );
    });
}

#[test]
fn sighup_never_ends_the_server() {
    let mut server = Server::start(&[]);
    let mut client = Client::subscribed(server.addr(), &["t"]);
    for _ in 0..3 {
        server.signal("HUP");
        assert_eq!(server.get("/ready").status, 200);
        client.assert_quiet();
    }
    assert_eq!(server.stop(), Some(0));
}
