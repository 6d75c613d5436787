//! Handing out: what is due again, then what is new, and word of what was lost.

use super::pending::{Entry, HolderKey, State};
use super::state::Consumer;
use super::{Claim, ClaimRules, Claimed, Claims, Seat};
use crate::topic::history::{History, Place};
use crate::topic::id::Position;
use crate::topic::message::Message;
use crate::topic::reading::Batch;

/// Microseconds after which a dead message that was not buried is handed out again.
const BURIAL_RETRY: u64 = 1_000_000;

/// Messages that the log dropped before they were acknowledged: those above `from`, up to `to`.
#[derive(Clone, Copy, Debug)]
pub(in crate::topic) struct Lost {
    pub(in crate::topic) from: Position,
    pub(in crate::topic) to: Position,
    /// Sequence of the last one.
    last: u64,
}

impl Consumer {
    /// Hands out what is due, then what is new. `None` for one without a seat.
    pub(super) fn claim(
        &mut self,
        seat: Seat,
        history: &History,
        batch: Batch,
        now: u64,
        claims: &mut Claims,
        lost: &mut Vec<Lost>,
    ) -> Option<Claim> {
        let key = self.members.at(seat)?;
        self.forget_lost(history.lost(), now, lost);
        while let Some(position) = self.pending.first_ripe(now) {
            self.change(position, |entry| entry.state = State::Due);
        }
        let mut basket = Basket {
            batch,
            messages: 0,
            bytes: 0,
        };
        let mut more = self.hand_out_due(key, history, &mut basket, now, claims);
        if !more && self.pending.first_due().is_none() {
            more = self.hand_out_new(key, history, &mut basket, now, claims);
        }
        let has_dead = !claims.dead.is_empty();
        Some(Claim {
            more: more || (has_dead && self.has_something(history.newest())),
            next_due: self.pending.next_ripe(),
        })
    }

    /// Whether the next claim has to tell of something that the log dropped.
    pub(super) fn misses(&self, lost: Place) -> bool {
        self.place.sequence < lost.sequence || self.pending.first_up_to(lost.position).is_some()
    }

    /// The position goes on behind what the log lost before it was handed out.
    fn skip_lost(&mut self, lost: Place) -> Option<Lost> {
        if self.place.sequence >= lost.sequence {
            return None;
        }
        let from = std::mem::replace(&mut self.place, lost);
        Some(Lost {
            from: from.position,
            to: lost.position,
            last: lost.sequence,
        })
    }

    /// What the log dropped leaves the windows; it is lost unless its `ttl` has run out.
    fn forget_lost(&mut self, trimmed: Place, now: u64, lost: &mut Vec<Lost>) {
        let first_new = self.place.sequence + 1;
        while let Some(position) = self.pending.first_up_to(trimmed.position) {
            let Some(entry) = self.forget(position) else {
                return;
            };
            if entry.expires_at > now {
                let gone = Lost {
                    from: position.previous(),
                    to: position,
                    last: entry.sequence,
                };
                note_lost(lost, entry.sequence, gone);
            }
        }
        if let Some(gone) = self.skip_lost(trimmed) {
            note_lost(lost, first_new, gone);
        }
    }

    /// Returns whether the basket was full before everything was in it.
    fn hand_out_due(
        &mut self,
        key: HolderKey,
        history: &History,
        basket: &mut Basket,
        now: u64,
        claims: &mut Claims,
    ) -> bool {
        while self.members.has_room(key)
            && let Some(position) = self.pending.first_due()
            && let Some(entry) = self.pending.get(position).copied()
        {
            let message = history.get(entry.sequence);
            let Some(message) = message.filter(|message| message.expires_at() > now) else {
                self.forget(position);
                continue;
            };
            if !basket.takes(message) {
                return true;
            }
            self.hand_again(key, position, entry, now, message.clone(), claims);
        }
        false
    }

    /// Hands a message out one more time, or as dead when its attempts are used up.
    fn hand_again(
        &mut self,
        key: HolderKey,
        position: Position,
        entry: Entry,
        now: u64,
        message: Message,
        claims: &mut Claims,
    ) {
        let Some(holder) = self.members.holder(key) else {
            return;
        };
        let attempts_max = holder.rules.max_deliveries;
        let is_dead = attempts_max != 0 && entry.attempts >= attempts_max;
        let held = hold(holder.is_poll, holder.rules, &message, now);
        let attempt = entry.attempts + u32::from(!is_dead);
        self.change(position, |entry| {
            entry.holder = key;
            entry.attempts = attempt;
            (entry.state, entry.until) = if is_dead {
                let until = now.saturating_add(BURIAL_RETRY);
                (State::Dying, until.min(entry.expires_at))
            } else {
                held
            };
        });
        let claimed = Claimed { message, attempt };
        if is_dead {
            claims.dead.push(claimed);
        } else {
            claims.messages.push(claimed);
        }
    }

    /// Returns whether the basket was full before everything was in it.
    fn hand_out_new(
        &mut self,
        key: HolderKey,
        history: &History,
        basket: &mut Basket,
        now: u64,
        claims: &mut Claims,
    ) -> bool {
        let Some(holder) = self.members.holder(key) else {
            return false;
        };
        let (is_poll, rules) = (holder.is_poll, holder.rules);
        for message in history.behind(self.place.sequence, now) {
            if !self.members.has_room(key) {
                return false;
            }
            if !basket.takes(message) {
                return true;
            }
            let (state, until) = hold(is_poll, rules, message, now);
            self.place = Place {
                sequence: message.sequence(),
                position: message.position(),
            };
            self.members.take(key, message.position(), true);
            let entry = Entry {
                sequence: message.sequence(),
                expires_at: message.expires_at(),
                holder: key,
                attempts: 1,
                state,
                until,
            };
            self.pending.put(message.position(), entry);
            claims.messages.push(Claimed {
                message: message.clone(),
                attempt: 1,
            });
        }
        self.place = history.newest();
        false
    }
}

/// In what state a message is handed out, and until when: its `ttl` frees its place too.
fn hold(is_poll: bool, rules: ClaimRules, message: &Message, now: u64) -> (State, u64) {
    let state = if is_poll {
        State::HeldByPoll
    } else {
        State::Held
    };
    let until = now.saturating_add(rules.ack_timeout);
    (state, until.min(message.expires_at()))
}

/// Adds what was lost from sequence `first` on; what follows right behind the last is one with it.
fn note_lost(lost: &mut Vec<Lost>, first: u64, gone: Lost) {
    match lost.last_mut() {
        Some(before) if before.last + 1 == first => {
            before.to = gone.to;
            before.last = gone.last;
        }
        _ => lost.push(gone),
    }
}

/// What is handed out at once.
struct Basket {
    batch: Batch,
    messages: usize,
    bytes: usize,
}

impl Basket {
    /// Puts a message in, if there is room; the first has room always.
    fn takes(&mut self, message: &Message) -> bool {
        let bytes = self.bytes + message.frame().len();
        let is_full = self.messages >= self.batch.messages_max || bytes > self.batch.bytes_max;
        if is_full && self.messages > 0 {
            return false;
        }
        self.messages += 1;
        self.bytes = bytes;
        true
    }
}
