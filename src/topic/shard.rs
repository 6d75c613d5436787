//! One locked part of the store: topics by name and by slot. What needs no lock stays outside.

use std::collections::BinaryHeap;

use hashbrown::HashTable;

use super::catalogue::Creation;
use super::consumer::Consumers;
use super::freed::FreedTopics;
use super::history::{History, HistoryLimits};
use super::id::{Position, TopicHash};
use super::interest::Interest;
use super::message::Message;
use super::meter::TopicMeter;
use super::name::TopicName;
use std::sync::Arc;

/// Bytes that a topic costs without its messages: its own, its places in the indexes.
const TOPIC_OVERHEAD_BYTES: usize = 320;

/// One topic.
#[derive(Debug)]
pub(super) struct Topic {
    pub(super) name: TopicName,
    pub(super) hash: TopicHash,
    pub(super) history: History,
    pub(super) interest: Interest,
    /// Counters; absent until the first message.
    pub(super) meter: Option<Arc<TopicMeter>>,
    /// Durable consumers; absent while there is none.
    pub(super) consumers: Option<Box<Consumers>>,
    /// Absent for a topic that nobody asked for but by publishing or subscribing.
    pub(super) creation: Option<Box<Creation>>,
}

impl Topic {
    /// Whether nobody would miss it.
    pub(super) fn is_idle(&self) -> bool {
        self.history.is_empty()
            && self.interest.is_empty()
            && self.consumers.is_none()
            && self.creation.is_none()
    }

    /// Bytes that it costs beside its messages and consumers.
    pub(super) fn overhead_bytes(&self) -> usize {
        let creation = self.creation.as_deref().map_or(0, Creation::bytes);
        TOPIC_OVERHEAD_BYTES + self.name.as_str().len() + creation
    }

    /// Takes out what has expired and what is over the bounds, at most `most` of each.
    pub(super) fn evict(
        &mut self,
        limits: &HistoryLimits,
        now_micros: u64,
        most: usize,
        dropped: &mut Vec<Message>,
    ) {
        self.history.expire(now_micros, most, dropped);
        self.history
            .trim(limits, self.interest.floor(), now_micros, most, dropped);
    }

    /// Whether all live readers have read the oldest message.
    fn has_read_messages(&self) -> bool {
        self.history
            .oldest_sequence()
            .is_some_and(|oldest| oldest <= self.interest.floor())
    }
}

/// Where a topic stands in its shard.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct SlotKey {
    pub(super) slot: u32,
    pub(super) generation: u32,
}

#[derive(Debug, Default)]
struct TopicSlot {
    /// Rises whenever the slot is emptied, so that old keys find nothing.
    generation: u32,
    topic: Option<Box<Topic>>,
}

/// The topics of one shard.
#[derive(Debug)]
pub(super) struct Shard {
    /// Slots by the hash of the topic's name.
    names: HashTable<u32>,
    slots: Vec<TopicSlot>,
    vacant: Vec<u32>,
    freed: FreedTopics,
    /// The highest position that this shard has issued.
    highest: Position,
}

impl Shard {
    pub(super) fn new(freed_marks_max: usize) -> Shard {
        Shard {
            names: HashTable::new(),
            slots: Vec::new(),
            vacant: Vec::new(),
            freed: FreedTopics::new(freed_marks_max),
            highest: Position::ZERO,
        }
    }

    /// The slot of a topic, by the hash of its name and the name.
    pub(super) fn find(&self, name_hash: u64, name: &str) -> Option<SlotKey> {
        let slots = &self.slots;
        let is_it = |slot: &u32| topic_in(slots, *slot).is_some_and(|it| it.name.as_str() == name);
        let slot = *self.names.find(name_hash, is_it)?;
        Some(SlotKey {
            slot,
            generation: slots[slot as usize].generation,
        })
    }

    /// The topic that stands in a slot, if it is the one of this hash.
    pub(super) fn key_of(&self, slot: u32, hash: TopicHash) -> Option<SlotKey> {
        topic_in(&self.slots, slot).filter(|topic| topic.hash == hash)?;
        Some(SlotKey {
            slot,
            generation: self.slots[slot as usize].generation,
        })
    }

    /// The topic of a slot that still has this generation.
    pub(super) fn get(&self, key: SlotKey) -> Option<&Topic> {
        let slot = self.slots.get(key.slot as usize)?;
        slot.topic
            .as_deref()
            .filter(|_| slot.generation == key.generation)
    }

    /// As [`Shard::get`].
    pub(super) fn get_mut(&mut self, key: SlotKey) -> Option<&mut Topic> {
        let slot = self.slots.get_mut(key.slot as usize)?;
        slot.topic
            .as_deref_mut()
            .filter(|_| slot.generation == key.generation)
    }

    /// Makes a topic that does not exist yet. It starts above all positions of the shard, and what
    /// it lost in an earlier life is lost still.
    pub(super) fn insert(
        &mut self,
        name_hash: u64,
        name: TopicName,
        hash: TopicHash,
        rehash: impl Fn(&str) -> u64,
    ) -> SlotKey {
        let lost = self.freed.take(hash);
        let history = History::new(self.highest, lost);
        let topic = Topic {
            name,
            hash,
            history,
            interest: Interest::default(),
            meter: None,
            consumers: None,
            creation: None,
        };
        let slot = self.vacant.pop().unwrap_or_else(|| {
            self.slots.push(TopicSlot::default());
            (self.slots.len() - 1) as u32
        });
        self.slots[slot as usize].topic = Some(Box::new(topic));
        let slots = &self.slots;
        self.names.insert_unique(name_hash, slot, |slot| {
            topic_in(slots, *slot).map_or(0, |topic| rehash(topic.name.as_str()))
        });
        SlotKey {
            slot,
            generation: slots[slot as usize].generation,
        }
    }

    /// Frees a topic and remembers what it lost.
    pub(super) fn remove(&mut self, key: SlotKey, name_hash: u64) -> Option<Box<Topic>> {
        self.get(key)?;
        let entry = self
            .names
            .find_entry(name_hash, |slot| *slot == key.slot)
            .ok()?;
        entry.remove();
        let slot = &mut self.slots[key.slot as usize];
        slot.generation = slot.generation.wrapping_add(1);
        self.vacant.push(key.slot);
        let topic = slot.topic.take()?;
        self.freed.note(topic.hash, topic.history.lost().position);
        Some(topic)
    }

    /// Notes that a position was issued.
    pub(super) fn issued(&mut self, position: Position) {
        self.highest = self.highest.max(position);
    }

    /// Keys of the topics in slots `from ..`, at most `most` slots, and where to go on.
    pub(super) fn keys(&self, from: usize, most: usize) -> impl Iterator<Item = SlotKey> {
        let slots = self.slots.iter().enumerate().skip(from).take(most);
        slots
            .filter(|(_, slot)| slot.topic.is_some())
            .map(|(index, slot)| SlotKey {
                slot: index as u32,
                generation: slot.generation,
            })
    }

    /// Slots, taken or vacant.
    pub(super) fn slots(&self) -> usize {
        self.slots.len()
    }

    /// All topics.
    pub(super) fn topics(&self) -> impl Iterator<Item = &Topic> {
        self.slots.iter().filter_map(|slot| slot.topic.as_deref())
    }

    /// Bytes of the largest log.
    pub(super) fn largest_bytes(&self) -> u64 {
        self.topics()
            .map(|topic| topic.history.bytes())
            .max()
            .unwrap_or(0)
    }

    /// Trims the largest logs, oldest first, until `goal` bytes or `most` messages are gone: each
    /// until another one is larger. Only logs whose oldest message all live readers have read,
    /// unless `above_floor`.
    pub(super) fn trim_largest(
        &mut self,
        goal: u64,
        most: usize,
        above_floor: bool,
        now_micros: u64,
        dropped: &mut Vec<Message>,
    ) -> u64 {
        let is_trimmable =
            |topic: &Topic| !topic.history.is_empty() && (above_floor || topic.has_read_messages());
        let bytes_of = |(index, slot): (usize, &TopicSlot)| {
            let topic = slot.topic.as_deref().filter(|topic| is_trimmable(topic))?;
            Some((topic.history.bytes(), index))
        };
        // One look at all topics for many messages: with many small logs each gives only one.
        let slots = self.slots.iter().enumerate();
        let mut largest: BinaryHeap<(u64, usize)> = slots.filter_map(bytes_of).collect();
        let (mut freed, first) = (0, dropped.len());
        while freed < goal
            && dropped.len() - first < most
            && let Some((_, index)) = largest.pop()
            && let Some(topic) = self.slots[index].topic.as_deref_mut()
        {
            let Some(message) = topic.history.trim_oldest(now_micros) else {
                continue;
            };
            freed += message.cost();
            dropped.push(message);
            if is_trimmable(topic) {
                largest.push((topic.history.bytes(), index));
            }
        }
        freed
    }
}

fn topic_in(slots: &[TopicSlot], slot: u32) -> Option<&Topic> {
    slots.get(slot as usize)?.topic.as_deref()
}
