//! Both forms, and what is wrong with them.

use super::*;
use crate::topic::{Epoch, Position, TopicHash};
use proptest::prelude::*;
use serde_json::{Value, json};

fn query(text: &str) -> Result<PollRequest, Value> {
    PollRequest::of_query(Some(text)).map_err(|errors| list(&errors))
}

fn body(text: &str) -> Result<PollRequest, Value> {
    PollRequest::of_body(text.as_bytes(), Some(b"application/json")).map_err(|errors| list(&errors))
}

fn list(errors: &ValidationErrors) -> Value {
    serde_json::from_slice(errors.detail()).unwrap()
}

fn names(poll: &PollRequest) -> Vec<&str> {
    poll.topics.iter().map(TopicName::as_str).collect()
}

#[test]
fn a_query_with_its_defaults_and_with_all() {
    let poll = query("topics=b,a,b").unwrap();
    assert_eq!(names(&poll), ["b", "a"]);
    assert_eq!(
        (poll.since, poll.timeout, poll.limit),
        (Since::Now, 30_000_000, 10)
    );
    let poll = query(
        "topics=gr%C3%B6%C3%9Fe%2Cb&timeout=%2060&limit=1_00&since=earliest&client_id=c\
         &delivery_mode=at_least_once&ack_timeout=1.5&window=5&max_deliveries=3&reset=true&group=g",
    )
    .unwrap();
    assert_eq!(names(&poll), ["größe", "b"]);
    assert_eq!(poll.since, Since::Offset(Offset::Earliest));
    assert_eq!(
        (poll.timeout, poll.limit, poll.form),
        (60_000_000, 100, PollForm::Query)
    );
    let consumer = poll.consumer.unwrap();
    assert_eq!(consumer.group.as_deref(), Some("g"));
    assert_eq!((consumer.ack_timeout, consumer.window), (1_500_000, 5));
    assert!(consumer.reset && consumer.max_deliveries == 3);
}

#[test]
fn all_that_is_wrong_with_a_query_is_told_at_once() {
    assert_eq!(
        query("timeout=61&limit=x&since=y").unwrap_err(),
        json!([
            {"type": "missing", "loc": ["query", "topics"], "msg": "Field required", "input": null},
            {"type": "value_error", "loc": ["query", "since"], "input": "y", "ctx": {"error": {}},
             "msg": "Value error, since must be a message id or a cursor"},
            {"type": "less_than_equal", "loc": ["query", "timeout"], "input": "61",
             "msg": "Input should be less than or equal to 60", "ctx": {"le": 60}},
            {"type": "int_parsing", "loc": ["query", "limit"], "input": "x",
             "msg": "Input should be a valid integer, unable to parse string as an integer"},
        ])
    );
}

#[test]
fn each_rule_of_a_query() {
    let many: Vec<String> = (0..51).map(|number| format!("t{number}")).collect();
    assert!(query(&format!("topics={}", many[..50].join(","))).is_ok());
    for (rest, name, kind) in [
        ("timeout=-1", "timeout", "greater_than_equal"),
        ("timeout=1.5", "timeout", "int_parsing"),
        ("timeout=", "timeout", "int_parsing"),
        ("limit=0", "limit", "greater_than_equal"),
        ("limit=101", "limit", "less_than_equal"),
        ("topics=", "topics", "value_error"),
        ("topics=a,,b", "topics", "value_error"),
        ("topics=a+b", "topics", "value_error"),
        (
            &format!("topics={}", many.join(",")),
            "topics",
            "value_error",
        ),
        ("since=", "since", "value_error"),
        ("group=g", "client_id", "missing"),
        ("client_id=", "client_id", "string_too_short"),
        ("window=5", "window", "value_error"),
        ("delivery_mode=x", "delivery_mode", "literal_error"),
        (
            "client_id=c&group=g&ack_timeout=nan",
            "ack_timeout",
            "greater_than_equal",
        ),
        (
            "client_id=c&group=g&ack_timeout=inf",
            "ack_timeout",
            "less_than_equal",
        ),
        (
            "client_id=c&group=g&ack_timeout=x",
            "ack_timeout",
            "float_parsing",
        ),
        ("client_id=c&group=g&reset=2", "reset", "bool_parsing"),
        (
            "client_id=c&group=g&window=10001",
            "window",
            "less_than_equal",
        ),
    ] {
        let errors = query(&format!("topics=a&{rest}")).unwrap_err();
        assert_eq!(errors[0]["loc"], json!(["query", name]), "{rest:.60}");
        assert_eq!(errors[0]["type"], kind, "{rest:.60}");
        assert_eq!(errors.as_array().unwrap().len(), 1);
    }
}

#[test]
fn the_relay_form_starts_at_the_oldest_where_its_map_says_nothing_usable() {
    let id = MessageId {
        position: Position::new(5, 6),
        epoch: Epoch::new(7),
        topic: TopicHash::of("a"),
    };
    let poll = body(&format!(
        r#"{{"topics":["a","b","a","c"],"since":{{"a":"{id}","c":"?","z":"x"}},"timeout":"5"}}"#
    ))
    .unwrap();
    assert_eq!(names(&poll), ["a", "b", "c"]);
    let starts = vec![Start::Behind(id), Start::Earliest, Start::Earliest];
    assert_eq!(poll.since.start(0, &poll.topics[0]), Start::Behind(id));
    assert_eq!(poll.since, Since::Relay(starts));
    assert_eq!(
        (poll.timeout, poll.limit, poll.form),
        (5_000_000, 100, PollForm::Relay)
    );
    let plain = body(r#"{"topics":["a"],"since":null}"#).unwrap();
    assert_eq!((plain.since, plain.timeout), (Since::Now, 30_000_000));
}

#[test]
fn each_rule_of_a_body() {
    let many = vec!["\"a\""; 21].join(",");
    for (text, steps, kind) in [
        ("{}", json!(["body", "topics"]), "missing"),
        (r#"{"topics":"a"}"#, json!(["body", "topics"]), "list_type"),
        (r#"{"topics":[]}"#, json!(["body", "topics"]), "too_short"),
        (
            &format!("{{\"topics\":[{many}]}}"),
            json!(["body", "topics"]),
            "too_long",
        ),
        (
            r#"{"topics":["a",5]}"#,
            json!(["body", "topics", 1]),
            "string_type",
        ),
        (
            r#"{"topics":["a b"]}"#,
            json!(["body", "topics", 0]),
            "value_error",
        ),
        (
            r#"{"topics":["a"],"since":5}"#,
            json!(["body", "since"]),
            "dict_type",
        ),
        (
            r#"{"topics":["a"],"since":{"a":1}}"#,
            json!(["body", "since", "a"]),
            "string_type",
        ),
        (
            r#"{"topics":["a"],"timeout":0}"#,
            json!(["body", "timeout"]),
            "greater_than_equal",
        ),
        (
            r#"{"topics":["a"],"timeout":61}"#,
            json!(["body", "timeout"]),
            "less_than_equal",
        ),
        (
            r#"{"topics":["a"],"timeout":1.5}"#,
            json!(["body", "timeout"]),
            "int_from_float",
        ),
        (
            r#"{"topics":["a"],"timeout":null}"#,
            json!(["body", "timeout"]),
            "int_type",
        ),
        ("", json!(["body"]), "missing"),
        ("{\"topics\"", json!(["body", 9]), "json_invalid"),
    ] {
        let errors = body(text).unwrap_err();
        assert_eq!(
            (&errors[0]["loc"], &errors[0]["type"]),
            (&steps, &json!(kind)),
            "{text:.60}"
        );
        assert_eq!(errors.as_array().unwrap().len(), 1);
    }
}

proptest! {
    #[test]
    fn any_query_is_answered(text in "((topics|since|timeout|limit|group|window)=[a-c0-9,%+_.-]{0,8}&?){0,5}|.{0,30}") {
        match query(&text) {
            Ok(poll) => prop_assert!((1..=50).contains(&poll.topics.len())),
            Err(errors) => prop_assert!(!errors.as_array().unwrap().is_empty()),
        }
    }

    #[test]
    fn any_body_is_answered(
        members in prop::collection::vec(
            (
                prop::sample::select(vec!["topics", "since", "timeout", "x"]),
                prop::sample::select(vec!["[\"a\"]", "[]", "null", "1", "{}", "{\"a\":\"b\"}", "{\"a\":1,\"a\":\"x\"}", "\"5\"", "true", "[[]]"]),
            ),
            0..5,
        )
    ) {
        let members: Vec<String> = members.iter().map(|(key, value)| format!("\"{key}\":{value}")).collect();
        match body(&format!("{{{}}}", members.join(","))) {
            Ok(poll) => prop_assert!((1..=20).contains(&poll.topics.len())),
            Err(errors) => prop_assert!(!errors.as_array().unwrap().is_empty()),
        }
    }
}
