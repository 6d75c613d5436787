//! Resuming is honest: every transport says where it begins, whether that is where the client was,
//! and what is lost.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use test_util::poll::{check, list, text};
use test_util::told::{assert_epoch_changed, everywhere};
use test_util::{Client, Server, Stream, with_workers};

const TOPICS: [&str; 2] = ["a", "b"];

#[test]
fn all_that_is_kept_is_recovered() {
    with_workers(|workers| {
        let server = Server::start(&["--workers", workers]);
        let ids = publish(&server, 5);
        for told in everywhere(&server, &["a"], &ids[1], 3) {
            if let Some(recovered) = &told.recovered {
                assert_eq!(*recovered, json!({"a": true}));
            }
            assert!(told.gaps.is_empty(), "{told:?}");
            assert_eq!(told.messages, ids[2..]);
        }
    });
}

#[test]
fn what_was_trimmed_is_a_gap_from_where_the_client_was() {
    with_workers(|workers| {
        let flags = ["--workers", workers, "--max-messages-per-topic", "3"];
        let server = Server::start(&flags);
        let ids = publish(&server, 8);
        for told in everywhere(&server, &["a"], &ids[1], 3) {
            if let Some(recovered) = &told.recovered {
                assert_eq!(*recovered, json!({"a": false}));
            }
            let wanted = json!({"topic": "a", "from": ids[1], "to": ids[4], "reason": "trimmed"});
            assert_eq!(told.gaps, [wanted]);
            assert_eq!(told.messages, ids[5..]);
        }
    });
}

#[test]
fn another_start_of_the_server_is_another_epoch() {
    with_workers(|workers| {
        let mut server = Server::start(&["--workers", workers]);
        let old = publish(&server, 2);
        assert_eq!(server.stop(), Some(0));
        let server = Server::start(&["--workers", workers]);
        let new = publish(&server, 3);
        for told in everywhere(&server, &["a"], &old[1], 3) {
            if let Some(recovered) = &told.recovered {
                assert_eq!(*recovered, json!({"a": false}));
            }
            assert_epoch_changed(&told.gaps, "a", &old[1]);
            assert_eq!(told.messages, new, "everything kept");
        }
    });
}

#[test]
fn a_restarted_server_without_messages_says_so_at_once() {
    with_workers(|workers| {
        let mut server = Server::start(&["--workers", workers]);
        let old = publish(&server, 2);
        assert_eq!(server.stop(), Some(0));
        let server = Server::start(&["--workers", workers]);
        for told in everywhere(&server, &["a"], &old[1], 0) {
            if let Some(recovered) = &told.recovered {
                assert_eq!(*recovered, json!({"a": false}));
            }
            assert_epoch_changed(&told.gaps, "a", &old[1]);
            assert!(told.messages.is_empty(), "{told:?}");
        }
    });
}

#[test]
fn a_cursor_of_another_epoch_is_a_gap_for_each_of_its_topics() {
    with_workers(|workers| {
        let mut server = Server::start(&["--workers", workers]);
        TOPICS
            .iter()
            .for_each(|topic| _ = server.publish(topic, &json!({})));
        let path = "/api/v1/poll?topics=a,b&since=earliest";
        let cursor = check(&server.get(path), 2)["next_offset"].clone();
        assert_eq!(server.stop(), Some(0));
        let server = Server::start(&["--workers", workers]);
        let new = publish(&server, 1);
        let id = server.publish("b", &json!({}))["message_id"].clone();
        let wanted = [new[0].as_str(), text(&id)];
        for mut told in everywhere(&server, &TOPICS, text(&cursor), 2) {
            if let Some(recovered) = &told.recovered {
                assert_eq!(*recovered, json!({"a": false, "b": false}));
            }
            assert_eq!(told.gaps.len(), 2, "{told:?}");
            told.gaps.sort_by_key(|gap| gap["topic"].to_string());
            for (gap, topic) in told.gaps.iter().zip(TOPICS) {
                assert_eq!(gap["topic"], topic);
                assert_eq!(gap["reason"], "epoch_changed");
            }
            told.messages.sort();
            let mut wanted = wanted.to_vec();
            wanted.sort_unstable();
            assert_eq!(told.messages, wanted);
        }
    });
}

#[test]
fn only_the_topics_that_lost_something_have_gaps() {
    with_workers(|workers| {
        let flags = ["--workers", workers, "--max-messages-per-topic", "2"];
        let server = Server::start(&flags);
        let first = server.publish("b", &json!({}))["message_id"].clone();
        let path = "/api/v1/poll?topics=a,b&since=earliest";
        let cursor = check(&server.get(path), 2)["next_offset"].clone();
        let ids = publish(&server, 4);
        let second = server.publish("b", &json!({}))["message_id"].clone();
        assert!(text(&first) < text(&second));
        for mut told in everywhere(&server, &TOPICS, text(&cursor), 3) {
            if let Some(recovered) = &told.recovered {
                assert_eq!(*recovered, json!({"a": false, "b": true}));
            }
            assert_eq!(told.gaps.len(), 1, "{told:?}");
            assert_eq!(told.gaps[0]["topic"], "a");
            assert_eq!(told.gaps[0]["to"], ids[1].as_str());
            told.messages.sort();
            let mut wanted = vec![ids[2].as_str(), &ids[3], text(&second)];
            wanted.sort_unstable();
            assert_eq!(told.messages, wanted);
        }
    });
}

#[test]
fn a_gap_is_not_told_again_behind_the_place_that_came_with_it() {
    with_workers(|workers| {
        let flags = ["--workers", workers, "--max-messages-per-topic", "3"];
        let server = Server::start(&flags);
        let ids = publish(&server, 8);
        let since = |place: &str| format!("/api/v1/poll?topics=a&timeout=0&since={place}");
        let answer = check(&server.get(&since(&ids[0])), 1);
        assert_eq!(list(&answer["gaps"]).len(), 1);
        let next = text(&answer["next_offset"]);
        let answer = check(&server.get(&since(next)), 1);
        assert_eq!(answer["timeout"], true);
        assert_eq!(answer.get("gaps"), None);

        let path = format!("/api/v1/stream?topics=a&since={}", ids[0]);
        let mut stream = Stream::open(server.addr(), &path);
        stream.expect_event("subscribed");
        let (place, _) = stream.expect_event("gap");
        let path = format!("/api/v1/stream?topics=a&since={place}");
        let mut again = Stream::open(server.addr(), &path);
        assert_eq!(
            again.expect_event("subscribed").1["recovered"],
            json!({"a": true})
        );
        assert_eq!(again.expect_event("message").0, ids[5]);
    });
}

#[test]
fn a_stream_that_ends_among_its_gaps_tells_them_again() {
    with_workers(|workers| {
        let flags = ["--workers", workers, "--max-messages-per-topic", "2"];
        let server = Server::start(&flags);
        let publish = || TOPICS.map(|topic| server.publish(topic, &json!({})));
        publish();
        let path = "/api/v1/poll?topics=a,b&since=earliest";
        let cursor = check(&server.get(path), 2)["next_offset"].clone();
        (0..4).for_each(|_| drop(publish()));
        for events in 0..4 {
            let mut place = text(&cursor).to_owned();
            let mut told = BTreeSet::new();
            // Cut off after so many events, and back at the place of the last one that had one.
            for limit in [events, 3] {
                let path = format!("/api/v1/stream?topics=a,b&since={place}");
                let mut stream = Stream::open(server.addr(), &path);
                for event in (0..limit).map(|_| stream.next_event()) {
                    if event.event == "gap" {
                        let gap: Value = serde_json::from_str(&event.data).unwrap();
                        told.insert(text(&gap["topic"]).to_owned());
                    }
                    if !event.id.is_empty() {
                        place = event.id;
                    }
                }
            }
            assert_eq!(told.into_iter().collect::<Vec<_>>(), TOPICS, "{events}");
        }
    });
}

#[test]
fn positions_are_places_to_come_back_to() {
    with_workers(|workers| {
        let server = Server::start(&["--workers", workers]);
        publish(&server, 3);
        let mut client = Client::connect(server.addr());
        let fields = json!({"topics": TOPICS, "on_lag": "skip"});
        let over_websocket = client.subscribe(fields)["positions"].clone();
        let mut stream = Stream::open(server.addr(), "/api/v1/stream?topics=a,b");
        let over_stream = stream.expect_event("subscribed").1["positions"].clone();
        let next = publish(&server, 1);
        for positions in [over_websocket, over_stream] {
            for told in everywhere(&server, &["a"], text(&positions["a"]), 1) {
                assert_eq!(told.messages, next);
                assert!(told.gaps.is_empty(), "{told:?}");
            }
        }
    });
}

/// Publishes to the first topic.
fn publish(server: &Server, count: usize) -> Vec<String> {
    let id = |n| text(&server.publish("a", &json!({"n": n}))["message_id"]).to_owned();
    (0..count).map(id).collect()
}
