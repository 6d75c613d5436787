//! `pulsar-proxy sub`: every message once, over broken connections and servers that stop, and at least once where
//! that is asked for.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use test_util::ports::free_port;
use test_util::tokens::{TOKEN_FLAGS, token};
use test_util::valkey::instance;
use test_util::{DEADLINE, Program, Running, Server, Valkey, ValkeyProxy, wait_until};

fn subscribe(url: &str, arguments: &[&str]) -> Running {
    Running::start(&[&["sub", "--url", url], arguments].concat(), &[])
}

fn subscribed(url: &str, arguments: &[&str]) -> Running {
    let running = subscribe(url, arguments);
    running.wait_for("subscribed to");
    running
}

fn url(server: &Server) -> String {
    format!("http://{}", server.addr())
}

fn number(line: &str) -> u64 {
    let said: Value = serde_json::from_str(line).expect("JSON");
    assert_eq!(said["type"], "message", "{said}");
    said["payload"]["n"].as_u64().expect("a number")
}

#[test]
fn what_pub_says_sub_prints() {
    let server = Server::start(&[]);
    let environment = [("PULSAR_URL", &*url(&server))];
    let running = Running::start(&["sub", "news"], &environment);
    running.wait_for("subscribed to news");
    let said = Running::run(&["pub", "news", "{\"text\":\"Hello!\"}"], &environment, "");
    assert_eq!(said.code, Some(0), "{said:?}");
    let line = running.line();
    assert!(line.ends_with(" news {\"text\":\"Hello!\"}"), "{line}");
    for signal in ["INT", "TERM"] {
        let another = subscribed(&url(&server), &["news"]);
        another.signal(signal);
        assert_eq!(another.end().code, Some(0));
    }
    running.signal("INT");
    assert_eq!(running.end().code, Some(0));
    server.wait_for_metric("proxy_websocket_connections_active", &[], 0.0);
}

#[test]
fn it_ends_after_a_number_and_when_nobody_reads() {
    let server = Server::start(&[]);
    for n in 1..=500 {
        server.publish("a", &json!({"n": n}));
    }
    let ended = subscribe(
        &url(&server),
        &["a", "--offset", "earliest", "--count", "3", "--json"],
    )
    .end();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_eq!(
        ended.output.lines().map(number).collect::<Vec<_>>(),
        [1, 2, 3]
    );
    let mut child = Command::new(env!("CARGO_BIN_EXE_pulsar-proxy"))
        .args(["sub", "a", "--offset", "earliest", "--url", &url(&server)])
        .env_clear()
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("it starts");
    let mut out = BufReader::new(child.stdout.take().expect("it is piped"));
    out.read_line(&mut String::new()).expect("a line");
    drop(out);
    let mut status = None;
    wait_until("it ends", DEADLINE, || {
        server.publish("a", &json!({"n": 0}));
        status = child.try_wait().expect("the child is ours");
        status.is_some()
    });
    assert_eq!(status.and_then(|status| status.code()), Some(0));
}

#[test]
fn broken_connections_lose_and_double_nothing() {
    const TOPICS: [&str; 3] = ["a", "b", "c"];
    let server = Server::start(&["--workers", "2"]);
    let proxy = ValkeyProxy::start(server.addr());
    let running = subscribed(
        &format!("http://{}", proxy.address()),
        &[&TOPICS[..], &["--json", "--count", "1800"]].concat(),
    );
    let mut read = Vec::new();
    for n in 1..=600 {
        for topic in TOPICS {
            server.publish(topic, &json!({"n": n}));
        }
        if n % 100 == 50 {
            proxy.cut();
            // Some come while it is away, some later.
            running.wait_for("the connection is broken");
        }
        if n % 100 == 0 {
            read.push(running.line());
        }
    }
    let ended = running.end();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    read.extend(ended.output.lines().map(str::to_owned));
    for topic in TOPICS {
        let of_topic = read
            .iter()
            .filter(|line| line.contains(&format!("\"topic\":\"{topic}\"")));
        let numbers: Vec<u64> = of_topic.map(|line| number(line)).collect();
        assert_eq!(numbers, (1..=600).collect::<Vec<_>>(), "{topic}");
    }
}

#[test]
fn a_server_that_says_nothing_is_left() {
    let server = Server::start(&[]);
    let proxy = ValkeyProxy::start(server.addr());
    let url = format!("http://{}", proxy.address());
    let running = subscribed(
        &url,
        &["a", "--json", "--ping-interval", "200ms", "--timeout", "2s"],
    );
    server.publish("a", &json!({"n": 1}));
    assert_eq!(number(&running.line()), 1);
    proxy.stall();
    server.publish("a", &json!({"n": 2}));
    running.wait_for("the server does not answer");
    proxy.cut();
    proxy.flow();
    assert_eq!(number(&running.line()), 2);
    server.publish("a", &json!({"n": 3}));
    assert_eq!(number(&running.line()), 3);
}

#[test]
fn a_killed_server_that_comes_back_with_valkey_loses_nothing() {
    let valkey = Valkey::start();
    let port = free_port().to_string();
    let flags = ["--port", &*port];
    let mut server = instance(valkey.port(), &flags);
    let running = subscribed(&url(&server), &["a", "--json", "--retry-for", "1m"]);
    for n in 1..=20 {
        server.publish("a", &json!({"n": n}));
    }
    server.signal("KILL");
    assert_eq!(server.wait(DEADLINE), None);
    // What is published elsewhere while it is away is owed as well.
    let other = instance(valkey.port(), &[]);
    other.wait_until_ready();
    for n in 21..=40 {
        other.publish("a", &json!({"n": n}));
    }
    let server = instance(valkey.port(), &flags);
    server.wait_until_ready();
    for n in 41..=60 {
        server.publish("a", &json!({"n": n}));
    }
    let numbers: Vec<u64> = (1..=60).map(|_| number(&running.line())).collect();
    assert_eq!(numbers, (1..=60).collect::<Vec<_>>());
    running.signal("TERM");
    assert_eq!(running.end().output, "");
}

#[test]
fn a_server_that_stops_is_waited_for_and_what_it_lost_is_told() {
    let port = free_port().to_string();
    let start = || Program::new(&["--port", &port, "--drain-timeout", "2s"]).start();
    let mut server = start();
    let running = subscribed(&url(&server), &["a", "--json"]);
    server.publish("a", &json!({"n": 1}));
    assert_eq!(number(&running.line()), 1);
    assert_eq!(server.stop(), Some(0));
    running.wait_for("the server stops; again in");
    let server = start();
    server.publish("a", &json!({"n": 2}));
    let gap: Value = serde_json::from_str(&running.line()).expect("JSON");
    assert_eq!(
        (&gap["type"], &gap["reason"]),
        (&json!("gap"), &json!("epoch_changed"))
    );
    assert_eq!(number(&running.line()), 2);
    drop(server);
    let server = start();
    server.publish("b", &json!({"n": 1}));
    let text = subscribed(&url(&server), &["b", "--offset", "earliest"]);
    text.line();
    drop(server);
    let _server = start();
    text.wait_for("gap in b: messages are lost (epoch_changed)");
}

#[test]
fn groups_share_and_get_again_what_was_not_acknowledged() {
    let server = Server::start(&[]);
    let url = url(&server);
    let member = |name| ["jobs", "--group", "workers", "--client-id", name, "--json"];
    let first = subscribed(&url, &member("w1"));
    for n in 1..=10 {
        server.publish("jobs", &json!({"n": n}));
        assert_eq!(number(&first.line()), n);
    }
    first.signal("TERM");
    assert_eq!(first.end().code, Some(0));
    server.publish("jobs", &json!({"n": 11}));
    server.publish("jobs", &json!({"n": 12}));
    let arguments = [&member("w2")[..], &["--count", "1"]].concat();
    let second = subscribe(&url, &arguments).end();
    assert_eq!(second.output.lines().map(number).collect::<Vec<_>>(), [11]);
    let third = subscribed(&url, &member("w3"));
    assert_eq!(number(&third.line()), 12);
}

#[test]
fn a_server_that_is_busy_at_the_beginning_is_waited_for() {
    let busy = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = busy.local_addr().expect("it is bound");
    let running = subscribe(&format!("http://{address}"), &["a"]);
    let (mut stream, _) = busy.accept().expect("it comes");
    // What is not read yet when the connection ends would take the answer with it.
    let mut request = BufReader::new(stream.try_clone().expect("a socket"));
    let mut line = String::new();
    while request.read_line(&mut line).expect("a request") > 2 {
        line.clear();
    }
    let answer =
        "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    stream.write_all(answer.as_bytes()).expect("it is read");
    drop((stream, request));
    running.wait_for("the server is busy: status 503; again in");
    drop(busy);
    let port = address.port().to_string();
    let _server = Program::new(&["--port", &port]).start();
    running.wait_for("subscribed to a");
}

#[test]
fn another_client_of_the_same_name_takes_over() {
    let server = Server::start(&[]);
    let arguments = ["a", "--ack", "--client-id", "me"];
    let first = subscribed(&url(&server), &arguments);
    let _second = subscribed(&url(&server), &arguments);
    let ended = first.end();
    assert_eq!(ended.code, Some(5), "{ended:?}");
    assert!(ended.errors.contains("has taken over"), "{ended:?}");
}

#[test]
fn credentials_are_shown_and_replaced() {
    let server = Server::start(&TOKEN_FLAGS);
    let url = url(&server);
    for (arguments, code) in [
        (&["a"][..], 4),
        (&["a", "--credential", "nonsense"], 4),
        (
            &[
                "a",
                "--credential",
                &*token(600, &json!({"subscribe": ["b"]})),
            ],
            4,
        ),
    ] {
        let ended = subscribe(&url, arguments).end();
        assert_eq!(ended.code, Some(code), "{ended:?}");
        assert!(!ended.errors.contains("nonsense"), "{ended:?}");
    }
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("token");
    let write =
        |seconds, id| fs::write(&file, token(seconds, &json!({"jti": id}))).expect("it is written");
    write(2, "first");
    let name = file.to_str().expect("a path");
    let renewed = subscribed(&url, &["a", "--json", "--credential-file", name]);
    let expired = subscribed(&url, &["a", "--credential", &token(2, &json!({}))]).end();
    assert_eq!(expired.code, Some(4), "{expired:?}");
    let ended = renewed.end();
    assert_eq!(ended.code, Some(4), "the file is as it was: {ended:?}");
    write(3, "second");
    let renewed = subscribed(&url, &["a", "--json", "--credential-file", name]);
    write(600, "third");
    // In time on the same connection, or on another one when the old credential has ended.
    wait_until("the new credential is used", DEADLINE, || {
        renewed.said("has taken the new credential") == 1 || renewed.said("subscribed to") == 2
    });
    let credential = token(600, &json!({}));
    let arguments = [
        "pub",
        "--url",
        &url,
        "a",
        "{\"n\":1}",
        "--credential",
        &credential,
    ];
    let ended = Running::run(&arguments, &[], "");
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_eq!(number(&renewed.line()), 1);
}

#[test]
fn a_credential_file_may_be_missing_for_a_moment() {
    let server = Server::start(&TOKEN_FLAGS);
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("token");
    let write = |seconds| fs::write(&file, token(seconds, &json!({}))).expect("it is written");
    write(2);
    let name = file.to_str().expect("a path");
    let running = subscribed(&url(&server), &["a", "--json", "--credential-file", name]);
    fs::remove_file(&file).expect("it is there");
    running.wait_for("No such file or directory (os error 2); again in");
    write(600);
    wait_until("it is subscribed again", DEADLINE, || {
        running.said("subscribed to a") == 2
    });
}

#[test]
fn what_cannot_be_ends_at_once() {
    let server = Server::start(&["--subscriptions-max", "1"]);
    let good = url(&server);
    for (arguments, code, sentence) in [
        (&["a b"][..], 2, "is no name of a topic"),
        (&["a", "--offset", "nonsense"], 1, "offset must be"),
        (&["a", "b"], 1, "the server refuses"),
        (&["a", "--ping-interval", "1ms"], 2, "--ping-interval"),
        (&["a", "--ack"], 2, "--client-id"),
        (&["a", "--count", "0"], 2, "--count"),
        (
            &["a", "--url", "http://127.0.0.1:1"],
            3,
            "is a server running there?",
        ),
        (
            &["a", "--url", &format!("{good}/nowhere")],
            1,
            "no WebSocket of a Pulsar Proxy",
        ),
    ] {
        let environment = [("PULSAR_URL", &*good)];
        let ended = Running::run(&[&["sub"], arguments].concat(), &environment, "");
        assert_eq!(ended.code, Some(code), "{arguments:?} {ended:?}");
        assert!(ended.errors.contains(sentence), "{ended:?}");
    }
}
