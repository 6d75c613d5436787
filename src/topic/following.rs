//! Following a store elsewhere: topics are opened and closed by whoever hears of their messages
//! there, and messages come with the positions that they have there.
//!
//! ```text
//!   elsewhere  ├── begins_behind ─────────────────────────────── last ─┤
//!   here                            ├── lost ───────── newest ──┤
//!                        cold                  hot
//! ```
//!
//! A log here is the recent end of a stream elsewhere. What is below its `lost` mark is no gap to
//! a reader: it is read there, in order, until the log goes on ([`TopicStore::place_behind`]).
//! Each message names its predecessor, so that a hole shows at once. Everything else works as in
//! a store of its own, but that a topic without readers stays until it is closed.

use std::sync::Arc;

use super::budget::Budget;
use super::handle::TopicHandle;
use super::history::{History, Place};
use super::id::{Epoch, Position, TopicHash};
use super::interest::{LocalTopic, News, WorkerIndex};
use super::message::{Draft, Message};
use super::name::TopicName;
use super::shard::Topic;
use super::store::{StoreError, StoreLimits, TopicStore};
use super::subscription::{Origin, Start, Subscribed};
use crate::moment::Moment;

/// Slots that are looked at in one hold of a shard's lock.
const SLOTS_PER_HOLD: usize = 256;

/// What became of a message that was heard of elsewhere.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub enum Fed {
    /// It is the newest of the log now.
    Appended,
    /// It was here before, or would have expired: nothing was done.
    Known,
    /// Messages before it have not come: nothing was done.
    Missing {
        /// The newest message that is here.
        newest: Position,
    },
    /// Nobody follows its topic: nothing was done.
    NotOpen,
    /// It is not newer than the newest, but was never here: the streams here and there are not the
    /// same any more. Nothing was done. In a log whose messages have expired this may be said of
    /// one that comes for the second time.
    Foreign,
}

/// From where a message came.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Source {
    /// Told as it was published: some may have been missed before it.
    Channel,
    /// Read from the stream right behind the newest: what was not read does not exist any more.
    Stream,
}

/// A message with its place elsewhere.
struct Arrival {
    predecessor: Position,
    position: Position,
    draft: Draft,
    stored_at: u64,
    source: Source,
}

impl TopicStore {
    /// An empty store that follows another. Nothing is published to it: topics exist from
    /// [`TopicStore::open`] to [`TopicStore::close_if_unread`], and [`TopicStore::feed`] and
    /// [`TopicStore::mend`] bring their messages.
    pub fn following(
        limits: StoreLimits,
        workers: usize,
        epoch: Epoch,
        budget: &'static Budget,
    ) -> TopicStore {
        // What was lost is known elsewhere, so nothing has to be remembered of closed topics.
        let mut store = TopicStore::with_freed_marks_max(limits, workers, epoch, budget, 0);
        store.is_following = true;
        store
    }

    /// Opens a topic whose newest message elsewhere is `newest`: its log begins behind that. Of no
    /// effect when it is open. Returns the position of its newest message here.
    ///
    /// # Errors
    /// When there is no room for the topic.
    pub fn open(&self, name: &TopicName, newest: Position) -> Result<Position, StoreError> {
        let (name_hash, index) = self.shard_of(name.as_str());
        let mut shard = self.lock(index);
        let key = shard.find(name_hash, name.as_str());
        if let Some(topic) = key.and_then(|key| shard.get(key)) {
            return Ok(topic.history.newest().position);
        }
        let handle = self.make(&mut shard, index, name_hash, name.as_str())?;
        let topic = shard.get_mut(handle.key()).expect("made under this lock");
        topic.history = History::new(newest, newest);
        Ok(newest)
    }

    /// Stores a message that was published elsewhere just now, if it follows the newest: `position`
    /// is its own, `predecessor` that of the message before it in its topic. Whom to tell is added
    /// to `news`.
    ///
    /// # Panics
    /// When the draft is for another topic (in debug builds).
    pub fn feed(
        &self,
        name: &TopicName,
        predecessor: Position,
        position: Position,
        draft: Draft,
        now: Moment,
        news: &mut Vec<News>,
    ) -> Fed {
        let arrival = Arrival {
            predecessor,
            position,
            draft,
            stored_at: now.monotonic_micros,
            source: Source::Channel,
        };
        self.arrive(name, arrival, now, news)
    }

    /// Stores a message that was read elsewhere right behind the newest here, and was published at
    /// `stored_at` in monotonic microseconds. If its predecessor is not here either, it is no
    /// longer there, or too much was missed: then the log begins anew behind that one, and to all
    /// readers something is lost. Whom to tell is added to `news`. Never [`Fed::Missing`].
    ///
    /// # Panics
    /// When the draft is for another topic (in debug builds).
    #[expect(
        clippy::too_many_arguments,
        reason = "a message with its places and times"
    )]
    pub fn mend(
        &self,
        name: &TopicName,
        predecessor: Position,
        position: Position,
        draft: Draft,
        stored_at: u64,
        now: Moment,
        news: &mut Vec<News>,
    ) -> Fed {
        let arrival = Arrival {
            // Whoever wrote it: it is below the message.
            predecessor: predecessor.min(position.previous()),
            position,
            draft,
            stored_at,
            source: Source::Stream,
        };
        self.arrive(name, arrival, now, news)
    }

    /// Empties the log of a topic, which goes on behind `newest`, wherever that is: what readers
    /// have not read is lost to them, and if `newest` is not where the log stood, so is something
    /// to those who had read everything. Whom to tell is added to `news`. Of no effect when the
    /// topic is not open.
    pub fn restart(&self, name: &TopicName, newest: Position, news: &mut Vec<News>) {
        self.empty(name, newest, true, news);
    }

    /// The same, unless the log has come as far as `newest`, or further, already.
    pub fn skip(&self, name: &TopicName, newest: Position, news: &mut Vec<News>) {
        self.empty(name, newest, false, news);
    }

    fn empty(&self, name: &TopicName, newest: Position, is_forced: bool, news: &mut Vec<News>) {
        let (name_hash, index) = self.shard_of(name.as_str());
        let cell = &self.shards[index as usize];
        let mut shard = cell.lock();
        let key = shard.find(name_hash, name.as_str());
        let Some(topic) = key.and_then(|key| shard.get_mut(key)) else {
            return;
        };
        if !is_forced && topic.history.newest().position >= newest {
            return;
        }
        let before = topic.history.bytes();
        let dropped = topic.history.restart(newest);
        topic.interest.tell(news);
        cell.account(before, 0, 0);
        drop(shard);
        drop(dropped);
    }

    /// Closes a topic, unless a worker reads it. Whether it is not open any more.
    pub fn close_if_unread(&self, name: &TopicName) -> bool {
        let (name_hash, index) = self.shard_of(name.as_str());
        let cell = &self.shards[index as usize];
        let mut shard = cell.lock();
        let Some(key) = shard.find(name_hash, name.as_str()) else {
            return true;
        };
        let handle = TopicHandle::new(index, key);
        let topic = shard.get(key).filter(|topic| topic.interest.is_empty());
        let Some(bytes) = topic.map(|topic| topic.history.bytes()) else {
            return false;
        };
        let freed = self.free(&mut shard, handle);
        cell.account(bytes, 0, 0);
        drop(shard);
        drop(freed);
        true
    }

    /// All open topics with the positions of their newest messages. One that is opened or closed
    /// meanwhile may be missing.
    pub fn open_topics(&self) -> Vec<(TopicName, Position)> {
        let mut topics = Vec::new();
        for cell in &self.shards {
            let (mut from, mut slots) = (0, 1);
            while from < slots {
                let shard = cell.lock();
                let found = shard
                    .keys(from, SLOTS_PER_HOLD)
                    .filter_map(|key| shard.get(key));
                topics.extend(
                    found.map(|topic| (topic.name.clone(), topic.history.newest().position)),
                );
                (from, slots) = (from + SLOTS_PER_HOLD, shard.slots());
            }
        }
        topics
    }

    /// As [`TopicStore::subscribe`], but what can be had is judged by where the stream elsewhere
    /// begins: behind `begins_behind`. Without that (which is enough for [`Start::Last`]) the log
    /// alone counts. If the start is below what the log has, the subscription
    /// [is cold](Subscribed::is_cold): its position says where to read on elsewhere, its sequence
    /// is that of the log's `lost` mark.
    ///
    /// # Errors
    /// [`StoreError::NotOpen`] when nobody follows the topic.
    pub fn subscribe_behind(
        &self,
        name: &TopicName,
        worker: WorkerIndex,
        vacant: LocalTopic,
        start: Start,
        begins_behind: Option<Position>,
    ) -> Result<Subscribed, StoreError> {
        let (mut shard, handle) = self.find_or_make(name.as_str())?;
        let topic = shard.get_mut(handle.key()).expect("found under this lock");
        let (newest, lost) = (topic.history.newest(), topic.history.lost());
        // The stream may have lost already what has not come here yet: that shows when it does.
        let begins_behind = begins_behind.map_or(lost.position, |it| it.min(newest.position));
        let (origin, gap) = self.origin(topic, start, begins_behind);
        let position = match origin {
            Origin::Newest => newest.position,
            Origin::Beginning => begins_behind,
            Origin::Behind(position) => position,
        };
        let is_cold = position < lost.position;
        let place = if is_cold {
            let sequence = lost.sequence;
            Place { sequence, position }
        } else {
            topic.history.place_behind(position)
        };
        let subscribed = self.enter(topic, handle, worker, vacant, (place, gap));
        Ok(Subscribed {
            is_cold,
            ..subscribed
        })
    }

    /// Where the log goes on behind a position up to which the stream was read elsewhere. `None`
    /// while that is below what the log has, and when the topic is not open: the stream is to be
    /// read on. A place whose position is below the one given is the newest of a log that has not
    /// come so far: what was read above that place will come here too, so it is not to be
    /// delivered from there.
    pub fn place_behind(&self, handle: TopicHandle, position: Position) -> Option<Place> {
        let shard = self.lock(handle.shard());
        let history = &shard.get(handle.key())?.history;
        let (newest, lost) = (history.newest(), history.lost());
        if position < lost.position {
            None
        } else if position > newest.position {
            Some(newest)
        } else {
            Some(history.place_behind(position))
        }
    }

    /// Counts messages that were received here and stored elsewhere, each `latency_micros` after it
    /// had come. Those of topics that nobody follows are counted together.
    pub fn count_received(&self, topic: TopicHash, messages: u64, latency_micros: u64) {
        let handle = self.find_hash(topic);
        let meter = handle.and_then(|handle| {
            let mut shard = self.lock(handle.shard());
            let topic = shard.get_mut(handle.key())?;
            Some(Arc::clone(
                topic.meter.get_or_insert_with(|| self.meters.assign()),
            ))
        });
        match meter {
            Some(meter) => meter.received(messages, latency_micros),
            None => self.meters.shared().received(messages, latency_micros),
        }
    }

    /// A message that was read elsewhere and stands in no log: its sequence is 0. `stored_at` is in
    /// monotonic microseconds.
    pub fn cold_message(
        &self,
        topic: TopicHash,
        position: Position,
        draft: Draft,
        stored_at: u64,
    ) -> Message {
        draft.store(0, &self.id(topic, position), stored_at)
    }

    fn arrive(&self, name: &TopicName, arrival: Arrival, now: Moment, news: &mut Vec<News>) -> Fed {
        debug_assert_eq!(arrival.draft.topic(), name.as_str());
        let (name_hash, index) = self.shard_of(name.as_str());
        let cell = &self.shards[index as usize];
        let mut shard = cell.lock();
        let key = shard.find(name_hash, name.as_str());
        let Some(topic) = key.and_then(|key| shard.get_mut(key)) else {
            return Fed::NotOpen;
        };
        if let Some(refused) = judge(&topic.history, &arrival, now) {
            return refused;
        }
        let before = topic.history.bytes();
        let newest = topic.history.newest().position;
        let emptied =
            (arrival.predecessor > newest).then(|| topic.history.restart(arrival.predecessor));
        self.append(topic, arrival);
        topic.interest.tell(news);
        let mut dropped = Vec::new();
        self.evict_some(topic, 1, now, &mut dropped);
        // For deliveries: what was received here is counted where it was stored.
        topic.meter.get_or_insert_with(|| self.meters.assign());
        cell.account_stored(before, topic.history.bytes(), dropped.len());
        drop(shard);
        drop(emptied);
        dropped.clear();
        self.relieve(now.monotonic_micros, &mut dropped);
        Fed::Appended
    }

    fn append(&self, topic: &mut Topic, arrival: Arrival) {
        let id = self.id(topic.hash, arrival.position);
        let sequence = topic.history.newest().sequence + 1;
        let message = arrival.draft.store(sequence, &id, arrival.stored_at);
        topic.history.push(message);
    }
}

/// Why a message is not to be stored, if so.
fn judge(history: &History, arrival: &Arrival, now: Moment) -> Option<Fed> {
    let newest = history.newest().position;
    if arrival.position <= newest {
        // Not to store what has expired is no loss.
        let is_known =
            history.had(arrival.position) || arrival.draft.expires_at() <= now.monotonic_micros;
        Some(if is_known { Fed::Known } else { Fed::Foreign })
    } else if arrival.source == Source::Channel && arrival.predecessor != newest {
        Some(Fed::Missing { newest })
    } else {
        None
    }
}

#[cfg(test)]
mod tests;
