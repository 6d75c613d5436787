//! A publish request with an `Idempotency-Key` is carried out once: whoever repeats it gets the first
//! answer, byte for byte, and no subscriber gets a message twice (SPEC section 3).

use std::net::SocketAddr;
use std::sync::Barrier;
use std::thread;

use serde_json::{Value, json};
use socket2::{Domain, Socket, Type};
use test_util::{Client, Http, Response, Server, with_workers};

const ONE: &str = "/api/v1/messages";
const BULK: &str = "/api/v1/messages/bulk";
const MESSAGE: &str = r#"{"topic":"t","payload":{"n":1}}"#;

fn keyed(http: &mut Http, path: &str, key: &str, body: &str) -> Response {
    let headers = [
        ("Content-Type", "application/json"),
        ("Idempotency-Key", key),
    ];
    http.request("POST", path, &headers, body.as_bytes())
}

fn is_replay(response: &Response) -> bool {
    let told = response.header("idempotent-replayed");
    assert!(matches!(told, None | Some("true")), "{response:?}");
    told.is_some()
}

/// What a subscriber of `t` has got once the message that is published last has come.
fn published(server: &Server) -> Vec<Value> {
    let last = server.publish("t", &json!({"last": true}));
    let (mut client, _) = Client::subscribed_from(server.addr(), &["t"], "earliest");
    let mut payloads = Vec::new();
    loop {
        let message = client.read_json();
        if message["message_id"] == last["message_id"] {
            return payloads;
        }
        payloads.push(message["payload"].clone());
    }
}

#[test]
fn a_repeat_gets_the_first_answer_and_publishes_nothing() {
    with_workers(|workers| {
        let server = Server::start(&["--workers", workers]);
        let bulk = r#"{"messages":[{"topic":"t","payload":{"n":2}},{"topic":"u","payload":{}}]}"#;
        for (path, body, status) in [(ONE, MESSAGE, 201), (BULK, bulk, 207)] {
            let first = keyed(&mut Http::open(server.addr()), path, path, body);
            assert_eq!((first.status, is_replay(&first)), (status, false));
            for _ in 0..10 {
                // Each on a connection of its own, so that other workers get some of them.
                let repeat = keyed(&mut Http::open(server.addr()), path, path, body);
                assert_eq!((repeat.status, is_replay(&repeat)), (status, true));
                assert_eq!(repeat.body, first.body);
                assert_eq!(repeat.header("content-type"), first.header("content-type"));
                assert_ne!(repeat.header("x-request-id"), first.header("x-request-id"));
            }
        }
        assert_eq!(published(&server), [json!({"n": 1}), json!({"n": 2})]);
        server.wait_for_metric("proxy_idempotent_replays_total", &[], 20.0);
    });
}

#[test]
fn of_identical_requests_at_once_one_is_carried_out() {
    const CONNECTIONS: usize = 16;
    const ROUNDS: usize = 50;
    with_workers(|workers| {
        let server = Server::start(&["--workers", workers]);
        let start = Barrier::new(CONNECTIONS);
        let answers: Vec<Vec<Response>> = thread::scope(|scope| {
            let client = || {
                let mut http = Http::open(server.addr());
                let ask = |round: usize| {
                    start.wait();
                    let body = json!({"topic": "t", "payload": {"n": round}}).to_string();
                    keyed(&mut http, ONE, &format!("key {round}"), &body)
                };
                (0..ROUNDS).map(ask).collect()
            };
            let clients: Vec<_> = (0..CONNECTIONS).map(|_| scope.spawn(client)).collect();
            clients.into_iter().map(|it| it.join().unwrap()).collect()
        });
        for round in 0..ROUNDS {
            let of_round = || answers.iter().map(|client| &client[round]);
            let first = of_round().filter(|answer| !is_replay(answer));
            assert_eq!(first.count(), 1, "one is the first");
            for answer in of_round() {
                assert_eq!(answer.status, 201);
                assert_eq!(answer.body, answers[0][round].body);
            }
        }
        let wanted: Vec<Value> = (0..ROUNDS).map(|n| json!({"n": n})).collect();
        assert_eq!(published(&server), wanted);
    });
}

#[test]
fn a_key_belongs_to_its_first_request() {
    let server = Server::start(&[]);
    let mut http = Http::open(server.addr());
    assert_eq!(keyed(&mut http, ONE, "k", MESSAGE).status, 201);
    let bulk = format!(r#"{{"messages":[{MESSAGE}]}}"#);
    let other = MESSAGE.replace('1', "2");
    for (path, body) in [(ONE, other.as_str()), (BULK, &bulk), (BULK, MESSAGE)] {
        let refused = keyed(&mut http, path, "k", body);
        assert_eq!(refused.status, 422);
        assert!(!is_replay(&refused));
        let error = refused.json();
        if body == MESSAGE {
            assert_eq!(
                error["error"], "VALIDATION_ERROR",
                "what is wrong comes first"
            );
            continue;
        }
        assert_eq!(error["error"], "IDEMPOTENCY_KEY_REUSED");
        assert!(error["detail"].is_string() && error["message"].is_string());
    }
    assert!(is_replay(&keyed(&mut http, ONE, "k", MESSAGE)));
    assert!(
        !is_replay(&keyed(&mut http, ONE, "K", MESSAGE)),
        "case matters"
    );
    let code = [("type", "http"), ("code", "IDEMPOTENCY_KEY_REUSED")];
    assert_eq!(server.metric("proxy_errors_total", &code), 2.0);
}

#[test]
fn what_published_nothing_is_not_remembered() {
    let server = Server::start(&["--topics-max", "1"]);
    let mut http = Http::open(server.addr());
    for _ in 0..2 {
        let invalid = keyed(&mut http, ONE, "k", r#"{"topic":"t"}"#);
        invalid.assert_error(422, "VALIDATION_ERROR");
        assert!(!is_replay(&invalid));
    }
    assert_eq!(keyed(&mut http, ONE, "k", MESSAGE).status, 201);
    for _ in 0..2 {
        let body = MESSAGE.replace("\"t\"", "\"u\"");
        let refused = keyed(&mut http, ONE, "l", &body);
        refused.assert_error(503, "SERVICE_UNAVAILABLE");
        assert!(!is_replay(&refused));
    }
    assert_eq!(keyed(&mut http, ONE, "l", MESSAGE).status, 201);
}

#[test]
fn a_full_memory_refuses_new_keys_only() {
    with_workers(|workers| {
        let flags = ["--workers", workers, "--idempotency-bytes-max", "128KiB"];
        let server = Server::start(&flags);
        let mut http = Http::open(server.addr());
        let topic = "\u{1d7d8}".repeat(255);
        let message = json!({"topic": topic, "payload": {}});
        let bulk = json!({"messages": vec![message; 100]}).to_string();
        let largest = keyed(&mut http, BULK, "largest", &bulk);
        assert_eq!(largest.status, 207, "it has room for the longest answer");
        let mut kept = 0;
        let refused = loop {
            let answer = keyed(&mut http, ONE, &format!("k{kept}"), MESSAGE);
            if answer.status != 201 {
                break answer;
            }
            kept += 1;
        };
        // An answer of 110 bytes takes a few hundred with all that belongs to it.
        let left = (128 << 10) - largest.body.len();
        assert!((left / 600..=left / 300).contains(&kept), "{kept}");
        refused.assert_error(503, "SERVICE_UNAVAILABLE");
        assert!(refused.header("retry-after").is_some());
        assert!(is_replay(&keyed(&mut http, ONE, "k0", MESSAGE)));
        let again = keyed(&mut http, BULK, "largest", &bulk);
        assert!(is_replay(&again) && again.body == largest.body);
        assert_eq!(http.post(ONE, MESSAGE).status, 201, "without a key as ever");
        assert_eq!(published(&server).len(), kept + 1);
    });
}

#[test]
fn callers_are_apart() {
    let server = Server::start(&[]);
    let publish_from = |host: [u8; 4]| {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::from((host, 0)).into()).unwrap();
        socket.connect(&server.addr().into()).unwrap();
        keyed(&mut Http::on(socket.into()), ONE, "k", MESSAGE)
    };
    let first = publish_from([127, 0, 0, 1]);
    let second = publish_from([127, 0, 0, 2]);
    assert!(!is_replay(&first) && !is_replay(&second));
    assert_ne!(first.body, second.body);
    assert_eq!(publish_from([127, 0, 0, 2]).body, second.body);
    assert_eq!(publish_from([127, 0, 0, 1]).body, first.body);
}
