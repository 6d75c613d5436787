//! A group whose members are on threads of their own, come and go, and share what one publishes.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Duration;

use super::super::{Ack, ClaimRules, Claims, Member};
use super::bench::{Bench, RULES, group, member};
use crate::topic::{Batch, Message, News, Start, TopicHandle, TopicHash};

const WORKERS: u8 = 4;
const MESSAGES: usize = 4_000;
/// Longer than the whole race takes.
const PATIENCE: Duration = Duration::from_secs(60);

/// What the threads share.
struct Race {
    bench: Bench,
    handle: TopicHandle,
    mailboxes: Vec<Mutex<Sender<()>>>,
    /// Who holds a message that it has not settled, by sequence.
    held: Mutex<BTreeMap<u64, u8>>,
    acknowledged: AtomicUsize,
    connections: AtomicU64,
}

impl Race {
    fn tell(&self, news: &mut Vec<News>) {
        for news in news.drain(..) {
            let mailbox = self.mailboxes[usize::from(news.worker)].lock().unwrap();
            // Those that have seen the end need no news.
            let _ = mailbox.send(());
        }
    }

    fn is_done(&self) -> bool {
        self.acknowledged.load(Ordering::SeqCst) == MESSAGES
    }

    fn acknowledge(&self, message: &Message, worker: u8) {
        let topic = TopicHash::of(self.bench.name.as_str());
        let id = self.bench.store.id(topic, message.position());
        self.held.lock().unwrap().remove(&message.sequence());
        let (client, mut news) = (client_of(worker), Vec::new());
        let now = self.bench.now;
        let ack = self
            .bench
            .store
            .acknowledge(&id, &client, Some(&group()), false, now, &mut news);
        assert_eq!(ack, Ack::Acknowledged(1), "it was pending for nobody else");
        self.tell(&mut news);
        self.acknowledged.fetch_add(1, Ordering::SeqCst);
        if self.is_done() {
            let workers = 0..WORKERS;
            self.tell(
                &mut workers
                    .map(|worker| News { worker, local: 7 })
                    .collect::<Vec<_>>(),
            );
        }
    }
}

fn client_of(worker: u8) -> String {
    format!("client-{worker}")
}

/// One worker with one member, which goes in the middle of its work every so often.
fn run(race: &Race, worker: u8, mailbox: &Receiver<()>) -> usize {
    let (mut taken, mut claims) = (0, Claims::default());
    let mut seat = join(race, worker);
    while !race.is_done() {
        race.bench.take_news(&seat);
        loop {
            let batch = Batch {
                messages_max: 3,
                bytes_max: usize::MAX,
            };
            let (store, moment) = (&race.bench.store, race.bench.moment());
            let claim = store
                .claim(race.handle, &group(), seat.seat, batch, moment, &mut claims)
                .expect("nobody takes its seat");
            for claimed in &claims.messages {
                let sequence = claimed.message.sequence();
                let before = race.held.lock().unwrap().insert(sequence, worker);
                assert_eq!(before, None, "one member holds it");
            }
            taken += claims.messages.len();
            let leaves = taken % 11 > 7 && !claims.messages.is_empty();
            // The last is not acknowledged by one that leaves.
            let kept = claims.messages.len() - usize::from(leaves);
            for claimed in &claims.messages[..kept] {
                race.acknowledge(&claimed.message, worker);
            }
            if leaves {
                let left = claims.messages[kept].message.sequence();
                race.held.lock().unwrap().remove(&left);
                leave(race, &seat);
                thread::yield_now();
                seat = join(race, worker);
            } else if !claim.more {
                break;
            }
        }
        if !race.is_done() {
            mailbox.recv_timeout(PATIENCE).expect("word comes in time");
        }
    }
    leave(race, &seat);
    taken
}

fn join(race: &Race, worker: u8) -> Member {
    let number = race.connections.fetch_add(1, Ordering::Relaxed);
    let member = member(&client_of(worker), worker, number);
    let rules = ClaimRules { window: 5, ..RULES };
    race.bench
        .try_attach(&group(), &member, rules, Start::Earliest, false)
        .unwrap();
    member
}

fn leave(race: &Race, member: &Member) {
    let mut news = Vec::new();
    let (store, now) = (&race.bench.store, race.bench.now);
    store.detach(race.handle, &group(), member.seat, now, &mut news);
    race.tell(&mut news);
}

/// Time stands still: what a member that goes had is with another one at once, or never.
#[test]
fn a_group_on_many_threads_acknowledges_everything_once() {
    let (senders, mailboxes): (Vec<_>, Vec<_>) = (0..WORKERS).map(|_| channel()).unzip();
    let bench = Bench::with(|limits| limits.history.messages_max = MESSAGES);
    let reader = member("first", 0, u64::MAX);
    bench.attach(&group(), &reader, RULES);
    let race = Race {
        handle: bench.handle(),
        bench,
        mailboxes: senders.into_iter().map(Mutex::new).collect(),
        held: Mutex::default(),
        acknowledged: AtomicUsize::new(0),
        connections: AtomicU64::new(1),
    };
    leave(&race, &reader);
    thread::scope(|scope| {
        let race = &race;
        let workers: Vec<_> = (0..WORKERS)
            .zip(mailboxes)
            .map(|(worker, mailbox)| scope.spawn(move || run(race, worker, &mailbox)))
            .collect();
        let mut left = MESSAGES;
        while left > 0 {
            let count = (1 + left % 7).min(left);
            left -= count;
            let (_, mut news) = race.bench.publish_now(count, u64::MAX);
            race.tell(&mut news);
        }
        let taken: usize = workers.into_iter().map(|it| it.join().unwrap()).sum();
        assert!(taken > MESSAGES, "some was handed out again");
    });
    let stats = race.bench.store.stats();
    assert_eq!(stats.consumers_pending, 0);
}
