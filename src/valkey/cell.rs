//! What this instance has for one primary: the lane to it, who listens to it, and where it is.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};

use super::connect::{Address, ConnectError, Connector};
use super::lane::Lane;
use super::lanes::Lanes;
use super::order::{Listener, Order};
use super::queue::Pending;
use crate::clock::Clock;

/// Hash tag of the echo channel where there is one server.
const ONLY_TAG: &str = "0";

/// Where a lane leads.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Berth {
    /// To the one server that there is, wherever that is now.
    Single,
    /// To a primary of a cluster, which serves the slot of this hash tag.
    Node { address: Address, tag: String },
    /// Nowhere: it is not needed.
    Nowhere,
}

impl Berth {
    /// Address, and hash tag of the echo channel.
    pub(super) fn find(&self, connector: &Connector) -> Result<(Address, String), ConnectError> {
        match self {
            Berth::Single => Ok((connector.primary()?, ONLY_TAG.to_owned())),
            Berth::Node { address, tag } => Ok((address.clone(), tag.clone())),
            Berth::Nowhere => Err(ConnectError {
                text: "nothing is stored there",
                detail: "it serves no slot".to_owned(),
            }),
        }
    }
}

/// One primary.
pub struct Cell {
    pub(super) index: usize,
    pub(super) lane: Lane,
    berth: Mutex<Berth>,
    /// How often the berth has changed.
    moves: AtomicU64,
    listener: OnceLock<Arc<dyn Listener>>,
    lanes: Weak<Lanes>,
    clock: Clock,
    timeout: u64,
}

impl fmt::Debug for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cell")
            .field("index", &self.index)
            .field("lane", &self.lane)
            .finish_non_exhaustive()
    }
}

impl Cell {
    /// Nobody listens yet. `timeout` is that of orders, in microseconds.
    pub(super) fn new(
        index: usize,
        berth: Berth,
        lanes: Weak<Lanes>,
        clock: Clock,
        timeout: u64,
    ) -> Cell {
        Cell {
            index,
            lane: Lane::new(),
            berth: Mutex::new(berth),
            moves: AtomicU64::new(0),
            listener: OnceLock::new(),
            lanes,
            clock,
            timeout,
        }
    }

    /// Gives an order to the lane. Never blocks. Whoever listens hears of it within about twice the
    /// time-out at the latest, whether or not Valkey is there.
    pub fn order(&self, order: Order) {
        if let Order::Echo(number) = order {
            self.lane.queue.echo(number);
            return;
        }
        let deadline = match &order {
            Order::Job(job) => job.deadline,
            _ => {
                let now = self.clock.now().monotonic_micros;
                now.saturating_add(self.timeout)
            }
        };
        // A lane that is closed has nobody left to answer to.
        let _ = self.lane.queue.push(Pending::new(order, deadline));
    }

    /// Says who listens: once, before anything else.
    pub(super) fn set_listener(&self, listener: Arc<dyn Listener>) {
        let _ = self.listener.set(listener);
    }

    /// Who listens; there is one before the cell is given to anybody.
    pub(super) fn listener(&self) -> Option<&Arc<dyn Listener>> {
        self.listener.get()
    }

    /// Where it leads, and how often that has changed.
    pub(super) fn berth(&self) -> (Berth, u64) {
        let berth = self.berth.lock().unwrap_or_else(PoisonError::into_inner);
        (berth.clone(), self.moves.load(Ordering::Relaxed))
    }

    /// The hash tag by which it says something to itself in a cluster.
    pub(super) fn tag(&self) -> Option<String> {
        match self.berth().0 {
            Berth::Node { tag, .. } => Some(tag),
            Berth::Single | Berth::Nowhere => None,
        }
    }

    /// What is there is not what was thought: it is to be looked up.
    pub(super) fn doubt(&self) {
        if let Some(lanes) = self.lanes.upgrade() {
            lanes.look_again();
        }
    }

    /// Leads elsewhere from now on: connections to where it led before are to be given up.
    pub(super) fn lead_to(&self, to: Berth) {
        let mut berth = self.berth.lock().unwrap_or_else(PoisonError::into_inner);
        if *berth != to {
            *berth = to;
            self.moves.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Whether it leads somewhere else than when it had moved so often.
    pub(super) fn has_moved_since(&self, moves: u64) -> bool {
        // Relaxed: who sees it a little later has a little more to repeat.
        self.moves.load(Ordering::Relaxed) != moves
    }

    /// Whether it is needed.
    pub(super) fn is_used(&self) -> bool {
        self.berth().0 != Berth::Nowhere
    }
}
