use super::super::{Batch, FrameLayout, Gap, GapReason, HistoryLimits, Message, Reading};
use super::*;
use crate::topic::MessageId;

const TTL: u64 = 1_000;

struct Bench {
    store: TopicStore,
    name: TopicName,
    news: Vec<News>,
    now: Moment,
}

fn at(number: u64) -> Position {
    Position::new(number, 0)
}

impl Bench {
    fn new(messages_max: usize) -> Bench {
        let limits = StoreLimits {
            history: HistoryLimits {
                messages_max,
                bytes_max: 1 << 30,
                retention_micros: 1 << 40,
            },
            topics_max: 2,
            metered_topics_max: 1,
            consumers_max: 0,
            group_members_max: 0,
            client_retention: 0,
        };
        Bench {
            store: TopicStore::following(limits, 1, Epoch::new(5), Budget::new(1 << 30)),
            name: TopicName::parse("t").unwrap(),
            news: Vec::new(),
            now: Moment {
                wall_micros: 1,
                monotonic_micros: 1,
            },
        }
    }

    fn open(messages_max: usize, newest: u64) -> Bench {
        let bench = Bench::new(messages_max);
        bench.store.open(&bench.name, at(newest)).unwrap();
        bench
    }

    fn draft(&self, expires_at: u64) -> Draft {
        let mut frame = vec![b'0'; MessageId::LEN];
        frame.extend_from_slice(self.name.as_str().as_bytes());
        let layout = FrameLayout {
            id_at: 0,
            topic_at: MessageId::LEN,
            topic_len: self.name.as_str().len(),
        };
        Draft::new(&frame, layout, expires_at, self.store.budget())
    }

    fn feed(&mut self, predecessor: u64, position: u64) -> Fed {
        self.feed_until(predecessor, position, u64::MAX)
    }

    fn feed_until(&mut self, predecessor: u64, position: u64, expires_at: u64) -> Fed {
        let draft = self.draft(expires_at);
        let (predecessor, position) = (at(predecessor), at(position));
        let (name, now, news) = (&self.name, self.now, &mut self.news);
        self.store
            .feed(name, predecessor, position, draft, now, news)
    }

    fn mend(&mut self, predecessor: u64, position: u64) -> Fed {
        let draft = self.draft(u64::MAX);
        let (predecessor, position) = (at(predecessor), at(position));
        let (name, now, news) = (&self.name, self.now, &mut self.news);
        self.store
            .mend(name, predecessor, position, draft, 0, now, news)
    }

    fn restart(&mut self, newest: u64) {
        self.store.restart(&self.name, at(newest), &mut self.news);
    }

    fn subscribe(&self, start: Start, begins_behind: u64) -> Subscribed {
        let begins_behind = Some(at(begins_behind));
        self.store
            .subscribe_behind(&self.name, 0, 3, start, begins_behind)
            .unwrap()
    }

    fn id(&self, position: u64) -> MessageId {
        self.store
            .id(TopicHash::of(self.name.as_str()), at(position))
    }

    fn read(&self, handle: TopicHandle, behind: u64) -> (Reading, Vec<u64>) {
        let batch = Batch {
            messages_max: 100,
            bytes_max: usize::MAX,
        };
        let mut messages = Vec::new();
        let reading = self
            .store
            .read(handle, behind, batch, self.now, &mut messages);
        let positions = messages.iter().map(Message::position);
        (reading.unwrap(), positions.map(Position::millis).collect())
    }

    fn newest(&self) -> Position {
        self.store.open_topics()[0].1
    }
}

#[test]
fn a_topic_stands_from_opening_to_closing() {
    let mut bench = Bench::new(10);
    assert_eq!(bench.feed(1, 2), Fed::NotOpen);
    assert_eq!(bench.mend(1, 2), Fed::NotOpen);
    let refused = |bench: &Bench| {
        let (name, start) = (&bench.name, Start::Last);
        let error = bench.store.subscribe_behind(name, 0, 0, start, None);
        assert_eq!(error.unwrap_err(), StoreError::NotOpen);
        let error = bench.store.subscribe(name, 0, 0, start);
        assert_eq!(error.unwrap_err(), StoreError::NotOpen);
    };
    refused(&bench);
    bench.restart(1);
    assert!(bench.store.close_if_unread(&bench.name));
    bench.store.open(&bench.name, at(1)).unwrap();
    bench.store.open(&bench.name, at(9)).unwrap();
    assert_eq!(bench.newest(), at(1), "stands open");
    assert_eq!(bench.feed(1, 2), Fed::Appended);
    let subscribed = bench.subscribe(Start::Last, 0);
    bench.store.unsubscribe(subscribed.handle, 0);
    assert!(!bench.store.sweep(0, 1, bench.now));
    assert_eq!(
        bench.newest(),
        at(2),
        "goes neither with its reader nor by sweeping"
    );
    let subscribed = bench.subscribe(Start::Last, 0);
    assert!(!bench.store.close_if_unread(&bench.name));
    bench.store.unsubscribe(subscribed.handle, 0);
    assert!(bench.store.close_if_unread(&bench.name));
    refused(&bench);
    assert_eq!(bench.store.open_topics(), []);
    let stats = bench.store.stats();
    assert_eq!((stats.topics_total, stats.history_bytes), (0, 0));
    assert_eq!(bench.store.budget().used_exactly(), 0);
    bench.store.open(&bench.name, at(1)).unwrap();
    assert_eq!(bench.feed(1, 2), Fed::Appended, "nothing is remembered");
    assert_eq!(bench.store.stats().topics.len(), 1, "metered again");
}

#[test]
fn there_are_no_more_topics_than_may_be() {
    let bench = Bench::open(10, 1);
    let name = |name| TopicName::parse(name).unwrap();
    bench.store.open(&name("a"), at(1)).unwrap();
    let full = bench.store.open(&name("b"), at(1));
    assert_eq!(full, Err(StoreError::TopicsMax));
    assert_eq!(bench.store.open(&name("a"), at(2)), Ok(at(1)));
}

#[test]
fn a_message_is_stored_where_it_follows() {
    let mut bench = Bench::open(10, 10);
    let subscribed = bench.subscribe(Start::Last, 0);
    assert_eq!(bench.feed(10, 12), Fed::Appended);
    assert_eq!(
        bench.news,
        [News {
            worker: 0,
            local: 3
        }]
    );
    assert_eq!(bench.feed(10, 12), Fed::Known);
    assert_eq!(bench.feed(8, 10), Fed::Known, "from before it was open");
    assert_eq!(bench.feed(13, 14), Fed::Missing { newest: at(12) });
    assert_eq!(bench.feed(0, 14), Fed::Missing { newest: at(12) });
    assert_eq!(bench.mend(12, 13), Fed::Appended);
    assert_eq!(
        bench.mend(0, 14),
        Fed::Appended,
        "predecessors may be unknown"
    );
    assert_eq!(bench.mend(12, 13), Fed::Known);
    assert_eq!(bench.feed(14, 15), Fed::Appended);
    assert_eq!(bench.news.len(), 1, "told once");
    let (reading, positions) = bench.read(subscribed.handle, subscribed.start.sequence);
    assert_eq!(positions, [12, 13, 14, 15]);
    assert_eq!(reading.lost, None);
    // What was received is counted where it was.
    let received = || bench.store.stats().topics[0].counts.received;
    assert_eq!(received(), 0);
    bench.store.count_received(TopicHash::of("t"), 3, 10);
    assert_eq!(received(), 3);
    bench.store.count_received(TopicHash::of("other"), 2, 10);
    assert_eq!((received(), bench.store.stats().others.received), (3, 2));
}

#[test]
fn what_was_never_here_is_foreign() {
    let mut bench = Bench::open(10, 10);
    assert_eq!(bench.feed(10, 12), Fed::Appended);
    assert_eq!(bench.feed_until(12, 14, TTL), Fed::Appended);
    assert_eq!(bench.feed(14, 16), Fed::Appended);
    for foreign in [11, 13, 15] {
        assert_eq!(bench.feed(foreign - 1, foreign), Fed::Foreign);
        assert_eq!(bench.mend(foreign - 1, foreign), Fed::Foreign);
    }
    bench.now.monotonic_micros = TTL;
    bench.store.sweep(0, 1, bench.now);
    assert_eq!(
        bench.feed_until(12, 14, 2 * TTL),
        Fed::Known,
        "its slot stays"
    );
    assert_eq!(bench.feed_until(12, 13, TTL), Fed::Known, "expired");
}

#[test]
fn messages_that_are_gone_elsewhere_are_lost_here() {
    let mut bench = Bench::open(10, 10);
    let subscribed = bench.subscribe(Start::Last, 0);
    assert_eq!(bench.feed(10, 12), Fed::Appended);
    let behind = bench.read(subscribed.handle, 0).0.place.sequence;
    assert_eq!(bench.mend(20, 22), Fed::Appended);
    let (reading, positions) = bench.read(subscribed.handle, behind);
    assert_eq!(positions, [22]);
    assert_eq!(reading.lost.unwrap().position, at(20));
    assert_eq!(
        bench.read(subscribed.handle, reading.place.sequence).0.lost,
        None
    );
    // A predecessor that cannot be one.
    assert_eq!(bench.mend(40, 30), Fed::Appended);
    assert_eq!(bench.newest(), at(30));
}

#[test]
fn a_restart_loses_what_was_not_read() {
    let mut bench = Bench::open(10, 10);
    let subscribed = bench.subscribe(Start::Last, 0);
    assert_eq!(bench.feed(10, 12), Fed::Appended);
    let read = bench.read(subscribed.handle, 0).0.place.sequence;
    bench.restart(12);
    assert_eq!(
        bench.read(subscribed.handle, read).0.lost,
        None,
        "the same position"
    );
    assert_eq!(
        bench.read(subscribed.handle, 0).0.lost.unwrap().position,
        at(12)
    );
    for newest in [5, 7] {
        bench.restart(newest);
        let (reading, positions) = bench.read(subscribed.handle, read);
        assert!(positions.is_empty());
        assert_eq!(reading.lost, Some(reading.place));
        assert_eq!(reading.place.position, at(newest));
        assert_eq!(bench.feed(newest, newest + 1), Fed::Appended);
        assert_eq!(bench.feed(newest - 1, newest), Fed::Known);
    }
    bench
        .store
        .restart(&bench.name, Position::ZERO, &mut bench.news);
    let (reading, _) = bench.read(subscribed.handle, read);
    assert_eq!(reading.lost.unwrap().position, Position::ZERO);
    assert_eq!(bench.store.stats().history_bytes, 0);
}

#[test]
fn the_beginning_of_the_stream_decides_what_is_lost() {
    let mut bench = Bench::open(2, 10);
    for position in 11..=14 {
        assert_eq!(bench.feed(position - 1, position), Fed::Appended);
    }
    let start = |position| Start::Behind(bench.id(position));
    let look = |start, begins_behind| {
        let subscribed = bench.subscribe(start, begins_behind);
        bench.store.unsubscribe(subscribed.handle, 0);
        let Place { sequence, position } = subscribed.start;
        assert_eq!(subscribed.is_cold, position < at(12));
        assert!(!subscribed.is_cold || sequence == 2, "that of what is lost");
        assert_eq!(subscribed.resume.position, position);
        (position.millis(), subscribed.gap)
    };
    let gap = |from: MessageId, to, reason| {
        Some(Gap {
            from,
            to: bench.id(to),
            reason,
        })
    };
    assert_eq!(look(Start::Last, 5), (14, None));
    assert_eq!(look(Start::Earliest, 5), (5, None));
    assert_eq!(look(Start::Earliest, 13), (13, None));
    assert_eq!(look(Start::Earliest, 99), (14, None), "not beyond the log");
    assert_eq!(look(start(7), 5), (7, None));
    assert_eq!(look(start(13), 5), (13, None));
    let trimmed = gap(bench.id(4), 5, GapReason::Trimmed);
    assert_eq!(look(start(4), 5), (5, trimmed));
    let beyond = gap(bench.id(15), 5, GapReason::EpochChanged);
    assert_eq!(look(start(15), 5), (5, beyond));
    let old = MessageId {
        epoch: Epoch::new(6),
        ..bench.id(13)
    };
    let changed = gap(old, 5, GapReason::EpochChanged);
    assert_eq!(look(Start::Behind(old), 5), (5, changed));
    let other = MessageId {
        topic: TopicHash::of("other"),
        ..bench.id(99)
    };
    assert_eq!(look(Start::Behind(other), 5), (14, None));
}

#[test]
fn reading_elsewhere_ends_where_the_log_begins() {
    let mut bench = Bench::open(2, 10);
    for position in 11..=14 {
        assert_eq!(bench.feed(position - 1, position), Fed::Appended);
    }
    let handle = bench.subscribe(Start::Last, 0).handle;
    let place = |position| bench.store.place_behind(handle, at(position));
    assert_eq!(place(11), None);
    for (position, follows) in [(12, vec![13, 14]), (13, vec![14]), (14, vec![])] {
        let place = place(position).unwrap();
        assert_eq!(place.position, at(position));
        assert_eq!(bench.read(handle, place.sequence).1, follows);
    }
    let ahead = place(20).unwrap();
    assert_eq!(ahead.position, at(14), "the log has not come so far");
    let message = bench.draft(7);
    let hash = TopicHash::of(bench.name.as_str());
    let message = bench.store.cold_message(hash, at(11), message, 3);
    assert!(message.frame().starts_with(&bench.id(11).encode()));
    assert_eq!((message.stored_at(), message.expires_at()), (3, 7));
}

#[test]
fn another_epoch_makes_other_ids() {
    let mut bench = Bench::open(10, 10);
    let old = bench.id(10);
    bench.store.set_epoch(Epoch::new(6));
    assert_eq!(bench.store.epoch(), Epoch::new(6));
    bench.restart(3);
    assert_eq!(bench.feed(3, 4), Fed::Appended);
    let subscribed = bench.subscribe(Start::Behind(old), 2);
    assert_eq!(subscribed.gap.unwrap().reason, GapReason::EpochChanged);
    assert_eq!(subscribed.resume, bench.id(2));
    assert_ne!(bench.id(10), old);
}

#[test]
fn an_end_that_was_passed_changes_nothing() {
    let mut bench = Bench::open(10, 1);
    assert_eq!(bench.feed(1, 2), Fed::Appended);
    for (to, newest, kept) in [(1, 2, 1), (2, 2, 1), (5, 5, 0)] {
        bench.store.skip(&bench.name, at(to), &mut bench.news);
        let handle = bench.store.find(&bench.name).unwrap();
        assert_eq!(bench.newest(), at(newest));
        assert_eq!(bench.read(handle, 0).1.len(), kept, "{to}");
    }
}
