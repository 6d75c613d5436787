//! What threads of this tier want from a lane, and who hears what it found out for them.

use super::entry::RawStrand;
use super::job::{Job, Refused, Waiter};
use crate::metrics::ValkeyStats;
use crate::topic::{Epoch, Position, TopicName};

/// Something for a lane to do.
#[derive(Debug)]
pub enum Order {
    /// What a worker asked for; any task but [`Task::Sync`](super::Task::Sync).
    Job(Job),
    /// Say this number on the node's echo channel. Of those that wait only the newest is said.
    Echo(u64),
    /// Look up the position of a topic's newest message: [`Listener::opened`].
    Tail(TopicName),
    /// Read a topic's stream on: [`Listener::mended`].
    ReadOn {
        /// The topic.
        topic: TopicName,
        /// Exclusive.
        behind: Position,
    },
}

/// A topic that is followed by somebody else from now on.
#[derive(Debug)]
pub struct Left {
    /// Which.
    pub topic: TopicName,
    /// Its log is to be emptied still, and to go on behind the newest message.
    pub is_restarting: bool,
    /// Who waits for it, and until when in monotonic microseconds.
    pub waiters: Vec<(Waiter, u64)>,
}

/// Who hears what lanes find out for the tier itself. All but the first are called on lanes'
/// threads.
pub trait Listener: Send + Sync {
    /// Have the local log reach what was published before, and post
    /// [`Reply::Synced`](super::Reply::Synced).
    fn sync(&self, topic: TopicName, waiter: Waiter, deadline: u64);
    /// Where a topic's newest message stands: [`Position::ZERO`] when there never was one.
    fn opened(&self, topic: &TopicName, last: Result<Position, Refused>);
    /// What stands in a topic's stream behind the position that was asked for.
    fn mended(&self, topic: &TopicName, strand: Result<RawStrand, Refused>);
    /// The epoch of what is stored: at each connect, and twice a second.
    fn epoch(&self, epoch: Epoch);
    /// Gives up the topics of which `stays` says that another lane leads to them now.
    fn leave(&self, stays: &dyn Fn(&TopicName) -> bool) -> Vec<Left>;
    /// Follows a topic that another one has given up.
    fn take_over(&self, left: Left);
    /// Whether what is said on the echo channel comes back.
    fn is_heard(&self) -> bool;
    /// Adds what it has counted.
    fn tell(&self, stats: &mut ValkeyStats);
    /// Ends its threads, without waiting for them.
    fn stop(&self);
}
