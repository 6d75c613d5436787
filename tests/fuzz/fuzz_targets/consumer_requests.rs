//! Queries and bodies of polls, streams and acknowledgements keep the rules, or get a list of
//! bounded size that is JSON.

#![no_main]

use libfuzzer_sys::fuzz_target;
use pulsar_proxy::api::ack::AckRequest;
use pulsar_proxy::api::consumer::AtLeastOnce;
use pulsar_proxy::api::poll::PollRequest;
use pulsar_proxy::api::publish::ValidationErrors;
use pulsar_proxy::api::query::parameters;
use pulsar_proxy::api::stream::StreamRequest;

fuzz_target!(|input: &[u8]| {
    if let Ok(query) = std::str::from_utf8(input) {
        assert!(parameters(Some(query)).count() <= query.len());
        match PollRequest::of_query(Some(query)) {
            Ok(poll) => {
                assert!((1..=50).contains(&poll.topics.len()));
                assert!((1..=100).contains(&poll.limit) && poll.timeout <= 60_000_000);
                check(poll.consumer.as_ref());
            }
            Err(errors) => refused(input, &errors),
        }
        match StreamRequest::of_query(Some(query), Some(input)) {
            Ok(stream) => check(stream.consumer.as_ref()),
            Err(errors) => refused(input, &errors),
        }
    }
    match PollRequest::of_body(input, None) {
        Ok(poll) => {
            assert!((1..=20).contains(&poll.topics.len()));
            assert!((1_000_000..=60_000_000).contains(&poll.timeout));
            for (index, topic) in poll.topics.iter().enumerate() {
                poll.since.start(index, topic);
            }
        }
        Err(errors) => refused(input, &errors),
    }
    match AckRequest::of_body(input, None) {
        Ok(ack) => assert!((1..=1000).contains(&ack.ids.len())),
        Err(errors) => refused(input, &errors),
    }
});

fn check(consumer: Option<&AtLeastOnce>) {
    if let Some(consumer) = consumer {
        assert!((1..=255).contains(&consumer.client_id.chars().count()));
        assert!((1_000_000..=3_600_000_000).contains(&consumer.ack_timeout));
        assert!((1..=10_000).contains(&consumer.window) && consumer.max_deliveries <= 1000);
    }
}

/// Each entry is short but for its input, and inputs of different entries may be the same.
fn refused(input: &[u8], errors: &ValidationErrors) {
    assert!(serde_json::from_slice::<serde::de::IgnoredAny>(errors.detail()).is_ok());
    assert!(errors.detail().len() <= 100 * (400 + 6 * input.len().min(16 * 1024)));
}
