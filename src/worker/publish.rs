//! Publishing: messages go to the store, and what became of them to whoever sent them.

use std::sync::Arc;

use smallvec::SmallVec;

use super::Worker;
use super::slots::ConnectionKey;
use crate::idempotency::{Attempt, Begun};
use crate::metrics::StorageOperation;
use crate::moment::Moment;
use crate::session::{Kept, NotStored, Publish, Receipt, Repeat, Turn};
use crate::topic::{Draft, StoreError};

impl Worker {
    pub(super) fn publish(&mut self, key: ConnectionKey, publish: Publish) -> bool {
        if self.shared.valkey.is_some() {
            self.publish_behind(key, publish);
            return false;
        }
        let Publish {
            drafts,
            receipt,
            attempt,
        } = publish;
        let turn = match attempt {
            _ if self.takes_no_more() => self.publish_nothing(key, &receipt),
            None => self.publish_new(key, drafts, &receipt),
            Some(attempt) => self.publish_once(key, drafts, &receipt, &attempt),
        };
        turn.is_some_and(|turn| self.carry_out(key, turn))
    }

    /// None: the connection has gone.
    fn publish_new(
        &mut self,
        key: ConnectionKey,
        drafts: SmallVec<[Draft; 1]>,
        receipt: &Receipt,
    ) -> Option<Turn> {
        // Not that of the iteration: what came before may have taken a while.
        let now = self.clock.now();
        self.store(drafts, now);
        let connection = self.connections.get_mut(key)?;
        let mut ctx = self.desk.context(&self.shared, self.clock.now(), false);
        let out = self.answers.of(key);
        let session = &mut connection.session;
        Some(session.published(receipt, &self.stored, &mut ctx, out))
    }

    /// Consumers are being told to go: nobody would be given it.
    fn publish_nothing(&mut self, key: ConnectionKey, receipt: &Receipt) -> Option<Turn> {
        let refused = vec![Err(NotStored::Stopping); receipt.messages()];
        let connection = self.connections.get_mut(key)?;
        let mut ctx = self.desk.context(&self.shared, self.now, false);
        let out = self.answers.of(key);
        let session = &mut connection.session;
        Some(session.published(receipt, &refused, &mut ctx, out))
    }

    /// The same for a request with an `Idempotency-Key`, if it is the first with it. Waits for one
    /// that another worker carries out, which takes as long as storing messages does.
    fn publish_once(
        &mut self,
        key: ConnectionKey,
        drafts: SmallVec<[Draft; 1]>,
        receipt: &Receipt,
        attempt: &Attempt,
    ) -> Option<Turn> {
        let Some(caller) = self.caller_of(key, receipt.ticket()) else {
            // The peer has gone: it gets no answer, and may repeat what is not published.
            return self.repeat(key, receipt, Repeat::Full);
        };
        let shared = Arc::clone(&self.shared);
        let now = self.clock.now().monotonic_micros;
        let answer_bytes_max = receipt.answer_bytes_max();
        let begun = shared
            .idempotency
            .begin(caller, attempt, answer_bytes_max, now);
        let repeat = match &begun {
            Begun::New(_) => None,
            Begun::Replay(status, body) => Some(Repeat::Replayed(*status, body)),
            Begun::Reused => Some(Repeat::Reused),
            Begun::Full => Some(Repeat::Full),
        };
        if let Some(repeat) = repeat {
            return self.repeat(key, receipt, repeat);
        }
        let turn = self.publish_new(key, drafts, receipt)?;
        if let (Begun::New(claim), Some(exchange)) = (begun, &turn.exchange) {
            claim.settle(exchange.status, exchange.body_in(self.answers.of(key)));
        }
        Some(turn)
    }

    pub(super) fn repeat(
        &mut self,
        key: ConnectionKey,
        receipt: &Receipt,
        repeat: Repeat<'_>,
    ) -> Option<Turn> {
        if let Repeat::Replayed(..) = repeat {
            self.metrics.idempotent_replay();
        }
        let connection = self.connections.get_mut(key)?;
        let mut ctx = self.desk.context(&self.shared, self.now, false);
        let out = self.answers.of(key);
        Some(connection.session.repeated(receipt, repeat, &mut ctx, out))
    }

    /// Stores messages, those of one topic together, and notes in `stored` what became of each.
    pub(super) fn store(&mut self, mut drafts: SmallVec<[Draft; 1]>, now: Moment) {
        self.stored.clear();
        if drafts.len() == 1 {
            let stored = self.store_in_one_topic(drafts.drain(..), now);
            self.stored
                .push(stored.map(|()| Kept::At(self.outcome.ids[0])));
        } else {
            self.store_by_topic(drafts, now);
        }
        self.spread_news();
    }

    fn store_by_topic(&mut self, drafts: SmallVec<[Draft; 1]>, now: Moment) {
        let nothing_yet = Err(NotStored::Store(StoreError::MemoryMax));
        self.stored.resize(drafts.len(), nothing_yet);
        let mut by_topic: Vec<(usize, Draft)> = drafts.into_iter().enumerate().collect();
        // Stable: messages of one topic keep their order.
        by_topic.sort_by(|(_, a), (_, b)| a.topic_bytes().cmp(b.topic_bytes()));
        while let Some((_, first)) = by_topic.first() {
            let topic = first.topic_bytes();
            let same = by_topic
                .iter()
                .take_while(|(_, draft)| draft.topic_bytes() == topic);
            let count = same.count();
            let places: SmallVec<[usize; 16]> =
                by_topic[..count].iter().map(|(place, _)| *place).collect();
            let group = by_topic.drain(..count).map(|(_, draft)| draft);
            let stored = self.store_in_one_topic(group, now);
            for (index, place) in places.into_iter().enumerate() {
                self.stored[place] = stored.map(|()| Kept::At(self.outcome.ids[index]));
            }
        }
    }

    fn store_in_one_topic(
        &mut self,
        drafts: impl ExactSizeIterator<Item = Draft>,
        now: Moment,
    ) -> Result<(), NotStored> {
        let count = drafts.len() as u64;
        let received_at = self.now.monotonic_micros;
        let stored = self
            .shared
            .store
            .publish(drafts, now, received_at, &mut self.outcome);
        self.metrics
            .storage_operation(StorageOperation::SaveMessage, stored.is_ok(), count);
        stored.map_err(NotStored::Store)
    }
}
