//! An HTTP connection between the bytes of its requests (RFC 9112, SPEC section 13).
//!
//! ```text
//!          head complete            body complete            answered
//!   Head ───────────────► Body ───────────────► Waiting ───────────────► Head
//!     └──── no body, or the whole of it has come ────►┘   (or at once: most
//!     └──── refused, timed out ──► the worker closes       answers need no
//!     └──── upgraded ──► WebSocket                         effect)
//!     └──── a poll ──► Polling, until there is something or its time is up ──► Head
//! ```

use super::access::{self, Redeemed, Redemption};
use super::answer::{Answer, answer, refusal};
use super::charging::charge;
use super::context::{Context, RESERVED_TIMEOUT};
use super::plan::{Plan, plan, plan_redeemed};
use super::poll::Poll;
use super::publish;
use super::request::Ticket;
use super::rights::no_reading;
use super::topics;
use super::{AckReply, Acknowledge, CloseReason, Effect, StreamOpening, Turn};
use crate::api::ack::AckRequest;
use crate::api::error::ErrorCode;
use crate::api::poll::PollRequest;
use crate::api::reply;
use crate::http::{
    BodyError, CONTINUE, ChunkedDecoder, Framing, HeadDecoder, HeadError, RequestHead,
};
use crate::moment::micros;

/// The protocol state of an HTTP connection.
#[derive(Debug)]
pub struct Http {
    state: State,
    /// When the present state began, in monotonic microseconds; a head begins with its first byte,
    /// and the first one with the connection.
    since: u64,
}

#[derive(Debug)]
enum State {
    Head {
        decoder: HeadDecoder,
        progress: Progress,
    },
    Body(Box<Upload>),
    Polling(Box<Poll>),
    Waiting,
}

/// How far a head is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Progress {
    /// The connection is new and nothing has come.
    New,
    /// The last request was answered and nothing more has come.
    Idle,
    /// A part has come.
    Begun,
}

/// A request whose body is on its way.
#[derive(Debug)]
struct Upload {
    ticket: Ticket,
    plan: Plan,
    content_type: Option<Box<[u8]>>,
    remaining: Remaining,
    bytes: Vec<u8>,
}

#[derive(Debug)]
enum Remaining {
    Length(usize),
    Chunks(ChunkedDecoder),
}

impl Http {
    /// A new connection at a monotonic time in microseconds.
    pub(super) fn new(now_micros: u64) -> Http {
        let state = State::Head {
            decoder: HeadDecoder::default(),
            progress: Progress::New,
        };
        Http {
            state,
            since: now_micros,
        }
    }

    /// Takes what has come, up to the end of one request.
    pub(super) fn receive(
        &mut self,
        input: &[u8],
        ctx: &mut Context<'_>,
        out: &mut Vec<u8>,
    ) -> Turn {
        match &mut self.state {
            State::Head { .. } if input.is_empty() => Turn::default(),
            State::Head { decoder, progress } => {
                // A line end behind a body begins no request (RFC 9112 section 2.2).
                if !matches!(input, b"\r" | b"\r\n") {
                    if *progress == Progress::Idle {
                        self.since = ctx.now.monotonic_micros;
                    }
                    *progress = Progress::Begun;
                }
                match decoder.decode(input, &ctx.limits.head) {
                    Ok(None) => Turn::default(),
                    Ok(Some((head, consumed))) => {
                        let rest = &input[consumed..];
                        self.begin(&head, rest, ctx, out).behind(consumed)
                    }
                    Err(error) => {
                        // Bytes that no request line begins with tell nothing.
                        let begun_at = decoder.request_line_at().unwrap_or(input.len());
                        let turn = self.refuse_head(&input[begun_at..], error, ctx, out);
                        turn.behind(input.len())
                    }
                }
            }
            State::Body(_) => self.receive_body(input, ctx, out),
            State::Polling(_) | State::Waiting => Turn::default(),
        }
    }

    /// When [`Http::timeout`] is due, in monotonic microseconds.
    pub(super) fn deadline(&self, ctx: &Context<'_>) -> u64 {
        let limits = ctx.limits;
        let span = match &self.state {
            State::Head { .. } | State::Body(_) if ctx.is_reserved => micros(RESERVED_TIMEOUT),
            State::Head {
                progress: Progress::Idle,
                ..
            } => limits.keep_alive_timeout,
            State::Head { .. } => limits.head_timeout,
            State::Body(_) => limits.body_timeout,
            State::Polling(poll) => return poll.until(),
            State::Waiting => return u64::MAX,
        };
        self.since.saturating_add(span)
    }

    /// The deadline has come: what was begun is answered with 408, a silent connection just ends.
    pub(super) fn timeout(&mut self, ctx: &mut Context<'_>, out: &mut Vec<u8>) -> Turn {
        if let State::Polling(_) = self.state {
            return Turn::effect(Effect::EndPoll);
        }
        let ticket = match std::mem::replace(&mut self.state, State::Waiting) {
            State::Head {
                progress: Progress::Begun,
                ..
            } => Ticket::unknown(self.since, ctx),
            State::Body(upload) => upload.ticket,
            State::Head { .. } | State::Polling(_) | State::Waiting => {
                return Turn::close(CloseReason::Idle);
            }
        };
        let error = Answer::error(ErrorCode::RequestTimeout);
        refusal(&ticket, &error, CloseReason::Timeout, ctx, out)
    }

    /// There is no memory for the rest of a body that is on its way.
    pub(super) fn crowded_out(&mut self, ctx: &mut Context<'_>, out: &mut Vec<u8>) -> Turn {
        let State::Body(upload) = &self.state else {
            return Turn::default();
        };
        let error = Answer::error(ErrorCode::ServiceUnavailable)
            .message("No memory is left for the rest of the request");
        let turn = refusal(&upload.ticket, &error, CloseReason::Limit, ctx, out);
        self.state = State::Waiting;
        turn
    }

    /// Bytes held for a body.
    pub(super) fn held_bytes(&self) -> usize {
        match &self.state {
            State::Body(upload) => upload.bytes.capacity(),
            State::Polling(_) => size_of::<Poll>(),
            State::Head { .. } | State::Waiting => 0,
        }
    }

    /// The request whose body is on its way, or whose poll waits.
    pub(super) fn ticket(&self) -> Option<&Ticket> {
        match &self.state {
            State::Body(upload) => Some(&upload.ticket),
            State::Polling(poll) => Some(poll.ticket()),
            State::Head { .. } | State::Waiting => None,
        }
    }

    /// The poll that waits to be answered.
    pub(super) fn polling(&self) -> Option<&Poll> {
        match &self.state {
            State::Polling(poll) => Some(poll),
            State::Head { .. } | State::Body(_) | State::Waiting => None,
        }
    }

    /// The same, to be answered now.
    pub(super) fn end_poll(&mut self, now_micros: u64) -> Option<Poll> {
        self.polling()?;
        let state = std::mem::replace(&mut self.state, State::Waiting);
        self.answered(now_micros);
        match state {
            State::Polling(poll) => Some(*poll),
            State::Head { .. } | State::Body(_) | State::Waiting => None,
        }
    }

    /// Whether nothing of a request has come that is not answered.
    pub(super) fn is_idle(&self) -> bool {
        matches!(
            self.state,
            State::Head {
                progress: Progress::New | Progress::Idle,
                ..
            }
        )
    }

    /// Whether nothing has come at all.
    pub(super) fn is_new(&self) -> bool {
        let State::Head { progress, .. } = &self.state else {
            return false;
        };
        *progress == Progress::New
    }

    /// The request under way has been answered.
    pub(super) fn answered(&mut self, now_micros: u64) {
        let progress = Progress::Idle;
        self.state = State::Head {
            decoder: HeadDecoder::default(),
            progress,
        };
        self.since = now_micros;
    }

    fn begin(
        &mut self,
        head: &RequestHead<'_>,
        rest: &[u8],
        ctx: &mut Context<'_>,
        out: &mut Vec<u8>,
    ) -> Turn {
        let mut ticket = Ticket::new(head, self.since, ctx);
        let plan = plan(head, &mut ticket, ctx);
        let content_type = head.headers.first("content-type");
        let has_body = head.framing != Framing::Length(0);
        if ctx.is_reserved && plan.is_refusal() {
            // Neither its body nor another request keeps one of the last places.
            return self.complete_at_last(ticket, plan, ctx, out);
        }
        if let Framing::Length(length) = head.framing {
            if length > ctx.limits.message_bytes_max as u64 {
                return self.refuse_body(&ticket, BodyError::TooLarge, ctx, out);
            }
            // No longer than the limit, so it fits.
            let length = length as usize;
            if let Some(body) = rest.get(..length) {
                return self
                    .complete(ticket, plan, body, content_type, ctx, out)
                    .behind(length);
            }
        }
        let is_waiting = has_body && head.expect_continue && rest.is_empty();
        if is_waiting && plan.is_refusal() {
            // The body will not come, or cannot be told from the next request.
            return self.complete_at_last(ticket, plan, ctx, out);
        }
        if is_waiting {
            out.extend_from_slice(CONTINUE);
        }
        let remaining = match head.framing {
            Framing::Length(length) => Remaining::Length(length as usize),
            Framing::Chunked => Remaining::Chunks(ChunkedDecoder::default()),
        };
        let content_type = content_type.map(Into::into);
        let upload = Upload {
            ticket,
            plan,
            content_type,
            remaining,
            bytes: Vec::new(),
        };
        self.state = State::Body(Box::new(upload));
        self.since = ctx.now.monotonic_micros;
        Turn::default()
    }

    fn receive_body(&mut self, input: &[u8], ctx: &mut Context<'_>, out: &mut Vec<u8>) -> Turn {
        let State::Body(upload) = &mut self.state else {
            return Turn::default();
        };
        match upload.take(input, ctx.limits.message_bytes_max) {
            Ok((consumed, false)) => Turn {
                consumed,
                ..Turn::default()
            },
            Ok((consumed, true)) => {
                let State::Body(upload) = std::mem::replace(&mut self.state, State::Waiting) else {
                    return Turn::default();
                };
                let Upload {
                    ticket,
                    plan,
                    content_type,
                    bytes,
                    ..
                } = *upload;
                let turn = self.complete(ticket, plan, &bytes, content_type.as_deref(), ctx, out);
                turn.behind(consumed)
            }
            Err(error) => {
                let State::Body(upload) = std::mem::replace(&mut self.state, State::Waiting) else {
                    return Turn::default();
                };
                self.refuse_body(&upload.ticket, error, ctx, out)
                    .behind(input.len())
            }
        }
    }

    /// A whole request stands: answers it, or asks the worker for what the answer needs.
    fn complete(
        &mut self,
        mut ticket: Ticket,
        plan: Plan,
        body: &[u8],
        content_type: Option<&[u8]>,
        ctx: &mut Context<'_>,
        out: &mut Vec<u8>,
    ) -> Turn {
        ticket.body_bytes = body.len() as u64;
        self.state = State::Waiting;
        let plan = match plan.is_charged() {
            true => match charge(&mut ticket, 1, ctx) {
                Ok(()) => plan,
                Err(refused) => Plan::Answer(refused),
            },
            false => plan,
        };
        let turn = match plan {
            Plan::PublishOne(key) => publish::one(ticket, key, body, content_type, ctx, out),
            Plan::PublishBulk(key) => publish::bulk(ticket, key, body, content_type, ctx, out),
            Plan::Upgrade { accept, is_echo } => Turn::effect(Effect::Upgrade {
                ticket: Box::new(ticket),
                accept,
                is_echo,
            }),
            Plan::Ready => Turn::effect(Effect::Ready(Box::new(ticket))),
            Plan::Metrics => Turn::effect(Effect::Metrics(Box::new(ticket))),
            Plan::Topics(asked) => topics::complete(ticket, *asked, body, content_type, ctx, out),
            Plan::Poll(request) => self.begin_poll(ticket, request, ctx),
            Plan::RelayPoll => match PollRequest::of_body(body, content_type) {
                Ok(request) => match ticket.rights.unreadable(&request.topics) {
                    None => self.begin_poll(ticket, Box::new(request), ctx),
                    Some(topic) => answer(&ticket, &no_reading(topic), ctx, out),
                },
                Err(errors) => publish::invalid(&ticket, &errors, ctx, out),
            },
            Plan::Ack => match AckRequest::of_body(body, content_type) {
                Ok(request) => acknowledge(ticket, request),
                Err(errors) => publish::invalid(&ticket, &errors, ctx, out),
            },
            Plan::Admit => access::admit(ticket),
            Plan::Revoke => access::revoke(ticket, body, content_type, ctx, out),
            Plan::Redeem(shown) => Turn::effect(Effect::Redeem(Box::new(Redemption {
                request: ticket,
                shown: *shown,
            }))),
            Plan::PollStats => Turn::effect(Effect::PollStats(Box::new(ticket))),
            Plan::Stream(format, request) => {
                let opening = StreamOpening {
                    ticket,
                    format,
                    request: *request,
                };
                Turn::effect(Effect::Stream(Box::new(opening)))
            }
            Plan::Document(shown) => super::document::answer_with(&ticket, &shown, ctx, out),
            Plan::Health => health(&ticket, ctx, out),
            Plan::Answer(planned) => answer(&ticket, &planned, ctx, out),
        };
        if turn.exchange.is_some() {
            self.answered(ctx.now.monotonic_micros);
        }
        turn
    }

    /// It is known whose ticket a request has shown: it goes on.
    pub(super) fn redeemed(
        &mut self,
        redemption: Redemption,
        said: Redeemed,
        ctx: &mut Context<'_>,
        out: &mut Vec<u8>,
    ) -> Turn {
        let Redemption { mut request, shown } = redemption;
        let plan = match RequestHead::of_bytes(&shown.head) {
            Ok(head) => plan_redeemed(&head, said, &mut request, ctx),
            // It was understood before.
            Err(_) => return Turn::close(CloseReason::Refused),
        };
        self.complete(request, plan, b"", None, ctx, out)
    }

    fn begin_poll(&mut self, ticket: Ticket, request: Box<PollRequest>, ctx: &Context<'_>) -> Turn {
        self.state = State::Polling(Box::new(Poll::new(ticket, &request, ctx)));
        Turn::effect(Effect::Poll(request))
    }

    /// The same for a request whose body is not read: the connection cannot go on.
    fn complete_at_last(
        &mut self,
        mut ticket: Ticket,
        plan: Plan,
        ctx: &mut Context<'_>,
        out: &mut Vec<u8>,
    ) -> Turn {
        ticket.keep_alive = false;
        self.complete(ticket, plan, b"", None, ctx, out)
    }

    fn refuse_head(
        &mut self,
        head: &[u8],
        error: HeadError,
        ctx: &mut Context<'_>,
        out: &mut Vec<u8>,
    ) -> Turn {
        self.state = State::Waiting;
        let ticket = Ticket::refused(head, error, self.since, ctx);
        let code = ErrorCode::of_status(error.status());
        let mut refused = Answer::error(code);
        if code == ErrorCode::InvalidRequest {
            refused = refused.message(format!("The request is malformed: {error}"));
        }
        refusal(&ticket, &refused, CloseReason::Refused, ctx, out)
    }

    fn refuse_body(
        &mut self,
        ticket: &Ticket,
        error: BodyError,
        ctx: &mut Context<'_>,
        out: &mut Vec<u8>,
    ) -> Turn {
        self.state = State::Waiting;
        let code = ErrorCode::of_status(error.status());
        let mut error = Answer::error(code);
        if code == ErrorCode::PayloadTooLarge {
            error = error.limit(ctx.limits.message_bytes_max as u64);
        }
        refusal(ticket, &error, CloseReason::Refused, ctx, out)
    }
}

impl Upload {
    /// Takes what belongs to the body; says how much that was and whether the body is complete.
    fn take(&mut self, input: &[u8], body_max: usize) -> Result<(usize, bool), BodyError> {
        match &mut self.remaining {
            Remaining::Length(left) => {
                let taken = input.len().min(*left);
                self.bytes.extend_from_slice(&input[..taken]);
                *left -= taken;
                Ok((taken, *left == 0))
            }
            Remaining::Chunks(decoder) => decoder.decode(input, body_max, &mut self.bytes),
        }
    }
}

fn acknowledge(ticket: Ticket, request: AckRequest) -> Turn {
    let reply = AckReply::Answer {
        ticket: Box::new(ticket),
        client_id: request.client_id,
    };
    Turn::effect(Effect::Acknowledge(Box::new(Acknowledge {
        ids: request.ids,
        cumulative: request.cumulative,
        reply,
    })))
}

fn health(ticket: &Ticket, ctx: &mut Context<'_>, out: &mut Vec<u8>) -> Turn {
    let mut body = std::mem::take(ctx.scratch);
    reply::health(
        &mut body,
        ctx.now.timestamp().as_str(),
        env!("CARGO_PKG_VERSION"),
    );
    let turn = answer(ticket, &Answer::json(200, &body), ctx, out);
    body.clear();
    *ctx.scratch = body;
    turn
}
