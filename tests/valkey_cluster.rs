//! A Valkey Cluster: topics are spread over its primaries, slots move, and primaries fail.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use test_util::checker::Ledger;
use test_util::consumer::{Consumer, Transport};
use test_util::owed::{Death, Owed, post_ack};
use test_util::poll::{list, text};
use test_util::valkey::{instance, log_key, stream_id};
use test_util::{
    DEADLINE, Http, Response, RoamingPublisher, Server, Valkey, ValkeyCluster, wait_until,
};

/// What a user may do for an instance to work, as in `docs/DEPLOYMENT.md`.
const USER: &str = "pulsar on >word resetkeys ~pulsar:* resetchannels &pulsar:* -@all +@read +@write \
                    +@pubsub +@scripting +@connection -@dangerous +info +config|get +client|id \
                    +client|kill +cluster|slots +time +wait";

/// Starts servers on a cluster, each of which is ready.
fn instances<const COUNT: usize>(cluster: &ValkeyCluster) -> [Server; COUNT] {
    instances_with(cluster, &["--valkey-timeout", "2s"])
}

fn instances_with<const COUNT: usize>(cluster: &ValkeyCluster, more: &[&str]) -> [Server; COUNT] {
    let hosts = cluster.hosts();
    let mode = ["--storage-backend", "valkey", "--valkey-mode", "cluster"];
    let flags = [&mode[..], &["--valkey-host", &hosts], more].concat();
    let servers = std::array::from_fn(|_| Server::start(&flags));
    servers.iter().for_each(Server::wait_until_ready);
    servers
}

fn names(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("t{number}")).collect()
}

fn slots(cluster: &ValkeyCluster, topics: &[String]) -> Vec<u32> {
    let slots = topics.iter().map(|topic| cluster.slot(&log_key(topic)));
    slots.collect()
}

/// Publishes one message to each topic in one request.
fn publish_to_all(server: &Server, topics: &[String], ledger: &Ledger) -> Vec<String> {
    let message = |topic: &String| json!({"topic": topic, "payload": {"mark": "bulk"}});
    let bulk = json!({"messages": topics.iter().map(message).collect::<Vec<_>>()}).to_string();
    let answer = server.post("/api/v1/messages/bulk", bulk);
    assert_eq!(answer.status, 207, "{answer:?}");
    let answer = answer.json();
    let results = list(&answer["results"]).iter().zip(topics);
    let record = |(result, topic): (&Value, &String)| {
        assert_eq!(result["topic"], *topic);
        let id = text(&result["message_id"]);
        ledger.record(topic, id, "bulk");
        id.to_owned()
    };
    results.map(record).collect()
}

#[test]
fn topics_are_spread_over_all_primaries() {
    let cluster = ValkeyCluster::start_with(|setup| setup.user(USER));
    let user = ["--valkey-username", "pulsar", "--valkey-password", "word"];
    let servers: [Server; 2] = instances_with(&cluster, &user);
    let topics = names(12);
    let primaries = slots(&cluster, &topics).into_iter();
    let primaries: Vec<usize> = primaries
        .map(|slot| cluster.primary_of(slot).expect("every slot is served"))
        .collect();
    for node in 0..3 {
        assert!(
            primaries.contains(&node),
            "node {node} has none: {primaries:?}"
        );
    }

    let ledger = Ledger::default();
    let all: Vec<&str> = topics.iter().map(String::as_str).collect();
    let mut live = Consumer::new(servers[1].addr(), Transport::WebSocket, &all, 1);
    let ids = publish_to_all(&servers[0], &topics, &ledger);
    for ((topic, at), id) in topics.iter().zip(&primaries).zip(&ids) {
        assert_eq!(cluster.nodes()[*at].stream(topic), [stream_id(id)]);
    }
    let mut publisher = RoamingPublisher::new(&ledger, &servers.each_ref().map(Server::addr), "p");
    for topic in all.iter().cycle().take(60) {
        assert_eq!(publisher.publish_at_last(topic), 0);
    }
    live.check_all(&servers[0], &ledger, &all);

    // What needs several nodes, and what needs one that has no topic.
    let listed = servers[1].get("/api/v1/topics?limit=100").json();
    let listed = list(&listed).iter().map(|it| text(&it["topic_name"]));
    let mut wanted = all.clone();
    wanted.sort_unstable();
    assert_eq!(listed.collect::<Vec<_>>(), wanted);
    let key = |server: &Server, key: &str| -> Response {
        let body = json!({"topic": "t0", "payload": {"once": key}}).to_string();
        let headers = [
            ("Content-Type", "application/json"),
            ("Idempotency-Key", key),
        ];
        Http::open(server.addr()).request("POST", "/api/v1/messages", &headers, body.as_bytes())
    };
    for number in 0..12 {
        let name = format!("key-{number}");
        let [first, second] = servers.each_ref().map(|server| key(server, &name));
        assert_eq!((first.status, second.status), (201, 201));
        assert_eq!(first.json()["message_id"], second.json()["message_id"]);
    }
    for topic in &topics {
        let path = format!("/api/v1/topics/{topic}");
        let mut http = Http::open(servers[0].addr());
        assert_eq!(
            http.request("DELETE", &path, &[], b"").status,
            204,
            "{topic}"
        );
        assert_eq!(servers[1].get(&path).status, 404, "{topic}");
    }
}

#[test]
fn consumers_of_all_primaries_are_shared() {
    let cluster = ValkeyCluster::start();
    let servers: [Server; 2] = instances(&cluster);
    let ledger = Ledger::default();
    let topics = names(6);
    let ids = publish_to_all(&servers[0], &topics, &ledger);
    let earliest = json!({"offset": "earliest"});
    for (topic, id) in topics.iter().zip(&ids) {
        let mut here = Owed::connect(servers[0].addr(), "c", topic, &earliest);
        assert_eq!(here.next_message().attempt, 1);
        here.die(Death::Close);
        let mut there = Owed::connect(servers[1].addr(), "c", topic, &earliest);
        assert_eq!(there.next_message().attempt, 2);
        let body = json!({"client_id": "c", "message_ids": [id]});
        assert_eq!(post_ack(servers[0].addr(), &body), (1, Vec::new()));
    }
}

#[test]
fn slots_move_while_they_are_used() {
    let cluster = ValkeyCluster::start();
    let servers: [Server; 2] = instances(&cluster);
    let topics = names(4);
    let slots = slots(&cluster, &topics);
    let all: Vec<&str> = topics.iter().map(String::as_str).collect();
    let ledger = Ledger::default();
    publish_to_all(&servers[0], &topics, &ledger);
    let mut live = Consumer::new(servers[1].addr(), Transport::WebSocket, &all, 1);
    let published = AtomicUsize::new(0);
    thread::scope(|scope| {
        let publishing = scope.spawn(|| {
            let mut publisher = RoamingPublisher::new(&ledger, &[servers[0].addr()], "p");
            for topic in all.iter().cycle().take(200) {
                publisher.publish_at_last(topic);
                published.fetch_add(1, Ordering::Relaxed);
            }
        });
        for slot in slots.iter().cycle() {
            // Each slot is used between two moves.
            let before = published.load(Ordering::Relaxed);
            wait_until("something is published", DEADLINE, || {
                publishing.is_finished() || published.load(Ordering::Relaxed) > before + all.len()
            });
            if publishing.is_finished() {
                break;
            }
            let from = cluster.primary_of(*slot).expect("it is served");
            cluster.move_slot(*slot, (from + 1) % 3);
        }
    });
    let mut publisher = RoamingPublisher::new(&ledger, &[servers[1].addr()], "q");
    for topic in &all {
        publisher.assert_goes_on(&mut live, &ledger, topic);
    }
    live.check_all(&servers[0], &ledger, &all);
    assert_eq!(live.connections(), 1, "subscribers stay");
    let is_new = |line: &str| line.contains("not following Valkey's channels");
    let lost = servers[1].log().lines().filter(|it| is_new(it)).count();
    assert_eq!(lost, 0, "so does what is heard of the other topics");
}

#[test]
fn a_slot_on_its_way_holds_up_no_other() {
    let cluster = ValkeyCluster::start();
    let [server]: [Server; 1] = instances_with(&cluster, &["--valkey-timeout", "10s"]);
    let topics = names(12);
    let slots = slots(&cluster, &topics);
    let ledger = Ledger::default();
    publish_to_all(&server, &topics, &ledger);
    let from = cluster.primary_of(slots[0]).expect("it is served");
    let to = (from + 1) % 3;
    let mut others = topics.iter().zip(&slots).skip(1);
    let beside = others.find(|(_, slot)| cluster.primary_of(**slot) == Some(from));
    let (beside, _) = beside.expect("no primary has but one topic");

    let mut publisher = RoamingPublisher::new(&ledger, &[server.addr()], "q");
    let mut publish_some = || {
        let began = Instant::now();
        for _ in 0..100 {
            assert_eq!(publisher.publish_at_last(beside), 0);
        }
        began.elapsed()
    };
    let before = publish_some();
    assert_eq!(cluster.move_keys(slots[0], to), from);
    thread::scope(|scope| {
        let mut moving = RoamingPublisher::new(&ledger, &[server.addr()], "p");
        let topic = topics[0].as_str();
        let moving = scope.spawn(move || moving.publish_at_last(topic));
        let during = publish_some();
        let most = 5 * before + Duration::from_millis(300);
        assert!(during < most, "{during:?}, and {before:?} before");
        assert!(!moving.is_finished(), "nobody has its slot");
        cluster.end_move(slots[0], from, to);
        assert_eq!(moving.join().expect("it is published"), 0);
    });
}

#[test]
fn a_cluster_that_is_down_lets_nobody_wait() {
    let mut cluster = ValkeyCluster::start();
    let [server]: [Server; 1] = instances_with(&cluster, &["--valkey-timeout", "10s"]);
    let topics = names(12);
    let slots = slots(&cluster, &topics);
    let lost = cluster.primary_of(slots[0]).expect("it is served");
    cluster.node(lost + 3).kill();
    cluster.node(lost).kill();
    let mut others = (0..3).filter(|node| *node != lost);
    wait_until("the others serve nothing", DEADLINE, || {
        others.clone().all(|node| {
            let info: String = cluster.nodes()[node].command(&["CLUSTER", "INFO"]);
            info.contains("cluster_state:fail")
        })
    });
    let live = others.next().expect("there are three");
    let topic = topics.iter().zip(&slots);
    let mut topic = topic.filter(|(_, slot)| cluster.primary_of(**slot) == Some(live));
    let (topic, _) = topic.next().expect("each primary has some");
    let body = json!({"topic": topic, "payload": {}}).to_string();
    let began = Instant::now();
    let refused = server.post("/api/v1/messages", &body);
    assert_eq!(refused.status, 503, "{refused:?}");
    assert!(
        began.elapsed() < Duration::from_secs(4),
        "{:?}",
        began.elapsed()
    );
    let lost_connections = || {
        let log = server.log();
        let lines = log.lines().filter(|line| line.contains("is given up"));
        lines.count()
    };
    assert!(lost_connections() < 20, "it connects all the time");

    cluster.node(lost).restart();
    server.wait_until_ready();
    assert_eq!(server.post("/api/v1/messages", &body).status, 201);
}

#[test]
fn a_replica_takes_over_from_a_killed_primary() {
    let mut cluster = ValkeyCluster::start();
    let servers: [Server; 2] = instances(&cluster);
    let topics = names(6);
    let all: Vec<&str> = topics.iter().map(String::as_str).collect();
    let slot = cluster.slot(&log_key(all[0]));
    let ledger = Ledger::default();
    let mut live = Consumer::new(servers[1].addr(), Transport::WebSocket, &all, 1);
    let mut publisher = RoamingPublisher::new(&ledger, &[servers[0].addr()], "p");
    for topic in all.iter().cycle().take(30) {
        assert_eq!(publisher.publish_at_last(topic), 0);
    }
    live.read_all(&ledger);

    for _ in 0..2 {
        let primary = cluster.primary_of(slot).expect("it is served");
        // A replica that has not got everything may lose it: that is what a fail-over promises.
        let offset = |index: usize| cluster.nodes()[index].info_number("master_repl_offset");
        let written = offset(primary);
        wait_until("the replica has all", DEADLINE, || {
            offset((primary + 3) % 6) >= written
        });
        assert_eq!(cluster.kill_primary_of(slot), primary);
        assert_ne!(cluster.wait_for_primary_of(slot), primary);
        publisher.assert_goes_on(&mut live, &ledger, all[0]);
        servers.iter().for_each(Server::wait_until_ready);
        for topic in &all {
            publisher.publish_at_last(topic);
        }
        live.read_all(&ledger);
        cluster.node(primary).restart();
        cluster.wait_until_complete();
        servers.iter().for_each(Server::wait_until_ready);
    }
    live.check_all(&servers[0], &ledger, &all);
    assert_eq!(live.connections(), 1, "subscribers stay");
}

#[test]
fn a_fail_over_that_loses_the_epoch_starts_nothing_over() {
    let mut cluster = ValkeyCluster::start();
    let servers: [Server; 2] = instances(&cluster);
    let topics = names(6);
    let all: Vec<&str> = topics.iter().map(String::as_str).collect();
    let ledger = Ledger::default();
    let mut live = Consumer::new(servers[1].addr(), Transport::WebSocket, &all, 1);
    publish_to_all(&servers[0], &topics, &ledger);
    live.read_all(&ledger);

    let slot = cluster.slot("pulsar:epoch");
    let primary = cluster.primary_of(slot).expect("it is served");
    let epoch: String = cluster.nodes()[primary].command(&["GET", "pulsar:epoch"]);
    // The replica hears of the removal, and of nothing else.
    let script = "local epoch = redis.call('GET', KEYS[1])
                  redis.call('DEL', KEYS[1])
                  redis.set_repl(redis.REPL_NONE)
                  return redis.call('SET', KEYS[1], epoch)";
    let _: String = cluster.nodes()[primary].command(&["EVAL", script, "1", "pulsar:epoch"]);
    wait_until("the replica has all", DEADLINE, || {
        cluster.nodes()[primary].command::<u64>(&["WAIT", "1", "1000"]) == 1
    });
    assert_eq!(cluster.kill_primary_of(slot), primary);
    let successor = cluster.wait_for_primary_of(slot);
    servers.iter().for_each(Server::wait_until_ready);
    let found: String = cluster.nodes()[successor].command(&["GET", "pulsar:epoch"]);
    assert_eq!(found, epoch);
    let mut publisher = RoamingPublisher::new(&ledger, &[servers[0].addr()], "p");
    for topic in &all {
        publisher.assert_goes_on(&mut live, &ledger, topic);
    }
    live.check_all(&servers[0], &ledger, &all);
}

#[test]
fn what_other_primaries_have_goes_on_when_one_is_lost() {
    let mut cluster =
        ValkeyCluster::start_with(|setup| setup.set("cluster-require-full-coverage", "no"));
    let [server] = instances(&cluster);
    let topics = names(12);
    let slots = slots(&cluster, &topics);
    let lost = cluster.primary_of(slots[0]).expect("it is served");
    let is_lost = |cluster: &ValkeyCluster, slot: &u32| cluster.primary_of(*slot) == Some(lost);
    let (gone, stay): (Vec<_>, Vec<_>) = topics
        .iter()
        .map(String::as_str)
        .zip(&slots)
        .partition(|(_, slot)| is_lost(&cluster, slot));
    let names = |topics: Vec<(_, _)>| topics.into_iter().map(|it| it.0).collect::<Vec<&str>>();
    let (gone, stay) = (names(gone), names(stay));
    let ledger = Ledger::default();
    let mut live = Consumer::new(server.addr(), Transport::WebSocket, &stay, 1);
    let mut publisher = RoamingPublisher::new(&ledger, &[server.addr()], "p");

    // With its replica, so that nobody takes over.
    cluster.node(lost + 3).kill();
    cluster.node(lost).kill();
    server.wait_until_unready();
    let answer = server.get("/ready").json();
    assert_ne!(answer["checks"]["storage"], "ok", "{answer}");
    let body = json!({"topic": gone[0], "payload": {}}).to_string();
    let refused = server.post("/api/v1/messages", body);
    assert_eq!(refused.status, 503, "{refused:?}");
    assert!(refused.header("retry-after").is_some(), "{refused:?}");
    for topic in &stay {
        publisher.assert_goes_on(&mut live, &ledger, topic);
    }
    live.check_all(&server, &ledger, &stay);

    cluster.node(lost).restart();
    server.wait_until_ready();
    publisher.publish_at_last(gone[0]);
}

#[test]
fn a_wrong_mode_is_told() {
    let cluster = ValkeyCluster::start();
    let port = cluster.nodes()[0].port();
    let storage = |server: &Server| -> String {
        let answer = server.get("/ready");
        assert_eq!(answer.status, 503);
        text(&answer.json()["checks"]["storage"]).to_owned()
    };
    let single = instance(port, &[]);
    wait_until("it is told", DEADLINE, || {
        storage(&single).contains("must be cluster")
    });
    let valkey = Valkey::start();
    let server = instance(valkey.port(), &["--valkey-mode", "cluster"]);
    wait_until("it is told", DEADLINE, || {
        storage(&server).contains("no cluster")
    });
}
