//! A lane: orders in line, and the thread that carries them to one node of Valkey. It has one
//! connection; what waits goes out as one pipeline, and while the answers come the next one gathers.
//!
//! ```text
//!            ┌────────── lost, or not fit any more ───────────┐
//!            ▼                                                │
//!   connect, waiting longer each time ──► look for what may have been stored ──► pipeline ─┐
//!            │ no connection for a second                     ▲                            │
//!            ▼                                                └────── answers ◄────────────┘
//!   breaker open: all who wait are refused
//! ```

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::breaker::{Backoff, Breaker};
use super::cell::{Berth, Cell};
use super::commands::Commands;
use super::connect::{Address, ConnectError, Connector};
use super::counters::{ValkeyCounters, count};
use super::handle::Health;
use super::job::{Job, Refused, Task};
use super::lanes::Lanes;
use super::link::{Link, Trace};
use super::node::Node;
use super::order::{Listener, Order};
use super::post::{Mail, Post};
use super::queue::{Pending, Queue};
use super::spooling::Spooler;
use crate::clock::Clock;
use crate::config::ValkeySettings;
use crate::moment::micros;
use crate::topic::{Position, TopicStore};

/// How often the epoch is looked up, and with it whether the node still answers.
pub(super) const CANARY_INTERVAL: Duration = Duration::from_millis(500);
/// Most lost connections that the node is told to end; older ones it has long noticed by itself.
const TRACES_MAX: usize = 8;

/// What others see of a lane.
#[derive(Debug)]
pub(super) struct Lane {
    pub(super) queue: Queue,
    /// Whoever wants something is refused.
    is_away: AtomicBool,
    health: Mutex<Health>,
}

impl Lane {
    pub(super) fn new() -> Lane {
        Lane {
            queue: Queue::default(),
            is_away: AtomicBool::new(false),
            health: Mutex::new(Health::Connecting("Valkey is being connected to")),
        }
    }

    pub(super) fn is_away(&self) -> bool {
        self.is_away.load(Ordering::Relaxed)
    }

    pub(super) fn health(&self) -> Health {
        *self.health.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set_health(&self, health: Health) {
        *self.health.lock().unwrap_or_else(PoisonError::into_inner) = health;
    }
}

/// What all lanes share.
pub(super) struct Office {
    pub(super) settings: ValkeySettings,
    pub(super) connector: Arc<Connector>,
    pub(super) spooler: Option<Arc<Spooler>>,
    pub(super) clock: Clock,
    pub(super) store: Arc<TopicStore>,
    pub(super) post: Arc<Post>,
    pub(super) counters: Arc<ValkeyCounters>,
    pub(super) lanes: Arc<Lanes>,
    /// Name of this instance on echo channels.
    pub(super) instance: String,
}

/// Why a connection is given up.
#[derive(Debug, thiserror::Error)]
pub(super) enum Broken {
    #[error("{0}")]
    Lost(#[from] redis::RedisError),
    #[error("no answer in time")]
    Late,
    #[error("{0}")]
    Unfit(&'static str),
}

/// The thread of a lane.
pub(super) struct Carrier {
    pub(super) cell: Arc<Cell>,
    pub(super) office: Arc<Office>,
    pub(super) listener: Arc<dyn Listener>,
    pub(super) commands: Commands,
    /// Sent, or about to be, in order.
    pub(super) flight: VecDeque<Pending>,
    /// Commands for what is in `flight` have gone out.
    pub(super) is_sent: bool,
    /// Refused for now.
    pub(super) again: VecDeque<Pending>,
    /// Stored, but not known yet to be on enough replicas.
    pub(super) held: Vec<(Pending, Vec<Position>)>,
    /// Replies for each worker.
    pub(super) outgoing: Vec<Vec<Mail>>,
    pub(super) needs_pause: bool,
    pub(super) needs_epoch: bool,
    /// Why the node is not worked with any more.
    pub(super) unfit: Option<&'static str>,
    /// Monotonic microseconds.
    pub(super) canary_at: u64,
    pub(super) complained_at: u64,
    /// Connections on which something may still be under way.
    traces: Vec<Trace>,
    breaker: Breaker,
    backoff: Backoff,
    known_node: Option<Node>,
    /// Host and port of the latest try, for the log.
    node_name: String,
    /// How often the cell had moved when it was connected.
    moves: u64,
    /// The node of a cluster that it was connected to.
    pub(super) node: Option<Address>,
    /// Of the routes that all orders were compared with.
    pub(super) routes: u64,
    /// Refused until their slot is with one node.
    pub(super) aside: VecDeque<Pending>,
    /// When those are tried again. Monotonic microseconds.
    pub(super) aside_until: u64,
}

impl Carrier {
    pub(super) fn new(
        cell: Arc<Cell>,
        office: Arc<Office>,
        listener: Arc<dyn Listener>,
        commands: Commands,
    ) -> Carrier {
        let now = office.clock.now().monotonic_micros;
        Carrier {
            cell,
            office,
            listener,
            commands,
            flight: VecDeque::new(),
            is_sent: false,
            again: VecDeque::new(),
            held: Vec::new(),
            outgoing: Vec::new(),
            needs_pause: false,
            needs_epoch: false,
            unfit: None,
            canary_at: 0,
            complained_at: 0,
            traces: Vec::new(),
            breaker: Breaker::new(now),
            backoff: Backoff::default(),
            known_node: None,
            node_name: String::new(),
            moves: 0,
            node: None,
            routes: 0,
            aside: VecDeque::new(),
            aside_until: 0,
        }
    }

    /// Until the lane is closed.
    pub(super) fn run(mut self) {
        while let Some(link) = self.connect() {
            if self.serve(link) {
                break;
            }
        }
        for pending in self.cell.lane.queue.remove(|_| true) {
            self.refuse(pending, Refused::Away);
        }
        self.deliver();
    }

    pub(super) fn now(&self) -> u64 {
        self.office.clock.now().monotonic_micros
    }

    /// A connection; `None` when the lane is closed and its time is up.
    fn connect(&mut self) -> Option<Link> {
        loop {
            match self.try_connect() {
                Ok(link) => {
                    self.connected(&link);
                    return Some(link);
                }
                Err(error) => self.not_connected(&error),
            }
            self.sort_out();
            self.refuse_waiting();
            let wait = Duration::from_micros(self.backoff.next(|below| fastrand::u64(..below)));
            if let Some(stop_at) = self.cell.lane.queue.pause(wait) {
                if self.cell.lane.queue.is_empty() || self.now() >= stop_at {
                    return None;
                }
                std::thread::sleep(wait.min(Duration::from_millis(100)));
            }
        }
    }

    fn try_connect(&mut self) -> Result<Link, ConnectError> {
        let office = Arc::clone(&self.office);
        let (berth, moves) = self.cell.berth();
        self.moves = moves;
        let (address, tag) = berth.find(&office.connector)?;
        self.commands.say_on(&tag, &office.instance);
        self.node_name = format!("{}:{}", address.0, address.1);
        let timeout = office.settings.timeout;
        let mut link = Link::open(&office.connector, &address, timeout, &self.traces)?;
        self.node = (berth != Berth::Single).then_some(address);
        self.greet(&mut link)?;
        Ok(link)
    }

    fn connected(&mut self, link: &Link) {
        count(&self.office.counters.connects);
        self.traces.clear();
        self.backoff.reset();
        self.breaker.connected();
        self.commands.scripts.forget();
        self.canary_at = self.now() + micros(CANARY_INTERVAL);
        self.set_away(false);
        self.cell.lane.set_health(Health::Well);
        if self.known_node.as_ref() != Some(&link.node) {
            link.node.warn();
            self.known_node = Some(link.node.clone());
        }
        tracing::info!(node = %self.node_name, "connected to Valkey");
    }

    fn not_connected(&mut self, error: &ConnectError) {
        if !self.cell.is_used() {
            self.set_away(false);
            return;
        }
        self.office.lanes.look_again();
        count(&self.office.counters.connect_failures);
        let now = self.now();
        self.breaker.lost(now);
        if self.breaker.is_open(now) {
            if !self.cell.lane.is_away() {
                tracing::error!(node = %self.node_name, "Valkey is away: {error}");
            }
            self.set_away(true);
            self.cell.lane.set_health(Health::Away(error.text));
        } else {
            tracing::debug!("no connection to Valkey: {error}");
            self.cell.lane.set_health(Health::Connecting(error.text));
        }
    }

    fn set_away(&self, is_away: bool) {
        let was_away = self.cell.lane.is_away.swap(is_away, Ordering::Relaxed);
        let open = &self.office.counters.breakers_open;
        match (was_away, is_away) {
            (false, true) => open.fetch_add(1, Ordering::Relaxed),
            (true, false) => open.fetch_sub(1, Ordering::Relaxed),
            _ => 0,
        };
    }

    /// Refuses workers' jobs while the breaker is open, and whatever has waited too long.
    fn refuse_waiting(&mut self) {
        let now = self.now();
        if self.cell.lane.is_away() {
            let is_job = |pending: &Pending| matches!(pending.order, Order::Job(_));
            for pending in self.cell.lane.queue.remove(is_job) {
                self.refuse(pending, Refused::Away);
            }
        }
        for pending in self
            .cell
            .lane
            .queue
            .remove(|pending| pending.deadline <= now)
        {
            self.refuse(pending, Refused::TooLate);
        }
        self.deliver();
    }

    /// Works until the connection is lost, or the lane is closed: then it is done for good.
    fn serve(&mut self, mut link: Link) -> bool {
        loop {
            if self.cell.has_moved_since(self.moves) {
                self.lose(&link, &Broken::Unfit("another node has what it had"));
                return false;
            }
            self.sort_out();
            let batch = self.cell.lane.queue.take(self.patience());
            let is_over = batch.stop_at.is_some() && batch.orders.is_empty();
            if is_over || batch.stop_at.is_some_and(|stop_at| stop_at <= self.now()) {
                self.cell.lane.queue.put_back(&mut { batch.orders });
                self.cell.lane.queue.put_back(&mut self.aside);
                return true;
            }
            let had_work = !batch.orders.is_empty();
            self.flight = batch.orders;
            let worked = self.work(&mut link, batch.echo);
            self.deliver();
            if let Err(error) = worked {
                self.lose(&link, &error);
                return false;
            }
            if std::mem::take(&mut self.needs_pause) {
                let wait = self.backoff.next(|below| fastrand::u64(..below));
                self.cell.lane.queue.pause(Duration::from_micros(wait));
            } else if had_work {
                self.backoff.reset();
            }
        }
    }

    /// Puts back what has no answer; what was sent may have been done.
    fn lose(&mut self, link: &Link, error: &Broken) {
        tracing::warn!(node = %self.node_name, "the connection to Valkey is given up: {error}");
        self.breaker.lost(self.now());
        self.cell
            .lane
            .set_health(Health::Connecting("Valkey's connection was lost"));
        if let Some(trace) = &link.trace {
            self.traces.truncate(TRACES_MAX - 1);
            self.traces.insert(0, trace.clone());
        }
        self.cell.lane.queue.put_back(&mut self.flight);
        self.cell.lane.queue.put_back(&mut self.aside);
    }

    /// Posts the replies.
    fn deliver(&mut self) {
        for (worker, mail) in self.outgoing.iter_mut().enumerate() {
            if !mail.is_empty() {
                // Workers' numbers fit, and so does that of the spool.
                self.office.post.send(worker as u8, mail.drain(..));
            }
        }
    }

    /// Tells a waiter why not.
    pub(super) fn refuse(&mut self, pending: Pending, refused: Refused) {
        let counters = &self.office.counters;
        match refused {
            Refused::Away => count(&counters.refused_away),
            Refused::TooLate => count(&counters.refused_late),
            _ => {}
        }
        self.release(&pending);
        match pending.order {
            Order::Job(job) => self.refuse_job(job, refused),
            Order::Tail(topic) => self.listener.opened(&topic, Err(refused)),
            Order::ReadOn { topic, .. } => self.listener.mended(&topic, Err(refused)),
            // The next one says more.
            Order::Echo(_) => {}
        }
    }

    fn refuse_job(&mut self, job: Job, refused: Refused) {
        let is_outage = matches!(refused, Refused::Away | Refused::TooLate);
        match (job.task, &self.office.spooler) {
            // Its tokens tell, when it is replayed, whether it was stored after all.
            (Task::Publish(publication), Some(spooler))
                if is_outage && job.waiter.worker != Post::SPOOL =>
            {
                spooler.keep(job.waiter, publication);
            }
            (task, _) => self.reply(job.waiter, task.refusal()(refused)),
        }
    }

    /// What was counted as waiting does not any more.
    pub(super) fn release(&self, pending: &Pending) {
        let bytes = pending.held_bytes() as u64;
        let waiting = &self.office.counters.queue_bytes;
        waiting.fetch_sub(bytes, Ordering::Relaxed);
    }
}
