//! Samples of what a publish is refused for: the list that existing clients read.

use serde_json::{Value, json};
use test_util::{Http, Server};

const ONE: &str = "/api/v1/messages";
const BULK: &str = "/api/v1/messages/bulk";

#[test]
fn with_another_content_type_the_body_is_a_string() {
    let server = Server::start(&[]);
    let mut http = Http::open(server.addr());
    let body = r#"{"topic":"t","payload":{}}"#;
    for content_type in [
        "text/plain",
        "application/x-www-form-urlencoded",
        "application/jsonx",
    ] {
        let headers = [("Content-Type", content_type)];
        let response = http.request("POST", ONE, &headers, body.as_bytes());
        let error = response.assert_error(422, "VALIDATION_ERROR");
        let entry = entry(
            "model_attributes_type",
            json!(["body"]),
            "Input should be a valid dictionary or object to extract fields from",
            json!(body),
        );
        assert_eq!(error["detail"], json!([entry]), "{content_type}");
    }
}

#[test]
fn topic_names() {
    let server = Server::start(&[]);
    let long = "ü".repeat(255);
    for topic in [
        "a",
        "A-b_9",
        "-1",
        "_a_",
        "日本語",
        "½",
        "Ⅷ",
        "①",
        "überträge",
        &long,
    ] {
        let response = server.post(ONE, json!({"topic": topic, "payload": {}}).to_string());
        assert_eq!(response.status, 201, "{topic}: {response:?}");
        assert_eq!(response.json()["topic"], topic);
    }
    for topic in [
        "-",
        "_-_",
        "a b",
        "a.b",
        "a/b",
        "*",
        "é\u{301}",
        "\u{301}",
        "ⓐ",
        "a\n",
        "😀",
    ] {
        let error = server.post(ONE, json!({"topic": topic, "payload": {}}).to_string());
        let mut entry = entry(
            "value_error",
            json!(["body", "topic"]),
            "Value error, Topic must contain only alphanumeric characters, hyphens, and underscores",
            json!(topic),
        );
        entry["ctx"] = json!({"error": {}});
        assert_eq!(
            error.assert_error(422, "VALIDATION_ERROR")["detail"],
            json!([entry]),
            "{topic}"
        );
    }
}

#[test]
fn refusals_of_one_message() {
    let server = Server::start(&[]);
    for (body, detail) in refusals() {
        let error = server.post(ONE, body).assert_error(422, "VALIDATION_ERROR");
        assert_eq!(error["detail"], detail, "{body}");
    }
}

#[test]
fn refusals_of_a_bulk() {
    let server = Server::start(&[]);
    let good = json!({"topic": "t", "payload": {}});
    let list = |messages: Value| json!({"messages": messages}).to_string();
    let mut empty = entry(
        "too_short",
        json!(["body", "messages"]),
        "List should have at least 1 item after validation, not 0",
        json!([]),
    );
    empty["ctx"] = json!({"field_type": "List", "min_length": 1, "actual_length": 0});
    let cases = [
        (
            String::new(),
            json!([entry(
                "missing",
                json!(["body"]),
                "Field required",
                Value::Null
            )]),
        ),
        (
            "{}".to_owned(),
            json!([entry(
                "missing",
                json!(["body", "messages"]),
                "Field required",
                json!({})
            )]),
        ),
        (
            list(json!(7)),
            json!([entry(
                "list_type",
                json!(["body", "messages"]),
                "Input should be a valid list",
                json!(7)
            )]),
        ),
        (list(json!([])), json!([empty])),
        (
            list(json!([good, {"topic": 1, "payload": {}}, 5])),
            json!([
                entry(
                    "string_type",
                    json!(["body", "messages", 1, "topic"]),
                    "Input should be a valid string",
                    json!(1)
                ),
                entry(
                    "model_attributes_type",
                    json!(["body", "messages", 2]),
                    "Input should be a valid dictionary or object to extract fields from",
                    json!(5)
                ),
            ]),
        ),
    ];
    for (body, detail) in cases {
        let error = server
            .post(BULK, &body)
            .assert_error(422, "VALIDATION_ERROR");
        assert_eq!(error["detail"], detail, "{body}");
    }

    let many = list(json!(vec![&good; 101]));
    let error = server
        .post(BULK, many)
        .assert_error(422, "VALIDATION_ERROR");
    let entry = &error["detail"][0];
    assert_eq!(error["detail"].as_array().map(Vec::len), Some(1), "{error}");
    assert_eq!(entry["type"], "too_long");
    assert_eq!(
        entry["msg"],
        "List should have at most 100 items after validation, not 101"
    );
    let context = json!({"field_type": "List", "max_length": 100, "actual_length": 101});
    assert_eq!(entry["ctx"], context);
}

/// Bodies of one message and the `detail` that each is refused with.
fn refusals() -> Vec<(&'static str, Value)> {
    let at = |field: &str| json!(["body", field]);
    let dict = "Input should be a valid dictionary";
    let string = "Input should be a valid string";
    let object = "Input should be a valid dictionary or object to extract fields from";
    let with = |mut entry: Value, context: Value| {
        entry["ctx"] = context;
        entry
    };
    let empty = json!({});
    vec![
        (
            "",
            json!([entry(
                "missing",
                json!(["body"]),
                "Field required",
                Value::Null
            )]),
        ),
        (
            "null",
            json!([entry(
                "missing",
                json!(["body"]),
                "Field required",
                Value::Null
            )]),
        ),
        (
            "{}",
            json!([
                entry("missing", at("topic"), "Field required", empty.clone()),
                entry("missing", at("payload"), "Field required", empty),
            ]),
        ),
        (
            "[1]",
            json!([entry(
                "model_attributes_type",
                json!(["body"]),
                object,
                json!([1])
            )]),
        ),
        (
            r#"{"topic":null,"payload":null}"#,
            json!([
                entry("string_type", at("topic"), string, Value::Null),
                entry("dict_type", at("payload"), dict, Value::Null),
            ]),
        ),
        (
            r#"{"topic":"","payload":{}}"#,
            json!([with(
                entry(
                    "string_too_short",
                    at("topic"),
                    "String should have at least 1 character",
                    json!("")
                ),
                json!({"min_length": 1})
            )]),
        ),
        (
            r#"{"topic":"t","payload":[],"ttl":0,"metadata":{"a":"b","k":1}}"#,
            json!([
                entry("dict_type", at("payload"), dict, json!([])),
                with(
                    entry(
                        "greater_than",
                        at("ttl"),
                        "Input should be greater than 0",
                        json!(0)
                    ),
                    json!({"gt": 0})
                ),
                entry(
                    "string_type",
                    json!(["body", "metadata", "k"]),
                    string,
                    json!(1)
                ),
            ]),
        ),
        (
            r#"{"topic":"t","payload":{},"ttl":1.5,"metadata":"m"}"#,
            json!([
                entry(
                    "int_from_float",
                    at("ttl"),
                    "Input should be a valid integer, got a number with a fractional part",
                    json!(1.5)
                ),
                entry("dict_type", at("metadata"), dict, json!("m")),
            ]),
        ),
        (
            r#"{"topic":"t","payload":{},"ttl":"soon"}"#,
            json!([entry(
                "int_parsing",
                at("ttl"),
                "Input should be a valid integer, unable to parse string as an integer",
                json!("soon")
            )]),
        ),
        (
            r#"{"topic":"t","payload":{},"ttl":[]}"#,
            json!([entry(
                "int_type",
                at("ttl"),
                "Input should be a valid integer",
                json!([])
            )]),
        ),
        (
            r#"{"topic":"t" "payload":{}}"#,
            json!([with(
                entry(
                    "json_invalid",
                    json!(["body", 13]),
                    "JSON decode error",
                    json!({})
                ),
                json!({"error": "Expecting ',' delimiter"})
            )]),
        ),
    ]
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "the calls read better with values"
)]
fn entry(kind: &str, loc: Value, message: &str, input: Value) -> Value {
    json!({"type": kind, "loc": loc, "msg": message, "input": input})
}
