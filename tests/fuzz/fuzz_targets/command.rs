//! A WebSocket message becomes a command that keeps the rules, or an error that stays short.

#![no_main]

use libfuzzer_sys::fuzz_target;
use pulsar_proxy::api::command::{
    ACK_IDS_MAX, Command, CommandError, CommandErrorCode, Subscribe, TOPICS_MAX, parse, parse_first,
};
use pulsar_proxy::api::reply;

fuzz_target!(|text: &str| {
    let first = parse_first(text);
    match &first {
        Ok(subscribe) => check(subscribe),
        Err(error) => {
            assert_eq!(error.code, CommandErrorCode::Subscription);
            assert!(error.message.starts_with("Failed to subscribe"));
            answered(error);
        }
    }
    match parse(text) {
        Ok(Command::Subscribe(subscribe)) => assert_eq!(Ok(subscribe), first),
        Ok(Command::Unsubscribe { topics }) => assert!(!topics.is_empty()),
        Ok(Command::Ack { ids, .. }) => assert!((1..=ACK_IDS_MAX + 1).contains(&ids.len())),
        Ok(Command::Nack { delay, .. }) => assert!(delay <= 3_600_000_000),
        Ok(Command::Auth { token }) => assert!(!token.is_empty()),
        Ok(Command::Ping) => {}
        Err(error) => answered(&error),
    }
});

fn check(subscribe: &Subscribe<'_>) {
    assert!((1..=TOPICS_MAX).contains(&subscribe.topics.len()));
    assert!((1..=255).contains(&subscribe.client_id.chars().count()));
    if let Some(delivery) = &subscribe.delivery {
        assert_eq!(*delivery.client_id, *subscribe.client_id);
        assert!((1_000_000..=3_600_000_000).contains(&delivery.ack_timeout));
        assert!((1..=10_000).contains(&delivery.window) && delivery.max_deliveries <= 1000);
    }
    assert!(
        subscribe
            .heartbeat
            .is_none_or(|seconds| (1..=3600).contains(&seconds))
    );
    let distinct: Vec<_> = subscribe.distinct_topics().collect();
    assert!(
        subscribe
            .topics
            .iter()
            .all(|topic| distinct.contains(&topic))
    );
}

fn answered(error: &CommandError) {
    let mut out = Vec::new();
    reply::error(&mut out, error);
    assert!(out.len() < 1000);
    assert!(serde_json::from_slice::<serde_json::Value>(&out).is_ok());
}
