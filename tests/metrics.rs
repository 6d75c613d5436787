//! The page of metrics: complete from the start, counting what happens, and bounded.

use std::io::Write;
use std::process::{Command, Stdio};

use serde_json::json;
use test_util::metrics::{declared_type, samples, sum};
use test_util::{Client, Http, Server, with_workers};

/// Every family that the contract names, with its type.
const FAMILIES: [(&str, &str); 20] = [
    ("proxy_messages_received_total", "counter"),
    ("proxy_messages_delivered_total", "counter"),
    ("proxy_message_latency_seconds", "histogram"),
    ("proxy_websocket_connections_active", "gauge"),
    ("proxy_websocket_connections_total", "counter"),
    ("proxy_websocket_disconnections_total", "counter"),
    ("proxy_storage_operations_total", "counter"),
    ("proxy_topic_message_count", "gauge"),
    ("proxy_errors_total", "counter"),
    ("http_requests_total", "counter"),
    ("http_request_duration_seconds", "histogram"),
    ("http_request_duration_highr_seconds", "histogram"),
    ("http_request_size_bytes", "summary"),
    ("http_response_size_bytes", "summary"),
    ("process_cpu_seconds_total", "counter"),
    ("process_open_fds", "gauge"),
    ("process_max_fds", "gauge"),
    ("process_resident_memory_bytes", "gauge"),
    ("process_virtual_memory_bytes", "gauge"),
    ("process_start_time_seconds", "gauge"),
];

#[test]
fn every_family_is_declared_from_the_start() {
    with_workers(|workers| {
        let server = Server::start(&["--workers", workers]);
        let response = server.get("/metrics");
        let content_type = response.header("content-type");
        assert_eq!(
            content_type,
            Some("text/plain; version=0.0.4; charset=utf-8")
        );
        let page = response.text();
        for (family, kind) in FAMILIES {
            assert_eq!(
                declared_type(&page, family),
                Some(kind),
                "{family}:\n{page}"
            );
        }
        assert_declared_once(&page);
    });
}

#[test]
fn messages_are_counted_by_topic() {
    with_workers(|workers| {
        let server = Server::start(&["--workers", workers]);
        let mut first = Client::subscribed(server.addr(), &["orders"]);
        let mut second = Client::subscribed(server.addr(), &["orders", "alerts"]);
        for _ in 0..5 {
            server.publish("orders", &json!({}));
            first.read_json();
            second.read_json();
        }
        let bulk = json!({"messages": vec![json!({"topic": "alerts", "payload": {}}); 3]});
        assert_eq!(
            server
                .post("/api/v1/messages/bulk", bulk.to_string())
                .status,
            207
        );
        (0..3).for_each(|_| drop(second.read_json()));

        let websocket = |topic| [("topic", topic), ("delivery_type", "websocket")];
        let delivered = "proxy_messages_delivered_total";
        server.wait_for_metric(delivered, &websocket("orders"), 10.0);
        server.wait_for_metric(delivered, &websocket("alerts"), 3.0);
        let page = server.metrics();
        let orders = [("topic", "orders")];
        let alerts = [("topic", "alerts")];
        assert_eq!(sum(&page, "proxy_messages_received_total", &orders), 5.0);
        assert_eq!(sum(&page, "proxy_messages_received_total", &alerts), 3.0);
        assert_eq!(sum(&page, "proxy_topic_message_count", &orders), 5.0);
        assert_eq!(sum(&page, "proxy_topic_message_count", &alerts), 3.0);
        assert_eq!(
            sum(&page, "proxy_message_latency_seconds_count", &orders),
            5.0
        );
        assert_eq!(
            sum(&page, "proxy_message_latency_seconds_count", &alerts),
            3.0
        );
        assert!(sum(&page, "proxy_storage_operations_total", &[]) >= 2.0);
        assert_buckets(
            &page,
            "proxy_message_latency_seconds_bucket",
            &[
                "0.001", "0.005", "0.01", "0.025", "0.05", "0.075", "0.1", "0.25", "0.5", "0.75",
                "1", "2.5", "5", "7.5", "10", "+Inf",
            ],
        );
    });
}

#[test]
fn bytes_are_counted_alike_live_and_in_replay() {
    let server = Server::start(&[]);
    let mut live = Client::subscribed(server.addr(), &["t"]);
    server.publish("t", &json!({"n": 1}));
    live.read_json();
    server.wait_for_metric("proxy_deliveries_total", &[], 1.0);
    let bytes = server.metric("proxy_delivered_bytes_total", &[]);
    assert!(bytes > 100.0, "{bytes}");

    let (mut late, _) = Client::subscribed_from(server.addr(), &["t"], "earliest");
    late.read_json();
    server.wait_for_metric("proxy_deliveries_total", &[], 2.0);
    server.wait_for_metric("proxy_delivered_bytes_total", &[], 2.0 * bytes);
}

#[test]
fn bytes_written_straight_to_subscribers_count_as_sent() {
    let server = Server::start(&[]);
    let mut live = Client::subscribed(server.addr(), &["t"]);
    let sent = || server.metric("proxy_sent_bytes_total", &[]);
    let before = sent();
    // Many pages of metrics would be needed to send as much.
    let padding = "x".repeat(900_000);
    server.publish("t", &json!({"padding": padding}));
    live.read_json();
    server.wait_for_metric("proxy_deliveries_total", &[], 1.0);
    let sent = sent() - before;
    assert!(sent > 900_000.0, "{sent}");
}

#[test]
fn websockets_are_counted() {
    with_workers(|workers| {
        let server = Server::start(&["--workers", workers]);
        let clients: Vec<Client> = (0..10)
            .map(|_| Client::subscribed(server.addr(), &["t"]))
            .collect();
        server.wait_for_metric("proxy_websocket_connections_active", &[], 10.0);
        assert_eq!(
            server.metric("proxy_websocket_connections_total", &[]),
            10.0
        );
        assert_eq!(
            server.metric("proxy_websocket_disconnections_total", &[]),
            0.0
        );
        for (n, client) in clients.into_iter().enumerate() {
            if n % 2 == 0 {
                client.close();
            } else {
                client.vanish();
            }
        }
        server.wait_for_metric("proxy_websocket_connections_active", &[], 0.0);
        server.wait_for_metric("proxy_websocket_disconnections_total", &[], 10.0);
        assert_eq!(
            server.metric("proxy_websocket_connections_total", &[]),
            10.0
        );
    });
}

#[test]
fn requests_are_counted_by_route() {
    with_workers(|workers| {
        let server = Server::start(&["--workers", workers]);
        let mut http = Http::open(server.addr());
        let body = r#"{"topic":"t","payload":{}}"#;
        (0..3).for_each(|_| assert_eq!(http.post("/api/v1/messages", body).status, 201));
        (0..2).for_each(|_| assert_eq!(http.post("/api/v1/messages", "{").status, 422));
        assert_eq!(http.get("/health?x=1").status, 200);
        assert_eq!(http.get("/nowhere").status, 404);
        assert_eq!(http.get("/api/v1/messages").status, 405);
        assert_eq!(http.request("BREW", "/health", &[], b"").status, 405);

        let count = |handler: &str, method: &str, status: &str| {
            let labels = [("handler", handler), ("method", method), ("status", status)];
            server.metric("http_requests_total", &labels)
        };
        server.wait_for_metric(
            "http_requests_total",
            &[("handler", "/health"), ("method", "OTHER")],
            1.0,
        );
        assert_eq!(count("/api/v1/messages", "POST", "2xx"), 3.0);
        assert_eq!(count("/api/v1/messages", "POST", "4xx"), 2.0);
        assert_eq!(count("/health", "GET", "2xx"), 1.0);
        assert_eq!(count("none", "GET", "4xx"), 1.0);
        assert_eq!(count("/api/v1/messages", "GET", "4xx"), 1.0);
        assert_eq!(count("/health", "OTHER", "4xx"), 1.0);

        let page = server.metrics();
        let publish = [("handler", "/api/v1/messages"), ("method", "POST")];
        assert_eq!(
            sum(&page, "http_request_duration_seconds_count", &publish),
            5.0
        );
        let handler = [("handler", "/api/v1/messages")];
        let bytes = 3.0 * body.len() as f64 + 2.0;
        assert_eq!(sum(&page, "http_request_size_bytes_sum", &handler), bytes);
        assert_eq!(sum(&page, "http_request_size_bytes_count", &handler), 6.0);
        assert_eq!(sum(&page, "http_response_size_bytes_count", &handler), 6.0);
        assert_buckets(
            &page,
            "http_request_duration_seconds_bucket",
            &["0.1", "0.5", "1", "+Inf"],
        );
        let highr: Vec<_> = samples(&page)
            .into_iter()
            .filter(|sample| sample.name == "http_request_duration_highr_seconds_bucket")
            .collect();
        assert!(
            highr.iter().all(|sample| sample.labels.len() == 1),
            "only le: {highr:?}"
        );
        assert_eq!(
            highr.first().and_then(|sample| sample.label("le")),
            Some("0.01")
        );
        assert!(
            highr.iter().any(|sample| sample.label("le") == Some("60")),
            "{highr:?}"
        );
    });
}

#[test]
fn errors_are_counted_by_code() {
    let server = Server::start(&[]);
    let mut client = Client::subscribed(server.addr(), &["t"]);
    client.send(&json!({"type": "dance"}));
    client.read_json();
    server
        .post("/api/v1/messages", "{")
        .assert_error(422, "VALIDATION_ERROR");
    server.wait_for_metric("proxy_errors_total", &[("code", "VALIDATION_ERROR")], 1.0);
    server.wait_for_metric(
        "proxy_errors_total",
        &[("code", "UNKNOWN_MESSAGE_TYPE")],
        1.0,
    );
}

#[test]
fn a_stranger_cannot_grow_the_series() {
    with_workers(|workers| {
        let flags = ["--workers", workers, "--metrics-topics-max", "10"];
        let server = Server::start(&flags);
        let mut http = Http::open(server.addr());
        for n in 0..200 {
            http.publish(&json!({"topic": format!("topic-{n}"), "payload": {}}));
            http.get(&format!("/nowhere-{n}"));
            http.request(&format!("METHOD{n}"), "/health", &[], b"");
        }
        let received = "proxy_messages_received_total";
        server.wait_for_metric(received, &[], 200.0);
        let page = server.metrics();
        assert_eq!(sum(&page, received, &[("topic", "*")]), 190.0);
        let topics = |family: &str| {
            samples(&page)
                .iter()
                .filter(|sample| sample.name == family)
                .count()
        };
        assert_eq!(topics(received), 11);
        assert!(topics("proxy_topic_message_count") <= 11, "{page}");
        assert!(
            topics("proxy_message_latency_seconds_count") <= 11,
            "{page}"
        );
        assert!(
            samples(&page).len() < 2_000,
            "{} samples",
            samples(&page).len()
        );
    });
}

#[test]
fn a_topic_that_is_freed_gives_its_place_back() {
    let flags = ["--metrics-topics-max", "1", "--hot-tier-retention", "3s"];
    let server = Server::start(&flags);
    server.publish("first", &json!({}));
    let received = "proxy_messages_received_total";
    assert_eq!(server.metric(received, &[("topic", "first")]), 1.0);
    let gone = || !server.metrics().contains("topic=\"first\"");
    test_util::wait_until("the series is gone", test_util::DEADLINE, gone);
    server.publish("second", &json!({}));
    assert_eq!(server.metric(received, &[("topic", "second")]), 1.0);
}

#[test]
fn promtool_finds_nothing_but_the_name_that_is_accepted() {
    let server = Server::start(&[]);
    let _client = Client::subscribed(server.addr(), &["t"]);
    server.publish("t", &json!({}));
    server.post("/api/v1/messages", "{");
    let Ok(mut promtool) = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
    else {
        eprintln!("skipped: promtool (Debian package prometheus) is not installed");
        return;
    };
    let mut input = promtool.stdin.take().expect("standard input is piped");
    input
        .write_all(server.metrics().as_bytes())
        .expect("promtool reads");
    drop(input);
    let output = promtool.wait_with_output().expect("promtool ends");
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    let remarks: Vec<&str> = text
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with("proxy_topic_message_count "))
        .collect();
    assert!(remarks.is_empty(), "{remarks:#?}");
}

fn assert_declared_once(page: &str) {
    let mut declared: Vec<&str> = page
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next())
        .collect();
    let count = declared.len();
    declared.sort_unstable();
    declared.dedup();
    assert_eq!(declared.len(), count, "a family is declared twice:\n{page}");
    for sample in samples(page) {
        let family = |suffix: &str| sample.name.strip_suffix(suffix);
        let names = ["", "_bucket", "_sum", "_count"]
            .into_iter()
            .filter_map(family);
        let known = names
            .into_iter()
            .any(|name| declared.binary_search(&name).is_ok());
        assert!(known, "{} is not declared", sample.name);
    }
}

fn assert_buckets(page: &str, name: &str, wanted: &[&str]) {
    let samples = samples(page);
    let mut found: Vec<&str> = Vec::new();
    for sample in samples.iter().filter(|sample| sample.name == name) {
        let bound = sample.label("le").expect("buckets have a bound");
        if !found.contains(&bound) {
            found.push(bound);
        }
    }
    assert_eq!(found, wanted, "{name}");
}
