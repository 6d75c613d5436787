//! Messages whose deliveries are used up: they go to the topic for dead letters, if there is one.

use smallvec::smallvec;

use super::Worker;
use super::seats::SeatAt;
use crate::api::dead_letter;
use crate::api::delivery;
use crate::metrics::DeadLetter;
use crate::topic::{Claimed, Draft, MessageId};

impl Worker {
    /// Publishes a dead message as a dead letter, or drops it where nobody wants these. One that
    /// cannot be published now stays dead, and is handed out again.
    pub(super) fn put_aside(&mut self, seat: &SeatAt, dead: &Claimed) {
        let id = delivery::message_id(dead.message.frame());
        let Some(id) = std::str::from_utf8(id)
            .ok()
            .and_then(|id| MessageId::parse(id).ok())
        else {
            return;
        };
        let outcome = match self.draft_of_dead(seat, &id, dead) {
            Some(draft) => {
                self.store(smallvec![draft], self.clock.now());
                if !matches!(self.stored[..], [Ok(_)]) {
                    return;
                }
                DeadLetter::Published
            }
            None => DeadLetter::Dropped,
        };
        self.shared.store.bury(seat.handle, &seat.consumer, &id);
        self.metrics.dead_letters(outcome, 1);
    }

    /// `None` when there is no topic for dead letters, or the letter would come from there.
    pub(super) fn draft_of_dead(
        &mut self,
        seat: &SeatAt,
        id: &MessageId,
        dead: &Claimed,
    ) -> Option<Draft> {
        let topic = self.shared.dead_letter_topic.as_ref()?;
        if *topic == seat.name {
            return None;
        }
        let payload = delivery::payload(dead.message.frame());
        let letter = dead_letter::of(payload, topic, seat.name.as_str(), id, dead.attempt)?;
        let now = self.clock.now();
        let mut frame = Vec::new();
        let layout = delivery::encode(&letter, now.timestamp().as_str(), &mut frame);
        let budget = self.shared.store.budget();
        Some(Draft::new(&frame, layout, u64::MAX, budget))
    }
}
