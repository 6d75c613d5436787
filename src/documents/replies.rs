//! Answers of operations: statuses, fields, bodies.

use serde_json::{Map, Value, json};

use super::schemas::of;
use crate::api::error::ErrorCode;

/// Fields that answers may have, and what they say.
const FIELDS: [(&str, &str); 16] = [
    (
        "X-Request-Id",
        "The id of the request; stands on every answer",
    ),
    (
        "X-RateLimit-Limit",
        "Messages and requests in a minute, where that is limited",
    ),
    ("X-RateLimit-Remaining", "How many are left"),
    (
        "X-RateLimit-Reset",
        "Second of Unix time at which all are there again",
    ),
    ("Retry-After", "Seconds after which to try again"),
    ("WWW-Authenticate", "`Bearer`"),
    (
        "Idempotent-Replayed",
        "`true` on the repeated answer to a repeated request",
    ),
    ("Cache-Control", "Who may keep the answer"),
    ("Location", "The path without the slash at its end"),
    ("Upgrade", "`websocket`"),
    ("Sec-WebSocket-Version", "`13`"),
    ("Sec-WebSocket-Accept", "RFC 6455, section 4.2.2"),
    ("ETag", "Tells versions and codings of a document apart"),
    ("Vary", "What else the answer depends on"),
    (
        "Content-Security-Policy",
        "What the page may load: nothing from elsewhere",
    ),
    (
        "X-Accel-Buffering",
        "`no`: proxies are to pass the stream on as it comes",
    ),
];

/// Statuses of errors and of the redirection, with what they mean.
const REFUSALS: [(u16, &str); 17] = [
    (307, "The name ends in a slash: to the path without it"),
    (400, "The request is malformed"),
    (
        401,
        "Credentials are asked for, and there is none that holds",
    ),
    (
        403,
        "The credential does not allow this, or the origin or host is not served",
    ),
    (404, "There is no such thing"),
    (408, "The request did not come in time; the connection ends"),
    (409, "There is such a thing already"),
    (413, "The body is larger than `details.limit` bytes"),
    (414, "The request target is too long"),
    (
        422,
        "The request breaks a rule: `detail` lists what is wrong, or the key belongs to another request",
    ),
    (426, "This is no WebSocket handshake of version 13"),
    (429, "More messages or requests than the rate limit allows"),
    (431, "The head is too long"),
    (500, "The server failed"),
    (501, "Unknown transfer coding"),
    (
        503,
        "The server cannot take this now: a limit, its store, or its end",
    ),
    (505, "Neither HTTP/1.0 nor HTTP/1.1"),
];

/// All fields as components.
pub(super) fn fields() -> Map<String, Value> {
    let field = |about| json!({"description": about, "schema": {"type": "string"}});
    FIELDS
        .iter()
        .map(|(name, about)| ((*name).to_owned(), field(about)))
        .collect()
}

/// All refusals as components, with a body and, for `HEAD`, without.
pub(super) fn refusals() -> Map<String, Value> {
    let mut all = Map::new();
    for (status, about) in REFUSALS {
        let codes: Vec<&str> = ErrorCode::ALL
            .into_iter()
            .filter(|code| code.status() == status)
            .map(ErrorCode::as_str)
            .collect();
        let mut names = vec!["X-Request-Id"];
        names.extend(match status {
            307 => &["Location"][..],
            401 => &["WWW-Authenticate"],
            426 => &["Upgrade", "Sec-WebSocket-Version"],
            429 => &[
                "Retry-After",
                "X-RateLimit-Limit",
                "X-RateLimit-Remaining",
                "X-RateLimit-Reset",
            ],
            503 => &["Retry-After"],
            _ => &[],
        });
        let bare = json!({"description": about, "headers": headers(&names)});
        all.insert(format!("{status}-head"), bare.clone());
        let mut whole = bare;
        if !codes.is_empty() {
            let code = json!({"properties": {"error": {"enum": codes}}});
            let schema = json!({"allOf": [of("Error"), code]});
            whole["content"] = json!({"application/json": {"schema": schema}});
        }
        all.insert(status.to_string(), whole);
    }
    all
}

/// A refusal by its status.
pub(super) fn refusal(status: u16, is_head: bool) -> Value {
    let end = if is_head { "-head" } else { "" };
    json!({"$ref": format!("#/components/responses/{status}{end}")})
}

/// An answer with a JSON body of this schema.
pub(super) fn json_of(about: &str, schema: &Value, names: &[&str]) -> Value {
    body_of(about, &[("application/json", schema.clone())], names)
}

/// An answer with a body of any of these types.
pub(super) fn body_of(about: &str, contents: &[(&str, Value)], names: &[&str]) -> Value {
    let contents: Map<String, Value> = contents
        .iter()
        .map(|(kind, schema)| ((*kind).to_owned(), json!({"schema": schema})))
        .collect();
    let mut answer = empty(about, names);
    answer["content"] = contents.into();
    answer
}

/// An answer without a body.
pub(super) fn empty(about: &str, names: &[&str]) -> Value {
    let always = ["X-Request-Id"];
    let limited = [
        "X-RateLimit-Limit",
        "X-RateLimit-Remaining",
        "X-RateLimit-Reset",
    ];
    let names: Vec<&str> = always
        .iter()
        .chain(&limited)
        .chain(names)
        .copied()
        .collect();
    json!({"description": about, "headers": headers(&names)})
}

fn headers(names: &[&str]) -> Value {
    let reference = |name: &str| json!({"$ref": format!("#/components/headers/{name}")});
    let headers: Map<String, Value> = names
        .iter()
        .map(|name| ((*name).to_owned(), reference(name)))
        .collect();
    headers.into()
}
