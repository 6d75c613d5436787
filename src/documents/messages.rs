//! Schemas of what is said on WebSocket and stream.

use serde_json::json;

use super::schemas::{
    Named, ack_timeout, count, delivered, delivery_mode, flag, kind, list, max_deliveries, name,
    object, of, on_lag, or_null, since, some, text, window,
};
use crate::api::command::{
    ACK_IDS_MAX, CommandErrorCode, HEARTBEAT_SECONDS_MAX, NACK_DELAY_SECONDS_MAX, TOPICS_MAX,
};
use crate::api::reply::AckError;

/// What clients of WebSocket and stream get.
pub(super) fn sent() -> Named {
    let offset = || {
        json!({"$ref": "#/components/schemas/Cursor",
        "description": "Only on lines of several topics: from where to go on behind this"})
    };
    let mut message = delivered("A message", None);
    message["properties"]["type"] = kind("message").1;
    message["properties"]["offset"] = offset();
    message["required"] = json!([
        "type",
        "message_id",
        "topic",
        "payload",
        "timestamp",
        "metadata"
    ]);
    let codes = CommandErrorCode::ALL.map(CommandErrorCode::as_str);
    let field = json!({"anyOf": [object("", 1, [("field", text())]), {"type": "null"}]});
    let places = json!({"type": "object", "additionalProperties": of("MessageId")});
    let truths = json!({"type": "object", "additionalProperties": {"type": "boolean"}});
    let failed = object(
        "",
        2,
        [
            ("message_id", text()),
            (
                "error",
                json!({"type": "string", "enum": AckError::ALL.map(AckError::as_str)}),
            ),
        ],
    );
    vec![
        (
            "Subscribed",
            object(
                "What is subscribed to, and where it starts",
                4,
                [
                    kind("subscribed"),
                    ("topics", list(&of("TopicName"))),
                    (
                        "session_id",
                        json!({"type": "string", "pattern": "^sess_[0-9a-f]{16}$"}),
                    ),
                    ("timestamp", of("Timestamp")),
                    ("positions", places),
                    ("recovered", truths),
                    ("offset", offset()),
                ],
            ),
        ),
        (
            "Unsubscribed",
            object(
                "",
                2,
                [kind("unsubscribed"), ("topics", list(&of("TopicName")))],
            ),
        ),
        ("Delivery", message),
        (
            "Gap",
            object(
                "Messages that cannot be delivered: above `from`, up to and with `to`",
                5,
                [
                    kind("gap"),
                    ("topic", of("TopicName")),
                    ("from", of("MessageId")),
                    ("to", of("MessageId")),
                    (
                        "reason",
                        json!({"type": "string", "enum": ["trimmed", "lagged", "epoch_changed"]}),
                    ),
                    ("offset", offset()),
                ],
            ),
        ),
        (
            "Acked",
            object(
                "",
                3,
                [
                    kind("acked"),
                    ("acknowledged", count()),
                    ("failed", list(&failed)),
                ],
            ),
        ),
        (
            "Pong",
            object("", 2, [kind("pong"), ("timestamp", of("Timestamp"))]),
        ),
        (
            "Heartbeat",
            object("", 2, [kind("heartbeat"), ("timestamp", of("Timestamp"))]),
        ),
        (
            "AuthExpiring",
            object(
                "Go on with an `auth`",
                2,
                [
                    kind("auth_expiring"),
                    ("expires_at", or_null(&of("Timestamp"))),
                ],
            ),
        ),
        (
            "Authenticated",
            object(
                "",
                2,
                [
                    kind("authenticated"),
                    ("expires_at", or_null(&of("Timestamp"))),
                ],
            ),
        ),
        (
            "CommandError",
            object(
                "What was wrong with a message",
                4,
                [
                    kind("error"),
                    ("code", json!({"type": "string", "enum": codes})),
                    ("message", text()),
                    ("details", field),
                ],
            ),
        ),
        (
            "Close",
            object(
                "The last object of a stream, in the words of a close frame",
                3,
                [
                    kind("close"),
                    (
                        "code",
                        json!({"type": "integer", "minimum": 1000, "maximum": 4999}),
                    ),
                    ("reason", text()),
                ],
            ),
        ),
    ]
}

/// What clients of a WebSocket send.
pub(super) fn received() -> Named {
    let topics = |most: usize| some(&of("TopicName"), most);
    let seconds = |most: u16| json!({"type": "number", "minimum": 0, "maximum": most});
    let mut ack = object(
        "Messages were received",
        1,
        [
            kind("ack"),
            ("message_id", text()),
            ("message_ids", some(&text(), ACK_IDS_MAX)),
            ("cumulative", flag()),
            ("confirm", flag()),
        ],
    );
    ack["anyOf"] = json!([{"required": ["message_id"]}, {"required": ["message_ids"]}]);
    let mut heartbeat = seconds(HEARTBEAT_SECONDS_MAX);
    heartbeat["type"] = json!("integer");
    vec![
        (
            "Subscribe",
            object(
                "Must come first; its `type` may be left out there",
                2,
                [
                    ("topics", topics(TOPICS_MAX)),
                    ("client_id", name()),
                    kind("subscribe"),
                    ("offset", since()),
                    ("on_lag", on_lag()),
                    ("heartbeat", heartbeat),
                    ("delivery_mode", delivery_mode()),
                    ("group", name()),
                    ("ack_timeout", ack_timeout()),
                    ("window", window()),
                    ("max_deliveries", max_deliveries()),
                    ("reset", flag()),
                ],
            ),
        ),
        (
            "Unsubscribe",
            object(
                "",
                2,
                [kind("unsubscribe"), ("topics", topics(ACK_IDS_MAX))],
            ),
        ),
        ("Ack", ack),
        (
            "Nack",
            object(
                "Deliver it again",
                2,
                [
                    kind("nack"),
                    ("message_id", text()),
                    ("delay", seconds(NACK_DELAY_SECONDS_MAX)),
                ],
            ),
        ),
        (
            "Auth",
            object(
                "Another credential for the connection",
                2,
                [
                    kind("auth"),
                    ("token", json!({"type": "string", "minLength": 1})),
                ],
            ),
        ),
        ("Ping", object("", 1, [kind("ping")])),
    ]
}
