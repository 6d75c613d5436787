//! Schemas of topics, their history, and errors.

use utoipa::openapi::schema::{AnyOfBuilder, ComponentsBuilder, SchemaType};
use utoipa::openapi::{Array, ObjectBuilder, Type};

use super::schemas::{count, of, or_null, order, text, whole};
use crate::api::error::ErrorCode;

/// Topics and pages.
pub(super) fn topics(all: ComponentsBuilder) -> ComponentsBuilder {
    let named = ObjectBuilder::new().property("topic_name", of("TopicName"));
    let totals = ObjectBuilder::new()
        .property("topics", count())
        .property("messages", count())
        .property("bytes", count())
        .property("subscribers", count())
        .property("evicted", count());
    let page = ObjectBuilder::new()
        .property("messages", Array::new(of("PolledMessage")))
        .property("total", count())
        .property("limit", count())
        .property("order", order())
        .property("cursor", or_null(of("MessageId")))
        .property("next_cursor", or_null(of("MessageId")));
    all.schema("TopicSummary", whole(with_figures(named)))
        .schema("Topic", whole(topic()))
        .schema("TopicDetails", whole(with_figures(topic())))
        .schema("TopicTotals", whole(totals))
        .schema(
            "NewTopic",
            whole(ObjectBuilder::new().property("topic_name", of("TopicName")))
                .property("description", description()),
        )
        .schema(
            "TopicUpdate",
            whole(ObjectBuilder::new().property("description", description())),
        )
        .schema("HistoryPage", whole(page))
}

/// What errors are told with.
pub(super) fn errors(all: ComponentsBuilder) -> ComponentsBuilder {
    let codes = ErrorCode::ALL.map(ErrorCode::as_str);
    let details = ObjectBuilder::new()
        .schema_type(SchemaType::from_iter([Type::Object, Type::Null]))
        .property("limit", count())
        .description(Some("For a body that is too large the limit, in bytes"));
    let detail = AnyOfBuilder::new()
        .item(text())
        .item(Array::new(of("ValidationError")));
    let error = ObjectBuilder::new()
        .property("error", text().enum_values(Some(codes)))
        .property("message", text().min_length(Some(1)))
        .property("details", details)
        .property("request_id", text())
        .property("detail", detail);
    let part = SchemaType::from_iter([Type::String, Type::Integer]);
    let place = Array::new(ObjectBuilder::new().schema_type(part));
    let input = ObjectBuilder::new()
        .schema_type(SchemaType::AnyValue)
        .description(Some("What came, if it is not too large"));
    let wrong = ObjectBuilder::new()
        .property("type", text())
        .property("loc", place)
        .property("msg", text())
        .property("input", input);
    all.schema(
        "Error",
        whole(error).description(Some("What every error is told with")),
    )
    .schema(
        "ValidationError",
        whole(wrong)
            .description(Some("One thing that is wrong with a request"))
            .property("ctx", ObjectBuilder::new()),
    )
}

fn topic() -> ObjectBuilder {
    ObjectBuilder::new()
        .property("topic_id", text().pattern(Some("^topic_[0-9a-v]{12}$")))
        .property("topic_name", of("TopicName"))
        .property("owner_id", ObjectBuilder::new().schema_type(Type::Null))
        .property("created_at", or_null(of("Timestamp")))
        .property("description", description())
}

fn with_figures(object: ObjectBuilder) -> ObjectBuilder {
    object
        .property("message_count", count())
        .property("bytes", count())
        .property("subscribers", count())
        .property("oldest", or_null(of("MessageId")))
        .property("newest", or_null(of("MessageId")))
}

fn description() -> AnyOfBuilder {
    or_null(text().max_length(Some(1000)))
}
