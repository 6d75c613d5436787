//! What topics and their history promise: listing, creating, describing, removing, pages.

use serde_json::{Value, json};
use test_util::{Client, DEADLINE, Http, Response, Server, assert_keys, wait_until, with_workers};

const TOPICS: &str = "/api/v1/topics";
const CREATED: [&str; 5] = [
    "topic_id",
    "topic_name",
    "owner_id",
    "created_at",
    "description",
];
const FIGURES: [&str; 5] = ["message_count", "bytes", "subscribers", "oldest", "newest"];

fn put(server: &Server, path: &str, body: &str) -> Response {
    let headers = [("Content-Type", "application/json")];
    Http::open(server.addr()).request("PUT", path, &headers, body.as_bytes())
}

fn delete(server: &Server, path: &str) -> Response {
    Http::open(server.addr()).request("DELETE", path, &[], b"")
}

fn ok(server: &Server, path: &str) -> Value {
    let response = server.get(path);
    assert_eq!(response.status, 200, "{path}: {response:?}");
    assert_eq!(response.header("content-type"), Some("application/json"));
    response.json()
}

fn publish(server: &Server, topic: &str, n: usize) -> String {
    let answer = server.publish(topic, &json!({ "n": n }));
    text(&answer["message_id"])
}

fn text(value: &Value) -> String {
    value.as_str().expect("a string").to_owned()
}

fn names(list: &Value) -> Vec<String> {
    let list = list.as_array().expect("a list");
    list.iter().map(|it| text(&it["topic_name"])).collect()
}

fn ids(page: &Value) -> Vec<String> {
    let messages = page["messages"].as_array().expect("a list");
    messages.iter().map(|it| text(&it["message_id"])).collect()
}

#[test]
fn a_topic_is_created_described_and_removed() {
    with_workers(|workers| {
        let server = Server::start(&["--workers", workers]);
        let path = "/api/v1/topics/gr%C3%B6%C3%9Fe";
        server.get(path).assert_error(404, "NOT_FOUND");
        let body = json!({"topic_name": "größe", "description": "how \"large\""}).to_string();
        let response = server.post(TOPICS, &body);
        assert_eq!(response.status, 201, "{response:?}");
        let created = response.json();
        assert_keys(&created, &CREATED);
        let id = publish(&server, "größe", 1);
        assert_eq!(created["topic_id"], format!("topic_{}", &id[22..]));
        assert_eq!(created["topic_name"], "größe");
        assert_eq!(created["owner_id"], Value::Null);
        assert_eq!(created["description"], "how \"large\"");
        assert_eq!(text(&created["created_at"]).len(), 27);
        server.post(TOPICS, &body).assert_error(409, "CONFLICT");

        let shown = ok(&server, path);
        assert_keys(&shown, &[CREATED, FIGURES].concat());
        for key in CREATED {
            assert_eq!(shown[key], created[key], "{key}");
        }
        assert_eq!(shown["message_count"], 1);
        assert_eq!(
            (&shown["oldest"], &shown["newest"]),
            (&json!(id), &json!(id))
        );

        let updated = put(&server, path, r#"{"description":null}"#);
        assert_eq!(updated.status, 200, "{updated:?}");
        let updated = updated.json();
        assert_keys(&updated, &CREATED);
        assert_eq!(updated["description"], Value::Null);
        assert_eq!(updated["created_at"], created["created_at"]);

        let removed = delete(&server, path);
        assert_eq!((removed.status, removed.body.len()), (204, 0));
        delete(&server, path).assert_error(404, "NOT_FOUND");
        server.get(path).assert_error(404, "NOT_FOUND");
        put(&server, path, r#"{"description":"x"}"#).assert_error(404, "NOT_FOUND");
        assert_eq!(ok(&server, TOPICS), json!([]));
    });
}

#[test]
fn what_is_not_there_says_so() {
    let server = Server::start(&[]);
    for path in [
        "/api/v1/topics/unknown",
        "/api/v1/topics/a%20b",
        "/api/v1/topics/--",
        "/api/v1/topics/unknown/messages",
        "/api/v1/topics/a.b/messages",
    ] {
        let response = server.get(path);
        response.assert_error(404, "NOT_FOUND");
        assert_eq!(response.json()["detail"], "Topic not found", "{path}");
    }
    delete(&server, "/api/v1/topics/unknown").assert_error(404, "NOT_FOUND");
    put(&server, "/api/v1/topics/a.b", "{}").assert_error(404, "NOT_FOUND");
    let response = server.get("/api/v1/topics/a/b");
    assert_eq!(response.json()["detail"], "Not Found");
}

#[test]
fn bodies_that_break_the_rules_are_listed() {
    let server = Server::start(&[]);
    let long = "x".repeat(1001);
    for (body, kind, field) in [
        (json!({}), "missing", "topic_name"),
        (json!({"topic_name": 1}), "string_type", "topic_name"),
        (json!({"topic_name": ""}), "string_too_short", "topic_name"),
        (json!({"topic_name": "a b"}), "value_error", "topic_name"),
        (json!({"topic_name": "stats"}), "value_error", "topic_name"),
        (
            json!({"topic_name": "a", "description": []}),
            "string_type",
            "description",
        ),
        (
            json!({"topic_name": "a", "description": long}),
            "string_too_long",
            "description",
        ),
    ] {
        let response = server.post(TOPICS, body.to_string());
        response.assert_error(422, "VALIDATION_ERROR");
        let detail = &response.json()["detail"][0];
        assert_eq!(detail["type"], kind, "{body}");
        assert_eq!(detail["loc"], json!(["body", field]));
    }
    publish(&server, "t", 1);
    let response = put(&server, "/api/v1/topics/t", "{}");
    response.assert_error(422, "VALIDATION_ERROR");
    assert_eq!(response.json()["detail"][0]["type"], "missing");
}

#[test]
fn methods_and_slashes() {
    let server = Server::start(&[]);
    let mut http = Http::open(server.addr());
    for (path, allow) in [
        (TOPICS, "GET, HEAD, POST"),
        ("/api/v1/topics/a", "GET, HEAD, PUT, DELETE"),
        ("/api/v1/topics/a/messages", "GET, HEAD"),
        ("/api/v1/topics/stats", "GET, HEAD"),
    ] {
        let response = http.request("PATCH", path, &[], b"");
        response.assert_error(405, "METHOD_NOT_ALLOWED");
        assert_eq!(response.header("allow"), Some(allow));
        let response = http.get(&format!("{path}/?limit=1"));
        assert_eq!(response.status, 307, "{path}");
        let location = response.header("location").unwrap_or_default();
        assert!(location.ends_with(&format!("{path}?limit=1")), "{location}");
    }
    let response = http.get("/api/v1/topics/%61%2f");
    assert_eq!(response.status, 307);
    assert_eq!(response.header("location"), Some("/api/v1/topics/%61"));
    publish(&server, "a", 1);
    let got = http.get("/api/v1/topics/%61");
    let head = http.request("HEAD", "/api/v1/topics/a", &[], b"");
    assert_eq!((got.status, head.status), (200, 200));
    assert_eq!(head.header("content-length"), got.header("content-length"));
}

#[test]
fn the_list_has_every_topic_by_name_and_in_pages() {
    with_workers(|workers| {
        let server = Server::start(&["--workers", workers]);
        let mut wanted: Vec<String> = (0..25).map(|n| format!("t{n}")).collect();
        wanted.sort();
        for name in &wanted {
            publish(&server, name, 1);
        }
        let list = ok(&server, TOPICS);
        assert_eq!(names(&list), wanted);
        assert_keys(&list[0], &[&["topic_name"], &FIGURES[..]].concat());
        let (mut paged, mut after) = (Vec::new(), String::new());
        loop {
            let page = names(&ok(&server, &format!("{TOPICS}?limit=10&after={after}")));
            let Some(last) = page.last() else { break };
            assert!(page.len() <= 10);
            after = last.clone();
            paged.extend(page);
        }
        assert_eq!(paged, wanted);
        for query in ["limit=0", "limit=x", "limit=-5"] {
            server
                .get(&format!("{TOPICS}?{query}"))
                .assert_error(400, "INVALID_REQUEST");
        }
    });
}

#[test]
fn subscribers_are_counted_while_they_are_there() {
    with_workers(|workers| {
        let server = Server::start(&["--workers", workers]);
        let mut clients: Vec<Client> = (0..5)
            .map(|_| Client::subscribed(server.addr(), &["a", "b"]))
            .collect();
        let totals = ok(&server, "/api/v1/topics/stats");
        assert_keys(
            &totals,
            &["topics", "messages", "bytes", "subscribers", "evicted"],
        );
        assert_eq!(
            (&totals["topics"], &totals["subscribers"]),
            (&json!(2), &json!(10))
        );
        let shown = ok(&server, "/api/v1/topics/a");
        assert_eq!(
            (&shown["subscribers"], &shown["created_at"]),
            (&json!(5), &Value::Null)
        );
        assert_eq!(
            (&shown["oldest"], &shown["newest"]),
            (&Value::Null, &Value::Null)
        );
        while clients.pop().is_some() {
            let left = clients.len() as u64;
            wait_until("a subscriber is counted out", DEADLINE, || {
                let totals = ok(&server, "/api/v1/topics/stats");
                totals["subscribers"] == json!(2 * left)
            });
        }
        assert_eq!(ok(&server, TOPICS), json!([]), "nobody would miss them");
    });
}

#[test]
fn history_is_read_in_pages_in_both_orders() {
    with_workers(|workers| {
        let server = Server::start(&["--workers", workers]);
        let published: Vec<String> = (0..23).map(|n| publish(&server, "t", n)).collect();
        let history = "/api/v1/topics/t/messages";
        let first = ok(&server, history);
        assert_keys(
            &first,
            &[
                "messages",
                "total",
                "limit",
                "order",
                "cursor",
                "next_cursor",
            ],
        );
        assert_eq!((&first["total"], &first["limit"]), (&json!(23), &json!(10)));
        assert_eq!(
            (&first["order"], &first["cursor"]),
            (&json!("desc"), &Value::Null)
        );
        let message = &first["messages"][0];
        assert_keys(
            message,
            &["message_id", "topic", "payload", "timestamp", "metadata"],
        );
        assert_eq!(message["payload"], json!({"n": 22}));
        for order in ["asc", "desc"] {
            let (mut read, mut cursor) = (Vec::new(), String::new());
            loop {
                let query = format!("limit=7&order={order}&cursor={cursor}");
                let page = ok(&server, &format!("{history}?{query}"));
                read.extend(ids(&page));
                let Some(next) = page["next_cursor"].as_str() else {
                    break;
                };
                assert_eq!(ids(&page).last().map(String::as_str), Some(next));
                cursor = next.to_owned();
            }
            if order == "desc" {
                read.reverse();
            }
            assert_eq!(read, published, "{order}");
        }
        let all = ok(&server, &format!("{history}?limit=5000&order=asc"));
        assert_eq!((&all["limit"], ids(&all).len()), (&json!(100), 23));
        let foreign = publish(&server, "other", 1);
        for query in [
            "limit=0".to_owned(),
            "limit=ten".to_owned(),
            "order=up".to_owned(),
            "cursor=last".to_owned(),
            format!("cursor={foreign}"),
        ] {
            let response = server.get(&format!("{history}?{query}"));
            response.assert_error(400, "INVALID_REQUEST");
        }
    });
}

#[test]
fn payload_bytes_in_history_are_those_that_came() {
    let server = Server::start(&[]);
    let payload = r#"{"n":1.0,"big":1e999,"s":"\u00e9\ud800","twice":1,"twice":2}"#;
    let body = format!(r#"{{"topic":"t","payload":{payload},"metadata":{{"k":"v"}}}}"#);
    assert_eq!(server.post("/api/v1/messages", body).status, 201);
    let page = server.get("/api/v1/topics/t/messages").text();
    assert!(page.contains(&format!("\"payload\":{payload},")), "{page}");
    assert!(page.contains(r#""metadata":{"k":"v"}}]"#), "{page}");
}

#[test]
fn a_page_is_bounded_in_bytes_and_goes_on() {
    let server = Server::start(&[]);
    let filler = "x".repeat(1_000_000);
    let published: Vec<String> = (0..9)
        .map(|_| text(&server.publish("t", &json!({ "f": filler }))["message_id"]))
        .collect();
    let (mut read, mut cursor, mut pages) = (Vec::new(), String::new(), 0);
    loop {
        let path = format!("/api/v1/topics/t/messages?limit=100&order=asc&cursor={cursor}");
        let response = server.get(&path);
        assert!(response.body.len() <= (4 << 20) + 1024);
        let page = response.json();
        read.extend(ids(&page));
        pages += 1;
        let Some(next) = page["next_cursor"].as_str() else {
            break;
        };
        cursor = next.to_owned();
    }
    assert_eq!((read, pages), (published, 3));
}

#[test]
fn cursors_of_what_is_gone() {
    let server = Server::start(&["--max-messages-per-topic", "5"]);
    let published: Vec<String> = (0..20).map(|n| publish(&server, "t", n)).collect();
    let page = |server: &Server, order: &str, cursor: &str| {
        let path = format!("/api/v1/topics/t/messages?order={order}&cursor={cursor}");
        ids(&ok(server, &path))
    };
    let kept = page(&server, "asc", "");
    assert!(published.ends_with(&kept) && !kept.is_empty());
    assert_eq!(page(&server, "asc", &published[0]), kept, "trimmed");
    assert!(page(&server, "desc", &published[0]).is_empty());
    assert!(page(&server, "asc", &published[19]).is_empty());

    let other = Server::start(&[]);
    let again = publish(&other, "t", 1);
    assert_eq!(
        page(&other, "asc", &published[19]),
        [again],
        "another epoch"
    );
    assert!(page(&other, "desc", &published[19]).is_empty());
}

#[test]
fn expired_messages_are_neither_shown_nor_counted() {
    let server = Server::start(&[]);
    server.publish_message(&json!({"topic": "t", "payload": {}, "ttl": 1}));
    let kept = publish(&server, "t", 1);
    wait_until("the message expires", DEADLINE, || {
        let page = ok(&server, "/api/v1/topics/t/messages");
        assert_eq!(page["total"], ids(&page).len());
        ids(&page) == [kept.clone()]
    });
    let shown = ok(&server, "/api/v1/topics/t");
    assert_eq!(
        (&shown["message_count"], &shown["oldest"]),
        (&json!(1), &json!(kept))
    );
}

#[test]
fn subscribers_of_a_removed_topic_go_on() {
    with_workers(|workers| {
        let server = Server::start(&["--workers", workers]);
        let before = publish(&server, "t", 0);
        let mut client = Client::subscribed(server.addr(), &["t"]);
        publish(&server, "t", 1);
        assert_eq!(client.read_json()["payload"]["n"], 1);
        assert_eq!(delete(&server, "/api/v1/topics/t").status, 204);
        let shown = ok(&server, "/api/v1/topics/t");
        assert_eq!(
            (&shown["message_count"], &shown["subscribers"]),
            (&json!(0), &json!(1))
        );
        publish(&server, "t", 2);
        assert_eq!(client.read_json()["payload"]["n"], 2);
        // Who comes back from before the removal is told what is lost.
        let (mut late, reply) = Client::subscribed_from(server.addr(), &["t"], &before);
        assert_eq!(reply["recovered"], json!({"t": false}));
        let gap = late.read_json();
        assert_eq!(
            (&gap["type"], &gap["reason"]),
            (&json!("gap"), &json!("trimmed"))
        );
        assert_eq!(late.read_json()["payload"]["n"], 2);
    });
}

#[test]
fn created_topics_stay_and_count_against_the_limit() {
    with_workers(|workers| {
        let server = Server::start(&[
            "--workers",
            workers,
            "--topics-max",
            "2",
            "--subscriptions-max",
            "2",
        ]);
        let create = |name: &str| server.post(TOPICS, json!({ "topic_name": name }).to_string());
        drop(Client::subscribed(server.addr(), &["a"]));
        assert_eq!(create("a").status, 201);
        assert_eq!(create("b").status, 201);
        let full = create("c");
        full.assert_error(503, "SERVICE_UNAVAILABLE");
        assert!(full.header("retry-after").is_some());
        assert_eq!(names(&ok(&server, TOPICS)), ["a", "b"]);
        assert_eq!(delete(&server, "/api/v1/topics/a").status, 204);
        wait_until("a place is free", DEADLINE, || create("c").status == 201);
    });
}

#[test]
fn a_topic_in_use_is_taken_over() {
    let server = Server::start(&[]);
    publish(&server, "t", 1);
    let shown = ok(&server, "/api/v1/topics/t");
    assert_eq!(shown["created_at"], Value::Null);
    assert_eq!(server.post(TOPICS, r#"{"topic_name":"t"}"#).status, 201);
    assert_eq!(ok(&server, "/api/v1/topics/t")["message_count"], 1);
    publish(&server, "u", 1);
    let described = put(&server, "/api/v1/topics/u", r#"{"description":"x"}"#);
    assert_eq!(described.status, 200);
    assert!(described.json()["created_at"].is_string());
    server
        .post(TOPICS, r#"{"topic_name":"u"}"#)
        .assert_error(409, "CONFLICT");
}

#[test]
fn a_topic_named_stats_has_a_history_and_no_page() {
    let server = Server::start(&[]);
    publish(&server, "stats", 1);
    assert_eq!(ok(&server, "/api/v1/topics/stats")["topics"], 1);
    assert_eq!(ok(&server, "/api/v1/topics/stats/messages")["total"], 1);
    delete(&server, "/api/v1/topics/stats").assert_error(405, "METHOD_NOT_ALLOWED");
}
