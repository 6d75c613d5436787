//! Where the time comes from. Whoever owns a clock reads it and hands a [`Moment`] to all others.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use crate::moment::{Moment, micros};

/// Both clocks of this process.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    start: Instant,
}

impl Clock {
    /// Starts the monotonic clock.
    pub fn start() -> Clock {
        Clock {
            start: Instant::now(),
        }
    }

    /// Now.
    pub fn now(&self) -> Moment {
        // Before 1970 is 1970.
        let wall = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        Moment {
            wall_micros: micros(wall),
            monotonic_micros: micros(self.start.elapsed()),
        }
    }
}
