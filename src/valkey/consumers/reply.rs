//! What is answered.

use super::SharedSeat;
use crate::topic::{Ack, Position};

/// What became of a [`ConsumerTask`](super::ConsumerTask).
///
/// `wake` are seats of this instance that have to claim: something became available for them, or
/// they have lost their seats, which the claim says. Other instances hear it on the topic's channel.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ConsumerReply {
    /// A member has its seat.
    Attached(SharedAttached),
    /// It has none.
    NoRoom(NoRoom),
    /// A member was handed messages.
    Claimed(SharedClaim),
    /// A member could not claim.
    Unseated(Unseated),
    /// Messages were settled.
    Settled {
        /// What became of each position, in order.
        acks: Vec<Ack>,
        /// Who has to claim.
        wake: Vec<SharedSeat>,
    },
    /// It is done.
    Done {
        /// Who has to claim.
        wake: Vec<SharedSeat>,
    },
    /// Leases were renewed.
    Refreshed {
        /// How many messages are pending for each seat, in order.
        pending: Vec<u64>,
        /// Which seats, by their places in the task, have no lease any more: their next claims say
        /// whether the members sit again, or have lost their seats.
        unseated: Vec<usize>,
        /// Who has to claim.
        wake: Vec<SharedSeat>,
    },
    /// Consumers were dropped.
    Dropped {
        /// There may be more of them: what to do next.
        skip: Option<u64>,
    },
}

/// A member that has taken its seat.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SharedAttached {
    /// A durable position was used instead of the start that was asked for.
    pub resumed: bool,
    /// The stream has dropped some of what that position, or what was pending, still wanted: the
    /// first claim tells the gaps.
    pub misses: bool,
    /// The consumer's position.
    pub place: Position,
    /// What the stream holds begins behind this position. Unless it `resumed`, a start below it has
    /// a gap from there to here, which no claim tells.
    pub begins_behind: Position,
    /// The newest position of the topic. A start above it is of another time.
    pub newest: Position,
    /// To be confirmed by the first claim.
    pub serial: u64,
    /// Somebody sat there before and has lost the seat, here or on another instance.
    pub has_replaced: bool,
    /// Who has to claim.
    pub wake: Vec<SharedSeat>,
}

/// Why there is no seat.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NoRoom {
    /// The topic has as many consumers as it may have.
    Consumers,
    /// The group has as many members as it may have.
    Members,
}

/// Why a member cannot claim.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unseated {
    /// Another one has taken over.
    Lost,
    /// There is no such consumer any more: it was dropped, or Valkey was emptied.
    Gone,
}

/// What was handed out.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SharedClaim {
    /// There is more to claim at once.
    pub more: bool,
    /// Milliseconds from now until something becomes due; `None` for never.
    pub next_due: Option<u64>,
    /// To be confirmed by the next claim.
    pub serial: u64,
    /// The position up to which the consumer was handed messages.
    pub place: Position,
    /// To be delivered, in this order.
    pub messages: Vec<HandedOut>,
    /// Not to be delivered again: to be put aside, then buried. The attempt is the last one made.
    pub dead: Vec<HandedOut>,
    /// What the stream has dropped before it was acknowledged or handed out: from (exclusive), to
    /// (inclusive), in order.
    pub gaps: Vec<(Position, Position)>,
    /// Valkey's clock: milliseconds since the Unix epoch.
    pub now_millis: u64,
}

/// A message that was handed out.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HandedOut {
    /// Where it stands.
    pub position: Position,
    /// How often it has been handed out for delivery, this time included: from 1.
    pub attempt: u32,
    /// Seconds.
    pub ttl: Option<u64>,
    /// What [`restore`](crate::api::delivery::restore) takes.
    pub stored_part: Vec<u8>,
}
