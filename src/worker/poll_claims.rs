//! Long polls of at-least-once consumers behind memory: their seats claim one after the other, until
//! the answer is full or none of them has anything left.

use super::Worker;
use super::consulting::Matter;
use super::consumers_behind::NotClaimed;
use super::polls::Found;
use super::seats::SeatAt;
use super::slots::ConnectionKey;
use crate::topic::{Batch, Gap, TopicName};
use crate::valkey::Refused;
use crate::valkey::consumers::ConsumerReply;

impl Worker {
    /// Claims for a poll, which has these gaps to be told.
    pub(super) fn begin_poll_claims(&mut self, key: ConnectionKey, gaps: Vec<(TopicName, Gap)>) {
        self.claim_for_poll(key, Box::new(Found::with_gaps(gaps)));
    }

    /// A waiting poll was told of news.
    pub(super) fn wake_poll_claims(&mut self, key: ConnectionKey) {
        if self.seats.of(key).iter().any(SeatAt::may_claim) {
            self.stop_waiting();
            self.begin_poll_claims(key, Vec::new());
        }
    }

    /// What a poll is answered with to which nothing more is handed out.
    pub(super) fn nothing_claimed(&self, key: ConnectionKey) -> Found {
        let mut found = Found::default();
        found.stand_at(self.seats.of(key));
        found
    }

    fn claim_for_poll(&mut self, key: ConnectionKey, mut found: Box<Found>) {
        let connection = self.connections.get(key);
        let Some(bounds) = connection.and_then(|it| it.session.poll_bounds()) else {
            return;
        };
        let batch = Batch {
            messages_max: found.room(bounds.in_all.min(bounds.per_topic)),
            bytes_max: found.bytes_left(self.limits.outbox_bytes_max / 2),
        };
        let mut seats = self.seats.of(key).iter();
        let next = seats.find(|seat| seat.may_claim() && !found.is_over());
        let number = next.and_then(|seat| Some(seat.lease.as_ref()?.number()));
        let Some(number) = number else {
            return self.end_poll_claims(key, &mut found);
        };
        if batch.messages_max == 0 || batch.bytes_max == 0 {
            found.leave_some();
            return self.end_poll_claims(key, &mut found);
        }
        if let Some((topic, claim)) = self.begin_claim(key, number, batch) {
            self.consult(key, &topic, claim, Matter::Poll(number, found));
        }
    }

    /// A seat of a poll has claimed.
    pub(super) fn poll_claimed(
        &mut self,
        key: ConnectionKey,
        number: u64,
        mut found: Box<Found>,
        reply: Result<ConsumerReply, Refused>,
    ) {
        let mut seats = self.seats.take(key);
        let mut claims = std::mem::take(&mut self.claims);
        let mut end = None;
        if let Some(seat) = seats.iter_mut().find(|seat| seat.is_number(number)) {
            end = self.take_claim(key, seat, reply, &mut claims).err();
            if end.is_none() {
                found.take_claims(seat, &mut claims);
            }
        }
        self.claims = claims;
        self.seats.put_back(key, seats);
        match end {
            None => self.claim_for_poll(key, found),
            Some(NotClaimed::Unseated(_)) => {
                found.end();
                self.end_poll_claims(key, &mut found);
            }
            Some(NotClaimed::Refused(refused)) if !found.has_messages() => {
                self.refuse_poll(key, refused.sentence());
            }
            Some(NotClaimed::Refused(_)) => {
                found.leave_some();
                self.end_poll_claims(key, &mut found);
            }
        }
    }

    fn end_poll_claims(&mut self, key: ConnectionKey, found: &mut Found) {
        found.stand_at(self.seats.of(key));
        let connection = self.connections.get(key);
        let bounds = connection.and_then(|it| it.session.poll_bounds());
        if bounds.is_some_and(|it| !it.tells_gaps) {
            found.gaps.clear();
        }
        self.answer_found(key, found);
    }
}
