//! Messages that cannot be stored now go to the spool, and from there to Valkey when it is there
//! again: oldest first, each once, since their tokens tell which of them have arrived before.

use std::collections::{BTreeSet, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::thread::{self, Thread};
use std::time::Duration;

use smallvec::SmallVec;

use super::catalogue;
use super::handle::Valkey;
use super::job::{Job, Outgoing, Publication, Refused, Reply, Task, Waiter};
use super::post::{Mail, Post};
use crate::clock::Clock;
use crate::metrics::ValkeyStats;
use crate::spool::{Message, OwnedRecord, Record, Spool};
use crate::topic::TopicName;

/// Records replayed at a time, and bytes of them.
const REPLAYED_MAX: usize = 64;
const REPLAYED_BYTES_MAX: usize = 1 << 20;
/// How often it is looked whether Valkey is there again.
const LOOK: Duration = Duration::from_millis(200);
/// The ticket of a job for whose reply nobody waits.
const NO_TICKET: u64 = u64::MAX;
/// Milliseconds by which the clocks of this machine and of Valkey may differ.
const CLOCK_SLACK_MILLIS: u64 = 60_000;

/// What waits for the spool's thread.
#[derive(Default, Debug)]
pub(super) struct Spooler {
    waiting: Mutex<Waiting>,
    thread: OnceLock<Thread>,
    /// Publications in the spool, bytes of its files, publications that could not be read back.
    /// Statistics.
    figures: [AtomicU64; 3],
}

#[derive(Default, Debug)]
struct Waiting {
    publications: VecDeque<(Waiter, Publication)>,
    has_ended: bool,
}

impl Spooler {
    /// Has a publication kept; its waiter hears [`Reply::Spooled`], or why not.
    pub(super) fn keep(&self, waiter: Waiter, publication: Publication) {
        self.lock().publications.push_back((waiter, publication));
        self.wake();
    }

    /// Ends the thread's sleep.
    pub(super) fn wake(&self) {
        if let Some(thread) = self.thread.get() {
            thread.unpark();
        }
    }

    /// Adds what is in the spool.
    pub(super) fn tell(&self, stats: &mut ValkeyStats) {
        let figures = self.figures.each_ref();
        let [publications, bytes, lost] = figures.map(|it| it.load(Ordering::Relaxed));
        stats.spool = [publications, bytes];
        stats.spool_lost = lost;
    }

    /// Has the thread end when what waits is kept.
    pub(super) fn end(&self) {
        self.lock().has_ended = true;
        self.wake();
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The thread's own.
#[derive(Debug)]
struct Spooling {
    spool: Spool,
    spooler: Arc<Spooler>,
    valkey: Weak<Valkey>,
    post: Arc<Post>,
    clock: Clock,
    replay: Replay,
}

/// What is being replayed: the results so far, in order.
#[derive(Default, Debug)]
struct Replay {
    results: Vec<Option<bool>>,
    /// The topic of each.
    topics: Vec<Option<TopicName>>,
    /// Nothing of the last one could be stored: the next one waits.
    rests: bool,
    /// Which replay it is: replies to an earlier one are ignored.
    round: u64,
}

/// Starts the spool's thread.
///
/// # Errors
/// When the system has none.
pub(super) fn start(
    spool: Spool,
    spooler: &Arc<Spooler>,
    valkey: Weak<Valkey>,
    post: Arc<Post>,
    clock: Clock,
) -> std::io::Result<()> {
    let spooling_post = Arc::clone(&post);
    let mut spooling = Spooling {
        spool,
        spooler: Arc::clone(spooler),
        valkey,
        post,
        clock,
        replay: Replay::default(),
    };
    let thread = thread::Builder::new()
        .name("valkey-spool".to_owned())
        .spawn(move || spooling.run())?;
    spooling_post.set_spool_thread(thread.thread().clone());
    // Nobody else sets it.
    let _ = spooler.thread.set(thread.thread().clone());
    Ok(())
}

impl Spooling {
    fn run(&mut self) {
        loop {
            let (waiting, has_ended) = {
                let mut waiting = self.spooler.lock();
                (std::mem::take(&mut waiting.publications), waiting.has_ended)
            };
            let kept = waiting.len();
            self.keep_all(&waiting);
            self.count();
            if has_ended {
                return;
            }
            self.take_replies();
            let replays = self.replay_more();
            if kept == 0 && !replays {
                thread::park_timeout(LOOK);
            }
        }
    }

    fn count(&self) {
        let spool = &self.spool;
        let figures = [spool.len(), spool.bytes(), spool.lost()];
        for (told, figure) in self.spooler.figures.iter().zip(figures) {
            told.store(figure, Ordering::Relaxed);
        }
    }

    /// Keeps what waits with one write to disk, or one by one when not all of it fits.
    fn keep_all(&mut self, waiting: &VecDeque<(Waiter, Publication)>) {
        if waiting.is_empty() {
            return;
        }
        let now = self.clock.now();
        let records: Vec<Record<'_>> = waiting
            .iter()
            .map(|(_, publication)| record_of(publication, now.wall_micros))
            .collect();
        let all = self.spool.append(&records, now);
        for (record, (waiter, _)) in records.iter().zip(waiting) {
            let kept = match &all {
                Ok(()) => Ok(()),
                Err(_) if waiting.len() == 1 => Err(()),
                Err(_) => self
                    .spool
                    .append(std::slice::from_ref(record), now)
                    .map_err(drop),
            };
            let reply = match kept {
                Ok(()) => Reply::Spooled,
                Err(()) => Reply::Published(Err(Refused::Full)),
            };
            self.post.reply(*waiter, reply);
        }
        if let Err(error) = all {
            tracing::warn!(%error, "the spool does not take all messages");
        }
    }

    fn take_replies(&mut self) {
        let mut mail = Vec::new();
        self.post.inbox(Post::SPOOL).take(&mut mail);
        for item in mail {
            let Mail::Reply(ticket, reply) = item else {
                continue;
            };
            let (round, index) = (ticket >> 16, (ticket & 0xffff) as usize);
            if round == self.replay.round
                && let Some(result) = self.replay.results.get_mut(index)
            {
                *result = Some(matches!(reply, Reply::Published(Ok(_))));
            }
        }
        let is_complete = self.replay.results.iter().all(Option::is_some);
        if !self.replay.results.is_empty() && is_complete {
            // What stands behind one that was refused is sent again; its tokens tell.
            let done = self.replay.results.iter();
            let done = done.take_while(|result| **result == Some(true)).count();
            self.replay.rests = done == 0;
            self.list(done);
            self.confirm(done);
            self.replay.results.clear();
        }
    }

    /// Sends the oldest records; says whether there is something to wait for without a pause.
    fn replay_more(&mut self) -> bool {
        let rests = std::mem::take(&mut self.replay.rests);
        if rests || !self.replay.results.is_empty() || self.spool.is_empty() {
            return false;
        }
        let Some(valkey) = self.valkey.upgrade().filter(|it| it.is_reachable()) else {
            return false;
        };
        let records = match self.spool.peek(REPLAYED_MAX, REPLAYED_BYTES_MAX) {
            Ok(records) => records,
            Err(error) => {
                tracing::error!(%error, "the spool cannot be read");
                return false;
            }
        };
        let now = self.clock.now();
        self.replay.round += 1;
        self.replay.results = vec![None; records.len()];
        self.replay.topics = vec![None; records.len()];
        for (index, record) in records.into_iter().enumerate() {
            // From before it was sent for the first time, which was then waited for.
            let slack = CLOCK_SLACK_MILLIS + valkey.timeout().as_millis() as u64;
            let since = (record.appended_at / 1000).saturating_sub(slack);
            let Some(publication) = publication_of(record, since, now.wall_micros) else {
                // Its time is up, or its topic is none.
                self.replay.results[index] = Some(true);
                continue;
            };
            self.replay.topics[index] = Some(publication.topic.clone());
            let job = Job {
                waiter: Waiter {
                    worker: Post::SPOOL,
                    ticket: self.replay.round << 16 | index as u64,
                },
                deadline: now.after(valkey.timeout()),
                task: Task::Publish(publication),
            };
            if valkey.submit_direct(job).is_err() {
                self.replay.results[index] = Some(false);
            }
        }
        self.replay.results.iter().any(Option::is_some)
    }

    /// Lists the topics of what is stored now, as far as they are not listed. The next message of a
    /// topic does the same.
    fn list(&mut self, count: usize) {
        let topics = self.replay.topics.drain(..).take(count).flatten();
        let topics: BTreeSet<TopicName> = topics.collect();
        let Some(valkey) = self.valkey.upgrade().filter(|_| !topics.is_empty()) else {
            return;
        };
        let job = Job {
            waiter: Waiter {
                worker: Post::SPOOL,
                ticket: NO_TICKET,
            },
            deadline: self.clock.now().after(valkey.timeout()),
            task: Task::Call(catalogue::enlist(valkey.keys(), &topics)),
        };
        let _ = valkey.submit_direct(job);
    }

    fn confirm(&mut self, count: usize) {
        if count == 0 {
            return;
        }
        if let Err(error) = self.spool.confirm(count) {
            tracing::warn!(%error, "the spool may replay messages twice after a restart");
        }
        self.count();
        if self.spool.is_empty() {
            tracing::info!("the spool has been replayed");
        }
    }
}

fn record_of(publication: &Publication, now: u64) -> Record<'_> {
    let messages = publication.messages.iter().map(|message| Message {
        token: message.token,
        ttl: message.ttl,
        expires_at: message
            .ttl
            .map(|ttl| now.saturating_add(ttl.saturating_mul(1_000_000))),
        stored_part: &message.stored_part,
    });
    Record {
        topic: &publication.topic,
        messages: messages.collect(),
    }
}

/// What of a record has not expired.
fn publication_of(record: OwnedRecord, since: u64, now: u64) -> Option<Publication> {
    let messages = record.messages.into_iter().filter_map(|message| {
        let left = message.expires_at.map(|at| at.saturating_sub(now));
        let ttl = left.map(|left| left.div_ceil(1_000_000));
        (ttl != Some(0)).then_some(Outgoing {
            token: message.token,
            ttl,
            stored_part: message.stored_part,
        })
    });
    let messages: SmallVec<[Outgoing; 1]> = messages.collect();
    Some(Publication {
        topic: TopicName::parse(&record.topic).ok()?,
        messages,
        sent_since: Some(since),
    })
    .filter(|publication| !publication.messages.is_empty())
}
