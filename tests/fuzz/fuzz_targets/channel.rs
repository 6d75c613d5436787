//! What is understood of a channel's bytes says what they say.

#![no_main]

use libfuzzer_sys::fuzz_target;
use pulsar_proxy::valkey::channel::{Said, parse, parse_echo};

fuzz_target!(|payload: &[u8]| {
    match parse(payload) {
        Some(Said::Message(said)) => {
            let front = &payload[..payload.len() - said.stored_part.len()];
            assert!(front.starts_with(b"m ") && front.ends_with(b" "));
            assert_eq!(front.iter().filter(|byte| **byte == b' ').count(), 4);
            assert_ne!(said.ttl, Some(0));
        }
        Some(Said::Restart(_)) => assert!(payload.starts_with(b"r ")),
        Some(Said::Wake) => assert_eq!(payload, b"w"),
        None => {}
    }
    if let Some(number) = parse_echo(payload) {
        assert!(payload.ends_with(number.to_string().as_bytes()));
    }
});
