//! How a long measurement tells where it is, and how it is ended early.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::order::{Load, Scenario};

/// Where a measurement is.
#[derive(Clone, Copy, Debug)]
pub enum Progress {
    /// A load of this kind begins.
    Beginning(Scenario),
    /// So many of the connections are open.
    Opening {
        /// Open connections.
        done: usize,
        /// Wanted ones.
        of: usize,
    },
    /// Load is on the server.
    Running {
        /// Since when.
        elapsed: Duration,
        /// Messages accepted since then.
        published: u64,
        /// Messages delivered since then.
        delivered: u64,
    },
    /// Nothing is sent any more, and not everything has come yet.
    Settling {
        /// Deliveries, or answers, that are missing.
        missing: u64,
    },
}

/// Between two tellings.
const TELL_EVERY: Duration = Duration::from_millis(200);

/// Who follows a measurement.
pub struct Watch<'a> {
    stop: &'a AtomicBool,
    tell: &'a mut dyn FnMut(Progress),
    told_at: Option<Instant>,
}

impl<'a> Watch<'a> {
    /// `tell` hears of it a few times a second; once `stop` is set, the measurement ends with what it has.
    pub fn new(stop: &'a AtomicBool, tell: &'a mut dyn FnMut(Progress)) -> Self {
        Self {
            stop,
            tell,
            told_at: None,
        }
    }

    /// Whether the end was asked for.
    pub fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// Tells that a load begins.
    pub(super) fn begin(&mut self, load: &Load) {
        self.told_at = None;
        (self.tell)(Progress::Beginning(load.scenario));
    }

    /// Tells what `progress` makes, unless it did so a moment ago.
    pub(super) fn tell(&mut self, progress: impl FnOnce() -> Progress) {
        if self.told_at.is_none_or(|at| at.elapsed() >= TELL_EVERY) {
            self.told_at = Some(Instant::now());
            (self.tell)(progress());
        }
    }

    /// Follows nothing and never ends: for who needs only the result.
    pub fn unwatched<T>(work: impl FnOnce(&mut Watch<'_>) -> T) -> T {
        let (stop, mut tell) = (AtomicBool::new(false), |_| ());
        work(&mut Watch::new(&stop, &mut tell))
    }
}
