//! Clients of both forms of long poll, and what every answer of theirs must look like.

use std::net::SocketAddr;

use serde_json::{Value, json};

use crate::{Http, Response, assert_keys};

/// A client of `GET /api/v1/poll` that goes on where the last answer ended.
pub struct Poller {
    /// The connection, for what this client does not do.
    pub http: Http,
    topics: Vec<String>,
    /// Where the next poll goes on; none waits for what comes.
    pub since: Option<String>,
}

impl Poller {
    /// Connects; the first poll starts at `since`.
    pub fn open(address: SocketAddr, topics: &[&str], since: Option<&str>) -> Self {
        Poller {
            http: Http::open(address),
            topics: topics.iter().map(ToString::to_string).collect(),
            since: since.map(str::to_owned),
        }
    }

    /// Sends the next poll with these parameters in addition, such as `timeout=0`.
    pub fn send(&mut self, more: &str) {
        let path = path(&self.topics, self.since.as_deref(), more);
        let request = self.http.encode("GET", &path, &[], b"");
        self.http.send(request);
    }

    /// Reads the answer to what was sent.
    ///
    /// # Panics
    ///
    /// When it is not what a poll is answered.
    pub fn read(&mut self) -> Value {
        let response = self.http.read_response();
        let answer = check(&response, self.topics.len());
        self.since = answer["next_offset"].as_str().map(str::to_owned);
        answer
    }

    /// Polls and returns the answer.
    pub fn poll(&mut self, more: &str) -> Value {
        self.send(more);
        self.read()
    }
}

/// The target of a poll.
pub fn path(topics: &[impl AsRef<str>], since: Option<&str>, more: &str) -> String {
    format!("/api/v1/poll?{}", query(topics, since, more))
}

/// The query of a poll or stream.
pub fn query(topics: &[impl AsRef<str>], since: Option<&str>, more: &str) -> String {
    let topics: Vec<String> = topics.iter().map(|topic| escape(topic.as_ref())).collect();
    let mut query = format!("topics={}", topics.join(","));
    for part in [
        since.map(|since| format!("since={since}")),
        Some(more.to_owned()),
    ]
    .into_iter()
    .flatten()
    .filter(|part| !part.is_empty())
    {
        query += &format!("&{part}");
    }
    query
}

/// Checks an answer to `GET /api/v1/poll` for some topics: status, fields, order and offset.
///
/// # Panics
///
/// When anything is not as promised.
pub fn check(response: &Response, topics: usize) -> Value {
    assert_eq!(response.status, 200, "{response:?}");
    assert_eq!(response.header("content-type"), Some("application/json"));
    let answer = response.json();
    let mut keys = vec!["messages", "next_offset", "has_more"];
    if answer.get("gaps").is_some() {
        keys.push("gaps");
        let gaps = list(&answer["gaps"]);
        assert!(!gaps.is_empty(), "gaps stands there only with gaps");
    }
    if answer.get("timeout").is_some() {
        keys.push("timeout");
        assert_eq!(answer["timeout"], true, "{answer}");
        assert_eq!(answer["messages"], json!([]), "{answer}");
        assert_eq!(answer["has_more"], false, "{answer}");
    } else {
        let any = !list(&answer["messages"]).is_empty() || answer.get("gaps").is_some();
        assert!(any, "nothing is there, and it is no timeout: {answer}");
    }
    assert_keys(&answer, &keys);
    assert!(answer["has_more"].is_boolean(), "{answer}");
    let messages = list(&answer["messages"]);
    for message in messages {
        let keys = ["message_id", "topic", "payload", "timestamp", "metadata"];
        assert_keys(message, &keys);
    }
    let positions: Vec<&str> = messages.iter().map(position).collect();
    assert!(positions.is_sorted(), "not by position: {answer}");
    check_offset(&answer, topics);
    answer
}

fn check_offset(answer: &Value, topics: usize) {
    let offset = text(&answer["next_offset"]);
    let newest = list(&answer["messages"]).last();
    if topics > 1 {
        assert!(offset.starts_with("cur_"), "{answer}");
        assert!(offset.len() <= 2048, "{answer}");
    } else if let Some(newest) = newest {
        assert_eq!(newest["message_id"], offset, "{answer}");
    } else {
        assert!(offset.starts_with("msg_"), "{answer}");
    }
}

/// Checks an answer to `POST /messages/poll`: status, fields and stream ids.
///
/// # Panics
///
/// When anything is not as promised.
pub fn check_relay(response: &Response) -> Value {
    assert_eq!(response.status, 200, "{response:?}");
    assert_eq!(response.header("content-type"), Some("application/json"));
    let answer = response.json();
    assert_keys(&answer, &["messages", "has_more"]);
    assert!(answer["has_more"].is_boolean(), "{answer}");
    for message in list(&answer["messages"]) {
        let keys = [
            "topic",
            "message_id",
            "payload",
            "timestamp",
            "metadata",
            "stream_id",
        ];
        assert_keys(message, &keys);
        let (millis, counter) = text(&message["stream_id"])
            .split_once('-')
            .unwrap_or_else(|| panic!("no stream id: {message}"));
        let number = |text: &str| text.parse::<u64>().ok().map(|n| n.to_string());
        for part in [millis, counter] {
            assert_eq!(number(part).as_deref(), Some(part), "{message}");
        }
    }
    answer
}

/// The characters of a message's id that tell its position.
pub fn position(message: &Value) -> &str {
    &text(&message["message_id"])["msg_".len()..][..14]
}

/// A string.
pub fn text(value: &Value) -> &str {
    value
        .as_str()
        .unwrap_or_else(|| panic!("no string: {value}"))
}

/// A list.
pub fn list(value: &Value) -> &Vec<Value> {
    value
        .as_array()
        .unwrap_or_else(|| panic!("no list: {value}"))
}

/// The ids of some messages.
pub fn ids(messages: &Value) -> Vec<String> {
    let id = |message: &Value| text(&message["message_id"]).to_owned();
    list(messages).iter().map(id).collect()
}

/// Percent-encodes what is not unreserved.
fn escape(name: &str) -> String {
    let byte = |byte: u8| match byte {
        b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' | b'-' | b'_' => char::from(byte).to_string(),
        other => format!("%{other:02X}"),
    };
    name.bytes().map(byte).collect()
}
