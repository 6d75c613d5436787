//! Durable consumers of the store: taking a seat, claiming, acknowledging.

use std::sync::atomic::Ordering;

use super::consumer::{
    Ack, Attached, Claim, ClaimRules, Claims, ConsumerName, Consumers, Lost, Member, Seat, Settling,
};
use super::handle::TopicHandle;
use super::history::History;
use super::id::{MessageId, TopicHash};
use super::interest::{LocalTopic, News, WorkerIndex};
use super::name::TopicName;
use super::reading::Batch;
use super::shard::Topic;
use super::store::{StoreError, TopicStore};
use super::subscription::{Gap, GapReason, Start};
use crate::moment::Moment;

impl TopicStore {
    /// Subscribes `worker` to a topic as [`TopicStore::subscribe`] does, and seats a member at one
    /// of its consumers. A consumer that exists goes on at its own position, whatever `start` says,
    /// unless it is to `reset`: then it forgets what is pending, for a group that of all members.
    /// The only member of a client's own consumer loses its seat to the new one. `now` is in
    /// monotonic microseconds.
    ///
    /// # Errors
    /// When there is no room for the topic, the consumer or the member; nobody is seated then.
    #[expect(
        clippy::too_many_arguments,
        reason = "what a subscription says, what its worker adds, and the time"
    )]
    pub fn attach(
        &self,
        name: &TopicName,
        worker: WorkerIndex,
        vacant: LocalTopic,
        start: Start,
        reset: bool,
        consumer: &ConsumerName,
        member: &Member,
        rules: ClaimRules,
        now: u64,
    ) -> Result<Attached, StoreError> {
        let (mut shard, handle) = self.find_or_make(name.as_str())?;
        let topic = shard.get_mut(handle.key()).expect("found under this lock");
        if let Err(error) = self.admit(topic, consumer) {
            if self.may_free(topic) {
                let freed = self.free(&mut shard, handle);
                drop(shard);
                drop(freed);
            }
            return Err(error);
        }
        let consumers = topic.consumers.as_ref();
        let resumed = consumers.is_some_and(|it| it.contains(consumer)) && !reset;
        let (place, gap) = self.place(topic, start);
        topic.consumers.get_or_insert_default();
        let seating = self.with_consumers(topic, |consumers, history| {
            if !consumers.contains(consumer) {
                consumers.add(consumer, place, now);
            } else if reset {
                consumers.reset(consumer, place);
            }
            consumers.seat(consumer, member, rules, history)
        });
        let seating = seating.flatten().expect("added under this lock");
        let gap = gap.filter(|_| !resumed);
        Ok(Attached {
            subscribed: self.enter(topic, handle, worker, vacant, (seating.place, gap)),
            replaced: seating.replaced,
            resumed,
            misses: resumed && seating.misses,
        })
    }

    /// A member goes: what it held is due at once, unless it was a poll. Whom to tell of that is
    /// added to `news`. Its worker's interest stays until [`TopicStore::unsubscribe`]. Of no effect
    /// for a seat that was lost to another member. `now` is in monotonic microseconds.
    pub fn detach(
        &self,
        handle: TopicHandle,
        consumer: &ConsumerName,
        seat: Seat,
        now: u64,
        news: &mut Vec<News>,
    ) {
        let mut shard = self.lock(handle.shard());
        let Some(topic) = shard.get_mut(handle.key()) else {
            return;
        };
        let workers = self.with_consumers(topic, |consumers, history| {
            consumers.leave(consumer, seat, history.newest(), now)
        });
        topic.interest.tell_some(workers.unwrap_or(0), news);
    }

    /// Hands out to a member what is due again, the lowest first, then what is new, up to `batch`
    /// and the member's free window. `None` when it has lost its seat.
    ///
    /// What is new is taken without reading the worker's news: the worker clears its mark with
    /// [`TopicStore::take_news`] before its members claim.
    pub fn claim(
        &self,
        handle: TopicHandle,
        consumer: &ConsumerName,
        seat: Seat,
        batch: Batch,
        now: Moment,
        claims: &mut Claims,
    ) -> Option<Claim> {
        claims.clear();
        let mut shard = self.lock(handle.shard());
        let topic = shard.get_mut(handle.key())?;
        let (hash, now, mut lost) = (topic.hash, now.monotonic_micros, Vec::new());
        let claim = self.with_consumers(topic, |consumers, history| {
            consumers.claim(consumer, seat, history, batch, now, claims, &mut lost)
        })?;
        let gaps = lost.into_iter().map(|lost| self.gap_of(hash, lost));
        claims.gaps.extend(gaps);
        claim
    }

    /// A client is done with a message, or with all that is pending for it in the topic up to and
    /// with this one: at the consumer that is `preferred` (that of the connection on which it says
    /// so), else at its own, else at any group. A client that no consumer of the topic knows is
    /// done with whatever is kept. Whom it gives room to go on is added to `news`. `now` is in
    /// monotonic microseconds.
    pub fn acknowledge(
        &self,
        id: &MessageId,
        client: &str,
        preferred: Option<&ConsumerName>,
        cumulative: bool,
        now: u64,
        news: &mut Vec<News>,
    ) -> Ack {
        let settling = if cumulative {
            Settling::AcknowledgeUpTo
        } else {
            Settling::Acknowledge
        };
        self.settle(id, client, preferred, settling, now, news)
    }

    /// A client wants a message that is pending for it again, `delay` microseconds from `now`; it
    /// is found as in [`TopicStore::acknowledge`]. A dead one stays dead. For a client that no
    /// consumer of the topic knows nothing is pending.
    pub fn nack(
        &self,
        id: &MessageId,
        client: &str,
        preferred: Option<&ConsumerName>,
        delay: u64,
        now: u64,
        news: &mut Vec<News>,
    ) -> Ack {
        let settling = Settling::Nack { now, delay };
        self.settle(id, client, preferred, settling, now, news)
    }

    /// A dead message has been taken care of: it is not pending any more. One that is not buried
    /// within a second is handed out as dead again.
    pub fn bury(&self, handle: TopicHandle, consumer: &ConsumerName, id: &MessageId) {
        let mut shard = self.lock(handle.shard());
        if let Some(topic) = shard.get_mut(handle.key())
            && topic.hash == id.topic
        {
            self.with_consumers(topic, |consumers, _| consumers.bury(consumer, id.position));
        }
    }

    /// Has the members of one worker claim, as news does: one of them may have lost its seat.
    pub fn call(&self, handle: TopicHandle, worker: WorkerIndex, news: &mut Vec<News>) {
        if let Some(topic) = self.lock(handle.shard()).get_mut(handle.key()) {
            topic.interest.tell_some(1 << worker, news);
        }
    }

    /// Drops the consumers of a topic that have had no member for longer than `retention`.
    pub(super) fn drop_abandoned(&self, topic: &mut Topic, retention: u64, now: u64) {
        let dropped = self.with_consumers(topic, |consumers, _| {
            consumers.drop_abandoned(now, retention)
        });
        self.consumers
            .fetch_sub(dropped.unwrap_or(0), Ordering::Relaxed);
        if topic.consumers.as_ref().is_some_and(|it| it.len() == 0) {
            topic.consumers = None;
        }
    }

    /// Drops all consumers of a topic: who has a seat there has lost it.
    pub(super) fn drop_consumers(&self, topic: &mut Topic) {
        if let Some(consumers) = topic.consumers.take() {
            self.budget.adjust(consumers.bytes(), 0);
            self.consumers.fetch_sub(consumers.len(), Ordering::Relaxed);
        }
    }

    /// Works on the consumers of a topic that has some, and counts what that changes.
    fn with_consumers<R>(
        &self,
        topic: &mut Topic,
        work: impl FnOnce(&mut Consumers, &History) -> R,
    ) -> Option<R> {
        let consumers = topic.consumers.as_deref_mut()?;
        let before = consumers.bytes();
        let result = work(consumers, &topic.history);
        if consumers.bytes() != before {
            self.budget.adjust(before, consumers.bytes());
        }
        Some(result)
    }

    fn gap_of(&self, topic: TopicHash, lost: Lost) -> Gap {
        Gap {
            from: self.id(topic, lost.from),
            to: self.id(topic, lost.to),
            reason: GapReason::Trimmed,
        }
    }

    fn settle(
        &self,
        id: &MessageId,
        client: &str,
        preferred: Option<&ConsumerName>,
        settling: Settling,
        now: u64,
        news: &mut Vec<News>,
    ) -> Ack {
        let Some(handle) = self.find_hash(id.topic) else {
            return Ack::Unknown;
        };
        let mut shard = self.lock(handle.shard());
        let Some(topic) = shard.get_mut(handle.key()) else {
            return Ack::Unknown;
        };
        let newest = topic.history.newest();
        if id.epoch != self.epoch() || id.position > newest.position {
            return Ack::Unknown;
        }
        let mut workers = 0;
        let settled = self.with_consumers(topic, |consumers, _| {
            let workers = &mut workers;
            consumers.settle(id.position, client, preferred, settling, newest, workers)
        });
        topic.interest.tell_some(workers, news);
        settled.flatten().unwrap_or_else(|| {
            let kept = topic.history.at(id.position);
            match (kept.filter(|it| it.expires_at() > now), settling) {
                (None, _) => Ack::Unknown,
                (Some(_), Settling::Nack { .. }) => Ack::NotPending,
                (Some(_), _) => Ack::Acknowledged(1),
            }
        })
    }

    /// Whether there may be this consumer, and at it one more member.
    fn admit(&self, topic: &Topic, name: &ConsumerName) -> Result<(), StoreError> {
        let consumers = topic.consumers.as_ref();
        if let Some(consumers) = consumers.filter(|it| it.contains(name)) {
            let is_group = matches!(name, ConsumerName::Group(_));
            let is_full = consumers.seated(name) >= self.limits.group_members_max;
            return if is_group && is_full {
                Err(StoreError::GroupMembersMax)
            } else {
                Ok(())
            };
        }
        let consumers_max = self.limits.consumers_max;
        let more = |consumers| (consumers < consumers_max).then_some(consumers + 1);
        let counted = self
            .consumers
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
        counted.map_or(Err(StoreError::ConsumersMax), |_| Ok(()))
    }
}
