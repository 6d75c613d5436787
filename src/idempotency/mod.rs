//! The first answers to publish requests with an `Idempotency-Key`: a repeat gets the same answer and
//! publishes nothing (SPEC section 3). One memory for all workers; no sockets, no clock.
//!
//! ```text
//!   begin ──► New: publish, then Claim::settle ──► remembered for 600 s
//!     │                     └── dropped, or another status ──► as if it had not been
//!     ├────► Replay: the first answer       (while the first is under way, begin waits for it)
//!     ├────► Reused: the key belongs to another request
//!     └────► Full: the first answers that must be kept leave no room
//! ```

mod entries;
mod request;
#[cfg(test)]
mod tests;

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crossbeam_utils::CachePadded;

use crate::moment::micros;
use entries::{Entries, Look};

pub use request::{Attempt, Caller, Key};

/// How long a first answer is remembered (SPEC section 3).
pub const REMEMBERED: Duration = Duration::from_secs(600);

/// Locked parts: workers with different keys seldom meet.
const STRIPES: usize = 16;

/// Expired answers that one request frees of its stripe. More than the one that it adds, so that
/// none stay; few, so that no request pays for all.
const FREED_AT_ONCE: usize = 64;

/// What an entry takes beside its key and the answer's body: itself and its place in the order of
/// expiry, three allocations, and the slack of a table and a queue that double.
const ENTRY_BYTES: usize = 256;

/// First answers by caller and key, at most so many bytes of them.
#[derive(Debug)]
pub struct Idempotency {
    stripes: [CachePadded<Stripe>; STRIPES],
    // Seeded at random: keys are chosen by strangers.
    hasher: RandomState,
    /// `used <= bytes_max`: reserved before anything is kept.
    used: AtomicUsize,
    bytes_max: usize,
}

#[derive(Default, Debug)]
struct Stripe {
    entries: Mutex<Entries>,
    /// An entry of this stripe is no longer under way.
    settled: Condvar,
}

/// What a request with a key is.
#[derive(Debug)]
pub enum Begun<'a> {
    /// The first with this key: to be carried out, and then settled.
    New(Claim<'a>),
    /// A repeat: status and body of the first answer.
    Replay(u16, Arc<[u8]>),
    /// Another request than the first with this key.
    Reused,
    /// One with a new key, for which there is no room.
    Full,
}

/// The right and the duty to carry out the first request with a key. Others with this key wait as
/// long as it lives. Dropped without [`Claim::settle`] it leaves nothing behind.
///
/// A thread that holds one must not begin another: it might wait for itself.
#[derive(Debug)]
pub struct Claim<'a> {
    memory: &'a Idempotency,
    hash: u64,
    id: u64,
    expires_at: u64,
    /// Bytes that are counted for it.
    reserved: usize,
}

impl Idempotency {
    /// A memory of at most `bytes_max` bytes: keys, bodies, and what keeping them takes.
    pub fn new(bytes_max: usize) -> Idempotency {
        Idempotency {
            stripes: Default::default(),
            hasher: RandomState::new(),
            used: AtomicUsize::new(0),
            bytes_max,
        }
    }

    /// Looks for the first request with this caller's key; waits for it if it is under way. The body
    /// of the answer will not be longer than `answer_bytes_max`; `now` is monotonic, in microseconds.
    pub fn begin(
        &self,
        caller: Caller,
        attempt: &Attempt,
        answer_bytes_max: usize,
        now: u64,
    ) -> Begun<'_> {
        let reserved = ENTRY_BYTES + attempt.key().len() + answer_bytes_max;
        self.make_room(reserved, now);
        let hash = self.hasher.hash_one((caller, attempt.key()));
        let stripe = self.stripe(hash);
        let mut entries = stripe.lock();
        self.release(entries.free_expired(now, FREED_AT_ONCE).1);
        // Not endless: who holds a claim settles or drops it without waiting for anybody.
        loop {
            match entries.look(hash, caller, attempt, now) {
                Look::Nothing => break,
                Look::UnderWay => {
                    let woken = stripe.settled.wait(entries);
                    entries = woken.unwrap_or_else(PoisonError::into_inner);
                }
                Look::Expired(id) => self.release(entries.forget(hash, id)),
                Look::Settled(status, body) => return Begun::Replay(status, body),
                Look::Other => return Begun::Reused,
            }
        }
        if !self.reserve(reserved) {
            return Begun::Full;
        }
        let id = entries.begin(hash, caller, attempt);
        Begun::New(Claim {
            memory: self,
            hash,
            id,
            expires_at: now.saturating_add(micros(REMEMBERED)),
            reserved,
        })
    }

    /// Bytes in use.
    pub fn used(&self) -> usize {
        // Relaxed: a count, it orders no other memory.
        self.used.load(Ordering::Relaxed)
    }

    fn stripe(&self, hash: u64) -> &Stripe {
        // Neither the lowest nor the highest bits, by which the table goes.
        &self.stripes[(hash >> 32) as usize % STRIPES]
    }

    /// Frees expired answers, wherever they are, until there is room or none are left.
    fn make_room(&self, bytes: usize, now: u64) {
        let has_room = || self.used().saturating_add(bytes) <= self.bytes_max;
        for stripe in &self.stripes {
            while !has_room() {
                let (count, freed) = stripe.lock().free_expired(now, FREED_AT_ONCE);
                self.release(freed);
                if count == 0 {
                    break;
                }
            }
        }
    }

    fn reserve(&self, bytes: usize) -> bool {
        let more = |used: usize| used.checked_add(bytes).filter(|sum| *sum <= self.bytes_max);
        self.used
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, more)
            .is_ok()
    }

    fn release(&self, bytes: usize) {
        self.used.fetch_sub(bytes, Ordering::Relaxed);
    }
}

impl Stripe {
    /// The entries stay whole when a thread panics with the lock: each change is one call.
    fn lock(&self) -> MutexGuard<'_, Entries> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Claim<'_> {
    /// The request was answered. The answers 201 and 207 are remembered; any other leaves the key
    /// free, so that a repeat is carried out.
    pub fn settle(mut self, status: u16, body: &[u8]) {
        if !matches!(status, 201 | 207) {
            return;
        }
        let body: Arc<[u8]> = body.into();
        let stripe = self.memory.stripe(self.hash);
        let kept = stripe
            .lock()
            .settle(self.hash, self.id, status, body, self.expires_at);
        self.memory.used.fetch_add(kept, Ordering::Relaxed);
        // Nothing is left to be undone.
        self.memory.release(std::mem::take(&mut self.reserved));
        stripe.settled.notify_all();
    }
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        if self.reserved > 0 {
            let stripe = self.memory.stripe(self.hash);
            stripe.lock().forget(self.hash, self.id);
            self.memory.release(self.reserved);
            stripe.settled.notify_all();
        }
    }
}
