//! Tickets: credentials for one time, for clients that can send a URL and nothing else.

use serde_json::{Value, json};
use test_util::bearer::ask;
use test_util::everywhere::{Place, everywhere};
use test_util::tokens::{TOKEN_FLAGS, now_unix, token};
use test_util::wire::{encode, handshake_to, subscribe};
use test_util::{Http, Response, Server, Stream, Wire};

fn request(server: &Server, credential: &str) -> Response {
    let bearer = format!("Bearer {credential}");
    let headers = [("Authorization", &*bearer)];
    Http::open(server.addr()).request("POST", "/api/v1/tickets", &headers, b"")
}

fn ticket(server: &Server, credential: &str) -> String {
    let answer = request(server, credential);
    assert_eq!(answer.status, 201);
    assert_eq!(answer.header("Cache-Control"), Some("no-store"));
    let body: Value = answer.json();
    assert_eq!(body["expires_in"], 30);
    body["ticket"].as_str().expect("a text").to_owned()
}

fn stream_path(ticket: &str) -> String {
    format!("/api/v1/stream?topics=t&ticket={ticket}")
}

fn get(server: &Server, path: &str) -> Response {
    Http::open(server.addr()).get(path)
}

#[test]
fn a_ticket_opens_one_stream_or_websocket() {
    everywhere(|place| {
        let server = place.start(&TOKEN_FLAGS);
        let ann = token(600, &json!({}));
        for _ in 0..5 {
            let used = ticket(&server, &ann);
            let mut stream = Stream::open(server.addr(), &stream_path(&used));
            stream.expect_event("subscribed");
            let again = get(&server, &stream_path(&used));
            again.assert_error(401, "UNAUTHORIZED");
            assert!(again.text().contains("ticket"), "{}", again.text());
        }
        let used = ticket(&server, &ann);
        let path = format!("/ws?ticket={used}");
        let handshake = || Wire::handshake(server.addr(), handshake_to(server.addr(), &path));
        let (mut wire, answer) = handshake();
        assert_eq!(answer.status, 101);
        wire.send(0x81, subscribe("t").as_bytes());
        assert_eq!(wire.read_json()["type"], "subscribed");
        handshake().1.assert_error(401, "UNAUTHORIZED");
    });
}

#[test]
fn what_comes_right_behind_a_handshake_with_a_ticket_is_not_lost() {
    everywhere(|place| {
        let server = place.start(&TOKEN_FLAGS);
        let path = format!("/ws?ticket={}", ticket(&server, &token(600, &json!({}))));
        let mut bytes = handshake_to(server.addr(), &path);
        bytes.extend(encode(0x81, subscribe("t").as_bytes()));
        let (mut wire, answer) = Wire::handshake(server.addr(), bytes);
        assert_eq!(answer.status, 101);
        assert_eq!(wire.read_json()["type"], "subscribed");
    });
}

#[test]
fn guessing_tickets_is_charged() {
    everywhere(|place| {
        let flags = [&TOKEN_FLAGS[..], &["--rate-limit-per-client", "3"]].concat();
        let server = place.launch(&flags);
        let mut http = Http::open(server.addr());
        for number in 0..3 {
            let answer = http.get(&stream_path(&format!("guess-{number}")));
            answer.assert_error(401, "UNAUTHORIZED");
        }
        let answer = http.get(&stream_path("guess-4"));
        answer.assert_error(429, "RATE_LIMIT_EXCEEDED");
    });
}

#[test]
fn a_ticket_allows_what_its_owner_may_and_only_where_it_is_for() {
    everywhere(|place| {
        let server = place.start(&TOKEN_FLAGS);
        let narrow = token(600, &json!({"permissions": null, "subscribe": ["u"]}));
        let answer = get(&server, &stream_path(&ticket(&server, &narrow)));
        answer.assert_error(403, "FORBIDDEN");
        let writer = token(600, &json!({"permissions": ["write"]}));
        request(&server, &writer).assert_error(403, "FORBIDDEN");

        let ann = token(600, &json!({}));
        let unused = ticket(&server, &ann);
        for path in ["/api/v1/topics", "/api/v1/poll?topics=t&timeout=0"] {
            let mark = if path.contains('?') { '&' } else { '?' };
            let path = format!("{path}{mark}ticket={unused}");
            get(&server, &path).assert_error(401, "UNAUTHORIZED");
        }
        // A credential that is shown counts, and leaves the ticket as it is.
        let header = [("Authorization", "Bearer nobody's")];
        let refused = Http::open(server.addr()).request("GET", &stream_path(&unused), &header, b"");
        refused.assert_error(401, "UNAUTHORIZED");
        Stream::open(server.addr(), &stream_path(&unused)).expect_event("subscribed");
        for wrong in ["", "x", &unused.to_lowercase(), &"x".repeat(4000)] {
            get(&server, &stream_path(wrong)).assert_error(401, "UNAUTHORIZED");
        }
    });
}

#[test]
fn a_ticket_ends_with_the_credential_that_it_was_given_for() {
    everywhere(|place| {
        let server = place.start(&TOKEN_FLAGS);
        let ann = token(600, &json!({"jti": "1"}));
        let mut stream = Stream::open(server.addr(), &stream_path(&ticket(&server, &ann)));
        stream.expect_event("subscribed");
        let unused = ticket(&server, &ann);
        let bearer = format!("Bearer {ann}");
        let answer = Http::open(server.addr()).request(
            "POST",
            "/api/v1/revocations",
            &[
                ("Authorization", &*bearer),
                ("Content-Type", "application/json"),
            ],
            json!({ "token": ann }).to_string().as_bytes(),
        );
        assert_eq!(answer.status, 204);
        let (_, last) = stream.expect_event("close");
        assert_eq!(last["reason"], "revoked");
        get(&server, &stream_path(&unused)).assert_error(401, "UNAUTHORIZED");

        let short = token(2, &json!({}));
        let mut stream = Stream::open(server.addr(), &stream_path(&ticket(&server, &short)));
        stream.expect_event("subscribed");
        let (_, last) = stream.expect_event("close");
        assert_eq!(last["reason"], "expired");
        assert!(ask(server.addr(), &short).status == 401 && now_unix() > 0);
    });
}

#[test]
fn a_ticket_of_one_instance_is_good_on_another_and_once_on_all() {
    let place = Place::behind_memory("2");
    let (one, other) = (place.start(&TOKEN_FLAGS), place.start(&TOKEN_FLAGS));
    let ann = token(600, &json!({}));
    for servers in [[&one, &other], [&other, &one]] {
        let used = ticket(&one, &ann);
        let [first, second] = servers;
        Stream::open(first.addr(), &stream_path(&used)).expect_event("subscribed");
        get(second, &stream_path(&used)).assert_error(401, "UNAUTHORIZED");
        get(first, &stream_path(&used)).assert_error(401, "UNAUTHORIZED");
    }
}

#[test]
fn a_server_that_asks_for_no_credentials_gives_tickets_too() {
    let server = Server::start(&[]);
    let one = ticket(&server, "x");
    for _ in 0..2 {
        Stream::open(server.addr(), &stream_path(&one)).expect_event("subscribed");
    }
}
