//! One topic with consumers, at a time of its own.

use super::super::*;
use crate::moment::Moment;
use crate::topic::{
    Batch, Budget, Draft, Epoch, FrameLayout, HistoryLimits, MessageId, News, Outcome, Start,
    StoreError, StoreLimits, TopicHandle, TopicName, TopicStore,
};

pub(super) const SECOND: u64 = 1_000_000;
pub(super) const RULES: ClaimRules = ClaimRules {
    ack_timeout: 30 * SECOND,
    window: 10,
    max_deliveries: 0,
};

/// One topic, at a time of its own.
pub(super) struct Bench {
    pub(super) store: TopicStore,
    pub(super) name: TopicName,
    pub(super) now: u64,
    pub(super) news: Vec<News>,
}

impl Bench {
    pub(super) fn new() -> Bench {
        Bench::with(|_| {})
    }

    pub(super) fn with(change: impl FnOnce(&mut StoreLimits)) -> Bench {
        let mut limits = StoreLimits {
            history: HistoryLimits {
                messages_max: 100,
                bytes_max: u64::MAX,
                retention_micros: u64::MAX,
            },
            topics_max: 10,
            metered_topics_max: 10,
            consumers_max: 10,
            group_members_max: 10,
            client_retention: 3600 * SECOND,
        };
        change(&mut limits);
        Bench {
            store: TopicStore::new(limits, 2, Epoch::new(1), Budget::new(1 << 40)),
            name: TopicName::parse("orders").unwrap(),
            now: SECOND,
            news: Vec::new(),
        }
    }

    pub(super) fn moment(&self) -> Moment {
        Moment {
            wall_micros: self.now,
            monotonic_micros: self.now,
        }
    }

    pub(super) fn publish(&mut self, count: usize) -> Vec<MessageId> {
        self.publish_until(count, u64::MAX)
    }

    pub(super) fn publish_until(&mut self, count: usize, expires_at: u64) -> Vec<MessageId> {
        let (ids, news) = self.publish_now(count, expires_at);
        self.news = news;
        ids
    }

    pub(super) fn publish_now(&self, count: usize, expires_at: u64) -> (Vec<MessageId>, Vec<News>) {
        let mut frame = vec![b'0'; MessageId::LEN];
        frame.extend_from_slice(self.name.as_str().as_bytes());
        let layout = FrameLayout {
            id_at: 0,
            topic_at: MessageId::LEN,
            topic_len: self.name.as_str().len(),
        };
        let draft = || Draft::new(&frame, layout, expires_at, self.store.budget());
        let drafts: Vec<Draft> = (0..count).map(|_| draft()).collect();
        let mut outcome = Outcome::default();
        self.store
            .publish(drafts.into_iter(), self.moment(), self.now, &mut outcome)
            .unwrap();
        (outcome.ids, outcome.news)
    }

    pub(super) fn attach(
        &self,
        consumer: &ConsumerName,
        member: &Member,
        rules: ClaimRules,
    ) -> Attached {
        self.try_attach(consumer, member, rules, Start::Earliest, false)
            .unwrap()
    }

    pub(super) fn try_attach(
        &self,
        consumer: &ConsumerName,
        member: &Member,
        rules: ClaimRules,
        start: Start,
        reset: bool,
    ) -> Result<Attached, StoreError> {
        let worker = member.seat.worker;
        self.store.attach(
            &self.name, worker, 7, start, reset, consumer, member, rules, self.now,
        )
    }

    pub(super) fn handle(&self) -> TopicHandle {
        self.store.find(&self.name).unwrap()
    }

    /// The member goes; how many workers are told.
    pub(super) fn detach(&mut self, consumer: &ConsumerName, member: &Member) -> usize {
        self.news.clear();
        let handle = self.handle();
        self.store
            .detach(handle, consumer, member.seat, self.now, &mut self.news);
        self.news.len()
    }

    /// The worker looks at its news, as it does before its members claim.
    pub(super) fn take_news(&self, member: &Member) {
        let (handle, worker) = (self.handle(), member.seat.worker);
        self.store
            .take_news(handle, worker, None, self.moment(), &mut Vec::new());
    }

    pub(super) fn claim(
        &self,
        consumer: &ConsumerName,
        member: &Member,
    ) -> (Option<Claim>, Claims) {
        self.claim_some(consumer, member, 100)
    }

    pub(super) fn claim_some(
        &self,
        consumer: &ConsumerName,
        member: &Member,
        messages_max: usize,
    ) -> (Option<Claim>, Claims) {
        let batch = Batch {
            messages_max,
            bytes_max: usize::MAX,
        };
        let mut claims = Claims::default();
        let (handle, moment) = (self.handle(), self.moment());
        let seat = member.seat;
        let claim = self
            .store
            .claim(handle, consumer, seat, batch, moment, &mut claims);
        (claim, claims)
    }

    /// Sequences and attempts of what is handed out.
    pub(super) fn claimed(&self, consumer: &ConsumerName, member: &Member) -> Vec<(u64, u32)> {
        pairs(&self.claim(consumer, member).1.messages)
    }

    pub(super) fn ack(&mut self, id: &MessageId, client: &str) -> Ack {
        self.settle(id, client, None, false)
    }

    pub(super) fn settle(
        &mut self,
        id: &MessageId,
        client: &str,
        preferred: Option<&ConsumerName>,
        cumulative: bool,
    ) -> Ack {
        self.news.clear();
        self.store
            .acknowledge(id, client, preferred, cumulative, self.now, &mut self.news)
    }

    pub(super) fn nack(&mut self, id: &MessageId, client: &str, delay: u64) -> Ack {
        self.news.clear();
        self.store
            .nack(id, client, None, delay, self.now, &mut self.news)
    }
}

pub(super) fn pairs(claimed: &[Claimed]) -> Vec<(u64, u32)> {
    let pairs = claimed.iter();
    pairs
        .map(|it| (it.message.sequence(), it.attempt))
        .collect()
}

pub(super) fn client(name: &str) -> ConsumerName {
    ConsumerName::Client(name.into())
}

pub(super) fn group() -> ConsumerName {
    ConsumerName::Group("workers".into())
}

pub(super) fn member(client: &str, worker: u8, connection: u64) -> Member {
    Member {
        client: client.into(),
        seat: Seat { worker, connection },
        is_poll: false,
    }
}

pub(super) fn poll(client: &str, connection: u64) -> Member {
    Member {
        is_poll: true,
        ..member(client, 0, connection)
    }
}
