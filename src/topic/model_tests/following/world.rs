//! The stream elsewhere, the store that follows it, and what its log should be.

use std::collections::BTreeMap;

use super::super::super::budget::Budget;
use super::super::super::history::Place;
use super::super::super::id::{Epoch, MessageId, Position, TopicHash};
use super::super::super::message::{Draft, FrameLayout, Message};
use super::super::super::name::TopicName;
use super::super::super::{Fed, GapReason, News, Start, StoreError, StoreLimits, TopicStore};
use super::consumer::Consumer;
use super::{From, Operation};
use crate::moment::Moment;

/// A message elsewhere.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    pub(super) position: Position,
    predecessor: Position,
    stored_at: u64,
    pub(super) expires_at: u64,
}

/// What is elsewhere.
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) entries: Vec<Entry>,
    pub(super) begins_behind: Position,
    pub(super) last: Position,
    /// Everything of this epoch, whether or not it is kept.
    pub(super) published: Vec<Entry>,
}

/// What the log should be, bounds aside.
#[derive(Debug)]
struct Log {
    /// All since it began, by sequence.
    entries: Vec<(u64, Entry)>,
    newest: Place,
    /// What is lost at the least.
    lost: Place,
}

pub(super) struct World {
    pub(super) store: TopicStore,
    pub(super) budget: &'static Budget,
    limits: StoreLimits,
    pub(super) name: TopicName,
    pub(super) now: Moment,
    pub(super) stream: Stream,
    log: Option<Log>,
    pub(super) consumers: BTreeMap<u8, Consumer>,
    news: Vec<News>,
    epoch: u32,
}

impl World {
    pub(super) fn new(limits: StoreLimits, memory_max: u64) -> World {
        let budget = Budget::new(memory_max);
        World {
            store: TopicStore::following(limits, 1, Epoch::new(0), budget),
            budget,
            limits,
            name: TopicName::parse("topic").unwrap(),
            now: Moment {
                wall_micros: 1_000_000,
                monotonic_micros: 1_000_000,
            },
            stream: Stream {
                entries: Vec::new(),
                begins_behind: Position::ZERO,
                last: Position::ZERO,
                published: Vec::new(),
            },
            log: None,
            consumers: BTreeMap::new(),
            news: Vec::new(),
            epoch: 0,
        }
    }

    pub(super) fn carry_out(&mut self, operation: &Operation) {
        match *operation {
            Operation::Publish { ttl_millis } => self.publish(ttl_millis),
            Operation::FeedNext => {
                let newest = self
                    .log
                    .as_ref()
                    .map_or(Position::ZERO, |it| it.newest.position);
                let mut entries = self.stream.published.iter();
                if let Some(next) = entries.find(|it| it.position > newest) {
                    self.feed(*next);
                }
            }
            Operation::Feed(index) => {
                if !self.stream.published.is_empty() {
                    self.feed(*index.get(&self.stream.published));
                }
            }
            Operation::FeedForeign(millis) => self.feed(Entry {
                position: Position::new(millis, 1 << 20),
                predecessor: Position::new(millis, (1 << 20) - 1),
                stored_at: 0,
                expires_at: u64::MAX,
            }),
            Operation::Mend(count) => self.mend(count),
            Operation::Trim(count) => self.trim(count),
            Operation::Delete { is_told } => {
                self.trim(usize::MAX);
                self.stream.begins_behind = self.stream.last;
                if is_told {
                    self.restart(self.stream.last);
                }
            }
            Operation::Restart { millis } => self.restart_elsewhere(Position::new(millis, 0)),
            Operation::Open => self.open(),
            Operation::Close => self.close(),
            Operation::Subscribe { worker, ref from } => self.subscribe(worker, from),
            Operation::Step {
                worker,
                messages_max,
            } => self.step(worker, messages_max),
            Operation::TakeNews { worker } => self.take_news(worker),
            Operation::Leave { worker } => self.leave(worker),
            Operation::Sweep => assert!(!self.store.sweep(0, 1, self.now)),
            Operation::Wait { millis } => self.now.monotonic_micros += millis * 1000,
        }
        self.check();
    }

    /// All hear of everything, and then all go.
    pub(super) fn finish(&mut self) {
        self.open();
        while self
            .log
            .as_ref()
            .is_some_and(|it| it.newest.position < self.stream.last)
        {
            self.mend(3);
            self.check();
        }
        for worker in self.consumers.keys().copied().collect::<Vec<_>>() {
            let mut steps = 0;
            while self.consumers[&worker].handled != self.stream.last {
                self.step(worker, 2);
                steps += 1;
                assert!(steps < 1_000, "gets to the end");
            }
            self.leave(worker);
        }
        self.close();
        self.check();
        assert_eq!(self.budget.used_exactly(), 0, "the budget returns to zero");
    }

    fn publish(&mut self, ttl_millis: Option<u64>) {
        let predecessor = self.stream.last;
        let now = self.now.monotonic_micros;
        let entry = Entry {
            position: predecessor.next(now / 1_000),
            predecessor,
            stored_at: now,
            expires_at: ttl_millis.map_or(u64::MAX, |ttl| now + ttl * 1_000),
        };
        self.stream.last = entry.position;
        self.stream.entries.push(entry);
        self.stream.published.push(entry);
    }

    fn trim(&mut self, count: usize) {
        let count = count.min(self.stream.entries.len());
        self.stream.entries.drain(..count);
        // The first that is left tells what was before it.
        let first = self.stream.entries.first();
        self.stream.begins_behind = match first {
            Some(first) => first.predecessor,
            None => self.stream.last,
        };
    }

    fn feed(&mut self, entry: Entry) {
        let expected = self.expected(&entry, true);
        let draft = self.draft(entry.expires_at);
        let (name, now) = (&self.name, self.now);
        let (predecessor, position) = (entry.predecessor, entry.position);
        let fed = self
            .store
            .feed(name, predecessor, position, draft, now, &mut self.news);
        assert_eq!(fed, expected);
        if fed == Fed::Appended {
            self.appended(entry);
        }
        self.pass_news(fed == Fed::Appended);
    }

    /// Reads some of the stream, as one does who follows it.
    fn mend(&mut self, count: usize) {
        let Some(newest) = self.log.as_ref().map(|it| it.newest.position) else {
            return;
        };
        let entries = self.stream.entries.iter().copied();
        let behind: Vec<Entry> = entries.filter(|it| it.position > newest).collect();
        if behind.is_empty() && newest < self.stream.last {
            return self.restart(self.stream.last);
        }
        for entry in behind.into_iter().take(count) {
            let expected = self.expected(&entry, false);
            let draft = self.draft(entry.expires_at);
            let (name, now, stored_at) = (&self.name, self.now, entry.stored_at);
            let (predecessor, position) = (entry.predecessor, entry.position);
            let news = &mut self.news;
            let fed = self
                .store
                .mend(name, predecessor, position, draft, stored_at, now, news);
            assert_eq!(fed, expected);
            self.appended(entry);
            self.pass_news(true);
        }
    }

    fn expected(&self, entry: &Entry, is_fed: bool) -> Fed {
        let Some(log) = &self.log else {
            return Fed::NotOpen;
        };
        let newest = log.newest.position;
        if entry.position <= newest {
            let lost = self.inspect().lost.position;
            let was_here = log
                .entries
                .iter()
                .any(|(_, it)| it.position == entry.position);
            let is_known = was_here
                || entry.position <= lost
                || entry.position == newest
                || entry.expires_at <= self.now.monotonic_micros;
            return if is_known { Fed::Known } else { Fed::Foreign };
        }
        if is_fed && entry.predecessor != newest {
            return Fed::Missing { newest };
        }
        Fed::Appended
    }

    fn appended(&mut self, entry: Entry) {
        let log = self.log.as_mut().expect("open");
        if entry.predecessor > log.newest.position {
            log.restart(entry.predecessor);
        }
        log.newest = Place {
            sequence: log.newest.sequence + 1,
            position: entry.position,
        };
        log.entries.push((log.newest.sequence, entry));
    }

    fn restart(&mut self, newest: Position) {
        self.store.restart(&self.name, newest, &mut self.news);
        if let Some(log) = &mut self.log {
            log.restart(newest);
            self.pass_news(true);
        }
        assert!(self.news.is_empty());
    }

    /// Everything begins anew, also for the consumers, whose workers tell them.
    fn restart_elsewhere(&mut self, last: Position) {
        self.epoch += 1;
        self.stream = Stream {
            entries: Vec::new(),
            begins_behind: last,
            last,
            published: Vec::new(),
        };
        let before = self.log.as_ref().map(|it| it.newest.position);
        self.store.set_epoch(Epoch::new(self.epoch));
        self.restart(last);
        for consumer in self.consumers.values_mut() {
            let lost = consumer.misses(&self.store, self.now);
            assert!(lost || before == Some(last), "all have missed something");
            consumer.begin_anew(last);
        }
    }

    fn open(&mut self) {
        let last = self.stream.last;
        self.store.open(&self.name, last).unwrap();
        let place = Place {
            sequence: 0,
            position: last,
        };
        self.log.get_or_insert(Log {
            entries: Vec::new(),
            newest: place,
            lost: place,
        });
    }

    fn close(&mut self) {
        let is_unread = self.consumers.is_empty();
        assert_eq!(
            self.store.close_if_unread(&self.name),
            is_unread || self.log.is_none()
        );
        if is_unread {
            self.log = None;
        }
    }

    fn subscribe(&mut self, worker: u8, from: &From) {
        if self.consumers.contains_key(&worker) {
            return;
        }
        let hash = TopicHash::of(self.name.as_str());
        let start = match from {
            From::Last => Start::Last,
            From::Earliest => Start::Earliest,
            From::Published(_) if self.stream.published.is_empty() => return,
            From::Published(index) => {
                let position = index.get(&self.stream.published).position;
                Start::Behind(self.store.id(hash, position))
            }
            From::OtherEpoch => Start::Behind(MessageId {
                epoch: Epoch::new(self.epoch + 1),
                ..self.store.id(hash, self.stream.last)
            }),
            From::Beyond => Start::Behind(self.store.id(hash, Position::new(1 << 40, 0))),
        };
        let begins_behind = self.stream.begins_behind;
        let result = self
            .store
            .subscribe_behind(&self.name, worker, 7, start, Some(begins_behind));
        let Some(log) = &self.log else {
            return assert_eq!(result.unwrap_err(), StoreError::NotOpen);
        };
        let (newest, lost) = (log.newest.position, self.inspect().lost);
        let (position, reason) = expected_start(start, begins_behind.min(newest), newest, from);
        let subscribed = result.unwrap();
        // All between may have expired.
        let is_empty = position >= lost.position && self.inspect().kept.is_empty();
        let place = if is_empty { newest } else { position };
        assert_eq!(subscribed.start.position, place);
        assert_eq!(subscribed.gap.map(|it| it.reason), reason);
        assert!(subscribed.gap.is_none_or(|it| it.to.position == position));
        assert_eq!(subscribed.is_cold, position < lost.position);
        assert!(!subscribed.is_cold || subscribed.start.sequence == lost.sequence);
        let consumer = Consumer::new(&subscribed, log.newest);
        self.consumers.insert(worker, consumer);
    }

    fn step(&mut self, worker: u8, messages_max: usize) {
        if let Some(consumer) = self.consumers.get_mut(&worker) {
            consumer.step(&self.store, &self.stream, messages_max, self.now);
        }
    }

    fn take_news(&mut self, worker: u8) {
        let lost = self.store.inspect(&self.name).map(|it| it.lost);
        if let Some(consumer) = self.consumers.get_mut(&worker) {
            consumer.take_news(&self.store, worker, lost.expect("it reads it"), self.now);
        }
    }

    fn leave(&mut self, worker: u8) {
        if let Some(consumer) = self.consumers.remove(&worker) {
            self.store.unsubscribe(consumer.handle, worker);
            assert!(self.store.find(&self.name).is_some(), "stays open");
        }
    }

    /// News goes to each worker that has not been told, and to no other.
    fn pass_news(&mut self, is_due: bool) {
        for news in self.news.drain(..) {
            let consumer = self.consumers.get_mut(&news.worker).expect("a reader");
            assert!(is_due && !consumer.is_told, "once");
            consumer.is_told = true;
        }
        assert!(!is_due || self.consumers.values().all(|it| it.is_told));
    }

    fn draft(&self, expires_at: u64) -> Draft {
        let mut frame = vec![b'0'; MessageId::LEN];
        frame.extend_from_slice(self.name.as_str().as_bytes());
        let layout = FrameLayout {
            id_at: 0,
            topic_at: MessageId::LEN,
            topic_len: self.name.as_str().len(),
        };
        Draft::new(&frame, layout, expires_at, self.budget)
    }

    fn inspect(&self) -> super::super::inspect::Inspection {
        self.store.inspect(&self.name).expect("open")
    }

    fn check(&self) {
        let Some(log) = &self.log else {
            assert!(self.store.inspect(&self.name).is_none());
            assert_eq!(self.store.open_topics(), []);
            assert_eq!(self.store.history_bytes(), 0);
            return;
        };
        let found = self.inspect();
        let open = (self.name.clone(), log.newest.position);
        assert_eq!(self.store.open_topics(), [open]);
        assert_eq!(found.newest, log.newest);
        let is_entry = |lost: Place| {
            let mut entries = log.entries.iter();
            entries.any(|(sequence, it)| (*sequence, it.position) == (lost.sequence, lost.position))
        };
        assert!(found.lost == log.lost || is_entry(found.lost), "by bounds");
        let bounds = self.limits.history;
        let is_loose = bounds.messages_max == 1_000
            && bounds.bytes_max == 1 << 40
            && bounds.retention_micros == 1 << 40
            && self.budget.bytes_max() == 1 << 40;
        assert!(
            !is_loose || found.lost == log.lost,
            "nothing else takes any"
        );
        let kept: Vec<_> = found
            .kept
            .iter()
            .map(|it| (it.sequence(), it.position()))
            .collect();
        let above = log.entries.iter().filter(|it| it.0 > found.lost.sequence);
        for (sequence, entry) in above.clone() {
            let is_kept = kept.contains(&(*sequence, entry.position));
            assert!(is_kept || entry.expires_at <= self.now.monotonic_micros);
        }
        assert!(kept.iter().all(|it| {
            above
                .clone()
                .any(|(sequence, entry)| *it == (*sequence, entry.position))
        }));
        let hash = TopicHash::of(self.name.as_str());
        assert!(found.kept.iter().all(|message| {
            let id = self.store.id(hash, message.position());
            message.frame().starts_with(&id.encode())
        }));
        let bytes: u64 = found.kept.iter().map(Message::cost).sum();
        assert_eq!(self.store.history_bytes(), bytes);
        let overhead = found.overhead_bytes as u64;
        assert_eq!(self.budget.used_exactly(), bytes + overhead);
    }
}

impl Log {
    fn restart(&mut self, newest: Position) {
        if newest != self.newest.position {
            self.newest.sequence += 1;
            self.newest.position = newest;
        }
        self.entries.clear();
        self.lost = self.newest;
    }
}

fn expected_start(
    start: Start,
    begins_behind: Position,
    newest: Position,
    from: &From,
) -> (Position, Option<GapReason>) {
    match (start, from) {
        (Start::Last, _) => (newest, None),
        (Start::Earliest, _) => (begins_behind, None),
        (_, From::OtherEpoch | From::Beyond) => (begins_behind, Some(GapReason::EpochChanged)),
        (Start::Behind(id), _) if id.position > newest => {
            (begins_behind, Some(GapReason::EpochChanged))
        }
        (Start::Behind(id), _) if id.position < begins_behind => {
            (begins_behind, Some(GapReason::Trimmed))
        }
        (Start::Behind(id), _) => (id.position, None),
    }
}
