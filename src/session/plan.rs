//! From a request's head to what will be done when its body is complete.

use super::answer::Answer;
use super::context::Context;
use super::request::{Ticket, handler};
use crate::api::error::ErrorCode;
use crate::api::origin::{CorsGrant, is_preflight};
use crate::api::route::{self, Route, Routed};
use crate::http::{Framing, Method, RequestHead, Version, percent_decode};
use crate::idempotency::Key;
use crate::ws::handshake::{self, Accept, HandshakeError, HandshakeRequest};

/// What a request leads to.
#[derive(Debug)]
pub(super) enum Plan {
    PublishOne(Option<Key>),
    PublishBulk(Option<Key>),
    Upgrade {
        accept: Accept,
        is_echo: bool,
    },
    Health,
    Ready,
    Metrics,
    /// The answer is known already; the body is read and ignored.
    Answer(Box<Answer<'static>>),
}

impl Plan {
    /// Whether the body is not wanted.
    pub(super) fn is_refusal(&self) -> bool {
        matches!(self, Plan::Answer(answer) if answer.is_error())
    }

    fn error(code: ErrorCode) -> Plan {
        Plan::Answer(Box::new(Answer::error(code)))
    }

    fn refuse(code: ErrorCode, sentence: String) -> Plan {
        Plan::Answer(Box::new(Answer::error(code).message(sentence)))
    }
}

/// Plans a request, and notes in its ticket what the answer has to know.
pub(super) fn plan(head: &RequestHead<'_>, ticket: &mut Ticket, ctx: &Context<'_>) -> Plan {
    let path = percent_decode(head.path);
    let routed = path.map_or(Routed::NotFound, |path| {
        route::find(&path, head.method, ctx.limits.has_echo)
    });
    if let Routed::Found(route) | Routed::MethodNotAllowed(route) = routed {
        ticket.handler = handler(Some(route));
    }
    match ctx.access.check(head.host, head.headers.first("origin")) {
        Ok(grant) => ticket.cors_origin = grant.map(|grant| grant.origin().into()),
        Err(refusal) => return Plan::refuse(ErrorCode::Forbidden, refusal.to_string()),
    }
    if ctx.is_reserved && !is_for_operators(routed) {
        return Plan::error(ErrorCode::ServiceUnavailable);
    }
    if ticket.cors_origin.is_some() && is_preflight(head.method, &head.headers) {
        return preflight();
    }
    match routed {
        Routed::Found(route) => plan_route(route, head, ctx),
        Routed::NotFound => Plan::error(ErrorCode::NotFound),
        Routed::MethodNotAllowed(route) => {
            let answer = Answer::error(ErrorCode::MethodNotAllowed);
            Plan::Answer(Box::new(answer.header("Allow", route.allow())))
        }
        Routed::Redirect(path) => redirect(path, head.query),
    }
}

fn plan_route(route: Route, head: &RequestHead<'_>, ctx: &Context<'_>) -> Plan {
    match route {
        Route::PublishOne => plan_publish(head, Plan::PublishOne),
        Route::PublishBulk => plan_publish(head, Plan::PublishBulk),
        Route::WebSocket => upgrade(head, false, ctx),
        Route::WebSocketEcho => upgrade(head, true, ctx),
        Route::Health => Plan::Health,
        Route::Ready => Plan::Ready,
        Route::Metrics => Plan::Metrics,
    }
}

fn plan_publish(head: &RequestHead<'_>, plan: fn(Option<Key>) -> Plan) -> Plan {
    let mut values = head.headers.all("idempotency-key");
    let Some(value) = values.next() else {
        return plan(None);
    };
    match Key::parse(value).filter(|_| values.all(|other| other == value)) {
        Some(key) => plan(Some(key)),
        None => {
            let sentence =
                "Idempotency-Key must be one value of 1 to 255 printable ASCII characters";
            Plan::refuse(ErrorCode::InvalidRequest, sentence.to_owned())
        }
    }
}

/// Those that are answered on the last places (SPEC section 14).
fn is_for_operators(routed: Routed) -> bool {
    matches!(
        routed,
        Routed::Found(Route::Health | Route::Ready | Route::Metrics)
    )
}

fn upgrade(head: &RequestHead<'_>, is_echo: bool, ctx: &Context<'_>) -> Plan {
    let request = HandshakeRequest {
        is_get: head.method == Method::Get,
        is_http11: head.version == Version::Http11,
        has_body: head.framing != Framing::Length(0),
    };
    match handshake::check(request, head.headers.iter()) {
        Ok(accept) if may_compress(ctx) => Plan::Upgrade { accept, is_echo },
        Ok(accept) => Plan::Upgrade {
            accept: accept.without_deflate(),
            is_echo,
        },
        Err(error) => refuse_upgrade(error),
    }
}

/// Compression is among the first things that are refused when memory is short (SPEC section 14).
fn may_compress(ctx: &Context<'_>) -> bool {
    ctx.limits.has_compression && ctx.budget.excess() == 0
}

fn refuse_upgrade(error: HandshakeError) -> Plan {
    let code = ErrorCode::of_status(error.status());
    let sentence = format!("This is no WebSocket handshake: {error}");
    let mut answer = Answer::error(code).message(sentence);
    if code == ErrorCode::UpgradeRequired {
        // RFC 9110 section 15.5.22 and RFC 6455 section 4.2.2.
        answer = answer
            .header("Upgrade", "websocket")
            .header("Connection", "Upgrade")
            .header("Sec-WebSocket-Version", "13");
    }
    Plan::Answer(Box::new(answer))
}

fn redirect(path: &'static str, query: Option<&str>) -> Plan {
    let location = query.map_or_else(|| path.to_owned(), |query| format!("{path}?{query}"));
    Plan::Answer(Box::new(Answer::empty(307).header("Location", location)))
}

/// Every answer to a listed origin has its other fields.
fn preflight() -> Plan {
    let answer = CorsGrant::preflight_headers()
        .into_iter()
        .fold(Answer::empty(204), |answer, (name, value)| {
            answer.header(name, value)
        });
    Plan::Answer(Box::new(answer))
}
