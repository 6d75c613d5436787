//! What topics and their history promise where they live on Valkey: every instance says the same.

use serde_json::{Value, json};
use test_util::{Client, DEADLINE, Http, Response, Server, Valkey, wait_until};

const TOPICS: &str = "/api/v1/topics";

/// An instance on a store.
fn instance(valkey: &Valkey) -> Server {
    let port = valkey.port().to_string();
    let server = Server::start(&[
        "--storage-backend",
        "valkey",
        "--valkey-port",
        &port,
        "--workers",
        "2",
    ]);
    server.wait_until_ready();
    server
}

fn ask(server: &Server, method: &str, path: &str, body: &str) -> Response {
    let headers = [("Content-Type", "application/json")];
    Http::open(server.addr()).request(method, path, &headers, body.as_bytes())
}

fn ok(server: &Server, path: &str) -> Value {
    let response = server.get(path);
    assert_eq!(response.status, 200, "{path}: {response:?}");
    response.json()
}

/// What both say, but for subscribers, of which each knows its own.
fn both(one: &Server, other: &Server, path: &str) -> Value {
    let mut said = [one, other].map(|server| ok(server, path));
    for said in &mut said {
        without_subscribers(said);
    }
    let [one, other] = said;
    assert_eq!(one, other, "{path}");
    one
}

fn without_subscribers(said: &mut Value) {
    match said {
        Value::Array(items) => items.iter_mut().for_each(without_subscribers),
        Value::Object(members) => {
            members.remove("subscribers");
        }
        _ => {}
    }
}

fn publish(server: &Server, topic: &str, n: usize) -> String {
    text(&server.publish(topic, &json!({ "n": n }))["message_id"])
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
fn what_one_instance_is_told_the_other_shows() {
    let valkey = Valkey::start();
    let (one, other) = (instance(&valkey), instance(&valkey));
    let path = "/api/v1/topics/gr%C3%B6%C3%9Fe";
    other.get(path).assert_error(404, "NOT_FOUND");
    let body = json!({"topic_name": "größe", "description": "how \"large\""}).to_string();
    let response = one.post(TOPICS, &body);
    assert_eq!(response.status, 201, "{response:?}");
    let created = response.json();
    other.post(TOPICS, &body).assert_error(409, "CONFLICT");
    assert_eq!(names(&both(&one, &other, TOPICS)), ["größe"]);

    let ids = [publish(&one, "größe", 1), publish(&other, "größe", 2)];
    let shown = both(&one, &other, path);
    for key in [
        "topic_id",
        "topic_name",
        "owner_id",
        "created_at",
        "description",
    ] {
        assert_eq!(shown[key], created[key], "{key}");
    }
    assert_eq!(shown["message_count"], 2);
    assert_eq!(
        (&shown["oldest"], &shown["newest"]),
        (&json!(ids[0]), &json!(ids[1]))
    );

    let response = ask(&other, "PUT", path, r#"{"description": null}"#);
    assert_eq!(response.status, 200, "{response:?}");
    assert_eq!(response.json()["created_at"], created["created_at"]);
    assert_eq!(both(&one, &other, path)["description"], Value::Null);

    assert_eq!(ask(&other, "DELETE", path, "").status, 204);
    one.get(path).assert_error(404, "NOT_FOUND");
    ask(&one, "DELETE", path, "").assert_error(404, "NOT_FOUND");
    ask(&one, "PUT", path, r#"{"description": "x"}"#).assert_error(404, "NOT_FOUND");
    one.get(&format!("{path}/messages"))
        .assert_error(404, "NOT_FOUND");
    assert_eq!(both(&one, &other, TOPICS), json!([]));

    let next = publish(&one, "größe", 3);
    assert!(next > ids[1], "positions go on above those of before");
    let shown = both(&one, &other, path);
    assert_eq!(
        (&shown["message_count"], &shown["created_at"]),
        (&json!(1), &Value::Null)
    );
    assert_eq!(names(&both(&one, &other, TOPICS)), ["größe"]);
}

#[test]
fn lists_and_totals_take_in_all_topics() {
    let valkey = Valkey::start();
    let (one, other) = (instance(&valkey), instance(&valkey));
    for topic in ["b", "Z", "a-1"] {
        publish(&one, topic, 1);
        publish(&other, topic, 2);
    }
    let bulk: Vec<Value> = (0..40)
        .map(|n| json!({"topic": format!("c{n:02}"), "payload": {}}))
        .collect();
    let response = one.post(
        "/api/v1/messages/bulk",
        json!({ "messages": bulk }).to_string(),
    );
    assert_eq!(response.status, 207, "{response:?}");
    let all = names(&both(&one, &other, TOPICS));
    assert_eq!(all.len(), 43);
    assert_eq!(all[..4], ["Z", "a-1", "b", "c00"]);
    let few = both(&one, &other, "/api/v1/topics?limit=2&after=a-1");
    assert_eq!(names(&few), ["b", "c00"]);
    let totals = both(&one, &other, "/api/v1/topics/stats");
    assert_eq!(
        (&totals["topics"], &totals["messages"]),
        (&json!(43), &json!(46))
    );
    assert!(totals["bytes"].as_u64() > Some(46 * 100), "{totals}");
    assert_eq!(totals["evicted"], 0);
}

#[test]
fn pages_are_the_same_everywhere_and_end() {
    let valkey = Valkey::start();
    let (one, other) = (instance(&valkey), instance(&valkey));
    let published: Vec<String> = (0..25)
        .map(|n| publish(if n % 2 == 0 { &one } else { &other }, "t", n))
        .collect();
    for order in ["asc", "desc"] {
        let (mut read, mut cursor) = (Vec::new(), String::new());
        for turn in 0.. {
            let path = format!("/api/v1/topics/t/messages?limit=10&order={order}&cursor={cursor}");
            let page = both(&one, &other, &path);
            assert_eq!((&page["total"], &page["limit"]), (&json!(25), &json!(10)));
            read.extend(ids(&page));
            match page["next_cursor"].as_str() {
                Some(next) => cursor = next.to_owned(),
                None => break,
            }
            assert!(turn < 3, "there are three pages");
        }
        if order == "desc" {
            read.reverse();
        }
        assert_eq!(read, published, "{order}");
    }
    let page = ok(&one, "/api/v1/topics/t/messages?limit=1");
    assert_eq!(page["messages"][0]["payload"], json!({"n": 24}));
    assert_eq!(page["messages"][0]["topic"], "t");
    one.get("/api/v1/topics/t/messages?limit=0")
        .assert_error(400, "INVALID_REQUEST");
}

#[test]
fn expired_messages_stand_on_no_page() {
    let valkey = Valkey::start();
    let server = instance(&valkey);
    server.publish_message(&json!({"topic": "t", "payload": {}, "ttl": 1}));
    let kept = publish(&server, "t", 1);
    let path = "/api/v1/topics/t/messages";
    wait_until("the message has expired", DEADLINE, || {
        ids(&ok(&server, path)).len() == 1
    });
    assert_eq!(ids(&ok(&server, path)), [kept]);
}

#[test]
fn topics_survive_their_instances() {
    let valkey = Valkey::start();
    let mut first = instance(&valkey);
    let id = publish(&first, "t", 1);
    first.stop();
    let second = instance(&valkey);
    assert_eq!(names(&ok(&second, TOPICS)), ["t"]);
    assert_eq!(ids(&ok(&second, "/api/v1/topics/t/messages")), [id]);
}

#[test]
fn those_who_subscribe_to_a_removed_topic_go_on() {
    let valkey = Valkey::start();
    let (one, other) = (instance(&valkey), instance(&valkey));
    publish(&one, "t", 1);
    let mut client = Client::subscribed(one.addr(), &["t"]);
    assert_eq!(ok(&one, "/api/v1/topics/t")["subscribers"], 1);
    assert_eq!(ok(&other, "/api/v1/topics/t")["subscribers"], 0);
    assert_eq!(ask(&other, "DELETE", "/api/v1/topics/t", "").status, 204);
    let id = publish(&other, "t", 2);
    let message = client.read_json();
    assert_eq!(message["message_id"], json!(id), "{message}");
}

#[test]
fn questions_are_refused_while_the_store_is_away() {
    let mut valkey = Valkey::start();
    let server = instance(&valkey);
    publish(&server, "t", 1);
    valkey.kill();
    for path in [
        TOPICS,
        "/api/v1/topics/stats",
        "/api/v1/topics/t",
        "/api/v1/topics/t/messages",
    ] {
        server.get(path).assert_error(503, "SERVICE_UNAVAILABLE");
    }
    let body = json!({"topic_name": "u"}).to_string();
    server
        .post(TOPICS, &body)
        .assert_error(503, "SERVICE_UNAVAILABLE");
    ask(&server, "DELETE", "/api/v1/topics/t", "").assert_error(503, "SERVICE_UNAVAILABLE");
    valkey.restart();
    wait_until("it is asked again", DEADLINE, || {
        server.get(TOPICS).status == 200
    });
}
