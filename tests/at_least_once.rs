//! Messages that are owed until they are acknowledged (SPEC section 5, DESIGN "Delivery modes"): where
//! a consumer goes on, what comes again and when, and what does not.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use test_util::owed::{Death, Delivery, Lines, Owed, post_ack, publish_numbers, subscribe};
use test_util::wire::{CLOSE, FIN, TEXT};
use test_util::{Client, DEADLINE, Event, Server, Wire, assert_keys, with_workers};

/// The shortest `ack_timeout`, and how much earlier a clock may show it.
const TIMEOUT: Duration = Duration::from_secs(1);
const EARLY: Duration = Duration::from_millis(20);

#[test]
fn a_delivery_says_which_it_is() {
    with_workers(|workers| {
        let server = Server::start(&["--workers", workers]);
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
    with_workers(|workers| {
        let server = Server::start(&["--workers", workers]);
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
    with_workers(|workers| {
        let server = Server::start(&["--workers", workers]);
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
    with_workers(|workers| {
        let server = Server::start(&["--workers", workers]);
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
    with_workers(|workers| {
        let server = Server::start(&["--workers", workers]);
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
    with_workers(|workers| {
        let server = Server::start(&["--workers", workers]);
        let ids = publish_numbers(&server, "t", 0..3000);
        let fields = json!({"offset": "earliest", "window": 70});
        let mut owed = Owed::connect(server.addr(), "c", "t", &fields);
        for number in 0..3000 {
            assert_eq!(owed.next_message().numbered(), (number, 1));
            owed.ack(&ids[number as usize]);
        }
        owed.assert_quiet();
        server.wait_for_metric("proxy_pending_messages", &[], 0.0);
    });
}

#[test]
fn what_is_not_acknowledged_comes_again_after_the_timeout() {
    with_workers(|workers| {
        let server = Server::start(&["--workers", workers]);
        let mut owed = Owed::connect(server.addr(), "c", "t", &json!({"ack_timeout": 1}));
        let began = Instant::now();
        let ids = publish_numbers(&server, "t", 0..2);
        assert_eq!(owed.take(2), first_attempts(0..2));
        assert_eq!(owed.take(2), [(0, 2), (1, 2)]);
        assert!(began.elapsed() + EARLY >= TIMEOUT, "{:?}", began.elapsed());
        owed.settle(&[&ids[0]]);
        assert_eq!(owed.take(1), [(1, 3)]);
        assert!(
            began.elapsed() + EARLY >= 2 * TIMEOUT,
            "{:?}",
            began.elapsed()
        );
        assert!(began.elapsed() < DEADLINE, "{:?}", began.elapsed());
        owed.settle(&[&ids[1]]);
        // What is settled would have come before this one comes again.
        publish_numbers(&server, "t", [2]);
        assert_eq!(owed.take(2), [(2, 1), (2, 2)]);
    });
}

#[test]
fn a_lost_connection_gives_back_at_once() {
    with_workers(|workers| {
        let server = Server::start(&["--workers", workers]);
        for death in Death::ALL {
            // Once with the old connection known to be gone, and once in whatever order it comes.
            for is_gone in [true, false] {
                let topic = format!("{death:?}-{is_gone}");
                let mut owed = Owed::connect(server.addr(), "c", &topic, &json!({}));
                publish_numbers(&server, &topic, 0..2);
                assert_eq!(owed.take(2), first_attempts(0..2));
                let kept = owed.die(death);
                if is_gone {
                    server.wait_for_metric("proxy_websocket_connections_active", &[], 0.0);
                }
                let mut again = Owed::connect(server.addr(), "c", &topic, &json!({}));
                assert_eq!(again.take(2), [(0, 2), (1, 2)], "{topic}");
                again.die(Death::Close);
                drop(kept);
            }
        }
    });
}

#[test]
fn unsubscribing_gives_back_at_once() {
    with_workers(|workers| {
        let server = Server::start(&["--workers", workers]);
        let mut owed = Owed::connect(server.addr(), "c", "t", &json!({}));
        let ids = publish_numbers(&server, "t", 0..3);
        assert_eq!(owed.take(3), first_attempts(0..3));
        owed.settle(&[&ids[1]]);
        owed.unsubscribe("t");
        publish_numbers(&server, "t", [3]);
        owed.assert_quiet();
        owed.subscribe("c", "t", &json!({}));
        let mut came = owed.take(3);
        came.sort_unstable();
        assert_eq!(came, [(0, 2), (2, 2), (3, 1)]);
    });
}

#[test]
fn a_newer_connection_takes_over() {
    with_workers(|workers| {
        let server = Server::start(&["--workers", workers]);
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
    with_workers(|workers| {
        let server = Server::start(&["--workers", workers]);
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
    with_workers(|workers| {
        let server = Server::start(&["--workers", workers]);
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
fn a_nack_brings_the_message_again() {
    with_workers(|workers| {
        let server = Server::start(&["--workers", workers]);
        let mut owed = Owed::connect(server.addr(), "c", "t", &json!({}));
        let ids = publish_numbers(&server, "t", 0..3);
        assert_eq!(owed.take(3), first_attempts(0..3));
        owed.client()
            .send(&json!({"type": "nack", "message_id": ids[1]}));
        assert_eq!(owed.take(1), [(1, 2)]);
        let began = Instant::now();
        owed.nack(&ids[2], 0.5);
        owed.nack(&ids[0], 0.0);
        assert_eq!(owed.take(1), [(0, 2)]);
        assert_eq!(owed.take(1), [(2, 2)]);
        assert!(began.elapsed() + EARLY >= Duration::from_millis(500));
        // Of what is not pending nothing is said.
        owed.settle(&[&ids[0], &ids[1], &ids[2]]);
        owed.nack(&ids[0], 0.0);
        owed.nack("nonsense", 0.0);
        owed.assert_quiet();
        server.wait_for_metric("proxy_redeliveries_total", &[], 3.0);
        assert!(server.metric("proxy_nacks_total", &[]) >= 3.0);
    });
}

#[test]
fn what_was_put_off_can_still_be_acknowledged() {
    let server = Server::start(&[]);
    let mut owed = Owed::connect(server.addr(), "c", "t", &json!({}));
    let ids = publish_numbers(&server, "t", 0..2);
    assert_eq!(owed.take(2), first_attempts(0..2));
    owed.nack(&ids[0], 0.2);
    owed.nack(&ids[1], 0.4);
    owed.settle(&[&ids[0]]);
    assert_eq!(owed.take(1), [(1, 2)]);
}

#[test]
fn used_up_messages_are_dropped_and_counted() {
    with_workers(|workers| {
        let server = Server::start(&["--workers", workers]);
        let fields = json!({"max_deliveries": 2, "window": 1});
        let mut owed = Owed::connect(server.addr(), "c", "t", &fields);
        let ids = publish_numbers(&server, "t", 0..2);
        for attempt in [1, 2] {
            assert_eq!(owed.take(1), [(0, attempt)]);
            owed.nack(&ids[0], 0.0);
        }
        assert_eq!(owed.take(1), [(1, 1)]);
        let dropped = [("outcome", "dropped")];
        server.wait_for_metric("proxy_dead_letters_total", &dropped, 1.0);
        let (count, failed) = owed.confirm(&json!({"message_id": ids[0]}));
        assert_eq!((count, failed[0].1.as_str()), (0, "NOT_PENDING"));

        // A delivery counts also when its connection is lost.
        for attempt in [2, 3] {
            owed.die(Death::Reset);
            owed = Owed::connect(server.addr(), "c", "t", &fields);
            if attempt == 2 {
                assert_eq!(owed.take(1), [(1, 2)]);
            }
        }
        server.wait_for_metric("proxy_dead_letters_total", &dropped, 2.0);
        publish_numbers(&server, "t", [2]);
        assert_eq!(owed.take(1), [(2, 1)]);
        server.wait_for_metric("proxy_pending_messages", &[], 1.0);
    });
}

#[test]
fn used_up_messages_go_to_the_topic_for_dead_letters() {
    with_workers(|workers| {
        let server = Server::start(&["--workers", workers, "--dead-letter-topic", "dead"]);
        let mut dead = Client::subscribed(server.addr(), &["dead"]);
        let fields = json!({"ack_timeout": 1, "max_deliveries": 1});
        let mut owed = Owed::connect(server.addr(), "c", "t", &fields);
        let sent = [
            json!({"topic": "t", "payload": {"n": 0}, "metadata": {"a": "b\n\u{e9}"}}),
            json!({"topic": "t", "payload": {"n": 1}}),
        ];
        for message in &sent {
            let id = server.publish_message(message)["message_id"].clone();
            assert_eq!(owed.next_message().id, *id.as_str().expect("an id"));
            let letter = dead.read_json();
            assert_eq!(letter["topic"], "dead", "{letter}");
            assert_ne!(letter["message_id"], id, "{letter}");
            assert_eq!(letter["payload"], message["payload"], "{letter}");
            let mut metadata = json!({
                "dead_letter_topic": "t", "dead_letter_message_id": id, "dead_letter_attempts": "1",
            });
            if message["metadata"].is_object() {
                metadata["a"] = message["metadata"]["a"].clone();
            }
            assert_eq!(letter["metadata"], metadata);
        }
        owed.assert_quiet();
        let published = [("outcome", "published")];
        server.wait_for_metric("proxy_dead_letters_total", &published, 2.0);
        server.wait_for_metric("proxy_pending_messages", &[], 0.0);
        let (mut late, _) = Client::subscribed_from(server.addr(), &["dead"], "earliest");
        assert_eq!(
            late.read_json()["payload"],
            sent[0]["payload"],
            "kept like any message"
        );
    });
}

#[test]
fn what_the_history_drops_is_told_as_a_gap() {
    with_workers(|workers| {
        let server = Server::start(&["--workers", workers, "--max-messages-per-topic", "3"]);
        for is_live in [true, false] {
            let topic = if is_live { "live" } else { "late" };
            let fields = json!({"window": 2});
            let mut owed = Owed::connect(server.addr(), "c", topic, &fields);
            let start = owed.subscribed()["positions"][topic].clone();
            let mut ids = publish_numbers(&server, topic, 0..2);
            assert_eq!(owed.take(2), first_attempts(0..2));
            let mut kept = Some(owed);
            if !is_live {
                kept.take().map(|owed| owed.die(Death::Close));
            }
            for number in 2..10 {
                ids.extend(publish_numbers(&server, topic, [number]));
            }
            let mut owed = kept.unwrap_or_else(|| {
                let owed = Owed::connect(server.addr(), "c", topic, &fields);
                assert_eq!(owed.subscribed()["recovered"][topic], false);
                owed
            });
            let lost = gaps_up_to(&mut owed, topic, &ids[6]);
            assert!(*lost[0].0 >= *start.as_str().expect("an id"), "{lost:?}");
            for (index, id) in ids.iter().enumerate() {
                let is_told = lost.iter().any(|(from, to)| from < id && id <= to);
                assert_eq!(is_told, index < 7, "{index}: {lost:?}");
            }
            assert_eq!(owed.take(2), first_attempts(7..9), "the window is free");
            let gone = owed.confirm(&json!({"message_ids": [ids[0], ids[7]]}));
            assert_eq!(gone.0, 1, "{gone:?}");
            assert_eq!(owed.take(1), first_attempts([9]));
            owed.die(Death::Close);
        }
    });
}

/// The gaps of a topic up to the one that ends with `end`.
fn gaps_up_to(owed: &mut Owed, topic: &str, end: &str) -> Vec<(String, String)> {
    let mut gaps = Vec::new();
    loop {
        let gap = owed.next_event();
        assert_eq!(
            (&gap["type"], &gap["topic"]),
            (&json!("gap"), &json!(topic)),
            "{gap}"
        );
        assert_eq!(gap["reason"], "trimmed", "{gap}");
        let [from, to] = ["from", "to"].map(|name| gap[name].as_str().expect("an id").to_owned());
        let is_last = *to >= *end;
        gaps.push((from, to));
        if is_last {
            return gaps;
        }
    }
}

#[test]
fn what_expires_leaves_without_a_word() {
    with_workers(|workers| {
        let server = Server::start(&["--workers", workers]);
        let mut owed = Owed::connect(server.addr(), "c", "t", &json!({"window": 1}));
        server.publish_message(&json!({"topic": "t", "payload": {"n": 0}, "ttl": 1}));
        assert_eq!(owed.take(1), [(0, 1)]);
        publish_numbers(&server, "t", [1]);
        // Only when the first one's time is up does it leave the window.
        let next = owed.next_event();
        assert_eq!(next["type"], "message", "{next}");
        assert_eq!(Delivery::of(&next).numbered(), (1, 1));
        server.wait_for_metric("proxy_pending_messages", &[], 1.0);
        owed.die(Death::Reset);
        let mut owed = Owed::connect(server.addr(), "c", "t", &json!({}));
        assert_eq!(owed.subscribed()["recovered"]["t"], true);
        assert_eq!(owed.take(1), [(1, 2)]);
        owed.assert_quiet();
    });
}

#[test]
fn a_poll_is_owed_what_it_was_given() {
    with_workers(|workers| {
        let server = Server::start(&["--workers", workers]);
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
        server.wait_for_metric("proxy_pending_messages", &[], 1.0);
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
    with_workers(|workers| {
        let server = Server::start(&["--workers", workers]);
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
        server.wait_for_metric("proxy_takeovers_total", &[], 2.0);
    });
}

#[test]
fn consumers_are_bounded() {
    with_workers(|workers| {
        let server = Server::start(&["--workers", workers, "--consumers-max", "3"]);
        let mut first = Owed::connect(server.addr(), "a", "t", &json!({}));
        let _second = Owed::connect(server.addr(), "b", "t", &json!({"group": "g"}));
        let _same_group = Owed::connect(server.addr(), "c", "t", &json!({"group": "g"}));
        first.subscribe("a", "u", &json!({}));
        server.wait_for_metric("proxy_consumers", &[], 3.0);

        first.client().send(&subscribe("a", "v", &json!({})));
        let error = first.client().read_json();
        assert_eq!(error["code"], "LIMIT_EXCEEDED", "{error}");
        let mut refused = Client::connect(server.addr());
        refused.send(&subscribe("d", "t", &json!({})));
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
    with_workers(|workers| {
        let server = Server::start(&["--workers", workers, "--client-retention", "1"]);
        let mut stays = Owed::connect(server.addr(), "stays", "t", &json!({}));
        let mut leaves = Owed::connect(server.addr(), "leaves", "t", &json!({}));
        let ids = publish_numbers(&server, "t", 0..3);
        for owed in [&mut stays, &mut leaves] {
            assert_eq!(owed.take(3), first_attempts(0..3));
        }
        leaves.settle(&[&ids[0]]);
        server.wait_for_metric("proxy_consumers", &[], 2.0);
        server.wait_for_metric("proxy_pending_messages", &[], 5.0);
        leaves.die(Death::Reset);
        server.wait_for_metric("proxy_consumers", &[], 1.0);
        server.wait_for_metric("proxy_pending_messages", &[], 3.0);
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
    with_workers(|workers| {
        let server = Server::start(&["--workers", workers]);
        let owed = Owed::connect(server.addr(), "c", "t", &json!({}));
        owed.die(Death::Close);
        server.wait_for_metric("proxy_websocket_connections_active", &[], 0.0);
        publish_numbers(&server, "t", 0..2);
        let mut owed = Owed::connect(server.addr(), "c", "t", &json!({}));
        assert_eq!(owed.take(2), first_attempts(0..2));
    });
}

fn first_attempts(numbers: impl IntoIterator<Item = u64>) -> Vec<(u64, u64)> {
    numbers.into_iter().map(|number| (number, 1)).collect()
}
