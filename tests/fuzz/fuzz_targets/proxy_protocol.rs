//! A balancer's header is what it is however its bytes come, and never longer than its bound.

#![no_main]

use libfuzzer_sys::fuzz_target;
use pulsar_proxy::edge::TrustedProxies;
use pulsar_proxy::edge::proxy_protocol::{HEADER_BYTES_MAX, Header, parse};

fuzz_target!(|bytes: &[u8]| {
    let whole = parse(bytes);
    match whole {
        Ok(Header::Complete { len, .. }) => {
            assert!((1..=HEADER_BYTES_MAX.min(bytes.len())).contains(&len));
            assert_eq!(parse(&bytes[..len]), whole);
            assert_eq!(parse(&bytes[..len - 1]), Ok(Header::Incomplete));
        }
        Ok(Header::Incomplete) => assert!(bytes.len() < HEADER_BYTES_MAX),
        Err(_) => {}
    }

    // The same bytes as what balancers write into requests.
    let networks = vec!["10.0.0.0/8".parse().expect("a network")];
    let proxies = TrustedProxies::new(networks);
    for name in ["forwarded", "x-forwarded-for"] {
        let client = proxies.client(&[(name, bytes)].into_iter().collect());
        assert!(client.is_none_or(|client| client == client.to_canonical()));
    }
});
