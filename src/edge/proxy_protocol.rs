//! The PROXY protocol, versions 1 and 2: a balancer's first bytes on a connection tell whose it is
//! (HAProxy's specification, "The PROXY protocol").

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use smallvec::SmallVec;

/// Bytes of the longest header that is taken: of version 2 with its extensions, which are skipped.
pub const HEADER_BYTES_MAX: usize = 1024;

/// Bytes of the longest header of version 1 (section 2.1).
const LINE_BYTES_MAX: usize = 107;
const LINE_START: &[u8] = b"PROXY ";
const LINE_END: &[u8] = b"\r\n";
/// Whatever an address breaks off after, with one of these it is whole.
const ADDRESS_ENDS: [&str; 10] = [
    "", "0", ":", "::", ".0", "0.0", ".0.0", "0.0.0", ".0.0.0", "0.0.0.0",
];
/// Section 2.2.
const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// Signature, version and command, family and protocol, length.
const FIXED_BYTES: usize = 16;

/// What the first bytes of a connection are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Header {
    /// The beginning of one.
    Incomplete,
    /// A whole one.
    Complete {
        /// Its bytes; what follows is the client's.
        len: usize,
        /// Whose connection it is. `None` if that is not told (the balancer's own checks, say): then the
        /// address of the socket counts.
        source: Option<SocketAddr>,
    },
}

/// The connection does not begin with a header.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the connection does not begin with a header of the PROXY protocol")]
pub struct NoHeader;

/// Reads the first bytes of a connection. Checksums in extensions are not looked at: TCP has its own.
///
/// # Errors
/// As soon as they cannot become a header of at most [`HEADER_BYTES_MAX`] bytes.
pub fn parse(bytes: &[u8]) -> Result<Header, NoHeader> {
    if begins(bytes, LINE_START) {
        parse_line(bytes)
    } else if begins(bytes, SIGNATURE) {
        parse_binary(bytes)
    } else {
        Err(NoHeader)
    }
}

/// Whether bytes begin with a text, as far as there are any.
fn begins(bytes: &[u8], with: &[u8]) -> bool {
    bytes.iter().zip(with).all(|(a, b)| a == b)
}

/// Version 1: a line (section 2.1).
fn parse_line(bytes: &[u8]) -> Result<Header, NoHeader> {
    let seen = &bytes[..bytes.len().min(LINE_BYTES_MAX)];
    let is_printable = |byte: &u8| (b' '..=b'~').contains(byte);
    let (line, ending) = match seen.iter().position(|byte| !is_printable(byte)) {
        Some(end) => seen.split_at(end),
        None => (seen, &b""[..]),
    };
    let len = line.len() + LINE_END.len();
    let line = std::str::from_utf8(line).map_err(|_| NoHeader)?;
    if len > LINE_BYTES_MAX || !begins(ending, LINE_END) {
        return Err(NoHeader);
    }
    if ending.is_empty() {
        let verdict = is_beginning(line).then_some(Header::Incomplete);
        return verdict.ok_or(NoHeader);
    }
    let source = source_of_line(line)?;
    if ending.len() < LINE_END.len() {
        return Ok(Header::Incomplete);
    }
    Ok(Header::Complete { len, source })
}

/// What a line without its end tells.
fn source_of_line(line: &str) -> Result<Option<SocketAddr>, NoHeader> {
    let mut words = line.split(' ').skip(1);
    match words.next() {
        Some("UNKNOWN") => Ok(None),
        Some("TCP4") => source_of_words::<Ipv4Addr>(words).map(Some),
        Some("TCP6") => source_of_words::<Ipv6Addr>(words).map(Some),
        _ => Err(NoHeader),
    }
}

fn source_of_words<'w, A: FromStr + Into<IpAddr>>(
    mut words: impl Iterator<Item = &'w str>,
) -> Result<SocketAddr, NoHeader> {
    let mut word = || words.next().ok_or(NoHeader);
    let address = |word: &str| word.parse::<A>().map_err(|_| NoHeader);
    let (source, _) = (address(word()?)?, address(word()?)?);
    let (port, _) = (port(word()?)?, port(word()?)?);
    match words.next() {
        None => Ok(SocketAddr::new(source.into().to_canonical(), port)),
        Some(_) => Err(NoHeader),
    }
}

/// Whether more can make a line of it.
fn is_beginning(line: &str) -> bool {
    // What stands before has been looked at.
    let words = line.get(LINE_START.len()..).unwrap_or_default();
    match words.split_once(' ') {
        None => ["UNKNOWN", "TCP4", "TCP6"]
            .iter()
            .any(|family| family.starts_with(words)),
        Some(("UNKNOWN", _)) => true,
        Some(("TCP4", words)) => are_begun::<Ipv4Addr>(words),
        Some(("TCP6", words)) => are_begun::<Ipv6Addr>(words),
        Some(_) => false,
    }
}

/// Whether these are two addresses and two ports, as far as they have come.
fn are_begun<A: FromStr>(words: &str) -> bool {
    let whole = words.matches(' ').count();
    let mut words = words.split(' ').enumerate();
    words.all(|(place, word)| match (place, place < whole) {
        (0 | 1, true) => word.parse::<A>().is_ok(),
        (0 | 1, false) => is_begun::<A>(word),
        (2 | 3, is_whole) => !is_whole && word.is_empty() || port(word).is_ok(),
        _ => false,
    })
}

/// Whether more can make an address of it.
fn is_begun<A: FromStr>(word: &str) -> bool {
    ADDRESS_ENDS.iter().any(|end| {
        let mut address = SmallVec::<[u8; 128]>::new();
        address.extend_from_slice(word.as_bytes());
        address.extend_from_slice(end.as_bytes());
        let address = std::str::from_utf8(&address);
        address.is_ok_and(|address| address.parse::<A>().is_ok())
    })
}

fn port(word: &str) -> Result<u16, NoHeader> {
    let is_plain = word == "0" || !word.starts_with(['0', '+']);
    word.parse().ok().filter(|_| is_plain).ok_or(NoHeader)
}

/// Version 2 (section 2.2).
fn parse_binary(bytes: &[u8]) -> Result<Header, NoHeader> {
    let is_local = match bytes.get(12) {
        Some(0x20) => true,
        Some(0x21) | None => false,
        Some(_) => return Err(NoHeader),
    };
    let needed = match bytes.get(13) {
        _ if is_local => 0,
        None | Some(0x00) => 0,
        Some(0x11) => 12,
        Some(0x21) => 36,
        Some(0x31) => 216,
        Some(_) => return Err(NoHeader),
    };
    let byte = |at: usize| bytes.get(at).copied().unwrap_or(0);
    let len = FIXED_BYTES + usize::from(u16::from_be_bytes([byte(14), byte(15)]));
    if len > HEADER_BYTES_MAX {
        return Err(NoHeader);
    }
    if bytes.len() < FIXED_BYTES {
        return Ok(Header::Incomplete);
    }
    if len < FIXED_BYTES + needed {
        return Err(NoHeader);
    }
    let Some(addresses) = bytes.get(FIXED_BYTES..len) else {
        return Ok(Header::Incomplete);
    };
    let source = match (is_local, bytes[13]) {
        (false, 0x11) => source_of::<4, 8>(addresses),
        (false, 0x21) => source_of::<16, 32>(addresses),
        _ => None,
    };
    Ok(Header::Complete { len, source })
}

/// The source out of addresses of so many bytes each, behind both of which the ports stand.
fn source_of<const BYTES: usize, const BOTH: usize>(addresses: &[u8]) -> Option<SocketAddr>
where
    IpAddr: From<[u8; BYTES]>,
{
    let address: [u8; BYTES] = *addresses.first_chunk()?;
    let port: [u8; 2] = *addresses.get(BOTH..)?.first_chunk()?;
    let address = IpAddr::from(address).to_canonical();
    Some(SocketAddr::new(address, u16::from_be_bytes(port)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn binary(command: u8, family: u8, addresses: &[u8]) -> Vec<u8> {
        let len = u16::try_from(addresses.len()).unwrap().to_be_bytes();
        [SIGNATURE, &[command, family], &len, addresses].concat()
    }

    fn complete(bytes: &[u8]) -> Option<String> {
        for end in 0..bytes.len() {
            assert_eq!(
                parse(&bytes[..end]),
                Ok(Header::Incomplete),
                "{end} of {bytes:?}"
            );
        }
        let more = [bytes, b"GET /"].concat();
        match (parse(bytes), parse(&more)) {
            (Ok(Header::Complete { len, source }), again) => {
                assert_eq!(len, bytes.len());
                assert_eq!(again, Ok(Header::Complete { len, source }));
                source.map(|it| it.to_string())
            }
            (other, _) => panic!("{other:?}"),
        }
    }

    #[test]
    fn lines_tell_the_source() {
        for (line, source) in [
            (
                "PROXY TCP4 203.0.113.7 10.0.0.1 56324 443\r\n",
                Some("203.0.113.7:56324"),
            ),
            (
                "PROXY TCP6 2001:db8::1 ::1 0 65535\r\n",
                Some("[2001:db8::1]:0"),
            ),
            ("PROXY TCP6 ::ffff:1.2.3.4 ::1 1 2\r\n", Some("1.2.3.4:1")),
            (
                "PROXY TCP6 1:2:3:4:5:6:7:8 1:2:3:4:5:6:1.2.3.4 443 8\r\n",
                Some("[1:2:3:4:5:6:7:8]:443"),
            ),
            (
                "PROXY TCP6 1:2:3:4:5:6:7:: 1::2 80 8\r\n",
                Some("[1:2:3:4:5:6:7:0]:80"),
            ),
            ("PROXY UNKNOWN\r\n", None),
            ("PROXY UNKNOWN \r\n", None),
            ("PROXY UNKNOWN ff ff anything\r\n", None),
        ] {
            assert_eq!(complete(line.as_bytes()).as_deref(), source, "{line}");
        }
    }

    #[test]
    fn what_is_no_header_is_refused() {
        let long = format!("PROXY UNKNOWN {}\r\n", "x".repeat(100));
        for line in [
            "GET / HTTP/1.1\r\n",
            "proxy TCP4 1.1.1.1 1.1.1.1 1 1\r\n",
            "PROXY TCP4 1.1.1.1 1.1.1.1 1\r\n",
            "PROXY TCP4 1.1.1.1 1.1.1.1 1 1 1\r\n",
            "PROXY TCP4 1.1.1.1 1.1.1.1 01 1\r\n",
            "PROXY TCP4 1.1.1.1 1.1.1.1 +1 1\r\n",
            "PROXY TCP4 1.1.1.1 1.1.1.1 1 65536\r\n",
            "PROXY TCP4 1.1.1.01 1.1.1.1 1 1\r\n",
            "PROXY TCP4  1.1.1.1 1.1.1.1 1 1\r\n",
            "PROXY TCP4 ::1 ::1 1 1\r\n",
            "PROXY UDP4 1.1.1.1 1.1.1.1 1 1\r\n",
            "PROXY TCP4 1.1.1.1 1.1.1.1 1 1\n",
            "PROXY TCP4 1.1.1.1\r 1.1.1.1 1 1\r\n",
            &long,
        ] {
            assert_eq!(parse(line.as_bytes()), Err(NoHeader), "{line}");
        }
    }

    #[test]
    fn each_byte_is_judged_when_it_comes() {
        // With the last byte none of them is the beginning of a header any more.
        for start in [
            &b"G"[..],
            b"PROXY\r",
            b"PROXY  ",
            b"PROXY U ",
            b"PROXY UNKNOWNS",
            b"PROXY UNKNOWN \t",
            b"PROXY UNKNOWN a\ra",
            b"PROXY UNKNOWN \x80",
            b"PROXY TCP5",
            b"PROXY TCP4\r",
            b"PROXY TCP4 :",
            b"PROXY TCP4 256",
            b"PROXY TCP4 01",
            b"PROXY TCP4 1..",
            b"PROXY TCP4 1.2.3.4.",
            b"PROXY TCP4 1.2.3 ",
            b"PROXY TCP4 1.2.3.4 1.2.3.4 p",
            b"PROXY TCP4 1.2.3.4 1.2.3.4 00",
            b"PROXY TCP4 1.2.3.4 1.2.3.4 65536",
            b"PROXY TCP4 1.2.3.4 1.2.3.4  ",
            b"PROXY TCP4 1.2.3.4 1.2.3.4 1 1 ",
            b"PROXY TCP4 1.2.3.4 1.2.3.4 1\r",
            b"PROXY TCP6 1.",
            b"PROXY TCP6 12345",
            b"PROXY TCP6 1::2::",
            b"PROXY TCP6 1:2:3:4:5:6:7:8:",
            b"\r\n\r\n\0\r\nQUIT\n\x11",
            b"\r\n\r\n\0\r\nQUIT\n\x22",
            b"\r\n\r\n\0\r\nQUIT\n\x21\x12",
            b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x04",
            b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x0b",
        ] {
            let before = &start[..start.len() - 1];
            assert_eq!(parse(before), Ok(Header::Incomplete), "{before:?}");
            assert_eq!(parse(start), Err(NoHeader), "{start:?}");
        }
        let longest = format!("PROXY UNKNOWN {}", "x".repeat(LINE_BYTES_MAX - 16));
        assert_eq!(complete(format!("{longest}\r\n").as_bytes()), None);
        assert_eq!(parse(format!("{longest}x").as_bytes()), Err(NoHeader));
    }

    #[test]
    fn binary_headers_tell_the_source_and_skip_extensions() {
        let four = [203, 0, 113, 7, 10, 0, 0, 1, 0xdc, 4, 1, 187];
        assert_eq!(
            complete(&binary(0x21, 0x11, &four)).unwrap(),
            "203.0.113.7:56324"
        );
        let extended = [&four[..], &[0x03, 0, 4, 1, 2, 3, 4]].concat();
        assert_eq!(
            complete(&binary(0x21, 0x11, &extended)).unwrap(),
            "203.0.113.7:56324"
        );
        let mut six = [0; 36];
        (six[0], six[1], six[33]) = (0x20, 1, 80);
        assert_eq!(complete(&binary(0x21, 0x21, &six)).unwrap(), "[2001::]:80");
        assert_eq!(
            complete(&binary(0x20, 0x11, &four)),
            None,
            "the balancer's own"
        );
        assert_eq!(complete(&binary(0x20, 0, &[])), None);
        assert_eq!(complete(&binary(0x21, 0, &[1, 2, 3])), None);
        assert_eq!(complete(&binary(0x21, 0x31, &[0; 216])), None);
    }

    #[test]
    fn binary_headers_that_break_a_rule_are_refused() {
        for header in [
            binary(0x11, 0x11, &[0; 12]),
            binary(0x22, 0x11, &[0; 12]),
            binary(0x21, 0x12, &[0; 12]),
            binary(0x21, 0x11, &[0; 11]),
            binary(0x21, 0x21, &[0; 35]),
            binary(0x21, 0x31, &[0; 215]),
            binary(0x21, 0x11, &[0; HEADER_BYTES_MAX]),
        ] {
            assert_eq!(parse(&header), Err(NoHeader), "{header:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(source: SocketAddr, is_binary: bool) {
            let ports = [source.port().to_be_bytes(), [0, 80]].concat();
            let header = match (source.ip(), is_binary) {
                (IpAddr::V4(ip), false) => format!("PROXY TCP4 {ip} 10.0.0.1 {} 80\r\n", source.port()).into(),
                (IpAddr::V6(ip), false) => format!("PROXY TCP6 {ip} ::1 {} 80\r\n", source.port()).into(),
                (IpAddr::V4(ip), true) => binary(0x21, 0x11, &[&ip.octets()[..], &[0; 4], &ports].concat()),
                (IpAddr::V6(ip), true) => binary(0x21, 0x21, &[&ip.octets()[..], &[0; 16], &ports].concat()),
            };
            let expected = SocketAddr::new(source.ip().to_canonical(), source.port());
            prop_assert_eq!(complete(&header), Some(expected.to_string()));
        }

        #[test]
        fn the_verdict_is_the_same_however_bytes_come(bytes in prop_oneof![
            prop::collection::vec(any::<u8>(), 0..300),
            "(PROXY )?(UNKNOWN|TCP[46])?( ([0-9]{1,3}\\.){3}[0-9]| [0-9a-f:]{2,9}| 80|x|\t|\r){0,5}(\r\n)?"
                .prop_map(String::into_bytes),
        ], start in 0usize..3) {
            let start = [&b""[..], LINE_START, SIGNATURE][start];
            let bytes = [start, &bytes].concat();
            let verdicts = (0..=bytes.len()).map(|end| (end, parse(&bytes[..end])));
            let mut verdicts = verdicts.skip_while(|(_, it)| *it == Ok(Header::Incomplete));
            let first = verdicts.next();
            if let Some((end, Ok(Header::Complete { len, .. }))) = first {
                prop_assert!(len == end && len <= HEADER_BYTES_MAX);
            }
            for (_, verdict) in verdicts {
                prop_assert_eq!(Some(verdict), first.map(|(_, verdict)| verdict));
            }
        }
    }
}
