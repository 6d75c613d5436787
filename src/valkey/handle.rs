//! What the rest of the server holds of this tier.

use std::io;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use super::commands::Commands;
use super::connect::Connector;
use super::counters::{ValkeyCounters, count};
use super::job::{Job, Refused, Task};
use super::keys::Keys;
use super::lane::{Carrier, Lane, Office};
use super::order::{Listener, Order};
use super::post::Post;
use super::queue::Pending;
use super::spooling::{self, Spooler};
use crate::clock::Clock;
use crate::config::{OnOutage, ValkeySettings};
use crate::metrics::ValkeyStats;
use crate::moment::micros;
use crate::spool::Spool;
use crate::topic::TopicStore;

/// Hash tag of the echo channel where there is one node.
pub(super) const NODE_TAG: &str = "0";

/// How Valkey is doing, with a sentence for people.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Health {
    /// Well.
    Well,
    /// There is no connection for the moment.
    Connecting(&'static str),
    /// There has been none for a while: jobs are refused.
    Away(&'static str),
    /// There is a connection, but what is said through it does not come back.
    NoEcho(&'static str),
}

impl Health {
    /// The sentence; `ok` when all is well.
    pub fn as_str(self) -> &'static str {
        match self {
            Health::Well => "ok",
            Health::Connecting(text) | Health::Away(text) | Health::NoEcho(text) => text,
        }
    }
}

/// All lanes, and which of them leads to a topic.
pub struct Lanes {
    lane: Arc<Lane>,
    clock: Clock,
    timeout: u64,
    counters: Arc<ValkeyCounters>,
}

impl std::fmt::Debug for Lanes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lanes")
            .field("lane", &self.lane)
            .finish_non_exhaustive()
    }
}

impl Lanes {
    /// Gives an order to the lane of its topic. Never blocks. Whoever listens hears of it within
    /// about twice the time-out at the latest, whether or not Valkey is there.
    pub fn order(&self, order: Order) {
        if let Order::Echo(number) = order {
            self.lane.queue.echo(number);
            return;
        }
        let deadline = match &order {
            Order::Job(job) => job.deadline,
            _ => self
                .clock
                .now()
                .monotonic_micros
                .saturating_add(self.timeout),
        };
        // A lane that is closed has nobody left to answer to.
        let _ = self.lane.queue.push(Pending::new(order, deadline));
    }
}

/// The tier.
pub struct Valkey {
    lanes: Arc<Lanes>,
    listener: Arc<dyn Listener>,
    bytes_max: u64,
    timeout: Duration,
    /// There is one with a spool.
    spooler: Option<Arc<Spooler>>,
    keys: Keys,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl std::fmt::Debug for Valkey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Valkey")
            .field("lanes", &self.lanes)
            .finish_non_exhaustive()
    }
}

/// What the stream of a topic keeps.
#[derive(Clone, Copy, Debug)]
pub struct KeepLimits {
    /// Messages, at least 1.
    pub messages_max: usize,
    /// Age of a message.
    pub retention: Duration,
}

/// What the tier works with.
#[derive(Debug)]
pub struct Tools {
    /// The decided settings.
    pub settings: ValkeySettings,
    /// What streams keep.
    pub limits: KeepLimits,
    /// Where messages are framed for.
    pub store: Arc<TopicStore>,
    /// The way to the workers.
    pub post: Arc<Post>,
    /// The clocks.
    pub clock: Clock,
    /// Name of this instance in the echo channel, unlike all others'.
    pub instance: String,
}

impl Valkey {
    /// Starts the threads, and returns at once, whether or not Valkey is there. `listen` is given
    /// the lanes and makes who listens to them.
    ///
    /// # Errors
    /// When the file of authorities cannot be read, the spool cannot be opened, or a thread cannot
    /// be started.
    pub fn start_with(
        tools: Tools,
        listen: impl FnOnce(&Arc<Lanes>) -> Arc<dyn Listener>,
    ) -> io::Result<Arc<Valkey>> {
        let settings = &tools.settings;
        let counters = Arc::new(ValkeyCounters::default());
        let lanes = Arc::new(Lanes {
            lane: Arc::new(Lane::new()),
            clock: tools.clock,
            timeout: micros(settings.timeout),
            counters: Arc::clone(&counters),
        });
        let keys = Keys::of_database(&settings.prefix, settings.db);
        let spool = open_spool(settings)?;
        let valkey = Arc::new(Valkey {
            listener: listen(&lanes),
            lanes,
            bytes_max: settings.queue_bytes_max as u64,
            timeout: settings.timeout,
            spooler: spool.is_some().then(Arc::default),
            keys,
            threads: Mutex::default(),
        });
        if let (Some(spool), Some(spooler)) = (spool, &valkey.spooler) {
            let post = Arc::clone(&tools.post);
            spooling::start(spool, spooler, Arc::downgrade(&valkey), post, tools.clock)?;
        }
        valkey.start_lane(tools, counters)?;
        Ok(valkey)
    }

    fn start_lane(&self, tools: Tools, counters: Arc<ValkeyCounters>) -> io::Result<()> {
        let echo = self.keys.echo(NODE_TAG, &tools.instance);
        let commands = Commands::new(&tools.settings, tools.limits, &echo);
        let office = Arc::new(Office {
            connector: Arc::new(Connector::new(&tools.settings)?),
            settings: tools.settings,
            clock: tools.clock,
            store: tools.store,
            post: tools.post,
            spooler: self.spooler.clone(),
            counters,
        });
        let lane = Arc::clone(&self.lanes.lane);
        let carrier = Carrier::new(lane, office, Arc::clone(&self.listener), commands);
        let thread = std::thread::Builder::new().name("valkey-lane-0".to_owned());
        let thread = thread.spawn(move || carrier.run())?;
        self.lock_threads().push(thread);
        Ok(())
    }

    /// Has a job done; the reply comes by post. Never blocks. With a spool, publications go there
    /// while Valkey is away.
    ///
    /// # Errors
    /// At once, and then without a reply: [`Refused::Away`] while there has been no connection for
    /// a while, [`Refused::Full`] while too many bytes wait.
    pub fn submit(&self, job: Job) -> Result<(), Refused> {
        let is_away = self.lanes.lane.is_away();
        match (job.task, &self.spooler) {
            (Task::Publish(publication), Some(spooler)) if is_away => {
                spooler.keep(job.waiter, publication);
                Ok(())
            }
            (task, _) => self.submit_direct(Job { task, ..job }),
        }
    }

    /// The same, past the spool.
    pub(super) fn submit_direct(&self, job: Job) -> Result<(), Refused> {
        let counters = &self.lanes.counters;
        if self.lanes.lane.is_away() {
            count(&counters.refused_away);
            return Err(Refused::Away);
        }
        if let Task::Sync(topic) = job.task {
            self.listener.sync(topic, job.waiter, job.deadline);
            return Ok(());
        }
        let deadline = job.deadline;
        let pending = Pending::new(Order::Job(job), deadline);
        let bytes = pending.held_bytes() as u64;
        let waiting = counters.queue_bytes.fetch_add(bytes, Ordering::Relaxed);
        let is_full = bytes > 0 && waiting + bytes > self.bytes_max;
        let pushed = if is_full {
            count(&counters.refused_full);
            Err(Refused::Full)
        } else {
            let queue = &self.lanes.lane.queue;
            queue.push(pending).then_some(()).ok_or(Refused::Away)
        };
        if pushed.is_err() {
            counters.queue_bytes.fetch_sub(bytes, Ordering::Relaxed);
        }
        pushed
    }

    /// Whether there is a connection now.
    pub(super) fn is_reachable(&self) -> bool {
        self.lanes.lane.health() == Health::Well
    }

    /// Time in which a job should be done.
    pub fn timeout(&self) -> Duration {
        self.timeout
    }

    /// How keys are named.
    pub fn keys(&self) -> &Keys {
        &self.keys
    }

    /// How things are.
    pub fn health(&self) -> Health {
        match self.lanes.lane.health() {
            Health::Well if !self.listener.is_heard() => {
                Health::NoEcho("what is said through Valkey does not come back")
            }
            health => health,
        }
    }

    /// Numbers for metrics.
    pub fn stats(&self) -> ValkeyStats {
        let mut stats = ValkeyStats {
            is_up: self.health() == Health::Well,
            ..ValkeyStats::default()
        };
        self.lanes.counters.tell(&mut stats);
        self.listener.tell(&mut stats);
        if let Some(spooler) = &self.spooler {
            spooler.tell(&mut stats);
        }
        stats
    }

    /// What was counted.
    pub fn counters(&self) -> &ValkeyCounters {
        &self.lanes.counters
    }

    /// Takes no more jobs, lets those that wait be done for at most `patience` from now (and the
    /// answers under way for one time-out), refuses the rest, and ends the threads.
    pub fn stop(&self, patience: Duration) {
        let stop_at = self.lanes.clock.now().after(patience);
        self.lanes.lane.queue.stop(stop_at);
        for thread in self.lock_threads().drain(..) {
            // A thread that panicked has said so already.
            let _ = thread.join();
        }
        self.listener.stop();
        if let Some(spooler) = &self.spooler {
            spooler.end();
        }
    }

    fn lock_threads(&self) -> MutexGuard<'_, Vec<JoinHandle<()>>> {
        self.threads.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn open_spool(settings: &ValkeySettings) -> io::Result<Option<Spool>> {
    match &settings.on_outage {
        OnOutage::Reject => Ok(None),
        OnOutage::Spool {
            directory,
            bytes_max,
        } => {
            let opened = Spool::open(directory, *bytes_max);
            opened.map(Some).map_err(io::Error::other)
        }
    }
}
