//! Control frames, violations, silence, and every end of a WebSocket.

use super::client::{HANDSHAKE, client_frame, close_payload, fragment, number};
use super::conversation::{Conversation, LIMITS, SECOND};
use crate::session::CloseReason;
use crate::ws::{CloseCode, Opcode};

const PING: (u8, Vec<u8>) = (9, Vec::new());

#[test]
fn pings_are_answered_also_between_fragments() {
    let mut conversation = Conversation::subscribed();
    conversation.send(&client_frame(Opcode::Ping, b"one"));
    assert_eq!(conversation.frames(), [(10, b"one".to_vec())]);
    conversation.send(&fragment(Opcode::Text, false, br#"{"type":"#));
    conversation.send(&client_frame(Opcode::Ping, &[7; 125]));
    assert_eq!(conversation.frames(), [(10, vec![7; 125])]);
    conversation.send(&client_frame(Opcode::Pong, b"unasked"));
    assert!(conversation.output.is_empty());
    assert!(conversation.session.held_bytes() > 0);
    conversation.send(&fragment(Opcode::Continuation, true, br#""ping"}"#));
    assert_eq!(conversation.hear()["type"], "pong");
    conversation.send(b"");
    assert_eq!(conversation.session.held_bytes(), 0);
}

#[test]
fn a_close_is_answered_with_its_code() {
    for (payload, code) in [
        (Vec::new(), None),
        (close_payload(1000, b"bye"), Some(1000)),
        (close_payload(1001, b""), Some(1001)),
        (close_payload(4999, "\u{fc}".as_bytes()), Some(4999)),
    ] {
        let mut conversation = Conversation::subscribed();
        conversation.send(&client_frame(Opcode::Close, &payload));
        assert_eq!(conversation.hear_close(), (Vec::new(), code, String::new()));
        assert_eq!(conversation.closed, Some(CloseReason::Finished));
        conversation.say(r#"{"type":"ping"}"#);
        conversation.publish(r#"{"topic":"a","payload":{}}"#);
        assert!(
            conversation.output.is_empty(),
            "a close frame is the last word"
        );
        conversation.pass(SECOND);
        assert!(conversation.is_over);
    }
}

#[test]
fn violations_are_closed_with_their_codes() {
    let protocol = [
        vec![0xc1, 0x80, 0, 0, 0, 0],
        vec![0x83, 0x80, 0, 0, 0, 0],
        b"\x81\x02{}".to_vec(),
        vec![0x09, 0x80],
        vec![0x89, 0xfe],
        vec![0x81, 0xfe, 0, 1],
        vec![0x81, 0xff, 0x80],
        fragment(Opcode::Continuation, true, b"x"),
        [
            fragment(Opcode::Text, false, b"{"),
            fragment(Opcode::Text, true, b"}"),
        ]
        .concat(),
        client_frame(Opcode::Close, b"x"),
        client_frame(Opcode::Close, &close_payload(1005, b"")),
    ];
    let data = [
        client_frame(Opcode::Text, b"\xff"),
        // Certain already, though neither frame nor message is complete.
        fragment(Opcode::Text, false, b"\xc0\x80")[..7].to_vec(),
        client_frame(Opcode::Close, &close_payload(1000, b"\xff")),
    ];
    let size_max = LIMITS.message_bytes_max as u16;
    let [high, low] = (size_max + 1).to_be_bytes();
    let big = [
        vec![0x81, 0xfe, high, low, 0, 0, 0, 0],
        [
            fragment(Opcode::Text, false, b"{"),
            vec![0x80, 0xfe, high, low - 1, 0, 0, 0, 0],
        ]
        .concat(),
        vec![0x82, 0xff, 0x7f, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
    ];
    let protocol = protocol.map(|bytes| (bytes, CloseReason::ProtocolError));
    let data = data.map(|bytes| (bytes, CloseReason::InvalidData));
    let big = big.map(|bytes| (bytes, CloseReason::TooBig));
    for (bytes, reason) in protocol.into_iter().chain(data).chain(big) {
        for mut conversation in [Conversation::open(), Conversation::subscribed()] {
            conversation.send(&bytes);
            let (frames, code, text) = conversation.hear_close();
            assert!(frames.is_empty(), "{bytes:x?}");
            assert_eq!(code, number(reason.close_code()), "{bytes:x?}");
            assert_eq!(text, reason.as_str(), "the reason is one word");
            assert_eq!(conversation.closed, Some(reason));
            conversation.say("{}");
            assert!(conversation.output.is_empty());
        }
    }
}

#[test]
fn a_message_of_the_greatest_size_is_read() {
    let mut conversation = Conversation::subscribed();
    let front = r#"{"type":"ping","x":""#;
    let rest = LIMITS.message_bytes_max - front.len() - 2;
    conversation.say(&format!("{front}{}\"}}", "x".repeat(rest)));
    assert_eq!(conversation.hear()["type"], "pong");
}

#[test]
fn heartbeats_come_as_the_latest_subscribe_says() {
    let mut conversation = Conversation::subscribed();
    let mut asks = |heartbeat: &str| {
        let subscribe = r#"{"type":"subscribe","topics":["a"],"client_id":"c""#;
        conversation.say(&format!("{subscribe}{heartbeat}}}"));
        assert_eq!(conversation.hear()["type"], "subscribed");
        // Pings that come meanwhile are not of interest.
        let mut beats = 0;
        for _ in 0..30 {
            conversation.pass(SECOND);
            let frames = conversation.frames();
            beats += frames.iter().filter(|(opcode, _)| *opcode == 1).count();
        }
        beats
    };
    assert_eq!(asks(""), 0);
    assert_eq!(asks(r#","heartbeat":5"#), 6);
    assert_eq!(asks(""), 6, "as before");
    assert_eq!(asks(r#","heartbeat":10"#), 3);
    assert_eq!(asks(r#","heartbeat":0"#), 0);
}

#[test]
fn a_silent_client_is_pinged_and_then_closed() {
    let mut conversation = Conversation::subscribed();
    conversation.pass(LIMITS.ping_interval - 1_000);
    assert!(conversation.output.is_empty());
    conversation.pass(1_000);
    assert_eq!(conversation.frames(), [PING]);
    conversation.pass(LIMITS.ping_interval);
    assert_eq!(conversation.frames(), [PING]);
    // Deliveries say nothing of the client.
    conversation.publish(r#"{"topic":"a","payload":{}}"#);
    assert_eq!(conversation.hear()["type"], "message");
    conversation.pass(LIMITS.ping_interval - 1_000);
    assert!(conversation.closed.is_none());
    conversation.pass(1_000);
    let (frames, code, text) = conversation.hear_close();
    assert!(frames.is_empty());
    assert_eq!(
        (code, text.as_str()),
        (number(CloseCode::GOING_AWAY), "idle")
    );
    assert_eq!(conversation.closed, Some(CloseReason::Idle));
}

#[test]
fn whoever_answers_or_takes_bytes_stays() {
    let mut conversation = Conversation::subscribed();
    for _ in 0..10 {
        conversation.pass(LIMITS.ping_interval);
        assert_eq!(conversation.frames(), [PING]);
        conversation.send(&client_frame(Opcode::Pong, b""));
    }
    for _ in 0..10 {
        conversation.pass(LIMITS.ping_interval - 1_000);
        let now = conversation.now.monotonic_micros;
        conversation.session.progressed(now);
    }
    assert!(conversation.output.is_empty() && conversation.closed.is_none());
    // A message that comes byte by byte is a sign of life too.
    for byte in client_frame(Opcode::Text, br#"{"type":"ping"}"#) {
        conversation.pass(LIMITS.ping_interval - 1_000);
        conversation.send(&[byte]);
    }
    assert_eq!(conversation.hear()["type"], "pong");
}

#[test]
fn the_server_ends_it_with_a_reason() {
    let told = r#"{"reconnect_after_ms":1234}"#;
    for (reason, code) in [(CloseReason::Draining, 1001), (CloseReason::Lagging, 4008)] {
        let mut conversation = Conversation::subscribed();
        conversation.end(reason, told);
        assert_eq!(
            conversation.hear_close(),
            (Vec::new(), Some(code), told.to_owned())
        );
        conversation.send(&client_frame(Opcode::Close, &close_payload(code, b"")));
        assert!(conversation.output.is_empty(), "its answer is not answered");
    }
    let mut http = Conversation::new();
    http.end(CloseReason::Draining, told);
    assert!(
        http.output.is_empty(),
        "between requests there is nobody to tell"
    );
}

#[test]
fn a_server_that_stops_ends_no_websocket_by_itself() {
    let mut conversation = Conversation::new();
    conversation.is_draining = true;
    conversation.send(HANDSHAKE);
    let answer = conversation.answer();
    assert_eq!(
        (answer.status, answer.header("Connection")),
        (101, Some("Upgrade"))
    );
    assert!(conversation.closed.is_none());
}
