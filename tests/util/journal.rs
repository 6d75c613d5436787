//! The checker of at-least-once delivery: what one consumer saw and did, and whether that can be explained.
//!
//! A consumer is a client or a group, on any number of connections, one after the other or at a time. It writes
//! down each delivery, acknowledgement, nack and lost connection as they happen; at the end they are put in
//! order by message and attempt:
//!
//! ```text
//! attempt 1 ── nack ──► attempt 2 ── connection lost ──► attempt 3 ── timeout ──► attempt 4 ── acked
//! ```

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::owed::Delivery;

/// How much earlier than after the timeout a redelivery may seem to come: time runs from when a message was handed
/// out, and on a machine that is busy it is written later, with Valkey between the two.
const CLAIM_SLACK: Duration = Duration::from_millis(200);
/// How long a message that was handed out before an acknowledgement on another connection may take to be
/// written, on a machine that is busy. Shorter than any `ack_timeout`.
const WRITE_SLACK: Duration = Duration::from_millis(600);

/// A connection, or one request of a poll, as the journal calls it.
pub type Connection = u64;

/// What one consumer saw and did.
pub struct Journal {
    /// Whom it is about, for messages.
    pub name: String,
    ack_timeout: Duration,
    /// A connection that goes gives back what it holds; a poll does not.
    gives_back: bool,
    connections: AtomicU64,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// By message id.
    records: HashMap<String, Record>,
    /// When each connection was given up.
    lost: HashMap<Connection, Instant>,
    /// Confirmations of what was not pending.
    refused: BTreeSet<String>,
}

#[derive(Default, Debug)]
struct Record {
    /// By attempt.
    seen: BTreeMap<u64, Seen>,
    nacks: Vec<(Connection, Instant)>,
    /// Confirmed acknowledgements; the connection is missing when they came another way.
    confirmed: Vec<(Option<Connection>, Instant)>,
    /// An acknowledgement was sent, whatever became of it.
    asked: bool,
}

#[derive(Debug)]
struct Seen {
    connection: Connection,
    /// It was sent between these two.
    sent_after: Instant,
    read_at: Instant,
}

/// What the consumers went through, to be told.
#[derive(Debug, Default)]
pub struct Tally {
    /// Messages that were seen.
    pub messages: usize,
    /// Deliveries that were seen.
    pub deliveries: usize,
    /// Connections that were given up.
    pub lost: usize,
    /// Redeliveries after a nack, after a lost connection, and after the timeout.
    pub causes: [usize; 3],
}

impl Journal {
    /// A consumer on connections that give back what they hold.
    pub fn new(name: &str, ack_timeout: Duration) -> Journal {
        Journal {
            name: name.to_owned(),
            ack_timeout,
            gives_back: true,
            connections: AtomicU64::new(0),
            state: Mutex::default(),
        }
    }

    /// A consumer that polls: what it was given comes again after the timeout alone.
    pub fn of_polls(name: &str, ack_timeout: Duration) -> Journal {
        Journal {
            gives_back: false,
            ..Journal::new(name, ack_timeout)
        }
    }

    /// A connection is about to be made.
    pub fn connection(&self) -> Connection {
        self.connections.fetch_add(1, Ordering::Relaxed)
    }

    /// A message was read that cannot have been sent before `sent_after`.
    ///
    /// # Panics
    ///
    /// When this attempt was seen before.
    pub fn delivered(&self, connection: Connection, delivery: &Delivery, sent_after: Instant) {
        let seen = Seen {
            connection,
            sent_after,
            read_at: Instant::now(),
        };
        let mut state = self.lock();
        let record = state.records.entry(delivery.id.clone()).or_default();
        let before = record.seen.insert(delivery.attempt, seen);
        let name = &self.name;
        assert!(
            before.is_none(),
            "{name}: {delivery:?} twice: {before:?}, {record:?}"
        );
    }

    /// A nack is about to be sent.
    pub fn nacked(&self, connection: Connection, id: &str) {
        let mut state = self.lock();
        let record = state.records.entry(id.to_owned()).or_default();
        record.nacks.push((connection, Instant::now()));
    }

    /// An acknowledgement is about to be sent.
    pub fn asked<'i>(&self, ids: impl IntoIterator<Item = &'i str>) {
        let mut state = self.lock();
        for id in ids {
            state.records.entry(id.to_owned()).or_default().asked = true;
        }
    }

    /// All messages of a consumer up to this id are about to be acknowledged.
    pub fn asked_up_to(&self, id: &str) {
        for (_, record) in self
            .lock()
            .records
            .iter_mut()
            .filter(|(it, _)| it.as_str() <= id)
        {
            record.asked = true;
        }
    }

    /// An acknowledgement was confirmed, on this connection if on one that delivers. Whatever came before the
    /// confirmation has been written down.
    pub fn confirmed<'i>(
        &self,
        connection: Option<Connection>,
        ids: impl IntoIterator<Item = &'i str>,
    ) {
        let now = Instant::now();
        let mut state = self.lock();
        for id in ids {
            let record = state.records.entry(id.to_owned()).or_default();
            record.confirmed.push((connection, now));
        }
    }

    /// An acknowledgement was refused.
    ///
    /// # Panics
    ///
    /// When the reason cannot be: all ids that the consumers name were delivered to them.
    pub fn refused(&self, id: &str, error: &str) {
        match error {
            "NOT_PENDING" => drop(self.lock().refused.insert(id.to_owned())),
            "REASSIGNED" => {}
            _ => panic!("{}: the ack of {id} was refused: {error}", self.name),
        }
    }

    /// A connection is about to be given up: what it held, read or not, is to come again.
    pub fn lost(&self, connection: Connection) {
        self.lock().lost.insert(connection, Instant::now());
    }

    /// The ids among `published` that have not been acknowledged, or not in earnest.
    pub fn open(&self, published: &[String]) -> Vec<String> {
        let state = self.lock();
        let is_open = |id: &&String| {
            let record = state.records.get(*id);
            record.is_none_or(|record| !record.asked && record.confirmed.is_empty())
        };
        published.iter().filter(is_open).cloned().collect()
    }

    /// Checks that all that happened can be explained, and tells what it was.
    ///
    /// # Panics
    ///
    /// When a message was not delivered, was not published, was delivered after its acknowledgement, or again
    /// without a cause.
    pub fn check(&self, published: &[String]) -> Tally {
        let state = self.lock();
        let mut tally = Tally {
            lost: state.lost.len(),
            ..Tally::default()
        };
        let published: BTreeSet<&String> = published.iter().collect();
        let seen = state.records.iter().filter(|(_, it)| !it.seen.is_empty());
        let seen: BTreeSet<&String> = seen.map(|(id, _)| id).collect();
        let missing: Vec<_> = published.difference(&seen).collect();
        assert!(missing.is_empty(), "{}: never came: {missing:?}", self.name);
        let invented: Vec<_> = seen.difference(&published).collect();
        assert!(
            invented.is_empty(),
            "{}: not published: {invented:?}",
            self.name
        );
        for id in &state.refused {
            let asked = state.records.get(id).is_some_and(|record| record.asked);
            assert!(
                asked,
                "{}: {id} was not acknowledged, and not pending",
                self.name
            );
        }
        for (id, record) in &state.records {
            let told = |what: &str| format!("{}: {id} {what}: {record:#?}", self.name);
            self.check_confirmed(record, &told);
            self.check_attempts(record, &state.lost, &told, &mut tally);
            tally.messages += 1;
            tally.deliveries += record.seen.len();
        }
        tally
    }

    /// Nothing comes behind a confirmation on its connection, nor long after it on another.
    fn check_confirmed(&self, record: &Record, told: &impl Fn(&str) -> String) {
        for (connection, at) in &record.confirmed {
            for seen in record.seen.values() {
                let is_behind = *connection == Some(seen.connection) && seen.read_at > *at;
                let is_late = seen.sent_after > *at + WRITE_SLACK;
                assert!(!is_behind && !is_late, "{}", told("came after its ack"));
            }
        }
    }

    /// Each attempt has a cause, and each that was not seen was sent to a connection that was given up.
    fn check_attempts(
        &self,
        record: &Record,
        lost: &HashMap<Connection, Instant>,
        told: &impl Fn(&str) -> String,
        tally: &mut Tally,
    ) {
        let mut before: Option<(u64, &Seen)> = None;
        let mut nacks = record.nacks.clone();
        for (attempt, seen) in &record.seen {
            let expected = before.map_or(1, |(attempt, _)| attempt + 1);
            if *attempt != expected {
                let since = before.map(|(_, seen)| seen.sent_after);
                let may_have_it =
                    |at: &&Instant| **at <= seen.read_at && since.is_none_or(|since| **at >= since);
                let is_missing = lost.values().find(may_have_it).is_some();
                assert!(is_missing, "{}", told("lacks an attempt"));
            }
            if let Some((_, previous)) = before {
                let cause = self.cause(previous, seen, &mut nacks, lost);
                let cause = cause.unwrap_or_else(|| panic!("{}", told("came without a cause")));
                tally.causes[cause] += 1;
            }
            before = Some((*attempt, seen));
        }
    }

    /// Why a message came again: a nack, a lost connection, or the timeout.
    fn cause(
        &self,
        previous: &Seen,
        seen: &Seen,
        nacks: &mut Vec<(Connection, Instant)>,
        lost: &HashMap<Connection, Instant>,
    ) -> Option<usize> {
        let holder = previous.connection;
        let is_lost = lost.get(&holder).is_some_and(|at| *at <= seen.read_at);
        if is_lost && self.gives_back {
            return Some(1);
        }
        let waited = seen.read_at.saturating_duration_since(previous.sent_after);
        if waited + CLAIM_SLACK >= self.ack_timeout {
            return Some(2);
        }
        // Last: a delivery that was read late may come behind a nack of the one that followed it.
        let nack = nacks
            .iter()
            .position(|(connection, at)| *connection == holder && *at <= seen.read_at);
        nacks.remove(nack?);
        Some(0)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
