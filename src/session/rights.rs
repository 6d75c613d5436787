//! Who asks, and what they may ask for (SPEC section 12).

use std::borrow::Cow;
use std::sync::Arc;

use super::access::Redeemed;
use super::answer::Answer;
use super::context::Context;
use crate::access::{Caller, Digest, Grant};
use crate::api::error::ErrorCode;
use crate::api::query;
use crate::api::route::Route;
use crate::http::{Method, RequestHead};
use crate::topic::TopicName;

/// The subprotocol that carries a credential begins with this.
const PROTOCOL_PREFIX: &[u8] = b"bearer.";

/// The rights of one who asks. Where no credentials are asked for everybody has all of them.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Rights(Option<Arc<Caller>>);

impl Rights {
    /// Those of this caller.
    pub fn of(caller: Arc<Caller>) -> Rights {
        Rights(Some(caller))
    }

    /// Whose they are; `None` where no credentials are asked for.
    pub fn caller(&self) -> Option<&Arc<Caller>> {
        self.0.as_ref()
    }

    /// Whether messages may be put on this topic.
    pub fn may_publish(&self, topic: &str) -> bool {
        self.allow(|grant| grant.may_publish(topic))
    }

    /// Whether messages of this topic may be taken.
    pub fn may_read(&self, topic: &str) -> bool {
        self.allow(|grant| grant.may_read(topic))
    }

    /// The first of these topics whose messages may not be taken.
    pub(super) fn unreadable<'t>(&self, topics: &'t [TopicName]) -> Option<&'t TopicName> {
        topics.iter().find(|topic| !self.may_read(topic))
    }

    fn allow(&self, allows: impl FnOnce(&Grant) -> bool) -> bool {
        self.0.as_ref().is_none_or(|caller| allows(&caller.grant))
    }

    /// When they end, in monotonic microseconds; `u64::MAX` for never.
    pub(super) fn end(&self, ctx: &Context<'_>) -> u64 {
        let end = self.0.as_ref().and_then(|caller| caller.expires_at);
        end.map_or(u64::MAX, |seconds| {
            let left = seconds.saturating_mul(1_000_000);
            ctx.in_micros(left.saturating_sub(ctx.now.wall_micros))
        })
    }
}

/// What a request shows to be let in.
pub(super) enum Entry {
    /// Nothing more is asked for.
    Granted(Rights),
    /// The ticket with this hash: it must be found out whose that is.
    Ticket(Digest),
}

/// Finds out who sends a request to this route, and whether they may.
pub(super) fn authorize(
    route: Route,
    head: &RequestHead<'_>,
    ctx: &mut Context<'_>,
) -> Result<Entry, Box<Answer<'static>>> {
    let is_open = match route {
        Route::Health | Route::Ready => true,
        Route::Metrics => !ctx.limits.guards_metrics,
        route => route.is_document(),
    };
    let now = ctx.now.wall_micros / 1_000_000;
    let takes_query = ctx.limits.takes_query_tokens;
    let Some(gate) = ctx.gate.as_deref_mut().filter(|_| !is_open) else {
        return Ok(Entry::Granted(Rights::default()));
    };
    let credential = match shown(route, head, takes_query).map_err(unauthorized)? {
        Shown::Credential(credential) => credential,
        Shown::Ticket(digest) => return Ok(Entry::Ticket(digest)),
    };
    let caller = gate
        .admit(&credential, now)
        .map_err(|denied| unauthorized(&denied.to_string()))?;
    of_caller(caller, route, head.method).map(Entry::Granted)
}

/// The rights of who has shown a ticket, if they suffice for this route.
pub(super) fn redeemed(
    said: Redeemed,
    route: Route,
    method: Method<'_>,
) -> Result<Rights, Box<Answer<'static>>> {
    match said {
        Redeemed::By(caller) => of_caller(caller, route, method),
        Redeemed::Unknown => Err(unauthorized(
            "The ticket is not known: it was used, or its time is over",
        )),
        Redeemed::Unavailable(sentence) => Err(Box::new(
            Answer::error(ErrorCode::ServiceUnavailable).message(sentence),
        )),
    }
}

fn of_caller(
    caller: Arc<Caller>,
    route: Route,
    method: Method<'_>,
) -> Result<Rights, Box<Answer<'static>>> {
    let rights = Rights(Some(caller));
    if rights.allow(|grant| reaches(grant, route, method)) {
        Ok(rights)
    } else {
        Err(Box::new(Answer::error(ErrorCode::Forbidden).message(
            "The credential does not allow what this route is for",
        )))
    }
}

/// What a route asks of a grant, whatever the topic.
fn reaches(grant: &Grant, route: Route, method: Method<'_>) -> bool {
    match (route, method) {
        (Route::PublishOne | Route::PublishBulk, _)
        | (Route::Topics, Method::Post)
        | (Route::Topic, Method::Put) => grant.may_write(),
        (Route::Topic, Method::Delete) => grant.is_admin(),
        (Route::PollStats | Route::TopicTotals | Route::Metrics, _) => grant.may_read_all(),
        (Route::Health | Route::Ready | Route::Revocations, _) => true,
        (Route::OpenApi | Route::AsyncApi | Route::Docs | Route::Redoc | Route::DocsFile, _) => {
            true
        }
        (
            Route::WebSocket
            | Route::WebSocketEcho
            | Route::Poll
            | Route::RelayPoll
            | Route::Stream
            | Route::Ack
            | Route::Tickets
            | Route::Topics
            | Route::Topic
            | Route::TopicMessages,
            _,
        ) => grant.may_read_some(),
    }
}

/// A credential, or what stands for one.
enum Shown<'h> {
    Credential(Cow<'h, str>),
    Ticket(Digest),
}

/// The credential of a request, or what is wrong with it. The first place that has one counts, so
/// that a bad one is an error whatever else there is.
fn shown<'h>(
    route: Route,
    head: &RequestHead<'h>,
    takes_query: bool,
) -> Result<Shown<'h>, &'static str> {
    let mut fields = head.headers.all("authorization");
    if let Some(field) = fields.next() {
        if fields.next().is_some() {
            return Err("There is more than one Authorization header");
        }
        let credential = bearer(field).map(Shown::Credential);
        return credential.ok_or("Authorization must be Bearer and one credential");
    }
    if matches!(route, Route::WebSocket | Route::WebSocketEcho) {
        let mut offered = head.headers.list("sec-websocket-protocol");
        if let Some(token) = offered.find_map(|name| name.strip_prefix(PROTOCOL_PREFIX)) {
            let credential = text(token).map(Shown::Credential);
            return credential.ok_or("The subprotocol holds no credential");
        }
    }
    let [token, ticket] = query::last_of(head.query, &["token", "ticket"]);
    let takes_ticket = matches!(
        route,
        Route::Stream | Route::WebSocket | Route::WebSocketEcho
    );
    if let Some(ticket) = ticket.filter(|_| takes_ticket) {
        return Ok(Shown::Ticket(Digest::of(ticket.as_bytes())));
    }
    match token {
        Some(token) if takes_query => Ok(Shown::Credential(token)),
        Some(_) => Err("A credential in the query is not accepted by this server"),
        None => Err("This server asks for a credential"),
    }
}

/// RFC 6750 section 2.1; the name of a scheme has no case (RFC 9110 section 11.1).
fn bearer(field: &[u8]) -> Option<Cow<'_, str>> {
    let (scheme, token) = field.split_at_checked(b"bearer ".len())?;
    let is_bearer = scheme.eq_ignore_ascii_case(b"bearer ");
    text(token.trim_ascii()).filter(|_| is_bearer)
}

fn text(token: &[u8]) -> Option<Cow<'_, str>> {
    let is_token = !token.is_empty() && token.iter().all(u8::is_ascii_graphic);
    let text = std::str::from_utf8(token).ok()?;
    is_token.then_some(Cow::Borrowed(text))
}

fn unauthorized(sentence: &str) -> Box<Answer<'static>> {
    Box::new(Answer::error(ErrorCode::Unauthorized).message(sentence.to_owned()))
}

/// The answer to who may not put messages on this topic.
pub(super) fn no_publishing(topic: &str) -> Answer<'static> {
    let sentence = format!("The credential does not allow publishing to the topic {topic}");
    Answer::error(ErrorCode::Forbidden).message(sentence)
}

/// The answer to who may not take messages of this topic.
pub(super) fn no_reading(topic: &str) -> Answer<'static> {
    Answer::error(ErrorCode::Forbidden).message(no_reading_sentence(topic))
}

/// The same as a sentence.
pub(super) fn no_reading_sentence(topic: &str) -> String {
    format!("The credential does not allow reading the topic {topic}")
}
