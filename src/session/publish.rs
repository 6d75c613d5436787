//! Publish requests: from a body to drafts, and from what became of them to the answer.

use smallvec::SmallVec;

use super::answer::{Answer, answer};
use super::charging::charge;
use super::context::Context;
use super::request::Ticket;
use super::rights::no_publishing;
use super::{Effect, Turn};
use crate::api::delivery;
use crate::api::error::ErrorCode;
use crate::api::publish::{Publication, ValidationErrors, parse_bulk, parse_one};
use crate::api::reply::{self, BulkResult};
use crate::idempotency::{Attempt, Key};
use crate::moment::Timestamp;
use crate::topic::{Draft, MessageId, StoreError};

/// Messages to store, and what the answer needs afterwards.
#[derive(Debug)]
pub struct Publish {
    /// In the order of the request.
    pub drafts: SmallVec<[Draft; 1]>,
    /// Goes back to the session with the results.
    pub receipt: Box<Receipt>,
    /// Of a request with an `Idempotency-Key`: it may have been answered before.
    pub attempt: Option<Box<Attempt>>,
}

/// Why a request with an `Idempotency-Key` publishes nothing.
#[derive(Clone, Copy, Debug)]
pub enum Repeat<'a> {
    /// Status and body of the first answer.
    Replayed(u16, &'a [u8]),
    /// The key came with another request.
    Reused,
    /// The answer could not be remembered.
    Full,
}

/// A publish request that waits for its results.
#[derive(Debug)]
pub struct Receipt {
    ticket: Ticket,
    timestamp: Timestamp,
    is_bulk: bool,
    topics: Topics,
}

impl Receipt {
    /// The request.
    pub fn ticket(&self) -> &Ticket {
        &self.ticket
    }

    /// The timestamp of the messages.
    pub fn timestamp(&self) -> &str {
        self.timestamp.as_str()
    }

    /// Gives the messages another timestamp; says whether it is one.
    pub fn restamp(&mut self, timestamp: &str) -> bool {
        let parsed = Timestamp::parse(timestamp);
        self.timestamp = parsed.unwrap_or(self.timestamp);
        parsed.is_some()
    }

    /// How many messages there are.
    pub fn messages(&self) -> usize {
        self.topics.ends.len()
    }

    /// Most bytes that the body of the answer can have.
    pub fn answer_bytes_max(&self) -> usize {
        // Around the topics, in which nothing is escaped: the members of a result, and the summary.
        const RESULT_BYTES_MAX: usize = 160;
        const SUMMARY_BYTES_MAX: usize = 96;
        let results = self.topics.ends.len() * RESULT_BYTES_MAX;
        self.topics.text.len() + results + SUMMARY_BYTES_MAX
    }
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
pub type Stored = Result<Kept, NotStored>;

/// Where a message is kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kept {
    /// In its topic, under this id.
    At(MessageId),
    /// In the spool, until the tier behind memory can be reached: it has no id yet.
    InSpool,
}

/// Why a message was not stored.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NotStored {
    /// The store has no room.
    Store(StoreError),
    /// The tier behind memory did not take it; the sentence says why.
    Behind(&'static str),
    /// The server stops, and what it kept of it would go with it.
    Stopping,
}

/// One message.
pub(super) fn one(
    mut ticket: Ticket,
    key: Option<Key>,
    body: &[u8],
    content_type: Option<&[u8]>,
    ctx: &mut Context<'_>,
    out: &mut Vec<u8>,
) -> Turn {
    if let Err(refused) = charge(&mut ticket, 1, ctx) {
        return answer(&ticket, &refused, ctx, out);
    }
    match parse_one(body, content_type) {
        Ok(publication) if !ticket.rights.may_publish(&publication.topic) => {
            answer(&ticket, &no_publishing(&publication.topic), ctx, out)
        }
        Ok(publication) => {
            let attempt = attempt(key, &ticket, body);
            publish(ticket, false, attempt, &[publication], ctx)
        }
        Err(errors) => invalid(&ticket, &errors, ctx, out),
    }
}

/// Several messages: all of them valid, or none is published.
pub(super) fn bulk(
    mut ticket: Ticket,
    key: Option<Key>,
    body: &[u8],
    content_type: Option<&[u8]>,
    ctx: &mut Context<'_>,
    out: &mut Vec<u8>,
) -> Turn {
    let parsed = parse_bulk(body, content_type);
    let messages = parsed.as_ref().map_or(1, Vec::len);
    if let Err(refused) = charge(&mut ticket, messages, ctx) {
        return answer(&ticket, &refused, ctx, out);
    }
    match parsed {
        Ok(publications) => {
            let mut topics = publications.iter().map(|it| &it.topic);
            if let Some(topic) = topics.find(|topic| !ticket.rights.may_publish(topic)) {
                return answer(&ticket, &no_publishing(topic), ctx, out);
            }
            let attempt = attempt(key, &ticket, body);
            publish(ticket, true, attempt, &publications, ctx)
        }
        Err(errors) => invalid(&ticket, &errors, ctx, out),
    }
}

fn attempt(key: Option<Key>, ticket: &Ticket, body: &[u8]) -> Option<Box<Attempt>> {
    key.map(|key| Box::new(Attempt::new(key, ticket.handler, body)))
}

fn publish(
    ticket: Ticket,
    is_bulk: bool,
    attempt: Option<Box<Attempt>>,
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
    Turn::effect(Effect::Publish(Publish {
        drafts,
        receipt,
        attempt,
    }))
}

/// Appends the answer to a request with an `Idempotency-Key` that published nothing.
pub(super) fn repeated(
    receipt: &Receipt,
    repeat: Repeat<'_>,
    ctx: &mut Context<'_>,
    out: &mut Vec<u8>,
) -> Turn {
    let told = match repeat {
        Repeat::Replayed(status, body) => {
            Answer::json(status, body).header("Idempotent-Replayed", "true")
        }
        Repeat::Reused => Answer::error(ErrorCode::IdempotencyKeyReused),
        Repeat::Full => Answer::error(ErrorCode::ServiceUnavailable)
            .message("No memory is left for answers to requests with an Idempotency-Key"),
    };
    answer(&receipt.ticket, &told, ctx, out)
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
                outcome: match stored {
                    Ok(Kept::At(id)) => Ok(Some(*id)),
                    Ok(Kept::InSpool) => Ok(None),
                    Err(_) => Err(ErrorCode::ServiceUnavailable.as_str()),
                },
            })
            .collect();
        reply::bulk_published(&mut body, &results);
        answer(&receipt.ticket, &Answer::json(207, &body), ctx, out)
    } else {
        let topic = &receipt.topics.text;
        match stored.first() {
            Some(Ok(kept)) => {
                let (status, id) = match kept {
                    Kept::At(id) => (201, Some(id)),
                    Kept::InSpool => (202, None),
                };
                reply::published(&mut body, id, topic, receipt.timestamp.as_str());
                answer(&receipt.ticket, &Answer::json(status, &body), ctx, out)
            }
            Some(Err(NotStored::Store(error))) => refused(&receipt.ticket, *error, ctx, out),
            Some(Err(NotStored::Behind(sentence))) => {
                let error = Answer::error(ErrorCode::ServiceUnavailable).message(*sentence);
                answer(&receipt.ticket, &error, ctx, out)
            }
            Some(Err(NotStored::Stopping)) => {
                let error = Answer::error(ErrorCode::ServiceUnavailable);
                let error = error.message("The server stops, and takes no more messages");
                answer(&receipt.ticket, &error, ctx, out)
            }
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

/// Appends the answer to a request for which the store has no room.
pub(super) fn refused(
    ticket: &Ticket,
    error: StoreError,
    ctx: &mut Context<'_>,
    out: &mut Vec<u8>,
) -> Turn {
    let sentence = match error {
        StoreError::TopicsMax => "There are as many topics as there may be",
        StoreError::HashTaken => "The name of this topic cannot be told from another's",
        StoreError::ConsumersMax => "There are as many consumers as there may be",
        StoreError::GroupMembersMax => "The group has as many members as it may have",
        StoreError::NotOpen => "The topic is not open",
        StoreError::MemoryMax => "No memory is left for messages",
    };
    answer(
        ticket,
        &Answer::error(ErrorCode::ServiceUnavailable).message(sentence),
        ctx,
        out,
    )
}

/// Appends the answer to a request whose body breaks the rules.
pub(super) fn invalid(
    ticket: &Ticket,
    errors: &ValidationErrors,
    ctx: &mut Context<'_>,
    out: &mut Vec<u8>,
) -> Turn {
    let error = Answer::error(ErrorCode::ValidationError).list(errors.detail());
    answer(ticket, &error, ctx, out)
}
