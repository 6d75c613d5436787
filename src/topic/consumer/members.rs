//! Who claims from a consumer, and who of them holds what.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use hashbrown::HashMap;
use smallvec::SmallVec;

use super::pending::HolderKey;
use super::{ClaimRules, Member, Seat};
use crate::topic::id::Position;

/// Clients that are remembered after they left without anything pending, so that what they
/// acknowledge late is refused.
const FORMER_CLIENTS_MAX: usize = 64;
/// Bytes that a holder costs beside its client's name, with its places in the indexes.
const HOLDER_BYTES: usize = 320;

/// Workers, one bit each.
pub(super) type Workers = u64;

/// A member, or one that has gone while something was pending for it.
#[derive(Debug)]
pub(super) struct Holder {
    pub(super) client: Arc<str>,
    /// Absent once it has gone.
    pub(super) seat: Option<Seat>,
    pub(super) is_poll: bool,
    pub(super) rules: ClaimRules,
    /// How many of `pending` take a place in its window.
    out: u32,
    /// All that is pending for it.
    pub(super) pending: BTreeSet<Position>,
}

impl Holder {
    /// Whether it may be handed one more.
    pub(super) fn has_room(&self) -> bool {
        self.out < self.rules.window
    }
}

/// All holders of one consumer. One without a seat and without anything pending is dropped.
#[derive(Default, Debug)]
pub(super) struct Members {
    holders: HashMap<HolderKey, Holder>,
    seats: HashMap<Seat, HolderKey>,
    clients: HashMap<Arc<str>, SmallVec<[HolderKey; 2]>>,
    /// Clients that have gone, the oldest first.
    former: VecDeque<Arc<str>>,
    keys: HolderKey,
    /// Bytes of all names, and of the holders.
    bytes: usize,
}

impl Members {
    /// How many have a seat.
    pub(super) fn seated(&self) -> usize {
        self.seats.len()
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn at(&self, seat: Seat) -> Option<HolderKey> {
        self.seats.get(&seat).copied()
    }

    pub(super) fn holder(&self, key: HolderKey) -> Option<&Holder> {
        self.holders.get(&key)
    }

    /// Whether this holder may be handed one more.
    pub(super) fn has_room(&self, key: HolderKey) -> bool {
        self.holders.get(&key).is_some_and(Holder::has_room)
    }

    /// The holders that are, or were, this client.
    pub(super) fn of_client(&self, client: &str) -> SmallVec<[HolderKey; 2]> {
        self.clients.get(client).cloned().unwrap_or_default()
    }

    /// Whether this client is a member, or was one a short while ago.
    pub(super) fn knows(&self, client: &str) -> bool {
        self.clients.contains_key(client) || self.former.iter().any(|it| **it == *client)
    }

    /// The workers of all that have a seat.
    pub(super) fn workers(&self) -> Workers {
        let bits = self.seats.keys().map(|seat| 1 << seat.worker);
        bits.fold(0, |workers: Workers, bit: Workers| workers | bit)
    }

    /// Seats a member, at the place of a holder or at one of its own.
    pub(super) fn sit(&mut self, key: Option<HolderKey>, member: &Member, rules: ClaimRules) {
        let key = key.unwrap_or_else(|| self.add(member, rules));
        if let Some(holder) = self.holders.get_mut(&key) {
            if let Some(before) = holder.seat.replace(member.seat) {
                self.seats.remove(&before);
            }
            holder.is_poll = member.is_poll;
            holder.rules = rules;
            self.seats.insert(member.seat, key);
        }
    }

    /// Takes the seat from a holder, which stays as long as something is pending for it.
    pub(super) fn stand_up(&mut self, key: HolderKey) {
        if let Some(holder) = self.holders.get_mut(&key) {
            if let Some(seat) = holder.seat.take() {
                self.seats.remove(&seat);
            }
            self.drop_if_done(key);
        }
    }

    /// A message is pending for this holder from now on.
    pub(super) fn take(&mut self, key: HolderKey, position: Position, is_out: bool) {
        if let Some(holder) = self.holders.get_mut(&key) {
            holder.pending.insert(position);
            holder.out += u32::from(is_out);
        }
    }

    /// A message that was pending for this holder is no more.
    pub(super) fn release(&mut self, key: HolderKey, position: Position, was_out: bool) {
        if let Some(holder) = self.holders.get_mut(&key) {
            holder.pending.remove(&position);
            holder.out -= u32::from(was_out);
            self.drop_if_done(key);
        }
    }

    /// A message that is pending for this holder takes a place in its window now, or no longer.
    pub(super) fn recount(&mut self, key: HolderKey, was_out: bool, is_out: bool) {
        if let Some(holder) = self.holders.get_mut(&key) {
            holder.out = holder.out + u32::from(is_out) - u32::from(was_out);
        }
    }

    /// Nothing is pending for anybody any more.
    pub(super) fn release_all(&mut self) {
        let keys: Vec<HolderKey> = self.holders.keys().copied().collect();
        for key in keys {
            if let Some(holder) = self.holders.get_mut(&key) {
                holder.pending.clear();
                holder.out = 0;
                self.drop_if_done(key);
            }
        }
    }

    fn add(&mut self, member: &Member, rules: ClaimRules) -> HolderKey {
        self.keys += 1;
        let holder = Holder {
            client: member.client.clone(),
            seat: None,
            is_poll: member.is_poll,
            rules,
            out: 0,
            pending: BTreeSet::new(),
        };
        self.bytes += HOLDER_BYTES + holder.client.len();
        let keys = self.clients.entry(holder.client.clone()).or_default();
        keys.push(self.keys);
        self.holders.insert(self.keys, holder);
        self.keys
    }

    fn drop_if_done(&mut self, key: HolderKey) {
        let is_done = |holder: &&Holder| holder.seat.is_none() && holder.pending.is_empty();
        if self.holders.get(&key).filter(is_done).is_none() {
            return;
        }
        let Some(holder) = self.holders.remove(&key) else {
            return;
        };
        self.bytes -= HOLDER_BYTES + holder.client.len();
        if let Some(keys) = self.clients.get_mut(&holder.client) {
            keys.retain(|it| *it != key);
            if keys.is_empty() {
                self.clients.remove(&holder.client);
            }
        }
        self.note_former(holder.client);
    }

    fn note_former(&mut self, client: Arc<str>) {
        if self.former.contains(&client) {
            return;
        }
        if self.former.len() == FORMER_CLIENTS_MAX
            && let Some(oldest) = self.former.pop_front()
        {
            self.bytes -= oldest.len();
        }
        self.bytes += client.len();
        self.former.push_back(client);
    }
}
