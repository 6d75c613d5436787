//! At-least-once consumers (SPEC sections 5 and 7): connections that claim their messages from the
//! store, each of which is theirs until it is acknowledged.

use std::sync::Arc;

use super::Worker;
use super::connection::Connection;
use super::consumers_behind::{consumer_of, rules_of};
use super::fan_out::JOB_MESSAGES_MAX;
use super::seats::SeatAt;
use super::slots::ConnectionKey;
use crate::api::consumer::AtLeastOnce;
use crate::session::CloseReason;
use crate::topic::{
    Batch, Claim, Claims, LocalTopic, Member, Seat, Start, StoreError, Subscribed, TopicHandle,
    TopicHash, TopicName,
};

impl Worker {
    /// The seat of a connection, as the store knows it.
    pub(super) fn seat_of(&self, key: ConnectionKey) -> Seat {
        Seat {
            worker: self.index,
            connection: key.token().0 as u64,
        }
    }

    /// Seats a connection at a consumer of a topic. Who sat there and has to go is told. Says also
    /// whether the consumer misses something, of which its first claim tells.
    pub(super) fn attach(
        &mut self,
        key: ConnectionKey,
        name: &TopicName,
        vacant: LocalTopic,
        start: Start,
        delivery: &AtLeastOnce,
    ) -> Result<(Subscribed, bool), StoreError> {
        let client: Arc<str> = delivery.client_id.as_ref().into();
        let consumer = consumer_of(delivery, &client);
        let is_polling = |connection: &Connection| connection.session.is_polling();
        let member = Member {
            client: Arc::clone(&client),
            seat: self.seat_of(key),
            is_poll: self.connections.get(key).is_some_and(is_polling),
        };
        let attached = self.shared.store.attach(
            name,
            self.index,
            vacant,
            start,
            delivery.reset,
            &consumer,
            &member,
            rules_of(delivery),
            self.now.monotonic_micros,
        )?;
        let subscribed = attached.subscribed;
        self.seats.add(
            key,
            SeatAt {
                local: subscribed.local,
                handle: subscribed.handle,
                name: subscribed.name.clone(),
                topic: TopicHash::of(name.as_str()),
                consumer,
                client,
                place: subscribed.resume,
                next_due: u64::MAX,
                has_more: false,
                lease: None,
            },
        );
        if let Some(seat) = attached.replaced {
            self.metrics.taken_over();
            self.call(seat, subscribed.handle);
        }
        Ok((subscribed, attached.misses))
    }

    /// Has the connection of a seat ask for its messages.
    fn call(&mut self, seat: Seat, topic: TopicHandle) {
        if seat.worker == self.index {
            self.schedule_turn(ConnectionKey::from_token(mio::Token(
                seat.connection as usize,
            )));
        } else {
            let news = &mut self.outcome.news;
            self.shared.store.call(topic, seat.worker, news);
            self.spread_news();
        }
    }

    /// A connection leaves the consumer of a topic, if it sits at one.
    pub(super) fn detach(&mut self, key: ConnectionKey, local: LocalTopic) {
        let Some(seat) = self.seats.remove(key, local) else {
            return;
        };
        if let Some(lease) = seat.lease {
            return self.stand_up(key, &seat.name, seat.consumer, lease.member.seat);
        }
        let at = self.seat_of(key);
        let (now, news) = (self.now.monotonic_micros, &mut self.outcome.news);
        let store = &self.shared.store;
        store.detach(seat.handle, &seat.consumer, at, now, news);
        self.spread_news();
    }

    /// A connection that could claim more does so, unless it waits for its socket.
    pub(super) fn schedule_claim(&mut self, key: ConnectionKey) {
        if self.seats.has_more(key) && self.has_room(key) {
            self.schedule_turn(key);
        }
    }

    pub(super) fn has_room(&self, key: ConnectionKey) -> bool {
        let room = self.limits.outbox_bytes_max / 2;
        let connection = self.connections.get(key);
        connection.is_some_and(|it| it.message_bytes() <= room)
    }

    /// Claims what a connection may have, for each of its seats.
    pub(super) fn claim_all(&mut self, key: ConnectionKey) {
        if self.shared.valkey.is_some() {
            return self.claim_all_behind(key);
        }
        let mut seats = self.seats.take(key);
        let (mut is_replaced, mut first_skipped) = (false, None);
        for (index, seat) in seats.iter_mut().enumerate() {
            if !self.has_room(key) {
                seat.has_more = true;
                first_skipped.get_or_insert(index);
                continue;
            }
            let batch = Batch {
                messages_max: JOB_MESSAGES_MAX,
                bytes_max: self.limits.outbox_bytes_max / 2,
            };
            let mut claims = std::mem::take(&mut self.claims);
            match self.claim(key, seat, batch, &mut claims) {
                Some(_) => self.queue_claims(key, seat, &claims),
                None => is_replaced = true,
            }
            self.claims = claims;
        }
        // Next time they come first, or a topic with much to read would starve the others.
        seats.rotate_left(first_skipped.unwrap_or(0));
        self.seats.put_back(key, seats);
        if is_replaced {
            // A newer connection has taken over what this one was owed.
            self.close_lagging(key, CloseReason::Replaced);
        } else {
            self.flush(key);
        }
    }

    /// Claims for one seat; what is dead is put aside. `None` when another has the seat.
    pub(super) fn claim(
        &mut self,
        key: ConnectionKey,
        seat: &mut SeatAt,
        batch: Batch,
        claims: &mut Claims,
    ) -> Option<Claim> {
        let store = &self.shared.store;
        let at = self.seat_of(key);
        // Not the iteration's: what a timeout gives back is asked for when the wheel says so.
        let now = self.clock.now();
        let claim = store.claim(seat.handle, &seat.consumer, at, batch, now, claims)?;
        seat.next_due = claim.next_due;
        seat.has_more = claim.more;
        self.count_claims(claims);
        for dead in &claims.dead {
            self.put_aside(seat, dead);
        }
        seat.reached(claims);
        Some(claim)
    }

    /// Counts what was handed out.
    pub(super) fn count_claims(&self, claims: &Claims) {
        let again = claims.messages.iter().filter(|it| it.attempt > 1).count();
        self.metrics.redelivered(again as u64);
        let gaps = claims.gaps.iter();
        gaps.for_each(|gap| self.metrics.gap(gap.reason));
    }

    pub(super) fn queue_claims(&mut self, key: ConnectionKey, seat: &SeatAt, claims: &Claims) {
        let Some(connection) = self.connections.get_mut(key) else {
            return;
        };
        let now = self.now.monotonic_micros;
        for gap in &claims.gaps {
            connection.queue_gap(&seat.name, gap, now);
        }
        let mut bytes = 0;
        for claimed in &claims.messages {
            bytes += connection.queue_one(&claimed.message, Some(claimed.attempt), now) as u64;
        }
        let (kind, messages) = (connection.delivery_kind(), claims.messages.len() as u64);
        self.metrics.delivered(messages, bytes);
        self.count_delivered(seat.local, kind, messages);
    }
}
