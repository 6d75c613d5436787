//! A head gets one verdict however it is cut, within its limits, and its parts belong together.
//! The first byte of the input is where it is cut.

#![no_main]

use libfuzzer_sys::fuzz_target;
use pulsar_proxy::http::{Framing, HeadDecoder, HeadLimits, RequestHead, Version, percent_decode};

const LIMITS: HeadLimits = HeadLimits {
    bytes_max: 2048,
    headers_max: 20,
    target_bytes_max: 256,
};

fuzz_target!(|data: &[u8]| {
    let Some((&cut, input)) = data.split_first() else {
        return;
    };
    let whole = HeadDecoder::default().decode(input, &LIMITS);
    let mut decoder = HeadDecoder::default();
    let front = &input[..usize::from(cut).min(input.len())];
    let in_two = match decoder.decode(front, &LIMITS) {
        Ok(None) => decoder.decode(input, &LIMITS),
        certain => certain,
    };
    assert_eq!(whole, in_two);
    match whole {
        Ok(Some((head, consumed))) => check(&head, &input[..consumed]),
        Ok(None) => assert!(input.len() < LIMITS.bytes_max),
        Err(error) => assert!(matches!(error.status(), 400 | 414 | 431 | 501 | 505)),
    }
});

fn check(head: &RequestHead<'_>, consumed: &[u8]) {
    assert!(consumed.len() <= LIMITS.bytes_max && consumed.ends_with(b"\r\n\r\n"));
    assert!(head.headers.iter().count() <= LIMITS.headers_max);
    assert!(head.target.len() <= LIMITS.target_bytes_max);
    assert!(head.target.bytes().all(|byte| byte.is_ascii_graphic()));
    assert!(head.path.starts_with('/') || head.path == "*");
    assert!(head.host.is_some() || head.version == Version::Http10);
    let codings = head.headers.all("transfer-encoding").count();
    assert_eq!(head.framing == Framing::Chunked, codings > 0);
    for (_, value) in head.headers.iter() {
        assert!(!value.iter().any(|byte| b"\r\n\0".contains(byte)));
    }
    if let Some(decoded) = percent_decode(head.path) {
        assert!(decoded.len() <= head.path.len());
    }
}
