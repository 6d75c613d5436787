//! When something that one worker does for all is due again.

/// A job that is sent again and again, and one at a time.
#[derive(Debug)]
pub(super) struct Beat {
    /// In monotonic microseconds; `u64::MAX` for never.
    due: u64,
    is_under_way: bool,
}

/// Between two times, in microseconds.
const INTERVAL_MICROS: u64 = 200_000;

impl Beat {
    /// Of a worker that does it, or does not.
    pub(super) fn new(does_it: bool) -> Beat {
        Beat {
            due: if does_it { 0 } else { u64::MAX },
            is_under_way: false,
        }
    }

    /// When to wake for it, in monotonic microseconds.
    pub(super) fn due(&self) -> u64 {
        if self.is_under_way {
            u64::MAX
        } else {
            self.due
        }
    }

    /// Whether it is time; then the next time is set.
    pub(super) fn begins(&mut self, now_micros: u64) -> bool {
        let begins = now_micros >= self.due();
        if begins {
            self.due = now_micros + INTERVAL_MICROS;
        }
        begins
    }

    /// It was sent: no other is until it has ended.
    pub(super) fn is_sent(&mut self) {
        self.is_under_way = true;
    }

    /// It has ended.
    pub(super) fn ends(&mut self) {
        self.is_under_way = false;
    }

    /// The next time is now.
    pub(super) fn hurry(&mut self) {
        self.due = 0;
    }
}
