//! With Valkey, 201 means stored there: under the id that Valkey gave, within the bounds of count and age, and once
//! however many instances were asked.

use std::collections::BTreeSet;
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use test_util::poll::{list, text};
use test_util::valkey::{instance, instances, log_key, stream_id};
use test_util::{DEADLINE, Http, Response, Server, Valkey, wait_until, with_workers};

const ONE: &str = "/api/v1/messages";
const BULK: &str = "/api/v1/messages/bulk";

#[test]
fn an_id_tells_the_place_in_the_stream() {
    with_workers(|workers| {
        let valkey = Valkey::start();
        let [server] = instances(valkey.port(), &["--workers", workers]);
        for topic in ["t", "größe", "日本語"] {
            let before = millis(&valkey);
            let ids: Vec<String> = (0..5)
                .map(|n| {
                    let answer = server.publish(topic, &json!({ "n": n }));
                    assert_eq!(answer["topic"], topic);
                    let id = text(&answer["message_id"]).to_owned();
                    assert_eq!(valkey.stream(topic).last(), Some(&stream_id(&id)), "stored");
                    id
                })
                .collect();
            let after = millis(&valkey);
            let places: Vec<String> = ids.iter().map(|id| stream_id(id)).collect();
            assert_eq!(valkey.stream(topic), places);
            for place in &places {
                let (time, _) = place.split_once('-').unwrap();
                let time: u64 = time.parse().unwrap();
                assert!((before..=after).contains(&time), "Valkey's clock");
            }
            assert_eq!(earliest(&server, topic), ids);
        }
    });
}

#[test]
fn a_bulk_is_answered_in_order_and_stored_in_order() {
    with_workers(|workers| {
        let valkey = Valkey::start();
        let [server] = instances(valkey.port(), &["--workers", workers]);
        let topic = |n: usize| ["a", "b", "c"][n % 3];
        let message = |n: usize| json!({"topic": topic(n), "payload": {"n": n}});
        let messages: Vec<Value> = (0..100).map(message).collect();
        let body = json!({"messages": messages}).to_string();
        for round in 1..=3 {
            let response = server.post(BULK, &body);
            assert_eq!(response.status, 207, "{response:?}");
            let answer = response.json();
            let wanted = json!({"total": 100, "accepted": 100, "rejected": 0});
            assert_eq!(answer["summary"], wanted);
            let results = list(&answer["results"]);
            for (n, result) in results.iter().enumerate() {
                assert_eq!(result["topic"], topic(n), "{result}");
                assert_eq!(result["status"], "accepted", "{result}");
            }
            for name in ["a", "b", "c"] {
                let of_topic = results.iter().filter(|result| result["topic"] == name);
                let places: Vec<String> = of_topic
                    .map(|result| stream_id(text(&result["message_id"])))
                    .collect();
                let stream = valkey.stream(name);
                assert!(stream.ends_with(&places), "{name}: {stream:?}, {places:?}");
                assert_eq!(stream.len(), round * places.len());
            }
        }
    });
}

#[test]
fn many_publishers_on_two_instances_get_an_id_each() {
    const PUBLISHERS: usize = 16;
    const EACH: usize = 50;
    let valkey = Valkey::start();
    let servers: [Server; 2] = instances(valkey.port(), &[]);
    let ids: Vec<Vec<String>> = thread::scope(|scope| {
        let publisher = |number: usize| {
            let mut http = Http::open(servers[number % 2].addr());
            let publish = move |n: usize| {
                let payload = json!({"publisher": number, "n": n});
                let answer = http.publish(&json!({"topic": "t", "payload": payload}));
                stream_id(text(&answer["message_id"]))
            };
            scope.spawn(move || (0..EACH).map(publish).collect())
        };
        let publishers: Vec<_> = (0..PUBLISHERS).map(publisher).collect();
        publishers
            .into_iter()
            .map(|it| it.join().unwrap())
            .collect()
    });
    let stream = valkey.stream("t");
    assert_eq!(stream.len(), PUBLISHERS * EACH);
    let all: BTreeSet<&String> = ids.iter().flatten().collect();
    assert_eq!(all, stream.iter().collect());
    let place = |id: &String| stream.iter().position(|it| it == id);
    for of_one in &ids {
        assert!(of_one.iter().map(place).is_sorted(), "in its order");
    }
}

#[test]
fn a_message_with_a_ttl_is_gone_when_it_ran_out() {
    let valkey = Valkey::start();
    let [one, other] = instances(valkey.port(), &[]);
    one.publish_message(&json!({"topic": "t", "payload": {}, "ttl": 1}));
    let kept = text(&one.publish("t", &json!({}))["message_id"]).to_owned();
    for server in [&one, &other] {
        wait_until("the message expires", DEADLINE, || {
            earliest(server, "t") == [kept.as_str()]
        });
    }
}

#[test]
fn a_stream_keeps_the_newest_up_to_the_count() {
    let valkey = Valkey::start();
    let flags = ["--max-messages-per-topic", "10"];
    let [one, other] = instances(valkey.port(), &flags);
    let publish = |n: usize| {
        let server = [&one, &other][n % 2];
        text(&server.publish("t", &json!({ "n": n }))["message_id"]).to_owned()
    };
    let ids: Vec<String> = (0..25).map(publish).collect();
    let places: Vec<String> = ids[15..].iter().map(|id| stream_id(id)).collect();
    assert_eq!(valkey.stream("t"), places);
    for server in [&one, &other] {
        assert_eq!(earliest(server, "t"), ids[15..]);
    }
}

#[test]
fn a_stream_keeps_nothing_beyond_the_age() {
    let valkey = Valkey::start();
    let flags = ["--persistent-tier-retention", "2"];
    let [server] = instances(valkey.port(), &flags);
    let began = Instant::now();
    let publish = || text(&server.publish("t", &json!({}))["message_id"]).to_owned();
    let first = publish();
    let place = stream_id(&first);
    wait_until("the first is trimmed", DEADLINE, || {
        publish();
        !valkey.stream("t").contains(&place)
    });
    assert!(began.elapsed() >= Duration::from_millis(1900), "too early");
    assert!(!valkey.stream("t").is_empty());
    let path = test_util::poll::path(&["t"], Some("earliest"), "timeout=0&limit=1");
    let answer = test_util::poll::check(&server.get(&path), 1);
    assert!(test_util::poll::ids(&answer["messages"])[0] > first);
}

#[test]
fn a_topic_that_nobody_publishes_to_ends_with_its_last_message() {
    let valkey = Valkey::start();
    let [server] = instances(valkey.port(), &["--persistent-tier-retention", "100"]);
    server.publish("t", &json!({}));
    let expiry = |key: &str| valkey.command::<i64>(&["PTTL", key]);
    let first = expiry(&log_key("t"));
    assert!((90_000..=101_000).contains(&first), "{first}");
    let last = expiry("pulsar:{t}:last");
    assert!(last > first, "where it ended is known for longer: {last}");
    wait_until("some of it has passed", DEADLINE, || {
        expiry(&log_key("t")) < first - 100
    });
    server.publish("t", &json!({}));
    assert!(expiry(&log_key("t")) >= first - 100, "publishing renews it");

    let [server] = instances(valkey.port(), &["--persistent-tier-retention", "1"]);
    let old = text(&server.publish("u", &json!({}))["message_id"]).to_owned();
    wait_until("the stream is gone", DEADLINE, || {
        valkey.stream("u").is_empty()
    });
    let new = text(&server.publish("u", &json!({}))["message_id"]).to_owned();
    assert!(old < new);
    let (_, answer) = test_util::Client::subscribed_from(server.addr(), &["u"], &old);
    assert_eq!(
        answer["recovered"],
        json!({"u": true}),
        "nothing was lost in between"
    );
}

#[test]
fn a_key_is_remembered_by_all_instances() {
    with_workers(|workers| {
        let valkey = Valkey::start();
        let [one, other] = instances(valkey.port(), &["--workers", workers]);
        let message = r#"{"topic":"t","payload":{"n":1}}"#;
        let bulk = r#"{"messages":[{"topic":"t","payload":{"n":2}},{"topic":"u","payload":{}}]}"#;
        for (path, body, status) in [(ONE, message, 201), (BULK, bulk, 207)] {
            let first = keyed(&one, path, path, body);
            assert_eq!(
                (first.status, is_replay(&first)),
                (status, false),
                "{first:?}"
            );
            for server in [&one, &other].into_iter().cycle().take(6) {
                let again = keyed(server, path, path, body);
                assert_eq!(
                    (again.status, is_replay(&again)),
                    (status, true),
                    "{again:?}"
                );
                assert_eq!(again.body, first.body, "byte for byte");
                assert_eq!(again.header("content-type"), first.header("content-type"));
            }
            let reused = body
                .replace(":{}", r#":{"m":1}"#)
                .replace("\"n\":1", "\"n\":3");
            for server in [&one, &other] {
                let refused = keyed(server, path, path, &reused);
                assert_eq!(refused.status, 422, "{refused:?}");
                let error = refused.json();
                assert_eq!(error["error"], "IDEMPOTENCY_KEY_REUSED", "{error}");
                assert!(error["detail"].is_string(), "{error}");
            }
        }
        assert_eq!((valkey.stream("t").len(), valkey.stream("u").len()), (2, 1));
        let late: Server = instance(valkey.port(), &["--workers", workers]);
        late.wait_until_ready();
        assert!(
            is_replay(&keyed(&late, ONE, ONE, message)),
            "also by new ones"
        );
        assert!(!is_replay(&keyed(&late, ONE, "another", message)));
        assert_eq!(valkey.stream("t").len(), 3);
    });
}

#[test]
fn of_identical_requests_at_once_one_is_carried_out() {
    const CONNECTIONS: usize = 8;
    const ROUNDS: usize = 25;
    with_workers(|workers| {
        let valkey = Valkey::start();
        let servers: [Server; 2] = instances(valkey.port(), &["--workers", workers]);
        let start = Barrier::new(CONNECTIONS);
        let answers: Vec<Vec<Response>> = thread::scope(|scope| {
            let client = |number: usize| {
                let (server, start) = (&servers[number % 2], &start);
                let ask = move |round: usize| {
                    start.wait();
                    let body = json!({"topic": "t", "payload": {"n": round}}).to_string();
                    keyed(server, ONE, &format!("key {round}"), &body)
                };
                scope.spawn(move || (0..ROUNDS).map(ask).collect())
            };
            let clients: Vec<_> = (0..CONNECTIONS).map(client).collect();
            clients.into_iter().map(|it| it.join().unwrap()).collect()
        });
        for round in 0..ROUNDS {
            let of_round = || answers.iter().map(|client| &client[round]);
            for answer in of_round() {
                assert_eq!(answer.status, 201, "{answer:?}");
                assert_eq!(answer.body, answers[0][round].body);
            }
            let first = of_round().filter(|answer| !is_replay(answer));
            assert_eq!(first.count(), 1, "one is the first");
        }
        assert_eq!(valkey.stream("t").len(), ROUNDS);
    });
}

fn keyed(server: &Server, path: &str, key: &str, body: &str) -> Response {
    let headers = [
        ("Content-Type", "application/json"),
        ("Idempotency-Key", key),
    ];
    Http::open(server.addr()).request("POST", path, &headers, body.as_bytes())
}

fn is_replay(response: &Response) -> bool {
    let told = response.header("idempotent-replayed");
    assert!(matches!(told, None | Some("true")), "{response:?}");
    told.is_some()
}

/// The ids of all that is kept of a topic, up to 100.
fn earliest(server: &Server, topic: &str) -> Vec<String> {
    let path = test_util::poll::path(&[topic], Some("earliest"), "timeout=0&limit=100");
    let answer = test_util::poll::check(&server.get(&path), 1);
    assert_eq!(answer["has_more"], false, "{answer}");
    test_util::poll::ids(&answer["messages"])
}

/// The time of Valkey's clock.
fn millis(valkey: &Valkey) -> u64 {
    let (seconds, micros): (u64, u64) = valkey.command(&["TIME"]);
    seconds * 1000 + micros / 1000
}
