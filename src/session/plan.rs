//! From a request's head to what will be done when its body is complete.

use super::access::{Redeemed, ShownTicket};
use super::answer::Answer;
use super::context::Context;
use super::document::{self, Shown};
use super::request::{Ticket, handler};
use super::rights::{self, Entry, Rights, no_reading};
use super::topics::{self, TopicsPlan};
use crate::api::error::ErrorCode;
use crate::api::origin::{CorsGrant, Refusal, is_preflight};
use crate::api::poll::PollRequest;
use crate::api::publish::ValidationErrors;
use crate::api::route::{self, Route, Routed};
use crate::api::stream::{StreamFormat, StreamRequest};
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
    Poll(Box<PollRequest>),
    RelayPoll,
    PollStats,
    Stream(StreamFormat, Box<StreamRequest>),
    Ack,
    /// A ticket was shown in place of a credential.
    Redeem(Box<ShownTicket>),
    Admit,
    Revoke,
    Health,
    Ready,
    Metrics,
    Topics(Box<TopicsPlan>),
    Document(Shown),
    /// The answer is known already; the body is read and ignored.
    Answer(Box<Answer<'static>>),
}

impl Plan {
    /// Whether the body is not wanted.
    pub(super) fn is_refusal(&self) -> bool {
        matches!(self, Plan::Answer(answer) if answer.is_error())
    }

    /// Whether it costs its sender as much as a message does: what operators ask for is free, and publishing
    /// is charged when its messages are known, or a ticket when it is known whose it is.
    pub(super) fn is_charged(&self) -> bool {
        match self {
            Plan::PublishOne(_) | Plan::PublishBulk(_) | Plan::Redeem(_) => false,
            Plan::Health | Plan::Ready | Plan::Metrics => false,
            Plan::Answer(answer) => answer.is_error(),
            _ => true,
        }
    }

    fn error(code: ErrorCode) -> Plan {
        Plan::Answer(Box::new(Answer::error(code)))
    }

    fn invalid(errors: &ValidationErrors) -> Plan {
        let error = Answer::error(ErrorCode::ValidationError)
            .message("The query of the request is not valid")
            .list(errors.detail().to_vec());
        Plan::Answer(Box::new(error))
    }

    fn refuse(code: ErrorCode, sentence: String) -> Plan {
        Plan::Answer(Box::new(Answer::error(code).message(sentence)))
    }
}

/// Plans a request, and notes in its ticket what the answer has to know.
pub(super) fn plan(head: &RequestHead<'_>, ticket: &mut Ticket, ctx: &mut Context<'_>) -> Plan {
    let path = percent_decode(head.path);
    let routed = path.as_deref().map_or(Routed::NotFound, |path| {
        route::find(path, head.method, ctx.offer())
    });
    if let Routed::Found(route) | Routed::MethodNotAllowed(route) = routed {
        ticket.handler = handler(Some(route));
    }
    match ctx.access.check(head.host, head.headers.first("origin")) {
        Ok(grant) => ticket.cors_origin = grant.map(|grant| grant.origin().into()),
        // Whatever page it is that loads a document, its scripts cannot read the answer.
        Err(Refusal::Origin) if is_document(routed) => {}
        Err(refusal) => return Plan::refuse(ErrorCode::Forbidden, refusal.to_string()),
    }
    if ctx.is_reserved && !is_for_operators(routed) {
        return Plan::error(ErrorCode::ServiceUnavailable);
    }
    if ticket.cors_origin.is_some() && is_preflight(head.method, &head.headers) {
        return preflight();
    }
    match routed {
        Routed::Found(route) => match rights::authorize(route, head, ctx) {
            Ok(Entry::Granted(rights)) => {
                ticket.rights = rights;
                plan_route(route, head, &path.unwrap_or_default(), &ticket.rights, ctx)
            }
            Ok(Entry::Ticket(digest)) => Plan::Redeem(Box::new(ShownTicket {
                digest,
                head: head.bytes.into(),
            })),
            Err(refusal) => Plan::Answer(refusal),
        },
        Routed::NotFound => Plan::error(ErrorCode::NotFound),
        Routed::MethodNotAllowed(route) => {
            let answer = Answer::error(ErrorCode::MethodNotAllowed);
            Plan::Answer(Box::new(answer.header("Allow", route.allow())))
        }
        Routed::Redirect => redirect(head),
    }
}

/// Plans a request anew when it is known whose ticket it has shown.
pub(super) fn plan_redeemed(
    head: &RequestHead<'_>,
    said: Redeemed,
    ticket: &mut Ticket,
    ctx: &Context<'_>,
) -> Plan {
    let path = percent_decode(head.path).unwrap_or_default();
    let Routed::Found(route) = route::find(&path, head.method, ctx.offer()) else {
        return Plan::error(ErrorCode::NotFound);
    };
    match rights::redeemed(said, route, head.method) {
        Ok(rights) => {
            ticket.rights = rights;
            plan_route(route, head, &path, &ticket.rights, ctx)
        }
        Err(refusal) => Plan::Answer(refusal),
    }
}

fn plan_route(
    route: Route,
    head: &RequestHead<'_>,
    path: &str,
    rights: &Rights,
    ctx: &Context<'_>,
) -> Plan {
    match route {
        Route::PublishOne => plan_publish(head, Plan::PublishOne),
        Route::PublishBulk => plan_publish(head, Plan::PublishBulk),
        Route::WebSocket => upgrade(head, false, ctx),
        Route::WebSocketEcho => upgrade(head, true, ctx),
        Route::Poll => match PollRequest::of_query(head.query) {
            Ok(request) => match rights.unreadable(&request.topics) {
                None => Plan::Poll(Box::new(request)),
                Some(topic) => Plan::Answer(Box::new(no_reading(topic))),
            },
            Err(errors) => Plan::invalid(&errors),
        },
        Route::RelayPoll => Plan::RelayPoll,
        Route::PollStats => Plan::PollStats,
        Route::Stream => plan_stream(head, rights),
        Route::Ack => Plan::Ack,
        Route::Tickets => Plan::Admit,
        Route::Revocations => Plan::Revoke,
        Route::Health => Plan::Health,
        Route::Ready => Plan::Ready,
        Route::Metrics => Plan::Metrics,
        Route::Topics | Route::TopicTotals | Route::Topic | Route::TopicMessages => {
            topics::plan(route, head, path, rights)
        }
        Route::OpenApi | Route::AsyncApi | Route::Docs | Route::Redoc | Route::DocsFile => {
            match document::show(route, head, path, ctx) {
                Some(shown) => Plan::Document(shown),
                None => Plan::error(ErrorCode::NotFound),
            }
        }
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

/// A client that accepts lines gets lines; any other gets events.
fn plan_stream(head: &RequestHead<'_>, rights: &Rights) -> Plan {
    let wants_lines = head.headers.list("accept").any(|range| {
        let mut parts = range.split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
        let name = parts.next().unwrap_or_default();
        name.eq_ignore_ascii_case(b"application/x-ndjson") && !parts.any(refuses)
    });
    let format = if wants_lines {
        StreamFormat::Lines
    } else {
        StreamFormat::Events
    };
    let last_event_id = head.headers.first("last-event-id");
    match StreamRequest::of_query(head.query, last_event_id) {
        Ok(request) => match rights.unreadable(&request.topics) {
            None => Plan::Stream(format, Box::new(request)),
            Some(topic) => Plan::Answer(Box::new(no_reading(topic))),
        },
        Err(errors) => Plan::invalid(&errors),
    }
}

/// A weight of zero: what has it is not acceptable (RFC 9110, section 12.4.2).
pub(super) fn refuses(parameter: &[u8]) -> bool {
    matches!(parameter, [b'q' | b'Q', b'=', b'0', rest @ ..] if rest.iter().all(|byte| b".0".contains(byte)))
}

/// Those that are answered on the last places (SPEC section 14).
fn is_for_operators(routed: Routed) -> bool {
    matches!(
        routed,
        Routed::Found(Route::Health | Route::Ready | Route::Metrics)
    )
}

fn is_document(routed: Routed) -> bool {
    matches!(routed, Routed::Found(route) if route.is_document())
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

/// To the same path, as it was sent, without the slash at its end.
fn redirect(head: &RequestHead<'_>) -> Plan {
    let slashes = ["/", "%2F", "%2f"];
    let path = slashes.iter().find_map(|it| head.path.strip_suffix(it));
    let path = path.unwrap_or(head.path);
    let location = match head.query {
        Some(query) => format!("{path}?{query}"),
        None => path.to_owned(),
    };
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
