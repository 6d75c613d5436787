//! One thread that publishes and receives over any number of connections, and checks what comes.

mod losses;

use std::io::ErrorKind;
use std::time::{Duration, Instant};

use mio::{Events, Interest, Poll, Token};

use super::checker::Faults;
use super::histogram::Histogram;
use super::pacer::Pacer;
use super::publisher::Publisher;
use super::schedule::Schedule;
use super::subscriber::{Subscriber, Timing};
use super::target::Target;
use super::watch::{Progress, Watch};
use super::wire::PublishTemplate;
use super::workload::{Round, Span, Workload};
use super::{Failure, Outcome};

/// Read at most so much at once.
const SCRATCH_BYTES: usize = 256 * 1024;
/// How long after its end a load at a rate may go on with what was due before.
const CATCH_UP_MAX: Duration = Duration::from_secs(5);
/// A server that has refused so many messages and accepted none will not accept the next one.
const REFUSALS_MAX: u64 = 100;
/// How long subscribers read on when all has come: what comes twice may come behind the last one.
const READ_ON: Duration = Duration::from_millis(50);
/// The longest sleep, so that ends and stalls are noticed.
const TICK: Duration = Duration::from_millis(20);
const PACER: Token = Token(usize::MAX);

/// The connections, and what goes over them.
pub struct Engine<'a> {
    target: &'a Target,
    poll: Poll,
    pacer: Pacer,
    workload: Workload,
    /// None where the server has ended one.
    publishers: Vec<Option<Publisher>>,
    subscribers: Vec<Option<Subscriber>>,
    /// Live subscribers of each topic.
    audience: Vec<u64>,
    /// Messages queued to each topic and not refused.
    queued_to: Vec<u64>,
    /// The publisher whose turn it is when not all may go on.
    turn: usize,
    start: Instant,
    scratch: Vec<u8>,
    /// Messages queued, settled in any way, accepted: since the start.
    queued: u64,
    settled: u64,
    accepted: u64,
    /// Deliveries expected, come or given up: since the start.
    expected: u64,
    delivered: u64,
    /// Deliveries given up.
    given_up: u64,
    faults: Faults,
    /// From connecting to the server's `subscribed`, of each subscriber.
    opening: Histogram,
}

impl<'a> Engine<'a> {
    /// Opens all connections: first publishers, then subscribers.
    ///
    /// # Errors
    /// When one cannot be opened.
    pub fn connect(target: &'a Target, workload: &Workload) -> Outcome<Self> {
        Watch::unwatched(|watch| {
            let mut engine = Self::new(target, workload)?;
            engine.open_publishers()?;
            engine.open_subscribers(workload.subscribers, watch)?;
            Ok(engine)
        })
    }

    /// An engine without connections.
    ///
    /// # Errors
    /// Those of epoll_create(2) and timerfd_create(2).
    pub fn new(target: &'a Target, workload: &Workload) -> Outcome<Self> {
        let poll = Poll::new()?;
        Ok(Self {
            target,
            pacer: Pacer::new(poll.registry(), PACER)?,
            poll,
            workload: workload.clone(),
            publishers: Vec::new(),
            subscribers: Vec::new(),
            audience: vec![0; workload.topics],
            queued_to: vec![0; workload.topics],
            turn: 0,
            start: Instant::now(),
            scratch: vec![0; SCRATCH_BYTES],
            queued: 0,
            settled: 0,
            accepted: 0,
            expected: 0,
            delivered: 0,
            given_up: 0,
            faults: Faults::default(),
            opening: Histogram::new(),
        })
    }

    /// Opens the publishers.
    ///
    /// # Errors
    /// When one cannot be opened.
    pub fn open_publishers(&mut self) -> Outcome<()> {
        (0..self.workload.publishers).try_for_each(|index| self.add_publisher(index))
    }

    fn add_publisher(&mut self, index: usize) -> Outcome<()> {
        let Workload {
            publishers,
            topics,
            messages,
            message_bytes,
            ..
        } = self.workload;
        let template = PublishTemplate::new(self.target, messages, message_bytes);
        let own = match topics <= publishers {
            true => vec![index % topics],
            false => (index..topics).step_by(publishers).collect(),
        };
        let mut publisher = Publisher::connect(self.target, index, own, template)?;
        self.register(&mut publisher, index)?;
        self.publishers.push(Some(publisher));
        Ok(())
    }

    fn register(&self, publisher: &mut Publisher, index: usize) -> Outcome<()> {
        let both = Interest::READABLE | Interest::WRITABLE;
        let stream = publisher.socket().stream();
        Ok(self.poll.registry().register(stream, Token(index), both)?)
    }

    /// Opens so many more subscribers, fewer if it is told to stop.
    ///
    /// # Errors
    /// When one cannot be opened.
    pub fn open_subscribers(&mut self, count: usize, watch: &mut Watch<'_>) -> Outcome<()> {
        let of = self
            .workload
            .subscribers
            .max(self.subscribers.len() + count);
        for _ in 0..count {
            let done = self.subscribers.len();
            watch.tell(|| Progress::Opening { done, of });
            if watch.is_stopped() {
                break;
            }
            let refused = |error: Failure| format!("connection {} of {of}: {error}", done + 1);
            self.add_subscriber(done).map_err(refused)?;
        }
        Ok(())
    }

    fn add_subscriber(&mut self, index: usize) -> Outcome<()> {
        let topics = self.workload.topics;
        let senders = self.workload.publishers.div_ceil(topics);
        let begin = Instant::now();
        let mut subscriber = Subscriber::connect(
            self.target,
            index % topics,
            topics,
            senders,
            self.workload.mode,
        )?;
        self.opening.record(begin.elapsed());
        let token = Token(self.workload.publishers + index);
        let stream = subscriber.socket().stream();
        self.poll
            .registry()
            .register(stream, token, Interest::READABLE | Interest::WRITABLE)?;
        self.subscribers.push(Some(subscriber));
        self.audience[index % topics] += 1;
        Ok(())
    }

    /// Subscribers that were opened.
    pub fn subscribers(&self) -> usize {
        self.subscribers.len()
    }

    /// How long each of them took to open.
    pub fn opening(&self) -> &Histogram {
        &self.opening
    }

    /// Publishes for `duration`, then waits until everything is answered and delivered.
    ///
    /// # Errors
    /// Those of [`measure`](Self::measure), and any fault.
    pub fn run(&mut self, duration: Duration) -> Outcome<Round> {
        Watch::unwatched(|watch| self.measure(Span::Time(duration), watch)?.clean())
    }

    /// Does what `span` says, then waits until everything is answered and delivered, or nothing comes any more.
    ///
    /// # Errors
    /// Those of the selector; what the server does is told by the round.
    pub fn measure(&mut self, span: Span, watch: &mut Watch<'_>) -> Outcome<Round> {
        let begin = Instant::now();
        let (queued, accepted) = (self.queued, self.accepted);
        let (delivered, given_up) = (self.delivered, self.given_up);
        let mut round = Round {
            published: 0,
            delivered: 0,
            unsent: 0,
            elapsed: Duration::ZERO,
            answers: Histogram::new(),
            deliveries: Histogram::new(),
            faults: Faults::default(),
        };
        let mut schedule = self.schedule(begin, span);
        let mut events = Events::with_capacity(1024);
        let mut progress = (0, begin);
        let mut publishing = true;
        loop {
            publishing = publishing
                && !watch.is_stopped()
                && !self.is_hopeless()
                && match (span, &schedule) {
                    (Span::Messages(count), _) => self.queued - queued < count,
                    (Span::Silence(duration), _) => begin.elapsed() < duration,
                    (Span::Time(duration), None) => begin.elapsed() < duration,
                    (Span::Time(duration), Some(schedule)) => {
                        !schedule.is_over() && begin.elapsed() < duration + CATCH_UP_MAX
                    }
                };
            if publishing {
                let more = match span {
                    Span::Time(_) => u64::MAX,
                    Span::Messages(count) => queued + count,
                    Span::Silence(_) => 0,
                };
                self.publish(schedule.as_mut(), more);
            } else if self.is_settled() {
                break;
            }
            if let (true, Some(schedule)) = (publishing, &schedule) {
                self.pace(schedule)?;
            }
            match self.poll.poll(&mut events, Some(TICK)) {
                Err(error) if error.kind() != ErrorKind::Interrupted => return Err(error.into()),
                _ => {}
            }
            let free = publishing && matches!(span, Span::Time(_));
            for event in &events {
                self.handle(event, free, &mut round);
            }
            let news = self.progress(begin, accepted, delivered, publishing);
            watch.tell(|| news);
            if self.has_stalled(&mut progress) {
                self.give_up();
            }
        }
        round.elapsed = begin.elapsed();
        self.read_on(&mut events, &mut round)?;
        round.published = self.accepted - accepted;
        round.delivered = (self.delivered - delivered) - (self.given_up - given_up);
        let unsent = schedule.map_or(0, |schedule| schedule.left());
        round.unsent = match watch.is_stopped() || self.is_hopeless() {
            true => 0,
            false => unsent * self.workload.messages as u64,
        };
        round.faults = self.faults.clone();
        Ok(round)
    }

    /// Reads for a moment what nothing is known of.
    fn read_on(&mut self, events: &mut Events, round: &mut Round) -> Outcome<()> {
        let end = Instant::now() + READ_ON;
        while !self.subscribers.is_empty() && Instant::now() < end {
            match self.poll.poll(events, Some(TICK)) {
                Err(error) if error.kind() != ErrorKind::Interrupted => return Err(error.into()),
                _ => {}
            }
            for event in &*events {
                self.handle(event, false, round);
            }
        }
        Ok(())
    }

    fn schedule(&self, begin: Instant, span: Span) -> Option<Schedule> {
        let (Some(rate), Span::Time(duration)) = (self.workload.rate, span) else {
            return None;
        };
        let requests = rate as f64 / self.workload.messages as f64;
        Some(Schedule {
            begin,
            interval: 1.0 / requests,
            sent: 0,
            end: begin + duration,
        })
    }

    /// Wakes when the next request is due, if that is in the future. When it is not, every publisher is busy.
    fn pace(&self, schedule: &Schedule) -> Outcome<()> {
        let wait = schedule.next().saturating_duration_since(Instant::now());
        if !wait.is_zero() {
            self.pacer.wake_after(wait)?;
        }
        Ok(())
    }

    fn progress(
        &self,
        begin: Instant,
        accepted: u64,
        delivered: u64,
        publishing: bool,
    ) -> Progress {
        let unanswered = self.queued - self.settled;
        let undelivered = self.expected.saturating_sub(self.delivered);
        match publishing {
            true => Progress::Running {
                elapsed: begin.elapsed(),
                published: self.accepted - accepted,
                delivered: self.delivered - delivered,
            },
            false => Progress::Settling {
                missing: unanswered + undelivered,
            },
        }
    }

    fn is_settled(&self) -> bool {
        self.settled == self.queued && self.delivered >= self.expected
    }

    /// Whether no message will be accepted any more, or nobody is there to receive one.
    fn is_hopeless(&self) -> bool {
        let is_refused = self.accepted == 0 && self.faults.refused >= REFUSALS_MAX;
        let all_gone = !self.subscribers.is_empty() && self.subscribers.iter().all(Option::is_none);
        let none_left = !self.publishers.is_empty() && self.publishers.iter().all(Option::is_none);
        is_refused || all_gone || none_left
    }

    /// One request on each publisher in turn, as long as depth, window, schedule and `more` (messages since the
    /// start) let some publisher go on.
    fn publish(&mut self, mut schedule: Option<&mut Schedule>, more: u64) {
        let mut skipped = 0;
        while skipped < self.publishers.len() {
            let now = Instant::now();
            let intended = match &schedule {
                None => Some(now),
                Some(schedule) => {
                    let next = schedule.next();
                    (!schedule.is_over() && next <= now).then_some(next)
                }
            };
            let Some(intended) = intended.filter(|_| self.queued < more && self.has_window())
            else {
                break;
            };
            if self.is_free(self.turn) {
                self.queue(self.turn, intended);
                if let Some(schedule) = &mut schedule {
                    schedule.sent += 1;
                }
                skipped = 0;
            } else {
                skipped += 1;
            }
            self.turn = (self.turn + 1) % self.publishers.len();
        }
        for index in 0..self.publishers.len() {
            self.flush(index);
        }
    }

    fn is_free(&self, index: usize) -> bool {
        let publisher = &self.publishers[index];
        publisher
            .as_ref()
            .is_some_and(|it| it.in_flight() < self.workload.depth)
    }

    fn has_window(&self) -> bool {
        let window = self.workload.window.unwrap_or(u64::MAX);
        let window = window.saturating_mul(self.subscribers.len() as u64);
        self.subscribers.is_empty() || self.expected.saturating_sub(self.delivered) < window
    }

    fn queue(&mut self, index: usize, intended: Instant) {
        let Some(publisher) = &mut self.publishers[index] else {
            return;
        };
        let topic = publisher.queue(self.start, intended);
        let messages = self.workload.messages as u64;
        self.queued += messages;
        self.queued_to[topic] += messages;
        self.expected += messages * self.audience[topic];
    }

    fn flush(&mut self, index: usize) {
        if let Some(publisher) = &mut self.publishers[index]
            && let Err(error) = publisher.socket().flush()
        {
            self.bury_publisher(index, &error);
        }
    }

    fn handle(&mut self, event: &mio::event::Event, free: bool, round: &mut Round) {
        let Token(index) = event.token();
        if event.token() == PACER {
            return;
        }
        if let Some(index) = index.checked_sub(self.workload.publishers) {
            self.receive(index, event, round);
            return;
        }
        if event.is_readable() {
            let mut accepted = self.receive_answers(index, round);
            // The end that came with the last bytes is no event of its own.
            if event.is_read_closed() {
                accepted |= self.receive_answers(index, round);
            }
            // A closed loop goes on at once; a window or a rate is looked at once per turn.
            let free = free && self.workload.window.is_none() && self.workload.rate.is_none();
            if accepted && free {
                self.queue(index, Instant::now());
            }
        }
        self.flush(index);
    }

    /// Reads the answers to one publisher; returns whether a request was accepted.
    fn receive_answers(&mut self, index: usize, round: &mut Round) -> bool {
        let Some(publisher) = &mut self.publishers[index] else {
            return false;
        };
        let mut any = false;
        let received = publisher.receive(&mut self.scratch, |answer| {
            self.settled += answer.accepted + answer.refused;
            self.accepted += answer.accepted;
            self.faults.refused += answer.refused;
            self.queued_to[answer.topic] -= answer.refused;
            self.expected -= answer.refused * self.audience[answer.topic];
            if let Some(refusal) = answer.refusal {
                self.faults.note(|| refusal);
            }
            round.answers.record(answer.latency);
            any |= answer.accepted > 0;
        });
        if let Err(error) = received {
            self.bury_publisher(index, &error);
        }
        any
    }

    /// Reads what has come to one subscriber.
    fn receive(&mut self, index: usize, event: &mio::event::Event, round: &mut Round) {
        let Some(subscriber) = &mut self.subscribers[index] else {
            return;
        };
        let before = subscriber.count();
        let mut timing = Timing {
            start: self.start,
            sample: self.workload.sample,
            latencies: &mut round.deliveries,
            faults: &mut self.faults,
        };
        let mut result = Ok(());
        if event.is_writable() {
            result = subscriber.socket().flush();
        }
        // The end that came with the last bytes is no event of its own.
        for _ in 0..1 + usize::from(event.is_read_closed()) {
            if event.is_readable() && result.is_ok() {
                result = subscriber.receive(self.target, &mut self.scratch, &mut timing);
            }
        }
        self.delivered += subscriber.count() - before;
        if let Err(error) = result {
            self.bury_subscriber(index, &error);
        }
    }
}
