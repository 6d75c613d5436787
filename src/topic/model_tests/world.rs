//! The store, those who use it, and the model beside it.

mod checks;

use std::collections::{BTreeMap, BTreeSet};

use proptest::sample::Index;

use super::super::budget::{Budget, Charge};
use super::super::history::Place;
use super::super::id::{Epoch, MessageId, Position};
use super::super::message::{Draft, FrameLayout, MESSAGE_OVERHEAD_BYTES, Message};
use super::super::name::TopicName;
use super::super::{Batch, Outcome, Start, StoreError, StoreLimits, TopicHandle, TopicStore};
use super::model::{Fate, Record, TopicModel, tag_of};
use super::{Bounds, From, Operation, TOPICS};
use crate::moment::Moment;

const EPOCH: u32 = 7;

/// A worker's interest in a topic.
#[derive(Debug)]
struct Interest {
    local: u32,
    handle: TopicHandle,
    read: Place,
    /// A news item is in the mailbox.
    under_way: bool,
    /// The latest batch left something.
    has_more: bool,
}

/// One subscription.
#[derive(Debug)]
struct Consumer {
    topic: usize,
    worker: u8,
    place: Place,
    is_live: bool,
}

pub(super) struct World {
    store: TopicStore,
    budget: &'static Budget,
    limits: StoreLimits,
    /// Marks of freed topics may have been merged, so that gaps may be told too often.
    marks_merge: bool,
    now: Moment,
    topics: Vec<TopicModel>,
    interests: BTreeMap<(u8, usize), Interest>,
    consumers: Vec<Consumer>,
    held: BTreeMap<u64, Message>,
    occupied: Vec<Charge>,
    outcome: Outcome,
    tags: u64,
    locals: u32,
}

impl World {
    pub(super) fn new(bounds: &Bounds) -> World {
        let budget = Budget::new(bounds.memory_max);
        World {
            store: TopicStore::with_freed_marks_max(
                bounds.store,
                1,
                Epoch::new(EPOCH),
                budget,
                bounds.freed_marks_max,
            ),
            budget,
            limits: bounds.store,
            marks_merge: bounds.freed_marks_max < 1 << 16,
            now: Moment {
                wall_micros: 1_000_000_000,
                monotonic_micros: 5_000_000,
            },
            topics: (0..TOPICS)
                .map(|index| TopicModel::new(format!("topic-{index}")))
                .collect(),
            interests: BTreeMap::new(),
            consumers: Vec::new(),
            held: BTreeMap::new(),
            occupied: Vec::new(),
            outcome: Outcome::default(),
            tags: 0,
            locals: 0,
        }
    }

    pub(super) fn carry_out(&mut self, operation: &Operation) {
        match *operation {
            Operation::Publish {
                topic,
                count,
                ttl_millis,
                bytes,
            } => self.publish(topic, count, ttl_millis, bytes),
            Operation::Subscribe {
                topic,
                worker,
                ref from,
            } => self.subscribe(topic, worker, from),
            Operation::TakeNews {
                topic,
                worker,
                batch,
            } => self.take_news(topic, worker, batch),
            Operation::Read { consumer, batch } => {
                if let Some(index) = self.pick_consumer(consumer) {
                    self.read(index, batch);
                }
            }
            Operation::Leave { consumer } => {
                if let Some(index) = self.pick_consumer(consumer) {
                    self.leave(index);
                }
            }
            Operation::Sweep { first, of } => self.sweep(first, of),
            Operation::Wait {
                millis,
                wall_step_millis,
            } => {
                self.now.monotonic_micros += millis * 1000;
                let step = (millis as i64 + wall_step_millis) * 1000;
                self.now.wall_micros = self.now.wall_micros.saturating_add_signed(step);
            }
            Operation::Hold { topic } => self.hold(topic),
            Operation::Occupy { bytes } => self.occupied.push(self.budget.charge(bytes)),
            Operation::ReleaseAll => {
                self.held.clear();
                self.occupied.clear();
            }
        }
        self.check_everything();
    }

    /// All read to the end, then all go, and nothing stays behind.
    pub(super) fn finish(&mut self) {
        while let Some(index) = self.consumers.iter().position(|consumer| !consumer.is_live) {
            self.read(index, (3, 5_000));
        }
        let interests: Vec<(u8, usize)> = self.interests.keys().copied().collect();
        for (worker, topic) in interests {
            while self.interests[&(worker, topic)].is_due() {
                self.take_news(topic, worker, Some((2, usize::MAX)));
            }
        }
        for consumer in &self.consumers {
            let newest = self.topics[consumer.topic].newest_sequence();
            assert_eq!(consumer.place.sequence, newest, "read to the end");
        }
        while !self.consumers.is_empty() {
            self.leave(0);
        }
        self.held.clear();
        self.occupied.clear();
        self.check_everything();
        self.now.monotonic_micros += self.limits.history.retention_micros;
        for _ in 0..2 {
            self.sweep(0, 1);
            self.check_everything();
        }
        let stats = self.store.stats();
        assert_eq!((stats.topics_total, stats.history_bytes), (0, 0));
        assert_eq!(self.budget.used_exactly(), 0, "the budget returns to zero");
        assert!(self.topics.iter().all(|topic| !topic.exists));
    }

    fn publish(&mut self, topic: usize, count: usize, ttl_millis: Option<u64>, bytes: usize) {
        let expires_at = ttl_millis.map_or(u64::MAX, |ttl| self.now.monotonic_micros + ttl * 1000);
        let first_tag = self.tags;
        let drafts: Vec<Draft> = (0..count)
            .map(|_| self.draft(topic, expires_at, bytes))
            .collect();
        let frame_bytes = frame_bytes(&self.topics[topic].name, bytes);
        let expected = self.expected_refusal(topic);
        let mut peak = self.budget.used_exactly();
        let before = self.inspect_all();
        let result = self.store.publish(
            drafts.into_iter(),
            self.now,
            self.now.monotonic_micros,
            &mut self.outcome,
        );
        assert_eq!(result, expected.map_or(Ok(()), Err));
        assert_eq!(
            self.outcome.ids.len(),
            if result.is_ok() { count } else { 0 }
        );
        if result.is_ok() {
            if !self.topics[topic].exists {
                let made = self.store.inspect(&self.topics[topic].name);
                peak += made.expect("published to it").overhead_bytes as u64;
            }
            self.note_existence(topic);
            for index in 0..count {
                let id = self.outcome.ids[index];
                let tag = first_tag + index as u64;
                self.record(topic, id, tag, expires_at, frame_bytes);
            }
        }
        self.settle(&before, peak);
        if result.is_ok() {
            self.check_relieved();
        }
        self.pass_news(topic, result.is_ok());
    }

    /// A frame of nothing but what the store looks at, and the tag.
    fn draft(&mut self, topic: usize, expires_at: u64, bytes: usize) -> Draft {
        let name = &self.topics[topic].name;
        let mut frame = vec![b'0'; MessageId::LEN];
        frame.extend_from_slice(name.as_bytes());
        frame.resize(frame_bytes(name, bytes) - 8, b' ');
        frame.extend_from_slice(&self.tags.to_be_bytes());
        self.tags += 1;
        let layout = FrameLayout {
            id_at: 0,
            topic_at: MessageId::LEN,
            topic_len: name.len(),
        };
        Draft::new(&frame, layout, expires_at, self.budget)
    }

    /// Publishing is refused for want of memory only when history could not give it.
    fn expected_refusal(&self, topic: usize) -> Option<StoreError> {
        if self.budget.excess() > self.store.history_bytes() {
            return Some(StoreError::MemoryMax);
        }
        self.expected_topics_max(topic)
    }

    fn expected_topics_max(&self, topic: usize) -> Option<StoreError> {
        let existing = self.topics.iter().filter(|topic| topic.exists).count();
        let is_full = existing >= self.limits.topics_max;
        (!self.topics[topic].exists && is_full).then_some(StoreError::TopicsMax)
    }

    /// A topic that comes into being begins a life.
    fn note_existence(&mut self, topic: usize) {
        let topic = &mut self.topics[topic];
        topic.life += u32::from(!topic.exists);
        topic.exists = true;
    }

    fn record(&mut self, topic: usize, id: MessageId, tag: u64, expires_at: u64, bytes: usize) {
        let topic = &mut self.topics[topic];
        assert_eq!((id.epoch, id.topic), (Epoch::new(EPOCH), topic.hash));
        let last = topic
            .records
            .last()
            .map_or(Position::ZERO, |record| record.position);
        assert!(id.position > last, "positions rise for ever");
        topic.records.push(Record {
            tag,
            life: topic.life,
            sequence: topic.newest_sequence() + 1,
            position: id.position,
            stored_at: self.now.monotonic_micros,
            expires_at,
            frame_bytes: bytes,
            cost: (bytes + MESSAGE_OVERHEAD_BYTES) as u64,
            fate: Fate::Kept,
        });
    }

    /// News goes to each interested worker that has not been told, and to no other.
    fn pass_news(&mut self, topic: usize, published: bool) {
        let mut told = BTreeSet::new();
        for news in self.outcome.news.drain(..) {
            let interest = self.interests.get_mut(&(news.worker, topic));
            let interest = interest.expect("news goes to those with interest");
            assert_eq!(news.local, interest.local);
            assert!(!interest.under_way, "one item under way at the most");
            interest.under_way = true;
            told.insert(news.worker);
        }
        assert!(published || told.is_empty());
        for ((_, other), interest) in &self.interests {
            assert!(
                !published || *other != topic || interest.under_way,
                "none is lost"
            );
        }
    }

    fn subscribe(&mut self, topic: usize, worker: u8, from: &From) {
        let Some(start) = self.start(topic, from) else {
            return;
        };
        let name = TopicName::parse(&self.topics[topic].name).unwrap();
        let expected = self.expected_topics_max(topic);
        let vacant = self.locals;
        let result = self.store.subscribe(&name, worker, vacant, start);
        let subscribed = match (result, expected) {
            (Ok(subscribed), None) => subscribed,
            (result, expected) => return assert_eq!(result.err(), expected),
        };
        self.note_existence(topic);
        let inspection = self.store.inspect(&name).expect("subscribed");
        self.check_subscribed(topic, from, start, &subscribed, &inspection);
        let newest = inspection.newest;
        let interest = self.interests.entry((worker, topic)).or_insert_with(|| {
            assert_eq!(subscribed.newly_interested, Some(newest));
            Interest {
                local: vacant,
                handle: subscribed.handle,
                read: newest,
                under_way: false,
                has_more: false,
            }
        });
        assert_eq!(
            (subscribed.local, subscribed.handle),
            (interest.local, interest.handle)
        );
        self.locals += u32::from(subscribed.newly_interested.is_some());
        self.consumers.push(Consumer {
            topic,
            worker,
            place: subscribed.start,
            is_live: subscribed.start.sequence >= interest.read.sequence,
        });
    }

    fn start(&self, topic: usize, from: &From) -> Option<Start> {
        let id_of = |topic: usize, index: &Index| {
            let records = &self.topics[topic].records;
            let record = (!records.is_empty()).then(|| index.get(records))?;
            Some(self.store.id(self.topics[topic].hash, record.position))
        };
        Some(match from {
            From::Last => Start::Last,
            From::Earliest => Start::Earliest,
            From::Own(index) => Start::Behind(id_of(topic, index)?),
            From::Other(other, index) => Start::Behind(id_of(*other, index)?),
            From::OtherEpoch(index) => Start::Behind(MessageId {
                epoch: Epoch::new(EPOCH + 1),
                ..id_of(topic, index)?
            }),
            From::Beyond => {
                let position = Position::new(1 << 40, 0);
                Start::Behind(self.store.id(self.topics[topic].hash, position))
            }
            From::Resume(index) => {
                let consumers = self.consumers.iter().filter(|it| it.topic == topic);
                let places: Vec<Place> = consumers.map(|consumer| consumer.place).collect();
                let place = (!places.is_empty()).then(|| index.get(&places))?;
                Start::Behind(self.store.id(self.topics[topic].hash, place.position))
            }
        })
    }

    fn take_news(&mut self, topic: usize, worker: u8, batch: Option<(usize, usize)>) {
        let Some(interest) = self.interests.get_mut(&(worker, topic)) else {
            return;
        };
        let mut messages = Vec::new();
        let reading = self
            .store
            .take_news(
                interest.handle,
                worker,
                batch.map(to_batch),
                self.now,
                &mut messages,
            )
            .expect("a worker with interest has news to take");
        let (before, now) = (interest.read.sequence, self.now.monotonic_micros);
        self.topics[topic].check_reading(before, batch, now, &reading, &messages);
        interest.read = reading.place;
        interest.under_way = false;
        interest.has_more = reading.more;
        for consumer in &mut self.consumers {
            if (consumer.topic, consumer.worker) == (topic, worker) && consumer.is_live {
                assert!(
                    consumer.place.sequence >= before,
                    "live ones have what the worker has"
                );
                if reading.place.sequence > consumer.place.sequence {
                    consumer.place = reading.place;
                }
            }
        }
        if batch.is_none() {
            // Only a worker without live subscribers reads past its news.
            for consumer in &mut self.consumers {
                consumer.is_live &= (consumer.topic, consumer.worker) != (topic, worker)
                    || consumer.place.sequence >= reading.place.sequence;
            }
        }
    }

    fn pick_consumer(&self, index: Index) -> Option<usize> {
        let count = self.consumers.len();
        (count > 0).then(|| index.index(count))
    }

    fn read(&mut self, index: usize, batch: (usize, usize)) {
        let consumer = &mut self.consumers[index];
        if consumer.is_live {
            return;
        }
        let interest = &self.interests[&(consumer.worker, consumer.topic)];
        let before = consumer.place.sequence;
        let mut messages = Vec::new();
        let reading = self
            .store
            .read(
                interest.handle,
                before,
                to_batch(batch),
                self.now,
                &mut messages,
            )
            .expect("a topic with interest exists");
        let now = self.now.monotonic_micros;
        self.topics[consumer.topic].check_reading(before, Some(batch), now, &reading, &messages);
        consumer.place = reading.place;
        consumer.is_live = !reading.more && reading.place.sequence >= interest.read.sequence;
    }

    fn leave(&mut self, index: usize) {
        let Consumer { topic, worker, .. } = self.consumers.swap_remove(index);
        let is_last = !self
            .consumers
            .iter()
            .any(|consumer| (consumer.topic, consumer.worker) == (topic, worker));
        if !is_last && let Some(interest) = self.interests.get(&(worker, topic)) {
            self.store.leave(interest.handle, worker);
        }
        if is_last && let Some(interest) = self.interests.remove(&(worker, topic)) {
            self.store.unsubscribe(interest.handle, worker);
            let exists = self.store.inspect(&self.topics[topic].name).is_some();
            assert!(exists || !self.has_interest(topic));
            self.topics[topic].exists = exists;
            let again =
                self.store
                    .take_news(interest.handle, worker, None, self.now, &mut Vec::new());
            assert_eq!(again, None, "no news without interest");
        }
    }

    fn sweep(&mut self, first: usize, of: usize) {
        let before = self.inspect_all();
        let peak = self.budget.used_exactly();
        assert!(!self.store.sweep(first, of, self.now), "little is due");
        self.settle(&before, peak);
        self.check_relieved();
        if (first, of) == (0, 1) {
            self.check_swept(peak > self.budget.bytes_max());
        }
    }

    fn hold(&mut self, topic: usize) {
        if let Some(inspection) = self.store.inspect(&self.topics[topic].name) {
            let kept = inspection.kept.into_iter();
            self.held
                .extend(kept.map(|message| (tag_of(&message), message)));
        }
    }

    fn has_interest(&self, topic: usize) -> bool {
        self.interests.keys().any(|(_, other)| *other == topic)
    }
}

impl Interest {
    /// The worker knows that there is something to read.
    fn is_due(&self) -> bool {
        self.under_way || self.has_more
    }
}

fn frame_bytes(name: &str, bytes: usize) -> usize {
    MessageId::LEN + name.len() + bytes + 8
}

fn to_batch((messages_max, bytes_max): (usize, usize)) -> Batch {
    Batch {
        messages_max,
        bytes_max,
    }
}
