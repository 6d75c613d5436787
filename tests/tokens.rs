//! Access tokens: which are accepted, and what ends with them.

use std::fs;
use std::time::Duration;

use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::json;
use test_util::bearer::{ask, subscribed};
use test_util::everywhere::everywhere;
use test_util::tokens::{SECRET, TOKEN_FLAGS, now_unix, token};
use test_util::wire::handshake_with;
use test_util::{DEADLINE, Http, Program, Server, Stream, Wire, with_workers};

const KEYS: &str = "src/access/jwt/verifier/tests";

#[test]
fn tokens_that_hold_are_accepted_and_no_others() {
    with_workers(|workers| {
        let terms = [
            "--jwt-issuer",
            "us,them",
            "--jwt-audience",
            "proxy",
            "--workers",
            workers,
        ];
        let server = Server::start(&[&TOKEN_FLAGS[..], &terms].concat());
        let terms = json!({"iss": "them", "aud": ["x", "proxy"]});
        let right = token(60, &terms);
        for _ in 0..3 {
            assert_eq!(ask(server.addr(), &right).status, 200);
        }
        let (head, tail) = right.split_at(right.len() - 4);
        let none = "eyJhbGciOiJub25lIn0";
        let claims = right.split('.').nth(1).expect("the claims");
        for (wrong, sentence) in [
            (token(60, &json!({"aud": "proxy"})), "another issuer"),
            (token(60, &json!({"iss": "us"})), "another audience"),
            (
                token(60, &json!({"iss": "us", "aud": "proxy", "exp": 1})),
                "has expired",
            ),
            (
                token(60, &json!({"iss": "us", "aud": "proxy", "exp": null})),
                "no exp claim",
            ),
            (token(60, &json!({"nbf": now_unix() + 30})), "not valid yet"),
            (format!("{head}{}", tail.to_lowercase() + "x"), ""),
            (format!("{none}.{claims}."), "not signed in a way"),
            (format!("{none}.{claims}.{tail}"), "not signed in a way"),
            (
                format!("{right}{}", "x".repeat(9000)),
                "longer than 8192 bytes",
            ),
            ("a.b.c".to_owned(), ""),
            ("x".to_owned(), "not known"),
        ] {
            let answer = ask(server.addr(), &wrong);
            answer.assert_error(401, "UNAUTHORIZED");
            assert!(answer.text().contains(sentence), "{}", answer.text());
        }
        let denied = token(
            60,
            &json!({"iss": "us", "aud": "proxy", "permissions": ["write"]}),
        );
        ask(server.addr(), &denied).assert_error(403, "FORBIDDEN");
    });
}

#[test]
fn what_rests_on_a_token_ends_with_it() {
    everywhere(|place| {
        let server = place.start(&TOKEN_FLAGS);
        let short = token(4, &json!({}));
        let credential = format!("Bearer {short}");
        let header = [("Authorization", &*credential)];
        let mut wire = subscribed(server.addr(), &short);
        // It ends so soon that the word comes at once.
        assert_eq!(wire.read_json()["type"], "auth_expiring");
        let mut stream = Stream::open_with(server.addr(), "/api/v1/stream?topics=t", &header);
        stream.expect_event("subscribed");
        let mut poll = Http::open(server.addr());
        let request = poll.encode("GET", "/api/v1/poll?topics=t&timeout=60", &header, b"");
        poll.send(request);

        let error = wire.read_json();
        assert_eq!(error["code"], "UNAUTHORIZED");
        wire.expect_close(4001);
        let late = now_unix();
        let (_, last) = stream.expect_event("close");
        assert_eq!(
            (&last["code"], &last["reason"]),
            (&json!(4001), &json!("expired"))
        );
        stream.expect_end();
        poll.read_response().assert_error(401, "UNAUTHORIZED");
        ask(server.addr(), &short).assert_error(401, "UNAUTHORIZED");
        // To the second, and the time that a loaded machine takes.
        assert!(now_unix() - late < DEADLINE.as_secs());
    });
}

#[test]
fn a_token_is_renewed_while_messages_flow() {
    everywhere(|place| {
        let server = place.start(&TOKEN_FLAGS);
        let mut wire = subscribed(server.addr(), &token(5, &json!({})));
        assert_eq!(wire.read_json()["type"], "auth_expiring");
        let longer = token(3600, &json!({}));
        wire.send(
            0x81,
            json!({"type": "auth", "token": longer})
                .to_string()
                .as_bytes(),
        );
        let told = wire.read_json();
        assert_eq!(told["type"], "authenticated");
        let end = told["expires_at"].as_str().expect("a time");
        assert!(end.len() == 27 && end.ends_with(".000000Z"), "{end}");
        let publisher = format!("Bearer {longer}");
        let headers = [("Authorization", &*publisher)];
        let publish = || {
            let body = br#"{"topic":"t","payload":{}}"#;
            Http::open(server.addr()).request("POST", "/api/v1/messages", &headers, body)
        };
        // Past the end of the first token.
        let until = now_unix() + 6;
        while now_unix() < until {
            assert_eq!(publish().status, 201);
            assert_eq!(wire.read_json()["type"], "message");
            std::thread::sleep(Duration::from_millis(200));
        }
    });
}

#[test]
fn tokens_of_a_key_that_is_taken_away_end_at_once() {
    everywhere(|place| {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("keys.pem");
        let public = |name: &str| fs::read(format!("{KEYS}/{name}.pub.pem")).expect("a key");
        fs::write(&path, public("ed25519")).expect("the file is written");
        let server = place.start(&["--jwt-public-key", path.to_str().expect("a path of text")]);
        let sign = |name: &str, algorithm| {
            let pem = fs::read(format!("{KEYS}/{name}.pem")).expect("a key");
            let key = match algorithm {
                Algorithm::EdDSA => EncodingKey::from_ed_pem(&pem),
                _ => EncodingKey::from_ec_pem(&pem),
            };
            let claims = json!({"exp": now_unix() + 600, "permissions": "read"});
            encode(&Header::new(algorithm), &claims, &key.expect("a key")).expect("it is signed")
        };
        let (old, new) = (
            sign("ed25519", Algorithm::EdDSA),
            sign("p256", Algorithm::ES256),
        );
        ask(server.addr(), &new).assert_error(401, "UNAUTHORIZED");
        let mut wire = subscribed(server.addr(), &old);
        fs::write(&path, public("p256")).expect("the file is written");
        server.signal("HUP");
        assert_eq!(wire.read_json()["code"], "UNAUTHORIZED");
        wire.expect_close(4001);
        ask(server.addr(), &old).assert_error(401, "UNAUTHORIZED");
        let mut wire = subscribed(server.addr(), &new);
        // The file is looked at also without a signal.
        fs::write(&path, public("ed25519")).expect("the file is written");
        assert_eq!(wire.read_json()["code"], "UNAUTHORIZED");
        wire.expect_close(4001);
        subscribed(server.addr(), &old);
    });
}

#[test]
fn no_credential_is_in_logs_metrics_or_answers() {
    everywhere(|place| {
        let server = place.start(
            &[
                &TOKEN_FLAGS[..],
                &["--log-level", "DEBUG", "--allow-query-token"],
            ]
            .concat(),
        );
        let (right, wrong) = (token(60, &json!({})), "secret-of-nobody.x.y".to_owned());
        let mut seen = String::new();
        for credential in [&right, &wrong] {
            seen += &ask(server.addr(), credential).text();
            seen += &server
                .get(&format!(
                    "/api/v1/poll?topics=t&timeout=0&token={credential}"
                ))
                .text();
            seen += &server
                .get(&format!("/nothing/{credential}?token={credential}"))
                .text();
            let offer = format!("bearer, bearer.{credential}");
            let bytes = handshake_with(server.addr(), &[("Sec-WebSocket-Protocol", &offer)]);
            let (_, answer) = Wire::handshake(server.addr(), bytes);
            seen += &format!("{answer:?}");
        }
        let mut wire = subscribed(server.addr(), &right);
        wire.send(
            0x81,
            json!({"type": "auth", "token": wrong})
                .to_string()
                .as_bytes(),
        );
        seen += &wire.read_json().to_string();
        server.signal("HUP");
        seen += &server.get("/metrics").text();
        seen += &server.log();
        let parts = right.split('.').chain(["secret-of-nobody", SECRET]);
        for part in parts {
            assert!(!seen.contains(part), "{part} is in {seen}");
        }
    });
}

#[test]
fn wrong_keys_stop_the_start() {
    for (flags, sentence) in [
        (
            ["--jwt-secret-key", "hunter2"],
            "the secret is shorter than 32 bytes",
        ),
        (["--jwt-secret-key", ""], "a secret of at least 32 bytes"),
        (["--jwt-public-key", "Cargo.toml"], "there is no public key"),
        (
            ["--jwt-public-key", &format!("{KEYS}/rsa.pem")],
            "there is a private key",
        ),
        (["--jwt-jwks", "Cargo.toml"], "this is no JSON Web Key Set"),
        (["--jwt-jwks", "/nowhere"], "No such file"),
    ] {
        let directory = std::env::current_dir().expect("a directory");
        let (code, said) = Program::new(&flags).directory(directory).run();
        assert_eq!(code, Some(2), "{said}");
        assert!(
            said.contains(sentence) && !said.contains("hunter2"),
            "{said}"
        );
    }
}
