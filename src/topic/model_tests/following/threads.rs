//! Real threads: one feeds and misses some, one mends, and readers go on. Each is given every
//! message at most once and in order, and told of what it is not given.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use super::super::super::budget::Budget;
use super::super::super::history::HistoryLimits;
use super::super::super::id::{Epoch, MessageId, Position};
use super::super::super::message::{Draft, FrameLayout};
use super::super::super::name::TopicName;
use super::super::super::{Batch, Fed, Start, StoreLimits, TopicHandle, TopicStore};
use crate::moment::Moment;

const NOW: Moment = Moment {
    wall_micros: 1_000_000,
    monotonic_micros: 1_000_000,
};
const MESSAGES: u64 = 20_000;
const READERS: u8 = 2;

fn at(number: u64) -> Position {
    Position::new(number, 0)
}

struct Race<'a> {
    store: &'a TopicStore,
    name: &'a TopicName,
    done: AtomicBool,
}

impl Race<'_> {
    fn draft(&self) -> Draft {
        let mut frame = vec![b'0'; MessageId::LEN];
        frame.extend_from_slice(self.name.as_str().as_bytes());
        let layout = FrameLayout {
            id_at: 0,
            topic_at: MessageId::LEN,
            topic_len: self.name.as_str().len(),
        };
        Draft::new(&frame, layout, u64::MAX, self.store.budget())
    }

    fn newest(&self) -> u64 {
        self.store.open_topics()[0].1.millis()
    }

    /// Hears of most, of some twice, and leaves the rest to the other.
    fn feed_all(&self) {
        let mut news = Vec::new();
        for number in 1..=MESSAGES {
            if number % 17 == 0 {
                continue;
            }
            for _ in 0..1 + number % 2 {
                let (name, draft) = (self.name, self.draft());
                let fed = self
                    .store
                    .feed(name, at(number - 1), at(number), draft, NOW, &mut news);
                assert!(!matches!(fed, Fed::Foreign | Fed::NotOpen));
            }
            if number % 64 == 0 {
                thread::yield_now();
            }
        }
    }

    /// Reads on behind the newest; now and then the stream has lost some.
    fn mend_all(&self) {
        let (mut news, mut rounds) = (Vec::new(), 0);
        loop {
            let newest = self.newest();
            if newest == MESSAGES {
                return;
            }
            rounds += 1;
            let first = (newest + 1 + u64::from(rounds % 50 == 0) * 20).min(MESSAGES);
            for number in first..=(first + 5).min(MESSAGES) {
                let (name, draft) = (self.name, self.draft());
                let fed =
                    self.store
                        .mend(name, at(number - 1), at(number), draft, 0, NOW, &mut news);
                assert!(matches!(fed, Fed::Appended | Fed::Known));
            }
            thread::yield_now();
        }
    }

    fn read_all(&self, worker: u8, handle: TopicHandle) {
        let batch = Some(Batch {
            messages_max: 5,
            bytes_max: usize::MAX,
        });
        let (mut expected, mut given) = (1, 0);
        loop {
            let was_done = self.done.load(Ordering::Acquire);
            let mut messages = Vec::new();
            let reading = self
                .store
                .take_news(handle, worker, batch, NOW, &mut messages)
                .expect("it has interest");
            if let Some(lost) = reading.lost {
                assert!(lost.position.millis() >= expected, "nothing twice");
                expected = lost.position.millis() + 1;
            }
            for message in messages {
                assert_eq!(message.position(), at(expected), "in order, without holes");
                expected += 1;
                given += 1;
            }
            assert_eq!(reading.place.position, at(expected - 1));
            if was_done && !reading.more {
                break;
            }
            thread::yield_now();
        }
        assert_eq!(expected, MESSAGES + 1, "to the end");
        assert!(given > 0);
    }
}

#[test]
fn who_feeds_and_who_mends_do_not_disturb_each_other() {
    let limits = StoreLimits {
        history: HistoryLimits {
            messages_max: 10,
            bytes_max: u64::MAX,
            retention_micros: u64::MAX,
        },
        topics_max: 1,
        metered_topics_max: 1,
        consumers_max: 0,
        group_members_max: 0,
        client_retention: 0,
    };
    let store = TopicStore::following(limits, 2, Epoch::new(1), Budget::new(1 << 40));
    let name = TopicName::parse("busy").unwrap();
    store.open(&name, Position::ZERO).unwrap();
    let race = Race {
        store: &store,
        name: &name,
        done: AtomicBool::new(false),
    };
    thread::scope(|scope| {
        for worker in 0..READERS {
            let subscribed = store.subscribe_behind(&name, worker, 0, Start::Last, None);
            let handle = subscribed.unwrap().handle;
            let race = &race;
            scope.spawn(move || race.read_all(worker, handle));
        }
        let feeder = scope.spawn(|| race.feed_all());
        race.mend_all();
        feeder.join().unwrap();
        race.done.store(true, Ordering::Release);
    });
}
