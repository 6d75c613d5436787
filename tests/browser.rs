//! A page in a browser that consumes messages with `WebSocket` and `EventSource`, as browsers build them:
//! another origin, handshakes and reconnects of their own.
//!
//! The page comes from a small server of the test and reports to it what it sees. Its event stream goes
//! through a relay that the test can cut.
//!
//! ```text
//! Chromium ── page, reports ──► this test
//!     ├────── WebSocket ──────► server
//!     └────── EventSource ────► relay ──► server, later another one
//! ```

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use serde_json::{Value, json};
use test_util::browser::{Browser, Reports, listen};
use test_util::owed::publish_numbers;
use test_util::tokens::{TOKEN_FLAGS, token};
use test_util::{Http, Server};

const PAGE: &str = include_str!("data/browser.html");

#[test]
fn a_page_consumes_and_resumes() {
    let (listener, origin) = listen();
    let allowed = ["--allowed-origins", &format!("http://{origin}")];
    let server = Server::start(&[&allowed[..], &["--workers", "4"]].concat());
    let orders = publish_numbers(&server, "orders", 0..4);
    publish_numbers(&server, "feed", 0..2);
    let relay = Relay::start(server.addr());
    let page = PAGE
        .replace("{{SERVER}}", &server.addr().to_string())
        .replace("{{RELAYED}}", &relay.address.to_string())
        .replace("{{SINCE}}", &orders[0]);
    let mut reports = Reports::of_pages([(listener, page)]);
    let _browser = Browser::open(&format!("http://{origin}/"));

    socket_consumes(&mut reports, &server);
    let last = source_resumes(&mut reports, &server, &relay);
    source_is_told_of_gaps(&mut reports, &server, &relay, &allowed, &last);
    assert_eq!(
        reports.of("page"),
        Vec::<&Value>::new(),
        "errors in the page"
    );
}

#[test]
fn a_page_is_let_in_by_tickets_and_goes_on_with_a_new_one() {
    let (listener, origin) = listen();
    let allowed = ["--allowed-origins", &format!("http://{origin}")];
    let server = Server::start(&[&allowed[..], &TOKEN_FLAGS].concat());
    let relay = Relay::start(server.addr());
    let token = token(600, &json!({}));
    let page = include_str!("data/tickets.html")
        .replace("{{SERVER}}", &server.addr().to_string())
        .replace("{{RELAYED}}", &relay.address.to_string())
        .replace("{{TOKEN}}", &token);
    let publish = |number: u64| {
        let body = json!({"topic": "news", "payload": {"n": number}}).to_string();
        let bearer = format!("Bearer {token}");
        let headers = [
            ("Authorization", &*bearer),
            ("Content-Type", "application/json"),
        ];
        let mut http = Http::open(server.addr());
        let answer = http.request("POST", "/api/v1/messages", &headers, body.as_bytes());
        assert_eq!(answer.status, 201, "{answer:?}");
    };
    let mut reports = Reports::of_pages([(listener, page)]);
    publish(0);
    let _browser = Browser::open(&format!("http://{origin}/"));
    for number in 0..3 {
        let is_it = |it: &Value| it["payload"]["n"] == number;
        reports.wait("the message", is_it);
        relay.cut();
        publish(number + 1);
        relay.reach(server.addr());
    }
    reports.wait("the last message", |it| it["payload"]["n"] == 3);
    let messages = reports.of("source").into_iter();
    let numbers: Vec<Value> = messages
        .filter(|it| it["type"] == "message")
        .map(|it| it["payload"]["n"].clone())
        .collect();
    assert_eq!(numbers, [0, 1, 2, 3].map(Value::from));
    assert_eq!(
        reports.of("page"),
        Vec::<&Value>::new(),
        "errors in the page"
    );
    let shows = |head: &String| head.contains(&token) || !head.contains("ticket=");
    assert!(
        !relay.heads().iter().any(shows),
        "tickets alone are in URLs"
    );
}

/// Subscribed behind the first order, the page gets the others through its window, acknowledges each, and
/// hears the heart beat.
fn socket_consumes(reports: &mut Reports, server: &Server) {
    let live = publish_numbers(server, "orders", [4]);
    let is_last = |it: &Value| it["message_id"] == *live[0];
    reports.wait("the last order", |it| it["from"] == "socket" && is_last(it));
    let beats = |it: &Value| it["type"] == "heartbeat" && it["timestamp"].is_string();
    reports.wait("a heartbeat", |it| it["from"] == "socket" && beats(it));
    server.wait_for_metric("proxy_pending_messages", &[], 0.0);
    let acks = [("result", "acknowledged")];
    server.wait_for_metric("proxy_acks_total", &acks, 4.0);

    let events = reports.of("socket");
    assert_eq!(events[0]["type"], "subscribed", "{events:?}");
    assert_eq!(events[0]["recovered"]["orders"], true, "{events:?}");
    let messages = events.iter().filter(|it| it["type"] == "message");
    let numbers: Vec<_> = messages
        .map(|it| (it["payload"]["n"].clone(), it["delivery_attempt"].clone()))
        .collect();
    let expected: Vec<_> = (1..5).map(|number| (json!(number), json!(1))).collect();
    assert_eq!(numbers, expected, "{events:?}");
}

/// The event stream is cut while messages are published; the browser comes back by itself and misses and
/// repeats nothing. Returns the id of the last event.
fn source_resumes(reports: &mut Reports, server: &Server, relay: &Relay) -> String {
    let number_came = |reports: &mut Reports, number: u64| {
        let what = format!("message {number} of the stream");
        let is_it = |it: &Value| it["from"] == "source" && it["payload"]["n"] == number;
        reports.wait(&what, is_it)
    };
    number_came(reports, 1);
    for turn in 0..3 {
        let number = 2 + 3 * turn;
        publish_numbers(server, "news", [number]);
        let last = number_came(reports, number);
        let heads = relay.heads();
        relay.cut();
        publish_numbers(server, "feed", [number + 1]);
        publish_numbers(server, "news", [number + 2]);
        relay.reach(server.addr());
        number_came(reports, number + 2);
        number_came(reports, number + 1);
        let resumed = format!("Last-Event-ID: {}\r\n", last["id"].as_str().expect("an id"));
        let resumed = resumed.to_ascii_lowercase();
        let all = relay.heads();
        let again: Vec<_> = all[heads.len()..].iter().collect();
        assert!(!again.is_empty(), "it did not come again: {all:?}");
        let resumes = |head: &&String| head.to_ascii_lowercase().contains(&resumed);
        assert!(again.iter().any(resumes), "{resumed} is not in {again:?}");
    }
    let events = reports.of("source");
    let messages: Vec<_> = events
        .iter()
        .filter(|it| it["event"] == "message")
        .collect();
    let numbers: Vec<u64> = messages
        .iter()
        .map(|it| it["payload"]["n"].as_u64().expect("a number"))
        .collect();
    assert_eq!(
        numbers,
        (0..11).collect::<Vec<u64>>(),
        "in the order of publishing"
    );
    let ids: BTreeSet<&str> = messages.iter().filter_map(|it| it["id"].as_str()).collect();
    assert_eq!(ids.len(), messages.len(), "each event has an id of its own");
    assert!(!events.iter().any(|it| it["event"] == "gap"), "{events:?}");
    let last = messages.last().and_then(|it| it["id"].as_str());
    last.expect("an id").to_owned()
}

/// Behind the relay another server takes the place of the first, with another store: the browser resumes
/// there and is told what that means.
fn source_is_told_of_gaps(
    reports: &mut Reports,
    server: &Server,
    relay: &Relay,
    allowed: &[&str],
    last: &str,
) {
    let other = Server::start(allowed);
    assert_ne!(other.addr(), server.addr());
    publish_numbers(&other, "feed", [100]);
    relay.cut();
    relay.reach(other.addr());
    let is_gap = |it: &Value| it["event"] == "gap" && it["topic"] == "feed";
    let gap = reports.wait("a gap", is_gap);
    assert_eq!(gap["reason"], "epoch_changed", "{gap}");
    let came = |it: &Value| it["from"] == "source" && it["payload"]["n"] == 100;
    let message = reports.wait("what the other server keeps", came);
    assert_ne!(message["id"], last);
    // The relay and the reports go on after this server, which nobody else needs.
    relay.cut();
}

/// Passes connections on to a server, until they are cut.
struct Relay {
    address: SocketAddr,
    state: Arc<Mutex<RelayState>>,
}

struct RelayState {
    /// Where to, if anywhere: else connections are closed at once.
    target: Option<SocketAddr>,
    /// Both ends of those that are open.
    open: Vec<TcpStream>,
    /// What clients sent first on each connection.
    heads: Vec<String>,
}

impl Relay {
    fn start(target: SocketAddr) -> Relay {
        let (listener, address) = listen();
        let state = Arc::new(Mutex::new(RelayState {
            target: Some(target),
            open: Vec::new(),
            heads: Vec::new(),
        }));
        let shared = Arc::clone(&state);
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let state = Arc::clone(&shared);
                thread::spawn(move || pass_on(client, &state));
            }
        });
        Relay { address, state }
    }

    /// Ends all connections in the middle of what they are doing, and lets no more through.
    fn cut(&self) {
        let mut state = lock(&self.state);
        state.target = None;
        for stream in state.open.drain(..) {
            // It may be closed already.
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    fn reach(&self, target: SocketAddr) {
        lock(&self.state).target = Some(target);
    }

    fn heads(&self) -> Vec<String> {
        lock(&self.state).heads.clone()
    }
}

fn lock(state: &Mutex<RelayState>) -> MutexGuard<'_, RelayState> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Passes a connection on in both directions; what goes wrong ends it, as on any network.
fn pass_on(mut client: TcpStream, state: &Mutex<RelayState>) -> Option<()> {
    let mut first = [0; 16 * 1024];
    let count = client.read(&mut first).ok().filter(|count| *count > 0)?;
    let mut server = {
        let mut state = lock(state);
        let target = state.target?;
        let server = TcpStream::connect(target).ok()?;
        let head = String::from_utf8_lossy(&first[..count]).into_owned();
        state.heads.push(head);
        state
            .open
            .extend([client.try_clone().ok()?, server.try_clone().ok()?]);
        server
    };
    server.write_all(&first[..count]).ok()?;
    let (mut from_server, mut to_client) = (server.try_clone().ok()?, client.try_clone().ok()?);
    thread::spawn(move || {
        // The end of either direction is the end of the connection.
        let _ = std::io::copy(&mut from_server, &mut to_client);
        let _ = to_client.shutdown(Shutdown::Both);
    });
    std::io::copy(&mut client, &mut server).ok()?;
    server.shutdown(Shutdown::Write).ok()
}
