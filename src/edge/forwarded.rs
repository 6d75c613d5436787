//! The client's address in `Forwarded` (RFC 7239) and `X-Forwarded-For`.

use std::net::{IpAddr, Ipv6Addr};

use ipnet::IpNet;
use smallvec::SmallVec;

use crate::http::Headers;

/// Hops that are looked at, from the last.
const HOPS_MAX: usize = 32;

/// The networks of balancers whose word counts.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct TrustedProxies(Vec<IpNet>);

impl TrustedProxies {
    /// Those in these networks. IPv4 addresses mapped into IPv6 count as what they are.
    pub fn new(networks: Vec<IpNet>) -> TrustedProxies {
        TrustedProxies(networks)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether this is the address of one of them.
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|network| network.contains(&address))
    }

    /// The client that a request came from, if who sent it is trusted: the last address, of those that
    /// it passed, that is none of ours. Each hop has added its client at the end, so that what stands
    /// before that address, or before something that is no address, is hearsay. `Forwarded` goes before
    /// `X-Forwarded-For`. `None` if nothing is said.
    pub fn client(&self, headers: &Headers<'_>) -> Option<IpAddr> {
        if self.is_empty() {
            return None;
        }
        if headers.first("forwarded").is_some() {
            self.walk(headers, "forwarded", forwarded_for)
        } else {
            self.walk(headers, "x-forwarded-for", |hop| node(text(hop)?))
        }
    }

    fn walk(
        &self,
        headers: &Headers<'_>,
        name: &str,
        address_of: impl Fn(&[u8]) -> Option<IpAddr>,
    ) -> Option<IpAddr> {
        // A comma in a quoted string separates too: no address has one, and nobody can hide what
        // follows behind a quote that he opened.
        let skipped = headers.list(name).count().saturating_sub(HOPS_MAX);
        let hops: SmallVec<[&[u8]; HOPS_MAX]> = headers.list(name).skip(skipped).collect();
        let mut client = None;
        for hop in hops.into_iter().rev() {
            let Some(address) = address_of(hop) else {
                break;
            };
            client = Some(address);
            if !self.contains(address) {
                break;
            }
        }
        client
    }
}

/// The `for` of a forwarded-element (RFC 7239 section 4).
fn forwarded_for(element: &[u8]) -> Option<IpAddr> {
    let mut pairs = text(element)?
        .split(';')
        .filter_map(|it| it.split_once('='));
    let (_, value) = pairs.find(|(name, _)| name.trim().eq_ignore_ascii_case("for"))?;
    let value = value.trim();
    let quoted = value.strip_prefix('"').and_then(|it| it.strip_suffix('"'));
    node(quoted.unwrap_or(value))
}

/// An address with or without a port; RFC 7239 section 6 wants brackets around those of IPv6, what
/// writes `X-Forwarded-For` often leaves them out.
fn node(node: &str) -> Option<IpAddr> {
    let address = match node.strip_prefix('[') {
        Some(rest) => {
            let (address, port) = rest.split_once(']')?;
            let is_port = port.is_empty() || port.strip_prefix(':').is_some_and(is_port);
            let address: Ipv6Addr = address.parse().ok().filter(|_| is_port)?;
            address.into()
        }
        None => match node.split_once(':') {
            Some((address, port)) if is_port(port) && !address.is_empty() => {
                IpAddr::V4(address.parse().ok()?)
            }
            _ => node.parse().ok()?,
        },
    };
    Some(address.to_canonical())
}

fn is_port(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit()) && text.parse::<u16>().is_ok()
}

fn text(bytes: &[u8]) -> Option<&str> {
    std::str::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(fields: &[(&'static str, &'static str)]) -> Option<String> {
        let networks = ["10.0.0.0/8", "2001:db8:1::/48"].map(|it| it.parse().expect("a network"));
        let headers = fields.iter().map(|(name, value)| (*name, value.as_bytes()));
        let proxies = TrustedProxies::new(networks.to_vec());
        let client = proxies.client(&headers.collect());
        client.map(|address| address.to_string())
    }

    #[test]
    fn the_last_address_that_is_not_ours_is_the_client() {
        for (value, expected) in [
            ("203.0.113.7", Some("203.0.113.7")),
            ("1.1.1.1, 203.0.113.7", Some("203.0.113.7")),
            ("1.1.1.1, 203.0.113.7, 10.1.2.3", Some("203.0.113.7")),
            ("203.0.113.7:4711, 10.1.2.3:80", Some("203.0.113.7")),
            ("2001:db8:2::1", Some("2001:db8:2::1")),
            ("[2001:db8:2::1]:443, 2001:db8:1::1", Some("2001:db8:2::1")),
            ("::ffff:203.0.113.7, ::ffff:10.0.0.1", Some("203.0.113.7")),
            ("10.0.0.1, 10.0.0.2", Some("10.0.0.1")),
            ("1.1.1.1, unknown, 10.0.0.2", Some("10.0.0.2")),
            ("1.1.1.1, 999.1.1.1", None),
            ("1.1.1.1:99999", None),
            ("[2001:db8:2::1", None),
            (":80", None),
            ("", None),
        ] {
            let found = client(&[("X-Forwarded-For", value)]);
            assert_eq!(found.as_deref(), expected, "{value}");
        }
    }

    #[test]
    fn forwarded_is_read_as_its_rfc_writes_it_and_goes_first() {
        for (value, expected) in [
            ("for=203.0.113.7", Some("203.0.113.7")),
            ("For=\"[2001:db8:2::17]:4711\"", Some("2001:db8:2::17")),
            (
                "proto=http; FOR = 203.0.113.7 ;by=10.0.0.1",
                Some("203.0.113.7"),
            ),
            (
                "for=1.1.1.1, for=203.0.113.7;by=10.0.0.2, for=10.0.0.1",
                Some("203.0.113.7"),
            ),
            ("for=\"203.0.113.7:_x\"", None),
            ("for=1.1.1.1, for=_hidden", None),
            ("for=\"1.1.1.1, for=203.0.113.7", Some("203.0.113.7")),
            ("by=203.0.113.7", None),
        ] {
            let other = ("X-Forwarded-For", "8.8.8.8");
            let found = client(&[("Forwarded", value), other]);
            assert_eq!(found.as_deref(), expected, "{value}");
        }
    }

    #[test]
    fn several_fields_are_one_list_of_which_the_end_is_read() {
        let fields = [
            ("X-Forwarded-For", "1.1.1.1"),
            ("x-forwarded-for", "10.0.0.1"),
        ];
        assert_eq!(client(&fields).as_deref(), Some("1.1.1.1"));
        let long = ["203.0.113.7"].into_iter().chain(["10.0.0.9"; 40]);
        let long: &'static str = long.collect::<Vec<_>>().join(",").leak();
        let found = client(&[("X-Forwarded-For", long)]);
        assert_eq!(found.as_deref(), Some("10.0.0.9"), "not for ever");
    }

    #[test]
    fn nobody_is_trusted_by_default() {
        let headers = [("x-forwarded-for", &b"1.1.1.1"[..])].into_iter().collect();
        assert_eq!(TrustedProxies::default().client(&headers), None);
        assert!(!TrustedProxies::default().contains([127, 0, 0, 1].into()));
    }
}
