//! A consumer as plainly as it can be said: lists, and a look at all of them each time.

use std::collections::{BTreeMap, BTreeSet};

use super::super::{Ack, Member};

/// What became of a message for one consumer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Fate {
    Acknowledged,
    Buried,
    Lost,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    Held { by_poll: bool },
    Delayed,
    Dying,
    Due,
}

#[derive(Clone, Debug)]
pub(super) struct Pending {
    pub(super) holder: usize,
    pub(super) attempts: u32,
    pub(super) kind: Kind,
    pub(super) until: u64,
}

/// A member, or what is left of one.
#[derive(Clone, Debug)]
pub(super) struct Holder {
    pub(super) client: String,
    pub(super) seat: Option<Member>,
    pub(super) window: usize,
    pub(super) ack_timeout: u64,
    pub(super) max_deliveries: u32,
}

/// A message as far as consumers care.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sent {
    pub(super) expires_at: u64,
    pub(super) is_alive: bool,
}

/// What a claim must hand out.
#[derive(Default, PartialEq, Eq, Debug)]
pub(super) struct Expected {
    pub(super) messages: Vec<(u64, u32)>,
    pub(super) dead: Vec<(u64, u32)>,
    /// What a gap must cover.
    pub(super) lost: Vec<u64>,
    pub(super) more: bool,
    pub(super) next_due: u64,
}

#[derive(Default, Debug)]
pub(super) struct Naive {
    pub(super) is_group: bool,
    pub(super) place: u64,
    pub(super) pending: BTreeMap<u64, Pending>,
    /// By number; those that are gone are empty.
    pub(super) holders: Vec<Option<Holder>>,
    pub(super) former: BTreeSet<String>,
    pub(super) fates: BTreeMap<u64, Fate>,
    /// Sequences up to here were never asked for.
    pub(super) started: u64,
}

impl Naive {
    pub(super) fn start(&mut self, place: u64) {
        self.place = place;
        self.started = place;
        self.pending.clear();
        self.fates.clear();
        self.clean();
    }

    /// The holder that takes this seat.
    pub(super) fn attach(&mut self, holder: Holder) -> usize {
        let is_fit = |it: &Option<Holder>| {
            it.as_ref().is_some_and(|it| {
                it.client == holder.client && (!self.is_group || it.seat.is_none())
            })
        };
        if let Some(key) = self.holders.iter().position(is_fit) {
            if self.holders[key].as_ref().unwrap().seat.is_some() {
                self.give_back(key);
            }
            self.holders[key] = Some(holder);
            return key;
        }
        self.holders.push(Some(holder));
        self.holders.len() - 1
    }

    pub(super) fn detach(&mut self, key: usize) {
        self.give_back(key);
        self.holders[key].as_mut().unwrap().seat = None;
        self.clean();
    }

    fn give_back(&mut self, key: usize) {
        for pending in self.pending.values_mut().filter(|it| it.holder == key) {
            if pending.kind == (Kind::Held { by_poll: false }) {
                pending.kind = Kind::Due;
            }
        }
    }

    /// Who has neither a seat nor anything pending is gone.
    fn clean(&mut self) {
        for key in 0..self.holders.len() {
            let holds = self.pending.values().any(|it| it.holder == key);
            let is_gone = |it: &&mut Holder| it.seat.is_none() && !holds;
            if let Some(holder) = self.holders[key].as_mut().filter(is_gone) {
                self.former.insert(holder.client.clone());
                self.holders[key] = None;
            }
        }
    }

    pub(super) fn room(&self, key: usize) -> usize {
        let is_out = |it: &&Pending| it.holder == key && it.kind != Kind::Due;
        let out = self.pending.values().filter(is_out).count();
        self.holders[key]
            .as_ref()
            .map_or(0, |it| it.window.saturating_sub(out))
    }

    pub(super) fn lose(&mut self, lost: u64, sent: &[Sent], now: u64, expected: &mut Expected) {
        let mut gone: Vec<u64> = self.pending.range(..=lost).map(|it| *it.0).collect();
        gone.extend(self.place + 1..=lost);
        for sequence in gone {
            self.pending.remove(&sequence);
            if sent[sequence as usize].expires_at > now {
                self.fates.insert(sequence, Fate::Lost);
                expected.lost.push(sequence);
            }
        }
        self.place = self.place.max(lost);
        self.clean();
    }

    pub(super) fn claim(
        &mut self,
        key: usize,
        (most, now): (usize, u64),
        lost: u64,
        sent: &[Sent],
    ) -> Expected {
        let mut expected = Expected::default();
        self.lose(lost, sent, now, &mut expected);
        for pending in self.pending.values_mut() {
            if pending.until <= now {
                pending.kind = Kind::Due;
            }
        }
        let holder = self.holders[key].clone().unwrap();
        let by_poll = holder.seat.as_ref().unwrap().is_poll;
        let ends = |sequence: u64, span: u64| (now + span).min(sent[sequence as usize].expires_at);
        let mut count = 0;
        while self.room(key) > 0 && !expected.more {
            let Some(sequence) = self.first_due() else {
                break;
            };
            if !sent[sequence as usize].is_alive {
                self.pending.remove(&sequence);
                self.clean();
            } else if count == most {
                expected.more = true;
            } else {
                count += 1;
                let pending = self.pending.get_mut(&sequence).unwrap();
                pending.holder = key;
                if holder.max_deliveries > 0 && pending.attempts >= holder.max_deliveries {
                    pending.kind = Kind::Dying;
                    pending.until = ends(sequence, 1_000_000);
                    expected.dead.push((sequence, pending.attempts));
                } else {
                    pending.attempts += 1;
                    pending.kind = Kind::Held { by_poll };
                    pending.until = ends(sequence, holder.ack_timeout);
                    expected.messages.push((sequence, pending.attempts));
                }
                self.clean();
            }
        }
        while !expected.more && self.first_due().is_none() {
            let newest = sent.len() as u64 - 1;
            let is_alive = |it: &u64| sent[*it as usize].is_alive;
            let Some(next) = (self.place + 1..=newest).find(is_alive) else {
                self.place = newest;
                break;
            };
            if self.room(key) == 0 {
                break;
            }
            if count == most {
                expected.more = true;
                break;
            }
            count += 1;
            self.place = next;
            let pending = Pending {
                holder: key,
                attempts: 1,
                kind: Kind::Held { by_poll },
                until: ends(next, holder.ack_timeout),
            };
            self.pending.insert(next, pending);
            expected.messages.push((next, 1));
        }
        let has_more = self.first_due().is_some() || self.place + 1 < sent.len() as u64;
        expected.more |= !expected.dead.is_empty() && has_more;
        let waiting = self.pending.values().filter(|it| it.kind != Kind::Due);
        expected.next_due = waiting.map(|it| it.until).min().unwrap_or(u64::MAX);
        expected
    }

    pub(super) fn first_due(&self) -> Option<u64> {
        let due = self.pending.iter().find(|(_, it)| it.kind == Kind::Due);
        due.map(|(sequence, _)| *sequence)
    }

    fn is_for(&self, pending: &Pending, client: &str) -> bool {
        self.holders[pending.holder].as_ref().unwrap().client == client
    }

    pub(super) fn acknowledge(&mut self, sequence: u64, client: &str, cumulative: bool) -> u32 {
        let from = if cumulative { 0 } else { sequence };
        let range = self.pending.range(from..=sequence);
        let done: Vec<u64> = range
            .filter(|(_, it)| self.is_for(it, client))
            .map(|it| *it.0)
            .collect();
        for sequence in &done {
            self.pending.remove(sequence);
            self.fates.insert(*sequence, Fate::Acknowledged);
        }
        self.clean();
        done.len() as u32
    }

    pub(super) fn nack(&mut self, sequence: u64, client: &str, until: u64, now: u64) -> u32 {
        let found = self.pending.get(&sequence).cloned();
        let Some(mut pending) = found.filter(|it| self.is_for(it, client)) else {
            return 0;
        };
        if pending.kind != Kind::Dying {
            pending.until = until;
            pending.kind = if until == now {
                Kind::Due
            } else {
                Kind::Delayed
            };
            self.pending.insert(sequence, pending);
        }
        1
    }

    pub(super) fn bury(&mut self, sequence: u64) {
        self.pending.remove(&sequence);
        self.fates.insert(sequence, Fate::Buried);
        self.clean();
    }

    /// What a client is told for which this is not pending.
    pub(super) fn refusal(&self, sequence: u64, client: &str, is_preferred: bool) -> Option<Ack> {
        let knows = self.holders.iter().flatten().any(|it| it.client == client);
        let is_known = is_preferred || knows || self.former.contains(client);
        let is_elsewhere = self.is_group && self.pending.contains_key(&sequence);
        is_known.then_some(if is_elsewhere {
            Ack::Reassigned
        } else {
            Ack::NotPending
        })
    }
}
