//! Calls and replies as bytes. What the scripts do is tested on a server, in
//! `tests/valkey_consumers`.

use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use redis::Value;

use super::*;
use crate::topic::{Ack, ClaimRules, ConsumerName, Position, TopicName};
use crate::valkey::{Call, Keys};

fn member() -> SharedMember {
    SharedMember {
        client: "caf\u{e9} {x}".into(),
        seat: SharedSeat {
            worker: 3,
            connection: u64::MAX,
            number: 7,
        },
        is_poll: true,
        rules: ClaimRules {
            ack_timeout: 1_500_000,
            window: 5,
            max_deliveries: 2,
        },
    }
}

fn actions() -> Vec<ConsumerAction> {
    let group = || ConsumerName::Group("g".into());
    vec![
        ConsumerAction::Attach(AttachShared {
            consumer: group(),
            member: member(),
            reset: true,
            start: SharedStart::Since(Position::new(5, 6)),
        }),
        ConsumerAction::Claim(ClaimShared {
            consumer: group(),
            member: member(),
            batch: crate::topic::Batch {
                messages_max: usize::MAX,
                bytes_max: 1,
            },
            confirmed: 9,
        }),
        ConsumerAction::Settle(Standing {
            client: Arc::clone(&member().client),
            preferred: Some(group()),
            settling: Settling::Nack(Duration::from_millis(20)),
            positions: vec![Position::new(1, 2)],
        }),
        ConsumerAction::Detach {
            consumer: group(),
            seat: member().seat,
        },
        ConsumerAction::Bury {
            consumer: group(),
            positions: vec![Position::new(1, 2)],
        },
        ConsumerAction::Refresh(vec![(group(), member())]),
        ConsumerAction::Drop { skip: 4 },
    ]
}

fn tasks() -> impl Iterator<Item = ConsumerTask> {
    actions().into_iter().map(|action| ConsumerTask {
        topic: TopicName::parse("t").unwrap(),
        action,
    })
}

#[test]
fn all_keys_are_in_the_slot_of_the_topic() {
    let (keys, terms) = (
        Keys::new("p:"),
        ConsumerTerms::new("i", Duration::from_secs(1)),
    );
    for task in tasks() {
        let call = task.call(&keys, &terms);
        assert!(call.keys.iter().all(|key| key.starts_with(b"p:{t}:")));
        assert_eq!(
            call.args[..3],
            [&b""[..], b"p:{t}:news", b"i:"].map(<[u8]>::to_vec)
        );
    }
}

#[test]
fn a_call_says_all_there_is() {
    let (keys, terms) = (
        Keys::new("p:"),
        ConsumerTerms::new("i", Duration::from_secs(1)),
    );
    let calls: Vec<Call> = tasks().map(|task| task.call(&keys, &terms)).collect();
    let args = |call: &Call| {
        let text = call.args.iter().map(|arg| String::from_utf8(arg.clone()));
        text.map(Result::unwrap).collect::<Vec<_>>().join("|")
    };
    let seat = "i:3:18446744073709551615:7";
    let who = format!("caf\u{e9} {{x}}|{seat}|1|1500|5|2");
    let start = "|p:{t}:news|i:";
    assert_eq!(
        args(&calls[0]),
        format!("{start}|6000|1000|10000|1000|g:g|1|since 5-6|{who}")
    );
    assert_eq!(
        args(&calls[1]),
        format!("{start}|6000|g:g|9007199254740992|1|9|{who}")
    );
    assert_eq!(
        args(&calls[2]),
        format!("{start}|n|20|caf\u{e9} {{x}}|p:{{t}}:c:|2|g:g|c:caf\u{e9} {{x}}|1-2")
    );
    assert_eq!(args(&calls[3]), format!("{start}|1000|g:g|{seat}"));
    assert_eq!(args(&calls[4]), format!("{start}|1-2"));
    assert_eq!(args(&calls[5]), format!("{start}|6000|1000|g:g|{seat}"));
    assert_eq!(args(&calls[6]), format!("{start}|p:{{t}}:c:|4"));
    assert_eq!(calls[2].keys.len(), 3 + 2 * 4);
    assert_eq!(calls[5].keys.len(), 1 + 5);
}

fn text(text: &str) -> Value {
    Value::BulkString(text.into())
}

#[test]
fn replies_are_read() {
    let tasks: Vec<ConsumerTask> = tasks().collect();
    let handed = |attempt| {
        Value::Array(vec![
            text("3-4"),
            Value::Int(attempt),
            text("60"),
            text("part"),
        ])
    };
    let claim = Value::Array(vec![
        text("ok"),
        Value::Int(1),
        Value::Int(-1),
        Value::Int(8),
        text("3-4"),
        Value::Array(vec![handed(2)]),
        Value::Array(Vec::new()),
        Value::Array(vec![Value::Array(vec![text("0-0"), text("1-9")])]),
        Value::Int(77),
    ]);
    let message = HandedOut {
        position: Position::new(3, 4),
        attempt: 2,
        ttl: Some(60),
        stored_part: b"part".to_vec(),
    };
    assert_eq!(
        tasks[1].read(claim),
        Ok(ConsumerReply::Claimed(SharedClaim {
            more: true,
            next_due: None,
            serial: 8,
            place: Position::new(3, 4),
            messages: vec![message],
            dead: Vec::new(),
            gaps: vec![(Position::ZERO, Position::new(1, 9))],
            now_millis: 77,
        }))
    );
    let settled = |ack| {
        let seats = Value::Array(vec![text("i:3:4:5"), text("i:3:4:5")]);
        Value::Array(vec![text("ok"), Value::Array(vec![Value::Int(ack)]), seats])
    };
    let seat = SharedSeat {
        worker: 3,
        connection: 4,
        number: 5,
    };
    for (number, ack) in [
        (3, Ack::Acknowledged(3)),
        (0, Ack::NotPending),
        (-1, Ack::Reassigned),
        (-2, Ack::Unknown),
    ] {
        let (acks, wake) = (vec![ack], vec![seat]);
        assert_eq!(
            tasks[2].read(settled(number)),
            Ok(ConsumerReply::Settled { acks, wake })
        );
    }
    assert_eq!(tasks[2].read(settled(-3)), Err(Unreadable));
    assert_eq!(tasks[2].read(settled(1 << 32)), Err(Unreadable));
}

fn value() -> impl Strategy<Value = Value> {
    let word = prop_oneof![
        Just("ok".to_owned()),
        Just("gone".to_owned()),
        Just("1-2".to_owned()),
        Just("i:1:2:3".to_owned()),
        ".{0,6}",
    ];
    let leaf = prop_oneof![
        Just(Value::Nil),
        any::<i64>().prop_map(Value::Int),
        (-3..3i64).prop_map(Value::Int),
        word.prop_map(|word| Value::BulkString(word.into_bytes())),
    ];
    let nested = leaf.prop_recursive(3, 32, 9, |inner| {
        prop::collection::vec(inner, 0..9).prop_map(Value::Array)
    });
    prop::collection::vec(nested, 0..9).prop_map(|mut parts| {
        parts.insert(0, Value::BulkString(b"ok".to_vec()));
        Value::Array(parts)
    })
}

proptest! {
    #[test]
    fn nothing_that_is_answered_panics(value in value()) {
        for task in tasks() {
            // Most of these are no replies.
            let _ = task.read(value.clone());
        }
    }
}
