//! Keys that tell whether a token is genuine, each for the algorithms that it is meant for alone.

use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, PublicKeyUse};
use jsonwebtoken::{Algorithm, AlgorithmFamily, DecodingKey, DecodingKeyKind};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::super::api_key::Digest;

/// Shortest secret in bytes: as long as the hash of HS256 (RFC 7518 section 3.2).
const SECRET_BYTES_MIN: usize = 32;
/// Shortest modulus of an RSA key in bytes (RFC 7518 section 3.3).
const MODULUS_BYTES_MIN: usize = 256;
/// Most keys of one set.
const KEYS_MAX: usize = 100;

const HMAC: &[Algorithm] = &[Algorithm::HS256, Algorithm::HS384, Algorithm::HS512];
const RSA: &[Algorithm] = &[
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
    /// A set with more keys than are tried.
    #[error("the set has more than {KEYS_MAX} keys")]
    LargeSet,
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
        Ok(VerificationKey {
            id: None,
            algorithms: HMAC.to_vec(),
            key: DecodingKey::from_secret(secret),
            fingerprint: Digest::of(secret),
        })
    }

    /// The public keys of a PEM text: RSA (RS and PS), P-256, P-384, Ed25519.
    ///
    /// # Errors
    /// When one is private, too short, or of another kind, or there is none.
    pub fn pem(text: &str) -> Result<Vec<VerificationKey>, KeyError> {
        if text.contains("PRIVATE KEY-----") {
            return Err(KeyError::Private);
        }
        let blocks = text.split_inclusive("-----END").filter_map(|part| {
            let begin = part.find("-----BEGIN ")?;
            let label = part[begin..]
                .split("-----")
                .nth(1)?
                .strip_prefix("BEGIN ")?;
            Some(format!("{} {label}-----\n", &part[begin..]))
        });
        let keys: Vec<VerificationKey> = blocks
            .map(|block| of_block(block.as_bytes()))
            .collect::<Result<_, _>>()?;
        if keys.is_empty() {
            Err(KeyError::NoPem)
        } else {
            Ok(keys)
        }
    }

    /// The keys for signatures of a JSON Web Key Set (RFC 7517); others are left out.
    ///
    /// # Errors
    /// When it is none, or has no such key, or more than 100 keys.
    pub fn jwks(json: &str) -> Result<Vec<VerificationKey>, KeyError> {
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
}

fn of_block(block: &[u8]) -> Result<VerificationKey, KeyError> {
    let key = DecodingKey::from_rsa_pem(block)
        .or_else(|_| DecodingKey::from_ec_pem(block))
        .or_else(|_| DecodingKey::from_ed_pem(block))
        .map_err(|_| KeyError::NoPem)?;
    let algorithms = match (key.family(), key.kind()) {
        (AlgorithmFamily::Rsa, kind) if bytes_of(kind) < MODULUS_BYTES_MIN => {
            return Err(KeyError::ShortRsa);
        }
        (AlgorithmFamily::Rsa, _) => RSA.to_vec(),
        (AlgorithmFamily::Ec, kind) => match bytes_of(kind) {
            // A point that is not compressed: a byte and two coordinates.
            65 => vec![Algorithm::ES256],
            97 => vec![Algorithm::ES384],
            _ => return Err(KeyError::NoPem),
        },
        (AlgorithmFamily::Ed, _) => vec![Algorithm::EdDSA],
        _ => return Err(KeyError::NoPem),
    };
    Ok(VerificationKey {
        id: None,
        algorithms,
        key,
        fingerprint: Digest::of(block),
    })
}

/// The modulus of an RSA key, or what is little more; the point of another.
fn bytes_of(kind: &DecodingKeyKind) -> usize {
    match kind {
        DecodingKeyKind::SecretOrDer(bytes) => bytes.len(),
        DecodingKeyKind::RsaModulusExponent { n, .. } => n.len(),
    }
}

fn of_jwk(raw: &RawValue) -> Option<VerificationKey> {
    let jwk: Jwk = serde_json::from_str(raw.get()).ok()?;
    let common = &jwk.common;
    if !matches!(common.public_key_use, None | Some(PublicKeyUse::Signature)) {
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
    let bytes_min = match key.family() {
        AlgorithmFamily::Rsa => MODULUS_BYTES_MIN,
        AlgorithmFamily::Hmac => SECRET_BYTES_MIN,
        _ => 0,
    };
    (bytes_of(key.kind()) >= bytes_min).then(|| VerificationKey {
        id: common.key_id.as_deref().map(Box::from),
        algorithms,
        key,
        fingerprint: Digest::of(raw.get().as_bytes()),
    })
}

/// Both are written as RFC 7518 section 3.1 names them.
fn is_named(algorithm: Algorithm, named: KeyAlgorithm) -> bool {
    format!("{algorithm:?}") == named.to_string()
}
