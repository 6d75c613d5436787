//! However the bytes of a client are cut, it gets the same.

use super::client::{
    HANDSHAKE, SUBSCRIBE, client_frame, close_payload, fragment, get, post, request,
};
use super::conversation::Conversation;
use crate::session::CloseReason;
use crate::ws::Opcode;

const PATH: &str = "/api/v1/messages";
const MESSAGE: &str = r#"{"topic":"a","payload":{"n":1}}"#;

/// What a client got, and how it ended.
type Outcome = (String, usize, Option<CloseReason>);

fn converse<'p>(pieces: impl IntoIterator<Item = &'p [u8]>) -> Outcome {
    let mut conversation = Conversation::new();
    conversation.publish(MESSAGE);
    for piece in pieces {
        conversation.send(piece);
    }
    let output = conversation.normalized_output();
    (output, conversation.consumed, conversation.closed)
}

/// Cuts a conversation at every place, and into single bytes.
fn any_split_is_the_same(bytes: &[u8], needle: &str) {
    let whole = converse([bytes]);
    assert!(whole.0.contains(needle), "{}", whole.0);
    assert_eq!(converse(bytes.chunks(1)), whole, "byte by byte");
    for split in 1..bytes.len() {
        let (front, back) = bytes.split_at(split);
        assert_eq!(converse([front, back]), whole, "split at {split}");
    }
}

#[test]
fn publishing_and_asking() {
    let chunked = "5;x=y\r\n{\"top\r\n1a\r\nic\":\"a\",\"payload\":{\"n\":1}}\r\n0\r\nT: v\r\n\r\n";
    let bytes = [
        post(
            PATH,
            "Content-Type: application/json\r\nX-Request-Id: mine\r\n",
            MESSAGE,
        ),
        request("POST", PATH, "Transfer-Encoding: chunked\r\n"),
        chunked.as_bytes().to_vec(),
        b"\r\n".to_vec(),
        request("HEAD", "/health", ""),
        post("/nowhere", "", "ignored"),
        post(PATH, "Expect: 100-continue\r\n", MESSAGE),
        get("/metrics"),
        request("GET", "/ready", "Connection: close\r\n"),
        get("/health"),
    ];
    any_split_is_the_same(&bytes.concat(), "\"ready\":true");
}

#[test]
fn refusals() {
    let head = [
        get("/health"),
        b"GET / HTTP/1.1\r\nHost : a\r\n\r\n".to_vec(),
    ];
    any_split_is_the_same(&head.concat(), "malformed header line");
    let body = [
        request("POST", PATH, "Transfer-Encoding: chunked\r\n"),
        b"5\r\nabcdefgh".to_vec(),
    ];
    any_split_is_the_same(&body.concat(), "INVALID_REQUEST");
    let long = [
        request("POST", PATH, "Content-Length: 5000\r\n"),
        vec![b'a'; 100],
    ];
    any_split_is_the_same(&long.concat(), "PAYLOAD_TOO_LARGE");
    for front in ["\n", "\r\n\r\n\r\n\r\n\r\n", " ", "\0"] {
        let bytes = [front.as_bytes(), &request("HEAD", "/ready", "")].concat();
        any_split_is_the_same(&bytes, "malformed request line");
    }
}

#[test]
fn a_whole_websocket() {
    let bytes = [
        get("/health"),
        HANDSHAKE.to_vec(),
        client_frame(Opcode::Ping, b"first"),
        client_frame(
            Opcode::Text,
            br#"{"topics":["a"],"client_id":"c","offset":"earliest"}"#,
        ),
        fragment(Opcode::Text, false, br#"{"type":"#),
        client_frame(Opcode::Ping, b"between"),
        fragment(Opcode::Continuation, false, br#""pi"#),
        fragment(Opcode::Continuation, true, br#"ng"}"#),
        client_frame(Opcode::Binary, b"\xff"),
        client_frame(Opcode::Text, &[b' '; 300]),
        client_frame(Opcode::Text, br#"{"type":"unsubscribe","topics":["a"]}"#),
        client_frame(Opcode::Close, &close_payload(1000, b"bye")),
        client_frame(Opcode::Text, b"{}"),
    ];
    any_split_is_the_same(&bytes.concat(), "unsubscribed");
}

#[test]
fn websockets_that_go_wrong() {
    for wrong in [
        &b"\x81\x02{}"[..],
        &fragment(Opcode::Text, true, b"{\"\xc3\x28 and more"),
    ] {
        let subscribe = client_frame(Opcode::Text, SUBSCRIBE.as_bytes());
        let bytes = [HANDSHAKE, &subscribe, wrong, &subscribe].concat();
        any_split_is_the_same(&bytes, "subscribed");
    }
    let bytes = [HANDSHAKE, &client_frame(Opcode::Text, b"{}"), &[0; 10]].concat();
    any_split_is_the_same(&bytes, "SUBSCRIPTION_ERROR");
}
