//! Consumers with a position of their own: they resume, replay, or were too slow for a while.
//!
//! Such a subscription reads on from the log whenever its socket has drained, and joins the live
//! group when it has reached it. If the log has moved past it, `on_lag` decides.

use super::Worker;
use super::connection::{Accepted, Connection};
use super::fan_out::{JOB_MESSAGES_MAX, Work};
use super::slots::ConnectionKey;
use super::subscriptions::{Standing, Subscribed, SubscriptionRef};
use crate::metrics::WorkerMetrics;
use crate::session::CloseReason;
use crate::topic::{Batch, DeliveryKind, GapReason, Message, Place, Reading, TopicStore};

impl Worker {
    /// Gives a connection that reads on by itself a turn, unless it waits for its socket.
    pub(super) fn schedule_catch_up(&mut self, key: ConnectionKey) {
        let Some(connection) = self.connections.get(key) else {
            return;
        };
        let has_room = connection.message_bytes() <= self.limits.outbox_bytes_max / 2;
        if connection.behind > 0 && has_room {
            self.schedule_turn(key);
        }
    }

    /// Gives a connection a turn in the fan-out.
    pub(super) fn schedule_turn(&mut self, key: ConnectionKey) {
        let Some(connection) = self.connections.get_mut(key) else {
            return;
        };
        if !std::mem::replace(&mut connection.marks.has_turn, true) {
            self.work.push_back(Work::Connection(key));
        }
    }

    /// The turn of a connection; returns the writes made.
    pub(super) fn take_turn(&mut self, key: ConnectionKey) -> usize {
        let Some(connection) = self.connections.get_mut(key) else {
            return 0;
        };
        connection.marks.has_turn = false;
        if connection.marks.is_doomed {
            return 0;
        }
        if connection.session.is_polling() {
            self.wake_poll(key);
            return 1;
        }
        let is_consumer = !self.seats.of(key).is_empty();
        if is_consumer {
            self.claim_all(key);
        }
        self.catch_up(key) + usize::from(is_consumer)
    }

    /// Reads one batch for one subscription of a connection; returns the writes made.
    fn catch_up(&mut self, key: ConnectionKey) -> usize {
        let Some(at) = self.next_behind(key) else {
            return 0;
        };
        if self.stands_cold(at) {
            self.read_stream(key, at);
            return 1;
        }
        match self.read_on(key, at) {
            // Flushing gives it its next turn, or the socket does when it takes bytes again.
            Ok(()) => self.flush(key),
            Err(reason) => self.close_lagging(key, reason),
        }
        1
    }

    /// A subscription that is behind; each time another one, if there are several.
    fn next_behind(&mut self, key: ConnectionKey) -> Option<SubscriptionRef> {
        let connection = self.connections.get_mut(key)?;
        let topics = &mut self.topics;
        // One stream at a time.
        let may_read = !self.parking.reads(key);
        let is_behind = |at: &SubscriptionRef| {
            let topic = topics.get_mut(at.topic);
            topic.is_some_and(|topic| match topic.subscriber(at.index).standing {
                Standing::Behind => true,
                Standing::Cold => may_read,
                Standing::Live | Standing::Asking | Standing::Gone => false,
            })
        };
        let position = connection.subscriptions.iter().position(is_behind)?;
        connection.subscriptions[..].rotate_left(position);
        let at = *connection.subscriptions.first()?;
        connection.subscriptions[..].rotate_left(1);
        Some(at)
    }

    fn read_on(&mut self, key: ConnectionKey, at: SubscriptionRef) -> Result<(), CloseReason> {
        let wants_disconnect = self
            .connections
            .get(key)
            .is_some_and(|connection| self.wants_disconnect(connection));
        let Some(topic) = self.topics.get_mut(at.topic) else {
            return Ok(());
        };
        let Some(connection) = self.connections.get_mut(key) else {
            return Ok(());
        };
        let batch = Batch {
            messages_max: JOB_MESSAGES_MAX,
            bytes_max: self.limits.outbox_bytes_max / 2,
        };
        let behind = topic.subscriber(at.index).place();
        let has_streams = self.shared.valkey.is_some();
        let mut frames = std::mem::take(&mut self.frames);
        let store = &self.shared.store;
        let reading = store.read(topic.handle, behind.sequence, batch, self.now, &mut frames);
        let Some(Reading {
            place, lost, more, ..
        }) = reading
        else {
            return Ok(());
        };
        if lost.is_some() && has_streams {
            // What the log has lost the stream may still have.
            frames.clear();
            self.frames = frames;
            topic.subscriber(at.index).stand(Standing::Cold, behind);
            if !self.parking.reads(key) {
                self.read_stream(key, at);
            }
            return Ok(());
        }
        if let Some(lost) = lost {
            if wants_disconnect {
                frames.clear();
                self.frames = frames;
                return Err(CloseReason::Lagging);
            }
            if let Some((name, gap)) = store.gap(topic.handle, behind, lost, GapReason::Lagged) {
                connection.queue_gap(&name, &gap, self.now.monotonic_micros);
            }
            self.metrics.gap(GapReason::Lagged);
        }
        let accepted = connection.queue(
            &frames,
            self.limits.outbox_bytes_max,
            self.now.monotonic_micros,
        );
        let taken = match accepted {
            Accepted::All => frames.len(),
            Accepted::First(count) => count,
        };
        let read_to = match frames.get(taken) {
            None => place,
            Some(_) => frames[..taken]
                .last()
                .map_or(lost.unwrap_or(behind), |last| Place {
                    sequence: last.sequence(),
                    position: last.position(),
                }),
        };
        let kind = connection.delivery_kind();
        count(topic, kind, &frames[..taken], store, &self.metrics);
        settle(topic, connection, at, read_to, more || taken < frames.len());
        frames.clear();
        self.frames = frames;
        Ok(())
    }
}

/// Counts what was delivered from the log.
fn count(
    topic: &mut Subscribed,
    kind: DeliveryKind,
    delivered: &[Message],
    store: &TopicStore,
    metrics: &WorkerMetrics,
) {
    if topic.meter.is_none() {
        topic.meter = store.meter(topic.handle);
    }
    if let Some(meter) = &topic.meter {
        meter.delivered(kind, delivered.len() as u64);
    }
    let bytes = delivered.iter().map(|message| message.frame().len() as u64);
    metrics.delivered(delivered.len() as u64, bytes.sum());
}

/// Moves a subscription on, and into the live group when it has reached that. Reaching means that a
/// job under way has nothing for it: the worker's place is where that job ends.
fn settle(
    topic: &mut Subscribed,
    connection: &mut Connection,
    at: SubscriptionRef,
    place: Place,
    more: bool,
) {
    let group = topic.read().sequence;
    let subscriber = topic.subscriber(at.index);
    if !more && place.sequence >= group {
        subscriber.stand(Standing::Live, place);
        connection.behind -= 1;
    } else {
        subscriber.stand(Standing::Behind, place);
    }
}
