//! Reading a topic's log on from a place.

use super::history::Place;
use super::id::TopicHash;
use super::interest::News;
use super::message::Message;
use super::name::TopicName;
use super::shard::Topic;
use super::store::TopicStore;
use crate::moment::Moment;

/// How much to read at once.
#[derive(Clone, Copy, Debug)]
pub struct Batch {
    /// Messages.
    pub messages_max: usize,
    /// Bytes of frames; one message is read even if it is larger.
    pub bytes_max: usize,
}

/// What was read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Reading {
    /// The topic.
    pub topic: TopicHash,
    /// Everything up to here has been read, or is gone.
    pub place: Place,
    /// The newest message that trimming took, if that was not read before.
    pub lost: Option<Place>,
    /// Its sequence, whether or not it was read: who has read less has missed something.
    pub trimmed_to: u64,
    /// More is kept behind `place`.
    pub more: bool,
}

/// Reads a log on behind a sequence.
pub(super) fn read_on(
    topic: &Topic,
    behind: u64,
    batch: Option<Batch>,
    now: Moment,
    messages: &mut Vec<Message>,
) -> Reading {
    let (newest, lost) = (topic.history.newest(), topic.history.lost());
    let reading = |place, more| Reading {
        topic: topic.hash,
        place,
        lost: (behind < lost.sequence).then_some(lost),
        trimmed_to: lost.sequence,
        more,
    };
    let Some(batch) = batch else {
        return reading(newest, false);
    };
    let mut bytes = 0;
    let mut last = None;
    for message in topic.history.behind(behind, now.monotonic_micros) {
        bytes += message.frame().len();
        let full = messages.len() == batch.messages_max || bytes > batch.bytes_max;
        if let Some(place) = last.filter(|_| full) {
            return reading(place, true);
        }
        last = Some(message.place());
        messages.push(message.clone());
    }
    reading(newest, false)
}

impl TopicStore {
    /// Tells all readers of a topic that it has news, though it has no new message: what its
    /// consumers may do has changed elsewhere. Whom to tell is added to `news`.
    pub fn call_all(&self, name: &TopicName, news: &mut Vec<News>) {
        let (name_hash, index) = self.shard_of(name.as_str());
        let mut shard = self.lock(index);
        let key = shard.find(name_hash, name.as_str());
        if let Some(topic) = key.and_then(|key| shard.get_mut(key)) {
            topic.interest.tell(news);
        }
    }
}
