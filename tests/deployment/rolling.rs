//! Three instances on one Valkey are restarted one after the other behind a balancer, as the document says, while
//! messages are published and `pulsar-proxy sub` prints them: each prints each once, in order.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use test_util::ports::free_port;
use test_util::valkey::instance;
use test_util::{DEADLINE, Http, Server, Valkey, ValkeySetup, wait_until};

use super::balancer::{Balancer, Kind};
use super::subscriber::Subscriber;

const TOPICS: [&str; 2] = ["orders", "news"];
const INSTANCES: usize = 3;
const PUBLISHERS: usize = 3;
/// Messages between two restarts.
const MESSAGES: usize = 100;

/// By topic: all messages by their ids.
type Log = Mutex<BTreeMap<&'static str, BTreeMap<String, String>>>;

#[test]
fn haproxy_hides_a_rolling_restart_from_subscribers() {
    // Longer than it takes to notice.
    restart_one_after_the_other(Kind::Haproxy, "3s");
}

#[test]
fn nginx_hides_a_rolling_restart_from_subscribers() {
    restart_one_after_the_other(Kind::Nginx, "1s");
}

fn restart_one_after_the_other(kind: Kind, drain_delay: &str) {
    let valkey = ValkeySetup::new().durable().start();
    let ports = [(); INSTANCES].map(|()| free_port());
    let mut servers = ports.map(|port| start(&valkey, port, drain_delay));
    let Some(balancer) = Balancer::start(kind, &servers.each_ref().map(Server::addr)) else {
        return;
    };
    let address = balancer.address();
    let log = Log::default();
    let mut publisher = Publisher::new(address, "first");
    publisher.publish(&log, 0);
    publisher.publish(&log, 1);
    let start = |more: &[&str]| {
        Subscriber::start(
            address,
            &TOPICS,
            &[&["--offset", "earliest"], more].concat(),
        )
    };
    let mut subscribers: Vec<Subscriber> = (0..INSTANCES * 2).map(|_| start(&[])).collect();
    let mut acking = start(&["--ack", "--client-id", "acking"]);
    subscribers.iter_mut().for_each(Subscriber::wait_for_first);
    acking.wait_for_first();

    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        for number in 0..PUBLISHERS {
            let (log, is_over) = (&log, &is_over);
            let mut publisher = Publisher::new(address, &format!("p{number}"));
            scope.spawn(move || {
                for count in 0.. {
                    publisher.publish(log, count % TOPICS.len());
                    if is_over.load(Ordering::Acquire) {
                        return;
                    }
                    // The machine is small, and the others must get to run.
                    thread::sleep(Duration::from_millis(5));
                }
            });
        }
        // However this ends, nobody must publish for ever.
        let _over = SetOnDrop(&is_over);
        for (server, port) in servers.iter_mut().zip(ports) {
            more_is_published(&log);
            assert_eq!(server.stop(), Some(0));
            more_is_published(&log);
            *server = self::start(&valkey, port, drain_delay);
        }
        more_is_published(&log);
    });

    let log = log.lock().unwrap_or_else(PoisonError::into_inner);
    let last: Vec<String> = log
        .values()
        .filter_map(|it| Some(it.last_key_value()?.0.clone()))
        .collect();
    for mut subscriber in subscribers {
        let printed = subscriber.read_up_to(&last);
        for topic in TOPICS {
            assert_eq!(messages_of(printed, topic), published_in(&log, topic));
        }
        let others = printed.iter().filter(|it| it["type"] != "message");
        assert_eq!(others.count(), 0, "no gap is told");
        subscriber.stop();
    }
    // At least once: what was printed and not yet acknowledged may come again.
    let printed = acking.read_up_to(&last);
    for topic in TOPICS {
        let once: BTreeSet<_> = messages_of(printed, topic).into_iter().collect();
        assert_eq!(Vec::from_iter(once), published_in(&log, topic));
    }
    acking.stop();
}

fn start(valkey: &Valkey, port: u16, drain_delay: &str) -> Server {
    let port = port.to_string();
    let flags = [
        "--workers",
        "2",
        "--port",
        &port,
        "--drain-delay",
        drain_delay,
    ];
    let server = instance(
        valkey.port(),
        &[&flags[..], &["--drain-timeout", "8s"]].concat(),
    );
    server.wait_until_ready();
    server
}

/// Ids and marks of the messages of one topic, in the order in which they were printed.
fn messages_of<'v>(printed: &'v [Value], topic: &str) -> Vec<(&'v str, &'v str)> {
    let messages = printed.iter().filter(|it| it["topic"] == topic);
    let both = messages.map(|it| (it["message_id"].as_str(), it["payload"]["mark"].as_str()));
    both.map(|(id, mark)| (id.expect("an id"), mark.expect("a mark")))
        .collect()
}

fn published_in<'l>(
    log: &'l BTreeMap<&'static str, BTreeMap<String, String>>,
    topic: &str,
) -> Vec<(&'l str, &'l str)> {
    log[topic]
        .iter()
        .map(|(id, mark)| (&**id, &**mark))
        .collect()
}

/// Waits until a good number of messages was accepted since now.
fn more_is_published(log: &Log) {
    let all = || {
        let log = log.lock().unwrap_or_else(PoisonError::into_inner);
        log.values().map(BTreeMap::len).sum::<usize>()
    };
    let enough = all() + MESSAGES;
    wait_until("more is published", DEADLINE, || all() >= enough);
}

/// Publishes by way of the balancer, and sends again what was not accepted, with the same key: so each message is
/// stored once, whatever comes in between.
struct Publisher {
    address: SocketAddr,
    http: Option<Http>,
    name: String,
    count: usize,
}

impl Publisher {
    fn new(address: SocketAddr, name: &str) -> Publisher {
        Publisher {
            address,
            http: None,
            name: name.to_owned(),
            count: 0,
        }
    }

    fn publish(&mut self, log: &Log, topic: usize) {
        self.count += 1;
        let mark = format!("{}-{}", self.name, self.count);
        let body = json!({"topic": TOPICS[topic], "payload": {"mark": mark}}).to_string();
        let end = Instant::now() + DEADLINE;
        let answer = loop {
            assert!(Instant::now() < end, "{mark} is not accepted");
            match self.try_once(&mark, &body) {
                Some(answer) => break answer,
                None => thread::sleep(Duration::from_millis(20)),
            }
        };
        let id = answer["message_id"].as_str().expect("an id").to_owned();
        let mut log = log.lock().unwrap_or_else(PoisonError::into_inner);
        let before = log.entry(TOPICS[topic]).or_default().insert(id, mark);
        assert_eq!(before, None, "an id is given once");
    }

    fn try_once(&mut self, key: &str, body: &str) -> Option<Value> {
        let address = self.address;
        let mut http = self.http.take().unwrap_or_else(|| Http::open(address));
        let headers = [
            ("Content-Type", "application/json"),
            ("Idempotency-Key", key),
        ];
        let request = http.encode("POST", "/api/v1/messages", &headers, body.as_bytes());
        http.send_to_deaf(request);
        let answer = http.try_read_response()?;
        match answer.status {
            201 => {}
            // The instance went while it was asked, or is about to.
            409 | 502 | 503 | 504 => return None,
            status => panic!("{status}: {answer:?}"),
        }
        if answer.header("connection") != Some("close") {
            self.http = Some(http);
        }
        Some(answer.json())
    }
}

/// Sets a flag when dropped, also by a panic.
struct SetOnDrop<'a>(&'a AtomicBool);

impl Drop for SetOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}
