//! What is asked of the consumers of a topic.

use std::sync::Arc;
use std::time::Duration;

use super::{LEASE, REFRESH_SEATS_MAX};
use crate::topic::{Batch, ClaimRules, ConsumerName, Position, Seat, TopicName};

/// What is the same in all calls of an instance.
#[derive(Clone, Debug)]
pub struct ConsumerTerms {
    /// Tells this instance from all others, also from those that ran before; without a colon.
    pub instance: Box<str>,
    /// How long a seat is kept without being renewed.
    pub lease: Duration,
    /// How long a consumer without members is kept, at least a millisecond.
    pub retention: Duration,
    /// Most consumers of one topic.
    pub consumers_max: usize,
    /// Most members of one group.
    pub group_members_max: usize,
}

impl ConsumerTerms {
    /// Terms with the usual lease.
    pub fn new(instance: &str, retention: Duration) -> ConsumerTerms {
        ConsumerTerms {
            instance: instance.into(),
            lease: LEASE,
            retention,
            consumers_max: 10_000,
            group_members_max: 1_000,
        }
    }
}

/// A seat as its instance calls it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct SharedSeat {
    /// The worker of the member.
    pub worker: u8,
    /// What the worker calls the connection.
    pub connection: u64,
    /// Tells it from all other seats that this worker has ever had for such a connection.
    pub number: u64,
}

impl SharedSeat {
    /// A seat, as in memory, and its number.
    pub fn new(seat: Seat, number: u64) -> SharedSeat {
        SharedSeat {
            worker: seat.worker,
            connection: seat.connection,
            number,
        }
    }
}

/// Who takes a seat.
#[derive(Clone, Debug)]
pub struct SharedMember {
    /// The `client_id`, for which messages are pending.
    pub client: Arc<str>,
    /// Where to find it.
    pub seat: SharedSeat,
    /// It has no connection to lose: what it was given comes again after the timeout alone.
    pub is_poll: bool,
    /// What it asks for. Times count in whole milliseconds.
    pub rules: ClaimRules,
}

/// Where a consumer starts that is new, or to be reset.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SharedStart {
    /// With what comes.
    Last,
    /// With the oldest that the stream holds.
    Earliest,
    /// Behind a position of this topic and epoch; with the oldest if that has gone, or lies above
    /// the newest.
    Behind(Position),
    /// The same for a position of another topic, which stands for its time: if it lies above the
    /// newest, with what comes.
    Since(Position),
}

/// One task for the consumers of one topic.
#[derive(Clone, Debug)]
pub struct ConsumerTask {
    /// The topic.
    pub topic: TopicName,
    /// What to do.
    pub action: ConsumerAction,
}

/// What there is to do.
#[derive(Clone, Debug)]
pub enum ConsumerAction {
    /// Seats a member: [`ConsumerReply::Attached`](super::ConsumerReply::Attached), or `NoRoom`.
    Attach(AttachShared),
    /// Hands out messages: [`ConsumerReply::Claimed`](super::ConsumerReply::Claimed), or
    /// `Unseated`.
    Claim(ClaimShared),
    /// Acknowledges or gives back: [`ConsumerReply::Settled`](super::ConsumerReply::Settled).
    Settle(Standing),
    /// A member goes: what it held is due at once, unless it was a poll.
    /// [`ConsumerReply::Done`](super::ConsumerReply::Done), as for a burial.
    Detach {
        /// Its consumer.
        consumer: ConsumerName,
        /// Its seat.
        seat: SharedSeat,
    },
    /// Dead messages have been taken care of. One that is not buried within a second is handed out
    /// as dead again.
    Bury {
        /// Whose they are.
        consumer: ConsumerName,
        /// Where they stand.
        positions: Vec<Position>,
    },
    /// Renews leases, of at most [`REFRESH_SEATS_MAX`] seats:
    /// [`ConsumerReply::Refreshed`](super::ConsumerReply::Refreshed).
    Refresh(Vec<(ConsumerName, SharedMember)>),
    /// Drops consumers without members, since the topic is deleted:
    /// [`ConsumerReply::Dropped`](super::ConsumerReply::Dropped).
    Drop {
        /// How many that stay were looked at: zero, then what the reply says.
        skip: u64,
    },
}

impl ConsumerAction {
    /// Renewals of so many seats as there are.
    pub fn refreshes(
        seats: &[(ConsumerName, SharedMember)],
    ) -> impl Iterator<Item = ConsumerAction> {
        let chunks = seats.chunks(REFRESH_SEATS_MAX);
        chunks.map(|seats| ConsumerAction::Refresh(seats.to_vec()))
    }
}

/// A member that takes a seat. A consumer that is there goes on at its own position, whatever
/// `start` says, unless it is to `reset`: then it forgets what is pending, for a group that of all
/// members, in time linear in that. The only member of a client's own consumer loses its seat.
#[derive(Clone, Debug)]
pub struct AttachShared {
    /// Where.
    pub consumer: ConsumerName,
    /// Who.
    pub member: SharedMember,
    /// Whether to start anew.
    pub reset: bool,
    /// From where, for a new one.
    pub start: SharedStart,
}

/// A member that claims.
#[derive(Clone, Debug)]
pub struct ClaimShared {
    /// Where.
    pub consumer: ConsumerName,
    /// Who; all of it, since its lease may have ended.
    pub member: SharedMember,
    /// At most so much.
    pub batch: Batch,
    /// The serial in the last reply that came to this seat, that of attaching included.
    pub confirmed: u64,
}

/// What a client does with messages of one topic.
#[derive(Clone, Debug)]
pub struct Standing {
    /// The client.
    pub client: Arc<str>,
    /// The consumer of the connection on which it says so.
    pub preferred: Option<ConsumerName>,
    /// What.
    pub settling: Settling,
    /// With these, at most 1,000.
    pub positions: Vec<Position>,
}

/// What a client may do with something that is pending for it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Settling {
    /// It is done with it.
    Acknowledge,
    /// It is done with it and with all that stands before it.
    AcknowledgeUpTo,
    /// It wants it again, so many whole milliseconds from now.
    Nack(Duration),
}
