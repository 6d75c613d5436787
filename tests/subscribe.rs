//! The conversation over `/ws`: subscribing, resuming, errors, and what keeps the connection.

use std::time::{Duration, Instant, SystemTime};

use serde_json::{Value, json};
use test_util::{Client, DEADLINE, Event, Server, assert_keys, with_workers};

#[test]
fn a_plain_subscribe_is_answered_with_four_fields() {
    with_workers(|workers| {
        let server = Server::start(&["--workers", workers]);
        let mut client = Client::connect(server.addr());
        let reply = client.subscribe(json!({"topics": ["b", "a"]}));
        assert_keys(&reply, &["type", "topics", "session_id", "timestamp"]);
        assert_eq!(reply["topics"], json!(["b", "a"]), "as asked");
        let session = text(&reply["session_id"]);
        assert!(
            session.starts_with("sess_") && session.len() > 5,
            "{session}"
        );
        assert_eq!(
            text(&reply["timestamp"]).len(),
            "2026-01-31T12:00:00.123456Z".len()
        );

        let again = client.subscribe(json!({"topics": ["c"]}));
        assert_eq!(
            again["session_id"], reply["session_id"],
            "a session is a connection"
        );
        let other = Client::connect(server.addr()).subscribe(json!({"topics": ["a"]}));
        assert_ne!(other["session_id"], reply["session_id"]);
    });
}

#[test]
fn the_first_message_may_leave_out_its_type() {
    let server = Server::start(&[]);
    let mut client = Client::connect(server.addr());
    client.send(&json!({"topics": ["t"], "client_id": "c", "unknown": {"x": 1}}));
    assert_eq!(client.read_json()["type"], "subscribed");
    server.publish("t", &json!({"n": 1}));
    assert_eq!(client.read_json()["payload"], json!({"n": 1}));
}

#[test]
fn a_bad_first_message_ends_the_connection() {
    let server = Server::start(&[]);
    let topics: Vec<String> = (0..51).map(|n| format!("t{n}")).collect();
    let cases = [
        json!([]),
        json!({}),
        json!({"type": "ping"}),
        json!({"type": "unsubscribe", "topics": ["t"]}),
        json!({"type": "ack", "message_id": "msg_x"}),
        json!({"type": "nonsense", "topics": ["t"], "client_id": "c"}),
        json!({"type": "subscribe", "topics": ["t"]}),
        json!({"type": "subscribe", "client_id": "c"}),
        json!({"type": "subscribe", "topics": [], "client_id": "c"}),
        json!({"type": "subscribe", "topics": topics, "client_id": "c"}),
        json!({"type": "subscribe", "topics": "t", "client_id": "c"}),
        json!({"type": "subscribe", "topics": [1], "client_id": "c"}),
        json!({"type": "subscribe", "topics": ["a b"], "client_id": "c"}),
        json!({"type": "subscribe", "topics": ["t"], "client_id": ""}),
        json!({"type": "subscribe", "topics": ["t"], "client_id": 5}),
        json!({"type": "subscribe", "topics": ["t"], "client_id": "c".repeat(256)}),
        json!({"type": "subscribe", "topics": ["t"], "client_id": "c", "offset": 5}),
        json!({"type": "subscribe", "topics": ["t"], "client_id": "c", "offset": "yesterday"}),
        json!({"type": "subscribe", "topics": ["t"], "client_id": "c", "offset": "msg_1"}),
        json!({"type": "subscribe", "topics": ["t"], "client_id": "c", "on_lag": "panic"}),
        json!({"type": "subscribe", "topics": ["t"], "client_id": "c",
               "delivery_mode": "exactly_once"}),
        json!({"type": "subscribe", "topics": ["t"], "client_id": "c", "group": ""}),
    ];
    let texts = cases.iter().map(Value::to_string);
    for text in texts.chain(["".to_owned(), "nonsense".to_owned(), "{".to_owned()]) {
        let mut client = Client::connect(server.addr());
        client.send_text(&text);
        assert_refused(&mut client, &text);
    }
    let mut client = Client::connect(server.addr());
    client.send_binary(br#"{"type":"subscribe","topics":["t"],"client_id":"c"}"#);
    assert_refused(&mut client, "a binary frame");
}

#[test]
fn the_first_subscribe_is_due_within_ten_seconds() {
    let server = Server::start(&[]);
    let began = Instant::now();
    let mut client = Client::connect(server.addr());
    let error = client.read_json();
    assert_eq!(error["code"], "SUBSCRIPTION_ERROR", "{error}");
    assert!(
        began.elapsed() >= Duration::from_secs(9),
        "{:?}",
        began.elapsed()
    );
    assert!(
        began.elapsed() < Duration::from_secs(15),
        "{:?}",
        began.elapsed()
    );
    client.expect_close();
    assert_eq!(client.next(DEADLINE), Event::Gone);
}

#[test]
fn later_subscribes_add_topics() {
    with_workers(|workers| {
        let server = Server::start(&["--workers", workers]);
        let mut client = Client::subscribed(server.addr(), &["a"]);
        client.subscribe(json!({"topics": ["b", "a"]}));
        for topic in ["a", "b", "a"] {
            server.publish(topic, &json!({}));
            assert_eq!(client.read_json()["topic"], topic);
        }
        client.assert_quiet();
    });
}

#[test]
fn a_topic_named_twice_counts_once() {
    let server = Server::start(&[]);
    let mut client = Client::subscribed(server.addr(), &["a", "a"]);
    server.publish("a", &json!({}));
    assert_eq!(client.read_json()["topic"], "a");
    client.assert_quiet();
}

#[test]
fn a_topic_already_subscribed_stays_as_it_is() {
    let server = Server::start(&[]);
    server.publish("a", &json!({"n": 1}));
    let mut client = Client::subscribed(server.addr(), &["a"]);
    client.subscribe(json!({"topics": ["a"], "offset": "earliest"}));
    client.assert_quiet();
}

#[test]
fn unsubscribing_leaves_the_connection_open() {
    with_workers(|workers| {
        let server = Server::start(&["--workers", workers]);
        let mut client = Client::subscribed(server.addr(), &["a", "b"]);
        client.send(&json!({"type": "unsubscribe", "topics": ["a", "never-subscribed"]}));
        let reply = client.read_json();
        assert_eq!(reply["type"], "unsubscribed", "{reply}");
        assert!(reply["topics"].is_array(), "{reply}");
        server.publish("a", &json!({}));
        server.publish("b", &json!({}));
        assert_eq!(client.read_json()["topic"], "b");

        client.send(&json!({"type": "unsubscribe", "topics": ["b"]}));
        let reply = client.read_json();
        assert_eq!(
            (&reply["type"], &reply["topics"]),
            (&json!("unsubscribed"), &json!(["b"]))
        );
        server.publish("b", &json!({}));
        client.assert_quiet();
        client.subscribe(json!({"topics": ["a"]}));
        server.publish("a", &json!({"again": true}));
        assert_eq!(client.read_json()["payload"], json!({"again": true}));
    });
}

#[test]
fn a_ping_is_answered_with_the_time() {
    let server = Server::start(&[]);
    let mut client = Client::subscribed(server.addr(), &["t"]);
    client.send(&json!({"type": "ping"}));
    let pong = client.read_json();
    assert_keys(&pong, &["type", "timestamp"]);
    assert_eq!(pong["type"], "pong");
}

#[test]
fn an_ack_is_accepted_silently() {
    let server = Server::start(&[]);
    let mut client = Client::subscribed(server.addr(), &["t"]);
    server.publish("t", &json!({}));
    let id = client.read_json()["message_id"].clone();
    client.send(&json!({"type": "ack", "message_id": id}));
    client.send(&json!({"type": "ack", "message_id": "msg_unknown"}));
    client.assert_quiet();
}

#[test]
fn errors_after_the_first_message_keep_the_connection() {
    let server = Server::start(&[]);
    let mut client = Client::subscribed(server.addr(), &["t"]);
    let many: Vec<String> = (0..51).map(|n| format!("t{n}")).collect();
    let cases = [
        (json!({"type": "nonsense"}), "UNKNOWN_MESSAGE_TYPE"),
        (json!({"type": "nack", "message_id": 5}), "PROCESSING_ERROR"),
        (json!({"type": "auth", "token": ""}), "PROCESSING_ERROR"),
        (json!({"type": "Ping"}), "UNKNOWN_MESSAGE_TYPE"),
        (json!({"type": "message"}), "UNKNOWN_MESSAGE_TYPE"),
        (json!([1]), "PROCESSING_ERROR"),
        (json!("ping"), "PROCESSING_ERROR"),
        (json!(null), "PROCESSING_ERROR"),
        (json!({"type": "ack"}), "PROCESSING_ERROR"),
        (json!({"type": "ack", "message_id": 5}), "PROCESSING_ERROR"),
        (json!({"type": "unsubscribe"}), "PROCESSING_ERROR"),
        (
            json!({"type": "unsubscribe", "topics": []}),
            "PROCESSING_ERROR",
        ),
        (
            json!({"type": "unsubscribe", "topics": "t"}),
            "PROCESSING_ERROR",
        ),
        (
            json!({"type": "subscribe", "topics": ["a"]}),
            "PROCESSING_ERROR",
        ),
        (
            json!({"type": "subscribe", "topics": [], "client_id": "c"}),
            "PROCESSING_ERROR",
        ),
        (
            json!({"type": "subscribe", "topics": many, "client_id": "c"}),
            "PROCESSING_ERROR",
        ),
        (
            json!({"type": "subscribe", "topics": ["a b"], "client_id": "c"}),
            "PROCESSING_ERROR",
        ),
        (
            json!({"type": "subscribe", "topics": ["a"], "client_id": "c", "on_lag": 1}),
            "PROCESSING_ERROR",
        ),
        (
            json!({"type": "subscribe", "topics": ["a"], "client_id": "c", "group": ""}),
            "PROCESSING_ERROR",
        ),
        (
            json!({"type": "subscribe", "topics": ["a"], "client_id": "c",
                   "delivery_mode": "exactly_once"}),
            "PROCESSING_ERROR",
        ),
        (
            json!({"type": "subscribe", "topics": ["a"], "client_id": "c", "offset": "soon"}),
            "SUBSCRIPTION_ERROR",
        ),
    ];
    for (message, code) in cases {
        client.send(&message);
        assert_error(&client.read_json(), code, &message.to_string());
    }
    for text in [
        "",
        "{",
        "nonsense",
        "{\"type\":\"ping\"} x",
        "{\"type\":NaN}",
    ] {
        client.send_text(text);
        assert_error(&client.read_json(), "PROCESSING_ERROR", text);
    }
    client.send_binary(br#"{"type":"ping"}"#);
    assert_error(&client.read_json(), "PROCESSING_ERROR", "a binary frame");

    server.publish("a", &json!({}));
    client.assert_quiet();
    server.publish("t", &json!({"n": 1}));
    assert_eq!(client.read_json()["payload"], json!({"n": 1}));
}

#[test]
fn an_unknown_type_is_named() {
    let server = Server::start(&[]);
    let mut client = Client::subscribed(server.addr(), &["t"]);
    client.send(&json!({"type": "dance"}));
    assert_eq!(client.read_json()["message"], "Unknown message type: dance");
}

#[test]
fn fifty_topics_in_one_subscribe_and_no_more_in_all_than_the_limit() {
    with_workers(|workers| {
        let server = Server::start(&["--workers", workers, "--subscriptions-max", "52"]);
        let topics: Vec<String> = (0..50).map(|n| format!("t{n}")).collect();
        let mut client = Client::connect(server.addr());
        let reply = client.subscribe(json!({"topics": topics}));
        assert_eq!(reply["topics"], json!(topics));
        client.subscribe(json!({"topics": ["x", "y", "t0"]}));
        client.send(&json!({"type": "subscribe", "topics": ["z"], "client_id": "c"}));
        assert_error(&client.read_json(), "LIMIT_EXCEEDED", "one over the limit");
        server.publish("z", &json!({}));
        client.assert_quiet();
        client.send(&json!({"type": "unsubscribe", "topics": ["x"]}));
        assert_eq!(client.read_json()["type"], "unsubscribed");
        client.subscribe(json!({"topics": ["z"]}));
        server.publish("z", &json!({"n": 1}));
        assert_eq!(client.read_json()["payload"], json!({"n": 1}));
    });
}

#[test]
fn last_means_after_the_subscribe() {
    with_workers(|workers| {
        let server = Server::start(&["--workers", workers]);
        for n in 0..5 {
            server.publish("t", &json!({"old": n}));
        }
        let mut first = Client::subscribed(server.addr(), &["t"]);
        server.publish("t", &json!({"n": 1}));
        let (mut second, reply) = Client::subscribed_from(server.addr(), &["t"], "last");
        assert_eq!(
            reply.get("positions"),
            None,
            "the default offset asks for nothing: {reply}"
        );
        server.publish("t", &json!({"n": 2}));
        assert_eq!(first.read_json()["payload"], json!({"n": 1}));
        assert_eq!(first.read_json()["payload"], json!({"n": 2}));
        assert_eq!(second.read_json()["payload"], json!({"n": 2}));
    });
}

#[test]
fn earliest_means_all_that_is_kept_and_then_live() {
    with_workers(|workers| {
        let server = Server::start(&["--workers", workers]);
        let ids: Vec<Value> = (0..600).map(|n| publish(&server, "t", n)).collect();
        let (mut client, reply) = Client::subscribed_from(server.addr(), &["t"], "earliest");
        assert_keys(
            &reply,
            &[
                "type",
                "topics",
                "session_id",
                "timestamp",
                "positions",
                "recovered",
            ],
        );
        assert_eq!(reply["recovered"], json!({"t": true}));
        assert!(text(&reply["positions"]["t"]) < text(&ids[0]), "{reply}");
        let live = publish(&server, "t", 600);
        for id in ids.iter().chain([&live]) {
            assert_eq!(client.read_json()["message_id"], *id);
        }
        client.assert_quiet();
    });
}

#[test]
fn a_message_id_means_those_after_it() {
    with_workers(|workers| {
        let server = Server::start(&["--workers", workers]);
        let ids: Vec<Value> = (0..10).map(|n| publish(&server, "t", n)).collect();
        let (mut client, reply) = Client::subscribed_from(server.addr(), &["t"], &text(&ids[3]));
        assert_eq!(reply["recovered"], json!({"t": true}));
        assert_eq!(reply["positions"], json!({"t": ids[3]}));
        let live = publish(&server, "t", 10);
        for id in ids[4..].iter().chain([&live]) {
            assert_eq!(client.read_json()["message_id"], *id);
        }
        let (mut newest, reply) = Client::subscribed_from(server.addr(), &["t"], &text(&live));
        assert_eq!(reply["recovered"], json!({"t": true}));
        newest.assert_quiet();
    });
}

#[test]
fn a_message_id_applies_to_each_topic_by_its_position() {
    with_workers(|workers| {
        let server = Server::start(&["--workers", workers]);
        let mut ids = Vec::new();
        for topic in ["a", "b", "a", "b"] {
            ids.push(publish(&server, topic, ids.len()));
            until_the_next_millisecond();
        }
        let (mut client, _) = Client::subscribed_from(server.addr(), &["a", "b"], &text(&ids[1]));
        let mut found = [client.read_json(), client.read_json()].map(|m| m["message_id"].clone());
        found.sort_by_key(|id| ids.iter().position(|other| other == id));
        assert_eq!(found, [ids[2].clone(), ids[3].clone()]);
        client.assert_quiet();
    });
}

#[test]
fn an_id_older_than_what_is_kept_is_answered_with_a_gap() {
    with_workers(|workers| {
        let server = Server::start(&["--workers", workers, "--max-messages-per-topic", "5"]);
        let ids: Vec<Value> = (0..10).map(|n| publish(&server, "t", n)).collect();
        let (mut client, reply) = Client::subscribed_from(server.addr(), &["t"], &text(&ids[1]));
        assert_eq!(reply["recovered"], json!({"t": false}), "{reply}");
        let gap = client.read_json();
        let wanted = json!({
            "type": "gap", "topic": "t", "from": ids[1], "to": ids[4], "reason": "trimmed",
        });
        assert_eq!(gap, wanted);
        for id in &ids[5..] {
            assert_eq!(client.read_json()["message_id"], *id);
        }
        client.assert_quiet();

        let (mut client, reply) = Client::subscribed_from(server.addr(), &["t"], &text(&ids[4]));
        assert_eq!(
            reply["recovered"],
            json!({"t": true}),
            "nothing after it is lost: {reply}"
        );
        assert_eq!(client.read_json()["message_id"], ids[5]);

        let (mut client, reply) = Client::subscribed_from(server.addr(), &["t"], "earliest");
        assert_eq!(
            reply["recovered"],
            json!({"t": true}),
            "earliest asks for what is kept"
        );
        assert_eq!(client.read_json()["message_id"], ids[5]);
    });
}

#[test]
fn a_gap_names_its_own_topic_also_behind_the_id_of_another() {
    let server = Server::start(&["--max-messages-per-topic", "1"]);
    let id = text(&publish(&server, "a", 0));
    until_the_next_millisecond();
    let of_b: Vec<Value> = (0..3).map(|n| publish(&server, "b", n)).collect();
    let (mut client, _) = Client::subscribed_from(server.addr(), &["b"], &id);
    let from = format!("{}{}", &id[..22], &text(&of_b[0])[22..]);
    let wanted = json!({
        "type": "gap", "topic": "b", "from": from, "to": of_b[1], "reason": "trimmed",
    });
    assert_eq!(client.read_json(), wanted);
    assert_eq!(client.read_json()["message_id"], of_b[2]);
}

#[test]
fn an_id_of_another_epoch_is_answered_with_a_gap_and_all_that_is_kept() {
    with_workers(|workers| {
        let server = Server::start(&["--workers", workers]);
        let ids: Vec<Value> = (0..3).map(|n| publish(&server, "t", n)).collect();
        let id = text(&ids[1]);
        let other_epoch = if &id[18..22] == "0000" {
            "1111"
        } else {
            "0000"
        };
        let foreign = format!("{}{other_epoch}{}", &id[..18], &id[22..]);
        let above_the_newest = format!("msg_v{}", &id[5..]);
        for offset in [foreign, above_the_newest] {
            let (mut client, reply) = Client::subscribed_from(server.addr(), &["t"], &offset);
            assert_eq!(reply["recovered"], json!({"t": false}), "{reply}");
            let gap = client.read_json();
            assert_eq!(gap["type"], "gap", "{gap}");
            assert_eq!(gap["reason"], "epoch_changed", "{gap}");
            for id in &ids {
                assert_eq!(client.read_json()["message_id"], *id);
            }
            client.assert_quiet();
        }
    });
}

#[test]
fn a_restart_is_another_epoch() {
    let mut server = Server::start(&[]);
    let old = publish(&server, "t", 0);
    assert_eq!(server.stop(), Some(0));
    let server = Server::start(&[]);
    let new = publish(&server, "t", 1);
    let (mut client, _) = Client::subscribed_from(server.addr(), &["t"], &text(&old));
    assert_eq!(client.read_json()["reason"], "epoch_changed");
    assert_eq!(client.read_json()["message_id"], new);
}

fn publish(server: &Server, topic: &str, n: usize) -> Value {
    server.publish(topic, &json!({"n": n}))["message_id"].clone()
}

/// Waits for the clock itself, since positions of different topics are ordered by it.
fn until_the_next_millisecond() {
    let began = SystemTime::now();
    while began
        .elapsed()
        .is_ok_and(|elapsed| elapsed < Duration::from_millis(2))
    {
        std::thread::yield_now();
    }
}

fn assert_refused(client: &mut Client, what: &str) {
    let error = client.read_json();
    assert_error(&error, "SUBSCRIPTION_ERROR", what);
    assert!(
        text(&error["message"]).starts_with("Failed to subscribe"),
        "{what}: {error}"
    );
    assert_eq!(client.expect_close(), Some(1000), "{what}");
    assert_eq!(client.next(DEADLINE), Event::Gone, "{what}");
}

fn assert_error(error: &Value, code: &str, what: &str) {
    assert_keys(error, &["type", "code", "message", "details"]);
    assert_eq!(error["type"], "error", "{what}: {error}");
    assert_eq!(error["code"], code, "{what}: {error}");
    assert!(
        error["message"]
            .as_str()
            .is_some_and(|text| !text.is_empty()),
        "{what}: {error}"
    );
    assert!(
        error["details"].is_null() || error["details"].is_object(),
        "{what}: {error}"
    );
}

fn text(value: &Value) -> String {
    value.as_str().expect("a string").to_owned()
}
