//! Subscribing and unsubscribing: the store's interest, this worker's index, the connection's own.

use super::Worker;
use super::entering::Prepared;
use super::slots::ConnectionKey;
use super::subscriptions::{Standing, Subscribed, Subscriber, SubscriptionRef};
use crate::api::command::{CommandError, CommandErrorCode};
use crate::api::consumer::AtLeastOnce;
use crate::api::reply::Resume;
use crate::metrics::StorageOperation;
use crate::session::SubscribeRequest;
use crate::topic::{Gap, LocalTopic, MessageId, Start, StoreError, TopicHash, TopicName};

/// What one topic's subscription came to.
pub(super) struct Joined {
    pub(super) name: TopicName,
    pub(super) local: LocalTopic,
    pub(super) resume: MessageId,
    /// The log does not reach back to where it starts.
    pub(super) is_cold: bool,
    recovered: bool,
    pub(super) gap: Option<Gap>,
}

impl Joined {
    /// Where each topic's subscription starts, as it is told.
    pub(super) fn resumes(joined: &[Joined]) -> Vec<Resume<'_>> {
        let resumes = joined.iter().map(|topic| Resume {
            topic: topic.name.as_str(),
            position: topic.resume,
            recovered: topic.recovered,
        });
        resumes.collect()
    }

    /// What the subscriptions miss.
    pub(super) fn gaps(joined: &[Joined]) -> Vec<(TopicName, Gap)> {
        let gaps = joined.iter();
        gaps.filter_map(|topic| topic.gap.map(|gap| (topic.name.clone(), gap)))
            .collect()
    }
}

/// How far back the messages of topics reach.
#[derive(Debug)]
pub(super) enum Reach<'a> {
    /// As far as their logs.
    Logs,
    /// As far as their streams, of which so much is known.
    Streams(&'a [Prepared]),
}

/// How a connection subscribes.
#[derive(Clone, Copy)]
pub(super) struct Terms<'a> {
    /// When it is too slow it goes on behind what is lost.
    skips: bool,
    /// It is told of news and asks for messages itself.
    asks: bool,
    /// It lasts until it is ended, and so counts as one of its client's.
    lasts: bool,
    /// It is owed each message until it acknowledges it.
    delivery: Option<&'a AtLeastOnce>,
    reach: &'a Reach<'a>,
}

impl<'a> Terms<'a> {
    /// Those of a WebSocket or stream.
    pub(super) fn of(
        skips: bool,
        delivery: Option<&'a AtLeastOnce>,
        reach: &'a Reach<'a>,
    ) -> Terms<'a> {
        Terms {
            skips,
            asks: delivery.is_some(),
            lasts: true,
            delivery,
            reach,
        }
    }

    /// Those of a poll.
    pub(super) fn poll(delivery: Option<&'a AtLeastOnce>, reach: &'a Reach<'a>) -> Terms<'a> {
        Terms {
            skips: true,
            asks: true,
            lasts: false,
            delivery,
            reach,
        }
    }
}

impl Worker {
    /// Subscribes a connection to all topics of a request, or to none.
    pub(super) fn subscribe(
        &mut self,
        key: ConnectionKey,
        request: &SubscribeRequest,
        reach: &Reach<'_>,
    ) {
        let terms = Terms::of(request.skips, request.delivery.as_ref(), reach);
        let mut joined: Vec<Joined> = Vec::with_capacity(request.topics.len());
        let mut added: Vec<LocalTopic> = Vec::new();
        for name in &request.topics {
            if joined.iter().any(|other| other.name == *name) {
                continue;
            }
            let known = self.subscription(key, name);
            let result = match known {
                Some(at) => Ok(self.standing(key, at, name)),
                None => self.join(key, name, request.offset.start(name), &terms),
            };
            match result {
                Ok(topic) => {
                    added.extend(known.is_none().then_some(topic.local));
                    joined.push(topic);
                }
                Err(error) => {
                    added
                        .into_iter()
                        .for_each(|local| self.leave_topic(key, local));
                    self.refuse_subscribe(key, error);
                    return;
                }
            }
        }
        self.tell_subscribed(key, request, &joined);
        self.schedule_catch_up(key);
        if terms.asks {
            self.schedule_turn(key);
        }
    }

    /// Subscribes a connection to a topic from `start` on.
    ///
    /// # Errors
    /// When a bound is reached; it is as before then.
    pub(super) fn join(
        &mut self,
        key: ConnectionKey,
        name: &TopicName,
        start: Start,
        terms: &Terms<'_>,
    ) -> Result<Joined, CommandError> {
        let subscriptions_max = self.limits.subscriptions_max;
        let connection = self.connections.get(key);
        if connection.is_none_or(|it| it.subscriptions.len() >= subscriptions_max) {
            let message = format!("a connection has at most {subscriptions_max} subscriptions");
            return Err(CommandError::new(CommandErrorCode::LimitExceeded, message));
        }
        if terms.lasts {
            self.hold_subscription(key).map_err(|excess| {
                CommandError::new(CommandErrorCode::LimitExceeded, excess.to_string())
            })?;
        }
        let vacant = self.topics.vacant();
        let store = &self.shared.store;
        let result = match (terms.delivery, terms.reach) {
            (None, Reach::Logs) => store
                .subscribe(name, self.index, vacant, start)
                .map(|subscribed| (subscribed, false)),
            (None, Reach::Streams(topics)) => {
                let known = topics.iter().find(|topic| topic.name == *name);
                let begins_behind = known.and_then(|topic| topic.begins_behind);
                store
                    .subscribe_behind(name, self.index, vacant, start, begins_behind)
                    .map(|subscribed| (subscribed, false))
            }
            (Some(delivery), Reach::Logs) => self.attach(key, name, vacant, start, delivery),
            (Some(_), Reach::Streams(topics)) => {
                let known = topics.iter().find(|topic| topic.name == *name);
                let sit = known.map(|topic| self.sit(key, vacant, start, topic));
                sit.unwrap_or(Err(StoreError::NotOpen))
            }
        };
        self.metrics
            .storage_operation(StorageOperation::Subscribe, result.is_ok(), 1);
        let (subscribed, misses) = result.map_err(|error| refusal_of(&error))?;
        if let Some(read) = subscribed.newly_interested {
            self.topics.insert(Subscribed::new(subscribed.handle, read));
        }
        let group = self
            .topics
            .get(subscribed.local)
            .map_or(0, |topic| topic.read().sequence);
        let standing = if terms.asks {
            Standing::Asking
        } else if subscribed.is_cold {
            Standing::Cold
        } else if subscribed.start.sequence >= group {
            Standing::Live
        } else {
            Standing::Behind
        };
        let at = self.topics.join(
            subscribed.local,
            Subscriber::new(key, standing, terms.skips, subscribed.start),
        );
        if let Some(connection) = self.connections.get_mut(key) {
            connection.subscriptions.push(at);
            connection.behind += u32::from(standing.reads_on());
        }
        if let Some(gap) = &subscribed.gap {
            self.metrics.gap(gap.reason);
        }
        Ok(Joined {
            name: subscribed.name,
            local: subscribed.local,
            resume: subscribed.resume,
            is_cold: subscribed.is_cold,
            recovered: subscribed.gap.is_none() && !misses,
            gap: subscribed.gap,
        })
    }

    /// What there is to tell of a subscription that the connection has already.
    fn standing(&mut self, key: ConnectionKey, at: SubscriptionRef, name: &TopicName) -> Joined {
        let topic = self.topics.get_mut(at.topic);
        let place = topic.map_or_else(Default::default, |topic| {
            // What a job still holds for it, it has not been given.
            let job = topic.job.as_ref().and_then(|job| job.owes(at.index));
            let read = job.unwrap_or(topic.read());
            let subscriber = topic.subscriber(at.index);
            let is_live = subscriber.standing == Standing::Live;
            if is_live && read.sequence > subscriber.place().sequence {
                read
            } else {
                subscriber.place()
            }
        });
        let hash = TopicHash::of(name.as_str());
        let resume = self.shared.store.id(hash, place.position);
        // An at-least-once consumer is not moved by news, but by what it claims.
        let mut seats = self.seats.of(key).iter();
        let seat = seats.find(|seat| seat.local == at.topic);
        Joined {
            name: name.clone(),
            local: at.topic,
            resume: seat.map_or(resume, |seat| seat.place),
            is_cold: false,
            recovered: true,
            gap: None,
        }
    }

    fn tell_subscribed(
        &mut self,
        key: ConnectionKey,
        request: &SubscribeRequest,
        joined: &[Joined],
    ) {
        let Some(connection) = self.connections.get_mut(key) else {
            return;
        };
        let (resumes, gaps) = (Joined::resumes(joined), Joined::gaps(joined));
        let mut ctx = self.desk.context(&self.shared, self.now, false);
        let out = self.answers.of(key);
        connection
            .session
            .subscribed(request, &resumes, &gaps, &mut ctx, out);
    }

    pub(super) fn refuse_subscribe(&mut self, key: ConnectionKey, error: CommandError) {
        let Some(connection) = self.connections.get_mut(key) else {
            return;
        };
        let mut ctx = self.desk.context(&self.shared, self.now, false);
        let turn = connection
            .session
            .refused(error, &mut ctx, self.answers.of(key));
        self.carry_out(key, turn);
    }

    /// Ends subscriptions of a connection; names that it does not subscribe to are no error.
    pub(super) fn unsubscribe(&mut self, key: ConnectionKey, names: &[TopicName]) {
        for name in names {
            if let Some(at) = self.subscription(key, name) {
                self.leave_topic(key, at.topic);
            }
        }
        let Some(connection) = self.connections.get_mut(key) else {
            return;
        };
        let mut ctx = self.desk.context(&self.shared, self.now, false);
        connection
            .session
            .unsubscribed(names, &mut ctx, self.answers.of(key));
    }

    /// Ends all subscriptions of a connection.
    pub(super) fn leave_all(&mut self, key: ConnectionKey) {
        while let Some(at) = self
            .connections
            .get(key)
            .and_then(|connection| connection.subscriptions.last().copied())
        {
            self.leave_topic(key, at.topic);
        }
    }

    pub(super) fn subscription(
        &self,
        key: ConnectionKey,
        name: &TopicName,
    ) -> Option<SubscriptionRef> {
        let connection = self.connections.get(key)?;
        if connection.subscriptions.is_empty() {
            return None;
        }
        let handle = self.shared.store.find(name)?;
        let is_it = |at: &&SubscriptionRef| {
            self.topics
                .get(at.topic)
                .is_some_and(|it| it.handle == handle)
        };
        connection.subscriptions.iter().find(is_it).copied()
    }

    fn leave_topic(&mut self, key: ConnectionKey, local: LocalTopic) {
        let Some(connection) = self.connections.get_mut(key) else {
            return;
        };
        let Some(index) = connection
            .subscriptions
            .iter()
            .rposition(|at| at.topic == local)
        else {
            return;
        };
        let at = connection.subscriptions.swap_remove(index);
        self.parking.forget_reading(key, local);
        self.detach(key, local);
        let Some(connection) = self.connections.get_mut(key) else {
            return;
        };
        if let Some(topic) = self.topics.get_mut(local)
            && topic.subscriber(at.index).standing.reads_on()
        {
            connection.behind -= 1;
        }
        if let Some(moved) = self.topics.leave(at)
            && let Some(other) = self.connections.get_mut(moved.key)
        {
            other.moved(&moved);
        }
        if !self.drop_topic_if_unused(local)
            && let Some(topic) = self.topics.get(local)
        {
            self.shared.store.leave(topic.handle, self.index);
        }
    }

    /// Tells the store when nobody here subscribes to a topic any more. Returns whether it is so.
    pub(super) fn drop_topic_if_unused(&mut self, local: LocalTopic) -> bool {
        let unused = self.topics.remove_if_unused(local);
        if let Some(handle) = unused {
            self.shared.store.unsubscribe(handle, self.index);
            self.metrics
                .storage_operation(StorageOperation::Unsubscribe, true, 1);
        }
        unused.is_some()
    }
}

fn refusal_of(error: &StoreError) -> CommandError {
    CommandError::new(CommandErrorCode::LimitExceeded, error.to_string())
}
