//! Seats at consumers behind memory are leases: each worker renews those of its connections, or
//! others would be given what they hold. That keeps consumers as well, which claims do not: so it is
//! done also for who claims all the time.

use std::collections::HashMap;
use std::sync::atomic::Ordering;

use super::Worker;
use super::consulting::Matter;
use super::seats::SeatAt;
use super::slots::ConnectionKey;
use crate::moment::micros;
use crate::topic::{ConsumerName, TopicName};
use crate::valkey::Refused;
use crate::valkey::consumers::{
    ConsumerAction, ConsumerReply, REFRESH_EVERY, REFRESH_SEATS_MAX, SharedMember,
};

/// The seats of one topic: whose they are, and what is asked for them.
type Renewals = Vec<((ConnectionKey, u64), (ConsumerName, SharedMember))>;

impl Worker {
    /// Renews the leases that it has not renewed lately; to be called about once a second.
    pub(super) fn renew_leases(&mut self) {
        let Some(valkey) = &self.shared.valkey else {
            return;
        };
        let connects = valkey.counters().connects.load(Ordering::Relaxed);
        if connects != std::mem::replace(&mut self.connects, connects) {
            self.claim_anew();
        }
        for (topic, renewals) in self.leases_to_renew() {
            for chunk in renewals.chunks(REFRESH_SEATS_MAX) {
                let (seats, members): (Vec<_>, Vec<_>) = chunk.iter().cloned().unzip();
                let Some((key, _)) = seats.first().copied() else {
                    continue;
                };
                let action = ConsumerAction::Refresh(members);
                self.consult(key, &topic, action, Matter::Renewal(seats));
            }
        }
    }

    /// A connection was lost, and with it maybe the word that something is there for a seat: what is
    /// asked again is not always told again.
    fn claim_anew(&mut self) {
        let mut keys = Vec::new();
        for (key, seats) in self.seats.all_mut() {
            seats.iter_mut().for_each(SeatAt::want_claim);
            keys.push(key);
        }
        keys.into_iter().for_each(|key| self.schedule_turn(key));
    }

    fn leases_to_renew(&mut self) -> HashMap<TopicName, Renewals> {
        let now = self.now.monotonic_micros;
        // Half of it, since the next look is up to a second later.
        let every = micros(REFRESH_EVERY) / 2;
        let mut by_topic: HashMap<TopicName, Renewals> = HashMap::new();
        for (key, seats) in self.seats.all_mut() {
            for seat in seats {
                let Some(lease) = &mut seat.lease else {
                    continue;
                };
                if now.saturating_sub(lease.renewed_at) < every {
                    continue;
                }
                lease.renewed_at = now;
                let asked = (seat.consumer.clone(), lease.member.clone());
                let renewals = by_topic.entry(seat.name.clone()).or_default();
                renewals.push(((key, lease.number()), asked));
            }
        }
        by_topic
    }

    /// Leases have been renewed. What was not done is done again by the next one, or by a claim.
    pub(super) fn renewed(
        &mut self,
        seats: &[(ConnectionKey, u64)],
        topic: &TopicName,
        reply: Result<ConsumerReply, Refused>,
    ) {
        let Ok(ConsumerReply::Refreshed {
            pending,
            unseated,
            wake,
        }) = reply
        else {
            return;
        };
        for ((key, number), pending) in seats.iter().zip(pending) {
            let own = self.seats.of_mut(*key).iter_mut();
            let own = own.filter(|seat| seat.is_number(*number));
            own.filter_map(|seat| seat.lease.as_mut())
                .for_each(|lease| lease.pending = pending);
        }
        for (key, number) in unseated.iter().filter_map(|index| seats.get(*index)) {
            // Its claim says whether it sits again, or has lost its seat.
            let own = self.seats.of_mut(*key).iter_mut();
            own.filter(|seat| seat.is_number(*number))
                .for_each(SeatAt::want_claim);
            self.schedule_turn(*key);
        }
        self.wake_seats(topic, &wake);
    }
}
