//! A publisher for the checker that meets servers which refuse, hang and vanish.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::checker::Ledger;
use crate::consumer::Consumer;
use crate::link::{Filled, Link};
use crate::{DEADLINE, Response};

/// How soon delivery goes on once Valkey can be reached.
const RECOVERY: Duration = Duration::from_secs(2);

/// One connection at a time to one of several servers. Each message is sent once, with a payload of its own; what
/// is not answered with 201 is written down as doubtful.
pub struct RoamingPublisher<'a> {
    ledger: &'a Ledger,
    /// The first is the one to connect to.
    addresses: VecDeque<SocketAddr>,
    link: Option<Link>,
    name: String,
    count: u64,
    /// By topic: the id of the newest message of this publisher.
    newest: HashMap<String, String>,
}

/// What became of a message.
#[derive(Debug)]
pub enum Fate {
    /// It is stored, with this id.
    Accepted(String),
    /// The server said no.
    Refused(Response),
    /// The server went, or was not there.
    Gone,
}

impl<'a> RoamingPublisher<'a> {
    /// A publisher that has not connected yet. The name makes its marks its own.
    pub fn new(ledger: &'a Ledger, addresses: &[SocketAddr], name: &str) -> Self {
        RoamingPublisher {
            ledger,
            addresses: addresses.iter().copied().collect(),
            link: None,
            name: name.to_owned(),
            count: 0,
            newest: HashMap::new(),
        }
    }

    /// Publishes one message, and tells what became of it. Behind a server that is gone the next one is tried.
    ///
    /// # Panics
    ///
    /// When no answer comes for the deadline, or an id is not behind those that this publisher got before.
    pub fn publish(&mut self, topic: &str) -> Fate {
        self.count += 1;
        let mark = format!("{}-{}", self.name, self.count);
        let response = self.send(&json!({"topic": topic, "payload": {"mark": mark}}));
        let Some(response) = response else {
            self.ledger.doubt(&mark);
            self.link = None;
            self.addresses.rotate_left(1);
            return Fate::Gone;
        };
        if response.header("connection") == Some("close") {
            self.link = None;
            self.addresses.rotate_left(1);
        }
        if response.status != 201 {
            self.ledger.doubt(&mark);
            return Fate::Refused(response);
        }
        let answer = response.json();
        let id = answer["message_id"].as_str();
        let id = id.unwrap_or_else(|| panic!("no id: {answer}")).to_owned();
        self.ledger.record(topic, &id, &mark);
        let before = self.newest.insert(topic.to_owned(), id.clone());
        assert!(before.as_ref() < Some(&id), "{id} came after {before:?}");
        Fate::Accepted(id)
    }

    /// Checks that something is stored and delivered soon: within two seconds, as DESIGN promises when what was
    /// away is back.
    ///
    /// # Panics
    ///
    /// When it takes longer.
    pub fn assert_goes_on(&mut self, live: &mut Consumer, ledger: &Ledger, topic: &str) {
        let began = Instant::now();
        self.publish_at_last(topic);
        live.read_all(ledger);
        assert!(began.elapsed() < RECOVERY, "{:?}", began.elapsed());
    }

    /// Publishes until a message is stored, and returns how many were not.
    ///
    /// # Panics
    ///
    /// When that takes longer than the deadline.
    pub fn publish_at_last(&mut self, topic: &str) -> usize {
        let end = Instant::now() + DEADLINE;
        let mut failures = 0;
        loop {
            let fate = self.publish(topic);
            if matches!(fate, Fate::Accepted(_)) {
                return failures;
            }
            assert!(Instant::now() < end, "nothing is accepted: {fate:?}");
            failures += 1;
            // Somebody may come back meanwhile; without a pause there would only be more refusals.
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Sends a message; `None` when the connection ends before the answer.
    fn send(&mut self, message: &Value) -> Option<Response> {
        let address = self.addresses[0];
        if self.link.is_none() {
            self.link = Link::try_open(address);
        }
        let link = self.link.as_mut()?;
        let body = message.to_string();
        link.send(format!(
            "POST /api/v1/messages HTTP/1.1\r\nHost: {address}\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        ));
        let end = Instant::now() + DEADLINE;
        loop {
            if let Some(response) = link.take_response() {
                return Some(response);
            }
            match link.fill(end) {
                Filled::Some => {}
                Filled::Nothing => assert!(Instant::now() < end, "no answer in time"),
                Filled::End => return None,
            }
        }
    }
}
