//! Whatever a client sends, however it is cut and whenever it comes, a conversation keeps its
//! rules (they are asserted where it is driven), answers within bounds, and does not depend on the
//! cuts. The first byte of the input says how the server is set up, the second is the length of
//! the pieces.

#![no_main]

extern crate pulsar_proxy;

use conversation::{Conversation, SECOND};
use libfuzzer_sys::fuzz_target;
use pulsar_proxy::api::origin::AccessPolicy;
use pulsar_proxy::session::{CloseReason, Session};

#[path = "../../../src/session/tests/conversation.rs"]
mod conversation;

/// Bits of the first byte.
const DRAINING: u8 = 1;
const RESERVED: u8 = 2;
const FULL: u8 = 4;
/// The same bit, where that comes too late to matter: the open WebSocket may be compressed.
const COMPRESSED: u8 = FULL;
const ORIGINS: u8 = 8;
/// The client has opened a WebSocket.
const WEBSOCKET: u8 = 16;
/// It has subscribed there.
const SUBSCRIBED: u8 = 32;
/// It is the echo.
const ECHO: u8 = 64;
const TURNED_AWAY: u8 = 128;

/// What is appended for a byte of input, at most: a body of nothing but wrong messages.
const GAIN_MAX: usize = 256;
/// The last words and pings that are due without any input.
const UNASKED_BYTES_MAX: usize = 8192;

const MESSAGE: &str = r#"{"topic":"a","payload":{"n":1},"metadata":{"k":"v"}}"#;
/// A frame with a mask of zeros.
const SUBSCRIBE: &[u8] = b"\x81\xa4\0\0\0\0{\"topics\":[\"a\",\"b\"],\"client_id\":\"c\"}";

fuzz_target!(|data: &[u8]| {
    let [setup, len, input @ ..] = data else {
        return;
    };
    let len = usize::from(*len).max(1);
    let mut whole = begin(*setup);
    whole.send(input);
    let mut pieces = begin(*setup);
    input.chunks(len).for_each(|piece| pieces.send(piece));
    // Whether a client waits for an interim answer is seen by what came together with the head.
    if !input
        .to_ascii_lowercase()
        .windows(6)
        .any(|word| word == b"expect")
    {
        assert_eq!(whole.normalized_output(), pieces.normalized_output());
        assert_eq!(
            (whole.consumed, whole.closed),
            (pieces.consumed, pieces.closed)
        );
        assert_eq!(whole.exchanges, pieces.exchanges);
        assert_eq!(whole.errors, pieces.errors);
    }
    let most = GAIN_MAX * input.len() + UNASKED_BYTES_MAX;
    let held = whole.output.len() - whole.fixed_bytes;
    assert!(held <= most, "{held} bytes for {}", input.len());
    assert!(whole.session.held_bytes() <= 2 * whole.limits.message_bytes_max);
    let mut in_time = begin(*setup);
    input
        .chunks(len)
        .for_each(|piece| live(&mut in_time, piece));
    end(in_time);
});

/// A conversation as the first byte says.
fn begin(setup: u8) -> Conversation {
    let has = |bit| setup & bit != 0;
    let mut conversation = Conversation::new();
    conversation.publish(MESSAGE);
    if has(TURNED_AWAY) {
        conversation.turn_away();
    }
    if has(WEBSOCKET) {
        let path = if has(ECHO) { "/ws/echo" } else { "/ws" };
        let offer = if has(COMPRESSED) {
            "Sec-WebSocket-Extensions: permessage-deflate\r\n"
        } else {
            ""
        };
        let handshake = format!(
            "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             {offer}Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        conversation.send(handshake.as_bytes());
    }
    if has(SUBSCRIBED) {
        conversation.send(SUBSCRIBE);
    }
    conversation.is_draining = has(DRAINING);
    conversation.is_reserved = has(RESERVED);
    conversation.has_place = !has(FULL);
    if has(ORIGINS) {
        conversation.access = AccessPolicy::new(true, ["https://app.example", "null"], []);
    }
    conversation
}

/// A piece comes, then time passes and something may be published, as its last byte says.
fn live(conversation: &mut Conversation, piece: &[u8]) {
    let last = piece.last().copied().unwrap_or_default();
    conversation.send(piece);
    conversation.pass(u64::from(last).pow(3) * 10);
    if last & 1 == 0 {
        conversation.publish(MESSAGE);
    }
    if last & 2 == 0 {
        let now = conversation.now.monotonic_micros;
        conversation.session.progressed(now);
    }
}

/// Every conversation has an end: that of a client that falls silent, and that of a server that
/// stops.
fn end(mut conversation: Conversation) {
    if conversation.closed.is_none() && conversation.now.monotonic_micros & 1 == 0 {
        conversation.end(CloseReason::Draining, "draining");
    }
    if conversation.closed.is_none() && conversation.now.monotonic_micros & 2 == 0 {
        conversation.crowd_out();
    }
    // A stream goes on as long as its client is there.
    if matches!(conversation.session, Session::Stream(_)) && conversation.closed.is_none() {
        conversation.end(CloseReason::Draining, "draining");
    }
    conversation.pass(200 * SECOND);
    assert!(conversation.is_over, "nobody stays for ever");
}
