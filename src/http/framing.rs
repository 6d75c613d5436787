//! How long the body of a request is (RFC 9112 section 6).

use super::head::HeadError;
use super::headers::Headers;
use super::method::Version;

/// How the body of a request is delimited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// That many bytes; 0 when the request names no length.
    Length(u64),
    /// Chunks, for [`ChunkedDecoder`](super::ChunkedDecoder).
    Chunked,
}

/// The framing that the fields say. Whatever two readers could understand differently is refused.
pub(super) fn framing(headers: &Headers<'_>, version: Version) -> Result<Framing, HeadError> {
    let mut lengths = headers.all("content-length");
    let length = lengths.next();
    if headers.first("transfer-encoding").is_some() {
        if length.is_some() {
            return Err(HeadError::LengthAndCoding);
        }
        return codings(headers, version);
    }
    match (length, lengths.next()) {
        (None, _) => Ok(Framing::Length(0)),
        (Some(value), None) => parse_length(value).map(Framing::Length),
        (Some(_), Some(_)) => Err(HeadError::Length),
    }
}

fn codings(headers: &Headers<'_>, version: Version) -> Result<Framing, HeadError> {
    // A peer that speaks 1.0 may not know what it sends (RFC 9112 section 6.1).
    if version == Version::Http10 {
        return Err(HeadError::Coding);
    }
    let mut chunked = false;
    let mut unknown = false;
    for coding in headers.list("transfer-encoding") {
        // `chunked` is the last and stands once (RFC 9112 section 6.3).
        if chunked {
            return Err(HeadError::Coding);
        }
        if coding.eq_ignore_ascii_case(b"chunked") {
            chunked = true;
        } else {
            unknown = true;
        }
    }
    match (unknown, chunked) {
        (true, _) => Err(HeadError::UnknownCoding),
        (false, true) => Ok(Framing::Chunked),
        (false, false) => Err(HeadError::Coding),
    }
}

/// Digits only: no sign, no list, nothing that `u64` does not hold.
fn parse_length(value: &[u8]) -> Result<u64, HeadError> {
    if value.is_empty() {
        return Err(HeadError::Length);
    }
    value
        .iter()
        .try_fold(0u64, |length, byte| match byte {
            b'0'..=b'9' => length.checked_mul(10)?.checked_add(u64::from(byte - b'0')),
            _ => None,
        })
        .ok_or(HeadError::Length)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(fields: &[(&'static str, &'static str)]) -> Result<Framing, HeadError> {
        let fields = fields.iter().map(|(name, value)| (*name, value.as_bytes()));
        framing(&fields.collect(), Version::Http11)
    }

    fn length(value: &'static str) -> Result<Framing, HeadError> {
        of(&[("Content-Length", value)])
    }

    fn coding(value: &'static str) -> Result<Framing, HeadError> {
        of(&[("transfer-encoding", value)])
    }

    #[test]
    fn lengths() {
        assert_eq!(of(&[]), Ok(Framing::Length(0)));
        assert_eq!(length("0"), Ok(Framing::Length(0)));
        assert_eq!(length("0042"), Ok(Framing::Length(42)));
        assert_eq!(
            length("18446744073709551615"),
            Ok(Framing::Length(u64::MAX))
        );
        let malformed = [
            "",
            "+5",
            "-1",
            "5, 5",
            "5,5",
            "0x5",
            "5 5",
            "5.0",
            "18446744073709551616",
            "99999999999999999999999999",
            "٣",
        ];
        for value in malformed {
            assert_eq!(length(value), Err(HeadError::Length), "{value}");
        }
        let equal = [("content-length", "5"), ("Content-Length", "5")];
        assert_eq!(of(&equal), Err(HeadError::Length));
    }

    #[test]
    fn codings() {
        assert_eq!(coding("chunked"), Ok(Framing::Chunked));
        assert_eq!(coding("ChunKed"), Ok(Framing::Chunked));
        assert_eq!(coding(", chunked ,"), Ok(Framing::Chunked));
        for value in ["chunked, chunked", "chunked, gzip", "chunked,x", "", ","] {
            assert_eq!(coding(value), Err(HeadError::Coding), "{value}");
        }
        for value in [
            "gzip",
            "gzip, chunked",
            "identity",
            "x",
            "xchunked",
            "chunked;a=b",
        ] {
            assert_eq!(coding(value), Err(HeadError::UnknownCoding), "{value}");
        }
        let repeated = [
            ("Transfer-Encoding", "chunked"),
            ("transfer-encoding", "chunked"),
        ];
        assert_eq!(of(&repeated), Err(HeadError::Coding));
    }

    #[test]
    fn length_and_coding_together() {
        let both = [("Transfer-Encoding", "chunked"), ("Content-Length", "5")];
        assert_eq!(of(&both), Err(HeadError::LengthAndCoding));
    }

    #[test]
    fn http_1_0_has_no_codings() {
        let fields = [("Transfer-Encoding", &b"chunked"[..])];
        let verdict = framing(&fields.into_iter().collect(), Version::Http10);
        assert_eq!(verdict, Err(HeadError::Coding));
    }
}
