//! The tier behind memory has begun a new life: positions of the old one say nothing about it.

use super::Worker;
use super::cold::cold_place;
use super::slots::ConnectionKey;
use super::subscriptions::Standing;
use crate::topic::{Epoch, Gap, GapReason, LocalTopic, MessageId, Position, TopicHash, TopicName};

impl Worker {
    /// Looks whether the epoch has changed. Then everyone is told, and reads on from the beginning
    /// of what is kept now.
    pub(super) fn follow_epoch(&mut self) {
        let before = std::mem::replace(&mut self.epoch, self.shared.store.epoch());
        if before == self.epoch {
            return;
        }
        let all: Vec<LocalTopic> = self.topics.numbers().collect();
        for local in all {
            self.start_anew(local, before);
        }
    }

    fn start_anew(&mut self, local: LocalTopic, before: Epoch) {
        let Some(topic) = self.topics.get(local) else {
            return;
        };
        let Some(name) = self.shared.store.name(topic.handle) else {
            return;
        };
        let (read, places) = (topic.read(), topic.places() as u32);
        for index in 0..places {
            let Some(topic) = self.topics.get_mut(local) else {
                return;
            };
            let subscriber = topic.subscriber(index);
            let (key, standing) = (subscriber.key, subscriber.standing);
            let place = match standing {
                Standing::Live if read.sequence > subscriber.place().sequence => read,
                _ => subscriber.place(),
            };
            let is_asking = standing == Standing::Asking;
            match standing {
                Standing::Gone => continue,
                Standing::Asking => subscriber.stand(standing, cold_place(Position::ZERO)),
                _ => subscriber.stand(Standing::Cold, cold_place(Position::ZERO)),
            }
            // What is being read of the old stream is not what it goes on with.
            self.parking.forget_reading(key, local);
            let position = self.leave_epoch(key, local).unwrap_or(place.position);
            let gap = self.gap_of_epochs(&name, before, position);
            if is_asking && !self.is_polling(key) {
                self.tell_consumer_of_epoch(key, &name, &gap);
            } else if is_asking {
                self.tell_poll_of_epoch(key, local, &name, gap);
            } else {
                self.tell_of_epoch(key, standing, &name, &gap);
            }
        }
    }

    /// What an at-least-once consumer goes on behind begins anew. Returns where it was, if it is one.
    fn leave_epoch(&mut self, key: ConnectionKey, local: LocalTopic) -> Option<Position> {
        let store = &self.shared.store;
        let mut seats = self.seats.of_mut(key).iter_mut();
        let seat = seats.find(|seat| seat.local == local)?;
        let place = std::mem::replace(&mut seat.place, store.id(seat.topic, Position::ZERO));
        seat.want_claim();
        Some(place.position)
    }

    fn tell_consumer_of_epoch(&mut self, key: ConnectionKey, name: &TopicName, gap: &Gap) {
        self.metrics.gap(gap.reason);
        if let Some(connection) = self.connections.get_mut(key) {
            connection.queue_gap(name, gap, self.now.monotonic_micros);
            self.touch(key);
            self.schedule_turn(key);
        }
    }

    fn gap_of_epochs(&self, name: &TopicName, before: Epoch, position: Position) -> Gap {
        let topic = TopicHash::of(name);
        Gap {
            from: MessageId {
                position,
                epoch: before,
                topic,
            },
            to: self.shared.store.id(topic, Position::ZERO),
            reason: GapReason::EpochChanged,
        }
    }

    fn tell_of_epoch(
        &mut self,
        key: ConnectionKey,
        standing: Standing,
        name: &TopicName,
        gap: &Gap,
    ) {
        self.metrics.gap(gap.reason);
        let Some(connection) = self.connections.get_mut(key) else {
            return;
        };
        connection.queue_gap(name, gap, self.now.monotonic_micros);
        connection.behind += u32::from(!standing.reads_on());
        self.touch(key);
        self.schedule_catch_up(key);
    }
}
