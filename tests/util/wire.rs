//! A WebSocket client that sends what no client should: its own frame codec, without any checks.

use std::io::Write;
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Instant;

use serde_json::Value;

use crate::http::{Http, fill};
use crate::{DEADLINE, Response};

/// The key of the example in RFC 6455 section 1.3, whose answer is known.
pub const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
/// What a server answers to [`KEY`].
pub const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// Opcode of a continuation frame.
pub const CONTINUATION: u8 = 0x0;
/// Opcode of a text frame.
pub const TEXT: u8 = 0x1;
/// Opcode of a binary frame.
pub const BINARY: u8 = 0x2;
/// Opcode of a close frame.
pub const CLOSE: u8 = 0x8;
/// Opcode of a ping frame.
pub const PING: u8 = 0x9;
/// Opcode of a pong frame.
pub const PONG: u8 = 0xA;
/// The bit of a frame's first byte that says it is the last of its message.
pub const FIN: u8 = 0x80;

/// A frame as received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// First byte: FIN, reserved bits and opcode.
    pub first: u8,
    /// Payload; the server never masks.
    pub payload: Vec<u8>,
}

/// One WebSocket connection, or one on its way there.
pub struct Wire {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Wire {
    /// Connects and upgrades.
    ///
    /// # Panics
    ///
    /// When the server does not switch protocols.
    pub fn connect(address: SocketAddr) -> Wire {
        let (wire, response) = Wire::handshake(address, handshake(address));
        assert_eq!(response.status, 101, "{response:?}");
        wire
    }

    /// Connects, upgrades and subscribes to one topic.
    pub fn subscribed(address: SocketAddr, topic: &str) -> Wire {
        let mut wire = Wire::connect(address);
        wire.send(TEXT | FIN, subscribe(topic).as_bytes());
        let reply = wire.read_json();
        assert_eq!(reply["type"], "subscribed", "{reply}");
        wire
    }

    /// Connects, sends `bytes` as the request and reads the answer.
    pub fn handshake(address: SocketAddr, bytes: impl AsRef<[u8]>) -> (Wire, Response) {
        let mut http = Http::open(address);
        http.send(bytes);
        let response = http.read_response();
        (Wire::from(http), response)
    }

    /// The socket, for what this client does not do.
    pub fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// Sends one masked frame.
    pub fn send(&mut self, first: u8, payload: &[u8]) {
        self.send_bytes(encode(first, payload));
    }

    /// Sends bytes as they are.
    pub fn send_bytes(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream
            .write_all(bytes.as_ref())
            .expect("the server reads");
    }

    /// Closes the sending side.
    pub fn finish(&self) {
        self.stream
            .shutdown(Shutdown::Write)
            .expect("the connection is open");
    }

    /// Reads the next frame, or `None` at the end of the connection.
    pub fn read(&mut self) -> Option<Frame> {
        loop {
            if let Some((frame, length)) = decode(&self.buffer) {
                self.buffer.drain(..length);
                return Some(frame);
            }
            if !fill(
                &mut self.stream,
                &mut self.buffer,
                Instant::now() + DEADLINE,
            ) {
                return None;
            }
        }
    }

    /// Reads the next text message, which must come in one frame.
    ///
    /// # Panics
    ///
    /// When something else comes.
    pub fn read_json(&mut self) -> Value {
        let frame = self.read().expect("a frame before the connection ends");
        assert_eq!(frame.first, TEXT | FIN, "{frame:?}");
        serde_json::from_slice(&frame.payload).expect("the server sends JSON")
    }

    /// Reads up to the close frame and checks its code and that TCP is closed behind it.
    ///
    /// # Panics
    ///
    /// When the connection ends otherwise.
    pub fn expect_close(&mut self, code: u16) {
        loop {
            let frame = self
                .read()
                .expect("a close frame before the connection ends");
            if frame.first == CLOSE | FIN {
                assert_eq!(frame.close_code(), Some(code), "{frame:?}");
                break;
            }
        }
        assert_eq!(self.read(), None, "nothing follows a close frame");
    }

    /// Sends a ping and checks that its pong is the next frame: whatever was sent before has been
    /// dealt with, and without an answer.
    pub fn assert_alive(&mut self) {
        self.send(PING | FIN, b"alive?");
        let pong = Frame {
            first: PONG | FIN,
            payload: b"alive?".to_vec(),
        };
        assert_eq!(self.read(), Some(pong));
    }
}

impl From<Http> for Wire {
    /// Takes over a connection whose upgrade has been answered.
    fn from(http: Http) -> Wire {
        let (stream, buffer) = http.into_parts();
        Wire { stream, buffer }
    }
}

impl Frame {
    /// The code of a close frame.
    pub fn close_code(&self) -> Option<u16> {
        Some(u16::from_be_bytes([
            *self.payload.first()?,
            *self.payload.get(1)?,
        ]))
    }
}

/// The bytes of an ordinary upgrade request.
pub fn handshake(address: SocketAddr) -> Vec<u8> {
    handshake_with(address, &[])
}

/// The bytes of an upgrade request with more header fields.
pub fn handshake_with(address: SocketAddr, headers: &[(&str, &str)]) -> Vec<u8> {
    upgrade(address, "/ws", headers)
}

/// The bytes of an upgrade request to another path, or with a query.
pub fn handshake_to(address: SocketAddr, path: &str) -> Vec<u8> {
    upgrade(address, path, &[])
}

fn upgrade(address: SocketAddr, path: &str, headers: &[(&str, &str)]) -> Vec<u8> {
    let mut head = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\n");
    head += "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n";
    head += &format!("Sec-WebSocket-Key: {KEY}\r\n");
    for (name, value) in headers {
        head += &format!("{name}: {value}\r\n");
    }
    (head + "\r\n").into_bytes()
}

/// The text of an ordinary subscribe.
pub fn subscribe(topic: &str) -> String {
    format!(r#"{{"type":"subscribe","topics":["{topic}"],"client_id":"test"}}"#)
}

/// One masked frame with the shortest length.
pub fn encode(first: u8, payload: &[u8]) -> Vec<u8> {
    let mask = [0x37, 0xfa, 0x21, 0x3d];
    let mut frame = header(first, 0x80, payload.len());
    frame.extend(mask);
    frame.extend(
        payload
            .iter()
            .zip(mask.iter().cycle())
            .map(|(byte, key)| byte ^ key),
    );
    frame
}

/// A frame header with the shortest length; `mask_bit` is 0x80 or 0.
pub fn header(first: u8, mask_bit: u8, length: usize) -> Vec<u8> {
    let mut header = vec![first];
    match (u8::try_from(length), u16::try_from(length)) {
        (Ok(short @ 0..=125), _) => header.push(mask_bit | short),
        (_, Ok(middle)) => {
            header.push(mask_bit | 126);
            header.extend(middle.to_be_bytes());
        }
        _ => {
            header.push(mask_bit | 127);
            header.extend((length as u64).to_be_bytes());
        }
    }
    header
}

fn decode(input: &[u8]) -> Option<(Frame, usize)> {
    let (&first, &second) = (input.first()?, input.get(1)?);
    assert_eq!(second & 0x80, 0, "a server must not mask");
    let (length, start) = match second {
        126 => (
            u16::from_be_bytes(input.get(2..4)?.try_into().ok()?).into(),
            4,
        ),
        127 => (u64::from_be_bytes(input.get(2..10)?.try_into().ok()?), 10),
        short => (u64::from(short), 2),
    };
    let end = start + usize::try_from(length).expect("the length fits");
    let payload = input.get(start..end)?.to_vec();
    Some((Frame { first, payload }, end))
}
