//! Clients that are owed each message until they acknowledge it, over WebSocket and in lines of JSON.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::{Client, DEADLINE, Event, Http, Server};

/// A message as it was delivered to a client that acknowledges.
#[derive(Debug, Clone, PartialEq)]
pub struct Delivery {
    /// Where it was published.
    pub topic: String,
    /// Its id.
    pub id: String,
    /// Which of its deliveries this is, from 1.
    pub attempt: u64,
    /// What was published.
    pub payload: Value,
    /// With what metadata; null for none.
    pub metadata: Value,
}

/// One WebSocket that is owed messages.
pub struct Owed {
    client: Client,
    subscribed: Value,
    /// Messages that came while an answer was waited for.
    early: VecDeque<Value>,
}

/// One stream of lines of JSON. It speaks HTTP/1.0, so that its end is the connection's.
pub struct Lines {
    stream: TcpStream,
    /// What has been received and not been read.
    buffer: Vec<u8>,
}

/// How a connection goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Death {
    /// The peer sees a reset.
    Reset,
    /// The peer sees the end of what is sent, without a close frame.
    Finish,
    /// As the protocol has it, with a close frame.
    Close,
}

impl Death {
    /// Every way to go.
    pub const ALL: [Death; 3] = [Death::Reset, Death::Finish, Death::Close];
}

impl Delivery {
    /// Reads what a WebSocket, a poll or a stream delivers.
    ///
    /// # Panics
    ///
    /// When it is no delivery with an attempt.
    pub fn of(message: &Value) -> Delivery {
        let text = |name: &str| {
            let text = message[name].as_str();
            text.unwrap_or_else(|| panic!("no {name}: {message}"))
                .to_owned()
        };
        let attempt = message["delivery_attempt"].as_u64();
        Delivery {
            topic: text("topic"),
            id: text("message_id"),
            attempt: attempt.unwrap_or_else(|| panic!("no delivery_attempt: {message}")),
            payload: message["payload"].clone(),
            metadata: message["metadata"].clone(),
        }
    }

    /// The number that [`publish_numbers`] put into it, and the attempt.
    pub fn numbered(&self) -> (u64, u64) {
        let number = self.payload["n"].as_u64();
        (number.expect("the payload has a number"), self.attempt)
    }
}

impl Owed {
    /// Connects and subscribes at least once to one topic, from now on and with an `ack_timeout`
    /// of an hour unless `fields` say otherwise.
    ///
    /// # Panics
    ///
    /// When the answer is not `subscribed`.
    pub fn connect(address: SocketAddr, client_id: &str, topic: &str, fields: &Value) -> Owed {
        let client = Client::connect(address);
        let mut owed = Owed {
            client,
            subscribed: Value::Null,
            early: VecDeque::new(),
        };
        owed.subscribed = owed.subscribe(client_id, topic, fields);
        owed
    }

    /// Subscribes to one more topic, and returns the answer.
    ///
    /// # Panics
    ///
    /// When the answer is not `subscribed`.
    pub fn subscribe(&mut self, client_id: &str, topic: &str, fields: &Value) -> Value {
        self.client.send(&subscribe(client_id, topic, fields));
        self.answer("subscribed")
    }

    /// Unsubscribes from one topic.
    ///
    /// # Panics
    ///
    /// When the answer is not `unsubscribed`.
    pub fn unsubscribe(&mut self, topic: &str) {
        self.client
            .send(&json!({"type": "unsubscribe", "topics": [topic]}));
        self.answer("unsubscribed");
    }

    /// The answer to the first subscribe.
    pub fn subscribed(&self) -> &Value {
        &self.subscribed
    }

    /// The next thing that is no answer: a message or a gap.
    ///
    /// # Panics
    ///
    /// When nothing comes, or the connection ends.
    pub fn next_event(&mut self) -> Value {
        let early = self.early.pop_front();
        early.unwrap_or_else(|| self.client.read_json())
    }

    /// The next message.
    ///
    /// # Panics
    ///
    /// When something else comes, or nothing.
    pub fn next_message(&mut self) -> Delivery {
        let event = self.next_event();
        assert_eq!(event["type"], "message", "{event}");
        Delivery::of(&event)
    }

    /// The next message, if one comes in this time.
    ///
    /// # Panics
    ///
    /// When something else comes.
    pub fn message_within(&mut self, timeout: Duration) -> Option<Delivery> {
        if !self.early.is_empty() {
            return Some(self.next_message());
        }
        match self.client.next(timeout) {
            Event::Text(text) => {
                let event: Value = serde_json::from_str(&text).expect("the server sends JSON");
                assert_eq!(event["type"], "message", "{event}");
                Some(Delivery::of(&event))
            }
            Event::Nothing => None,
            other => panic!("the connection ended: {other:?}"),
        }
    }

    /// The messages that came before the answers that were waited for.
    pub fn early(&mut self) -> Vec<Delivery> {
        self.early.drain(..).map(|it| Delivery::of(&it)).collect()
    }

    /// Number and attempt of the next messages, as they come.
    pub fn take(&mut self, count: usize) -> Vec<(u64, u64)> {
        (0..count).map(|_| self.next_message().numbered()).collect()
    }

    /// Checks that no message is waiting: an answer to something sent now is the next to come.
    ///
    /// # Panics
    ///
    /// When something else came.
    pub fn assert_quiet(&mut self) {
        assert!(self.early.is_empty(), "{:?}", self.early);
        self.client.assert_quiet();
    }

    /// Acknowledges one message, which is not answered.
    pub fn ack(&mut self, id: &str) {
        self.client.send(&json!({"type": "ack", "message_id": id}));
    }

    /// Sends an `ack` with these fields and returns what was acknowledged and what not.
    ///
    /// # Panics
    ///
    /// When the answer is not `acked`.
    pub fn confirm(&mut self, fields: &Value) -> (u64, Vec<(String, String)>) {
        let mut message = fields.clone();
        message["type"] = "ack".into();
        message["confirm"] = true.into();
        self.client.send(&message);
        let answer = self.answer("acked");
        crate::assert_keys(&answer, &["type", "acknowledged", "failed"]);
        outcome(&answer)
    }

    /// Acknowledges messages, each of which must be pending.
    ///
    /// # Panics
    ///
    /// When one is not.
    pub fn settle(&mut self, ids: &[&str]) {
        let acked = self.confirm(&json!({"message_ids": ids}));
        assert_eq!(acked, (ids.len() as u64, Vec::new()));
    }

    /// Gives one message back.
    pub fn nack(&mut self, id: &str, delay: f64) {
        self.client
            .send(&json!({"type": "nack", "message_id": id, "delay": delay}));
    }

    /// Ends the connection. What is returned keeps the socket as it is now.
    pub fn die(self, death: Death) -> Option<Client> {
        match death {
            Death::Reset => self.client.vanish(),
            Death::Close => self.client.close(),
            Death::Finish => {
                // Kept open to be read from: what the server sees is an end, and no reset.
                let ended = self.client.stream().shutdown(Shutdown::Write);
                ended.expect("the connection is open");
                return Some(self.client);
            }
        }
        None
    }

    /// The connection, for what this client does not do.
    pub fn client(&mut self) -> &mut Client {
        &mut self.client
    }

    /// Reads up to the answer of this type; messages that come before it are kept.
    fn answer(&mut self, kind: &str) -> Value {
        loop {
            let event = self.client.read_json();
            if event["type"] == kind {
                return event;
            }
            assert!(
                matches!(event["type"].as_str(), Some("message" | "gap")),
                "not {kind} but {event}"
            );
            self.early.push_back(event);
        }
    }
}

impl Lines {
    /// Opens a stream with this query.
    ///
    /// # Panics
    ///
    /// When the answer is not 200.
    pub fn open(address: SocketAddr, query: &str) -> Lines {
        let stream = TcpStream::connect_timeout(&address, DEADLINE).expect("the server accepts");
        let mut lines = Lines {
            stream,
            buffer: Vec::new(),
        };
        let head = format!(
            "GET /api/v1/stream?{query} HTTP/1.0\r\nHost: {address}\r\n\
             Accept: application/x-ndjson\r\n\r\n"
        );
        lines
            .stream
            .write_all(head.as_bytes())
            .expect("the server reads");
        let status = lines.line(DEADLINE).expect("an answer in time");
        assert!(status.contains(" 200 "), "{status}");
        while !lines.line(DEADLINE).expect("a head in time").is_empty() {}
        lines
    }

    /// The next message, if one comes in this time.
    ///
    /// # Panics
    ///
    /// When something else comes, or the stream ends.
    pub fn message_within(&mut self, timeout: Duration) -> Option<Delivery> {
        let end = Instant::now() + timeout;
        loop {
            let line = self.line(end.saturating_duration_since(Instant::now()))?;
            if line.trim().is_empty() {
                continue;
            }
            let event: Value = serde_json::from_str(&line).expect("a line is JSON");
            match event["type"].as_str() {
                Some("subscribed" | "heartbeat") => {}
                // A line is what a WebSocket would have got, with or without its type.
                None | Some("message") => return Some(Delivery::of(&event)),
                Some(_) => panic!("no message: {event}"),
            }
        }
    }

    /// The next message.
    ///
    /// # Panics
    ///
    /// When something else comes, or nothing.
    pub fn next_message(&mut self) -> Delivery {
        self.message_within(DEADLINE)
            .expect("a message within the deadline")
    }

    /// Reads up to the end of the stream.
    ///
    /// # Panics
    ///
    /// When it goes on.
    pub fn expect_end(&mut self) {
        let end = Instant::now() + DEADLINE;
        while self.fill(end.saturating_duration_since(Instant::now())) != Filled::End {
            assert!(Instant::now() < end, "the stream goes on");
        }
    }

    /// Ends the connection. What is returned keeps the socket as it is now.
    pub fn die(self, death: Death) -> Option<TcpStream> {
        if death == Death::Reset {
            let socket = socket2::SockRef::from(&self.stream);
            socket
                .set_linger(Some(Duration::ZERO))
                .expect("a TCP socket has this option");
            return None;
        }
        self.stream
            .shutdown(Shutdown::Write)
            .expect("the connection is open");
        Some(self.stream)
    }

    /// The next line without its end; `None` when it has not come in time.
    fn line(&mut self, timeout: Duration) -> Option<String> {
        let end = Instant::now() + timeout;
        loop {
            if let Some(length) = self.buffer.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.buffer.drain(..=length).collect();
                let line = String::from_utf8(line).expect("a line is text");
                return Some(line.trim_end_matches(['\r', '\n']).to_owned());
            }
            match self.fill(end.saturating_duration_since(Instant::now())) {
                Filled::Some => {}
                Filled::Nothing if Instant::now() >= end => return None,
                Filled::Nothing => {}
                Filled::End => panic!("the stream ended"),
            }
        }
    }

    fn fill(&mut self, timeout: Duration) -> Filled {
        let timeout = timeout.max(Duration::from_millis(1));
        self.stream
            .set_read_timeout(Some(timeout))
            .expect("the timeout is not zero");
        let mut chunk = [0; 16 * 1024];
        match self.stream.read(&mut chunk) {
            Ok(0) => Filled::End,
            Ok(count) => {
                self.buffer.extend_from_slice(&chunk[..count]);
                Filled::Some
            }
            Err(error) => match error.kind() {
                ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted => {
                    Filled::Nothing
                }
                _ => Filled::End,
            },
        }
    }
}

#[derive(PartialEq, Eq)]
enum Filled {
    Some,
    Nothing,
    End,
}

/// The message that [`Owed::connect`] subscribes with.
pub fn subscribe(client_id: &str, topic: &str, fields: &Value) -> Value {
    let mut message = json!({
        "type": "subscribe", "topics": [topic], "client_id": client_id,
        "delivery_mode": "at_least_once", "ack_timeout": 3600,
    });
    for (name, value) in fields.as_object().expect("fields are an object") {
        message[name] = value.clone();
    }
    message
}

/// Acknowledges over HTTP, and returns what was acknowledged and what not.
///
/// # Panics
///
/// When the answer is not 200.
pub fn post_ack(address: SocketAddr, fields: &Value) -> (u64, Vec<(String, String)>) {
    let response = Http::open(address).post("/api/v1/ack", fields.to_string());
    assert_eq!(response.status, 200, "{response:?}");
    let answer = response.json();
    crate::assert_keys(&answer, &["acknowledged", "failed"]);
    outcome(&answer)
}

/// Publishes `{"n": number}` for each number in one request, and returns the ids.
///
/// # Panics
///
/// When one is not accepted.
pub fn publish_numbers(
    server: &Server,
    topic: &str,
    numbers: impl IntoIterator<Item = u64>,
) -> Vec<String> {
    let message = |number: u64| json!({"topic": topic, "payload": {"n": number}});
    let messages: Vec<Value> = numbers.into_iter().map(message).collect();
    let mut ids = Vec::new();
    for bulk in messages.chunks(100) {
        let body = json!({"messages": bulk}).to_string();
        let response = server.post("/api/v1/messages/bulk", body);
        assert_eq!(response.status, 207, "{response:?}");
        let answer = response.json();
        let results = answer["results"].as_array().expect("results is a list");
        ids.extend(results.iter().map(|result| {
            let id = result["message_id"].as_str();
            id.unwrap_or_else(|| panic!("{result}")).to_owned()
        }));
    }
    ids
}

/// Each of these numbers with attempt 1.
pub fn first_attempts(numbers: impl IntoIterator<Item = u64>) -> Vec<(u64, u64)> {
    numbers.into_iter().map(|number| (number, 1)).collect()
}

fn outcome(answer: &Value) -> (u64, Vec<(String, String)>) {
    let failed = answer["failed"].as_array();
    let failed = failed.unwrap_or_else(|| panic!("no list: {answer}")).iter();
    let failed = failed.map(|failure| {
        crate::assert_keys(failure, &["message_id", "error"]);
        let text = |name: &str| failure[name].as_str().map(str::to_owned);
        text("message_id")
            .zip(text("error"))
            .unwrap_or_else(|| panic!("{answer}"))
    });
    let acknowledged = answer["acknowledged"].as_u64();
    (
        acknowledged.unwrap_or_else(|| panic!("no number: {answer}")),
        failed.collect(),
    )
}
