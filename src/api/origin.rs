//! Which web pages may use the server (SPEC section 12, "Origins").
//!
//! Browsers let any page send requests and open WebSockets to any host, also to the visitor's own
//! machine, and only tell the server where the page is from. A name that is rebound to 127.0.0.1
//! makes the page look as if it came from here; so `Host` is looked at too.

use std::net::{Ipv4Addr, Ipv6Addr};

use crate::http::{Headers, Method};

/// Which hosts and origins are served.
#[derive(Clone, Debug, Default)]
pub struct AccessPolicy {
    listens_on_loopback: bool,
    /// In the form in which browsers send them, or `null`.
    allowed_origins: Vec<String>,
    /// Lower case, with or without a port.
    allowed_hosts: Vec<String>,
    any_host: bool,
}

/// Why a request is refused: answered 403.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Refusal {
    /// `Host` names another machine than this one.
    #[error(
        "The server listens on a loopback address and Host names no loopback host; behind a reverse \
         proxy, list the name in --allowed-hosts"
    )]
    Host,
    /// The request comes from a page of a host that is not served.
    #[error("Pages of this origin are not served; list it in --allowed-origins")]
    Origin,
}

/// The origin of a page that may read answers (Fetch standard, "CORS protocol").
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CorsGrant<'o> {
    origin: &'o str,
}

impl<'o> CorsGrant<'o> {
    /// The grant for an origin that [`AccessPolicy::check`] has found to be listed.
    pub fn to(origin: &'o str) -> CorsGrant<'o> {
        CorsGrant { origin }
    }

    /// The origin.
    pub fn origin(self) -> &'o str {
        self.origin
    }

    /// Fields for the answer to a request.
    pub fn headers(self) -> [(&'static str, &'o str); 3] {
        [
            ("Access-Control-Allow-Origin", self.origin),
            ("Vary", "Origin"),
            (
                "Access-Control-Expose-Headers",
                "x-request-id, idempotent-replayed, retry-after, x-ratelimit-limit, x-ratelimit-remaining, \
                 x-ratelimit-reset",
            ),
        ]
    }

    /// Fields that the answer to a preflight has beside those; its status is 204.
    pub fn preflight_headers() -> [(&'static str, &'static str); 3] {
        [
            (
                "Access-Control-Allow-Methods",
                "GET, HEAD, POST, PUT, DELETE",
            ),
            (
                "Access-Control-Allow-Headers",
                "content-type, idempotency-key, x-request-id, authorization",
            ),
            ("Access-Control-Max-Age", "600"),
        ]
    }
}

/// Whether a request is a browser's question before the real one.
pub fn is_preflight(method: Method<'_>, headers: &Headers<'_>) -> bool {
    method == Method::Options && headers.first("access-control-request-method").is_some()
}

impl AccessPolicy {
    /// A policy. `listens_on_loopback` is for a server that listens on loopback only and asks for
    /// no credentials. `allowed_hosts` are names with or without a port; `*` allows all.
    pub fn new<'s>(
        listens_on_loopback: bool,
        allowed_origins: impl IntoIterator<Item = &'s str>,
        allowed_hosts: impl IntoIterator<Item = &'s str>,
    ) -> AccessPolicy {
        let allowed_hosts: Vec<String> = allowed_hosts
            .into_iter()
            .map(str::to_ascii_lowercase)
            .collect();
        AccessPolicy {
            listens_on_loopback,
            allowed_origins: allowed_origins.into_iter().map(serialized).collect(),
            any_host: allowed_hosts.iter().any(|host| host == "*"),
            allowed_hosts,
        }
    }

    /// Whether answers depend on the origin: then `Vary: Origin` belongs on those without a grant
    /// too.
    pub fn has_origins(&self) -> bool {
        !self.allowed_origins.is_empty()
    }

    /// Whether a request with this host and `Origin` is served, and with which CORS fields.
    ///
    /// # Errors
    /// When it is not.
    pub fn check<'o>(
        &self,
        host: Option<&str>,
        origin: Option<&'o [u8]>,
    ) -> Result<Option<CorsGrant<'o>>, Refusal> {
        if !self.serves_host(host) {
            return Err(Refusal::Host);
        }
        let Some(origin) = origin else {
            return Ok(None);
        };
        let origin = std::str::from_utf8(origin).map_err(|_| Refusal::Origin)?;
        if self.allowed_origins.iter().any(|allowed| allowed == origin) {
            Ok(Some(CorsGrant { origin }))
        } else if self.is_own_or_loopback(host, origin) {
            Ok(None)
        } else {
            Err(Refusal::Origin)
        }
    }

    /// Without a host there is no browser: only HTTP/1.0 may leave it out.
    fn serves_host(&self, host: Option<&str>) -> bool {
        let Some(host) = host.filter(|_| self.listens_on_loopback && !self.any_host) else {
            return true;
        };
        Authority::parse(host).is_some_and(|authority| {
            authority.is_loopback()
                || self.allowed_hosts.iter().any(|allowed| {
                    allowed.eq_ignore_ascii_case(host)
                        || allowed.eq_ignore_ascii_case(authority.host)
                })
        })
    }

    fn is_own_or_loopback(&self, host: Option<&str>, origin: &str) -> bool {
        let Some((port, from)) = split_origin(origin) else {
            return false;
        };
        if self.listens_on_loopback && from.is_loopback() {
            return true;
        }
        // The scheme that a reverse proxy speaks is not known here, so the origin's default port
        // is taken for both.
        host.and_then(Authority::parse).is_some_and(|own| {
            own.host.eq_ignore_ascii_case(from.host)
                && own.port.unwrap_or(port) == from.port.unwrap_or(port)
        })
    }
}

/// An origin in the form in which browsers send it: lower case, no slash at the end, no default
/// port.
fn serialized(origin: &str) -> String {
    let origin = origin.to_ascii_lowercase();
    let origin = origin.strip_suffix('/').unwrap_or(&origin);
    match split_origin(origin) {
        Some((
            default,
            Authority {
                port: Some(port), ..
            },
        )) if port == default => {
            let end = origin.rfind(':').unwrap_or(origin.len());
            origin[..end].to_owned()
        }
        _ => origin.to_owned(),
    }
}

/// The default port of an origin's scheme, and its authority. `None` for other schemes than
/// `http` and `https`, and for what is no origin.
fn split_origin(origin: &str) -> Option<(u16, Authority<'_>)> {
    let (scheme, authority) = origin.split_once("://")?;
    let port = match scheme {
        _ if scheme.eq_ignore_ascii_case("http") => 80,
        _ if scheme.eq_ignore_ascii_case("https") => 443,
        _ => return None,
    };
    Some((port, Authority::parse(authority)?))
}

/// Host and port (RFC 3986 section 3.2).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Authority<'a> {
    /// A name, an IPv4 address, or an IPv6 address in brackets.
    host: &'a str,
    port: Option<u16>,
}

impl<'a> Authority<'a> {
    fn parse(text: &'a str) -> Option<Authority<'a>> {
        let host_end = if text.starts_with('[') {
            text.find(']')? + 1
        } else {
            text.find(':').unwrap_or(text.len())
        };
        let (host, rest) = text.split_at(host_end);
        let port = match rest.strip_prefix(':') {
            Some("") => None,
            Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
                Some(digits.parse().ok()?)
            }
            None if rest.is_empty() => None,
            _ => return None,
        };
        let valid = !host.is_empty() && !host.contains(['/', '@', '?', '#', '\\', ' ']);
        valid.then_some(Authority { host, port })
    }

    /// `localhost`, names below it (RFC 6761 section 6.3), 127.0.0.0/8 and `[::1]`.
    fn is_loopback(&self) -> bool {
        if let Some(literal) = self.host.strip_prefix('[') {
            let address = literal.trim_end_matches(']').parse::<Ipv6Addr>();
            return address.is_ok_and(|address| address.to_canonical().is_loopback());
        }
        if let Ok(address) = self.host.parse::<Ipv4Addr>() {
            return address.is_loopback();
        }
        let name = self.host.strip_suffix('.').unwrap_or(self.host);
        let last = name.rsplit('.').next().unwrap_or(name);
        last.eq_ignore_ascii_case("localhost")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn loopback() -> AccessPolicy {
        AccessPolicy::new(true, [], [])
    }

    fn check<'o>(
        policy: &AccessPolicy,
        host: &str,
        origin: &'o str,
    ) -> Result<Option<CorsGrant<'o>>, Refusal> {
        policy.check(Some(host), Some(origin.as_bytes()))
    }

    #[test]
    fn on_loopback_only_loopback_hosts_are_served() {
        for good in [
            "localhost",
            "LocalHost:8080",
            "localhost.",
            "app.localhost:1",
            "127.0.0.1",
            "127.9.9.9:80",
            "[::1]:8080",
            "[::ffff:127.0.0.1]",
        ] {
            assert_eq!(loopback().check(Some(good), None), Ok(None), "{good}");
        }
        for bad in [
            "example.com",
            "localhost.example.com",
            "notlocalhost",
            "128.0.0.1",
            "127.0.0.1.example.com",
            "[::2]",
            "0.0.0.0",
            "10.0.0.1:8080",
            "evil.com:127",
            "",
        ] {
            assert_eq!(
                loopback().check(Some(bad), None),
                Err(Refusal::Host),
                "{bad}"
            );
        }
        assert_eq!(loopback().check(None, None), Ok(None));
        assert!(Refusal::Host.to_string().contains("--allowed-hosts"));
    }

    #[test]
    fn listed_hosts_are_served_too() {
        let policy = AccessPolicy::new(true, [], ["Proxy.example", "b.example:8443"]);
        for good in [
            "proxy.example",
            "PROXY.example:99",
            "b.example:8443",
            "localhost",
        ] {
            assert_eq!(policy.check(Some(good), None), Ok(None), "{good}");
        }
        for bad in ["b.example", "b.example:1", "x.proxy.example"] {
            assert_eq!(policy.check(Some(bad), None), Err(Refusal::Host), "{bad}");
        }
        let any = AccessPolicy::new(true, [], ["*"]);
        assert_eq!(any.check(Some("evil.example"), None), Ok(None));
        let public = AccessPolicy::new(false, [], []);
        assert_eq!(public.check(Some("a.example"), None), Ok(None));
    }

    #[test]
    fn loopback_pages_are_served_on_loopback_without_cors() {
        for good in [
            "http://localhost:3000",
            "http://127.0.0.1",
            "https://[::1]:8",
        ] {
            assert_eq!(
                check(&loopback(), "127.0.0.1:8080", good),
                Ok(None),
                "{good}"
            );
        }
        let public = AccessPolicy::new(false, [], []);
        assert_eq!(
            check(&public, "a.example", "http://localhost"),
            Err(Refusal::Origin)
        );
    }

    #[test]
    fn own_pages_are_served() {
        let public = AccessPolicy::new(false, [], []);
        for (host, origin) in [
            ("a.example", "http://a.example"),
            ("A.example", "https://a.example"),
            ("a.example:443", "https://a.example"),
            ("a.example:80", "http://a.example"),
            ("a.example:8080", "http://a.example:8080"),
            ("[fe80::1]:8080", "http://[fe80::1]:8080"),
        ] {
            assert_eq!(check(&public, host, origin), Ok(None), "{host} {origin}");
        }
    }

    #[test]
    fn other_pages_are_refused() {
        let public = AccessPolicy::new(false, [], []);
        for policy in [&public, &loopback()] {
            for origin in [
                "null",
                "",
                "http://evil.example",
                "http://localhost.evil.example",
                "file://",
                "chrome-extension://abc",
                "http://127.0.0.1@evil.example",
                "http://",
                "localhost",
                "http://localhost:x",
                "http://localhost:99999",
                "http://localhost/x",
                "http://evil.example:8080",
            ] {
                let refused = check(policy, "127.0.0.1:8080", origin);
                assert_eq!(refused, Err(Refusal::Origin), "{origin}");
            }
        }
        assert_eq!(
            check(&public, "a.example:8080", "http://a.example"),
            Err(Refusal::Origin)
        );
        let not_utf8 = loopback().check(Some("localhost"), Some(b"http://\xff"));
        assert_eq!(not_utf8, Err(Refusal::Origin));
    }

    #[test]
    fn listed_origins_get_cors_fields() {
        let policy = AccessPolicy::new(true, ["HTTPS://App.example:443/", "null"], []);
        assert!(policy.has_origins() && !loopback().has_origins());
        let grant = check(&policy, "localhost", "https://app.example")
            .unwrap()
            .unwrap();
        assert_eq!(
            grant.headers()[0],
            ("Access-Control-Allow-Origin", "https://app.example")
        );
        assert!(CorsGrant::preflight_headers().contains(&("Access-Control-Max-Age", "600")));
        assert!(check(&policy, "localhost", "null").unwrap().is_some());
        for bad in [
            "https://app.example:444",
            "http://app.example",
            "https://x.app.example",
        ] {
            assert_eq!(
                check(&policy, "localhost", bad),
                Err(Refusal::Origin),
                "{bad}"
            );
        }
    }

    #[test]
    fn a_preflight_asks_for_a_method() {
        let asks: Headers<'_> = [("Access-Control-Request-Method", &b"POST"[..])]
            .into_iter()
            .collect();
        assert!(is_preflight(Method::Options, &asks));
        assert!(!is_preflight(Method::Get, &asks));
        assert!(!is_preflight(Method::Options, &Headers::default()));
    }

    proptest! {
        #[test]
        fn only_loopback_or_own_pages_pass(host in "[a-c.:0-9\\[\\]]{0,8}", origin in "(https?://)?[a-c.:0-9@/\\[\\]]{0,8}") {
            let policy = AccessPolicy::new(false, [], []);
            if check(&policy, &host, &origin).is_ok() {
                let name = Authority::parse(&host).unwrap().host;
                prop_assert!(origin.contains(name));
            }
        }
    }
}
