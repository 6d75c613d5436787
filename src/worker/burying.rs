//! Messages whose deliveries are used up, where they live behind memory: their letters are published
//! first, and when these are stored they are buried.

use smallvec::smallvec;

use super::Worker;
use super::consulting::Matter;
use super::parking::Then;
use super::seats::SeatAt;
use super::slots::ConnectionKey;
use crate::metrics::{DeadLetter, StorageOperation};
use crate::topic::{Claimed, ConsumerName, MessageId, Position, TopicHash, TopicName};
use crate::valkey::consumers::ConsumerAction;
use crate::valkey::{Outgoing, Publication, Reply, Task, catalogue};

/// Dead messages whose letters are being published.
#[derive(Debug)]
pub(super) struct Burial {
    topic: TopicName,
    consumer: ConsumerName,
    positions: Vec<Position>,
    /// Which letters are stored, in the order of the positions.
    are_stored: Vec<bool>,
}

impl Burial {
    /// A letter is stored, or not.
    pub(super) fn take_in(&mut self, part: usize, reply: &Reply) {
        self.are_stored[part] = matches!(reply, Reply::Published(Ok(_)) | Reply::Spooled);
    }
}

impl Worker {
    /// Publishes dead messages as dead letters, or drops them where nobody wants these. One that
    /// cannot be published now stays dead, and is handed out again.
    pub(super) fn put_aside_behind(&mut self, key: ConnectionKey, seat: &SeatAt, dead: &[Claimed]) {
        let (mut letters, mut positions, mut dropped) = (Vec::new(), Vec::new(), Vec::new());
        for dead in dead {
            let position = dead.message.position();
            match self.letter_of(seat, position, dead) {
                Some(letter) => {
                    letters.push(Task::Publish(letter));
                    positions.push(position);
                }
                None => dropped.push(position),
            }
        }
        if !dropped.is_empty() {
            let count = dropped.len() as u64;
            self.metrics.dead_letters(DeadLetter::Dropped, count);
            self.bury_behind(key, &seat.name, seat.consumer.clone(), dropped);
        }
        if !letters.is_empty() {
            let burial = Burial {
                topic: seat.name.clone(),
                consumer: seat.consumer.clone(),
                are_stored: vec![false; positions.len()],
                positions,
            };
            self.park(key, Then::Bury(Box::new(burial)), letters);
        }
    }

    /// The same message always has the same letter: published twice it is stored once.
    fn letter_of(
        &mut self,
        seat: &SeatAt,
        position: Position,
        dead: &Claimed,
    ) -> Option<Publication> {
        let id = MessageId {
            position,
            ..seat.place
        };
        let draft = self.draft_of_dead(seat, &id, dead)?;
        let (topic, message) = self.outgoing(&draft);
        let token = token_of(&seat.name, &seat.consumer, position);
        Some(Publication {
            topic,
            messages: smallvec![Outgoing { token, ..message }],
            sent_since: Some(position.millis()),
        })
    }

    /// The letters are stored, or not.
    pub(super) fn letters_published(&mut self, key: ConnectionKey, burial: Burial) {
        let Burial {
            topic,
            consumer,
            positions,
            are_stored,
        } = burial;
        for is_stored in &are_stored {
            self.metrics
                .storage_operation(StorageOperation::SaveMessage, *is_stored, 1);
        }
        let stored = positions.into_iter().zip(are_stored);
        let stored: Vec<Position> = stored
            .filter_map(|(position, is_stored)| is_stored.then_some(position))
            .collect();
        if stored.is_empty() {
            return;
        }
        let count = stored.len() as u64;
        self.metrics.dead_letters(DeadLetter::Published, count);
        self.list_dead_letter_topic();
        self.bury_behind(key, &topic, consumer, stored);
    }

    fn bury_behind(
        &mut self,
        key: ConnectionKey,
        topic: &TopicName,
        consumer: ConsumerName,
        positions: Vec<Position>,
    ) {
        let action = ConsumerAction::Bury {
            consumer,
            positions,
        };
        self.consult(key, topic, action, Matter::Notice);
    }

    fn list_dead_letter_topic(&mut self) {
        let topic = self.shared.dead_letter_topic.as_ref();
        let (Some(valkey), Some(topic)) = (&self.shared.valkey, topic) else {
            return;
        };
        let hash = TopicHash::of(topic);
        if !self.listed.knows(hash, self.now.monotonic_micros) {
            self.send_off(Task::Call(catalogue::enlist(valkey.keys(), [topic])));
        }
    }
}

/// The same for the same dead message, and unlike all others.
fn token_of(topic: &TopicName, consumer: &ConsumerName, position: Position) -> [u8; 16] {
    let place = (position.millis(), position.counter());
    let text = format!("{topic} {consumer:?} {place:?}");
    // A topic's hash is the one that tells texts apart for good; two of them fill a token.
    let halves = [
        TopicHash::of(&text),
        TopicHash::of(&format!("letter {text}")),
    ];
    let bits = u128::from(halves[0].bits()) << 64 | u128::from(halves[1].bits());
    bits.to_be_bytes()
}
