//! Subscribing to a topic: where to start, and what cannot be had any more.

use super::handle::TopicHandle;
use super::history::Place;
use super::id::{MessageId, Position};
use super::interest::{LocalTopic, WorkerIndex};
use super::name::TopicName;
use super::shard::Topic;
use super::store::TopicStore;

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

/// Where in a topic a subscription starts.
#[derive(Clone, Copy, Debug)]
pub(super) enum Origin {
    /// Behind the newest message.
    Newest,
    /// Before the oldest message kept.
    Beginning,
    /// Behind this position, which is neither below the beginning nor above the newest.
    Behind(Position),
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
    /// The start's position is below what the log still has, in a store that follows another: the
    /// messages between are to be read there, see [`TopicStore::place_behind`].
    pub is_cold: bool,
}

impl TopicStore {
    /// Registers the interest of `worker`, whose subscription starts at a place.
    pub(super) fn enter(
        &self,
        topic: &mut Topic,
        handle: TopicHandle,
        worker: WorkerIndex,
        vacant: LocalTopic,
        (start, gap): (Place, Option<Gap>),
    ) -> Subscribed {
        let newest = topic.history.newest();
        let local = topic.interest.local(worker);
        match local {
            Some(_) => topic.interest.join(worker),
            None => topic.interest.register(worker, vacant, newest.sequence),
        }
        Subscribed {
            handle,
            name: topic.name.clone(),
            local: local.unwrap_or(vacant),
            newly_interested: local.is_none().then_some(newest),
            start,
            resume: self.id(topic.hash, start.position),
            gap,
            is_cold: false,
        }
    }

    /// Where a subscription starts, and what it misses.
    pub(super) fn place(&self, topic: &Topic, start: Start) -> (Place, Option<Gap>) {
        let (newest, lost) = (topic.history.newest(), topic.history.lost());
        let (origin, gap) = self.origin(topic, start, lost.position);
        let place = match origin {
            Origin::Newest => newest,
            Origin::Beginning => lost,
            Origin::Behind(position) => topic.history.place_behind(position),
        };
        (place, gap)
    }

    /// Where a subscription starts in a topic of which everything behind `begins_behind` is kept,
    /// and what it misses.
    pub(super) fn origin(
        &self,
        topic: &Topic,
        start: Start,
        begins_behind: Position,
    ) -> (Origin, Option<Gap>) {
        let newest = topic.history.newest().position;
        // An id of another topic stands for its time in this one.
        let gap = |from: MessageId, reason| Gap {
            from: MessageId {
                topic: topic.hash,
                ..from
            },
            to: self.id(topic.hash, begins_behind),
            reason,
        };
        match start {
            Start::Last => (Origin::Newest, None),
            Start::Earliest => (Origin::Beginning, None),
            Start::Behind(id) if id.epoch != self.epoch() => {
                (Origin::Beginning, Some(gap(id, GapReason::EpochChanged)))
            }
            // An id of another topic stands for its time: nothing of this topic is behind it.
            Start::Behind(id) if id.position > newest && id.topic != topic.hash => {
                (Origin::Newest, None)
            }
            Start::Behind(id) if id.position > newest => {
                (Origin::Beginning, Some(gap(id, GapReason::EpochChanged)))
            }
            Start::Behind(id) if id.position < begins_behind => {
                (Origin::Beginning, Some(gap(id, GapReason::Trimmed)))
            }
            Start::Behind(id) => (Origin::Behind(id.position), None),
        }
    }

    /// One of the worker's subscriptions in a topic has gone, and the worker reads on: they are
    /// counted for listings. When it does not, [`TopicStore::unsubscribe`] is due instead.
    pub fn leave(&self, handle: TopicHandle, worker: WorkerIndex) {
        if let Some(topic) = self.lock(handle.shard()).get_mut(handle.key()) {
            topic.interest.leave(worker);
        }
    }
}
