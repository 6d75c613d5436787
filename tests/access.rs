//! Credentials: who is let in, what they may do, and what ends when they are trusted no more.

use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tempfile::TempDir;
use test_util::everywhere::everywhere;
use test_util::link::Link;
use test_util::wire::{handshake_with, subscribe};
use test_util::{
    DEADLINE, Http, Program, Response, Server, Stream, Valkey, Wire, wait_until, with_workers,
};

const MESSAGE: &[u8] = br#"{"topic":"orders-1","payload":{}}"#;
const PUBLISH: &str = "/api/v1/messages";

/// The keys of the table in `docs/SECURITY.md`.
const KEYS: [(&str, &str); 5] = [
    ("read", r#"permissions = ["read"]"#),
    ("write", r#"permissions = ["write"]"#),
    ("out", r#"subscribe = ["orders-*"]"#),
    ("in", r#"publish = ["orders-*"]"#),
    ("admin", r#"permissions = ["admin"]"#),
];

/// A file of keys, whose secrets are `secret-` and their names.
struct KeyFile {
    path: PathBuf,
    _directory: TempDir,
}

impl KeyFile {
    fn new() -> KeyFile {
        let directory = tempfile::tempdir().expect("a directory");
        let file = KeyFile {
            path: directory.path().join("keys.toml"),
            _directory: directory,
        };
        file.write(&KEYS);
        file
    }

    fn write(&self, keys: &[(&str, &str)]) {
        let mut text = String::new();
        for (name, rights) in keys {
            let hash = hash(&secret(name));
            let _ = writeln!(
                text,
                "[[key]]\nname = \"{name}\"\nhash = \"{hash}\"\n{rights}\n"
            );
        }
        fs::write(&self.path, text).expect("the file is written");
    }

    fn path(&self) -> &str {
        self.path.to_str().expect("a path of text")
    }
}

fn secret(name: &str) -> String {
    format!("secret-{name}")
}

fn hash(secret: &str) -> String {
    let digest = Sha256::digest(secret);
    let hex = digest.iter().fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    });
    format!("sha256:{hex}")
}

fn bearer(name: &str) -> String {
    format!("Bearer {}", secret(name))
}

/// Who sends, as headers.
fn headers(name: &str) -> Vec<(String, String)> {
    match name {
        "none" => Vec::new(),
        name => vec![("Authorization".to_owned(), bearer(name))],
    }
}

fn ask(server: &Server, request: &str, name: &str) -> Response {
    let mut parts = request.splitn(3, ' ');
    let (method, path) = (
        parts.next().expect("a method"),
        parts.next().expect("a path"),
    );
    let body = parts.next().unwrap_or_default();
    let headers = headers(name);
    let mut headers: Vec<(&str, &str)> = headers
        .iter()
        .map(|(name, value)| (&**name, &**value))
        .collect();
    if path == "/ws" {
        return Wire::handshake(server.addr(), handshake_with(server.addr(), &headers)).1;
    }
    if !body.is_empty() {
        headers.push(("Content-Type", "application/json"));
    }
    let mut http = Http::open(server.addr());
    let request = http.encode(method, path, &headers, body.as_bytes());
    http.send(request);
    // That of a stream does not end.
    http.read_response_to_head()
}

fn send(server: &Server, headers: &[(&str, &str)], body: &[u8]) -> Response {
    Http::open(server.addr()).request("POST", PUBLISH, headers, body)
}

#[test]
fn the_table_of_who_may_do_what_holds() {
    let text = fs::read_to_string("docs/SECURITY.md").expect("the document is there");
    let rows: Vec<Vec<&str>> = text
        .lines()
        .skip_while(|line| !line.starts_with("| request |"))
        .take_while(|line| line.starts_with('|'))
        .map(|line| line.trim_matches('|').split(" | ").map(str::trim).collect())
        .collect();
    let names = &rows[0][1..];
    assert!(rows.len() > 25 && names.len() == 6, "{rows:?}");
    everywhere(|place| {
        let file = KeyFile::new();
        let flags = ["--api-keys-file", file.path()];
        let server = place.start(&flags);
        let guarded = place.start(&[&flags[..], &["--metrics-auth"]].concat());
        for topic in ["orders-1", "news"] {
            let create = format!(r#"POST /api/v1/topics {{"topic_name":"{topic}"}}"#);
            assert_eq!(ask(&server, &create, "admin").status, 201);
        }
        for row in &rows[2..] {
            let (request, how) = row[0]
                .trim_start_matches('`')
                .split_once('`')
                .expect("a request");
            let server = if how.is_empty() { &server } else { &guarded };
            for (name, status) in names.iter().zip(&row[1..]) {
                let answer = ask(server, request, name);
                assert_eq!(answer.status.to_string(), *status, "{request} by {name}");
                if answer.status == 401 {
                    assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
                    let unknown = ask(server, request, "unknown");
                    assert_eq!(unknown.status, 401, "{request}");
                }
            }
        }
    });
}

#[test]
fn a_bad_credential_is_an_error_wherever_it_stands() {
    with_workers(|workers| {
        let file = KeyFile::new();
        let flags = ["--workers", workers, "--api-keys-file", file.path()];
        let server = Server::start(&flags);
        let right = bearer("write");
        for (value, status) in [
            (&*right, 201),
            (&right.replace("Bearer", "bEARER"), 201),
            (&right.replace(' ', "   "), 201),
            (&right.replace("Bearer", "Basic"), 401),
            (&right.replace(' ', ""), 401),
            (&right[7..], 401),
            ("Bearer", 401),
            ("Bearer ", 401),
            ("Bearer secret-write x", 401),
            ("Bearer secret-Write", 401),
            ("Bearer eyJhbGciOiJub25lIn0.eyJzdWIiOiJhIn0.", 401),
            (&format!("Bearer {}", "x".repeat(8000)), 401),
        ] {
            let answer = send(&server, &[("Authorization", value)], MESSAGE);
            assert_eq!(answer.status, status, "{value}");
            if status == 401 {
                answer.assert_error(401, "UNAUTHORIZED");
                assert!(!answer.text().contains("secret"), "{}", answer.text());
            }
        }
        let twice = [("Authorization", &*right), ("Authorization", &*right)];
        send(&server, &twice, MESSAGE).assert_error(401, "UNAUTHORIZED");
        // What is in the query does not count, and does not help a bad header, if it is not allowed.
        let path = "/api/v1/poll?topics=t&timeout=0&token=secret-read";
        server.get(path).assert_error(401, "UNAUTHORIZED");
        let open = Server::start(&[&flags[..], &["--allow-query-token"]].concat());
        assert_eq!(open.get(path).status, 200);
        let bad = [("Authorization", "Bearer x")];
        let answer = Http::open(open.addr()).request("GET", path, &bad, b"");
        answer.assert_error(401, "UNAUTHORIZED");
    });
}

#[test]
fn browsers_send_it_as_a_subprotocol() {
    with_workers(|workers| {
        let file = KeyFile::new();
        let server = Server::start(&["--workers", workers, "--api-keys-file", file.path()]);
        let offer = |text: &str| {
            let bytes = handshake_with(server.addr(), &[("Sec-WebSocket-Protocol", text)]);
            Wire::handshake(server.addr(), bytes)
        };
        let (mut wire, answer) = offer("bearer, bearer.secret-out");
        assert_eq!(answer.status, 101);
        assert_eq!(answer.header("sec-websocket-protocol"), Some("bearer"));
        wire.send(0x81, subscribe("orders-1").as_bytes());
        assert_eq!(wire.read_json()["type"], "subscribed");
        for wrong in [
            "bearer",
            "bearer, bearer.",
            "bearer, bearer.x",
            "bearer, secret-out",
        ] {
            assert_eq!(offer(wrong).1.status, 401, "{wrong}");
        }
    });
}

fn websocket(server: &Server, name: &str) -> Wire {
    let bytes = handshake_with(server.addr(), &[("Authorization", &bearer(name))]);
    let (wire, answer) = Wire::handshake(server.addr(), bytes);
    assert_eq!(answer.status, 101);
    wire
}

fn say(wire: &mut Wire, message: &Value) -> Value {
    wire.send(0x81, message.to_string().as_bytes());
    wire.read_json()
}

#[test]
fn a_websocket_subscribes_to_what_its_credential_allows() {
    everywhere(|place| {
        let file = KeyFile::new();
        let server = place.start(&["--api-keys-file", file.path()]);
        let mut wire = websocket(&server, "out");
        let refused = say(
            &mut wire,
            &json!({"topics": ["orders-1", "news"], "client_id": "c"}),
        );
        assert_eq!(refused["code"], "SUBSCRIPTION_ERROR");
        let message = refused["message"].as_str().expect("a text");
        assert!(message.starts_with("Failed to subscribe: ") && message.contains("news"));
        wire.expect_close(4003);

        let mut wire = websocket(&server, "out");
        let orders = json!({"type": "subscribe", "topics": ["orders-1"], "client_id": "c"});
        assert_eq!(say(&mut wire, &orders)["type"], "subscribed");
        let news = json!({"type": "subscribe", "topics": ["news"], "client_id": "c"});
        assert_eq!(say(&mut wire, &news)["code"], "FORBIDDEN");
        // Another credential, which may more; one that may not even this; one that nobody has.
        let auth = |name: &str| json!({"type": "auth", "token": secret(name)});
        let told = say(&mut wire, &auth("read"));
        assert_eq!(told, json!({"type": "authenticated", "expires_at": null}));
        assert_eq!(say(&mut wire, &news)["type"], "subscribed");
        assert_eq!(say(&mut wire, &auth("out"))["code"], "FORBIDDEN");
        assert_eq!(say(&mut wire, &auth("in"))["code"], "FORBIDDEN");
        assert_eq!(say(&mut wire, &auth("nobody"))["code"], "UNAUTHORIZED");
        // What was refused has changed nothing.
        let admin = bearer("admin");
        let message = br#"{"topic":"news","payload":{"n":1}}"#;
        assert_eq!(
            send(&server, &[("Authorization", &admin)], message).status,
            201
        );
        assert_eq!(wire.read_json()["payload"]["n"], 1);
    });
}

#[test]
fn without_credentials_configured_those_that_come_are_ignored() {
    let server = Server::start(&[]);
    assert_eq!(
        send(&server, &[("Authorization", "Basic x")], MESSAGE).status,
        201
    );
    let mut wire = Wire::subscribed(server.addr(), "t");
    let told = say(&mut wire, &json!({"type": "auth", "token": "x"}));
    assert_eq!(told, json!({"type": "authenticated", "expires_at": null}));
}

#[test]
fn what_rests_on_a_key_ends_when_the_key_is_taken_away() {
    everywhere(|place| {
        let file = KeyFile::new();
        let server = place.start(&["--api-keys-file", file.path()]);
        let (mut gone, mut stays) = (websocket(&server, "out"), websocket(&server, "read"));
        for wire in [&mut gone, &mut stays] {
            wire.send(0x81, subscribe("orders-1").as_bytes());
            assert_eq!(wire.read_json()["type"], "subscribed");
        }
        let credential = bearer("out");
        let header = [("Authorization", &*credential)];
        let mut stream =
            Stream::open_with(server.addr(), "/api/v1/stream?topics=orders-1", &header);
        stream.expect_event("subscribed");
        let mut poll = Http::open(server.addr());
        let path = "/api/v1/poll?topics=orders-1&timeout=60";
        let request = poll.encode("GET", path, &header, b"");
        poll.send(request);
        server.wait_for_metric("proxy_poll_waiters", &[], 1.0);

        file.write(&KEYS.map(|(name, rights)| {
            if name == "out" {
                ("gone", rights)
            } else {
                (name, rights)
            }
        }));
        server.signal("HUP");
        assert_eq!(gone.read_json()["code"], "UNAUTHORIZED");
        gone.expect_close(4001);
        let (_, last) = stream.expect_event("close");
        assert_eq!(
            (&last["code"], &last["reason"]),
            (&json!(4001), &json!("revoked"))
        );
        stream.expect_end();
        poll.read_response().assert_error(401, "UNAUTHORIZED");
        server.wait_for_metric("proxy_poll_waiters", &[], 0.0);
        assert_eq!(ask(&server, "GET /api/v1/topics", "out").status, 401);
        assert_eq!(ask(&server, "GET /api/v1/topics", "gone").status, 200);
        // The others have not noticed.
        let credential = bearer("write");
        assert_eq!(
            send(&server, &[("Authorization", &credential)], MESSAGE).status,
            201
        );
        assert_eq!(stays.read_json()["type"], "message");

        // A file that cannot be understood changes nothing.
        fs::write(&file.path, "key = 1").expect("the file is written");
        server.signal("HUP");
        wait_until("the log tells", DEADLINE, || {
            server.log().contains("credentials stay as they were")
        });
        assert_eq!(ask(&server, "GET /api/v1/topics", "gone").status, 200);
    });
}

#[test]
fn topics_are_listed_to_those_who_may_read_them() {
    everywhere(|place| {
        let file = KeyFile::new();
        let server = place.start(&["--api-keys-file", file.path()]);
        let admin = bearer("admin");
        for topic in ["a", "orders-1", "b", "orders-2", "z", "orders-3"] {
            let message = json!({"topic": topic, "payload": {}}).to_string();
            assert_eq!(
                send(&server, &[("Authorization", &admin)], message.as_bytes()).status,
                201
            );
        }
        let list = |name: &str, query: &str| -> Vec<Value> {
            let credential = bearer(name);
            let path = format!("/api/v1/topics{query}");
            let answer = Http::open(server.addr()).request(
                "GET",
                &path,
                &[("Authorization", &credential)],
                b"",
            );
            let list = answer.json();
            let topics = list.as_array().or_else(|| list["topics"].as_array());
            topics
                .expect("a list")
                .iter()
                .map(|it| it["topic_name"].clone())
                .collect()
        };
        assert_eq!(list("read", "").len(), 6);
        assert_eq!(list("out", ""), ["orders-1", "orders-2", "orders-3"]);
        assert_eq!(list("out", "?limit=2"), ["orders-1", "orders-2"]);
        assert_eq!(list("out", "?limit=2&after=orders-2"), ["orders-3"]);
    });
}

#[test]
fn keys_of_idempotency_belong_to_who_sent_them() {
    everywhere(|place| {
        let file = KeyFile::new();
        let server = place.start(&["--api-keys-file", file.path()]);
        let ids = ["write", "in", "write"].map(|name| {
            let credential = bearer(name);
            let headers = [("Authorization", &*credential), ("Idempotency-Key", "k")];
            send(&server, &headers, MESSAGE).json()["message_id"].clone()
        });
        assert_eq!(ids[0], ids[2]);
        assert_ne!(ids[0], ids[1]);
    });
}

#[test]
fn wrong_keys_stop_the_start_and_are_not_shown() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("keys.toml");
    fs::write(&path, "[[key]]\nname = \"a\"\nhash = \"hunter2\"\n").expect("the file is written");
    let path = path.to_str().expect("a path of text");
    let twice = format!("a:read:{0},a:write:{0}", hash("x"));
    for (flags, sentence) in [
        (
            ["--api-keys-file", path],
            "the hash of key a is not sha256:",
        ),
        (
            ["--api-keys-file", "/nowhere/keys"],
            "a file of keys, but: No such file",
        ),
        (
            ["--api-keys", "a:read:hunter2"],
            "given by --api-keys: the hash of key a is not",
        ),
        (["--api-keys", &twice], "two keys are named a"),
        (
            ["--api-keys", "hunter2"],
            "key 1 is not name:permissions:hash",
        ),
        (
            ["--metrics-auth", "--metrics-auth"],
            "no credentials are configured",
        ),
    ] {
        let flags = if flags[0] == flags[1] {
            &flags[..1]
        } else {
            &flags[..]
        };
        let (code, said) = Program::new(flags).run();
        assert_eq!(code, Some(2), "{said}");
        assert!(
            said.contains(sentence) && !said.contains("hunter2"),
            "{said}"
        );
    }
}

#[test]
fn keys_open_other_addresses_and_need_no_file() {
    let line = format!("jobs:read+write:{}", hash("secret-jobs"));
    let server = Server::start(&["--api-keys", &line, "--host", "127.0.0.1"]);
    assert_eq!(ask(&server, "GET /api/v1/topics", "jobs").status, 200);
    assert_eq!(ask(&server, "GET /api/v1/topics", "none").status, 401);
    let flags = ["--host", "0.0.0.0", "--port", "0", "--api-keys", &line];
    let server = Program::new(&flags).start();
    assert!(!server.log().contains(&hash("secret-jobs")));
}

#[test]
fn a_stream_that_waits_for_valkey_while_its_key_is_taken_away_does_not_outlive_it() {
    let store = Valkey::start();
    let file = KeyFile::new();
    let port = store.port().to_string();
    let backend = ["--storage-backend", "valkey", "--valkey-port", &port];
    let keys = [
        "--api-keys-file",
        file.path(),
        "--valkey-timeout",
        "20s",
        "--workers",
        "1",
    ];
    let server = Server::start(&[&backend[..], &keys].concat());
    server.wait_until_ready();
    let () = store.command(&["CLIENT", "PAUSE", "2000"]);
    let mut link = Link::open(server.addr());
    let host = server.addr();
    link.send(format!(
        "GET /api/v1/stream?topics=orders-1 HTTP/1.1\r\nHost: {host}\r\nAuthorization: {}\r\n\r\n",
        bearer("out")
    ));
    // The one worker has read it when it answers one that came later.
    assert_eq!(server.get("/health").status, 200);
    file.write(&KEYS[..1]);
    server.signal("HUP");
    wait_until("the key is taken away", DEADLINE, || {
        ask(&server, "GET /messages/poll/stats", "out").status == 401
    });
    let mut stream = Stream::answered(link).expect("a stream");
    stream.expect_event("subscribed");
    let (_, last) = stream.expect_event("close");
    assert_eq!(last["reason"], "revoked");
    stream.expect_end();
}
