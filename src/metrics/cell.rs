//! The numbers that one thread writes and others read.

use std::sync::atomic::{AtomicU64, Ordering};

/// A count or a size with a single writer. Adding is a load and a store, not a locked
/// read-modify-write: with one writer nothing is lost between the two.
#[derive(Default, Debug)]
pub(super) struct Cell(AtomicU64);

impl Cell {
    /// Adds to it; wraps around.
    pub(super) fn add(&self, amount: u64) {
        // Relaxed throughout: statistics order no other memory.
        let sum = self.0.load(Ordering::Relaxed).wrapping_add(amount);
        self.0.store(sum, Ordering::Relaxed);
    }

    /// Replaces it.
    pub(super) fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }

    /// What it is now.
    pub(super) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Durations by size: `N` cells, one more than there are upper bounds, and their sum.
#[derive(Default, Debug)]
pub(super) struct Durations<const N: usize>
where
    [Cell; N]: Default,
{
    /// Not cumulative; the last one has no upper bound.
    buckets: [Cell; N],
    sum_micros: Cell,
}

impl<const N: usize> Durations<N>
where
    [Cell; N]: Default,
{
    /// Counts `times` durations of `micros` each, by upper bounds in microseconds.
    pub(super) fn record(&self, bounds_micros: &[u64], micros: u64, times: u64) {
        debug_assert_eq!(
            bounds_micros.len() + 1,
            N,
            "one cell per bound and one above"
        );
        let bucket = bounds_micros.iter().position(|bound| micros <= *bound);
        self.buckets[bucket.unwrap_or(N - 1)].add(times);
        self.sum_micros.add(micros.saturating_mul(times));
    }

    /// What was recorded, not cumulative, added to `counts`.
    pub(super) fn add_to(&self, counts: &mut Distribution) {
        counts.buckets.resize(N, 0);
        for (sum, bucket) in counts.buckets.iter_mut().zip(&self.buckets) {
            *sum += bucket.get();
        }
        counts.sum_micros = counts.sum_micros.wrapping_add(self.sum_micros.get());
    }
}

/// A reading of durations, possibly of several writers together.
#[derive(Clone, Default, Debug)]
pub(super) struct Distribution {
    /// Not cumulative; the last one has no upper bound.
    pub(super) buckets: Vec<u64>,
    /// Sum of all durations, in microseconds.
    pub(super) sum_micros: u64,
}

impl Distribution {
    /// How many durations there were.
    pub(super) fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }
}

/// Things with a size: how many there were, and their sizes together.
#[derive(Default, Debug)]
pub(super) struct Sizes {
    pub(super) count: Cell,
    pub(super) sum: Cell,
}

impl Sizes {
    /// Counts one thing of a size.
    pub(super) fn record(&self, size: u64) {
        self.count.add(1);
        self.sum.add(size);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_falls_into_the_bucket_that_includes_its_bound() {
        let durations = Durations::<3>::default();
        for (micros, times) in [(10, 1), (11, 2), (20, 4), (21, 8), (u64::MAX, 0)] {
            durations.record(&[10, 20], micros, times);
        }
        let mut reading = Distribution::default();
        durations.add_to(&mut reading);
        durations.add_to(&mut reading);
        assert_eq!(reading.buckets, [2, 12, 16]);
        assert_eq!(reading.sum_micros, 2 * (10 + 22 + 80 + 168));
        assert_eq!(reading.count(), 30);
    }
}
