//! Heartbeats in data frames, for clients behind proxies that let no ping through.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use test_util::{Client, Event, Server, assert_keys, with_workers};

#[test]
fn who_asks_gets_one_about_every_second() {
    with_workers(|workers| {
        let server = Server::start(&["--workers", workers]);
        let mut client = Client::connect(server.addr());
        let began = Instant::now();
        client.subscribe(json!({"topics": ["t"], "heartbeat": 1}));
        let mut times = Vec::new();
        for _ in 0..3 {
            let heartbeat = client.read_json();
            assert_keys(&heartbeat, &["type", "timestamp"]);
            assert_eq!(heartbeat["type"], "heartbeat", "{heartbeat}");
            let timestamp = heartbeat["timestamp"].as_str().expect("a time").to_owned();
            assert_eq!(timestamp.len(), "2026-01-31T12:00:00.123456Z".len());
            times.push(timestamp);
        }
        let took = began.elapsed();
        assert!(took >= Duration::from_millis(2_500), "{took:?}");
        assert!(took < Duration::from_secs(8), "{took:?}");
        assert!(times.is_sorted(), "{times:?}");
    });
}

#[test]
fn messages_come_between_them() {
    with_workers(|workers| {
        let server = Server::start(&["--workers", workers]);
        let mut client = Client::connect(server.addr());
        client.subscribe(json!({"topics": ["t"], "heartbeat": 1}));
        let mut heartbeats = 0;
        for n in 0..20 {
            server.publish("t", &json!({"n": n}));
            loop {
                let message = client.read_json();
                if message["type"] == "heartbeat" {
                    heartbeats += 1;
                    continue;
                }
                assert_eq!(message["payload"], json!({"n": n}));
                break;
            }
        }
        // However quickly the messages came, the next heartbeat comes too.
        while heartbeats < 2 {
            assert_eq!(client.read_json()["type"], "heartbeat");
            heartbeats += 1;
        }
    });
}

#[test]
fn who_does_not_ask_gets_none() {
    let server = Server::start(&[]);
    let mut asking = Client::connect(server.addr());
    asking.subscribe(json!({"topics": ["t"], "heartbeat": 1}));
    let mut plain = Client::subscribed(server.addr(), &["t"]);
    let mut off = Client::connect(server.addr());
    off.subscribe(json!({"topics": ["t"], "heartbeat": 0}));
    (0..2).for_each(|_| assert_eq!(asking.read_json()["type"], "heartbeat"));
    for client in [&mut plain, &mut off] {
        assert_eq!(client.next(Duration::from_millis(1)), Event::Nothing);
        client.assert_quiet();
    }
}

#[test]
fn wrong_wishes_are_refused() {
    let server = Server::start(&[]);
    let wrong: [Value; 6] = [
        json!(-1),
        json!(3601),
        json!(0.5),
        json!("5"),
        json!([]),
        json!(true),
    ];
    for heartbeat in wrong {
        let mut client = Client::subscribed(server.addr(), &["t"]);
        client.send(&json!({
            "type": "subscribe", "topics": ["u"], "client_id": "c", "heartbeat": heartbeat,
        }));
        let error = client.read_json();
        assert_eq!(error["code"], "PROCESSING_ERROR", "{heartbeat}: {error}");
        client.assert_quiet();
    }
}
