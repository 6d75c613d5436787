//! Refusals, deadlines and the last places.

use super::client::{HANDSHAKE, get, post, request};
use super::conversation::{Conversation, LIMITS, SECOND};
use crate::session::{CloseReason, Session};

const PATH: &str = "/api/v1/messages";

#[test]
fn malformed_requests_are_refused_and_the_connection_closed() {
    let long = "a".repeat(300);
    let cases = [
        ("GET / HTTP/1.1\r\n\r\n".to_owned(), 400, "INVALID_REQUEST"),
        (
            "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n".to_owned(),
            400,
            "INVALID_REQUEST",
        ),
        (
            "GET / HTTP/1.1\r\nHost : a\r\n\r\n".to_owned(),
            400,
            "INVALID_REQUEST",
        ),
        (
            "GET / HTTP/1.1\r\nHost: a\r\n b\r\n\r\n".to_owned(),
            400,
            "INVALID_REQUEST",
        ),
        (
            "GET / HTTP/1.1\nHost: a\n\n".to_owned(),
            400,
            "INVALID_REQUEST",
        ),
        (
            "GET / HTTP/1.1\r\nHost: a\r\nA: \0\r\n\r\n".to_owned(),
            400,
            "INVALID_REQUEST",
        ),
        ("hello\r\n\r\n".to_owned(), 400, "INVALID_REQUEST"),
        (
            format!(
                "POST {PATH} HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n"
            ),
            400,
            "INVALID_REQUEST",
        ),
        (
            format!("POST {PATH} HTTP/1.1\r\nHost: a\r\nContent-Length: +1\r\n\r\n"),
            400,
            "INVALID_REQUEST",
        ),
        (
            format!(
                "POST {PATH} HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n"
            ),
            400,
            "INVALID_REQUEST",
        ),
        (
            format!(
                "POST {PATH} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, chunked\r\n\r\n"
            ),
            400,
            "INVALID_REQUEST",
        ),
        (
            format!("POST {PATH} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n"),
            501,
            "NOT_IMPLEMENTED",
        ),
        (
            format!("GET /{long} HTTP/1.1\r\nHost: a\r\n\r\n"),
            414,
            "URI_TOO_LONG",
        ),
        (
            format!(
                "GET / HTTP/1.1\r\nHost: a\r\nA: {}\r\n\r\n",
                long.repeat(10)
            ),
            431,
            "HEADERS_TOO_LARGE",
        ),
        (
            format!("GET / HTTP/1.1\r\n{}", "A:\r\n".repeat(21)),
            431,
            "HEADERS_TOO_LARGE",
        ),
        (
            "GET / HTTP/2.0\r\nHost: a\r\n\r\n".to_owned(),
            505,
            "HTTP_VERSION_NOT_SUPPORTED",
        ),
    ];
    for (text, status, code) in cases {
        let mut conversation = Conversation::new();
        // A request before is answered, one behind is not.
        conversation.send(&[get("/health"), text.clone().into_bytes(), get("/health")].concat());
        let [health, refusal] = &conversation.answers()[..] else {
            panic!("two answers to {text:?}");
        };
        assert_eq!(health.status, 200);
        assert_eq!(
            (refusal.status, refusal.error().as_str()),
            (status, code),
            "{text:?}"
        );
        assert!(refusal.is_last(), "{text:?}");
        assert_eq!(conversation.closed, Some(CloseReason::Refused));
        assert!(!conversation.is_over, "the client may read the answer");
        conversation.pass(SECOND);
        assert!(conversation.is_over);
    }
}

#[test]
fn little_is_read_behind_a_refusal() {
    let mut conversation = Conversation::new();
    conversation.send(b"bad\r\n\r\n");
    conversation.output.clear();
    conversation.send(&[0; 64 * 1024]);
    assert!(!conversation.is_over);
    conversation.send(&[0]);
    assert!(conversation.is_over && conversation.output.is_empty());
}

#[test]
fn a_silent_connection_is_closed_without_a_word() {
    let mut fresh = Conversation::new();
    fresh.pass(LIMITS.head_timeout - 1);
    assert!(fresh.closed.is_none());
    fresh.pass(1);
    assert_eq!(fresh.closed, Some(CloseReason::Idle));
    assert!(fresh.output.is_empty());

    let mut kept = Conversation::new();
    for _ in 0..3 {
        kept.send(&get("/health"));
        assert_eq!(kept.answer().status, 200);
        kept.pass(LIMITS.keep_alive_timeout - 1);
    }
    assert!(kept.closed.is_none());
    kept.pass(1);
    assert_eq!(kept.closed, Some(CloseReason::Idle));
    assert!(kept.output.is_empty());
}

#[test]
fn a_line_end_behind_a_body_begins_no_request() {
    // RFC 9112 section 2.2: old clients send one.
    let mut conversation = Conversation::new();
    conversation.send(&[&post(PATH, "", "{}")[..], b"\r\n"].concat());
    assert_eq!(conversation.answer().status, 422);
    conversation.pass(LIMITS.head_timeout + SECOND);
    assert!(conversation.session.is_idle_http() && conversation.closed.is_none());
    conversation.send(b"G");
    conversation.pass(LIMITS.head_timeout - 1);
    conversation.send(&get("/health")[1..]);
    assert_eq!(conversation.answer().status, 200);
}

#[test]
fn a_late_head_is_answered_with_408() {
    let mut conversation = Conversation::new();
    let request = get("/health");
    // The first byte of the first request does not move its deadline.
    conversation.pass(4 * SECOND);
    for byte in &request[..6] {
        conversation.send(&[*byte]);
        conversation.pass(SECOND);
    }
    let answer = conversation.answer();
    assert_eq!(
        (answer.status, answer.error().as_str()),
        (408, "REQUEST_TIMEOUT")
    );
    assert!(answer.is_last());
    assert_eq!(conversation.closed, Some(CloseReason::Timeout));
    conversation.send(&request[6..]);
    assert!(conversation.output.is_empty());

    let mut second = Conversation::new();
    second.send(&request);
    second.output.clear();
    second.pass(60 * SECOND);
    second.send(&request[..6]);
    second.pass(LIMITS.head_timeout - 1);
    assert!(
        second.closed.is_none(),
        "a later head begins with its first byte"
    );
    second.pass(1);
    assert_eq!(second.answer().status, 408);
    assert_eq!(second.exchanges[1].method, "OTHER");
    assert_eq!(second.exchanges[1].duration_micros, LIMITS.head_timeout);
}

#[test]
fn a_late_body_is_answered_with_408() {
    let bytes = post(PATH, "X-Request-Id: mine\r\n", "{}");
    let mut conversation = Conversation::new();
    conversation.pass(5 * SECOND);
    conversation.send(&bytes[..bytes.len() - 2]);
    conversation.pass(20 * SECOND);
    conversation.send(b"{");
    conversation.pass(10 * SECOND - 1);
    assert!(conversation.closed.is_none());
    conversation.pass(1);
    let answer = conversation.answer();
    assert_eq!((answer.status, answer.is_last()), (408, true));
    assert_eq!(answer.header("X-Request-Id"), Some("mine"));
    assert_eq!(conversation.exchanges[0].handler, PATH);
    assert_eq!(conversation.session.held_bytes(), 0);
}

#[test]
fn what_came_in_part_is_given_up_when_memory_is_full() {
    let bytes = post(PATH, "X-Request-Id: mine\r\n", "{}");
    let mut upload = Conversation::new();
    upload.send(&bytes[..bytes.len() - 1]);
    upload.crowd_out();
    let answer = upload.answer();
    assert_eq!((answer.status, answer.is_last()), (503, true));
    assert_eq!(answer.header("Retry-After"), Some("1"));
    assert_eq!(answer.header("X-Request-Id"), Some("mine"));
    assert_eq!(upload.closed, Some(CloseReason::Limit));
    assert_eq!(upload.session.held_bytes(), 0);

    let mut message = Conversation::open();
    message.crowd_out();
    assert_eq!(message.closed, Some(CloseReason::Limit));
    let (_, code, reason) = message.hear_close();
    assert_eq!((code, reason.as_str()), (Some(4009), "limit"));

    let mut idle = Conversation::new();
    idle.crowd_out();
    assert!(
        idle.closed.is_none() && idle.output.is_empty(),
        "nothing to give"
    );
}

#[test]
fn the_last_places_are_for_operators() {
    for path in ["/health", "/ready", "/metrics"] {
        let mut conversation = Conversation::new();
        conversation.is_reserved = true;
        conversation.send(&get(path));
        let answer = conversation.answer();
        assert_eq!((answer.status, answer.is_last()), (200, false), "{path}");
        conversation.pass(SECOND);
        assert_eq!(conversation.closed, Some(CloseReason::Idle));
    }
    let head = request("POST", PATH, "Content-Length: 1000\r\n");
    let chunked = request("POST", PATH, "Transfer-Encoding: chunked\r\n");
    for request in [head, chunked, get("/nowhere"), HANDSHAKE.to_vec()] {
        let mut conversation = Conversation::new();
        conversation.is_reserved = true;
        conversation.send(&request);
        let answer = conversation.answer();
        assert_eq!(
            (answer.status, answer.is_last()),
            (503, true),
            "and no wait for its body"
        );
        assert_eq!(answer.error(), "SERVICE_UNAVAILABLE");
        assert!(answer.header("Retry-After").is_some());
        assert!(conversation.closed.is_some());
    }
}

#[test]
fn nobody_stays_on_the_last_places() {
    let begun = &get("/health")[..10];
    let body = request("GET", "/health", "Content-Length: 10\r\n");
    for (request, status) in [(&b""[..], None), (begun, Some(408)), (&body, Some(408))] {
        let mut conversation = Conversation::new();
        conversation.is_reserved = true;
        conversation.send(request);
        conversation.pass(SECOND - 1);
        assert!(conversation.closed.is_none());
        conversation.pass(1);
        assert!(conversation.closed.is_some());
        let answers = conversation.answers();
        assert_eq!(answers.first().map(|answer| answer.status), status);
    }
}

#[test]
fn without_a_place_the_answer_is_503() {
    let mut conversation = Conversation::new();
    conversation.has_place = false;
    conversation.send(&[HANDSHAKE, b"\x81"].concat());
    let answer = conversation.answer();
    assert_eq!(
        (answer.status, answer.error().as_str()),
        (503, "SERVICE_UNAVAILABLE")
    );
    assert!(answer.is_last() && answer.header("Retry-After").is_some());
    assert_eq!(conversation.closed, Some(CloseReason::Refused));
}

#[test]
fn a_connection_too_many_is_told_so() {
    let mut conversation = Conversation::new();
    conversation.turn_away();
    let answer = conversation.answer();
    assert_eq!((answer.status, answer.is_last()), (503, true));
    assert!(answer.header("Retry-After").is_some());
    assert!(matches!(conversation.session, Session::Closing(_)));
    conversation.send(&get("/health"));
    assert!(conversation.output.is_empty());
}
