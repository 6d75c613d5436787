//! A request that waits for messages (SPEC section 6).

use super::answer::{Answer, answer, refusal};
use super::context::Context;
use super::request::Ticket;
use super::rights::Rights;
use super::{CloseReason, Turn};
use crate::api::error::ErrorCode;
use crate::api::poll::{PollForm, PollRequest};
use crate::api::reply::{NextOffset, PollAnswer};
use crate::topic::{Cursor, Epoch, Gap, Message, MessageId, TopicName};

/// A poll until it is answered.
#[derive(Debug)]
pub(super) struct Poll {
    ticket: Ticket,
    form: PollForm,
    limit: usize,
    until: u64,
    /// Its sender may ask no more at that time.
    expires: bool,
}

/// What a poll takes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PollBounds {
    /// Of one topic.
    pub per_topic: usize,
    /// Of all topics together.
    pub in_all: usize,
    /// Its answer tells gaps, which are reason enough for one.
    pub tells_gaps: bool,
}

/// What a poll is answered with; nothing at all means that its time is up.
#[derive(Clone, Copy, Debug)]
pub struct Polled<'a> {
    /// In the order of delivery, with the number of the delivery where these are counted.
    pub messages: &'a [(Message, Option<u32>)],
    /// Where to go on in each topic.
    pub places: &'a [MessageId],
    /// What cannot be delivered.
    pub gaps: &'a [(TopicName, Gap)],
    /// More is kept right now.
    pub has_more: bool,
}

impl Poll {
    /// A poll that has just come.
    pub(super) fn new(ticket: Ticket, request: &PollRequest, ctx: &Context<'_>) -> Poll {
        let patience = request.timeout.min(ctx.limits.poll_timeout_max);
        let (until, end) = (ctx.in_micros(patience), ticket.rights.end(ctx));
        Poll {
            ticket,
            form: request.form,
            limit: request.limit,
            until: until.min(end),
            expires: end < until,
        }
    }

    /// When its time is up, in monotonic microseconds.
    pub(super) fn until(&self) -> u64 {
        self.until
    }

    /// What it takes.
    pub(super) fn bounds(&self) -> PollBounds {
        PollBounds {
            per_topic: self.limit,
            in_all: match self.form {
                PollForm::Query => self.limit,
                PollForm::Relay => usize::MAX,
            },
            tells_gaps: self.form == PollForm::Query,
        }
    }

    /// Appends its answer.
    pub(super) fn answer(
        self,
        polled: &Polled<'_>,
        ctx: &mut Context<'_>,
        out: &mut Vec<u8>,
    ) -> Turn {
        let is_empty = polled.messages.is_empty() && polled.gaps.is_empty();
        if is_empty && self.expires && self.until <= ctx.now.monotonic_micros {
            return self.deny("The credential has expired", ctx, out);
        }
        let mut body = std::mem::take(ctx.scratch);
        let mut writer = PollAnswer::begin(&mut body, self.form);
        for (message, attempt) in polled.messages {
            writer.message(message.frame(), message.position(), *attempt);
        }
        match self.form {
            PollForm::Relay => writer.end_relay(polled.has_more),
            PollForm::Query => {
                let gaps: Vec<(&str, Gap)> = polled
                    .gaps
                    .iter()
                    .map(|(name, gap)| (name.as_str(), *gap))
                    .collect();
                let cursor;
                let next = if let [place] = polled.places {
                    NextOffset::Id(*place)
                } else {
                    cursor = cursor_of(polled.places);
                    NextOffset::Cursor(&cursor)
                };
                writer.end_query(next, polled.has_more, &gaps, is_empty);
            }
        }
        let turn = answer(&self.ticket, &Answer::json(200, &body), ctx, out);
        body.clear();
        *ctx.scratch = body;
        turn
    }

    /// Its request.
    pub(super) fn ticket(&self) -> &Ticket {
        &self.ticket
    }

    /// What its sender may do.
    pub(super) fn rights(&self) -> &Rights {
        &self.ticket.rights
    }

    /// Appends the answer that its sender's credential holds no more.
    pub(super) fn deny(self, sentence: &str, ctx: &mut Context<'_>, out: &mut Vec<u8>) -> Turn {
        let error = Answer::error(ErrorCode::Unauthorized).message(sentence);
        answer(&self.ticket, &error, ctx, out)
    }

    /// The same, and the end of the connection.
    pub(super) fn revoke(self, sentence: &str, ctx: &mut Context<'_>, out: &mut Vec<u8>) -> Turn {
        let error = Answer::error(ErrorCode::Unauthorized).message(sentence);
        refusal(&self.ticket, &error, CloseReason::Unauthorized, ctx, out)
    }

    /// Appends the answer that it cannot be served.
    pub(super) fn refuse(self, sentence: &str, ctx: &mut Context<'_>, out: &mut Vec<u8>) -> Turn {
        let error = Answer::error(ErrorCode::ServiceUnavailable).message(sentence);
        refusal(&self.ticket, &error, CloseReason::Refused, ctx, out)
    }
}

/// The places of several topics as one text.
pub(super) fn cursor_of(places: &[MessageId]) -> Cursor {
    let epoch = places.first().map_or(Epoch::new(0), |place| place.epoch);
    let mut cursor = Cursor::new(epoch);
    for place in places {
        cursor.set(place.topic, place.position);
    }
    cursor
}
