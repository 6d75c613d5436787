//! The rules together: bounds on hostile bodies, and agreement with a naive twin on `serde_json`.

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::*;

const JSON: Option<&[u8]> = Some(b"application/json");

fn one(body: &str) -> Result<Publication<'_>, Value> {
    parse_one(body.as_bytes(), JSON).map_err(|errors| detail(&errors))
}

fn detail(errors: &ValidationErrors) -> Value {
    serde_json::from_slice(errors.detail()).unwrap()
}

fn message_with(field: &str, value: &str) -> String {
    format!("{{\"topic\":\"t\",\"payload\":{{}},\"{field}\":{value}}}")
}

#[test]
fn payload_and_metadata_pass_as_they_came_on_one_line() {
    let body = "{\"topic\":\"t\",\"payload\":{\r\n  \"b\" : 1.50e2,\n \"a\":\"\\u00e9\\r\\n\" },\n\
                \"metadata\": {\"k\":\n\"v\"}}";
    let publication = one(body).unwrap();
    assert_eq!(
        publication.payload,
        b"{  \"b\" : 1.50e2, \"a\":\"\\u00e9\\r\\n\" }".as_slice()
    );
    assert_eq!(
        publication.metadata.as_deref(),
        Some(b"{\"k\":\"v\"}".as_slice())
    );
    let plain = one("{\"topic\":\"t\",\"payload\":{ \"a\" : 1 }}\n").unwrap();
    assert!(matches!(plain.payload, Cow::Borrowed(b"{ \"a\" : 1 }")));
}

#[test]
fn the_last_of_equal_keys_counts() {
    let body = r#"{"topic":1,"t\u006fpic":"t","payload":{"a":1},"payload":{"b":2},
        "ttl":"x","ttl":9,"metadata":3,"metadata":{"a":1,"a":"x"}}"#;
    let publication = one(body).unwrap();
    assert_eq!(publication.topic, "t");
    assert_eq!(publication.payload, b"{\"b\":2}".as_slice());
    assert_eq!(publication.ttl, Some(9));
    assert_eq!(
        publication.metadata.as_deref(),
        Some(b"{\"a\":1,\"a\":\"x\"}".as_slice())
    );
}

#[test]
fn what_only_javascript_can_read_passes_in_a_payload() {
    for payload in [
        r#"{"a":"\ud800"}"#,
        r#"{"\udc00":1e999}"#,
        r#"{"a":-1E+400}"#,
    ] {
        let body = format!("{{\"topic\":\"t\",\"payload\":{payload}}}");
        assert_eq!(one(&body).unwrap().payload, payload.as_bytes());
    }
    let digits = format!("{{\"a\":{}}}", "7".repeat(5000));
    assert!(one(&message_with("other", &digits)).is_ok());
}

#[test]
fn refuses_what_the_reference_does_not_survive() {
    let long = "1".repeat(5000);
    assert_eq!(
        one(&message_with("ttl", &long)).map(|publication| publication.ttl),
        Ok(Some(u64::MAX))
    );
    for (body, at, reason) in [
        (
            r#"{"topic":"é\ud800","payload":{}}"#,
            12,
            "Invalid \\uXXXX escape",
        ),
        (
            r#"{"topic":"t","payload":{"a":NaN}}"#,
            28,
            "Expecting value",
        ),
        (
            r#"{"topic":"t","payload":{"a":-Infinity}}"#,
            28,
            "Expecting value",
        ),
    ] {
        let expected = json!([{"type": "json_invalid", "loc": ["body", at],
            "msg": "JSON decode error", "input": {}, "ctx": {"error": reason}}]);
        assert_eq!(one(body), Err(expected), "{body}");
    }
    for (body, at) in [
        (b"{\"topic\":\"\xff\"}".as_slice(), 10),
        (b"{\"\xc3\xa9\":\"\xed\xa0\x80\"}", 6),
        (b"\xc3", 0),
    ] {
        let errors = detail(&parse_one(body, JSON).unwrap_err());
        assert_eq!(errors[0]["loc"], json!(["body", at]));
        assert_eq!(errors[0]["ctx"]["error"], "Invalid UTF-8");
    }
    let body = message_with("ttl", "1e999");
    let errors = parse_one(body.as_bytes(), JSON).unwrap_err();
    let text = std::str::from_utf8(errors.detail()).unwrap();
    assert!(text.contains("\"finite_number\"") && text.contains("\"input\":1e999"));
}

#[test]
fn nesting_is_bounded_in_every_member() {
    for (levels, good) in [(254, true), (255, false)] {
        let deep = format!("{}{}", "[".repeat(levels - 1), "]".repeat(levels - 1));
        let payload = format!("{{\"topic\":\"t\",\"payload\":{{\"a\":{deep}}}}}");
        assert_eq!(one(&payload).is_ok(), good, "{levels} in payload");
        let other = format!("[{deep}]");
        assert_eq!(one(&message_with("x", &other)).is_ok(), good, "{levels}");
    }
    for open in [
        "[",
        "{\"a\":",
        "{\"topic\":",
        "{\"payload\":",
        "{\"metadata\":",
        "{\"messages\":[",
    ] {
        let body = open.repeat(100_000);
        let errors = detail(&parse_one(body.as_bytes(), JSON).unwrap_err());
        assert_eq!(errors[0]["type"], "json_invalid");
        assert!(parse_bulk(body.as_bytes(), JSON).is_err());
    }
}

#[test]
fn answers_to_a_mebibyte_of_nonsense_are_bounded() {
    let wide = |entry: &dyn Fn(usize) -> String| {
        let entries: Vec<String> = (0..60_000).map(entry).collect();
        message_with("metadata", &format!("{{{}}}", entries.join(",")))
    };
    let long = "x".repeat(1 << 20);
    let bodies = [
        wide(&|n| format!("\"key{n}\":{n}")),
        wide(&|n| format!("\"{}\":[]", n % 7)),
        wide(&|_| "\"\":\"\",\"\":1".to_owned()),
        message_with("metadata", &format!("{{\"{long}\":0}}")),
        message_with("metadata", &format!("\"{long}\"")),
        message_with("topic", &format!("\"{long}\"")),
        message_with("ttl", &format!("\"{long}\"")),
        message_with("ttl", &format!("\"{}\"", "1".repeat(1 << 20))),
        message_with("ttl", &format!("{}.5", "1".repeat(1 << 20))),
        format!("{{\"messages\":[{}1]}}", "1,".repeat(1 << 19)),
        format!("\"{}\"", "\\u0000".repeat(170_000)),
        " ".repeat(1 << 20),
        format!("{{{}", "\"a\":{},".repeat(150_000)),
    ];
    for body in &bodies {
        for result in [
            parse_one(body.as_bytes(), JSON).map(|_| ()),
            parse_bulk(body.as_bytes(), JSON).map(|_| ()),
            parse_one(body.as_bytes(), Some(b"text/plain")).map(|_| ()),
        ] {
            let errors = result.unwrap_err();
            assert!(errors.detail().len() <= (1 << 20) + 20_000);
            assert!(detail(&errors).as_array().unwrap().len() <= 100);
        }
    }
}

#[test]
fn a_wrong_length_of_messages_stands_alone() {
    let body = format!("{{\"messages\":[{}{{}}]}}", "{},".repeat(100));
    let errors = detail(&parse_bulk(body.as_bytes(), JSON).unwrap_err());
    assert_eq!(errors.as_array().unwrap().len(), 1);
    assert_eq!(errors[0]["type"], "too_long");
    assert_eq!(errors[0]["ctx"]["actual_length"], 101);
}

/// What the rules say, on a tree of `serde_json`; ttl is left to its own tests.
fn naive(body: &str) -> Option<Value> {
    let body: Map<String, Value> = serde_json::from_str(body).ok()?;
    let topic = body.get("topic")?.as_str()?;
    TopicName::check(topic).ok()?;
    if !body.get("payload")?.is_object() {
        return None;
    }
    match body.get("metadata") {
        None | Some(Value::Null) => {}
        Some(Value::Object(metadata)) if metadata.values().all(Value::is_string) => {}
        Some(_) => return None,
    }
    Some(Value::Object(body))
}

/// JSON text of any kind, with white space and equal keys.
fn any_json() -> impl Strategy<Value = String> {
    let space = prop_oneof![4 => Just(""), 1 => Just(" "), 1 => Just("\n"), 1 => Just("\r\t")];
    let leaf = prop_oneof![
        Just("null".to_owned()),
        Just("true".to_owned()),
        "-?(0|[1-9][0-9]{0,3})(\\.[0-9]{1,2})?([eE][+-]?[0-9])?",
        "\"([a-cé\u{1f642}_ {}:,\\[-]|\\\\[nrt\"\\\\/]|\\\\u00[0-9a-f]{2}){0,6}\"",
    ];
    leaf.prop_recursive(4, 24, 4, move |inner| {
        let space = space.clone();
        prop_oneof![
            (prop::collection::vec(inner.clone(), 0..4), space.clone())
                .prop_map(|(list, s)| format!("[{s}{}{s}]", list.join(&format!("{s},{s}")))),
            (prop::collection::vec(("[ab]", inner), 0..4), space).prop_map(|(list, s)| {
                let members: Vec<String> = list
                    .iter()
                    .map(|(key, value)| format!("\"{key}\"{s}:{s}{value}{s}"))
                    .collect();
                format!("{{{s}{}{s}}}", members.join(&format!(",{s}")))
            }),
        ]
    })
}

fn any_message() -> impl Strategy<Value = String> {
    let names = prop::sample::select(vec![
        "topic",
        "payload",
        "metadata",
        "other",
        "t\\u006fpic",
        "payloa\\u0064",
        "",
    ]);
    let value = prop_oneof![
        2 => any_json(),
        2 => any_json().prop_map(|value| format!("{{\"a\":{value}}}")),
        2 => Just("\"name\"".to_owned()),
        1 => Just("{\"k\":\"v\"}".to_owned()),
    ];
    prop::collection::vec((names, value), 0..7).prop_map(|members| {
        let members: Vec<String> = members
            .iter()
            .map(|(name, value)| format!("\"{name}\": {value}"))
            .collect();
        format!("{{{}}}", members.join(" ,"))
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn agrees_with_the_naive_twin(body in any_message(), cut in 0..400_usize) {
        let end = (0..=cut.min(body.len())).rev().find(|at| body.is_char_boundary(*at));
        for body in [body.as_str(), &body[..end.unwrap_or(0)]] {
            let expected = naive(body);
            let found = parse_one(body.as_bytes(), JSON);
            prop_assert_eq!(found.is_ok(), expected.is_some(), "{}", body);
            if let (Ok(found), Some(expected)) = (found, expected) {
                prop_assert_eq!(&found.topic, expected["topic"].as_str().unwrap());
                let payload: Value = serde_json::from_slice(&found.payload).unwrap();
                prop_assert_eq!(&payload, &expected["payload"]);
                prop_assert!(!found.payload.contains(&b'\n') && !found.payload.contains(&b'\r'));
                let metadata = found.metadata.map(|text| serde_json::from_slice(&text).unwrap());
                prop_assert_eq!(metadata.unwrap_or(Value::Null), expected.get("metadata").cloned().unwrap_or(Value::Null));
            }
        }
    }

    #[test]
    fn any_bytes_are_answered(body: Vec<u8>) {
        let refused = parse_one(&body, JSON).unwrap_err();
        prop_assert!(detail(&refused).is_array());
        let refused = parse_bulk(&body, None).unwrap_err();
        prop_assert!(detail(&refused).is_array());
    }

    #[test]
    fn any_nonsense_of_the_right_characters_is_answered(
        body in "([\\[\\]{}:,\"\\\\\n 0-9.eE+-]|\"(topic|payload|messages|ttl|metadata)\":|\\\\u[d0]8|null){0,30}"
    ) {
        for result in [parse_one(body.as_bytes(), JSON).map(|_| ()), parse_bulk(body.as_bytes(), JSON).map(|_| ())] {
            if let Err(errors) = result {
                let text = std::str::from_utf8(errors.detail()).unwrap();
                prop_assert!(serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok(), "{}", text);
            }
        }
    }
}
