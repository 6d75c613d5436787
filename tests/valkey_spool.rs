//! With a spool, what is published while Valkey is away is kept on disk, and stored when it is there again: each
//! message once and in its order, also after a restart of the server.

use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use test_util::poll::text;
use test_util::valkey::{instance, log_key};
use test_util::{Client, DEADLINE, Server, Valkey, ValkeyProxy, ValkeySetup, wait_until};

/// A server with a spool in a folder.
fn spooling(port: u16, folder: &Path, flags: &[&str]) -> Server {
    let folder = folder.to_str().expect("temporary folders have plain names");
    let own = [
        "--on-outage",
        "spool",
        "--spool-dir",
        folder,
        "--valkey-timeout",
        "1s",
    ];
    instance(port, &[&own[..], flags].concat())
}

fn publish(server: &Server, topic: &str, number: u64) -> (u16, Value) {
    let body = json!({"topic": topic, "payload": {"n": number}}).to_string();
    let answer = server.post("/api/v1/messages", body);
    (answer.status, answer.json())
}

/// The numbers of all messages of a topic, as the stream has them.
fn stored(valkey: &Valkey, topic: &str) -> Vec<u64> {
    let entries: Vec<(String, Vec<Vec<u8>>)> =
        valkey.command(&["XRANGE", &log_key(topic), "-", "+"]);
    let part = |fields: Vec<Vec<u8>>| {
        let fields = fields
            .chunks(2)
            .map(|pair| (pair[0].clone(), pair[1].clone()));
        let (_, part) = fields
            .into_iter()
            .find(|(name, _)| name == b"d")
            .expect("each entry has its part");
        let text = format!("{{{}", String::from_utf8(part).expect("JSON is UTF-8"));
        let message: Value = serde_json::from_str(&text).expect("it is JSON");
        message["payload"]["n"].as_u64().expect("it has its number")
    };
    entries
        .into_iter()
        .map(|(_, fields)| part(fields))
        .collect()
}

#[test]
fn an_outage_is_spooled_and_replayed_in_order() {
    let mut valkey = ValkeySetup::new().durable().start();
    let folder = tempfile::tempdir().unwrap();
    let server = spooling(valkey.port(), folder.path(), &[]);
    server.wait_until_ready();
    let mut live = Client::subscribed(server.addr(), &["t"]);
    assert_eq!(publish(&server, "t", 0).0, 201);
    assert_eq!(live.read_json()["payload"]["n"], 0);

    valkey.kill();
    server.wait_until_unready();
    for number in 1..=50 {
        let (status, answer) = publish(&server, "t", number);
        assert_eq!(
            (status, &answer["message_id"]),
            (202, &Value::Null),
            "{answer}"
        );
        assert_eq!(answer["topic"], "t");
        assert_eq!(text(&answer["timestamp"]).len(), 27);
    }
    let bulk = json!({"messages": [{"topic": "t", "payload": {"n": 51}}, {"topic": "u", "payload": {"n": 1}}]});
    let answer = server.post("/api/v1/messages/bulk", bulk.to_string());
    assert_eq!(answer.status, 207);
    for result in answer.json()["results"].as_array().unwrap() {
        assert_eq!(result["status"], "accepted");
        assert_eq!(result["message_id"], Value::Null);
    }
    server.wait_for_metric("proxy_spool_publications", &[], 52.0);

    valkey.restart();
    for number in 1..=51 {
        assert_eq!(live.read_json()["payload"]["n"], number, "in order");
    }
    server.wait_for_metric("proxy_spool_publications", &[], 0.0);
    assert_eq!(stored(&valkey, "t"), (0..=51).collect::<Vec<_>>());
    assert_eq!(stored(&valkey, "u"), [1]);
    server.wait_until_ready();
    assert_eq!(publish(&server, "t", 52).0, 201);
}

#[test]
fn what_is_spooled_outlives_the_server() {
    let mut valkey = ValkeySetup::new().durable().start();
    let folder = tempfile::tempdir().unwrap();
    let mut server = spooling(valkey.port(), folder.path(), &[]);
    server.wait_until_ready();
    valkey.kill();
    server.wait_until_unready();
    for number in 0..20 {
        assert_eq!(publish(&server, "t", number).0, 202);
    }
    server.signal("KILL");
    server.wait(DEADLINE);
    valkey.restart();
    let server = spooling(valkey.port(), folder.path(), &[]);
    server.wait_until_ready();
    wait_until("all are stored", DEADLINE, || {
        stored(&valkey, "t").len() >= 20
    });
    server.wait_for_metric("proxy_spool_publications", &[], 0.0);
    assert_eq!(stored(&valkey, "t"), (0..20).collect::<Vec<_>>());
    wait_until("the topic is listed", DEADLINE, || {
        server.get("/api/v1/topics").json()[0]["topic_name"] == "t"
    });
}

#[test]
fn what_was_stored_without_an_answer_is_not_stored_again() {
    let valkey = Valkey::start();
    let proxy = ValkeyProxy::start(valkey.address());
    let folder = tempfile::tempdir().unwrap();
    let server = spooling(proxy.port(), folder.path(), &[]);
    server.wait_until_ready();
    for number in 0..5 {
        proxy.drop_replies();
        let (status, answer) = publish(&server, "t", number);
        assert_eq!(status, 202, "{answer}");
        proxy.pass_replies();
        server.wait_for_metric("proxy_spool_publications", &[], 0.0);
        server.wait_until_ready();
    }
    assert_eq!(stored(&valkey, "t"), (0..5).collect::<Vec<_>>());
}

#[test]
fn a_full_spool_refuses_and_what_it_has_is_replayed() {
    let mut valkey = ValkeySetup::new().durable().start();
    let folder = tempfile::tempdir().unwrap();
    let flags = ["--spool-bytes-max", "1MiB", "--max-message-size", "256KiB"];
    let server = spooling(valkey.port(), folder.path(), &flags);
    server.wait_until_ready();
    valkey.kill();
    server.wait_until_unready();
    let mut spooled = 0;
    let refused = loop {
        let padding = "x".repeat(100_000);
        let body = json!({"topic": "t", "payload": {"n": spooled, "padding": padding}});
        let answer = server.post("/api/v1/messages", body.to_string());
        if answer.status != 202 {
            break answer;
        }
        spooled += 1;
    };
    refused.assert_error(503, "SERVICE_UNAVAILABLE");
    assert!(refused.header("retry-after").is_some());
    assert!((6..=10).contains(&spooled), "{spooled}");
    valkey.restart();
    server.wait_until_ready();
    wait_until("all are stored", DEADLINE, || {
        stored(&valkey, "t").len() as u64 >= spooled
    });
    assert_eq!(stored(&valkey, "t"), (0..spooled).collect::<Vec<_>>());
}

#[test]
fn a_ttl_runs_on_in_the_spool() {
    let mut valkey = ValkeySetup::new().durable().start();
    let folder = tempfile::tempdir().unwrap();
    let server = spooling(valkey.port(), folder.path(), &[]);
    server.wait_until_ready();
    valkey.kill();
    server.wait_until_unready();
    let short = json!({"topic": "t", "payload": {"n": 1}, "ttl": 1}).to_string();
    assert_eq!(server.post("/api/v1/messages", short).status, 202);
    let began = std::time::Instant::now();
    assert_eq!(publish(&server, "t", 2).0, 202);
    wait_until("the first has expired", DEADLINE, || {
        began.elapsed() > Duration::from_millis(1200)
    });
    valkey.restart();
    wait_until("the second is stored", DEADLINE, || {
        !stored(&valkey, "t").is_empty()
    });
    assert_eq!(stored(&valkey, "t"), [2]);
}
