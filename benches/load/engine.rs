//! One thread that publishes and receives over any number of connections, and checks what comes.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use mio::{Events, Interest, Poll, Token};

use crate::Outcome;
use crate::histogram::Histogram;
use crate::publisher::Publisher;
use crate::subscriber::{Mode, Subscriber, Timing};
use crate::wire::PublishTemplate;

/// Read at most so much at once.
const SCRATCH_BYTES: usize = 256 * 1024;
/// A round fails when nothing has come for so long although something is due.
const STALL_TIMEOUT: Duration = Duration::from_secs(20);
/// The longest sleep, so that ends and stalls are noticed.
const TICK: Duration = Duration::from_millis(20);

/// What is published, and who receives it.
#[derive(Clone, Debug)]
pub(crate) struct Workload {
    pub(crate) publishers: usize,
    /// Publisher `p` uses topic `p`, `p + publishers`, …, or shares topic `p % topics`.
    pub(crate) topics: usize,
    /// Subscriber `s` subscribes to topic `s % topics`.
    pub(crate) subscribers: usize,
    /// How they have their messages; only one may acknowledge, since all have one name.
    pub(crate) mode: Mode,
    /// Messages in a request; more than one makes it a bulk request.
    pub(crate) messages: usize,
    /// Size of a message as published, in bytes.
    pub(crate) message_bytes: usize,
    /// What each request is sent with.
    pub(crate) credential: Option<&'static str>,
    /// Requests without an answer on one connection.
    pub(crate) depth: usize,
    /// Messages published and not yet delivered to all, at most.
    pub(crate) window: Option<u64>,
    /// Messages a second, in place of as many as go.
    pub(crate) rate: Option<u64>,
    /// Delivery latency is taken of one message in so many.
    pub(crate) sample: u64,
}

impl Default for Workload {
    fn default() -> Self {
        Self {
            publishers: 1,
            topics: 1,
            subscribers: 0,
            mode: Mode::default(),
            messages: 1,
            message_bytes: 256,
            credential: None,
            depth: 1,
            window: None,
            rate: None,
            sample: 1,
        }
    }
}

/// What one round has done. Everything published was answered and delivered when it ended.
pub(crate) struct Round {
    pub(crate) published: u64,
    pub(crate) delivered: u64,
    pub(crate) elapsed: Duration,
    /// From queueing a request to its answer.
    pub(crate) answers: Histogram,
    /// From queueing a request to the delivery of its message.
    pub(crate) deliveries: Histogram,
}

pub(crate) struct Engine {
    poll: Poll,
    workload: Workload,
    publishers: Vec<Publisher>,
    subscribers: Vec<Subscriber>,
    /// Subscribers of each topic.
    audience: Vec<u64>,
    /// The publisher whose turn it is when not all may go on.
    turn: usize,
    start: Instant,
    scratch: Vec<u8>,
    /// Messages queued, answered, expected to be delivered, delivered: since the start.
    queued: u64,
    settled: u64,
    expected: u64,
    delivered: u64,
}

impl Engine {
    /// Opens all connections: first publishers, then subscribers.
    pub(crate) fn connect(address: SocketAddr, workload: &Workload) -> Outcome<Self> {
        let mut engine = Self {
            poll: Poll::new()?,
            workload: workload.clone(),
            publishers: Vec::new(),
            subscribers: Vec::new(),
            audience: vec![0; workload.topics],
            turn: 0,
            start: Instant::now(),
            scratch: vec![0; SCRATCH_BYTES],
            queued: 0,
            settled: 0,
            expected: 0,
            delivered: 0,
        };
        for index in 0..workload.publishers {
            engine.add_publisher(address, index)?;
        }
        for index in 0..workload.subscribers {
            engine.add_subscriber(address, index)?;
        }
        Ok(engine)
    }

    fn add_publisher(&mut self, address: SocketAddr, index: usize) -> Outcome<()> {
        let Workload {
            publishers,
            topics,
            messages,
            message_bytes,
            credential,
            ..
        } = self.workload;
        let template = PublishTemplate::new(messages, message_bytes, credential);
        let own = match topics <= publishers {
            true => vec![index % topics],
            false => (index..topics).step_by(publishers).collect(),
        };
        let mut publisher = Publisher::connect(address, index, own, template)?;
        let stream = publisher.socket().stream();
        self.poll.registry().register(
            stream,
            Token(index),
            Interest::READABLE | Interest::WRITABLE,
        )?;
        self.publishers.push(publisher);
        Ok(())
    }

    fn add_subscriber(&mut self, address: SocketAddr, index: usize) -> Outcome<()> {
        let topics = self.workload.topics;
        let senders = self.workload.publishers.div_ceil(topics);
        let mut subscriber =
            Subscriber::connect(address, index % topics, topics, senders, self.workload.mode)?;
        let token = Token(self.publishers.len() + index);
        let stream = subscriber.socket().stream();
        self.poll
            .registry()
            .register(stream, token, Interest::READABLE)?;
        self.subscribers.push(subscriber);
        self.audience[index % topics] += 1;
        Ok(())
    }

    /// Publishes for `duration`, then waits until everything is answered and delivered.
    ///
    /// # Errors
    /// A refused publish, a lost, repeated or misplaced delivery, a closed connection, a stall.
    pub(crate) fn run(&mut self, duration: Duration) -> Outcome<Round> {
        let begin = Instant::now();
        let (queued, delivered) = (self.queued, self.delivered);
        let mut round = Round {
            published: 0,
            delivered: 0,
            elapsed: Duration::ZERO,
            answers: Histogram::new(),
            deliveries: Histogram::new(),
        };
        let mut events = Events::with_capacity(1024);
        let mut progress = (0, begin);
        loop {
            let elapsed = begin.elapsed();
            let publishing = elapsed < duration;
            if publishing {
                let allowed = self
                    .workload
                    .rate
                    .map(|rate| queued + (elapsed.as_secs_f64() * rate as f64) as u64);
                self.publish(allowed.unwrap_or(u64::MAX))?;
            } else if self.is_settled() {
                break;
            }
            self.poll.poll(&mut events, Some(self.sleep(publishing)))?;
            for event in &events {
                self.handle(event, publishing, &mut round)?;
            }
            progress = self.check_progress(progress)?;
        }
        round.elapsed = begin.elapsed();
        round.published = self.queued - queued;
        round.delivered = self.delivered - delivered;
        Ok(round)
    }

    fn is_settled(&self) -> bool {
        self.settled == self.queued && self.delivered == self.expected
    }

    fn sleep(&self, publishing: bool) -> Duration {
        match self.workload.rate {
            Some(_) if publishing => Duration::from_millis(1),
            _ => TICK,
        }
    }

    /// One request on each publisher in turn, as long as depth, window and rate (`allowed` messages since the
    /// start) let some publisher go on.
    fn publish(&mut self, allowed: u64) -> Outcome<()> {
        let mut refused = 0;
        while refused < self.publishers.len() {
            if self.may_queue(self.turn, allowed) {
                self.queue(self.turn);
                refused = 0;
            } else {
                refused += 1;
            }
            self.turn = (self.turn + 1) % self.publishers.len();
        }
        for publisher in &mut self.publishers {
            publisher.socket().flush()?;
        }
        Ok(())
    }

    fn may_queue(&self, index: usize, allowed: u64) -> bool {
        let subscribers = self.workload.subscribers as u64;
        let window = self
            .workload
            .window
            .map_or(u64::MAX, |window| window * subscribers);
        self.publishers[index].in_flight() < self.workload.depth
            && self.queued < allowed
            && self.expected - self.delivered < window
    }

    fn queue(&mut self, index: usize) {
        let topic = self.publishers[index].queue(self.start);
        let messages = self.workload.messages as u64;
        self.queued += messages;
        self.expected += messages * self.audience[topic];
    }

    fn handle(
        &mut self,
        event: &mio::event::Event,
        publishing: bool,
        round: &mut Round,
    ) -> Outcome<()> {
        let Token(index) = event.token();
        if index >= self.publishers.len() {
            let subscriber = &mut self.subscribers[index - self.publishers.len()];
            let mut timing = Timing {
                start: self.start,
                sample: self.workload.sample,
                latencies: &mut round.deliveries,
            };
            self.delivered += subscriber.receive(&mut self.scratch, &mut timing)?;
            return Ok(());
        }
        let publisher = &mut self.publishers[index];
        if event.is_readable() {
            let settled = publisher.receive(&mut self.scratch, &mut round.answers)?;
            self.settled += settled * self.workload.messages as u64;
            // A closed loop goes on at once; a window or a rate is looked at once per turn.
            let free = self.workload.window.is_none() && self.workload.rate.is_none();
            if settled > 0 && free && publishing {
                self.queue(index);
            }
        }
        self.publishers[index].socket().flush()
    }

    /// Fails when nothing has moved for too long. `last` is the sum of all counts and when it changed.
    fn check_progress(&self, last: (u64, Instant)) -> Outcome<(u64, Instant)> {
        let done = self.settled + self.delivered + self.queued;
        if done != last.0 {
            return Ok((done, Instant::now()));
        }
        if last.1.elapsed() > STALL_TIMEOUT {
            let unanswered = self.queued - self.settled;
            let missing = self.expected - self.delivered;
            return Err(
                format!("{unanswered} publishes unanswered, {missing} deliveries lost").into(),
            );
        }
        Ok(last)
    }
}
