//! Which at-least-once consumers this worker's connections sit at. Few connections do, so they are
//! found apart from the others.

use std::collections::HashMap;
use std::sync::Arc;

use super::slots::ConnectionKey;
use crate::topic::{
    Claims, ConsumerName, LocalTopic, MessageId, TopicHandle, TopicHash, TopicName,
};

/// A connection's seat at a consumer of one topic.
#[derive(Debug)]
pub(super) struct SeatAt {
    pub(super) local: LocalTopic,
    pub(super) handle: TopicHandle,
    pub(super) name: TopicName,
    pub(super) topic: TopicHash,
    pub(super) consumer: ConsumerName,
    /// For whom messages are pending.
    pub(super) client: Arc<str>,
    /// How far the consumer has been given messages, as far as this connection knows.
    pub(super) place: MessageId,
    /// When to claim without news, in monotonic microseconds.
    pub(super) next_due: u64,
    /// There is more to claim as soon as there is room for it.
    pub(super) has_more: bool,
}

impl SeatAt {
    /// Moves the place behind what was claimed. What is given again is not above it.
    pub(super) fn reached(&mut self, claims: &Claims) {
        let messages = claims.messages.iter().map(|it| it.message.position());
        let gaps = claims.gaps.iter().map(|gap| gap.to.position);
        let reached = messages.chain(gaps).max();
        self.place.position = self.place.position.max(reached.unwrap_or_default());
    }
}

/// The seats of all connections.
#[derive(Default, Debug)]
pub(super) struct Seats {
    by_connection: HashMap<ConnectionKey, Vec<SeatAt>>,
}

impl Seats {
    /// A connection has taken a seat.
    pub(super) fn add(&mut self, key: ConnectionKey, seat: SeatAt) {
        self.by_connection.entry(key).or_default().push(seat);
    }

    /// A connection leaves a topic: the seat that it has there, if any.
    pub(super) fn remove(&mut self, key: ConnectionKey, local: LocalTopic) -> Option<SeatAt> {
        let seats = self.by_connection.get_mut(&key)?;
        let place = seats.iter().position(|seat| seat.local == local)?;
        let seat = seats.swap_remove(place);
        if seats.is_empty() {
            self.by_connection.remove(&key);
        }
        Some(seat)
    }

    /// The seats of a connection.
    pub(super) fn of(&self, key: ConnectionKey) -> &[SeatAt] {
        self.by_connection.get(&key).map_or(&[], Vec::as_slice)
    }

    /// Takes the seats of a connection out for a while, to be put back.
    pub(super) fn take(&mut self, key: ConnectionKey) -> Vec<SeatAt> {
        self.by_connection.remove(&key).unwrap_or_default()
    }

    /// Puts back what [`Seats::take`] gave.
    pub(super) fn put_back(&mut self, key: ConnectionKey, seats: Vec<SeatAt>) {
        if !seats.is_empty() {
            self.by_connection.insert(key, seats);
        }
    }

    /// When a connection has to claim without news, in monotonic microseconds; `u64::MAX` for
    /// never.
    pub(super) fn next_due(&self, key: ConnectionKey) -> u64 {
        let due = self.of(key).iter().map(|seat| seat.next_due);
        due.min().unwrap_or(u64::MAX)
    }

    /// The time has come to claim; the claims say when it comes again.
    pub(super) fn forget_due(&mut self, key: ConnectionKey) {
        for seat in self.by_connection.get_mut(&key).into_iter().flatten() {
            seat.next_due = u64::MAX;
        }
    }

    /// Whether a connection could claim more.
    pub(super) fn has_more(&self, key: ConnectionKey) -> bool {
        self.of(key).iter().any(|seat| seat.has_more)
    }
}
