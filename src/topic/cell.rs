//! A shard behind its lock.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::shard::Shard;

/// One shard with its lock, and what can be read without it. The numbers change under the lock
/// alone, so a plain load and store suffice; all of them are statistics and hints (`Relaxed`).
#[derive(Debug)]
pub(super) struct ShardCell {
    shard: Mutex<Shard>,
    /// Bytes of the shard's logs.
    bytes: AtomicU64,
    /// Bytes of its largest log; possibly a little old.
    largest_bytes: AtomicU64,
    /// Messages evicted from it.
    evicted: AtomicU64,
}

impl ShardCell {
    /// An empty shard that remembers at most `marks_max` freed topics.
    pub(super) fn new(marks_max: usize) -> ShardCell {
        ShardCell {
            shard: Mutex::new(Shard::new(marks_max)),
            bytes: AtomicU64::new(0),
            largest_bytes: AtomicU64::new(0),
            evicted: AtomicU64::new(0),
        }
    }

    /// Locks the shard.
    pub(super) fn lock(&self) -> MutexGuard<'_, Shard> {
        // A panic under the lock is a defect of ours; the other topics of the shard go on.
        self.shard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Bytes of all logs.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Messages evicted.
    pub(super) fn evicted(&self) -> u64 {
        self.evicted.load(Ordering::Relaxed)
    }

    /// Bytes of the largest log.
    pub(super) fn largest_bytes(&self) -> u64 {
        self.largest_bytes.load(Ordering::Relaxed)
    }

    /// Under the lock: so large is the largest log.
    pub(super) fn note_largest(&self, bytes: u64) {
        self.largest_bytes.store(bytes, Ordering::Relaxed);
    }

    /// Under the lock: logs changed from `before` to `after` bytes, and lost so many messages.
    pub(super) fn account(&self, before: u64, after: u64, evicted: usize) {
        let bytes = self
            .bytes
            .load(Ordering::Relaxed)
            .wrapping_add(after.wrapping_sub(before));
        self.bytes.store(bytes, Ordering::Relaxed);
        let evicted = self.evicted.load(Ordering::Relaxed) + evicted as u64;
        self.evicted.store(evicted, Ordering::Relaxed);
    }

    /// As [`ShardCell::account`], for one log that may have become the largest.
    pub(super) fn account_stored(&self, before: u64, after: u64, evicted: usize) {
        self.account(before, after, evicted);
        if after > self.largest_bytes() {
            self.note_largest(after);
        }
    }
}
