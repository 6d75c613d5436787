//! What a client makes of the bytes that it gets, and how it makes those that it sends.

use serde_json::Value;

use super::conversation::Conversation;
use crate::ws::frame::{self, FrameHeader};
use crate::ws::{CloseCode, Opcode};

/// A handshake that opens a WebSocket at `/ws`.
pub(super) const HANDSHAKE: &[u8] = b"GET /ws HTTP/1.1\r\nHost: localhost\r\n\
    Connection: keep-alive, Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
/// What it is accepted with (RFC 6455 section 1.3).
pub(super) const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";
pub(super) const SUBSCRIBE: &str = r#"{"type":"subscribe","topics":["a"],"client_id":"c"}"#;

/// An answer as it was read.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    headers: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
}

impl Answer {
    /// The only value of a field.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        let mut values = self
            .headers
            .iter()
            .filter(|(other, _)| other.eq_ignore_ascii_case(name));
        let value = values.next();
        assert!(values.next().is_none(), "{name} stands once: {self:?}");
        value.map(|(_, value)| value.as_str())
    }

    pub(super) fn json(&self) -> Value {
        assert_eq!(self.header("Content-Type"), Some("application/json"));
        serde_json::from_slice(&self.body).unwrap()
    }

    /// The code of an error, whose body must be complete.
    pub(super) fn error(&self) -> String {
        let body = self.json();
        assert!(body["message"].is_string() && !body["detail"].is_null());
        assert_eq!(body["request_id"].as_str(), self.header("X-Request-Id"));
        body["error"].as_str().unwrap().to_owned()
    }

    pub(super) fn is_last(&self) -> bool {
        self.header("Connection") == Some("close")
    }

    /// The answer that `bytes` begin with, and how long it is.
    fn read(bytes: &[u8], is_head: bool) -> (Answer, usize) {
        let mut fields = [httparse::EMPTY_HEADER; 20];
        let mut response = httparse::Response::new(&mut fields);
        let Ok(httparse::Status::Complete(head_len)) = response.parse(bytes) else {
            panic!("no answer: {}", String::from_utf8_lossy(bytes));
        };
        let text = |value: &[u8]| String::from_utf8(value.to_vec()).unwrap();
        let headers = response.headers.iter();
        let mut answer = Answer {
            status: response.code.unwrap(),
            headers: headers
                .map(|field| (field.name.to_owned(), text(field.value)))
                .collect(),
            body: Vec::new(),
        };
        let length = answer
            .header("Content-Length")
            .map(|it| it.parse().unwrap());
        let has_length = !matches!(answer.status, 100..=199 | 204);
        assert_eq!(length.is_some(), has_length, "{answer:?}");
        let body_len = length.filter(|_| !is_head).unwrap_or(0);
        answer.body = bytes[head_len..head_len + body_len].to_vec();
        (answer, head_len + body_len)
    }
}

/// A frame of the server: its opcode's number and its payload.
pub(super) type Frame = (u8, Vec<u8>);

impl Conversation {
    /// Reads all that has come as answers.
    pub(super) fn answers(&mut self) -> Vec<Answer> {
        let mut answers = Vec::new();
        while !self.output.is_empty() {
            answers.push(self.answer_to(false));
        }
        answers
    }

    /// Reads the one answer that has come.
    pub(super) fn answer(&mut self) -> Answer {
        let answer = self.answer_to(false);
        assert!(self.output.is_empty(), "one answer");
        answer
    }

    /// Reads the next answer, to a `HEAD` request or another one.
    pub(super) fn answer_to(&mut self, is_head: bool) -> Answer {
        let (answer, len) = Answer::read(&self.output, is_head);
        self.output.drain(..len);
        if answer.status >= 200 {
            assert!(answer.header("Server").is_some() && answer.header("Date").is_some());
            assert!(answer.header("X-Request-Id").is_some());
        }
        answer
    }

    /// A WebSocket that has been opened and has not said anything.
    pub(super) fn open() -> Conversation {
        let mut conversation = Conversation::new();
        conversation.send(HANDSHAKE);
        let answer = conversation.answer();
        assert_eq!(answer.status, 101);
        assert_eq!(answer.header("Sec-WebSocket-Accept"), Some(ACCEPT));
        conversation
    }

    /// A WebSocket that has subscribed to the topic `a`.
    pub(super) fn subscribed() -> Conversation {
        let mut conversation = Conversation::open();
        conversation.say(SUBSCRIBE);
        assert_eq!(conversation.hear()["type"], "subscribed");
        conversation
    }

    /// The client sends a text message.
    pub(super) fn say(&mut self, text: &str) {
        self.send(&client_frame(Opcode::Text, text.as_bytes()));
    }

    /// Reads all that has come as frames.
    pub(super) fn frames(&mut self) -> Vec<Frame> {
        let mut frames = Vec::new();
        let mut rest = &self.output[..];
        while let Some((&first, behind)) = rest.split_first() {
            assert_eq!(first & 0xf0, 0x80, "whole and without extensions");
            let (len, at) = match behind[0] {
                126 => (usize::from(u16::from_be_bytes([behind[1], behind[2]])), 3),
                len => (usize::from(len), 1),
            };
            assert!(behind[0] < 127, "short, and not masked");
            frames.push((first & 0x0f, behind[at..at + len].to_vec()));
            rest = &behind[at + len..];
        }
        self.output.clear();
        frames
    }

    /// Reads all that has come as messages.
    pub(super) fn messages(&mut self) -> Vec<Value> {
        let message = |(opcode, payload): Frame| {
            assert_eq!(opcode, 1, "a text message");
            serde_json::from_slice(&payload).unwrap()
        };
        self.frames().into_iter().map(message).collect()
    }

    /// Reads the one message that has come.
    pub(super) fn hear(&mut self) -> Value {
        let mut messages = self.messages();
        assert_eq!(messages.len(), 1, "{messages:?}");
        messages.remove(0)
    }

    /// Reads the close frame that has come last, and what came before it.
    pub(super) fn hear_close(&mut self) -> (Vec<Frame>, Option<u16>, String) {
        let mut frames = self.frames();
        let (opcode, payload) = frames.pop().expect("a close frame");
        assert_eq!(opcode, 8, "a close frame is the last");
        assert!(self.closed.is_some());
        let code = payload.first_chunk().map(|code| u16::from_be_bytes(*code));
        let reason = String::from_utf8(payload.get(2..).unwrap_or_default().to_vec());
        (frames, code, reason.unwrap())
    }
}

/// A whole frame of a client.
pub(super) fn client_frame(opcode: Opcode, payload: &[u8]) -> Vec<u8> {
    fragment(opcode, true, payload)
}

/// A frame of a client.
pub(super) fn fragment(opcode: Opcode, fin: bool, payload: &[u8]) -> Vec<u8> {
    let header = FrameHeader {
        is_compressed: false,
        fin,
        opcode,
        mask: [0x37, 0xfa, 0x21, 0x3d],
        payload_len: payload.len() as u64,
    };
    let mut bytes = Vec::new();
    frame::encode_client_frame(&header, payload, &mut bytes);
    bytes
}

/// Payload of a close frame.
pub(super) fn close_payload(code: u16, reason: &[u8]) -> Vec<u8> {
    [&code.to_be_bytes(), reason].concat()
}

/// What a close frame of that code is answered with.
pub(super) fn number(code: CloseCode) -> Option<u16> {
    Some(code.get())
}

/// A publish request.
pub(super) fn post(path: &str, fields: &str, body: &str) -> Vec<u8> {
    format!(
        "POST {path} HTTP/1.1\r\nHost: localhost\r\n{fields}Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

/// A request without a body.
pub(super) fn get(path: &str) -> Vec<u8> {
    request("GET", path, "")
}

/// A request without a body, with more fields.
pub(super) fn request(method: &str, path: &str, fields: &str) -> Vec<u8> {
    format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n").into_bytes()
}
