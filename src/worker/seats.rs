//! Which at-least-once consumers this worker's connections sit at. Few connections do, so they are
//! found apart from the others.

use std::collections::HashMap;
use std::sync::Arc;

use super::slots::ConnectionKey;
use crate::topic::{
    Claims, ConsumerName, LocalTopic, MessageId, TopicHandle, TopicHash, TopicName,
};
use crate::valkey::consumers::{AttachShared, SharedMember, SharedStart};

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
    /// What it needs besides where consumers live behind memory.
    pub(super) lease: Option<Box<Lease>>,
}

/// A seat that all instances know, for as long as it is renewed.
#[derive(Debug)]
pub(super) struct Lease {
    pub(super) member: SharedMember,
    /// In the last reply that has come.
    pub(super) serial: u64,
    /// There may be something to claim that the claim under way does not bring.
    pub(super) wants_claim: bool,
    /// A claim is under way.
    pub(super) is_claiming: bool,
    /// Messages that were pending for it when it was renewed last.
    pub(super) pending: u64,
    /// When it was renewed last, in monotonic microseconds.
    pub(super) renewed_at: u64,
}

impl Lease {
    /// A seat that was taken just now.
    pub(super) fn new(member: SharedMember, serial: u64, now: u64) -> Box<Lease> {
        Box::new(Lease {
            member,
            serial,
            wants_claim: true,
            is_claiming: false,
            pending: 0,
            renewed_at: now,
        })
    }

    /// What tells it from all other seats of its worker.
    pub(super) fn number(&self) -> u64 {
        self.member.seat.number
    }
}

impl SeatAt {
    /// Whether it is the seat of a lease.
    pub(super) fn is_number(&self, number: u64) -> bool {
        self.lease.as_ref().is_some_and(|it| it.number() == number)
    }

    /// Whether there may be something for a lease that claims nothing now.
    pub(super) fn may_claim(&self) -> bool {
        let lease = self.lease.as_ref();
        lease.is_some_and(|it| it.wants_claim && !it.is_claiming)
    }

    /// Has it claim, as soon as it may.
    pub(super) fn want_claim(&mut self) {
        if let Some(lease) = &mut self.lease {
            lease.wants_claim = true;
        }
    }

    /// Takes the seat again, since its consumer has gone with all that is known of it.
    pub(super) fn again(&self) -> Option<AttachShared> {
        Some(AttachShared {
            consumer: self.consumer.clone(),
            member: self.lease.as_ref()?.member.clone(),
            reset: false,
            start: SharedStart::Earliest,
        })
    }

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
    /// Leases that there have been.
    numbered: u64,
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

    /// A number for the next lease.
    pub(super) fn number(&mut self) -> u64 {
        self.numbered += 1;
        self.numbered
    }

    /// The seats of a connection, to be changed.
    pub(super) fn of_mut(&mut self, key: ConnectionKey) -> &mut [SeatAt] {
        let seats = self.by_connection.get_mut(&key);
        seats.map_or(&mut [], Vec::as_mut_slice)
    }

    /// All connections that have seats, and these.
    pub(super) fn all_mut(&mut self) -> impl Iterator<Item = (ConnectionKey, &mut [SeatAt])> {
        let all = self.by_connection.iter_mut();
        all.map(|(key, seats)| (*key, seats.as_mut_slice()))
    }

    /// A topic has news for a connection.
    pub(super) fn have_news(&mut self, key: ConnectionKey, local: LocalTopic) {
        if !self.by_connection.is_empty() {
            let seats = self.of_mut(key).iter_mut();
            seats
                .filter(|seat| seat.local == local)
                .for_each(SeatAt::want_claim);
        }
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

    /// How many leases there are, and messages pending for them.
    pub(super) fn count(&self) -> (u64, u64) {
        let seats = self.by_connection.values().flatten();
        let leases = seats.filter_map(|seat| seat.lease.as_ref());
        leases.fold((0, 0), |(count, pending), lease| {
            (count + 1, pending + lease.pending)
        })
    }

    /// When a connection has to claim without news, in monotonic microseconds; `u64::MAX` for
    /// never.
    pub(super) fn next_due(&self, key: ConnectionKey) -> u64 {
        let due = self.of(key).iter().map(|seat| seat.next_due);
        due.min().unwrap_or(u64::MAX)
    }

    /// The time has come for some seats to claim; their claims say when it comes again.
    pub(super) fn forget_due(&mut self, key: ConnectionKey, now: u64) {
        for seat in self.of_mut(key) {
            if seat.next_due <= now {
                seat.want_claim();
                seat.next_due = u64::MAX;
            }
        }
    }

    /// Whether a connection could claim more.
    pub(super) fn has_more(&self, key: ConnectionKey) -> bool {
        let mut seats = self.of(key).iter();
        seats.any(|seat| seat.has_more || seat.may_claim())
    }
}
