//! From text to values: durations, sizes, counts, switches, hosts and origins. Every form that a flag,
//! an environment variable or a file may hold is parsed here, and shown again in the same form.

use std::net::{IpAddr, Ipv4Addr};
use std::str::FromStr;
use std::time::Duration;

use bytesize::ByteSize;

/// A number of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Size(pub(crate) u64);

/// A plain number of things.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Count(pub(crate) u64);

/// Something with an order, of which a setting allows a range.
pub(crate) trait Value: Copy + PartialOrd {
    /// What an allowed text looks like, for error sentences.
    const FORM: &'static str;

    /// Reads the text; `None` if it has another form.
    fn parse(text: &str) -> Option<Self>;

    /// The shortest text that parses to this value.
    fn show(self) -> String;
}

impl Value for Duration {
    const FORM: &'static str =
        "a duration such as 500ms, 10s or 1m30s, a plain number being seconds,";

    fn parse(text: &str) -> Option<Duration> {
        let plain = text.starts_with(|c: char| c.is_ascii_digit())
            && text.chars().all(|c| c.is_ascii_digit() || c == '.');
        if plain {
            return Duration::try_from_secs_f64(text.parse().ok()?).ok();
        }
        humantime::parse_duration(text).ok()
    }

    fn show(self) -> String {
        humantime::format_duration(self)
            .to_string()
            .replace(' ', "")
    }
}

impl Value for Size {
    const FORM: &'static str = "a size such as 64KiB or 1MiB, a plain number being bytes,";

    fn parse(text: &str) -> Option<Size> {
        ByteSize::from_str(text)
            .ok()
            .map(|size| Size(size.as_u64()))
    }

    fn show(self) -> String {
        const UNITS: [(u64, &str); 4] = [
            (1 << 40, "TiB"),
            (1 << 30, "GiB"),
            (1 << 20, "MiB"),
            (1 << 10, "KiB"),
        ];
        for (factor, unit) in UNITS {
            if self.0 >= factor && self.0.is_multiple_of(factor) {
                return format!("{}{unit}", self.0 / factor);
            }
        }
        self.0.to_string()
    }
}

impl Value for Count {
    const FORM: &'static str = "a whole number";

    fn parse(text: &str) -> Option<Count> {
        text.parse().ok().map(Count)
    }

    fn show(self) -> String {
        self.0.to_string()
    }
}

/// A duration as settings have them.
pub(crate) fn parse_duration(text: &str) -> Option<Duration> {
    <Duration as Value>::parse(text)
}

/// A switch in the words that people write in environment files.
pub(super) fn parse_switch(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" | "on" => Some(true),
        "false" | "0" | "no" | "off" => Some(false),
        _ => None,
    }
}

/// An address to listen on: IPv4, IPv6 with or without brackets, or `localhost`. Other names are not
/// resolved, since what they stand for may change between two starts.
pub(super) fn parse_address(text: &str) -> Option<IpAddr> {
    if text.eq_ignore_ascii_case("localhost") {
        return Some(IpAddr::V4(Ipv4Addr::LOCALHOST));
    }
    unbracketed(text).parse().ok()
}

/// The parts of a comma-separated list, without white space around them and without empty ones.
pub(super) fn parse_list(text: &str) -> impl Iterator<Item = &str> {
    text.split(',')
        .map(str::trim)
        .filter(|part| !part.is_empty())
}

/// A host as a `Host` header names it, without port: lower case, IPv6 without brackets.
pub(super) fn parse_host(text: &str) -> Option<String> {
    if let Ok(address) = unbracketed(text).parse::<IpAddr>() {
        return Some(address.to_string());
    }
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let named = !text.is_empty() && text.len() <= HOST_BYTES_MAX && text.chars().all(legal);
    named.then(|| text.to_ascii_lowercase())
}

/// The longest host name that the DNS knows (RFC 1035, section 2.3.4).
const HOST_BYTES_MAX: usize = 255;

/// An origin in the form in which browsers send it (RFC 6454, section 6.2): lower case, without the
/// default port of its scheme; or `null`.
pub(super) fn parse_origin(text: &str) -> Option<String> {
    if text == "null" {
        return Some(text.to_owned());
    }
    let (scheme, authority) = text.split_once("://")?;
    let scheme = scheme.to_ascii_lowercase();
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.');
    if !scheme.starts_with(|c: char| c.is_ascii_alphabetic()) || !scheme.chars().all(legal) {
        return None;
    }
    let (host, port) = split_port(authority)?;
    let host = parse_host(host)?;
    let host = if host.contains(':') {
        format!("[{host}]")
    } else {
        host
    };
    let default = matches!(
        (scheme.as_str(), port),
        ("http", Some(80)) | ("https", Some(443))
    );
    match port {
        Some(port) if !default => Some(format!("{scheme}://{host}:{port}")),
        _ => Some(format!("{scheme}://{host}")),
    }
}

/// Host and port of `host`, `host:port`, `[v6]` or `[v6]:port`.
fn split_port(authority: &str) -> Option<(&str, Option<u16>)> {
    let host_end = match authority.strip_prefix('[') {
        Some(_) => authority.find(']')? + 1,
        None => authority.find(':').unwrap_or(authority.len()),
    };
    let (host, rest) = authority.split_at(host_end);
    if rest.is_empty() {
        return Some((host, None));
    }
    let digits = rest.strip_prefix(':')?;
    let decimal = digits.chars().all(|c| c.is_ascii_digit());
    let port = digits.parse().ok().filter(|_| decimal)?;
    Some((host, Some(port)))
}

/// A host, and the port behind it if there is one from 1 to 65535. IPv6 addresses need their brackets,
/// because without them the last group and a port look alike; they are kept without.
pub(super) fn parse_endpoint(text: &str) -> Option<(String, Option<u16>)> {
    let (host, port) = split_port(text)?;
    Some((parse_host(host)?, port)).filter(|_| port != Some(0))
}

fn unbracketed(text: &str) -> &str {
    text.strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
        .unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_seconds_or_carry_a_unit() {
        let parse = <Duration as Value>::parse;
        assert_eq!(parse("10"), Some(Duration::from_secs(10)));
        assert_eq!(parse("0"), Some(Duration::ZERO));
        assert_eq!(parse("0.5"), Some(Duration::from_millis(500)));
        assert_eq!(parse("10s"), Some(Duration::from_secs(10)));
        assert_eq!(parse("500ms"), Some(Duration::from_millis(500)));
        assert_eq!(parse("1m30s"), Some(Duration::from_secs(90)));
        for wrong in [
            "",
            "x",
            "10x",
            "-1",
            ".",
            "1.2.3",
            "inf",
            "NaN",
            "1e3",
            "9".repeat(40).as_str(),
        ] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn sizes_are_bytes_or_carry_a_unit() {
        let parse = <Size as Value>::parse;
        assert_eq!(parse("1048576"), Some(Size(1 << 20)));
        assert_eq!(parse("64KiB"), Some(Size(64 << 10)));
        assert_eq!(parse("1MiB"), Some(Size(1 << 20)));
        assert_eq!(parse("1MB"), Some(Size(1_000_000)));
        assert_eq!(parse("1.5GiB"), Some(Size(3 << 29)));
        for wrong in ["", "x", "-1", "1 potato", "KiB", "."] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn what_is_shown_parses_to_the_same_value() {
        for millis in [0, 10, 500, 1_000, 75_000, 600_000, 86_400_000] {
            let value = Duration::from_millis(millis);
            assert_eq!(
                Duration::parse(&value.show()),
                Some(value),
                "{}",
                value.show()
            );
        }
        for bytes in [0, 1, 1023, 1024, 1 << 20, (1 << 20) + 1, 3 << 29, 1 << 40] {
            assert_eq!(Size::parse(&Size(bytes).show()), Some(Size(bytes)));
        }
        assert_eq!(Duration::from_secs(75).show(), "1m15s");
        assert_eq!(Size(3 << 29).show(), "1536MiB");
        assert_eq!(Count(7).show(), "7");
    }

    #[test]
    fn switches_know_four_words_each() {
        for on in ["true", "1", "yes", "on", "TRUE", "On"] {
            assert_eq!(parse_switch(on), Some(true));
        }
        for off in ["false", "0", "no", "off", "False"] {
            assert_eq!(parse_switch(off), Some(false));
        }
        assert_eq!(parse_switch("2"), None);
        assert_eq!(parse_switch(""), None);
    }

    #[test]
    fn addresses_are_literals_or_localhost() {
        assert_eq!(
            parse_address("localhost"),
            Some(IpAddr::V4(Ipv4Addr::LOCALHOST))
        );
        assert_eq!(parse_address("[::1]"), parse_address("::1"));
        assert!(parse_address("0.0.0.0").is_some());
        for wrong in ["example.com", "", "127.0.0.1:80", "[::1", "1.2.3"] {
            assert_eq!(parse_address(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn hosts_have_no_port() {
        assert_eq!(parse_host("Example.COM").as_deref(), Some("example.com"));
        assert_eq!(parse_host("[::1]").as_deref(), Some("::1"));
        for wrong in ["", "example.com:80", "a b", "http://a", &"a".repeat(256)] {
            assert_eq!(parse_host(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn endpoints_are_hosts_and_ports() {
        for (text, host, port) in [
            ("Valkey_1", "valkey_1", None),
            ("a.example:1", "a.example", Some(1)),
            ("[FD00::1]:65535", "fd00::1", Some(65_535)),
            ("[::1]", "::1", None),
        ] {
            assert_eq!(
                parse_endpoint(text),
                Some((host.to_owned(), port)),
                "{text}"
            );
        }
        for wrong in [
            "",
            ":1",
            "a:",
            "a:0",
            "a:65536",
            "a:+1",
            "::1",
            "fd00::1:6379",
            "[::1",
            "[::1]x",
            "a b",
            "redis://a",
            "a:1:2",
            "u@a",
        ] {
            assert_eq!(parse_endpoint(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn origins_are_kept_as_browsers_send_them() {
        for (typed, kept) in [
            ("https://Example.com", "https://example.com"),
            ("https://example.com:443", "https://example.com"),
            ("http://example.com:80", "http://example.com"),
            ("http://example.com:443", "http://example.com:443"),
            ("HTTP://[::1]:3000", "http://[::1]:3000"),
            ("null", "null"),
        ] {
            assert_eq!(parse_origin(typed).as_deref(), Some(kept));
        }
        for wrong in [
            "*",
            "example.com",
            "https://",
            "https://a/",
            "https://a/b",
            "https://a:",
            "https://a:+1",
            "https://a:70000",
            "1s://a",
            "://a",
            "https://u@a",
            "NULL",
            "https://[::1",
            "https://[::1]x",
        ] {
            assert_eq!(parse_origin(wrong), None, "{wrong}");
        }
    }
}
