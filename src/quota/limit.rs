//! The buckets of all clients that have the same limit.

use std::num::NonZeroU32;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use governor::clock::Clock;
use governor::middleware::StateInformationMiddleware;
use governor::state::keyed::DashMapStateStore;
use governor::{Quota, RateLimiter};

use super::{PERIOD, Who};

/// Clients that are told apart. Should more than these be active within a minute, those who come then
/// share [`SHARED_BUCKETS`].
pub(super) const CLIENTS_MAX: usize = 100_000;

/// Buckets for those who are too many.
pub(super) const SHARED_BUCKETS: u128 = 65_536;

type Buckets<C> = RateLimiter<u128, DashMapStateStore<u128>, C, StateInformationMiddleware>;

/// A limit, and what those have left who have it.
#[derive(Debug)]
pub(super) struct Limit<C: Clock> {
    messages: NonZeroU32,
    clock: C,
    buckets: Buckets<C>,
    /// There are as many as are told apart.
    is_crowded: AtomicBool,
}

/// There is not so much; nothing was taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Shortage {
    /// There is only so much now, and enough after this time.
    Now(u32, Duration),
    /// There never is.
    Ever,
}

impl<C: Clock + Clone> Limit<C> {
    /// So many messages in a minute, and at once.
    pub(super) fn new(messages: NonZeroU32, clock: C) -> Limit<C> {
        let buckets = RateLimiter::dashmap_with_clock(Quota::per_minute(messages), clock.clone());
        Limit {
            messages,
            clock,
            buckets: buckets.with_middleware(),
            is_crowded: AtomicBool::new(false),
        }
    }

    /// Takes so much, and tells what remains.
    pub(super) fn take(&self, Who(who): Who, count: NonZeroU32) -> Result<u32, Shortage> {
        let is_crowded = self.is_crowded.load(Ordering::Relaxed);
        let key = if is_crowded {
            who % SHARED_BUCKETS
        } else {
            who
        };
        match self.buckets.check_key_n(&key, count) {
            Ok(Ok(state)) => Ok(state.remaining_burst_capacity()),
            Ok(Err(not_until)) => {
                let wait = not_until.wait_time_from(self.clock.now());
                let for_one = PERIOD.as_nanos() / u128::from(self.messages.get());
                let missing = wait.as_nanos().div_ceil(for_one).max(1);
                let missing = u32::try_from(missing).unwrap_or(u32::MAX);
                Err(Shortage::Now(count.get().saturating_sub(missing), wait))
            }
            Err(_) => Err(Shortage::Ever),
        }
    }

    /// Takes as much of an amount as there is; how much that was.
    pub(super) fn take_some(&self, who: Who, amount: NonZeroU32) -> u32 {
        let amount = amount.min(self.messages);
        match self.take(who, amount) {
            Ok(_) => amount.get(),
            Err(Shortage::Now(some, _)) => {
                let some = NonZeroU32::new(some);
                some.filter(|some| self.take(who, *some).is_ok())
                    .map_or(0, NonZeroU32::get)
            }
            Err(Shortage::Ever) => 0,
        }
    }

    /// Forgets those who have everything again, if there are many.
    pub(super) fn sweep(&self) {
        if self.len() >= CLIENTS_MAX {
            self.buckets.retain_recent();
        }
        let is_crowded = self.len() >= CLIENTS_MAX;
        self.is_crowded.store(is_crowded, Ordering::Relaxed);
    }

    /// Clients that are remembered.
    pub(super) fn len(&self) -> usize {
        self.buckets.len()
    }
}
