//! How much each client may have at a time: connections, subscriptions, polls that wait, bytes.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::Who;

/// Locks, so that workers seldom wait for one another.
const STRIPES: usize = 16;

/// What somebody has at a time.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Held {
    /// WebSockets, streams and polls that wait; or connections of any kind.
    pub connections: u64,
    /// Topics that are subscribed to.
    pub subscriptions: u64,
    /// Polls that wait.
    pub polls: u64,
    /// Bytes that wait to be read by the client, or have come in part.
    pub bytes: u64,
}

/// What somebody has too much of.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Excess {
    /// Connections.
    #[error("The client has as many connections as it may have")]
    Connections,
    /// Subscriptions.
    #[error("The client is subscribed to as many topics as it may be")]
    Subscriptions,
    /// Polls.
    #[error("The client has as many waiting polls as it may have")]
    Polls,
    /// Bytes.
    #[error("Too many bytes wait for the client")]
    Bytes,
}

/// What all clients have, exact over all workers. Who has nothing takes no place.
#[derive(Debug)]
pub struct Tally {
    /// The most of each; 0 for no bound.
    max: Held,
    stripes: [Mutex<HashMap<Who, Held>>; STRIPES],
    hasher: RandomState,
}

impl Tally {
    /// With these bounds, of which 0 is none.
    pub fn new(max: Held) -> Tally {
        Tally {
            max,
            stripes: std::array::from_fn(|_| Mutex::default()),
            hasher: RandomState::new(),
        }
    }

    /// Whether there is a bound at all. Without, nothing need be counted.
    pub fn is_used(&self) -> bool {
        self.max != Held::default()
    }

    /// Counts what somebody has beside `from`: `to` in its place, if no bound is passed.
    ///
    /// # Errors
    /// When there would be more than there may be of something that `to` has more of; then all is as before.
    pub fn exchange(&self, who: Who, from: Held, to: Held) -> Result<(), Excess> {
        let mut stripe = self.stripe(who);
        let present = stripe.get(&who).copied().unwrap_or_default();
        let next = replaced(present, from, to);
        let bounds = [
            (
                from.connections,
                to.connections,
                next.connections,
                self.max.connections,
                Excess::Connections,
            ),
            (
                from.subscriptions,
                to.subscriptions,
                next.subscriptions,
                self.max.subscriptions,
                Excess::Subscriptions,
            ),
            (
                from.polls,
                to.polls,
                next.polls,
                self.max.polls,
                Excess::Polls,
            ),
            (
                from.bytes,
                to.bytes,
                next.bytes,
                self.max.bytes,
                Excess::Bytes,
            ),
        ];
        for (before, after, sum, max, excess) in bounds {
            if max > 0 && after > before && sum > max {
                return Err(excess);
            }
        }
        put(&mut stripe, who, next);
        Ok(())
    }

    /// The same, whatever the bounds. Returns what it has too much of now, of what it has got more of.
    pub fn replace(&self, who: Who, from: Held, to: Held) -> Option<Excess> {
        let excess = self.exchange(who, from, to).err()?;
        let mut stripe = self.stripe(who);
        let present = stripe.get(&who).copied().unwrap_or_default();
        put(&mut stripe, who, replaced(present, from, to));
        Some(excess)
    }

    /// Whether somebody has more bytes than there may be.
    pub fn has_too_many_bytes(&self, who: Who) -> bool {
        let stripe = self.stripe(who);
        let bytes = stripe.get(&who).map_or(0, |held| held.bytes);
        self.max.bytes > 0 && bytes > self.max.bytes
    }

    fn stripe(&self, who: Who) -> MutexGuard<'_, HashMap<Who, Held>> {
        let index = self.hasher.hash_one(who) as usize % STRIPES;
        // Each change is one step.
        self.stripes[index]
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

fn replaced(present: Held, from: Held, to: Held) -> Held {
    // What is given back was counted before, so nothing falls below zero.
    let replace = |present: u64, from: u64, to: u64| (present + to).saturating_sub(from);
    Held {
        connections: replace(present.connections, from.connections, to.connections),
        subscriptions: replace(present.subscriptions, from.subscriptions, to.subscriptions),
        polls: replace(present.polls, from.polls, to.polls),
        bytes: replace(present.bytes, from.bytes, to.bytes),
    }
}

fn put(stripe: &mut HashMap<Who, Held>, who: Who, held: Held) {
    if held == Held::default() {
        stripe.remove(&who);
    } else {
        stripe.insert(who, held);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOTHING: Held = Held {
        connections: 0,
        subscriptions: 0,
        polls: 0,
        bytes: 0,
    };

    fn held(connections: u64, subscriptions: u64, bytes: u64) -> Held {
        Held {
            connections,
            subscriptions,
            bytes,
            ..NOTHING
        }
    }

    fn count(tally: &Tally) -> usize {
        let stripes = tally.stripes.iter();
        stripes.map(|it| it.lock().unwrap().len()).sum()
    }

    #[test]
    fn nobody_gets_more_than_there_may_be() {
        let tally = Tally::new(held(2, 3, 0));
        let (one, other) = (Who(1), Who(2));
        tally.exchange(one, NOTHING, held(1, 1, 9)).unwrap();
        tally.exchange(one, NOTHING, held(1, 1, 9)).unwrap();
        assert_eq!(
            tally.exchange(one, NOTHING, held(1, 0, 0)),
            Err(Excess::Connections)
        );
        tally.exchange(one, held(1, 1, 9), held(1, 2, 9)).unwrap();
        assert_eq!(
            tally.exchange(one, held(1, 1, 9), held(1, 2, 9)),
            Err(Excess::Subscriptions)
        );
        tally.exchange(other, NOTHING, held(2, 3, 0)).unwrap();
        tally.exchange(one, held(1, 2, 9), NOTHING).unwrap();
        tally.exchange(one, held(1, 1, 9), held(1, 3, 9)).unwrap();
        tally.exchange(one, held(1, 3, 9), NOTHING).unwrap();
        assert_eq!(count(&tally), 1, "who has nothing takes no place");
    }

    #[test]
    fn what_is_there_is_counted_also_beyond_the_bound() {
        let tally = Tally::new(held(0, 0, 100));
        let one = Who(1);
        assert_eq!(tally.replace(one, NOTHING, held(1, 1, 60)), None);
        let excess = tally.replace(one, NOTHING, held(1, 1, 60));
        assert_eq!(excess, Some(Excess::Bytes));
        assert!(tally.has_too_many_bytes(one) && !tally.has_too_many_bytes(Who(2)));
        let less = tally.replace(one, held(1, 1, 60), held(1, 1, 50));
        assert_eq!(less, None, "it has got no more");
        assert_eq!(tally.replace(one, held(2, 2, 110), NOTHING), None);
        assert_eq!(count(&tally), 0);
    }

    #[test]
    fn without_bounds_it_is_not_used() {
        assert!(!Tally::new(NOTHING).is_used());
        assert!(Tally::new(held(0, 1, 0)).is_used());
    }
}
