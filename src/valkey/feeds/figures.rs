//! What is counted of following.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::metrics::ValkeyStats;

/// A number that only grows. A statistic: nothing else is ordered by it.
#[derive(Default, Debug)]
pub(super) struct Counter(AtomicU64);

impl Counter {
    /// One more.
    pub(super) fn add(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// How many there were.
    pub(super) fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What has happened since the start.
#[derive(Default, Debug)]
pub(super) struct Figures {
    /// Messages that came by a channel and went into a log.
    pub(super) fed: Counter,
    /// Messages that were read from a stream, because the channel did not bring them in time.
    pub(super) mended: Counter,
    /// Times that what is stored was another all at once.
    pub(super) epoch_changes: Counter,
}

impl Figures {
    /// Tells what metrics want to know.
    pub(super) fn tell(&self, stats: &mut ValkeyStats) {
        stats.fed[0] += self.fed.count();
        stats.fed[1] += self.mended.count();
        // All nodes have the same one.
        stats.epoch_changes = stats.epoch_changes.max(self.epoch_changes.count());
    }
}
