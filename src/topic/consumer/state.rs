//! One consumer: its position, what is pending, and for whom.

use super::members::{Members, Workers};
use super::pending::{Entry, HolderKey, Pending, State};
use super::{ClaimRules, Member, Seat};
use crate::topic::history::Place;
use crate::topic::id::Position;

/// Bytes that a consumer costs without its names and members.
const CONSUMER_BYTES: usize = 640;
/// Bytes that a pending message costs, with its places in the indexes.
const PENDING_BYTES: usize = 128;

/// What a client does with something that is pending for it.
#[derive(Clone, Copy, Debug)]
pub(in crate::topic) enum Settling {
    /// It is done with it.
    Acknowledge,
    /// It is done with it and with all that stands before it.
    AcknowledgeUpTo,
    /// It wants it again, `delay` microseconds after `now`.
    Nack { now: u64, delay: u64 },
}

/// State of one consumer in one topic.
///
/// New messages are handed out only when nothing is due, and to members with room in their windows:
/// so there is never more pending than all windows of its holders together.
#[derive(Debug)]
pub(super) struct Consumer {
    /// Everything up to here has been handed out or is gone: the durable position.
    pub(super) place: Place,
    pub(super) pending: Pending,
    pub(super) members: Members,
    /// When the last member went, in monotonic microseconds.
    idle_since: u64,
}

impl Consumer {
    pub(super) fn new(place: Place, now: u64) -> Consumer {
        Consumer {
            place,
            pending: Pending::default(),
            members: Members::default(),
            idle_since: now,
        }
    }

    /// Starts anew from a place.
    pub(super) fn reset(&mut self, place: Place) {
        self.place = place;
        self.pending = Pending::default();
        self.members.release_all();
    }

    /// Messages that are pending.
    pub(super) fn pending_len(&self) -> usize {
        self.pending.len()
    }

    /// Bytes that it costs, without its name.
    pub(super) fn bytes(&self) -> usize {
        CONSUMER_BYTES + self.members.bytes() + PENDING_BYTES * self.pending.len()
    }

    /// Whether it has had no member for `retention` microseconds.
    pub(super) fn is_abandoned(&self, now: u64, retention: u64) -> bool {
        self.members.seated() == 0 && now.saturating_sub(self.idle_since) >= retention
    }

    /// Whether this message is pending for anybody.
    pub(super) fn is_pending(&self, position: Position) -> bool {
        self.pending.get(position).is_some()
    }

    /// Seats the only member, who takes over from another one.
    pub(super) fn take_over(&mut self, member: &Member, rules: ClaimRules) -> Option<Seat> {
        let key = self.members.of_client(&member.client).first().copied();
        let before = key.and_then(|key| self.members.holder(key)?.seat);
        let replaced = before.filter(|before| *before != member.seat);
        if let Some(key) = key.filter(|_| replaced.is_some()) {
            self.give_back(key);
        }
        self.members.sit(key, member, rules);
        replaced
    }

    /// Seats one more member. What is pending for its client from an earlier seat is its own again.
    pub(super) fn join(&mut self, member: &Member, rules: ClaimRules) {
        let keys = self.members.of_client(&member.client);
        let is_free = |key: &&HolderKey| {
            let holder = self.members.holder(**key);
            holder.is_some_and(|it| it.seat.is_none_or(|seat| seat == member.seat))
        };
        let key = keys.iter().find(is_free).copied();
        self.members.sit(key, member, rules);
    }

    /// A member goes. Returns whom to tell.
    pub(super) fn leave(&mut self, seat: Seat, newest: Place, now: u64) -> Workers {
        let Some(key) = self.members.at(seat) else {
            return 0;
        };
        self.give_back(key);
        self.members.stand_up(key);
        if self.members.seated() == 0 {
            self.idle_since = now;
        }
        // Also when the next time of something pending was known to the one alone that went.
        let is_waiting = self.pending.next_ripe() != u64::MAX;
        if is_waiting || self.has_something(newest) {
            self.members.workers()
        } else {
            0
        }
    }

    /// Settles what is pending for a client at a position (and before it). Returns how many that
    /// were; adds whom to tell to `workers`.
    pub(super) fn settle(
        &mut self,
        position: Position,
        client: &str,
        settling: Settling,
        newest: Place,
        workers: &mut Workers,
    ) -> u32 {
        if matches!(settling, Settling::AcknowledgeUpTo) {
            return self.acknowledge_up_to(position, client, newest, workers);
        }
        let Some(entry) = self.pending.get(position).copied() else {
            return 0;
        };
        let holder = self.members.holder(entry.holder);
        if holder.is_none_or(|holder| *holder.client != *client) {
            return 0;
        }
        match settling {
            Settling::Nack { now, delay } => *workers |= self.nack(position, entry, now, delay),
            _ => *workers |= self.acknowledge(position, entry.holder, newest),
        }
        1
    }

    /// A dead message has been taken care of.
    pub(super) fn bury(&mut self, position: Position) {
        if self
            .pending
            .get(position)
            .is_some_and(|entry| entry.state == State::Dying)
        {
            self.forget(position);
        }
    }

    fn acknowledge_up_to(
        &mut self,
        position: Position,
        client: &str,
        newest: Place,
        workers: &mut Workers,
    ) -> u32 {
        let mut acknowledged = 0;
        for key in self.members.of_client(client) {
            while let Some(first) = self.first_held(key).filter(|first| *first <= position) {
                *workers |= self.acknowledge(first, key, newest);
                acknowledged += 1;
            }
        }
        acknowledged
    }

    fn first_held(&self, key: HolderKey) -> Option<Position> {
        self.members.holder(key)?.pending.first().copied()
    }

    /// Returns whom to tell: the holder, if its window was full and something waits for it.
    fn acknowledge(&mut self, position: Position, key: HolderKey, newest: Place) -> Workers {
        let was_full = !self.members.has_room(key);
        self.forget(position);
        let seat = self.members.holder(key).and_then(|holder| holder.seat);
        match seat.filter(|_| was_full && self.members.has_room(key)) {
            Some(seat) if self.has_something(newest) => 1 << seat.worker,
            _ => 0,
        }
    }

    /// Returns whom to tell: all, if this is the next that becomes due.
    fn nack(&mut self, position: Position, entry: Entry, now: u64, delay: u64) -> Workers {
        if entry.state == State::Dying {
            // It is not delivered again, whatever its holder wants.
            return 0;
        }
        let until = now.saturating_add(delay).min(entry.expires_at);
        self.change(position, |entry| {
            entry.until = until;
            entry.state = if delay == 0 {
                State::Due
            } else {
                State::Delayed
            };
        });
        if delay == 0 || until == self.pending.next_ripe() {
            self.members.workers()
        } else {
            0
        }
    }

    /// What a connection was given is due at once when it goes; what it has put off, or what a poll
    /// was given, is not.
    fn give_back(&mut self, key: HolderKey) {
        let Some(holder) = self.members.holder(key) else {
            return;
        };
        let is_held = |position: &Position| {
            let entry = self.pending.get(*position);
            entry.is_some_and(|entry| entry.state == State::Held)
        };
        let held: Vec<Position> = holder.pending.iter().copied().filter(is_held).collect();
        for position in held {
            self.change(position, |entry| entry.state = State::Due);
        }
    }

    /// Whether there is something to claim now.
    pub(super) fn has_something(&self, newest: Place) -> bool {
        self.pending.first_due().is_some() || self.place.sequence < newest.sequence
    }

    /// Changes an entry, and with it the windows.
    pub(super) fn change(&mut self, position: Position, change: impl FnOnce(&mut Entry)) {
        let Some(before) = self.pending.get(position).copied() else {
            return;
        };
        let mut after = before;
        change(&mut after);
        // Taken before it is released, since a holder without a seat goes with what it holds last.
        if before.holder != after.holder {
            self.members
                .take(after.holder, position, after.state.is_out());
            self.members
                .release(before.holder, position, before.state.is_out());
        } else {
            self.members
                .recount(after.holder, before.state.is_out(), after.state.is_out());
        }
        self.pending.put(position, after);
    }

    /// Something is not pending any more.
    pub(super) fn forget(&mut self, position: Position) -> Option<Entry> {
        let entry = self.pending.remove(position)?;
        self.members
            .release(entry.holder, position, entry.state.is_out());
        Some(entry)
    }
}
