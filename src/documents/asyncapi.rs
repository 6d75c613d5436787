//! AsyncAPI 3.0: what WebSocket and stream say, both ways.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::Description;
use super::schemas::{self, of};
use crate::api::close_reason::CloseReason;
use crate::api::route::Route;

/// Messages that clients of a WebSocket send: name among the messages, schema.
const RECEIVED: [(&str, &str); 6] = [
    ("subscribe", "Subscribe"),
    ("unsubscribe", "Unsubscribe"),
    ("ack", "Ack"),
    ("nack", "Nack"),
    ("auth", "Auth"),
    ("ping", "Ping"),
];

/// Messages that they get.
const SENT: [(&str, &str); 10] = [
    ("subscribed", "Subscribed"),
    ("unsubscribed", "Unsubscribed"),
    ("message", "Delivery"),
    ("gap", "Gap"),
    ("acked", "Acked"),
    ("pong", "Pong"),
    ("heartbeat", "Heartbeat"),
    ("auth_expiring", "AuthExpiring"),
    ("authenticated", "Authenticated"),
    ("error", "CommandError"),
];

/// What clients of a stream get.
const STREAMED: [&str; 5] = ["subscribed", "message", "gap", "heartbeat", "close"];

/// The document.
pub(super) fn describe(about: &Description<'_>) -> Value {
    let close = [("close", "Close")];
    let messages: Map<String, Value> = RECEIVED
        .iter()
        .chain(&SENT)
        .chain(&close)
        .map(|(name, schema)| ((*name).to_owned(), message(name, schema)))
        .collect();
    let sent = SENT.map(|(name, _)| name);
    let received = RECEIVED.map(|(name, _)| name);
    let spoken: Vec<&str> = received.iter().chain(&sent).copied().collect();
    json!({
        "asyncapi": "3.0.0",
        "info": {
            "title": about.title,
            "version": about.version,
            "description": "What WebSocket and stream of this server say. Everything else is in `openapi.json`.",
            "license": {"name": "MIT"},
        },
        "defaultContentType": "application/json",
        "channels": {
            "websocket": {
                "address": Route::WebSocket.pattern(),
                "title": "WebSocket",
                "description": format!(
                    "Text frames, each one JSON object. The first message is a `subscribe`.\n\n\
                     Close codes: {}.\n\n\
                     With 1001 and the reason `{{\"reconnect_after_ms\":n}}` the server stops, and a client comes back \
                     in so many milliseconds.",
                    close_codes(),
                ),
                "messages": among(&spoken),
            },
            "stream": {
                "address": Route::Stream.pattern(),
                "title": "Stream",
                "description": "Server-Sent Events named after the `type` of their data, or with `Accept: \
                    application/x-ndjson` one object a line. Heartbeats are comments among events.",
                "messages": among(&STREAMED),
            },
        },
        "operations": {
            "receive": operation("receive", "websocket", &received),
            "send": operation("send", "websocket", &sent),
            "stream": operation("send", "stream", &STREAMED),
        },
        "components": {"messages": messages, "schemas": schemas::all().build().schemas},
    })
}

/// Each code with the reasons that go with it.
fn close_codes() -> String {
    let mut codes: BTreeMap<u16, Vec<&str>> = BTreeMap::new();
    for reason in CloseReason::ALL {
        let code = reason.close_code().get();
        codes.entry(code).or_default().push(reason.as_str());
    }
    let codes = codes
        .into_iter()
        .map(|(code, reasons)| format!("{code} ({})", reasons.join(", ")));
    codes.collect::<Vec<_>>().join("; ")
}

fn message(name: &str, schema: &str) -> Value {
    json!({"name": name, "title": schema, "payload": of(schema)})
}

fn among(names: &[&str]) -> Value {
    let reference = |name: &str| json!({"$ref": format!("#/components/messages/{name}")});
    let messages: Map<String, Value> = names
        .iter()
        .map(|name| ((*name).to_owned(), reference(name)))
        .collect();
    messages.into()
}

fn operation(action: &str, channel: &str, names: &[&str]) -> Value {
    let reference = |name: &&str| json!({"$ref": format!("#/channels/{channel}/messages/{name}")});
    let messages: Vec<Value> = names.iter().map(reference).collect();
    json!({
        "action": action,
        "channel": {"$ref": format!("#/channels/{channel}")},
        "messages": messages,
    })
}
