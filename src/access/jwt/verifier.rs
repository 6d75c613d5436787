//! Whether a token is genuine, and holds.

use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Validation, decode, decode_header};

use super::super::api_key::Digest;
use super::claims::Claims;
use super::key::VerificationKey;
use super::{TOKEN_BYTES_MAX, TokenError};
use crate::access::Grant;

/// Most keys that one token is tried with: a signature costs tens of microseconds to check.
const TRIES_MAX: usize = 4;

/// What tokens must say beside what they are signed with. What is empty is not looked at.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Terms {
    /// One of these is the `iss` of each token.
    pub issuers: Vec<String>,
    /// One of these is an `aud` of each token.
    pub audiences: Vec<String>,
}

/// What verifies tokens.
#[derive(Default, Debug)]
pub struct Verifier {
    keys: Vec<VerificationKey>,
    terms: Terms,
}

/// A token that is genuine and holds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Verified {
    /// Whose it is.
    pub subject: Option<Box<str>>,
    /// What it is called.
    pub id: Option<Box<str>>,
    /// When it was issued, in seconds of Unix time; 0 if it does not say.
    pub issued_at: u64,
    /// What it allows.
    pub grant: Grant,
    /// When it ends, in seconds of Unix time.
    pub expires_at: u64,
    /// The hash of the key that it is signed with.
    pub key: Digest,
}

impl Verifier {
    /// With these keys, on these terms.
    pub fn new(keys: Vec<VerificationKey>, terms: Terms) -> Verifier {
        Verifier { keys, terms }
    }

    /// Whether no token can be verified.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Whether the key with this hash is among those that verify.
    pub fn has_key(&self, fingerprint: &Digest) -> bool {
        self.keys.iter().any(|key| key.fingerprint == *fingerprint)
    }

    /// Looks whether a token holds at this time, in seconds of Unix time.
    ///
    /// # Errors
    /// The first reason why it does not.
    pub fn verify(&self, token: &str, now_unix: u64) -> Result<Verified, TokenError> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(TokenError::TooLong);
        }
        let header = decode_header(token).map_err(|error| match error.kind() {
            // Also `none`, in whatever spelling: it is no algorithm.
            ErrorKind::Json(_) | ErrorKind::InvalidAlgorithm => TokenError::Algorithm,
            _ => TokenError::Malformed,
        })?;
        // Nothing that a header could declare critical is known here (RFC 7515 section 4.1.11).
        if header.crit.is_some() {
            return Err(TokenError::Malformed);
        }
        let is_named = |key: &&VerificationKey| key.id.as_deref() == header.kid.as_deref();
        let is_nameless = |key: &&VerificationKey| key.id.is_none();
        let candidates: Vec<&VerificationKey> = match &header.kid {
            Some(_) if self.keys.iter().any(|key| is_named(&key)) => {
                self.keys.iter().filter(is_named).collect()
            }
            Some(_) => self.keys.iter().filter(is_nameless).collect(),
            None => self.keys.iter().collect(),
        };
        if candidates.is_empty() {
            return Err(TokenError::UnknownKey);
        }
        let fitting = candidates
            .into_iter()
            .filter(|key| key.algorithms.contains(&header.alg));
        let mut refused = TokenError::Algorithm;
        for key in fitting.take(TRIES_MAX) {
            match self.verify_with(key, token, now_unix) {
                Err(error @ TokenError::Signature) => refused = error,
                verified => return verified,
            }
        }
        Err(refused)
    }

    fn verify_with(
        &self,
        key: &VerificationKey,
        token: &str,
        now_unix: u64,
    ) -> Result<Verified, TokenError> {
        let mut validation = Validation::new(key.algorithms[0]);
        validation.algorithms.clone_from(&key.algorithms);
        // The claims are looked at here, with the time that is given.
        validation.required_spec_claims.clear();
        validation.validate_exp = false;
        validation.validate_nbf = false;
        validation.validate_aud = false;
        let claims = decode::<Claims>(token, &key.key, &validation);
        let claims = claims.map_err(|error| match error.kind() {
            ErrorKind::Json(_) | ErrorKind::Utf8(_) => TokenError::Claims,
            ErrorKind::InvalidToken | ErrorKind::Base64(_) => TokenError::Malformed,
            _ => TokenError::Signature,
        })?;
        let claims = claims.claims;
        Ok(Verified {
            expires_at: claims.check(&self.terms, now_unix)?,
            subject: claims.subject()?.map(Box::from),
            id: claims.id().map(Box::from),
            issued_at: claims.issued_at()?,
            grant: claims.grant()?,
            key: key.fingerprint,
        })
    }
}

#[cfg(test)]
mod tests;
