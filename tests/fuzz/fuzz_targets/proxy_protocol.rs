//! A balancer's header is what it is however its bytes come, and never longer than its bound.

#![no_main]

use libfuzzer_sys::fuzz_target;
use pulsar_proxy::edge::proxy_protocol::{HEADER_BYTES_MAX, Header, parse};

fuzz_target!(|bytes: &[u8]| {
    let whole = parse(bytes);
    let seen = bytes.len().min(HEADER_BYTES_MAX);
    for end in 0..=seen {
        match parse(&bytes[..end]) {
            Ok(Header::Incomplete) => continue,
            Ok(Header::Complete { len, source }) => {
                assert_eq!(len, end, "not before its last byte, and no byte later");
                assert!(source.is_none_or(|it| it.ip() == it.ip().to_canonical()));
            }
            Err(_) => {}
        }
        assert_eq!(parse(&bytes[..end]), whole, "more bytes change nothing");
        return;
    }
    assert_eq!(whole, Ok(Header::Incomplete));
    assert!(bytes.len() < HEADER_BYTES_MAX);
});
