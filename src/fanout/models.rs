//! Loom models: one question each. `RUSTFLAGS="--cfg loom" cargo test --release --lib models`.

use std::sync::Arc;

use loom::sync::Mutex;
use loom::sync::atomic::{AtomicBool, Ordering};
use loom::thread;

use super::{Doorbell, Inbox, mailbox};

/// The owner's eventfd: sleeping is waiting for this flag.
type WakeUp = loom::sync::Arc<AtomicBool>;

fn wake(wake_up: &WakeUp) {
    wake_up.store(true, Ordering::Release);
}

fn woken(wake_up: &WakeUp) -> bool {
    wake_up.load(Ordering::Acquire)
}

/// Is every item found before the owner sleeps for good, or the owner woken?
#[test]
fn no_wake_up_is_lost() {
    loom::model(|| {
        let doorbell = Arc::new(Doorbell::default());
        let (mut sender, receiver) = mailbox(2, Arc::clone(&doorbell));
        let wake_up = WakeUp::default();
        let theirs = wake_up.clone();
        let peer = thread::spawn(move || {
            sender.push(7);
            if sender.ring() {
                wake(&theirs);
            }
        });
        doorbell.prepare_to_sleep();
        let found = !receiver.is_empty();
        peer.join().unwrap();
        assert!(
            found || woken(&wake_up),
            "the owner sleeps and nobody wakes it"
        );
    });
}

/// The same when the ring is full and only the mark tells of the news.
#[test]
fn no_look_at_all_is_lost() {
    loom::model(|| {
        let doorbell = Arc::new(Doorbell::default());
        let (mut sender, _receiver) = mailbox(1, Arc::clone(&doorbell));
        sender.push(1);
        let wake_up = WakeUp::default();
        let theirs = wake_up.clone();
        let peer = thread::spawn(move || {
            sender.push(2);
            if sender.ring() {
                wake(&theirs);
            }
        });
        doorbell.prepare_to_sleep();
        let found = doorbell.must_look_at_all();
        peer.join().unwrap();
        assert!(
            found || woken(&wake_up),
            "the owner sleeps and nobody wakes it"
        );
    });
}

/// Two senders, one sleeper: one of them wakes it, or both items are found.
#[test]
fn two_senders_wake_once_and_lose_nothing() {
    loom::model(|| {
        let doorbell = Arc::new(Doorbell::default());
        let wake_up = WakeUp::default();
        let ends = [1, 2].map(|item| {
            let (mut sender, receiver) = mailbox(1, Arc::clone(&doorbell));
            let theirs = wake_up.clone();
            let peer = thread::spawn(move || {
                sender.push(item);
                if sender.ring() {
                    wake(&theirs);
                }
            });
            (peer, receiver)
        });
        doorbell.prepare_to_sleep();
        let mut found = 0;
        let mut receivers = Vec::new();
        for (peer, receiver) in ends {
            found += usize::from(!receiver.is_empty());
            receivers.push((peer, receiver));
        }
        for (peer, _receiver) in receivers {
            peer.join().unwrap();
        }
        assert!(found == 2 || woken(&wake_up), "news without a wake-up");
    });
}

/// An answer that is posted while its worker goes to sleep: found in the last look, or announced.
#[test]
fn a_sleeper_misses_no_mail() {
    loom::model(|| {
        let doorbell = Arc::new(Doorbell::default());
        let inbox = Arc::new(Inbox::new(Arc::clone(&doorbell)));
        let wake_up = WakeUp::default();
        let (theirs, their_wake_up) = (Arc::clone(&inbox), wake_up.clone());
        let poster = thread::spawn(move || {
            if theirs.post([7]) {
                wake(&their_wake_up);
            }
        });
        doorbell.prepare_to_sleep();
        let found = !inbox.is_empty();
        poster.join().unwrap();
        assert!(found || woken(&wake_up), "mail without a wake-up");
        let mut mail = Vec::new();
        inbox.take(&mut mail);
        assert_eq!(mail, [7]);
    });
}

/// One topic's log as the store keeps it: the newest sequence and the reader's mark, one lock.
#[derive(Default)]
struct Log {
    newest: u64,
    pending: bool,
}

/// With at most one item under way per topic, does the reader come to know of every message?
#[test]
fn the_pending_mark_hides_no_message() {
    loom::model(|| {
        let doorbell = Arc::new(Doorbell::default());
        let log = loom::sync::Arc::new(Mutex::new(Log::default()));
        let (mut sender, mut receiver) = mailbox(1, Arc::clone(&doorbell));
        let theirs = log.clone();
        let publisher = thread::spawn(move || {
            for _ in 0..2 {
                let mut log = theirs.lock().unwrap();
                log.newest += 1;
                let tell = !std::mem::replace(&mut log.pending, true);
                drop(log);
                if tell {
                    sender.push(0);
                }
            }
        });
        let mut read = 0;
        let mut take = |receiver: &mut super::Receiver| {
            if receiver.pop().is_some() || doorbell.take_look_at_all() {
                let mut log = log.lock().unwrap();
                log.pending = false;
                read = log.newest;
            }
        };
        take(&mut receiver);
        publisher.join().unwrap();
        take(&mut receiver);
        take(&mut receiver);
        assert_eq!(read, 2, "a message without news");
    });
}
