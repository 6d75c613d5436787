//! One client's conversation without its socket: bytes, time and deliveries in; bytes and
//! [`Effect`]s out. Functions of their arguments: no socket, no clock, no store.
//!
//! ```text
//!   Http ──upgrade──► WebSocket
//!     ├───stream────► Stream
//!     │                  │
//!     └──► Closing ◄─────┘     all is said; what still comes is thrown away
//! ```

mod access;
mod ack;
mod answer;
mod charging;
mod closing;
mod commands;
mod context;
mod credentials;
mod document;
mod effect;
mod exchange;
mod http;
mod parting;
mod plan;
mod poll;
mod publish;
mod request;
mod rights;
mod stream;
mod topics;
mod websocket;
mod wrapping;

pub use crate::api::close_reason::CloseReason;
pub use access::{AccessAnswer, AccessQuestion, AccessRequest, Redeemed, Redemption};
pub use ack::{AckReply, Acknowledge, Acknowledged};
pub use context::{Context, SessionIds, SessionLimits};
pub use effect::{Effect, SubscribeRequest, Turn};
pub use exchange::Exchange;
pub use poll::{PollBounds, Polled};
pub use publish::{Kept, NotStored, Publish, Receipt, Repeat, Stored};
pub use request::Ticket;
pub use rights::Rights;
pub use stream::{Stream, StreamOpening};
pub use topics::{TopicsAnswer, TopicsQuestion, TopicsRequest};
pub use wrapping::Wrapping;

use answer::{Answer, answer};
use closing::Closing;
use http::Http;
use poll::Poll;
use websocket::WebSocket;

use crate::api::command::{CommandError, CommandErrorCode};
use crate::api::error::ErrorCode;
use crate::api::reply::{self, Resume};
use crate::topic::{CatalogueError, Gap, Message, TopicName};
use crate::ws::handshake::Accept;

/// A conversation.
#[derive(Debug)]
pub enum Session {
    /// Requests and answers. Boxed: most connections of a busy server are WebSockets, which are
    /// smaller.
    Http(Box<Http>),
    /// Commands and deliveries.
    WebSocket(WebSocket),
    /// Deliveries as the body of an answer.
    Stream(Box<Stream>),
    /// Nothing more is said; what comes is thrown away until the peer has read to the end.
    Closing(Closing),
}

impl Session {
    /// The conversation of a new connection, at a monotonic time in microseconds.
    pub fn new(now_micros: u64) -> Session {
        Session::Http(Box::new(Http::new(now_micros)))
    }

    /// A connection that is only told that there is no room, as the sentence says.
    pub fn turned_away(sentence: &str, ctx: &mut Context<'_>, out: &mut Vec<u8>) -> Turn {
        let ticket = Ticket::unknown(ctx.now.monotonic_micros, ctx);
        let error = Answer::error(ErrorCode::ServiceUnavailable).message(sentence);
        answer::refusal(&ticket, &error, CloseReason::Limit, ctx, out)
    }

    /// Takes what has come, up to one request or message. Call it again with the rest.
    pub fn receive(&mut self, input: &mut [u8], ctx: &mut Context<'_>, out: &mut Vec<u8>) -> Turn {
        match self {
            Session::Http(http) => http.receive(input, ctx, out),
            Session::WebSocket(websocket) => websocket.receive(input, ctx, out),
            Session::Stream(stream) => stream.receive(input),
            Session::Closing(closing) => closing.receive(input),
        }
    }

    /// When [`Session::timeout`] is due, in monotonic microseconds; `u64::MAX` for never.
    pub fn deadline(&self, ctx: &Context<'_>) -> u64 {
        match self {
            Session::Http(http) => http.deadline(ctx),
            Session::WebSocket(websocket) => websocket.deadline(ctx),
            Session::Stream(stream) => stream.deadline(ctx),
            Session::Closing(closing) => closing.deadline(),
        }
    }

    /// The deadline has come.
    pub fn timeout(&mut self, ctx: &mut Context<'_>, out: &mut Vec<u8>) -> Turn {
        match self {
            Session::Http(http) => http.timeout(ctx, out),
            Session::WebSocket(websocket) => websocket.timeout(ctx, out),
            Session::Stream(stream) => stream.timeout(ctx, out),
            Session::Closing(closing) => Turn::close(closing.reason()),
        }
    }

    /// Waiting bytes could be written.
    pub fn progressed(&mut self, now_micros: u64) {
        if let Session::WebSocket(websocket) = self {
            websocket.progressed(now_micros);
        }
    }

    /// Bytes of its own, beside a fixed size.
    pub fn held_bytes(&self) -> usize {
        match self {
            Session::Http(http) => http.held_bytes(),
            Session::WebSocket(websocket) => websocket.held_bytes(),
            Session::Stream(stream) => stream.held_bytes(),
            Session::Closing(_) => 0,
        }
    }

    /// Whether deliveries may be the compressed frames that are made once for everybody.
    pub fn takes_compressed(&self) -> bool {
        matches!(self, Session::WebSocket(websocket) if websocket.takes_compressed())
    }

    /// Answers a publish request: what became of its messages, in order.
    pub fn published(
        &mut self,
        receipt: &Receipt,
        stored: &[Stored],
        ctx: &mut Context<'_>,
        out: &mut Vec<u8>,
    ) -> Turn {
        self.answered(ctx);
        publish::published(receipt, stored, ctx, out)
    }

    /// Answers a publish request with an `Idempotency-Key` that published nothing.
    pub fn repeated(
        &mut self,
        receipt: &Receipt,
        repeat: Repeat<'_>,
        ctx: &mut Context<'_>,
        out: &mut Vec<u8>,
    ) -> Turn {
        self.answered(ctx);
        publish::repeated(receipt, repeat, ctx, out)
    }

    /// Opens the WebSocket.
    pub fn upgraded(
        &mut self,
        ticket: &Ticket,
        accept: &Accept,
        is_echo: bool,
        ctx: &mut Context<'_>,
        out: &mut Vec<u8>,
    ) -> Turn {
        let rights = ticket.rights.clone();
        *self = Session::WebSocket(WebSocket::new(is_echo, accept.deflate(), rights, ctx));
        let mut switching = Answer::empty(101)
            .header("Upgrade", "websocket")
            .header("Connection", "Upgrade")
            .header("Sec-WebSocket-Accept", accept.key());
        if let Some(protocol) = accept.protocol() {
            switching = switching.header("Sec-WebSocket-Protocol", protocol);
        }
        if let Some(deflate) = accept.deflate() {
            switching = switching.header("Sec-WebSocket-Extensions", deflate.response());
        }
        // What comes behind is no HTTP, whatever the request said of its connection.
        let turn = answer(ticket, &switching, ctx, out);
        Turn {
            effect: None,
            ..turn
        }
    }

    /// Answers a request that cannot be served now, and ends the connection; the sentence says why.
    pub fn unavailable(
        &mut self,
        ticket: &Ticket,
        sentence: &str,
        ctx: &mut Context<'_>,
        out: &mut Vec<u8>,
    ) -> Turn {
        let error = Answer::error(ErrorCode::ServiceUnavailable).message(sentence);
        answer::refusal(ticket, &error, CloseReason::Refused, ctx, out)
    }

    /// There is no memory for the rest of a request or message that has come in part.
    pub fn crowded_out(&mut self, ctx: &mut Context<'_>, out: &mut Vec<u8>) -> Turn {
        match self {
            Session::Http(http) => http.crowded_out(ctx, out),
            Session::WebSocket(_) => {
                let reason = CloseReason::Limit;
                websocket::closed(reason, reason.as_str(), out)
            }
            Session::Stream(_) | Session::Closing(_) => Turn::default(),
        }
    }

    /// Answers `/ready` with the checks and their states.
    pub fn ready(
        &mut self,
        ticket: &Ticket,
        is_ready: bool,
        checks: &[(&str, &str)],
        ctx: &mut Context<'_>,
        out: &mut Vec<u8>,
    ) -> Turn {
        self.answered(ctx);
        let mut body = Vec::new();
        reply::ready(&mut body, is_ready, checks);
        let mut told = Answer::json(if is_ready { 200 } else { 503 }, &body);
        if !is_ready {
            told = told.header("Retry-After", "1");
        }
        let mut turn = answer(ticket, &told, ctx, out);
        if let Some(exchange) = &mut turn.exchange {
            // Nothing was refused: that it is not ready is what was asked.
            exchange.error = None;
        }
        turn
    }

    /// Answers `/metrics` with the text.
    pub fn metrics(
        &mut self,
        ticket: &Ticket,
        content_type: &'static str,
        text: &[u8],
        ctx: &mut Context<'_>,
        out: &mut Vec<u8>,
    ) -> Turn {
        self.answered(ctx);
        answer(ticket, &Answer::body(200, content_type, text), ctx, out)
    }

    /// Answers a request for topics: what the store said.
    pub fn topics_answered(
        &mut self,
        ticket: &Ticket,
        said: &Result<TopicsAnswer, CatalogueError>,
        ctx: &mut Context<'_>,
        out: &mut Vec<u8>,
    ) -> Turn {
        self.answered(ctx);
        topics::answered(ticket, said, ctx, out)
    }

    /// Answers a request about credentials.
    pub fn access_answered(
        &mut self,
        ticket: &Ticket,
        said: &AccessAnswer,
        ctx: &mut Context<'_>,
        out: &mut Vec<u8>,
    ) -> Turn {
        self.answered(ctx);
        access::answered(ticket, said, ctx, out)
    }

    /// It is known whose ticket a request has shown.
    pub fn redeemed(
        &mut self,
        redemption: Redemption,
        said: Redeemed,
        ctx: &mut Context<'_>,
        out: &mut Vec<u8>,
    ) -> Turn {
        match self {
            Session::Http(http) => http.redeemed(redemption, said, ctx, out),
            _ => Turn::default(),
        }
    }

    /// Tells what was subscribed to, and what each topic's subscription misses.
    pub fn subscribed(
        &mut self,
        request: &SubscribeRequest,
        resumes: &[Resume<'_>],
        gaps: &[(TopicName, Gap)],
        ctx: &mut Context<'_>,
        out: &mut Vec<u8>,
    ) {
        if let Session::WebSocket(websocket) = self {
            websocket.subscribed(request, resumes, gaps, ctx, out);
        }
    }

    /// Tells what became of acknowledgements, if the client wants to know.
    pub fn acknowledged(
        &mut self,
        asked: &Acknowledge,
        result: &Acknowledged,
        ctx: &mut Context<'_>,
        out: &mut Vec<u8>,
    ) -> Turn {
        match &asked.reply {
            AckReply::None => Turn::default(),
            AckReply::Message => {
                // It may be closing by now, and has said its last word then.
                if let Session::WebSocket(_) = self {
                    WebSocket::acknowledged(&asked.ids, result, ctx, out);
                }
                Turn::default()
            }
            AckReply::Answer { ticket, .. } => {
                self.answered(ctx);
                result.answer(&asked.ids, ticket, ctx, out)
            }
        }
    }

    /// Tells that acknowledgements could not be settled now, if the client wants to know.
    pub fn acknowledgement_refused(
        &mut self,
        asked: &Acknowledge,
        sentence: &str,
        ctx: &mut Context<'_>,
        out: &mut Vec<u8>,
    ) -> Turn {
        match &asked.reply {
            AckReply::None => Turn::default(),
            AckReply::Message => self.refused(
                CommandError::new(CommandErrorCode::Processing, sentence),
                ctx,
                out,
            ),
            AckReply::Answer { ticket, .. } => {
                self.answered(ctx);
                self.unavailable(ticket, sentence, ctx, out)
            }
        }
    }

    /// Tells what was unsubscribed from.
    pub fn unsubscribed(&mut self, topics: &[TopicName], ctx: &mut Context<'_>, out: &mut Vec<u8>) {
        WebSocket::unsubscribed(topics, ctx, out);
    }

    /// Tells why there is no subscription.
    pub fn refused(
        &mut self,
        error: CommandError,
        ctx: &mut Context<'_>,
        out: &mut Vec<u8>,
    ) -> Turn {
        match self {
            Session::WebSocket(websocket) => websocket.refused(error, ctx, out),
            Session::Http(_) | Session::Stream(_) | Session::Closing(_) => Turn::default(),
        }
    }

    /// Whether a poll waits.
    pub fn is_polling(&self) -> bool {
        self.poll_bounds().is_some()
    }

    /// What the poll that waits takes; `None` without one.
    pub fn poll_bounds(&self) -> Option<PollBounds> {
        match self {
            Session::Http(http) => http.polling().map(Poll::bounds),
            Session::WebSocket(_) | Session::Stream(_) | Session::Closing(_) => None,
        }
    }

    /// Answers the poll that waits.
    pub fn polled(
        &mut self,
        polled: &Polled<'_>,
        ctx: &mut Context<'_>,
        out: &mut Vec<u8>,
    ) -> Turn {
        match self.take_poll(ctx) {
            Some(poll) => poll.answer(polled, ctx, out),
            None => Turn::default(),
        }
    }

    /// Answers the poll that waits: it cannot be served, and the sentence says why.
    pub fn poll_refused(
        &mut self,
        sentence: &str,
        ctx: &mut Context<'_>,
        out: &mut Vec<u8>,
    ) -> Turn {
        match self.take_poll(ctx) {
            Some(poll) => poll.refuse(sentence, ctx, out),
            None => Turn::default(),
        }
    }

    /// Tells how many polls wait, in all workers.
    pub fn poll_stats(
        &mut self,
        ticket: &Ticket,
        waiters: usize,
        ctx: &mut Context<'_>,
        out: &mut Vec<u8>,
    ) -> Turn {
        self.answered(ctx);
        let mut body = Vec::new();
        reply::poll_stats(&mut body, waiters);
        answer(ticket, &Answer::json(200, &body), ctx, out)
    }

    /// Opens a stream that is subscribed already.
    pub fn streaming(
        &mut self,
        opening: &StreamOpening,
        resumes: &[Resume<'_>],
        gaps: &[(TopicName, Gap)],
        ctx: &mut Context<'_>,
        out: &mut Vec<u8>,
    ) -> Turn {
        let (stream, turn) = Stream::begin(opening, resumes, gaps, ctx, out);
        *self = Session::Stream(Box::new(stream));
        turn
    }

    /// The bytes of a message as this client gets it; `None` for the message's own frame.
    /// `attempt` counts its deliveries, where they are counted.
    pub fn wrap(&mut self, message: &Message, attempt: Option<u32>) -> Option<Wrapping> {
        match self {
            Session::Stream(stream) => Some(stream.wrap(message, attempt)),
            Session::WebSocket(_) => attempt.map(|attempt| websocket::wrap(message, attempt)),
            Session::Http(_) | Session::Closing(_) => None,
        }
    }

    /// Tells that messages cannot be delivered.
    pub fn gap(&mut self, topic: &TopicName, gap: &Gap, out: &mut Vec<u8>) {
        match self {
            Session::WebSocket(_) => websocket::gap_frame(topic, gap, out),
            Session::Stream(stream) => stream.gap(topic, gap, out),
            Session::Http(_) | Session::Closing(_) => {}
        }
    }

    /// The worker ends the conversation for a reason of its own; a consumer is told.
    pub fn end(&mut self, reason: CloseReason, text: &str, out: &mut Vec<u8>) {
        match self {
            Session::WebSocket(_) => {
                websocket::closed(reason, text, out);
            }
            Session::Stream(stream) => stream.end(reason, text, out),
            Session::Http(_) | Session::Closing(_) => {}
        }
    }

    /// All was said: from now on what comes is thrown away, until `deadline` (monotonic
    /// microseconds) at the latest.
    pub fn closing(&mut self, reason: CloseReason, deadline: u64) {
        *self = Session::Closing(Closing::new(reason, deadline));
    }

    fn take_poll(&mut self, ctx: &Context<'_>) -> Option<Poll> {
        match self {
            Session::Http(http) => http.end_poll(ctx.now.monotonic_micros),
            Session::WebSocket(_) | Session::Stream(_) | Session::Closing(_) => None,
        }
    }

    fn answered(&mut self, ctx: &Context<'_>) {
        if let Session::Http(http) = self {
            http.answered(ctx.now.monotonic_micros);
        }
    }
}

#[cfg(test)]
mod tests;
