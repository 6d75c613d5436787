//! How much each client may ask for in a minute (SPEC section 12, "Rate limits").
//!
//! All workers charge the same buckets, so that a limit holds to the message however a client spreads its
//! connections over them. Instances tell one another what they charge.

mod limit;
mod sharing;
mod tally;

use std::collections::HashMap;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use governor::clock::{Clock, MonotonicClock};

use limit::{Limit, Shortage};
use sharing::Sharing;

pub use tally::{Excess, Held, Tally};

/// The time that limits are for.
const PERIOD: Duration = Duration::from_secs(60);

/// Who is charged, by a number that is the same in all instances.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Who(pub u128);

impl Who {
    /// Who has this address: all of a /64 in IPv6 are one, since no customer gets less.
    pub fn at(address: IpAddr) -> Who {
        match address.to_canonical() {
            IpAddr::V4(address) => Who(u128::from(address.to_ipv6_mapped())),
            IpAddr::V6(address) => Who(u128::from(address) >> 64 << 64),
        }
    }
}

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

/// What somebody was charged, of which limit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Charge {
    /// Who.
    pub who: Who,
    /// Of which limit, in messages a minute.
    pub limit: NonZeroU32,
    /// How much.
    pub count: u32,
}

/// What clients have left.
#[derive(Debug)]
pub struct Quotas<C: Clock = MonotonicClock> {
    default: Option<NonZeroU32>,
    clock: C,
    /// Those that somebody has.
    limits: RwLock<HashMap<NonZeroU32, Arc<Limit<C>>>>,
    /// With other instances, if there can be any.
    sharing: Option<Sharing>,
}

impl Quotas {
    /// Quotas with this limit, in messages a minute, for those who have none of their own; 0 for none. They
    /// are shared by those instances that hear of one another.
    pub fn new(default: u32, is_shared: bool) -> Quotas {
        Quotas::with_clock(default, is_shared, MonotonicClock)
    }
}

impl<C: Clock + Clone> Quotas<C> {
    fn with_clock(default: u32, is_shared: bool, clock: C) -> Quotas<C> {
        Quotas {
            default: NonZeroU32::new(default),
            clock,
            limits: RwLock::default(),
            sharing: is_shared.then(Sharing::default),
        }
    }

    /// Whether those are limited who have no limit of their own.
    pub fn has_default(&self) -> bool {
        self.default.is_some()
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
        let Some(limit) = own.map_or(self.default, NonZeroU32::new) else {
            return Ok(None);
        };
        let sharing = self.sharing.as_ref();
        let debt = sharing.map_or(0, |sharing| sharing.debt_of((who, limit)));
        if debt > 0 {
            let missing = u64::from(debt) + u64::from(count.get());
            return Err(Exhausted {
                standing: standing(limit, 0),
                retry_after: Some(seconds_for(missing, limit)),
            });
        }
        match self.limit(limit).take(who, count) {
            Ok(remaining) => {
                if let Some(sharing) = sharing {
                    sharing.note((who, limit), count);
                }
                Ok(Some(standing(limit, remaining)))
            }
            Err(Shortage::Now(remaining, wait)) => Err(Exhausted {
                standing: standing(limit, remaining),
                retry_after: Some((wait.as_secs() + u64::from(wait.subsec_nanos() > 0)).max(1)),
            }),
            Err(Shortage::Ever) => Err(Exhausted {
                standing: standing(limit, 0),
                retry_after: None,
            }),
        }
    }

    /// Whether anybody was charged yet.
    pub fn is_used(&self) -> bool {
        let limits = self.limits.read().unwrap_or_else(PoisonError::into_inner);
        !limits.is_empty()
    }

    /// Forgets those who have everything again. To be called about once a second: it does nothing while
    /// there are few.
    pub fn sweep(&self) {
        let limits = self.limits.read().unwrap_or_else(PoisonError::into_inner);
        limits.values().for_each(|limit| limit.sweep());
    }

    /// What was charged here since the last time, for at most so many clients: other instances are to
    /// hear of it.
    pub fn take_charges(&self, clients_max: usize) -> Vec<Charge> {
        let taken = self
            .sharing
            .iter()
            .flat_map(|sharing| sharing.take(clients_max));
        taken
            .map(|((who, limit), count)| Charge { who, limit, count })
            .collect()
    }

    /// What other instances have charged: it is taken from what is left here as soon as there is enough,
    /// and until then the client is refused. More than ten minutes of a limit are forgiven.
    pub fn owe(&self, charges: impl IntoIterator<Item = Charge>) {
        let Some(sharing) = &self.sharing else {
            return;
        };
        for Charge { who, limit, count } in charges {
            sharing.owe((who, limit), count);
        }
        sharing.settle(|(who, limit), amount| self.limit(limit).take_some(who, amount));
    }

    fn limit(&self, messages: NonZeroU32) -> Arc<Limit<C>> {
        let known = self.limits.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(limit) = known.get(&messages) {
            return Arc::clone(limit);
        }
        drop(known);
        let mut limits = self.limits.write().unwrap_or_else(PoisonError::into_inner);
        let fresh = || Arc::new(Limit::new(messages, self.clock.clone()));
        Arc::clone(limits.entry(messages).or_insert_with(fresh))
    }
}

fn standing(limit: NonZeroU32, remaining: u32) -> Standing {
    let used = u64::from(limit.get().saturating_sub(remaining));
    Standing {
        limit: limit.get(),
        remaining,
        full_in: if used == 0 {
            0
        } else {
            seconds_for(used, limit)
        },
    }
}

/// The time in which so much comes back, rounded up.
fn seconds_for(messages: u64, limit: NonZeroU32) -> u64 {
    (messages * PERIOD.as_secs()).div_ceil(u64::from(limit.get()))
}

#[cfg(test)]
mod tests;
