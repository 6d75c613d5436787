//! At-least-once consumers whose state all instances share: a client goes on elsewhere, an instance may die,
//! and so may Valkey for a while.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use test_util::owed::{Death, Delivery, Owed, first_attempts, post_ack, publish_numbers};
use test_util::told::assert_epoch_changed;
use test_util::valkey::instances;
use test_util::{Client, DEADLINE, Event, Http, Server, Valkey, ValkeyProxy, ValkeySetup};

/// How long a lease is that nobody renews, and the time to notice that it is over.
const LEASE_IS_OVER: Duration = Duration::from_secs(10);
/// How soon delivery goes on once Valkey can be reached.
const RECOVERY: Duration = Duration::from_secs(2);

fn owed(server: &Server, client: &str, fields: &Value) -> Owed {
    let mut asked = json!({"offset": "earliest"});
    for (name, value) in fields.as_object().expect("fields are an object") {
        asked[name] = value.clone();
    }
    Owed::connect(server.addr(), client, "t", &asked)
}

#[test]
fn a_client_goes_on_at_another_instance() {
    let valkey = Valkey::start();
    let [one, other] = instances(valkey.port(), &[]);
    let ids = publish_numbers(&one, "t", 0..5);
    let mut here = owed(&one, "c", &json!({"window": 3}));
    assert_eq!(here.take(3), first_attempts(0..3));
    here.settle(&[&ids[0], &ids[2]]);
    assert_eq!(here.take(2), first_attempts(3..5));
    here.die(Death::Close);

    let mut there = owed(&other, "c", &json!({}));
    assert_eq!(there.subscribed()["recovered"]["t"], true);
    let mut came = there.take(3);
    came.sort_unstable();
    assert_eq!(came, [(1, 2), (3, 2), (4, 2)]);
    publish_numbers(&one, "t", [5]);
    assert_eq!(there.take(1), [(5, 1)]);
    there.assert_quiet();
}

#[test]
fn a_newer_connection_to_another_instance_takes_over() {
    let valkey = Valkey::start();
    let [one, other] = instances(valkey.port(), &[]);
    publish_numbers(&one, "t", 0..2);
    let mut here = owed(&one, "c", &json!({}));
    assert_eq!(here.take(2), first_attempts(0..2));
    let mut there = owed(&other, "c", &json!({}));
    assert_eq!(there.take(2), [(0, 2), (1, 2)]);
    match here.client().next(DEADLINE) {
        Event::Close(Some(4010)) => {}
        event => panic!("not replaced: {event:?}"),
    }
    publish_numbers(&other, "t", [2]);
    assert_eq!(there.take(1), [(2, 1)]);
}

#[test]
fn an_instance_that_knows_nothing_of_a_topic_takes_its_acks() {
    let valkey = Valkey::start();
    let [one, other] = instances(valkey.port(), &[]);
    let ids = publish_numbers(&one, "t", 0..3);
    let mut here = owed(&one, "c", &json!({"window": 2, "ack_timeout": 3600}));
    assert_eq!(here.take(2), first_attempts(0..2));
    let ack = |ids: &[&str]| post_ack(other.addr(), &json!({"client_id": "c", "message_ids": ids}));
    assert_eq!(ack(&[&ids[0]]), (1, Vec::new()));
    assert_eq!(here.take(1), [(2, 1)], "the window has room again");
    let refused = |id: &str, why: &str| (id.to_owned(), why.to_owned());
    let unknown = format!("{}v", &ids[0][..ids[0].len() - 1]);
    assert_eq!(
        ack(&[&ids[0], &ids[1], &unknown, "?"]),
        (
            1,
            vec![
                refused(&ids[0], "NOT_PENDING"),
                refused(&unknown, "UNKNOWN"),
                refused("?", "UNKNOWN")
            ]
        )
    );
}

#[test]
fn what_a_killed_instance_held_goes_to_other_members() {
    let valkey = Valkey::start();
    let [one, other] = instances(valkey.port(), &[]);
    let group = json!({"group": "g", "window": 10});
    let mut lost = owed(&one, "a", &group);
    publish_numbers(&other, "t", 0..10);
    assert_eq!(lost.take(10), first_attempts(0..10));
    let mut stays = owed(&other, "b", &group);
    stays.assert_quiet();

    let began = Instant::now();
    drop(one);
    let messages: Vec<Delivery> = (0..10).map(|_| stays.next_message()).collect();
    assert!(began.elapsed() < LEASE_IS_OVER, "{:?}", began.elapsed());
    let mut came: Vec<(u64, u64)> = messages.iter().map(Delivery::numbered).collect();
    came.sort_unstable();
    assert_eq!(came, (0..10).map(|number| (number, 2)).collect::<Vec<_>>());
    let ids: Vec<&str> = messages.iter().map(|it| it.id.as_str()).collect();
    stays.settle(&ids);
    publish_numbers(&other, "t", [10]);
    assert_eq!(stays.take(1), [(10, 1)]);
}

#[test]
fn an_instance_that_stops_gives_back_what_is_pending() {
    let valkey = Valkey::start();
    let [mut one, other] = instances(valkey.port(), &[]);
    let group = json!({"group": "g", "window": 3});
    let mut leaves = owed(&one, "a", &group);
    publish_numbers(&other, "t", 0..3);
    assert_eq!(leaves.take(3), first_attempts(0..3));
    let mut stays = owed(&other, "b", &group);
    stays.assert_quiet();
    let began = Instant::now();
    one.signal("TERM");
    assert_eq!(leaves.client().expect_close(), Some(1001));
    let mut came = stays.take(3);
    came.sort_unstable();
    assert_eq!(came, [(0, 2), (1, 2), (2, 2)]);
    // Else they would come when the lease is over.
    assert!(began.elapsed() < LEASE_IS_OVER / 2, "{:?}", began.elapsed());
    assert_eq!(one.wait(DEADLINE), Some(0));
}

#[test]
fn who_lives_keeps_what_it_holds() {
    let valkey = Valkey::start();
    let [one, other] = instances(valkey.port(), &[]);
    let group = json!({"group": "g"});
    let mut holds = owed(&one, "a", &group);
    let ids = publish_numbers(&other, "t", 0..3);
    assert_eq!(holds.take(3), first_attempts(0..3));
    one.wait_for_metric("proxy_consumers", &[], 1.0);
    one.wait_for_metric("proxy_pending_messages", &[], 3.0);
    let mut other = owed(&other, "b", &group);
    let end = Instant::now() + LEASE_IS_OVER;
    while Instant::now() < end {
        // A member that lives keeps what it holds, however long it needs.
        assert_eq!(other.message_within(Duration::from_millis(500)), None);
    }
    holds.settle(&[&ids[0], &ids[1], &ids[2]]);
    one.wait_for_metric("proxy_pending_messages", &[], 0.0);
}

#[test]
fn each_topic_of_a_connection_has_its_own_time() {
    let valkey = Valkey::start();
    let [server] = instances(valkey.port(), &[]);
    let soon = publish_numbers(&server, "t", [0]);
    let late = publish_numbers(&server, "u", [1]);
    let mut socket = owed(&server, "c", &json!({"ack_timeout": 1}));
    assert_eq!(socket.take(1), [(0, 1)]);
    let fields = json!({"offset": "earliest", "ack_timeout": 3});
    socket.subscribe("c", "u", &fields);
    assert_eq!(socket.take(1), [(1, 1)]);
    assert_eq!(socket.take(1), [(0, 2)]);
    socket.settle(&[&soon[0]]);
    assert_eq!(socket.take(1), [(1, 2)]);
    socket.settle(&[&late[0]]);
}

#[test]
fn who_is_always_busy_is_not_forgotten() {
    let valkey = Valkey::start();
    let [server] = instances(valkey.port(), &[]);
    let mut socket = owed(&server, "c", &json!({}));
    let keys: Vec<String> = valkey.command(&["KEYS", "*{t}:c*"]);
    assert!(keys.len() >= 4, "{keys:?}");
    for key in &keys {
        // As if it had been busy for a day.
        let _: bool = valkey.command(&["PEXPIRE", key, "30000"]);
    }
    let is_kept = |key: &String| valkey.command::<i64>(&["PTTL", key]) > 60_000;
    let end = Instant::now() + DEADLINE;
    let mut number = 0;
    while !keys.iter().all(is_kept) {
        assert!(Instant::now() < end, "nobody keeps what is in use");
        let ids = publish_numbers(&server, "t", [number]);
        assert_eq!(socket.take(1), [(number, 1)]);
        socket.settle(&[&ids[0]]);
        number += 1;
    }
}

#[test]
fn consumers_go_on_after_an_outage() {
    let mut valkey = ValkeySetup::new().durable().start();
    let proxy = ValkeyProxy::start(valkey.address());
    let [server] = instances(proxy.port(), &["--valkey-timeout", "1s"]);
    let ids = publish_numbers(&server, "t", 0..4);
    let mut socket = owed(&server, "c", &json!({"window": 2}));
    assert_eq!(socket.take(2), first_attempts(0..2));
    for round in 0..3 {
        match round {
            0 => valkey.kill(),
            1 => {
                proxy.refuse();
                proxy.cut();
            }
            _ => valkey.pause(),
        }
        server.wait_until_unready();
        let body = json!({"client_id": "c", "message_ids": [ids[0]]}).to_string();
        let response = Http::open(server.addr()).post("/api/v1/ack", body);
        assert_eq!(response.status, 503, "{response:?}");
        assert!(response.header("retry-after").is_some(), "{response:?}");
        socket.client().send(&json!({
            "type": "ack", "message_id": ids[0], "confirm": true,
        }));
        let error = socket.client().read_json();
        assert_eq!(error["code"], "PROCESSING_ERROR", "{error}");
        let mut refused = Client::connect(server.addr());
        refused.send(&test_util::owed::subscribe("d", "t", &json!({})));
        assert_eq!(refused.read_json()["code"], "SUBSCRIPTION_ERROR");

        match round {
            0 => valkey.restart(),
            1 => proxy.accept(),
            _ => valkey.resume(),
        }
        server.wait_until_ready();
        if round < 2 {
            // A message that the outage has cost nothing comes when there is room, and by itself.
            let began = Instant::now();
            let held = [&ids[2 * round], &ids[2 * round + 1]].map(String::as_str);
            socket.settle(&held);
            if round == 0 {
                assert_eq!(socket.take(2), first_attempts(2..4));
                assert!(began.elapsed() < RECOVERY, "{:?}", began.elapsed());
            }
        }
    }
    publish_numbers(&server, "t", [4]);
    assert_eq!(socket.take(1), [(4, 1)]);
}

#[test]
fn consumers_are_told_when_valkey_has_forgotten_them() {
    let mut valkey = Valkey::start();
    let [server] = instances(valkey.port(), &["--valkey-timeout", "1s"]);
    let ids = publish_numbers(&server, "t", 0..2);
    let mut socket = owed(&server, "c", &json!({}));
    assert_eq!(socket.take(2), first_attempts(0..2));
    valkey.restart_empty();
    let gap = socket.next_event();
    assert_epoch_changed(&[gap], "t", &ids[1]);
    server.wait_until_ready();
    let after = publish_numbers(&server, "t", [2]);
    assert_eq!(socket.take(1), [(2, 1)]);
    let failed = vec![(ids[0].clone(), "UNKNOWN".to_owned())];
    assert_eq!(
        socket.confirm(&json!({"message_ids": [ids[0], after[0]]})),
        (1, failed)
    );
}

#[test]
fn a_deleted_topic_forgets_consumers_without_a_member() {
    let valkey = Valkey::start();
    let [one, other] = instances(valkey.port(), &[]);
    let ids = publish_numbers(&one, "t", 0..2);
    let mut gone = owed(&one, "gone", &json!({}));
    assert_eq!(gone.take(2), first_attempts(0..2));
    gone.settle(&[&ids[0]]);
    gone.die(Death::Close);
    let mut stays = owed(&one, "stays", &json!({}));
    assert_eq!(stays.take(2), first_attempts(0..2));
    assert_eq!(
        Http::open(other.addr())
            .request("DELETE", "/api/v1/topics/t", &[], b"")
            .status,
        204
    );
    let gap = stays.next_event();
    assert_eq!((&gap["type"], &gap["topic"]), (&json!("gap"), &json!("t")));
    publish_numbers(&other, "t", [2]);
    assert_eq!(stays.take(1), [(2, 1)]);
    let mut again = owed(&other, "gone", &json!({}));
    assert_eq!(again.take(1), [(2, 1)], "it is a new consumer");
}
