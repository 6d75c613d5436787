//! Schemas of topics, their history, and errors.

use serde_json::{Map, Value, json};

use super::schemas::{Named, count, list, object, of, or_null, text};
use crate::api::error::ErrorCode;

/// Topics and pages.
pub(super) fn topics() -> Named {
    let figures = || {
        [
            ("message_count", count()),
            ("bytes", count()),
            ("subscribers", count()),
            ("oldest", or_null(&of("MessageId"))),
            ("newest", or_null(&of("MessageId"))),
        ]
    };
    let description =
        || json!({"anyOf": [{"type": "string", "maxLength": 1000}, {"type": "null"}]});
    let identity = || {
        [
            (
                "topic_id",
                json!({"type": "string", "pattern": "^topic_[0-9a-v]{12}$"}),
            ),
            ("topic_name", of("TopicName")),
            ("owner_id", json!({"type": "null"})),
            ("created_at", or_null(&of("Timestamp"))),
            ("description", description()),
        ]
    };
    let whole = |members: Vec<(&'static str, Value)>| {
        let names: Vec<&str> = members.iter().map(|it| it.0).collect();
        let properties: Map<String, Value> = members
            .iter()
            .map(|(name, it)| ((*name).to_owned(), it.clone()))
            .collect();
        json!({"type": "object", "properties": properties, "required": names})
    };
    let mut summary = vec![("topic_name", of("TopicName"))];
    summary.extend(figures());
    let mut details: Vec<_> = identity().into();
    details.extend(figures());
    vec![
        ("TopicSummary", whole(summary)),
        ("Topic", whole(identity().into())),
        ("TopicDetails", whole(details)),
        (
            "TopicTotals",
            object(
                "",
                5,
                [
                    ("topics", count()),
                    ("messages", count()),
                    ("bytes", count()),
                    ("subscribers", count()),
                    ("evicted", count()),
                ],
            ),
        ),
        (
            "NewTopic",
            object(
                "",
                1,
                [
                    ("topic_name", of("TopicName")),
                    ("description", description()),
                ],
            ),
        ),
        (
            "TopicUpdate",
            object("", 1, [("description", description())]),
        ),
        (
            "HistoryPage",
            object(
                "",
                6,
                [
                    ("messages", list(&of("PolledMessage"))),
                    ("total", count()),
                    ("limit", count()),
                    ("order", json!({"type": "string", "enum": ["asc", "desc"]})),
                    ("cursor", or_null(&of("MessageId"))),
                    ("next_cursor", or_null(&of("MessageId"))),
                ],
            ),
        ),
    ]
}

/// What errors are told with.
pub(super) fn errors() -> Named {
    let codes = ErrorCode::ALL.map(ErrorCode::as_str);
    let place = json!({"type": "array", "items": {"type": ["string", "integer"]}});
    vec![
        (
            "Error",
            object(
                "What every error is told with",
                5,
                [
                    ("error", json!({"type": "string", "enum": codes})),
                    ("message", json!({"type": "string", "minLength": 1})),
                    (
                        "details",
                        json!({"type": ["object", "null"], "properties": {"limit": count()},
                "description": "For a body that is too large the limit, in bytes"}),
                    ),
                    ("request_id", text()),
                    (
                        "detail",
                        json!({"anyOf": [{"type": "string"}, list(&of("ValidationError"))]}),
                    ),
                ],
            ),
        ),
        (
            "ValidationError",
            object(
                "One thing that is wrong with a request",
                4,
                [
                    ("type", text()),
                    ("loc", place),
                    ("msg", text()),
                    (
                        "input",
                        json!({"description": "What came, if it is not too large"}),
                    ),
                    ("ctx", json!({"type": "object"})),
                ],
            ),
        ),
    ]
}
