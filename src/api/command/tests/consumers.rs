//! Delivery modes, heartbeats and acknowledgements.

use super::*;

fn subscribed(members: &str) -> Subscribe<'static> {
    let text = subscribe_with(members);
    match parse(&text).map(own) {
        Ok(Command::Subscribe(subscribe)) => subscribe,
        other => panic!("{members}: {other:?}"),
    }
}

/// The field that is wrong, and why.
fn field(text: &str) -> (Option<&'static str>, String) {
    let error = parse(text).unwrap_err();
    assert_eq!(error.code, CommandErrorCode::Processing);
    (error.field, error.message)
}

#[test]
fn at_least_once_with_its_defaults_and_with_all_members() {
    let plain = subscribed(r#""delivery_mode":"at_least_once""#);
    assert_eq!(plain.delivery, Some(AtLeastOnce::new("c")));
    assert!(plain.tell_positions);
    let all = r#""delivery_mode":"at_least_once","ack_timeout":1.5,"window":10000,
        "max_deliveries":1000,"reset":true,"group":"g""#;
    let expected = AtLeastOnce {
        client_id: "c".into(),
        group: Some("g".into()),
        ack_timeout: 1_500_000,
        window: 10_000,
        max_deliveries: 1000,
        reset: true,
    };
    assert_eq!(subscribed(all).delivery, Some(expected));
}

#[test]
fn a_group_alone_means_at_least_once() {
    let delivery = subscribed(r#""group":"g","window":1e1,"reset":false"#).delivery;
    let expected = AtLeastOnce {
        group: Some("g".into()),
        window: 10,
        ..AtLeastOnce::new("c")
    };
    assert_eq!(delivery, Some(expected));
}

#[test]
fn at_most_once_takes_no_more() {
    let plain = subscribed(r#""delivery_mode":"at_most_once""#);
    assert_eq!((plain.delivery, plain.tell_positions), (None, true));
    for member in [
        r#""ack_timeout":5"#,
        r#""window":5"#,
        r#""max_deliveries":0"#,
        r#""reset":false"#,
    ] {
        let name = member.split('"').nth(1).unwrap();
        for mode in ["", r#","delivery_mode":"at_most_once""#] {
            let (field, why) = field(&subscribe_with(&format!("{member}{mode}")));
            assert_eq!(field, Some(name));
            assert_eq!(why, format!("{name} needs delivery_mode at_least_once"));
        }
    }
    let mixed = r#""group":"g","delivery_mode":"at_most_once""#;
    assert_eq!(field(&subscribe_with(mixed)).0, Some("group"));
}

#[test]
fn bounds_of_the_delivery_members() {
    for (member, values, why) in [
        (
            "ack_timeout",
            vec!["0.9", "3600.1", "0", "-1", "null", "\"5\"", "true", "[]"],
            "ack_timeout must be a number of 1 to 3600 seconds",
        ),
        (
            "window",
            vec!["0", "10001", "1.5", "-1", "1e30", "null", "\"5\"", "{}"],
            "window must be an integer of 1 to 10000",
        ),
        (
            "max_deliveries",
            vec!["1001", "-1", "0.5", "18446744073709551615", "false"],
            "max_deliveries must be an integer of 0 to 1000",
        ),
        (
            "reset",
            vec!["1", "\"true\"", "null"],
            "reset must be true or false",
        ),
        (
            "group",
            vec!["\"\"", "5", "null"],
            "group must be a string of 1 to 255 characters",
        ),
    ] {
        for value in values {
            let members = format!("\"delivery_mode\":\"at_least_once\",\"{member}\":{value}");
            let (field, message) = field(&subscribe_with(&members));
            assert_eq!((field, message.as_str()), (Some(member), why), "{value}");
        }
    }
    for mode in ["5", "null", "\"exactly_once\""] {
        let (field, why) = field(&subscribe_with(&format!("\"delivery_mode\":{mode}")));
        assert_eq!(field, Some("delivery_mode"));
        assert_eq!(why, "delivery_mode must be at_most_once or at_least_once");
    }
    let long = format!("\"group\":\"{}\"", "é".repeat(256));
    assert_eq!(field(&subscribe_with(&long)).0, Some("group"));
}

#[test]
fn heartbeats() {
    for (value, heartbeat) in [
        ("null", None),
        ("0", Some(0)),
        ("1", Some(1)),
        ("5.0", Some(5)),
        ("3600", Some(3600)),
    ] {
        let subscribe = subscribed(&format!("\"heartbeat\":{value}"));
        assert_eq!(subscribe.heartbeat, heartbeat);
        assert!(subscribe.tell_positions);
    }
    for value in ["-1", "3601", "0.5", "1e300", "true", "\"5\"", "[]"] {
        let (field, why) = field(&subscribe_with(&format!("\"heartbeat\":{value}")));
        assert_eq!(field, Some("heartbeat"));
        assert_eq!(why, "heartbeat must be an integer of 0 to 3600 seconds");
    }
}

fn ack_of(members: &str) -> String {
    format!("{{\"type\":\"ack\",{members}}}")
}

#[test]
fn acknowledges_one_or_many() {
    let many = vec!["\"m\""; ACK_IDS_MAX].join(",");
    for (members, count) in [
        (r#""message_ids":["a"]"#.to_owned(), 1),
        (r#""message_id":"a","message_ids":["b","b"]"#.to_owned(), 3),
        (format!("\"message_ids\":[{many}]"), ACK_IDS_MAX),
    ] {
        let text = ack_of(&members);
        let Ok(Command::Ack { ids, .. }) = parse(&text) else {
            panic!("{members:.80} is good");
        };
        assert_eq!(ids.len(), count);
    }
    let text = ack_of(r#""message_id":"a","cumulative":true,"confirm":true"#);
    let expected = Command::Ack {
        ids: vec!["a".into()],
        cumulative: true,
        confirm: true,
    };
    assert_eq!(parse(&text), Ok(expected));
}

#[test]
fn wrong_acknowledgements() {
    let too_many = vec!["\"m\""; ACK_IDS_MAX + 1].join(",");
    for (members, name) in [
        (r#""message_ids":[]"#.to_owned(), "message_ids"),
        (format!("\"message_ids\":[{too_many}]"), "message_ids"),
        (r#""message_ids":[1]"#.to_owned(), "message_ids"),
        (r#""message_ids":"a""#.to_owned(), "message_ids"),
        (r#""message_ids":null"#.to_owned(), "message_ids"),
        (
            r#""message_id":1,"message_ids":["a"]"#.to_owned(),
            "message_id",
        ),
        (
            r#""message_id":"a","cumulative":1"#.to_owned(),
            "cumulative",
        ),
        (r#""message_id":"a","confirm":null"#.to_owned(), "confirm"),
    ] {
        assert_eq!(field(&ack_of(&members)).0, Some(name), "{members:.80}");
    }
}

#[test]
fn nack_with_a_delay() {
    let of = |members: &str| format!("{{\"type\":\"nack\",{members}}}");
    for (members, delay) in [
        (r#""message_id":"m""#, 0),
        (r#""message_id":"m","delay":0"#, 0),
        (r#""message_id":"m","delay":-0.0"#, 0),
        (r#""message_id":"m","delay":0.25"#, 250_000),
        (r#""message_id":"m","delay":3600"#, 3_600_000_000),
    ] {
        let message_id = "m".into();
        assert_eq!(parse(&of(members)), Ok(Command::Nack { message_id, delay }));
    }
    for (members, name) in [
        (r#""delay":5"#, "message_id"),
        (r#""message_id":["m"]"#, "message_id"),
        (r#""message_id":"m","delay":-1"#, "delay"),
        (r#""message_id":"m","delay":3600.5"#, "delay"),
        (r#""message_id":"m","delay":"5""#, "delay"),
        (r#""message_id":"m","delay":null"#, "delay"),
    ] {
        assert_eq!(field(&of(members)).0, Some(name), "{members}");
    }
}
