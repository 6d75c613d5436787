//! What all workers of a server share, and how they count and stop together.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, AtomicUsize, Ordering};

use crate::access::Authority;
use crate::api::origin::AccessPolicy;
use crate::clock::Clock;
use crate::config::Config;
use crate::documents::Documents;
use crate::edge::TrustedProxies;
use crate::fanout::Doorbell;
use crate::idempotency::Idempotency;
use crate::metrics::WorkerMetrics;
use crate::quota::{Quotas, Tally};
use crate::tls::Certificate;
use crate::topic::{TopicName, TopicStore};
use crate::valkey::consumers::ConsumerTerms;
use crate::valkey::{Post, Valkey};

/// A worker whose loop has not come round for so long, while it had something to do, is stalled.
const STALL_MICROS: u64 = 5_000_000;

/// What all workers see.
#[derive(Debug)]
pub struct Shared {
    /// The decided settings.
    pub config: Config,
    /// Whom the server trusts; `None` where no credentials are asked for.
    pub authority: Option<Arc<Authority>>,
    /// What TLS connections begin with; `None` where there are none.
    pub tls: Option<Certificate>,
    /// What clients have left.
    pub quotas: Quotas,
    /// What clients have at a time.
    pub clients: Tally,
    /// Connections of each address.
    pub addresses: Tally,
    /// Who is believed what others said of who they are.
    pub proxies: TrustedProxies,
    /// Which origins and hosts are served.
    pub access: AccessPolicy,
    /// What describes the interface; `None` where it is not served.
    pub documents: Option<&'static Documents>,
    /// All messages.
    pub store: Arc<TopicStore>,
    /// Where messages go whose deliveries are used up; without it they are dropped.
    pub dead_letter_topic: Option<TopicName>,
    /// The tier behind memory; absent while all is in memory.
    pub valkey: Option<Arc<Valkey>>,
    /// How consumers behind memory are asked.
    pub consumer_terms: ConsumerTerms,
    /// What other threads have to say to the workers.
    pub post: Arc<Post>,
    /// First answers to publish requests that may be repeated.
    pub idempotency: Idempotency,
    /// Connections of all workers.
    pub places: Places,
    /// How far the server's life is.
    pub lifecycle: Lifecycle,
    /// The clocks.
    pub clock: Clock,
    /// One of each a worker.
    pub workers: Box<[WorkerState]>,
}

/// What the others see of one worker.
#[derive(Debug)]
pub struct WorkerState {
    /// Tells whether it sleeps.
    pub doorbell: Arc<Doorbell>,
    /// Its counters.
    pub metrics: Arc<WorkerMetrics>,
    pulse: Pulse,
}

impl WorkerState {
    /// Of a worker that does not run yet.
    pub fn new() -> WorkerState {
        WorkerState {
            doorbell: Arc::default(),
            metrics: Arc::default(),
            pulse: Pulse {
                awake_since: AtomicU64::new(0),
            },
        }
    }

    /// The worker has woken up, or begun another iteration.
    pub(super) fn is_awake(&self, now_micros: u64) {
        // Relaxed: a reading that is a little old does no harm.
        self.pulse
            .awake_since
            .store(now_micros.max(1), Ordering::Relaxed);
    }

    /// The worker goes to sleep.
    pub(super) fn is_asleep(&self) {
        self.pulse.awake_since.store(0, Ordering::Relaxed);
    }

    fn is_stalled(&self, now_micros: u64) -> bool {
        let awake_since = self.pulse.awake_since.load(Ordering::Relaxed);
        awake_since != 0 && now_micros.saturating_sub(awake_since) > STALL_MICROS
    }
}

impl Default for WorkerState {
    fn default() -> WorkerState {
        WorkerState::new()
    }
}

/// When a worker's present iteration began; 0 while it sleeps.
#[derive(Debug)]
struct Pulse {
    awake_since: AtomicU64,
}

impl Shared {
    /// Whether no worker's loop is stuck.
    pub fn are_workers_well(&self) -> bool {
        let now_micros = self.clock.now().monotonic_micros;
        !self
            .workers
            .iter()
            .any(|worker| worker.is_stalled(now_micros))
    }
}

/// Counts the connections of all workers against their bounds (SPEC section 14): consumers, which
/// are WebSockets, streams and those whose latest request was a poll, and others.
#[derive(Debug)]
pub struct Places {
    consumers: AtomicUsize,
    consumers_max: usize,
    others: AtomicUsize,
    others_max: usize,
    reserved: usize,
}

/// The place of a new connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Place {
    /// As any.
    Ordinary,
    /// One of the last: for operators' requests.
    Reserved,
    /// None: to be told and closed.
    Turned,
}

impl Places {
    /// Room for so many consumers and other connections, the last `reserved` of which are for
    /// operators.
    pub fn new(consumers_max: usize, others_max: usize, reserved: usize) -> Places {
        Places {
            consumers: AtomicUsize::new(0),
            consumers_max,
            others: AtomicUsize::new(0),
            others_max,
            reserved,
        }
    }

    /// A connection was accepted. It gives its place back with [`Places::leave`] whatever it is.
    pub(super) fn enter(&self) -> Place {
        // Relaxed: counters, they order no other memory.
        let others = self.others.fetch_add(1, Ordering::Relaxed) + 1;
        if others > self.others_max {
            Place::Turned
        } else if others > self.others_max.saturating_sub(self.reserved) {
            Place::Reserved
        } else {
            Place::Ordinary
        }
    }

    /// A connection becomes a consumer, if there is room.
    pub(super) fn upgrade(&self) -> bool {
        let upgraded = take_below(&self.consumers, self.consumers_max);
        if upgraded {
            self.others.fetch_sub(1, Ordering::Relaxed);
        }
        upgraded
    }

    /// A consumer becomes an ordinary connection again, if there is room; else it stays one.
    pub(super) fn downgrade(&self) -> bool {
        let ordinary_max = self.others_max.saturating_sub(self.reserved);
        let downgraded = take_below(&self.others, ordinary_max);
        if downgraded {
            self.consumers.fetch_sub(1, Ordering::Relaxed);
        }
        downgraded
    }

    /// Consumers of all workers.
    pub(super) fn consumers(&self) -> usize {
        self.consumers.load(Ordering::Relaxed)
    }

    /// Consumers and other connections, each as there are and as there may be.
    pub(super) fn counts(&self) -> [[usize; 2]; 2] {
        let others = self.others.load(Ordering::Relaxed);
        [
            [self.consumers(), self.consumers_max],
            [others, self.others_max],
        ]
    }

    /// A connection has gone.
    pub(super) fn leave(&self, is_consumer: bool) {
        let count = if is_consumer {
            &self.consumers
        } else {
            &self.others
        };
        count.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Counts one more, if fewer than `most` are counted.
fn take_below(count: &AtomicUsize, most: usize) -> bool {
    let more = |count| (count < most).then_some(count + 1);
    count
        .fetch_update(Ordering::Relaxed, Ordering::Relaxed, more)
        .is_ok()
}

/// How far a server's life is; it only moves on.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[repr(u8)]
pub enum Stage {
    /// All is served.
    Serving,
    /// All is served, but `/ready` says no and answers end their connections.
    Draining,
    /// Listeners are closed, and requests end.
    Closing,
    /// Nothing is published any more: consumers are told to go.
    Parting,
    /// Whatever is left is dropped.
    Ending,
}

/// The stage that all workers see.
#[derive(Debug)]
pub struct Lifecycle {
    stage: AtomicU8,
    /// Workers at which something may still be published while they close.
    publishing: AtomicUsize,
}

impl Lifecycle {
    /// Of a server with so many workers that has just begun to serve.
    pub fn new(workers: usize) -> Lifecycle {
        Lifecycle {
            stage: AtomicU8::new(Stage::Serving as u8),
            publishing: AtomicUsize::new(workers),
        }
    }

    /// The stage.
    pub fn stage(&self) -> Stage {
        // Acquire: pairs with `enter`; who sees a stage sees what led to it.
        match self.stage.load(Ordering::Acquire) {
            0 => Stage::Serving,
            1 => Stage::Draining,
            2 => Stage::Closing,
            3 => Stage::Parting,
            _ => Stage::Ending,
        }
    }

    /// Moves on to a stage. The workers must be woken to see it.
    pub fn enter(&self, stage: Stage) {
        self.stage.fetch_max(stage as u8, Ordering::AcqRel);
    }

    /// A worker that closes takes no message any more; each says so once. With the last of them
    /// consumers may be told to go: what is in the store now is all that they are owed.
    pub(super) fn publishes_no_more(&self) {
        // AcqRel: the last one sees what the others have stored, and passes it on with the stage.
        if self.publishing.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.enter(Stage::Parting);
        }
    }
}
