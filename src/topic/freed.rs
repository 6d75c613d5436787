//! What is remembered of topics that were freed: up to where their messages are lost.

use std::collections::{HashMap, VecDeque};

use super::id::{Position, TopicHash};

/// Marks of freed topics, at most `marks_max`. The oldest make room by raising one common mark, so
/// that a topic which was freed long ago may report a gap where there was none, never the reverse.
#[derive(Debug)]
pub(super) struct FreedTopics {
    /// The mark, and when it was noted.
    marks: HashMap<TopicHash, (Position, u64)>,
    /// In the order of noting; entries whose number is not that of `marks` are stale.
    order: VecDeque<(TopicHash, u64)>,
    noted: u64,
    overflow: Position,
    marks_max: usize,
}

impl FreedTopics {
    /// An empty table for at most `marks_max` topics.
    pub(super) fn new(marks_max: usize) -> FreedTopics {
        FreedTopics {
            marks: HashMap::new(),
            order: VecDeque::new(),
            noted: 0,
            overflow: Position::ZERO,
            marks_max,
        }
    }

    /// Remembers up to where a topic that is being freed has lost messages.
    pub(super) fn note(&mut self, topic: TopicHash, lost: Position) {
        if lost == self.overflow {
            // What an unknown topic gets anyway.
            return;
        }
        self.noted += 1;
        self.marks.insert(topic, (lost, self.noted));
        self.order.push_back((topic, self.noted));
        while self.marks.len() > self.marks_max || self.order.len() > 2 * self.marks_max {
            let Some((oldest, noted)) = self.order.pop_front() else {
                break;
            };
            if self
                .marks
                .get(&oldest)
                .is_some_and(|(_, number)| *number == noted)
                && let Some((lost, _)) = self.marks.remove(&oldest)
            {
                self.overflow = self.overflow.max(lost);
            }
        }
    }

    /// The mark of a topic that comes into being, taken out of the table.
    pub(super) fn take(&mut self, topic: TopicHash) -> Position {
        let mark = self.marks.remove(&topic);
        mark.map_or(self.overflow, |(lost, _)| lost)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(number: usize) -> TopicHash {
        TopicHash::of(&number.to_string())
    }

    fn at(millis: u64) -> Position {
        Position::new(millis, 0)
    }

    #[test]
    fn remembers_a_mark_until_it_is_taken() {
        let mut freed = FreedTopics::new(2);
        freed.note(hash(1), at(10));
        assert_eq!(freed.take(hash(1)), at(10));
        assert_eq!(freed.take(hash(1)), Position::ZERO);
    }

    #[test]
    fn overflow_raises_the_common_mark() {
        let mut freed = FreedTopics::new(2);
        for number in 1..=3 {
            freed.note(hash(number), at(number as u64 * 10));
        }
        assert_eq!(freed.take(hash(1)), at(10), "the common mark");
        assert_eq!(freed.take(hash(9)), at(10), "also of unknown topics");
        assert_eq!(freed.take(hash(3)), at(30));
    }

    #[test]
    fn coming_and_going_does_not_grow_the_table() {
        let mut freed = FreedTopics::new(4);
        for round in 1..1000 {
            freed.note(hash(round % 3), at(round as u64));
            freed.take(hash(round % 3));
        }
        assert!(freed.order.len() <= 8 && freed.marks.len() <= 4);
    }
}
