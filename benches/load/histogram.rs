//! Latencies in logarithmic buckets: bounded memory, 1.6 % resolution.

use std::time::Duration;

/// Buckets within each power of two.
const STEPS: u64 = 64;
const STEP_BITS: u32 = STEPS.trailing_zeros();
const BUCKETS: usize = (STEPS as usize) * 40;

/// Counts of durations; the largest bucket begins beyond ten hours.
#[derive(Clone)]
pub(crate) struct Histogram {
    counts: Vec<u64>,
    total: u64,
    max: Duration,
}

impl Histogram {
    pub(crate) fn new() -> Self {
        Self {
            counts: vec![0; BUCKETS],
            total: 0,
            max: Duration::ZERO,
        }
    }

    pub(crate) fn record(&mut self, latency: Duration) {
        let nanoseconds = u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX);
        self.counts[bucket(nanoseconds)] += 1;
        self.total += 1;
        self.max = self.max.max(latency);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.total == 0
    }

    /// The latency that `percent` of the records do not exceed, rounded up to its bucket's end.
    pub(crate) fn percentile(&self, percent: f64) -> Duration {
        let wanted = (self.total as f64 * percent / 100.0).ceil() as u64;
        let mut seen = 0;
        for (index, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= wanted.max(1) {
                return Duration::from_nanos(bucket_end(index)).min(self.max);
            }
        }
        self.max
    }
}

impl std::fmt::Display for Histogram {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let millis = |latency: Duration| latency.as_secs_f64() * 1e3;
        let [p50, p99, p999] = [50.0, 99.0, 99.9].map(|percent| millis(self.percentile(percent)));
        let max = millis(self.max);
        write!(
            f,
            "p50 {p50:.3} ms, p99 {p99:.3} ms, p99.9 {p999:.3} ms, max {max:.3} ms"
        )
    }
}

/// Values below `STEPS` have buckets of their own; above, the top bits choose.
fn bucket(value: u64) -> usize {
    let magnitude = value.max(1).ilog2();
    if magnitude < STEP_BITS {
        return value as usize;
    }
    let shift = magnitude - STEP_BITS;
    let step = (value >> shift) - STEPS;
    let index = u64::from(shift + 1) * STEPS + step;
    (index as usize).min(BUCKETS - 1)
}

/// The smallest value above bucket `index`.
fn bucket_end(index: usize) -> u64 {
    let (row, step) = (index as u64 / STEPS, index as u64 % STEPS);
    match row {
        0 => step + 1,
        _ => (STEPS + step + 1) << (row - 1),
    }
}
