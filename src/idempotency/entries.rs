//! The entries of one stripe: a table by caller and key, and the order in which they expire.

use std::collections::VecDeque;
use std::sync::Arc;

use hashbrown::HashTable;

use super::ENTRY_BYTES;
use super::request::{Attempt, Caller};

/// All under one lock. Those that are settled stand in `order`, which may also name some that have
/// gone.
#[derive(Default, Debug)]
pub(super) struct Entries {
    // Boxed, so that the slack of the table is small.
    table: HashTable<Box<Entry>>,
    /// By time of expiry, the earliest first.
    order: VecDeque<Expiry>,
    /// Entries so far, which tells a new one from an old one of the same hash.
    count: u64,
}

#[derive(Debug)]
struct Entry {
    caller: Caller,
    attempt: Attempt,
    hash: u64,
    id: u64,
    /// None while the request is under way.
    answer: Option<Answer>,
}

#[derive(Debug)]
struct Answer {
    status: u16,
    body: Arc<[u8]>,
    expires_at: u64,
}

#[derive(Debug)]
struct Expiry {
    at: u64,
    hash: u64,
    id: u64,
}

/// What is known of a caller's key.
#[derive(Debug)]
pub(super) enum Look {
    Nothing,
    UnderWay,
    /// The entry of this id is to be forgotten.
    Expired(u64),
    /// Status and body.
    Settled(u16, Arc<[u8]>),
    /// The answer is that to another request.
    Other,
}

impl Entries {
    pub(super) fn look(&self, hash: u64, caller: Caller, attempt: &Attempt, now: u64) -> Look {
        let found = self.table.find(hash, |entry| {
            entry.hash == hash && entry.caller == caller && entry.attempt.key() == attempt.key()
        });
        let Some(entry) = found else {
            return Look::Nothing;
        };
        match &entry.answer {
            None => Look::UnderWay,
            Some(answer) if answer.expires_at <= now => Look::Expired(entry.id),
            Some(_) if entry.attempt.digest() != attempt.digest() => Look::Other,
            Some(answer) => Look::Settled(answer.status, Arc::clone(&answer.body)),
        }
    }

    /// A request is under way from now on; returns the id of its entry.
    pub(super) fn begin(&mut self, hash: u64, caller: Caller, attempt: &Attempt) -> u64 {
        self.count += 1;
        let entry = Entry {
            caller,
            attempt: attempt.clone(),
            hash,
            id: self.count,
            answer: None,
        };
        self.table
            .insert_unique(hash, Box::new(entry), |entry| entry.hash);
        self.count
    }

    /// The request was answered. Returns the bytes that its entry takes.
    pub(super) fn settle(
        &mut self,
        hash: u64,
        id: u64,
        status: u16,
        body: Arc<[u8]>,
        expires_at: u64,
    ) -> usize {
        // Workers read their clocks before they have the lock.
        let last = self.order.back().map_or(0, |last| last.at);
        let expires_at = expires_at.max(last);
        let Some(entry) = self.table.find_mut(hash, |entry| entry.id == id) else {
            return 0;
        };
        entry.answer = Some(Answer {
            status,
            body,
            expires_at,
        });
        self.order.push_back(Expiry {
            at: expires_at,
            hash,
            id,
        });
        entry.bytes()
    }

    /// Removes an entry. Returns the bytes that its answer and itself took, none if it was under way.
    pub(super) fn forget(&mut self, hash: u64, id: u64) -> usize {
        match self.table.find_entry(hash, |entry| entry.id == id) {
            Ok(found) => found.remove().0.bytes(),
            Err(_) => 0,
        }
    }

    /// Removes at most `most` of what has expired. Returns how many were looked at, and their bytes.
    pub(super) fn free_expired(&mut self, now: u64, most: usize) -> (usize, usize) {
        let (mut count, mut bytes) = (0, 0);
        while count < most
            && let Some(first) = self.order.pop_front_if(|first| first.at <= now)
        {
            count += 1;
            bytes += self.forget(first.hash, first.id);
        }
        (count, bytes)
    }
}

impl Entry {
    /// What is counted for it; while it is under way its claim counts for it.
    fn bytes(&self) -> usize {
        let answer = self.answer.as_ref();
        answer.map_or(0, |answer| {
            ENTRY_BYTES + self.attempt.key().len() + answer.body.len()
        })
    }
}
