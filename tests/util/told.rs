//! What clients are told when they come back to a place, on every transport.

use serde_json::Value;

use crate::poll::{check, list, text};
use crate::{Client, Server, Stream};

/// What a client was told when it came back: `recovered` where its transport says it, and the gaps
/// and messages that came next.
#[derive(Debug)]
pub struct Told {
    /// Of each topic, where the transport says it.
    pub recovered: Option<Value>,
    /// As they came, without their type.
    pub gaps: Vec<Value>,
    /// The ids of what came.
    pub messages: Vec<String>,
}

/// Comes back on every transport and reads until so many messages have come.
///
/// # Panics
///
/// When less comes, or anything else.
pub fn everywhere(server: &Server, topics: &[&str], offset: &str, messages: usize) -> Vec<Told> {
    let stream = |lines| over_stream(server, topics, offset, messages, lines);
    vec![
        over_websocket(server, topics, offset, messages),
        over_poll(server, topics, offset, messages),
        stream(false),
        stream(true),
    ]
}

fn over_websocket(server: &Server, topics: &[&str], offset: &str, messages: usize) -> Told {
    let (mut client, reply) = Client::subscribed_from(server.addr(), topics, offset);
    let mut told = Told::new(Some(&reply));
    while told.is_short_of(messages, topics.len()) {
        told.take(client.read_json());
    }
    client.assert_quiet();
    told
}

fn over_poll(server: &Server, topics: &[&str], offset: &str, messages: usize) -> Told {
    let path = crate::poll::path(topics, Some(offset), "timeout=5&limit=100");
    let answer = check(&server.get(&path), topics.len());
    let mut told = Told::new(None);
    if let Some(gaps) = answer.get("gaps") {
        list(gaps)
            .iter()
            .cloned()
            .for_each(|gap| told.take_gap(gap));
    }
    list(&answer["messages"])
        .iter()
        .cloned()
        .for_each(|message| told.take(message));
    assert_eq!(told.messages.len(), messages, "all at once: {answer}");
    assert_eq!(answer["has_more"], false);
    told
}

fn over_stream(
    server: &Server,
    topics: &[&str],
    offset: &str,
    messages: usize,
    lines: bool,
) -> Told {
    let query = crate::poll::query(topics, Some(offset), "");
    let path = format!("/api/v1/stream?{query}");
    let mut stream = if lines {
        Stream::open_lines(server.addr(), &path)
    } else {
        Stream::open(server.addr(), &path)
    };
    let mut next = || {
        if lines {
            return stream.next_line();
        }
        let event = stream.next_event();
        serde_json::from_str(&event.data).expect("the server sends JSON")
    };
    let first = next();
    assert_eq!(first["type"], "subscribed", "{first}");
    let mut told = Told::new(Some(&first));
    while told.is_short_of(messages, topics.len()) {
        told.take(next());
    }
    told
}

impl Told {
    fn new(subscribed: Option<&Value>) -> Told {
        if let Some(subscribed) = subscribed {
            assert!(subscribed["positions"].is_object(), "{subscribed}");
            assert!(subscribed["recovered"].is_object(), "{subscribed}");
        }
        Told {
            recovered: subscribed.map(|subscribed| subscribed["recovered"].clone()),
            gaps: Vec::new(),
            messages: Vec::new(),
        }
    }

    /// Whether more is due: the messages, and a gap for each topic that was not recovered.
    fn is_short_of(&self, messages: usize, topics: usize) -> bool {
        let lost = self.recovered.iter().filter_map(Value::as_object).flatten();
        let gaps = lost.filter(|(_, recovered)| **recovered == false).count();
        assert!(gaps <= topics);
        self.messages.len() < messages || self.gaps.len() < gaps
    }

    fn take(&mut self, object: Value) {
        if object["type"] == "gap" {
            self.take_gap(object);
        } else {
            self.messages.push(text(&object["message_id"]).to_owned());
        }
    }

    fn take_gap(&mut self, mut gap: Value) {
        if let Some(fields) = gap.as_object_mut() {
            fields.remove("type");
        }
        self.gaps.push(gap);
    }
}

/// Checks that all that is told to be lost is everything behind `from`, because of another epoch.
///
/// # Panics
///
/// When it is not.
pub fn assert_epoch_changed(gaps: &[Value], topic: &str, from: &str) {
    assert_eq!(gaps.len(), 1, "{gaps:?}");
    assert_eq!(gaps[0]["topic"], topic);
    assert_eq!(gaps[0]["from"], from);
    assert_eq!(gaps[0]["reason"], "epoch_changed");
    assert!(text(&gaps[0]["to"]).starts_with("msg_"), "{gaps:?}");
}
