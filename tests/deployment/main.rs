//! `docs/DEPLOYMENT.md` says what works: its balancers stand in front of instances here. Only addresses, ports and
//! what needs root differ.

mod balancer;
mod rolling;
mod subscriber;
mod user;

use std::time::Duration;

use serde_json::json;
use test_util::{Client, DEADLINE, Event, Http, Item, Poller, Server, Stream, wait_until};

use balancer::{Balancer, Kind};

/// The document.
const DOCUMENT: &str = include_str!("../../docs/DEPLOYMENT.md");

/// How soon something must come that a balancer has no reason to hold back.
const PROMPT: Duration = Duration::from_secs(2);

/// How long an instance goes on serving after it has said that it stops: longer than a balancer needs to notice.
const DRAIN_DELAY: &str = "6s";

/// The one block of the document in this language.
fn block(language: &str) -> &'static str {
    let opening = format!("\n```{language}\n");
    let (_, rest) = DOCUMENT
        .split_once(&opening)
        .unwrap_or_else(|| panic!("no block in {language}"));
    let (block, rest) = rest.split_once("\n```\n").expect("blocks end");
    assert!(
        !rest.contains(&opening),
        "more than one block in {language}"
    );
    block
}

fn instances() -> [Server; 2] {
    std::array::from_fn(|_| Server::start(&["--drain-delay", DRAIN_DELAY, "--drain-timeout", "4s"]))
}

fn received(server: &Server) -> f64 {
    server.metric("proxy_messages_received_total", &[])
}

fn publish(balancer: &Balancer, topic: &str) -> u16 {
    let body = json!({"topic": topic, "payload": {"n": 1}}).to_string();
    let mut http = Http::open(balancer.address());
    http.post("/api/v1/messages", body).status
}

/// Publishes until all of these, of which there is one at each instance, have got something.
fn publish_until_all<C>(
    balancer: &Balancer,
    topic: &str,
    mut clients: [C; 2],
    mut has_got: impl FnMut(&mut C) -> bool,
) {
    let mut got = [false; 2];
    wait_until("it has come to all", DEADLINE, || {
        assert_eq!(publish(balancer, topic), 201);
        for (client, got) in clients.iter_mut().zip(&mut got) {
            *got |= has_got(client);
        }
        got == [true; 2]
    });
}

/// Two WebSockets through the balancer, one at each instance.
fn spread_clients(balancer: &Balancer, servers: &[Server; 2]) -> [Client; 2] {
    let clients = [(); 2].map(|()| Client::subscribed(balancer.address(), &["ws"]));
    for server in servers {
        assert_eq!(
            server.metric("proxy_websocket_connections_active", &[]),
            1.0,
            "the one with fewer connections gets the next"
        );
    }
    clients
}

/// Waits until the instances know that all who were connected have gone.
fn wait_until_all_have_gone(servers: &[Server; 2]) {
    for server in servers {
        for gauge in [
            "proxy_websocket_connections_active",
            "proxy_streams_active",
            "proxy_poll_waiters",
        ] {
            server.wait_for_metric(gauge, &[], 0.0);
        }
    }
}

fn messages_pass(balancer: &Balancer, servers: &[Server; 2]) {
    let mut http = Http::open(balancer.address());
    assert_eq!(http.get("/health").status, 200);
    let ready = http.get("/ready");
    assert_eq!((ready.status, &ready.json()["ready"]), (200, &json!(true)));
    let clients = spread_clients(balancer, servers);
    publish_until_all(balancer, "ws", clients, |client| {
        client.send(&json!({"type": "ping"}));
        let first = client.read_json();
        let is_message = first["type"] == "message";
        // A pong that was late makes the next one early.
        assert!(is_message || first["type"] == "pong", "{first}");
        is_message
    });
}

fn streams_pass_at_once(balancer: &Balancer, streams: [Stream; 2]) {
    publish_until_all(balancer, "stream", streams, |stream| {
        matches!(stream.next(PROMPT / 8), Item::Event(_) | Item::Line(_))
    });
}

fn polls_pass(balancer: &Balancer, servers: &[Server; 2]) {
    let pollers = [(); 2].map(|()| {
        let mut poller = Poller::open(balancer.address(), &["poll"], None);
        poller.send("timeout=60");
        poller
    });
    for server in servers {
        server.wait_for_metric("proxy_poll_waiters", &[], 1.0);
    }
    publish_until_all(balancer, "poll", pollers, |poller| {
        let has_answer = poller.http.has_answer();
        if has_answer {
            let messages = poller.read()["messages"].as_array().map(Vec::len);
            assert!(messages > Some(0));
            // Else its instance would be the emptier one, and get all that is published.
            poller.since = None;
            poller.send("timeout=60");
        }
        has_answer
    });
}

fn refusals_pass(balancer: &Balancer) {
    let mut http = Http::open(balancer.address());
    // The length alone decides, so nothing of the body is under way when the answer comes.
    http.send(
        "POST /api/v1/messages HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1048577\r\n\r\n",
    );
    let refused = http.read_response();
    assert_eq!(refused.status, 413, "{refused:?}");
    let refused = Http::open(balancer.address()).post("/api/v1/messages", "{");
    refused.assert_error(422, "VALIDATION_ERROR");
}

/// Everything that clients do comes through.
fn everything_passes(kind: Kind) {
    let servers = instances();
    let Some(balancer) = Balancer::start(kind, &servers.each_ref().map(Server::addr)) else {
        return;
    };
    messages_pass(&balancer, &servers);
    wait_until_all_have_gone(&servers);
    let path = "/api/v1/stream?topics=stream";
    let open = || Stream::open(balancer.address(), path);
    streams_pass_at_once(&balancer, [(); 2].map(|()| open()));
    wait_until_all_have_gone(&servers);
    let open = || Stream::open_lines(balancer.address(), path);
    streams_pass_at_once(&balancer, [(); 2].map(|()| open()));
    wait_until_all_have_gone(&servers);
    polls_pass(&balancer, &servers);
    wait_until_all_have_gone(&servers);
    refusals_pass(&balancer);
}

#[test]
fn haproxy_passes_everything() {
    everything_passes(Kind::Haproxy);
}

#[test]
fn nginx_passes_everything() {
    everything_passes(Kind::Nginx);
}

#[test]
fn haproxy_takes_an_instance_out_before_it_stops() {
    let mut servers = instances();
    let Some(balancer) = Balancer::start(Kind::Haproxy, &servers.each_ref().map(Server::addr))
    else {
        return;
    };
    let mut clients = spread_clients(&balancer, &servers);
    let [leaving, staying] = &mut servers;
    leaving.signal("TERM");
    leaving.wait_until_unready();
    wait_until("nothing new comes to the one that leaves", DEADLINE, || {
        let before = (received(leaving), received(staying));
        (0..4).for_each(|_| assert_eq!(publish(&balancer, "t"), 201));
        (received(leaving), received(staying)) == (before.0, before.1 + 4.0)
    });
    assert_eq!(
        leaving.metric("proxy_websocket_connections_active", &[]),
        1.0,
        "who is there already stays until the instance says goodbye"
    );
    leaving.wait_for_end_while(|| assert_eq!(publish(&balancer, "t"), 201, "nobody notices"));
    let closed = clients
        .iter_mut()
        .filter_map(closed_with)
        .collect::<Vec<_>>();
    assert_eq!(closed, [1001]);
    let mut again = Client::subscribed(balancer.address(), &["again"]);
    assert_eq!(publish(&balancer, "again"), 201);
    assert_eq!(again.read_json()["topic"], "again");
}

#[test]
fn haproxy_lets_instances_explain_themselves_when_none_is_ready() {
    let mut servers = instances();
    let Some(balancer) = Balancer::start(Kind::Haproxy, &servers.each_ref().map(Server::addr))
    else {
        return;
    };
    servers.iter().for_each(|it| it.signal("TERM"));
    servers.iter().for_each(Server::wait_until_unready);
    wait_until("the balancer has noticed", DEADLINE, || {
        Http::open(balancer.address()).get("/ready").status == 503
    });
    for _ in 0..4 {
        let ready = Http::open(balancer.address()).get("/ready");
        assert_eq!(
            ready.json()["ready"],
            json!(false),
            "an instance's own words"
        );
        assert_eq!(publish(&balancer, "t"), 201);
    }
    for server in &mut servers {
        assert_eq!(server.wait(DEADLINE), Some(0));
    }
}

#[test]
fn nginx_goes_on_with_the_instance_that_is_left() {
    let mut servers = instances();
    let Some(balancer) = Balancer::start(Kind::Nginx, &servers.each_ref().map(Server::addr)) else {
        return;
    };
    let mut clients = spread_clients(&balancer, &servers);
    let [leaving, staying] = &mut servers;
    leaving.signal("TERM");
    let mut refused = 0;
    leaving.wait_for_end_while(|| match publish(&balancer, "t") {
        201 => {}
        502 => refused += 1,
        status => panic!("{status}"),
    });
    assert!(
        refused <= 1,
        "{refused}: more than what was under way at the end"
    );
    let closed = clients
        .iter_mut()
        .filter_map(closed_with)
        .collect::<Vec<_>>();
    assert_eq!(closed, [1001]);
    let before = received(staying);
    (0..20).for_each(|_| assert_eq!(publish(&balancer, "t"), 201));
    assert_eq!(received(staying), before + 20.0);
}

/// The code with which a connection was closed; `None` for one that is open.
fn closed_with(client: &mut Client) -> Option<u16> {
    match client.next(PROMPT) {
        Event::Close(code) => code,
        Event::Nothing => None,
        other => panic!("{other:?}"),
    }
}

/// What the tests here want of a server beside what all do.
trait Leaving {
    /// Does something again and again until the process has ended, which must be with 0.
    fn wait_for_end_while(&mut self, act: impl FnMut());
}

impl Leaving for Server {
    fn wait_for_end_while(&mut self, mut act: impl FnMut()) {
        let end = std::time::Instant::now() + DEADLINE;
        while !self.has_ended() {
            assert!(std::time::Instant::now() < end, "it does not end");
            act();
        }
        assert_eq!(self.wait(DEADLINE), Some(0));
    }
}
