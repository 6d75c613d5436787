//! Tickets, and calling tokens back: from a request to what the worker is asked, and from what it says
//! to the answer.

use std::borrow::Cow;
use std::sync::Arc;

use super::answer::{Answer, answer};
use super::context::Context;
use super::publish::invalid;
use super::request::Ticket;
use super::rights::Rights;
use super::{Effect, Turn};
use crate::access::{Caller, Digest, Revocation, TICKET_SECONDS};
use crate::api::error::ErrorCode;
use crate::api::revocation::{RevocationRequest, parse_revocation};

/// A request about credentials that waits for its answer.
#[derive(Debug)]
pub struct AccessRequest {
    /// The request; goes back to [`Session::access_answered`](super::Session::access_answered).
    pub ticket: Ticket,
    /// What is asked.
    pub question: AccessQuestion,
}

/// What is asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AccessQuestion {
    /// A ticket for who asks.
    Admission,
    /// To call tokens back.
    Revocation(Revocation),
}

/// What was said.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum AccessAnswer {
    /// This is the ticket.
    Admitted(String),
    /// No instance accepts those tokens any more, or will not within a second.
    Revoked,
    /// It cannot be done now, as this sentence says.
    Unavailable(String),
}

/// A request with a ticket: it goes on when it is known whose ticket it is.
#[derive(Debug)]
pub struct Redemption {
    pub(super) request: Ticket,
    pub(super) shown: ShownTicket,
}

/// A ticket as it was shown.
#[derive(Debug)]
pub(super) struct ShownTicket {
    pub(super) digest: Digest,
    /// The head of the request, as it was sent.
    pub(super) head: Box<[u8]>,
}

impl Redemption {
    /// The hash of the ticket.
    pub fn digest(&self) -> &Digest {
        &self.shown.digest
    }
}

/// What a ticket is good for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Redeemed {
    /// Whoever shows it is this caller.
    By(Arc<Caller>),
    /// Nothing: nobody got it, it was used, or its time is over.
    Unknown,
    /// It is not known, as this sentence says.
    Unavailable(&'static str),
}

/// Reads who is to lose what, and whether the sender may ask for it.
pub(super) fn revoke(
    ticket: Ticket,
    body: &[u8],
    content_type: Option<&[u8]>,
    ctx: &mut Context<'_>,
    out: &mut Vec<u8>,
) -> Turn {
    let request = match parse_revocation(body, content_type) {
        Ok(request) => request,
        Err(errors) => return invalid(&ticket, &errors, ctx, out),
    };
    match revocation(&request, &ticket.rights, ctx) {
        Ok(revocation) => ask(ticket, AccessQuestion::Revocation(revocation)),
        Err(refused) => answer(&ticket, &refused, ctx, out),
    }
}

/// Asks for a ticket.
pub(super) fn admit(ticket: Ticket) -> Turn {
    ask(ticket, AccessQuestion::Admission)
}

/// Appends the answer.
pub(super) fn answered(
    ticket: &Ticket,
    said: &AccessAnswer,
    ctx: &mut Context<'_>,
    out: &mut Vec<u8>,
) -> Turn {
    match said {
        AccessAnswer::Admitted(text) => {
            // The ticket is of letters and digits that JSON takes as they are.
            let body = format!(r#"{{"ticket":"{text}","expires_in":{TICKET_SECONDS}}}"#);
            let told = Answer::json(201, body.as_bytes()).header("Cache-Control", "no-store");
            answer(ticket, &told, ctx, out)
        }
        AccessAnswer::Revoked => answer(ticket, &Answer::empty(204), ctx, out),
        AccessAnswer::Unavailable(sentence) => {
            let away = Answer::error(ErrorCode::ServiceUnavailable).message(&**sentence);
            answer(ticket, &away, ctx, out)
        }
    }
}

fn ask(ticket: Ticket, question: AccessQuestion) -> Turn {
    Turn::effect(Effect::Access(Box::new(AccessRequest { ticket, question })))
}

/// Everybody may call back what is his own, and an admin what is anybody's.
fn revocation(
    request: &RevocationRequest,
    rights: &Rights,
    ctx: &Context<'_>,
) -> Result<Revocation, Box<Answer<'static>>> {
    let (Some(gate), Some(caller)) = (ctx.gate.as_deref(), rights.caller()) else {
        return Err(refused("This server asks for no credentials"));
    };
    let now = ctx.now.wall_micros / 1_000_000;
    let is_admin = caller.grant.is_admin();
    match request {
        RevocationRequest::Token(token) => {
            let holder = gate.identify(token, now);
            if !is_admin && holder.as_ref().map(|it| it.number) != Ok(caller.number) {
                return Err(not_yours());
            }
            let holder = holder
                .map_err(|denied| refused(format!("The token is accepted by nobody: {denied}")))?;
            Revocation::of(&holder).ok_or_else(|| {
                refused("API keys are not called back, but taken out of the server's list")
            })
        }
        RevocationRequest::TokenId(id, end) if is_admin => {
            Ok(Revocation::of_token_id(id, end.unwrap_or(u64::MAX)))
        }
        RevocationRequest::Subject(subject, end)
            if is_admin || *caller.identity == *Caller::identity_of_subject(subject) =>
        {
            let end = end.unwrap_or(u64::MAX);
            Ok(Revocation::of_subject(subject, now, end))
        }
        RevocationRequest::TokenId(..) | RevocationRequest::Subject(..) => Err(not_yours()),
    }
}

fn refused(sentence: impl Into<Cow<'static, str>>) -> Box<Answer<'static>> {
    Box::new(Answer::error(ErrorCode::InvalidRequest).message(sentence))
}

fn not_yours() -> Box<Answer<'static>> {
    let sentence = "The credential does not allow calling back the tokens of others";
    Box::new(Answer::error(ErrorCode::Forbidden).message(sentence))
}
