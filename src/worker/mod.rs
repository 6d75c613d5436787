//! The threads that serve clients: each owns its selector, its listener and its connections.
//!
//! ```text
//!   events ─► sessions ─► store ─► ring peers ─► answers ─► a slice of each fan-out ─► flush ─► bury
//!     ▲                     │ news for own topics ──────────────┘
//!     └── mailboxes: news from other workers
//! ```
//!
//! This is the only code that does I/O with clients.

mod accept;
mod access;
mod acks;
mod acks_behind;
mod answers;
mod beat;
mod burying;
mod catch_up;
mod charges;
mod closing;
mod cold;
mod cold_polls;
mod commands;
mod connection;
mod consulting;
mod consumers;
mod consumers_behind;
mod dead_letters;
mod deadlines;
mod desk;
mod drain;
mod entering;
mod epoch;
mod fan_out;
mod holdings;
mod leases;
mod listing;
mod once;
mod outbox;
mod parking;
mod poll_claims;
mod polls;
mod publish;
mod publish_behind;
mod reading;
mod requests;
mod seats;
mod shared;
mod slots;
mod stream;
mod streams;
mod subscriptions;
mod timers;
mod topics;
mod topics_behind;
mod trust;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use mio::event::Event;
use mio::{Events, Poll, Token, Waker};

use crate::access::Gate;
use crate::clock::Clock;
use crate::fanout::{Receiver, Sender};
use crate::metrics::WorkerMetrics;
use crate::moment::{Moment, micros};
use crate::session::{CloseReason, Stored};
use crate::topic::{Claims, Epoch, LocalTopic, Message, Outcome, WorkerIndex};
use crate::valkey::Mail;

use accept::Acceptor;
use access::Hearing;
use answers::Answers;
use charges::Exchange;
use connection::Connection;
use deadlines::Deadlines;
use desk::Desk;
use drain::Drain;
use fan_out::{Job, WorkQueue};
use holdings::Holdings;
use listing::Listed;
use once::Beginning;
use parking::Parking;
use publish_behind::Tokens;
use seats::Seats;
use slots::{ConnectionKey, Slots};
use subscriptions::Subscriptions;

pub use accept::Listener;
pub use shared::{Lifecycle, Places, Shared, Stage, WorkerState};

/// The token of the waker; connections never have it.
const WAKER: Token = Token(usize::MAX);

/// Events taken from the selector at once.
const EVENTS_PER_TURN: usize = 1024;

/// How a worker reaches the others, by their numbers.
#[derive(Debug)]
pub struct Peers {
    /// Mailboxes to the others; none to itself.
    pub senders: Vec<Option<Sender>>,
    /// Mailboxes from the others.
    pub receivers: Vec<Receiver>,
    /// What ends the others' sleep.
    pub wakers: Arc<[Waker]>,
}

/// Bounds that a worker keeps, as plain values. Times are in microseconds.
#[derive(Clone, Copy, Debug)]
struct Limits {
    outbox_bytes_max: usize,
    subscriptions_max: usize,
    pipeline_max: usize,
    lag_timeout: u64,
    idle_timeout: u64,
}

/// One worker.
#[derive(Debug)]
pub struct Worker {
    index: WorkerIndex,
    shared: Arc<Shared>,
    metrics: Arc<WorkerMetrics>,
    clock: Clock,
    /// When this iteration began.
    now: Moment,
    limits: Limits,
    desk: Desk,

    poll: Poll,
    acceptor: Acceptor,
    peers: Peers,
    /// Workers with new items in their mailboxes, one bit each.
    to_ring: u64,

    connections: Slots<Connection>,
    topics: Subscriptions,
    /// What at-least-once connections sit at.
    seats: Seats,
    /// Polls that wait.
    polls: usize,
    /// Connections to the tier behind memory that there have been, as far as is known.
    connects: u64,
    /// What waits for the tier behind memory.
    parking: Parking,
    tokens: Tokens,
    /// Topics whose names stand in the list behind memory.
    listed: Listed,
    /// The epoch of which positions in this worker are.
    epoch: Epoch,
    /// Repeats of requests that are still under way elsewhere, and when to ask again.
    ask_later: Vec<(ConnectionKey, Box<Beginning>)>,
    next_asking: u64,
    /// Connections whose streams could not be read: to be tried again.
    stalled: Vec<ConnectionKey>,
    mail: Vec<Mail>,
    deadlines: Deadlines,
    next_sweep: u64,
    exchange: Exchange,
    hearing: Hearing,
    holdings: Holdings,
    drain: Option<Drain>,

    /// Topics and connections that wait for a turn in the fan-out.
    work: WorkQueue,
    /// Connections with bytes to flush.
    touched: Vec<ConnectionKey>,
    /// Connections to read again without an event.
    again: Vec<ConnectionKey>,
    /// Connections that were told of news and will ask for it.
    told: Vec<ConnectionKey>,
    /// Connections that the log has left behind.
    lagging: Vec<ConnectionKey>,
    /// Connections to bury.
    doomed: Vec<(ConnectionKey, CloseReason)>,

    answers: Answers,
    outcome: Outcome,
    stored: Vec<Stored>,
    due: Vec<(ConnectionKey, u32)>,
    frames: Vec<Message>,
    claims: Claims,
    #[expect(
        clippy::vec_box,
        reason = "jobs move to topics and back without a new allocation"
    )]
    spare_jobs: Vec<Box<Job>>,
    read_buffer: Vec<u8>,
}

impl Worker {
    /// A worker that will serve `listeners`. `poll` is the selector that the waker of this worker in
    /// `peers` belongs to.
    ///
    /// # Errors
    /// When the selector refuses a listener.
    pub fn new(
        index: WorkerIndex,
        shared: Arc<Shared>,
        poll: Poll,
        listeners: Vec<Listener>,
        peers: Peers,
    ) -> io::Result<Worker> {
        let acceptor = Acceptor::new(listeners, poll.registry())?;
        let now = shared.clock.now();
        let config = &shared.config;
        Ok(Worker {
            index,
            metrics: Arc::clone(&shared.workers[index as usize].metrics),
            clock: shared.clock,
            now,
            limits: Limits {
                outbox_bytes_max: config.outbox_bytes_max,
                subscriptions_max: config.subscriptions_max,
                pipeline_max: config.pipeline_max,
                lag_timeout: micros(config.lag_timeout),
                idle_timeout: micros(config.ws_idle_timeout),
            },
            desk: Desk::new(config, shared.authority.clone().map(Gate::new)),
            poll,
            acceptor,
            peers,
            to_ring: 0,
            connections: Slots::default(),
            topics: Subscriptions::default(),
            seats: Seats::default(),
            polls: 0,
            connects: 0,
            parking: Parking::default(),
            tokens: Tokens::new(fastrand::u64(..)),
            listed: Listed::default(),
            epoch: shared.store.epoch(),
            ask_later: Vec::new(),
            next_asking: u64::MAX,
            stalled: Vec::new(),
            mail: Vec::new(),
            deadlines: Deadlines::new(now.monotonic_micros),
            next_sweep: now.monotonic_micros,
            exchange: Exchange::new(index == 0 && shared.valkey.is_some()),
            hearing: Hearing::new(
                index == 0 && shared.valkey.is_some() && shared.authority.is_some(),
            ),
            holdings: Holdings::default(),
            drain: None,
            work: WorkQueue::default(),
            touched: Vec::new(),
            again: Vec::new(),
            told: Vec::new(),
            lagging: Vec::new(),
            doomed: Vec::new(),
            answers: Answers::default(),
            outcome: Outcome::default(),
            stored: Vec::new(),
            due: Vec::new(),
            frames: Vec::new(),
            claims: Claims::default(),
            spare_jobs: Vec::new(),
            read_buffer: vec![0; reading::READ_BYTES_MAX],
            shared,
        })
    }

    /// Makes the waker of a worker, for its peers and whoever changes the server's stage.
    ///
    /// # Errors
    /// When the system has none left.
    pub fn waker(poll: &Poll) -> io::Result<Waker> {
        Waker::new(poll.registry(), WAKER)
    }

    /// Serves until the server has stopped and the last connection has gone.
    ///
    /// # Errors
    /// When the selector fails.
    pub fn run(mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(EVENTS_PER_TURN);
        while !self.is_finished() {
            self.sleep(&mut events)?;
            for event in &events {
                self.on_event(event);
            }
            self.accept();
            self.read_again();
            self.take_mail();
            self.take_deadlines();
            self.exchange_charges();
            self.hear_revocations();
            self.ask_again();
            self.ring_peers();
            self.send_answers();
            self.fan_out();
            // Polls are answered there, and dead letters published.
            self.ring_peers();
            self.send_answers();
            self.flush_touched();
            self.shed_excess();
            self.bury();
            // What members of a group leave behind is for others.
            self.ring_peers();
        }
        Ok(())
    }

    /// Waits for events: not at all when something is left to do, else until the next deadline, and
    /// only if no mailbox has anything.
    fn sleep(&mut self, events: &mut Events) -> io::Result<()> {
        let began = self.now.monotonic_micros;
        let wait = self.idle_micros();
        let me = &self.shared.workers[self.index as usize];
        let mut timeout = Duration::ZERO;
        if wait > 0 {
            me.doorbell.prepare_to_sleep();
            let is_quiet = self.peers.receivers.iter().all(Receiver::is_empty)
                && self.shared.post.inbox(self.index).is_empty()
                && !me.doorbell.must_look_at_all();
            if is_quiet {
                me.is_asleep();
                timeout = Duration::from_micros(wait);
            }
        }
        self.metrics
            .loop_iteration(self.clock.now().monotonic_micros.saturating_sub(began));
        match self.poll.poll(events, Some(timeout)) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
            Ok(()) | Err(_) => {}
        }
        me.doorbell.wake_up();
        self.now = self.clock.now();
        me.is_awake(self.now.monotonic_micros);
        self.desk.set_time(self.now);
        self.follow_stage();
        self.follow_trust();
        Ok(())
    }

    /// How long there is nothing to do without an event, in microseconds.
    fn idle_micros(&self) -> u64 {
        let is_busy = !self.work.is_empty()
            || !self.again.is_empty()
            || !self.touched.is_empty()
            || self.acceptor.has_work();
        if is_busy {
            return 0;
        }
        let now = self.now.monotonic_micros;
        let mut until = self.next_sweep;
        until = until.min(self.exchange.beat.due());
        until = until.min(self.hearing.beat.due());
        if !self.ask_later.is_empty() {
            until = until.min(self.next_asking);
        }
        until = self
            .acceptor
            .paused_until()
            .map_or(until, |paused| paused.min(until));
        until = self
            .drain
            .as_ref()
            .map_or(until, |drain| drain.next_step().min(until));
        self.deadlines.wait(now, until.saturating_sub(now))
    }

    fn on_event(&mut self, event: &Event) {
        match event.token() {
            WAKER => {}
            token if self.acceptor.ready(token) => {}
            token => {
                let key = ConnectionKey::from_token(token);
                if event.is_writable() {
                    self.flush(key);
                }
                if event.is_read_closed() || event.is_error() {
                    self.hung_up(key);
                }
                if event.is_readable() || event.is_read_closed() || event.is_error() {
                    self.read(key);
                }
            }
        }
    }

    /// Takes the news that other workers have sent, and what other threads have to say.
    fn take_mail(&mut self) {
        self.take_inbox();
        let mut items = 0;
        for index in 0..self.peers.receivers.len() {
            while let Some(local) = self.peers.receivers[index].pop() {
                items += 1;
                self.has_news(local);
            }
        }
        if items > 0 {
            self.metrics.mailbox_depth(items);
        }
        if self.shared.workers[self.index as usize]
            .doorbell
            .take_look_at_all()
        {
            self.metrics.look_at_all();
            let all: Vec<LocalTopic> = self.topics.numbers().collect();
            all.into_iter().for_each(|local| self.has_news(local));
        }
    }

    /// Wakes the workers that have new items and sleep.
    fn ring_peers(&mut self) {
        while self.to_ring != 0 {
            let peer = self.to_ring.trailing_zeros() as usize;
            self.to_ring &= self.to_ring - 1;
            let rings = self.peers.senders[peer].as_ref().is_some_and(Sender::ring);
            if rings {
                self.metrics.doorbell_rung();
                // A full eventfd is one that wakes anyway.
                let _ = self.peers.wakers[peer].wake();
            }
        }
    }
}
