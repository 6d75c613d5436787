//! Who is on the other side, once a credential has said so.

use serde::{Deserialize, Serialize};

use super::api_key::Digest;
use super::grant::Grant;

/// Somebody with a credential that holds.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Caller {
    /// The same for all credentials of one: `key:` and the name of an API key, `sub:` and the subject
    /// of tokens; for a token without one, something of its own.
    pub identity: Box<str>,
    /// Stands for the identity where that is counted: the beginning of its SHA-256 hash.
    pub number: u128,
    /// What the credential allows.
    pub grant: Grant,
    /// When it ends, in seconds of Unix time, if ever.
    pub expires_at: Option<u64>,
    /// Its own limit in messages a minute; 0 for none, and absent where the server's counts.
    pub rate_limit: Option<u32>,
    pub(super) proof: Proof,
}

/// What a caller's rights rest on: when it is trusted no more, they end.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) enum Proof {
    /// The API key with this hash.
    ApiKey(Digest),
    /// A token.
    Token {
        /// The hash of the key that it is signed with.
        key: Digest,
        /// Stands for the token itself.
        number: u128,
        /// In seconds of Unix time; 0 if it does not say.
        issued_at: u64,
    },
}

impl Caller {
    pub(super) fn new(
        identity: String,
        grant: Grant,
        expires_at: Option<u64>,
        rate_limit: Option<u32>,
        proof: Proof,
    ) -> Caller {
        Caller {
            number: Digest::of(identity.as_bytes()).number(),
            identity: identity.into(),
            grant,
            expires_at,
            rate_limit,
            proof,
        }
    }

    /// The identity of who has tokens with this `sub`.
    pub fn identity_of_subject(subject: &str) -> String {
        format!("sub:{subject}")
    }

    /// Whether the credential holds at this time, in seconds of Unix time.
    pub fn is_valid_at(&self, now_unix: u64) -> bool {
        self.expires_at.is_none_or(|end| now_unix < end)
    }

    /// The same as bytes, for another instance; without anything that could be shown as a credential.
    pub fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("it has nothing that JSON has no form for")
    }

    /// What [`Caller::to_bytes`] made of one; `None` if it is something else.
    pub fn of_bytes(bytes: &[u8]) -> Option<Caller> {
        serde_json::from_slice(bytes).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Pattern, Permission};
    use super::*;

    #[test]
    fn another_instance_reads_the_same() {
        let patterns = vec![Pattern::parse("orders-*").unwrap()];
        let write = Grant::new(Some(&[Permission::Write]), Some(patterns), None);
        let proof = Proof::Token {
            key: Digest::of(b"k"),
            number: u128::MAX,
            issued_at: 7,
        };
        let identity = Caller::identity_of_subject("ann \"é\"");
        let caller = Caller::new(identity, write, Some(u64::MAX), Some(3), proof);
        assert_eq!(Caller::of_bytes(&caller.to_bytes()), Some(caller));
        let proof = Proof::ApiKey(Digest::of(b"k"));
        let key = Caller::new("key:a".into(), Grant::everything(), None, None, proof);
        assert_eq!(Caller::of_bytes(&key.to_bytes()), Some(key));
        assert_eq!(Caller::of_bytes(b"{}"), None);
    }
}
