//! Real threads on one store: each reader gets all that its topics are given, or is told what not,
//! while topics are freed and come again.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use super::super::budget::Budget;
use super::super::history::HistoryLimits;
use super::super::id::{Epoch, MessageId, Position};
use super::super::message::{Draft, FrameLayout};
use super::super::name::TopicName;
use super::super::{Batch, GapReason, Outcome, Start, StoreLimits, Subscribed, TopicStore};
use crate::moment::Moment;

const NOW: Moment = Moment {
    wall_micros: 1_000_000,
    monotonic_micros: 1_000_000,
};
const READERS: u8 = 3;
const MESSAGES: u64 = 3_000;
const TOPIC: &str = "busy";

/// What a reader was given.
enum Given {
    Message(Position),
    /// Above the first, up to and with the second.
    Gap(Position, Position),
}

/// Publishes alone, in bulks of 1 to 7, and tells whoever is to be told.
fn publish_all(store: &TopicStore, mailboxes: &[Sender<u32>]) -> Vec<Position> {
    let mut outcome = Outcome::default();
    let mut positions = Vec::new();
    let mut left = MESSAGES;
    while left > 0 {
        let count = (1 + left % 7).min(left);
        left -= count;
        let drafts: Vec<Draft> = (0..count).map(|_| draft(store.budget())).collect();
        store
            .publish(drafts.into_iter(), NOW, 0, &mut outcome)
            .unwrap();
        positions.extend(outcome.ids.iter().map(|id| id.position));
        for news in outcome.news.drain(..) {
            mailboxes[usize::from(news.worker)]
                .send(news.local)
                .unwrap();
        }
    }
    positions
}

fn draft(budget: &'static Budget) -> Draft {
    let mut frame = vec![b'0'; MessageId::LEN];
    frame.extend_from_slice(TOPIC.as_bytes());
    let layout = FrameLayout {
        id_at: 0,
        topic_at: MessageId::LEN,
        topic_len: TOPIC.len(),
    };
    Draft::new(&frame, layout, u64::MAX, budget)
}

struct Reader<'a> {
    store: &'a TopicStore,
    worker: u8,
    mailbox: Receiver<u32>,
    subscribed: Subscribed,
    given: Vec<Given>,
}

impl Reader<'_> {
    /// Reads its news until there is no publisher any more; now and then it goes and comes back.
    fn run(mut self) -> Vec<Given> {
        let mut taken = 0;
        while let Ok(local) = self.mailbox.recv() {
            // What was on its way when the interest ended is ignored.
            if local != self.subscribed.local {
                continue;
            }
            self.take_all();
            taken += 1;
            if taken % (5 + u32::from(self.worker)) == 0 {
                self.come_again(taken);
            }
        }
        self.given
    }

    fn take_all(&mut self) {
        let batch = Some(Batch {
            messages_max: 3,
            bytes_max: usize::MAX,
        });
        loop {
            let (handle, mut messages) = (self.subscribed.handle, Vec::new());
            let reading = self
                .store
                .take_news(handle, self.worker, batch, NOW, &mut messages);
            let reading = reading.expect("it has interest");
            assert_eq!(reading.lost, None, "spares what a live reader has not read");
            for message in messages {
                self.given.push(Given::Message(message.position()));
            }
            self.subscribed.resume = self
                .store
                .id(self.subscribed.resume.topic, reading.place.position);
            if !reading.more {
                return;
            }
        }
    }

    /// Unsubscribes and resumes behind what it has had.
    fn come_again(&mut self, number: u32) {
        let resume = self.subscribed.resume;
        self.store.unsubscribe(self.subscribed.handle, self.worker);
        thread::yield_now();
        let name = &self.subscribed.name.clone();
        let start = Start::Behind(resume);
        self.subscribed = self
            .store
            .subscribe(name, self.worker, number, start)
            .unwrap();
        if let Some(gap) = self.subscribed.gap {
            assert_eq!((gap.from, gap.reason), (resume, GapReason::Trimmed));
            self.given
                .push(Given::Gap(gap.from.position, gap.to.position));
        }
        self.catch_up();
    }

    /// Reads on alone up to where its interest began.
    fn catch_up(&mut self) {
        let live = self.subscribed.newly_interested.expect("it had gone");
        let mut behind = self.subscribed.start;
        while behind.sequence < live.sequence {
            let batch = Batch {
                messages_max: (live.sequence - behind.sequence).min(2) as usize,
                bytes_max: usize::MAX,
            };
            let (handle, mut messages) = (self.subscribed.handle, Vec::new());
            let reading = self
                .store
                .read(handle, behind.sequence, batch, NOW, &mut messages);
            let reading = reading.expect("its interest keeps the topic");
            if let Some(lost) = reading.lost {
                self.given.push(Given::Gap(behind.position, lost.position));
            }
            for message in messages.iter().filter(|it| it.sequence() <= live.sequence) {
                self.given.push(Given::Message(message.position()));
            }
            behind = reading.place;
        }
        let topic = self.subscribed.resume.topic;
        self.subscribed.resume = self.store.id(topic, live.position);
    }
}

/// Everything published was given once and in order, or lies in a gap.
fn check(published: &[Position], given: Vec<Given>) -> usize {
    let mut due = published.iter().copied().peekable();
    let mut messages = 0;
    for given in given {
        match given {
            Given::Message(position) => {
                assert_eq!(due.next(), Some(position), "each once, in order");
                messages += 1;
            }
            Given::Gap(from, to) => {
                assert!(due.peek().is_none_or(|next| *next > from), "nothing twice");
                while due.next_if(|next| *next <= to).is_some() {}
            }
        }
    }
    assert_eq!(due.next(), None, "nothing is missing");
    messages
}

fn race(retention_micros: u64) {
    let limits = StoreLimits {
        history: HistoryLimits {
            messages_max: 10,
            bytes_max: u64::MAX,
            retention_micros,
        },
        topics_max: 10,
        metered_topics_max: 10,
        consumers_max: 10,
        group_members_max: 10,
        client_retention: u64::MAX,
    };
    let budget = Budget::new(1 << 40);
    let store = TopicStore::new(limits, 4, Epoch::new(1), budget);
    let name = TopicName::parse(TOPIC).unwrap();
    let (senders, mailboxes): (Vec<_>, Vec<_>) = (0..READERS).map(|_| channel()).unzip();
    let readers: Vec<Reader<'_>> = (0..READERS)
        .zip(mailboxes)
        .map(|(worker, mailbox)| Reader {
            store: &store,
            worker,
            mailbox,
            subscribed: store
                .subscribe(&name, worker, u32::MAX, Start::Last)
                .unwrap(),
            given: Vec::new(),
        })
        .collect();
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let readers: Vec<_> = readers
            .into_iter()
            .map(|it| scope.spawn(|| it.run()))
            .collect();
        let sweeper = scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                store.sweep(0, 1, NOW);
                thread::yield_now();
            }
        });
        let published = publish_all(&store, &senders);
        drop(senders);
        for reader in readers {
            assert!(check(&published, reader.join().unwrap()) > 0);
        }
        done.store(true, Ordering::Relaxed);
        sweeper.join().unwrap();
    });
}

#[test]
fn nothing_is_lost_between_threads() {
    race(u64::MAX);
}

/// Nothing is kept that all have read, so the topic is freed whenever all readers are away.
#[test]
fn nothing_is_lost_while_topics_come_and_go() {
    race(0);
}
