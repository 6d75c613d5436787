//! Keys that tell whether a token is genuine, each for the algorithms that it is meant for alone.

use jsonwebtoken::jwk::{
    AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, KeyOperations, PublicKeyUse,
};
use jsonwebtoken::{Algorithm, DecodingKey, DecodingKeyKind};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::super::api_key::Digest;
use super::pem;

/// Shortest secret in bytes: as long as the hash of HS256 (RFC 7518 section 3.2).
const SECRET_BYTES_MIN: usize = 32;
/// Shortest modulus of an RSA key in bits (RFC 7518 section 3.3).
const MODULUS_BITS_MIN: usize = 2048;
/// Most keys of one set, or of one PEM text.
pub(super) const KEYS_MAX: usize = 100;
/// Longest set in bytes: 100 RSA keys of 16384 bits with their certificates fit.
const SET_BYTES_MAX: usize = 1 << 20;

const HMAC: &[Algorithm] = &[Algorithm::HS256, Algorithm::HS384, Algorithm::HS512];
pub(super) const RSA: &[Algorithm] = &[
    Algorithm::RS256,
    Algorithm::RS384,
    Algorithm::RS512,
    Algorithm::PS256,
    Algorithm::PS384,
    Algorithm::PS512,
];

/// Why there is no key.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum KeyError {
    /// Anybody who has seen a token could find it.
    #[error("the secret is shorter than {SECRET_BYTES_MIN} bytes")]
    ShortSecret,
    /// A PEM text without any.
    #[error("there is no public key of a kind that is supported: RSA, P-256, P-384 or Ed25519")]
    NoPem,
    /// A PEM text that should have stayed where it was.
    #[error("there is a private key; the server needs the public one")]
    Private,
    /// An RSA key that can be broken.
    #[error("an RSA key is shorter than 2048 bits")]
    ShortRsa,
    /// No JSON object with `keys`.
    #[error("this is no JSON Web Key Set")]
    NoSet,
    /// A set without a key for signatures.
    #[error("the set has no key for signatures of a kind that is supported")]
    EmptySet,
    /// A set, or a PEM text, with more keys than are kept.
    #[error("there are more than {KEYS_MAX} keys")]
    LargeSet,
    /// A set that is longer than is read.
    #[error("the set is longer than {SET_BYTES_MAX} bytes")]
    LongSet,
}

/// A key that verifies signatures.
#[derive(Clone, Debug)]
pub struct VerificationKey {
    /// What tokens call it.
    pub(super) id: Option<Box<str>>,
    pub(super) algorithms: Vec<Algorithm>,
    pub(super) key: DecodingKey,
    /// The hash of the key, by which it is known again.
    pub(super) fingerprint: Digest,
}

#[derive(Deserialize)]
struct Set<'s> {
    #[serde(borrow)]
    keys: Vec<&'s RawValue>,
}

impl VerificationKey {
    /// A secret that signs and verifies: HS256, HS384, HS512.
    ///
    /// # Errors
    /// When it is short enough to be found by trying.
    pub fn secret(secret: &[u8]) -> Result<VerificationKey, KeyError> {
        if secret.len() < SECRET_BYTES_MIN {
            return Err(KeyError::ShortSecret);
        }
        let key = DecodingKey::from_secret(secret);
        Ok(VerificationKey::new(None, HMAC.to_vec(), key))
    }

    /// Whether two lists hold the same keys under the same names, in the same order.
    pub fn are_same(some: &[VerificationKey], others: &[VerificationKey]) -> bool {
        some.len() == others.len()
            && some.iter().zip(others).all(|(one, other)| {
                one.id == other.id
                    && one.algorithms == other.algorithms
                    && one.fingerprint == other.fingerprint
            })
    }

    /// The public keys of a PEM text, alone or in certificates, of which nothing else is looked at: RSA
    /// (RS and PS), P-256, P-384, Ed25519.
    ///
    /// # Errors
    /// When one is private, too short, or of another kind, or there is none, or more than 100.
    pub fn pem(text: &str) -> Result<Vec<VerificationKey>, KeyError> {
        let keys = pem::read(text)?.into_iter();
        Ok(keys
            .map(|(key, algorithms)| VerificationKey::new(None, algorithms, key))
            .collect())
    }

    /// The keys for signatures of a JSON Web Key Set (RFC 7517); others are left out.
    ///
    /// # Errors
    /// When it is none, or has no such key, or more than 100 keys, or more than 1 MiB.
    pub fn jwks(json: &str) -> Result<Vec<VerificationKey>, KeyError> {
        if json.len() > SET_BYTES_MAX {
            return Err(KeyError::LongSet);
        }
        let set: Set<'_> = serde_json::from_str(json).map_err(|_| KeyError::NoSet)?;
        if set.keys.len() > KEYS_MAX {
            return Err(KeyError::LargeSet);
        }
        let keys: Vec<VerificationKey> = set.keys.iter().filter_map(|raw| of_jwk(raw)).collect();
        if keys.is_empty() {
            Err(KeyError::EmptySet)
        } else {
            Ok(keys)
        }
    }

    fn new(id: Option<&str>, algorithms: Vec<Algorithm>, key: DecodingKey) -> VerificationKey {
        VerificationKey {
            id: id.map(Box::from),
            algorithms,
            fingerprint: fingerprint(key.kind()),
            key,
        }
    }
}

/// The same for the same key, however it was written down: what rests on a key must outlive a new
/// edition of the file or set that it came with.
fn fingerprint(key: &DecodingKeyKind) -> Digest {
    match key {
        DecodingKeyKind::SecretOrDer(bytes) => Digest::of(bytes),
        DecodingKeyKind::RsaModulusExponent { n, e } => {
            Digest::of(&[&n.len().to_be_bytes(), n.as_slice(), e].concat())
        }
    }
}

/// An RSA key of these two numbers, the highest byte first.
pub(super) fn rsa(modulus: &[u8], exponent: &[u8]) -> Result<DecodingKey, KeyError> {
    let (modulus, exponent) = (without_zeros(modulus), without_zeros(exponent));
    let unused = modulus
        .first()
        .map_or(0, |byte| byte.leading_zeros() as usize);
    if 8 * modulus.len() - unused < MODULUS_BITS_MIN {
        return Err(KeyError::ShortRsa);
    }
    Ok(DecodingKey::from_rsa_raw_components(modulus, exponent))
}

fn without_zeros(number: &[u8]) -> &[u8] {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    &number[zeros..]
}

fn of_jwk(raw: &RawValue) -> Option<VerificationKey> {
    let jwk: Jwk = serde_json::from_str(raw.get()).ok()?;
    let common = &jwk.common;
    if !matches!(common.public_key_use, None | Some(PublicKeyUse::Signature)) {
        return None;
    }
    // RFC 7517 section 4.3.
    let operations = common.key_operations.as_deref();
    if operations.is_some_and(|all| !all.contains(&KeyOperations::Verify)) {
        return None;
    }
    let meant_for = match &jwk.algorithm {
        AlgorithmParameters::RSA(_) => RSA.to_vec(),
        AlgorithmParameters::EllipticCurve(key) => match key.curve {
            EllipticCurve::P256 => vec![Algorithm::ES256],
            EllipticCurve::P384 => vec![Algorithm::ES384],
            _ => return None,
        },
        AlgorithmParameters::OctetKeyPair(key) if key.curve == EllipticCurve::Ed25519 => {
            vec![Algorithm::EdDSA]
        }
        AlgorithmParameters::OctetKey(_) => HMAC.to_vec(),
        _ => return None,
    };
    let algorithms = match common.key_algorithm {
        Some(named) => vec![meant_for.into_iter().find(|it| is_named(*it, named))?],
        None => meant_for,
    };
    let key = DecodingKey::from_jwk(&jwk).ok()?;
    let key = match (key.kind(), algorithms[0]) {
        (DecodingKeyKind::RsaModulusExponent { n, e }, _) => rsa(n, e).ok()?,
        (DecodingKeyKind::SecretOrDer(bytes), algorithm) => {
            is_sized(bytes.len(), algorithm).then_some(key)?
        }
    };
    let id = common.key_id.as_deref();
    Some(VerificationKey::new(id, algorithms, key))
}

/// Whether a secret is long enough, and a point as long as those of its curve.
fn is_sized(bytes: usize, algorithm: Algorithm) -> bool {
    match algorithm {
        Algorithm::ES256 => bytes == 65,
        Algorithm::ES384 => bytes == 97,
        Algorithm::EdDSA => bytes == 32,
        _ => bytes >= SECRET_BYTES_MIN,
    }
}

/// Both are written as RFC 7518 section 3.1 names them.
fn is_named(algorithm: Algorithm, named: KeyAlgorithm) -> bool {
    format!("{algorithm:?}") == named.to_string()
}

#[cfg(test)]
mod tests;
