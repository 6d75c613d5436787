//! What comes again to a consumer that is owed its messages, when, and what does not: timeouts, lost
//! connections, nacks, dead letters, what the history drops and what expires (DESIGN "Delivery modes").

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use serde_json::json;
use test_util::owed::{Death, Delivery, Owed, first_attempts, publish_numbers};
use test_util::{Client, DEADLINE, Server, assert_keys, everywhere};

/// The shortest `ack_timeout`, and how much earlier a clock may show it.
const TIMEOUT: Duration = Duration::from_secs(1);
const EARLY: Duration = Duration::from_millis(20);

#[test]
fn what_is_not_acknowledged_comes_again_after_the_timeout() {
    everywhere(|place| {
        let server = place.start(&[]);
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
    everywhere(|place| {
        let server = place.start(&[]);
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
    everywhere(|place| {
        let server = place.start(&[]);
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
fn a_nack_brings_the_message_again() {
    everywhere(|place| {
        let server = place.start(&[]);
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
    everywhere(|place| {
        let server = place.start(&[]);
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
        place.wait_for_pending(&server, 1);
    });
}

#[test]
fn used_up_messages_go_to_the_topic_for_dead_letters() {
    everywhere(|place| {
        let server = place.start(&["--dead-letter-topic", "dead"]);
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
        place.wait_for_pending(&server, 0);
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
    everywhere(|place| {
        let server = place.start(&["--max-messages-per-topic", "3"]);
        let fields = json!({"window": 2});
        let mut owed = Owed::connect(server.addr(), "c", "t", &fields);
        let start = owed.subscribed()["positions"]["t"].clone();
        let mut ids = publish_numbers(&server, "t", 0..2);
        assert_eq!(owed.take(2), first_attempts(0..2));
        owed.die(Death::Close);
        for number in 2..10 {
            ids.extend(publish_numbers(&server, "t", [number]));
        }
        let mut owed = Owed::connect(server.addr(), "c", "t", &fields);
        assert_eq!(owed.subscribed()["recovered"]["t"], false);
        let gap = owed.next_event();
        assert_keys(&gap, &["type", "topic", "from", "to", "reason"]);
        assert_eq!(
            (&gap["type"], &gap["topic"], &gap["reason"]),
            (&json!("gap"), &json!("t"), &json!("trimmed"))
        );
        assert!(
            gap["from"].as_str() >= start.as_str() && gap["from"].as_str() < Some(&ids[0]),
            "{gap}"
        );
        assert_eq!(
            gap["to"], *ids[6],
            "what was pending and what follows it are one"
        );
        assert_eq!(owed.take(2), first_attempts(7..9), "the window is free");
        owed.assert_quiet();
        let late = owed.confirm(&json!({"message_ids": [ids[0], ids[7]]}));
        assert_eq!((late.0, late.1.len()), (1, 1), "{late:?}");
        assert_eq!(owed.take(1), first_attempts([9]));
    });
}

#[test]
fn what_is_dropped_from_a_live_window_is_told_as_a_gap() {
    everywhere(|place| {
        let server = place.start(&["--max-messages-per-topic", "3"]);
        let mut owed = Owed::connect(server.addr(), "c", "t", &json!({"window": 2}));
        let mut ids = publish_numbers(&server, "t", 0..2);
        assert_eq!(owed.take(2), first_attempts(0..2));
        for number in 2..10 {
            ids.extend(publish_numbers(&server, "t", [number]));
        }
        // Nothing is acknowledged: what leaves the window was dropped, and is told.
        let (mut told, mut came) = (BTreeSet::new(), BTreeSet::from([0, 1]));
        while !came.contains(&8) {
            let event = owed.next_event();
            if event["type"] == "message" {
                let (number, attempt) = Delivery::of(&event).numbered();
                assert_eq!(attempt, 1, "{event}");
                assert!(came.insert(number), "{event}");
                continue;
            }
            assert_eq!(
                (&event["type"], &event["reason"]),
                (&json!("gap"), &json!("trimmed"))
            );
            let is_in =
                |id: &String| event["from"].as_str() < Some(id) && event["to"].as_str() >= Some(id);
            for (number, _) in (0..).zip(&ids).filter(|(_, id)| is_in(id)) {
                assert!(told.insert(number), "{number} twice: {event}");
            }
        }
        owed.assert_quiet();
        assert_eq!(told, (0..7).collect::<BTreeSet<u64>>(), "came: {came:?}");
        place.wait_for_pending(&server, 2);
    });
}

#[test]
fn what_expires_leaves_without_a_word() {
    everywhere(|place| {
        let server = place.start(&[]);
        let mut owed = Owed::connect(server.addr(), "c", "t", &json!({"window": 1}));
        server.publish_message(&json!({"topic": "t", "payload": {"n": 0}, "ttl": 1}));
        assert_eq!(owed.take(1), [(0, 1)]);
        publish_numbers(&server, "t", [1]);
        // Only when the first one's time is up does it leave the window.
        let next = owed.next_event();
        assert_eq!(next["type"], "message", "{next}");
        assert_eq!(Delivery::of(&next).numbered(), (1, 1));
        place.wait_for_pending(&server, 1);
        owed.die(Death::Reset);
        let mut owed = Owed::connect(server.addr(), "c", "t", &json!({}));
        assert_eq!(owed.subscribed()["recovered"]["t"], true);
        assert_eq!(owed.take(1), [(1, 2)]);
        owed.assert_quiet();
    });
}

#[test]
fn a_poll_looks_behind_what_is_used_up() {
    everywhere(|place| {
        let server = place.start(&[]);
        let fields = json!({"max_deliveries": 1});
        let mut owed = Owed::connect(server.addr(), "c", "t", &fields);
        publish_numbers(&server, "t", 0..20);
        assert_eq!(owed.take(20), first_attempts(0..20));
        owed.die(Death::Close);
        server.wait_for_metric("proxy_websocket_connections_active", &[], 0.0);
        let ids = publish_numbers(&server, "t", [20]);
        let began = Instant::now();
        let query = "topics=t&client_id=c&delivery_mode=at_least_once&max_deliveries=1&limit=2";
        let answer = server.get(&format!("/api/v1/poll?{query}")).json();
        assert_eq!(answer["messages"][0]["message_id"], ids[0], "{answer}");
        assert!(began.elapsed() < TIMEOUT, "{:?}", began.elapsed());
        server.wait_for_metric("proxy_dead_letters_total", &[("outcome", "dropped")], 20.0);
    });
}
