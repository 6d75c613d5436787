//! What the tests remember: every message ever published, and what became of it.

use super::super::Reading;
use super::super::history::Place;
use super::super::id::{Position, TopicHash};
use super::super::message::Message;

/// What became of a message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Fate {
    /// The log has it; it may have expired without anybody having noticed.
    Kept,
    /// Its `ttl` ran out and it was taken away.
    Expired,
    /// Taken away by a bound.
    Trimmed,
}

/// A message that was published.
#[derive(Clone, Debug)]
pub(super) struct Record {
    /// Unique over all topics, rising in the order of publishing.
    pub(super) tag: u64,
    /// Topics come again: which life of the topic it belongs to.
    pub(super) life: u32,
    pub(super) sequence: u64,
    pub(super) position: Position,
    pub(super) stored_at: u64,
    pub(super) expires_at: u64,
    pub(super) frame_bytes: usize,
    pub(super) cost: u64,
    pub(super) fate: Fate,
}

impl Record {
    /// Whether readers get it.
    pub(super) fn is_readable(&self, now_micros: u64) -> bool {
        self.fate == Fate::Kept && self.expires_at > now_micros
    }
}

/// One topic's past.
#[derive(Debug)]
pub(super) struct TopicModel {
    pub(super) name: String,
    pub(super) hash: TopicHash,
    pub(super) life: u32,
    pub(super) exists: bool,
    pub(super) records: Vec<Record>,
}

impl TopicModel {
    pub(super) fn new(name: String) -> TopicModel {
        TopicModel {
            hash: TopicHash::of(&name),
            name,
            life: 0,
            exists: false,
            records: Vec::new(),
        }
    }

    /// Messages of the present life.
    pub(super) fn living(&self) -> impl DoubleEndedIterator<Item = &Record> {
        let life = self.life;
        self.records
            .iter()
            .filter(move |record| record.life == life)
    }

    /// The newest sequence of the present life.
    pub(super) fn newest_sequence(&self) -> u64 {
        self.living().last().map_or(0, |record| record.sequence)
    }

    /// The newest position that was trimmed, in any life.
    pub(super) fn mark(&self) -> Position {
        let trimmed = self
            .records
            .iter()
            .filter(|record| record.fate == Fate::Trimmed);
        trimmed
            .map(|record| record.position)
            .max()
            .unwrap_or(Position::ZERO)
    }

    /// The newest sequence that was trimmed in this life.
    pub(super) fn lost_sequence(&self) -> u64 {
        let trimmed = self.living().filter(|record| record.fate == Fate::Trimmed);
        trimmed.map(|record| record.sequence).max().unwrap_or(0)
    }

    /// Checks what a reader got that had read up to `before`: just what is kept and has not
    /// expired, in order, and word of what was lost.
    pub(super) fn check_reading(
        &self,
        before: u64,
        batch: Option<(usize, usize)>,
        now_micros: u64,
        reading: &Reading,
        messages: &[Message],
    ) {
        let lost = self.lost_sequence();
        let told = reading.lost.map(|place| place.sequence);
        assert_eq!(
            told,
            (before < lost).then_some(lost),
            "told of what is lost"
        );
        let place = reading.place.sequence;
        let readable =
            |record: &&Record| record.sequence > before && record.is_readable(now_micros);
        let due: Vec<&Record> = self.living().filter(readable).collect();
        let Some((messages_max, bytes_max)) = batch else {
            assert!(messages.is_empty() && !reading.more);
            assert_eq!(place, self.newest_sequence());
            return;
        };
        let read: Vec<&Record> = due
            .iter()
            .copied()
            .filter(|record| record.sequence <= place)
            .collect();
        let tags: Vec<u64> = read.iter().map(|record| record.tag).collect();
        assert_eq!(
            messages.iter().map(tag_of).collect::<Vec<_>>(),
            tags,
            "each once, in order"
        );
        for (message, record) in messages.iter().zip(&read) {
            assert_eq!(message.sequence(), record.sequence);
            assert_eq!(message.position(), record.position);
            assert_eq!(message.frame().len(), record.frame_bytes);
        }
        let bytes: usize = read.iter().map(|record| record.frame_bytes).sum();
        assert!(messages.len() <= messages_max);
        assert!(messages.len() <= 1 || bytes <= bytes_max);
        assert_eq!(reading.more, read.len() < due.len());
        match due.get(read.len()) {
            Some(next) => assert!(
                messages.len() == messages_max || bytes + next.frame_bytes > bytes_max,
                "a batch is as large as it may be"
            ),
            None => assert_eq!(place, self.newest_sequence()),
        }
    }

    /// Checks that reading on from a place gives just what is kept above a position.
    pub(super) fn check_start(&self, start: Place, position: Position) {
        for record in self.living() {
            let follows = record.sequence > start.sequence;
            match record.fate {
                Fate::Kept => assert_eq!(follows, record.position > position),
                Fate::Trimmed => assert!(!follows, "lost without a word"),
                Fate::Expired => {}
            }
        }
    }
}

/// The number that the test wrote at the end of a message's frame.
pub(super) fn tag_of(message: &Message) -> u64 {
    let tag = message
        .frame()
        .last_chunk()
        .expect("frames of the test end with a tag");
    u64::from_be_bytes(*tag)
}
