//! All topics, in locked shards: publish, subscribe, read on.

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crossbeam_utils::CachePadded;
use hashbrown::HashSet;
use smallvec::SmallVec;

use super::budget::Budget;
use super::history::{HistoryLimits, Place};
use super::id::{Epoch, MessageId, Position, TopicHash};
use super::interest::{LocalTopic, News, WorkerIndex};
use super::message::{Draft, Message};
use super::meter::{Meters, TopicCounts, TopicMeter};
use super::name::TopicName;
use super::shard::{Shard, SlotKey, Topic};
use crate::moment::Moment;

/// Messages that one hold of a lock evicts at the most.
const EVICTIONS_PER_HOLD: usize = 1024;
/// Messages that one sweep evicts before the sockets have their turn again.
const EVICTIONS_PER_SWEEP: usize = 16 * EVICTIONS_PER_HOLD;
/// Slots that a sweep looks at in one hold of a lock.
const SWEEP_SLOTS_PER_HOLD: usize = 256;
/// Freed topics whose marks are remembered, in all shards together: about 5 MiB.
const FREED_MARKS_MAX: usize = 1 << 16;
/// Share of the byte budget that is freed beyond what is needed, so that eviction is not due again
/// with the next message.
const RELIEF_SHARE: u64 = 256;

/// Bounds of the store.
#[derive(Clone, Copy, Debug)]
pub struct StoreLimits {
    /// Bounds of each log.
    pub history: HistoryLimits,
    /// Topics that exist at one time.
    pub topics_max: usize,
    /// Topics with counters of their own in the metrics.
    pub metered_topics_max: usize,
}

/// Finds a topic without its name, as long as it exists.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TopicHandle {
    shard: u16,
    key: SlotKey,
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

/// Where a subscription wants to start.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Start {
    /// Behind the newest message.
    Last,
    /// Before the oldest message kept.
    Earliest,
    /// Behind this message.
    Behind(MessageId),
}

/// Messages that cannot be delivered: those above `from`, up to and including `to`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Gap {
    /// Exclusive.
    pub from: MessageId,
    /// Inclusive.
    pub to: MessageId,
    /// Why.
    pub reason: GapReason,
}

/// Why messages cannot be delivered (SPEC section 5).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum GapReason {
    /// They are no longer kept.
    Trimmed,
    /// The consumer was too slow.
    Lagged,
    /// The position is not of this store's life.
    EpochChanged,
}

/// A new subscription.
#[derive(Debug)]
pub struct Subscribed {
    /// The topic.
    pub handle: TopicHandle,
    /// Its name, shared with the store.
    pub name: TopicName,
    /// What the worker calls it.
    pub local: LocalTopic,
    /// What the worker has read, if this subscription is its first in the topic.
    pub newly_interested: Option<Place>,
    /// Where the subscription starts.
    pub start: Place,
    /// The id to resume from to get the same messages.
    pub resume: MessageId,
    /// What it cannot get.
    pub gap: Option<Gap>,
}

/// How much to read at once.
#[derive(Clone, Copy, Debug)]
pub struct Batch {
    /// Messages.
    pub messages_max: usize,
    /// Bytes of frames; one message is read even if it is larger.
    pub bytes_max: usize,
}

/// What was read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Reading {
    /// Everything up to here has been read, or is gone.
    pub place: Place,
    /// The newest message that trimming took, if that was not read before.
    pub lost: Option<Place>,
    /// More is kept behind `place`.
    pub more: bool,
}

/// A topic as metrics and listings show it.
#[derive(Debug)]
pub struct TopicStats {
    /// Its name.
    pub name: TopicName,
    /// Messages kept.
    pub messages: usize,
    /// Its counters.
    pub counts: TopicCounts,
}

/// The store as metrics show it.
#[derive(Default, Debug)]
pub struct StoreStats {
    /// Topics with counters of their own.
    pub topics: Vec<TopicStats>,
    /// Counters of all others together.
    pub others: TopicCounts,
    /// Messages kept in all others together.
    pub others_messages: usize,
    /// Topics that exist.
    pub topics_total: usize,
    /// Bytes of all logs.
    pub history_bytes: u64,
    /// Messages that were evicted, by bounds or `ttl`.
    pub evicted: u64,
}

/// Messages in memory, by topic. Shared by all workers.
#[derive(Debug)]
pub struct TopicStore {
    shards: Box<[CachePadded<ShardCell>]>,
    /// Hashes of all topics, striped like the shards. A stripe is locked inside a shard's lock,
    /// never the other way round.
    hashes: Box<[Mutex<HashSet<TopicHash>>]>,
    hasher: RandomState,
    limits: StoreLimits,
    epoch: Epoch,
    budget: Arc<Budget>,
    meters: Meters,
    topics: AtomicUsize,
    history_bytes: AtomicU64,
    evicted: AtomicU64,
    /// Held by the worker that frees memory for all.
    relief: Mutex<()>,
}

#[derive(Debug)]
struct ShardCell {
    shard: Mutex<Shard>,
    /// Bytes of the shard's largest log; possibly a little old.
    largest_bytes: AtomicU64,
}

impl TopicStore {
    /// An empty store with at least eight shards per worker.
    pub fn new(
        limits: StoreLimits,
        workers: usize,
        epoch: Epoch,
        budget: Arc<Budget>,
    ) -> TopicStore {
        TopicStore::with_freed_marks_max(limits, workers, epoch, budget, FREED_MARKS_MAX)
    }

    /// As [`TopicStore::new`], with another bound on the marks of freed topics.
    pub(super) fn with_freed_marks_max(
        limits: StoreLimits,
        workers: usize,
        epoch: Epoch,
        budget: Arc<Budget>,
        freed_marks_max: usize,
    ) -> TopicStore {
        let shards = (8 * workers.max(1)).next_power_of_two();
        let marks_max = freed_marks_max / shards;
        let cell = || ShardCell {
            shard: Mutex::new(Shard::new(marks_max)),
            largest_bytes: AtomicU64::new(0),
        };
        TopicStore {
            shards: (0..shards).map(|_| CachePadded::new(cell())).collect(),
            hashes: (0..shards).map(|_| Mutex::default()).collect(),
            hasher: RandomState::new(),
            limits,
            epoch,
            budget,
            meters: Meters::new(limits.metered_topics_max),
            topics: AtomicUsize::new(0),
            history_bytes: AtomicU64::new(0),
            evicted: AtomicU64::new(0),
            relief: Mutex::new(()),
        }
    }

    /// The bytes that this store and its readers share.
    pub fn budget(&self) -> &Arc<Budget> {
        &self.budget
    }

    /// Bytes of all logs.
    pub fn history_bytes(&self) -> u64 {
        self.history_bytes.load(Ordering::Relaxed)
    }

    /// The id of a place in a topic.
    pub fn id(&self, topic: TopicHash, position: Position) -> MessageId {
        MessageId {
            position,
            epoch: self.epoch,
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
        if self.budget.excess() > self.history_bytes.load(Ordering::Relaxed) {
            return Err(StoreError::MemoryMax);
        }
        let (mut shard, key) = self.find_or_make(first.topic())?;
        let cell = &self.shards[key.shard as usize];
        let topic = shard.get_mut(key.key).expect("found under this lock");
        let before = topic.history.bytes();
        for draft in drafts {
            debug_assert_eq!(draft.topic(), topic.name.as_str());
            let id = self.store(topic, draft, now);
            outcome.ids.push(id);
        }
        topic.interest.tell(&mut outcome.news);
        let most = 2 * messages as usize + 2;
        topic.evict(
            &self.limits.history,
            now.monotonic_micros,
            most,
            &mut outcome.dropped,
        );
        let meter = topic.meter.get_or_insert_with(|| self.meters.assign());
        meter.received(messages, now.monotonic_micros.saturating_sub(received_at));
        let (newest, after) = (topic.history.newest().position, topic.history.bytes());
        shard.issued(newest);
        // Relaxed: statistics and hints for eviction.
        self.history_bytes
            .fetch_add(after.wrapping_sub(before), Ordering::Relaxed);
        cell.largest_bytes.fetch_max(after, Ordering::Relaxed);
        drop(shard);
        self.evicted
            .fetch_add(outcome.dropped.len() as u64, Ordering::Relaxed);
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
        let topic = shard.get_mut(handle.key).expect("found under this lock");
        let (place, gap) = self.place(topic, start);
        let newest = topic.history.newest();
        let local = topic.interest.local(worker);
        if local.is_none() {
            topic.interest.register(worker, vacant, newest.sequence);
        }
        Ok(Subscribed {
            handle,
            name: topic.name.clone(),
            local: local.unwrap_or(vacant),
            newly_interested: local.is_none().then_some(newest),
            start: place,
            resume: self.id(topic.hash, place.position),
            gap,
        })
    }

    /// The worker's last subscription in a topic has gone.
    pub fn unsubscribe(&self, handle: TopicHandle, worker: WorkerIndex) {
        let mut shard = self.lock(handle.shard);
        let Some(topic) = shard.get_mut(handle.key) else {
            return;
        };
        topic.interest.drop_reader(worker);
        if topic.is_idle() {
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
        let mut shard = self.lock(handle.shard);
        let topic = shard.get_mut(handle.key)?;
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
        let shard = self.lock(handle.shard);
        let topic = shard.get(handle.key)?;
        Some(read_on(topic, behind, Some(batch), now, messages))
    }

    /// The topic of this name, if there is one.
    pub fn find(&self, name: &TopicName) -> Option<TopicHandle> {
        let (name_hash, shard) = self.shard_of(name.as_str());
        let key = self.lock(shard).find(name_hash, name.as_str())?;
        Some(TopicHandle { shard, key })
    }

    /// The gap between two places of a topic, with the topic's name.
    pub fn gap(
        &self,
        handle: TopicHandle,
        from: Place,
        to: Place,
        reason: GapReason,
    ) -> Option<(TopicName, Gap)> {
        let shard = self.lock(handle.shard);
        let topic = shard.get(handle.key)?;
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
        self.lock(handle.shard).get(handle.key)?.meter.clone()
    }

    /// Evicts what is due and frees idle topics in every `of`-th shard, beginning with `first`.
    /// Each worker sweeps its share on a timer. Returns whether more is due than one sweep takes:
    /// then the next should follow soon.
    pub fn sweep(&self, first: usize, of: usize, now: Moment) -> bool {
        let mut dropped = Vec::new();
        let mut evicted = 0;
        for index in (first..self.shards.len()).step_by(of.max(1)) {
            let mut from = Some(0);
            while let Some(slot) = from.filter(|_| evicted < EVICTIONS_PER_SWEEP) {
                from = self.sweep_slots(index as u16, slot, now, &mut dropped);
                evicted += dropped.len();
                dropped.clear();
            }
        }
        self.relieve(now.monotonic_micros, &mut dropped);
        evicted >= EVICTIONS_PER_SWEEP
    }

    /// Reads all counters, one shard at a time.
    pub fn stats(&self) -> StoreStats {
        let mut stats = StoreStats {
            others: self.meters.others(),
            topics_total: self.topics.load(Ordering::Relaxed),
            history_bytes: self.history_bytes.load(Ordering::Relaxed),
            evicted: self.evicted.load(Ordering::Relaxed),
            ..StoreStats::default()
        };
        for shard in 0..self.shards.len() {
            for topic in self.lock(shard as u16).topics() {
                let messages = topic.history.len();
                match &topic.meter {
                    Some(meter) if self.meters.is_own(meter) => stats.topics.push(TopicStats {
                        name: topic.name.clone(),
                        messages,
                        counts: meter.counts(),
                    }),
                    _ => stats.others_messages += messages,
                }
            }
        }
        stats
    }

    fn lock(&self, shard: u16) -> MutexGuard<'_, Shard> {
        // A panic under the lock is a defect of ours; the other topics of the shard go on.
        self.shards[shard as usize]
            .shard
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn find_or_make(&self, name: &str) -> Result<(MutexGuard<'_, Shard>, TopicHandle), StoreError> {
        let (name_hash, shard_index) = self.shard_of(name);
        let mut shard = self.lock(shard_index);
        if let Some(key) = shard.find(name_hash, name) {
            return Ok((
                shard,
                TopicHandle {
                    shard: shard_index,
                    key,
                },
            ));
        }
        let key = self.make(&mut shard, name_hash, name)?;
        Ok((
            shard,
            TopicHandle {
                shard: shard_index,
                key,
            },
        ))
    }

    /// The hash of a topic's name, and the shard where it stands.
    fn shard_of(&self, name: &str) -> (u64, u16) {
        let name_hash = self.hasher.hash_one(name);
        // The upper bits: the shard's own table uses the lower ones.
        let shard = (name_hash >> 48) as usize & (self.shards.len() - 1);
        (name_hash, shard as u16)
    }

    fn make(&self, shard: &mut Shard, name_hash: u64, name: &str) -> Result<SlotKey, StoreError> {
        let hash = TopicHash::of(name);
        let mut hashes = self.stripe(hash);
        if hashes.contains(&hash) {
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
        hashes.insert(hash);
        Ok(key)
    }

    fn free(&self, shard: &mut Shard, handle: TopicHandle) -> Option<Box<Topic>> {
        let name_hash = self.hasher.hash_one(shard.get(handle.key)?.name.as_str());
        let topic = shard.remove(handle.key, name_hash)?;
        self.stripe(topic.hash).remove(&topic.hash);
        self.topics.fetch_sub(1, Ordering::Relaxed);
        self.budget.adjust(topic.overhead_bytes(), 0);
        if let Some(meter) = &topic.meter {
            self.meters.release(meter);
        }
        Some(topic)
    }

    fn stripe(&self, hash: TopicHash) -> MutexGuard<'_, HashSet<TopicHash>> {
        let stripe = &self.hashes[hash.bits() as usize & (self.hashes.len() - 1)];
        stripe.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn store(&self, topic: &mut Topic, draft: Draft, now: Moment) -> MessageId {
        let newest = topic.history.newest();
        let id = self.id(topic.hash, newest.position.next(now.wall_millis()));
        topic
            .history
            .push(draft.store(newest.sequence + 1, &id, now.monotonic_micros));
        id
    }

    /// Where a subscription starts, and what it misses.
    fn place(&self, topic: &Topic, start: Start) -> (Place, Option<Gap>) {
        let (newest, lost) = (topic.history.newest(), topic.history.lost());
        let gap = |from, reason| Gap {
            from,
            to: self.id(topic.hash, lost.position),
            reason,
        };
        match start {
            Start::Last => (newest, None),
            Start::Earliest => (lost, None),
            Start::Behind(id) if id.epoch != self.epoch => {
                (lost, Some(gap(id, GapReason::EpochChanged)))
            }
            // An id of another topic stands for its time: nothing of this topic is behind it.
            Start::Behind(id) if id.position > newest.position && id.topic != topic.hash => {
                (newest, None)
            }
            Start::Behind(id) if id.position > newest.position => {
                (lost, Some(gap(id, GapReason::EpochChanged)))
            }
            Start::Behind(id) if id.position < lost.position => {
                (lost, Some(gap(id, GapReason::Trimmed)))
            }
            Start::Behind(id) => (topic.history.place_behind(id.position), None),
        }
    }

    /// Sweeps one run of slots, and says where the next begins: at the same slot when this hold of
    /// the lock has evicted its share.
    fn sweep_slots(
        &self,
        shard_index: u16,
        from: usize,
        now: Moment,
        dropped: &mut Vec<Message>,
    ) -> Option<usize> {
        let mut shard = self.lock(shard_index);
        let mut freed = Vec::new();
        let keys: SmallVec<[SlotKey; 16]> = shard.keys(from, SWEEP_SLOTS_PER_HOLD).collect();
        for key in keys {
            let Some(topic) = shard.get_mut(key) else {
                continue;
            };
            let before = topic.history.bytes();
            let most = EVICTIONS_PER_HOLD.saturating_sub(dropped.len());
            topic.evict(&self.limits.history, now.monotonic_micros, most, dropped);
            let after = topic.history.bytes();
            let is_idle = topic.is_idle();
            self.history_bytes
                .fetch_sub(before - after, Ordering::Relaxed);
            if is_idle {
                freed.extend(self.free(
                    &mut shard,
                    TopicHandle {
                        shard: shard_index,
                        key,
                    },
                ));
            }
        }
        self.note_largest(shard_index, &shard);
        let slots = shard.slots();
        drop(shard);
        self.evicted
            .fetch_add(dropped.len() as u64, Ordering::Relaxed);
        if dropped.len() >= EVICTIONS_PER_HOLD {
            return Some(from);
        }
        Some(from + SWEEP_SLOTS_PER_HOLD).filter(|next| *next < slots)
    }

    /// Brings the bytes in use below the bound, if history can: the oldest of the largest logs
    /// first, what live readers have not read last. Another worker that is at it suffices.
    fn relieve(&self, now_micros: u64, dropped: &mut Vec<Message>) {
        if self.budget.excess() == 0 {
            return;
        }
        let Ok(_relief) = self.relief.try_lock() else {
            return;
        };
        let mut goal = self.budget.excess() + self.budget.bytes_max() / RELIEF_SHARE;
        for above_floor in [false, true] {
            let mut exhausted = vec![false; self.shards.len()];
            while goal > 0 {
                let Some(index) = self.largest_shard(&exhausted) else {
                    break;
                };
                let freed = self.trim_shard(index, goal, above_floor, now_micros, dropped);
                exhausted[index] = freed == 0;
                goal = goal.saturating_sub(freed);
            }
        }
    }

    fn largest_shard(&self, exhausted: &[bool]) -> Option<usize> {
        let bytes = |index: usize| self.shards[index].largest_bytes.load(Ordering::Relaxed);
        let candidates = (0..self.shards.len()).filter(|index| !exhausted[*index]);
        candidates
            .max_by_key(|index| bytes(*index))
            .filter(|index| bytes(*index) > 0)
    }

    fn trim_shard(
        &self,
        index: usize,
        goal: u64,
        above_floor: bool,
        now_micros: u64,
        dropped: &mut Vec<Message>,
    ) -> u64 {
        let mut shard = self.lock(index as u16);
        let freed = shard.trim_largest(goal, EVICTIONS_PER_HOLD, above_floor, now_micros, dropped);
        self.history_bytes.fetch_sub(freed, Ordering::Relaxed);
        self.note_largest(index as u16, &shard);
        drop(shard);
        self.evicted
            .fetch_add(dropped.len() as u64, Ordering::Relaxed);
        dropped.clear();
        freed
    }

    /// Stored under the lock, so that it never falls behind what a publisher has noted since: too
    /// large a number costs one look, too small a one would hide the shard.
    fn note_largest(&self, index: u16, shard: &Shard) {
        let largest = shard.largest_bytes();
        // Relaxed: the lock orders writers, and readers want a hint only.
        self.shards[index as usize]
            .largest_bytes
            .store(largest, Ordering::Relaxed);
    }
}

/// Reads a log on behind a sequence.
fn read_on(
    topic: &Topic,
    behind: u64,
    batch: Option<Batch>,
    now: Moment,
    messages: &mut Vec<Message>,
) -> Reading {
    let (newest, lost) = (topic.history.newest(), topic.history.lost());
    let lost = (behind < lost.sequence).then_some(lost);
    let Some(batch) = batch else {
        return Reading {
            place: newest,
            lost,
            more: false,
        };
    };
    let mut bytes = 0;
    let mut last = None;
    for message in topic.history.behind(behind, now.monotonic_micros) {
        bytes += message.frame().len();
        let full = messages.len() == batch.messages_max || bytes > batch.bytes_max;
        if let Some(place) = last.filter(|_| full) {
            return Reading {
                place,
                lost,
                more: true,
            };
        }
        last = Some(Place {
            sequence: message.sequence(),
            position: message.position(),
        });
        messages.push(message.clone());
    }
    Reading {
        place: newest,
        lost,
        more: false,
    }
}

/// What a test may see of a topic that nobody else may.
#[cfg(test)]
#[derive(Debug)]
pub(super) struct Inspection {
    /// What is kept, expired messages that nothing has taken yet included.
    pub(super) kept: Vec<Message>,
    pub(super) newest: Place,
    pub(super) lost: Place,
    /// What the slowest live reader has read.
    pub(super) floor: u64,
    pub(super) overhead_bytes: usize,
}

#[cfg(test)]
impl TopicStore {
    /// A topic from inside, if it exists.
    pub(super) fn inspect(&self, name: &str) -> Option<Inspection> {
        (0..self.shards.len()).find_map(|shard| {
            let shard = self.lock(shard as u16);
            let topic = shard.topics().find(|topic| topic.name.as_str() == name)?;
            Some(Inspection {
                kept: topic.history.behind(0, 0).cloned().collect(),
                newest: topic.history.newest(),
                lost: topic.history.lost(),
                floor: topic.interest.floor(),
                overhead_bytes: topic.overhead_bytes(),
            })
        })
    }
}
