//! Latencies in an HDR histogram: bounded memory, three digits at every magnitude.

use std::fmt;
use std::time::Duration;

/// Shorter ones count as this one.
const SHORTEST: u64 = 1_000;
/// Longer ones count as this one: an hour, in nanoseconds.
const LONGEST: u64 = 3_600_000_000_000;
const DIGITS: u8 = 3;

/// Counts of durations from a microsecond to an hour.
#[derive(Clone, Debug)]
pub struct Histogram {
    /// In nanoseconds.
    counts: hdrhistogram::Histogram<u64>,
}

impl Default for Histogram {
    fn default() -> Self {
        Self::new()
    }
}

impl Histogram {
    /// An empty one, of a quarter of a megabyte.
    pub fn new() -> Self {
        let counts = hdrhistogram::Histogram::new_with_bounds(SHORTEST, LONGEST, DIGITS);
        Self {
            counts: counts.expect("the bounds are in order and three digits are allowed"),
        }
    }

    /// Counts one.
    pub fn record(&mut self, latency: Duration) {
        let nanoseconds = u64::try_from(latency.as_nanos()).unwrap_or(LONGEST);
        self.counts.saturating_record(nanoseconds.max(SHORTEST));
    }

    /// Whether nothing was counted.
    pub fn is_empty(&self) -> bool {
        self.counts.is_empty()
    }

    /// How many were counted.
    pub fn count(&self) -> u64 {
        self.counts.len()
    }

    /// The latency that `percent` of the records do not exceed, rounded up to its bucket's end; zero if there
    /// are none.
    pub fn percentile(&self, percent: f64) -> Duration {
        Duration::from_nanos(self.counts.value_at_quantile(percent / 100.0))
    }

    /// The mean.
    pub fn mean(&self) -> Duration {
        Duration::from_nanos(self.counts.mean() as u64)
    }

    /// The longest, rounded like a percentile.
    pub fn max(&self) -> Duration {
        Duration::from_nanos(self.counts.max())
    }
}

impl fmt::Display for Histogram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = |latency: Duration| latency.as_secs_f64() * 1e3;
        let [p50, p99, p999] = [50.0, 99.0, 99.9].map(|percent| millis(self.percentile(percent)));
        let max = millis(self.max());
        write!(
            f,
            "p50 {p50:.3} ms, p99 {p99:.3} ms, p99.9 {p999:.3} ms, max {max:.3} ms"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_have_three_digits() {
        let mut latencies = Histogram::new();
        assert_eq!(latencies.percentile(99.0), Duration::ZERO);
        for millis in 1..=1000 {
            latencies.record(Duration::from_millis(millis));
        }
        for (percent, millis) in [(50.0, 500.0), (99.0, 990.0), (100.0, 1000.0)] {
            let found = latencies.percentile(percent).as_secs_f64() * 1e3;
            assert!((found / millis - 1.0).abs() < 0.002, "{percent}: {found}");
        }
        assert_eq!(latencies.count(), 1000);
    }

    #[test]
    fn what_is_out_of_bounds_counts_as_the_bound() {
        let mut latencies = Histogram::new();
        latencies.record(Duration::ZERO);
        latencies.record(Duration::MAX);
        assert!(latencies.percentile(1.0) < Duration::from_micros(3));
        let longest = latencies.max().as_secs_f64();
        assert!((longest / 3600.0 - 1.0).abs() < 0.002, "{longest}");
    }
}
