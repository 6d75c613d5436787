//! At its limits the server says so, keeps what matters alive, and recovers.

use std::io::Write;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use test_util::wire::handshake;
use test_util::{Client, DEADLINE, Http, Server, Wire, wait_until, with_workers};

const MIB: u64 = 1024 * 1024;
const BODY: &[u8] = br#"{"topic":"t","payload":{}}"#;

#[test]
fn a_websocket_over_the_limit_is_sent_away() {
    with_workers(|workers| {
        let server = Server::start(&["--workers", workers, "--max-connections", "5"]);
        let mut clients: Vec<Client> = (0..5)
            .map(|_| Client::subscribed(server.addr(), &["t"]))
            .collect();
        for _ in 0..3 {
            let mut http = Http::open(server.addr());
            http.send(handshake(server.addr()));
            let response = http.read_response();
            response.assert_error(503, "SERVICE_UNAVAILABLE");
            assert_retry_after(&response);
            http.expect_closed();
        }
        assert_eq!(
            server.post("/api/v1/messages", BODY).status,
            201,
            "publishing goes on"
        );
        clients
            .iter_mut()
            .for_each(|client| assert_eq!(client.read_json()["type"], "message"));
        clients.pop().expect("there are five").vanish();
        wait_until("its place is free again", DEADLINE, || {
            Wire::handshake(server.addr(), handshake(server.addr()))
                .1
                .status
                == 101
        });
    });
}

#[test]
fn the_last_http_connections_are_kept_for_operators() {
    with_workers(|workers| {
        let server = Server::start(&["--workers", workers, "--http-connections-max", "20"]);
        let mut ordinary: Vec<Http> = (0..4).map(|_| Http::open(server.addr())).collect();
        for http in &mut ordinary {
            assert_eq!(http.post("/api/v1/messages", BODY).status, 201);
        }
        for _ in 0..3 {
            let mut http = Http::open(server.addr());
            let response = http.post("/api/v1/messages", BODY);
            response.assert_error(503, "SERVICE_UNAVAILABLE");
            assert_retry_after(&response);
            http.expect_closed();
            for path in ["/health", "/ready", "/metrics"] {
                assert_eq!(server.get(path).status, 200, "{path}");
            }
        }
        for http in &mut ordinary {
            assert_eq!(
                http.post("/api/v1/messages", BODY).status,
                201,
                "others are served"
            );
        }
        drop(ordinary);
        wait_until("places are free again", DEADLINE, || {
            server.post("/api/v1/messages", BODY).status == 201
        });
    });
}

#[test]
fn the_last_http_connections_have_one_second_for_the_head() {
    with_workers(|workers| {
        let server = Server::start(&["--workers", workers, "--http-connections-max", "20"]);
        let mut ordinary: Vec<Http> = (0..4).map(|_| Http::open(server.addr())).collect();
        ordinary
            .iter_mut()
            .for_each(|http| assert_eq!(http.get("/health").status, 200));
        let began = Instant::now();
        let mut slow: Vec<Http> = (0..10).map(|_| Http::open(server.addr())).collect();
        slow.iter_mut()
            .for_each(|http| http.send("GET /health HTTP/1.1\r\nHost: "));
        for http in &mut slow {
            if let Some(response) = http.try_read_response() {
                assert!(matches!(response.status, 408 | 503), "{response:?}");
            }
            http.expect_closed();
        }
        assert!(
            began.elapsed() < Duration::from_secs(8),
            "{:?}",
            began.elapsed()
        );
        assert_eq!(server.get("/health").status, 200);
    });
}

#[test]
fn beyond_the_last_connection_there_is_still_an_answer_in_time() {
    let server = Server::start(&["--http-connections-max", "20"]);
    let mut all: Vec<Http> = (0..40).map(|_| Http::open(server.addr())).collect();
    for http in &mut all {
        let request = http.encode("GET", "/health", &[], b"");
        http.send_to_deaf(request);
    }
    let mut served = 0;
    for http in &mut all {
        match http.try_read_response() {
            Some(response) if response.status == 200 => served += 1,
            Some(response) => assert_eq!(response.status, 503, "{response:?}"),
            None => {}
        }
    }
    assert!(
        served >= 20,
        "{served} of the connections in the limit were served"
    );
    drop(all);
    wait_until("it has recovered", DEADLINE, || {
        server.post("/api/v1/messages", BODY).status == 201
    });
}

#[test]
fn topics_over_the_limit_are_not_made() {
    with_workers(|workers| {
        let flags = [
            "--workers",
            workers,
            "--topics-max",
            "3",
            "--hot-tier-retention",
            "2s",
        ];
        let server = Server::start(&flags);
        let mut client = Client::subscribed(server.addr(), &["a", "b", "c"]);
        for topic in ["a", "b", "c"] {
            server.publish(topic, &json!({}));
            assert_eq!(client.read_json()["topic"], topic);
        }
        let message = |topic: &str| json!({"topic": topic, "payload": {}});
        let response = server.post("/api/v1/messages", message("d").to_string());
        response.assert_error(503, "SERVICE_UNAVAILABLE");
        assert_retry_after(&response);

        let bulk = json!({"messages": [message("a"), message("d"), message("b")]});
        let response = server.post("/api/v1/messages/bulk", bulk.to_string());
        assert_eq!(response.status, 207, "{response:?}");
        let answer = response.json();
        assert_eq!(
            answer["summary"],
            json!({"total": 3, "accepted": 2, "rejected": 1})
        );
        let rejected = &answer["results"][1];
        assert_eq!(rejected["message_id"], Value::Null);
        assert_eq!(rejected["topic"], "d");
        assert_eq!(rejected["status"], "rejected");
        assert!(rejected["error"].is_string(), "{rejected}");
        assert_eq!(client.read_json()["topic"], "a");
        assert_eq!(client.read_json()["topic"], "b");

        client.close();
        wait_until("the topics are freed", DEADLINE, || {
            server
                .post("/api/v1/messages", message("d").to_string())
                .status
                == 201
        });
    });
}

#[test]
fn when_memory_is_full_history_goes_first_and_publishing_goes_on() {
    with_workers(|workers| {
        let flags = [
            "--workers",
            workers,
            "--memory-max",
            "16MiB",
            "--topic-bytes-max",
            "16MiB",
        ];
        let server = Server::start(&[&flags[..], &["--max-message-size", "128KiB"]].concat());
        let mut live = Client::subscribed(server.addr(), &["large", "small"]);
        let mut http = Http::open(server.addr());
        let padding = "x".repeat(50_000);
        let before = server.rss();
        http.publish(&json!({"topic": "small", "payload": {}}));
        assert_eq!(live.read_json()["topic"], "small");
        for n in 0..1_000 {
            http.publish(&json!({"topic": "large", "payload": {"n": n, "padding": padding}}));
            assert_eq!(
                live.read_json()["payload"]["n"],
                n,
                "live subscribers miss nothing"
            );
        }
        let grown = server.rss().saturating_sub(before);
        assert!(grown < 24 * MIB, "50 MB came, {grown} bytes stayed");

        let (mut client, _) = Client::subscribed_from(server.addr(), &["large"], "earliest");
        let first = client.read_json()["payload"]["n"].as_u64();
        assert!(first > Some(500), "the oldest went: {first:?}");
        let (mut client, _) = Client::subscribed_from(server.addr(), &["small"], "earliest");
        assert_eq!(
            client.read_json()["topic"],
            "small",
            "the largest topic gave first"
        );
    });
}

#[test]
fn what_comes_in_part_keeps_to_the_memory_bound() {
    with_workers(|workers| {
        let server = Server::start(&["--workers", workers, "--memory-max", "16MiB"]);
        let mut begun =
            b"POST /api/v1/messages HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\n"
                .to_vec();
        begun.resize(begun.len() + 900_000, b' ');
        let mut uploads: Vec<Http> = (0..40).map(|_| Http::open(server.addr())).collect();
        for http in &mut uploads {
            http.send_to_deaf(&begun);
        }
        let within = || server.metric("proxy_memory_used_bytes", &[]) <= (18 * MIB) as f64;
        let refused = |code| server.metric("proxy_errors_total", &[("code", code)]);
        wait_until("uploads are refused", DEADLINE, || {
            refused("SERVICE_UNAVAILABLE") >= 20.0
        });
        wait_until("the bound holds", DEADLINE, within);
        drop(uploads);
        wait_until("publishing goes on", DEADLINE, || {
            server.post("/api/v1/messages", BODY).status == 201
        });

        // An opened text message whose end does not come: final bit off, 900,000 bytes, no mask.
        let mut fragment = vec![0x01, 0xff];
        fragment.extend(900_000_u64.to_be_bytes());
        fragment.extend([0; 4]);
        fragment.resize(fragment.len() + 900_000, b' ');
        let mut wires: Vec<Wire> = (0..40)
            .map(|_| Wire::subscribed(server.addr(), "t"))
            .collect();
        for wire in &mut wires {
            // Those that are closed meanwhile need not take it.
            let _ = std::io::Write::write_all(&mut wire.stream(), &fragment);
        }
        wait_until("messages are given up", DEADLINE, || {
            server.metric("proxy_closed_connections_total", &[("reason", "limit")]) >= 40.0
        });
        wait_until("the bound holds again", DEADLINE, within);
        assert_eq!(server.get("/health").status, 200);
    });
}

fn assert_retry_after(response: &test_util::Response) {
    let value = response.header("retry-after").unwrap_or_default();
    assert!(value.parse::<u32>().is_ok(), "{response:?}");
}

#[test]
fn answers_that_nobody_reads_are_not_made_ahead() {
    let server = Server::start(&["--workers", "1"]);
    let mut http = Http::open(server.addr());
    for number in 0..500 {
        let topic = format!("{}{number}", "é".repeat(200));
        http.publish(&json!({"topic": topic, "payload": {}}));
    }
    let page = server.metrics().len() as u64;
    let before = server.rss();
    let mut deaf: Vec<Http> = (0..3).map(|_| Http::open(server.addr())).collect();
    for http in &mut deaf {
        let request = http.encode("GET", "/metrics", &[], b"");
        http.send(request.repeat(16));
    }
    wait_until("all have been looked at", DEADLINE, || {
        server.metric("http_requests_total", &[("handler", "/metrics")]) >= 5.0
    });
    let grown = server.rss().saturating_sub(before);
    // Each has one page waiting, and pages are built in larger and larger buffers.
    assert!(grown < 12 * page, "grown by {grown} bytes, {page} a page");
}

#[test]
fn messages_that_never_end_do_not_keep_the_memory() {
    let flags = ["--workers", "1", "--memory-max", "32MiB"];
    let server = Server::start(&flags);
    let mut wires: Vec<Wire> = (0..60)
        .map(|_| Wire::subscribed(server.addr(), "t"))
        .collect();
    let part = vec![b'x'; MIB as usize - 1];
    for wire in &mut wires {
        let header = test_util::wire::header(0x81, 0x80, MIB as usize);
        // Who is sent away in the middle sees it when it reads.
        let mut stream = wire.stream();
        let _ = stream.write_all(&[&header[..], &[0; 4], &part].concat());
    }
    let mut http = Http::open(server.addr());
    let message = http.encode("POST", "/api/v1/messages", &[], BODY);
    wait_until("messages are taken again", DEADLINE, || {
        http.send(&message);
        http.read_response().status == 201
    });
    wait_until("it is counted", DEADLINE, || {
        server.metric("proxy_closed_connections_total", &[("reason", "limit")]) >= 20.0
    });
    assert!(
        server.metric("proxy_websocket_connections_active", &[]) >= 10.0,
        "no more than must be are sent away"
    );
}
