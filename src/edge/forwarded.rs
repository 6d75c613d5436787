//! The client's address in `Forwarded` (RFC 7239) and `X-Forwarded-For`.

use std::net::{IpAddr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net};
use smallvec::SmallVec;

use crate::http::Headers;

/// Hops that are looked at, from the last.
const HOPS_MAX: usize = 32;

/// Bits before an IPv4 address that is mapped into IPv6 (RFC 4291 section 2.5.5.2).
const MAPPED_BITS: u8 = 96;

/// The networks of balancers whose word counts.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct TrustedProxies(Vec<IpNet>);

impl TrustedProxies {
    /// Those in these networks. IPv4 addresses mapped into IPv6 count as what they are.
    pub fn new(networks: Vec<IpNet>) -> TrustedProxies {
        TrustedProxies(networks.into_iter().map(canonical).collect())
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
            self.walk(headers, "forwarded", last_comma_unquoted, forwarded_for)
        } else {
            let last_comma = |list: &[u8]| list.iter().rposition(|byte| *byte == b',');
            self.walk(headers, "x-forwarded-for", last_comma, node)
        }
    }

    /// Goes through the hops of all fields of a name from the last.
    fn walk(
        &self,
        headers: &Headers<'_>,
        name: &str,
        last_comma: impl Fn(&[u8]) -> Option<usize> + Copy,
        address_of: impl Fn(&str) -> Option<IpAddr>,
    ) -> Option<IpAddr> {
        let fields: SmallVec<[&[u8]; 8]> = headers.all(name).collect();
        let fields = fields.into_iter().rev();
        let hops = fields
            .flat_map(|field| from_the_last(field, last_comma))
            .map(<[u8]>::trim_ascii)
            .filter(|hop| !hop.is_empty());
        let mut client = None;
        for hop in hops.take(HOPS_MAX) {
            let hop = std::str::from_utf8(hop).ok();
            let Some(address) = hop.and_then(&address_of) else {
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

/// A network of IPv4 addresses that are mapped into IPv6 as what it is.
fn canonical(network: IpNet) -> IpNet {
    let IpAddr::V4(address) = network.addr().to_canonical() else {
        return network;
    };
    let len = network.prefix_len().checked_sub(MAPPED_BITS);
    let mapped = len.and_then(|len| Ipv4Net::new(address, len).ok());
    mapped.map_or(network, IpNet::from)
}

/// The elements of a list, from the last.
fn from_the_last(
    list: &[u8],
    last_comma: impl Fn(&[u8]) -> Option<usize>,
) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(list);
    std::iter::from_fn(move || {
        let list = rest?;
        let comma = last_comma(list);
        rest = comma.map(|at| &list[..at]);
        Some(comma.map_or(list, |at| &list[at + 1..]))
    })
}

/// The last comma that is in no quoted string.
///
/// A balancer may quote what a client wrote, its `Host` with commas say; and what a client wrote may
/// open a quote. Seen from the end, where the balancers wrote, quotes pair as they were meant, and
/// nothing further ahead has a say in that.
fn last_comma_unquoted(list: &[u8]) -> Option<usize> {
    let mut is_quoted = false;
    for (at, byte) in list.iter().enumerate().rev() {
        match byte {
            b',' if !is_quoted => return Some(at),
            b'"' if !is_quoted || !is_escaped(&list[..at]) => is_quoted = !is_quoted,
            _ => {}
        }
    }
    None
}

/// Whether what follows these bytes of a quoted string stands for itself (RFC 9110 section 5.6.4).
fn is_escaped(before: &[u8]) -> bool {
    let slashes = before.iter().rev().take_while(|byte| **byte == b'\\');
    slashes.count() % 2 == 1
}

/// The `for` of a forwarded-element (RFC 7239 section 4), which has it once.
fn forwarded_for(element: &str) -> Option<IpAddr> {
    let mut told = None;
    let mut rest = element;
    while !rest.is_empty() {
        let pair = first_pair(rest)?;
        rest = rest.get(pair.len() + 1..).unwrap_or_default();
        if pair.trim().is_empty() {
            continue;
        }
        let (name, value) = pair.split_once('=')?;
        let is_for = name.trim().eq_ignore_ascii_case("for");
        if is_for && told.replace(value.trim()).is_some() {
            return None;
        }
    }
    let value = told?;
    let quoted = value.strip_prefix('"').and_then(|it| it.strip_suffix('"'));
    node(quoted.unwrap_or(value))
}

/// What stands before the first semicolon that is in no quoted string. `None` if one does not end.
fn first_pair(pairs: &str) -> Option<&str> {
    let (mut is_quoted, mut is_escaped) = (false, false);
    for (at, byte) in pairs.bytes().enumerate() {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' if is_quoted => is_escaped = true,
            b'"' => is_quoted = !is_quoted,
            b';' if !is_quoted => return pairs.get(..at),
            _ => {}
        }
    }
    (!is_quoted).then_some(pairs)
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

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
            (";for=203.0.113.7; ;proto=http;", Some("203.0.113.7")),
            ("for=1.1.1.1, , for=10.0.0.1,", Some("1.1.1.1")),
            (
                "for=\"10.0.0.1\", for=unknown, for=10.0.0.2",
                Some("10.0.0.2"),
            ),
            ("for=203.0.113.7;for=6.6.6.6", None),
            ("for=203.0.113.7;secret", None),
            ("for=203.0.113.7;by=\"", None),
            ("for=\"203.0.113.7", None),
            ("for=\"", None),
        ] {
            let other = ("X-Forwarded-For", "8.8.8.8");
            let found = client(&[("Forwarded", value), other]);
            assert_eq!(found.as_deref(), expected, "{value}");
        }
    }

    #[test]
    fn what_a_balancer_quotes_is_no_hop() {
        for (value, expected) in [
            (r#"for=203.0.113.7;host="x,for=6.6.6.6;z""#, "203.0.113.7"),
            (r#"host="x;for=6.6.6.6,y";for=203.0.113.7"#, "203.0.113.7"),
            (
                r#"for=203.0.113.7;host="a\",for=6.6.6.6;\"""#,
                "203.0.113.7",
            ),
            (r#"for=203.0.113.7;host="a\\", for=10.0.0.1"#, "203.0.113.7"),
            (
                r#"for=203.0.113.7;host="a\\\"", for=10.0.0.1"#,
                "203.0.113.7",
            ),
            // What a client opens hides nothing.
            (r#"for=6.6.6.6;a=", for="203.0.113.7""#, "203.0.113.7"),
            (r#"for=6.6.6.6;a="\, for="203.0.113.7""#, "203.0.113.7"),
            (r#"for="6.6.6.6", a", for=10.0.0.1"#, "10.0.0.1"),
        ] {
            let found = client(&[("Forwarded", value)]);
            assert_eq!(found.as_deref(), Some(expected), "{value}");
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
    fn mapped_networks_are_what_they_map() {
        let networks = ["::ffff:10.0.0.0/104", "::ffff:192.0.2.1/128", "::/64"];
        let networks = networks.map(|it| it.parse().expect("a network"));
        let proxies = TrustedProxies::new(networks.to_vec());
        for (address, expected) in [
            ("10.1.2.3", true),
            ("::ffff:10.1.2.3", true),
            ("192.0.2.1", true),
            ("192.0.2.2", false),
            ("11.0.0.1", false),
            ("::1", true),
            ("1::1", false),
        ] {
            let address = address.parse().expect("an address");
            assert_eq!(proxies.contains(address), expected, "{address}");
        }
    }

    #[test]
    fn nobody_is_trusted_by_default() {
        let headers = [("x-forwarded-for", &b"1.1.1.1"[..])].into_iter().collect();
        assert_eq!(TrustedProxies::default().client(&headers), None);
        assert!(!TrustedProxies::default().contains([127, 0, 0, 1].into()));
    }

    proptest! {
        #[test]
        fn what_a_client_writes_never_hides_the_last_hop(claim in prop_oneof![
            "[ -~]{0,40}",
            r#"(for=|"|\\|,|;|host=|1\.1\.1\.1|10\.0\.0\.1| ){0,12}"#,
        ]) {
            let networks = vec!["10.0.0.0/8".parse().expect("a network")];
            let proxies = TrustedProxies::new(networks);
            let expected = Some([203, 0, 113, 7].into());
            for (name, hop) in [
                ("x-forwarded-for", "203.0.113.7"),
                ("forwarded", "for=203.0.113.7"),
                ("forwarded", r#"proto=http;For="203.0.113.7:80""#),
                ("forwarded", r#"for=203.0.113.7;host="a,for=6.6.6.6;\"\\", for=10.0.0.1"#),
            ] {
                let list = format!("{claim}, {hop}");
                let one = [(name, list.as_bytes())].into_iter().collect();
                prop_assert_eq!(proxies.client(&one), expected, "{}", list);
                let two = [(name, claim.as_bytes()), (name, hop.as_bytes())];
                prop_assert_eq!(proxies.client(&two.into_iter().collect()), expected);
            }
        }
    }
}
