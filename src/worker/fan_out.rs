//! Delivering a topic's news to its live subscribers, a slice at a time.
//!
//! A job is the fan-out of one batch of frames: who is next, and who was the last to join before
//! it began. Between two slices the worker looks at its sockets again, so that a large fan-out
//! keeps nobody waiting; news that comes meanwhile waits for the next job and makes that one
//! deeper.

use std::collections::VecDeque;
use std::io::{self, IoSlice};

use smallvec::SmallVec;

use super::Worker;
use super::connection::{Accepted, Connection};
use super::slots::ConnectionKey;
use super::subscriptions::{Standing, Subscribed};
use crate::session::{CloseReason, Session};
use crate::topic::{
    Batch, DeliveryKind, Gap, GapReason, LocalTopic, Message, Place, TopicName, TopicStore,
};

/// Writes of one turn, over all jobs and catch-ups.
const WRITES_PER_TURN: usize = 256;
/// Writes that one job makes before the next has its turn.
const WRITES_PER_JOB: usize = 64;
/// Subscribers that one job looks at before the next has its turn, whether they are written to or not.
const LOOKS_PER_JOB: u32 = 4096;
/// Messages of one job.
pub(super) const JOB_MESSAGES_MAX: usize = 512;
/// Jobs kept for the next topics, so that a fan-out allocates nothing.
const SPARE_JOBS_MAX: usize = 64;

/// One batch on its way to all live subscribers.
#[derive(Default, Debug)]
pub(super) struct Job {
    frames: Vec<Message>,
    /// Told before the frames, to those who have not read past it.
    gap: Option<LiveGap>,
    /// What had been read before it.
    before: Place,
    /// Who reads on from before this sequence has been left behind by the log.
    trimmed_to: u64,
    next: u32,
    /// Subscribers from this place on have joined since.
    end: u32,
}

impl Job {
    /// Behind which place the messages stand that a live subscriber is still to be given.
    pub(super) fn owes(&self, index: u32) -> Option<Place> {
        (self.next..self.end)
            .contains(&index)
            .then_some(self.before)
    }
}

/// Live subscribers were overtaken by eviction.
#[derive(Debug)]
struct LiveGap {
    lost: Place,
    told: Option<(TopicName, Gap)>,
}

/// What waits for a turn.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Work {
    /// A topic with news or a job.
    Topic(LocalTopic),
    /// A connection that reads on by itself, or asks for messages.
    Connection(ConnectionKey),
}

/// What waits for a turn, in order.
pub(super) type WorkQueue = VecDeque<Work>;

impl Worker {
    /// Notes that a topic has news.
    pub(super) fn has_news(&mut self, local: LocalTopic) {
        let Some(topic) = self.topics.get_mut(local) else {
            return;
        };
        topic.has_news = true;
        if !std::mem::replace(&mut topic.is_queued, true) {
            self.work.push_back(Work::Topic(local));
        }
    }

    /// One turn: a slice of each fan-out and catch-up, round-robin.
    pub(super) fn fan_out(&mut self) {
        let mut writes = WRITES_PER_TURN;
        while writes > 0
            && let Some(work) = self.work.pop_front()
        {
            let made = match work {
                Work::Topic(local) => self.work_on_topic(local, writes.min(WRITES_PER_JOB)),
                Work::Connection(key) => self.take_turn(key),
            };
            writes = writes.saturating_sub(made.max(1));
        }
        while let Some(key) = self.told.pop() {
            self.schedule_turn(key);
        }
        // Not while a job runs: its subscribers must stay where they are.
        while let Some(key) = self.lagging.pop() {
            let connection = self.connections.get(key).filter(|connection| {
                let is_subscriber = matches!(
                    connection.session,
                    Session::WebSocket(_) | Session::Stream(_)
                );
                is_subscriber && self.wants_disconnect(connection)
            });
            if connection.is_some() {
                self.close_lagging(key, CloseReason::Lagging);
            }
        }
    }

    fn work_on_topic(&mut self, local: LocalTopic, most: usize) -> usize {
        let Some(topic) = self.topics.get_mut(local) else {
            return 0;
        };
        let Some(mut job) = topic.job.take().or_else(|| self.begin_job(local)) else {
            self.put_back(local);
            return 0;
        };
        let writes = self.run_job(local, &mut job, most);
        if job.next < job.end {
            if let Some(topic) = self.topics.get_mut(local) {
                topic.job = Some(job);
            }
        } else {
            self.end_job(local, job);
        }
        self.put_back(local);
        writes
    }

    /// Queues a topic again that has a job or news left.
    fn put_back(&mut self, local: LocalTopic) {
        let Some(topic) = self.topics.get_mut(local) else {
            return;
        };
        topic.is_queued = topic.job.is_some() || topic.has_news;
        if topic.is_queued {
            self.work.push_back(Work::Topic(local));
        }
    }

    /// Reads the log, which also clears the worker's mark there: the next message brings news again.
    fn begin_job(&mut self, local: LocalTopic) -> Option<Box<Job>> {
        let topic = self.topics.get_mut(local)?;
        if !std::mem::take(&mut topic.has_news) {
            return None;
        }
        // Without live subscribers nothing is to be read, but the worker moves on all the same, and
        // looks who is left behind.
        let batch = topic.has_live().then_some(Batch {
            messages_max: JOB_MESSAGES_MAX,
            bytes_max: self.limits.outbox_bytes_max / 2,
        });
        let mut job = self.spare_jobs.pop().unwrap_or_default();
        let store = &self.shared.store;
        let reading =
            store.take_news(topic.handle, self.index, batch, self.now, &mut job.frames)?;
        job.before = topic.advance(reading.place);
        job.trimmed_to = reading.trimmed_to;
        topic.has_news = reading.more;
        let lost = reading.lost.filter(|_| batch.is_some());
        job.gap = lost.map(|lost| LiveGap::new(store, topic, job.before, lost));
        let has_something = !job.frames.is_empty() || job.gap.is_some();
        if batch.is_some() && !has_something && !topic.has_asking() {
            self.spare_jobs.push(job);
            return None;
        }
        job.next = 0;
        job.end = topic.places() as u32;
        if topic.meter.is_none() {
            topic.meter = store.meter(topic.handle);
        }
        Some(job)
    }

    /// Makes at most `most` writes of a job, and says how many it made.
    fn run_job(&mut self, local: LocalTopic, job: &mut Job, most: usize) -> usize {
        let Some(topic) = self.topics.get_mut(local) else {
            return 0;
        };
        let slices: SmallVec<[IoSlice<'_>; 64]> = job
            .frames
            .iter()
            .map(|message| IoSlice::new(message.frame()))
            .collect();
        let batch = FrameBatch {
            job,
            slices: &slices,
            bytes_max: self.limits.outbox_bytes_max,
        };
        let has_streams = self.shared.valkey.is_some();
        let (mut next, mut writes) = (job.next, 0);
        let mut delivered = [0; DeliveryKind::ALL.len()];
        let (mut bytes, mut sent) = (0, 0);
        let last = job.end.min(job.next.saturating_add(LOOKS_PER_JOB));
        while next < last && writes < most {
            let subscriber = topic.subscriber(next);
            next += 1;
            let key = subscriber.key;
            if subscriber.standing != Standing::Live {
                if subscriber.is_lost(job.trimmed_to) && has_streams {
                    let place = subscriber.place();
                    subscriber.stand(Standing::Cold, place);
                    self.told.push(key);
                } else if subscriber.is_lost(job.trimmed_to) {
                    self.lagging.push(key);
                } else if matches!(subscriber.standing, Standing::Asking | Standing::Cold) {
                    self.seats.have_news(key, local);
                    self.told.push(key);
                }
                continue;
            }
            let Some(connection) = self.connections.get_mut(key) else {
                continue;
            };
            if connection.marks.is_doomed {
                continue;
            }
            if has_streams && batch.misses(subscriber.place()) {
                // What the log has lost the stream may still have.
                let place = further(subscriber.place(), job.before);
                subscriber.stand(Standing::Cold, place);
                connection.behind += 1;
                self.told.push(key);
                continue;
            }
            writes += 1;
            match batch.deliver(connection, subscriber.place(), self.now.monotonic_micros) {
                Ok(delivery) => {
                    delivered[connection.delivery_kind() as usize] += delivery.frames as u64;
                    bytes += delivery.bytes as u64;
                    sent += delivery.sent as u64;
                    if delivery.told_gap {
                        self.metrics.gap(GapReason::Trimmed);
                    }
                    if let Some(place) = delivery.stopped_at {
                        subscriber.stand(Standing::Behind, place);
                        connection.behind += 1;
                        self.metrics.subscriber_fell_behind();
                    }
                    let waits = connection.has_outbox() && !connection.marks.is_touched;
                    if waits {
                        connection.marks.is_touched = true;
                        self.touched.push(key);
                    }
                }
                Err(_) => Worker::doom(&mut self.doomed, connection, key, CloseReason::Gone),
            }
        }
        drop(slices);
        job.next = next;
        let in_all = delivered.iter().sum();
        self.metrics.delivered(in_all, bytes);
        self.metrics.bytes_sent(sent);
        if let Some(meter) = &topic.meter {
            for (kind, delivered) in DeliveryKind::ALL.into_iter().zip(delivered) {
                if delivered > 0 {
                    meter.delivered(kind, delivered);
                }
            }
        }
        if let Some(oldest) = job.frames.first() {
            let since = self
                .clock
                .now()
                .monotonic_micros
                .saturating_sub(oldest.stored_at());
            self.metrics.publish_to_delivery(since, in_all);
        }
        writes
    }

    /// Counts deliveries of a topic.
    pub(super) fn count_delivered(&mut self, local: LocalTopic, kind: DeliveryKind, messages: u64) {
        let Some(topic) = self.topics.get_mut(local).filter(|_| messages > 0) else {
            return;
        };
        if topic.meter.is_none() {
            topic.meter = self.shared.store.meter(topic.handle);
        }
        if let Some(meter) = &topic.meter {
            meter.delivered(kind, messages);
        }
    }

    /// Takes the tombstones away that subscribers left during the job, and with the last of them
    /// the topic.
    fn end_job(&mut self, local: LocalTopic, mut job: Box<Job>) {
        let mut below = u32::MAX;
        while let Some((index, moved)) = self.topics.bury(local, below) {
            below = index;
            if let Some(moved) = moved
                && let Some(connection) = self.connections.get_mut(moved.key)
            {
                connection.moved(&moved);
            }
        }
        self.drop_topic_if_unused(local);
        job.frames.clear();
        job.gap = None;
        if self.spare_jobs.len() < SPARE_JOBS_MAX {
            // One burst must not leave its room behind for ever.
            job.frames.shrink_to(JOB_MESSAGES_MAX);
            self.spare_jobs.push(job);
        }
    }
}

/// A job's frames, ready to be written.
struct FrameBatch<'a> {
    job: &'a Job,
    slices: &'a [IoSlice<'a>],
    bytes_max: usize,
}

/// What became of a batch at one subscriber.
#[derive(Default)]
struct Delivery {
    /// Frames that the socket or the outbox took.
    frames: usize,
    /// Their bytes.
    bytes: usize,
    /// Bytes that the socket took at once.
    sent: usize,
    /// It was told of a gap.
    told_gap: bool,
    /// Behind which place it reads on by itself, when the outbox is at its bound.
    stopped_at: Option<Place>,
}

impl FrameBatch<'_> {
    /// Whether a subscriber that joined at a place was overtaken by eviction.
    fn misses(&self, joined: Place) -> bool {
        let gap = self.job.gap.as_ref();
        gap.is_some_and(|gap| joined.sequence < gap.lost.sequence)
    }

    fn deliver(
        &self,
        connection: &mut Connection,
        joined: Place,
        now: u64,
    ) -> io::Result<Delivery> {
        let frames = &self.job.frames[..];
        let known = frames.partition_point(|frame| frame.sequence() <= joined.sequence);
        let mut delivery = Delivery::default();
        let mut direct = connection.takes_frames()
            && !connection.has_outbox()
            && connection.subscriptions.len() == 1;
        let mut before = further(joined, self.job.before);
        if let Some(gap) = self
            .job
            .gap
            .as_ref()
            .filter(|gap| joined.sequence < gap.lost.sequence)
        {
            if let Some((name, gap)) = &gap.told {
                connection.queue_gap(name, gap, now);
            }
            before = further(before, gap.lost);
            direct = false;
            delivery.told_gap = true;
        }
        let fresh = &frames[known..];
        if fresh.is_empty() {
            return Ok(delivery);
        }
        let (sent, accepted) = if direct {
            connection.write(fresh, &self.slices[known..], self.bytes_max, now)?
        } else {
            self.queue(connection, fresh, now)?
        };
        delivery.sent = sent;
        delivery.frames = match accepted {
            Accepted::All => fresh.len(),
            Accepted::First(count) => count,
        };
        let taken = known..known + delivery.frames;
        delivery.bytes = self.slices[taken.clone()].iter().map(|it| it.len()).sum();
        if accepted != Accepted::All {
            let last = frames[..taken.end].last().map(place_of);
            delivery.stopped_at = Some(last.unwrap_or(before));
        }
        Ok(delivery)
    }

    /// Queues frames, to be flushed together with those of other topics. An outbox that these have
    /// filled is flushed first: nobody is slow before the socket says so.
    fn queue(
        &self,
        connection: &mut Connection,
        frames: &[Message],
        now: u64,
    ) -> io::Result<(usize, Accepted)> {
        let accepted = connection.queue(frames, self.bytes_max, now);
        let Accepted::First(count) = accepted else {
            return Ok((0, accepted));
        };
        let bytes = connection.flush(now)?.bytes;
        if bytes == 0 {
            return Ok((0, accepted));
        }
        let accepted = match connection.queue(&frames[count..], self.bytes_max, now) {
            Accepted::All => Accepted::All,
            Accepted::First(more) => Accepted::First(count + more),
        };
        Ok((bytes, accepted))
    }
}

impl LiveGap {
    fn new(store: &TopicStore, topic: &Subscribed, before: Place, lost: Place) -> LiveGap {
        let told = store.gap(topic.handle, before, lost, GapReason::Trimmed);
        LiveGap { lost, told }
    }
}

fn further(one: Place, other: Place) -> Place {
    if one.sequence > other.sequence {
        one
    } else {
        other
    }
}

fn place_of(message: &Message) -> Place {
    Place {
        sequence: message.sequence(),
        position: message.position(),
    }
}
