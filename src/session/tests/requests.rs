//! One request after the other: routes, fields, what keeps a connection.

use super::client::{get, post, request};
use super::conversation::{Conversation, DATE, METRICS};
use crate::api::origin::AccessPolicy;
use crate::session::CloseReason;

const MESSAGE: &str = r#"{"topic":"a","payload":{"n":1}}"#;
const PATH: &str = "/api/v1/messages";

/// The answer to one request on a connection of its own.
fn ask(request: &[u8]) -> super::client::Answer {
    let mut conversation = Conversation::new();
    conversation.send(request);
    conversation.answer()
}

#[test]
fn a_connection_is_kept_and_answers_come_in_order() {
    let mut conversation = Conversation::new();
    for _ in 0..3 {
        conversation.send(&post(PATH, "Content-Type: application/json\r\n", MESSAGE));
        let answer = conversation.answer();
        assert_eq!(answer.status, 201);
        assert_eq!(answer.header("Date"), Some(DATE));
        assert_eq!(answer.header("Connection"), None);
        assert_eq!(answer.header("Location"), None);
        let body = answer.json();
        assert_eq!(body["topic"], "a");
        assert_eq!(body["timestamp"], "2026-01-31T12:00:00.000000Z");
    }
    let pipelined = [
        get("/health"),
        post(PATH, "", MESSAGE),
        post(
            "/api/v1/messages/bulk",
            "",
            &format!("{{\"messages\":[{MESSAGE},{MESSAGE}]}}"),
        ),
        get("/nowhere"),
        get("/metrics"),
        get("/ready"),
    ];
    conversation.send(&pipelined.concat());
    let answers = conversation.answers();
    let statuses: Vec<u16> = answers.iter().map(|answer| answer.status).collect();
    assert_eq!(statuses, [200, 201, 207, 404, 200, 200]);
    assert_eq!(answers[0].json()["status"], "healthy");
    assert_eq!(answers[2].json()["summary"]["accepted"], 2);
    assert_eq!(answers[4].body, METRICS.as_bytes());
    assert_eq!(answers[5].json()["ready"], true);
    assert!(conversation.closed.is_none() && conversation.session.is_idle_http());
}

#[test]
fn a_document_goes_out_as_it_lies_there() {
    let mut conversation = Conversation::new();
    conversation.send(&[get("/openapi.json"), get("/asyncapi.json"), get("/health")].concat());
    let answers = conversation.answers();
    assert_eq!(answers[0].json()["openapi"], "3.1.0");
    assert_eq!(answers[1].json()["asyncapi"], "3.0.0");
    let bytes: usize = answers[..2].iter().map(|it| it.body.len()).sum();
    assert_eq!(conversation.fixed_bytes, bytes);
    assert_eq!(answers[2].json()["status"], "healthy");
}

#[test]
fn what_was_asked_and_answered_is_told_to_the_metrics() {
    let mut conversation = Conversation::new();
    conversation.send(&post(PATH, "", MESSAGE)[..20]);
    conversation.pass(1000);
    conversation.send(&post(PATH, "", MESSAGE)[20..]);
    conversation.send(&request("BREW", "/pot", ""));
    conversation.send(&request("HEAD", "/health", ""));
    let [publish, unknown, head] = conversation.exchanges[..] else {
        panic!("{:?}", conversation.exchanges);
    };
    assert_eq!((publish.handler, publish.method), (PATH, "POST"));
    // The first head begins with the connection.
    assert_eq!((publish.status, publish.duration_micros), (201, 1000));
    assert_eq!(publish.request_bytes, MESSAGE.len() as u64);
    assert!(publish.response_bytes > 50);
    assert_eq!((unknown.handler, unknown.method), ("none", "OTHER"));
    assert_eq!((unknown.status, unknown.duration_micros), (404, 0));
    assert_eq!((head.handler, head.response_bytes), ("/health", 0));
}

#[test]
fn the_version_and_connection_say_whether_it_is_kept() {
    let cases = [
        (
            "GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
            true,
        ),
        ("GET /health HTTP/1.0\r\n\r\n", true),
        (
            "GET /health HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
            false,
        ),
        (
            "GET http://localhost/health HTTP/1.1\r\nHost: x\r\n\r\n",
            false,
        ),
    ];
    for (text, is_last) in cases {
        let mut conversation = Conversation::new();
        conversation.send(text.as_bytes());
        let behind = conversation.output.len();
        // What is pipelined behind the last request is thrown away.
        conversation.send(text.as_bytes());
        assert_eq!(conversation.output.len() > behind, !is_last, "{text:?}");
        let answer = conversation.answers().remove(0);
        assert_eq!(
            (answer.status, answer.is_last()),
            (200, is_last),
            "{text:?}"
        );
        let is_old = text.contains("1.0");
        assert_eq!(
            answer.header("Connection") == Some("keep-alive"),
            is_old && !is_last
        );
        let reason = is_last.then_some(CloseReason::Finished);
        assert_eq!(conversation.closed, reason, "{text:?}");
    }
}

#[test]
fn head_is_answered_like_get_without_the_body() {
    for path in ["/health", "/ready", "/metrics"] {
        let mut conversation = Conversation::new();
        conversation.send(&[request("HEAD", path, ""), get(path)].concat());
        let (head, get) = (conversation.answer_to(true), conversation.answer());
        assert_eq!((head.status, get.status), (200, 200));
        for name in ["Content-Length", "Content-Type"] {
            assert_eq!(head.header(name), get.header(name), "{path} {name}");
        }
    }
    let mut conversation = Conversation::new();
    conversation.send(&request("HEAD", "/ws", ""));
    let answer = conversation.answer_to(true);
    assert_eq!((answer.status, answer.header("Allow")), (405, Some("GET")));
    assert!(conversation.output.is_empty(), "no body");
}

#[test]
fn unknown_paths_methods_and_slashes() {
    let answer = ask(&get("/api/v1/pol"));
    assert_eq!((answer.status, answer.error().as_str()), (404, "NOT_FOUND"));
    assert_eq!(answer.json()["detail"], "Not Found");
    assert_eq!(ask(&get("/Health")).status, 404);
    assert_eq!(ask(&get("/he%61lth")).status, 200, "decoded once");
    assert_eq!(ask(&get("/he%2561lth")).status, 404, "and not twice");
    for (method, path, allow) in [
        ("GET", PATH, "POST"),
        ("DELETE", "/health", "GET, HEAD"),
        ("OPTIONS", PATH, "POST"),
        ("POST", "/ws", "GET"),
    ] {
        let answer = ask(&request(method, path, ""));
        assert_eq!((answer.status, answer.header("Allow")), (405, Some(allow)));
        assert_eq!(answer.error(), "METHOD_NOT_ALLOWED");
        assert_eq!(answer.json()["detail"], "Method Not Allowed");
    }
    let answer = ask(&post("/api/v1/messages/?a=b&c", "", MESSAGE));
    assert_eq!(answer.status, 307);
    assert_eq!(answer.header("Location"), Some("/api/v1/messages?a=b&c"));
    assert!(answer.body.is_empty() && !answer.is_last());
    assert_eq!(
        ask(&get("/health//")).status,
        404,
        "one slash too many, not two"
    );
}

#[test]
fn request_ids_are_kept_or_made() {
    let longest = "x".repeat(128);
    for id in ["a", "A-z.0_9", &longest] {
        let answer = ask(&request(
            "GET",
            "/nowhere",
            &format!("x-REQUEST-id: {id}\r\n"),
        ));
        assert_eq!(answer.header("X-Request-Id"), Some(id));
        assert_eq!(answer.error(), "NOT_FOUND");
    }
    for id in ["", "a b", "a/b", "é", &"x".repeat(129)] {
        let answer = ask(&request(
            "GET",
            "/health",
            &format!("X-Request-Id: {id}\r\n"),
        ));
        let made = answer.header("X-Request-Id").unwrap();
        assert!(made.starts_with("req_") && made != id, "{id:?}");
    }
    let mut conversation = Conversation::new();
    conversation.send(&[get("/health"), get("/health")].concat());
    let answers = conversation.answers();
    let mut ids = answers.iter().map(|answer| answer.header("X-Request-Id"));
    assert_ne!(
        ids.clone().next(),
        ids.next_back(),
        "each request has its own"
    );
}

#[test]
fn an_idempotency_key_is_one_printable_text() {
    let long = format!("Idempotency-Key: {}\r\n", "k".repeat(256));
    for (fields, status) in [
        ("Idempotency-Key: k\r\n", 201),
        ("idempotency-key: a \"b\" ~\r\n", 201),
        ("Idempotency-Key: k\r\nIdempotency-Key: k\r\n", 201),
        ("Idempotency-Key: k\r\nIdempotency-Key: l\r\n", 400),
        ("Idempotency-Key:\r\n", 400),
        ("Idempotency-Key: a\tb\r\n", 400),
        ("Idempotency-Key: caf\u{e9}\r\n", 400),
        (&long, 400),
    ] {
        let mut conversation = Conversation::new();
        conversation.send(&[post(PATH, fields, MESSAGE), get("/health")].concat());
        let [answer, health] = &conversation.answers()[..] else {
            panic!("two answers");
        };
        assert_eq!(answer.status, status, "{fields}");
        if status == 400 {
            assert_eq!(answer.error(), "INVALID_REQUEST");
        }
        assert_eq!(answer.header("Idempotent-Replayed"), None);
        assert_eq!(health.status, 200, "the connection goes on behind the body");
    }
    let elsewhere = request(
        "GET",
        "/health",
        "Idempotency-Key: k\r\nIdempotency-Key: l\r\n",
    );
    assert_eq!(
        ask(&elsewhere).status,
        200,
        "other routes do not look at it"
    );
}

#[test]
fn bodies_that_break_the_rules_are_answered_with_the_list() {
    let answer = ask(&post(PATH, "", r#"{"topic":"","payload":[]}"#));
    assert_eq!(
        (answer.status, answer.error().as_str()),
        (422, "VALIDATION_ERROR")
    );
    let detail = answer.json()["detail"].clone();
    assert_eq!(detail[0]["type"], "string_too_short");
    assert_eq!(detail[1]["type"], "dict_type");
    let text = ask(&post(PATH, "Content-Type: text/plain\r\n", MESSAGE));
    assert_eq!(text.json()["detail"][0]["type"], "model_attributes_type");
    let empty = ask(&request("POST", PATH, ""));
    assert_eq!(empty.json()["detail"][0]["type"], "missing");
}

#[test]
fn a_refused_head_is_answered_as_far_as_it_was_understood() {
    for (lines, status) in [
        ("", 400),
        ("Host: a\r\nHost: b\r\n", 400),
        ("Host: a\r\nTransfer-Encoding: pulsar\r\n", 501),
    ] {
        let mut conversation = Conversation::new();
        let head = format!("\r\nHEAD /health HTTP/1.1\r\n{lines}x-REQUEST-id:\tmine-1 \r\n\r\n");
        conversation.send(head.as_bytes());
        let answer = conversation.answer_to(true);
        assert_eq!((answer.status, answer.is_last()), (status, true), "{lines}");
        assert_eq!(answer.header("X-Request-Id"), Some("mine-1"));
        assert!(conversation.output.is_empty(), "an answer without body");
    }
    let invalid = ask(b"GET / HTTP/1.1\r\nX-Request-Id: a b\r\n\r\nX-Request-Id: behind\r\n\r\n");
    let id = invalid.header("X-Request-Id").unwrap();
    assert!(id.starts_with("req_"), "{id}");
    assert_eq!(invalid.error(), "INVALID_REQUEST");
}

#[test]
fn pages_of_other_hosts_are_refused() {
    for (path, method) in [(PATH, "POST"), ("/ws", "GET"), ("/health", "GET")] {
        let answer = ask(&request(method, path, "Origin: http://evil.example\r\n"));
        assert_eq!((answer.status, answer.error().as_str()), (403, "FORBIDDEN"));
        assert_eq!(answer.header("Access-Control-Allow-Origin"), None);
    }
    let own = ask(&request(
        "GET",
        "/health",
        "Origin: http://localhost:3000\r\n",
    ));
    assert_eq!((own.status, own.header("Vary")), (200, None));
    let rebound = ask(b"GET /health HTTP/1.1\r\nHost: evil.example\r\n\r\n");
    assert_eq!(rebound.status, 403);
    assert!(
        rebound.json()["message"]
            .as_str()
            .unwrap()
            .contains("--allowed-hosts")
    );
    let absolute = ask(b"GET http://evil.example/health HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_eq!(absolute.status, 403, "the target's authority counts");
}

#[test]
fn listed_origins_get_fields_and_preflights() {
    let listed = |fields: &str, method: &str| {
        let mut conversation = Conversation::new();
        conversation.access = AccessPolicy::new(true, ["https://app.example"], []);
        conversation.send(&request(method, PATH, fields));
        conversation.answer()
    };
    let origin = "Origin: https://app.example\r\n";
    let preflight = format!("{origin}Access-Control-Request-Method: POST\r\n");
    let answer = listed(&preflight, "OPTIONS");
    assert_eq!(answer.status, 204);
    assert_eq!(
        answer.header("Access-Control-Allow-Origin"),
        Some("https://app.example")
    );
    assert_eq!(answer.header("Access-Control-Max-Age"), Some("600"));
    assert_eq!(answer.header("Vary"), Some("Origin"));
    let methods = answer.header("Access-Control-Allow-Methods").unwrap();
    assert!(methods.contains("POST"));

    let answer = listed(origin, "POST");
    assert_eq!(answer.status, 422);
    assert_eq!(
        answer.header("Access-Control-Allow-Origin"),
        Some("https://app.example")
    );
    assert_eq!(answer.header("Vary"), Some("Origin"));
    let answer = listed("", "POST");
    assert_eq!(
        answer.header("Vary"),
        Some("Origin"),
        "caches must tell them apart"
    );
    assert_eq!(listed("Origin: null\r\n", "POST").status, 403);
    let foreign = "Origin: https://b.example\r\nAccess-Control-Request-Method: POST\r\n";
    assert_eq!(listed(foreign, "OPTIONS").status, 403);
    assert_eq!(listed(origin, "OPTIONS").status, 405, "asks for no method");
}

#[test]
fn a_server_that_stops_says_so_with_every_answer() {
    for (request, status) in [
        (get("/health"), 200),
        (get("/ready"), 503),
        (post(PATH, "", MESSAGE), 201),
        (get("/nowhere"), 404),
    ] {
        let mut conversation = Conversation::new();
        conversation.is_draining = true;
        conversation.send(&[request, get("/health")].concat());
        let answer = conversation.answer();
        assert_eq!((answer.status, answer.is_last()), (status, true));
        assert_eq!(conversation.closed, Some(CloseReason::Finished));
        let retry = answer.header("Retry-After").is_some();
        assert_eq!(retry, status == 503);
    }
}
