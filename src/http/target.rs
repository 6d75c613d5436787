//! Request targets (RFC 9112 section 3.2) and the syntax of authorities (RFC 3986 section 3.2).

use std::net::Ipv6Addr;

use super::method::Method;
use super::percent::hex_digit;

/// A request target in its parts, as they were sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Target<'b> {
    /// Host and port of an absolute-form target.
    pub(super) authority: Option<&'b str>,
    /// Begins with `/`, or is `*` for `OPTIONS *`.
    pub(super) path: &'b str,
    /// What follows the first `?`.
    pub(super) query: Option<&'b str>,
}

impl<'b> Target<'b> {
    /// Takes a target apart: origin-form, absolute-form, or `*` with `OPTIONS`. `None` for all
    /// else, also the authority-form of `CONNECT`, which only a proxy can serve.
    pub(super) fn parse(text: &'b str, method: Method<'_>) -> Option<Target<'b>> {
        if text == "*" && method == Method::Options {
            return Some(Target {
                authority: None,
                path: text,
                query: None,
            });
        }
        let (authority, rest) = match strip_scheme(text) {
            Some(rest) => {
                let end = rest.find(['/', '?']).unwrap_or(rest.len());
                (Some(&rest[..end]), &rest[end..])
            }
            None => (None, text),
        };
        if authority.is_some_and(|authority| !is_authority(authority.as_bytes())) {
            return None;
        }
        let (path, query) = match rest.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (rest, None),
        };
        let path = match path {
            "" if authority.is_some() => "/",
            _ if path.starts_with('/') => path,
            _ => return None,
        };
        Some(Target {
            authority,
            path,
            query,
        })
    }
}

/// What follows `http://` or `https://` in any case.
fn strip_scheme(text: &str) -> Option<&str> {
    ["http://", "https://"].iter().find_map(|scheme| {
        let start = text.get(..scheme.len())?;
        start
            .eq_ignore_ascii_case(scheme)
            .then(|| &text[scheme.len()..])
    })
}

/// Whether the bytes are a host with an optional port, without user information. An empty host is
/// none (RFC 9110 section 4.2.1).
pub(super) fn is_authority(bytes: &[u8]) -> bool {
    if let Some(literal) = bytes.strip_prefix(b"[") {
        let Some(end) = memchr::memchr(b']', literal) else {
            return false;
        };
        return is_ipv6(&literal[..end]) && is_port(&literal[end + 1..]);
    }
    let end = memchr::memchr(b':', bytes).unwrap_or(bytes.len());
    end > 0 && is_registered_name(&bytes[..end]) && is_port(&bytes[end..])
}

fn is_ipv6(bytes: &[u8]) -> bool {
    std::str::from_utf8(bytes).is_ok_and(|text| text.parse::<Ipv6Addr>().is_ok())
}

/// Nothing, or a colon and a port number, which may be empty.
fn is_port(bytes: &[u8]) -> bool {
    let Some((colon, digits)) = bytes.split_first() else {
        return true;
    };
    let port = digits.iter().try_fold(0u16, |port, byte| match byte {
        b'0'..=b'9' => port.checked_mul(10)?.checked_add(u16::from(byte - b'0')),
        _ => None,
    });
    *colon == b':' && port.is_some()
}

/// `reg-name` of RFC 3986, which covers IPv4 addresses too.
fn is_registered_name(mut bytes: &[u8]) -> bool {
    while let Some((byte, rest)) = bytes.split_first() {
        bytes = match byte {
            b'%' => match rest {
                [high, low, rest @ ..] if is_escape(*high, *low) => rest,
                _ => return false,
            },
            _ if byte.is_ascii_alphanumeric() => rest,
            _ if b"-._~!$&'()*+,;=".contains(byte) => rest,
            _ => return false,
        };
    }
    true
}

fn is_escape(high: u8, low: u8) -> bool {
    hex_digit(high).is_some() && hex_digit(low).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Option<(Option<&str>, &str, Option<&str>)> {
        let target = Target::parse(text, Method::Get)?;
        Some((target.authority, target.path, target.query))
    }

    #[test]
    fn origin_form() {
        assert_eq!(parse("/"), Some((None, "/", None)));
        assert_eq!(parse("/a%20b?c=d?e"), Some((None, "/a%20b", Some("c=d?e"))));
        assert_eq!(parse("//a?"), Some((None, "//a", Some(""))));
        assert_eq!(parse("/http://a/"), Some((None, "/http://a/", None)));
    }

    #[test]
    fn absolute_form() {
        assert_eq!(parse("http://a/b"), Some((Some("a"), "/b", None)));
        assert_eq!(parse("HTTPS://a:1?b"), Some((Some("a:1"), "/", Some("b"))));
        assert_eq!(
            parse("http://[::1]:80"),
            Some((Some("[::1]:80"), "/", None))
        );
        for bad in [
            "http://",
            "http:///a",
            "http://u@a/",
            "http://a:b/",
            "ftp://a/",
            "http:/a",
        ] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn other_forms() {
        for bad in ["", "*", "a", "a:80", "?a", "*/"] {
            assert_eq!(parse(bad), None, "{bad}");
        }
        let star = Target::parse("*", Method::Options).unwrap();
        assert_eq!((star.path, star.query), ("*", None));
        assert_eq!(Target::parse("*/a", Method::Options), None);
    }

    #[test]
    fn authorities() {
        let good = [
            "a",
            "a.b",
            "a_b",
            "a:",
            "a:80",
            "a:65535",
            "127.0.0.1:8080",
            "[::1]",
            "[::1]:80",
            "[::ffff:1.2.3.4]",
            "a%20b",
            "xn--a",
        ];
        for text in good {
            assert!(is_authority(text.as_bytes()), "{text}");
        }
        let bad = [
            "",
            ":80",
            "a:b",
            "a:65536",
            "a:8:0",
            "a b",
            "a/b",
            "u@a",
            "[::1",
            "[a]",
            "[::1]a",
            "[]",
            "::1",
            "a%2",
            "a%zz",
            "é",
            "a\\b",
            "a:+1",
            "[fe80::1%25eth0]",
        ];
        for text in bad {
            assert!(!is_authority(text.as_bytes()), "{text}");
        }
    }
}
