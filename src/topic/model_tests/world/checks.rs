//! What must hold after each operation, whatever the order of operations was.

use std::collections::BTreeSet;

use super::super::From;
use super::super::model::{Fate, Record, TopicModel, tag_of};
use super::World;
use crate::topic::budget::Charge;
use crate::topic::message::Message;
use crate::topic::model_tests::inspect::Inspection;
use crate::topic::{GapReason, Start, Subscribed};

impl World {
    pub(super) fn check_subscribed(
        &self,
        topic: usize,
        from: &From,
        start: Start,
        subscribed: &Subscribed,
        inspection: &Inspection,
    ) {
        let topic = &self.topics[topic];
        let (newest, lost) = (inspection.newest, inspection.lost);
        let reason = subscribed.gap.map(|gap| gap.reason);
        assert_eq!(subscribed.resume.position, subscribed.start.position);
        let id = match start {
            Start::Last => {
                assert_eq!((subscribed.start, reason), (newest, None));
                return;
            }
            Start::Earliest => {
                assert_eq!((subscribed.start, reason), (lost, None));
                return;
            }
            Start::Behind(id) => id,
        };
        if let Some(gap) = subscribed.gap {
            assert_eq!(gap.to, self.store.id(topic.hash, lost.position));
            let from = (gap.from.position, gap.from.epoch, gap.from.topic);
            assert_eq!(from, (id.position, id.epoch, topic.hash));
            assert_eq!(subscribed.start, lost, "everything kept follows");
        }
        let trimmed = topic
            .records
            .iter()
            .any(|record| record.fate == Fate::Trimmed && record.position > id.position);
        match from {
            From::OtherEpoch(_) | From::Beyond => assert_eq!(reason, Some(GapReason::EpochChanged)),
            From::Other(..) if id.topic != topic.hash && id.position > newest.position => {
                assert_eq!((subscribed.start, reason), (newest, None));
            }
            _ if trimmed => assert_eq!(reason, Some(GapReason::Trimmed)),
            _ if self.marks_merge && reason.is_some() => {
                assert_eq!(reason, Some(GapReason::Trimmed));
            }
            _ => {
                assert_eq!(reason, None, "no gap unless something was lost");
                topic.check_start(subscribed.start, id.position);
            }
        }
    }

    /// Bytes of each topic's log.
    pub(super) fn inspect_all(&self) -> Vec<u64> {
        let bytes = |topic: &TopicModel| {
            let inspection = self.store.inspect(&topic.name);
            inspection.map_or(0, |it| it.kept.iter().map(Message::cost).sum())
        };
        self.topics.iter().map(bytes).collect()
    }

    /// Finds out what an operation took away, and whether it had a reason. `bytes_before` are
    /// those of the logs, `peak` the most that the budget had in use.
    pub(super) fn settle(&mut self, bytes_before: &[u64], peak: u64) {
        let limits = self.limits.history;
        let memory_pressure = peak > self.budget.bytes_max();
        let now = self.now.monotonic_micros;
        let mut relieved_above_floor = false;
        let mut readable_left = false;
        for (topic, bytes) in self.topics.iter_mut().zip(bytes_before) {
            let inspection = self.store.inspect(&topic.name);
            topic.exists = inspection.is_some();
            let kept: BTreeSet<u64> = inspection
                .iter()
                .flat_map(|it| it.kept.iter().map(tag_of))
                .collect();
            let floor = inspection.as_ref().map_or(u64::MAX, |it| it.floor);
            let life = topic.life;
            let mut oldest_kept = u64::MAX;
            let bytes_pressure =
                memory_pressure || bytes + new_bytes(topic, now) > limits.bytes_max;
            for record in topic
                .records
                .iter_mut()
                .rev()
                .filter(|it| it.fate == Fate::Kept)
            {
                assert_eq!(record.life, life, "topics with messages are not freed");
                if kept.contains(&record.tag) {
                    oldest_kept = record.sequence;
                    continue;
                }
                if record.expires_at <= now {
                    record.fate = Fate::Expired;
                    continue;
                }
                record.fate = Fate::Trimmed;
                assert!(record.sequence < oldest_kept, "the oldest go first");
                let is_aged = record.stored_at + limits.retention_micros <= now;
                if record.sequence > floor {
                    assert!(bytes_pressure, "spares what live readers have not read");
                    relieved_above_floor |= limits.bytes_max > 1 << 30;
                } else {
                    let is_full = kept.len() >= limits.messages_max;
                    assert!(
                        bytes_pressure || is_aged || is_full,
                        "trimmed without a reason"
                    );
                }
            }
            readable_left |= !kept.is_empty() && oldest_kept <= floor;
        }
        assert!(
            !(relieved_above_floor && readable_left),
            "what all have read goes before what some have not"
        );
    }

    /// After publishing and sweeping, the budget is kept as far as history can keep it.
    pub(super) fn check_relieved(&self) {
        if self.held.is_empty() {
            assert!(self.budget.excess() == 0 || self.store.history_bytes() == 0);
        }
    }

    /// After a full sweep nothing is due any more, but topics that freeing memory emptied then wait
    /// for the next.
    pub(super) fn check_swept(&self, relieved: bool) {
        let limits = self.limits.history;
        let now = self.now.monotonic_micros;
        for (index, topic) in self.topics.iter().enumerate() {
            let Some(inspection) = self.store.inspect(&topic.name) else {
                continue;
            };
            let kept = &inspection.kept;
            assert!(
                relieved || self.has_interest(index) || !kept.is_empty(),
                "idle topics are freed"
            );
            assert!(kept.iter().all(|message| message.expires_at() > now));
            assert!(kept.iter().map(Message::cost).sum::<u64>() <= limits.bytes_max);
            if let Some(oldest) = kept.first().filter(|it| it.sequence() <= inspection.floor) {
                assert!(oldest.stored_at() + limits.retention_micros > now);
                assert!(kept.len() <= limits.messages_max);
            }
        }
    }

    pub(super) fn check_everything(&self) {
        let (mut history_bytes, mut overhead) = (0, 0);
        let mut kept_tags = BTreeSet::new();
        for topic in &self.topics {
            let Some(inspection) = self.store.inspect(&topic.name) else {
                assert!(!topic.exists);
                continue;
            };
            assert!(topic.exists);
            let kept = topic
                .records
                .iter()
                .filter(|record| record.fate == Fate::Kept);
            let expected: Vec<_> = kept
                .map(|it| (it.tag, it.sequence, it.position, it.cost))
                .collect();
            let found = inspection.kept.iter();
            let found: Vec<_> = found
                .map(|it| (tag_of(it), it.sequence(), it.position(), it.cost()))
                .collect();
            assert_eq!(found, expected);
            assert!(inspection.kept.iter().all(|message| {
                let id = self.store.id(topic.hash, message.position());
                message.frame().starts_with(&id.encode())
            }));
            assert_eq!(inspection.newest.sequence, topic.newest_sequence(), "dense");
            assert_eq!(inspection.lost.sequence, topic.lost_sequence());
            let mark = inspection.lost.position;
            assert!(mark == topic.mark() || self.marks_merge && mark > topic.mark());
            history_bytes += expected.iter().map(|(.., cost)| cost).sum::<u64>();
            overhead += inspection.overhead_bytes as u64;
            kept_tags.extend(expected.iter().map(|(tag, ..)| *tag));
        }
        for ((_, topic), interest) in &self.interests {
            let is_behind = interest.read.sequence < self.topics[*topic].newest_sequence();
            assert!(
                !is_behind || interest.is_due(),
                "nobody waits for news that will not come"
            );
        }
        let stats = self.store.stats();
        assert_eq!(stats.history_bytes, history_bytes);
        let existing = self.topics.iter().filter(|topic| topic.exists).count();
        assert_eq!(stats.topics_total, existing);
        assert!(stats.topics.len() <= self.limits.metered_topics_max);
        let gone = |record: &&Record| record.fate != Fate::Kept;
        let evicted = self
            .topics
            .iter()
            .flat_map(|topic| &topic.records)
            .filter(gone)
            .count();
        assert_eq!(stats.evicted, evicted as u64);
        let held = self.held.iter().filter(|(tag, _)| !kept_tags.contains(tag));
        let held: u64 = held.map(|(_, message)| message.cost()).sum();
        let occupied: u64 = self.occupied.iter().map(Charge::bytes).sum();
        assert_eq!(
            self.budget.used_exactly(),
            history_bytes + overhead + held + occupied
        );
    }
}

/// Bytes of what was published just now.
fn new_bytes(topic: &TopicModel, now_micros: u64) -> u64 {
    let new = topic
        .living()
        .filter(|record| record.stored_at == now_micros);
    new.map(|record| record.cost).sum()
}
