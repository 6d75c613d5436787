//! What is said on a WebSocket.

use serde_json::json;

use super::client::{HANDSHAKE, SUBSCRIBE, client_frame, fragment, get, number};
use super::conversation::{Conversation, SUBSCRIPTIONS_MAX};
use crate::session::CloseReason;
use crate::ws::{CloseCode, Opcode};

#[test]
fn handshakes_that_do_not_open_it() {
    let text = String::from_utf8(HANDSHAKE.to_vec()).unwrap();
    let cases = [
        (text.replace("Version: 13", "Version: 8"), 426),
        (
            text.replace("Connection: keep-alive, Upgrade", "Connection: close"),
            426,
        ),
        (text.replace("HTTP/1.1", "HTTP/1.0"), 426),
        (text.replace("dGhl", "dG"), 400),
        (
            text.replace(
                "Upgrade: websocket\r\n",
                "Upgrade: websocket\r\nContent-Length: 1\r\n",
            ),
            400,
        ),
        (
            text.replace(
                "Host: localhost",
                "Host: localhost\r\nOrigin: http://evil.example",
            ),
            403,
        ),
        (text.replace("GET /ws", "GET /ws/nowhere"), 404),
    ];
    for (text, status) in cases {
        let mut conversation = Conversation::new();
        conversation.send(text.as_bytes());
        conversation.send(b"x");
        let answers = conversation.answers();
        assert_eq!(answers[0].status, status, "{text}");
        if status == 426 {
            assert_eq!(answers[0].header("Sec-WebSocket-Version"), Some("13"));
            assert_eq!(answers[0].error(), "UPGRADE_REQUIRED");
        }
    }
    let mut conversation = Conversation::new();
    conversation.send(&[get("/ws"), get("/health"), HANDSHAKE.to_vec()].concat());
    let statuses: Vec<u16> = conversation.answers().iter().map(|it| it.status).collect();
    assert_eq!(
        statuses,
        [426, 200, 101],
        "a refusal does not end the connection"
    );
}

#[test]
fn only_bearer_is_ever_chosen() {
    for (offered, chosen) in [("bearer, bearer.x", Some("bearer")), ("mqtt", None)] {
        let field = format!("\r\nSec-WebSocket-Protocol: {offered}\r\n\r\n");
        let text = String::from_utf8(HANDSHAKE.to_vec()).unwrap();
        let mut conversation = Conversation::new();
        conversation.send(text.replace("\r\n\r\n", &field).as_bytes());
        assert_eq!(
            conversation.answer().header("Sec-WebSocket-Protocol"),
            chosen
        );
    }
}

#[test]
fn bytes_behind_the_handshake_belong_to_the_websocket() {
    let mut conversation = Conversation::new();
    let subscribe = client_frame(Opcode::Text, SUBSCRIBE.as_bytes());
    let ping = client_frame(Opcode::Text, br#"{"type":"ping"}"#);
    conversation.send(&[get("/health"), HANDSHAKE.to_vec(), subscribe, ping].concat());
    assert_eq!(conversation.answer_to(false).status, 200);
    assert_eq!(conversation.answer_to(false).status, 101);
    let [subscribed, pong] = &conversation.messages()[..] else {
        panic!("two messages");
    };
    assert_eq!(
        (&subscribed["type"], &pong["type"]),
        (&json!("subscribed"), &json!("pong"))
    );
}

#[test]
fn the_first_message_must_be_a_subscribe() {
    let wrong = [
        r#"{"type":"ping"}"#,
        r#"{"type":"unsubscribe","topics":["a"]}"#,
        r#"{"type":"subscribe","topics":[],"client_id":"c"}"#,
        r#"{"type":"subscribe","topics":["a"]}"#,
        r#"{"type":"subscribe","topics":["a"],"client_id":"c","offset":"msg_x"}"#,
        r#"{"type":"subscribe","topics":["a"],"client_id":"c","window":0}"#,
        r#"{"topics":["a b"],"client_id":"c"}"#,
        "[]",
        "no JSON",
        "",
    ];
    let frames = wrong.map(|text| client_frame(Opcode::Text, text.as_bytes()));
    let binary = client_frame(Opcode::Binary, SUBSCRIBE.as_bytes());
    for bytes in frames.into_iter().chain([binary]) {
        let mut conversation = Conversation::open();
        conversation.send(&bytes);
        refused(&mut conversation);
        assert_eq!(conversation.errors, ["SUBSCRIPTION_ERROR"]);
        conversation.say(SUBSCRIBE);
        assert!(conversation.output.is_empty(), "it is too late");
    }
}

/// Reads a `SUBSCRIPTION_ERROR` and the close frame behind it.
fn refused(conversation: &mut Conversation) {
    let (frames, code, _) = conversation.hear_close();
    let [(1, error)] = &frames[..] else {
        panic!("one message: {frames:?}");
    };
    let error: serde_json::Value = serde_json::from_slice(error).unwrap();
    assert_eq!(
        (&error["type"], &error["code"]),
        (&json!("error"), &json!("SUBSCRIPTION_ERROR"))
    );
    let message = error["message"].as_str().unwrap();
    assert!(message.starts_with("Failed to subscribe"), "{message}");
    assert_eq!(code, number(CloseCode::NORMAL));
    assert_eq!(conversation.closed, Some(CloseReason::SubscribeFailed));
}

#[test]
fn the_first_subscribe_is_due_within_ten_seconds() {
    let mut conversation = Conversation::open();
    // Neither control frames nor half a message keep it open, and the server does not ping.
    conversation.send(&client_frame(Opcode::Ping, b""));
    conversation.send(&fragment(Opcode::Text, false, b"{"));
    conversation.pass(9_999_999);
    assert_eq!(conversation.frames(), [(10, vec![])]);
    conversation.pass(1);
    refused(&mut conversation);

    let mut in_time = Conversation::open();
    in_time.pass(9_999_999);
    in_time.say(&SUBSCRIBE.replace(r#""type":"subscribe","#, ""));
    assert_eq!(
        in_time.hear()["type"],
        "subscribed",
        "the type may be left out"
    );
    in_time.pass(2);
    assert!(in_time.closed.is_none());
}

#[test]
fn subscribed_tells_what_was_asked() {
    let mut conversation = Conversation::open();
    conversation.say(r#"{"type":"subscribe","topics":["b","a","b"],"client_id":"c"}"#);
    let subscribed = conversation.hear();
    assert_eq!(subscribed["topics"], json!(["b", "a", "b"]));
    assert_eq!(subscribed["timestamp"], "2026-01-31T12:00:00.000000Z");
    assert!(
        subscribed["session_id"]
            .as_str()
            .unwrap()
            .starts_with("sess_")
    );
    assert_eq!(subscribed.as_object().unwrap().len(), 4);

    conversation.say(r#"{"type":"subscribe","topics":["d"],"client_id":"c","on_lag":"skip"}"#);
    let more = conversation.hear();
    assert!(more["positions"]["d"].as_str().unwrap().starts_with("msg_"));
    assert_eq!(more["recovered"], json!({"d": true}));
}

#[test]
fn messages_are_delivered_from_where_the_subscription_starts() {
    let mut conversation = Conversation::open();
    conversation.publish(r#"{"topic":"a","payload":{"n":1}}"#);
    conversation.publish(r#"{"topic":"a","payload":{"n":2},"metadata":{"k":"v"}}"#);
    conversation.say(r#"{"topics":["a"],"client_id":"c","offset":"earliest"}"#);
    conversation.publish(r#"{"topic":"b","payload":{}}"#);
    conversation.publish(r#"{"topic":"a","payload":{"n":3}}"#);
    let messages = conversation.messages();
    let numbers: Vec<_> = messages[1..]
        .iter()
        .map(|it| it["payload"]["n"].clone())
        .collect();
    assert_eq!(numbers, [1, 2, 3]);
    assert_eq!(messages[1]["metadata"], json!(null));
    assert_eq!(messages[2]["metadata"], json!({"k": "v"}));

    let mut resumed = Conversation::open();
    for number in 1..=3 {
        resumed.publish(&format!(r#"{{"topic":"a","payload":{{"n":{number}}}}}"#));
    }
    // The same store in the same state: the id of the first message.
    let id = &messages[1]["message_id"];
    resumed.say(&format!(
        r#"{{"topics":["a"],"client_id":"c","offset":{id}}}"#
    ));
    let messages = resumed.messages();
    assert_eq!(messages[0]["recovered"], json!({"a": true}));
    assert_eq!(messages.len(), 3, "the second and third: {messages:?}");
}

#[test]
fn what_is_lost_is_told_behind_the_answer() {
    let mut conversation = Conversation::open();
    for number in 0..150 {
        conversation.publish(&format!(r#"{{"topic":"a","payload":{{"n":{number}}}}}"#));
    }
    let old = "msg_00000000000000000000000000000";
    conversation.say(&format!(
        r#"{{"topics":["a"],"client_id":"c","offset":"{old}0"}}"#
    ));
    let messages = conversation.messages();
    assert_eq!(messages[0]["type"], "subscribed");
    assert_eq!(messages[0]["recovered"], json!({"a": false}));
    assert_eq!(messages[1]["type"], "gap");
    assert_eq!(
        messages[2]["payload"]["n"], 50,
        "the oldest of 100 that are kept"
    );
    assert_eq!(messages.len(), 102);
}

#[test]
fn later_subscribes_add_and_unsubscribes_take_away() {
    let mut conversation = Conversation::subscribed();
    conversation.say(r#"{"type":"subscribe","topics":["b","a"],"client_id":"c"}"#);
    conversation.publish(r#"{"topic":"b","payload":{}}"#);
    conversation.say(r#"{"type":"unsubscribe","topics":["a","nowhere"]}"#);
    conversation.publish(r#"{"topic":"a","payload":{}}"#);
    conversation.say(r#"{"type":"unsubscribe","topics":["b"]}"#);
    conversation.publish(r#"{"topic":"b","payload":{}}"#);
    let messages = conversation.messages();
    let types: Vec<&str> = messages
        .iter()
        .map(|it| it["type"].as_str().unwrap())
        .collect();
    assert_eq!(
        types,
        ["subscribed", "message", "unsubscribed", "unsubscribed"]
    );
    assert_eq!(messages[2]["topics"], json!(["a", "nowhere"]));
    conversation.pass(15_000_000);
    assert!(
        conversation.closed.is_none(),
        "it stays open without topics"
    );
}

#[test]
fn later_errors_do_not_end_it() {
    let mut conversation = Conversation::subscribed();
    let cases = [
        (r#"{"type":"shout"}"#, "UNKNOWN_MESSAGE_TYPE"),
        (r#"{"type":"nack","message_id":5}"#, "PROCESSING_ERROR"),
        (r#"{"type":"auth","token":""}"#, "PROCESSING_ERROR"),
        (r#"{"topics":["a"],"client_id":"c"}"#, "PROCESSING_ERROR"),
        (r#"{"type":"subscribe","topics":["a"]}"#, "PROCESSING_ERROR"),
        (
            r#"{"type":"subscribe","topics":["b"],"client_id":"c","window":0}"#,
            "PROCESSING_ERROR",
        ),
        (
            r#"{"type":"subscribe","topics":["b"],"client_id":"c","offset":"x"}"#,
            "SUBSCRIPTION_ERROR",
        ),
        (r#"{"type":"ack"}"#, "PROCESSING_ERROR"),
        ("[]", "PROCESSING_ERROR"),
        ("{", "PROCESSING_ERROR"),
    ];
    for (text, code) in cases {
        conversation.say(text);
        let error = conversation.hear();
        assert_eq!(
            (&error["type"], &error["code"]),
            (&json!("error"), &json!(code)),
            "{text}"
        );
        assert_eq!(error.as_object().unwrap().len(), 4);
    }
    conversation.send(&client_frame(Opcode::Binary, b"{}"));
    assert_eq!(conversation.hear()["code"], "PROCESSING_ERROR");
    assert_eq!(conversation.errors.len(), cases.len() + 1);
    conversation.say(r#"{"type":"ack","message_id":"anything"}"#);
    assert!(conversation.output.is_empty(), "an ack is not answered");
    conversation.say(r#"{"type":"ping"}"#);
    assert_eq!(
        conversation.hear()["timestamp"],
        "2026-01-31T12:00:00.000000Z"
    );
}

#[test]
fn a_subscribe_is_done_whole_or_not_at_all() {
    let names = |from: usize, to: usize| {
        let names: Vec<String> = (from..to).map(|n| format!("t{n}")).collect();
        json!({"type": "subscribe", "topics": names, "client_id": "c"}).to_string()
    };
    let mut conversation = Conversation::open();
    conversation.say(&names(0, 50));
    assert_eq!(conversation.hear()["type"], "subscribed");
    conversation.say(&names(50, SUBSCRIPTIONS_MAX + 1));
    assert_eq!(conversation.hear()["code"], "LIMIT_EXCEEDED");
    conversation.publish(r#"{"topic":"t50","payload":{}}"#);
    assert!(
        conversation.output.is_empty(),
        "none of the refused ones is subscribed"
    );
    conversation.say(&names(50, SUBSCRIPTIONS_MAX));
    assert_eq!(conversation.hear()["type"], "subscribed");
}

#[test]
fn compression_is_agreed_on_where_it_is_offered_and_allowed() {
    let offer = "Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=12\r\n";
    let upgrade = |limits: &dyn Fn(&mut Conversation)| {
        let mut conversation = Conversation::new();
        limits(&mut conversation);
        let handshake = String::from_utf8(HANDSHAKE.to_vec()).unwrap();
        conversation.send(
            handshake
                .replace("Upgrade: w", &format!("{offer}Upgrade: w"))
                .as_bytes(),
        );
        let answer = conversation.answer();
        assert_eq!(answer.status, 101);
        let extensions = answer.header("Sec-WebSocket-Extensions");
        (conversation, extensions.map(str::to_owned))
    };
    let (mut agreed, extensions) = upgrade(&|_| {});
    let expected = "permessage-deflate; server_no_context_takeover; client_no_context_takeover; \
                    server_max_window_bits=12";
    assert_eq!(extensions.as_deref(), Some(expected));
    let mut ping = client_frame(
        Opcode::Text,
        b"\xaa\x56\x2a\xa9\x2c\x48\x55\xb2\x52\x2a\xc8\xcc\x4b\x57\xaa\x05\x00",
    );
    ping[0] |= 0x40;
    agreed.send(&ping);
    assert_eq!(
        agreed.hear_close().1,
        number(CloseCode::NORMAL),
        "understood, but no subscribe"
    );

    let (mut off, extensions) = upgrade(&|it| it.limits.has_compression = false);
    assert_eq!(extensions, None);
    off.send(&ping);
    assert_eq!(off.hear_close().1, number(CloseCode::PROTOCOL_ERROR));

    let budget = agreed.store.budget();
    let excess = 2 * budget.bytes_max() as usize;
    budget.adjust(0, excess);
    let (_, extensions) = upgrade(&|_| {});
    budget.adjust(excess, 0);
    assert_eq!(extensions, None, "memory is short");
}

#[test]
fn the_echo_sends_messages_back() {
    let mut conversation = Conversation::new();
    let handshake = String::from_utf8(HANDSHAKE.to_vec()).unwrap();
    conversation.send(handshake.replace("GET /ws", "GET /ws/echo").as_bytes());
    assert_eq!(conversation.answer().status, 101);
    conversation.send(&client_frame(Opcode::Text, b"no JSON"));
    conversation.send(&client_frame(Opcode::Binary, &[0xff; 200]));
    conversation.send(&fragment(Opcode::Text, false, "gr\u{fc}".as_bytes()));
    conversation.send(&fragment(Opcode::Continuation, true, "\u{df}e".as_bytes()));
    let frames = conversation.frames();
    assert_eq!(frames[0], (1, b"no JSON".to_vec()));
    assert_eq!(frames[1], (2, vec![0xff; 200]));
    assert_eq!(frames[2], (1, "gr\u{fc}\u{df}e".as_bytes().to_vec()));
    conversation.pass(15_000_000);
    assert!(
        conversation.closed.is_none(),
        "it is never asked to subscribe"
    );

    let mut without = Conversation::new();
    without.limits.has_echo = false;
    without.send(handshake.replace("GET /ws", "GET /ws/echo").as_bytes());
    assert_eq!(without.answer().status, 404);
}
