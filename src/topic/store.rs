//! All topics, in locked shards: publish, subscribe, read on.

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crossbeam_utils::CachePadded;
use hashbrown::HashMap;

use super::budget::Budget;
use super::cell::ShardCell;
use super::handle::{Spot, TopicHandle};
use super::history::{HistoryLimits, Place};
use super::id::{Epoch, MessageId, Position, TopicHash};
use super::interest::{LocalTopic, News, WorkerIndex};
use super::message::{Draft, Message};
use super::meter::{Meters, TopicMeter};
use super::name::TopicName;
use super::reading::{Batch, Reading, read_on};
use super::shard::{Shard, Topic};
use super::subscription::{Gap, GapReason, Start, Subscribed};
use crate::moment::Moment;

/// Freed topics whose marks are remembered, in all shards together: about 5 MiB.
const FREED_MARKS_MAX: usize = 1 << 16;
/// Bounds of the store.
#[derive(Clone, Copy, Debug)]
pub struct StoreLimits {
    /// Bounds of each log.
    pub history: HistoryLimits,
    /// Topics that exist at one time.
    pub topics_max: usize,
    /// Topics with counters of their own in the metrics.
    pub metered_topics_max: usize,
    /// Durable consumers in all topics together.
    pub consumers_max: usize,
    /// Members of one group in one topic at one time.
    pub group_members_max: usize,
    /// Microseconds after which a durable consumer without members is dropped.
    pub client_retention: u64,
}

/// Why a message was not stored.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum StoreError {
    /// The topic does not exist and there may be no more.
    #[error("too many topics")]
    TopicsMax,
    /// Another topic's name has the same 60-bit hash.
    #[error("the topic's name cannot be told from another's in message ids")]
    HashTaken,
    /// The durable consumer does not exist and there may be no more.
    #[error("too many consumers")]
    ConsumersMax,
    /// The group has as many members as it may have.
    #[error("too many members in the group")]
    GroupMembersMax,
    /// The topic is not followed, in a store that follows another.
    #[error("the topic is not followed")]
    NotOpen,
    /// All memory is held by what waits for slow readers.
    #[error("out of memory for messages")]
    MemoryMax,
}

/// What publishing caused. Kept by the caller and used again, so that the common case allocates
/// nothing.
#[derive(Default, Debug)]
pub struct Outcome {
    /// Ids of the stored messages, in order.
    pub ids: Vec<MessageId>,
    /// Whom to tell.
    pub news: Vec<News>,
    dropped: Vec<Message>,
}

/// Messages in memory, by topic. Shared by all workers.
#[derive(Debug)]
pub struct TopicStore {
    pub(super) shards: Box<[CachePadded<ShardCell>]>,
    /// All topics by their hashes, striped like the shards. A stripe is locked inside a shard's
    /// lock, never the other way round.
    hashes: Box<[Mutex<HashMap<TopicHash, Spot>>]>,
    hasher: RandomState,
    pub(super) limits: StoreLimits,
    epoch: AtomicU32,
    /// Whether messages come from elsewhere with their positions, see [`super::following`].
    pub(super) is_following: bool,
    pub(super) budget: &'static Budget,
    pub(super) meters: Meters,
    pub(super) topics: AtomicUsize,
    /// Durable consumers in all topics.
    pub(super) consumers: AtomicUsize,
    /// Held by the worker that frees memory for all.
    pub(super) relief: Mutex<()>,
}

impl TopicStore {
    /// An empty store with at least eight shards per worker.
    pub fn new(
        limits: StoreLimits,
        workers: usize,
        epoch: Epoch,
        budget: &'static Budget,
    ) -> TopicStore {
        TopicStore::with_freed_marks_max(limits, workers, epoch, budget, FREED_MARKS_MAX)
    }

    /// As [`TopicStore::new`], with another bound on the marks of freed topics.
    pub(super) fn with_freed_marks_max(
        limits: StoreLimits,
        workers: usize,
        epoch: Epoch,
        budget: &'static Budget,
        freed_marks_max: usize,
    ) -> TopicStore {
        let shards = (8 * workers.max(1)).next_power_of_two();
        let marks_max = freed_marks_max / shards;
        TopicStore {
            shards: (0..shards)
                .map(|_| CachePadded::new(ShardCell::new(marks_max)))
                .collect(),
            hashes: (0..shards).map(|_| Mutex::default()).collect(),
            hasher: RandomState::new(),
            limits,
            epoch: AtomicU32::new(epoch.0),
            is_following: false,
            budget,
            meters: Meters::new(limits.metered_topics_max),
            topics: AtomicUsize::new(0),
            consumers: AtomicUsize::new(0),
            relief: Mutex::new(()),
        }
    }

    /// The bytes that this store and its readers share.
    pub fn budget(&self) -> &'static Budget {
        self.budget
    }

    /// Whether more than the byte budget would be in use without any history: only others than the
    /// store can give something back.
    pub fn is_full_of_others(&self) -> bool {
        let excess = self.budget.excess();
        excess > 0 && excess > self.history_bytes()
    }

    /// Bytes of all logs.
    pub fn history_bytes(&self) -> u64 {
        let bytes = self.shards.iter().map(|cell| cell.bytes());
        bytes.sum()
    }

    /// Messages that were evicted, by bounds or `ttl`.
    pub fn evicted(&self) -> u64 {
        let evicted = self.shards.iter().map(|cell| cell.evicted());
        evicted.sum()
    }

    /// The epoch of the positions.
    pub fn epoch(&self) -> Epoch {
        // Relaxed: logs of another epoch are emptied under their locks, which order this too.
        Epoch(self.epoch.load(Ordering::Relaxed))
    }

    /// The positions are of another epoch from now on. What logs hold keeps the ids that it has:
    /// [`TopicStore::restart`] is due for each topic.
    pub fn set_epoch(&self, epoch: Epoch) {
        self.epoch.store(epoch.0, Ordering::Relaxed);
    }

    /// The id of a place in a topic.
    pub fn id(&self, topic: TopicHash, position: Position) -> MessageId {
        MessageId {
            position,
            epoch: self.epoch(),
            topic,
        }
    }

    /// Stores messages of one topic, together and in order; all of them or none. `received_at` is
    /// the monotonic time, in microseconds, at which the request had come.
    ///
    /// # Errors
    /// When there is no room for the topic or for the bytes; nothing is stored then.
    ///
    /// # Panics
    /// When the drafts are for different topics (in debug builds).
    pub fn publish(
        &self,
        drafts: impl ExactSizeIterator<Item = Draft>,
        now: Moment,
        received_at: u64,
        outcome: &mut Outcome,
    ) -> Result<(), StoreError> {
        outcome.ids.clear();
        let mut drafts = drafts.peekable();
        let messages = drafts.len() as u64;
        let Some(first) = drafts.peek() else {
            return Ok(());
        };
        let excess = self.budget.excess();
        if excess > 0 && excess > self.history_bytes() {
            return Err(StoreError::MemoryMax);
        }
        let (mut shard, key) = self.find_or_make(first.topic())?;
        let cell = &self.shards[key.shard() as usize];
        let topic = shard.get_mut(key.key()).expect("found under this lock");
        let before = topic.history.bytes();
        for draft in drafts {
            debug_assert_eq!(draft.topic(), topic.name.as_str());
            let id = self.store(topic, draft, now);
            outcome.ids.push(id);
        }
        topic.interest.tell(&mut outcome.news);
        let latency = now.monotonic_micros.saturating_sub(received_at);
        let meter = topic.meter.get_or_insert_with(|| self.meters.assign());
        meter.received(messages, latency);
        self.evict_some(topic, messages, now, &mut outcome.dropped);
        let (newest, after) = (topic.history.newest().position, topic.history.bytes());
        shard.issued(newest);
        cell.account_stored(before, after, outcome.dropped.len());
        drop(shard);
        outcome.dropped.clear();
        self.relieve(now.monotonic_micros, &mut outcome.dropped);
        Ok(())
    }

    /// Subscribes `worker` to a topic from `start`, making the topic if there is none; `vacant` is
    /// what the worker would call it.
    ///
    /// # Errors
    /// When there is no room for the topic.
    pub fn subscribe(
        &self,
        name: &TopicName,
        worker: WorkerIndex,
        vacant: LocalTopic,
        start: Start,
    ) -> Result<Subscribed, StoreError> {
        let (mut shard, handle) = self.find_or_make(name.as_str())?;
        let topic = shard.get_mut(handle.key()).expect("found under this lock");
        let (place, gap) = self.place(topic, start);
        Ok(self.enter(topic, handle, worker, vacant, (place, gap)))
    }

    /// The worker's last subscription in a topic has gone. For others there is
    /// [`TopicStore::leave`].
    pub fn unsubscribe(&self, handle: TopicHandle, worker: WorkerIndex) {
        let mut shard = self.lock(handle.shard());
        let Some(topic) = shard.get_mut(handle.key()) else {
            return;
        };
        topic.interest.drop_reader(worker);
        if self.may_free(topic) {
            let freed = self.free(&mut shard, handle);
            drop(shard);
            drop(freed);
        }
    }

    /// Reads the news of a topic for `worker` and clears its mark. With `None` for `batch` nothing
    /// is read but everything counts as read. `None` when the worker has no interest.
    pub fn take_news(
        &self,
        handle: TopicHandle,
        worker: WorkerIndex,
        batch: Option<Batch>,
        now: Moment,
        messages: &mut Vec<Message>,
    ) -> Option<Reading> {
        let mut shard = self.lock(handle.shard());
        let topic = shard.get_mut(handle.key())?;
        let read = topic.interest.read(worker)?;
        let reading = read_on(topic, read, batch, now, messages);
        topic.interest.advance(worker, reading.place.sequence);
        Some(reading)
    }

    /// Reads on behind a sequence, for a consumer with a position of its own. `None` when the topic
    /// is gone.
    pub fn read(
        &self,
        handle: TopicHandle,
        behind: u64,
        batch: Batch,
        now: Moment,
        messages: &mut Vec<Message>,
    ) -> Option<Reading> {
        let shard = self.lock(handle.shard());
        let topic = shard.get(handle.key())?;
        Some(read_on(topic, behind, Some(batch), now, messages))
    }

    /// The topic of this name, if there is one.
    pub fn find(&self, name: &TopicName) -> Option<TopicHandle> {
        let (name_hash, shard) = self.shard_of(name.as_str());
        let key = self.lock(shard).find(name_hash, name.as_str())?;
        Some(TopicHandle::new(shard, key))
    }

    /// The name of a topic that is still there.
    pub fn name(&self, handle: TopicHandle) -> Option<TopicName> {
        let shard = self.lock(handle.shard());
        Some(shard.get(handle.key())?.name.clone())
    }

    /// The name of the topic that ids of this hash are of, if it is there.
    pub fn name_of(&self, hash: TopicHash) -> Option<TopicName> {
        self.name(self.find_hash(hash)?)
    }

    /// The gap between two places of a topic, with the topic's name.
    pub fn gap(
        &self,
        handle: TopicHandle,
        from: Place,
        to: Place,
        reason: GapReason,
    ) -> Option<(TopicName, Gap)> {
        let shard = self.lock(handle.shard());
        let topic = shard.get(handle.key())?;
        let id = |place: Place| self.id(topic.hash, place.position);
        Some((
            topic.name.clone(),
            Gap {
                from: id(from),
                to: id(to),
                reason,
            },
        ))
    }

    /// The counters of a topic that has had messages.
    pub fn meter(&self, handle: TopicHandle) -> Option<Arc<TopicMeter>> {
        self.lock(handle.shard()).get(handle.key())?.meter.clone()
    }

    /// The topic of this hash, if there is one.
    pub(super) fn find_hash(&self, hash: TopicHash) -> Option<TopicHandle> {
        let Spot { shard, slot } = self.stripe(hash).get(&hash).copied()?;
        // The topic may have gone meanwhile, and another one may stand there.
        let key = self.lock(shard).key_of(slot, hash)?;
        Some(TopicHandle::new(shard, key))
    }

    /// Locks a shard.
    pub(super) fn lock(&self, shard: u16) -> MutexGuard<'_, Shard> {
        self.shards[shard as usize].lock()
    }

    /// The topic of a name, made if there is none, with its locked shard.
    pub(super) fn find_or_make(
        &self,
        name: &str,
    ) -> Result<(MutexGuard<'_, Shard>, TopicHandle), StoreError> {
        let (name_hash, shard_index) = self.shard_of(name);
        let mut shard = self.lock(shard_index);
        let handle = match shard.find(name_hash, name) {
            Some(key) => TopicHandle::new(shard_index, key),
            None if self.is_following => return Err(StoreError::NotOpen),
            None => self.make(&mut shard, shard_index, name_hash, name)?,
        };
        Ok((shard, handle))
    }

    /// The hash of a topic's name, and the shard where it stands.
    pub(super) fn shard_of(&self, name: &str) -> (u64, u16) {
        let name_hash = self.hasher.hash_one(name);
        // The upper bits: the shard's own table uses the lower ones.
        let shard = (name_hash >> 48) as usize & (self.shards.len() - 1);
        (name_hash, shard as u16)
    }

    /// Makes a topic that does not exist yet.
    pub(super) fn make(
        &self,
        shard: &mut Shard,
        shard_index: u16,
        name_hash: u64,
        name: &str,
    ) -> Result<TopicHandle, StoreError> {
        let hash = TopicHash::of(name);
        let mut hashes = self.stripe(hash);
        if hashes.contains_key(&hash) {
            return Err(StoreError::HashTaken);
        }
        let topics_max = self.limits.topics_max;
        let more = |topics| (topics < topics_max).then_some(topics + 1);
        self.topics
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, more)
            .map_err(|_| StoreError::TopicsMax)?;
        let name = TopicName::parse(name).expect("names are checked before they reach the store");
        let key = shard.insert(name_hash, name, hash, |name| self.hasher.hash_one(name));
        let overhead = shard.get(key).map_or(0, Topic::overhead_bytes);
        self.budget.adjust(0, overhead);
        let handle = TopicHandle::new(shard_index, key);
        let spot = Spot {
            shard: shard_index,
            slot: key.slot,
        };
        hashes.insert(hash, spot);
        Ok(handle)
    }

    /// Whether a topic is to go by itself: one that is followed is closed by who follows it.
    pub(super) fn may_free(&self, topic: &Topic) -> bool {
        !self.is_following && topic.is_idle()
    }

    /// Frees a topic, and with it whatever consumers it has.
    pub(super) fn free(&self, shard: &mut Shard, handle: TopicHandle) -> Option<Box<Topic>> {
        let name_hash = self.hasher.hash_one(shard.get(handle.key())?.name.as_str());
        let mut topic = shard.remove(handle.key(), name_hash)?;
        self.drop_consumers(&mut topic);
        self.stripe(topic.hash).remove(&topic.hash);
        self.topics.fetch_sub(1, Ordering::Relaxed);
        self.budget.adjust(topic.overhead_bytes(), 0);
        if let Some(meter) = &topic.meter {
            self.meters.release(meter);
        }
        Some(topic)
    }

    fn stripe(&self, hash: TopicHash) -> MutexGuard<'_, HashMap<TopicHash, Spot>> {
        let stripe = &self.hashes[hash.bits() as usize & (self.hashes.len() - 1)];
        stripe.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// So many messages have been stored: evicts what has become too much.
    pub(super) fn evict_some(
        &self,
        topic: &mut Topic,
        messages: u64,
        now: Moment,
        dropped: &mut Vec<Message>,
    ) {
        let most = 2 * messages as usize + 2;
        let limits = &self.limits.history;
        topic.evict(limits, now.monotonic_micros, most, dropped);
    }

    fn store(&self, topic: &mut Topic, draft: Draft, now: Moment) -> MessageId {
        let newest = topic.history.newest();
        let id = self.id(topic.hash, newest.position.next(now.wall_millis()));
        topic
            .history
            .push(draft.store(newest.sequence + 1, &id, now.monotonic_micros));
        id
    }
}
