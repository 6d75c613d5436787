//! JSON Schemas (draft 2020-12, which OpenAPI 3.1 and AsyncAPI 3.0 both take) of all that is sent.

use serde_json::json;
use utoipa::openapi::schema::{AnyOfBuilder, ComponentsBuilder};
use utoipa::openapi::{
    Array, ArrayBuilder, KnownFormat, ObjectBuilder, Ref, RefOr, Schema, SchemaFormat, Type,
};

use super::{http, messages, topics};
use crate::api::consumer::{ACK_TIMEOUT_SECONDS, MAX_DELIVERIES, NAME_CHARS_MAX, WINDOW};
use crate::api::reply::AckError;
use crate::topic::{Cursor, TopicName};

/// All that have a name.
pub(super) fn all() -> ComponentsBuilder {
    let parts = [
        names,
        http::publishing,
        http::consuming,
        http::operating,
        topics::topics,
        topics::errors,
        messages::sent,
        messages::received,
    ];
    parts
        .into_iter()
        .fold(ComponentsBuilder::new(), |all, part| part(all))
}

/// A schema of this name among the components.
pub(super) fn of(name: &str) -> Ref {
    Ref::from_schema_name(name)
}

/// The object with all members that it has so far required; those that are added later may be missing.
pub(super) fn whole(object: ObjectBuilder) -> ObjectBuilder {
    let mut object = object.build();
    object.required = object.properties.keys().cloned().collect();
    object.into()
}

pub(super) fn or_null(schema: impl Into<RefOr<Schema>>) -> AnyOfBuilder {
    AnyOfBuilder::new()
        .item(schema)
        .item(ObjectBuilder::new().schema_type(Type::Null))
}

/// A list that is not empty.
pub(super) fn some(items: impl Into<RefOr<Schema>>, most: usize) -> ArrayBuilder {
    ArrayBuilder::from(Array::new(items))
        .min_items(Some(1))
        .max_items(Some(most))
}

pub(super) fn count() -> ObjectBuilder {
    integer().minimum(Some(0))
}

pub(super) fn integer() -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::Integer)
}

pub(super) fn number() -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::Number)
}

pub(super) fn text() -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::String)
}

pub(super) fn flag() -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::Boolean)
}

pub(super) fn name() -> ObjectBuilder {
    text().min_length(Some(1)).max_length(Some(NAME_CHARS_MAX))
}

pub(super) fn since() -> ObjectBuilder {
    text().description(Some("`last`, `earliest`, a message id or a cursor"))
}

pub(super) fn ack_timeout() -> ObjectBuilder {
    number()
        .minimum(Some(*ACK_TIMEOUT_SECONDS.start()))
        .maximum(Some(*ACK_TIMEOUT_SECONDS.end()))
        .default(Some(30.into()))
        .description(Some(
            "Seconds after which what is not acknowledged is due again",
        ))
}

pub(super) fn window() -> ObjectBuilder {
    integer()
        .minimum(Some(*WINDOW.start()))
        .maximum(Some(*WINDOW.end()))
        .default(Some(1000.into()))
        .description(Some("Most messages handed out and not acknowledged"))
}

pub(super) fn max_deliveries() -> ObjectBuilder {
    integer()
        .minimum(Some(*MAX_DELIVERIES.start()))
        .maximum(Some(*MAX_DELIVERIES.end()))
        .default(Some(0.into()))
        .description(Some(
            "Deliveries after which a message is given up; 0 is never",
        ))
}

pub(super) fn delivery_mode() -> ObjectBuilder {
    text().enum_values(Some(["at_most_once", "at_least_once"]))
}

pub(super) fn on_lag() -> ObjectBuilder {
    text()
        .enum_values(Some(["disconnect", "skip"]))
        .default(Some("disconnect".into()))
        .description(Some("What happens to a consumer that is too slow"))
}

pub(super) fn order() -> ObjectBuilder {
    text().enum_values(Some(["asc", "desc"]))
}

/// What every form of a message has.
pub(super) fn delivered() -> ObjectBuilder {
    ObjectBuilder::new()
        .property("message_id", of("MessageId"))
        .property("topic", of("TopicName"))
        .property("payload", of("Payload"))
        .property("timestamp", of("Timestamp"))
        .property("metadata", or_null(of("Metadata")))
}

pub(super) fn delivery_attempt() -> ObjectBuilder {
    integer().minimum(Some(1)).description(Some(
        "Only where messages are owed until they are acknowledged",
    ))
}

/// Of each message that could not be acknowledged, why.
pub(super) fn failed() -> Array {
    let error = text().enum_values(Some(AckError::ALL.map(AckError::as_str)));
    Array::new(whole(
        ObjectBuilder::new()
            .property("message_id", text())
            .property("error", error),
    ))
}

fn names(all: ComponentsBuilder) -> ComponentsBuilder {
    let topic =
        "Letters and digits of any script, `-` and `_`; at least one that is neither `-` nor `_`";
    let offset = AnyOfBuilder::new()
        .item(of("MessageId"))
        .item(of("Cursor"))
        .description(Some("From where to go on"));
    all.schema(
        "TopicName",
        text()
            .min_length(Some(1))
            .max_length(Some(TopicName::CHARS_MAX))
            .examples(["orders"])
            .description(Some(topic)),
    )
    .schema("MessageId", text().pattern(Some("^msg_[0-9a-v]{30}$")))
    .schema(
        "Cursor",
        text()
            .pattern(Some("^cur_[0-9a-v]+$"))
            .max_length(Some(Cursor::LEN_MAX)),
    )
    .schema("Offset", offset)
    .schema(
        "Timestamp",
        text()
            .format(Some(SchemaFormat::KnownFormat(KnownFormat::DateTime)))
            .pattern(Some(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$")),
    )
    .schema(
        "Metadata",
        ObjectBuilder::new().additional_properties(Some(text())),
    )
    .schema(
        "Payload",
        ObjectBuilder::new()
            .description(Some("Delivered byte for byte"))
            .examples([json!({"n": 1})]),
    )
}
