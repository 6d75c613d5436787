//! Malformed and monstrous JSON gets an answer of bounded size, and nothing else happens.

use serde_json::json;
use test_util::wire::{FIN, TEXT, subscribe};
use test_util::{Client, Http, Response, Server, Wire, with_workers};

const ROUTES: [&str; 2] = ["/api/v1/messages", "/api/v1/messages/bulk"];
const ANSWER_BYTES_MAX: usize = 2 * 1024 * 1024;
const MIB: usize = 1024 * 1024;

#[test]
fn malformed_json_is_json_invalid() {
    with_workers(|workers| {
        let server = Server::start(&["--workers", workers]);
        let mut http = Http::open(server.addr());
        for route in ROUTES {
            for body in malformed() {
                let response = http.post(route, &body);
                let what = String::from_utf8_lossy(&body).into_owned();
                assert_eq!(response.status, 422, "{what}: {response:?}");
                let error = bounded_error(&response);
                let entry = &error["detail"][0];
                assert_eq!(entry["type"], "json_invalid", "{what}: {error}");
                assert_eq!(entry["msg"], "JSON decode error", "{what}");
                assert_eq!(entry["input"], json!({}), "{what}");
                assert_eq!(entry["loc"][0], "body", "{what}");
                assert!(entry["loc"][1].is_u64(), "{what}: {error}");
                assert!(entry["ctx"]["error"].is_string(), "{what}: {error}");
                assert_eq!(error["detail"].as_array().map(Vec::len), Some(1), "{what}");
            }
        }
        assert_eq!(http.get("/health").status, 200);
    });
}

#[test]
fn a_lone_surrogate_in_a_topic_is_json_invalid() {
    let server = Server::start(&[]);
    let error = server.post(ROUTES[0], r#"{"topic":"\ud800","payload":{}}"#);
    assert_eq!(bounded_error(&error)["detail"][0]["type"], "json_invalid");
}

#[test]
fn nesting_ends_at_255_levels() {
    let server = Server::start(&[]);
    let mut client = Client::subscribed(server.addr(), &["t"]);
    // The body is level 1 and the payload level 2.
    let body = |levels: usize| {
        let (open, close) = ("[".repeat(levels - 2), "]".repeat(levels - 2));
        format!(r#"{{"topic":"t","payload":{{"a":{open}{close}}}}}"#)
    };
    assert_eq!(server.post(ROUTES[0], body(255)).status, 201);
    assert!(client.read_text().contains(&"[".repeat(253)));
    let error = server.post(ROUTES[0], body(256));
    assert_eq!(bounded_error(&error)["detail"][0]["type"], "json_invalid");
}

#[test]
fn absurd_nesting() {
    with_workers(|workers| {
        let server = Server::start(&["--workers", workers]);
        let mut http = Http::open(server.addr());
        let deep = 100_000;
        for (prefix, open, close) in [
            ("", "[", "]"),
            ("", "{\"a\":", "}"),
            (r#"{"topic":"t","payload":{"a":"#, "[", "]"),
            (r#"{"topic":"t","payload":"#, "{\"a\":", "}"),
            (r#"{"topic":"t","metadata":"#, "[{\"\":", "}]"),
            (r#"{"messages":"#, "[", "]"),
            (r#"{"unknown":"#, "[", "]"),
        ] {
            let unclosed = prefix.to_owned() + &open.repeat(deep);
            let closed = unclosed.clone() + "1" + &close.repeat(deep);
            for body in [unclosed, closed] {
                let body = &body[..body.len().min(MIB)];
                for route in ROUTES {
                    let response = http.post(route, body);
                    assert_eq!(response.status, 422, "{prefix}");
                    assert_eq!(
                        bounded_error(&response)["detail"][0]["type"],
                        "json_invalid"
                    );
                }
            }
        }
        assert_eq!(http.get("/health").status, 200);
    });
}

#[test]
fn a_mebibyte_of_wrong_values() {
    with_workers(|workers| {
        let server = Server::start(&["--workers", workers]);
        let mut http = Http::open(server.addr());
        let many = |entry: &dyn Fn(usize) -> String, length: usize| {
            let entries: Vec<String> = (0..(MIB - 200) / length).map(entry).collect();
            entries.join(",")
        };
        let numbers = many(&|n| format!("\"{n:06}\":1"), 11);
        let long_key = format!("\"{}\":1", "k".repeat(MIB - 200));
        let escaped_key = format!("\"{}\":1", "\\u0001".repeat((MIB - 200) / 6));
        let long_value = format!("\"k\":[\"{}\"]", "\\u0000".repeat((MIB - 200) / 6));
        for inner in [&numbers, &long_key, &escaped_key, &long_value] {
            let body = format!("{{\"topic\":\"t\",\"payload\":{{}},\"metadata\":{{{inner}}}}}");
            let response = http.post(ROUTES[0], body);
            let error = bounded_error(&response);
            let count = error["detail"].as_array().map_or(0, Vec::len);
            assert!((1..=100).contains(&count), "{count} entries");
        }

        let long = "x".repeat(MIB - 200);
        for body in [
            format!(r#"{{"topic":"{long}","payload":{{}}}}"#),
            format!(r#"{{"topic":"t","payload":"{long}"}}"#),
            format!(r#"{{"topic":"t","payload":{{}},"ttl":"{long}"}}"#),
            format!(
                r#"{{"topic":"t","payload":{{}},"ttl":{}}}"#,
                "9".repeat(MIB - 200)
            ),
            format!(r#"{{"x":"{long}"}}"#),
            format!(r#""{long}""#),
        ] {
            let response = http.post(ROUTES[0], &body);
            // A number of a million digits is a whole number greater than 0 after all.
            assert!(
                response.status == 201 || response.status == 422,
                "{}",
                &body[..60]
            );
            assert!(response.body.len() < ANSWER_BYTES_MAX);
        }

        let bad = r#"{"topic":1,"payload":2,"ttl":{},"metadata":3}"#;
        let hundred = vec![bad; 100].join(",");
        let error = http.post(ROUTES[1], format!(r#"{{"messages":[{hundred}]}}"#));
        let error = bounded_error(&error);
        assert_eq!(
            error["detail"].as_array().map(Vec::len),
            Some(100),
            "the rest is dropped"
        );
        let ones = vec!["1"; 500_000].join(",");
        let error = http.post(ROUTES[1], format!(r#"{{"messages":[{ones}]}}"#));
        let error = bounded_error(&error);
        assert_eq!(error["detail"][0]["type"], "too_long");
        assert_eq!(error["detail"][0]["input"], json!(null), "over 16 KiB");
        assert_eq!(http.get("/health").status, 200);
    });
}

#[test]
fn the_same_over_a_websocket() {
    with_workers(|workers| {
        let server = Server::start(&["--workers", workers]);
        let mut client = Client::subscribed(server.addr(), &["t"]);
        let topics = vec!["\"a b\""; 100_000].join(",");
        let texts = malformed()
            .into_iter()
            .filter_map(|body| String::from_utf8(body).ok())
            .chain([
                "[".repeat(100_000),
                "{\"a\":".repeat(100_000),
                format!("{{\"type\":\"subscribe\",\"x\":{}", "[".repeat(500_000)),
                format!(r#"{{"type":"subscribe","client_id":"c","topics":[{topics}]}}"#),
                format!(r#"{{"type":"ack","message_id":{}}}"#, "9".repeat(MIB - 200)),
            ]);
        for text in texts {
            client.send_text(&text);
            let error = client.read_text();
            assert!(error.len() < 64 * 1024, "an error of {} bytes", error.len());
            assert!(error.contains("\"PROCESSING_ERROR\""), "{error}");
        }
        client.send_text(&format!(r#"{{"type":"{}"}}"#, "x".repeat(MIB - 200)));
        let error = client.read_text();
        assert!(error.len() < ANSWER_BYTES_MAX);
        assert!(error.contains("\"UNKNOWN_MESSAGE_TYPE\""), "{error:.200}");
        client.assert_quiet();

        let mut wire = Wire::connect(server.addr());
        wire.send(
            TEXT | FIN,
            subscribe("t").replace("topics", "TOPICS").as_bytes(),
        );
        assert_eq!(wire.read_json()["code"], "SUBSCRIPTION_ERROR");
        wire.expect_close(1000);
        assert_eq!(server.get("/health").status, 200);
    });
}

fn bounded_error(response: &Response) -> serde_json::Value {
    assert!(
        response.body.len() < ANSWER_BYTES_MAX,
        "{} bytes",
        response.body.len()
    );
    response.assert_error(422, "VALIDATION_ERROR")
}

fn malformed() -> Vec<Vec<u8>> {
    let texts = [
        "{",
        "}",
        "[",
        "]",
        "\"",
        "nul",
        "tru",
        "+1",
        "01",
        "1.",
        ".5",
        "1e",
        "-",
        "--1",
        "0x10",
        "Nan",
        "NaN",
        "Infinity",
        "-Infinity",
        "'a'",
        "{a:1}",
        "{'a':1}",
        "{\"a\"}",
        "{\"a\" 1}",
        "{\"a\":}",
        "{\"a\":1,}",
        "{,}",
        "[1,]",
        "[1 2]",
        "[,1]",
        "{\"a\":1}}",
        "{} {}",
        "{}x",
        "\"a",
        "\"\\x\"",
        "\"\\u12\"",
        "\"\\u12g4\"",
        "\"tab\tin string\"",
        "\"line\nin string\"",
        "\"\u{1}\"",
        "{\"topic\":\"t\",\"payload\":{\"a\":NaN}}",
        "/* x */ {}",
        "{} // x",
        "\u{a0}{}",
        "undefined",
    ];
    let bytes: [&[u8]; 7] = [
        b"{\"topic\":\"\xff\"}",
        b"\xc3",
        b"\"\xed\xa0\x80\"",
        b"\"\xc0\xaf\"",
        b"\"\xf4\x90\x80\x80\"",
        b"\0",
        b"{\"a\":1}\0",
    ];
    texts
        .iter()
        .map(|text| text.as_bytes().to_vec())
        .chain(bytes.map(<[u8]>::to_vec))
        .collect()
}
