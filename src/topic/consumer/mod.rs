//! Durable at-least-once consumers (SPEC sections 5 and 7): who they are, and what the store tells
//! those that claim and acknowledge. Their state lives in the topic, under its shard's lock.
//!
//! ```text
//!              claim                ack
//!   log ──────────────► pending ──────────► gone
//!                        │    ▲
//!        timeout, nack,  │    │ claim (one more attempt)
//!        member gone     ▼    │
//!                         due ──────────────► dead ── bury ──► gone
//!                               attempts used up
//! ```

mod claiming;
mod members;
mod pending;
mod state;
mod table;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use super::interest::WorkerIndex;
use super::message::Message;
use super::subscription::{Gap, Subscribed};

pub(super) use claiming::Lost;
pub(super) use state::Settling;
pub(super) use table::Consumers;

/// Which durable position: that of one client, or the one that a group shares. The same name is
/// another consumer in each topic.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum ConsumerName {
    /// One client, by its `client_id`.
    Client(Arc<str>),
    /// A group, by its name.
    Group(Arc<str>),
}

impl ConsumerName {
    /// The name, whichever it is.
    pub fn as_str(&self) -> &str {
        match self {
            ConsumerName::Client(name) | ConsumerName::Group(name) => name,
        }
    }
}

/// A place at a consumer that one member takes, as its worker calls it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Seat {
    /// The worker of the member.
    pub worker: WorkerIndex,
    /// What the worker calls the connection; no two of its members may share a number.
    pub connection: u64,
}

/// Who takes a seat.
#[derive(Clone, Debug)]
pub struct Member {
    /// The `client_id`, for which messages are pending.
    pub client: Arc<str>,
    /// Where to find it.
    pub seat: Seat,
    /// It has no connection to lose: what it was given comes again after the timeout alone.
    pub is_poll: bool,
}

/// What a member asks for.
#[derive(Clone, Copy, Debug)]
pub struct ClaimRules {
    /// Microseconds until what it does not acknowledge is due again.
    pub ack_timeout: u64,
    /// Messages that it may hold without having acknowledged them. A nacked one counts until its
    /// delay is over.
    pub window: u32,
    /// Attempts after which a message is dead; zero for never. In a group, the number of the
    /// member that would have to deliver it again decides.
    pub max_deliveries: u32,
}

/// A member that has taken its seat.
#[derive(Debug)]
pub struct Attached {
    /// The subscription of its worker; it starts at the consumer's position.
    pub subscribed: Subscribed,
    /// Who sat there before and has lost the seat.
    pub replaced: Option<Seat>,
    /// A durable position was used instead of the start that was asked for.
    pub resumed: bool,
    /// The log has dropped some of what that position, or what was pending, still wanted: the first
    /// claim tells the gaps.
    pub misses: bool,
}

/// A message that was handed out.
#[derive(Clone, Debug)]
pub struct Claimed {
    /// The message.
    pub message: Message,
    /// How often it has been handed out for delivery, this time included: from 1.
    pub attempt: u32,
}

/// What was claimed at one time. Kept by the caller and used again.
#[derive(Default, Debug)]
pub struct Claims {
    /// To be delivered, in this order.
    pub messages: Vec<Claimed>,
    /// Not to be delivered again: to be put aside, then buried. The attempt is the last one made.
    pub dead: Vec<Claimed>,
    /// What cannot be had any more, in order.
    pub gaps: Vec<Gap>,
}

impl Claims {
    pub(super) fn clear(&mut self) {
        self.messages.clear();
        self.dead.clear();
        self.gaps.clear();
    }
}

/// When to claim again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Claim {
    /// At once, behind what was handed out now: the batch was full, or what is dead held places
    /// that are free once it is buried.
    pub more: bool,
    /// At this monotonic time, in microseconds, even without news; `u64::MAX` for never.
    pub next_due: u64,
}

/// What became of an acknowledgement (SPEC section 5).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ack {
    /// So many messages were pending and are no more.
    Acknowledged(u32),
    /// It is not, or no longer, pending for this client.
    NotPending,
    /// Another member of the group got it meanwhile.
    Reassigned,
    /// There is no such message.
    Unknown,
}
