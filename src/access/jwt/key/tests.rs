use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::super::{Terms, TokenError, Verifier};
use super::*;

/// RFC 7515 appendix A.2: a key, and the signature of the claims of appendix A with it.
const RSA_MODULUS: &str = "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ";
const CLAIMS: &str = "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";
const EXP: u64 = 1_300_819_380;
const SIGNED: [(&str, &str); 3] = [
    (
        "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9",
        "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk",
    ),
    (
        "eyJhbGciOiJSUzI1NiJ9",
        "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw",
    ),
    (
        "eyJhbGciOiJFUzI1NiJ9",
        "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q",
    ),
];

fn rfc_keys() -> [Value; 3] {
    [
        json!({"kty": "oct", "k": "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow"}),
        json!({"kty": "RSA", "n": RSA_MODULUS, "e": "AQAB"}),
        json!({
            "kty": "EC", "crv": "P-256",
            "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
            "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
        }),
    ]
}

fn set(keys: &[Value]) -> Result<Vec<VerificationKey>, KeyError> {
    VerificationKey::jwks(&json!({ "keys": keys }).to_string())
}

/// A key with one more member.
fn with(key: &Value, name: &str, value: Value) -> Value {
    let mut key = key.clone();
    key[name] = value;
    key
}

#[test]
fn the_examples_of_the_rfc_verify() {
    for ((header, signature), key) in SIGNED.iter().zip(rfc_keys()) {
        let token = format!("{header}.{CLAIMS}.{signature}");
        let verify = |key: &Value, now| {
            let keys = set(std::slice::from_ref(key)).unwrap();
            Verifier::new(keys, Terms::default()).verify(&token, now)
        };
        assert_eq!(verify(&key, EXP - 1).unwrap().expires_at, EXP);
        assert_eq!(verify(&key, EXP), Err(TokenError::Expired));
        let all = Verifier::new(set(&rfc_keys()).unwrap(), Terms::default());
        assert!(all.verify(&token, EXP - 1).is_ok());
        for other in rfc_keys().iter().filter(|other| **other != key) {
            assert_eq!(verify(other, EXP - 1), Err(TokenError::Algorithm));
        }
    }
}

#[test]
fn a_key_is_known_again_however_it_is_written() {
    for key in rfc_keys() {
        let fingerprint = |key: Value| set(&[key]).unwrap()[0].fingerprint;
        let first = fingerprint(key.clone());
        assert_eq!(first, fingerprint(with(&key, "kid", json!("new"))));
        assert_eq!(first, fingerprint(with(&key, "x5t", json!("AA"))));
        let spaced = serde_json::to_string_pretty(&json!({ "keys": [key] })).unwrap();
        assert_eq!(
            first,
            VerificationKey::jwks(&spaced).unwrap()[0].fingerprint
        );
    }
    let [secret, ..] = rfc_keys();
    let bytes = URL_SAFE_NO_PAD
        .decode(secret["k"].as_str().unwrap())
        .unwrap();
    let alone = VerificationKey::secret(&bytes).unwrap();
    assert_eq!(alone.fingerprint, set(&[secret]).unwrap()[0].fingerprint);
    let all = set(&rfc_keys()).unwrap();
    assert!(all[0].fingerprint != all[1].fingerprint && all[1].fingerprint != all[2].fingerprint);
}

#[test]
fn keys_for_other_uses_are_left_out() {
    let usable = |key: &Value| set(std::slice::from_ref(key)).is_ok();
    for key in rfc_keys() {
        for (name, value, expected) in [
            ("use", json!("sig"), true),
            ("use", json!("enc"), false),
            ("key_ops", json!(["verify"]), true),
            ("key_ops", json!(["sign", "verify"]), true),
            ("key_ops", json!(["encrypt", "wrapKey"]), false),
            ("key_ops", json!([]), false),
            ("alg", json!("ES384"), false),
            ("alg", json!("RSA-OAEP"), false),
            ("alg", json!("A128KW"), false),
            ("alg", json!("none"), false),
            ("kty", json!("none"), false),
        ] {
            let key = with(&key, name, value);
            assert_eq!(usable(&key), expected, "{key}");
        }
    }
}

#[test]
fn numbers_and_points_have_the_size_they_need() {
    let [_, rsa, ec] = rfc_keys();
    let modulus = URL_SAFE_NO_PAD.decode(RSA_MODULUS).unwrap();
    let n = |bytes: &[u8]| json!(URL_SAFE_NO_PAD.encode(bytes));
    // Zeros in front make it no larger, nor another key.
    let padded = [&[0; 9][..], &modulus].concat();
    let padded = set(&[with(&rsa, "n", n(&padded))]).unwrap();
    assert_eq!(
        padded[0].fingerprint,
        set(std::slice::from_ref(&rsa)).unwrap()[0].fingerprint
    );
    let mut short = modulus;
    short[0] = 0x7f;
    for key in [
        with(&rsa, "n", n(&short)),
        with(&rsa, "n", n(&[0; 300])),
        with(&rsa, "n", n(b"")),
        with(&ec, "x", json!("AAAA")),
        with(&ec, "crv", json!("P-384")),
        with(&ec, "crv", json!("secp256k1")),
        json!({"kty": "OKP", "crv": "Ed25519", "x": "AAAA"}),
        json!({"kty": "OKP", "crv": "X25519", "x": n(&[1; 32])}),
    ] {
        assert_eq!(
            set(std::slice::from_ref(&key)).unwrap_err(),
            KeyError::EmptySet,
            "{key}"
        );
    }
    let long = " ".repeat(SET_BYTES_MAX + 1);
    assert_eq!(VerificationKey::jwks(&long).unwrap_err(), KeyError::LongSet);
}
