//! `pulsar-proxy pub`: each message once, whatever it is read from and whatever happens on the way.

use std::fs;
use std::net::Ipv4Addr;

use serde_json::{Value, json};
use test_util::tokens::{TOKEN_FLAGS, token};
use test_util::valkey::instance;
use test_util::{DEADLINE, Ended, Running, Server, Valkey, ValkeyProxy, wait_until};

fn publish(url: &str, arguments: &[&str], input: &str) -> Ended {
    let arguments = [&["pub", "--url", url], arguments].concat();
    Running::run(&arguments, &[], input)
}

fn url(server: &Server) -> String {
    format!("http://{}", server.addr())
}

/// All that is kept of a topic, the oldest first.
fn kept(server: &Server, topic: &str) -> Vec<Value> {
    let mut all = Vec::new();
    let mut cursor = String::new();
    loop {
        let path = format!("/api/v1/topics/{topic}/messages?order=asc&limit=100{cursor}");
        let page = server.get(&path).json();
        all.extend(page["messages"].as_array().expect("a list").iter().cloned());
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return all,
        }
    }
}

fn numbers(server: &Server, topic: &str) -> Vec<u64> {
    let all = kept(server, topic);
    all.iter()
        .map(|message| message["payload"]["n"].as_u64().expect("a number"))
        .collect()
}

#[test]
fn an_argument_a_file_and_lines_are_published() {
    let server = Server::start(&[]);
    let url = url(&server);
    let one = publish(
        &url,
        &["a", "{\"n\": 1.0}", "--metadata", "by=me", "--ttl", "1h"],
        "",
    );
    assert_eq!(one.code, Some(0), "{one:?}");
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("payload.json");
    fs::write(&file, "{\n  \"n\": 2\n}\n").expect("it is written");
    let two = publish(
        &url,
        &["a", "--json", "--file", file.to_str().expect("a path")],
        "",
    );
    let said: Value = serde_json::from_str(&two.output).expect("JSON");
    let lines = publish(&url, &["a"], "{\"n\":3}\n\n{\"n\":4}\r\n{\"n\":5}");
    assert_eq!((lines.code, &*lines.output), (Some(0), ""), "{lines:?}");
    assert!(lines.errors.contains("3 messages published"), "{lines:?}");
    let text = publish(&url, &["a", "--text", "-"], "Hello\n{\"n\":6}\n");
    assert_eq!(text.code, Some(0), "{text:?}");
    let kept = kept(&server, "a");
    assert_eq!(kept.len(), 7);
    assert_eq!(one.output.trim(), kept[0]["message_id"]);
    assert_eq!(kept[0]["metadata"], json!({"by": "me"}));
    assert_eq!(
        (&said["message_id"], &said["topic"]),
        (&kept[1]["message_id"], &json!("a"))
    );
    assert_eq!(kept[5]["payload"], json!({"text": "Hello"}));
    assert_eq!(kept[6]["payload"], json!({"n": 6}));
}

#[test]
fn a_line_is_published_before_the_next_one_comes() {
    let server = Server::start(&[]);
    let url = url(&server);
    let mut running = Running::start(&["pub", "--url", &url, "a", "--json"], &[]);
    for n in 1..=3 {
        running.give(&format!("{{\"n\":{n}}}\n"));
        let said: Value = serde_json::from_str(&running.line()).expect("JSON");
        assert_eq!(said["status"], "accepted");
    }
    assert_eq!(running.end().code, Some(0));
    assert_eq!(numbers(&server, "a"), [1, 2, 3]);
}

#[test]
fn lines_that_are_refused_are_named_and_the_others_are_published() {
    let server = Server::start(&["--max-message-size", "2KiB"]);
    let large = "x".repeat(4_000);
    let deep = format!("{}{}", "[".repeat(300), "]".repeat(300));
    let mut input = String::new();
    for n in 1..=40 {
        input += &match n {
            7 => "no JSON\n".to_owned(),
            9 => format!("{{\"n\":9,\"x\":\"{large}\"}}\n"),
            21 => format!("{{\"n\":21,\"x\":{deep}}}\n"),
            n => format!("{{\"n\":{n}}}\n"),
        };
    }
    let ended = publish(&url(&server), &["a"], &input);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    for (line, why) in [(7, "no JSON object"), (9, "too large"), (21, "")] {
        let sentence = format!("line {line} is refused: ");
        let told = ended.errors.lines().find(|it| it.contains(&sentence));
        let told = told.unwrap_or_else(|| panic!("{sentence}: {}", ended.errors));
        assert!(told.to_lowercase().contains(&why.to_lowercase()), "{told}");
    }
    assert!(
        ended.errors.contains("3 lines were refused"),
        "{}",
        ended.errors
    );
    let expected: Vec<u64> = (1..=40).filter(|n| ![7, 9, 21].contains(n)).collect();
    assert_eq!(numbers(&server, "a"), expected);
}

#[test]
fn a_bulk_far_over_the_limit_is_divided() {
    let server = Server::start(&["--max-message-size", "1MiB"]);
    let line = |n, len| format!("{{\"n\":{n},\"x\":\"{}\"}}\n", "x".repeat(len));
    let input = [line(1, 9), line(2, 8 << 20), line(3, 100 << 10), line(4, 9)].concat();
    let ended = publish(&url(&server), &["a", "--retry-for", "20s"], &input);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.errors.contains("line 2 is refused: "), "{ended:?}");
    assert_eq!(numbers(&server, "a"), [1, 3, 4]);
}

#[test]
fn nothing_is_lost_or_doubled_when_connections_break() {
    const LINES: u64 = 3_000;
    let server = Server::start(&["--workers", "2"]);
    let proxy = ValkeyProxy::start(server.addr());
    let url = format!("http://{}", proxy.address());
    let mut running = Running::start(&["pub", "--url", &url, "a", "--timeout", "2s"], &[]);
    for chunk in 0..6 {
        // Answers are lost, connections cut, and both.
        if chunk % 2 == 1 {
            proxy.drop_replies();
        }
        let lines = (chunk * LINES / 6 + 1)..=((chunk + 1) * LINES / 6);
        running.give(
            &lines
                .map(|n| format!("{{\"n\":{n}}}\n"))
                .collect::<String>(),
        );
        proxy.cut();
        proxy.pass_replies();
    }
    let ended = running.end();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_eq!(numbers(&server, "a"), (1..=LINES).collect::<Vec<_>>());
}

#[test]
fn nothing_is_doubled_when_valkey_does_not_confirm() {
    const ROUNDS: u64 = 4;
    const LINES: u64 = 1_000;
    let valkey = Valkey::start();
    let proxy = ValkeyProxy::start((Ipv4Addr::LOCALHOST, valkey.port()).into());
    let server = instance(proxy.port(), &["--valkey-timeout", "1s"]);
    server.wait_until_ready();
    let bulks = || {
        let labels = [("handler", "/api/v1/messages/bulk"), ("status", "2xx")];
        server.metric("http_requests_total", &labels)
    };
    let url = url(&server);
    let mut running = Running::start(&["pub", "--url", &url, "a", "--retry-for", "1m"], &[]);
    let line = |n| format!("{{\"n\":{n}}}\n");
    for round in 0..ROUNDS {
        let before = bulks();
        let last = (round + 1) * LINES;
        running.give(&(round * LINES + 1..last).map(line).collect::<String>());
        wait_until("it is in the middle of them", DEADLINE, || bulks() > before);
        proxy.drop_replies();
        let before = bulks();
        running.give(&line(last));
        // Those whose answers were on their way, and one that has waited in vain.
        wait_until("a bulk is answered", DEADLINE, || bulks() > before);
        proxy.pass_replies();
    }
    let ended = running.end();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_eq!(
        numbers(&server, "a"),
        (1..=ROUNDS * LINES).collect::<Vec<_>>()
    );
}

#[test]
fn a_server_over_its_limit_is_asked_again_when_it_says() {
    let server = Server::start(&["--rate-limit-per-client", "60"]);
    let url = url(&server);
    let ended = publish(&url, &["a"], &"{\"n\":1}\n".repeat(60));
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let later = publish(&url, &["a", "{\"n\":2}"], "");
    assert_eq!(later.code, Some(0), "{later:?}");
    let never = publish(&url, &["a", "--retry-for", "0"], &"{\"n\":3}\n".repeat(50));
    assert_eq!(never.code, Some(3), "{never:?}");
    // Reading the history is limited, too.
    let stored = server.metric("proxy_messages_received_total", &[("topic", "a")]);
    assert_eq!(stored, 61.0);
}

#[test]
fn credentials_come_from_flag_environment_and_file() {
    let server = Server::start(&TOKEN_FLAGS);
    let url = url(&server);
    let good = token(600, &json!({}));
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("token");
    fs::write(&file, format!("{good}\n")).expect("it is written");
    let arguments = ["pub", "--url", &url, "a", "{}"];
    for (more, environment, code) in [
        (&["--credential", &*good][..], &[][..], 0),
        (&[], &[("PULSAR_CREDENTIAL", &*good)], 0),
        (
            &["--credential-file", file.to_str().expect("a path")],
            &[],
            0,
        ),
        (&[], &[], 4),
        (&["--credential", "nonsense"], &[], 4),
        (&["--credential-file", "/nowhere"], &[], 2),
    ] {
        let ended = Running::run(&[&arguments[..], more].concat(), environment, "");
        assert_eq!(ended.code, Some(code), "{ended:?}");
        assert!(!ended.errors.contains(&good) && !ended.errors.contains("nonsense"));
        assert_eq!(
            ended.errors.lines().count(),
            usize::from(code != 0),
            "{ended:?}"
        );
    }
}

#[test]
fn what_cannot_be_is_told_in_one_sentence() {
    let server = Server::start(&[]);
    let good = url(&server);
    for (arguments, code, sentence) in [
        (&["a b", "{}"][..], 2, "is no name of a topic"),
        (&["a", "Hello"], 2, "--text"),
        (&["a", "{}", "--ttl", "0"], 2, "--ttl"),
        (&["a", "{}", "--metadata", "x"], 2, "--metadata"),
        (&["a", "{}", "--retry-for", "10m"], 2, "--retry-for"),
        (&["a", "--file", "/nowhere"], 2, "No such file"),
        (
            &["a", "{}", "--url", "ftp://a"],
            2,
            "the URL given by --url",
        ),
        (
            &["a", "{}", "--url", "http://127.0.0.1:1"],
            3,
            "is a server running there?",
        ),
        (
            &["a", "{}", "--url", "unix:/nowhere.sock"],
            3,
            "is a server running there?",
        ),
        (
            &[
                "a",
                "{}",
                "--url",
                "https://127.0.0.1:1",
                "--ca-file",
                "/nowhere",
            ],
            2,
            "no certificate",
        ),
    ] {
        let environment = [("PULSAR_URL", &*good)];
        let ended = Running::run(&[&["pub"], arguments].concat(), &environment, "");
        assert_eq!(ended.code, Some(code), "{arguments:?} {ended:?}");
        assert!(ended.errors.contains(sentence), "{ended:?}");
        assert_eq!(ended.errors.lines().count(), 1, "{ended:?}");
    }
}
