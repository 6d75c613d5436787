//! Tickets: credentials for one time, for clients that can send a URL and nothing else.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use hashbrown::HashMap;

use super::api_key::Digest;
use super::caller::Caller;

/// How long a ticket waits to be used, in seconds.
pub const TICKET_SECONDS: u64 = 30;

/// Most tickets at a time, of all callers and of one.
const TICKETS_MAX: usize = 100_000;
const TICKETS_OF_ONE_MAX: u32 = 1_000;

/// There are as many tickets as there may be.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("There are as many unused tickets as there may be")]
pub struct TooManyTickets;

/// Tickets that were not used yet, by their hashes; for all threads.
#[derive(Default, Debug)]
pub struct Admissions(Mutex<Unused>);

#[derive(Default, Debug)]
struct Unused {
    callers: HashMap<Digest, Arc<Caller>>,
    /// In the order of their ends, in monotonic microseconds; some were used meanwhile.
    ends: VecDeque<(u64, Digest)>,
    /// How many each caller has.
    counts: HashMap<u128, u32>,
}

impl Admissions {
    /// Whoever shows the ticket with this hash first is this caller, for [`TICKET_SECONDS`].
    ///
    /// # Errors
    /// When there are too many.
    pub fn grant(
        &self,
        ticket: Digest,
        caller: Arc<Caller>,
        now_micros: u64,
    ) -> Result<(), TooManyTickets> {
        let mut unused = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        unused.drop_ended(now_micros);
        // Also those that were used count as long as they could be: so the queue is bounded too.
        if unused.ends.len() >= TICKETS_MAX {
            return Err(TooManyTickets);
        }
        let count = unused.counts.entry(caller.number).or_default();
        if *count >= TICKETS_OF_ONE_MAX {
            return Err(TooManyTickets);
        }
        *count += 1;
        let end = now_micros.saturating_add(TICKET_SECONDS * 1_000_000);
        unused.ends.push_back((end, ticket));
        unused.callers.insert(ticket, caller);
        Ok(())
    }

    /// Who has the ticket with this hash: once, and in time.
    pub fn take(&self, ticket: &Digest, now_micros: u64) -> Option<Arc<Caller>> {
        let mut unused = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        unused.drop_ended(now_micros);
        let caller = unused.callers.remove(ticket)?;
        unused.give_back(&caller);
        Some(caller)
    }
}

impl Unused {
    fn drop_ended(&mut self, now_micros: u64) {
        while let Some((_, ticket)) = self.ends.pop_front_if(|(end, _)| *end <= now_micros) {
            if let Some(caller) = self.callers.remove(&ticket) {
                self.give_back(&caller);
            }
        }
    }

    fn give_back(&mut self, caller: &Caller) {
        if let Some(count) = self.counts.get_mut(&caller.number) {
            *count -= 1;
            if *count == 0 {
                self.counts.remove(&caller.number);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::Grant;
    use crate::access::caller::Proof;

    fn caller(name: &str) -> Arc<Caller> {
        let proof = Proof::ApiKey(Digest::of(name.as_bytes()));
        let caller = Caller::new(name.to_owned(), Grant::everything(), None, None, proof);
        Arc::new(caller)
    }

    fn ticket(number: usize) -> Digest {
        Digest::of(&number.to_be_bytes())
    }

    #[test]
    fn a_ticket_is_good_for_one_time_and_not_for_long() {
        let admissions = Admissions::default();
        admissions.grant(ticket(1), caller("a"), 0).unwrap();
        admissions.grant(ticket(2), caller("b"), 5).unwrap();
        assert_eq!(admissions.take(&ticket(3), 6), None);
        assert_eq!(admissions.take(&ticket(1), 6), Some(caller("a")));
        assert_eq!(admissions.take(&ticket(1), 6), None);
        assert_eq!(admissions.take(&ticket(2), 30_000_005), None);
        let unused = admissions.0.lock().unwrap();
        assert!(unused.callers.is_empty() && unused.ends.is_empty() && unused.counts.is_empty());
    }

    #[test]
    fn one_caller_has_so_many_at_most() {
        let admissions = Admissions::default();
        let grant = |number, name, now| admissions.grant(ticket(number), caller(name), now);
        for number in 0..1_000 {
            grant(number, "a", 0).unwrap();
        }
        assert_eq!(grant(1_000, "a", 1), Err(TooManyTickets));
        grant(1_000, "b", 1).unwrap();
        admissions.take(&ticket(7), 1).unwrap();
        grant(1_001, "a", 1).unwrap();
        grant(1_002, "a", 30_000_000).unwrap();
    }

    #[test]
    fn all_callers_have_so_many_at_most() {
        let admissions = Admissions::default();
        for number in 0..TICKETS_MAX {
            let name = format!("{}", number / 1_000);
            admissions.grant(ticket(number), caller(&name), 0).unwrap();
        }
        let one_more = |now| admissions.grant(ticket(TICKETS_MAX), caller("x"), now);
        assert_eq!(one_more(1), Err(TooManyTickets));
        one_more(30_000_000).unwrap();
    }
}
