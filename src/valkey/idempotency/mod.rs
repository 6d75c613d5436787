//! `Idempotency-Key` across instances (SPEC section 3): a record for each key says which request
//! came first, and its answer. The tokens of its messages follow from the record, so that whoever
//! finishes a request that another instance began finds what that has stored already.
//!
//! ```text
//!   begin ──► New ──► publish ──► settle ──► remembered
//!     ├─────► Again: the same, looking for the tokens first
//!     ├─────► Busy: another one is at it
//!     ├─────► Done: the first answer
//!     └─────► Other: the key belongs to another request
//! ```

use std::time::Duration;

use redis::Value;
use sha2::{Digest, Sha256};

use super::job::Call;
use super::keys::Keys;
use crate::idempotency::{Attempt, Caller, REMEMBERED};

/// What a request with a key is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Begun {
    /// The first with it.
    New,
    /// The first was never finished: here are its nonce, its timestamp, and when it began, in
    /// milliseconds of Valkey's clock.
    Again([u8; 16], String, u64),
    /// The first is being carried out.
    Busy,
    /// The first was answered: status and body.
    Done(u16, Vec<u8>),
    /// The first was another request.
    Other,
}

/// The record of one request with a key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Record {
    key: Vec<u8>,
    digest: [u8; 32],
    /// From which its tokens follow.
    pub nonce: [u8; 16],
}

impl Record {
    /// That of a caller's request.
    pub fn new(keys: &Keys, caller: Caller, attempt: &Attempt, nonce: [u8; 16]) -> Record {
        let mut hasher = Sha256::new();
        hasher.update(caller.text());
        hasher.update([0]);
        hasher.update(attempt.key());
        let name: [u8; 32] = hasher.finalize().into();
        Record {
            key: keys.plain(&format!("idem:{}", hex(&name))).into_bytes(),
            digest: attempt.digest(),
            nonce,
        }
    }

    /// Looks what the request is. `lease` is how long it may take before others finish it.
    pub fn begin(&self, timestamp: &str, lease: Duration) -> Call {
        Call {
            script: include_str!("begin.lua"),
            keys: vec![self.key.clone()],
            args: vec![
                self.digest.to_vec(),
                self.nonce.to_vec(),
                timestamp.as_bytes().to_vec(),
                millis(lease),
                millis(REMEMBERED),
            ],
            // A second run would find the first one's lease.
            is_repeatable: false,
        }
    }

    /// Remembers the answer; without one the request is given up, and a repeat finishes it.
    pub fn settle(&self, answer: Option<(u16, &[u8])>) -> Call {
        let (status, body) = answer.map_or((String::new(), &b""[..]), |(status, body)| {
            (status.to_string(), body)
        });
        Call {
            script: include_str!("settle.lua"),
            keys: vec![self.key.clone()],
            args: vec![
                self.nonce.to_vec(),
                millis(REMEMBERED),
                status.into_bytes(),
                body.to_vec(),
            ],
            is_repeatable: true,
        }
    }

    /// The token of the message of this number.
    pub fn token(&self, number: usize) -> [u8; 16] {
        let mut hasher = Sha256::new();
        hasher.update(self.nonce);
        hasher.update((number as u64).to_be_bytes());
        let digest: [u8; 32] = hasher.finalize().into();
        let (token, _) = digest.split_first_chunk().expect("16 of 32 bytes");
        *token
    }
}

impl Begun {
    /// What [`Record::begin`] has answered; `None` for what has not its form.
    pub fn read(value: &Value) -> Option<Begun> {
        let Value::Array(parts) = value else {
            return None;
        };
        let parts: Vec<&[u8]> = parts.iter().map(bytes).collect::<Option<_>>()?;
        match parts[..] {
            [b"new"] => Some(Begun::New),
            [b"other"] => Some(Begun::Other),
            [b"busy"] => Some(Begun::Busy),
            [b"done", status, body] => Some(Begun::Done(number(status)?, body.to_vec())),
            [b"again", nonce, timestamp, begun] => Some(Begun::Again(
                nonce.try_into().ok()?,
                String::from_utf8(timestamp.to_vec()).ok()?,
                number(begun)?,
            )),
            _ => None,
        }
    }
}

fn bytes(value: &Value) -> Option<&[u8]> {
    match value {
        Value::BulkString(bytes) => Some(bytes),
        _ => None,
    }
}

fn number<T: std::str::FromStr>(text: &[u8]) -> Option<T> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

fn millis(span: Duration) -> Vec<u8> {
    span.as_millis().to_string().into_bytes()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::idempotency::Key;

    fn attempt(key: &[u8], body: &[u8]) -> Attempt {
        Attempt::new(Key::parse(key).unwrap(), "/api/v1/messages", body)
    }

    #[test]
    fn the_record_is_that_of_caller_and_key() {
        let keys = Keys::new("p:");
        let host = |last| Caller::from(std::net::IpAddr::from([127, 0, 0, last]));
        let record = |caller, key, body| Record::new(&keys, caller, &attempt(key, body), [1; 16]);
        let one = record(host(1), b"k", b"{}");
        assert_eq!(one, record(host(1), b"k", b"{}"));
        assert_ne!(one.key, record(host(2), b"k", b"{}").key);
        assert_ne!(one.key, record(host(1), b"l", b"{}").key);
        let other = record(host(1), b"k", b"[]");
        assert!(one.key == other.key && one.digest != other.digest);
        assert_eq!(one.key.len(), "p:idem:".len() + 64);
    }

    #[test]
    fn tokens_follow_from_the_nonce() {
        let keys = Keys::new("p:");
        let caller = Caller::from(std::net::IpAddr::from([127, 0, 0, 1]));
        let record = |nonce| Record::new(&keys, caller, &attempt(b"k", b"{}"), nonce);
        assert_eq!(record([1; 16]).token(3), record([1; 16]).token(3));
        assert_ne!(record([1; 16]).token(3), record([1; 16]).token(4));
        assert_ne!(record([1; 16]).token(3), record([2; 16]).token(3));
    }

    #[test]
    fn answers_are_read_or_refused() {
        let array = |parts: &[&[u8]]| {
            let parts = parts.iter().map(|part| Value::BulkString(part.to_vec()));
            Value::Array(parts.collect())
        };
        for (parts, begun) in [
            (&[&b"new"[..]][..], Some(Begun::New)),
            (&[b"busy"], Some(Begun::Busy)),
            (&[b"other"], Some(Begun::Other)),
            (
                &[b"done", b"201", b"{}"],
                Some(Begun::Done(201, b"{}".to_vec())),
            ),
            (
                &[b"again", &[7; 16], b"2026", b"5"],
                Some(Begun::Again([7; 16], "2026".to_owned(), 5)),
            ),
            (&[b"again", &[7; 15], b"2026", b"5"], None),
            (&[b"done", b"x", b"{}"], None),
            (&[], None),
        ] {
            assert_eq!(Begun::read(&array(parts)), begun);
        }
        assert_eq!(Begun::read(&Value::Nil), None);
    }
}
