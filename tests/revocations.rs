//! Tokens that are called back before their end.

use serde_json::{Value, json};
use test_util::bearer::{ask, subscribed};
use test_util::everywhere::{Place, everywhere};
use test_util::tokens::{TOKEN_FLAGS, now_unix, token};
use test_util::{DEADLINE, Http, Response, Server, Stream, wait_until};

fn revoke(server: &Server, credential: &str, what: &Value) -> Response {
    let bearer = format!("Bearer {credential}");
    let headers = [
        ("Authorization", &*bearer),
        ("Content-Type", "application/json"),
    ];
    Http::open(server.addr()).request(
        "POST",
        "/api/v1/revocations",
        &headers,
        what.to_string().as_bytes(),
    )
}

fn admin() -> String {
    token(600, &json!({"sub": "root", "permissions": ["admin"]}))
}

#[test]
fn what_rests_on_a_token_that_is_called_back_ends_at_once() {
    everywhere(|place| {
        let server = place.start(&TOKEN_FLAGS);
        let called_back = token(600, &json!({"jti": "one"}));
        let other = token(600, &json!({"jti": "other"}));
        let bearer = format!("Bearer {called_back}");
        let header = [("Authorization", &*bearer)];
        let mut wires: Vec<_> = (0..8)
            .map(|_| subscribed(server.addr(), &called_back))
            .collect();
        let mut staying = subscribed(server.addr(), &other);
        let mut stream = Stream::open_with(server.addr(), "/api/v1/stream?topics=t", &header);
        stream.expect_event("subscribed");
        let mut poll = Http::open(server.addr());
        let request = poll.encode("GET", "/api/v1/poll?topics=t&timeout=60", &header, b"");
        poll.send(request);

        let answer = revoke(&server, &admin(), &json!({"token_id": "one"}));
        assert_eq!((answer.status, &*answer.text()), (204, ""));
        for wire in &mut wires {
            assert_eq!(wire.read_json()["code"], "UNAUTHORIZED");
            wire.expect_close(4001);
        }
        let (_, last) = stream.expect_event("close");
        assert_eq!(
            (&last["code"], &last["reason"]),
            (&json!(4001), &json!("revoked"))
        );
        poll.read_response().assert_error(401, "UNAUTHORIZED");
        let again = ask(server.addr(), &called_back);
        again.assert_error(401, "UNAUTHORIZED");
        assert!(again.text().contains("was revoked"), "{}", again.text());

        assert_eq!(ask(server.addr(), &other).status, 200);
        let body = br#"{"topic":"t","payload":{"is":1}}"#;
        let bearer = format!("Bearer {other}");
        let headers = [("Authorization", &*bearer)];
        let sent = Http::open(server.addr()).request("POST", "/api/v1/messages", &headers, body);
        assert_eq!(sent.status, 201);
        assert_eq!(staying.read_json()["payload"]["is"], 1);
    });
}

#[test]
fn a_subject_loses_the_tokens_that_it_has_and_may_have_new_ones() {
    everywhere(|place| {
        let server = place.start(&TOKEN_FLAGS);
        let old = [
            token(600, &json!({})),
            token(600, &json!({"iat": now_unix()})),
            token(600, &json!({"iat": now_unix() - 50, "jti": "x"})),
        ];
        let others = token(600, &json!({"sub": "bob"}));
        for token in &old {
            assert_eq!(ask(server.addr(), token).status, 200);
        }
        let answer = revoke(&server, &admin(), &json!({"subject": "ann"}));
        assert_eq!(answer.status, 204);
        for token in &old {
            ask(server.addr(), token).assert_error(401, "UNAUTHORIZED");
        }
        assert_eq!(ask(server.addr(), &others).status, 200);
        // One that is issued in another second than this one.
        let new = token(600, &json!({"iat": now_unix() + 2}));
        assert_eq!(ask(server.addr(), &new).status, 200);
    });
}

#[test]
fn everybody_may_call_back_his_own_tokens_and_no_others() {
    everywhere(|place| {
        let server = place.start(&TOKEN_FLAGS);
        let [mine, another, others] = [
            token(600, &json!({"permissions": []})),
            token(601, &json!({})),
            token(600, &json!({"sub": "bob"})),
        ];
        let by = |credential: &str, what: Value| revoke(&server, credential, &what);
        by(&mine, json!({"token": others})).assert_error(403, "FORBIDDEN");
        by(&mine, json!({"token": "a.b.c"})).assert_error(403, "FORBIDDEN");
        by(&mine, json!({"token_id": "x"})).assert_error(403, "FORBIDDEN");
        by(&mine, json!({"subject": "bob"})).assert_error(403, "FORBIDDEN");
        assert_eq!(ask(server.addr(), &others).status, 200);

        assert_eq!(by(&mine, json!({"token": another})).status, 204);
        ask(server.addr(), &another).assert_error(401, "UNAUTHORIZED");
        assert_eq!(by(&mine, json!({"token": mine})).status, 204);
        by(&mine, json!({"token": mine})).assert_error(401, "UNAUTHORIZED");
        assert_eq!(by(&others, json!({"subject": "bob"})).status, 204);
        ask(server.addr(), &others).assert_error(401, "UNAUTHORIZED");
        // Twice is as good as once.
        assert_eq!(by(&admin(), json!({"token": mine})).status, 204);
    });
}

#[test]
fn what_cannot_be_called_back_is_said() {
    let key = "key:read:sha256:2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b";
    let server = Server::start(&[&TOKEN_FLAGS[..], &["--api-keys", key]].concat());
    let by_admin = |what: Value| revoke(&server, &admin(), &what);
    for what in [
        json!({}),
        json!({"token": "x", "subject": "y"}),
        json!({"token": 1}),
        json!({"subject": ""}),
        json!({"subject": "x", "expires_at": "soon"}),
    ] {
        by_admin(what).assert_error(422, "VALIDATION_ERROR");
    }
    let expired = token(0, &json!({}));
    let answer = by_admin(json!({"token": expired}));
    answer.assert_error(400, "INVALID_REQUEST");
    assert!(answer.text().contains("has expired"), "{}", answer.text());
    let answer = by_admin(json!({"token": "secret"}));
    answer.assert_error(400, "INVALID_REQUEST");
    assert!(answer.text().contains("API keys"), "{}", answer.text());
    assert!(!answer.text().contains("secret"));

    let open = Server::start(&[]);
    revoke(&open, "x", &json!({"subject": "ann"})).assert_error(400, "INVALID_REQUEST");
}

#[test]
fn instances_tell_each_other() {
    for place in [Place::behind_memory("2"), Place::on_a_cluster("2")] {
        an_instance_tells_others(&place);
    }
}

fn an_instance_tells_others(place: &Place) {
    let (one, other) = (place.start(&TOKEN_FLAGS), place.start(&TOKEN_FLAGS));
    let [by_id, of_bob, staying] = [
        token(600, &json!({"jti": "one"})),
        token(600, &json!({"sub": "bob"})),
        token(600, &json!({"sub": "eve"})),
    ];
    let mut wires = [&by_id, &of_bob].map(|token| subscribed(other.addr(), token));
    let end = now_unix() + 600;
    let what = json!({"token_id": "one", "expires_at": end});
    assert_eq!(revoke(&one, &admin(), &what).status, 204);
    let what = json!({"subject": "bob"});
    assert_eq!(revoke(&one, &admin(), &what).status, 204);
    for wire in &mut wires {
        assert_eq!(wire.read_json()["code"], "UNAUTHORIZED");
        wire.expect_close(4001);
    }
    for token in [&by_id, &of_bob] {
        ask(other.addr(), token).assert_error(401, "UNAUTHORIZED");
    }
    assert_eq!(ask(other.addr(), &staying).status, 200);

    // One that comes later hears of it too.
    let later = place.start(&TOKEN_FLAGS);
    wait_until("it has heard", DEADLINE, || {
        [&by_id, &of_bob]
            .iter()
            .all(|token| ask(later.addr(), token).status == 401)
    });
    assert_eq!(ask(later.addr(), &staying).status, 200);
}
