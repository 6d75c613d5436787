//! What the tests may see of a topic that nobody else may.

use super::super::history::Place;
use super::super::message::Message;
use super::super::store::TopicStore;

/// A topic from inside.
#[derive(Debug)]
pub(super) struct Inspection {
    /// What is kept, expired messages that nothing has taken yet included.
    pub(super) kept: Vec<Message>,
    pub(super) newest: Place,
    pub(super) lost: Place,
    /// What the slowest live reader has read.
    pub(super) floor: u64,
    pub(super) overhead_bytes: usize,
}

impl TopicStore {
    /// A topic from inside, if it exists.
    pub(super) fn inspect(&self, name: &str) -> Option<Inspection> {
        (0..self.shards.len()).find_map(|shard| {
            let shard = self.lock(shard as u16);
            let topic = shard.topics().find(|topic| topic.name.as_str() == name)?;
            Some(Inspection {
                kept: topic.history.behind(0, 0).cloned().collect(),
                newest: topic.history.newest(),
                lost: topic.history.lost(),
                floor: topic.interest.floor(),
                overhead_bytes: topic.overhead_bytes(),
            })
        })
    }
}
