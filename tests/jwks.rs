//! Key sets that are fetched: keys come and go while the server runs, and the set is not always there.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Value, json};
use test_util::bearer::{ask, subscribed};
use test_util::{DEADLINE, Server, wait_until, with_workers};

/// A server of key sets: gives what it is told to, and counts who asks.
struct Issuer {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    /// Whole answers; nothing is answered to nobody.
    answer: Vec<u8>,
    asked: usize,
}

impl Issuer {
    fn new() -> Issuer {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port is free");
        let address = listener.local_addr().expect("it is bound");
        let state = Arc::new(Mutex::new(State::default()));
        let shared = Arc::clone(&state);
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                // What goes wrong is seen by who asked.
                let _ = answer(stream, &shared);
            }
        });
        Issuer { address, state }
    }

    fn url(&self) -> String {
        format!("http://user:hunter2@{}/keys", self.address)
    }

    fn gives(&self, status: &str, headers: &str, body: &str) {
        let head = format!(
            "HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {}",
            body.len()
        );
        let answer = format!("{head}\r\n{headers}\r\n{body}");
        self.state().answer = answer.into_bytes();
    }

    fn gives_keys(&self, ids: &[&str]) {
        let key = |id: &&str| json!({"kty": "oct", "alg": "HS256", "kid": id, "k": URL_SAFE_NO_PAD.encode(secret(id))});
        let keys: Vec<Value> = ids.iter().map(key).collect();
        self.gives("200 OK", "", &json!({"keys": keys}).to_string());
    }

    fn asked(&self) -> usize {
        self.state().asked
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn answer(mut stream: TcpStream, state: &Mutex<State>) -> Option<()> {
    let mut head = BufReader::new(stream.try_clone().ok()?).lines();
    while !head.next()?.ok()?.is_empty() {}
    let answer = {
        let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
        state.asked += 1;
        state.answer.clone()
    };
    stream.write_all(&answer).ok()
}

fn secret(id: &str) -> String {
    format!("{id}: a secret of more than 32 bytes")
}

fn token(id: &str) -> String {
    let header = Header {
        kid: Some(id.to_owned()),
        ..Header::new(Algorithm::HS256)
    };
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("a time after 1970");
    let claims = json!({"sub": "ann", "exp": now.as_secs() + 600, "permissions": "read write"});
    encode(
        &header,
        &claims,
        &EncodingKey::from_secret(secret(id).as_bytes()),
    )
    .expect("it is signed")
}

fn start(issuer: &Issuer, more: &[&str]) -> Server {
    let url = issuer.url();
    let flags = ["--jwt-jwks", &url, "--jwt-jwks-refresh", "1"];
    Server::start(&[&flags[..], more].concat())
}

#[test]
fn keys_come_and_go_with_the_set() {
    with_workers(|workers| {
        let issuer = Issuer::new();
        issuer.gives_keys(&["old"]);
        let server = start(&issuer, &["--workers", workers]);
        assert_eq!(ask(server.addr(), &token("old")).status, 200, "at once");
        ask(server.addr(), &token("new")).assert_error(401, "UNAUTHORIZED");
        let mut stays = subscribed(server.addr(), &token("old"));
        issuer.gives_keys(&["old", "new"]);
        wait_until("the new key is there", DEADLINE, || {
            ask(server.addr(), &token("new")).status == 200
        });
        let mut other = subscribed(server.addr(), &token("new"));

        issuer.gives_keys(&["new"]);
        // What rests on a key that has gone ends with it.
        assert_eq!(stays.read_json()["code"], "UNAUTHORIZED");
        stays.expect_close(4001);
        ask(server.addr(), &token("old")).assert_error(401, "UNAUTHORIZED");
        other.assert_alive();

        // Files are read again without another fetch, and leave the fetched keys where they are.
        server.signal("HUP");
        wait_until("the signal is seen", DEADLINE, || {
            server.log().contains("read again")
        });
        assert_eq!(ask(server.addr(), &token("new")).status, 200);
        other.assert_alive();
        assert!(!server.log().contains("hunter2"));
    });
}

#[test]
fn unknown_keys_have_the_set_fetched_early_but_not_often() {
    let issuer = Issuer::new();
    issuer.gives_keys(&["known"]);
    let url = issuer.url();
    let server = Server::start(&[
        "--jwt-jwks",
        &url,
        "--jwt-jwks-refresh",
        "1h",
        "--workers",
        "4",
    ]);
    assert_eq!(issuer.asked(), 1);
    issuer.gives_keys(&["known", "later"]);
    for number in 0..500 {
        let unknown = format!("unknown-{number}");
        ask(server.addr(), &token(&unknown)).assert_error(401, "UNAUTHORIZED");
    }
    assert!(issuer.asked() <= 2, "{} fetches", issuer.asked());
    wait_until("the later key is there", DEADLINE, || {
        ask(server.addr(), &token("later")).status == 200
    });
    assert_eq!(issuer.asked(), 2);
}

#[test]
fn a_set_that_is_not_there_at_first_is_used_when_it_comes() {
    let issuer = Issuer::new();
    let server = start(&issuer, &[]);
    assert!(
        server.log().contains("cannot be fetched"),
        "{}",
        server.log()
    );
    ask(server.addr(), &token("key")).assert_error(401, "UNAUTHORIZED");
    assert_eq!(server.get("/ready").status, 200);
    issuer.gives_keys(&["key"]);
    wait_until("it is fetched", DEADLINE, || {
        ask(server.addr(), &token("key")).status == 200
    });
}

#[test]
fn a_set_that_goes_bad_leaves_the_last_good_one() {
    let issuer = Issuer::new();
    issuer.gives_keys(&["key"]);
    let server = start(&issuer, &[]);
    let large = " ".repeat(2 << 20);
    let away = format!("Location: http://{}/keys\r\n", issuer.address);
    for (status, headers, body, why) in [
        ("500 Internal Server Error", "", "", "the answer is 500"),
        ("200 OK", "", "{\"keys\":[]}", "no key for signatures"),
        ("200 OK", "", "<html>", "no JSON Web Key Set"),
        ("200 OK", "", &large, "more than"),
        ("302 Found", &away, "", "redirections"),
    ] {
        issuer.gives(status, headers, body);
        let said = server.log().matches("cannot be fetched").count();
        let is_said = || server.log().matches("cannot be fetched").count() > said;
        wait_until(why, DEADLINE, is_said);
        let log = server.log();
        let last = log
            .lines()
            .rfind(|line| line.contains("cannot be fetched"))
            .expect("it is said");
        assert!(last.contains(why), "{why}: {last}");
        assert_eq!(ask(server.addr(), &token("key")).status, 200);
        // It is said once until all is well again.
        issuer.gives_keys(&["key"]);
        let asked = issuer.asked();
        wait_until("it is fetched again", DEADLINE, || issuer.asked() > asked);
    }
}
