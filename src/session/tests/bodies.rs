//! Bodies: in pieces, chunked, awaited, too long.

use super::client::{get, post, request};
use super::conversation::{Conversation, LIMITS};
use crate::session::CloseReason;

const PATH: &str = "/api/v1/messages";
const MESSAGE: &str = r#"{"topic":"a","payload":{"n":1}}"#;
const CHUNKED: &str = "Transfer-Encoding: chunked\r\n";
const EXPECT: &str = "Expect: 100-continue\r\n";

fn chunked(path: &str, body: &str) -> Vec<u8> {
    let mut bytes = request("POST", path, CHUNKED);
    bytes.extend_from_slice(body.as_bytes());
    bytes
}

/// The head of a publish request alone.
fn head(fields: &str, length: usize) -> Vec<u8> {
    request(
        "POST",
        PATH,
        &format!("{fields}Content-Length: {length}\r\n"),
    )
}

#[test]
fn chunks_with_extensions_and_trailers() {
    let (front, back) = MESSAGE.split_at(10);
    let body = format!(
        "a;x=\"y\"\r\n{front}\r\n{:X}\r\n{back}\r\n0\r\nT: v\r\n\r\n",
        back.len()
    );
    let mut conversation = Conversation::new();
    conversation.send(&[chunked(PATH, &body), get("/health")].concat());
    let statuses: Vec<u16> = conversation.answers().iter().map(|it| it.status).collect();
    assert_eq!(statuses, [201, 200]);
    assert_eq!(
        conversation.exchanges[0].request_bytes,
        MESSAGE.len() as u64
    );
}

#[test]
fn malformed_and_overlong_chunks_are_refused_at_once() {
    let size_max = LIMITS.message_bytes_max;
    for (body, status) in [
        ("x\r\n".to_owned(), 400),
        ("1\r\nab".to_owned(), 400),
        ("10000000000000000".to_owned(), 400),
        (format!("{:x}\r", size_max + 1), 413),
        (format!("1\r\na\r\n{size_max:x}\r"), 413),
        ("ffffffffffffffff\r".to_owned(), 413),
    ] {
        let mut conversation = Conversation::new();
        conversation.send(&chunked(PATH, &body));
        let answer = conversation.answer();
        assert_eq!(
            (answer.status, answer.is_last()),
            (status, true),
            "{body:?}"
        );
        assert_eq!(conversation.closed, Some(CloseReason::Refused));
        if status == 413 {
            assert_eq!(answer.error(), "PAYLOAD_TOO_LARGE");
            assert_eq!(answer.json()["details"]["limit"], size_max);
        }
        // The rest of the body is read, and forgotten.
        conversation.send(&[b'a'; 1000]);
        assert!(conversation.output.is_empty() && !conversation.is_over);
    }
}

#[test]
fn an_overlong_body_is_refused_at_its_header() {
    for fields in ["", EXPECT] {
        let mut conversation = Conversation::new();
        conversation.send(&head(fields, LIMITS.message_bytes_max + 1));
        let answer = conversation.answer();
        assert_eq!((answer.status, answer.is_last()), (413, true));
        assert_eq!(answer.json()["details"]["limit"], LIMITS.message_bytes_max);
    }
    let mut conversation = Conversation::new();
    conversation.send(&head("", LIMITS.message_bytes_max));
    conversation.send(&vec![b' '; LIMITS.message_bytes_max]);
    assert_eq!(
        conversation.answer().status,
        422,
        "the limit itself is allowed"
    );
}

#[test]
fn a_client_that_waits_is_told_to_go_on() {
    let mut conversation = Conversation::new();
    conversation.send(&head(EXPECT, MESSAGE.len()));
    assert_eq!(conversation.answer().status, 100);
    conversation.send(MESSAGE.as_bytes());
    assert_eq!(conversation.answer().status, 201);

    let body = format!("{:x}\r\n{MESSAGE}\r\n0\r\n\r\n", MESSAGE.len());
    conversation.send(&request("POST", PATH, &format!("{EXPECT}{CHUNKED}")));
    assert_eq!(conversation.answer().status, 100);
    conversation.send(body.as_bytes());
    assert_eq!(conversation.answer().status, 201);

    conversation.send(&post(PATH, EXPECT, MESSAGE));
    assert_eq!(conversation.answer().status, 201, "it has come already");
    conversation.send(&request(
        "POST",
        PATH,
        &format!("{EXPECT}Content-Length: 0\r\n"),
    ));
    assert_eq!(
        conversation.answer().status,
        422,
        "there is none to wait for"
    );
}

#[test]
fn a_client_that_waits_in_vain_is_answered_at_once() {
    for (path, fields, status) in [
        ("/nowhere", "", 404),
        ("/health", "", 405),
        (PATH, "Idempotency-Key:\r\n", 400),
        (PATH, "Origin: http://evil.example\r\n", 403),
    ] {
        let mut conversation = Conversation::new();
        let fields = format!("{EXPECT}{fields}Content-Length: 5\r\n");
        conversation.send(&request("POST", path, &fields));
        let answer = conversation.answer();
        // Whether the body comes is not known, so the connection cannot go on.
        assert_eq!((answer.status, answer.is_last()), (status, true));
        conversation.send(b"hello");
        assert!(conversation.output.is_empty());
    }
}

#[test]
fn bodies_of_refused_requests_are_read() {
    let mut conversation = Conversation::new();
    for path in ["/nowhere", "/health", "/health/"] {
        let mut bytes = post(path, "", "GET /a HTTP/1.1\r\n\r\n");
        bytes.extend_from_slice(&chunked(path, "3\r\nabc\r\n0\r\n\r\n"));
        conversation.send(&bytes);
        assert_eq!(conversation.answers().len(), 2, "{path}");
    }
    let mut bytes = request("GET", "/health", "Content-Length: 3\r\n");
    bytes.extend_from_slice(b"abc");
    conversation.send(&[bytes, get("/health")].concat());
    assert_eq!(conversation.answers().len(), 2, "also with GET");
}

#[test]
fn what_is_held_for_a_body_grows_with_what_has_come() {
    let mut conversation = Conversation::new();
    conversation.send(&head("", 2000));
    assert_eq!(conversation.session.held_bytes(), 0);
    conversation.send(&[b' '; 100]);
    assert!((100..=200).contains(&conversation.session.held_bytes()));
    conversation.send(&[b' '; 1900]);
    assert_eq!(conversation.session.held_bytes(), 0);
    assert_eq!(conversation.answer().status, 422);
}
