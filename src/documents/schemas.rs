//! JSON Schemas (draft 2020-12, which OpenAPI 3.1 and AsyncAPI 3.0 both take) of all that is sent.

use serde_json::{Map, Value, json};

use super::{messages, topics};
use crate::access::TICKET_SECONDS;
use crate::api::command::ACK_IDS_MAX;
use crate::api::consumer::{ACK_TIMEOUT_SECONDS, MAX_DELIVERIES, NAME_CHARS_MAX, WINDOW};
use crate::api::poll::{RELAY_TOPICS_MAX, TIMEOUT_SECONDS_MAX};
use crate::api::reply::AckError;
use crate::topic::Cursor;

/// A schema of this name among the components.
pub(super) fn of(name: &str) -> Value {
    json!({"$ref": format!("#/components/schemas/{name}")})
}

/// An object with these members, the first of which it must have: as many as `required` says.
pub(super) fn object<const N: usize>(
    about: &str,
    required: usize,
    members: [(&str, Value); N],
) -> Value {
    let names: Vec<&str> = members
        .iter()
        .take(required)
        .map(|(name, _)| *name)
        .collect();
    let members: Map<String, Value> = members
        .into_iter()
        .map(|(name, schema)| (name.to_owned(), schema))
        .collect();
    let mut schema = json!({"type": "object", "description": about, "properties": members});
    if required > 0 {
        schema["required"] = names.into();
    }
    schema
}

pub(super) fn or_null(schema: &Value) -> Value {
    json!({"anyOf": [schema, {"type": "null"}]})
}

pub(super) fn list(items: &Value) -> Value {
    json!({"type": "array", "items": items})
}

pub(super) fn some(items: &Value, most: usize) -> Value {
    json!({"type": "array", "items": items, "minItems": 1, "maxItems": most})
}

pub(super) fn kind(name: &str) -> (&'static str, Value) {
    ("type", json!({"type": "string", "const": name}))
}

pub(super) fn count() -> Value {
    json!({"type": "integer", "minimum": 0})
}

pub(super) fn text() -> Value {
    json!({"type": "string"})
}

pub(super) fn flag() -> Value {
    json!({"type": "boolean"})
}

pub(super) fn name() -> Value {
    json!({"type": "string", "minLength": 1, "maxLength": NAME_CHARS_MAX})
}

pub(super) fn since() -> Value {
    json!({"type": "string", "description": "`last`, `earliest`, a message id or a cursor"})
}

pub(super) fn ack_timeout() -> Value {
    let (min, max) = (ACK_TIMEOUT_SECONDS.start(), ACK_TIMEOUT_SECONDS.end());
    json!({"type": "number", "minimum": min, "maximum": max, "default": 30,
        "description": "Seconds after which what is not acknowledged is due again"})
}

pub(super) fn window() -> Value {
    json!({"type": "integer", "minimum": WINDOW.start(), "maximum": WINDOW.end(), "default": 1000,
        "description": "Most messages handed out and not acknowledged"})
}

pub(super) fn max_deliveries() -> Value {
    json!({"type": "integer", "minimum": MAX_DELIVERIES.start(), "maximum": MAX_DELIVERIES.end(),
        "default": 0, "description": "Deliveries after which a message is given up; 0 is never"})
}

pub(super) fn delivery_mode() -> Value {
    json!({"type": "string", "enum": ["at_most_once", "at_least_once"]})
}

pub(super) fn on_lag() -> Value {
    json!({"type": "string", "enum": ["disconnect", "skip"], "default": "disconnect",
        "description": "What happens to a consumer that is too slow"})
}

/// All that have a name.
pub(super) fn all() -> Map<String, Value> {
    let parts = [
        names(),
        http(),
        topics::topics(),
        topics::errors(),
        messages::sent(),
        messages::received(),
    ];
    parts
        .into_iter()
        .flatten()
        .map(|(name, schema)| (name.to_owned(), schema))
        .collect()
}

pub(super) type Named = Vec<(&'static str, Value)>;

fn names() -> Named {
    vec![
        (
            "TopicName",
            json!({"type": "string", "minLength": 1, "maxLength": 255, "examples": ["orders"],
                "description": "Letters and digits of any script, `-` and `_`; at least one that is neither `-` nor `_`"}),
        ),
        (
            "MessageId",
            json!({"type": "string", "pattern": "^msg_[0-9a-v]{30}$"}),
        ),
        (
            "Cursor",
            json!({"type": "string", "pattern": "^cur_[0-9a-v]+$", "maxLength": Cursor::LEN_MAX}),
        ),
        (
            "Offset",
            json!({"anyOf": [of("MessageId"), of("Cursor")], "description": "From where to go on"}),
        ),
        (
            "Timestamp",
            json!({"type": "string", "format": "date-time",
                "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$"}),
        ),
        (
            "Metadata",
            json!({"type": "object", "additionalProperties": {"type": "string"}}),
        ),
        (
            "Payload",
            json!({"type": "object", "description": "Delivered byte for byte", "examples": [{"n": 1}]}),
        ),
    ]
}

fn http() -> Named {
    let ttl = json!({"anyOf": [{"type": "integer", "exclusiveMinimum": 0}, {"type": "null"}],
        "description": "Seconds after which it is not delivered any more to who comes later"});
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
    let outcome = object(
        "",
        4,
        [
            ("message_id", or_null(&of("MessageId"))),
            ("topic", of("TopicName")),
            (
                "status",
                json!({"type": "string", "enum": ["accepted", "rejected"]}),
            ),
            ("error", or_null(&text())),
        ],
    );
    let summary = object(
        "",
        3,
        [
            ("total", count()),
            ("accepted", count()),
            ("rejected", count()),
        ],
    );
    let ids = json!({"type": "array", "items": {"type": "string"}, "minItems": 1, "maxItems": ACK_IDS_MAX});
    vec![
        (
            "Message",
            object(
                "A message to publish",
                2,
                [
                    ("topic", of("TopicName")),
                    ("payload", of("Payload")),
                    ("ttl", ttl),
                    ("metadata", or_null(&of("Metadata"))),
                ],
            ),
        ),
        (
            "MessageResponse",
            object(
                "Where a message is stored",
                3,
                [
                    ("message_id", of("MessageId")),
                    ("topic", of("TopicName")),
                    ("timestamp", of("Timestamp")),
                ],
            ),
        ),
        (
            "SpooledResponse",
            object(
                "The message waits for its store, and gets its id there",
                3,
                [
                    ("message_id", json!({"type": "null"})),
                    ("topic", of("TopicName")),
                    ("timestamp", of("Timestamp")),
                ],
            ),
        ),
        (
            "BulkMessageRequest",
            object("", 1, [("messages", some(&of("Message"), 100))]),
        ),
        (
            "BulkMessageResponse",
            object(
                "In the order of the request",
                2,
                [("results", list(&outcome)), ("summary", summary)],
            ),
        ),
        (
            "PolledMessage",
            delivered("A message, as polls and pages have it", None),
        ),
        (
            "RelayedMessage",
            delivered(
                "A message with its place as `<milliseconds>-<counter>`",
                Some("stream_id"),
            ),
        ),
        (
            "PollResponse",
            object(
                "",
                3,
                [
                    ("messages", list(&of("PolledMessage"))),
                    ("next_offset", of("Offset")),
                    ("has_more", flag()),
                    ("gaps", list(&of("Gap"))),
                    (
                        "timeout",
                        json!({"type": "boolean", "const": true, "description": "Only if there is nothing"}),
                    ),
                ],
            ),
        ),
        (
            "RelayPollRequest",
            object(
                "",
                1,
                [
                    ("topics", some(&of("TopicName"), RELAY_TOPICS_MAX)),
                    (
                        "since",
                        json!({"type": "object", "additionalProperties": {"type": "string"},
                "description": "Of each topic the id of the last message got"}),
                    ),
                    (
                        "timeout",
                        json!({"type": "integer", "minimum": 1, "maximum": TIMEOUT_SECONDS_MAX, "default": 30}),
                    ),
                ],
            ),
        ),
        (
            "RelayPollResponse",
            object(
                "",
                2,
                [
                    ("messages", list(&of("RelayedMessage"))),
                    ("has_more", flag()),
                ],
            ),
        ),
        ("PollStats", object("", 1, [("active_waiters", count())])),
        (
            "AckRequest",
            object(
                "",
                1,
                [
                    ("message_ids", ids),
                    ("client_id", name()),
                    ("cumulative", flag()),
                ],
            ),
        ),
        (
            "AckResponse",
            object(
                "",
                2,
                [("acknowledged", count()), ("failed", list(&failed))],
            ),
        ),
        (
            "Ticket",
            object(
                "Opens one stream or WebSocket",
                2,
                [
                    ("ticket", text()),
                    (
                        "expires_in",
                        json!({"type": "integer", "const": TICKET_SECONDS}),
                    ),
                ],
            ),
        ),
        (
            "RevocationRequest",
            json!({
            "type": "object",
            "description": "Whose tokens end: exactly one of `token`, `token_id` and `subject`",
            "oneOf": [{"required": ["token"]}, {"required": ["token_id"]}, {"required": ["subject"]}],
            "properties": {
                "token": {"type": "string", "minLength": 1},
                "token_id": {"type": "string", "minLength": 1},
                "subject": {"type": "string", "minLength": 1},
                "expires_at": {"type": "integer", "minimum": 1, "maximum": u32::MAX},
            }}),
        ),
        (
            "Health",
            object(
                "",
                3,
                [
                    ("status", json!({"type": "string", "const": "healthy"})),
                    ("timestamp", of("Timestamp")),
                    ("version", text()),
                ],
            ),
        ),
        (
            "Readiness",
            object(
                "",
                2,
                [
                    ("ready", flag()),
                    (
                        "checks",
                        json!({"type": "object", "additionalProperties": {"type": "string"}}),
                    ),
                ],
            ),
        ),
    ]
}

pub(super) fn delivered(about: &str, more: Option<&'static str>) -> Value {
    let mut schema = object(
        about,
        5,
        [
            ("message_id", of("MessageId")),
            ("topic", of("TopicName")),
            ("payload", of("Payload")),
            ("timestamp", of("Timestamp")),
            ("metadata", or_null(&of("Metadata"))),
        ],
    );
    match more {
        Some(name) => {
            schema["properties"][name] = json!({"type": "string", "pattern": r"^\d+-\d+$"});
            schema["required"] = json!([
                "message_id",
                "topic",
                "payload",
                "timestamp",
                "metadata",
                name
            ]);
        }
        None => {
            schema["properties"]["delivery_attempt"] = json!({"type": "integer", "minimum": 1,
                "description": "Only where messages are owed until they are acknowledged"});
        }
    }
    schema
}
