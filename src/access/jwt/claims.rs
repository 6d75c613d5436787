//! What a token says.

use serde::Deserialize;

use super::TokenError;
use super::verifier::Terms;
use crate::access::{Grant, PATTERNS_MAX, Pattern, Permission};

/// Longest subject, in characters.
const SUBJECT_CHARS_MAX: usize = 255;

/// The claims that are looked at (RFC 7519 section 4.1, SPEC section 12). A member that comes twice is
/// refused.
#[derive(Deserialize)]
pub(super) struct Claims {
    sub: Option<String>,
    iss: Option<String>,
    aud: Option<OneOrMany>,
    exp: Option<f64>,
    nbf: Option<f64>,
    iat: Option<f64>,
    jti: Option<String>,
    permissions: Option<OneOrMany>,
    publish: Option<Vec<String>>,
    subscribe: Option<Vec<String>>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

impl Claims {
    /// When the token ends, if it holds now; times are in seconds of Unix time.
    pub(super) fn check(&self, terms: &Terms, now_unix: u64) -> Result<u64, TokenError> {
        let end = seconds(self.exp)?.ok_or(TokenError::NoExpiry)?;
        let begin = seconds(self.nbf)?.unwrap_or(0);
        let issued_by = |issuer: &String| self.iss.as_ref() == Some(issuer);
        let is_for = |audience: &String| match &self.aud {
            Some(OneOrMany::One(one)) => one == audience,
            Some(OneOrMany::Many(many)) => many.contains(audience),
            None => false,
        };
        if end <= now_unix {
            return Err(TokenError::Expired);
        }
        if now_unix < begin {
            return Err(TokenError::NotYetValid);
        }
        if !terms.issuers.is_empty() && !terms.issuers.iter().any(issued_by) {
            return Err(TokenError::Issuer);
        }
        if !terms.audiences.is_empty() && !terms.audiences.iter().any(is_for) {
            return Err(TokenError::Audience);
        }
        Ok(end)
    }

    /// Whose token it is.
    pub(super) fn subject(&self) -> Result<Option<&str>, TokenError> {
        let subject = self.sub.as_deref();
        let fits = |it: &str| it.chars().take(SUBJECT_CHARS_MAX + 1).count() <= SUBJECT_CHARS_MAX;
        match subject {
            Some(text) if text.is_empty() || !fits(text) => Err(TokenError::Claims),
            _ => Ok(subject),
        }
    }

    /// What it is called.
    pub(super) fn id(&self) -> Option<&str> {
        self.jti.as_deref()
    }

    /// When it was issued, in seconds of Unix time; 0 if it does not say.
    pub(super) fn issued_at(&self) -> Result<u64, TokenError> {
        Ok(seconds(self.iat)?.unwrap_or(0))
    }

    /// What it allows. Permissions that are not known here are somebody else's.
    pub(super) fn grant(&self) -> Result<Grant, TokenError> {
        let permissions = self.permissions.as_ref().map(|it| -> Vec<Permission> {
            match it {
                OneOrMany::One(text) => text.split(' ').filter_map(Permission::parse).collect(),
                OneOrMany::Many(all) => all
                    .iter()
                    .filter_map(|one| Permission::parse(one))
                    .collect(),
            }
        });
        let publish = self.publish.as_deref().map(patterns).transpose()?;
        let subscribe = self.subscribe.as_deref().map(patterns).transpose()?;
        Ok(Grant::new(permissions.as_deref(), publish, subscribe))
    }
}

/// A numeric date; fractions are dropped.
fn seconds(date: Option<f64>) -> Result<Option<u64>, TokenError> {
    match date {
        Some(date) if !date.is_finite() || date < 0.0 => Err(TokenError::Claims),
        date => Ok(date.map(|date| date as u64)),
    }
}

fn patterns(texts: &[String]) -> Result<Vec<Pattern>, TokenError> {
    if texts.len() > PATTERNS_MAX {
        return Err(TokenError::Claims);
    }
    let parsed = texts.iter().map(|text| Pattern::parse(text));
    parsed
        .collect::<Result<_, _>>()
        .map_err(|_| TokenError::Claims)
}
