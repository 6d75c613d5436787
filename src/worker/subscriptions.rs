//! The topics that this worker's connections subscribe to, and who they are.

use std::sync::Arc;

use smallvec::SmallVec;

use super::fan_out::Job;
use super::slots::ConnectionKey;
use crate::topic::{LocalTopic, Place, Position, TopicHandle, TopicMeter};

/// A topic in which this worker has interest.
#[derive(Debug)]
pub(super) struct Subscribed {
    pub(super) handle: TopicHandle,
    /// The two numbers of [`Subscribed::read`], apart: so they take four bytes less.
    read_sequence: u64,
    read_position: Position,
    subscribers: SmallVec<[Subscriber; 1]>,
    /// The fan-out under way. While there is one, places in `subscribers` do not move.
    pub(super) job: Option<Box<Job>>,
    /// Waits for its turn in the fan-out.
    pub(super) is_queued: bool,
    /// The log has something that no job has read yet.
    pub(super) has_news: bool,
    pub(super) meter: Option<Arc<TopicMeter>>,
}

/// One connection's subscription, as the topic sees it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Subscriber {
    pub(super) key: ConnectionKey,
    pub(super) standing: Standing,
    /// `on_lag` is `skip`, not `disconnect`.
    pub(super) skips: bool,
    /// The two numbers of its place, apart: a [`Place`] would cost eight bytes more.
    sequence: u64,
    position: Position,
}

impl Subscriber {
    /// A subscriber that has everything up to `place`.
    pub(super) fn new(
        key: ConnectionKey,
        standing: Standing,
        skips: bool,
        place: Place,
    ) -> Subscriber {
        Subscriber {
            key,
            standing,
            skips,
            sequence: place.sequence,
            position: place.position,
        }
    }

    /// Everything up to here is not for it any more. Behind: how far it has read on its own. Live:
    /// where it joined; the worker's own place counts when that is further.
    pub(super) fn place(&self) -> Place {
        Place {
            sequence: self.sequence,
            position: self.position,
        }
    }

    /// Whether it reads on by itself, from what the log has no more.
    pub(super) fn is_lost(&self, trimmed_to: u64) -> bool {
        self.standing == Standing::Behind && self.sequence < trimmed_to
    }

    /// It stands like this, at this place, from now on.
    pub(super) fn stand(&mut self, standing: Standing, place: Place) {
        self.standing = standing;
        self.sequence = place.sequence;
        self.position = place.position;
    }
}

/// How a subscriber gets its messages.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Standing {
    /// From the fan-out, like all others.
    Live,
    /// From the log, from a position of its own.
    Behind,
    /// From the topic's stream behind memory, from a position to which the log does not reach back.
    Cold,
    /// When its connection asks, which is told of news: polls and at-least-once consumers.
    Asking,
    /// Not at all: it left during a job.
    Gone,
}

impl Standing {
    /// Whether it has a position of its own and reads on from there.
    pub(super) fn reads_on(self) -> bool {
        matches!(self, Standing::Behind | Standing::Cold)
    }
}

/// Where a connection finds its own entry: which topic, which place among its subscribers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct SubscriptionRef {
    pub(super) topic: LocalTopic,
    pub(super) index: u32,
}

/// A subscriber has moved to another place: its connection must hear of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Moved {
    pub(super) key: ConnectionKey,
    pub(super) from: SubscriptionRef,
    pub(super) to: SubscriptionRef,
}

impl Subscribed {
    /// A topic without subscribers.
    pub(super) fn new(handle: TopicHandle, read: Place) -> Subscribed {
        Subscribed {
            handle,
            read_sequence: read.sequence,
            read_position: read.position,
            subscribers: SmallVec::new(),
            job: None,
            is_queued: false,
            has_news: false,
            meter: None,
        }
    }

    /// What live subscribers have been given, or are being given by the job.
    pub(super) fn read(&self) -> Place {
        Place {
            sequence: self.read_sequence,
            position: self.read_position,
        }
    }

    /// They are being given everything up to `place`. Returns what they had been given before.
    pub(super) fn advance(&mut self, place: Place) -> Place {
        let before = self.read();
        self.read_sequence = place.sequence;
        self.read_position = place.position;
        before
    }

    /// Places taken, those of subscribers that are gone included.
    pub(super) fn places(&self) -> usize {
        self.subscribers.len()
    }

    /// Whether any subscriber takes part in the fan-out.
    pub(super) fn has_live(&self) -> bool {
        self.subscribers
            .iter()
            .any(|subscriber| subscriber.standing == Standing::Live)
    }

    /// Whether any subscriber wants to be told of news.
    pub(super) fn has_asking(&self) -> bool {
        self.subscribers
            .iter()
            .any(|subscriber| subscriber.standing == Standing::Asking)
    }

    /// The subscriber at a place.
    pub(super) fn subscriber(&mut self, index: u32) -> &mut Subscriber {
        &mut self.subscribers[index as usize]
    }

    /// The subscriber at a place.
    pub(super) fn subscriber_at(&self, index: u32) -> &Subscriber {
        &self.subscribers[index as usize]
    }

    fn take_out(&mut self, local: LocalTopic, index: u32) -> Option<Moved> {
        self.subscribers.swap_remove(index as usize);
        let moved = self.subscribers.get(index as usize)?;
        let from = SubscriptionRef {
            topic: local,
            index: self.subscribers.len() as u32,
        };
        Some(Moved {
            key: moved.key,
            from,
            to: SubscriptionRef {
                topic: local,
                index,
            },
        })
    }
}

/// All of them, by the number that the store hands back with news.
#[derive(Default, Debug)]
pub(super) struct Subscriptions {
    topics: Vec<Option<Subscribed>>,
    vacant: Vec<LocalTopic>,
}

impl Subscriptions {
    /// The number that the next topic will get.
    pub(super) fn vacant(&self) -> LocalTopic {
        self.vacant
            .last()
            .copied()
            .unwrap_or(self.topics.len() as LocalTopic)
    }

    /// Adds a topic under the number that [`Subscriptions::vacant`] told.
    pub(super) fn insert(&mut self, topic: Subscribed) {
        match self.vacant.pop() {
            Some(local) => self.topics[local as usize] = Some(topic),
            None => self.topics.push(Some(topic)),
        }
    }

    /// A topic, unless its number is out of use.
    pub(super) fn get(&self, local: LocalTopic) -> Option<&Subscribed> {
        self.topics.get(local as usize)?.as_ref()
    }

    /// A topic, unless its number is out of use.
    pub(super) fn get_mut(&mut self, local: LocalTopic) -> Option<&mut Subscribed> {
        self.topics.get_mut(local as usize)?.as_mut()
    }

    /// Numbers of all topics.
    pub(super) fn numbers(&self) -> impl Iterator<Item = LocalTopic> {
        let taken = self
            .topics
            .iter()
            .enumerate()
            .filter(|(_, topic)| topic.is_some());
        taken.map(|(index, _)| index as LocalTopic)
    }

    /// Adds a subscriber, behind the end of a job that is under way.
    pub(super) fn join(&mut self, local: LocalTopic, subscriber: Subscriber) -> SubscriptionRef {
        let topic = self
            .get_mut(local)
            .expect("joined right after it was found or inserted");
        topic.subscribers.push(subscriber);
        SubscriptionRef {
            topic: local,
            index: (topic.subscribers.len() - 1) as u32,
        }
    }

    /// Removes a subscriber. During a job it leaves a tombstone, see [`Subscriptions::bury`].
    pub(super) fn leave(&mut self, at: SubscriptionRef) -> Option<Moved> {
        let topic = self.get_mut(at.topic)?;
        if topic.job.is_some() {
            topic.subscriber(at.index).standing = Standing::Gone;
            return None;
        }
        topic.take_out(at.topic, at.index)
    }

    /// Removes the last tombstone that a job has left among the places below `below`, and says
    /// where it stood: above that there are none any more. `None` when there are none at all.
    pub(super) fn bury(&mut self, local: LocalTopic, below: u32) -> Option<(u32, Option<Moved>)> {
        let topic = self.get_mut(local)?;
        let is_gone = |subscriber: &Subscriber| subscriber.standing == Standing::Gone;
        let below = topic.places().min(below as usize);
        let index = topic.subscribers[..below].iter().rposition(is_gone)? as u32;
        Some((index, topic.take_out(local, index)))
    }

    /// Takes a topic out that nobody subscribes to any more, and returns its handle.
    pub(super) fn remove_if_unused(&mut self, local: LocalTopic) -> Option<TopicHandle> {
        let topic = self.get(local)?;
        if topic.places() > 0 || topic.job.is_some() {
            return None;
        }
        let topic = self.topics[local as usize].take()?;
        self.vacant.push(local);
        Some(topic.handle)
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::super::slots::Slots;
    use super::*;
    use crate::topic::{Budget, Epoch, HistoryLimits, Start, StoreLimits, TopicName, TopicStore};

    fn topic() -> Subscribed {
        let limits = StoreLimits {
            history: HistoryLimits {
                messages_max: 1,
                bytes_max: 1,
                retention_micros: 1,
            },
            topics_max: 1,
            metered_topics_max: 0,
            consumers_max: 0,
            group_members_max: 0,
            client_retention: 0,
        };
        let store = TopicStore::new(limits, 1, Epoch::new(1), Budget::new(1 << 20));
        let name = TopicName::parse("t").unwrap();
        let subscribed = store.subscribe(&name, 0, 0, Start::Last).unwrap();
        Subscribed::new(subscribed.handle, subscribed.start)
    }

    #[test]
    fn half_of_many_leave_during_a_job() {
        const MANY: u32 = 100_000;
        let mut topics = Subscriptions::default();
        topics.insert(topic());
        let mut slots = Slots::default();
        let mut places: Vec<SubscriptionRef> = (0..MANY)
            .map(|_| {
                let key = slots.insert_with(|key| key);
                let place = Place::default();
                topics.join(0, Subscriber::new(key, Standing::Live, false, place))
            })
            .collect();
        topics.get_mut(0).unwrap().job = Some(Box::default());
        for at in places.drain(..MANY as usize / 2) {
            assert!(topics.leave(at).is_none(), "nobody moves during a job");
        }
        topics.get_mut(0).unwrap().job = None;

        let began = Instant::now();
        let (mut below, mut moves) = (u32::MAX, 0);
        while let Some((index, moved)) = topics.bury(0, below) {
            assert!(index < below);
            below = index;
            moves += u32::from(moved.is_some());
        }
        assert!(
            began.elapsed() < Duration::from_secs(2),
            "{:?}",
            began.elapsed()
        );
        let topic = topics.get(0).unwrap();
        assert_eq!((topic.places() as u32, moves), (MANY / 2, MANY / 2));
        let is_live = |index| topic.subscriber_at(index).standing == Standing::Live;
        assert!((0..MANY / 2).all(is_live));
    }
}
