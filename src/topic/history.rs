//! The log of one topic: its recent messages in order, bounded from outside.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use super::id::Position;
use super::message::Message;

/// A place in a log by both of its numbers: that of a message, or where reading goes on behind it.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Place {
    /// Dense, local to the process.
    pub sequence: u64,
    /// As in ids.
    pub position: Position,
}

/// Bounds of one topic's log.
#[derive(Clone, Copy, Debug)]
pub struct HistoryLimits {
    /// Messages kept.
    pub messages_max: usize,
    /// Bytes kept, overhead included.
    pub bytes_max: u64,
    /// Age, in microseconds.
    pub retention_micros: u64,
}

/// Messages `oldest .. newest` without holes in sequence. A message whose `ttl` ran out leaves an
/// empty slot until it is the oldest.
///
/// ```text
///   trimmed │ oldest                    newest │ next publish
///   ────────┼──────┬──────┬──────┬──────┬──────┼─────────────
///     lost ─┘  m5  │  m6  │ (ttl)│  m8  │  m9  │
/// ```
#[derive(Debug)]
pub(super) struct History {
    /// What is kept; absent while that is nothing, for a topic with subscribers alone is small.
    log: Option<Box<Log>>,
    /// The two numbers of both places stand apart: together they would take eight bytes more, in
    /// every topic.
    ///
    /// Of the newest message ever stored, or what the log started behind.
    newest_sequence: u64,
    newest_position: Position,
    /// The newest message that trimming took; `ttl` does not count.
    lost_position: Position,
    lost_sequence: u64,
}

#[derive(Default, Debug)]
pub(super) struct Log {
    /// The newest message stands at the back, also when its `ttl` ran out; the front is taken.
    slots: VecDeque<Slot>,
    /// Messages kept, empty slots not counted.
    messages: usize,
    /// Their cost.
    bytes: u64,
    /// Ends of `ttl`s with the sequences they belong to; absent where no message has one.
    expiries: Option<Box<Expiries>>,
}

/// Monotonic microseconds and sequence, the earliest on top.
type Expiries = BinaryHeap<Reverse<(u64, u64)>>;

#[derive(Debug)]
struct Slot {
    position: Position,
    message: Option<Message>,
}

impl History {
    /// An empty log behind `newest`, in which everything up to `lost` counts as trimmed.
    pub(super) fn new(newest: Position, lost: Position) -> History {
        History {
            log: None,
            newest_sequence: 0,
            newest_position: newest,
            lost_position: lost,
            lost_sequence: 0,
        }
    }

    /// Place of the newest message ever stored.
    pub(super) fn newest(&self) -> Place {
        Place {
            sequence: self.newest_sequence,
            position: self.newest_position,
        }
    }

    /// Place of the newest message that trimming took. What is kept begins behind it.
    pub(super) fn lost(&self) -> Place {
        Place {
            sequence: self.lost_sequence,
            position: self.lost_position,
        }
    }

    fn set_lost(&mut self, lost: Place) {
        self.lost_sequence = lost.sequence;
        self.lost_position = lost.position;
    }

    /// Messages kept.
    pub(super) fn len(&self) -> usize {
        self.log.as_ref().map_or(0, |log| log.messages)
    }

    /// Whether no message is kept.
    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Sequence of the oldest message kept.
    pub(super) fn oldest_sequence(&self) -> Option<u64> {
        let log = self.log.as_ref()?;
        Some(self.newest_sequence + 1 - log.slots.len() as u64)
    }

    /// Cost of the messages kept.
    pub(super) fn bytes(&self) -> u64 {
        self.log.as_ref().map_or(0, |log| log.bytes)
    }

    /// Stores a message that stands right behind [`History::newest`].
    pub(super) fn push(&mut self, message: Message) {
        debug_assert_eq!(
            message.sequence(),
            self.newest_sequence + 1,
            "sequences are dense"
        );
        debug_assert!(
            message.position() > self.newest_position,
            "positions increase"
        );
        self.newest_sequence = message.sequence();
        self.newest_position = message.position();
        self.log.get_or_insert_default().push(message);
    }

    /// Empties the slots of messages whose `ttl` ran out, at most `most`; what it took goes to
    /// `dropped`, to be freed outside of any lock.
    pub(super) fn expire(&mut self, now_micros: u64, most: usize, dropped: &mut Vec<Message>) {
        let Some(log) = &mut self.log else { return };
        log.expire(self.newest_sequence, now_micros, most, dropped);
        self.shrink();
    }

    /// Trims from the oldest: what is over the count and the age, but nothing above `floor` (the
    /// sequence that all live readers have read); what is over `bytes_max`, wherever it stands. At
    /// most `most` messages; what it took goes to `dropped`.
    pub(super) fn trim(
        &mut self,
        limits: &HistoryLimits,
        floor: u64,
        now_micros: u64,
        most: usize,
        dropped: &mut Vec<Message>,
    ) {
        let Some(oldest_kept) = now_micros.checked_sub(limits.retention_micros) else {
            // Nothing can be too old yet.
            return self.trim_while(now_micros, most, dropped, |log, oldest| {
                log.bytes > limits.bytes_max
                    || (log.messages > limits.messages_max && oldest.sequence() <= floor)
            });
        };
        self.trim_while(now_micros, most, dropped, |log, oldest| {
            let is_due = log.messages > limits.messages_max || oldest.stored_at() <= oldest_kept;
            log.bytes > limits.bytes_max || (is_due && oldest.sequence() <= floor)
        });
    }

    /// Takes out the oldest message. It is lost, unless its `ttl` ran out before anybody noticed.
    pub(super) fn trim_oldest(&mut self, now_micros: u64) -> Option<Message> {
        let message = self.log.as_mut()?.take_oldest()?;
        if message.expires_at() > now_micros {
            self.set_lost(message.place());
        }
        self.shrink();
        Some(message)
    }

    /// The place from which reading goes on so that just the messages above `position` follow.
    /// Below [`History::lost`] that is not possible: then the place of `lost`.
    pub(super) fn place_behind(&self, position: Position) -> Place {
        if position < self.lost_position {
            return self.lost();
        }
        let Some((log, oldest)) = self.log.as_ref().zip(self.oldest_sequence()) else {
            return self.newest();
        };
        let below = log.slots.partition_point(|slot| slot.position <= position);
        Place {
            sequence: oldest + below as u64 - 1,
            position,
        }
    }

    /// The message of a sequence, if it is kept; it may have expired.
    pub(super) fn get(&self, sequence: u64) -> Option<&Message> {
        let (log, oldest) = self.log.as_ref().zip(self.oldest_sequence())?;
        let index = usize::try_from(sequence.checked_sub(oldest)?).ok()?;
        log.slots.get(index)?.message.as_ref()
    }

    /// The message of a position, if it is kept; it may have expired.
    pub(super) fn at(&self, position: Position) -> Option<&Message> {
        let message = self.get(self.place_behind(position).sequence)?;
        (message.position() == position).then_some(message)
    }

    /// Messages behind `sequence` that have not expired, oldest first.
    pub(super) fn behind(&self, sequence: u64, now_micros: u64) -> impl Iterator<Item = &Message> {
        let oldest = self.oldest_sequence().unwrap_or(u64::MAX);
        let skip = usize::try_from((sequence + 1).saturating_sub(oldest)).unwrap_or(usize::MAX);
        let slots = self
            .log
            .iter()
            .flat_map(move |log| log.slots.range(skip.min(log.slots.len())..));
        slots
            .filter_map(|slot| slot.message.as_ref())
            .filter(move |message| message.expires_at() > now_micros)
    }

    /// Messages below `position`, or all, that have not expired, newest first.
    pub(super) fn below(
        &self,
        position: Option<Position>,
        now_micros: u64,
    ) -> impl Iterator<Item = &Message> {
        let slots = self.log.iter().flat_map(move |log| {
            let end = position.map_or(log.slots.len(), |position| {
                log.slots.partition_point(|slot| slot.position < position)
            });
            log.slots.range(..end).rev()
        });
        slots
            .filter_map(|slot| slot.message.as_ref())
            .filter(move |message| message.expires_at() > now_micros)
    }

    /// Takes everything out; what has not expired is lost. The result is for dropping outside of
    /// any lock.
    pub(super) fn clear(&mut self, now_micros: u64) -> Option<Box<Log>> {
        let newest_lost = self.below(None, now_micros).next().map(Message::place);
        self.set_lost(newest_lost.unwrap_or(self.lost()));
        self.log.take()
    }

    /// Empties the log, which goes on behind `newest`, wherever that is: all that came before is
    /// lost. Unless that is where the log stands this takes a sequence, so that also who has read
    /// everything has missed something. The result is for dropping outside of any lock.
    pub(super) fn restart(&mut self, newest: Position) -> Option<Box<Log>> {
        if newest != self.newest_position {
            self.newest_sequence += 1;
            self.newest_position = newest;
        }
        self.set_lost(self.newest());
        self.log.take()
    }

    /// Whether a message of this position, which is not above the newest, stood here. Of what
    /// trimming took that cannot be told, and is presumed; of messages whose `ttl` ran out it is
    /// forgotten once they are the oldest.
    pub(super) fn had(&self, position: Position) -> bool {
        let is_kept = |log: &Log| {
            let found = log
                .slots
                .binary_search_by_key(&position, |slot| slot.position);
            found.is_ok()
        };
        position <= self.lost_position
            || position == self.newest_position
            || self.log.as_deref().is_some_and(is_kept)
    }

    fn trim_while(
        &mut self,
        now_micros: u64,
        most: usize,
        dropped: &mut Vec<Message>,
        is_due: impl Fn(&Log, &Message) -> bool,
    ) {
        for _ in 0..most {
            let Some(log) = &self.log else { return };
            if !log.oldest().is_some_and(|oldest| is_due(log, oldest)) {
                return;
            }
            dropped.extend(self.trim_oldest(now_micros));
        }
    }

    /// Gives memory back once a burst is over, and all of it with the last message.
    fn shrink(&mut self) {
        let Some(log) = &mut self.log else { return };
        let (len, capacity) = (log.slots.len(), log.slots.capacity());
        if len == 0 {
            self.log = None;
        } else if capacity > 64 && len < capacity / 4 {
            log.slots.shrink_to(capacity / 2);
        }
    }
}

impl Log {
    fn push(&mut self, message: Message) {
        self.messages += 1;
        self.bytes += message.cost();
        if message.expires_at() != u64::MAX {
            self.note_expiry(message.expires_at(), message.sequence());
        }
        self.slots.push_back(Slot {
            position: message.position(),
            message: Some(message),
        });
    }

    fn oldest(&self) -> Option<&Message> {
        self.slots.front()?.message.as_ref()
    }

    fn take_oldest(&mut self) -> Option<Message> {
        let message = self.slots.pop_front()?.message;
        let message = message.expect("empty slots do not stay at the front");
        self.forget(&message);
        Some(message)
    }

    fn expire(&mut self, newest: u64, now_micros: u64, most: usize, dropped: &mut Vec<Message>) {
        for _ in 0..most {
            let Some(expiries) = &mut self.expiries else {
                return;
            };
            let due = expiries.peek().filter(|Reverse((at, _))| *at <= now_micros);
            let Some(Reverse((_, sequence))) = due.copied() else {
                break;
            };
            expiries.pop();
            // An entry whose message was trimmed before points in front of the slots.
            let from_back = usize::try_from(newest - sequence).unwrap_or(usize::MAX);
            let Some(index) = self.slots.len().checked_sub(from_back.saturating_add(1)) else {
                continue;
            };
            if let Some(message) = self.slots[index].message.take() {
                self.forget(&message);
                dropped.push(message);
            }
        }
        if self
            .expiries
            .as_ref()
            .is_some_and(|expiries| expiries.is_empty())
        {
            self.expiries = None;
        }
    }

    /// Counts a message out that was taken from its slot, and drops slots that are empty in front.
    fn forget(&mut self, message: &Message) {
        self.messages -= 1;
        self.bytes -= message.cost();
        while self
            .slots
            .front()
            .is_some_and(|slot| slot.message.is_none())
        {
            self.slots.pop_front();
        }
    }

    /// Remembers when a message ends. Entries of messages that were trimmed before stay behind, so
    /// the heap is made anew when more than half of it could be such.
    fn note_expiry(&mut self, expires_at: u64, sequence: u64) {
        let expiries = self.expiries.get_or_insert_default();
        if expiries.len() > 2 * self.slots.len() + 64 {
            let kept = self.slots.iter().filter_map(|slot| slot.message.as_ref());
            **expiries = kept
                .filter(|message| message.expires_at() != u64::MAX)
                .map(|message| Reverse((message.expires_at(), message.sequence())))
                .collect();
        }
        expiries.push(Reverse((expires_at, sequence)));
    }
}
