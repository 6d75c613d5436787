//! What an event leads to: what the worker is asked to do, and what it counts.

use super::{
    AccessRequest, Acknowledge, CloseReason, Exchange, Publish, Redemption, Rights, StreamOpening,
    Ticket, TopicsRequest,
};
use crate::api::consumer::AtLeastOnce;
use crate::api::offset::Offset;
use crate::api::poll::PollRequest;
use crate::topic::TopicName;
use crate::ws::handshake::Accept;

/// What a session asks its worker to do.
#[derive(Debug)]
pub enum Effect {
    /// Store messages, then call [`Session::published`](super::Session::published); or [`Session::repeated`](super::Session::repeated).
    Publish(Publish),
    /// Find a place for a WebSocket, then call [`Session::upgraded`](super::Session::upgraded).
    Upgrade {
        /// The request.
        ticket: Box<Ticket>,
        /// The answer to the handshake.
        accept: Accept,
        /// Messages are sent back instead of understood.
        is_echo: bool,
    },
    /// Tell whether the server is ready: [`Session::ready`](super::Session::ready).
    Ready(Box<Ticket>),
    /// Read the counters: [`Session::metrics`](super::Session::metrics).
    Metrics(Box<Ticket>),
    /// Ask the store about topics, then call [`Session::topics_answered`](super::Session::topics_answered).
    Topics(Box<TopicsRequest>),
    /// Look for messages; answer with [`Session::polled`](super::Session::polled) when there are any, or when asked by
    /// [`Effect::EndPoll`]. When there can be none: [`Session::poll_refused`](super::Session::poll_refused).
    Poll(Box<PollRequest>),
    /// The time of the poll is up.
    EndPoll,
    /// Tell how many polls wait: [`Session::poll_stats`](super::Session::poll_stats).
    PollStats(Box<Ticket>),
    /// Find a place for a stream and subscribe, then call [`Session::streaming`](super::Session::streaming) or
    /// [`Session::unavailable`](super::Session::unavailable).
    Stream(Box<StreamOpening>),
    /// Acknowledge, then call [`Session::acknowledged`](super::Session::acknowledged).
    Acknowledge(Box<Acknowledge>),
    /// Ask about credentials, then call [`Session::access_answered`](super::Session::access_answered).
    Access(Box<AccessRequest>),
    /// Find out whose ticket it is, then call [`Session::redeemed`](super::Session::redeemed).
    Redeem(Box<Redemption>),
    /// Deliver a message again.
    Nack {
        /// As sent; need not be an id.
        message_id: Box<str>,
        /// Not before this many microseconds.
        delay: u64,
    },
    /// Subscribe, then call [`Session::subscribed`](super::Session::subscribed) or [`Session::refused`](super::Session::refused).
    Subscribe(Box<SubscribeRequest>),
    /// See whether these rights cover what is subscribed to, then call
    /// [`Session::renewed`](super::Session::renewed) or [`Session::refused`](super::Session::refused).
    Renew(Rights),
    /// Unsubscribe, then call [`Session::unsubscribed`](super::Session::unsubscribed).
    Unsubscribe(Vec<TopicName>),
    /// Send bytes that are there for good behind what was appended, and then perhaps end the connection.
    Send {
        /// They are not copied.
        bytes: &'static [u8],
        /// The connection ends behind them, for this reason.
        last: Option<CloseReason>,
    },
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
    /// Messages are owed until they are acknowledged; `None` for at most once.
    pub delivery: Option<AtLeastOnce>,
    /// Seconds between heartbeats, if they are to begin, to change, or with 0 to end.
    pub heartbeat: Option<u16>,
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
    pub(super) fn effect(effect: Effect) -> Turn {
        Turn {
            effect: Some(effect),
            ..Turn::default()
        }
    }

    pub(super) fn close(reason: CloseReason) -> Turn {
        Turn::effect(Effect::Close(reason))
    }

    /// The same, with more input done with.
    pub(super) fn behind(self, consumed: usize) -> Turn {
        Turn {
            consumed: self.consumed + consumed,
            ..self
        }
    }
}
