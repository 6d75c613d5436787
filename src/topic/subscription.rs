//! Subscribing to a topic: where to start, and what cannot be had any more.

use super::history::Place;
use super::id::MessageId;
use super::interest::{LocalTopic, WorkerIndex};
use super::name::TopicName;
use super::store::{TopicHandle, TopicStore};

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

impl TopicStore {
    /// One of the worker's subscriptions in a topic has gone, and the worker reads on: they are
    /// counted for listings. When it does not, [`TopicStore::unsubscribe`] is due instead.
    pub fn leave(&self, handle: TopicHandle, worker: WorkerIndex) {
        if let Some(topic) = self.lock(handle.shard).get_mut(handle.key) {
            topic.interest.leave(worker);
        }
    }
}
