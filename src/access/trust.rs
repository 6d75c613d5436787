//! Whom a server trusts, and how that changes while it runs.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::api_key::{ApiKeys, Digest};
use super::caller::{Caller, Proof};

/// Why a credential is not accepted: a sentence for who sent it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Denied {
    /// It is no API key of this server, and no token.
    #[error("The credential is not known")]
    Unknown,
}

/// Credentials that are trusted.
#[derive(Default, Debug)]
pub struct Trust {
    api_keys: ApiKeys,
}

impl Trust {
    /// In these keys.
    pub fn new(api_keys: ApiKeys) -> Trust {
        Trust { api_keys }
    }

    /// Finds out whose credential this is.
    ///
    /// # Errors
    /// When it is nobody's.
    pub fn admit(&self, credential: &str, _now_unix: u64) -> Result<Caller, Denied> {
        let digest = Digest::of(credential.as_bytes());
        let key = self.api_keys.find(&digest).ok_or(Denied::Unknown)?;
        Ok(Caller {
            identity: format!("key:{}", key.name).into(),
            grant: key.grant.clone(),
            expires_at: None,
            proof: Proof::ApiKey(digest),
        })
    }

    /// Whether what a caller was admitted with is trusted, and for the same rights.
    pub fn still_admits(&self, caller: &Caller) -> bool {
        match &caller.proof {
            Proof::ApiKey(digest) => {
                let key = self.api_keys.find(digest);
                key.is_some_and(|key| key.grant == caller.grant)
            }
        }
    }
}

/// The present [`Trust`], for all threads.
#[derive(Debug)]
pub struct Authority {
    trust: Mutex<Arc<Trust>>,
    /// How often it has changed.
    changes: AtomicU64,
}

impl Authority {
    /// That begins with this trust.
    pub fn new(trust: Trust) -> Authority {
        Authority {
            trust: Mutex::new(Arc::new(trust)),
            changes: AtomicU64::new(0),
        }
    }

    /// Trusts others from now on. Workers see it when they look next; wake them.
    pub fn set(&self, trust: Trust) {
        let mut present = self.trust.lock().unwrap_or_else(PoisonError::into_inner);
        *present = Arc::new(trust);
        // Under the lock: whoever sees the number gets this trust or a later one.
        self.changes.fetch_add(1, Ordering::Release);
    }

    /// How often it has changed.
    pub fn changes(&self) -> u64 {
        self.changes.load(Ordering::Acquire)
    }

    /// The present trust, and how often it has changed until then.
    pub fn present(&self) -> (Arc<Trust>, u64) {
        let present = self.trust.lock().unwrap_or_else(PoisonError::into_inner);
        (Arc::clone(&present), self.changes())
    }
}
