//! One client's conversation without its socket: bytes, time and deliveries in; bytes and
//! [`Effect`]s out. Functions of their arguments: no socket, no clock, no store.
//!
//! ```text
//!   Http ──upgrade──► WebSocket
//!     │                  │
//!     └──► Closing ◄─────┘     all is said; what still comes is thrown away
//! ```

mod answer;
mod close_reason;
mod closing;
mod context;
mod exchange;
mod http;
mod plan;
mod publish;
mod request;
mod websocket;

pub use close_reason::CloseReason;
pub use context::{Context, SessionIds, SessionLimits};
pub use exchange::Exchange;
pub use publish::{Publish, Receipt, Repeat, Stored};
pub use request::Ticket;
pub use websocket::gap_frame;

use answer::{Answer, answer};
use closing::Closing;
use http::Http;
use websocket::WebSocket;

use crate::api::command::CommandError;
use crate::api::error::ErrorCode;
use crate::api::offset::Offset;
use crate::api::reply::{self, Resume};
use crate::topic::{Gap, TopicName};
use crate::ws::handshake::Accept;

/// A conversation.
#[derive(Debug)]
pub enum Session {
    /// Requests and answers. Boxed: most connections of a busy server are WebSockets, which are
    /// smaller.
    Http(Box<Http>),
    /// Commands and deliveries.
    WebSocket(WebSocket),
    /// Nothing more is said; what comes is thrown away until the peer has read to the end.
    Closing(Closing),
}

/// What a session asks its worker to do.
#[derive(Debug)]
pub enum Effect {
    /// Store messages, then call [`Session::published`]; or [`Session::repeated`].
    Publish(Publish),
    /// Find a place for a WebSocket, then call [`Session::upgraded`].
    Upgrade {
        /// The request.
        ticket: Box<Ticket>,
        /// The answer to the handshake.
        accept: Accept,
        /// Messages are sent back instead of understood.
        is_echo: bool,
    },
    /// Tell whether the server is ready: [`Session::ready`].
    Ready(Box<Ticket>),
    /// Read the counters: [`Session::metrics`].
    Metrics(Box<Ticket>),
    /// Subscribe, then call [`Session::subscribed`] or [`Session::refused`].
    Subscribe(Box<SubscribeRequest>),
    /// Unsubscribe, then call [`Session::unsubscribed`].
    Unsubscribe(Vec<TopicName>),
    /// End the connection when what was appended has been written.
    Close(CloseReason),
}

/// Topics to subscribe to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SubscribeRequest {
    /// As asked; a name may come twice.
    pub topics: Vec<TopicName>,
    /// Where to start, in each of them.
    pub offset: Offset,
    /// When the client is too slow it goes on behind what is lost.
    pub skips: bool,
    /// The answer tells positions.
    pub tell_positions: bool,
}

/// What one event led to.
#[derive(Default, Debug)]
pub struct Turn {
    /// Bytes of input that are done with. When it is 0 and there is no effect, more are needed.
    pub consumed: usize,
    /// What the worker has to do now, before the next event.
    pub effect: Option<Effect>,
    /// A request was answered.
    pub exchange: Option<Exchange>,
    /// A WebSocket message was answered with an error of this code.
    pub error: Option<&'static str>,
    /// Bytes that a compressed message was inflated to, which cost time that the bytes consumed do
    /// not tell.
    pub inflated: usize,
}

impl Turn {
    fn effect(effect: Effect) -> Turn {
        Turn {
            effect: Some(effect),
            ..Turn::default()
        }
    }

    fn close(reason: CloseReason) -> Turn {
        Turn::effect(Effect::Close(reason))
    }

    /// The same, with more input done with.
    fn behind(self, consumed: usize) -> Turn {
        Turn {
            consumed: self.consumed + consumed,
            ..self
        }
    }
}

impl Session {
    /// The conversation of a new connection, at a monotonic time in microseconds.
    pub fn new(now_micros: u64) -> Session {
        Session::Http(Box::new(Http::new(now_micros)))
    }

    /// A connection that is only told that there is no room, and the answer it gets.
    pub fn turned_away(ctx: &mut Context<'_>, out: &mut Vec<u8>) -> Turn {
        let ticket = Ticket::unknown(ctx.now.monotonic_micros, ctx);
        let error = Answer::error(ErrorCode::ServiceUnavailable).message("No connection is free");
        answer::refusal(&ticket, &error, CloseReason::Limit, ctx, out)
    }

    /// Takes what has come, up to one request or message. Call it again with the rest.
    pub fn receive(&mut self, input: &mut [u8], ctx: &mut Context<'_>, out: &mut Vec<u8>) -> Turn {
        match self {
            Session::Http(http) => http.receive(input, ctx, out),
            Session::WebSocket(websocket) => websocket.receive(input, ctx, out),
            Session::Closing(closing) => closing.receive(input),
        }
    }

    /// When [`Session::timeout`] is due, in monotonic microseconds; `u64::MAX` for never.
    pub fn deadline(&self, ctx: &Context<'_>) -> u64 {
        match self {
            Session::Http(http) => http.deadline(ctx),
            Session::WebSocket(websocket) => websocket.deadline(ctx),
            Session::Closing(closing) => closing.deadline(),
        }
    }

    /// The deadline has come.
    pub fn timeout(&mut self, ctx: &mut Context<'_>, out: &mut Vec<u8>) -> Turn {
        match self {
            Session::Http(http) => http.timeout(ctx, out),
            Session::WebSocket(websocket) => websocket.timeout(ctx, out),
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
            Session::Closing(_) => 0,
        }
    }

    /// Whether deliveries may be the compressed frames that are made once for everybody.
    pub fn takes_compressed(&self) -> bool {
        matches!(self, Session::WebSocket(websocket) if websocket.takes_compressed())
    }

    /// Whether it is between requests, so that a server that stops may end it.
    pub fn is_idle_http(&self) -> bool {
        matches!(self, Session::Http(http) if http.is_idle())
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
        *self = Session::WebSocket(WebSocket::new(is_echo, accept.deflate(), ctx));
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

    /// There is no place for the WebSocket.
    pub fn turned_down(
        &mut self,
        ticket: &Ticket,
        ctx: &mut Context<'_>,
        out: &mut Vec<u8>,
    ) -> Turn {
        let error = Answer::error(ErrorCode::ServiceUnavailable)
            .message("There are as many connections as there may be");
        answer::refusal(ticket, &error, CloseReason::Limit, ctx, out)
    }

    /// There is no memory for the rest of a request or message that has come in part.
    pub fn crowded_out(&mut self, ctx: &mut Context<'_>, out: &mut Vec<u8>) -> Turn {
        match self {
            Session::Http(http) => http.crowded_out(ctx, out),
            Session::WebSocket(_) => {
                let reason = CloseReason::Limit;
                websocket::closed(reason, reason.as_str(), out)
            }
            Session::Closing(_) => Turn::default(),
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
        answer(ticket, &told, ctx, out)
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
            Session::Http(_) | Session::Closing(_) => Turn::default(),
        }
    }

    /// The worker ends the conversation for a reason of its own; a WebSocket is told.
    pub fn end(&mut self, reason: CloseReason, text: &str, out: &mut Vec<u8>) {
        if let Session::WebSocket(_) = self {
            websocket::closed(reason, text, out);
        }
    }

    /// All was said: from now on what comes is thrown away, until `deadline` (monotonic
    /// microseconds) at the latest.
    pub fn closing(&mut self, reason: CloseReason, deadline: u64) {
        *self = Session::Closing(Closing::new(reason, deadline));
    }

    fn answered(&mut self, ctx: &Context<'_>) {
        if let Session::Http(http) = self {
            http.answered(ctx.now.monotonic_micros);
        }
    }
}

#[cfg(test)]
mod tests;
