//! How much one client may have at a time, and that nobody else is concerned.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;

use serde_json::json;
use socket2::{Domain, Socket, Type};
use test_util::everywhere::everywhere;
use test_util::owed::publish_numbers;
use test_util::tokens::{TOKEN_FLAGS, token};
use test_util::wire::{handshake_with, subscribe};
use test_util::{DEADLINE, Http, Response, Server, Wire, wait_until, with_workers};

/// What a client sends to be taken for one of these addresses, by a server that trusts it.
fn from(address: &str) -> [(&str, &str); 1] {
    [("X-Forwarded-For", address)]
}

const BEHIND_PROXY: [&str; 2] = ["--trusted-proxies", "127.0.0.1"];

fn socket(server: &Server, headers: &[(&str, &str)]) -> (Wire, Response) {
    Wire::handshake(server.addr(), handshake_with(server.addr(), headers))
}

fn get(server: &Server, path: &str, headers: &[(&str, &str)]) -> Response {
    Http::open(server.addr()).request("GET", path, headers, b"")
}

/// Opened and not ended.
fn begun(server: &Server, path: &str, headers: &[(&str, &str)]) -> Http {
    let mut http = Http::open(server.addr());
    let request = http.encode("GET", path, headers, b"");
    http.send(request);
    http
}

fn assert_full(response: &Response, what: &str) {
    response.assert_error(503, "SERVICE_UNAVAILABLE");
    assert!(response.text().contains(what), "{}", response.text());
    assert!(response.header("Retry-After").is_some());
}

const STREAM: &str = "/api/v1/stream?topics=t";
const POLL: &str = "/api/v1/poll?topics=t&timeout=60";

#[test]
fn a_client_has_so_many_connections_on_all_workers() {
    everywhere(|place| {
        let flags = [&BEHIND_PROXY[..], &["--client-connections-max", "6"]].concat();
        let server = place.start(&flags);
        let (one, other) = (from("203.0.113.7"), from("203.0.113.8"));
        for _ in 0..3 {
            let mut sockets = Vec::new();
            for _ in 0..2 {
                let (wire, answer) = socket(&server, &one);
                assert_eq!(answer.status, 101);
                sockets.push(wire);
            }
            let mut rest: Vec<Http> = Vec::new();
            for path in [STREAM, STREAM, POLL, POLL] {
                rest.push(begun(&server, path, &one));
            }
            for http in &mut rest[..2] {
                assert_eq!(http.read_response_to_head().status, 200);
            }
            server.wait_for_metric("proxy_poll_waiters", &[], 2.0);
            for path in [STREAM, POLL] {
                assert_full(&get(&server, path, &one), "connections");
            }
            assert_full(&socket(&server, &one).1, "connections");
            assert_eq!(socket(&server, &other).1.status, 101);
            // Other requests go on.
            assert_eq!(get(&server, "/api/v1/topics", &one).status, 200);
            drop((sockets, rest));
            // All of it is given back when the server has seen that they have gone.
            wait_until("there is room again", DEADLINE, || {
                let all: Vec<_> = (0..6).map(|_| socket(&server, &one)).collect();
                all.iter().all(|(_, answer)| answer.status == 101)
            });
            wait_until("nobody is there", DEADLINE, || {
                server.metric("proxy_websocket_connections_active", &[]) == 0.0
            });
        }
    });
}

#[test]
fn a_credential_is_one_client_wherever_it_comes_from() {
    with_workers(|workers| {
        let flags = ["--workers", workers, "--client-connections-max", "2"];
        let server = Server::start(&[&flags[..], &TOKEN_FLAGS, &BEHIND_PROXY].concat());
        let bearer = |more| format!("Bearer {}", token(600, &more));
        let (ann, anns_other) = (bearer(json!({})), bearer(json!({"jti": "2"})));
        let bob = bearer(json!({"sub": "bob"}));
        let open = |bearer: &str, address: &str| {
            let headers = [("Authorization", bearer), ("X-Forwarded-For", address)];
            socket(&server, &headers)
        };
        let first = open(&ann, "203.0.113.7");
        let second = open(&anns_other, "203.0.113.8");
        assert_eq!((first.1.status, second.1.status), (101, 101));
        assert_full(&open(&ann, "203.0.113.9").1, "connections");
        let (mut bobs, answer) = open(&bob, "203.0.113.7");
        assert_eq!(answer.status, 101);

        // It becomes Ann's, who has more than she may then, and Bob may have another.
        bobs.send(0x81, subscribe("t").as_bytes());
        assert_eq!(bobs.read_json()["type"], "subscribed");
        let renewal = json!({"type": "auth", "token": ann.replace("Bearer ", "")});
        bobs.send(0x81, renewal.to_string().as_bytes());
        assert_eq!(bobs.read_json()["type"], "authenticated");
        let mine: Vec<_> = (0..2).map(|_| open(&bob, "203.0.113.7")).collect();
        assert!(mine.iter().all(|(_, answer)| answer.status == 101));
        assert_full(&open(&bob, "203.0.113.7").1, "connections");
        drop(first);
        server.wait_for_metric("proxy_websocket_connections_active", &[], 4.0);
        assert_full(&open(&ann, "203.0.113.9").1, "connections");
    });
}

#[test]
fn a_client_subscribes_to_so_many_topics_in_all() {
    everywhere(|place| {
        let server = place.start(&["--client-subscriptions-max", "3"]);
        let (mut one, _) = socket(&server, &[]);
        let (mut other, _) = socket(&server, &[]);
        let many = json!({"type": "subscribe", "topics": ["a", "b"], "client_id": "x"});
        one.send(0x81, many.to_string().as_bytes());
        assert_eq!(one.read_json()["type"], "subscribed");
        other.send(0x81, subscribe("c").as_bytes());
        assert_eq!(other.read_json()["type"], "subscribed");
        other.send(0x81, many.to_string().as_bytes());
        let refused = other.read_json();
        assert_eq!(refused["code"], "LIMIT_EXCEEDED", "{refused}");
        assert_full(&get(&server, STREAM, &[]), "topics");
        let poll = "/api/v1/poll?topics=a,b,c,d&timeout=0";
        assert_eq!(get(&server, poll, &[]).status, 200, "it is over at once");

        let leave = json!({"type": "unsubscribe", "topics": ["a"]});
        one.send(0x81, leave.to_string().as_bytes());
        assert_eq!(one.read_json()["type"], "unsubscribed");
        other.send(0x81, subscribe("d").as_bytes());
        assert_eq!(other.read_json()["type"], "subscribed");
        drop(other);
        wait_until("its subscriptions have gone", DEADLINE, || {
            one.send(0x81, many.to_string().as_bytes());
            let is_one = one.read_json()["type"] == "subscribed";
            let mut stream = begun(&server, STREAM, &[]);
            is_one && stream.read_response_to_head().status == 200
        });
    });
}

#[test]
fn so_many_polls_of_a_client_wait() {
    everywhere(|place| {
        let server = place.start(&["--client-polls-max", "2"]);
        for round in 0..3 {
            let mut polls: Vec<Http> = (0..2).map(|_| begun(&server, POLL, &[])).collect();
            server.wait_for_metric("proxy_poll_waiters", &[], 2.0);
            assert_full(&get(&server, POLL, &[]), "polls");
            let at_once = "/api/v1/poll?topics=t&timeout=0";
            assert_eq!(get(&server, at_once, &[]).status, 200, "it does not wait");
            assert_eq!(socket(&server, &[]).1.status, 101, "it is no poll");
            publish_numbers(&server, "t", [round]);
            for poll in &mut polls {
                assert_eq!(poll.read_response().status, 200);
            }
            // The same connections poll again.
            for poll in &mut polls {
                let request = poll.encode("GET", "/api/v1/poll?topics=t&timeout=0", &[], b"");
                poll.send(request);
                assert_eq!(poll.read_response().status, 200);
            }
        }
    });
}

#[test]
fn a_client_that_does_not_read_costs_so_many_bytes() {
    with_workers(|workers| {
        let flags = [
            "--workers",
            workers,
            "--client-bytes-max",
            "400KiB",
            "--max-message-size",
            "64KiB",
            "--outbox-bytes-max",
            "256KiB",
            "--lag-timeout",
            "600s",
        ];
        let server = Server::start(&[&flags[..], &BEHIND_PROXY].concat());
        let subscribed = |address: &str| {
            let (mut wire, _) = socket(&server, &from(address));
            wire.send(0x81, subscribe("t").as_bytes());
            assert_eq!(wire.read_json()["type"], "subscribed");
            wire
        };
        let deaf: Vec<Wire> = (0..4)
            .map(|_| {
                let wire = subscribed("203.0.113.7");
                // What the kernel takes for it is beside the bound.
                let socket = socket2::SockRef::from(wire.stream());
                let set = socket.set_recv_buffer_size(16 * 1024);
                set.expect("a TCP socket has this option");
                wire
            })
            .collect();
        let mut reader = subscribed("203.0.113.8");
        let body = json!({"topic": "t", "payload": {"text": "x".repeat(40_000)}}).to_string();
        let mut http = Http::open(server.addr());
        let closed = || server.metric("proxy_websocket_disconnections_total", &[]);
        for _ in 0..300 {
            assert_eq!(http.post("/api/v1/messages", &body).status, 201);
            assert_eq!(reader.read_json()["type"], "message");
        }
        let lagging = [("reason", "lagging")];
        let lagged = || server.metric("proxy_closed_connections_total", &lagging);
        wait_until(
            "somebody is closed for what he did not read",
            DEADLINE,
            || lagged() >= 1.0,
        );
        reader.assert_alive();
        drop(deaf);
        wait_until("they have gone", DEADLINE, || closed() >= 4.0);
        assert_eq!(closed(), 4.0, "and nobody else has");
    });
}

#[test]
fn what_has_come_in_part_counts_for_its_address() {
    let flags = [
        "--client-bytes-max",
        "100KiB",
        "--max-message-size",
        "64KiB",
        "--workers",
        "4",
    ];
    let server = Server::start(&flags);
    let half_to = |server: &Server, more: &str| {
        let mut stream = TcpStream::connect(server.addr()).expect("it listens");
        stream.set_read_timeout(Some(DEADLINE)).expect("a timeout");
        let host = server.addr();
        let head = format!(
            "POST /api/v1/messages HTTP/1.1\r\nHost: {host}\r\n{more}Content-Length: 60000\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).expect("it is sent");
        // It may be refused before all is sent.
        let _ = stream.write_all(&[b' '; 50_000]);
        stream
    };
    let half = |more: &str| half_to(&server, more);
    // Which of them is the one too many nobody knows.
    let refused = |streams: &mut Vec<TcpStream>| {
        let mut answer = [0; 12];
        wait_until("one is refused", DEADLINE, || {
            let mut said = streams.iter_mut().map(|stream| {
                stream.set_nonblocking(true).expect("a socket");
                stream.read(&mut answer).is_ok_and(|count| count > 0)
            });
            said.any(|it| it)
        });
        assert_eq!(&answer, b"HTTP/1.1 503");
    };
    let mut all: Vec<TcpStream> = (0..3).map(|_| half("")).collect();
    refused(&mut all);
    drop(all);
    wait_until("there is room again", DEADLINE, || {
        let body = json!({"topic": "t", "payload": {"text": "x".repeat(50_000)}}).to_string();
        server.post("/api/v1/messages", body).status == 201
    });

    // Behind a proxy they are whose the head says.
    let server = Server::start(&[&flags[..], &BEHIND_PROXY].concat());
    let mut one: Vec<TcpStream> = (0..3)
        .map(|_| half_to(&server, "X-Forwarded-For: 203.0.113.7\r\n"))
        .collect();
    refused(&mut one);
    let mut other = half_to(&server, "X-Forwarded-For: 203.0.113.8\r\n");
    other.write_all(&[b' '; 10_000]).expect("the rest is taken");
    let mut answer = [0; 12];
    other.read_exact(&mut answer).expect("an answer");
    assert_eq!(&answer, b"HTTP/1.1 422");
}

#[test]
fn an_address_has_so_many_connections_of_any_kind() {
    with_workers(|workers| {
        let flags = ["--workers", workers, "--address-connections-max", "5"];
        let server = Server::start(&flags);
        let mut known: Vec<Http> = (0..5).map(|_| Http::open(server.addr())).collect();
        for http in &mut known {
            assert_eq!(http.get("/health").status, 200);
        }
        for _ in 0..3 {
            let mut http = Http::open(server.addr());
            let request = http.encode("GET", "/health", &[], b"");
            http.send_to_deaf(request);
            let response = http.read_response();
            response.assert_error(503, "SERVICE_UNAVAILABLE");
            assert!(response.header("Retry-After").is_some());
        }
        for http in &mut known {
            assert_eq!(http.get("/health").status, 200, "who is there stays");
        }
        drop(known);
        wait_until("there is room again", DEADLINE, || {
            let mut http = Http::open(server.addr());
            let request = http.encode("GET", "/health", &[], b"");
            http.send_to_deaf(request);
            http.read_response().status == 200
        });
        // Those of the file system have no address.
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("socket");
        let local = ["--unix-socket", path.to_str().expect("text")];
        let server = Server::start(&[&flags[..], &local].concat());
        for _ in 0..10 {
            let mut stream = UnixStream::connect(&path).expect("it listens");
            stream
                .write_all(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
                .expect("it is sent");
            let mut answer = [0; 12];
            stream.read_exact(&mut answer).expect("an answer");
            assert_eq!(&answer, b"HTTP/1.1 200");
        }
        drop(server);
        // Who is trusted to pass others on is not one client.
        let server = Server::start(&[&flags[..], &BEHIND_PROXY].concat());
        let mut all: Vec<Http> = (0..20).map(|_| Http::open(server.addr())).collect();
        for http in &mut all {
            assert_eq!(http.get("/health").status, 200);
        }
    });
}

#[test]
fn an_address_with_too_many_connections_locks_nobody_out() {
    with_workers(|workers| {
        let flags = ["--workers", workers, "--http-connections-max", "40"];
        let bound = ["--address-connections-max", "3"];
        let server = Server::start(&[&flags[..], &bound].concat());
        let many: Vec<TcpStream> = (0..60)
            .map(|_| connect_from([127, 0, 0, 2], &server))
            .collect();
        for _ in 0..3 {
            let mut stream = connect_from([127, 0, 0, 3], &server);
            assert_eq!(health(&mut stream, b""), "HTTP/1.1 200");
        }
        drop(many);
    });
}

#[test]
fn a_balancer_tells_whose_connections_are_counted() {
    with_workers(|workers| {
        let flags = ["--workers", workers, "--address-connections-max", "2"];
        let protocol = [&BEHIND_PROXY[..], &["--proxy-protocol"]].concat();
        let server = test_util::Program::new(&[&flags[..], &protocol].concat()).start();
        let from = |address: &str| {
            let line = format!("PROXY TCP4 {address} 127.0.0.1 5000 80\r\n");
            let mut stream = TcpStream::connect(server.addr()).expect("it listens");
            let status = health(&mut stream, line.as_bytes());
            (stream, status)
        };
        let first: Vec<_> = (0..2).map(|_| from("203.0.113.7")).collect();
        assert!(first.iter().all(|(_, status)| status == "HTTP/1.1 200"));
        assert_eq!(from("203.0.113.7").1, "HTTP/1.1 503");
        assert_eq!(from("203.0.113.8").1, "HTTP/1.1 200");
        drop(first);
        wait_until("there is room again", DEADLINE, || {
            from("203.0.113.7").1 == "HTTP/1.1 200"
        });
    });
}

fn connect_from(source: [u8; 4], server: &Server) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    let source = SocketAddr::from((source, 0));
    socket.bind(&source.into()).expect("an address of loopback");
    socket.connect(&server.addr().into()).expect("it listens");
    socket.into()
}

/// The beginning of the answer to a request for `/health`, behind these bytes.
fn health(stream: &mut TcpStream, before: &[u8]) -> String {
    stream.set_read_timeout(Some(DEADLINE)).expect("a timeout");
    let request = b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n";
    stream
        .write_all(&[before, request].concat())
        .expect("it is sent");
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).expect("an answer");
    String::from_utf8_lossy(&answer).into_owned()
}

#[test]
fn a_bound_that_no_message_fits_in_stops_the_start() {
    let program = test_util::Program::new(&["--client-bytes-max", "4KiB"]);
    let (status, log) = program.run();
    assert!(
        status == Some(2) && log.contains("client-bytes-max"),
        "{log}"
    );
}
