//! `GET /api/v1/stream`: events for `EventSource` and lines of JSON.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use test_util::event_stream::{EventParser, Said, StreamEvent};
use test_util::poll::text;
use test_util::{DEADLINE, Http, Item, Link, Response, Server, Stream, wait_until, with_workers};

#[test]
fn the_head_says_what_comes_and_keeps_proxies_from_waiting() {
    let server = Server::start(&[]);
    let stream = Stream::open(server.addr(), "/api/v1/stream?topics=t");
    assert_head(stream.head(), "text/event-stream");
    assert_eq!(stream.head().header("transfer-encoding"), Some("chunked"));
    let stream = Stream::open_with(server.addr(), "/api/v1/stream?topics=t", &[]);
    assert_head(stream.head(), "text/event-stream");
    let stream = Stream::open_lines(server.addr(), "/api/v1/stream?topics=t");
    assert_head(stream.head(), "application/x-ndjson");
}

#[test]
fn it_begins_with_retry_and_what_was_subscribed() {
    with_workers(|workers| {
        let server = Server::start(&["--workers", workers]);
        let last = server.publish("a", &json!({}))["message_id"].clone();
        let mut stream = Stream::open(server.addr(), "/api/v1/stream?topics=a,b");
        assert!(matches!(stream.next(DEADLINE), Item::Retry(millis) if millis > 0));
        let (id, data) = stream.expect_event("subscribed");
        assert!(id.starts_with("cur_"), "{id}");
        assert_eq!(data["type"], "subscribed", "{data}");
        assert_eq!(data["positions"]["a"], last, "{data}");
        assert!(text(&data["positions"]["b"]).starts_with("msg_"), "{data}");
        assert_eq!(data["recovered"], json!({"a": true, "b": true}));

        let mut stream = Stream::open(server.addr(), "/api/v1/stream?topics=a");
        let (id, data) = stream.expect_event("subscribed");
        assert_eq!(id, text(&last), "the place to come back to");
        assert_eq!(data["positions"], json!({"a": last}));
    });
}

#[test]
fn each_message_is_an_event_with_an_id() {
    with_workers(|workers| {
        let server = Server::start(&["--workers", workers]);
        let mut stream = subscribed(&server, "topics=t");
        for n in 0..3 {
            let message = json!({"topic": "t", "payload": {"n": n}, "metadata": {"k": "v"}});
            let published = server.publish_message(&message);
            let (id, data) = stream.expect_event("message");
            assert_eq!(id, text(&published["message_id"]));
            assert_delivery(&data, &published, &json!({"n": n}), &json!({"k": "v"}));
        }
        let labels = [("topic", "t"), ("delivery_type", "sse")];
        server.wait_for_metric("proxy_messages_delivered_total", &labels, 3.0);
    });
}

#[test]
fn with_several_topics_the_id_is_a_cursor() {
    with_workers(|workers| {
        let server = Server::start(&["--workers", workers]);
        let mut stream = subscribed(&server, "topics=a,b");
        let published: Vec<Value> = ["a", "b", "a", "b"]
            .iter()
            .map(|topic| server.publish(topic, &json!({}))["message_id"].clone())
            .collect();
        // Each event's id is where to go on, in a stream and in a poll.
        let mut came = Vec::new();
        for _ in &published {
            let (cursor, data) = stream.expect_event("message");
            assert!(
                cursor.starts_with("cur_") && cursor.len() <= 2048,
                "{cursor}"
            );
            came.push(data["message_id"].clone());
            let rest = |came: &[Value]| {
                let is_left = |id: &&Value| !came.contains(id);
                let rest = published.iter().filter(is_left).map(text);
                rest.map(str::to_owned).collect::<BTreeSet<_>>()
            };
            let headers = [("Last-Event-ID", cursor.as_str())];
            let path = "/api/v1/stream?topics=a,b";
            let mut again = Stream::open_with(server.addr(), path, &headers);
            again.expect_event("subscribed");
            let got: BTreeSet<String> = rest(&came)
                .iter()
                .map(|_| again.expect_event("message").1["message_id"].clone())
                .map(|id| text(&id).to_owned())
                .collect();
            assert_eq!(got, rest(&came));
            let path = format!("/api/v1/poll?topics=a,b&timeout=0&since={cursor}");
            let answer = test_util::poll::check(&server.get(&path), 2);
            let got: BTreeSet<String> = test_util::poll::ids(&answer["messages"])
                .into_iter()
                .collect();
            assert_eq!(got, rest(&came));
        }
        for of_topic in [[0, 2], [1, 3]] {
            let order =
                of_topic.map(|index: usize| came.iter().position(|id| *id == published[index]));
            assert!(order.is_sorted(), "{came:?}");
        }
    });
}

#[test]
fn last_event_id_goes_before_since() {
    with_workers(|workers| {
        let server = Server::start(&["--workers", workers]);
        let ids: Vec<Value> = (0..5)
            .map(|n| server.publish("t", &json!({"n": n}))["message_id"].clone())
            .collect();
        let path = format!("/api/v1/stream?topics=t&since={}", text(&ids[0]));
        let mut by_since = Stream::open(server.addr(), &path);
        by_since.expect_event("subscribed");
        for id in &ids[1..] {
            assert_eq!(by_since.expect_event("message").0, text(id));
        }
        let headers = [("last-event-id", text(&ids[2]))];
        let mut by_header = Stream::open_with(server.addr(), &path, &headers);
        let (id, data) = by_header.expect_event("subscribed");
        assert_eq!(id, text(&ids[2]));
        assert_eq!(data["recovered"], json!({"t": true}));
        for id in &ids[3..] {
            assert_eq!(by_header.expect_event("message").0, text(id));
        }
        let mut earliest = subscribed(&server, "topics=t&since=earliest");
        for id in &ids {
            assert_eq!(earliest.expect_event("message").0, text(id));
        }
    });
}

#[test]
fn a_gap_is_an_event_with_an_id_of_its_own() {
    with_workers(|workers| {
        let flags = ["--workers", workers, "--max-messages-per-topic", "5"];
        let server = Server::start(&flags);
        let ids: Vec<Value> = (0..10)
            .map(|n| server.publish("t", &json!({"n": n}))["message_id"].clone())
            .collect();
        let path = format!("/api/v1/stream?topics=t&since={}", text(&ids[1]));
        let mut stream = Stream::open(server.addr(), &path);
        let (_, data) = stream.expect_event("subscribed");
        assert_eq!(data["recovered"], json!({"t": false}));
        let (id, gap) = stream.expect_event("gap");
        let wanted = json!({
            "type": "gap", "topic": "t", "from": ids[1], "to": ids[4], "reason": "trimmed",
        });
        assert_eq!(gap, wanted);
        assert_eq!(id, text(&ids[4]), "whoever comes back is not told again");
        for id in &ids[5..] {
            assert_eq!(stream.expect_event("message").0, text(id));
        }

        let mut lines = Stream::open_lines(server.addr(), &path);
        assert_eq!(lines.next_line()["type"], "subscribed");
        assert_eq!(lines.next_line(), wanted);
        for id in &ids[5..] {
            assert_eq!(lines.next_line()["message_id"], *id);
        }
    });
}

#[test]
fn a_restart_is_a_gap() {
    let mut server = Server::start(&[]);
    let old = server.publish("t", &json!({}))["message_id"].clone();
    assert_eq!(server.stop(), Some(0));
    let server = Server::start(&[]);
    let new = server.publish("t", &json!({}))["message_id"].clone();
    let headers = [("Last-Event-ID", text(&old))];
    let mut stream = Stream::open_with(server.addr(), "/api/v1/stream?topics=t", &headers);
    let (_, data) = stream.expect_event("subscribed");
    assert_eq!(data["recovered"], json!({"t": false}));
    let (_, gap) = stream.expect_event("gap");
    assert_eq!(
        (&gap["from"], &gap["reason"]),
        (&old, &json!("epoch_changed"))
    );
    assert_eq!(stream.expect_event("message").0, text(&new));
}

#[test]
fn lines_are_the_same_objects() {
    with_workers(|workers| {
        let server = Server::start(&["--workers", workers]);
        let mut lines = Stream::open_lines(server.addr(), "/api/v1/stream?topics=a,b");
        let first = lines.next_line();
        assert_eq!(first["type"], "subscribed", "{first}");
        for topic in ["a", "b"] {
            let published = server.publish(topic, &json!({"n": topic}));
            let mut line = lines.next_line();
            line.as_object_mut().unwrap().remove("offset");
            assert_delivery(&line, &published, &json!({"n": topic}), &Value::Null);
        }
    });
}

#[test]
fn lines_of_several_topics_say_where_to_go_on() {
    let server = Server::start(&["--max-messages-per-topic=2"]);
    let mut lines = Stream::open_lines(server.addr(), "/api/v1/stream?topics=a,b");
    let start = text(&lines.next_line()["offset"]).to_owned();
    server.publish("a", &json!({}));
    let behind_a = text(&lines.next_line()["offset"]).to_owned();
    for _ in 0..3 {
        server.publish("b", &json!({}));
        lines.next_line();
    }
    let path = |offset: &str| format!("/api/v1/stream?topics=a,b&since={offset}");
    let mut again = Stream::open_lines(server.addr(), &path(&start));
    let subscribed = again.next_line();
    assert_eq!(subscribed["recovered"], json!({"a": true, "b": false}));
    assert_eq!(subscribed.get("offset"), None, "it goes on behind the gap");
    let gap = again.next_line();
    assert_eq!((&gap["type"], &gap["topic"]), (&json!("gap"), &json!("b")));
    let mut behind_gap = Stream::open_lines(server.addr(), &path(text(&gap["offset"])));
    assert_eq!(
        behind_gap.next_line()["recovered"],
        json!({"a": true, "b": true})
    );
    let mut behind = Stream::open_lines(server.addr(), &path(&behind_a));
    let topics: Vec<Value> = (0..4)
        .map(|_| behind.next_line()["topic"].clone())
        .collect();
    assert_eq!(
        topics,
        [json!(null), json!("b"), json!("b"), json!("b")],
        "a is known"
    );
    // One topic's id says the same.
    let mut one = Stream::open_lines(server.addr(), "/api/v1/stream?topics=a&since=earliest");
    assert!(
        [one.next_line(), one.next_line()]
            .iter()
            .all(|line| line.get("offset").is_none())
    );
}

#[test]
fn an_accept_header_is_read_as_a_list() {
    let server = Server::start(&[]);
    let path = "/api/v1/stream?topics=t";
    for (accept, wanted) in [
        ("*/*", "text/event-stream"),
        ("text/event-stream", "text/event-stream"),
        (
            "application/json, application/x-ndjson",
            "application/x-ndjson",
        ),
        ("Application/X-NDJSON;q=0.9", "application/x-ndjson"),
        ("application/x-ndjson; q=0.0, */*", "text/event-stream"),
        ("text/html", "text/event-stream"),
    ] {
        let stream = Stream::open_with(server.addr(), path, &[("Accept", accept)]);
        assert_head(stream.head(), wanted);
    }
}

#[test]
fn line_breaks_in_a_payload_do_not_break_the_line() {
    with_workers(|workers| {
        let server = Server::start(&["--workers", workers]);
        let mut events = subscribed(&server, "topics=t");
        let mut lines = Stream::open_lines(server.addr(), "/api/v1/stream?topics=t");
        lines.next_line();
        let payload = "{\r\n\"a\" :\n\"x\\r\\ny\u{2028}\u{85}z\",\r\"b\":\t[1,\r\n2]\n}";
        let metadata = "{\n\"k\":\r\"v\\n\"\r\n}";
        let body = format!("{{\"topic\":\"t\",\"payload\":{payload},\"metadata\":\n{metadata}}}");
        assert_eq!(server.post("/api/v1/messages", body).status, 201);
        let event = events.next_event();
        assert!(!event.data.contains(['\r', '\n']), "{:?}", event.data);
        let line = lines.next_line();
        let data: Value = serde_json::from_str(&event.data).expect("JSON");
        for message in [data, line] {
            let wanted = json!({"a": "x\r\ny\u{2028}\u{85}z", "b": [1, 2]});
            assert_eq!(message["payload"], wanted);
            assert_eq!(message["metadata"], json!({"k": "v\n"}));
        }
    });
}

#[test]
fn a_comment_comes_every_fifteen_seconds() {
    let server = Server::start(&[]);
    let mut stream = subscribed(&server, "topics=t");
    let began = Instant::now();
    let item = stream.next(Duration::from_secs(25));
    assert!(matches!(item, Item::Comment(_)), "{item:?}");
    let took = began.elapsed();
    assert!(took >= Duration::from_secs(12), "{took:?}");
    assert!(took < Duration::from_secs(20), "{took:?}");
    server.publish("t", &json!({}));
    stream.expect_event("message");
}

#[test]
fn a_stream_in_http_1_0_ends_with_its_connection() {
    let mut server = Server::start(&[]);
    let mut link = Link::open(server.addr());
    let host = server.addr();
    let head = format!("GET /api/v1/stream?topics=t HTTP/1.0\r\nHost: {host}\r\n\r\n");
    link.send(head);
    let mut stream = Stream::answered(link).expect("a stream");
    assert_head(stream.head(), "text/event-stream");
    assert_eq!(stream.head().header("transfer-encoding"), None);
    stream.expect_event("subscribed");
    server.publish("t", &json!({}));
    stream.expect_event("message");
    server.signal("TERM");
    assert!(matches!(ended(&mut stream), Item::End(_)));
    assert_eq!(server.wait(DEADLINE), Some(0));
}

#[test]
fn a_closed_side_ends_it() {
    with_workers(|workers| {
        let server = Server::start(&["--workers", workers]);
        let base = server.settled_descriptors();
        for _ in 0..10 {
            let mut stream = subscribed(&server, "topics=t");
            stream.link().finish();
            stream.expect_end();
        }
        let gone: Vec<Stream> = (0..10).map(|_| subscribed(&server, "topics=t")).collect();
        gone.into_iter()
            .for_each(|stream| stream.into_link().reset());
        server.assert_recovered(base);
    });
}

#[test]
fn the_end_of_the_server_ends_it() {
    with_workers(|workers| {
        let mut server = Server::start(&["--workers", workers]);
        let mut streams: Vec<Stream> = (0..20).map(|_| subscribed(&server, "topics=t")).collect();
        let mut lines = Stream::open_lines(server.addr(), "/api/v1/stream?topics=t");
        lines.next_line();
        server.signal("TERM");
        streams.iter_mut().for_each(Stream::expect_end);
        lines.expect_end();
        assert_eq!(server.wait(DEADLINE), Some(0));
    });
}

#[test]
fn streams_count_as_connections() {
    with_workers(|workers| {
        let server = Server::start(&["--workers", workers, "--max-connections", "3"]);
        let mut streams: Vec<Stream> = (0..3).map(|_| subscribed(&server, "topics=t")).collect();
        let mut http = Http::open(server.addr());
        let response = http.get("/api/v1/stream?topics=t");
        response.assert_error(503, "SERVICE_UNAVAILABLE");
        assert!(response.header("retry-after").is_some(), "{response:?}");
        http.expect_closed();
        server.publish("t", &json!({}));
        streams
            .iter_mut()
            .for_each(|stream| _ = stream.expect_event("message"));
        drop(streams);
        wait_until("a place is free", DEADLINE, || {
            let mut link = Link::open(server.addr());
            link.send(test_util::stream::request(
                server.addr(),
                "/api/v1/stream?topics=t",
                &[],
            ));
            Stream::answered(link).is_ok()
        });
    });
}

#[test]
fn wrong_requests_are_refused() {
    let server = Server::start(&[]);
    let http = &mut Http::open(server.addr());
    for (query, name, kind) in [
        ("", "topics", "missing"),
        ("topics=", "topics", "value_error"),
        ("topics=a%20b", "topics", "value_error"),
        ("topics=t&since=soon", "since", "value_error"),
    ] {
        let response = http.get(&format!("/api/v1/stream?{query}"));
        let body = response.assert_error(422, "VALIDATION_ERROR");
        assert_eq!(body["detail"][0]["loc"], json!(["query", name]), "{body}");
        assert_eq!(body["detail"][0]["type"], kind, "{body}");
    }
    for method in ["HEAD", "POST"] {
        let mut http = Http::open(server.addr());
        let response = http.request(method, "/api/v1/stream?topics=t", &[], b"");
        assert_eq!(response.status, 405, "{method}");
        assert_eq!(response.header("allow"), Some("GET"));
    }
    assert_eq!(server.get("/api/v1/stream/?topics=t").status, 307);
}

#[test]
fn a_reader_that_never_reads_is_cut_off_and_costs_no_more_than_its_bounds() {
    const MIB: u64 = 1024 * 1024;
    with_workers(|workers| {
        let flags = [
            "--topic-bytes-max",
            "4MiB",
            "--outbox-bytes-max",
            "256KiB",
            "--max-message-size",
            "64KiB",
            "--lag-timeout",
            "2s",
            "--workers",
            workers,
        ];
        let server = Server::start(&flags);
        let mut stuck = subscribed(&server, "topics=t");
        set_receive_buffer(&stuck, 16 * 1024);
        let mut healthy = subscribed(&server, "topics=t");
        let mut http = Http::open(server.addr());
        let padding = "x".repeat(10_000);
        let mut publish = |count: usize| {
            for _ in 0..count {
                let payload = json!({"padding": padding});
                let id = http.publish(&json!({"topic": "t", "payload": payload}));
                assert_eq!(healthy.expect_event("message").0, text(&id["message_id"]));
            }
        };
        publish(100);
        let before = server.rss();
        publish(1_000);
        let grown = server.rss().saturating_sub(before);
        eprintln!("grown by {grown} bytes");
        assert!(grown < 8 * MIB, "grown by {grown} bytes");
        let reason = |server: &Server| {
            let samples = test_util::metrics::samples(&server.metrics());
            let lagging = samples.into_iter().filter(|sample| {
                sample.name == "proxy_closed_connections_total"
                    && sample
                        .label("reason")
                        .is_some_and(|reason| reason.contains("lag"))
            });
            lagging.map(|sample| sample.value).sum::<f64>()
        };
        wait_until("the stuck reader is cut off", DEADLINE, || {
            reason(&server) >= 1.0
        });
        // Through a small buffer the kernel would send a little now and then.
        set_receive_buffer(&stuck, 1024 * 1024);
        assert!(matches!(ended(&mut stuck), Item::End(_)));
        publish(1);
    });
}

#[test]
fn the_parser_of_these_tests_follows_the_rules_of_browsers() {
    let bytes = "\u{feff}: hi\r\ndata: a\rdata:b\ndata\n\nid: 7\nevent: x\n\ndata: c\n\n\
                 id\ndata:  d\nunknown: e\nretry: 10\nretry: 1x\n\nid: 8\ndata: never ended";
    let event = |id: &str, event: &str, data: &str| {
        Said::Event(StreamEvent {
            id: id.to_owned(),
            event: event.to_owned(),
            data: data.to_owned(),
        })
    };
    let wanted = [
        Said::Comment(" hi".to_owned()),
        event("", "message", "a\nb\n"),
        event("7", "message", "c"),
        Said::Retry(10),
        event("", "message", " d"),
    ];
    for size in 1..bytes.len() {
        let mut parser = EventParser::default();
        let said: Vec<Said> = bytes
            .as_bytes()
            .chunks(size)
            .flat_map(|chunk| parser.feed(chunk))
            .collect();
        assert_eq!(said, wanted, "in pieces of {size}");
    }
}

/// A stream whose first event has come.
fn subscribed(server: &Server, query: &str) -> Stream {
    let mut stream = Stream::open(server.addr(), &format!("/api/v1/stream?{query}"));
    stream.expect_event("subscribed");
    stream
}

fn set_receive_buffer(stream: &Stream, bytes: usize) {
    let socket = socket2::SockRef::from(stream.link().stream());
    socket
        .set_recv_buffer_size(bytes)
        .expect("a TCP socket has this option");
}

/// Reads on to how it ended.
fn ended(stream: &mut Stream) -> Item {
    loop {
        let item = stream.next(DEADLINE);
        if matches!(item, Item::End(_) | Item::Nothing) {
            return item;
        }
    }
}

fn assert_head(head: &Response, kind: &str) {
    assert_eq!(head.status, 200);
    assert_eq!(head.header("content-type"), Some(kind));
    assert_eq!(head.header("cache-control"), Some("no-cache"));
    assert_eq!(head.header("x-accel-buffering"), Some("no"));
    assert!(head.header("date").is_some() && head.header("server").is_some());
    assert!(head.header("x-request-id").is_some());
    assert_eq!(head.header("content-length"), None);
}

fn assert_delivery(data: &Value, published: &Value, payload: &Value, metadata: &Value) {
    let mut data = data.clone();
    if let Some(fields) = data.as_object_mut()
        && let Some(kind) = fields.remove("type")
    {
        assert_eq!(kind, "message");
    }
    let wanted = json!({
        "message_id": published["message_id"], "topic": published["topic"], "payload": payload,
        "timestamp": published["timestamp"], "metadata": metadata,
    });
    assert_eq!(data, wanted);
}
