//! Answers of operations: statuses, fields, bodies.

use utoipa::openapi::header::{Header, HeaderBuilder};
use utoipa::openapi::response::{Response, ResponseBuilder};
use utoipa::openapi::schema::AllOfBuilder;
use utoipa::openapi::{ComponentsBuilder, Content, ObjectBuilder, Ref, RefOr, Schema};

use super::schemas::{of, text};
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

/// All fields and refusals as components, the latter with a body and, for `HEAD`, without.
pub(super) fn all(mut components: ComponentsBuilder) -> ComponentsBuilder {
    for (name, about) in FIELDS {
        let field = HeaderBuilder::new()
            .schema(Some(text()))
            .description(Some(about));
        components = components.header(name, Header::from(field));
    }
    for (status, about) in REFUSALS {
        let whole = refused(status, about);
        let mut bare = whole.clone();
        leave_body_out(&mut bare);
        components = components
            .response(status.to_string(), whole)
            .response(format!("{status}-head"), bare);
    }
    components
}

/// A refusal by its status.
pub(super) fn refusal(status: u16) -> Ref {
    Ref::from_response_name(status.to_string())
}

/// An answer with a JSON body of this schema.
pub(super) fn json_of(
    about: &str,
    schema: impl Into<RefOr<Schema>>,
    names: &[&str],
) -> ResponseBuilder {
    answer(about, names).content("application/json", Content::new(Some(schema)))
}

/// An answer with these fields beside those that all have, and without a body.
pub(super) fn answer(about: &str, names: &[&str]) -> ResponseBuilder {
    let limited = [
        "X-RateLimit-Limit",
        "X-RateLimit-Remaining",
        "X-RateLimit-Reset",
    ];
    with_fields(about, limited.iter().chain(names))
}

/// Makes of what `GET` gets what `HEAD` does.
pub(super) fn leave_body_out(answer: &mut RefOr<Response>) {
    match answer {
        RefOr::Ref(to) => to.ref_location.push_str("-head"),
        RefOr::T(answer) => answer.content.clear(),
    }
}

fn refused(status: u16, about: &str) -> RefOr<Response> {
    let names = match status {
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
    };
    let answer = with_fields(about, names);
    let codes: Vec<&str> = ErrorCode::ALL
        .into_iter()
        .filter(|code| code.status() == status)
        .map(ErrorCode::as_str)
        .collect();
    if codes.is_empty() {
        return answer.into();
    }
    let code = ObjectBuilder::new().property("error", text().enum_values(Some(codes)));
    let schema = AllOfBuilder::new().item(of("Error")).item(code);
    answer
        .content("application/json", Content::new(Some(schema)))
        .into()
}

fn with_fields<'n>(about: &str, names: impl IntoIterator<Item = &'n &'n str>) -> ResponseBuilder {
    let answer = ResponseBuilder::new().description(about);
    std::iter::once(&"X-Request-Id")
        .chain(names)
        .fold(answer, |answer, name| {
            answer.header_ref(*name, Ref::new(format!("#/components/headers/{name}")))
        })
}
