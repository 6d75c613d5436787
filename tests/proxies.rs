//! Who a client is behind balancers: seen by whose an `Idempotency-Key` is.

use std::io::{Read, Write};
use std::net::TcpStream;

use serde_json::json;
use test_util::everywhere::everywhere;
use test_util::{DEADLINE, Http, Response, Server, with_workers};

const BODY: &str = r#"{"topic":"t","payload":{"is":1}}"#;

/// Publishes with the same key each time; whether it was the repeat of what the same client did before.
fn is_repeat(http: &mut Http, headers: &[(&str, &str)]) -> bool {
    let own = [
        ("Idempotency-Key", "k"),
        ("Content-Type", "application/json"),
    ];
    let headers = [&own, headers].concat();
    let answer = http.request("POST", "/api/v1/messages", &headers, BODY.as_bytes());
    assert_eq!(answer.status, 201, "{answer:?}");
    answer.header("Idempotent-Replayed") == Some("true")
}

#[test]
fn a_trusted_proxy_tells_who_a_client_is() {
    everywhere(|place| {
        let server = place.start(&["--trusted-proxies", "127.0.0.0/8,10.0.0.0/8"]);
        let mut http = Http::open(server.addr());
        for (name, value, repeats) in [
            ("X-Forwarded-For", "203.0.113.7", false),
            ("X-Forwarded-For", "203.0.113.8", false),
            ("X-Forwarded-For", "203.0.113.7", true),
            (
                "X-Forwarded-For",
                "203.0.113.9, 203.0.113.7, 10.0.0.3",
                true,
            ),
            ("Forwarded", "for=203.0.113.7;proto=https", true),
            ("Forwarded", "for=\"[2001:db8::7]:80\"", false),
            ("X-Forwarded-For", "2001:db8::7", true),
            // The proxy itself.
            ("X-Forwarded-For", "nobody", false),
            ("X-Other", "", true),
        ] {
            assert_eq!(
                is_repeat(&mut http, &[(name, value)]),
                repeats,
                "{name}: {value}"
            );
        }
    });
}

#[test]
fn others_are_not_believed() {
    with_workers(|workers| {
        let flags = ["--workers", workers, "--trusted-proxies", "10.0.0.0/8"];
        for flags in [&flags[..], &flags[..2]] {
            let server = Server::start(flags);
            let mut http = Http::open(server.addr());
            assert!(!is_repeat(&mut http, &[("X-Forwarded-For", "203.0.113.7")]));
            assert!(is_repeat(&mut http, &[("X-Forwarded-For", "203.0.113.8")]));
            assert!(is_repeat(&mut http, &[("Forwarded", "for=10.0.0.1")]));
        }
    });
}

/// A connection that begins with these bytes, sent one by one if `slowly`.
fn behind(server: &Server, header: &[u8], slowly: bool) -> Http {
    let mut stream = TcpStream::connect(server.addr()).expect("it listens");
    stream.set_nodelay(true).expect("an option");
    let pieces = if slowly { 1 } else { header.len() };
    for piece in header.chunks(pieces) {
        stream.write_all(piece).expect("it is sent");
    }
    Http::on(stream)
}

fn binary(source: [u8; 4]) -> Vec<u8> {
    let fixed = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0f";
    [
        &fixed[..],
        &source,
        &[127, 0, 0, 1, 0x12, 0x34, 0, 80],
        &[4, 0, 0],
    ]
    .concat()
}

#[test]
fn the_proxy_protocol_tells_whose_connection_it_is() {
    everywhere(|place| {
        // Beside it a server that waits until it is ready has no way in.
        let server = place.launch(&["--trusted-proxies", "127.0.0.1", "--proxy-protocol"]);
        let line = |source| format!("PROXY TCP4 {source} 127.0.0.1 5000 80\r\n").into_bytes();
        let mut first = behind(&server, &line("203.0.113.7"), false);
        assert!(!is_repeat(&mut first, &[]));
        assert!(
            is_repeat(&mut first, &[]),
            "the header stands before the first request alone"
        );
        assert!(!is_repeat(
            &mut behind(&server, &line("203.0.113.8"), true),
            &[]
        ));
        assert!(is_repeat(
            &mut behind(&server, &binary([203, 0, 113, 7]), false),
            &[]
        ));
        assert!(is_repeat(
            &mut behind(&server, &binary([203, 0, 113, 8]), true),
            &[]
        ));
        // A client is no proxy, whatever it says.
        let claim = [("X-Forwarded-For", "203.0.113.8")];
        assert!(is_repeat(
            &mut behind(&server, &line("203.0.113.7"), false),
            &claim
        ));
        assert!(
            !is_repeat(&mut behind(&server, b"PROXY UNKNOWN\r\n", false), &[]),
            "the balancer"
        );
    });
}

#[test]
fn who_begins_otherwise_is_closed_without_an_answer() {
    let flags = [
        "--trusted-proxies",
        "127.0.0.1",
        "--proxy-protocol",
        "--head-timeout",
        "500ms",
    ];
    let server = Server::start(&flags);
    let long = [&b"PROXY UNKNOWN "[..], &[b'x'; 200]].concat();
    for bytes in [
        &b"GET /health HTTP/1.1\r\nHost: a\r\n\r\n"[..],
        b"\r\n\r\n\0\r\nQUIT\nx",
        &long,
    ] {
        let mut stream = TcpStream::connect(server.addr()).expect("it listens");
        stream.set_read_timeout(Some(DEADLINE)).expect("a timeout");
        // It may be closed before all is sent.
        let _ = stream.write_all(bytes);
        assert!(matches!(stream.read(&mut [0; 64]), Ok(0) | Err(_)));
    }
    // Half a header is waited for as long as the head of a request.
    let mut stream = TcpStream::connect(server.addr()).expect("it listens");
    stream.set_read_timeout(Some(DEADLINE)).expect("a timeout");
    stream
        .write_all(b"PROXY TCP4 1.1.1.1 ")
        .expect("it is sent");
    let mut said = Vec::new();
    stream.read_to_end(&mut said).expect("an end");
    assert!(!said.starts_with(b"HTTP/1.1 2"));
    let mut http = behind(&server, b"PROXY UNKNOWN\r\n", false);
    let health: Response = http.get("/health");
    assert_eq!(health.status, 200);
}

#[test]
fn who_is_not_trusted_needs_no_header() {
    let flags = ["--trusted-proxies", "10.0.0.0/8", "--proxy-protocol"];
    let server = Server::start(&flags);
    assert_eq!(server.get("/health").status, 200);
    server.publish("t", &json!({"is": 1}));
    let mut liar = behind(&server, b"PROXY TCP4 10.0.0.1 127.0.0.1 1 2\r\n", false);
    let answer = liar.request("GET", "/health", &[], b"");
    assert_eq!(answer.status, 400, "it is no request");
}
