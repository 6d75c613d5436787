//! Instances with one Valkey act as one: whoever reads anywhere, from whatever place, gets all messages in one order.

use std::collections::BTreeSet;
use std::thread;

use serde_json::{Value, json};
use test_util::checker::{Ledger, Publisher};
use test_util::consumer::{Consumer, Transport};
use test_util::poll::{Poller, check_relay, ids, list, text};
use test_util::told::{Told, everywhere};
use test_util::valkey::{instance, instances, stream_id};
use test_util::{Client, DEADLINE, Http, Server, Stream, Valkey, wait_until, with_workers};

const ALL: [Transport; 5] = [
    Transport::WebSocket,
    Transport::Poll,
    Transport::RelayPoll,
    Transport::Events,
    Transport::Lines,
];

#[test]
fn all_readers_everywhere_see_one_order() {
    with_workers(|workers| {
        let valkey = Valkey::start();
        let servers: [Server; 2] = instances(valkey.port(), &["--workers", workers]);
        let ledger = Ledger::default();
        let traces: Vec<_> = thread::scope(|scope| {
            let (servers, ledger) = (&servers, &ledger);
            let publish = move |number: usize| {
                let name = format!("p{number}");
                let mut publisher = Publisher::connect(ledger, servers[number % 2].addr(), &name);
                for n in 0..100 {
                    publisher.publish("t");
                    if n % 10 == number {
                        publisher.publish_bulk(&["t"; 20]);
                    }
                }
            };
            let publishers: Vec<_> = (0..4)
                .map(|number| scope.spawn(move || publish(number)))
                .collect();
            let read = move |at: usize, transport| {
                let mut consumer = Consumer::new(servers[at].addr(), transport, &["t"], at as u64);
                wait_until("something is published", DEADLINE, || ledger.count("t") > 0);
                consumer.read_all(ledger);
                wait_until("all is published", DEADLINE, || ledger.count("t") == 1200);
                consumer.read_all(ledger);
                consumer.traces().next().unwrap().clone()
            };
            let readers: Vec<_> = (0..2)
                .flat_map(|at| ALL.map(|transport| scope.spawn(move || read(at, transport))))
                .collect();
            publishers.into_iter().for_each(|it| it.join().unwrap());
            readers.into_iter().map(|it| it.join().unwrap()).collect()
        });
        for trace in &traces {
            ledger.check(trace);
            assert_eq!(trace.received.len(), 1200);
            assert_eq!(trace.received, traces[0].received);
        }
    });
}

#[test]
fn last_is_what_follows_wherever_it_is_published() {
    with_workers(|workers| {
        let valkey = Valkey::start();
        let [one, other] = instances(valkey.port(), &["--workers", workers]);
        for round in 0..20 {
            let topic = format!("t{}", round % 5);
            one.publish(&topic, &json!({"before": round}));
            let mut client = Client::connect(other.addr());
            let fields = json!({"topics": [topic], "on_lag": "skip"});
            let position = client.subscribe(fields)["positions"][&topic].clone();
            let answer = one.publish(&topic, &json!({"after": round}));
            assert!(text(&position) < text(&answer["message_id"]));
            let message = client.read_json();
            assert_eq!(message["payload"], json!({"after": round}));
            assert_eq!(message["message_id"], answer["message_id"]);
            assert_eq!(message["timestamp"], answer["timestamp"]);
        }
    });
}

#[test]
fn places_of_one_instance_are_good_on_another() {
    with_workers(|workers| {
        let valkey = Valkey::start();
        let [one, other] = instances(valkey.port(), &["--workers", workers]);
        let published = publish(&one, "a", 10);
        let foreign = publish(&other, "b", 3);
        for server in [&one, &other] {
            assert_nothing_lost(&everywhere(server, &["a"], "earliest", 10), &published);
            assert_nothing_lost(
                &everywhere(server, &["a"], &published[5], 4),
                &published[6..],
            );
        }
        let mut poller = Poller::open(one.addr(), &["a", "b"], Some("earliest"));
        poller.poll("timeout=0&limit=4");
        let cursor = poller.since.expect("an answer names a place");
        for told in everywhere(&other, &["a", "b"], &cursor, 9) {
            assert!(told.gaps.is_empty(), "{told:?}");
            let mut wanted = [&published[4..], &foreign[..]].concat();
            let mut got = told.messages;
            wanted.sort();
            got.sort();
            assert_eq!(got, wanted);
        }
    });
}

#[test]
fn a_new_instance_goes_on_where_the_old_one_ended() {
    with_workers(|workers| {
        let valkey = Valkey::start();
        let [mut old] = instances(valkey.port(), &["--workers", workers]);
        let published = publish(&old, "a", 50);
        assert_eq!(old.stop(), Some(0));
        let [new] = instances(valkey.port(), &["--workers", workers]);
        assert_nothing_lost(
            &everywhere(&new, &["a"], &published[9], 40),
            &published[10..],
        );
        let mut late = Client::subscribed(new.addr(), &["a"]);
        let more = publish(&new, "a", 1);
        assert_eq!(late.read_json()["message_id"], more[0]);
        assert!(published[49] < more[0]);
    });
}

#[test]
fn what_was_trimmed_is_a_gap_everywhere() {
    with_workers(|workers| {
        let valkey = Valkey::start();
        let flags = ["--workers", workers, "--max-messages-per-topic", "3"];
        let [one, other] = instances(valkey.port(), &flags);
        let ids = publish(&one, "a", 8);
        let late = instance(valkey.port(), &flags);
        late.wait_until_ready();
        for server in [&one, &other, &late] {
            for told in everywhere(server, &["a"], &ids[1], 3) {
                if let Some(recovered) = &told.recovered {
                    assert_eq!(*recovered, json!({"a": false}));
                }
                let gap = json!({"topic": "a", "from": ids[1], "to": ids[4], "reason": "trimmed"});
                assert_eq!(told.gaps, [gap]);
                assert_eq!(told.messages, ids[5..]);
            }
            assert_nothing_lost(&everywhere(server, &["a"], &ids[4], 3), &ids[5..]);
        }
    });
}

#[test]
fn a_loop_of_polls_goes_from_instance_to_instance() {
    with_workers(|workers| {
        let valkey = Valkey::start();
        let servers: [Server; 3] = instances(valkey.port(), &["--workers", workers]);
        for topics in [&["a"][..], &["a", "b"]] {
            let ledger = Ledger::default();
            let mut since: Option<String> = None;
            let mut got: Vec<String> = Vec::new();
            let mut publisher = Publisher::connect(&ledger, servers[0].addr(), "p");
            // Without a place, the first poll waits for what comes.
            let mut first = Poller::open(servers[2].addr(), topics, None);
            let answer = first.poll("timeout=0");
            assert_eq!(answer["timeout"], true, "{answer}");
            since.clone_from(&first.since);
            for round in 0..30 {
                let mut poller = Poller::open(servers[round % 3].addr(), topics, since.as_deref());
                poller.send("timeout=20&limit=2");
                publisher.publish(topics[round % topics.len()]);
                let answer = poller.read();
                assert_ne!(answer["timeout"], true, "there are more: {got:?}");
                got.extend(ids(&answer["messages"]));
                since = poller.since;
            }
            while got.len() < 30 {
                let mut poller = Poller::open(servers[1].addr(), topics, since.as_deref());
                let answer = poller.poll("timeout=20&limit=100");
                assert_ne!(answer["timeout"], true, "there are more: {got:?}");
                got.extend(ids(&answer["messages"]));
                since = poller.since;
            }
            assert!(
                got.is_sorted_by_key(|id| &id[..18]),
                "one publisher: {got:?}"
            );
            // Ids of two topics that were given in the same millisecond sort as they like.
            assert_eq!(got.iter().collect::<BTreeSet<_>>().len(), 30, "each once");
            assert_eq!(got.len(), 30, "each once");
        }
    });
}

#[test]
fn a_hot_tier_that_forgets_sooner_hides_nothing() {
    with_workers(|workers| {
        let valkey = Valkey::start();
        let flags = ["--workers", workers, "--hot-tier-retention", "1"];
        let [server] = instances(valkey.port(), &flags);
        let mut live = Client::subscribed(server.addr(), &["t"]);
        let ledger = Ledger::default();
        let mut publisher = Publisher::connect(&ledger, server.addr(), "p").padded(1000);
        (0..30).for_each(|_| publisher.publish_bulk(&["t"; 100]));
        (0..3000).for_each(|_| _ = live.read_text());
        wait_until("the hot tier has forgotten", DEADLINE, || {
            server.metric("proxy_store_evictions_total", &[]) > 0.0
        });
        for transport in ALL {
            let mut consumer = Consumer::new(server.addr(), transport, &["t"], 1);
            consumer.read_all(&ledger);
            for trace in consumer.traces() {
                ledger.check(trace);
                assert!(trace.gaps.is_empty(), "{transport:?}: {:?}", trace.gaps);
                assert_eq!(trace.received.len(), 3000, "{transport:?}");
            }
        }
    });
}

#[test]
fn what_has_expired_hides_nothing_from_polls() {
    with_workers(|workers| {
        let valkey = Valkey::start();
        let [one, other] = instances(valkey.port(), &["--workers", workers]);
        let first = publish(&one, "t", 1).remove(0);
        let expiring = json!({"topic": "t", "payload": {}, "ttl": 1});
        let bulk = json!({"messages": vec![expiring; 50]});
        let response = Http::open(one.addr()).post("/api/v1/messages/bulk", bulk.to_string());
        assert_eq!(response.status, 207, "{response:?}");
        let wanted = publish(&one, "t", 3);
        let page = "/api/v1/topics/t/messages?limit=100";
        wait_until("the messages expire", DEADLINE, || {
            list(&one.get(page).json()["messages"]).len() == 4
        });
        for topics in [&["t"][..], &["t", "u"]] {
            let mut poller = Poller::open(other.addr(), topics, Some(&first));
            let answer = poller.poll("timeout=20&limit=10");
            assert_eq!(ids(&answer["messages"]), wanted, "{answer}");
            let answer = poller.poll("timeout=0");
            assert_eq!(answer["timeout"], true, "{answer}");
        }
        let answer = Poller::open(other.addr(), &["t"], Some(&first)).poll("timeout=0&limit=10");
        assert_eq!(ids(&answer["messages"]), wanted, "{answer}");
    });
}

#[test]
fn history_is_the_same_everywhere() {
    with_workers(|workers| {
        let valkey = Valkey::start();
        let [one, other] = instances(valkey.port(), &["--workers", workers]);
        let published = publish(&one, "t", 23);
        for server in [&one, &other] {
            for order in ["asc", "desc"] {
                let (mut read, mut cursor) = (Vec::new(), String::new());
                loop {
                    let query = format!("limit=7&order={order}&cursor={cursor}");
                    let response = server.get(&format!("/api/v1/topics/t/messages?{query}"));
                    assert_eq!(response.status, 200, "{response:?}");
                    let page = response.json();
                    assert_eq!(page["total"], 23, "{page}");
                    read.extend(ids(&page["messages"]));
                    let Some(next) = page["next_cursor"].as_str() else {
                        break;
                    };
                    next.clone_into(&mut cursor);
                }
                if order == "desc" {
                    read.reverse();
                }
                assert_eq!(read, published, "{order}");
            }
            let shown = server.get("/api/v1/topics/t").json();
            assert_eq!(shown["message_count"], 23, "{shown}");
            assert_eq!(shown["oldest"], published[0], "{shown}");
            assert_eq!(shown["newest"], published[22], "{shown}");
            let all = server.get("/api/v1/topics").json();
            let names: Vec<&str> = list(&all)
                .iter()
                .map(|it| text(&it["topic_name"]))
                .collect();
            assert_eq!(names, ["t"], "{all}");
        }
    });
}

#[test]
fn a_topic_removed_on_one_instance_is_gone_on_all() {
    with_workers(|workers| {
        let valkey = Valkey::start();
        let [one, other] = instances(valkey.port(), &["--workers", workers]);
        let before = publish(&one, "t", 5);
        let mut live = Client::subscribed(other.addr(), &["t"]);
        let path = "/api/v1/topics/t";
        let delete = |server: &Server| Http::open(server.addr()).request("DELETE", path, &[], b"");
        assert_eq!(delete(&one).status, 204);
        assert!(valkey.stream("t").is_empty());
        let mut poller = Poller::open(other.addr(), &["t"], Some("earliest"));
        assert_eq!(poller.poll("timeout=0")["timeout"], true, "nothing is left");
        let after = publish(&one, "t", 1);
        let message = live.read_json();
        assert_eq!(
            message["message_id"], after[0],
            "subscribers go on: {message}"
        );
        for told in everywhere(&other, &["t"], &before[1], 1) {
            if let Some(recovered) = &told.recovered {
                assert_eq!(*recovered, json!({"t": false}));
            }
            let gap =
                json!({"topic": "t", "from": before[1], "to": before[4], "reason": "trimmed"});
            assert_eq!(told.gaps, [gap]);
            assert_eq!(told.messages, after);
        }
        drop(live);
        assert_eq!(delete(&other).status, 204);
        for server in [&one, &other] {
            wait_until("the topic is gone", DEADLINE, || {
                server.get(path).status == 404
            });
        }
        delete(&one).assert_error(404, "NOT_FOUND");
    });
}

#[test]
fn a_topic_created_on_one_instance_is_there_on_all() {
    let valkey = Valkey::start();
    let [one, other] = instances(valkey.port(), &[]);
    let body = r#"{"topic_name":"t","description":"of both"}"#;
    let created = one.post("/api/v1/topics", body);
    assert_eq!(created.status, 201, "{created:?}");
    let created = created.json();
    other
        .post("/api/v1/topics", body)
        .assert_error(409, "CONFLICT");
    let shown = other.get("/api/v1/topics/t").json();
    for key in ["topic_id", "topic_name", "created_at", "description"] {
        assert_eq!(shown[key], created[key], "{key}");
    }
    let described = Http::open(other.addr()).request(
        "PUT",
        "/api/v1/topics/t",
        &[("Content-Type", "application/json")],
        br#"{"description":"changed"}"#,
    );
    assert_eq!(described.status, 200, "{described:?}");
    let shown = one.get("/api/v1/topics/t").json();
    assert_eq!(shown["description"], "changed");
    assert_eq!(shown["created_at"], created["created_at"]);
}

#[test]
fn relay_polls_read_what_other_instances_stored() {
    with_workers(|workers| {
        let valkey = Valkey::start();
        let [one, other] = instances(valkey.port(), &["--workers", workers]);
        let published = publish(&one, "a", 3);
        let ask = |server: &Server, since: Value| {
            let body = json!({"topics": ["a", "b"], "since": since, "timeout": 20});
            check_relay(&server.post("/messages/poll", body.to_string()))
        };
        for server in [&one, &other] {
            let answer = ask(server, json!({"a": published[0]}));
            assert_eq!(ids(&answer["messages"]), published[1..]);
            for message in list(&answer["messages"]) {
                assert_eq!(
                    message["stream_id"],
                    stream_id(text(&message["message_id"]))
                );
            }
        }
        // One that waits is answered by what another instance stores.
        let mut http = Http::open(other.addr());
        let body = json!({"topics": ["a"], "timeout": 20}).to_string();
        let head = [("Content-Type", "application/json")];
        let request = http.encode("POST", "/messages/poll", &head, body.as_bytes());
        http.send(request);
        wait_until("it waits", DEADLINE, || {
            other.metric("proxy_poll_waiters", &[]) == 1.0
        });
        let next = publish(&one, "a", 1);
        let answer = check_relay(&http.read_response());
        assert_eq!(ids(&answer["messages"]), next);
    });
}

#[test]
fn every_transport_wakes_for_what_another_instance_stores() {
    with_workers(|workers| {
        let valkey = Valkey::start();
        let [one, other] = instances(valkey.port(), &["--workers", workers]);
        let mut client = Client::subscribed(other.addr(), &["t"]);
        let mut events = Stream::open(other.addr(), "/api/v1/stream?topics=t");
        events.expect_event("subscribed");
        let mut poller = Poller::open(other.addr(), &["t"], None);
        poller.poll("timeout=0");
        poller.send("timeout=20");
        let id = publish(&one, "t", 1).remove(0);
        assert_eq!(client.read_json()["message_id"], id);
        assert_eq!(events.expect_event("message").0, id);
        assert_eq!(ids(&poller.read()["messages"]), [id]);
    });
}

fn assert_nothing_lost(all: &[Told], wanted: &[String]) {
    for told in all {
        let mut recovered = told.recovered.iter().filter_map(Value::as_object).flatten();
        assert!(recovered.all(|(_, it)| *it == true), "{told:?}");
        assert!(told.gaps.is_empty(), "{told:?}");
        assert_eq!(told.messages, wanted);
    }
}

fn publish(server: &Server, topic: &str, count: usize) -> Vec<String> {
    let id = |n| text(&server.publish(topic, &json!({ "n": n }))["message_id"]).to_owned();
    (0..count).map(id).collect()
}
