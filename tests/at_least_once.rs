//! Consumers that are owed each message until they acknowledge it (SPEC section 5, DESIGN "Delivery
//! modes"): where each goes on, how much it holds, on which connection and transport, and how many
//! there may be.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use test_util::owed::{
    Death, Delivery, Lines, Owed, first_attempts, post_ack, publish_numbers, subscribe,
};
use test_util::wire::{CLOSE, FIN, TEXT};
use test_util::{Client, DEADLINE, Event, Http, Server, Wire, assert_keys, everywhere};

/// The shortest `ack_timeout`, and how much earlier a clock may show it.
const TIMEOUT: Duration = Duration::from_secs(1);
const EARLY: Duration = Duration::from_millis(20);

#[test]
fn a_delivery_says_which_it_is() {
    everywhere(|place| {
        let server = place.start(&[]);
        let mut owed = Owed::connect(server.addr(), "c", "t", &json!({}));
        let reply = owed.subscribed();
        let keys = [
            "type",
            "topics",
            "session_id",
            "timestamp",
            "positions",
            "recovered",
        ];
        assert_keys(reply, &keys);
        assert!(reply["positions"]["t"].is_string(), "{reply}");
        assert_eq!(reply["recovered"], json!({"t": true}));

        let metadata = json!({"a": "b"});
        let answer = server.publish_message(
            &json!({"topic": "t", "payload": {"x": [1.50]}, "metadata": metadata}),
        );
        let message = owed.next_event();
        let fields = ["topic", "message_id", "payload", "timestamp", "metadata"];
        assert_keys(
            &message,
            &[&["type", "delivery_attempt"], &fields[..]].concat(),
        );
        assert_eq!(message["delivery_attempt"], 1);
        assert_eq!(message["payload"].to_string(), r#"{"x":[1.5]}"#);
        assert_eq!(message["metadata"], metadata);
        for field in ["message_id", "topic", "timestamp"] {
            assert_eq!(message[field], answer[field]);
        }
        let mut plain = Client::subscribed(server.addr(), &["t"]);
        server.publish("t", &json!({}));
        assert_eq!(plain.read_json().get("delivery_attempt"), None);
    });
}

#[test]
fn the_payload_comes_as_it_was_sent() {
    let server = Server::start(&[]);
    let mut owed = Owed::connect(server.addr(), "c", "t", &json!({}));
    let payload = r#"{"z":1e2,"a":1.50,"u":"\u00e9","d":[ ]}"#;
    server.post(
        "/api/v1/messages",
        format!(r#"{{"topic":"t","payload":{payload}}}"#),
    );
    let text = owed.client().read_text();
    assert!(
        text.contains(r#""z":1e2,"a":1.50,"u":"\u00e9","d":["#),
        "{text}"
    );
}

#[test]
fn a_new_consumer_starts_where_it_asks() {
    everywhere(|place| {
        let server = place.start(&[]);
        let ids = publish_numbers(&server, "t", 0..5);
        let from = |client: &str, offset: &str| {
            Owed::connect(server.addr(), client, "t", &json!({"offset": offset}))
        };
        let mut all = from("all", "earliest");
        assert_eq!(all.take(5), first_attempts(0..5));
        let mut some = from("some", &ids[2]);
        assert_eq!(some.take(2), first_attempts(3..5));
        let mut none = from("none", "last");
        none.assert_quiet();
        publish_numbers(&server, "t", [5]);
        for owed in [&mut all, &mut some, &mut none] {
            assert_eq!(owed.take(1), [(5, 1)]);
        }
    });
}

#[test]
fn a_durable_position_beats_the_offset_unless_it_is_reset() {
    everywhere(|place| {
        let server = place.start(&[]);
        let ids = publish_numbers(&server, "t", 0..5);
        let earliest = json!({"offset": "earliest"});
        let mut owed = Owed::connect(server.addr(), "c", "t", &earliest);
        assert_eq!(owed.take(5), first_attempts(0..5));
        owed.settle(&[&ids[0], &ids[1], &ids[3]]);
        owed.die(Death::Close);
        publish_numbers(&server, "t", [5]);

        for (offset, attempt) in [("last", 2), ("earliest", 3), (ids[4].as_str(), 4)] {
            let mut owed = Owed::connect(server.addr(), "c", "t", &json!({"offset": offset}));
            assert_eq!(owed.subscribed()["recovered"]["t"], true);
            let mut came = owed.take(3);
            came.sort_unstable();
            assert_eq!(came, [(2, attempt), (4, attempt), (5, attempt - 1)]);
            owed.assert_quiet();
            owed.die(Death::Close);
        }
        let again = json!({"offset": "earliest", "reset": true});
        let mut owed = Owed::connect(server.addr(), "c", "t", &again);
        assert_eq!(owed.take(6), first_attempts(0..6));
        owed.die(Death::Close);
        let fields = json!({"offset": "last", "reset": true});
        let mut owed = Owed::connect(server.addr(), "c", "t", &fields);
        owed.assert_quiet();
        publish_numbers(&server, "t", [6]);
        assert_eq!(owed.take(1), [(6, 1)]);
    });
}

#[test]
fn each_client_and_each_topic_has_a_position_of_its_own() {
    everywhere(|place| {
        let server = place.start(&[]);
        let earliest = json!({"offset": "earliest"});
        let ids = publish_numbers(&server, "a", 0..2);
        publish_numbers(&server, "b", 10..12);
        let mut one = Owed::connect(server.addr(), "one", "a", &earliest);
        one.subscribe("one", "b", &earliest);
        let mut came = one.take(4);
        came.sort_unstable();
        assert_eq!(came, first_attempts([0, 1, 10, 11]));
        one.settle(&[&ids[0], &ids[1]]);
        one.die(Death::Reset);
        let mut other = Owed::connect(server.addr(), "other", "a", &earliest);
        assert_eq!(other.take(2), first_attempts(0..2));
        let mut one = Owed::connect(server.addr(), "one", "a", &earliest);
        one.assert_quiet();
        one.subscribe("one", "b", &earliest);
        assert_eq!(one.take(2), [(10, 2), (11, 2)]);
    });
}

#[test]
fn the_window_bounds_what_is_not_acknowledged() {
    everywhere(|place| {
        let server = place.start(&[]);
        let mut owed = Owed::connect(server.addr(), "c", "t", &json!({"window": 3}));
        let ids = publish_numbers(&server, "t", 0..10);
        assert_eq!(owed.take(3), first_attempts(0..3));
        owed.assert_quiet();
        owed.ack(&ids[1]);
        assert_eq!(owed.take(1), [(3, 1)]);
        owed.assert_quiet();
        owed.settle(&[&ids[0], &ids[2], &ids[3]]);
        assert_eq!(owed.take(3), first_attempts(4..7));
        owed.assert_quiet();
        owed.confirm(&json!({"message_id": ids[6], "cumulative": true}));
        assert_eq!(owed.take(3), first_attempts(7..10));
        owed.settle(&[&ids[7], &ids[8], &ids[9]]);
        publish_numbers(&server, "t", 10..12);
        assert_eq!(owed.take(2), first_attempts(10..12));
    });
}

#[test]
fn a_long_history_comes_in_order_through_a_small_window() {
    everywhere(|place| {
        let server = place.start(&[]);
        let ids = publish_numbers(&server, "t", 0..3000);
        let fields = json!({"offset": "earliest", "window": 70});
        let mut owed = Owed::connect(server.addr(), "c", "t", &fields);
        for number in 0..3000 {
            assert_eq!(owed.next_message().numbered(), (number, 1));
            owed.ack(&ids[number as usize]);
        }
        owed.assert_quiet();
        place.wait_for_pending(&server, 0);
    });
}

#[test]
fn a_newer_connection_takes_over() {
    everywhere(|place| {
        let server = place.start(&[]);
        let mut owed = Owed::connect(server.addr(), "c", "t", &json!({}));
        owed.subscribe("c", "beside", &json!({}));
        publish_numbers(&server, "t", [0]);
        // Often enough that each worker has its turn on either side.
        for attempt in 1..=10 {
            assert_eq!(owed.take(1), [(0, attempt)]);
            let mut newer = Owed::connect(server.addr(), "c", "t", &json!({}));
            assert_eq!(owed.client().expect_close(), Some(4010));
            assert_eq!(owed.client().next(DEADLINE), Event::Gone);
            std::mem::swap(&mut owed, &mut newer);
        }
        server.wait_for_metric("proxy_takeovers_total", &[], 10.0);
        server.wait_for_metric("proxy_redeliveries_total", &[], 10.0);
        let closed = [("reason", "replaced")];
        server.wait_for_metric("proxy_closed_connections_total", &closed, 10.0);
        server.wait_for_metric("proxy_websocket_connections_active", &[], 1.0);
    });
}

#[test]
fn a_replaced_connection_is_told_so() {
    everywhere(|place| {
        let server = place.start(&[]);
        let mut wire = Wire::connect(server.addr());
        let text = subscribe("c", "t", &json!({})).to_string();
        wire.send(TEXT | FIN, text.as_bytes());
        assert_eq!(wire.read_json()["type"], "subscribed");
        let mut newer = Owed::connect(server.addr(), "c", "t", &json!({}));
        let frame = wire.read().expect("a close frame");
        assert_eq!(frame.first, CLOSE | FIN, "{frame:?}");
        assert_eq!(frame.close_code(), Some(4010));
        assert_eq!(&frame.payload[2..], b"replaced");
        assert_eq!(wire.read(), None);
        publish_numbers(&server, "t", [0]);
        assert_eq!(newer.take(1), [(0, 1)]);
    });
}

#[test]
fn nobody_else_is_replaced() {
    everywhere(|place| {
        let server = place.start(&[]);
        let mut owed = Owed::connect(server.addr(), "c", "t", &json!({}));
        let mut other_client = Owed::connect(server.addr(), "d", "t", &json!({}));
        let mut other_topic = Owed::connect(server.addr(), "c", "u", &json!({}));
        let mut grouped = Owed::connect(server.addr(), "c", "t", &json!({"group": "g"}));
        let mut plain = Client::connect(server.addr());
        plain.subscribe(json!({"topics": ["t"], "client_id": "c"}));
        // A topic that is subscribed stays as it is, also for the same client once more.
        owed.subscribe("c", "t", &json!({"window": 1}));
        let ids = publish_numbers(&server, "t", 0..2);
        publish_numbers(&server, "u", 0..2);
        for owed in [&mut owed, &mut other_client, &mut other_topic, &mut grouped] {
            assert_eq!(owed.take(2), first_attempts(0..2));
        }
        assert_eq!(plain.read_json()["message_id"], *ids[0]);
        assert_eq!(server.metric("proxy_takeovers_total", &[]), 0.0);
    });
}

#[test]
fn the_place_to_go_on_at_is_behind_what_was_given() {
    everywhere(|place| {
        let server = place.start(&[]);
        let ids = publish_numbers(&server, "t", 0..3);
        let query = "topics=t&client_id=p&delivery_mode=at_least_once&since=earliest&timeout=0";
        for (limit, last) in [(2, 1), (1, 2)] {
            let answer = server.get(&format!("/api/v1/poll?{query}&limit={limit}"));
            assert_eq!(answer.json()["next_offset"], *ids[last], "{answer:?}");
        }
        let mut owed = Owed::connect(server.addr(), "c", "t", &json!({"offset": "earliest"}));
        assert_eq!(owed.take(3), first_attempts(0..3));
        let again = json!({"type": "subscribe", "topics": ["t"], "client_id": "c",
            "delivery_mode": "at_least_once"});
        owed.client().send(&again);
        let reply = owed.client().read_json();
        assert_eq!(reply["positions"]["t"], *ids[2], "{reply}");
    });
}

#[test]
fn a_poll_is_owed_what_it_was_given() {
    everywhere(|place| {
        let server = place.start(&[]);
        let first = publish_numbers(&server, "t", 0..3);
        let owed = "topics=t&client_id=c&delivery_mode=at_least_once&ack_timeout=1";
        let poll = |more: &str| poll(&server, &format!("{owed}&{more}"));

        let began = Instant::now();
        let came = poll(&format!("since={}&timeout=10", first[0]));
        assert_eq!(came, first_attempts(1..3));
        assert_eq!(
            poll("timeout=0"),
            [],
            "not before the timeout, though no connection holds it"
        );
        assert_eq!(poll("timeout=20"), [(1, 2), (2, 2)]);
        assert!(began.elapsed() + EARLY >= TIMEOUT, "{:?}", began.elapsed());

        let ack = json!({"message_ids": [first[1], first[2]], "client_id": "c"});
        assert_eq!(post_ack(server.addr(), &ack), (2, Vec::new()));
        assert_eq!(poll("timeout=2"), []);
        let next = publish_numbers(&server, "t", 3..8);
        assert_eq!(poll("timeout=10&limit=2"), first_attempts(3..5));
        assert_eq!(poll("timeout=10&limit=2"), first_attempts(5..7));
        let ack = json!({"message_ids": [next[3]], "client_id": "c", "cumulative": true});
        assert_eq!(post_ack(server.addr(), &ack).0, 4);
        assert_eq!(poll("timeout=10&limit=2"), first_attempts([7]));
        place.wait_for_pending(&server, 1);
    });
}

/// Number and attempt of each message that a poll is answered with.
fn poll(server: &Server, query: &str) -> Vec<(u64, u64)> {
    let response = server.get(&format!("/api/v1/poll?{query}"));
    assert_eq!(response.status, 200, "{response:?}");
    let answer = response.json();
    let messages = answer["messages"].as_array().expect("messages is a list");
    let numbered = |message: &Value| Delivery::of(message).numbered();
    messages.iter().map(numbered).collect()
}

#[test]
fn a_stream_is_owed_what_it_was_given() {
    everywhere(|place| {
        let server = place.start(&[]);
        let query = "topics=t&client_id=c&delivery_mode=at_least_once&ack_timeout=3600&window=2";
        let mut lines = Lines::open(server.addr(), query);
        let ids = publish_numbers(&server, "t", 0..4);
        let take = |lines: &mut Lines, count: usize| -> Vec<(u64, u64)> {
            (0..count)
                .map(|_| lines.next_message().numbered())
                .collect()
        };
        assert_eq!(take(&mut lines, 2), first_attempts(0..2));
        let ack = json!({"message_ids": [ids[0]], "client_id": "c"});
        assert_eq!(post_ack(server.addr(), &ack), (1, Vec::new()));
        assert_eq!(take(&mut lines, 1), first_attempts(2..3));
        for (attempt, death) in (2..).zip([Death::Reset, Death::Finish]) {
            let kept = lines.die(death);
            lines = Lines::open(server.addr(), query);
            assert_eq!(
                take(&mut lines, 2),
                [(1, attempt), (2, attempt)],
                "{death:?}"
            );
            drop(kept);
        }
        // A stream and a WebSocket are the same consumer.
        let mut owed = Owed::connect(server.addr(), "c", "t", &json!({}));
        lines.expect_end();
        assert_eq!(owed.take(3), [(1, 4), (2, 4), (3, 1)]);
        let mut lines = Lines::open(server.addr(), query);
        assert_eq!(owed.client().expect_close(), Some(4010));
        assert_eq!(take(&mut lines, 2), [(1, 5), (2, 5)]);
        // Also counted are those that came back before their old connection was known to be gone.
        assert!(server.metric("proxy_takeovers_total", &[]) >= 2.0);
    });
}

#[test]
fn consumers_are_bounded() {
    everywhere(|place| {
        let server = place.start(&["--consumers-max", "3"]);
        let mut first = Owed::connect(server.addr(), "a", "t", &json!({}));
        let _second = Owed::connect(server.addr(), "b", "t", &json!({"group": "g"}));
        let _same_group = Owed::connect(server.addr(), "c", "t", &json!({"group": "g"}));
        let _third = Owed::connect(server.addr(), "d", "t", &json!({}));
        place.wait_for_consumers(&server, 3);

        let mut plain = Client::subscribed(server.addr(), &["u"]);
        plain.send(&subscribe("e", "t", &json!({})));
        let error = plain.read_json();
        assert_eq!(error["code"], "LIMIT_EXCEEDED", "{error}");
        let mut refused = Client::connect(server.addr());
        refused.send(&subscribe("e", "t", &json!({})));
        let error = refused.read_json();
        assert_eq!(error["code"], "SUBSCRIPTION_ERROR", "{error}");
        refused.expect_close();

        // Those that are there go on, and at most once has no such bound.
        Client::subscribed(server.addr(), &["t"]).assert_quiet();
        publish_numbers(&server, "t", [0]);
        assert_eq!(first.take(1), [(0, 1)]);
        first.die(Death::Close);
        let mut again = Owed::connect(server.addr(), "a", "t", &json!({}));
        assert_eq!(again.take(1), [(0, 2)]);
    });
}

#[test]
fn positions_of_those_that_stay_away_are_dropped() {
    everywhere(|place| {
        let server = place.start(&["--client-retention", "1"]);
        let mut stays = Owed::connect(server.addr(), "stays", "t", &json!({}));
        let mut leaves = Owed::connect(server.addr(), "leaves", "t", &json!({}));
        let ids = publish_numbers(&server, "t", 0..3);
        for owed in [&mut stays, &mut leaves] {
            assert_eq!(owed.take(3), first_attempts(0..3));
        }
        leaves.settle(&[&ids[0]]);
        place.wait_for_consumers(&server, 2);
        place.wait_for_pending(&server, 5);
        leaves.die(Death::Reset);
        place.wait_for_consumers(&server, 1);
        place.wait_for_pending(&server, 3);
        stays.settle(&[&ids[0], &ids[1], &ids[2]]);

        let mut back = Owed::connect(server.addr(), "leaves", "t", &json!({}));
        back.assert_quiet();
        publish_numbers(&server, "t", [3]);
        assert_eq!(back.take(1), [(3, 1)]);
        assert_eq!(stays.take(1), [(3, 1)]);
    });
}

#[test]
fn a_consumer_of_an_empty_topic_is_remembered() {
    everywhere(|place| {
        let server = place.start(&[]);
        let owed = Owed::connect(server.addr(), "c", "t", &json!({}));
        owed.die(Death::Close);
        server.wait_for_metric("proxy_websocket_connections_active", &[], 0.0);
        publish_numbers(&server, "t", 0..2);
        let mut owed = Owed::connect(server.addr(), "c", "t", &json!({}));
        assert_eq!(owed.take(2), first_attempts(0..2));
    });
}

#[test]
fn a_topic_with_much_to_read_does_not_starve_another() {
    everywhere(|place| {
        let server = place.start(&["--outbox-bytes-max", "64KiB", "--max-message-size", "32KiB"]);
        for first in (0..3000).step_by(100) {
            publish_numbers(&server, "busy", first..first + 100);
        }
        publish_numbers(&server, "calm", [0]);
        let mut client = Client::connect(server.addr());
        client.send(&json!({
            "type": "subscribe", "topics": ["busy", "calm"], "client_id": "c",
            "offset": "earliest", "delivery_mode": "at_least_once", "window": 10_000,
        }));
        let mut before = 0;
        loop {
            let event = client.read_json();
            if event["topic"] == "calm" {
                break;
            }
            before += usize::from(event["topic"] == "busy");
        }
        assert!(before < 1000, "came behind {before} others");
    });
}

#[test]
fn a_poll_of_many_topics_takes_no_more_than_its_answer_may_hold() {
    const TOPICS: usize = 8;
    let server = Server::start(&["--outbox-bytes-max", "64KiB", "--max-message-size", "48KiB"]);
    let topics: Vec<String> = (0..TOPICS).map(|index| format!("t{index}")).collect();
    for topic in &topics {
        server.publish(topic, &json!({"padding": "x".repeat(40_000)}));
    }
    let (mut http, mut came) = (Http::open(server.addr()), 0);
    while came < TOPICS {
        let query = format!(
            "topics={}&since=earliest&client_id=c&delivery_mode=at_least_once&limit=100&timeout=1",
            topics.join(",")
        );
        let response = http.get(&format!("/api/v1/poll?{query}"));
        let bytes = response.body.len();
        assert!(bytes < 96 * 1024, "{bytes} bytes");
        let answer = response.json();
        let messages = answer["messages"].as_array().unwrap().len();
        assert!(messages > 0, "{answer}");
        came += messages;
        assert_eq!(answer["has_more"], came < TOPICS);
    }
}
