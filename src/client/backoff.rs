//! How long to wait before the next try.

use std::time::Duration;

/// The first wait, at most.
const FIRST: Duration = Duration::from_millis(250);
/// The longest wait.
const MAX: Duration = Duration::from_secs(30);

/// Waits that double from one try to the next, each shortened by up to a half at random, so that many clients
/// of one server do not come back together.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    tries: u32,
}

impl Backoff {
    /// The wait before the next try.
    pub(super) fn next(&mut self) -> Duration {
        let longest = FIRST.saturating_mul(1 << self.tries.min(16)).min(MAX);
        self.tries = self.tries.saturating_add(1);
        longest.mul_f64(0.5 + fastrand::f64() / 2.0)
    }

    /// The last try has succeeded.
    pub(super) fn reset(&mut self) {
        self.tries = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_a_bound_and_begin_anew() {
        let mut backoff = Backoff::default();
        let mut longest = FIRST;
        for _ in 0..40 {
            let wait = backoff.next();
            assert!(longest / 2 <= wait && wait <= longest, "{wait:?}");
            longest = (longest * 2).min(MAX);
        }
        backoff.reset();
        assert!(backoff.next() <= FIRST);
    }
}
