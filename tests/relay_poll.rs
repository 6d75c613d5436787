//! `POST /messages/poll` and its statistics: the long poll that `pulsar-relay-client` speaks.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use test_util::poll::{check_relay, ids, list, text};
use test_util::{Cut, DEADLINE, Http, Link, Server, wait_until, with_workers};

const ROUTE: &str = "/messages/poll";

#[test]
fn it_waits_for_what_comes_and_tells_all_fields() {
    with_workers(|workers| {
        let server = Server::start(&["--workers", workers]);
        server.publish("t", &json!({"n": 0}));
        let mut http = send(&server, &json!({"topics": ["u", "t"], "timeout": 60}));
        wait_for_waiters(&server, 1);
        assert!(!http.has_answer(), "without since only what comes");
        let message = json!({"topic": "t", "payload": {"n": 1}, "metadata": {"k": "v"}});
        let published = server.publish_message(&message);
        let answer = check_relay(&http.read_response());
        let got = &answer["messages"][0];
        let stream_id = text(&got["stream_id"]).to_owned();
        let wanted = json!([{
            "topic": "t", "message_id": published["message_id"], "payload": {"n": 1},
            "timestamp": published["timestamp"], "metadata": {"k": "v"}, "stream_id": stream_id,
        }]);
        assert_eq!(answer["messages"], wanted);
        assert_eq!(answer["has_more"], false);
        assert_eq!(
            Some(millis(&stream_id)),
            millis_of_id(&published["message_id"])
        );
    });
}

#[test]
fn without_news_it_answers_in_time_with_a_body() {
    with_workers(|workers| {
        let server = Server::start(&["--workers", workers]);
        let last = server.publish("t", &json!({}))["message_id"].clone();
        for body in [
            json!({"topics": ["t"], "timeout": 1}),
            json!({"topics": ["t"], "timeout": 1, "since": null}),
            json!({"topics": ["t"], "timeout": 1, "since": {"t": last}}),
        ] {
            let began = Instant::now();
            let response = server.post(ROUTE, body.to_string());
            assert_eq!(
                check_relay(&response),
                json!({"messages": [], "has_more": false})
            );
            assert!(began.elapsed() >= Duration::from_millis(990), "{body}");
        }
    });
}

#[test]
fn since_is_a_map_and_what_it_lacks_starts_at_the_oldest() {
    with_workers(|workers| {
        let server = Server::start(&["--workers", workers]);
        let publish = |topic| server.publish(topic, &json!({}))["message_id"].clone();
        let a: Vec<Value> = (0..3).map(|_| publish("a")).collect();
        let b: Vec<Value> = (0..2).map(|_| publish("b")).collect();
        let topics = ["a", "b"];
        let cases = [
            (json!({"a": a[0], "b": b[1]}), vec![&a[1], &a[2]]),
            (json!({"a": a[2]}), vec![&b[0], &b[1]]),
            (json!({"a": a[1], "other": b[0]}), vec![&a[2], &b[0], &b[1]]),
            (
                json!({"a": "1700000000000-0", "b": b[1]}),
                vec![&a[0], &a[1], &a[2]],
            ),
            (
                json!({"a": a[2], "b": format!("msg_{}", "0".repeat(30))}),
                vec![&b[0], &b[1]],
            ),
        ];
        for (since, wanted) in cases {
            let body = json!({"topics": topics, "since": since, "timeout": 1});
            let answer = check_relay(&server.post(ROUTE, body.to_string()));
            let mut got = ids(&answer["messages"]);
            got.sort();
            let mut wanted: Vec<&str> = wanted.into_iter().map(text).collect();
            wanted.sort_unstable();
            assert_eq!(got, wanted, "{since}");
        }
    });
}

#[test]
fn each_topic_gives_at_most_a_hundred() {
    with_workers(|workers| {
        let server = Server::start(&["--workers", workers]);
        for topic in ["a", "b"] {
            let message = json!({"topic": topic, "payload": {}});
            let bulk = json!({"messages": vec![message; 75]}).to_string();
            for _ in 0..2 {
                assert_eq!(server.post("/api/v1/messages/bulk", &bulk).status, 207);
            }
        }
        server.publish("c", &json!({}));
        let unknown = format!("msg_{}", "0".repeat(30));
        let mut since = json!({"a": unknown});
        let mut counts = Vec::new();
        for has_more in [true, false] {
            let body = json!({"topics": ["a", "b", "c"], "since": since, "timeout": 1});
            let answer = check_relay(&server.post(ROUTE, body.to_string()));
            assert_eq!(answer["has_more"], has_more);
            for message in list(&answer["messages"]) {
                let (topic, id) = (text(&message["topic"]), &message["message_id"]);
                assert!(text(id) > since[topic].as_str().unwrap_or(""), "in order");
                since[topic] = id.clone();
            }
            counts.push(list(&answer["messages"]).len());
        }
        assert_eq!(counts, [201, 100]);
    });
}

#[test]
fn wrong_bodies_are_refused_in_the_form_of_pydantic() {
    let server = Server::start(&[]);
    let many: Vec<String> = (0..21).map(|n| format!("t{n}")).collect();
    let cases = [
        (json!({}), json!(["body", "topics"]), "missing"),
        (
            json!({"topics": []}),
            json!(["body", "topics"]),
            "too_short",
        ),
        (
            json!({"topics": many}),
            json!(["body", "topics"]),
            "too_long",
        ),
        (
            json!({"topics": "t"}),
            json!(["body", "topics"]),
            "list_type",
        ),
        (
            json!({"topics": ["t", 5]}),
            json!(["body", "topics", 1]),
            "string_type",
        ),
        (
            json!({"topics": ["a b"]}),
            json!(["body", "topics", 0]),
            "value_error",
        ),
        (
            json!({"topics": ["t"], "timeout": 0}),
            json!(["body", "timeout"]),
            "greater_than_equal",
        ),
        (
            json!({"topics": ["t"], "timeout": 61}),
            json!(["body", "timeout"]),
            "less_than_equal",
        ),
        (
            json!({"topics": ["t"], "timeout": "x"}),
            json!(["body", "timeout"]),
            "int_parsing",
        ),
        (
            json!({"topics": ["t"], "timeout": null}),
            json!(["body", "timeout"]),
            "int_type",
        ),
        (
            json!({"topics": ["t"], "since": "x"}),
            json!(["body", "since"]),
            "dict_type",
        ),
        (
            json!({"topics": ["t"], "since": {"t": 5}}),
            json!(["body", "since", "t"]),
            "string_type",
        ),
        (json!([]), json!(["body"]), "model_attributes_type"),
    ];
    for (body, place, kind) in cases {
        let error = server
            .post(ROUTE, body.to_string())
            .assert_error(422, "VALIDATION_ERROR");
        let errors = list(&error["detail"]);
        assert_eq!(errors.len(), 1, "{body}: {error}");
        assert_eq!(errors[0]["loc"], place, "{body}: {error}");
        assert_eq!(errors[0]["type"], kind, "{body}: {error}");
    }
    let error = server
        .post(ROUTE, "{")
        .assert_error(422, "VALIDATION_ERROR");
    assert_eq!(error["detail"][0]["type"], "json_invalid");
}

#[test]
fn methods_and_spellings() {
    let server = Server::start(&[]);
    for (route, method, allow) in [
        (ROUTE, "GET", "POST"),
        (ROUTE, "HEAD", "POST"),
        ("/messages/poll/stats", "POST", "GET, HEAD"),
    ] {
        let mut http = Http::open(server.addr());
        let response = http.request(method, route, &[], b"");
        assert_eq!(response.status, 405, "{method} {route}");
        let allowed = response.header("allow").expect("what is allowed");
        let first = allow.split(", ").next().expect("at least one");
        assert!(
            allowed.split(", ").any(|method| method == first),
            "{allowed}"
        );
    }
    let mut http = Http::open(server.addr());
    let response = http.post("/messages/poll/", json!({"topics": ["t"]}).to_string());
    assert_eq!(response.status, 307);
}

#[test]
fn the_statistics_count_who_waits() {
    with_workers(|workers| {
        let server = Server::start(&["--workers", workers]);
        let waiters = || {
            let response = server.get("/messages/poll/stats");
            assert_eq!(response.status, 200, "{response:?}");
            response.json()["active_waiters"].as_u64()
        };
        assert_eq!(waiters(), Some(0));
        let body = json!({"topics": ["t"], "timeout": 60});
        let polls: Vec<Http> = (0..3).map(|_| send(&server, &body)).collect();
        wait_until("three wait", DEADLINE, || waiters() == Some(3));
        drop(polls);
        wait_until("nobody waits", DEADLINE, || waiters() == Some(0));
    });
}

#[test]
fn a_closed_side_is_answered_and_an_abandoned_poll_freed() {
    with_workers(|workers| {
        let server = Server::start(&["--workers", workers]);
        for cut in [Cut::Finish, Cut::Reset, Cut::Close] {
            let mut link = Link::open(server.addr());
            let body = json!({"topics": ["t"], "timeout": 60}).to_string();
            let request = Http::open(server.addr()).encode("POST", ROUTE, &[], body.as_bytes());
            link.send(request);
            wait_for_waiters(&server, 1);
            match cut {
                Cut::Finish => {
                    link.finish();
                    let end = Instant::now() + DEADLINE;
                    while link.take_response().is_none() {
                        link.fill(end);
                        assert!(Instant::now() < end, "no answer");
                    }
                }
                Cut::Reset => link.reset(),
                Cut::Close => drop(link),
            }
            wait_for_waiters(&server, 0);
        }
    });
}

#[test]
fn a_restart_lets_old_ids_start_at_the_oldest() {
    let mut server = Server::start(&[]);
    let old = server.publish("t", &json!({}))["message_id"].clone();
    assert_eq!(server.stop(), Some(0));
    let server = Server::start(&[]);
    let new = server.publish("t", &json!({}))["message_id"].clone();
    let body = json!({"topics": ["t"], "since": {"t": old}, "timeout": 5});
    let answer = check_relay(&server.post(ROUTE, body.to_string()));
    assert_eq!(ids(&answer["messages"]), [text(&new)]);
}

#[test]
fn a_gap_that_it_cannot_tell_is_no_reason_to_answer() {
    // Else its client, which has nothing to go on from, would ask again and again.
    let before = Server::start(&[]);
    let old = before.publish("t", &json!({}))["message_id"].clone();
    drop(before);
    let server = Server::start(&[]);
    let body = json!({"topics": ["t"], "since": {"t": old}, "timeout": 60});
    let mut http = send(&server, &body);
    wait_for_waiters(&server, 1);
    assert!(!http.has_answer());
    let published = server.publish("t", &json!({}));
    let answer = check_relay(&http.read_response());
    assert_eq!(answer["messages"][0]["message_id"], published["message_id"]);
}

fn send(server: &Server, body: &Value) -> Http {
    let mut http = Http::open(server.addr());
    let headers = [("Content-Type", "application/json")];
    let request = http.encode("POST", ROUTE, &headers, body.to_string().as_bytes());
    http.send(request);
    http
}

fn wait_for_waiters(server: &Server, count: u32) {
    server.wait_for_metric("proxy_poll_waiters", &[], count.into());
}

fn millis(stream_id: &str) -> u64 {
    let (millis, _) = stream_id.split_once('-').expect("it was checked");
    millis.parse().expect("it was checked")
}

/// The first 48 of the 70 bits of a position in base32hex.
fn millis_of_id(id: &Value) -> Option<u64> {
    let position = text(id).get(4..18)?;
    let bits = u128::from_str_radix(position, 32).ok()?;
    u64::try_from(bits >> 22).ok()
}
