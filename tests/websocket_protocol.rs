//! RFC 6455 to the letter: handshake, frames, fragments, control frames, closing, liveness.

use std::time::{Duration, Instant};

use serde_json::json;
use test_util::wire::{
    ACCEPT, BINARY, CLOSE, CONTINUATION, FIN, KEY, PING, PONG, TEXT, encode, handshake,
    handshake_with, header, subscribe,
};
use test_util::{DEADLINE, Frame, Http, Server, Wire, with_workers};

#[test]
fn a_handshake_is_answered_with_the_accept_key() {
    with_workers(|workers| {
        let server = Server::start(&["--workers", workers]);
        let (_wire, response) = Wire::handshake(server.addr(), handshake(server.addr()));
        assert_eq!(response.status, 101);
        assert_eq!(response.header("sec-websocket-accept"), Some(ACCEPT));
        let upgrade = response.header("upgrade").unwrap_or_default();
        assert!(upgrade.eq_ignore_ascii_case("websocket"), "{response:?}");
        let connection = response.header("connection").unwrap_or_default();
        assert!(connection.eq_ignore_ascii_case("upgrade"), "{response:?}");
        assert!(response.header("x-request-id").is_some(), "{response:?}");
        assert!(response.header("server").is_some() && response.header("date").is_some());
        for absent in [
            "content-length",
            "sec-websocket-protocol",
            "sec-websocket-extensions",
        ] {
            assert_eq!(response.header(absent), None, "{response:?}");
        }
    });
}

#[test]
fn header_values_of_a_handshake_are_lists_in_any_case() {
    let server = Server::start(&[]);
    let request = format!(
        "GET /ws?x=1 HTTP/1.1\r\nhost: localhost\r\nUPGRADE: h2c, WebSocket\r\n\
         connection: keep-alive, UPGRADE\r\nsec-websocket-version: 13\r\n\
         SEC-WEBSOCKET-KEY: {KEY}\r\nSec-WebSocket-Protocol: chat, superchat\r\n\
         Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits, x\r\n\r\n"
    );
    let (mut wire, response) = Wire::handshake(server.addr(), request);
    assert_eq!(response.status, 101, "{response:?}");
    assert_eq!(
        response.header("sec-websocket-protocol"),
        None,
        "none is chosen"
    );
    assert_eq!(
        response.header("sec-websocket-extensions"),
        None,
        "none is chosen"
    );
    wire.assert_alive();
}

#[test]
fn handshakes_that_are_refused() {
    let server = Server::start(&[]);
    let good = String::from_utf8(handshake(server.addr())).expect("the request is text");
    let version = "Sec-WebSocket-Version: 13\r\n";
    let key = format!("Sec-WebSocket-Key: {KEY}\r\n");
    let key_of = |key: &str| format!("Sec-WebSocket-Key: {key}\r\n");
    let cases = [
        (
            "another version",
            good.replace("Version: 13", "Version: 8"),
            426,
        ),
        ("no version", good.replace(version, ""), 426),
        ("no key", good.replace(&key, ""), 400),
        ("an empty key", good.replace(&key, &key_of("")), 400),
        (
            "a short key",
            good.replace(&key, &key_of("AAAAAAAAAAAAAAAAAAAA")),
            400,
        ),
        (
            "a long key",
            good.replace(&key, &key_of("AAAAAAAAAAAAAAAAAAAAAAAAAAAA")),
            400,
        ),
        (
            "no base64",
            good.replace(&key, &key_of("!!!!!!!!!!!!!!!!!!!!!!==")),
            400,
        ),
        ("two keys", good.replace(&key, &key.repeat(2)), 400),
        (
            "no upgrade",
            good.replace("Upgrade: websocket\r\n", ""),
            426,
        ),
        (
            "another upgrade",
            good.replace("Upgrade: websocket", "Upgrade: h2c"),
            426,
        ),
        (
            "no connection",
            good.replace("Connection: Upgrade\r\n", ""),
            426,
        ),
    ];
    for (what, request, status) in cases {
        let (_, response) = Wire::handshake(server.addr(), request);
        let code = if status == 426 {
            "UPGRADE_REQUIRED"
        } else {
            "INVALID_REQUEST"
        };
        assert_eq!(response.status, status, "{what}: {response:?}");
        response.assert_error(status, code);
        if status == 426 {
            assert_eq!(
                response.header("sec-websocket-version"),
                Some("13"),
                "{what}"
            );
        }
    }
    let post = good
        .replace("GET ", "POST ")
        .replace("\r\n\r\n", "\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(Wire::handshake(server.addr(), post).1.status, 405);
    let old = good.replace("HTTP/1.1", "HTTP/1.0");
    let response = Wire::handshake(server.addr(), old).1;
    assert!(
        matches!(response.status, 400 | 426),
        "upgrades need HTTP/1.1: {response:?}"
    );
}

#[test]
fn a_plain_get_is_told_to_upgrade() {
    let server = Server::start(&[]);
    let mut http = Http::open(server.addr());
    let response = http.get("/ws");
    response.assert_error(426, "UPGRADE_REQUIRED");
    assert_eq!(response.header("sec-websocket-version"), Some("13"));
    assert!(
        response
            .header("upgrade")
            .is_some_and(|name| name.eq_ignore_ascii_case("websocket"))
    );
    assert_eq!(http.get("/health").status, 200, "the connection stays");
}

#[test]
fn bytes_behind_the_handshake_belong_to_the_websocket() {
    with_workers(|workers| {
        let server = Server::start(&["--workers", workers]);
        let frames = [
            encode(TEXT | FIN, subscribe("t").as_bytes()),
            encode(TEXT | FIN, br#"{"type":"ping"}"#),
        ];
        let request = [handshake(server.addr()), frames.concat()].concat();
        let (mut wire, response) = Wire::handshake(server.addr(), request);
        assert_eq!(response.status, 101);
        assert_eq!(wire.read_json()["type"], "subscribed");
        assert_eq!(wire.read_json()["type"], "pong");
    });
}

#[test]
fn a_handshake_behind_a_pipelined_request() {
    let server = Server::start(&[]);
    let mut http = Http::open(server.addr());
    let get = http.encode("GET", "/health", &[], b"");
    http.send([get, handshake(server.addr())].concat());
    assert_eq!(http.read_response().status, 200);
    assert_eq!(http.read_response().status, 101);
}

#[test]
fn fragmented_messages() {
    with_workers(|workers| {
        let server = Server::start(&["--workers", workers]);
        let mut wire = Wire::connect(server.addr());
        let text = subscribe("überträge");
        let bytes = text.as_bytes();
        // One byte each: characters are split between frames.
        wire.send(TEXT, &bytes[..1]);
        for byte in &bytes[1..bytes.len() - 1] {
            wire.send(CONTINUATION, &[*byte]);
        }
        wire.send(CONTINUATION, b"");
        wire.send(CONTINUATION | FIN, &bytes[bytes.len() - 1..]);
        assert_eq!(wire.read_json()["topics"], json!(["überträge"]));
        wire.send(TEXT, br#"{"type":"ping"}"#);
        wire.send(CONTINUATION | FIN, b"");
        assert_eq!(wire.read_json()["type"], "pong");
    });
}

#[test]
fn pings_are_answered_between_fragments() {
    let server = Server::start(&[]);
    let mut wire = Wire::subscribed(server.addr(), "t");
    wire.send(TEXT, br#"{"type":"#);
    for payload in [b"".as_slice(), b"x", &[0xff; 125]] {
        wire.send(PING | FIN, payload);
        let pong = Frame {
            first: PONG | FIN,
            payload: payload.to_vec(),
        };
        assert_eq!(wire.read(), Some(pong), "the same payload");
    }
    wire.send(PONG | FIN, b"nobody asked");
    wire.send(CONTINUATION | FIN, br#""ping"}"#);
    assert_eq!(wire.read_json()["type"], "pong");
}

#[test]
fn a_message_of_the_largest_size() {
    let server = Server::start(&["--max-message-size", "70000"]);
    let mut wire = Wire::subscribed(server.addr(), "t");
    for size in [125, 126, 65_535, 65_536, 70_000] {
        let mut text = br#"{"type":"ping"}"#.to_vec();
        text.resize(size, b' ');
        wire.send(TEXT | FIN, &text);
        assert_eq!(wire.read_json()["type"], "pong", "{size} bytes");
    }
}

#[test]
fn violations_close_with_1002() {
    with_workers(|workers| {
        let server = Server::start(&["--workers", workers]);
        let text = encode(TEXT | FIN, br#"{"type":"ping"}"#);
        let unmasked = [header(TEXT | FIN, 0, 15), br#"{"type":"ping"}"#.to_vec()].concat();
        let reserved = |bit: u8| {
            let mut frame = text.clone();
            frame[0] |= bit;
            frame
        };
        let mask = [0; 4];
        let long_ping = [
            vec![PING | FIN, 0x80 | 126, 0, 126],
            mask.to_vec(),
            vec![b'x'; 126],
        ];
        let long_form = [
            vec![TEXT | FIN, 0x80 | 126, 0, 2],
            mask.to_vec(),
            b"{}".to_vec(),
        ];
        let longer_form = [
            vec![TEXT | FIN, 0x80 | 127, 0, 0, 0, 0, 0, 0, 0, 2],
            mask.to_vec(),
            b"{}".to_vec(),
        ];
        let fragment = encode(TEXT, b"{");
        let cases = [
            ("unmasked", unmasked),
            ("first reserved bit", reserved(0x40)),
            ("second reserved bit", reserved(0x20)),
            ("third reserved bit", reserved(0x10)),
            ("opcode 3", encode(0x3 | FIN, b"")),
            ("opcode 7", encode(0x7 | FIN, b"")),
            ("opcode 11", encode(0xB | FIN, b"")),
            ("opcode 15", encode(0xF | FIN, b"")),
            ("fragmented ping", encode(PING, b"")),
            ("fragmented close", encode(CLOSE, &[])),
            ("ping over 125 bytes", long_ping.concat()),
            ("length not in the shortest form", long_form.concat()),
            (
                "length not in the shortest form, 64 bits",
                longer_form.concat(),
            ),
            ("continuation of nothing", encode(CONTINUATION | FIN, b"x")),
            (
                "text inside a message",
                [fragment.clone(), text.clone()].concat(),
            ),
            (
                "binary inside a message",
                [fragment, encode(BINARY | FIN, b"x")].concat(),
            ),
            ("close of one byte", encode(CLOSE | FIN, &[3])),
            ("close 0", encode(CLOSE | FIN, &[0, 0])),
            ("close 999", encode(CLOSE | FIN, &999_u16.to_be_bytes())),
            ("close 1004", encode(CLOSE | FIN, &1004_u16.to_be_bytes())),
            ("close 1005", encode(CLOSE | FIN, &1005_u16.to_be_bytes())),
            ("close 1006", encode(CLOSE | FIN, &1006_u16.to_be_bytes())),
            ("close 1015", encode(CLOSE | FIN, &1015_u16.to_be_bytes())),
            ("close 2999", encode(CLOSE | FIN, &2999_u16.to_be_bytes())),
            ("close 5000", encode(CLOSE | FIN, &5000_u16.to_be_bytes())),
        ];
        for (what, bytes) in cases {
            eprintln!("{what}");
            let mut wire = Wire::subscribed(server.addr(), "t");
            wire.send_bytes(bytes);
            wire.expect_close(1002);
        }
    });
}

#[test]
fn bad_utf_8_closes_with_1007_as_soon_as_it_is_certain() {
    let server = Server::start(&[]);
    let unfinished = [header(TEXT | FIN, 0x80, 100), vec![0; 4], vec![b'{', 0xff]].concat();
    let cases = [
        ("a byte that never occurs", encode(TEXT | FIN, b"\xff")),
        ("cut short at the end", encode(TEXT | FIN, b"\"\xe2\x82")),
        ("a surrogate", encode(TEXT | FIN, b"\"\xed\xa0\x80\"")),
        ("an overlong form", encode(TEXT | FIN, b"\"\xc0\xaf\"")),
        (
            "above the last code point",
            encode(TEXT | FIN, b"\"\xf4\x90\x80\x80\""),
        ),
        (
            "in a fragment that is not the last",
            encode(TEXT, b"{\"\x80"),
        ),
        (
            "split between fragments",
            [encode(TEXT, b"\"\xe2"), encode(CONTINUATION, b"\x28")].concat(),
        ),
        ("in a frame that has not all come", unfinished),
        (
            "in the reason of a close",
            encode(CLOSE | FIN, b"\x03\xe8\xff"),
        ),
    ];
    for (what, bytes) in cases {
        eprintln!("{what}");
        let mut wire = Wire::subscribed(server.addr(), "t");
        wire.send_bytes(bytes);
        wire.expect_close(1007);
    }
}

#[test]
fn too_big_is_decided_at_the_frame_header() {
    with_workers(|workers| {
        let server = Server::start(&["--workers", workers, "--max-message-size", "2000"]);
        let first_part = encode(TEXT, &[b' '; 1200]);
        // The masking key is part of the header.
        let mask = [0; 4];
        let cases = [
            ("one over", header(TEXT | FIN, 0x80, 2001)),
            (
                "absurd",
                [vec![TEXT | FIN, 0xff, 0x7f], vec![0xff; 7]].concat(),
            ),
            ("binary", header(BINARY | FIN, 0x80, 2001)),
            (
                "in fragments",
                [first_part, header(CONTINUATION, 0x80, 801)].concat(),
            ),
        ];
        for (what, bytes) in cases {
            eprintln!("{what}");
            let mut wire = Wire::subscribed(server.addr(), "t");
            wire.send_bytes([bytes, mask.to_vec()].concat());
            wire.expect_close(1009);
        }
        let mut wire = Wire::subscribed(server.addr(), "t");
        wire.send_bytes([vec![TEXT | FIN, 0xff], vec![0xff; 8], mask.to_vec()].concat());
        let close = wire.read().expect("a close frame");
        let code = close.close_code();
        assert!(
            matches!(code, Some(1002 | 1009)),
            "the top bit must be 0: {close:?}"
        );
    });
}

#[test]
fn a_close_is_answered_and_tcp_closed_by_the_server() {
    with_workers(|workers| {
        let server = Server::start(&["--workers", workers]);
        for code in [1000_u16, 1001, 1003, 1011, 3000, 4999] {
            let mut wire = Wire::subscribed(server.addr(), "t");
            wire.send(
                CLOSE | FIN,
                &[&code.to_be_bytes(), "gründlich".as_bytes()].concat(),
            );
            wire.expect_close(code);
        }
        let mut wire = Wire::subscribed(server.addr(), "t");
        wire.send(CLOSE | FIN, b"");
        let close = wire.read().expect("the close is answered");
        assert_eq!(close.first, CLOSE | FIN);
        assert!(matches!(close.close_code(), None | Some(1000)), "{close:?}");
        assert_eq!(wire.read(), None);

        let mut early = Wire::connect(server.addr());
        early.send(CLOSE | FIN, &1000_u16.to_be_bytes());
        early.expect_close(1000);
    });
}

#[test]
fn nothing_is_read_after_a_close() {
    let server = Server::start(&[]);
    let mut wire = Wire::subscribed(server.addr(), "t");
    let close = encode(CLOSE | FIN, &1000_u16.to_be_bytes());
    wire.send_bytes([close, encode(TEXT | FIN, br#"{"type":"ping"}"#)].concat());
    wire.expect_close(1000);
}

#[test]
fn a_half_closed_websocket_is_closed() {
    let server = Server::start(&[]);
    let mut wire = Wire::subscribed(server.addr(), "t");
    wire.finish();
    while wire.read().is_some() {}
    server.wait_for_metric("proxy_websocket_connections_active", &[], 0.0);
}

#[test]
fn idle_clients_are_pinged_and_dead_ones_closed_with_1001() {
    with_workers(|workers| {
        let flags = ["--ws-ping-interval", "300ms", "--ws-idle-timeout", "1500ms"];
        let server = Server::start(&[&flags[..], &["--workers", workers]].concat());
        let mut alive = Wire::subscribed(server.addr(), "t");
        let mut dead = Wire::subscribed(server.addr(), "t");
        let began = Instant::now();
        while began.elapsed() < Duration::from_secs(3) {
            let ping = alive.read().expect("a client that answers stays");
            assert_eq!(ping.first, PING | FIN, "{ping:?}");
            alive.send(PONG | FIN, &ping.payload);
        }
        dead.expect_close(1001);
        let publisher = Server::publish(&server, "t", &json!({}));
        let delivery = loop {
            let frame = alive.read().expect("a client that answers stays");
            if frame.first == TEXT | FIN {
                break frame;
            }
        };
        let delivery: serde_json::Value =
            serde_json::from_slice(&delivery.payload).expect("the server sends JSON");
        assert_eq!(delivery["message_id"], publisher["message_id"]);
        server.wait_for_metric("proxy_websocket_connections_active", &[], 1.0);
    });
}

#[test]
fn more_header_fields_do_no_harm() {
    let server = Server::start(&[]);
    let headers = [
        ("Cookie", "a=b"),
        ("User-Agent", "x"),
        ("Authorization", "Bearer nonsense"),
    ];
    let request = handshake_with(server.addr(), &headers);
    let (mut wire, response) = Wire::handshake(server.addr(), request);
    assert_eq!(
        response.status, 101,
        "with auth off, credentials are ignored"
    );
    wire.assert_alive();
    assert!(
        DEADLINE > Duration::from_secs(10),
        "the first subscribe is not due yet"
    );
}
