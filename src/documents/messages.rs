//! Schemas of what is said on WebSocket and stream.

use utoipa::openapi::schema::{AnyOfBuilder, ComponentsBuilder, Ref};
use utoipa::openapi::{Array, ObjectBuilder};

use super::schemas::{
    ack_timeout, count, delivered, delivery_attempt, delivery_mode, failed, flag, integer,
    max_deliveries, name, number, of, on_lag, or_null, since, some, text, whole, window,
};
use crate::api::command::{
    ACK_IDS_MAX, CommandErrorCode, HEARTBEAT_SECONDS_MAX, NACK_DELAY_SECONDS_MAX, TOPICS_MAX,
};

/// What clients of WebSocket and stream get.
pub(super) fn sent(all: ComponentsBuilder) -> ComponentsBuilder {
    let subscribed = whole(
        said("subscribed")
            .property("topics", Array::new(of("TopicName")))
            .property("session_id", text().pattern(Some("^sess_[0-9a-f]{16}$")))
            .property("timestamp", of("Timestamp")),
    )
    .description(Some("What is subscribed to, and where it starts"))
    .property(
        "positions",
        ObjectBuilder::new().additional_properties(Some(of("MessageId"))),
    )
    .property(
        "recovered",
        ObjectBuilder::new().additional_properties(Some(flag())),
    )
    .property("offset", offset());
    let unsubscribed = said("unsubscribed").property("topics", Array::new(of("TopicName")));
    let delivery = whole(delivered().property("type", kind("message")))
        .description(Some("A message"))
        .property("delivery_attempt", delivery_attempt())
        .property("offset", offset());
    let reasons = ["trimmed", "lagged", "epoch_changed"];
    let gap = whole(
        said("gap")
            .property("topic", of("TopicName"))
            .property("from", of("MessageId"))
            .property("to", of("MessageId"))
            .property("reason", text().enum_values(Some(reasons))),
    )
    .description(Some(
        "Messages that cannot be delivered: above `from`, up to and with `to`",
    ))
    .property("offset", offset());
    let acked = said("acked")
        .property("acknowledged", count())
        .property("failed", failed());
    let until = |kind| whole(said(kind).property("expires_at", or_null(of("Timestamp"))));
    let expiring = until("auth_expiring").description(Some("Go on with an `auth`"));
    let codes = CommandErrorCode::ALL.map(CommandErrorCode::as_str);
    let error = said("error")
        .property("code", text().enum_values(Some(codes)))
        .property("message", text())
        .property(
            "details",
            or_null(whole(ObjectBuilder::new().property("field", text()))),
        );
    let code = integer().minimum(Some(1000)).maximum(Some(4999));
    let close = said("close")
        .property("code", code)
        .property("reason", text());
    let at = |kind| whole(said(kind).property("timestamp", of("Timestamp")));
    all.schema("Subscribed", subscribed)
        .schema("Unsubscribed", whole(unsubscribed))
        .schema("Delivery", delivery)
        .schema("Gap", gap)
        .schema("Acked", whole(acked))
        .schema("Pong", at("pong"))
        .schema("Heartbeat", at("heartbeat"))
        .schema("AuthExpiring", expiring)
        .schema("Authenticated", until("authenticated"))
        .schema(
            "CommandError",
            whole(error).description(Some("What was wrong with a message")),
        )
        .schema(
            "Close",
            whole(close).description(Some(
                "The last object of a stream, in the words of a close frame",
            )),
        )
}

/// What clients of a WebSocket send.
pub(super) fn received(all: ComponentsBuilder) -> ComponentsBuilder {
    let heartbeat = integer()
        .minimum(Some(0))
        .maximum(Some(HEARTBEAT_SECONDS_MAX));
    let subscribe = whole(
        ObjectBuilder::new()
            .property("topics", some(of("TopicName"), TOPICS_MAX))
            .property("client_id", name()),
    )
    .description(Some("Must come first; its `type` may be left out there"))
    .property("type", kind("subscribe"))
    .property("offset", since())
    .property("on_lag", on_lag())
    .property("heartbeat", heartbeat)
    .property("delivery_mode", delivery_mode())
    .property("group", name())
    .property("ack_timeout", ack_timeout())
    .property("window", window())
    .property("max_deliveries", max_deliveries())
    .property("reset", flag());
    let unsubscribe = said("unsubscribe").property("topics", some(of("TopicName"), ACK_IDS_MAX));
    // A schema of utoipa is an object or a choice, not both: so each choice is the whole object.
    let acknowledging = |member| {
        whole(said("ack"))
            .property("message_id", text())
            .property("message_ids", some(text(), ACK_IDS_MAX))
            .property("cumulative", flag())
            .property("confirm", flag())
            .required(member)
    };
    let ack = AnyOfBuilder::new()
        .item(acknowledging("message_id"))
        .item(acknowledging("message_ids"))
        .description(Some("Messages were received"));
    let delay = number()
        .minimum(Some(0))
        .maximum(Some(NACK_DELAY_SECONDS_MAX));
    let nack = whole(said("nack").property("message_id", text()))
        .description(Some("Deliver it again"))
        .property("delay", delay);
    let auth = said("auth").property("token", text().min_length(Some(1)));
    all.schema("Subscribe", subscribe)
        .schema("Unsubscribe", whole(unsubscribe))
        .schema("Ack", ack)
        .schema("Nack", nack)
        .schema(
            "Auth",
            whole(auth).description(Some("Another credential for the connection")),
        )
        .schema("Ping", whole(said("ping")))
}

/// A message of this `type`.
fn said(name: &str) -> ObjectBuilder {
    ObjectBuilder::new().property("type", kind(name))
}

fn kind(name: &str) -> ObjectBuilder {
    text().enum_values(Some([name]))
}

fn offset() -> Ref {
    let mut offset = of("Cursor");
    offset.description =
        "Only on lines of several topics: from where to go on behind this".to_owned();
    offset
}
