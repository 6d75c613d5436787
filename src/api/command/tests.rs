//! Every rule of the commands, and hostile messages.

use super::*;
use crate::topic::{Cursor, Epoch, MessageId, Position, TopicHash};
use proptest::prelude::*;

mod consumers;

const CLIENT: &str = r#""client_id":"c""#;

fn names(topics: &[&str]) -> Vec<TopicName> {
    topics
        .iter()
        .map(|name| TopicName::parse(name).unwrap())
        .collect()
}

/// Code and message of the error for a later message.
fn wrong(text: &str) -> (&'static str, String) {
    let error = parse(text).unwrap_err();
    (error.code.as_str(), error.message)
}

fn subscribe_with(member: &str) -> String {
    format!("{{\"type\":\"subscribe\",\"topics\":[\"a\"],{CLIENT},{member}}}")
}

#[test]
fn the_first_message_may_leave_out_its_type() {
    for text in [
        r#"{"type":"subscribe","topics":["notifications","alerts"],"client_id":"client-123"}"#,
        r#"{"topics":["notifications","alerts"],"client_id":"client-123","token":7,"x":{}}"#,
    ] {
        let subscribe = parse_first(text).unwrap();
        let expected = Subscribe {
            topics: names(&["notifications", "alerts"]),
            client_id: "client-123".into(),
            offset: Offset::Last,
            on_lag: OnLag::Disconnect,
            delivery: None,
            heartbeat: None,
            tell_positions: false,
        };
        assert_eq!(subscribe, expected);
    }
}

#[test]
fn all_that_is_wrong_with_the_first_message_is_a_failed_subscription() {
    for (text, why) in [
        ("", "the message is not valid JSON"),
        ("[]", "the message must be a JSON object"),
        (
            r#"{"type":"ping"}"#,
            "the first message must be of type subscribe",
        ),
        (
            r#"{"type":null,"topics":["a"],"client_id":"c"}"#,
            "the first message must be of type subscribe",
        ),
        (r#"{"client_id":"c"}"#, "topics must be a list of names"),
        (
            r#"{"topics":["a"]}"#,
            "client_id must be a string of 1 to 255 characters",
        ),
        (
            r#"{"topics":["a"],"client_id":"c","offset":"yesterday"}"#,
            "offset must be last, earliest, a message id or a cursor",
        ),
        (
            r#"{"topics":["a"],"client_id":"c","window":5}"#,
            "window needs delivery_mode at_least_once",
        ),
    ] {
        let error = parse_first(text).unwrap_err();
        assert_eq!(error.code, CommandErrorCode::Subscription);
        assert_eq!(
            error.message,
            format!("Failed to subscribe: {why}"),
            "{text}"
        );
    }
}

#[test]
fn topics_are_bounded_and_told_as_asked() {
    let with = |topics: &str| format!("{{\"type\":\"subscribe\",{CLIENT},\"topics\":{topics}}}");
    let Ok(Command::Subscribe(subscribe)) = parse(&with(r#"["b","a","b"]"#)).map(own) else {
        panic!("a list with a name twice is good");
    };
    assert_eq!(subscribe.topics, names(&["b", "a", "b"]));
    let distinct: Vec<&TopicName> = subscribe.distinct_topics().collect();
    assert_eq!(distinct, names(&["b", "a"]).iter().collect::<Vec<_>>());
    let many = |count| format!("[{}]", vec!["\"a\""; count].join(","));
    assert!(parse(&with(&many(TOPICS_MAX))).is_ok());
    for (topics, why) in [
        ("[]".to_owned(), "topics must have 1 to 50 names, not 0"),
        (many(51), "topics must have 1 to 50 names, not 51"),
        (many(5000), "topics must have 1 to 50 names, not 5000"),
        ("\"a\"".to_owned(), "topics must be a list of names"),
        ("null".to_owned(), "topics must be a list of names"),
        ("{\"a\":1}".to_owned(), "topics must be a list of names"),
        ("[\"a\",1]".to_owned(), "topics must be a list of names"),
        ("[[\"a\"]]".to_owned(), "topics must be a list of names"),
        (
            "[\"a b\"]".to_owned(),
            "a topic name must contain only alphanumeric characters, hyphens, and underscores",
        ),
        (
            "[\"\"]".to_owned(),
            "a topic name needs at least 1 character",
        ),
    ] {
        assert_eq!(wrong(&with(&topics)), ("PROCESSING_ERROR", why.to_owned()));
    }
}

fn own(command: Command<'_>) -> Command<'static> {
    match command {
        Command::Subscribe(subscribe) => Command::Subscribe(Subscribe {
            client_id: subscribe.client_id.into_owned().into(),
            topics: subscribe.topics,
            offset: subscribe.offset,
            on_lag: subscribe.on_lag,
            delivery: subscribe.delivery,
            heartbeat: subscribe.heartbeat,
            tell_positions: subscribe.tell_positions,
        }),
        _ => panic!("only for subscribe"),
    }
}

#[test]
fn offset_and_on_lag() {
    let id = MessageId {
        position: Position::new(5, 6),
        epoch: Epoch::new(7),
        topic: TopicHash::of("b"),
    };
    let mut cursor = Cursor::new(Epoch::new(7));
    cursor.set(id.topic, id.position);
    for (member, offset, on_lag, tell_positions) in [
        (
            "\"offset\":\"last\"".to_owned(),
            Offset::Last,
            OnLag::Disconnect,
            false,
        ),
        (
            "\"offset\":\"earliest\"".to_owned(),
            Offset::Earliest,
            OnLag::Disconnect,
            true,
        ),
        (
            format!("\"offset\":\"{id}\""),
            Offset::Behind(id),
            OnLag::Disconnect,
            true,
        ),
        (
            format!("\"offset\":\"{cursor}\""),
            Offset::Cursor(Box::new(cursor)),
            OnLag::Disconnect,
            true,
        ),
        (
            "\"on_lag\":\"disconnect\"".to_owned(),
            Offset::Last,
            OnLag::Disconnect,
            true,
        ),
        (
            "\"on_lag\":\"skip\"".to_owned(),
            Offset::Last,
            OnLag::Skip,
            true,
        ),
    ] {
        let text = subscribe_with(&member);
        let Ok(Command::Subscribe(subscribe)) = parse(&text) else {
            panic!("{text} is good");
        };
        assert_eq!(subscribe.offset, offset);
        assert_eq!(subscribe.on_lag, on_lag);
        assert_eq!(subscribe.tell_positions, tell_positions, "{member}");
    }
    for unusable in ["", "LAST", "cur_abc", "msg_", "0"] {
        let text = subscribe_with(&format!("\"offset\":\"{unusable}\""));
        let why = "Failed to subscribe: offset must be last, earliest, a message id or a cursor";
        assert_eq!(wrong(&text), ("SUBSCRIPTION_ERROR", why.to_owned()));
    }
    assert_eq!(
        wrong(&subscribe_with("\"offset\":null")).1,
        "offset must be a string"
    );
    let on_lag = wrong(&subscribe_with("\"on_lag\":\"wait\""));
    assert_eq!(on_lag.1, "on_lag must be disconnect or skip");
}

#[test]
fn client_id_counts_characters() {
    let with = |id: String| format!("{{\"topics\":[\"a\"],\"client_id\":{id}}}");
    assert!(parse_first(&with(format!("\"{}\"", "é".repeat(255)))).is_ok());
    for bad in [
        format!("\"{}\"", "x".repeat(256)),
        "\"\"".to_owned(),
        "5".to_owned(),
    ] {
        let error = parse_first(&with(bad)).unwrap_err();
        assert_eq!(error.field, Some("client_id"));
    }
}

#[test]
fn credentials_are_texts() {
    let token = "t".into();
    let text = r#"{"type":"auth","token":"t"}"#;
    assert_eq!(parse(text), Ok(Command::Auth { token }));
    for text in [r#"{"type":"auth"}"#, r#"{"type":"auth","token":""}"#] {
        let why = "token must be a string that is not empty";
        assert_eq!(wrong(text), ("PROCESSING_ERROR", why.to_owned()));
    }
}

#[test]
fn the_other_commands() {
    assert_eq!(parse(r#"{"type":"ping","x":1e999}"#), Ok(Command::Ping));
    assert_eq!(
        parse(r#"{"type":"unsubscribe","topics":["a"]}"#),
        Ok(Command::Unsubscribe {
            topics: names(&["a"])
        })
    );
    assert_eq!(
        parse(r#"{"type":"ack","message_id":"msg_x"}"#),
        Ok(Command::Ack {
            ids: vec!["msg_x".into()],
            cumulative: false,
            confirm: false,
        })
    );
    for (text, code, why) in [
        (
            r#"{"type":"unsubscribe","topics":[]}"#,
            "PROCESSING_ERROR",
            "topics must have 1 to 1000 names, not 0",
        ),
        (
            r#"{"type":"unsubscribe"}"#,
            "PROCESSING_ERROR",
            "topics must be a list of names",
        ),
        (
            r#"{"type":"ack"}"#,
            "PROCESSING_ERROR",
            "message_id must be a string",
        ),
        (
            r#"{"type":"ack","message_id":5}"#,
            "PROCESSING_ERROR",
            "message_id must be a string",
        ),
        ("{}", "PROCESSING_ERROR", "type must be a string"),
        (
            r#"{"type":["ping"]}"#,
            "PROCESSING_ERROR",
            "type must be a string",
        ),
        ("5", "PROCESSING_ERROR", "the message must be a JSON object"),
        (
            "{\"type\":\"ping\"",
            "PROCESSING_ERROR",
            "the message is not valid JSON",
        ),
        (
            "{\"type\":\"ping\"} x",
            "PROCESSING_ERROR",
            "the message is not valid JSON",
        ),
        (
            "{\"type\":\"a\\nb\"}",
            "UNKNOWN_MESSAGE_TYPE",
            "Unknown message type: a\nb",
        ),
    ] {
        assert_eq!(wrong(text), (code, why.to_owned()), "{text}");
    }
    let long = wrong(&format!("{{\"type\":\"{}\"}}", "é".repeat(1000))).1;
    assert_eq!(long, format!("Unknown message type: {}…", "é".repeat(64)));
}

#[test]
fn of_equal_keys_the_last_counts() {
    let text = r#"{"type":"nack","topics":5,"type":"subscribe","client_id":1,"t\u006fpics":["a"],
        "client_id":"c","offset":"x","offset":"earliest"}"#;
    let Ok(Command::Subscribe(subscribe)) = parse(text) else {
        panic!("the last ones are good");
    };
    assert_eq!(subscribe.offset, Offset::Earliest);
    assert_eq!(subscribe.topics, names(&["a"]));
}

#[test]
fn errors_of_the_connection() {
    assert_eq!(CommandError::binary().code.as_str(), "PROCESSING_ERROR");
    let binary_first = CommandError::binary().of_subscribe();
    assert_eq!(
        binary_first.message,
        "Failed to subscribe: messages must be text frames"
    );
    let late = CommandError::late();
    assert_eq!(late.code.as_str(), "SUBSCRIPTION_ERROR");
    assert!(late.message.starts_with("Failed to subscribe"));
    assert_eq!(late.clone().of_subscribe(), late);
}

#[test]
fn a_mebibyte_of_nonsense_is_answered_shortly() {
    let deep = "[".repeat(1 << 20);
    for text in [
        deep.clone(),
        format!("{{\"x\":{deep}"),
        format!("{{\"topics\":{deep}"),
        format!("{{\"type\":{}", "{\"a\":".repeat(200_000)),
        format!("{{\"topics\":[{}0]}}", "\"a\",".repeat(200_000)),
        format!(
            "{{\"type\":\"subscribe\",\"topics\":[{}\"a\"]}}",
            "\"a\",".repeat(200_000)
        ),
        format!("{{\"type\":\"{}\"}}", "x".repeat(1 << 20)),
        format!("{{{}\"type\":1}}", "\"type\":\"ping\",".repeat(70_000)),
    ] {
        assert!(parse(&text).unwrap_err().message.len() < 200);
        assert!(parse_first(&text).unwrap_err().message.len() < 200);
    }
}

proptest! {
    #[test]
    fn any_text_is_answered(text in ".{0,40}") {
        prop_assert!(parse_first(&text).is_err());
    }

    #[test]
    fn members_in_any_order_and_shape_are_answered(
        members in prop::collection::vec(
            (
                prop::sample::select(vec!["type", "topics", "client_id", "offset", "on_lag", "message_id", "message_ids", "delivery_mode", "ack_timeout", "window", "reset", "group", "heartbeat", "delay", "x"]),
                prop::sample::select(vec!["\"subscribe\"", "\"ack\"", "\"ping\"", "[\"a\"]", "[]", "null", "1", "{}", "\"last\"", "\"skip\"", "\"nack\"", "\"at_least_once\"", "true", "-1.5", "1e300"]),
            ),
            0..8,
        )
    ) {
        let members: Vec<String> = members.iter().map(|(key, value)| format!("\"{key}\":{value}")).collect();
        let text = format!("{{{}}}", members.join(","));
        for result in [parse(&text).map(|_| ()), parse_first(&text).map(|_| ())] {
            if let Err(error) = result {
                prop_assert!(!error.message.is_empty());
            }
        }
    }
}
