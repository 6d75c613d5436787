//! What tells one request with an `Idempotency-Key` from another: who sent it, its key, its content.

use std::net::{IpAddr, Ipv4Addr};

use sha2::{Digest, Sha256};

/// Longest key (SPEC section 3).
const KEY_BYTES_MAX: usize = 255;

/// A key as a header names it: 1 to 255 printable ASCII characters.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Key(Box<str>);

impl Key {
    /// The key, if these bytes are one.
    pub fn parse(value: &[u8]) -> Option<Key> {
        let is_printable = value.iter().all(|byte| matches!(byte, b' '..=b'~'));
        let fits = (1..=KEY_BYTES_MAX).contains(&value.len()) && is_printable;
        let text = std::str::from_utf8(value).ok().filter(|_| fits)?;
        Some(Key(text.into()))
    }
}

/// One request with a key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Attempt {
    key: Key,
    digest: [u8; 32],
}

impl Attempt {
    /// The request with this key, to the route with this pattern.
    pub fn new(key: Key, route: &str, body: &[u8]) -> Attempt {
        let mut hasher = Sha256::new();
        hasher.update(route);
        // No pattern has this byte: where the route ends is not in doubt.
        hasher.update([0]);
        hasher.update(body);
        Attempt {
            key,
            digest: hasher.finalize().into(),
        }
    }

    /// The key.
    pub fn key(&self) -> &str {
        &self.key.0
    }

    /// SHA-256 of route and body.
    pub fn digest(&self) -> [u8; 32] {
        self.digest
    }
}

/// Who sends. Without credentials that is the address, of IPv6 the network, since a host chooses
/// freely among the addresses of one.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Caller {
    /// An address of IPv4, also when it came as one of IPv6.
    Host(Ipv4Addr),
    /// The first 64 bits of an address of IPv6.
    Network(u64),
    /// One with a credential: 128 bits of a hash of who that is.
    Named([u8; 16]),
}

impl Caller {
    /// One whose credential says who it is.
    pub fn named(identity: &str) -> Caller {
        let digest: [u8; 32] = Sha256::digest(identity).into();
        let (hash, _) = digest.split_first_chunk().expect("16 of 32 bytes");
        Caller::Named(*hash)
    }

    /// As text: the same on every instance, and another one for each caller.
    pub fn text(self) -> String {
        match self {
            Caller::Host(host) => host.to_string(),
            Caller::Network(network) => format!("{network:016x}::/64"),
            Caller::Named(hash) => format!("#{:032x}", u128::from_be_bytes(hash)),
        }
    }
}

impl From<IpAddr> for Caller {
    fn from(address: IpAddr) -> Caller {
        match address.to_canonical() {
            IpAddr::V4(host) => Caller::Host(host),
            IpAddr::V6(address) => Caller::Network((address.to_bits() >> 64) as u64),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_printable_and_bounded() {
        for right in [&b"a"[..], b"0f8fad5b-d9cb", b"\"a b\"~", &[b'k'; 255]] {
            assert_eq!(Key::parse(right).unwrap().0.as_bytes(), right);
        }
        for wrong in [
            &b""[..],
            b"a\tb",
            b"\x7f",
            b"caf\xc3\xa9",
            b"\xff",
            &[b'k'; 256],
        ] {
            assert_eq!(Key::parse(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn route_and_body_make_the_request() {
        let attempt =
            |route: &str, body: &[u8]| Attempt::new(Key::parse(b"k").unwrap(), route, body);
        assert_eq!(attempt("/a", b"{}"), attempt("/a", b"{}"));
        assert_ne!(attempt("/a", b"{}"), attempt("/a", b"{ }"));
        assert_ne!(attempt("/a", b"{}"), attempt("/a/bulk", b"{}"));
        assert_ne!(attempt("/a", b"b"), attempt("/ab", b""));
    }

    #[test]
    fn callers_are_hosts_or_networks() {
        let caller = |address: &str| Caller::from(address.parse::<IpAddr>().unwrap());
        assert_ne!(caller("127.0.0.1"), caller("127.0.0.2"));
        assert_eq!(caller("127.0.0.1"), caller("::ffff:127.0.0.1"));
        assert_eq!(caller("2001:db8:0:1::1"), caller("2001:db8:0:1:ffff::"));
        assert_ne!(caller("2001:db8:0:1::1"), caller("2001:db8:0:2::1"));
        assert_eq!(caller("127.0.0.1").text(), "127.0.0.1");
        assert_eq!(caller("2001:db8:0:1::1").text(), "20010db800000001::/64");
    }
}
