use proptest::prelude::*;

use super::*;

const RSA_PEM: &str = include_str!("../verifier/tests/rsa.pub.pem");
const P256_PEM: &str = include_str!("../verifier/tests/p256.pub.pem");

fn bytes(text: &str) -> Vec<u8> {
    let lines = text.lines().filter(|line| !line.starts_with("-----"));
    STANDARD.decode(lines.collect::<String>()).unwrap()
}

fn pem(label: &str, der: &[u8]) -> String {
    let body = STANDARD.encode(der);
    format!("-----BEGIN {label}-----\n{body}\n-----END {label}-----\n")
}

fn fails(text: &str) -> KeyError {
    read(text).err().unwrap()
}

/// What tells one key from another.
fn material(text: &str) -> String {
    let keys = read(text).unwrap();
    let [(key, algorithms)] = keys.as_slice() else {
        panic!("one key: {text}");
    };
    let bytes = match key.kind() {
        jsonwebtoken::DecodingKeyKind::SecretOrDer(bytes) => bytes.clone(),
        jsonwebtoken::DecodingKeyKind::RsaModulusExponent { n, e } => [&n[..], e].concat(),
    };
    format!("{bytes:?} {algorithms:?}")
}

#[test]
fn a_key_is_the_same_alone_and_in_a_certificate() {
    assert_eq!(
        material(RSA_PEM),
        material(include_str!("tests/rsa.pkcs1.pem"))
    );
    assert_eq!(
        material(RSA_PEM),
        material(include_str!("tests/rsa.cert.pem"))
    );
    // The authority that has signed this one has an RSA key.
    assert_eq!(
        material(P256_PEM),
        material(include_str!("tests/p256.cert.pem"))
    );
    let windows = format!("Here it is:\r\n{}", P256_PEM.replace('\n', "\r\n"));
    assert_eq!(material(P256_PEM), material(&windows));
}

#[test]
fn keys_that_no_algorithm_is_for_are_refused() {
    // Their points are as long as those of P-256, or lie on it.
    assert_eq!(
        fails(include_str!("tests/secp256k1.pub.pem")),
        KeyError::NoPem
    );
    assert_eq!(
        fails(include_str!("tests/p256.compressed.pem")),
        KeyError::NoPem
    );
    assert_eq!(
        fails(include_str!("tests/rsa2047.pub.pem")),
        KeyError::ShortRsa
    );
    assert_eq!(fails(&pem("X509 CRL", &bytes(P256_PEM))), KeyError::NoPem);
    assert_eq!(fails(&P256_PEM.repeat(KEYS_MAX + 1)), KeyError::LargeSet);
    assert_eq!(read(&P256_PEM.repeat(KEYS_MAX)).unwrap().len(), KEYS_MAX);
    for label in ["PRIVATE", "RSA PRIVATE", "EC PRIVATE", "ENCRYPTED PRIVATE"] {
        assert_eq!(fails(&pem(&format!("{label} KEY"), b"")), KeyError::Private);
    }
}

#[test]
fn a_key_that_ends_early_is_none() {
    for text in [RSA_PEM, P256_PEM] {
        let whole = bytes(text);
        for len in 0..whole.len() {
            assert!(read(&pem("PUBLIC KEY", &whole[..len])).is_err(), "{len}");
        }
        for len in 0..text.trim_end().len() - "PUBLIC KEY-----".len() {
            assert_eq!(fails(&text[..len]), KeyError::NoPem, "{len}");
        }
    }
    let certificate = bytes(include_str!("tests/p256.cert.pem"));
    for len in 0..certificate.len() {
        assert!(read(&pem("CERTIFICATE", &certificate[..len])).is_err());
    }
}

#[test]
fn a_text_cannot_make_it_deep() {
    let mut der = Vec::new();
    while der.len() < 60_000 {
        let len = u16::try_from(der.len()).unwrap().to_be_bytes();
        der = [&[SEQUENCE, 0x82], &len[..], &der].concat();
    }
    for label in ["PUBLIC KEY", "RSA PUBLIC KEY", "CERTIFICATE"] {
        assert_eq!(fails(&pem(label, &der)), KeyError::NoPem);
    }
}

proptest! {
    #[test]
    fn whatever_comes_does_no_harm(
        der in proptest::collection::vec(any::<u8>(), 0..80), text in "\\PC{0,80}",
        at in any::<prop::sample::Index>(), byte in any::<u8>(),
    ) {
        let _ = read(&text);
        for whole in [bytes(RSA_PEM), bytes(P256_PEM), bytes(include_str!("tests/p256.cert.pem"))] {
            let mut changed = whole;
            let at = at.index(changed.len());
            changed[at] = byte;
            for label in ["PUBLIC KEY", "RSA PUBLIC KEY", "CERTIFICATE"] {
                let _ = read(&pem(label, &changed));
                let _ = read(&pem(label, &der));
            }
        }
    }
}
