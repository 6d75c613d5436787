//! When the requests of a load at a rate are to be sent, whether or not they can be.

use std::time::{Duration, Instant};

/// When requests are to be sent.
pub(super) struct Schedule {
    pub(super) begin: Instant,
    /// Seconds between two requests.
    pub(super) interval: f64,
    /// Requests that were due and are sent.
    pub(super) sent: u64,
    /// Nothing is due from here on.
    pub(super) end: Instant,
}

impl Schedule {
    pub(super) fn next(&self) -> Instant {
        // Multiplied, not added up, so that rounding does not make another rate.
        self.begin + Duration::from_secs_f64(self.interval * self.sent as f64)
    }

    pub(super) fn is_over(&self) -> bool {
        self.next() >= self.end
    }

    /// Requests that are due before the end and not sent.
    pub(super) fn left(&self) -> u64 {
        let left = self.end.saturating_duration_since(self.next());
        (left.as_secs_f64() / self.interval).ceil() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_is_what_is_still_due() {
        let begin = Instant::now();
        for (interval, sent, left) in [(1.0, 0, 4), (1.0, 3, 1), (1.0, 4, 0), (0.25, 2, 12)] {
            let schedule = Schedule {
                begin,
                interval,
                sent,
                end: begin + Duration::from_millis(3_500),
            };
            assert_eq!(schedule.left(), left, "{interval} {sent}");
        }
    }
}
