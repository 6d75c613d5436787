//! Publishing to the tier behind memory: the request waits until that has stored its messages.

use smallvec::{SmallVec, smallvec};

use super::Worker;
use super::parking::Then;
use super::slots::ConnectionKey;
use crate::api::delivery;
use crate::metrics::StorageOperation;
use crate::session::{Kept, NotStored, Publish, Receipt, Stored};
use crate::topic::{Draft, Position, TopicHash, TopicName};
use crate::valkey::idempotency::Record;
use crate::valkey::{Outgoing, Publication, Refused, Reply, Task};

/// A publish request that waits.
#[derive(Debug)]
pub(super) struct Publishing {
    receipt: Box<Receipt>,
    /// By topic: which messages of the request.
    topics: Vec<(TopicHash, SmallVec<[usize; 1]>)>,
    /// In the order of the topics.
    results: Vec<Result<Fate, Refused>>,
    /// Of a request with an `Idempotency-Key`.
    record: Option<Record>,
    /// When it came, in monotonic microseconds.
    received_at: u64,
    /// Topics by their places here that may not be listed yet.
    unlisted: Vec<(usize, TopicName)>,
}

/// What became of the messages of one topic.
#[derive(Debug)]
enum Fate {
    Stored(SmallVec<[Position; 1]>),
    Spooled,
}

impl Publishing {
    /// What became of the messages of one topic.
    pub(super) fn take_in(&mut self, part: usize, reply: Reply) {
        self.results[part] = match reply {
            Reply::Published(result) => result.map(Fate::Stored),
            Reply::Spooled => Ok(Fate::Spooled),
            _ => Err(Refused::Error),
        };
    }

    /// The topics that have to be listed now, since messages of them are stored: once.
    fn take_unlisted(&mut self) -> Vec<TopicName> {
        let unlisted = std::mem::take(&mut self.unlisted).into_iter();
        let stored = unlisted.filter(|(at, _)| matches!(self.results[*at], Ok(Fate::Stored(_))));
        stored.map(|(_, name)| name).collect()
    }
}

/// Tells messages apart that this worker sends, from those of all workers and instances as well.
#[derive(Debug)]
pub(super) struct Tokens {
    random: u64,
    count: u64,
}

impl Tokens {
    /// Begins anew behind a random number.
    pub(super) fn new(random: u64) -> Tokens {
        Tokens { random, count: 0 }
    }

    pub(super) fn next(&mut self) -> [u8; 16] {
        self.count += 1;
        let token = u128::from(self.random) << 64 | u128::from(self.count);
        token.to_be_bytes()
    }
}

impl Worker {
    /// Sends a request's messages away, once it is known to be no repeat.
    pub(super) fn publish_behind(&mut self, key: ConnectionKey, publish: Publish) {
        let Publish {
            drafts,
            receipt,
            attempt,
        } = publish;
        let drafts = drafts.iter().map(|draft| self.outgoing(draft));
        let drafts: Vec<(TopicName, Outgoing)> = drafts.collect();
        match attempt {
            None => self.send_messages(key, receipt, drafts, None, None),
            Some(attempt) => self.begin_once(key, receipt, drafts, &attempt),
        }
    }

    /// Sends a request's messages away, those of one topic together. With `sent_since` (milliseconds
    /// of Valkey's clock) some of them may be there already.
    pub(super) fn send_messages(
        &mut self,
        key: ConnectionKey,
        receipt: Box<Receipt>,
        messages: Vec<(TopicName, Outgoing)>,
        record: Option<Record>,
        sent_since: Option<u64>,
    ) {
        let mut topics: Vec<(TopicHash, SmallVec<[usize; 1]>)> = Vec::new();
        let mut publications: Vec<Publication> = Vec::new();
        let mut unlisted = Vec::new();
        let now = self.now.monotonic_micros;
        for (place, (topic, message)) in messages.into_iter().enumerate() {
            match publications.iter().position(|it| it.topic == topic) {
                Some(index) => {
                    publications[index].messages.push(message);
                    topics[index].1.push(place);
                }
                None => {
                    let hash = TopicHash::of(&topic);
                    if !self.listed.knows(hash, now) {
                        unlisted.push((topics.len(), topic.clone()));
                    }
                    topics.push((hash, smallvec![place]));
                    publications.push(Publication {
                        topic,
                        messages: smallvec![message],
                        sent_since,
                    });
                }
            }
        }
        let publishing = Publishing {
            receipt,
            results: topics.iter().map(|_| Err(Refused::Error)).collect(),
            topics,
            record,
            received_at: now,
            unlisted,
        };
        let tasks = publications.into_iter().map(Task::Publish).collect();
        self.park(key, Then::Publish(Box::new(publishing)), tasks);
    }

    pub(super) fn outgoing(&mut self, draft: &Draft) -> (TopicName, Outgoing) {
        let left = draft.expires_at().saturating_sub(self.now.monotonic_micros);
        let has_ttl = draft.expires_at() != u64::MAX;
        let topic = TopicName::parse(draft.topic());
        let message = Outgoing {
            token: self.tokens.next(),
            ttl: has_ttl.then(|| left.div_ceil(1_000_000).max(1)),
            stored_part: delivery::stored_part(draft.frame()).into(),
        };
        (
            topic.expect("names are checked before they reach a draft"),
            message,
        )
    }

    /// All of a request's messages have been stored or refused.
    pub(super) fn published_behind(&mut self, key: ConnectionKey, mut publishing: Box<Publishing>) {
        let unlisted = publishing.take_unlisted();
        if !unlisted.is_empty() {
            return self.enlist(key, publishing, unlisted);
        }
        let count = publishing.topics.iter().map(|(_, places)| places.len());
        let now = self.clock.now();
        let mut stored: Vec<Stored> = vec![Err(NotStored::Behind("")); count.sum()];
        for ((topic, places), result) in publishing.topics.iter().zip(&publishing.results) {
            let operation = StorageOperation::SaveMessage;
            self.metrics
                .storage_operation(operation, result.is_ok(), places.len() as u64);
            if let Ok(Fate::Stored(_)) = result {
                let latency = now.monotonic_micros.saturating_sub(publishing.received_at);
                let store = &self.shared.store;
                store.count_received(*topic, places.len() as u64, latency);
            }
            for (index, place) in places.iter().enumerate() {
                stored[*place] = match result {
                    Ok(Fate::Stored(positions)) => {
                        Ok(Kept::At(self.shared.store.id(*topic, positions[index])))
                    }
                    Ok(Fate::Spooled) => Ok(Kept::InSpool),
                    Err(refused) => Err(NotStored::Behind(refused.sentence())),
                };
            }
        }
        let Some(connection) = self.connections.get_mut(key) else {
            return;
        };
        let mut ctx = self.desk.context(&self.shared, now, false);
        let out = self.answers.of(key);
        let session = &mut connection.session;
        let turn = session.published(&publishing.receipt, &stored, &mut ctx, out);
        if let (Some(record), Some(exchange)) = (&publishing.record, &turn.exchange) {
            let is_stored = stored.iter().all(|it| matches!(it, Ok(Kept::At(_))));
            let answer = (exchange.status, exchange.body_in(self.answers.of(key)));
            let call = record.settle(is_stored.then_some(answer));
            self.send_off(Task::Call(call));
        }
        self.carry_out(key, turn);
    }
}
