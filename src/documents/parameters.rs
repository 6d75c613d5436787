//! Parameters of operations, in path, query and head.

use serde_json::json;
use utoipa::openapi::path::{ParameterBuilder, ParameterIn, ParameterStyle};
use utoipa::openapi::{RefOr, Required, Schema};

use super::schemas::{self, flag, integer, of, text};
use crate::api::command::TOPICS_MAX;
use crate::api::poll::{LIMIT_MAX, TIMEOUT_SECONDS_MAX};

/// On every request.
pub(super) fn request_id() -> ParameterBuilder {
    let about = "Kept if it is 1 to 128 of `A-Za-z0-9._-`, else the server makes one";
    header("X-Request-Id", about, text())
}

pub(super) fn topic_name() -> ParameterBuilder {
    path("name", of("TopicName"))
}

pub(super) fn file_name() -> ParameterBuilder {
    path("file", text().min_length(Some(1)))
}

pub(super) fn idempotency_key() -> ParameterBuilder {
    let about = "A repeat with the same key gets the first answer, for 600 s";
    let schema = text().pattern(Some("^[ -~]{1,255}$"));
    header("Idempotency-Key", about, schema)
}

pub(super) fn conditional() -> ParameterBuilder {
    header("If-None-Match", "Tags of what the client has", text())
}

/// Of listings and pages.
pub(super) fn limit(default: u32, most: u32) -> ParameterBuilder {
    let about = format!("More than {most} count as {most}");
    let schema = integer().minimum(Some(1)).default(Some(default.into()));
    query("limit", &about, schema)
}

pub(super) fn after() -> ParameterBuilder {
    query("after", "Topics with names behind this one", text())
}

pub(super) fn page() -> Vec<ParameterBuilder> {
    let order = schemas::order().default(Some("desc".into()));
    vec![
        limit(10, 100),
        query("order", "Newest or oldest first", order),
        query(
            "cursor",
            "The id of a message of this topic: what is behind it",
            text(),
        ),
    ]
}

pub(super) fn poll() -> Vec<ParameterBuilder> {
    let timeout = integer()
        .minimum(Some(0))
        .maximum(Some(TIMEOUT_SECONDS_MAX))
        .default(Some(30.into()));
    let limit = integer()
        .minimum(Some(1))
        .maximum(Some(LIMIT_MAX))
        .default(Some(10.into()));
    let mut all = consuming();
    all.push(query("timeout", "Seconds to wait; 0 only looks", timeout));
    all.push(query("limit", "Most messages of the answer", limit));
    all
}

pub(super) fn stream() -> Vec<ParameterBuilder> {
    let mut all = consuming();
    all.push(query(
        "on_lag",
        "Of a client that is too slow",
        schemas::on_lag(),
    ));
    let about = "As `since`, before which it goes";
    all.push(header("Last-Event-ID", about, text()));
    all
}

fn consuming() -> Vec<ParameterBuilder> {
    let owed = "Only with `delivery_mode=at_least_once`, or a `group`";
    vec![
        topics(),
        query("since", "Where to start", schemas::since()),
        query("client_id", "Who consumes", schemas::name()),
        query(
            "delivery_mode",
            "Whether messages are owed until they are acknowledged",
            schemas::delivery_mode(),
        ),
        query(
            "group",
            "Shares messages with the other members; implies `delivery_mode=at_least_once`",
            schemas::name(),
        ),
        query("ack_timeout", owed, schemas::ack_timeout()),
        query("window", owed, schemas::window()),
        query("max_deliveries", owed, schemas::max_deliveries()),
        query("reset", owed, flag().default(Some(false.into()))),
    ]
}

fn topics() -> ParameterBuilder {
    let about = format!("1 to {TOPICS_MAX} names with commas between them");
    query("topics", &about, schemas::some(of("TopicName"), TOPICS_MAX))
        .required(Required::True)
        .style(Some(ParameterStyle::Form))
        .explode(Some(false))
        .example(Some(json!(["orders"])))
}

fn path(name: &str, schema: impl Into<RefOr<Schema>>) -> ParameterBuilder {
    ParameterBuilder::new()
        .name(name)
        .parameter_in(ParameterIn::Path)
        .required(Required::True)
        .schema(Some(schema))
}

fn query(name: &str, about: &str, schema: impl Into<RefOr<Schema>>) -> ParameterBuilder {
    ParameterBuilder::new()
        .name(name)
        .parameter_in(ParameterIn::Query)
        .description(Some(about))
        .schema(Some(schema))
}

fn header(name: &str, about: &str, schema: impl Into<RefOr<Schema>>) -> ParameterBuilder {
    ParameterBuilder::new()
        .name(name)
        .parameter_in(ParameterIn::Header)
        .description(Some(about))
        .schema(Some(schema))
}
