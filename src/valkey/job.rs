//! What workers ask Valkey for, and what they hear: plain values that cross threads.

use smallvec::SmallVec;

use crate::topic::{Message, Position, TopicName, WorkerIndex};

/// Who waits for a reply.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Waiter {
    /// The worker.
    pub worker: WorkerIndex,
    /// What it calls that which waits.
    pub ticket: u64,
}

/// Something to do, for whom, and until when.
#[derive(Debug)]
pub struct Job {
    /// Who hears of it.
    pub waiter: Waiter,
    /// Monotonic microseconds after which the waiter is told [`Refused::TooLate`].
    pub deadline: u64,
    /// What.
    pub task: Task,
}

/// What there is to do.
#[derive(Debug)]
pub enum Task {
    /// Store messages of one topic: [`Reply::Published`], or [`Reply::Spooled`].
    Publish(Publication),
    /// Have the local log reach everything that was published before, following the topic if
    /// nobody does yet: [`Reply::Synced`].
    Sync(TopicName),
    /// Tell where a topic's stream begins: [`Reply::Beginning`].
    Beginning(TopicName),
    /// Read a topic's stream on behind a position: [`Reply::Read`].
    Read(ReadOn),
    /// Run a script: [`Reply::Called`].
    Call(Call),
}

/// A script with its arguments: one atomic step.
#[derive(Debug)]
pub struct Call {
    /// Its text.
    pub script: &'static str,
    /// All keys that it touches, at least one, in one slot; the first one says on which node.
    pub keys: Vec<Vec<u8>>,
    /// Its other arguments.
    pub args: Vec<Vec<u8>>,
    /// It may run twice: so it is sent again when an answer is lost.
    pub is_repeatable: bool,
}

impl Task {
    /// How its waiter is told that it is not done.
    pub fn refusal(&self) -> fn(Refused) -> Reply {
        match self {
            Task::Publish(_) => |refused| Reply::Published(Err(refused)),
            Task::Sync(_) => |refused| Reply::Synced(Err(refused)),
            Task::Beginning(_) => |refused| Reply::Beginning(Err(refused)),
            Task::Read(_) => |refused| Reply::Read(Err(refused)),
            Task::Call(_) => |refused| Reply::Called(Err(refused)),
        }
    }
}

/// Messages for one topic, stored together and in order, or not at all.
#[derive(Debug)]
pub struct Publication {
    /// The topic.
    pub topic: TopicName,
    /// At least one.
    pub messages: SmallVec<[Outgoing; 1]>,
    /// They may be in the stream already, but not from before this time in milliseconds of
    /// Valkey's clock: then their tokens tell.
    pub sent_since: Option<u64>,
}

/// One message on its way to Valkey.
#[derive(Debug)]
pub struct Outgoing {
    /// Tells it from all others, however often it is sent.
    pub token: [u8; 16],
    /// Seconds.
    pub ttl: Option<u64>,
    /// What [`stored_part`](crate::api::delivery::stored_part) gives.
    pub stored_part: Box<[u8]>,
}

/// A part of a stream, oldest first.
#[derive(Debug)]
pub struct ReadOn {
    /// The topic.
    pub topic: TopicName,
    /// Exclusive.
    pub behind: Position,
    /// At most so many messages, at least 1.
    pub messages_max: usize,
    /// At most so many bytes of them, but at least one message.
    pub bytes_max: usize,
}

/// What became of a job.
#[derive(Debug)]
pub enum Reply {
    /// The positions of the messages, in order.
    Published(Result<SmallVec<[Position; 1]>, Refused>),
    /// The messages could not be stored now, and will be when Valkey is there again.
    Spooled,
    /// The local log is as new as Valkey was.
    Synced(Result<(), Refused>),
    /// What the stream holds begins behind this position: that of the newest message if it holds
    /// nothing, [`Position::ZERO`] if nothing was ever lost.
    Beginning(Result<Position, Refused>),
    /// A part of a stream.
    Read(Result<Strand, Refused>),
    /// What the script returned.
    Called(Result<redis::Value, Refused>),
}

/// A part of a stream.
#[derive(Debug)]
pub struct Strand {
    /// Messages that have not expired, framed, oldest first; not part of any log.
    pub messages: Vec<Message>,
    /// What the stream holds begins behind this position: what lies between the position that was
    /// asked for and this one is lost.
    pub begins_behind: Position,
    /// Everything up to here was read, or has expired.
    pub reached: Position,
    /// More stands behind that.
    pub has_more: bool,
}

/// Why a job was not done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refused {
    /// Valkey cannot be reached.
    Away,
    /// As much waits for Valkey as may wait.
    Full,
    /// Its time was up. A message may have been stored all the same.
    TooLate,
    /// Valkey has no memory left for messages.
    OutOfMemory,
    /// Valkey refused it.
    Error,
}

impl Refused {
    /// The same, as clients are told.
    pub fn sentence(self) -> &'static str {
        match self {
            Refused::Away => "The message store cannot be reached",
            Refused::Full => "Too much waits for the message store",
            Refused::TooLate => "The message store did not answer in time",
            Refused::OutOfMemory => "The message store has no memory left",
            Refused::Error => "The message store refused it",
        }
    }
}
