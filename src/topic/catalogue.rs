//! Topics as such: which there are, what is known of each, and those that were made on purpose
//! (SPEC section 9). What stands in their logs is read in pages, see [`super::page`].
//!
//! A topic comes into being with its first message or subscriber and goes with the last of both.
//! One that was created stays until it is removed. To those who look from here a topic that nobody
//! would miss does not exist, whether or not the sweep has freed it yet; nor does what has expired.

use std::collections::BTreeMap;
use std::sync::MutexGuard;

use smallvec::SmallVec;

use super::cell::ShardCell;
use super::handle::TopicHandle;
use super::history::Log;
use super::id::{MessageId, TopicHash};
use super::message::Message;
use super::name::TopicName;
use super::shard::{Shard, SlotKey, Topic};
use super::store::{StoreError, TopicStore};
use crate::moment::Moment;

/// Slots that are looked at in one hold of a shard's lock.
const SLOTS_PER_HOLD: usize = 256;
/// Expired messages that one look at a topic takes out; the sweep takes the rest.
const EXPIRIES_PER_LOOK: usize = 1024;

/// What is kept of a topic that was created.
#[derive(Debug)]
pub(super) struct Creation {
    /// In wall-clock microseconds.
    at: u64,
    description: Option<Box<str>>,
}

impl Creation {
    /// Bytes that it costs.
    pub(super) fn bytes(&self) -> usize {
        let description = self.description.as_deref().map_or(0, str::len);
        size_of::<Creation>() + description
    }
}

/// A topic in a listing.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TopicSummary {
    /// Its name.
    pub name: TopicName,
    /// Messages kept.
    pub messages: usize,
    /// What they cost, overhead included.
    pub bytes: u64,
    /// Subscriptions of all connections.
    pub subscribers: u64,
    /// The oldest message kept.
    pub oldest: Option<MessageId>,
    /// The newest message kept.
    pub newest: Option<MessageId>,
}

/// Everything that is known of a topic.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TopicDetails {
    /// What listings show.
    pub summary: TopicSummary,
    /// What message ids name it by.
    pub hash: TopicHash,
    /// When it was created, in wall-clock microseconds; `None` if it was not.
    pub created_at: Option<u64>,
    /// What its creator said of it.
    pub description: Option<Box<str>>,
}

/// All topics together.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct TopicTotals {
    /// Topics that exist.
    pub topics: u64,
    /// Messages kept.
    pub messages: u64,
    /// What they cost, overhead included.
    pub bytes: u64,
    /// Subscriptions of all connections.
    pub subscribers: u64,
    /// Messages that were evicted since the start, by bounds or `ttl`.
    pub evicted: u64,
}

/// Why nothing was done.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum CatalogueError {
    /// There is no such topic.
    #[error("no such topic")]
    Unknown,
    /// The topic was created before.
    #[error("the topic exists already")]
    Exists,
    /// There is no room.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What a removed topic leaves behind, to be dropped outside of any lock.
#[derive(Debug)]
struct Remains {
    _log: Option<Box<Log>>,
    _creation: Option<Box<Creation>>,
}

impl Topic {
    /// Takes everything out of a topic that is being removed, but for its live readers: what they
    /// have not read yet is lost to them.
    fn empty(&mut self, now: Moment) -> Remains {
        Remains {
            _log: self.history.clear(now.monotonic_micros),
            _creation: self.creation.take(),
        }
    }
}

impl TopicStore {
    /// The first `limit` topics whose names come behind `after`, by name in the order of its bytes.
    /// Looks at every topic, shard by shard: one that comes or goes meanwhile may be missing.
    pub fn list(
        &self,
        after: Option<&str>,
        limit: usize,
        is_wanted: impl Fn(&str) -> bool,
        now: Moment,
    ) -> Vec<TopicSummary> {
        let mut first: BTreeMap<TopicName, TopicSummary> = BTreeMap::new();
        self.walk(now, |topic| {
            let is_before = after.is_some_and(|after| topic.name.as_str() <= after);
            let is_full = first.len() >= limit;
            let is_behind = first
                .last_key_value()
                .is_none_or(|last| *last.0 <= topic.name);
            if is_before || (is_full && is_behind) || !is_wanted(&topic.name) {
                return;
            }
            first.insert(topic.name.clone(), self.summary(topic, now));
            if first.len() > limit {
                first.pop_last();
            }
        });
        first.into_values().collect()
    }

    /// All topics together, added up shard by shard.
    pub fn totals(&self, now: Moment) -> TopicTotals {
        let mut totals = TopicTotals::default();
        self.walk(now, |topic| {
            totals.topics += 1;
            totals.messages += topic.history.len() as u64;
            totals.bytes += topic.history.bytes();
            totals.subscribers += topic.interest.subscriptions();
        });
        totals.evicted = self.evicted();
        totals
    }

    /// Everything about a topic.
    ///
    /// # Errors
    /// When there is none of this name.
    pub fn describe(&self, name: &TopicName, now: Moment) -> Result<TopicDetails, CatalogueError> {
        self.look_at(name, now, |topic| self.details(topic, now))
    }

    /// Subscriptions of all connections to a topic; 0 when it is not here.
    pub fn subscriptions(&self, name: &TopicName) -> u64 {
        let (name_hash, index) = self.shard_of(name.as_str());
        let shard = self.lock(index);
        let key = shard.find(name_hash, name.as_str());
        let topic = key.and_then(|key| shard.get(key));
        topic.map_or(0, |topic| topic.interest.subscriptions())
    }

    /// Creates a topic, or takes over one that has only come into being by use.
    ///
    /// # Errors
    /// When it was created before, or when there is no room.
    pub fn create(
        &self,
        name: &TopicName,
        description: Option<Box<str>>,
        now: Moment,
    ) -> Result<TopicDetails, CatalogueError> {
        self.check_room()?;
        let (shard, handle) = self.find_or_make(name.as_str())?;
        self.look(shard, handle, now, |topic| {
            if topic.creation.is_some() {
                return Err(CatalogueError::Exists);
            }
            topic.creation = Some(Box::new(Creation {
                at: now.wall_micros,
                description,
            }));
            Ok(self.details(topic, now))
        })
    }

    /// Describes a topic anew. One that has only come into being by use counts as created from now
    /// on: a description would go with it.
    ///
    /// # Errors
    /// When there is no topic of this name, or no room.
    pub fn update(
        &self,
        name: &TopicName,
        description: Option<Box<str>>,
        now: Moment,
    ) -> Result<TopicDetails, CatalogueError> {
        self.check_room()?;
        self.look_at(name, now, |topic| {
            let at = topic.creation.as_ref().map_or(now.wall_micros, |it| it.at);
            topic.creation = Some(Box::new(Creation { at, description }));
            self.details(topic, now)
        })
    }

    /// Removes a topic: its messages, and that it was created. Those who subscribe to it go on to
    /// do so; messages that they have not been given yet are a gap to them, as trimmed ones are.
    /// Durable consumers without a member are gone.
    ///
    /// # Errors
    /// When there is no topic of this name.
    pub fn remove(&self, name: &TopicName, now: Moment) -> Result<(), CatalogueError> {
        self.look_at(name, now, |topic| {
            self.drop_abandoned(topic, 0, now.monotonic_micros);
            topic.empty(now)
        })
        .map(drop)
    }

    /// Shows a topic to `see`, under the lock.
    ///
    /// # Errors
    /// When there is none of this name.
    pub(super) fn look_at<T>(
        &self,
        name: &TopicName,
        now: Moment,
        see: impl FnOnce(&mut Topic) -> T,
    ) -> Result<T, CatalogueError> {
        let (name_hash, index) = self.shard_of(name.as_str());
        let shard = self.lock(index);
        let key = shard.find(name_hash, name.as_str());
        let key = key.ok_or(CatalogueError::Unknown)?;
        self.look(shard, TopicHandle::new(index, key), now, |topic| {
            if topic.is_idle() {
                Err(CatalogueError::Unknown)
            } else {
                Ok(see(topic))
            }
        })
    }

    /// Shows the topic of a handle to `see`, without what has expired; counts what that changed,
    /// and frees the topic if nobody would miss it any more.
    fn look<T>(
        &self,
        mut shard: MutexGuard<'_, Shard>,
        handle: TopicHandle,
        now: Moment,
        see: impl FnOnce(&mut Topic) -> Result<T, CatalogueError>,
    ) -> Result<T, CatalogueError> {
        let cell = &self.shards[handle.shard() as usize];
        let topic = shard.get_mut(handle.key()).ok_or(CatalogueError::Unknown)?;
        let mut dropped = Vec::new();
        expire(cell, topic, now, &mut dropped);
        let (bytes, overhead) = (topic.history.bytes(), topic.overhead_bytes());
        let seen = see(topic);
        cell.account(bytes, topic.history.bytes(), 0);
        self.budget.adjust(overhead, topic.overhead_bytes());
        let is_idle = self.may_free(topic);
        let freed = is_idle.then(|| self.free(&mut shard, handle));
        drop(shard);
        drop((freed, dropped));
        seen
    }

    /// Shows every topic to `see`, a run of slots in each hold of a lock.
    fn walk(&self, now: Moment, mut see: impl FnMut(&Topic)) {
        let mut dropped = Vec::new();
        for cell in &self.shards {
            let (mut from, mut slots) = (0, 1);
            while from < slots {
                let mut shard = cell.lock();
                let keys: SmallVec<[SlotKey; 16]> = shard.keys(from, SLOTS_PER_HOLD).collect();
                for key in keys {
                    let Some(topic) = shard.get_mut(key) else {
                        continue;
                    };
                    expire(cell, topic, now, &mut dropped);
                    if !topic.is_idle() {
                        see(topic);
                    }
                }
                (from, slots) = (from + SLOTS_PER_HOLD, shard.slots());
                drop(shard);
                dropped.clear();
            }
        }
    }

    fn check_room(&self) -> Result<(), StoreError> {
        if self.is_full_of_others() {
            return Err(StoreError::MemoryMax);
        }
        Ok(())
    }

    fn details(&self, topic: &Topic, now: Moment) -> TopicDetails {
        let creation = topic.creation.as_deref();
        TopicDetails {
            summary: self.summary(topic, now),
            hash: topic.hash,
            created_at: creation.map(|it| it.at),
            description: creation.and_then(|it| it.description.clone()),
        }
    }

    fn summary(&self, topic: &Topic, now: Moment) -> TopicSummary {
        let history = &topic.history;
        let id = |message: &Message| self.id(topic.hash, message.position());
        TopicSummary {
            name: topic.name.clone(),
            messages: history.len(),
            bytes: history.bytes(),
            subscribers: topic.interest.subscriptions(),
            oldest: history.behind(0, now.monotonic_micros).next().map(id),
            newest: history.below(None, now.monotonic_micros).next().map(id),
        }
    }
}

/// Takes out what has expired, so that it is not counted.
fn expire(cell: &ShardCell, topic: &mut Topic, now: Moment, dropped: &mut Vec<Message>) {
    let (before, dropped_before) = (topic.history.bytes(), dropped.len());
    let history = &mut topic.history;
    history.expire(now.monotonic_micros, EXPIRIES_PER_LOOK, dropped);
    cell.account(before, history.bytes(), dropped.len() - dropped_before);
}

#[cfg(test)]
mod tests;
