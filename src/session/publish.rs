//! Publish requests: from a body to drafts, and from what became of them to the answer.

use smallvec::SmallVec;

use super::answer::{Answer, answer};
use super::context::Context;
use super::request::Ticket;
use super::{Effect, Turn};
use crate::api::delivery;
use crate::api::error::ErrorCode;
use crate::api::publish::{Publication, ValidationErrors, parse_bulk, parse_one};
use crate::api::reply::{self, BulkResult};
use crate::moment::Timestamp;
use crate::topic::{Draft, MessageId, StoreError};

/// Messages to store, and what the answer needs afterwards.
#[derive(Debug)]
pub struct Publish {
    /// In the order of the request.
    pub drafts: SmallVec<[Draft; 1]>,
    /// Goes back to the session with the results.
    pub receipt: Box<Receipt>,
}

/// A publish request that waits for its results.
#[derive(Debug)]
pub struct Receipt {
    ticket: Ticket,
    timestamp: Timestamp,
    is_bulk: bool,
    topics: Topics,
}

/// The topics of a request's messages, in one text.
#[derive(Default, Debug)]
struct Topics {
    text: String,
    ends: SmallVec<[u32; 1]>,
}

impl Topics {
    fn push(&mut self, topic: &str) {
        self.text.push_str(topic);
        self.ends.push(self.text.len() as u32);
    }

    fn iter(&self) -> impl Iterator<Item = &str> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        let ranges = starts.zip(&self.ends);
        ranges.map(|(start, end)| &self.text[start as usize..*end as usize])
    }
}

/// What became of one message.
pub type Stored = Result<MessageId, StoreError>;

/// One message.
pub(super) fn one(
    ticket: Ticket,
    body: &[u8],
    content_type: Option<&[u8]>,
    ctx: &mut Context<'_>,
    out: &mut Vec<u8>,
) -> Turn {
    let parsed = parse_one(body, content_type);
    let messages = parsed.as_ref().map(std::slice::from_ref);
    publish_valid(ticket, false, messages, ctx, out)
}

/// Several messages: all of them valid, or none is published.
pub(super) fn bulk(
    ticket: Ticket,
    body: &[u8],
    content_type: Option<&[u8]>,
    ctx: &mut Context<'_>,
    out: &mut Vec<u8>,
) -> Turn {
    let parsed = parse_bulk(body, content_type);
    publish_valid(ticket, true, parsed.as_deref(), ctx, out)
}

fn publish_valid(
    ticket: Ticket,
    is_bulk: bool,
    messages: Result<&[Publication<'_>], &ValidationErrors>,
    ctx: &mut Context<'_>,
    out: &mut Vec<u8>,
) -> Turn {
    match messages {
        Ok(publications) => publish(ticket, is_bulk, publications, ctx),
        Err(errors) => invalid(&ticket, errors, ctx, out),
    }
}

fn publish(
    ticket: Ticket,
    is_bulk: bool,
    publications: &[Publication<'_>],
    ctx: &mut Context<'_>,
) -> Turn {
    let timestamp = ctx.now.timestamp();
    let mut topics = Topics::default();
    let mut draft = |publication: &Publication<'_>| {
        ctx.scratch.clear();
        let layout = delivery::encode(publication, timestamp.as_str(), ctx.scratch);
        topics.push(&publication.topic);
        Draft::new(ctx.scratch, layout, ctx.expiry(publication.ttl), ctx.budget)
    };
    let drafts = publications.iter().map(&mut draft).collect();
    ctx.scratch.clear();
    let receipt = Box::new(Receipt {
        ticket,
        timestamp,
        is_bulk,
        topics,
    });
    Turn::effect(Effect::Publish(Publish { drafts, receipt }))
}

/// Appends the answer to a publish request whose messages became `stored`.
pub(super) fn published(
    receipt: &Receipt,
    stored: &[Stored],
    ctx: &mut Context<'_>,
    out: &mut Vec<u8>,
) -> Turn {
    let mut body = std::mem::take(ctx.scratch);
    let turn = if receipt.is_bulk {
        let results: Vec<BulkResult<'_>> = receipt
            .topics
            .iter()
            .zip(stored)
            .map(|(topic, stored)| BulkResult {
                topic,
                outcome: stored.map_err(|_| ErrorCode::ServiceUnavailable.as_str()),
            })
            .collect();
        reply::bulk_published(&mut body, &results);
        answer(&receipt.ticket, &Answer::json(207, &body), ctx, out)
    } else {
        match stored.first() {
            Some(Ok(id)) => {
                let topic = &receipt.topics.text;
                reply::published(&mut body, id, topic, receipt.timestamp.as_str());
                answer(&receipt.ticket, &Answer::json(201, &body), ctx, out)
            }
            Some(Err(error)) => refused(&receipt.ticket, *error, ctx, out),
            None => answer(
                &receipt.ticket,
                &Answer::error(ErrorCode::InternalError),
                ctx,
                out,
            ),
        }
    };
    body.clear();
    *ctx.scratch = body;
    turn
}

fn refused(ticket: &Ticket, error: StoreError, ctx: &mut Context<'_>, out: &mut Vec<u8>) -> Turn {
    let sentence = match error {
        StoreError::TopicsMax => "There are as many topics as there may be",
        StoreError::HashTaken => "The name of this topic cannot be told from another's",
        StoreError::MemoryMax => "No memory is left for messages",
    };
    answer(
        ticket,
        &Answer::error(ErrorCode::ServiceUnavailable).message(sentence),
        ctx,
        out,
    )
}

fn invalid(
    ticket: &Ticket,
    errors: &ValidationErrors,
    ctx: &mut Context<'_>,
    out: &mut Vec<u8>,
) -> Turn {
    let error = Answer::error(ErrorCode::ValidationError).list(errors.detail());
    answer(ticket, &error, ctx, out)
}
