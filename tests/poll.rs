//! `GET /api/v1/poll`: what it answers, when, and in what form.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use test_util::poll::{self, ids, list, text};
use test_util::{DEADLINE, Http, Poller, Server, assert_keys, wait_until, with_workers};

#[test]
fn what_is_there_is_answered_at_once() {
    with_workers(|workers| {
        let server = Server::start(&["--workers", workers]);
        let message = json!({"topic": "t", "payload": {"n": 1}, "metadata": {"k": "v"}});
        let published = server.publish_message(&message);
        let plain = server.publish("t", &json!({"n": 2}));
        let mut poller = Poller::open(server.addr(), &["t"], Some("earliest"));
        let answer = poller.poll("");
        assert_keys(&answer, &["messages", "next_offset", "has_more"]);
        let wanted = json!([
            {"message_id": published["message_id"], "topic": "t", "payload": {"n": 1},
             "timestamp": published["timestamp"], "metadata": {"k": "v"}},
            {"message_id": plain["message_id"], "topic": "t", "payload": {"n": 2},
             "timestamp": plain["timestamp"], "metadata": null},
        ]);
        assert_eq!(answer["messages"], wanted);
        assert_eq!(answer["next_offset"], plain["message_id"]);
        assert_eq!(answer["has_more"], false);
    });
}

#[test]
fn a_poll_without_since_waits_for_what_comes() {
    with_workers(|workers| {
        let server = Server::start(&["--workers", workers]);
        server.publish("t", &json!({"n": 0}));
        let mut poller = Poller::open(server.addr(), &["t"], None);
        poller.send("");
        wait_for_waiters(&server, 1);
        assert!(!poller.http.has_answer());
        let id = server.publish("t", &json!({"n": 1}))["message_id"].clone();
        let answer = poller.read();
        assert_eq!(ids(&answer["messages"]), [text(&id)]);
        wait_for_waiters(&server, 0);

        poller.send("");
        wait_for_waiters(&server, 1);
        let id = server.publish("t", &json!({"n": 2}))["message_id"].clone();
        assert_eq!(ids(&poller.read()["messages"]), [text(&id)]);
    });
}

#[test]
fn a_message_of_a_bulk_wakes_with_the_whole_bulk() {
    with_workers(|workers| {
        let server = Server::start(&["--workers", workers]);
        let mut poller = Poller::open(server.addr(), &["a", "b"], None);
        poller.send("limit=100");
        wait_for_waiters(&server, 1);
        let message = |n| json!({"topic": if n % 2 == 0 { "a" } else { "b" }, "payload": {"n": n}});
        let messages: Vec<Value> = (0..20).map(message).collect();
        let body = json!({"messages": messages}).to_string();
        assert_eq!(server.post("/api/v1/messages/bulk", body).status, 207);
        let mut got = Vec::new();
        while got.len() < 20 {
            let answer = poller.read();
            got.extend(
                list(&answer["messages"])
                    .iter()
                    .map(|m| m["payload"]["n"].clone()),
            );
            if got.len() < 20 {
                poller.send("limit=100");
            }
        }
        let of = |rest| {
            let is = move |n: &&Value| n.as_u64().is_some_and(|n| n % 2 == rest);
            got.iter().filter(is).cloned().collect::<Vec<_>>()
        };
        for rest in [0, 1] {
            let wanted: Vec<Value> = (0..20).filter(|n| n % 2 == rest).map(Value::from).collect();
            assert_eq!(of(rest), wanted, "in order");
        }
    });
}

#[test]
fn a_poll_without_news_is_answered_in_time() {
    with_workers(|workers| {
        let server = Server::start(&["--workers", workers]);
        for topics in [&["t"][..], &["a", "b"]] {
            let mut poller = Poller::open(server.addr(), topics, None);
            let began = Instant::now();
            let answer = poller.poll("timeout=1");
            let took = began.elapsed();
            assert!(took >= Duration::from_millis(990), "{took:?}");
            assert!(took < Duration::from_secs(4), "{took:?}");
            assert_keys(&answer, &["messages", "next_offset", "has_more", "timeout"]);
            assert_eq!(answer["timeout"], true);

            // What is published between two polls is not lost.
            let id = server.publish(topics[0], &json!({}))["message_id"].clone();
            let answer = poller.poll("timeout=1");
            assert_eq!(ids(&answer["messages"]), [text(&id)], "{topics:?}");
        }
    });
}

#[test]
fn a_timeout_of_0_only_looks() {
    let server = Server::start(&[]);
    let mut poller = Poller::open(server.addr(), &["t"], Some("earliest"));
    let began = Instant::now();
    assert_eq!(poller.poll("timeout=0")["timeout"], true);
    assert!(began.elapsed() < Duration::from_secs(2));
    let id = server.publish("t", &json!({}))["message_id"].clone();
    assert_eq!(ids(&poller.poll("timeout=0")["messages"]), [text(&id)]);
    assert_eq!(poller.poll("timeout=0")["timeout"], true);
}

#[test]
fn at_most_limit_and_whether_there_is_more() {
    with_workers(|workers| {
        let server = Server::start(&["--workers", workers]);
        for topics in [&["t"][..], &["a", "b", "c"]] {
            let published: Vec<Value> = (0..25)
                .map(|n| server.publish(topics[n % topics.len()], &json!({"n": n})))
                .collect();
            let wanted: Vec<&str> = published.iter().map(|m| text(&m["message_id"])).collect();
            let mut poller = Poller::open(server.addr(), topics, Some("earliest"));
            let mut got = Vec::new();
            for (more, count, has_more) in [("", 10, true), ("limit=14", 14, true), ("", 1, false)]
            {
                let answer = poller.poll(more);
                assert_eq!(list(&answer["messages"]).len(), count, "{answer}");
                assert_eq!(answer["has_more"], has_more, "{answer}");
                got.extend(ids(&answer["messages"]));
            }
            assert_same(&got, &wanted);
            let exactly = Poller::open(server.addr(), topics, Some("earliest")).poll("limit=25");
            assert_eq!(exactly["has_more"], false, "nothing is left");
            let all = Poller::open(server.addr(), topics, Some("earliest")).poll("limit=100");
            assert_eq!(ids(&all["messages"]).len(), 25);
        }
    });
}

#[test]
fn a_cursor_has_a_place_for_each_topic() {
    with_workers(|workers| {
        let server = Server::start(&["--workers", workers]);
        let topics: Vec<String> = (0..50).map(|n| format!("topic-{n}")).collect();
        let names: Vec<&str> = topics.iter().map(String::as_str).collect();
        let mut poller = Poller::open(server.addr(), &names, None);
        let cursor = text(&poller.poll("timeout=0")["next_offset"]).to_owned();
        let mut wanted: Vec<String> = Vec::new();
        for name in &names {
            wanted.push(text(&server.publish(name, &json!({}))["message_id"]).to_owned());
        }
        let answer = poller.poll("limit=100");
        assert_eq!(ids(&answer["messages"]).len(), 50);
        assert_eq!(poller.poll("timeout=0")["timeout"], true, "nothing twice");

        // A part of the topics can go on with the cursor, and in another order.
        for part in [&["topic-7"][..], &["topic-9", "topic-3"]] {
            let answer = Poller::open(server.addr(), part, Some(&cursor)).poll("limit=100");
            let mut got = ids(&answer["messages"]);
            got.sort();
            let mut wanted: Vec<&str> = part
                .iter()
                .filter_map(|name| names.iter().position(|other| other == name))
                .map(|index| wanted[index].as_str())
                .collect();
            wanted.sort_unstable();
            assert_eq!(got, wanted);
        }

        // A topic that the cursor lacks starts now.
        server.publish("new", &json!({}));
        let mut with_new = Poller::open(server.addr(), &["new", "topic-1"], Some(&cursor));
        let answer = with_new.poll("");
        assert_eq!(ids(&answer["messages"]), [wanted[1].as_str()]);
        let id = server.publish("new", &json!({}))["message_id"].clone();
        assert_eq!(ids(&with_new.poll("")["messages"]), [text(&id)]);
    });
}

#[test]
fn a_message_id_applies_to_each_topic_by_its_time() {
    with_workers(|workers| {
        let server = Server::start(&["--workers", workers]);
        let published: Vec<Value> = ["a", "b", "a", "b", "a"]
            .iter()
            .map(|topic| {
                until_the_next_millisecond();
                server.publish(topic, &json!({}))["message_id"].clone()
            })
            .collect();
        let since = text(&published[1]);
        let answer = Poller::open(server.addr(), &["a", "b"], Some(since)).poll("");
        let wanted: Vec<&str> = published[2..].iter().map(text).collect();
        assert_eq!(ids(&answer["messages"]), wanted, "merged by position");

        let answer = Poller::open(server.addr(), &["a"], Some(since)).poll("");
        assert_eq!(ids(&answer["messages"]), [wanted[0], wanted[2]]);
    });
}

#[test]
fn names_of_all_scripts_are_percent_decoded() {
    let server = Server::start(&[]);
    let id = server.publish("größe_日本", &json!({}))["message_id"].clone();
    let topics = ["größe_日本", "x"];
    let mut poller = Poller::open(server.addr(), &topics, Some("earliest"));
    let answer = poller.poll("");
    assert_eq!(ids(&answer["messages"]), [text(&id)]);
    assert_eq!(answer["messages"][0]["topic"], "größe_日本");
    let twice = server.get("/api/v1/poll?topics=x,x&timeout=0");
    poll::check(&twice, 1);
}

#[test]
fn wrong_parameters_are_refused_in_the_form_of_pydantic() {
    let server = Server::start(&[]);
    let http = &mut Http::open(server.addr());
    let many = (0..51)
        .map(|n| format!("t{n}"))
        .collect::<Vec<_>>()
        .join(",");
    let number = "Input should be a valid integer, unable to parse string as an integer";
    let cases = [
        (
            "",
            "topics",
            "missing",
            Some(("Field required", Value::Null, Value::Null)),
        ),
        ("topics=", "topics", "value_error", None),
        ("topics=a,,b", "topics", "value_error", None),
        ("topics=a%20b", "topics", "value_error", None),
        ("topics=--", "topics", "value_error", None),
        ("topics=%FF", "topics", "value_error", None),
        (&format!("topics={many}"), "topics", "value_error", None),
        (
            &format!("topics={}", "x".repeat(256)),
            "topics",
            "value_error",
            None,
        ),
        (
            "topics=t&timeout=61",
            "timeout",
            "less_than_equal",
            Some((
                "Input should be less than or equal to 60",
                json!("61"),
                json!({"le": 60}),
            )),
        ),
        (
            "topics=t&timeout=-1",
            "timeout",
            "greater_than_equal",
            Some((
                "Input should be greater than or equal to 0",
                json!("-1"),
                json!({"ge": 0}),
            )),
        ),
        (
            "topics=t&timeout=x",
            "timeout",
            "int_parsing",
            Some((number, json!("x"), Value::Null)),
        ),
        ("topics=t&timeout=1.5", "timeout", "int_parsing", None),
        ("topics=t&timeout=", "timeout", "int_parsing", None),
        (
            "topics=t&limit=0",
            "limit",
            "greater_than_equal",
            Some((
                "Input should be greater than or equal to 1",
                json!("0"),
                json!({"ge": 1}),
            )),
        ),
        (
            "topics=t&limit=101",
            "limit",
            "less_than_equal",
            Some((
                "Input should be less than or equal to 100",
                json!("101"),
                json!({"le": 100}),
            )),
        ),
        ("topics=t&limit=ten", "limit", "int_parsing", None),
        (
            "topics=t&limit=99999999999999999999999",
            "limit",
            "less_than_equal",
            None,
        ),
        ("topics=t&since=yesterday", "since", "value_error", None),
        ("topics=t&since=msg_1", "since", "value_error", None),
        ("topics=t&since=cur_1", "since", "value_error", None),
    ];
    for (query, name, kind, exact) in cases {
        let body = http
            .get(&format!("/api/v1/poll?{query}"))
            .assert_error(422, "VALIDATION_ERROR");
        let errors = list(&body["detail"]);
        assert_eq!(errors.len(), 1, "{query}: {body}");
        let error = &errors[0];
        assert_eq!(error["loc"], json!(["query", name]), "{query}: {body}");
        assert_eq!(error["type"], kind, "{query}: {body}");
        assert!(!text(&error["msg"]).is_empty(), "{query}: {body}");
        assert!(error.get("input").is_some(), "{query}: {body}");
        if let Some((message, input, context)) = exact {
            assert_eq!(error["msg"], message, "{query}");
            assert_eq!(error["input"], input, "{query}");
            assert_eq!(error["ctx"], context, "{query}");
        }
    }
    let all = http.get("/api/v1/poll?timeout=61&limit=0");
    let body = all.assert_error(422, "VALIDATION_ERROR");
    assert_eq!(list(&body["detail"]).len(), 3, "all errors at once: {body}");
}

#[test]
fn numbers_are_read_as_pydantic_reads_them() {
    let server = Server::start(&[]);
    server.publish("t", &json!({}));
    for number in ["0", "%2B5", "007", "1.0", "1_0", "%205%20"] {
        let query = format!("topics=t&since=earliest&timeout={number}");
        poll::check(&server.get(&format!("/api/v1/poll?{query}")), 1);
    }
}

#[test]
fn other_methods_and_spellings() {
    let server = Server::start(&[]);
    for method in ["HEAD", "POST", "PUT", "DELETE", "OPTIONS"] {
        let mut http = Http::open(server.addr());
        let response = http.request(method, "/api/v1/poll?topics=t", &[], b"");
        assert_eq!(response.status, 405, "{method}");
        assert_eq!(response.header("allow"), Some("GET"), "{method}");
    }
    let response = server.get("/api/v1/poll/?topics=a,b&timeout=0");
    assert_eq!(response.status, 307);
    let location = response.header("location").expect("where to");
    assert!(
        location.ends_with("/api/v1/poll?topics=a,b&timeout=0"),
        "{location}"
    );
}

#[test]
fn what_was_trimmed_is_named() {
    with_workers(|workers| {
        let flags = ["--workers", workers, "--max-messages-per-topic", "5"];
        let server = Server::start(&flags);
        let publish = |topic| server.publish(topic, &json!({}))["message_id"].clone();
        let a: Vec<Value> = (0..10).map(|_| publish("a")).collect();
        let mut poller = Poller::open(server.addr(), &["a"], Some(text(&a[1])));
        let answer = poller.poll("");
        assert_gap(&answer, "a", &a[1], &a[4], "trimmed");
        let kept: Vec<&str> = a[5..].iter().map(text).collect();
        assert_eq!(ids(&answer["messages"]), kept);
        let answer = poller.poll("timeout=0");
        assert_eq!(answer["timeout"], true);
        assert_eq!(answer.get("gaps"), None, "a gap is told once");

        let mut both = Poller::open(server.addr(), &["a", "b"], None);
        both.poll("timeout=0");
        let b = publish("b");
        let more: Vec<Value> = (0..10).map(|_| publish("a")).collect();
        let answer = both.poll("limit=100");
        assert_eq!(list(&answer["gaps"]).len(), 1, "{answer}");
        assert_gap(&answer, "a", &a[9], &more[4], "trimmed");
        let wanted: Vec<&str> = [&b].into_iter().chain(&more[5..]).map(text).collect();
        assert_eq!(ids(&answer["messages"]), wanted);
    });
}

#[test]
fn an_expired_message_is_neither_delivered_nor_a_gap() {
    with_workers(|workers| {
        let server = Server::start(&["--workers", workers]);
        let first = server.publish("t", &json!({}))["message_id"].clone();
        let short = json!({"topic": "t", "payload": {"short": true}, "ttl": 1});
        let short = server.publish_message(&short)["message_id"].clone();
        let mut poller = Poller::open(server.addr(), &["t"], Some(text(&first)));
        assert_eq!(ids(&poller.poll("")["messages"]), [text(&short)]);
        wait_until("its time is over", DEADLINE, || {
            let again = Poller::open(server.addr(), &["t"], Some(text(&first))).poll("timeout=0");
            assert_eq!(again.get("gaps"), None);
            again.get("timeout").is_some()
        });
        let last = server.publish("t", &json!({}))["message_id"].clone();
        let answer = Poller::open(server.addr(), &["t"], Some(text(&first))).poll("");
        assert_eq!(ids(&answer["messages"]), [text(&last)]);
        assert_eq!(answer.get("gaps"), None);
        assert_eq!(ids(&poller.poll("")["messages"]), [text(&last)]);
    });
}

#[test]
fn deliveries_are_counted() {
    let server = Server::start(&[]);
    (0..3).for_each(|_| _ = server.publish("t", &json!({})));
    Poller::open(server.addr(), &["t"], Some("earliest")).poll("");
    let labels = [("topic", "t"), ("delivery_type", "longpoll")];
    server.wait_for_metric("proxy_messages_delivered_total", &labels, 3.0);
    let labels = [
        ("handler", "/api/v1/poll"),
        ("method", "GET"),
        ("status", "2xx"),
    ];
    server.wait_for_metric("http_requests_total", &labels, 1.0);
}

fn wait_for_waiters(server: &Server, count: u32) {
    server.wait_for_metric("proxy_poll_waiters", &[], count.into());
}

fn assert_gap(answer: &Value, topic: &str, from: &Value, to: &Value, reason: &str) {
    let gap = &list(&answer["gaps"])[0];
    let wanted = json!({"topic": topic, "from": from, "to": to, "reason": reason});
    let mut found = gap.clone();
    if let Some(fields) = found.as_object_mut() {
        fields.remove("type");
    }
    assert_eq!(found, wanted);
}

/// Positions of several topics may share a millisecond and a counter, so that only the whole
/// matters here.
fn assert_same(got: &[String], wanted: &[&str]) {
    let (mut got, mut wanted) = (got.to_vec(), wanted.to_vec());
    got.sort();
    wanted.sort_unstable();
    assert_eq!(got, wanted);
}

/// Waits for the clock itself, since positions of different topics are ordered by it.
fn until_the_next_millisecond() {
    let began = std::time::SystemTime::now();
    let moment = Duration::from_millis(2);
    while began.elapsed().is_ok_and(|elapsed| elapsed < moment) {
        std::thread::yield_now();
    }
}
