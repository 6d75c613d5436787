//! Every message of `asyncapi.json` is met, both ways, and is as described. Those of the other tests are
//! looked at by sample.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Value, json};
use test_util::contract::wrong_with_message;
use test_util::tokens::{TOKEN_FLAGS, token};
use test_util::wire::handshake_with;
use test_util::{Http, Item, Server, Stream, Wire};

/// A stream has a sign of life after 15 s.
const SILENCE: Duration = Duration::from_secs(40);

/// The names of all messages of an operation.
fn described(server: &Server, operation: &str) -> BTreeSet<String> {
    let document = server.get("/asyncapi.json").json();
    let messages = &document["operations"][operation]["messages"];
    let messages = messages.as_array().expect("a list").iter();
    let name = |message: &Value| {
        let reference = message["$ref"].as_str().expect("a reference");
        reference.rsplit('/').next().map(str::to_owned)
    };
    messages.filter_map(name).collect()
}

/// A server that keeps two messages of a topic, of which it has had four; and the id of the first.
fn server() -> (Server, String, String) {
    let server = Server::start(&[&TOKEN_FLAGS[..], &["--max-messages-per-topic", "2"]].concat());
    let bearer = format!("Bearer {}", token(3600, &json!({})));
    let mut http = Http::open(server.addr());
    let mut publish = || {
        let headers = [("Authorization", &*bearer)];
        let body = br#"{"topic":"t","payload":{"n":1}}"#;
        let answer = http.request("POST", "/api/v1/messages", &headers, body);
        assert_eq!(answer.status, 201, "{answer:?}");
        answer.json()["message_id"].clone()
    };
    let ids: Vec<Value> = (0..4).map(|_| publish()).collect();
    let first = ids[0].as_str().expect("an id").to_owned();
    (server, bearer, first)
}

#[test]
fn on_a_websocket() {
    let (server, _, first) = server();
    // Of what ends within half a minute it hears at once.
    let bearer = format!("Bearer {}", token(20, &json!({})));
    let headers = [("Authorization", &*bearer)];
    let (mut wire, answer) =
        Wire::handshake(server.addr(), handshake_with(server.addr(), &headers));
    assert_eq!(answer.status, 101);
    let mut said = BTreeSet::new();
    let mut say = |wire: &mut Wire, message: Value| {
        assert_eq!(wrong_with_message("receive", &message.to_string()), None);
        said.insert(message["type"].as_str().expect("a type").to_owned());
        wire.send(0x81, message.to_string().as_bytes());
    };
    let start = json!({
        "type": "subscribe", "topics": ["t"], "client_id": "c", "offset": first, "heartbeat": 1,
    });
    say(&mut wire, start);
    say(
        &mut wire,
        json!({"type": "ack", "message_ids": [first], "confirm": true}),
    );
    say(&mut wire, json!({"type": "nack", "message_id": first}));
    say(&mut wire, json!({"type": "ping"}));
    // Nobody sends that, so it is not described.
    wire.send(0x81, br#"{"type":"nonsense"}"#);
    let mut left = described(&server, "send");
    while !left.is_empty() {
        let frame = wire.read().expect("it goes on");
        assert_eq!(frame.first, 0x81, "these do not come: {left:?}");
        let message: Value = serde_json::from_slice(&frame.payload).expect("JSON");
        assert_eq!(wrong_with_message("send", &message.to_string()), None);
        let kind = message["type"].as_str().expect("a type");
        left.remove(kind);
        // The rest follows when what these depend on has come.
        match kind {
            "auth_expiring" => {
                let auth = json!({"type": "auth", "token": token(3600, &json!({}))});
                say(&mut wire, auth);
            }
            "heartbeat" if left.contains("unsubscribed") => {
                say(&mut wire, json!({"type": "unsubscribe", "topics": ["t"]}));
            }
            _ => {}
        }
    }
    assert_eq!(said, described(&server, "receive"));
}

#[test]
fn on_a_stream() {
    let (server, bearer, first) = server();
    let path = format!("/api/v1/stream?topics=t&since={first}");
    let headers = [
        ("Authorization", &*bearer),
        ("Accept", "application/x-ndjson"),
    ];
    let mut stream = Stream::open_with(server.addr(), &path, &headers);
    let mut left = described(&server, "stream");
    while !left.is_empty() {
        let Item::Line(line) = stream.next(SILENCE) else {
            panic!("it ends without {left:?}");
        };
        assert_eq!(wrong_with_message("stream", &line), None);
        let message: Value = serde_json::from_str(&line).expect("JSON");
        let kind = message["type"].as_str().expect("a type");
        left.remove(kind);
        if kind == "heartbeat" {
            server.signal("TERM");
        }
    }
}
