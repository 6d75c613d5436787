//! The one count of bytes that all messages, outboxes and pending requests share.

use std::cell::Cell;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};

use crossbeam_utils::CachePadded;

/// Stripes of the count: threads beyond this share some.
const STRIPES: usize = 16;

/// Most bytes that a stripe keeps to itself before it tells the total.
const STRIPE_BYTES_MAX: u64 = 64 * 1024;

/// Share of the bound that it keeps to itself at the most.
const STRIPE_SHARE: u64 = 1024;

/// Bytes in use and how many there may be. The bound is kept by those who ask [`Budget::excess`]
/// and free something.
///
/// Each thread counts in a stripe of its own, which tells the total when it has something to tell:
/// two workers that count every message in one place spent a fifth of their time on its cache line.
/// So the total is right to within 64 KiB or a thousandth of the bound a thread.
#[derive(Debug)]
pub struct Budget {
    total: CachePadded<AtomicI64>,
    stripes: [CachePadded<AtomicI64>; STRIPES],
    stripe_bytes_max: i64,
    bytes_max: u64,
}

impl Budget {
    /// A budget of `bytes_max` bytes, none of them in use. It lives as long as the process, as
    /// messages do that refer to it: counting those references would cost what the stripes save.
    pub fn new(bytes_max: u64) -> &'static Budget {
        Box::leak(Box::new(Budget {
            total: CachePadded::default(),
            stripes: Default::default(),
            stripe_bytes_max: (bytes_max / STRIPE_SHARE).min(STRIPE_BYTES_MAX) as i64,
            bytes_max,
        }))
    }

    /// Bytes in use now, as far as the stripes have told.
    pub fn used(&self) -> u64 {
        // Relaxed: a statistic and a threshold, it orders no other memory.
        u64::try_from(self.total.load(Ordering::Relaxed)).unwrap_or(0)
    }

    /// Bytes in use now; exact while no other thread counts.
    pub fn used_exactly(&self) -> u64 {
        let stripes = self
            .stripes
            .iter()
            .map(|stripe| stripe.load(Ordering::Relaxed));
        let used = self.total.load(Ordering::Relaxed) + stripes.sum::<i64>();
        u64::try_from(used).unwrap_or(0)
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
    pub fn charge(&'static self, bytes: usize) -> Charge {
        self.count(bytes as i64);
        Charge {
            budget: self,
            bytes: bytes as u64,
        }
    }

    /// Counts `now` bytes where `before` were counted, for owners that keep a size of their own
    /// instead of a [`Charge`].
    pub fn adjust(&self, before: usize, now: usize) {
        self.count(now as i64 - before as i64);
    }

    fn count(&self, bytes: i64) {
        let stripe = &self.stripes[stripe_of_this_thread()];
        let kept = stripe.fetch_add(bytes, Ordering::Relaxed) + bytes;
        if kept.abs() > self.stripe_bytes_max {
            self.total
                .fetch_add(stripe.swap(0, Ordering::Relaxed), Ordering::Relaxed);
        }
    }
}

/// Bytes that are counted as long as this lives.
#[derive(Debug)]
pub struct Charge {
    budget: &'static Budget,
    bytes: u64,
}

impl Charge {
    /// How many.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Where they are counted.
    pub(super) fn budget(&self) -> &'static Budget {
        self.budget
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.budget.count(-(self.bytes as i64));
    }
}

fn stripe_of_this_thread() -> usize {
    static THREADS: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static STRIPE: Cell<usize> = const { Cell::new(usize::MAX) };
    }
    STRIPE.with(|stripe| {
        if stripe.get() == usize::MAX {
            stripe.set(THREADS.fetch_add(1, Ordering::Relaxed) % STRIPES);
        }
        stripe.get()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_while_charges_live() {
        let budget = Budget::new(100_000);
        let first = budget.charge(70_000);
        let second = budget.charge(50_000);
        assert_eq!(budget.used_exactly(), 120_000);
        drop(first);
        budget.adjust(0, 10);
        budget.adjust(10, 4);
        assert_eq!(budget.used_exactly(), 50_004);
        drop(second);
        assert_eq!(budget.used_exactly(), 4);
    }

    #[test]
    fn the_total_is_right_to_within_a_stripe_a_thread() {
        let budget = Budget::new(1_000_000);
        let threads: Vec<_> = (0..4)
            .map(|_| {
                std::thread::spawn(move || {
                    (0..1000).map(|_| budget.charge(999)).collect::<Vec<_>>()
                })
            })
            .collect();
        let charges: Vec<_> = threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .collect();
        assert_eq!(budget.used_exactly(), 4 * 999_000);
        assert!(budget.used().abs_diff(4 * 999_000) <= 4 * STRIPE_BYTES_MAX);
        assert!(budget.excess() > 2_500_000);
        drop(charges);
        assert_eq!(budget.used_exactly(), 0);
    }
}
