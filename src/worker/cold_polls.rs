//! Long polls whose messages stand in streams behind memory: these are read first, and then it is
//! looked again.

use super::Worker;
use super::parking::{ColdTopic, Then};
use super::polls::{Found, Strand};
use super::slots::ConnectionKey;
use super::subscriptions::Standing;
use crate::topic::{Gap, GapReason, LocalTopic, Position, TopicHash, TopicName};
use crate::valkey::{self, ReadOn, Task};

impl Worker {
    /// A poll that waits is answered with the gap that a new epoch is, and with what is kept now.
    pub(super) fn tell_poll_of_epoch(
        &mut self,
        key: ConnectionKey,
        local: LocalTopic,
        name: &TopicName,
        gap: Gap,
    ) {
        let connection = self.connections.get(key);
        let waits = connection.is_some_and(|it| it.session.is_polling());
        if !waits || self.parking.holds(key) {
            return;
        }
        self.stop_waiting();
        self.metrics.gap(gap.reason);
        let topic = ColdTopic {
            local,
            name: name.clone(),
            behind: Position::ZERO,
            strand: None,
        };
        self.answer_or_wait(key, vec![(name.clone(), gap)], vec![topic]);
    }

    /// Has the streams read that a poll needs; what was found in logs is looked for again.
    pub(super) fn read_streams(&mut self, key: ConnectionKey, found: &mut Found) {
        let topics = std::mem::take(&mut found.cold);
        let bounds = self.connections.get(key);
        let Some(bounds) = bounds.and_then(|it| it.session.poll_bounds()) else {
            return;
        };
        let task = |topic: &ColdTopic| {
            let read = ReadOn {
                topic: topic.name.clone(),
                behind: topic.behind,
                messages_max: bounds.per_topic,
                bytes_max: self.limits.outbox_bytes_max,
            };
            Task::Read(read)
        };
        let tasks = topics.iter().map(task).collect();
        let gaps = std::mem::take(&mut found.gaps);
        self.park(key, Then::Poll(topics, gaps), tasks);
    }

    /// The streams that a poll needs have been read.
    pub(super) fn poll_cold(
        &mut self,
        key: ConnectionKey,
        mut topics: Vec<ColdTopic>,
        mut gaps: Vec<(TopicName, Gap)>,
    ) {
        let refused = topics.iter().find_map(|topic| match topic.strand {
            Some(Err(refused)) => Some(refused),
            Some(Ok(_)) | None => None,
        });
        if let Some(refused) = refused {
            self.refuse_poll(key, refused.sentence());
            return;
        }
        topics.retain(|topic| !self.is_read_up(key, topic));
        // Also when its time is up: what is kept now is found now.
        for topic in &mut topics {
            gaps.extend(self.pass_over(topic));
        }
        self.answer_or_wait(key, gaps, topics);
    }

    /// All that was read of a topic's stream has expired: what stands behind that is to be read
    /// next. Returns what is missing before it.
    fn pass_over(&self, topic: &mut ColdTopic) -> Option<(TopicName, Gap)> {
        let Some(Ok(strand)) = &topic.strand else {
            return None;
        };
        if !strand.messages.is_empty() || !strand.has_more {
            return None;
        }
        let (reached, gap) = (strand.reached, self.gap_before(topic, strand));
        topic.behind = reached;
        topic.strand = None;
        gap
    }

    /// What a stream has lost behind the place from which it was read.
    fn gap_before(&self, topic: &ColdTopic, read: &valkey::Strand) -> Option<(TopicName, Gap)> {
        if read.begins_behind <= topic.behind {
            return None;
        }
        self.metrics.gap(GapReason::Trimmed);
        let hash = TopicHash::of(&topic.name);
        let gap = Gap {
            from: self.shared.store.id(hash, topic.behind),
            to: self.shared.store.id(hash, read.begins_behind),
            reason: GapReason::Trimmed,
        };
        Some((topic.name.clone(), gap))
    }

    /// Nothing stood in a topic's stream that the log does not have: it is read from there.
    fn is_read_up(&mut self, key: ConnectionKey, topic: &ColdTopic) -> bool {
        let Some(Ok(strand)) = &topic.strand else {
            return false;
        };
        if !strand.messages.is_empty() || strand.has_more || strand.begins_behind > topic.behind {
            return false;
        }
        let Some(connection) = self.connections.get(key) else {
            return true;
        };
        let at = connection
            .subscriptions
            .iter()
            .find(|at| at.topic == topic.local);
        let (Some(at), Some(known)) = (at, self.topics.get_mut(topic.local)) else {
            return true;
        };
        let place = self.shared.store.place_behind(known.handle, strand.reached);
        if let Some(place) = place {
            known.subscriber(at.index).stand(Standing::Asking, place);
        }
        place.is_some()
    }

    /// What was read of a stream; of one that is still to be read nothing, and it goes to `unread`.
    pub(super) fn strand_of_stream(
        &mut self,
        mut topic: ColdTopic,
        unread: &mut Vec<ColdTopic>,
    ) -> Option<(Strand, Option<(TopicName, Gap)>)> {
        let store = &self.shared.store;
        let hash = TopicHash::of(&topic.name);
        let id = |position| store.id(hash, position);
        let Some(Ok(read)) = topic.strand.take() else {
            let strand = Strand {
                local: topic.local,
                before: id(topic.behind),
                behind: id(topic.behind),
                messages: Vec::new(),
                has_more: false,
            };
            unread.push(topic);
            return Some((strand, None));
        };
        let gap = self.gap_before(&topic, &read);
        let strand = Strand {
            local: topic.local,
            before: id(topic.behind.max(read.begins_behind)),
            behind: id(read.reached),
            messages: read.messages,
            has_more: read.has_more,
        };
        Some((strand, gap))
    }
}
