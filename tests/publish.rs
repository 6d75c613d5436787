//! What publishing promises: answers, ids, timestamps, payload bytes, validation, bulk, `ttl`.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use test_util::{Client, DEADLINE, Http, Server, assert_keys, wait_until, with_workers};

const ONE: &str = "/api/v1/messages";
const BULK: &str = "/api/v1/messages/bulk";

#[test]
fn one_message_is_answered_201() {
    with_workers(|workers| {
        let server = Server::start(&["--workers", workers]);
        let response = server.post(ONE, r#"{"topic":"orders","payload":{"n":1}}"#);
        assert_eq!(response.status, 201);
        assert_eq!(response.header("content-type"), Some("application/json"));
        assert_eq!(response.header("location"), None);
        let answer = response.json();
        assert_keys(&answer, &["message_id", "topic", "timestamp"]);
        assert_eq!(answer["topic"], "orders");
        assert_message_id(&answer["message_id"]);
        assert_timestamp(&answer["timestamp"]);
    });
}

#[test]
fn a_bulk_is_answered_207_in_request_order() {
    with_workers(|workers| {
        let server = Server::start(&["--workers", workers]);
        let topics = ["b", "a", "b", "c", "a"];
        let messages = topics.map(|topic| json!({"topic": topic, "payload": {}}));
        let response = server.post(BULK, json!({"messages": messages}).to_string());
        assert_eq!(response.status, 207);
        assert_eq!(response.header("content-type"), Some("application/json"));
        let answer = response.json();
        assert_keys(&answer, &["results", "summary"]);
        assert_eq!(
            answer["summary"],
            json!({"total": 5, "accepted": 5, "rejected": 0})
        );
        let results = answer["results"].as_array().expect("results is a list");
        assert_eq!(results.len(), 5);
        for (result, topic) in results.iter().zip(topics) {
            assert_keys(result, &["message_id", "topic", "status", "error"]);
            assert_message_id(&result["message_id"]);
            assert_eq!(result["topic"], topic);
            assert_eq!(result["status"], "accepted");
            assert_eq!(result["error"], Value::Null);
        }
    });
}

#[test]
fn ids_rise_and_carry_the_topic_and_the_epoch() {
    with_workers(|workers| {
        let server = Server::start(&["--workers", workers]);
        let publish = |topic: &str| text(&server.publish(topic, &json!({}))["message_id"]);
        let orders: Vec<String> = (0..50).map(|_| publish("orders")).collect();
        let alerts: Vec<String> = (0..50).map(|_| publish("alerts")).collect();
        assert!(orders.is_sorted_by(|a, b| a < b), "{orders:?}");
        assert!(alerts.is_sorted_by(|a, b| a < b), "{alerts:?}");
        let epoch = |id: &String| id[18..22].to_owned();
        let hash = |id: &String| id[22..].to_owned();
        assert!(
            orders
                .iter()
                .chain(&alerts)
                .all(|id| epoch(id) == epoch(&orders[0]))
        );
        assert!(orders.iter().all(|id| hash(id) == hash(&orders[0])));
        assert!(alerts.iter().all(|id| hash(id) == hash(&alerts[0])));
        assert_ne!(hash(&orders[0]), hash(&alerts[0]));

        let other = Server::start(&["--workers", workers]);
        let elsewhere = text(&other.publish("orders", &json!({}))["message_id"]);
        assert_eq!(
            hash(&elsewhere),
            hash(&orders[0]),
            "the hash of a name is the same everywhere"
        );
    });
}

#[test]
fn a_delivery_repeats_the_answer_of_the_publish() {
    with_workers(|workers| {
        let server = Server::start(&["--workers", workers]);
        let mut client = Client::subscribed(server.addr(), &["orders"]);
        let answer = server.publish_message(&json!({
            "topic": "orders", "payload": {"n": 1}, "metadata": {"source": "test", "ü": "\n"},
        }));
        let delivery = client.read_json();
        assert_keys(
            &delivery,
            &[
                "type",
                "message_id",
                "topic",
                "payload",
                "timestamp",
                "metadata",
            ],
        );
        assert_eq!(delivery["type"], "message");
        assert_eq!(delivery["message_id"], answer["message_id"]);
        assert_eq!(delivery["timestamp"], answer["timestamp"]);
        assert_eq!(delivery["topic"], "orders");
        assert_eq!(delivery["payload"], json!({"n": 1}));
        assert_eq!(delivery["metadata"], json!({"source": "test", "ü": "\n"}));
    });
}

#[test]
fn metadata_is_null_when_there_is_none() {
    let server = Server::start(&[]);
    let mut client = Client::subscribed(server.addr(), &["orders"]);
    server.publish("orders", &json!({}));
    server.publish_message(&json!({"topic": "orders", "payload": {}, "metadata": null}));
    server.publish_message(&json!({"topic": "orders", "payload": {}, "metadata": {}}));
    assert_eq!(client.read_json().get("metadata"), Some(&Value::Null));
    assert_eq!(client.read_json().get("metadata"), Some(&Value::Null));
    assert_eq!(client.read_json().get("metadata"), Some(&json!({})));
}

#[test]
fn payload_bytes_are_delivered_as_they_came() {
    let server = Server::start(&[]);
    let mut client = Client::subscribed(server.addr(), &["t"]);
    let payloads = [
        r#"{}"#,
        r#"{"b":1,"a":2,"c":{"z":[],"y":[1,2,{}]}}"#,
        r#"{"n":1.0,"m":1e5,"k":-0,"big":123456789012345678901234567890,"huge":1e999,"e":1E+2}"#,
        r#"{"s":"\u00e9\/\"\\\n\ud83d\ude00 é 😀 \u0000","lone":"\ud800"}"#,
        r#"{"twice":1,"twice":2}"#,
        r#"{"":null,"t":true,"f":false}"#,
        r#"{"message_id":"x","topic":"y","type":"z"}"#,
    ];
    for payload in payloads {
        let body = format!(r#"{{"topic":"t","payload":{payload}}}"#);
        let response = server.post(ONE, body);
        assert_eq!(response.status, 201, "{payload}: {response:?}");
        let delivery = client.read_text();
        let wanted = format!(r#""payload":{payload},"#);
        assert!(delivery.contains(&wanted), "{payload} became {delivery}");
    }
}

#[test]
fn line_breaks_outside_strings_are_removed() {
    let server = Server::start(&[]);
    let mut client = Client::subscribed(server.addr(), &["t"]);
    let body = "{\r\n  \"topic\": \"t\",\r\n  \"payload\": {\r\n\t\"a\": [1,\n 2],\r \"b c\": \"d  e\"\n}\
                ,\n\"metadata\": {\n \"k\": \"v w\"\r\n} }\r\n";
    assert_eq!(server.post(ONE, body).status, 201);
    let delivery = client.read_text();
    assert!(!delivery.contains(['\r', '\n']), "{delivery:?}");
    let value: Value = serde_json::from_str(&delivery).expect("a delivery is JSON");
    assert_eq!(value["payload"], json!({"a": [1, 2], "b c": "d  e"}));
    assert_eq!(value["metadata"], json!({"k": "v w"}));
    assert!(
        delivery.contains("d  e"),
        "white space in strings stays: {delivery}"
    );
}

#[test]
fn content_types_of_json_are_accepted() {
    let server = Server::start(&[]);
    let mut http = Http::open(server.addr());
    let body = br#"{"topic":"t","payload":{}}"#;
    for content_type in [
        "application/json",
        "application/json; charset=utf-8",
        "application/json;charset=UTF-8; x=\"y\"",
        "Application/JSON",
        "application/vnd.example+json",
        "application/problem+JSON; v=1",
    ] {
        let response = http.request("POST", ONE, &[("Content-Type", content_type)], body);
        assert_eq!(response.status, 201, "{content_type}: {response:?}");
    }
    assert_eq!(
        http.request("POST", ONE, &[], body).status,
        201,
        "none at all"
    );
}

#[test]
fn a_byte_order_mark_is_skipped_and_unknown_fields_are_ignored() {
    let server = Server::start(&[]);
    let mut client = Client::subscribed(server.addr(), &["t"]);
    let body = "\u{feff}{\"x\":[{}],\"topic\":\"t\",\"message_id\":\"m\",\"payload\":{\"n\":1}}";
    assert_eq!(server.post(ONE, body).status, 201);
    let delivery = client.read_json();
    assert_ne!(delivery["message_id"], "m");
    assert_eq!(delivery["payload"], json!({"n": 1}));
    assert!(delivery.get("x").is_none());
}

#[test]
fn of_duplicate_keys_the_last_one_wins() {
    let server = Server::start(&[]);
    let mut client = Client::subscribed(server.addr(), &["b"]);
    let body = r#"{"topic":"a","topic":"b","payload":1,"payload":{"n":2},"ttl":-1,"ttl":5}"#;
    let response = server.post(ONE, body);
    assert_eq!(response.status, 201, "{response:?}");
    assert_eq!(client.read_json()["payload"], json!({"n": 2}));
}

#[test]
fn values_of_ttl_that_count_as_integers() {
    let server = Server::start(&[]);
    for ttl in [
        "1",
        "null",
        "\"60\"",
        "\" 60 \"",
        "\"+5\"",
        "\"1_000\"",
        "\"1.0\"",
        "2.0",
        "true",
        "1e2",
        "123456789012345678901234567890",
    ] {
        let body = format!(r#"{{"topic":"t","payload":{{}},"ttl":{ttl}}}"#);
        let response = server.post(ONE, body);
        assert_eq!(response.status, 201, "{ttl}: {response:?}");
    }
}

#[test]
fn one_invalid_message_keeps_a_whole_bulk_from_being_published() {
    with_workers(|workers| {
        let server = Server::start(&["--workers", workers]);
        let mut client = Client::subscribed(server.addr(), &["t"]);
        let mut messages = vec![json!({"topic": "t", "payload": {"n": 1}}); 99];
        messages.push(json!({"topic": "t", "payload": []}));
        let refused = server.post(BULK, json!({"messages": messages}).to_string());
        refused.assert_error(422, "VALIDATION_ERROR");
        client.assert_quiet();
        let answer = server.publish("t", &json!({}));
        assert_eq!(client.read_json()["message_id"], answer["message_id"]);
    });
}

#[test]
fn messages_of_one_bulk_stay_together_in_order() {
    with_workers(|workers| {
        let server = Server::start(&["--workers", workers]);
        let address = server.addr();
        let mut client = Client::subscribed(address, &["t"]);
        std::thread::scope(|scope| {
            for publisher in 0..4 {
                scope.spawn(move || {
                    let mut http = Http::open(address);
                    for bulk in 0..10 {
                        let message = |n| {
                            let payload = json!({"publisher": publisher, "bulk": bulk, "n": n});
                            json!({"topic": "t", "payload": payload})
                        };
                        let messages: Vec<Value> = (0..20).map(message).collect();
                        let body = json!({"messages": messages}).to_string();
                        assert_eq!(http.post(BULK, body).status, 207);
                    }
                });
            }
        });
        for _ in 0..40 {
            let first = client.read_json()["payload"].clone();
            assert_eq!(
                first["n"], 0,
                "a bulk begins with its first message: {first}"
            );
            for n in 1..20 {
                let mut wanted = first.clone();
                wanted["n"] = json!(n);
                assert_eq!(client.read_json()["payload"], wanted);
            }
        }
    });
}

#[test]
fn a_message_whose_ttl_ran_out_is_not_replayed_and_is_no_gap() {
    with_workers(|workers| {
        let server = Server::start(&["--workers", workers]);
        let publish = |ttl: Value, n: u32| {
            let message = json!({"topic": "t", "payload": {"n": n}, "ttl": ttl});
            text(&server.publish_message(&message)["message_id"])
        };
        let before = publish(Value::Null, 0);
        let began = Instant::now();
        publish(json!(1), 1);
        let after = publish(json!(600), 2);

        let kept = |offset: &str| {
            let (mut client, reply) = Client::subscribed_from(server.addr(), &["t"], offset);
            assert_eq!(reply["recovered"], json!({"t": true}), "{reply}");
            let mut numbers = Vec::new();
            loop {
                let message = client.read_json();
                assert_eq!(message["type"], "message", "{message}");
                numbers.push(message["payload"]["n"].as_u64());
                if message["message_id"] == after.as_str() {
                    client.assert_quiet();
                    return numbers;
                }
            }
        };
        if kept("earliest") == [Some(0), Some(2)] {
            assert!(
                began.elapsed() >= Duration::from_secs(1),
                "it ran out too early"
            );
        }
        wait_until("the message expires", DEADLINE, || {
            kept("earliest") == [Some(0), Some(2)]
        });
        assert_eq!(kept(&before), [Some(2)]);
        assert!(
            began.elapsed() >= Duration::from_secs(1),
            "it ran out too early"
        );
    });
}

fn assert_message_id(id: &Value) {
    let id = id.as_str().expect("message_id is a string");
    let rest = id
        .strip_prefix("msg_")
        .expect("message ids begin with msg_");
    assert_eq!(rest.len(), 30, "{id}");
    assert!(
        rest.bytes()
            .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'v')),
        "{id}"
    );
}

fn assert_timestamp(timestamp: &Value) {
    let timestamp = timestamp.as_str().expect("timestamp is a string");
    let shape: String = timestamp
        .chars()
        .map(|c| if c.is_ascii_digit() { '0' } else { c })
        .collect();
    assert_eq!(shape, "0000-00-00T00:00:00.000000Z", "{timestamp}");
}

fn text(value: &Value) -> String {
    value.as_str().expect("a string").to_owned()
}
