//! The one count of bytes that all messages, outboxes and pending requests share.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Bytes in use and how many there may be. Counting is exact; the bound is kept by those who ask
/// [`Budget::excess`] and free something.
#[derive(Debug)]
pub struct Budget {
    used: AtomicU64,
    bytes_max: u64,
}

impl Budget {
    /// A budget of `bytes_max` bytes, none of them in use.
    pub fn new(bytes_max: u64) -> Arc<Budget> {
        Arc::new(Budget {
            used: AtomicU64::new(0),
            bytes_max,
        })
    }

    /// Bytes in use now.
    pub fn used(&self) -> u64 {
        // Relaxed: a statistic and a threshold, it orders no other memory.
        self.used.load(Ordering::Relaxed)
    }

    /// The bound.
    pub fn bytes_max(&self) -> u64 {
        self.bytes_max
    }

    /// Bytes in use beyond the bound.
    pub fn excess(&self) -> u64 {
        self.used().saturating_sub(self.bytes_max)
    }

    /// Counts `bytes` until the charge is dropped.
    pub fn charge(self: &Arc<Budget>, bytes: usize) -> Charge {
        let bytes = bytes as u64;
        self.used.fetch_add(bytes, Ordering::Relaxed);
        Charge {
            budget: Arc::clone(self),
            bytes,
        }
    }

    /// Counts `now` bytes where `before` were counted, for owners that keep a size of their own
    /// instead of a [`Charge`].
    pub fn adjust(&self, before: usize, now: usize) {
        if now > before {
            self.used
                .fetch_add((now - before) as u64, Ordering::Relaxed);
        } else {
            self.used
                .fetch_sub((before - now) as u64, Ordering::Relaxed);
        }
    }
}

/// Bytes that are counted as long as this lives.
#[derive(Debug)]
pub struct Charge {
    budget: Arc<Budget>,
    bytes: u64,
}

impl Charge {
    /// How many.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.budget.used.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_while_charges_live() {
        let budget = Budget::new(100);
        let first = budget.charge(70);
        let second = budget.charge(50);
        assert_eq!((budget.used(), budget.excess()), (120, 20));
        drop(first);
        assert_eq!((budget.used(), budget.excess()), (50, 0));
        budget.adjust(0, 10);
        budget.adjust(10, 4);
        assert_eq!(budget.used(), 54);
        drop(second);
        assert_eq!(budget.used(), 4);
    }
}
