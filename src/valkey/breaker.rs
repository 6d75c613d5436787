//! When to try again, and when to stop letting others wait. Plain state; whoever owns it says what
//! time it is, in monotonic microseconds.

/// Longest wait before the first new try.
const WAIT_MICROS_FIRST: u64 = 50_000;
/// Longest wait before any.
const WAIT_MICROS_MAX: u64 = 1_000_000;
/// Without a connection for so long, nobody is let wait for one.
const PATIENCE_MICROS: u64 = 1_000_000;

/// Exponential back-off with full jitter, so that instances which lost the same server do not come
/// back in step.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    tries: u32,
}

impl Backoff {
    /// How long to wait now, in microseconds; `random_below` gives a number from 0 to below its
    /// argument.
    pub(super) fn next(&mut self, random_below: impl FnOnce(u64) -> u64) -> u64 {
        let longest = (WAIT_MICROS_FIRST << self.tries.min(16)).min(WAIT_MICROS_MAX);
        self.tries = self.tries.saturating_add(1);
        // Never none at all: a server that refuses at once must not be asked in a tight loop.
        1_000 + random_below(longest)
    }

    /// It went well.
    pub(super) fn reset(&mut self) {
        self.tries = 0;
    }
}

/// Open: there has been no connection for a while, so whoever wants something is refused at once.
/// The next connection closes it again, so trying to connect is the probe.
#[derive(Debug)]
pub(super) struct Breaker {
    /// Since when there has been no connection.
    lost_at: Option<u64>,
}

impl Breaker {
    /// Of somebody who begins to connect.
    pub(super) fn new(now: u64) -> Breaker {
        Breaker { lost_at: Some(now) }
    }

    /// There is a connection.
    pub(super) fn connected(&mut self) {
        self.lost_at = None;
    }

    /// There is none, or none any more.
    pub(super) fn lost(&mut self, now: u64) {
        self.lost_at.get_or_insert(now);
    }

    /// Whether others are to be refused.
    pub(super) fn is_open(&self, now: u64) -> bool {
        self.lost_at
            .is_some_and(|lost_at| now.saturating_sub(lost_at) >= PATIENCE_MICROS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_a_second_and_start_over() {
        let mut backoff = Backoff::default();
        let longest = |backoff: &mut Backoff| backoff.next(|below| below - 1);
        let waits: Vec<_> = (0..7).map(|_| longest(&mut backoff) / 1_000).collect();
        assert_eq!(waits, [50, 100, 200, 400, 800, 1_000, 1_000]);
        assert_eq!(backoff.next(|_| 0), 1_000);
        for _ in 0..100 {
            longest(&mut backoff);
        }
        backoff.reset();
        assert!(longest(&mut backoff) < 52_000);
    }

    #[test]
    fn opens_a_second_after_the_loss_and_closes_with_a_connection() {
        let mut breaker = Breaker::new(5);
        assert!(!breaker.is_open(5 + PATIENCE_MICROS - 1) && breaker.is_open(5 + PATIENCE_MICROS));
        breaker.connected();
        assert!(!breaker.is_open(u64::MAX));
        breaker.lost(10);
        breaker.lost(500_000);
        assert!(breaker.is_open(10 + PATIENCE_MICROS));
    }
}
