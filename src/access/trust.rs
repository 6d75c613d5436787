//! Whom a server trusts, and how that changes while it runs.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::admissions::Admissions;
use super::api_key::{ApiKeys, Digest};
use super::caller::{Caller, Proof};
use super::jwt::{TokenError, Verified, Verifier};
use super::revocation::{Revocations, number_of_token_id};
use super::wanted::WantedKeys;

/// Why a credential is not accepted: a sentence for who sent it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Denied {
    /// It is no API key of this server, and no token.
    #[error("The credential is not known")]
    Unknown,
    /// It is a token that does not hold.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// It is a token that was called back.
    #[error("The token was revoked")]
    Revoked,
}

/// Credentials that are trusted.
#[derive(Default, Debug)]
pub struct Trust {
    api_keys: ApiKeys,
    verifier: Verifier,
    /// Who is told of keys that are not known.
    wanted: Option<Arc<WantedKeys>>,
}

impl Trust {
    /// In these keys, and in tokens that this verifies.
    pub fn new(api_keys: ApiKeys, verifier: Verifier) -> Trust {
        Trust {
            api_keys,
            verifier,
            wanted: None,
        }
    }

    /// The same; tells of keys that tokens name and that are not known.
    pub fn wanting(self, wanted: Arc<WantedKeys>) -> Trust {
        Trust {
            wanted: Some(wanted),
            ..self
        }
    }

    /// Finds out whose credential this is.
    ///
    /// # Errors
    /// When it is nobody's.
    pub fn admit(&self, credential: &str, now_unix: u64) -> Result<Caller, Denied> {
        let digest = Digest::of(credential.as_bytes());
        let Some(key) = self.api_keys.find(&digest) else {
            // A token has dots, and a key of ours has none.
            let takes_tokens = self.wanted.is_some() || !self.verifier.is_empty();
            if !takes_tokens || !credential.contains('.') {
                return Err(Denied::Unknown);
            }
            let verified = self.verifier.verify(credential, now_unix);
            if let (Err(TokenError::UnknownKey), Some(wanted)) = (&verified, &self.wanted) {
                wanted.want();
            }
            return Ok(of_token(verified?, &digest));
        };
        Ok(Caller::new(
            format!("key:{}", key.name),
            key.grant.clone(),
            None,
            key.rate_limit,
            Proof::ApiKey(digest),
        ))
    }

    /// Whether what a caller was admitted with is trusted, and for the same rights.
    pub fn still_admits(&self, caller: &Caller) -> bool {
        match &caller.proof {
            Proof::ApiKey(digest) => {
                let key = self.api_keys.find(digest);
                key.is_some_and(|key| key.grant == caller.grant)
            }
            Proof::Token { key, .. } => self.verifier.has_key(key),
        }
    }
}

fn of_token(verified: Verified, digest: &Digest) -> Caller {
    let identity = match &verified.subject {
        Some(subject) => Caller::identity_of_subject(subject),
        None => format!("token:{digest}"),
    };
    let id = verified.id.as_deref();
    let proof = Proof::Token {
        key: verified.key,
        number: id.map_or_else(|| digest.number(), number_of_token_id),
        issued_at: verified.issued_at,
    };
    let end = Some(verified.expires_at);
    Caller::new(identity, verified.grant, end, None, proof)
}

/// The present [`Trust`], and what was given to and taken from single callers; for all threads.
#[derive(Debug)]
pub struct Authority {
    trust: Mutex<Arc<Trust>>,
    /// How often it has changed.
    changes: AtomicU64,
    revocations: Revocations,
    admissions: Admissions,
    /// When keys were fetched last, in seconds since the Unix epoch; 0 for never.
    keys_fetched_at: AtomicU64,
}

impl Authority {
    /// That begins with this trust.
    pub fn new(trust: Trust) -> Authority {
        Authority {
            trust: Mutex::new(Arc::new(trust)),
            changes: AtomicU64::new(0),
            revocations: Revocations::default(),
            admissions: Admissions::default(),
            keys_fetched_at: AtomicU64::new(0),
        }
    }

    /// Tokens that are accepted no more. Workers see a new one when they look next; wake them.
    pub fn revocations(&self) -> &Revocations {
        &self.revocations
    }

    /// Tickets that were not used yet.
    pub fn admissions(&self) -> &Admissions {
        &self.admissions
    }

    /// Keys were fetched, whether they are others or the same, at this time in seconds since the Unix
    /// epoch.
    pub fn keys_fetched(&self, at: u64) {
        // Relaxed: it orders no other memory.
        self.keys_fetched_at.store(at, Ordering::Relaxed);
    }

    /// When keys were fetched last, in seconds since the Unix epoch; 0 for never.
    pub fn keys_fetched_at(&self) -> u64 {
        self.keys_fetched_at.load(Ordering::Relaxed)
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
