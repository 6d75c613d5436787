//! What the rest of the server holds of this tier.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use super::cell::{Berth, Cell};
use super::commands::Commands;
use super::connect::Connector;
use super::counters::{ValkeyCounters, count};
use super::job::{Job, Refused, Task};
use super::keys::Keys;
use super::lane::{Carrier, Office};
use super::lanes::Lanes;
use super::order::{Listener, Order};
use super::post::Post;
use super::queue::Pending;
use super::spooling::{self, Spooler};
use super::surveyor::Surveyor;
use crate::clock::Clock;
use crate::config::{OnOutage, ValkeySettings, ValkeyTopology};
use crate::metrics::ValkeyStats;
use crate::moment::micros;
use crate::spool::Spool;
use crate::topic::TopicStore;

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

/// The tier.
pub struct Valkey {
    lanes: Arc<Lanes>,
    counters: Arc<ValkeyCounters>,
    clock: Clock,
    bytes_max: u64,
    timeout: Duration,
    /// There is one with a spool.
    spooler: Option<Arc<Spooler>>,
    /// Bytes of its files; 0 without one.
    spool_bytes_max: u64,
    keys: Keys,
    threads: Arc<Threads>,
    is_stopped: Arc<AtomicBool>,
}

/// Threads to wait for at the end.
type Threads = Mutex<Vec<JoinHandle<()>>>;

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
    /// Starts the threads, and returns at once, whether or not Valkey is there. `listen` makes who
    /// listens to a lane: to the only one at once, to those of a cluster when it is known.
    ///
    /// # Errors
    /// When the file of authorities cannot be read, the spool cannot be opened, or a thread cannot
    /// be started.
    pub fn start_with(
        tools: Tools,
        listen: impl Fn(&Arc<Cell>) -> io::Result<Arc<dyn Listener>> + Send + 'static,
    ) -> io::Result<Arc<Valkey>> {
        let settings = &tools.settings;
        let is_cluster = settings.topology == ValkeyTopology::Cluster;
        let spool = open_spool(settings)?;
        let valkey = Arc::new(Valkey {
            lanes: Arc::new(Lanes::new(is_cluster)),
            counters: Arc::default(),
            clock: tools.clock,
            bytes_max: settings.queue_bytes_max as u64,
            timeout: settings.timeout,
            spooler: spool.is_some().then(Arc::default),
            spool_bytes_max: spool_bytes_max(settings),
            keys: Keys::of_database(&settings.prefix, settings.db),
            threads: Arc::default(),
            is_stopped: Arc::default(),
        });
        if let (Some(spool), Some(spooler)) = (spool, &valkey.spooler) {
            let post = Arc::clone(&tools.post);
            spooling::start(spool, spooler, Arc::downgrade(&valkey), post, tools.clock)?;
        }
        let limits = tools.limits;
        let office = Arc::new(valkey.office(tools)?);
        let threads = Arc::clone(&valkey.threads);
        let timeout = micros(valkey.timeout);
        let made_for = Arc::clone(&office);
        let make = move |index, berth| {
            let office = Arc::clone(&made_for);
            let lanes = Arc::downgrade(&office.lanes);
            let cell = Arc::new(Cell::new(index, berth, lanes, office.clock, timeout));
            let listener = listen(&cell)?;
            cell.set_listener(Arc::clone(&listener));
            let commands = Commands::new(&office.settings, limits);
            let carrier = Carrier::new(Arc::clone(&cell), office, listener, commands);
            start_lane(carrier, index, &threads)?;
            Ok(cell)
        };
        if is_cluster {
            valkey.start_surveyor(&office, make)?;
        } else {
            valkey.lanes.add(make(0, Berth::Single)?);
        }
        Ok(valkey)
    }

    fn office(&self, tools: Tools) -> io::Result<Office> {
        Ok(Office {
            connector: Arc::new(Connector::new(&tools.settings)?),
            settings: tools.settings,
            clock: tools.clock,
            store: tools.store,
            post: tools.post,
            spooler: self.spooler.clone(),
            counters: Arc::clone(&self.counters),
            lanes: Arc::clone(&self.lanes),
            instance: tools.instance,
        })
    }

    fn start_surveyor(
        &self,
        office: &Office,
        make: impl Fn(usize, Berth) -> io::Result<Arc<Cell>> + Send + 'static,
    ) -> io::Result<()> {
        let surveyor = Surveyor {
            lanes: Arc::clone(&self.lanes),
            connector: Arc::clone(&office.connector),
            seeds: office.settings.addresses.clone(),
            make: Box::new(make),
            is_stopped: Arc::clone(&self.is_stopped),
        };
        let thread = std::thread::Builder::new().name("valkey-cluster".to_owned());
        let thread = thread.spawn(move || surveyor.run())?;
        self.lanes.set_surveyor(thread.thread().clone());
        lock(&self.threads).push(thread);
        Ok(())
    }

    /// Has a job done; the reply comes by post. Never blocks. With a spool, publications go there
    /// while Valkey is away.
    ///
    /// # Errors
    /// At once, and then without a reply: [`Refused::Away`] while there has been no connection for
    /// a while, [`Refused::Full`] while too many bytes wait.
    pub fn submit(&self, job: Job) -> Result<(), Refused> {
        let cell = self.reachable(&job.task);
        match (job.task, &self.spooler, cell) {
            (Task::Publish(publication), Some(spooler), None) => {
                spooler.keep(job.waiter, publication);
                Ok(())
            }
            (task, _, cell) => self.submit_to(cell, Job { task, ..job }),
        }
    }

    /// The same, past the spool.
    pub(super) fn submit_direct(&self, job: Job) -> Result<(), Refused> {
        self.submit_to(self.reachable(&job.task), job)
    }

    /// Where a task is done, unless nobody is to wait for that now.
    fn reachable(&self, task: &Task) -> Option<Arc<Cell>> {
        self.lanes.of_task(task).filter(|cell| !cell.lane.is_away())
    }

    fn submit_to(&self, cell: Option<Arc<Cell>>, job: Job) -> Result<(), Refused> {
        let counters = &self.counters;
        let Some(cell) = cell else {
            count(&counters.refused_away);
            return Err(Refused::Away);
        };
        if let Task::Sync(topic) = job.task {
            let listener = cell.listener().ok_or(Refused::Away)?;
            listener.sync(topic, job.waiter, job.deadline);
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
            let queue = &cell.lane.queue;
            queue.push(pending).then_some(()).ok_or(Refused::Away)
        };
        if pushed.is_err() {
            counters.queue_bytes.fetch_sub(bytes, Ordering::Relaxed);
        }
        pushed
    }

    /// Whether all that is stored can be reached now.
    pub(super) fn is_reachable(&self) -> bool {
        matches!(self.health(), Health::Well | Health::NoEcho(_))
    }

    /// Time in which a job should be done.
    pub fn timeout(&self) -> Duration {
        self.timeout
    }

    /// How keys are named.
    pub fn keys(&self) -> &Keys {
        &self.keys
    }

    /// How things are, where they are worst.
    pub fn health(&self) -> Health {
        self.lanes.health()
    }

    /// What there is for each primary.
    pub fn cells(&self) -> Vec<Arc<Cell>> {
        self.lanes.cells()
    }

    /// Numbers for metrics.
    pub fn stats(&self) -> ValkeyStats {
        let mut stats = ValkeyStats {
            is_up: self.health() == Health::Well,
            queue_bytes_max: self.bytes_max,
            spool_bytes_max: self.spool_bytes_max,
            ..ValkeyStats::default()
        };
        self.counters.tell(&mut stats);
        for cell in self.lanes.cells() {
            if let Some(listener) = cell.listener() {
                listener.tell(&mut stats);
            }
        }
        if let Some(spooler) = &self.spooler {
            spooler.tell(&mut stats);
        }
        stats
    }

    /// What was counted.
    pub fn counters(&self) -> &ValkeyCounters {
        &self.counters
    }

    /// Takes no more jobs, lets those that wait be done for at most `patience` from now (and the
    /// answers under way for one time-out), refuses the rest, and ends the threads.
    pub fn stop(&self, patience: Duration) {
        let stop_at = self.clock.now().after(patience);
        self.is_stopped.store(true, Ordering::Release);
        self.lanes.look_again();
        let cells = self.lanes.cells();
        cells.iter().for_each(|cell| cell.lane.queue.stop(stop_at));
        let threads = std::mem::take(&mut *lock(&self.threads));
        for thread in threads {
            // A thread that panicked has said so already.
            let _ = thread.join();
        }
        for listener in cells.iter().filter_map(|cell| cell.listener()) {
            listener.stop();
        }
        if let Some(spooler) = &self.spooler {
            spooler.end();
        }
    }
}

/// Starts the thread that carries orders to a primary.
fn start_lane(carrier: Carrier, index: usize, threads: &Threads) -> io::Result<()> {
    let thread = std::thread::Builder::new().name(format!("valkey-lane-{index}"));
    let thread = thread.spawn(move || carrier.run())?;
    lock(threads).push(thread);
    Ok(())
}

fn lock(threads: &Threads) -> MutexGuard<'_, Vec<JoinHandle<()>>> {
    threads.lock().unwrap_or_else(PoisonError::into_inner)
}

fn spool_bytes_max(settings: &ValkeySettings) -> u64 {
    match &settings.on_outage {
        OnOutage::Reject => 0,
        OnOutage::Spool { bytes_max, .. } => *bytes_max,
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
