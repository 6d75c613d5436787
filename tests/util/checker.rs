//! The checker: compares what was published with what each subscriber received.
//!
//! Publishers write down every message that the server accepted. Readers write down, for each
//! stretch of time that they were subscribed to a topic, where it began (the position in the
//! answer to the subscribe) and what came. Within a stretch every published message must have come
//! exactly once and in order, or lie in a gap that the server declared. Nothing else may come.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::SocketAddr;
use std::ops::Bound::{Excluded, Included};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::{Client, DEADLINE, Event, Http};

/// Everything that the server has accepted, from all publishers.
#[derive(Default)]
pub struct Ledger {
    /// By topic: message id to the mark in the payload.
    topics: Mutex<HashMap<String, BTreeMap<String, String>>>,
    /// Marks of messages of which nobody knows whether they were published.
    doubtful: Mutex<BTreeSet<String>>,
}

/// One connection that publishes and writes down what was accepted.
pub struct Publisher<'a> {
    ledger: &'a Ledger,
    http: Http,
    name: String,
    count: u64,
    /// By topic: the id of this publisher's newest message.
    newest: HashMap<String, String>,
    padding: String,
}

/// One connection that subscribes and writes down what comes.
pub struct Reader {
    client: Client,
    on_lag: &'static str,
    active: BTreeMap<String, Trace>,
    ended: Vec<Trace>,
}

/// What one subscriber saw of one topic between subscribe and unsubscribe.
#[derive(Debug, Clone)]
pub struct Trace {
    /// The topic.
    pub topic: String,
    /// Where the stretch begins, exclusive.
    pub after: String,
    /// Where it ends so far, inclusive.
    pub last: String,
    /// Message ids and marks, as they came.
    pub received: Vec<(String, String)>,
    /// Declared gaps, as they came.
    pub gaps: Vec<Gap>,
}

/// A range that the server said it cannot deliver.
#[derive(Debug, Clone)]
pub struct Gap {
    /// Beginning, exclusive.
    pub from: String,
    /// End, inclusive.
    pub to: String,
    /// Why.
    pub reason: String,
}

impl Ledger {
    /// Writes down a message that the server accepted.
    ///
    /// # Panics
    ///
    /// When its id was given before.
    pub fn record(&self, topic: &str, id: &str, mark: &str) {
        let mut topics = self.lock();
        let old = topics
            .entry(topic.to_owned())
            .or_default()
            .insert(id.to_owned(), mark.to_owned());
        assert_eq!(old, None, "{id} was given twice");
    }

    /// Writes down that a message was sent and not answered with 201: it may come, once.
    pub fn doubt(&self, mark: &str) {
        self.doubtful().insert(mark.to_owned());
    }

    /// The newest message of a topic.
    pub fn newest(&self, topic: &str) -> Option<String> {
        self.lock()
            .get(topic)?
            .last_key_value()
            .map(|(id, _)| id.clone())
    }

    /// Number of messages of a topic.
    pub fn count(&self, topic: &str) -> usize {
        self.lock().get(topic).map_or(0, BTreeMap::len)
    }

    /// Checks one stretch.
    ///
    /// # Panics
    ///
    /// When a message was lost without a gap, came twice, out of order, changed, or was invented.
    pub fn check(&self, trace: &Trace) {
        let topics = self.lock();
        let empty = BTreeMap::new();
        let published = topics.get(&trace.topic).unwrap_or(&empty);
        let mut marks = BTreeSet::new();
        for (id, mark) in &trace.received {
            assert!(marks.insert(mark), "{mark} came twice, now as {id}");
            let told = published.get(id);
            assert!(
                told == Some(mark) || told.is_none() && self.doubtful().contains(mark),
                "{id} is {told:?} and not {mark}"
            );
        }
        let received: BTreeMap<_, _> = trace.received.iter().map(|(id, mark)| (id, mark)).collect();
        let stretch = (Excluded(&trace.after), Included(&trace.last));
        let covered = |id: &String| {
            received.contains_key(id)
                || trace.gaps.iter().any(|gap| gap.from < *id && *id <= gap.to)
        };
        for gap in &trace.gaps {
            let range = (Excluded(&gap.from), Included(&gap.to));
            let some = published.range::<String, _>(range).next().is_some();
            assert!(some, "a gap in which nothing was lost: {gap:?}");
            let both = received.range::<&String, _>((Excluded(&&gap.from), Included(&&gap.to)));
            assert_eq!(
                both.count(),
                0,
                "what a gap declared lost had come: {gap:?}"
            );
        }
        let lost: Vec<_> = published
            .range::<String, _>(stretch)
            .filter(|(id, _)| !covered(id))
            .collect();
        assert!(
            lost.is_empty(),
            "{} of {} messages were lost in {} after {}, the first {:?}; gaps {:?}",
            lost.len(),
            published.range::<String, _>(stretch).count(),
            trace.topic,
            trace.after,
            lost[0],
            trace.gaps,
        );
    }

    fn doubtful(&self) -> MutexGuard<'_, BTreeSet<String>> {
        self.doubtful.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, BTreeMap<String, String>>> {
        self.topics.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<'a> Publisher<'a> {
    /// Connects. The name makes the marks of this publisher its own.
    pub fn connect(ledger: &'a Ledger, address: SocketAddr, name: &str) -> Self {
        Publisher {
            ledger,
            http: Http::open(address),
            name: name.to_owned(),
            count: 0,
            newest: HashMap::new(),
            padding: String::new(),
        }
    }

    /// Adds this many bytes to each message.
    pub fn padded(mut self, length: usize) -> Self {
        self.padding = "x".repeat(length);
        self
    }

    /// Publishes one message.
    pub fn publish(&mut self, topic: &str) {
        let (mark, message) = self.message(topic);
        let answer = self.http.publish(&message);
        self.accepted(topic, &mark, &answer);
    }

    /// Publishes one message to each of `topics`, in one request.
    pub fn publish_bulk(&mut self, topics: &[&str]) {
        let (marks, messages): (Vec<_>, Vec<_>) =
            topics.iter().map(|topic| self.message(topic)).unzip();
        let body = json!({"messages": messages}).to_string();
        let response = self.http.post("/api/v1/messages/bulk", body);
        assert_eq!(response.status, 207, "{response:?}");
        let answer = response.json();
        let results = answer["results"].as_array().expect("results is a list");
        assert_eq!(results.len(), topics.len());
        for ((topic, mark), result) in topics.iter().zip(&marks).zip(results) {
            assert_eq!(result["status"], "accepted", "{result}");
            self.accepted(topic, mark, result);
        }
    }

    fn message(&mut self, topic: &str) -> (String, Value) {
        self.count += 1;
        let mark = format!("{}-{}", self.name, self.count);
        let mut payload = json!({"mark": mark});
        if !self.padding.is_empty() {
            payload["padding"] = self.padding.as_str().into();
        }
        (mark, json!({"topic": topic, "payload": payload}))
    }

    fn accepted(&mut self, topic: &str, mark: &str, answer: &Value) {
        assert_eq!(answer["topic"], topic, "{answer}");
        let id = answer["message_id"]
            .as_str()
            .expect("message_id is a string")
            .to_owned();
        self.ledger.record(topic, &id, mark);
        let before = self.newest.insert(topic.to_owned(), id.clone());
        assert!(
            before.as_ref() < Some(&id),
            "{id} was published after {before:?}"
        );
    }
}

impl Reader {
    /// Connects; a subscription that lags is not expected and ends the connection.
    pub fn connect(address: SocketAddr) -> Self {
        Self::with_policy(address, "disconnect")
    }

    /// Connects; subscriptions that lag skip.
    pub fn skipping(address: SocketAddr) -> Self {
        Self::with_policy(address, "skip")
    }

    fn with_policy(address: SocketAddr, on_lag: &'static str) -> Self {
        let client = Client::connect(address);
        Reader {
            client,
            on_lag,
            active: BTreeMap::new(),
            ended: Vec::new(),
        }
    }

    /// Subscribes to one topic, reading on until the answer has come; returns the answer.
    pub fn subscribe(&mut self, topic: &str, offset: &str) -> Value {
        // A field beyond the seed's makes the server say at which position it begins.
        self.client.send(&json!({
            "type": "subscribe", "topics": [topic], "client_id": "reader",
            "offset": offset, "on_lag": self.on_lag,
        }));
        let reply = self.read_until_reply("subscribed");
        assert_eq!(reply["topics"], json!([topic]), "{reply}");
        let position = reply["positions"][topic].as_str();
        let position = position.unwrap_or_else(|| panic!("no position: {reply}"));
        // Whoever names a message wants all that follows it, delivered or declared lost.
        let names_a_message = offset.starts_with("msg_");
        let after = if names_a_message { offset } else { position }.to_owned();
        let trace = Trace::behind(topic, &after);
        let old = self.active.insert(topic.to_owned(), trace);
        assert!(old.is_none(), "the test subscribes once at a time");
        reply
    }

    /// Unsubscribes from one topic, reading on until the answer has come.
    pub fn unsubscribe(&mut self, topic: &str) {
        self.client
            .send(&json!({"type": "unsubscribe", "topics": [topic]}));
        let reply = self.read_until_reply("unsubscribed");
        assert_eq!(reply["topics"], json!([topic]), "{reply}");
        self.ended.extend(self.active.remove(topic));
    }

    /// Reads what has come and what comes within `timeout`, at most `limit` messages; returns how
    /// many.
    ///
    /// # Panics
    ///
    /// When the connection ends.
    pub fn read(&mut self, limit: usize, timeout: Duration) -> usize {
        for count in 0..limit {
            match self.client.next(timeout) {
                Event::Text(text) => self.take(&text),
                Event::Nothing => return count,
                other => panic!("a healthy subscriber was cut off: {other:?}"),
            }
        }
        limit
    }

    /// Reads until everything that `ledger` now holds of the subscribed topics has come.
    ///
    /// # Panics
    ///
    /// When that takes longer than the deadline, which begins anew with each message.
    pub fn read_all(&mut self, ledger: &Ledger) {
        let ends: Vec<_> = self
            .active
            .keys()
            .filter_map(|topic| Some((topic.clone(), ledger.newest(topic)?)))
            .collect();
        for (topic, end) in ends {
            while self.active[&topic].last < end {
                let last = &self.active[&topic].last;
                let progress = format!("{topic} up to {end}, has {last}");
                assert_eq!(
                    self.read(1, DEADLINE),
                    1,
                    "nothing comes any more: {progress}"
                );
            }
        }
    }

    /// The newest position of a topic that this reader has seen.
    pub fn last(&self, topic: &str) -> &str {
        &self.active[topic].last
    }

    /// What has come of a topic since it was subscribed.
    pub fn trace(&self, topic: &str) -> &Trace {
        &self.active[topic]
    }

    /// The connection, for what the checker does not do.
    pub fn client(&mut self) -> &mut Client {
        &mut self.client
    }

    /// Closes properly and returns all that was written down.
    pub fn leave(self) -> Vec<Trace> {
        self.client.close();
        self.ended
            .into_iter()
            .chain(self.active.into_values())
            .collect()
    }

    /// Breaks the connection off and returns all that was written down.
    pub fn vanish(self) -> Vec<Trace> {
        self.client.vanish();
        self.ended
            .into_iter()
            .chain(self.active.into_values())
            .collect()
    }

    fn read_until_reply(&mut self, kind: &str) -> Value {
        let end = Instant::now() + DEADLINE;
        loop {
            assert!(Instant::now() < end, "no {kind} within the deadline");
            let text = self.client.read_text();
            if !is_message(&text) {
                let reply: Value = serde_json::from_str(&text).expect("the server sends JSON");
                if reply["type"] == kind {
                    return reply;
                }
            }
            self.take(&text);
        }
    }

    fn take(&mut self, text: &str) {
        if is_message(text) {
            let [topic, id, mark] = ["topic", "message_id", "mark"].map(|name| field(text, name));
            self.trace_of(topic, text).push(id, mark);
            return;
        }
        let event: Value = serde_json::from_str(text).expect("the server sends JSON");
        assert_eq!(event["type"], "gap", "{event}");
        let [topic, from, to, reason] = ["topic", "from", "to", "reason"].map(|name| {
            event[name]
                .as_str()
                .unwrap_or_else(|| panic!("no {name}: {event}"))
        });
        self.trace_of(topic, text).push_gap(from, to, reason);
    }

    fn trace_of(&mut self, topic: &str, text: &str) -> &mut Trace {
        self.active
            .get_mut(topic)
            .unwrap_or_else(|| panic!("not subscribed: {text}"))
    }
}

impl Trace {
    /// A stretch that begins behind `after`.
    pub(crate) fn behind(topic: &str, after: &str) -> Self {
        Trace {
            topic: topic.to_owned(),
            after: after.to_owned(),
            last: after.to_owned(),
            received: Vec::new(),
            gaps: Vec::new(),
        }
    }

    /// Writes a message down, which must be behind all that came before.
    pub(crate) fn push(&mut self, id: &str, mark: &str) {
        assert!(
            *id > *self.last,
            "{id} came after {} in {}",
            self.last,
            self.topic
        );
        self.last = id.to_owned();
        self.received.push((id.to_owned(), mark.to_owned()));
    }

    /// Writes a gap down, which must be behind all that came before.
    pub(crate) fn push_gap(&mut self, from: &str, to: &str, reason: &str) {
        assert!(
            from < to && *to > *self.last,
            "gap {from}..{to} came after {}",
            self.last
        );
        self.last = to.to_owned();
        let [from, to, reason] = [from, to, reason].map(str::to_owned);
        self.gaps.push(Gap { from, to, reason });
    }
}

pub(crate) fn is_message(text: &str) -> bool {
    text.starts_with(r#"{"type":"message""#)
}

/// The value of a string field, found without parsing: millions of these are looked at.
pub(crate) fn field<'t>(text: &'t str, name: &str) -> &'t str {
    let key = format!("\"{name}\":\"");
    let start = text
        .find(&key)
        .unwrap_or_else(|| panic!("no {name}: {text}"))
        + key.len();
    let length = text[start..].find('"').expect("the string ends");
    &text[start..start + length]
}
