//! Acknowledgements over WebSocket and over `POST /api/v1/ack`: what counts, and what is said of what
//! does not (SPEC sections 5 and 7).

use serde_json::{Value, json};
use test_util::owed::{Owed, post_ack, publish_numbers};
use test_util::{Client, Http, Response, Server, everywhere};

const NOT_PENDING: &str = "NOT_PENDING";
const UNKNOWN: &str = "UNKNOWN";
/// An id of the right form that no server here gives out: its epoch is another one's.
const FOREIGN: &str = "msg_000000000000000000000000000000";

fn failures(failures: &[(&str, &str)]) -> Vec<(String, String)> {
    let owned = |(id, error): &(&str, &str)| ((*id).to_owned(), (*error).to_owned());
    failures.iter().map(owned).collect()
}

#[test]
fn a_confirmed_ack_tells_what_counted() {
    everywhere(|place| {
        let server = place.start(&[]);
        let mut owed = Owed::connect(server.addr(), "c", "t", &json!({"window": 5}));
        let ids = publish_numbers(&server, "t", 0..6);
        let id = |index: usize| ids[index].as_str();
        assert_eq!(owed.take(5).len(), 5);

        assert_eq!(
            owed.confirm(&json!({"message_id": ids[0]})),
            (1, Vec::new())
        );
        assert_eq!(owed.take(1), [(5, 1)]);
        let twice = owed.confirm(&json!({"message_id": ids[0]}));
        assert_eq!(twice, (0, failures(&[(id(0), NOT_PENDING)])));
        let some = json!({"message_ids": [ids[1], "nonsense", ids[0], FOREIGN, ids[3]]});
        let expected = failures(&[
            ("nonsense", UNKNOWN),
            (id(0), NOT_PENDING),
            (FOREIGN, UNKNOWN),
        ]);
        assert_eq!(owed.confirm(&some), (2, expected));
        let both = json!({"message_id": ids[2], "message_ids": [ids[4]]});
        assert_eq!(owed.confirm(&both), (2, Vec::new()));
        owed.assert_quiet();
        let count = |result| server.wait_for_metric("proxy_acks_total", &[("result", result)], 0.0);
        count("reassigned");
        for (result, value) in [
            ("acknowledged", 5.0),
            ("not_pending", 2.0),
            ("unknown", 2.0),
        ] {
            server.wait_for_metric("proxy_acks_total", &[("result", result)], value);
        }
        place.wait_for_pending(&server, 1);
    });
}

#[test]
fn an_ack_without_confirm_is_silent() {
    everywhere(|place| {
        let server = place.start(&[]);
        let mut owed = Owed::connect(server.addr(), "c", "t", &json!({}));
        let ids = publish_numbers(&server, "t", 0..3);
        assert_eq!(owed.take(3).len(), 3);
        owed.ack(&ids[0]);
        owed.ack(&ids[0]);
        owed.ack("nonsense");
        let quiet = json!({"type": "ack", "message_ids": [ids[1], ids[2]], "confirm": false});
        owed.client().send(&quiet);
        owed.assert_quiet();
        place.wait_for_pending(&server, 0);
    });
}

#[test]
fn what_was_not_delivered_is_not_pending() {
    everywhere(|place| {
        let server = place.start(&[]);
        let before = publish_numbers(&server, "t", [0]).remove(0);
        let mut owed = Owed::connect(server.addr(), "c", "t", &json!({"window": 1}));
        let ids = publish_numbers(&server, "t", 1..3);
        assert_eq!(owed.take(1), [(1, 1)]);
        let early = json!({"message_ids": [before, ids[1]]});
        let expected = failures(&[(&before, NOT_PENDING), (&ids[1], NOT_PENDING)]);
        assert_eq!(owed.confirm(&early), (0, expected));
        owed.settle(&[&ids[0]]);
        assert_eq!(owed.take(1), [(2, 1)], "an early ack settles nothing");
    });
}

#[test]
fn a_cumulative_ack_takes_all_before_it_in_its_topic() {
    everywhere(|place| {
        let server = place.start(&[]);
        let mut owed = Owed::connect(server.addr(), "c", "t", &json!({}));
        owed.subscribe("c", "u", &json!({}));
        let ids = publish_numbers(&server, "t", 0..6);
        publish_numbers(&server, "u", 10..12);
        assert_eq!(owed.take(8).len(), 8);
        owed.settle(&[&ids[1]]);
        let up_to = json!({"message_id": ids[3], "cumulative": true});
        assert_eq!(owed.confirm(&up_to), (3, Vec::new()));
        place.wait_for_pending(&server, 4);
        let rest = json!({"message_ids": [ids[5]], "cumulative": true});
        assert_eq!(owed.confirm(&rest), (2, Vec::new()));
        place.wait_for_pending(&server, 2);
    });
}

#[test]
fn an_ack_of_any_attempt_counts() {
    everywhere(|place| {
        let server = place.start(&[]);
        let mut owed = Owed::connect(server.addr(), "c", "t", &json!({"ack_timeout": 1}));
        let ids = publish_numbers(&server, "t", 0..2);
        assert_eq!(owed.take(4), [(0, 1), (1, 1), (0, 2), (1, 2)]);
        owed.settle(&[&ids[0], &ids[1]]);
        publish_numbers(&server, "t", [2]);
        assert_eq!(owed.take(2), [(2, 1), (2, 2)]);
    });
}

#[test]
fn an_ack_over_http_counts_for_the_client() {
    everywhere(|place| {
        let server = place.start(&[]);
        let mut owed = Owed::connect(server.addr(), "c", "t", &json!({"window": 2}));
        let mut other = Owed::connect(server.addr(), "d", "t", &json!({"window": 2}));
        let ids = publish_numbers(&server, "t", 0..6);
        assert_eq!(owed.take(2), [(0, 1), (1, 1)]);
        assert_eq!(other.take(2), [(0, 1), (1, 1)]);
        let ack = |client: &str, ids: &[&str]| {
            post_ack(
                server.addr(),
                &json!({"message_ids": ids, "client_id": client}),
            )
        };
        // From whatever worker the request comes, the consumer goes on at once.
        for (id, next) in ids[..4].iter().zip(2..) {
            assert_eq!(ack("c", &[id]), (1, Vec::new()));
            assert_eq!(owed.take(1), [(next, 1)]);
        }
        other.assert_quiet();
        let wrong = [ids[0].as_str(), ids[4].as_str(), FOREIGN, ""];
        let expected = failures(&[(&ids[0], NOT_PENDING), (FOREIGN, UNKNOWN), ("", UNKNOWN)]);
        assert_eq!(ack("c", &wrong), (1, expected));
        assert_eq!(
            ack("d", &[&ids[2]]),
            (0, failures(&[(&ids[2], NOT_PENDING)]))
        );
        let cumulative = json!({"message_ids": [ids[1]], "client_id": "d", "cumulative": true});
        assert_eq!(post_ack(server.addr(), &cumulative), (2, Vec::new()));
        assert_eq!(other.take(2), [(2, 1), (3, 1)]);
    });
}

#[test]
fn clients_without_state_acknowledge_what_is_kept() {
    everywhere(|place| {
        let server = place.start(&["--max-messages-per-topic", "2"]);
        let mut ids = Vec::new();
        for number in 0..4 {
            ids.extend(publish_numbers(&server, "t", [number]));
        }
        // Somebody else is owed messages of this topic.
        let _owed = Owed::connect(server.addr(), "c", "t", &json!({}));
        let body = json!({"message_ids": [ids[0], ids[2], "nonsense", FOREIGN, ids[3]]});
        let expected = failures(&[
            (&ids[0], UNKNOWN),
            ("nonsense", UNKNOWN),
            (FOREIGN, UNKNOWN),
        ]);
        assert_eq!(post_ack(server.addr(), &body), (2, expected.clone()));
        assert_eq!(
            post_ack(server.addr(), &body),
            (2, expected.clone()),
            "and once more"
        );
        for client in [json!("stranger"), json!(null)] {
            let mut body = body.clone();
            body["client_id"] = client;
            assert_eq!(post_ack(server.addr(), &body), (2, expected.clone()));
        }
        let mut plain = Client::subscribed(server.addr(), &["t"]);
        let mut ack = body;
        ack["type"] = "ack".into();
        ack["confirm"] = true.into();
        plain.send(&ack);
        let answer = plain.read_json();
        assert_eq!(
            (&answer["type"], &answer["acknowledged"]),
            (&json!("acked"), &json!(2))
        );
        assert_eq!(
            answer["failed"].as_array().map(Vec::len),
            Some(3),
            "{answer}"
        );
    });
}

#[test]
fn a_thousand_ids_are_acknowledged_at_once() {
    everywhere(|place| {
        let server = place.start(&[]);
        let mut owed = Owed::connect(server.addr(), "c", "t", &json!({"window": 2000}));
        let ids = publish_numbers(&server, "t", 0..2000);
        assert_eq!(owed.take(2000).len(), 2000);
        let half = json!({"message_ids": ids[..1000], "client_id": "c"});
        assert_eq!(post_ack(server.addr(), &half), (1000, Vec::new()));
        assert_eq!(
            owed.confirm(&json!({"message_ids": ids[1000..]})),
            (1000, Vec::new())
        );
        place.wait_for_pending(&server, 0);
    });
}

fn post(server: &Server, body: &str) -> Response {
    server.post("/api/v1/ack", body)
}

/// What is said to be wrong: type, place and text of each entry.
fn complaints(response: &Response) -> Vec<(Value, Value, Value)> {
    let body = response.assert_error(422, "VALIDATION_ERROR");
    let entries = body["detail"].as_array().expect("detail is a list");
    let entry = |entry: &Value| [&entry["type"], &entry["loc"], &entry["msg"]].map(Clone::clone);
    entries.iter().map(|it| entry(it).into()).collect()
}

#[test]
fn bad_requests_are_told_what_is_wrong() {
    let server = Server::start(&[]);
    let many = vec!["x"; 1001];
    let long = "c".repeat(256);
    let cases = [
        (
            json!({}),
            "missing",
            json!(["body", "message_ids"]),
            "Field required",
        ),
        (
            json!({"message_ids": "x"}),
            "list_type",
            json!(["body", "message_ids"]),
            "Input should be a valid list",
        ),
        (
            json!({"message_ids": null}),
            "list_type",
            json!(["body", "message_ids"]),
            "Input should be a valid list",
        ),
        (
            json!({"message_ids": []}),
            "too_short",
            json!(["body", "message_ids"]),
            "List should have at least 1 item after validation, not 0",
        ),
        (
            json!({"message_ids": many}),
            "too_long",
            json!(["body", "message_ids"]),
            "List should have at most 1000 items after validation, not 1001",
        ),
        (
            json!({"message_ids": ["x", 5]}),
            "string_type",
            json!(["body", "message_ids", 1]),
            "Input should be a valid string",
        ),
        (
            json!({"message_ids": ["x"], "client_id": 5}),
            "string_type",
            json!(["body", "client_id"]),
            "Input should be a valid string",
        ),
        (
            json!({"message_ids": ["x"], "client_id": ""}),
            "string_too_short",
            json!(["body", "client_id"]),
            "String should have at least 1 character",
        ),
        (
            json!({"message_ids": ["x"], "client_id": long}),
            "string_too_long",
            json!(["body", "client_id"]),
            "String should have at most 255 characters",
        ),
        (
            json!(["x"]),
            "model_attributes_type",
            json!(["body"]),
            "Input should be a valid dictionary or object to extract fields from",
        ),
    ];
    for (body, kind, place, text) in cases {
        let response = post(&server, &body.to_string());
        assert_eq!(
            complaints(&response),
            [(json!(kind), place, json!(text))],
            "{body}"
        );
    }
    for (body, kind) in [("", "missing"), ("{", "json_invalid")] {
        assert_eq!(complaints(&post(&server, body))[0].0, kind, "{body}");
    }
    let all = complaints(&post(
        &server,
        r#"{"message_ids":[1,"x",null],"client_id":[]}"#,
    ));
    let places: Vec<String> = all.iter().map(|(_, place, _)| place.to_string()).collect();
    let expected = [
        r#"["body","message_ids",0]"#,
        r#"["body","message_ids",2]"#,
        r#"["body","client_id"]"#,
    ];
    assert_eq!(places, expected);
}

#[test]
fn the_route_takes_posts_alone() {
    let server = Server::start(&[]);
    let mut http = Http::open(server.addr());
    for method in ["GET", "PUT", "DELETE"] {
        let response = http.request(method, "/api/v1/ack", &[], b"");
        response.assert_error(405, "METHOD_NOT_ALLOWED");
        assert_eq!(response.header("allow"), Some("POST"), "{method}");
    }
}
