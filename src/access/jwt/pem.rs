//! Public keys as PEM texts hold them (RFC 7468): alone, or in certificates.
//!
//! No more of DER is read than the way to the key, element by element, so that no text can make it
//! deep.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jsonwebtoken::{Algorithm, DecodingKey};

use super::key::{KEYS_MAX, KeyError, RSA, rsa};

const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const OBJECT_ID: u8 = 0x06;
const SEQUENCE: u8 = 0x30;
/// The version of a certificate (RFC 5280 section 4.1): absent from those of version 1.
const VERSION: u8 = 0xa0;

/// 1.2.840.113549.1.1.1 (RFC 3279 section 2.3.1).
const ID_RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];
/// 1.2.840.10045.2.1 (RFC 5480 section 2.1.1), and the curves of it.
const ID_EC: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];
const ID_P256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
const ID_P384: &[u8] = &[0x2b, 0x81, 0x04, 0x00, 0x22];
/// 1.3.101.112 (RFC 8410 section 3).
const ID_ED25519: &[u8] = &[0x2b, 0x65, 0x70];

/// A key, and the algorithms that it is for.
pub(super) type PublicKey = (DecodingKey, Vec<Algorithm>);

/// All keys of a text. What stands around them is no matter.
pub(super) fn read(text: &str) -> Result<Vec<PublicKey>, KeyError> {
    if text.contains("PRIVATE KEY-----") {
        return Err(KeyError::Private);
    }
    let mut keys = Vec::new();
    let mut rest = text;
    while let Some((_, begun)) = rest.split_once("-----BEGIN ") {
        if keys.len() == KEYS_MAX {
            return Err(KeyError::LargeSet);
        }
        let (label, begun) = begun.split_once("-----").ok_or(KeyError::NoPem)?;
        let (body, ended) = begun.split_once("-----END ").ok_or(KeyError::NoPem)?;
        rest = ended;
        let body: Vec<u8> = body
            .bytes()
            .filter(|byte| !byte.is_ascii_whitespace())
            .collect();
        let der = STANDARD.decode(body).map_err(|_| KeyError::NoPem)?;
        keys.push(of_block(label, &der)?);
    }
    if keys.is_empty() {
        Err(KeyError::NoPem)
    } else {
        Ok(keys)
    }
}

fn of_block(label: &str, der: &[u8]) -> Result<PublicKey, KeyError> {
    let mut der = Der(der);
    let content = der.inside(SEQUENCE);
    match label {
        "RSA PUBLIC KEY" => of_rsa(content.ok_or(KeyError::NoPem)?),
        "PUBLIC KEY" => of_info(content.ok_or(KeyError::NoPem)?),
        "CERTIFICATE" => of_info(content.and_then(info_of).ok_or(KeyError::NoPem)?),
        _ => Err(KeyError::NoPem),
    }
}

/// The `SubjectPublicKeyInfo` of a certificate (RFC 5280 section 4.1).
fn info_of(mut certificate: Der<'_>) -> Option<Der<'_>> {
    let mut signed = certificate.inside(SEQUENCE)?;
    let (first, _) = signed.element()?;
    // Before the key come serial number, signature, issuer, validity and subject.
    for _ in 0..if first == VERSION { 5 } else { 4 } {
        signed.element()?;
    }
    signed.inside(SEQUENCE)
}

/// The key of a `SubjectPublicKeyInfo` (RFC 5280 section 4.1.2.7).
fn of_info(mut info: Der<'_>) -> Result<PublicKey, KeyError> {
    let mut parts = || {
        let mut algorithm = info.inside(SEQUENCE)?;
        let name = algorithm.inside(OBJECT_ID)?.0;
        let curve = algorithm.inside(OBJECT_ID).map(|it| it.0);
        // The first byte counts the bits that are left out at the end.
        let key = info.inside(BIT_STRING)?.0.strip_prefix(&[0])?;
        Some((name, curve, key))
    };
    let (name, curve, key) = parts().ok_or(KeyError::NoPem)?;
    // A point that is not compressed: a byte and two coordinates (SEC 1 section 2.3.3).
    match (name, curve, key.len(), key.first()) {
        (ID_RSA, ..) => of_rsa(Der(key).inside(SEQUENCE).ok_or(KeyError::NoPem)?),
        (ID_EC, Some(ID_P256), 65, Some(4)) => {
            Ok((DecodingKey::from_ec_der(key), vec![Algorithm::ES256]))
        }
        (ID_EC, Some(ID_P384), 97, Some(4)) => {
            Ok((DecodingKey::from_ec_der(key), vec![Algorithm::ES384]))
        }
        (ID_ED25519, None, 32, _) => Ok((DecodingKey::from_ed_der(key), vec![Algorithm::EdDSA])),
        _ => Err(KeyError::NoPem),
    }
}

/// The content of an `RSAPublicKey` (RFC 8017 appendix A.1.1).
fn of_rsa(mut key: Der<'_>) -> Result<PublicKey, KeyError> {
    let modulus = key.inside(INTEGER).ok_or(KeyError::NoPem)?;
    let exponent = key.inside(INTEGER).ok_or(KeyError::NoPem)?;
    Ok((rsa(modulus.0, exponent.0)?, RSA.to_vec()))
}

/// The rest of some DER (X.690 section 8.1).
struct Der<'d>(&'d [u8]);

impl<'d> Der<'d> {
    /// Takes the next element: its tag and its content.
    fn element(&mut self) -> Option<(u8, &'d [u8])> {
        let (&tag, rest) = self.0.split_first()?;
        let (&first, rest) = rest.split_first()?;
        let (len, rest) = match first {
            len if len < 0x80 => (usize::from(len), rest),
            // Two bytes of length are enough for any key or certificate.
            0x81 => rest
                .split_first()
                .map(|(len, rest)| (usize::from(*len), rest))?,
            0x82 => {
                let (len, rest) = rest.split_first_chunk()?;
                (usize::from(u16::from_be_bytes(*len)), rest)
            }
            _ => return None,
        };
        let (content, rest) = rest.split_at_checked(len)?;
        self.0 = rest;
        Some((tag, content))
    }

    /// Takes the next element if it has this tag; what is in it.
    fn inside(&mut self, wanted: u8) -> Option<Der<'d>> {
        let mut ahead = Der(self.0);
        let (tag, content) = ahead.element()?;
        (tag == wanted).then(|| {
            self.0 = ahead.0;
            Der(content)
        })
    }
}

#[cfg(test)]
mod tests;
