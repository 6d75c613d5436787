//! What an HTTP server must not let through is refused, with the right status, and ends the connection.

use test_util::{Http, Server, with_workers};

const HEAD: &str = "POST /api/v1/messages HTTP/1.1\r\nHost: localhost\r\n";
const BODY: &str = r#"{"topic":"t","payload":{}}"#;

#[test]
fn malformed_and_oversized_requests() {
    with_workers(|workers| {
        let server = Server::start(&["--workers", workers]);
        let base = server.settled_descriptors();
        for (what, request, status, code) in refused_requests() {
            eprintln!("{what}");
            let mut http = Http::open(server.addr());
            http.send_to_deaf(&request);
            let response = http.read_response();
            assert_eq!(response.status, status, "{what}: {response:?}");
            response.assert_error(status, code);
            assert_eq!(response.header("connection"), Some("close"), "{what}");
            http.expect_closed();
        }
        server.assert_recovered(base);
    });
}

#[test]
fn a_refusal_ends_a_pipeline() {
    let server = Server::start(&[]);
    let mut http = Http::open(server.addr());
    let good = http.encode("POST", "/api/v1/messages", &[], BODY.as_bytes());
    let bad = format!("{HEAD}Content-Length: 1\r\nContent-Length: 1\r\n\r\nx").into_bytes();
    http.send([good.clone(), bad, good].concat());
    assert_eq!(http.read_response().status, 201);
    http.read_response().assert_error(400, "INVALID_REQUEST");
    http.expect_closed();
    server.wait_for_metric("proxy_messages_received_total", &[], 1.0);
}

#[test]
fn a_body_that_comes_all_the_same_does_not_cost_its_sender_the_answer() {
    with_workers(|workers| {
        let server = Server::start(&["--workers", workers]);
        for round in 0..10 {
            let mut http = Http::open(server.addr());
            let body = "x".repeat(400_000);
            http.send_to_deaf(format!("{HEAD}Content-Length: 5000000\r\n\r\n{body}"));
            let response = http.try_read_response();
            let response = response.unwrap_or_else(|| panic!("no answer in round {round}"));
            response.assert_error(413, "PAYLOAD_TOO_LARGE");
        }
    });
}

/// What is refused, and with what.
fn refused_requests() -> Vec<(&'static str, Vec<u8>, u16, &'static str)> {
    let get = |head: &str| format!("GET /health HTTP/1.1\r\nHost: localhost\r\n{head}\r\n\r\n");
    let post = |head: &str, body: &str| format!("{HEAD}{head}\r\n\r\n{body}");
    let chunked = |body: &str| post("Transfer-Encoding: chunked", body);
    let line = |line: &str| format!("{line}\r\nHost: localhost\r\n\r\n");
    let many = vec!["X: y"; 101].join("\r\n");
    let invalid = [
        ("no Host", "GET /health HTTP/1.1\r\n\r\n".to_owned()),
        ("two Hosts", get("Host: localhost")),
        (
            "length and coding",
            post(
                "Content-Length: 3\r\nTransfer-Encoding: chunked",
                "0\r\n\r\n",
            ),
        ),
        (
            "coding and length",
            post(
                "Transfer-Encoding: chunked\r\nContent-Length: 5",
                "0\r\n\r\n",
            ),
        ),
        (
            "differing lengths",
            post("Content-Length: 1\r\nContent-Length: 2", "xx"),
        ),
        (
            "equal lengths twice",
            post("Content-Length: 1\r\nContent-Length: 1", "x"),
        ),
        ("a list of lengths", post("Content-Length: 1, 1", "x")),
        ("an empty length", post("Content-Length: ", "")),
        ("a negative length", post("Content-Length: -1", "")),
        ("a signed length", post("Content-Length: +1", "x")),
        ("a hexadecimal length", post("Content-Length: 0x1", "x")),
        ("a length in words", post("Content-Length: one", "x")),
        ("a fractional length", post("Content-Length: 1.0", "x")),
        (
            "an endless length",
            post("Content-Length: 99999999999999999999999999", ""),
        ),
        (
            "chunked twice",
            post("Transfer-Encoding: chunked, chunked", "0\r\n\r\n"),
        ),
        (
            "chunked in two fields",
            post(
                "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
                "0\r\n\r\n",
            ),
        ),
        (
            "chunked not last",
            post("Transfer-Encoding: chunked, identity", "0\r\n\r\n"),
        ),
        ("an empty coding", post("Transfer-Encoding: ", "0\r\n\r\n")),
        ("obs-fold", get("X: a\r\n b")),
        ("obs-fold with a tab", get("X: a\r\n\tb")),
        (
            "a space before the first field",
            line("GET /health HTTP/1.1\r\n X: y"),
        ),
        ("a space before the colon", get("X : y")),
        ("a tab before the colon", get("X\t: y")),
        ("no colon", get("X")),
        ("an empty name", get(": y")),
        ("a name that is no token", get("X(y): z")),
        ("a bare CR in a value", get("X: a\rb")),
        ("a bare LF in a value", get("X: a\nY: b")),
        (
            "bare LFs as line ends",
            "GET /health HTTP/1.1\nHost: localhost\n\n".to_owned(),
        ),
        ("a NUL in a value", get("X: a\0b")),
        ("a NUL in a name", get("X\0: b")),
        ("a NUL in the target", line("GET /hea\0lth HTTP/1.1")),
        ("no version", line("GET /health")),
        ("no target", line("GET HTTP/1.1")),
        ("only a method", line("GET")),
        ("two spaces", line("GET  /health HTTP/1.1")),
        ("a space in front", line(" GET /health HTTP/1.1")),
        ("a word too many", line("GET /health HTTP/1.1 x")),
        ("a space in the target", line("GET /hea lth HTTP/1.1")),
        ("a tab", line("GET\t/health\tHTTP/1.1")),
        ("a method that is no token", line("G@T /health HTTP/1.1")),
        ("another protocol", line("GET /health HTTQ/1.1")),
        ("a version in lower case", line("GET /health http/1.1")),
        ("a version without a number", line("GET /health HTTP/x.y")),
        (
            "TLS",
            "\x16\x03\x01\x02\0\x01\0\x01\u{fc}\x03\x03 hello\r\n\r\n".to_owned(),
        ),
        ("a chunk size that is no number", chunked("x\r\n")),
        ("an empty chunk size", chunked("\r\n")),
        ("a negative chunk size", chunked("-1\r\n")),
        ("a chunk size with 0x", chunked("0x1\r\n")),
        (
            "a chunk size over 64 bits",
            chunked("10000000000000000\r\n"),
        ),
        (
            "a chunk size of many digits",
            chunked("fffffffffffffffffffffffffffff\r\n"),
        ),
        ("a chunk longer than it says", chunked("1\r\nxx\r\n")),
        ("a chunk size ended by LF", chunked("1\nx\r\n")),
    ];
    let other = [
        (
            "an unknown coding",
            post("Transfer-Encoding: pulsar, chunked", ""),
            501,
            "NOT_IMPLEMENTED",
        ),
        (
            "HTTP/2.0",
            line("GET /health HTTP/2.0"),
            505,
            "HTTP_VERSION_NOT_SUPPORTED",
        ),
        (
            "HTTP/0.9",
            line("GET /health HTTP/0.9"),
            505,
            "HTTP_VERSION_NOT_SUPPORTED",
        ),
        (
            "the preface of HTTP/2",
            "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned(),
            505,
            "HTTP_VERSION_NOT_SUPPORTED",
        ),
        (
            "a long target",
            line(&format!("GET /{} HTTP/1.1", "x".repeat(16 * 1024))),
            414,
            "URI_TOO_LONG",
        ),
        (
            "a target without an end",
            format!("GET /{}", "x".repeat(40 * 1024)),
            414,
            "URI_TOO_LONG",
        ),
        ("many fields", get(&many), 431, "HEADERS_TOO_LARGE"),
        (
            "a long field",
            get(&format!("X: {}", "y".repeat(32 * 1024))),
            431,
            "HEADERS_TOO_LARGE",
        ),
        (
            "a head without an end",
            format!("GET / HTTP/1.1\r\nX: {}", "y".repeat(40 * 1024)),
            431,
            "HEADERS_TOO_LARGE",
        ),
        (
            "a long body",
            post("Content-Length: 1048577", ""),
            413,
            "PAYLOAD_TOO_LARGE",
        ),
    ];
    let invalid = invalid
        .into_iter()
        .map(|(what, text)| (what, text.into_bytes(), 400, "INVALID_REQUEST"));
    let other = other
        .into_iter()
        .map(|(what, text, status, code)| (what, text.into_bytes(), status, code));
    invalid.chain(other).collect()
}
