//! Who is on the other side, once a credential has said so.

use super::api_key::Digest;
use super::grant::Grant;

/// Somebody with a credential that holds.
#[derive(Clone, PartialEq, Eq, Debug)]
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
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Proof {
    /// The API key with this hash.
    ApiKey(Digest),
    /// A token that is signed with the key with this hash.
    Token(Digest),
}

impl Caller {
    /// Whether the credential holds at this time, in seconds of Unix time.
    pub fn is_valid_at(&self, now_unix: u64) -> bool {
        self.expires_at.is_none_or(|end| now_unix < end)
    }
}
