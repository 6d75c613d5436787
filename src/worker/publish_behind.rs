//! Publishing to the tier behind memory: the request waits until that has stored its messages.

use smallvec::{SmallVec, smallvec};

use super::Worker;
use super::parking::Then;
use super::slots::ConnectionKey;
use crate::api::delivery;
use crate::metrics::StorageOperation;
use crate::session::{Kept, NotStored, Publish, Receipt, Stored};
use crate::topic::{Draft, MessageId, Position, TopicHash, TopicName};
use crate::valkey::{Outgoing, Publication, Refused, Task};

/// A publish request that waits.
#[derive(Debug)]
pub(super) struct Publishing {
    receipt: Box<Receipt>,
    /// By topic: which messages of the request.
    topics: Vec<(TopicHash, SmallVec<[usize; 1]>)>,
    /// In the order of the topics.
    results: Vec<Option<Result<SmallVec<[Position; 1]>, Refused>>>,
}

impl Publishing {
    /// What became of the messages of one topic.
    pub(super) fn take_in(
        &mut self,
        part: usize,
        result: Result<SmallVec<[Position; 1]>, Refused>,
    ) {
        self.results[part] = Some(result);
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

    fn next(&mut self) -> [u8; 16] {
        self.count += 1;
        let token = u128::from(self.random) << 64 | u128::from(self.count);
        token.to_be_bytes()
    }
}

impl Worker {
    /// Sends a request's messages away, those of one topic together.
    pub(super) fn publish_behind(&mut self, key: ConnectionKey, publish: Publish) {
        let Publish {
            drafts, receipt, ..
        } = publish;
        let mut topics: Vec<(TopicHash, SmallVec<[usize; 1]>)> = Vec::new();
        let mut publications: Vec<Publication> = Vec::new();
        for (place, draft) in drafts.iter().enumerate() {
            let message = self.outgoing(draft);
            let is_it = |it: &Publication| it.topic.as_str() == draft.topic();
            match publications.iter().position(is_it) {
                Some(index) => {
                    publications[index].messages.push(message);
                    topics[index].1.push(place);
                }
                None => {
                    let topic = TopicName::parse(draft.topic())
                        .expect("names are checked before they reach a draft");
                    topics.push((TopicHash::of(&topic), smallvec![place]));
                    publications.push(Publication {
                        topic,
                        messages: smallvec![message],
                        sent_since: None,
                    });
                }
            }
        }
        let publishing = Publishing {
            receipt,
            results: topics.iter().map(|_| None).collect(),
            topics,
        };
        let tasks = publications.into_iter().map(Task::Publish).collect();
        self.park(key, Then::Publish(Box::new(publishing)), tasks);
    }

    fn outgoing(&mut self, draft: &Draft) -> Outgoing {
        let left = draft.expires_at().saturating_sub(self.now.monotonic_micros);
        let has_ttl = draft.expires_at() != u64::MAX;
        Outgoing {
            token: self.tokens.next(),
            ttl: has_ttl.then(|| left.div_ceil(1_000_000).max(1)),
            stored_part: delivery::stored_part(draft.frame()).into(),
        }
    }

    /// All of a request's messages have been stored or refused.
    pub(super) fn published_behind(&mut self, key: ConnectionKey, publishing: &Publishing) {
        let count = publishing.topics.iter().map(|(_, places)| places.len());
        let mut stored: Vec<Stored> = vec![Err(NotStored::Behind("")); count.sum()];
        for ((topic, places), result) in publishing.topics.iter().zip(&publishing.results) {
            let result = result.as_ref().unwrap_or(&Err(Refused::Error));
            let operation = StorageOperation::SaveMessage;
            self.metrics
                .storage_operation(operation, result.is_ok(), places.len() as u64);
            for (index, place) in places.iter().enumerate() {
                stored[*place] = match result {
                    Ok(positions) => Ok(Kept::At(self.id_at(*topic, positions[index]))),
                    Err(refused) => Err(NotStored::Behind(refused.sentence())),
                };
            }
        }
        let Some(connection) = self.connections.get_mut(key) else {
            return;
        };
        let mut ctx = self.desk.context(&self.shared, self.clock.now(), false);
        let out = self.answers.of(key);
        let session = &mut connection.session;
        let turn = session.published(&publishing.receipt, &stored, &mut ctx, out);
        self.carry_out(key, turn);
    }

    fn id_at(&self, topic: TopicHash, position: Position) -> MessageId {
        self.shared.store.id(topic, position)
    }
}
