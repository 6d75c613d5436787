//! Schemas of what HTTP takes and answers, beside topics and errors.

use utoipa::openapi::schema::{ComponentsBuilder, OneOfBuilder};
use utoipa::openapi::{Array, ObjectBuilder, RefOr, Schema, Type};

use super::schemas::{
    count, delivered, delivery_attempt, failed, flag, integer, name, of, or_null, some, text, whole,
};
use crate::access::TICKET_SECONDS;
use crate::api::command::ACK_IDS_MAX;
use crate::api::poll::{RELAY_TOPICS_MAX, TIMEOUT_SECONDS_MAX};

/// Messages in.
pub(super) fn publishing(all: ComponentsBuilder) -> ComponentsBuilder {
    let ttl = or_null(integer().exclusive_minimum(Some(0))).description(Some(
        "Seconds after which it is not delivered any more to who comes later",
    ));
    let message = whole(
        ObjectBuilder::new()
            .property("topic", of("TopicName"))
            .property("payload", of("Payload")),
    )
    .description(Some("A message to publish"))
    .property("ttl", ttl)
    .property("metadata", or_null(of("Metadata")));
    let outcome = whole(
        ObjectBuilder::new()
            .property("message_id", or_null(of("MessageId")))
            .property("topic", of("TopicName"))
            .property("status", text().enum_values(Some(["accepted", "rejected"])))
            .property("error", or_null(text())),
    );
    let summary = whole(
        ObjectBuilder::new()
            .property("total", count())
            .property("accepted", count())
            .property("rejected", count()),
    );
    let nothing = ObjectBuilder::new().schema_type(Type::Null);
    all.schema("Message", message)
        .schema(
            "MessageResponse",
            placed(of("MessageId")).description(Some("Where a message is stored")),
        )
        .schema(
            "SpooledResponse",
            placed(nothing).description(Some(
                "The message waits for its store, and gets its id there",
            )),
        )
        .schema(
            "BulkMessageRequest",
            whole(ObjectBuilder::new().property("messages", some(of("Message"), 100))),
        )
        .schema(
            "BulkMessageResponse",
            whole(
                ObjectBuilder::new()
                    .property("results", Array::new(outcome))
                    .property("summary", summary),
            )
            .description(Some("In the order of the request")),
        )
}

/// Messages out, by polls, and their acknowledgement.
pub(super) fn consuming(all: ComponentsBuilder) -> ComponentsBuilder {
    let relayed = delivered().property("stream_id", text().pattern(Some(r"^\d+-\d+$")));
    let timeout = flag()
        .enum_values(Some([true]))
        .description(Some("Only if there is nothing"));
    let since = ObjectBuilder::new()
        .additional_properties(Some(text()))
        .description(Some("Of each topic the id of the last message got"));
    let relay_timeout = integer()
        .minimum(Some(1))
        .maximum(Some(TIMEOUT_SECONDS_MAX))
        .default(Some(30.into()));
    all.schema(
        "PolledMessage",
        whole(delivered())
            .description(Some("A message, as polls and pages have it"))
            .property("delivery_attempt", delivery_attempt()),
    )
    .schema(
        "RelayedMessage",
        whole(relayed).description(Some(
            "A message with its place as `<milliseconds>-<counter>`",
        )),
    )
    .schema(
        "PollResponse",
        whole(
            ObjectBuilder::new()
                .property("messages", Array::new(of("PolledMessage")))
                .property("next_offset", of("Offset"))
                .property("has_more", flag()),
        )
        .property("gaps", Array::new(of("Gap")))
        .property("timeout", timeout),
    )
    .schema(
        "RelayPollRequest",
        whole(ObjectBuilder::new().property("topics", some(of("TopicName"), RELAY_TOPICS_MAX)))
            .property("since", since)
            .property("timeout", relay_timeout),
    )
    .schema(
        "RelayPollResponse",
        whole(
            ObjectBuilder::new()
                .property("messages", Array::new(of("RelayedMessage")))
                .property("has_more", flag()),
        ),
    )
    .schema(
        "PollStats",
        whole(ObjectBuilder::new().property("active_waiters", count())),
    )
    .schema(
        "AckRequest",
        whole(ObjectBuilder::new().property("message_ids", some(text(), ACK_IDS_MAX)))
            .property("client_id", name())
            .property("cumulative", flag()),
    )
    .schema(
        "AckResponse",
        whole(
            ObjectBuilder::new()
                .property("acknowledged", count())
                .property("failed", failed()),
        ),
    )
}

/// Credentials, and what operators ask.
pub(super) fn operating(all: ComponentsBuilder) -> ComponentsBuilder {
    let ticket = ObjectBuilder::new()
        .property("ticket", text())
        .property("expires_in", integer().enum_values(Some([TICKET_SECONDS])));
    // A schema of utoipa is an object or a choice, not both: so each choice is the whole object.
    let whose = |member| {
        ObjectBuilder::new()
            .property("token", text().min_length(Some(1)))
            .property("token_id", text().min_length(Some(1)))
            .property("subject", text().min_length(Some(1)))
            .property(
                "expires_at",
                integer().minimum(Some(1)).maximum(Some(u32::MAX)),
            )
            .required(member)
    };
    let revocation = OneOfBuilder::new()
        .item(whose("token"))
        .item(whose("token_id"))
        .item(whose("subject"))
        .description(Some(
            "Whose tokens end: exactly one of `token`, `token_id` and `subject`",
        ));
    let checks = ObjectBuilder::new().additional_properties(Some(text()));
    all.schema(
        "Ticket",
        whole(ticket).description(Some("Opens one stream or WebSocket")),
    )
    .schema("RevocationRequest", revocation)
    .schema(
        "Health",
        whole(
            ObjectBuilder::new()
                .property("status", text().enum_values(Some(["healthy"])))
                .property("timestamp", of("Timestamp"))
                .property("version", text()),
        ),
    )
    .schema(
        "Readiness",
        whole(
            ObjectBuilder::new()
                .property("ready", flag())
                .property("checks", checks),
        ),
    )
}

/// Where a message is, or will be.
fn placed(id: impl Into<RefOr<Schema>>) -> ObjectBuilder {
    whole(
        ObjectBuilder::new()
            .property("message_id", id)
            .property("topic", of("TopicName"))
            .property("timestamp", of("Timestamp")),
    )
}
