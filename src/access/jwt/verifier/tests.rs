use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::super::KeyError;
use super::*;
use crate::access::PATTERNS_MAX;

const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";
const NOW: u64 = 1_769_860_800;

/// Private and public, made with `openssl genpkey`; nobody uses them for anything else.
const PAIRS: [(&str, &str, &[Algorithm]); 4] = [
    (
        include_str!("tests/rsa.pem"),
        include_str!("tests/rsa.pub.pem"),
        &[
            Algorithm::RS256,
            Algorithm::RS512,
            Algorithm::PS256,
            Algorithm::PS384,
        ],
    ),
    (
        include_str!("tests/p256.pem"),
        include_str!("tests/p256.pub.pem"),
        &[Algorithm::ES256],
    ),
    (
        include_str!("tests/p384.pem"),
        include_str!("tests/p384.pub.pem"),
        &[Algorithm::ES384],
    ),
    (
        include_str!("tests/ed25519.pem"),
        include_str!("tests/ed25519.pub.pem"),
        &[Algorithm::EdDSA],
    ),
];

fn secret() -> Verifier {
    Verifier::new(
        vec![VerificationKey::secret(SECRET).unwrap()],
        Terms::default(),
    )
}

fn sign(claims: &Value) -> String {
    let key = EncodingKey::from_secret(SECRET);
    encode(&Header::new(Algorithm::HS256), claims, &key).unwrap()
}

fn of_parts(header: &str, claims: &str, signature: &[u8]) -> String {
    let signature = URL_SAFE_NO_PAD.encode(signature);
    let (header, claims) = (
        URL_SAFE_NO_PAD.encode(header),
        URL_SAFE_NO_PAD.encode(claims),
    );
    format!("{header}.{claims}.{signature}")
}

/// A token with this very text in it.
fn sign_text(header: &str, claims: &str) -> String {
    let unsigned = of_parts(header, claims, b"");
    let message = unsigned.trim_end_matches('.');
    let key = EncodingKey::from_secret(SECRET);
    let signature = jsonwebtoken::crypto::sign(message.as_bytes(), &key, Algorithm::HS256).unwrap();
    format!("{message}.{signature}")
}

fn private(pem: &str, algorithm: Algorithm) -> EncodingKey {
    let pem = pem.as_bytes();
    match algorithm {
        Algorithm::ES256 | Algorithm::ES384 => EncodingKey::from_ec_pem(pem),
        Algorithm::EdDSA => EncodingKey::from_ed_pem(pem),
        _ => EncodingKey::from_rsa_pem(pem),
    }
    .unwrap()
}

fn error(claims: &Value) -> TokenError {
    secret().verify(&sign(claims), NOW).unwrap_err()
}

#[test]
fn a_token_tells_whose_it_is_what_it_allows_and_until_when() {
    let claims =
        json!({"sub": "ann", "exp": NOW + 60, "publish": ["in-*"], "permissions": "read write x"});
    let verified = secret().verify(&sign(&claims), NOW).unwrap();
    assert_eq!(verified.subject.as_deref(), Some("ann"));
    assert_eq!(verified.expires_at, NOW + 60);
    assert!(verified.grant.may_publish("in-1") && !verified.grant.may_publish("out"));
    assert!(verified.grant.may_read_all());
    assert!(secret().has_key(&verified.key));
    let bare = secret()
        .verify(&sign(&json!({"exp": NOW + 1})), NOW)
        .unwrap();
    assert!(bare.subject.is_none() && !bare.grant.may_read_some() && !bare.grant.may_write());
}

#[test]
fn every_kind_of_key_verifies_what_it_has_signed_and_nothing_else() {
    let claims = json!({"exp": NOW + 60});
    for (secret_pem, public, algorithms) in PAIRS {
        let keys = VerificationKey::pem(public).unwrap();
        let verifier = Verifier::new(keys, Terms::default());
        for algorithm in algorithms {
            let key = private(secret_pem, *algorithm);
            let token = encode(&Header::new(*algorithm), &claims, &key).unwrap();
            assert!(verifier.verify(&token, NOW).is_ok(), "{algorithm:?}");
            let (rest, signature) = token.rsplit_once('.').unwrap();
            let mut bytes = URL_SAFE_NO_PAD.decode(signature).unwrap();
            bytes[10] ^= 1;
            let forged = format!("{rest}.{}", URL_SAFE_NO_PAD.encode(bytes));
            assert_eq!(verifier.verify(&forged, NOW), Err(TokenError::Signature));
            for (_, other, fitting) in PAIRS {
                let others = Verifier::new(VerificationKey::pem(other).unwrap(), Terms::default());
                assert_eq!(
                    others.verify(&token, NOW).is_ok(),
                    fitting.contains(algorithm)
                );
            }
        }
    }
    let all: String = PAIRS.iter().map(|(_, public, _)| *public).collect();
    assert_eq!(VerificationKey::pem(&all).unwrap().len(), 4);
}

#[test]
fn the_algorithm_is_that_of_the_key() {
    let claims = json!({"exp": NOW + 60, "permissions": ["admin"]});
    for (_, public, _) in PAIRS {
        // The public key is no secret: what it signs by HMAC anybody can sign.
        let verifier = Verifier::new(VerificationKey::pem(public).unwrap(), Terms::default());
        for bytes in [public.as_bytes(), public.trim().as_bytes()] {
            let key = EncodingKey::from_secret(bytes);
            let token = encode(&Header::new(Algorithm::HS256), &claims, &key).unwrap();
            assert_eq!(verifier.verify(&token, NOW), Err(TokenError::Algorithm));
        }
    }
    for none in [
        "none", "None", "NONE", "nOnE", "", "HS256 ", "ES512", "hs256",
    ] {
        let header = json!({"alg": none, "typ": "JWT"}).to_string();
        for signature in [&b""[..], b"x"] {
            let token = of_parts(&header, &claims.to_string(), signature);
            assert_eq!(
                secret().verify(&token, NOW),
                Err(TokenError::Algorithm),
                "{none}"
            );
        }
    }
    let unsigned = of_parts(r#"{"alg":"HS256"}"#, &claims.to_string(), b"");
    assert_eq!(secret().verify(&unsigned, NOW), Err(TokenError::Signature));
}

#[test]
fn times_issuers_and_audiences_count() {
    assert_eq!(error(&json!({"sub": "ann"})), TokenError::NoExpiry);
    assert_eq!(error(&json!({"exp": null})), TokenError::NoExpiry);
    assert_eq!(error(&json!({"exp": NOW})), TokenError::Expired);
    assert_eq!(
        error(&json!({"exp": NOW + 9, "nbf": NOW + 1})),
        TokenError::NotYetValid
    );
    for claims in [
        json!({"exp": "tomorrow"}),
        json!({"exp": -1}),
        json!({"exp": NOW + 9, "publish": "a"}),
        json!({"exp": NOW + 9, "publish": ["a/b"]}),
        json!({"exp": NOW + 9, "subscribe": vec!["a"; PATTERNS_MAX + 1]}),
        json!({"exp": NOW + 9, "permissions": 7}),
        json!({"exp": NOW + 9, "sub": ""}),
        json!({"exp": NOW + 9, "sub": "x".repeat(256)}),
    ] {
        assert_eq!(error(&claims), TokenError::Claims, "{claims}");
    }
    let terms = Terms {
        issuers: vec!["a".to_owned(), "b".to_owned()],
        audiences: vec!["us".to_owned()],
    };
    let strict = Verifier::new(vec![VerificationKey::secret(SECRET).unwrap()], terms);
    for (claims, expected) in [
        (json!({"iss": "b", "aud": "us"}), None),
        (json!({"iss": "a", "aud": ["x", "us"]}), None),
        (json!({"iss": "c", "aud": "us"}), Some(TokenError::Issuer)),
        (json!({"aud": "us"}), Some(TokenError::Issuer)),
        (
            json!({"iss": "a", "aud": ["x"]}),
            Some(TokenError::Audience),
        ),
        (json!({"iss": "a"}), Some(TokenError::Audience)),
    ] {
        let mut claims = claims;
        claims["exp"] = json!(NOW + 9);
        assert_eq!(
            strict.verify(&sign(&claims), NOW).err(),
            expected,
            "{claims}"
        );
    }
}

#[test]
fn what_can_be_read_in_two_ways_is_refused() {
    let good = format!("{{\"exp\":{}}}", NOW + 9);
    assert!(
        secret()
            .verify(&sign_text(r#"{"alg":"HS256"}"#, &good), NOW)
            .is_ok()
    );
    let twice = format!("{{\"exp\":1,\"exp\":{}}}", NOW + 9);
    let token = sign_text(r#"{"alg":"HS256"}"#, &twice);
    assert_eq!(secret().verify(&token, NOW), Err(TokenError::Claims));
    for header in [
        r#"{"alg":"HS256","alg":"HS256"}"#,
        r#"{"alg":"HS256","crit":["exp"]}"#,
        r#"{"alg":"HS256","kid":7}"#,
        "[]",
    ] {
        assert!(
            secret().verify(&sign_text(header, &good), NOW).is_err(),
            "{header}"
        );
    }
}

#[test]
fn keys_are_found_by_their_names() {
    let other = b"another secret of thirty-two byte".as_slice();
    let set = json!({"keys": [
        {"kty": "oct", "kid": "one", "k": URL_SAFE_NO_PAD.encode(SECRET)},
        {"kty": "oct", "kid": "two", "alg": "HS512", "k": URL_SAFE_NO_PAD.encode(other)},
        {"kty": "oct", "kid": "three", "use": "enc", "k": URL_SAFE_NO_PAD.encode(other)},
        {"kty": "oct", "kid": "short", "k": "c2hvcnQ"},
        {"kty": "EC", "crv": "P-521", "x": "AA", "y": "AA"},
        {"kty": "new", "x": 1},
        7,
    ]});
    let keys = VerificationKey::jwks(&set.to_string()).unwrap();
    assert_eq!(keys.len(), 2);
    let verifier = Verifier::new(keys, Terms::default());
    let sign = |kid: Option<&str>, algorithm, secret: &[u8]| {
        let mut header = Header::new(algorithm);
        header.kid = kid.map(str::to_owned);
        encode(
            &header,
            &json!({"exp": NOW + 9}),
            &EncodingKey::from_secret(secret),
        )
        .unwrap()
    };
    let verify = |token: &str| verifier.verify(token, NOW).err();
    assert_eq!(verify(&sign(Some("one"), Algorithm::HS256, SECRET)), None);
    assert_eq!(verify(&sign(None, Algorithm::HS512, other)), None);
    assert_eq!(verify(&sign(Some("two"), Algorithm::HS512, other)), None);
    assert_eq!(
        verify(&sign(Some("two"), Algorithm::HS256, other)),
        Some(TokenError::Algorithm)
    );
    assert_eq!(
        verify(&sign(Some("two"), Algorithm::HS512, SECRET)),
        Some(TokenError::Signature)
    );
    assert_eq!(
        verify(&sign(Some("ten"), Algorithm::HS256, SECRET)),
        Some(TokenError::UnknownKey)
    );
}

#[test]
fn keys_that_are_none_are_refused() {
    assert_eq!(
        VerificationKey::secret(&SECRET[1..]).unwrap_err(),
        KeyError::ShortSecret
    );
    assert_eq!(VerificationKey::pem("").unwrap_err(), KeyError::NoPem);
    let broken = "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n";
    assert_eq!(VerificationKey::pem(broken).unwrap_err(), KeyError::NoPem);
    assert_eq!(
        VerificationKey::pem(PAIRS[0].0).unwrap_err(),
        KeyError::Private
    );
    let short = include_str!("tests/rsa1024.pub.pem");
    assert_eq!(VerificationKey::pem(short).unwrap_err(), KeyError::ShortRsa);
    assert_eq!(VerificationKey::jwks("[]").unwrap_err(), KeyError::NoSet);
    assert_eq!(
        VerificationKey::jwks(r#"{"keys":[]}"#).unwrap_err(),
        KeyError::EmptySet
    );
    let many = json!({"keys": vec![0; 101]}).to_string();
    assert_eq!(
        VerificationKey::jwks(&many).unwrap_err(),
        KeyError::LargeSet
    );
    let key = VerificationKey::secret(SECRET).unwrap();
    assert!(!format!("{key:?}").contains("48, 49"), "{key:?}");
}

#[test]
fn long_tokens_are_not_looked_at() {
    let claims = json!({"exp": NOW + 9, "x": "x".repeat(TOKEN_BYTES_MAX)});
    assert_eq!(error(&claims), TokenError::TooLong);
    for token in ["", ".", "..", "...", "a.b", "a.b.c", "ä.ö.ü", "e30.e30.e30"] {
        assert!(secret().verify(token, NOW).is_err(), "{token}");
    }
}

proptest! {
    #[test]
    fn whatever_comes_is_refused_and_does_no_harm(
        header in "\\PC{0,60}", claims in "\\PC{0,60}", token in "[A-Za-z0-9_.=-]{0,80}",
    ) {
        prop_assert!(secret().verify(&token, NOW).is_err());
        prop_assert!(secret().verify(&of_parts(&header, &claims, b"x"), NOW).is_err());
        // Signed by who may, and still nonsense.
        let _ = secret().verify(&sign_text(r#"{"alg":"HS256"}"#, &claims), NOW);
        let _ = VerificationKey::pem(&claims);
        let _ = VerificationKey::jwks(&claims);
    }
}
