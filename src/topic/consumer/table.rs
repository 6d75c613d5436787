//! All consumers of one topic, by name.

use std::sync::Arc;

use hashbrown::HashMap;

use super::claiming::Lost;
use super::members::Workers;
use super::state::{Consumer, Settling};
use super::{Ack, Claim, ClaimRules, Claims, ConsumerName, Member, Seat};
use crate::topic::history::{History, Place};
use crate::topic::id::Position;
use crate::topic::reading::Batch;

/// How a member took its seat.
#[derive(Debug)]
pub(in crate::topic) struct Seating {
    /// The consumer's position.
    pub(in crate::topic) place: Place,
    /// Who lost the seat.
    pub(in crate::topic) replaced: Option<Seat>,
    /// The log has dropped something that the consumer was not given, or has not acknowledged.
    pub(in crate::topic) misses: bool,
}

/// Consumers of one topic.
#[derive(Default, Debug)]
pub(in crate::topic) struct Consumers {
    clients: HashMap<Arc<str>, Consumer>,
    groups: HashMap<Arc<str>, Consumer>,
    /// Messages that are pending, for all together.
    pending: usize,
    /// Bytes of all, names included.
    bytes: usize,
}

impl Consumers {
    /// How many there are.
    pub(in crate::topic) fn len(&self) -> usize {
        self.clients.len() + self.groups.len()
    }

    /// Messages that are pending, for all together.
    pub(in crate::topic) fn pending(&self) -> usize {
        self.pending
    }

    /// Bytes of all, names included.
    pub(in crate::topic) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether there is this one.
    pub(in crate::topic) fn contains(&self, name: &ConsumerName) -> bool {
        self.find(name).is_some()
    }

    /// How many members a consumer has.
    pub(in crate::topic) fn seated(&self, name: &ConsumerName) -> usize {
        self.find(name)
            .map_or(0, |consumer| consumer.members.seated())
    }

    /// Adds a consumer that starts at a place.
    pub(in crate::topic) fn add(&mut self, name: &ConsumerName, place: Place, now: u64) {
        let consumer = Consumer::new(place, now);
        self.bytes += consumer.bytes() + name.as_str().len();
        match name {
            ConsumerName::Client(name) => self.clients.insert(name.clone(), consumer),
            ConsumerName::Group(name) => self.groups.insert(name.clone(), consumer),
        };
    }

    /// Starts a consumer anew from a place.
    pub(in crate::topic) fn reset(&mut self, name: &ConsumerName, place: Place) {
        self.with(name, |consumer| consumer.reset(place));
    }

    /// Seats a member at a consumer that there is.
    pub(in crate::topic) fn seat(
        &mut self,
        name: &ConsumerName,
        member: &Member,
        rules: ClaimRules,
        history: &History,
    ) -> Option<Seating> {
        let is_client = matches!(name, ConsumerName::Client(_));
        self.with(name, |consumer| {
            let misses = consumer.misses(history.lost());
            let replaced = if is_client {
                consumer.take_over(member, rules)
            } else {
                consumer.join(member, rules);
                None
            };
            Seating {
                place: consumer.place,
                replaced,
                misses,
            }
        })
    }

    /// A member goes. Returns whom to tell.
    pub(in crate::topic) fn leave(
        &mut self,
        name: &ConsumerName,
        seat: Seat,
        newest: Place,
        now: u64,
    ) -> Workers {
        self.with(name, |consumer| consumer.leave(seat, newest, now))
            .unwrap_or(0)
    }

    /// A member claims. `None` for one without a seat.
    #[expect(
        clippy::too_many_arguments,
        reason = "the parts of one topic, and where to put what is handed out"
    )]
    pub(in crate::topic) fn claim(
        &mut self,
        name: &ConsumerName,
        seat: Seat,
        history: &History,
        batch: Batch,
        now: u64,
        claims: &mut Claims,
        lost: &mut Vec<Lost>,
    ) -> Option<Claim> {
        self.with(name, |consumer| {
            consumer.claim(seat, history, batch, now, claims, lost)
        })?
    }

    /// Settles what is pending for a client, at the preferred consumer, else at its own, else at
    /// any group: linear in the groups of the topic only if neither of the former has it. `None`
    /// for a client that no consumer knows.
    pub(in crate::topic) fn settle(
        &mut self,
        position: Position,
        client: &str,
        preferred: Option<&ConsumerName>,
        settling: Settling,
        newest: Place,
        workers: &mut Workers,
    ) -> Option<Ack> {
        let Consumers {
            clients,
            groups,
            pending,
            bytes,
        } = self;
        let mut settle = |consumer: &mut Consumer| {
            accounted(pending, bytes, consumer, |consumer| {
                consumer.settle(position, client, settling, newest, workers)
            })
        };
        let mut settled = match preferred {
            Some(ConsumerName::Client(name)) => clients.get_mut(name).map_or(0, &mut settle),
            Some(ConsumerName::Group(name)) => groups.get_mut(name).map_or(0, &mut settle),
            None => 0,
        };
        if settled == 0 {
            settled = clients.get_mut(client).map_or(0, &mut settle);
        }
        let mut groups = groups.values_mut();
        while settled == 0
            && let Some(group) = groups.next()
        {
            settled = settle(group);
        }
        if settled > 0 {
            return Some(Ack::Acknowledged(settled));
        }
        self.refusal(position, client, preferred)
    }

    /// A dead message has been taken care of.
    pub(in crate::topic) fn bury(&mut self, name: &ConsumerName, position: Position) {
        self.with(name, |consumer| consumer.bury(position));
    }

    /// Drops those that have had no member for `retention` microseconds; says how many.
    pub(in crate::topic) fn drop_abandoned(&mut self, now: u64, retention: u64) -> usize {
        let before = self.len();
        let Consumers {
            clients,
            groups,
            pending,
            bytes,
        } = self;
        for consumers in [clients, groups] {
            consumers.retain(|name, consumer| {
                let is_kept = !consumer.is_abandoned(now, retention);
                if !is_kept {
                    *pending -= consumer.pending_len();
                    *bytes -= consumer.bytes() + name.len();
                }
                is_kept
            });
        }
        before - self.len()
    }

    /// What a client is told for which this message is not pending.
    fn refusal(
        &self,
        position: Position,
        client: &str,
        preferred: Option<&ConsumerName>,
    ) -> Option<Ack> {
        let is_preferred =
            |name: &Arc<str>| matches!(preferred, Some(ConsumerName::Group(it)) if it == name);
        let mut is_known = self.clients.contains_key(client);
        for (name, group) in &self.groups {
            if is_preferred(name) || group.members.knows(client) {
                is_known = true;
                if group.is_pending(position) {
                    return Some(Ack::Reassigned);
                }
            }
        }
        is_known.then_some(Ack::NotPending)
    }

    fn find(&self, name: &ConsumerName) -> Option<&Consumer> {
        match name {
            ConsumerName::Client(name) => self.clients.get(name),
            ConsumerName::Group(name) => self.groups.get(name),
        }
    }

    fn with<R>(&mut self, name: &ConsumerName, work: impl FnOnce(&mut Consumer) -> R) -> Option<R> {
        let consumer = match name {
            ConsumerName::Client(name) => self.clients.get_mut(name),
            ConsumerName::Group(name) => self.groups.get_mut(name),
        };
        Some(accounted(
            &mut self.pending,
            &mut self.bytes,
            consumer?,
            work,
        ))
    }
}

/// Changes a consumer, and the sums with it.
fn accounted<R>(
    pending: &mut usize,
    bytes: &mut usize,
    consumer: &mut Consumer,
    work: impl FnOnce(&mut Consumer) -> R,
) -> R {
    let (pending_before, bytes_before) = (consumer.pending_len(), consumer.bytes());
    let result = work(consumer);
    *pending = *pending + consumer.pending_len() - pending_before;
    *bytes = *bytes + consumer.bytes() - bytes_before;
    result
}
