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
    slots: VecDeque<Slot>,
    /// Of the newest message ever stored, or what the log started behind.
    newest: Place,
    /// The newest message that trimming took; `ttl` does not count.
    lost: Place,
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
            slots: VecDeque::new(),
            newest: Place {
                sequence: 0,
                position: newest,
            },
            lost: Place {
                sequence: 0,
                position: lost,
            },
            messages: 0,
            bytes: 0,
            expiries: None,
        }
    }

    /// Place of the newest message ever stored.
    pub(super) fn newest(&self) -> Place {
        self.newest
    }

    /// Place of the newest message that trimming took. What is kept begins behind it.
    pub(super) fn lost(&self) -> Place {
        self.lost
    }

    /// Messages kept.
    pub(super) fn len(&self) -> usize {
        self.messages
    }

    /// Whether no message is kept.
    pub(super) fn is_empty(&self) -> bool {
        self.messages == 0
    }

    /// Sequence of the oldest message kept.
    pub(super) fn oldest_sequence(&self) -> Option<u64> {
        self.slots.front().map(|_| self.first_sequence())
    }

    /// Cost of the messages kept.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Stores a message that stands right behind [`History::newest`].
    pub(super) fn push(&mut self, message: Message) {
        debug_assert_eq!(
            message.sequence(),
            self.newest.sequence + 1,
            "sequences are dense"
        );
        debug_assert!(
            message.position() > self.newest.position,
            "positions increase"
        );
        self.newest = Place {
            sequence: message.sequence(),
            position: message.position(),
        };
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

    /// Empties the slots of messages whose `ttl` ran out, at most `most`; what it took goes to
    /// `dropped`, to be freed outside of any lock.
    pub(super) fn expire(&mut self, now_micros: u64, most: usize, dropped: &mut Vec<Message>) {
        for _ in 0..most {
            let Some(expiries) = &mut self.expiries else {
                return;
            };
            match expiries.peek() {
                Some(Reverse((at, _))) if *at <= now_micros => {}
                Some(_) => return,
                None => {
                    self.expiries = None;
                    return;
                }
            }
            let Some(Reverse((_, sequence))) = expiries.pop() else {
                return;
            };
            let Some(index) = self.index_of(sequence) else {
                continue;
            };
            if let Some(message) = self.slots[index].message.take() {
                self.forget(&message);
                dropped.push(message);
            }
            self.drop_empty_front();
        }
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
        let oldest_kept = now_micros.saturating_sub(limits.retention_micros);
        for _ in 0..most {
            let Some(Slot {
                message: Some(oldest),
                ..
            }) = self.slots.front()
            else {
                break;
            };
            let spared = oldest.sequence() > floor;
            let over_count = self.messages > limits.messages_max;
            let over_age =
                limits.retention_micros <= now_micros && oldest.stored_at() <= oldest_kept;
            if self.bytes <= limits.bytes_max && (spared || !(over_count || over_age)) {
                break;
            }
            dropped.extend(self.trim_oldest());
        }
        self.shrink();
    }

    /// Trims the oldest message.
    pub(super) fn trim_oldest(&mut self) -> Option<Message> {
        let Slot { position, message } = self.slots.pop_front()?;
        let message = message.expect("empty slots do not stay at the front");
        self.lost = Place {
            sequence: message.sequence(),
            position,
        };
        self.forget(&message);
        self.drop_empty_front();
        Some(message)
    }

    /// The place from which reading goes on so that just the messages above `position` follow.
    /// Below [`History::lost`] that is not possible: then the place of `lost`.
    pub(super) fn place_behind(&self, position: Position) -> Place {
        if position < self.lost.position || self.slots.is_empty() {
            return if position < self.lost.position {
                self.lost
            } else {
                self.newest
            };
        }
        let below = self.slots.partition_point(|slot| slot.position <= position);
        let sequence = self.first_sequence() + below as u64 - 1;
        Place { sequence, position }
    }

    /// Messages behind `sequence` that have not expired, oldest first.
    pub(super) fn behind(&self, sequence: u64, now_micros: u64) -> impl Iterator<Item = &Message> {
        let skip = (sequence + 1).saturating_sub(self.first_sequence());
        let skip = usize::try_from(skip)
            .unwrap_or(usize::MAX)
            .min(self.slots.len());
        self.slots
            .range(skip..)
            .filter_map(|slot| slot.message.as_ref())
            .filter(move |message| message.expires_at() > now_micros)
    }

    fn first_sequence(&self) -> u64 {
        self.newest.sequence + 1 - self.slots.len() as u64
    }

    fn index_of(&self, sequence: u64) -> Option<usize> {
        let index = sequence.checked_sub(self.first_sequence())?;
        usize::try_from(index)
            .ok()
            .filter(|index| *index < self.slots.len())
    }

    fn forget(&mut self, message: &Message) {
        self.messages -= 1;
        self.bytes -= message.cost();
    }

    fn drop_empty_front(&mut self) {
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

    /// Gives memory back once a burst is over.
    fn shrink(&mut self) {
        if self.slots.is_empty() {
            self.slots = VecDeque::new();
        } else if self.slots.capacity() > 64 && self.slots.len() < self.slots.capacity() / 4 {
            self.slots.shrink_to(self.slots.capacity() / 2);
        }
    }
}
