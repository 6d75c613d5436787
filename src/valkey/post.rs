//! The way from threads of this tier to the workers, and to the spool's thread.

use std::fmt;
use std::sync::{Arc, OnceLock};
use std::thread::Thread;

use super::job::{Reply, Waiter};
use crate::fanout::{Doorbell, Inbox};
use crate::topic::{LocalTopic, News, WorkerIndex};

/// What a worker finds in its inbox.
#[derive(Debug)]
pub enum Mail {
    /// What became of the job of this ticket.
    Reply(u64, Reply),
    /// A topic of the worker has news.
    News(LocalTopic),
}

/// The inboxes of all workers, and how to wake them.
pub struct Post {
    inboxes: Box<[Inbox<Mail>]>,
    wake: Box<dyn Fn(WorkerIndex) + Send + Sync>,
    spool: Inbox<Mail>,
    spool_thread: OnceLock<Thread>,
}

impl fmt::Debug for Post {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut fields = f.debug_struct("Post");
        fields.field("inboxes", &self.inboxes);
        fields.finish_non_exhaustive()
    }
}

impl Post {
    /// By this number the spool's thread has its replies; no worker has it.
    pub const SPOOL: WorkerIndex = WorkerIndex::MAX;

    /// An inbox for the owner of each doorbell; `wake` ends a worker's sleep.
    pub fn new(
        doorbells: impl Iterator<Item = Arc<Doorbell>>,
        wake: impl Fn(WorkerIndex) + Send + Sync + 'static,
    ) -> Post {
        Post {
            inboxes: doorbells.map(Inbox::new).collect(),
            wake: Box::new(wake),
            spool: Inbox::new(Arc::default()),
            spool_thread: OnceLock::new(),
        }
    }

    /// The spool has a thread, which mail for it wakes.
    pub(super) fn set_spool_thread(&self, thread: Thread) {
        // There is one only.
        let _ = self.spool_thread.set(thread);
    }

    /// The inbox of a worker, or of the spool's thread.
    pub fn inbox(&self, worker: WorkerIndex) -> &Inbox<Mail> {
        self.inboxes.get(worker as usize).unwrap_or(&self.spool)
    }

    /// Tells a waiter what became of its job. For several, [`Post::send`] takes fewer locks.
    pub fn reply(&self, waiter: Waiter, reply: Reply) {
        self.send(waiter.worker, [Mail::Reply(waiter.ticket, reply)]);
    }

    /// Tells readers that their topics have news.
    pub fn news(&self, news: &mut Vec<News>) {
        // Those of one worker together: each post takes a lock and may wake.
        news.sort_unstable_by_key(|item| item.worker);
        for items in news.chunk_by(|one, other| one.worker == other.worker) {
            let mail = items.iter().map(|item| Mail::News(item.local));
            self.send(items[0].worker, mail);
        }
        news.clear();
    }

    /// Puts mail into an inbox.
    pub fn send(&self, worker: WorkerIndex, mail: impl IntoIterator<Item = Mail>) {
        let must_wake = self.inbox(worker).post(mail);
        if worker == Self::SPOOL {
            if let Some(thread) = self.spool_thread.get() {
                thread.unpark();
            }
        } else if must_wake {
            (self.wake)(worker);
        }
    }
}
