//! permessage-deflate (RFC 7692): off by default, agreed on in the handshake, the same messages for
//! who takes it and who does not, and no cheap way to make the server work or swell.

use std::io::Write;
use std::time::Duration;

use flate2::Compression;
use flate2::write::{DeflateDecoder, DeflateEncoder};
use serde_json::{Value, json};
use test_util::wire::{BINARY, CLOSE, CONTINUATION, FIN, PING, TEXT, encode, handshake_with};
use test_util::{DEADLINE, Http, Response, Server, Wire, wait_until, with_workers};

/// The bit of a frame's first byte that says that its message is compressed.
const COMPRESSED: u8 = 0x40;
const OFFER: &str = "permessage-deflate; client_max_window_bits";
const MIB: u64 = 1024 * 1024;

#[test]
fn it_is_off_by_default() {
    let server = Server::start(&[]);
    let (mut wire, response) = upgrade(&server, OFFER);
    assert_eq!(response.status, 101);
    assert_eq!(response.header("sec-websocket-extensions"), None);
    wire.send(
        TEXT | FIN | COMPRESSED,
        &compress(subscribe("a").as_bytes()),
    );
    wire.expect_close(1002);
}

#[test]
fn what_is_offered_is_agreed_on_or_declined() {
    let server = Server::start(&["--ws-compression"]);
    let plain = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";
    let windowed = |bits: u8| format!("{plain}; server_max_window_bits={bits}");
    let cases = [
        (OFFER, Some(plain.to_owned())),
        ("x-other, Permessage-Deflate", Some(plain.to_owned())),
        (
            "permessage-deflate; server_max_window_bits=\"9\", permessage-deflate",
            Some(windowed(9)),
        ),
        (
            "permessage-deflate; server_max_window_bits=16, permessage-deflate; \
             server_max_window_bits=15",
            Some(windowed(15)),
        ),
        (
            "permessage-deflate; server_max_window_bits=8",
            Some(windowed(8)),
        ),
        ("permessage-deflate; what", None),
        ("x-webkit-deflate-frame", None),
    ];
    for (offer, expected) in cases {
        let (mut wire, response) = upgrade(&server, offer);
        assert_eq!(response.status, 101, "{offer}");
        let extensions = response.header("sec-websocket-extensions");
        assert_eq!(extensions, expected.as_deref(), "{offer}");
        wire.assert_alive();
    }
    // RFC 6455 section 9.1: what does not conform to the grammar opens no WebSocket.
    let (_, response) = upgrade(&server, "permessage-deflate; =1");
    assert_eq!(response.status, 400, "{response:?}");
}

#[test]
fn everybody_gets_the_same_messages() {
    with_workers(|workers| {
        let server = Server::start(&["--workers", workers, "--ws-compression"]);
        let mut live: Vec<Peer> = (0..6)
            .map(|_| Peer::subscribed(&server, OFFER, "last"))
            .collect();
        let small = "permessage-deflate; server_max_window_bits=10";
        live.push(Peer::subscribed(&server, small, "last"));
        live.push(Peer::subscribed(&server, "x-other", "last"));
        let payloads: Vec<Value> = (0..200).map(payload).collect();
        let mut http = Http::open(server.addr());
        for payload in &payloads {
            let message = json!({"topic": "t", "payload": payload});
            let response = http.post("/api/v1/messages", message.to_string());
            assert_eq!(response.status, 201, "{response:?}");
        }
        let expected: Vec<Value> = live[7].messages(payloads.len());
        let told: Vec<&Value> = expected.iter().map(|message| &message["payload"]).collect();
        assert_eq!(told, payloads.iter().collect::<Vec<_>>());
        assert_eq!(live[7].compressed, 0, "it did not ask for it");
        for peer in &mut live[..6] {
            assert_eq!(peer.messages(payloads.len()), expected);
            assert!(peer.compressed >= 150, "{} compressed", peer.compressed);
            assert!(peer.wire_bytes < peer.bytes / 2, "less is sent");
        }
        assert_eq!(live[6].messages(payloads.len()), expected);
        assert_eq!(live[6].compressed, 0, "its window is too small to share");
        // From the history, too.
        let mut late = Peer::subscribed(&server, OFFER, "earliest");
        assert_eq!(late.messages(payloads.len()), expected);
        assert!(late.compressed >= 150);
    });
}

#[test]
fn a_slow_reader_catches_up_with_compressed_frames() {
    with_workers(|workers| {
        let flags = [
            "--workers",
            workers,
            "--ws-compression",
            "--outbox-bytes-max",
            "80KiB",
        ];
        let server = Server::start(&[&flags[..], &["--max-message-size", "64KiB"]].concat());
        let mut slow = Peer::subscribed(&server, OFFER, "last");
        let noise = |number: u64| {
            let mut random = fastrand::Rng::with_seed(number);
            let hex: String = (0..40_000).map(|_| random.digit(16)).collect();
            json!({"number": number, "noise": hex})
        };
        let mut http = Http::open(server.addr());
        for number in 0..400 {
            let message = json!({"topic": "t", "payload": noise(number)});
            let response = http.post("/api/v1/messages", message.to_string());
            assert_eq!(response.status, 201, "{response:?}");
        }
        for number in 0..400 {
            assert_eq!(slow.message()["payload"], noise(number));
        }
        assert_eq!(slow.compressed, 400, "half of the noise can go");
    });
}

#[test]
fn commands_may_be_compressed_and_in_pieces() {
    with_workers(|workers| {
        let server = Server::start(&["--workers", workers, "--ws-compression"]);
        let mut peer = Peer::connect(&server, OFFER);
        let payload = compress(subscribe("t").as_bytes());
        let (front, back) = payload.split_at(payload.len() / 2);
        peer.wire.send(TEXT | COMPRESSED, front);
        peer.wire.send(PING | FIN, b"between");
        assert_eq!(peer.wire.read().unwrap().payload, b"between");
        peer.wire.send(CONTINUATION | FIN, back);
        assert_eq!(peer.message()["type"], "subscribed");
        let ping = br#"{"type":"ping"}"#;
        peer.wire.send(TEXT | FIN | COMPRESSED, &compress(ping));
        assert_eq!(peer.message()["type"], "pong");
        peer.wire.send(TEXT | FIN, ping);
        assert_eq!(peer.message()["type"], "pong", "plain is always right");
        peer.wire
            .send(BINARY | FIN | COMPRESSED, &compress(b"no text"));
        assert_eq!(peer.message()["code"], "PROCESSING_ERROR");
        // Many in one write, more than one turn inflates.
        let padded = format!("{{\"type\":\"ping\"{}}}", " ".repeat(500_000));
        let one = encode(TEXT | FIN | COMPRESSED, &compress(padded.as_bytes()));
        peer.wire.send_bytes(one.repeat(20));
        for _ in 0..20 {
            assert_eq!(peer.message()["type"], "pong");
        }
    });
}

#[test]
fn violations_are_closed_with_their_codes() {
    let server = Server::start(&["--ws-compression", "--max-message-size", "10KiB"]);
    let message = TEXT | FIN | COMPRESSED;
    let cases: [(Vec<u8>, u16); 9] = [
        (encode(PING | FIN | COMPRESSED, b""), 1002),
        (encode(CLOSE | FIN | COMPRESSED, b""), 1002),
        (encode(CONTINUATION | FIN | COMPRESSED, b"\x00"), 1002),
        (encode(message | 0x20, b"\x00"), 1002),
        (encode(message, b"\xff\xff\xff"), 1007),
        (encode(message, b"\xf2\x48\xcd"), 1007),
        (encode(message, &compress(b"\"\xff\"")), 1007),
        (encode(message, &compress(&[b' '; 10 * 1024 + 1])), 1009),
        (encode(message, &[0; 10 * 1024 + 1])[..8].to_vec(), 1009),
    ];
    for (bytes, code) in cases {
        let mut peer = Peer::connect(&server, OFFER);
        peer.wire.send_bytes(bytes);
        peer.wire.expect_close(code);
    }
}

#[test]
fn bombs_cost_little() {
    with_workers(|workers| {
        let flags = ["--workers", workers, "--ws-compression", "--ws-echo"];
        let server = Server::start(&flags);
        // A thousand times as much as it takes on the wire, and far over the bound.
        let bomb = encode(TEXT | FIN | COMPRESSED, &compress(&vec![b' '; 32 << 20]));
        assert!(bomb.len() < 40_000);
        let mut other = Wire::subscribed(server.addr(), "t");
        let before = server.rss();
        let mut most = 0;
        for _ in 0..20 {
            let mut peers: Vec<Peer> = (0..10).map(|_| Peer::connect(&server, OFFER)).collect();
            for peer in &mut peers {
                peer.wire.send_bytes(&bomb);
            }
            other.assert_alive();
            most = most.max(server.rss());
            for peer in &mut peers {
                peer.wire.expect_close(1009);
            }
        }
        let grown = most.saturating_sub(before);
        eprintln!("grown by {grown} bytes");
        assert!(grown < 24 * MIB, "grown by {grown} bytes");
        wait_until("all are closed", DEADLINE, || {
            server.metric("proxy_websocket_connections_active", &[]) == 1.0
        });
    });
}

/// A client that takes compressed messages.
struct Peer {
    wire: Wire,
    /// Messages that came compressed.
    compressed: usize,
    /// Bytes of payload, as they came and inflated.
    wire_bytes: usize,
    bytes: usize,
}

impl Peer {
    fn connect(server: &Server, offer: &str) -> Peer {
        let (wire, response) = upgrade(server, offer);
        assert_eq!(response.status, 101, "{response:?}");
        wire.stream()
            .set_read_timeout(Some(DEADLINE + Duration::from_secs(1)))
            .expect("the timeout is not zero");
        Peer {
            wire,
            compressed: 0,
            wire_bytes: 0,
            bytes: 0,
        }
    }

    fn subscribed(server: &Server, offer: &str, offset: &str) -> Peer {
        let mut peer = Peer::connect(server, offer);
        let subscribe = json!({"topics": ["t"], "client_id": "c", "offset": offset});
        peer.wire.send(TEXT | FIN, subscribe.to_string().as_bytes());
        assert_eq!(peer.message()["type"], "subscribed");
        peer
    }

    fn messages(&mut self, count: usize) -> Vec<Value> {
        (0..count).map(|_| self.message()).collect()
    }

    fn message(&mut self) -> Value {
        let frame = self.wire.read().expect("a message");
        let is_compressed = match frame.first {
            first if first == TEXT | FIN => false,
            first if first == TEXT | FIN | COMPRESSED => true,
            _ => panic!("no message: {frame:?}"),
        };
        self.wire_bytes += frame.payload.len();
        self.compressed += usize::from(is_compressed);
        let text = if is_compressed {
            inflate(&frame.payload)
        } else {
            frame.payload
        };
        self.bytes += text.len();
        serde_json::from_slice(&text).expect("the server sends JSON")
    }
}

fn upgrade(server: &Server, offer: &str) -> (Wire, Response) {
    let address = server.addr();
    Wire::handshake(
        address,
        handshake_with(address, &[("Sec-WebSocket-Extensions", offer)]),
    )
}

fn subscribe(topic: &str) -> String {
    json!({"type": "subscribe", "topics": [topic], "client_id": "c"}).to_string()
}

/// Small and large, text that repeats itself and text that does not.
fn payload(number: usize) -> Value {
    match number % 10 {
        0 => json!({}),
        1 => json!({"number": number, "text": "κόσμε ".repeat(number * 50)}),
        _ => json!({"number": number, "items": vec!["an item like the others"; number]}),
    }
}

/// As RFC 7692 section 7.2.1 has it, without what was sent before.
fn compress(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).expect("a vector takes all");
    encoder.flush().expect("a vector takes all");
    let mut out = encoder.get_ref().clone();
    assert!(out.ends_with(&[0, 0, 0xff, 0xff]));
    out.truncate(out.len() - 4);
    out
}

fn inflate(payload: &[u8]) -> Vec<u8> {
    let mut decoder = DeflateDecoder::new(Vec::new());
    for piece in [payload, &[0, 0, 0xff, 0xff], &[1, 0, 0, 0xff, 0xff]] {
        decoder.write_all(piece).expect("the server compresses");
    }
    decoder.finish().expect("the server compresses")
}
