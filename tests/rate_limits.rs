//! What clients may ask for in a minute, and what those are told who ask for more.

use std::io::Write;
use std::thread;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::json;
use sha2::{Digest, Sha256};
use test_util::everywhere::{Place, everywhere};
use test_util::wire::{handshake_with, subscribe};
use test_util::{DEADLINE, Http, Response, Server, Valkey, Wire, wait_until, with_workers};

const BODY: &str = r#"{"topic":"t","payload":{"is":1}}"#;

fn publish(http: &mut Http, headers: &[(&str, &str)]) -> Response {
    let own = [("Content-Type", "application/json")];
    http.request(
        "POST",
        "/api/v1/messages",
        &[&own, headers].concat(),
        BODY.as_bytes(),
    )
}

fn bulk(http: &mut Http, messages: usize) -> Response {
    let messages: Vec<_> = (0..messages)
        .map(|is| json!({"topic": "t", "payload": {"is": is}}))
        .collect();
    http.post(
        "/api/v1/messages/bulk",
        json!({"messages": messages}).to_string(),
    )
}

/// Limit, what remains, and seconds until all of it is there again.
fn standing(response: &Response) -> (u64, u64, u64) {
    let number = |name| -> u64 {
        let value = response
            .header(name)
            .unwrap_or_else(|| panic!("{name}: {response:?}"));
        value.parse().expect("a number")
    };
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("a time after 1970")
        .as_secs();
    let reset = number("X-RateLimit-Reset").saturating_sub(now);
    (
        number("X-RateLimit-Limit"),
        number("X-RateLimit-Remaining"),
        reset,
    )
}

#[test]
fn messages_and_requests_are_counted_and_too_many_refused() {
    everywhere(|place| {
        // Less than one a second comes back, so that nothing does while the test runs.
        let server = place.start(&["--rate-limit-per-client", "20"]);
        let mut http = Http::open(server.addr());
        let first = publish(&mut http, &[]);
        assert_eq!((first.status, standing(&first).1), (201, 19));
        let many = bulk(&mut http, 9);
        assert_eq!((many.status, standing(&many).1), (207, 10));
        let (limit, _, reset) = standing(&many);
        assert!(limit == 20 && (25..=31).contains(&reset), "{reset}");

        // Another route, another connection and what is wrong cost one each.
        let mut other = Http::open(server.addr());
        assert_eq!(standing(&other.get("/api/v1/topics")).1, 9);
        assert_eq!(standing(&other.get("/nothing")).1, 8);
        let wrong = other.post("/api/v1/messages", "{");
        assert_eq!((wrong.status, standing(&wrong).1), (422, 7));

        let too_many = bulk(&mut http, 8);
        too_many.assert_error(429, "RATE_LIMIT_EXCEEDED");
        assert_eq!(standing(&too_many).1, 7, "nothing was taken");
        let wait = too_many.header("Retry-After").expect("it says when");
        assert!(
            (1..=3).contains(&wait.parse::<u64>().expect("seconds")),
            "{wait}"
        );
        assert_eq!(bulk(&mut http, 7).status, 207);
        for _ in 0..3 {
            let refused = publish(&mut http, &[]);
            refused.assert_error(429, "RATE_LIMIT_EXCEEDED");
            assert_eq!(standing(&refused).1, 0);
        }
        other
            .get("/api/v1/poll?topics=t&timeout=0")
            .assert_error(429, "RATE_LIMIT_EXCEEDED");
        let never = bulk(&mut http, 21);
        never.assert_error(429, "RATE_LIMIT_EXCEEDED");
        assert!(never.text().contains("smaller portions"));

        for path in ["/health", "/ready", "/metrics"] {
            let free = other.get(path);
            assert_eq!(
                (free.status, free.header("X-RateLimit-Limit")),
                (200, None),
                "{path}"
            );
        }
        let told = [("code", "RATE_LIMIT_EXCEEDED")];
        assert!(
            server.metric("proxy_errors_total", &told) >= 5.0,
            "{}",
            server.metrics()
        );
    });
}

#[test]
fn a_handshake_costs_as_much_as_a_request() {
    with_workers(|workers| {
        let server = Server::start(&["--rate-limit-per-client", "2", "--workers", workers]);
        for left in [1, 0] {
            let (mut wire, answer) =
                Wire::handshake(server.addr(), handshake_with(server.addr(), &[]));
            assert_eq!((answer.status, standing(&answer).1), (101, left));
            wire.send(0x81, subscribe("t").as_bytes());
            assert_eq!(wire.read_json()["type"], "subscribed");
        }
        let (_, answer) = Wire::handshake(server.addr(), handshake_with(server.addr(), &[]));
        answer.assert_error(429, "RATE_LIMIT_EXCEEDED");
    });
}

#[test]
fn clients_behind_a_trusted_proxy_have_limits_of_their_own() {
    let server = Server::start(&[
        "--rate-limit-per-client",
        "2",
        "--trusted-proxies",
        "127.0.0.1",
    ]);
    let mut http = Http::open(server.addr());
    let mut left = |client| standing(&publish(&mut http, &[("X-Forwarded-For", client)])).1;
    assert_eq!(left("192.0.2.1"), 1);
    assert_eq!(left("192.0.2.2"), 1);
    assert_eq!(left("192.0.2.1"), 0);
    assert_eq!(left("2001:db8::1"), 1);
    assert_eq!(left("2001:db8::2"), 0, "a /64 is one");
    assert_eq!(left("2001:db8:0:1::2"), 1);
}

#[test]
fn workers_share_a_limit_to_the_message() {
    let server = Server::start(&["--rate-limit-per-client", "300", "--workers", "4"]);
    let taken: usize = thread::scope(|scope| {
        let run = || {
            let connections = (0..25).map(|_| Http::open(server.addr()));
            let statuses = connections
                .flat_map(|mut http| (0..8).map(move |_| publish(&mut http, &[]).status));
            statuses.filter(|status| *status == 201).count()
        };
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(run)).collect();
        threads
            .into_iter()
            .map(|it| it.join().expect("it ends"))
            .sum()
    });
    // Of 800 at once; five come back in a second.
    assert!((300..=400).contains(&taken), "{taken}");
    assert_eq!(
        server.metric("proxy_messages_received_total", &[]) as usize,
        taken
    );
}

#[test]
fn a_key_may_have_a_limit_of_its_own_wherever_it_is_used() {
    with_workers(|workers| {
        let mut file = tempfile::NamedTempFile::new().expect("a file");
        for (name, limit) in [
            ("own", "rate_limit = 3"),
            ("free", "rate_limit = 0"),
            ("usual", ""),
        ] {
            let digest = Sha256::digest(name.as_bytes());
            let hash: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
            let rights = "permissions = [\"read\", \"write\"]";
            let key = format!(
                "[[key]]\nname = \"{name}\"\nhash = \"sha256:{hash}\"\n{rights}\n{limit}\n"
            );
            file.write_all(key.as_bytes()).expect("it is written");
        }
        let path = file.path().to_str().expect("a path");
        let flags = [
            "--workers",
            workers,
            "--api-keys-file",
            path,
            "--rate-limit-per-client",
            "2",
        ];
        let server = Server::start(&flags);
        let publish_as = |name: &str| {
            let credential = format!("Bearer {name}");
            publish(
                &mut Http::open(server.addr()),
                &[("Authorization", &credential)],
            )
        };
        let left = |name| standing(&publish_as(name));
        assert_eq!((left("own").0, left("own").1), (3, 1));
        let credential = [("Authorization", "Bearer own")];
        let (mut wire, answer) =
            Wire::handshake(server.addr(), handshake_with(server.addr(), &credential));
        assert_eq!(standing(&answer).1, 0);
        // The first subscribe belongs to the handshake, others cost as much as a request.
        wire.send(0x81, subscribe("t").as_bytes());
        assert_eq!(wire.read_json()["type"], "subscribed");
        wire.send(0x81, subscribe("u").as_bytes());
        assert_eq!(wire.read_json()["code"], "RATE_LIMIT_EXCEEDED");
        wire.assert_alive();
        publish_as("own").assert_error(429, "RATE_LIMIT_EXCEEDED");

        assert_eq!((left("usual").1, left("usual").1), (1, 0));
        publish_as("usual").assert_error(429, "RATE_LIMIT_EXCEEDED");
        for _ in 0..5 {
            let free = publish_as("free");
            assert_eq!((free.status, free.header("X-RateLimit-Limit")), (201, None));
        }
        // Who guesses is limited by his address.
        for status in [401, 401, 429] {
            assert_eq!(publish_as("wrong").status, status);
        }
    });
}

/// Instances that share a store, at each of which a client with a limit of 20 has published once.
fn on_several_instances(test: impl Fn(&[Server], &mut [Http])) {
    for place in [Place::behind_memory("2"), Place::on_a_cluster("2")] {
        let start = |_| place.start(&["--rate-limit-per-client", "20"]);
        let servers: Vec<Server> = (0..3).map(start).collect();
        let mut all: Vec<Http> = servers.iter().map(|it| Http::open(it.addr())).collect();
        for http in &mut all {
            assert_eq!(publish(http, &[]).status, 201);
        }
        test(&servers, &mut all);
    }
}

#[test]
fn instances_hear_what_was_charged_by_others() {
    on_several_instances(|servers, all| {
        wait_until("the first has heard of the two others", DEADLINE, || {
            let left = standing(&all[0].get("/nothing")).1;
            assert!(left > 3, "it should have heard sooner");
            // What was asked for here, the first message among it, and the two.
            let asked = 20 - 2 - left;
            let asked_here =
                servers[0].metric("proxy_http_requests_total", &[("handler", "none")]) + 1.0;
            asked as f64 >= asked_here
        });
    });
}

#[test]
fn who_has_had_too_much_from_several_pays_it_back() {
    on_several_instances(|_, all| {
        // At once, before they have heard of one another.
        let statuses: Vec<u16> = all.iter_mut().map(|http| bulk(http, 17).status).collect();
        let had = statuses.iter().filter(|status| **status == 207).count() as u64;
        assert!(had >= 1, "{statuses:?}");
        for http in all {
            let owed = 3 + (17 * had) - 20;
            wait_until("it has heard of all", DEADLINE, || {
                let answer = http.get("/nothing");
                let wait = answer
                    .header("Retry-After")
                    .map_or(0, |it| it.parse().expect("seconds"));
                // Three seconds for each message that was too much, but for what has come back meanwhile.
                answer.status == 429 && (had == 1 || wait >= 3 * owed - 20)
            });
        }
    });
}

#[test]
fn without_the_store_each_instance_counts_for_itself() {
    let mut store = Valkey::start();
    let port = store.port().to_string();
    let backend = ["--storage-backend", "valkey", "--valkey-port", &port];
    let server = Server::start(&[&backend[..], &["--rate-limit-per-client", "20"]].concat());
    server.wait_until_ready();
    let mut http = Http::open(server.addr());
    assert_eq!(publish(&mut http, &[]).status, 201);
    store.kill();
    server.wait_until_unready();
    let left = standing(&http.get("/nothing")).1;
    for expected in (0..left).rev() {
        assert_eq!(standing(&http.get("/nothing")).1, expected);
    }
    http.get("/nothing")
        .assert_error(429, "RATE_LIMIT_EXCEEDED");
}

#[test]
fn what_a_websocket_asks_for_is_charged_also_without_a_credential() {
    everywhere(|place| {
        let flags = ["--rate-limit-per-client", "3"];
        let server = place.launch(&flags);
        let open = |server: &Server, headers: &[(&str, &str)]| {
            let bytes = handshake_with(server.addr(), headers);
            let (mut wire, answer) = Wire::handshake(server.addr(), bytes);
            assert_eq!(answer.status, 101);
            wire.send(0x81, subscribe("t").as_bytes());
            assert_eq!(wire.read_json()["type"], "subscribed");
            wire
        };
        let mut wire = open(&server, &[]);
        for topic in ["u", "v"] {
            wire.send(0x81, subscribe(topic).as_bytes());
            assert_eq!(wire.read_json()["type"], "subscribed");
        }
        wire.send(0x81, subscribe("w").as_bytes());
        assert_eq!(wire.read_json()["code"], "RATE_LIMIT_EXCEEDED");
        wire.assert_alive();

        // Nobody else is charged for who comes through a proxy.
        let trusting = [&flags[..], &["--trusted-proxies", "127.0.0.1"]].concat();
        let server = place.launch(&trusting);
        let mut wire = open(&server, &[("X-Forwarded-For", "203.0.113.7")]);
        for topic in ["u", "v", "w", "x"] {
            wire.send(0x81, subscribe(topic).as_bytes());
            assert_eq!(wire.read_json()["type"], "subscribed");
        }
    });
}
