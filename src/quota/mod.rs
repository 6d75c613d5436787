//! How much each client may ask for in a minute (SPEC section 12, "Rate limits").
//!
//! All workers charge the same buckets, so that a limit holds to the message however a client spreads its
//! connections over them.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use governor::clock::{Clock, MonotonicClock};
use governor::middleware::StateInformationMiddleware;
use governor::state::keyed::DashMapStateStore;
use governor::{Quota, RateLimiter};

/// Clients that are told apart for each limit. Should more than these be active within a minute, those
/// who come then share [`SHARED_BUCKETS`].
const CLIENTS_MAX: usize = 100_000;

/// Buckets for those who are too many.
const SHARED_BUCKETS: u64 = 65_536;

/// The time that limits are for.
const PERIOD: Duration = Duration::from_secs(60);

type Buckets<C> = RateLimiter<u64, DashMapStateStore<u64>, C, StateInformationMiddleware>;

/// Who is charged.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Who(u64);

/// Where a client stands after a charge.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Standing {
    /// What it may ask for in a minute, and at once.
    pub limit: u32,
    /// What of this is left.
    pub remaining: u32,
    /// Seconds until all of it is there again, rounded up.
    pub full_in: u64,
}

/// A client has asked for more than it may.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Exhausted {
    /// Where it stands; nothing was taken.
    pub standing: Standing,
    /// Seconds until there is enough for the same request, at least 1. `None` if there never is.
    pub retry_after: Option<u64>,
}

/// What clients have left.
#[derive(Debug)]
pub struct Quotas<C: Clock = MonotonicClock> {
    default: Option<NonZeroU32>,
    clock: C,
    /// Of each limit that somebody has.
    limits: RwLock<HashMap<NonZeroU32, Arc<Limit<C>>>>,
    hasher: RandomState,
}

#[derive(Debug)]
struct Limit<C: Clock> {
    buckets: Buckets<C>,
    /// There are as many as are told apart.
    is_crowded: AtomicBool,
}

impl Quotas {
    /// Quotas with this limit, in messages a minute, for those who have none of their own; 0 for none.
    pub fn new(default: u32) -> Quotas {
        Quotas::with_clock(default, MonotonicClock)
    }
}

impl<C: Clock + Clone> Quotas<C> {
    fn with_clock(default: u32, clock: C) -> Quotas<C> {
        Quotas {
            default: NonZeroU32::new(default),
            clock,
            limits: RwLock::default(),
            // Secret, so that nobody can find another's bucket.
            hasher: RandomState::new(),
        }
    }

    /// Whether those are limited who have no limit of their own.
    pub fn has_default(&self) -> bool {
        self.default.is_some()
    }

    /// Who has this name. Two names are one with a chance of 2⁻⁶⁴.
    pub fn named(&self, identity: &str) -> Who {
        Who(self.hasher.hash_one(identity))
    }

    /// Who has this address: all of a /64 in IPv6 are one, since one customer gets no less.
    pub fn at(&self, address: IpAddr) -> Who {
        let address = match address.to_canonical() {
            IpAddr::V6(address) => {
                let network = u128::from(address) >> 64 << 64;
                IpAddr::V6(Ipv6Addr::from(network))
            }
            address => address,
        };
        Who(self.hasher.hash_one(address))
    }

    /// Takes so much from what a client has left, all or nothing. Its own limit goes before the default,
    /// and 0 is none: then `None`.
    ///
    /// # Errors
    /// When not so much is left.
    pub fn charge(
        &self,
        who: Who,
        own: Option<u32>,
        count: NonZeroU32,
    ) -> Result<Option<Standing>, Exhausted> {
        let limit = own.map_or(self.default, NonZeroU32::new);
        let Some(limit) = limit else {
            return Ok(None);
        };
        let buckets = self.limit(limit);
        let key = match buckets.is_crowded.load(Ordering::Relaxed) {
            true => who.0 % SHARED_BUCKETS,
            false => who.0,
        };
        let standing = |remaining: u32| {
            let used = u64::from(limit.get() - remaining);
            Standing {
                limit: limit.get(),
                remaining,
                full_in: (used * PERIOD.as_secs()).div_ceil(u64::from(limit.get())),
            }
        };
        match buckets.buckets.check_key_n(&key, count) {
            Ok(Ok(state)) => Ok(Some(standing(state.remaining_burst_capacity()))),
            Ok(Err(not_until)) => {
                let wait = not_until.wait_time_from(self.clock.now());
                let missing = wait
                    .as_nanos()
                    .div_ceil(PERIOD.as_nanos() / u128::from(limit.get()));
                let missing = u32::try_from(missing).unwrap_or(u32::MAX).max(1);
                Err(Exhausted {
                    standing: standing(count.get().saturating_sub(missing)),
                    retry_after: Some(wait.as_secs() + u64::from(wait.subsec_nanos() > 0))
                        .map(|it| it.max(1)),
                })
            }
            Err(_) => Err(Exhausted {
                standing: standing(0),
                retry_after: None,
            }),
        }
    }

    /// Forgets those who have everything again. To be called about once a second: it does nothing while
    /// there are few.
    pub fn sweep(&self) {
        let limits = self.limits.read().unwrap_or_else(PoisonError::into_inner);
        for limit in limits.values() {
            if limit.buckets.len() >= CLIENTS_MAX {
                limit.buckets.retain_recent();
            }
            let is_crowded = limit.buckets.len() >= CLIENTS_MAX;
            limit.is_crowded.store(is_crowded, Ordering::Relaxed);
        }
    }

    fn limit(&self, limit: NonZeroU32) -> Arc<Limit<C>> {
        let known = self.limits.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(buckets) = known.get(&limit) {
            return Arc::clone(buckets);
        }
        drop(known);
        let mut limits = self.limits.write().unwrap_or_else(PoisonError::into_inner);
        let fresh = || {
            let quota = Quota::per_minute(limit);
            let buckets = RateLimiter::dashmap_with_clock(quota, self.clock.clone());
            Arc::new(Limit {
                buckets: buckets.with_middleware(),
                is_crowded: AtomicBool::new(false),
            })
        };
        Arc::clone(limits.entry(limit).or_insert_with(fresh))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use governor::clock::FakeRelativeClock;

    fn count(count: u32) -> NonZeroU32 {
        NonZeroU32::new(count).expect("something")
    }

    #[test]
    fn a_bucket_is_emptied_and_fills_again() {
        let clock = FakeRelativeClock::default();
        let quotas = Quotas::with_clock(60, clock.clone());
        let who = quotas.named("key:a");
        let standing = |remaining, full_in| Standing {
            limit: 60,
            remaining,
            full_in,
        };
        assert_eq!(
            quotas.charge(who, None, count(1)),
            Ok(Some(standing(59, 1)))
        );
        assert_eq!(
            quotas.charge(who, None, count(50)),
            Ok(Some(standing(9, 51)))
        );
        let refused = Exhausted {
            standing: standing(9, 51),
            retry_after: Some(1),
        };
        assert_eq!(
            quotas.charge(who, None, count(10)),
            Err(refused),
            "all or nothing"
        );
        assert_eq!(
            quotas.charge(who, None, count(9)),
            Ok(Some(standing(0, 60)))
        );
        let empty = quotas.charge(who, None, count(3)).unwrap_err();
        assert_eq!(
            (empty.standing, empty.retry_after),
            (standing(0, 60), Some(3))
        );
        clock.advance(Duration::from_millis(2_500));
        assert_eq!(
            quotas.charge(who, None, count(2)),
            Ok(Some(standing(0, 60)))
        );
        clock.advance(PERIOD);
        assert_eq!(
            quotas.charge(who, None, count(60)),
            Ok(Some(standing(0, 60)))
        );
    }

    #[test]
    fn more_than_ever_fits_is_never_allowed() {
        let quotas = Quotas::new(10);
        let refused = quotas
            .charge(quotas.named("a"), None, count(11))
            .unwrap_err();
        assert_eq!(refused.retry_after, None);
        assert!(quotas.charge(quotas.named("a"), None, count(10)).is_ok());
    }

    #[test]
    fn a_limit_of_its_own_goes_first_and_zero_is_none() {
        let quotas = Quotas::new(1);
        let who = quotas.named("a");
        assert!(quotas.charge(who, None, count(1)).is_ok());
        assert!(quotas.charge(who, None, count(1)).is_err());
        assert_eq!(quotas.charge(who, Some(0), count(100)), Ok(None));
        let own = quotas.charge(who, Some(100), count(1)).unwrap().unwrap();
        assert_eq!((own.limit, own.remaining), (100, 99));
        let open = Quotas::new(0);
        assert!(!open.has_default());
        assert_eq!(open.charge(who, None, count(100)), Ok(None));
    }

    #[test]
    fn clients_are_told_apart_by_name_address_and_network() {
        let quotas = Quotas::new(1);
        let at = |text: &str| quotas.at(text.parse().expect("an address"));
        assert_ne!(quotas.named("a"), quotas.named("b"));
        assert_ne!(at("192.0.2.1"), at("192.0.2.2"));
        assert_eq!(at("192.0.2.1"), at("::ffff:192.0.2.1"));
        assert_eq!(at("2001:db8::1"), at("2001:db8::ffff:1"));
        assert_ne!(at("2001:db8::1"), at("2001:db8:0:1::1"));
    }

    #[test]
    fn threads_share_a_bucket_to_the_message() {
        let clock = FakeRelativeClock::default();
        let quotas = Quotas::with_clock(1_000, clock);
        let taken: u32 = std::thread::scope(|scope| {
            let run = || {
                (0..500)
                    .filter(|_| quotas.charge(quotas.named("a"), None, count(1)).is_ok())
                    .count() as u32
            };
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(run)).collect();
            threads
                .into_iter()
                .map(|it| it.join().expect("it ends"))
                .sum()
        });
        assert_eq!(taken, 1_000);
    }

    #[test]
    fn too_many_clients_share_what_there_is() {
        let clock = FakeRelativeClock::default();
        let quotas = Quotas::with_clock(60, clock.clone());
        for number in 0..CLIENTS_MAX {
            assert!(quotas.charge(Who(number as u64), None, count(60)).is_ok());
        }
        quotas.sweep();
        let far = Who(SHARED_BUCKETS * 1_000_000 + 7);
        assert!(
            quotas.charge(far, None, count(60)).is_err(),
            "it shares the bucket of 7"
        );
        clock.advance(2 * PERIOD);
        quotas.sweep();
        assert!(quotas.charge(far, None, count(60)).is_ok());
        assert_eq!(quotas.limit(count(60)).buckets.len(), 1);
    }
}
