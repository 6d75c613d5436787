//! When Valkey is away, slow, full or empty, the server says so and goes on by itself: publishers are refused and
//! told when to come back, subscribers stay, nothing that was acknowledged is lost and nothing comes twice.

use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use test_util::checker::Ledger;
use test_util::consumer::{Consumer, Transport};
use test_util::poll::text;
use test_util::told::{assert_epoch_changed, everywhere};
use test_util::valkey::{instance, instances, stream_id};
use test_util::{
    Client, DEADLINE, Event, Fate, Http, Response, RoamingPublisher, Valkey, ValkeyProxy,
    ValkeySetup, wait_until, with_workers,
};

/// How soon delivery goes on once Valkey can be reached.
const RECOVERY: Duration = Duration::from_secs(2);
/// A store that does not answer is given up early, so that the tests need not wait.
const FLAGS: [&str; 2] = ["--valkey-timeout", "1s"];

/// Runs a server through an outage that the first function begins and the second ends.
fn outage(begin: impl Fn(&mut Valkey, &ValkeyProxy), end: impl Fn(&mut Valkey, &ValkeyProxy)) {
    let mut valkey = ValkeySetup::new().durable().start();
    let proxy = ValkeyProxy::start(valkey.address());
    let [server] = instances(proxy.port(), &FLAGS);
    let ledger = Ledger::default();
    let mut publisher = RoamingPublisher::new(&ledger, &[server.addr()], "p");
    let mut live = Consumer::new(server.addr(), Transport::WebSocket, &["t"], 1);
    for _ in 0..2 {
        (0..10).for_each(|_| assert_eq!(publisher.publish_at_last("t"), 0));
        live.read_all(&ledger);

        begin(&mut valkey, &proxy);
        server.wait_until_unready();
        assert_eq!(server.get("/health").status, 200);
        for _ in 0..3 {
            let began = Instant::now();
            assert_refused(&publisher.publish("t"));
            assert!(began.elapsed() < 3 * RECOVERY, "{:?}", began.elapsed());
        }

        end(&mut valkey, &proxy);
        let began = Instant::now();
        publisher.publish_at_last("t");
        live.read_all(&ledger);
        assert!(began.elapsed() < RECOVERY, "{:?}", began.elapsed());
        server.wait_until_ready();
    }
    let mut late = Consumer::new(server.addr(), Transport::WebSocket, &["t"], 1);
    late.read_all(&ledger);
    for trace in [&live, &late].map(|it| it.traces().next().expect("one topic")) {
        ledger.check(trace);
        assert!(trace.gaps.is_empty(), "{:?}", trace.gaps);
    }
    assert_eq!(live.connections(), 1, "subscribers stay");
}

#[test]
fn killed() {
    outage(|valkey, _| valkey.kill(), |valkey, _| valkey.restart());
}

#[test]
fn stopped() {
    outage(|valkey, _| valkey.stop(), |valkey, _| valkey.restart());
}

#[test]
fn hanging() {
    outage(|valkey, _| valkey.pause(), |valkey, _| valkey.resume());
}

#[test]
fn writing_is_paused() {
    let begin = |valkey: &mut Valkey, _: &ValkeyProxy| {
        let () = valkey.command(&["CLIENT", "PAUSE", "60000", "WRITE"]);
    };
    let end = |valkey: &mut Valkey, _: &ValkeyProxy| valkey.command(&["CLIENT", "UNPAUSE"]);
    outage(begin, end);
}

#[test]
fn everything_is_paused_for_a_while() {
    let valkey = ValkeySetup::new().durable().start();
    let [server] = instances(valkey.port(), &FLAGS);
    let ledger = Ledger::default();
    let mut publisher = RoamingPublisher::new(&ledger, &[server.addr()], "p");
    let mut live = Consumer::new(server.addr(), Transport::WebSocket, &["t"], 1);
    for millis in [300, 900, 2500] {
        assert_eq!(publisher.publish_at_last("t"), 0);
        valkey.client_pause(millis);
        let pause = Duration::from_millis(millis);
        let began = Instant::now();
        publisher.publish_at_last("t");
        live.read_all(&ledger);
        assert!(
            began.elapsed() > pause - RECOVERY.min(pause / 2),
            "it was paused"
        );
        assert!(began.elapsed() < pause + RECOVERY, "{:?}", began.elapsed());
    }
    for trace in live.traces() {
        ledger.check(trace);
        assert!(trace.gaps.is_empty(), "{:?}", trace.gaps);
    }
}

#[test]
fn unreachable() {
    let begin = |_: &mut Valkey, proxy: &ValkeyProxy| {
        proxy.refuse();
        proxy.cut();
    };
    outage(begin, |_, proxy| proxy.accept());
}

#[test]
fn silent() {
    outage(|_, proxy| proxy.stall(), |_, proxy| proxy.flow());
}

#[test]
fn answers_get_lost() {
    outage(
        |_, proxy| proxy.drop_replies(),
        |_, proxy| proxy.pass_replies(),
    );
}

#[test]
fn cut_connections_are_made_again() {
    with_workers(|workers| {
        let valkey = Valkey::start();
        let proxy = ValkeyProxy::start(valkey.address());
        let [server] = instances(proxy.port(), &["--workers", workers]);
        let ledger = Ledger::default();
        let mut publisher = RoamingPublisher::new(&ledger, &[server.addr()], "p");
        let mut live = Consumer::new(server.addr(), Transport::WebSocket, &["t"], 1);
        for _ in 0..20 {
            assert_eq!(publisher.publish_at_last("t"), 0, "it is tried again");
            proxy.cut();
            let began = Instant::now();
            publisher.publish_at_last("t");
            live.read_all(&ledger);
            assert!(began.elapsed() < RECOVERY, "{:?}", began.elapsed());
        }
        let trace = live.traces().next().unwrap();
        ledger.check(trace);
        assert!(trace.gaps.is_empty(), "{:?}", trace.gaps);
    });
}

#[test]
fn what_was_stored_though_its_answer_was_lost_is_stored_once() {
    with_workers(|workers| {
        let valkey = Valkey::start();
        let proxy = ValkeyProxy::start(valkey.address());
        let [server] = instances(proxy.port(), &["--workers", workers]);
        let bulk = json!({"messages": [
            {"topic": "t", "payload": {"n": 1}}, {"topic": "u", "payload": {"n": 2}},
            {"topic": "t", "payload": {"n": 3}},
        ]});
        let mut lost = 0;
        for round in 1..=20 {
            let count = || (valkey.stream("t").len(), valkey.stream("u").len());
            proxy.drop_replies();
            let answer = thread::scope(|scope| {
                let body = bulk.to_string();
                let publish = scope.spawn(|| server.post("/api/v1/messages/bulk", body));
                // It is not sent if something before it lacks its answer.
                let end = Instant::now() + RECOVERY / 10;
                while Instant::now() < end && count() != (2 * round, round) {}
                lost += usize::from(count() == (2 * round, round));
                proxy.pass_replies();
                publish.join().unwrap()
            });
            assert_eq!(answer.status, 207, "{answer:?}");
            assert_eq!(count(), (2 * round, round), "once");
            let answer = answer.json();
            let id = |at: usize| stream_id(text(&answer["results"][at]["message_id"]));
            assert!(valkey.stream("t").ends_with(&[id(0), id(2)]));
            assert!(valkey.stream("u").ends_with(&[id(1)]));
        }
        assert!(lost > 0, "some were stored before the answer was lost");
    });
}

#[test]
fn a_full_store_is_told_and_fed_again() {
    let valkey = Valkey::start();
    let [server] = instances(valkey.port(), &FLAGS);
    let mut live = Client::subscribed(server.addr(), &["t"]);
    server.publish("t", &json!({"n": 1}));
    let () = valkey.command(&["CONFIG", "SET", "maxmemory", "1"]);
    for _ in 0..5 {
        assert_unavailable(&server.post("/api/v1/messages", r#"{"topic":"t","payload":{}}"#));
    }
    let () = valkey.command(&["CONFIG", "SET", "maxmemory", "0"]);
    let began = Instant::now();
    let accepted = loop {
        let answer = server.post("/api/v1/messages", r#"{"topic":"t","payload":{"n":2}}"#);
        if answer.status == 201 {
            break answer.json();
        }
        assert_unavailable(&answer);
        assert!(began.elapsed() < RECOVERY, "it goes on");
    };
    assert_eq!(live.read_json()["payload"]["n"], 1);
    let message = live.read_json();
    assert_eq!(message["message_id"], accepted["message_id"]);
    assert_eq!(message["payload"]["n"], 2, "what was refused does not come");
    server.wait_until_ready();
}

#[test]
fn an_emptied_store_is_another_epoch() {
    let mut valkey = Valkey::start();
    let [server] = instances(valkey.port(), &FLAGS);
    let mut live = Client::subscribed(server.addr(), &["t"]);
    let publish = |n: u64| {
        let end = Instant::now() + DEADLINE;
        let body = json!({"topic": "t", "payload": {"n": n}}).to_string();
        loop {
            let answer = server.post("/api/v1/messages", &body);
            if answer.status == 201 {
                return text(&answer.json()["message_id"]).to_owned();
            }
            assert_unavailable(&answer);
            assert!(Instant::now() < end, "it goes on");
        }
    };
    let old: Vec<String> = (0..3).map(publish).collect();
    for id in &old {
        assert_eq!(live.read_json()["message_id"], *id);
    }
    valkey.restart_empty();
    server.wait_until_ready();
    let new: Vec<String> = (3..5).map(publish).collect();
    let gap = live.read_json();
    assert_eq!(gap["type"], "gap", "{gap}");
    assert_eq!(gap["reason"], "epoch_changed", "{gap}");
    assert_eq!(gap["from"], old[2], "{gap}");
    for id in &new {
        assert_eq!(live.read_json()["message_id"], *id);
    }
    for told in everywhere(&server, &["t"], &old[1], 2) {
        if let Some(recovered) = &told.recovered {
            assert_eq!(*recovered, json!({"t": false}));
        }
        assert_epoch_changed(&told.gaps, "t", &old[1]);
        assert_eq!(told.messages, new);
    }
}

#[test]
fn a_slow_network_makes_it_slow_and_nothing_else() {
    let valkey = Valkey::start();
    let proxy = ValkeyProxy::start(valkey.address());
    let [server] = instances(proxy.port(), &[]);
    proxy.delay(Duration::from_millis(150));
    let ledger = Ledger::default();
    let mut live = Consumer::new(server.addr(), Transport::WebSocket, &["t"], 1);
    thread::scope(|scope| {
        for number in 0..8 {
            let (ledger, address) = (&ledger, server.addr());
            scope.spawn(move || {
                let name = format!("p{number}");
                let mut publisher = RoamingPublisher::new(ledger, &[address], &name);
                (0..5).for_each(|_| assert_eq!(publisher.publish_at_last("t"), 0));
            });
        }
    });
    live.read_all(&ledger);
    let trace = live.traces().next().unwrap();
    ledger.check(trace);
    assert_eq!(trace.received.len(), 40);
    assert_eq!(server.get("/ready").status, 200);
}

#[test]
fn a_server_starts_without_its_store_and_finds_it_later() {
    let mut valkey = ValkeySetup::new().durable().start();
    let port = valkey.port();
    let [first] = instances(port, &FLAGS);
    let id = text(&first.publish("t", &json!({"n": 1}))["message_id"]).to_owned();
    drop(first);
    valkey.kill();
    let server = instance(port, &FLAGS);
    assert_eq!(server.get("/health").status, 200);
    let ready = server.get("/ready");
    assert_eq!(ready.status, 503, "{ready:?}");
    let ready = ready.json();
    assert_eq!(ready["ready"], false, "{ready}");
    assert_ne!(ready["checks"]["storage"], "ok", "{ready}");
    assert_unavailable(&server.post("/api/v1/messages", r#"{"topic":"t","payload":{}}"#));
    valkey.restart();
    let began = Instant::now();
    server.wait_until_ready();
    assert!(began.elapsed() < RECOVERY, "{:?}", began.elapsed());
    let (mut client, _) = Client::subscribed_from(server.addr(), &["t"], "earliest");
    assert_eq!(client.read_json()["message_id"], id);
}

#[test]
fn what_waits_for_a_slow_store_is_bounded() {
    const CONNECTIONS: usize = 96;
    let valkey = Valkey::start();
    let proxy = ValkeyProxy::start(valkey.address());
    let queue = [
        "--valkey-queue-bytes-max",
        "1MiB",
        "--max-message-size",
        "150000",
    ];
    let patience = ["--valkey-timeout", "20s"];
    let [server] = instances(proxy.port(), &[&queue[..], &patience].concat());
    let payload = json!({"padding": "x".repeat(100_000)});
    server.publish("t", &payload);
    let before = server.rss();
    proxy.stall();
    let body = json!({"topic": "t", "payload": payload}).to_string();
    let mut waiting: Vec<Http> = Vec::new();
    for _ in 0..CONNECTIONS {
        let mut http = Http::open(server.addr());
        let headers = [("Content-Type", "application/json")];
        let request = http.encode("POST", "/api/v1/messages", &headers, body.as_bytes());
        http.send(request);
        waiting.push(http);
    }
    // Ten fit; some more may be on their way to Valkey, which does not answer.
    wait_until("the rest is refused", DEADLINE, || {
        let answered = waiting.iter_mut().map(Http::has_answer);
        answered.filter(|answered| *answered).count() >= CONNECTIONS - 40
    });
    assert!(server.rss() - before < 64 << 20, "memory is bounded");
    proxy.flow();
    let mut stored = 0;
    for answer in waiting.iter_mut().map(Http::read_response) {
        match answer.status {
            201 => stored += 1,
            _ => assert_unavailable(&answer),
        }
    }
    assert!((1..=40).contains(&stored), "{stored}");
    assert_eq!(valkey.stream("t").len(), 1 + stored);
}

#[test]
fn subscribers_keep_what_memory_has() {
    let mut valkey = ValkeySetup::new().durable().start();
    let [server] = instances(valkey.port(), &FLAGS);
    let mut live = Client::subscribed(server.addr(), &["t"]);
    let id = text(&server.publish("t", &json!({"n": 1}))["message_id"]).to_owned();
    assert_eq!(live.read_json()["message_id"], id);
    valkey.kill();
    server.wait_until_unready();
    live.assert_quiet();
    // Many such rounds must not pile anything up.
    for _ in 0..20 {
        assert_unavailable(&server.post("/api/v1/messages", r#"{"topic":"t","payload":{}}"#));
    }
    valkey.restart();
    server.wait_until_ready();
    assert_eq!(live.next(Duration::ZERO), Event::Nothing);
    let next: Value = server.publish("t", &json!({"n": 2}));
    assert_eq!(live.read_json()["message_id"], next["message_id"]);
}

fn assert_refused(fate: &Fate) {
    match fate {
        Fate::Refused(response) => assert_unavailable(response),
        other => panic!("not refused: {other:?}"),
    }
}

fn assert_unavailable(response: &Response) {
    response.assert_error(503, "SERVICE_UNAVAILABLE");
    let after = response
        .header("retry-after")
        .and_then(|it| it.parse::<u32>().ok());
    assert!(after.is_some(), "{response:?}");
}

#[test]
fn an_instance_that_stood_still_reads_on() {
    const BULKS: usize = 60;
    // More is published meanwhile than Valkey and the kernel keep for one who does not listen.
    let limit = "pubsub 256kb 128kb 1";
    let valkey = ValkeySetup::new()
        .set("client-output-buffer-limit", limit)
        .start();
    let flags = [
        "--max-messages-per-topic",
        "100000",
        "--outbox-bytes-max",
        "64MiB",
    ];
    let [one, still] = instances(valkey.port(), &flags);
    let mut live = Client::subscribed(still.addr(), &["t"]);
    let listening = || -> usize {
        let clients: String = valkey.command(&["CLIENT", "LIST", "TYPE", "pubsub"]);
        clients.lines().count()
    };
    assert_eq!(listening(), 2);
    still.signal("STOP");
    let message = json!({"topic": "t", "payload": {"padding": "x".repeat(4_000)}});
    let bulk = json!({"messages": vec![message; 100]}).to_string();
    let mut ids = Vec::new();
    for _ in 0..BULKS {
        let answer = one.post("/api/v1/messages/bulk", &bulk).json();
        let results = answer["results"].as_array().expect("a list").iter();
        ids.extend(results.map(|result| text(&result["message_id"]).to_owned()));
    }
    wait_until("it is cut off", DEADLINE, || listening() == 1);
    still.signal("CONT");
    for (number, id) in ids.iter().enumerate() {
        let message = live.read_json();
        assert_eq!(message["message_id"], *id, "number {number}");
    }
    let id = one.publish("t", &json!({}))["message_id"].clone();
    assert_eq!(live.read_json()["message_id"], id);
}
