//! Access tokens: JSON Web Tokens (RFC 7519), signed by somebody whose key is known.

mod claims;
mod key;
mod pem;
mod verifier;

pub use key::{KeyError, VerificationKey};
pub use verifier::{Terms, Verified, Verifier};

/// Longest token, in bytes.
pub const TOKEN_BYTES_MAX: usize = 8 * 1024;

/// Why a token is not accepted: a sentence for who sent it, which tells nothing of the keys.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum TokenError {
    /// It is longer than [`TOKEN_BYTES_MAX`].
    #[error("The token is longer than {TOKEN_BYTES_MAX} bytes")]
    TooLong,
    /// It is no token.
    #[error("The token is malformed")]
    Malformed,
    /// It is signed in a way that no key is for, or not at all.
    #[error("The token is not signed in a way that is accepted")]
    Algorithm,
    /// It names a key that is not known.
    #[error("The token is signed with a key that is not known")]
    UnknownKey,
    /// Somebody else has signed it.
    #[error("The signature of the token is not valid")]
    Signature,
    /// A claim has not the form that it must have.
    #[error("A claim of the token is not understood")]
    Claims,
    /// It has no end.
    #[error("The token has no exp claim")]
    NoExpiry,
    /// Its end has come.
    #[error("The token has expired")]
    Expired,
    /// Its begin has not come.
    #[error("The token is not valid yet")]
    NotYetValid,
    /// It comes from somebody else.
    #[error("The token has another issuer than those that are accepted")]
    Issuer,
    /// It is for somebody else.
    #[error("The token is for another audience")]
    Audience,
}
