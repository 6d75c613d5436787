//! What a consumer was given and has not acknowledged, by position and by time.

use std::collections::{BTreeMap, BTreeSet};

use crate::topic::id::Position;

/// Names a holder within its consumer.
pub(super) type HolderKey = u64;

/// What a pending message waits for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum State {
    /// The acknowledgement of a connection.
    Held,
    /// The acknowledgement of a poll, which does not go with it.
    HeldByPoll,
    /// The end of a delay.
    Delayed,
    /// Its burial.
    Dying,
    /// Somebody who claims it again.
    Due,
}

impl State {
    /// Whether it takes a place in the window of its holder.
    pub(super) fn is_out(self) -> bool {
        self != State::Due
    }
}

/// A pending message. The log has its bytes; here is what must be known without the log, or after
/// it has dropped the message.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    pub(super) sequence: u64,
    /// Monotonic microseconds; `u64::MAX` for never.
    pub(super) expires_at: u64,
    /// For whom it is pending: who got it last.
    pub(super) holder: HolderKey,
    /// Deliveries so far.
    pub(super) attempts: u32,
    pub(super) state: State,
    /// When it is due, in monotonic microseconds; of no meaning once it is.
    pub(super) until: u64,
}

/// All pending messages of one consumer.
#[derive(Default, Debug)]
pub(super) struct Pending {
    entries: BTreeMap<Position, Entry>,
    /// Those that wait for a time, the earliest first.
    timers: BTreeSet<(u64, Position)>,
    /// Those in [`State::Due`].
    due: BTreeSet<Position>,
}

impl Pending {
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn get(&self, position: Position) -> Option<&Entry> {
        self.entries.get(&position)
    }

    /// Adds an entry, or replaces it.
    pub(super) fn put(&mut self, position: Position, entry: Entry) {
        if let Some(before) = self.entries.insert(position, entry) {
            self.unlist(position, before);
        }
        if entry.state == State::Due {
            self.due.insert(position);
        } else {
            self.timers.insert((entry.until, position));
        }
    }

    pub(super) fn remove(&mut self, position: Position) -> Option<Entry> {
        let entry = self.entries.remove(&position)?;
        self.unlist(position, entry);
        Some(entry)
    }

    /// The lowest position, if it is not above `position`.
    pub(super) fn first_up_to(&self, position: Position) -> Option<Position> {
        let (first, _) = self.entries.first_key_value()?;
        (*first <= position).then_some(*first)
    }

    /// An entry whose time has come.
    pub(super) fn first_ripe(&self, now: u64) -> Option<Position> {
        let (until, position) = self.timers.first()?;
        (*until <= now).then_some(*position)
    }

    /// The lowest of those that are due.
    pub(super) fn first_due(&self) -> Option<Position> {
        self.due.first().copied()
    }

    /// When the next one becomes due; `u64::MAX` for never.
    pub(super) fn next_ripe(&self) -> u64 {
        self.timers.first().map_or(u64::MAX, |(until, _)| *until)
    }

    fn unlist(&mut self, position: Position, entry: Entry) {
        if entry.state == State::Due {
            self.due.remove(&position);
        } else {
            self.timers.remove(&(entry.until, position));
        }
    }
}
