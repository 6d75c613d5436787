//! Seats at consumers that live behind memory: taking and leaving them, and claiming, one claim at a
//! time for each seat.

use std::sync::Arc;

use super::Worker;
use super::consulting::Matter;
use super::entering::Prepared;
use super::fan_out::JOB_MESSAGES_MAX;
use super::seats::{Lease, SeatAt};
use super::slots::ConnectionKey;
use crate::api::consumer::AtLeastOnce;
use crate::session::CloseReason;
use crate::topic::{
    Batch, ClaimRules, Claims, ConsumerName, LocalTopic, Start, StoreError, Subscribed, TopicHash,
    TopicName,
};
use crate::valkey::Refused;
use crate::valkey::consumers::{
    AttachShared, ClaimShared, ConsumerAction, ConsumerReply, Settling, SharedClaim, SharedMember,
    SharedSeat, SharedStart, Standing, Unseated,
};

impl Worker {
    /// What a connection asks for that wants a seat.
    pub(super) fn attachment(
        &mut self,
        key: ConnectionKey,
        topic: &TopicName,
        start: Start,
        delivery: &AtLeastOnce,
        is_poll: bool,
    ) -> AttachShared {
        let client: Arc<str> = delivery.client_id.as_ref().into();
        let seat = SharedSeat::new(self.seat_of(key), self.seats.number());
        AttachShared {
            consumer: consumer_of(delivery, &client),
            member: SharedMember {
                client,
                seat,
                is_poll,
                rules: rules_of(delivery),
            },
            reset: delivery.reset,
            start: self.shared_start(topic, start),
        }
    }

    fn shared_start(&self, topic: &TopicName, start: Start) -> SharedStart {
        match start {
            Start::Last => SharedStart::Last,
            Start::Earliest => SharedStart::Earliest,
            Start::Behind(id) if id.epoch != self.shared.store.epoch() => SharedStart::Earliest,
            Start::Behind(id) if id.topic == TopicHash::of(topic) => {
                SharedStart::Behind(id.position)
            }
            Start::Behind(id) => SharedStart::Since(id.position),
        }
    }

    /// Subscribes a connection that has been given a seat to the news of its topic. Says also
    /// whether the consumer misses something, of which its first claim tells.
    pub(super) fn sit(
        &mut self,
        key: ConnectionKey,
        vacant: LocalTopic,
        start: Start,
        prepared: &Prepared,
    ) -> Result<(Subscribed, bool), StoreError> {
        let Some((attach, attached)) = prepared.seat() else {
            return Err(StoreError::NotOpen);
        };
        let (start, begins_behind) = if attached.resumed {
            (Start::Last, None)
        } else {
            (start, Some(attached.begins_behind))
        };
        let (name, store) = (&prepared.name, &self.shared.store);
        let topic = TopicHash::of(name);
        let subscribed = Subscribed {
            resume: store.id(topic, attached.place),
            is_cold: false,
            ..store.subscribe_behind(name, self.index, vacant, start, begins_behind)?
        };
        let now = self.clock.now().monotonic_micros;
        self.seats.add(
            key,
            SeatAt {
                local: subscribed.local,
                handle: subscribed.handle,
                name: subscribed.name.clone(),
                topic,
                consumer: attach.consumer.clone(),
                client: Arc::clone(&attach.member.client),
                place: subscribed.resume,
                next_due: u64::MAX,
                has_more: false,
                lease: Some(Lease::new(attach.member.clone(), attached.serial, now)),
            },
        );
        self.attached(name, attached);
        Ok((subscribed, attached.misses))
    }

    /// A seat is left.
    pub(super) fn stand_up(
        &mut self,
        key: ConnectionKey,
        topic: &TopicName,
        consumer: ConsumerName,
        seat: SharedSeat,
    ) {
        let action = ConsumerAction::Detach { consumer, seat };
        self.consult(key, topic, action, Matter::Notice);
    }

    /// Whether the connection's seats are leases.
    pub(super) fn has_leases(&self, key: ConnectionKey) -> bool {
        self.seats.of(key).iter().any(|seat| seat.lease.is_some())
    }

    /// Has claimed what the seats of a connection may have that want something.
    pub(super) fn claim_all_behind(&mut self, key: ConnectionKey) {
        let batch = Batch {
            messages_max: JOB_MESSAGES_MAX,
            bytes_max: self.limits.outbox_bytes_max / 2,
        };
        let wanting = self.seats.of(key).iter().filter(|seat| seat.may_claim());
        let numbers: Vec<u64> = wanting
            .filter_map(|seat| Some(seat.lease.as_ref()?.number()))
            .collect();
        for number in numbers {
            if !self.has_room(key) {
                return;
            }
            if let Some((topic, claim)) = self.begin_claim(key, number, batch) {
                self.consult(key, &topic, claim, Matter::Claim(number));
            }
        }
    }

    /// What is asked when a seat claims now.
    pub(super) fn begin_claim(
        &mut self,
        key: ConnectionKey,
        number: u64,
        batch: Batch,
    ) -> Option<(TopicName, ConsumerAction)> {
        let mut seats = self.seats.of_mut(key).iter_mut();
        let seat = seats.find(|seat| seat.is_number(number))?;
        let lease = seat.lease.as_mut()?;
        lease.wants_claim = false;
        lease.is_claiming = true;
        let claim = ClaimShared {
            consumer: seat.consumer.clone(),
            member: lease.member.clone(),
            batch,
            confirmed: lease.serial,
        };
        Some((seat.name.clone(), ConsumerAction::Claim(claim)))
    }

    /// A seat has claimed.
    pub(super) fn claimed(
        &mut self,
        key: ConnectionKey,
        number: u64,
        reply: Result<ConsumerReply, Refused>,
    ) {
        let mut seats = self.seats.take(key);
        let seat = seats.iter_mut().find(|seat| seat.is_number(number));
        let mut claims = std::mem::take(&mut self.claims);
        let mut end = None;
        if let Some(seat) = seat {
            end = self.take_claim(key, seat, reply, &mut claims).err();
            if end.is_none() {
                self.queue_claims(key, seat, &claims);
            }
        }
        self.claims = claims;
        self.seats.put_back(key, seats);
        match end {
            None => {
                self.flush(key);
                self.schedule_claim(key);
            }
            // A newer connection has taken over what this one was owed.
            Some(NotClaimed::Unseated(Unseated::Lost)) => {
                self.close_lagging(key, CloseReason::Replaced);
            }
            Some(NotClaimed::Unseated(Unseated::Gone)) => self.reseat(key, number),
            Some(NotClaimed::Refused(_)) => self.stalled.push(key),
        }
    }

    /// Takes in what a seat was handed out; what is dead is put aside.
    pub(super) fn take_claim(
        &mut self,
        key: ConnectionKey,
        seat: &mut SeatAt,
        reply: Result<ConsumerReply, Refused>,
        claims: &mut Claims,
    ) -> Result<(), NotClaimed> {
        let Some(lease) = &mut seat.lease else {
            return Err(NotClaimed::Refused(Refused::Error));
        };
        lease.is_claiming = false;
        let claim = match reply {
            Ok(ConsumerReply::Claimed(claim)) => claim,
            Ok(ConsumerReply::Unseated(unseated)) => return Err(NotClaimed::Unseated(unseated)),
            reply => {
                lease.wants_claim = true;
                let refused = reply.err().unwrap_or(Refused::Error);
                return Err(NotClaimed::Refused(refused));
            }
        };
        lease.serial = claim.serial;
        self.hand_out(key, seat, &claim, claims);
        Ok(())
    }

    fn hand_out(
        &mut self,
        key: ConnectionKey,
        seat: &mut SeatAt,
        claim: &SharedClaim,
        claims: &mut Claims,
    ) {
        let store = &self.shared.store;
        let (summary, strays) = claim.hand_out(&seat.name, store, self.clock.now(), claims);
        seat.next_due = summary.next_due;
        if summary.more {
            seat.want_claim();
        }
        if !strays.is_empty() {
            let standing = Standing {
                client: Arc::clone(&seat.client),
                preferred: Some(seat.consumer.clone()),
                settling: Settling::Acknowledge,
                positions: strays,
            };
            let action = ConsumerAction::Settle(standing);
            self.consult(key, &seat.name, action, Matter::Notice);
        }
        self.count_claims(claims);
        self.put_aside_behind(key, seat, &claims.dead);
        seat.reached(claims);
    }
}

/// Why nothing was handed out.
#[derive(Debug)]
pub(super) enum NotClaimed {
    Unseated(Unseated),
    Refused(Refused),
}

/// Whose position it is: the client's own, or the group's.
pub(super) fn consumer_of(delivery: &AtLeastOnce, client: &Arc<str>) -> ConsumerName {
    match &delivery.group {
        Some(group) => ConsumerName::Group(group.as_ref().into()),
        None => ConsumerName::Client(Arc::clone(client)),
    }
}

/// What a member asks for.
pub(super) fn rules_of(delivery: &AtLeastOnce) -> ClaimRules {
    ClaimRules {
        ack_timeout: delivery.ack_timeout,
        window: delivery.window,
        max_deliveries: delivery.max_deliveries,
    }
}
