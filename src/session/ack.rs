//! Acknowledgements: of a WebSocket or a request, and what became of them (SPEC sections 5 and 7).

use super::Turn;
use super::answer::{Answer, answer};
use super::context::Context;
use super::request::Ticket;
use super::rights::Rights;
use crate::api::reply::{self, AckError};

/// Messages that a client has received.
#[derive(Debug)]
pub struct Acknowledge {
    /// As sent; need not be ids.
    pub ids: Vec<Box<str>>,
    /// In the topic of each id, all that was delivered before it was received too.
    pub cumulative: bool,
    /// How the client is answered.
    pub reply: AckReply,
}

/// How an acknowledgement is answered.
#[derive(Debug)]
pub enum AckReply {
    /// Not at all.
    None,
    /// By a WebSocket message.
    Message,
    /// By the answer to a request.
    Answer {
        /// The request.
        ticket: Box<Ticket>,
        /// Who acknowledges; `None` for the caller's identity.
        client_id: Option<Box<str>>,
    },
}

impl AckReply {
    /// What the sender of a request may do.
    pub fn rights(&self) -> Option<&Rights> {
        match self {
            AckReply::None | AckReply::Message => None,
            AckReply::Answer { ticket, .. } => Some(ticket.rights()),
        }
    }
}

/// What became of acknowledgements.
#[derive(Default, Debug)]
pub struct Acknowledged {
    /// Messages that were owed and are no more.
    pub count: usize,
    /// Places of the ids that acknowledge nothing, in order, and why.
    pub failed: Vec<(usize, AckError)>,
}

impl Acknowledged {
    /// The ids that acknowledge nothing.
    pub(super) fn failed_ids<'i>(&self, ids: &'i [Box<str>]) -> Vec<(&'i str, AckError)> {
        let failed = self.failed.iter();
        failed
            .map(|(place, error)| (&*ids[*place], *error))
            .collect()
    }

    /// Appends the answer to a request.
    pub(super) fn answer(
        &self,
        ids: &[Box<str>],
        ticket: &Ticket,
        ctx: &mut Context<'_>,
        out: &mut Vec<u8>,
    ) -> Turn {
        let mut body = Vec::new();
        reply::acked(&mut body, self.count, &self.failed_ids(ids), false);
        answer(ticket, &Answer::json(200, &body), ctx, out)
    }
}
