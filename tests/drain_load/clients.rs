//! Clients of a server that stops under them.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::sync::{Mutex, PoisonError};

use serde_json::{Value, json};
use test_util::poll;
use tungstenite::{Message, WebSocket};

use super::place::{Duplex, Place, answer, request, rest, unchunked};

/// Topics of all messages.
pub(crate) const TOPICS: [&str; 2] = ["t", "u"];

/// What publishers were told.
#[derive(Default)]
pub(crate) struct Book {
    accepted: Mutex<BTreeMap<&'static str, BTreeMap<String, String>>>,
    /// Sent, and not answered with yes: they may come.
    doubtful: Mutex<BTreeSet<String>>,
}

/// What one consumer was given, by topic: ids and marks in order.
#[derive(Default, Debug)]
pub(crate) struct Heard {
    messages: BTreeMap<String, Vec<(String, String)>>,
    /// It was told to go, in this many milliseconds to come back.
    pub(crate) told: Option<u64>,
}

impl Book {
    pub(crate) fn accepted(&self) -> usize {
        let accepted = self.accepted.lock().unwrap_or_else(PoisonError::into_inner);
        accepted.values().map(BTreeMap::len).sum()
    }

    fn accept(&self, topic: &'static str, told: &Value, mark: &str) {
        let id = told["message_id"].as_str().expect("an id").to_owned();
        let mut accepted = self.accepted.lock().unwrap_or_else(PoisonError::into_inner);
        let topic = accepted.entry(topic).or_default();
        assert_eq!(topic.insert(id, mark.to_owned()), None);
    }

    fn doubt(&self, marks: &[String]) {
        let mut doubtful = self.doubtful.lock().unwrap_or_else(PoisonError::into_inner);
        doubtful.extend(marks.iter().cloned());
    }

    /// Each message came once, in order, as it was published. None is missing that was accepted: of those that the
    /// consumer's last one is behind, and of all if it was told to go.
    pub(crate) fn check(&self, heard: &Heard, topics: &[&str]) {
        let accepted = self.accepted.lock().unwrap_or_else(PoisonError::into_inner);
        let doubtful = self.doubtful.lock().unwrap_or_else(PoisonError::into_inner);
        for topic in topics {
            let nothing = Vec::new();
            let messages = heard.messages.get(*topic).unwrap_or(&nothing);
            let in_order = messages.is_sorted_by(|(one, _), (other, _)| one < other);
            assert!(in_order, "{messages:?}");
            let published = &accepted[topic];
            for (id, mark) in messages {
                let told = published.get(id);
                let is_right = told == Some(mark) || told.is_none() && doubtful.contains(mark);
                assert!(is_right, "{id} is {mark}, and not {told:?}");
            }
            let ids: BTreeSet<&String> = messages.iter().map(|(id, _)| id).collect();
            let last = messages.last().map(|(id, _)| id);
            let owed = |id: &&String| heard.told.is_some() || Some(*id) <= last;
            let lost: Vec<&String> = published
                .keys()
                .filter(owed)
                .filter(|id| !ids.contains(id))
                .collect();
            let (count, all) = (lost.len(), published.len());
            assert!(
                lost.is_empty(),
                "{count} of {all} are lost, the first {}",
                lost[0]
            );
        }
    }
}

impl Heard {
    fn take(&mut self, message: &Value) {
        let [topic, id] = ["topic", "message_id"].map(|name| message[name].as_str().expect(name));
        let mark = message["payload"]["mark"].as_str().expect("a mark");
        let messages = self.messages.entry(topic.to_owned()).or_default();
        messages.push((id.to_owned(), mark.to_owned()));
    }

    fn take_close(&mut self, code: u64, reason: &str) {
        assert_eq!(code, 1001);
        let reason: Value = serde_json::from_str(reason).expect("the reason is JSON");
        self.told = reason["reconnect_after_ms"].as_u64();
        assert!(self.told.is_some(), "{reason}");
    }
}

/// Publishes for as long as somebody listens, one message or three at once. Returns how often it was refused.
pub(crate) fn publish(place: &Place, book: &Book, name: &str) -> usize {
    let (mut count, mut refused) = (0, 0);
    while let Some(mut stream) = place.connect() {
        loop {
            count += 1;
            let topic = TOPICS[count % TOPICS.len()];
            let copies = if count % 5 == 0 { 3 } else { 1 };
            let marks: Vec<String> = (0..copies).map(|n| format!("{name}-{count}-{n}")).collect();
            let message = |mark: &String| json!({"topic": topic, "payload": {"mark": mark}});
            let messages: Vec<Value> = marks.iter().map(message).collect();
            let bytes = match &messages[..] {
                [one] => request("POST", "/api/v1/messages", &one.to_string()),
                all => {
                    let body = json!({"messages": all}).to_string();
                    request("POST", "/api/v1/messages/bulk", &body)
                }
            };
            let is_sent = stream
                .write_all(&bytes)
                .and_then(|()| stream.flush())
                .is_ok();
            let Some(answer) = is_sent.then(|| answer(&mut *stream)).flatten() else {
                book.doubt(&marks);
                break;
            };
            match answer.status {
                201 => book.accept(topic, &answer.json(), &marks[0]),
                207 => {
                    for (told, mark) in poll::list(&answer.json()["results"]).iter().zip(&marks) {
                        if told["status"] == "accepted" {
                            book.accept(topic, told, mark);
                        } else {
                            refused += 1;
                        }
                    }
                }
                503 => {
                    assert!(answer.has("retry-after: "), "{answer:?}");
                    refused += 1;
                }
                status => panic!("{status}: {answer:?}"),
            }
            if answer.has("connection: close") {
                assert_eq!(rest(&mut *stream), b"", "nothing follows");
                break;
            }
        }
    }
    refused
}

/// A WebSocket that is subscribed.
pub(crate) fn websocket(place: &Place, topics: &[&str]) -> WebSocket<Box<dyn Duplex>> {
    let stream = place.connect().expect("it listens");
    let (mut socket, _) = tungstenite::client("ws://localhost/ws", stream).expect("it upgrades");
    let subscribe = json!({"type": "subscribe", "topics": topics, "client_id": "c"});
    socket
        .send(Message::text(subscribe.to_string()))
        .expect("it reads");
    let told = socket
        .read()
        .expect("it answers")
        .into_text()
        .expect("text");
    assert!(told.contains("\"subscribed\""), "{told}");
    socket
}

/// Reads to the end, which must be an orderly one.
pub(crate) fn read_websocket(mut socket: WebSocket<Box<dyn Duplex>>) -> Heard {
    let mut heard = Heard::default();
    loop {
        match socket.read() {
            Ok(Message::Text(text)) => {
                assert_eq!(heard.told, None, "nothing follows a close");
                heard.take(&serde_json::from_str(&text).expect("JSON"));
            }
            Ok(Message::Close(Some(frame))) => {
                heard.take_close(u16::from(frame.code).into(), &frame.reason);
            }
            Ok(Message::Ping(_)) => {}
            Ok(other) => panic!("{other:?}"),
            Err(tungstenite::Error::ConnectionClosed) => return heard,
            Err(error) => panic!("{error} after {:?}", heard.told),
        }
    }
}

/// An event stream that has begun.
pub(crate) fn stream(place: &Place, topics: &[&str]) -> Box<dyn Duplex> {
    let mut stream = place.connect().expect("it listens");
    let path = format!("/api/v1/stream?topics={}", topics.join(","));
    stream
        .write_all(&request("GET", &path, ""))
        .expect("it reads");
    stream.flush().expect("it reads");
    let mut head = Vec::new();
    // Up to the end of the first chunk, behind which it is subscribed.
    while !head.ends_with(b"}\n\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).expect("it answers");
        head.push(byte[0]);
    }
    assert!(
        head.starts_with(b"HTTP/1.1 200"),
        "{:?}",
        String::from_utf8_lossy(&head)
    );
    stream
}

/// Reads to the end, which must be an orderly one.
pub(crate) fn read_stream(mut stream: Box<dyn Duplex>) -> Heard {
    let mut heard = Heard::default();
    let text = unchunked(&rest(&mut *stream));
    for event in text
        .split_terminator("\n\n")
        .filter(|it| !it.starts_with(':'))
    {
        let field = |name: &str| event.lines().find_map(|line| line.strip_prefix(name));
        let data: Value = serde_json::from_str(field("data: ").expect("data")).expect("JSON");
        if field("event: ") == Some("close") {
            let reason = data["reason"].as_str().expect("a reason");
            heard.take_close(data["code"].as_u64().expect("a code"), reason);
            let retry = field("retry: ").and_then(|it| it.parse().ok());
            assert_eq!(retry, heard.told, "a browser is told the same");
        } else {
            assert_eq!(heard.told, None, "nothing follows a close");
            heard.take(&data);
        }
    }
    heard
}

/// Polls, each time from where the last answer ended, for as long as somebody listens.
pub(crate) fn read_polls(place: &Place, topics: &[&str]) -> Heard {
    let mut heard = Heard::default();
    let mut since: Option<String> = None;
    while let Some(mut stream) = place.connect() {
        loop {
            let path = poll::path(topics, since.as_deref(), "timeout=60&limit=100");
            let sent = stream
                .write_all(&request("GET", &path, ""))
                .and_then(|()| stream.flush());
            let Some(answer) = sent.is_ok().then(|| answer(&mut *stream)).flatten() else {
                break;
            };
            if answer.status == 503 {
                break;
            }
            let page = poll_page(&answer);
            poll::list(&page["messages"])
                .iter()
                .for_each(|it| heard.take(it));
            since = page["next_offset"].as_str().map(str::to_owned);
            if answer.has("connection: close") {
                break;
            }
        }
    }
    heard
}

fn poll_page(answer: &super::place::Answer) -> Value {
    assert_eq!(answer.status, 200, "{answer:?}");
    let page = answer.json();
    assert!(page["gaps"].is_null(), "{page}");
    page
}
