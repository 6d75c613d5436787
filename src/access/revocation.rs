//! Tokens that are called back before their end.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{PoisonError, RwLock};

use hashbrown::HashMap;

use super::api_key::Digest;
use super::caller::{Caller, Proof};

/// Most revocations at a time.
pub const REVOCATIONS_MAX: usize = 100_000;

/// One token, or all tokens of one subject, are accepted no more.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Revocation {
    /// Which, or whose: the beginning of a hash.
    pub whom: u128,
    /// What was issued later than this second of Unix time is not meant.
    pub issued_until: u64,
    /// From this second of Unix time on it may be forgotten; `u64::MAX` for never.
    pub kept_until: u64,
}

impl Revocation {
    /// Of the token with this `jti`.
    pub fn of_token_id(id: &str, kept_until: u64) -> Revocation {
        Revocation {
            whom: number_of_token_id(id),
            issued_until: u64::MAX,
            kept_until,
        }
    }

    /// Of the tokens with this `sub` that were issued until now.
    pub fn of_subject(subject: &str, now_unix: u64, kept_until: u64) -> Revocation {
        Revocation {
            whom: Digest::of(Caller::identity_of_subject(subject).as_bytes()).number(),
            issued_until: now_unix,
            kept_until,
        }
    }

    /// Of the token that somebody was admitted with; `None` if that was an API key.
    pub fn of(caller: &Caller) -> Option<Revocation> {
        match &caller.proof {
            Proof::ApiKey(_) => None,
            Proof::Token { number, .. } => Some(Revocation {
                whom: *number,
                issued_until: u64::MAX,
                kept_until: caller.expires_at.unwrap_or(u64::MAX),
            }),
        }
    }
}

/// What stands for the token with this `jti`.
pub(super) fn number_of_token_id(id: &str) -> u128 {
    Digest::of(format!("jti:{id}").as_bytes()).number()
}

/// There are [`REVOCATIONS_MAX`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("There is no room for more revocations")]
pub struct NoRoom;

/// All that are in force, for all threads.
#[derive(Default, Debug)]
pub struct Revocations {
    terms: RwLock<HashMap<u128, Terms>>,
    /// With so many it is looked whether some can be forgotten.
    swept_at: AtomicUsize,
    /// How often they have changed.
    changes: AtomicU64,
}

#[derive(Clone, Copy, Debug)]
struct Terms {
    issued_until: u64,
    kept_until: u64,
}

/// Fewer are kept whether or not they are needed.
const SWEPT_AT_MIN: usize = 1024;

impl Revocations {
    /// Adds one, at a time in seconds of Unix time.
    ///
    /// # Errors
    /// When there is no room.
    pub fn add(&self, revocation: Revocation, now_unix: u64) -> Result<(), NoRoom> {
        self.extend([revocation], now_unix)
    }

    /// Adds some: all of them, or those that there is room for.
    ///
    /// # Errors
    /// When there is no room for all.
    pub fn extend(
        &self,
        revocations: impl IntoIterator<Item = Revocation>,
        now_unix: u64,
    ) -> Result<(), NoRoom> {
        let mut terms = self.terms.write().unwrap_or_else(PoisonError::into_inner);
        let (mut has_room, mut has_changed) = (true, false);
        for Revocation {
            whom,
            issued_until,
            kept_until,
        } in revocations
        {
            if terms.len() >= self.swept_at.load(Ordering::Relaxed).max(SWEPT_AT_MIN) {
                terms.retain(|_, terms| terms.kept_until > now_unix);
                self.swept_at.store(2 * terms.len(), Ordering::Relaxed);
            }
            let is_full = terms.len() >= REVOCATIONS_MAX;
            match terms.get_mut(&whom) {
                Some(known) => {
                    has_changed |= issued_until > known.issued_until;
                    known.issued_until = known.issued_until.max(issued_until);
                    known.kept_until = known.kept_until.max(kept_until);
                }
                None if is_full => has_room = false,
                None => {
                    has_changed = true;
                    let new = Terms {
                        issued_until,
                        kept_until,
                    };
                    terms.insert(whom, new);
                }
            }
        }
        // Under the lock: whoever sees the number finds what has led to it. All connections are looked at then,
        // so what is called back again must not change it.
        self.changes
            .fetch_add(u64::from(has_changed), Ordering::Release);
        if has_room { Ok(()) } else { Err(NoRoom) }
    }

    /// Whether what somebody was admitted with was called back.
    pub fn cover(&self, caller: &Caller) -> bool {
        let Proof::Token {
            number, issued_at, ..
        } = &caller.proof
        else {
            return false;
        };
        let terms = self.terms.read().unwrap_or_else(PoisonError::into_inner);
        let is_called_back = |whom| {
            let terms = terms.get(whom);
            terms.is_some_and(|terms| *issued_at <= terms.issued_until)
        };
        !terms.is_empty() && (is_called_back(number) || is_called_back(&caller.number))
    }

    /// How often they have changed.
    pub fn changes(&self) -> u64 {
        self.changes.load(Ordering::Acquire)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::Grant;

    fn token(subject: &str, id: &str, issued_at: u64) -> Caller {
        let proof = Proof::Token {
            key: Digest::of(b"key"),
            number: number_of_token_id(id),
            issued_at,
        };
        let identity = Caller::identity_of_subject(subject);
        Caller::new(identity, Grant::everything(), Some(1000), None, proof)
    }

    #[test]
    fn a_token_is_called_back_by_its_id() {
        let revocations = Revocations::default();
        let (one, other) = (token("a", "1", 5), token("a", "2", 5));
        assert!(!revocations.cover(&one));
        let revocation = Revocation::of(&one).unwrap();
        assert_eq!(revocation, Revocation::of_token_id("1", 1000));
        revocations.add(revocation, 10).unwrap();
        assert_eq!(revocations.changes(), 1);
        assert!(revocations.cover(&one) && !revocations.cover(&other));
        revocations.add(revocation, 10).unwrap();
        assert_eq!(revocations.changes(), 1, "nothing has changed");
    }

    #[test]
    fn those_of_a_subject_are_called_back_but_for_later_ones() {
        let revocations = Revocations::default();
        let add = |now| revocations.add(Revocation::of_subject("a", now, u64::MAX), now);
        add(10).unwrap();
        assert!(revocations.cover(&token("a", "1", 0)));
        assert!(revocations.cover(&token("a", "2", 10)));
        assert!(!revocations.cover(&token("a", "3", 11)));
        assert!(!revocations.cover(&token("b", "4", 0)));
        add(5).unwrap();
        assert!(
            revocations.cover(&token("a", "2", 10)),
            "an older one takes nothing back"
        );
    }

    #[test]
    fn there_are_so_many_at_most_and_those_that_have_ended_go() {
        let revocations = Revocations::default();
        let some = |whom: std::ops::Range<u128>, kept_until| {
            whom.map(move |whom| Revocation {
                whom,
                issued_until: 0,
                kept_until,
            })
        };
        let max = REVOCATIONS_MAX as u128;
        revocations.extend(some(0..1000, 20), 10).unwrap();
        revocations.extend(some(1000..max + 1000, 50), 30).unwrap();
        assert_eq!(
            revocations.extend(some(0..1, u64::MAX), 30),
            Err(NoRoom),
            "none has ended"
        );
        revocations.swept_at.store(0, Ordering::Relaxed);
        revocations.extend(some(0..1, u64::MAX), 50).unwrap();
        assert_eq!(revocations.terms.read().unwrap().len(), 1);
    }
}
