//! Subscriptions that start, or were left, below what the log of their topic holds: they read its
//! stream behind memory, a part at a time, as fast as their sockets take it, until the log reaches
//! back to where they are.

use super::Worker;
use super::connection::Accepted;
use super::fan_out::JOB_MESSAGES_MAX;
use super::parking::Then;
use super::slots::ConnectionKey;
use super::subscriptions::{Standing, SubscriptionRef};
use crate::session::CloseReason;
use crate::topic::{Gap, GapReason, LocalTopic, Place, Position, TopicHash};
use crate::valkey::{ReadOn, Refused, Strand, Task};

impl Worker {
    pub(super) fn stands_cold(&mut self, at: SubscriptionRef) -> bool {
        let topic = self.topics.get(at.topic);
        topic.is_some_and(|topic| topic.subscriber_at(at.index).standing == Standing::Cold)
    }

    /// Has the next part of a stream read for a subscription.
    pub(super) fn read_stream(&mut self, key: ConnectionKey, at: SubscriptionRef) {
        let Some(topic) = self.topics.get(at.topic) else {
            return;
        };
        let behind = topic.subscriber_at(at.index).place().position;
        let Some(name) = self.shared.store.name(topic.handle) else {
            return;
        };
        let task = Task::Read(ReadOn {
            topic: name,
            behind,
            messages_max: JOB_MESSAGES_MAX,
            bytes_max: self.limits.outbox_bytes_max / 2,
        });
        self.park(key, Then::ReadOn(at.topic, None), vec![task]);
    }

    /// A part of a stream has come for a subscription.
    pub(super) fn deliver_strand(
        &mut self,
        key: ConnectionKey,
        local: LocalTopic,
        strand: Result<Strand, Refused>,
    ) {
        let Some(connection) = self.connections.get(key) else {
            return;
        };
        let at = connection.subscriptions.iter().find(|at| at.topic == local);
        let Some(at) = at.copied() else { return };
        if !self.stands_cold(at) {
            return;
        }
        match strand {
            Ok(strand) => self.queue_strand(key, at, &strand),
            Err(_) => self.stalled.push(key),
        }
    }

    fn queue_strand(&mut self, key: ConnectionKey, at: SubscriptionRef, strand: &Strand) {
        let wants_disconnect = self
            .connections
            .get(key)
            .is_some_and(|connection| self.wants_disconnect(connection));
        let store = &self.shared.store;
        let (Some(topic), Some(connection)) =
            (self.topics.get_mut(at.topic), self.connections.get_mut(key))
        else {
            return;
        };
        let handle = topic.handle;
        let subscriber = topic.subscriber(at.index);
        let mut reached = subscriber.place().position;
        if strand.begins_behind > reached {
            if wants_disconnect {
                self.close_lagging(key, CloseReason::Lagging);
                return;
            }
            // What the log still has is not lost.
            let in_log = store.place_behind(handle, strand.begins_behind);
            let from = reached;
            let to = in_log.map_or(strand.begins_behind, |place| place.position);
            if let Some(name) = store.name(handle) {
                let hash = TopicHash::of(&name);
                let gap = Gap {
                    from: store.id(hash, from),
                    to: store.id(hash, to),
                    reason: GapReason::Lagged,
                };
                connection.queue_gap(&name, &gap, self.now.monotonic_micros);
            }
            self.metrics.gap(GapReason::Lagged);
            if let Some(place) = in_log {
                subscriber.stand(Standing::Behind, place);
                self.touch(key);
                self.schedule_catch_up(key);
                return;
            }
            reached = to;
        }
        let (messages, now) = (&strand.messages[..], self.now.monotonic_micros);
        let accepted = connection.queue(messages, self.limits.outbox_bytes_max, now);
        let taken = match accepted {
            Accepted::All => messages.len(),
            Accepted::First(count) => count,
        };
        if taken == messages.len() {
            reached = reached.max(strand.reached);
        } else if let Some(last) = messages[..taken].last() {
            reached = last.position();
        }
        let has_moved = reached > subscriber.place().position;
        // Where the log reaches back so far, and has come so far, it goes on from there.
        let in_log = store.place_behind(handle, reached);
        let in_log = in_log.filter(|place| place.position >= reached);
        match in_log {
            Some(place) => subscriber.stand(Standing::Behind, place),
            None => subscriber.stand(Standing::Cold, cold_place(reached)),
        }
        if in_log.is_none() && !has_moved {
            // The log has not come so far: news tells when it has.
            self.stalled.push(key);
            return;
        }
        let kind = connection.delivery_kind();
        let bytes = messages[..taken].iter().map(|it| it.frame().len() as u64);
        self.metrics.delivered(taken as u64, bytes.sum());
        self.count_delivered(at.topic, kind, taken as u64);
        self.flush(key);
        self.schedule_catch_up(key);
    }

    /// Tries those again whose streams could not be read.
    pub(super) fn try_stalled_again(&mut self) {
        for key in std::mem::take(&mut self.stalled) {
            self.schedule_catch_up(key);
            self.schedule_claim(key);
        }
    }
}

/// A place that no log knows: its position alone counts.
pub(super) fn cold_place(position: Position) -> Place {
    Place {
        sequence: 0,
        position,
    }
}
