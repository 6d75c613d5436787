//! Percent-encoding (RFC 3986 section 2.1).

use std::borrow::Cow;

/// Decodes `%xx` once; `+` stays `+`. Borrows when there is nothing to decode.
///
/// `None` when an escape is not `%` and two hexadecimal digits, or when the result is not UTF-8.
/// The result may hold any character, also NUL and `/`: split a path only before decoding.
pub fn percent_decode(text: &str) -> Option<Cow<'_, str>> {
    let bytes = text.as_bytes();
    let Some(first) = memchr::memchr(b'%', bytes) else {
        return Some(Cow::Borrowed(text));
    };
    let mut decoded = Vec::with_capacity(bytes.len());
    decoded.extend_from_slice(&bytes[..first]);
    let mut rest = &bytes[first..];
    while let Some((&byte, behind)) = rest.split_first() {
        if byte != b'%' {
            decoded.push(byte);
            rest = behind;
            continue;
        }
        let (&[high, low], behind) = behind.split_first_chunk()?;
        decoded.push(hex_digit(high)? << 4 | hex_digit(low)?);
        rest = behind;
    }
    String::from_utf8(decoded).ok().map(Cow::Owned)
}

/// The value of a hexadecimal digit of either case.
pub(super) fn hex_digit(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        b'A'..=b'F' => Some(byte - b'A' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn decodes_once() {
        assert_eq!(percent_decode("/a+b").as_deref(), Some("/a+b"));
        assert_eq!(percent_decode("/%61%2Fb%2f").as_deref(), Some("/a/b/"));
        assert_eq!(percent_decode("%2541").as_deref(), Some("%41"));
        assert_eq!(percent_decode("%C3%A9").as_deref(), Some("é"));
        assert_eq!(percent_decode("a%00").as_deref(), Some("a\0"));
        assert!(matches!(percent_decode("/ws"), Some(Cow::Borrowed("/ws"))));
    }

    #[test]
    fn refuses_malformed_escapes_and_other_encodings() {
        for bad in [
            "%",
            "%4",
            "%g0",
            "%4g",
            "a%",
            "%%41",
            "%+1",
            "%ff",
            "%C3",
            "%ED%A0%80",
        ] {
            assert_eq!(percent_decode(bad), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn round_trip(text: String) {
            let encoded: String = text.bytes().map(|byte| format!("%{byte:02x}")).collect();
            let decoded = percent_decode(&encoded);
            prop_assert_eq!(decoded.as_deref(), Some(text.as_str()));
        }
    }
}
