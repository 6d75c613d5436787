//! Parameters of operations, in path, query and head.

use serde_json::{Value, json};

use super::schemas::{self, of};
use crate::api::poll::{LIMIT_MAX, TIMEOUT_SECONDS_MAX};

fn query(name: &str, about: &str, schema: &Value) -> Value {
    json!({"name": name, "in": "query", "description": about, "schema": schema})
}

/// On every request.
pub(super) fn request_id() -> Value {
    json!({"name": "X-Request-Id", "in": "header", "schema": {"type": "string"},
        "description": "Kept if it is 1 to 128 of `A-Za-z0-9._-`, else the server makes one"})
}

pub(super) fn topic_name() -> Value {
    json!({"name": "name", "in": "path", "required": true, "schema": of("TopicName")})
}

pub(super) fn file_name() -> Value {
    json!({"name": "file", "in": "path", "required": true, "schema": {"type": "string", "minLength": 1}})
}

pub(super) fn idempotency_key() -> Value {
    json!({"name": "Idempotency-Key", "in": "header",
        "description": "A repeat with the same key gets the first answer, for 600 s",
        "schema": {"type": "string", "pattern": "^[ -~]{1,255}$"}})
}

pub(super) fn conditional() -> Vec<Value> {
    vec![
        json!({"name": "If-None-Match", "in": "header", "schema": {"type": "string"},
        "description": "Tags of what the client has"}),
    ]
}

/// Of listings and pages.
pub(super) fn limit(default: u32, most: u32) -> Value {
    let about = format!("More than {most} count as {most}");
    query(
        "limit",
        &about,
        &json!({"type": "integer", "minimum": 1, "default": default}),
    )
}

pub(super) fn after() -> Value {
    query(
        "after",
        "Topics with names behind this one",
        &json!({"type": "string"}),
    )
}

pub(super) fn page() -> Vec<Value> {
    let order = json!({"type": "string", "enum": ["asc", "desc"], "default": "desc"});
    let cursor = json!({"type": "string"});
    vec![
        limit(10, 100),
        query("order", "Newest or oldest first", &order),
        query(
            "cursor",
            "The id of a message of this topic: what is behind it",
            &cursor,
        ),
    ]
}

pub(super) fn poll() -> Vec<Value> {
    let timeout =
        json!({"type": "integer", "minimum": 0, "maximum": TIMEOUT_SECONDS_MAX, "default": 30});
    let limit = json!({"type": "integer", "minimum": 1, "maximum": LIMIT_MAX, "default": 10});
    let mut all = consuming();
    all.push(query("timeout", "Seconds to wait; 0 only looks", &timeout));
    all.push(query("limit", "Most messages of the answer", &limit));
    all
}

pub(super) fn stream() -> Vec<Value> {
    let mut all = consuming();
    all.push(query(
        "on_lag",
        "Of a client that is too slow",
        &schemas::on_lag(),
    ));
    all.push(
        json!({"name": "Last-Event-ID", "in": "header", "schema": {"type": "string"},
        "description": "As `since`, before which it goes"}),
    );
    all
}

fn consuming() -> Vec<Value> {
    let topics = json!({"name": "topics", "in": "query", "required": true,
        "description": "1 to 50 names with commas between them", "style": "form", "explode": false,
        "schema": {"type": "array", "items": of("TopicName"), "minItems": 1, "maxItems": 50},
        "example": ["orders"]});
    let owed = "Only with `delivery_mode=at_least_once`, or a `group`";
    vec![
        topics,
        query("since", "Where to start", &schemas::since()),
        query("client_id", "Who consumes", &schemas::name()),
        query(
            "delivery_mode",
            "Whether messages are owed until they are acknowledged",
            &schemas::delivery_mode(),
        ),
        query(
            "group",
            "Shares messages with the other members; implies `delivery_mode=at_least_once`",
            &schemas::name(),
        ),
        query("ack_timeout", owed, &schemas::ack_timeout()),
        query("window", owed, &schemas::window()),
        query("max_deliveries", owed, &schemas::max_deliveries()),
        query("reset", owed, &json!({"type": "boolean", "default": false})),
    ]
}
