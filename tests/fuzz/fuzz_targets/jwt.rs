//! No token holds but one that is signed and has not ended; no keys and no claims do harm.

#![no_main]

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, crypto};
use libfuzzer_sys::fuzz_target;
use pulsar_proxy::access::{TOKEN_BYTES_MAX, Terms, VerificationKey, Verifier};

const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";
const NOW: u64 = 1_000;

// A line for the header, and the rest for the claims.
fuzz_target!(|text: &str| {
    let key = VerificationKey::secret(SECRET).expect("32 bytes are enough");
    let verifier = Verifier::new(vec![key], Terms::default());
    assert!(verifier.verify(text, NOW).is_err(), "nobody has signed it");

    let (header, claims) = text
        .split_once('\n')
        .unwrap_or((r#"{"alg":"HS256"}"#, text));
    let encode = |part: &str| URL_SAFE_NO_PAD.encode(part);
    let message = format!("{}.{}", encode(header), encode(claims));
    let sign = |secret| {
        let key = EncodingKey::from_secret(secret);
        let signature = crypto::sign(message.as_bytes(), &key, Algorithm::HS256);
        format!("{message}.{}", signature.expect("a secret signs anything"))
    };
    if let Ok(verified) = verifier.verify(&sign(SECRET), NOW) {
        assert!(verified.expires_at > NOW && verifier.has_key(&verified.key));
        assert!(message.len() < TOKEN_BYTES_MAX);
        assert!(verifier.verify(&sign(SECRET), verified.expires_at).is_err());
    }
    assert!(verifier.verify(&sign(b"of somebody else"), NOW).is_err());

    for keys in [VerificationKey::pem(text), VerificationKey::jwks(text)] {
        let Ok(keys) = keys else { continue };
        assert!((1..=100).contains(&keys.len()));
        let _ = Verifier::new(keys, Terms::default()).verify(&sign(SECRET), NOW);
    }
});
