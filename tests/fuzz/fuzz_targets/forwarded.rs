//! Whatever a client writes into the headers of balancers, what the last of them adds is believed.

#![no_main]

use libfuzzer_sys::fuzz_target;
use pulsar_proxy::edge::TrustedProxies;

fuzz_target!(|claim: &[u8]| {
    let networks = vec!["10.0.0.0/8".parse().expect("a network")];
    let proxies = TrustedProxies::new(networks);
    for name in ["forwarded", "x-forwarded-for"] {
        let client = proxies.client(&[(name, claim)].into_iter().collect());
        assert!(client.is_none_or(|client| client == client.to_canonical()));
    }

    let expected = Some([203, 0, 113, 7].into());
    for (name, hop) in [
        ("x-forwarded-for", "203.0.113.7"),
        ("forwarded", "for=203.0.113.7"),
        ("forwarded", r#"proto=http;For="203.0.113.7:80""#),
        (
            "forwarded",
            r#"for=203.0.113.7;host="a,for=6.6.6.6;\"\\", for=10.0.0.1"#,
        ),
    ] {
        let list = [claim, b", ", hop.as_bytes()].concat();
        let one = [(name, &list[..])].into_iter().collect();
        assert_eq!(proxies.client(&one), expected, "at the end of the field");
        let two = [(name, claim), (name, hop.as_bytes())]
            .into_iter()
            .collect();
        assert_eq!(proxies.client(&two), expected, "in a field behind it");
    }
});
