//! A publish body is accepted only if it is JSON, what is accepted keeps the rules, and what is
//! refused gets a list of bounded size that is JSON too.

#![no_main]

use libfuzzer_sys::fuzz_target;
use pulsar_proxy::api::publish::{Publication, ValidationErrors, parse_bulk, parse_one};
use pulsar_proxy::topic::TopicName;
use serde::de::IgnoredAny;

const JSON: Option<&[u8]> = Some(b"application/json");

fuzz_target!(|body: &[u8]| {
    match parse_one(body, JSON) {
        Ok(publication) => check(body, &[publication]),
        Err(errors) => refused(body, &errors),
    }
    match parse_bulk(body, JSON) {
        Ok(publications) => check(body, &publications),
        Err(errors) => refused(body, &errors),
    }
    refused(body, &parse_one(body, Some(b"text/plain")).unwrap_err());
});

fn check(body: &[u8], publications: &[Publication<'_>]) {
    let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
    assert!(is_json(body) && (1..=100).contains(&publications.len()));
    for publication in publications {
        assert_eq!(TopicName::check(&publication.topic), Ok(()));
        assert_ne!(publication.ttl, Some(0));
        for object in [Some(&publication.payload), publication.metadata.as_ref()] {
            let object = object.map_or(b"{}".as_slice(), |object| object);
            assert!(is_json(object) && object.starts_with(b"{") && object.ends_with(b"}"));
            assert!(!object.contains(&b'\n') && !object.contains(&b'\r'));
        }
    }
}

fn refused(body: &[u8], errors: &ValidationErrors) {
    assert!(is_json(errors.detail()));
    assert!(errors.detail().len() <= 8 * body.len() + 100 * 300);
}

/// Numbers out of range and lone surrogates are JSON.
fn is_json(text: &[u8]) -> bool {
    serde_json::from_slice::<IgnoredAny>(text).is_ok()
}
