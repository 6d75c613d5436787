//! Slow, broken and malicious peers: refused as promised, and gone without a trace.

use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use serde_json::json;
use test_util::wire::{FIN, TEXT, encode, handshake, subscribe};
use test_util::{
    Client, DEADLINE, Http, Program, Server, Wire, raise_descriptor_limit, wait_until, with_workers,
};

const HEAD: &str = "POST /api/v1/messages HTTP/1.1\r\nHost: localhost\r\n";
const BODY: &str = r#"{"topic":"t","payload":{}}"#;

#[test]
fn heads_and_bodies_one_byte_at_a_time() {
    with_workers(|workers| {
        let server = Server::start(&["--workers", workers]);
        let base = server.settled_descriptors();
        let mut http = Http::open(server.addr());
        let plain = http.encode("POST", "/api/v1/messages", &[], BODY.as_bytes());
        let chunked = format!(
            "{HEAD}Transfer-Encoding: chunked\r\n\r\n1A;x=y\r\n{BODY}\r\n0\r\nA: b\r\n\r\n"
        );
        for request in [plain, chunked.into_bytes()] {
            for byte in request {
                http.send([byte]);
            }
            let response = http.read_response();
            assert_eq!(response.status, 201, "{response:?}");
        }
        drop(http);
        server.assert_recovered(base);
    });
}

#[test]
fn frames_one_byte_at_a_time() {
    with_workers(|workers| {
        let server = Server::start(&["--workers", workers]);
        let base = server.settled_descriptors();
        let mut http = Http::open(server.addr());
        for byte in handshake(server.addr()) {
            http.send([byte]);
        }
        assert_eq!(http.read_response().status, 101);
        let mut wire = Wire::from(http);
        for text in [subscribe("t"), r#"{"type":"ping"}"#.to_owned()] {
            for byte in encode(TEXT | FIN, text.as_bytes()) {
                wire.send_bytes([byte]);
            }
        }
        assert_eq!(wire.read_json()["type"], "subscribed");
        assert_eq!(wire.read_json()["type"], "pong");
        let large = format!(r#"{{"type":"ping","x":"{}"}}"#, "y".repeat(70_000));
        for piece in encode(TEXT | FIN, large.as_bytes()).chunks(997) {
            wire.send_bytes(piece);
        }
        assert_eq!(wire.read_json()["type"], "pong");
        drop(wire);
        server.assert_recovered(base);
    });
}

#[test]
fn heads_and_bodies_that_do_not_come_time_out() {
    with_workers(|workers| {
        let flags = ["--head-timeout", "700ms", "--body-timeout", "700ms"];
        let server = Server::start(&[&flags[..], &["--workers", workers]].concat());
        let base = server.settled_descriptors();
        let began = Instant::now();
        let parts = [
            "G".to_owned(),
            HEAD.to_owned(),
            format!("{HEAD}Content-Length: 26\r\n\r\n"),
            format!("{HEAD}Content-Length: 26\r\n\r\n{}", &BODY[..25]),
            format!(
                "{HEAD}Transfer-Encoding: chunked\r\n\r\n1A\r\n{}",
                &BODY[..25]
            ),
            format!("{HEAD}Transfer-Encoding: chunked\r\n\r\n1A\r\n{BODY}\r\n0\r\n"),
        ];
        let mut waiting: Vec<Http> = parts
            .iter()
            .map(|part| {
                let mut http = Http::open(server.addr());
                http.send(part);
                http
            })
            .collect();
        for http in &mut waiting {
            http.read_response().assert_error(408, "REQUEST_TIMEOUT");
            http.expect_closed();
        }
        assert!(
            began.elapsed() >= Duration::from_millis(650),
            "{:?}",
            began.elapsed()
        );
        assert!(
            began.elapsed() < Duration::from_secs(10),
            "{:?}",
            began.elapsed()
        );
        server.assert_recovered(base);
    });
}

#[test]
fn a_deadline_is_not_moved_by_bytes_that_trickle() {
    let server = Server::start(&["--head-timeout", "1s"]);
    let began = Instant::now();
    let mut http = Http::open(server.addr());
    http.send("GET /health HTTP/1.1\r\nX: ");
    wait_until("the head times out", DEADLINE, || {
        http.send_to_deaf("x");
        http.has_answer()
    });
    http.read_response().assert_error(408, "REQUEST_TIMEOUT");
    assert!(
        began.elapsed() >= Duration::from_millis(900),
        "{:?}",
        began.elapsed()
    );
}

#[test]
fn idle_connections_are_closed_silently() {
    let server = Server::start(&["--keep-alive-timeout", "700ms"]);
    let mut http = Http::open(server.addr());
    assert_eq!(http.get("/health").status, 200);
    let began = Instant::now();
    http.expect_closed();
    assert!(
        began.elapsed() >= Duration::from_millis(600),
        "{:?}",
        began.elapsed()
    );
    assert!(
        began.elapsed() < Duration::from_secs(10),
        "{:?}",
        began.elapsed()
    );
}

#[test]
fn frames_with_absurd_lengths() {
    with_workers(|workers| {
        let server = Server::start(&["--workers", workers]);
        let base = server.settled_descriptors();
        let rss = server.rss();
        // The masking key is part of the header.
        let mask = [0; 4];
        for first in [TEXT | FIN, TEXT, 0x82, 0x02] {
            for length in [1_048_577_u64, 1 << 32, (1 << 62) + 1, i64::MAX as u64] {
                let mut wire = Wire::subscribed(server.addr(), "t");
                wire.send_bytes([&[first, 0xff][..], &length.to_be_bytes(), &mask].concat());
                wire.expect_close(1009);
            }
            let mut wire = Wire::subscribed(server.addr(), "t");
            wire.send_bytes([&[first, 0xff][..], &[0xff; 8], &mask].concat());
            let code = wire.read().and_then(|frame| frame.close_code());
            assert!(matches!(code, Some(1002 | 1009)), "{code:?}");
        }
        for control in [0x88, 0x89, 0x8a] {
            let mut wire = Wire::subscribed(server.addr(), "t");
            wire.send_bytes([&[control, 0xff][..], &[0x7f; 8], &mask].concat());
            wire.expect_close(1002);
        }
        let grown = server.rss().saturating_sub(rss);
        assert!(grown < 16 * 1024 * 1024, "no length is believed: {grown}");
        server.assert_recovered(base);
    });
}

#[test]
fn ten_thousand_idle_websockets() {
    const COUNT: usize = 10_000;
    if raise_descriptor_limit() < COUNT as u64 + 500 {
        eprintln!(
            "skipped: the hard limit of open files is below {}",
            COUNT + 500
        );
        return;
    }
    with_workers(|workers| {
        let server = Server::start(&["--workers", workers, "--max-connections", "10000"]);
        let base = server.settled_descriptors();
        let mut sockets: Vec<Wire> = Vec::with_capacity(COUNT);
        while sockets.len() < COUNT {
            sockets.extend(open_many(&server, sockets.len(), 250));
        }
        assert_eq!(
            server.metric("proxy_websocket_connections_active", &[]),
            COUNT as f64
        );
        for n in [0, 4_999, 9_999] {
            server.publish(&format!("topic-{n}"), &json!({"n": n}));
            assert_eq!(sockets[n].read_json()["payload"]["n"], n);
        }
        drop(sockets);
        server.assert_recovered(base);
    });
}

#[test]
fn out_of_descriptors_it_serves_who_is_there_and_accepts_again_later() {
    with_workers(|workers| {
        let server = Program::new(&["--workers", workers])
            .descriptors_max(64)
            .start();
        let base = server.settled_descriptors();
        let mut operator = Http::open(server.addr());
        assert_eq!(operator.get("/health").status, 200);
        let mut waiting: Vec<Http> = (0..70)
            .map(|_| {
                let mut http = Http::open(server.addr());
                http.send(handshake(server.addr()));
                http
            })
            .collect();
        wait_until("descriptors run out", DEADLINE, || {
            server.open_descriptors() >= 60
        });
        assert_eq!(
            operator.get("/health").status,
            200,
            "it serves who is there"
        );
        let mut served = Vec::new();
        wait_until("someone is served", DEADLINE, || {
            let answered: Vec<bool> = waiting.iter_mut().map(Http::has_answer).collect();
            let mut answered = answered.into_iter();
            served.extend(waiting.extract_if(.., |_| answered.next() == Some(true)));
            served.len() >= 20
        });
        for http in &mut served {
            let response = http.read_response();
            assert!(matches!(response.status, 101 | 503), "{response:?}");
        }
        assert_eq!(operator.get("/health").status, 200);
        drop(served);
        for http in &mut waiting {
            let response = http.read_response();
            assert!(
                matches!(response.status, 101 | 503),
                "accepts again: {response:?}"
            );
        }
        drop(waiting);
        drop(operator);
        server.assert_recovered(base);
    });
}

#[test]
fn clients_that_vanish_in_mid_request() {
    with_workers(|workers| {
        let server = Server::start(&["--workers", workers]);
        let base = server.settled_descriptors();
        let request =
            Http::open(server.addr()).encode("POST", "/api/v1/messages", &[], BODY.as_bytes());
        let upgrade = [
            handshake(server.addr()),
            encode(TEXT | FIN, subscribe("t").as_bytes()),
            encode(TEXT | FIN, br#"{"type":"ping"}"#),
        ]
        .concat();
        for bytes in [&request, &upgrade] {
            for (n, end) in (0..=bytes.len()).enumerate() {
                let mut http = Http::open(server.addr());
                http.send(&bytes[..end]);
                vanish(http.stream(), n);
            }
        }
        server.assert_recovered(base);
        let topics = server.metric("proxy_messages_received_total", &[("topic", "t")]);
        assert!(topics <= 1.0, "only whole requests are published");
    });
}

#[test]
fn five_thousand_clients_that_connect_subscribe_and_vanish() {
    with_workers(|workers| {
        let server = Server::start(&["--workers", workers]);
        let base = server.settled_descriptors();
        let mut steady = Client::subscribed(server.addr(), &["steady"]);
        let bytes = [
            handshake(server.addr()),
            encode(TEXT | FIN, subscribe("t").as_bytes()),
        ]
        .concat();
        for n in 0..5_000 {
            let mut http = Http::open(server.addr());
            http.send(&bytes);
            if n % 2 == 0 {
                assert_eq!(http.read_response().status, 101);
            }
            if n % 500 == 0 {
                server.publish("t", &json!({}));
                server.publish("steady", &json!({"n": n}));
                assert_eq!(steady.read_json()["payload"]["n"], n);
            }
            vanish(http.stream(), n);
        }
        drop(steady);
        server.assert_recovered(base);
        let opened = server.metric("proxy_websocket_connections_total", &[]);
        let closed = server.metric("proxy_websocket_disconnections_total", &[]);
        assert_eq!(opened, closed);
        assert!(opened >= 2_500.0, "{opened}");
    });
}

/// Opens WebSockets with a topic each, the requests of all before the answers of any.
fn open_many(server: &Server, first: usize, count: usize) -> Vec<Wire> {
    let open = |n: usize| {
        let mut http = Http::open(server.addr());
        let frame = encode(TEXT | FIN, subscribe(&format!("topic-{n}")).as_bytes());
        http.send([handshake(server.addr()), frame].concat());
        http
    };
    let sockets: Vec<Http> = (first..first + count).map(open).collect();
    let finish = |mut http: Http| {
        assert_eq!(http.read_response().status, 101);
        let mut wire = Wire::from(http);
        assert_eq!(wire.read_json()["type"], "subscribed");
        wire
    };
    sockets.into_iter().map(finish).collect()
}

/// Goes away in one of the ways that clients have: a reset, a FIN, or half of one.
fn vanish(stream: &TcpStream, way: usize) {
    match way % 3 {
        0 => socket2::SockRef::from(stream)
            .set_linger(Some(Duration::ZERO))
            .expect("a TCP socket has this option"),
        // The server may have closed already.
        1 => drop(stream.shutdown(Shutdown::Write)),
        _ => {}
    }
}
