//! The end of a connection, in which the peer reads what was said last (RFC 9112 section 9.6).

use super::{CloseReason, Turn};

/// Bytes that are thrown away before the connection is reset after all.
const DISCARDED_BYTES_MAX: usize = 64 * 1024;

/// Throws away what comes, within bounds.
#[derive(Debug)]
pub struct Closing {
    reason: CloseReason,
    left: usize,
    deadline: u64,
}

impl Closing {
    pub(super) fn new(reason: CloseReason, deadline: u64) -> Closing {
        Closing {
            reason,
            left: DISCARDED_BYTES_MAX,
            deadline,
        }
    }

    pub(super) fn receive(&mut self, input: &[u8]) -> Turn {
        let effect = if input.len() > self.left {
            Turn::close(self.reason)
        } else {
            Turn::default()
        };
        self.left = self.left.saturating_sub(input.len());
        effect.behind(input.len())
    }

    /// The peer takes what was said: it gets more time.
    pub fn postpone(&mut self, deadline: u64) {
        self.deadline = self.deadline.max(deadline);
    }

    pub(super) fn deadline(&self) -> u64 {
        self.deadline
    }

    /// Why the connection ends.
    pub fn reason(&self) -> CloseReason {
        self.reason
    }
}
