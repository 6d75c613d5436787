//! Long polls: one-shot subscriptions (SPEC section 6). A poll that finds nothing waits with a
//! place in each of its topics, is told of news like any reader, and ends with its answer.

use smallvec::SmallVec;

use super::Worker;
use super::commands::{Reach, Terms};
use super::connection::{InputEnd, Kind};
use super::parking::ColdTopic;
use super::seats::SeatAt;
use super::shared::Stage;
use super::slots::ConnectionKey;
use super::subscriptions::SubscriptionRef;
use crate::api::poll::PollRequest;
use crate::metrics::PollOutcome;
use crate::session::{Polled, Ticket};
use crate::topic::{
    Batch, Claims, DeliveryKind, Gap, GapReason, LocalTopic, Message, MessageId, TopicName,
};

/// What a poll is answered with.
#[derive(Default, Debug)]
pub(super) struct Found {
    messages: Vec<(Message, Option<u32>)>,
    pub(super) gaps: Vec<(TopicName, Gap)>,
    /// Where to go on in each topic.
    places: Vec<MessageId>,
    has_more: bool,
    /// Another connection has taken over: there will be nothing.
    is_over: bool,
    /// Topics whose streams have to be read first.
    pub(super) cold: Vec<ColdTopic>,
    /// How many messages of each topic were taken.
    delivered: SmallVec<[(LocalTopic, u64); 1]>,
}

impl Found {
    /// Nothing but gaps.
    pub(super) fn with_gaps(gaps: Vec<(TopicName, Gap)>) -> Found {
        Found {
            gaps,
            ..Found::default()
        }
    }

    /// Messages that may be added.
    pub(super) fn room(&self, most: usize) -> usize {
        most.saturating_sub(self.messages.len())
    }

    /// Bytes of messages that may be added.
    pub(super) fn bytes_left(&self, most: usize) -> usize {
        let bytes = self.messages.iter().map(|(it, _)| it.frame().len());
        most.saturating_sub(bytes.sum())
    }

    /// More stands behind what was taken.
    pub(super) fn leave_some(&mut self) {
        self.has_more = true;
    }

    /// Another connection has taken over.
    pub(super) fn end(&mut self) {
        self.is_over = true;
    }

    /// Whether another connection has taken over.
    pub(super) fn is_over(&self) -> bool {
        self.is_over
    }

    /// Whether there are any.
    pub(super) fn has_messages(&self) -> bool {
        !self.messages.is_empty()
    }

    /// It goes on where its seats are.
    pub(super) fn stand_at(&mut self, seats: &[SeatAt]) {
        self.places = seats.iter().map(|seat| seat.place).collect();
    }

    /// Takes what a seat was handed out.
    pub(super) fn take_claims(&mut self, seat: &SeatAt, claims: &mut Claims) {
        let gaps = claims.gaps.drain(..);
        self.gaps.extend(gaps.map(|gap| (seat.name.clone(), gap)));
        let taken = claims.messages.len() as u64;
        self.delivered.push((seat.local, taken));
        let messages = claims.messages.drain(..);
        self.messages
            .extend(messages.map(|it| (it.message, Some(it.attempt))));
    }

    fn is_empty(&self) -> bool {
        self.messages.is_empty() && self.gaps.is_empty() && !self.is_over
    }

    /// Takes messages of several topics in the order of their positions, up to the bounds, but at
    /// least one. What is left of a topic comes with the next poll, behind the last one taken.
    fn merge(&mut self, strands: &[Strand], messages_max: usize, bytes_max: usize) {
        let total: usize = strands.iter().map(|strand| strand.messages.len()).sum();
        let mut taken: SmallVec<[usize; 1]> = SmallVec::from_elem(0, strands.len());
        let mut bytes = 0;
        while self.messages.len() < messages_max {
            let next = strands.iter().zip(&taken).enumerate();
            let next = next.filter_map(|(index, (strand, taken))| {
                let message = strand.messages.get(*taken)?;
                Some((message.position(), index))
            });
            let Some((_, index)) = next.min() else { break };
            let message = &strands[index].messages[taken[index]];
            bytes += message.frame().len();
            if bytes > bytes_max && !self.messages.is_empty() {
                break;
            }
            self.messages.push((message.clone(), None));
            taken[index] += 1;
        }
        self.has_more = self.messages.len() < total;
        for (strand, taken) in strands.iter().zip(taken) {
            let last = taken.checked_sub(1).map(|last| &strand.messages[last]);
            self.has_more |= strand.has_more;
            let place = match last {
                Some(last) => MessageId {
                    position: last.position(),
                    ..strand.behind
                },
                None if strand.messages.is_empty() => strand.behind,
                None => strand.before,
            };
            self.places.push(place);
            self.delivered.push((strand.local, taken as u64));
        }
    }
}

/// What stands behind a poll's place in one of its topics.
pub(super) struct Strand {
    pub(super) local: LocalTopic,
    /// Where it goes on if none of the messages is taken.
    pub(super) before: MessageId,
    /// Where it goes on if there are none.
    pub(super) behind: MessageId,
    pub(super) messages: Vec<Message>,
    pub(super) has_more: bool,
}

impl Worker {
    /// A poll has come: it is answered now if there is anything for it, else it waits. Returns
    /// whether it was answered.
    pub(super) fn poll(
        &mut self,
        key: ConnectionKey,
        request: &PollRequest,
        reach: &Reach<'_>,
    ) -> bool {
        if let Err(sentence) = self.become_consumer(key, Kind::Poll) {
            return self.refuse_poll(key, sentence);
        }
        let terms = Terms::poll(request.consumer.as_ref(), reach);
        let (mut gaps, mut cold) = (Vec::new(), Vec::new());
        for (index, name) in request.topics.iter().enumerate() {
            let start = request.since.start(index, name);
            match self.join(key, name, start, &terms) {
                Ok(joined) => {
                    cold.extend(joined.is_cold.then(|| ColdTopic::of(&joined)));
                    gaps.extend(joined.gap.map(|gap| (joined.name, gap)));
                }
                Err(error) => return self.refuse_poll(key, &error.message),
            }
        }
        self.answer_or_wait(key, gaps, cold)
    }

    /// Answers a poll with what there is, or has it wait; returns whether it was answered.
    pub(super) fn answer_or_wait(
        &mut self,
        key: ConnectionKey,
        gaps: Vec<(TopicName, Gap)>,
        cold: Vec<ColdTopic>,
    ) -> bool {
        if self.has_leases(key) {
            self.begin_poll_claims(key, gaps);
            return false;
        }
        let mut found = self.find(key, gaps, cold);
        if !found.cold.is_empty() {
            self.read_streams(key, &mut found);
            return false;
        }
        self.answer_found(key, &mut found)
    }

    /// Answers a poll with what was found, or has it wait; returns whether it was answered.
    pub(super) fn answer_found(&mut self, key: ConnectionKey, found: &mut Found) -> bool {
        if found.is_empty() && !self.is_last_look(key) {
            if let Err(excess) = self.hold_poll(key) {
                return self.refuse_poll(key, &excess.to_string());
            }
            self.polls += 1;
            self.metrics.polls_waiting(self.polls);
            self.look_again(key, found);
            return false;
        }
        self.answer_poll(key, found)
    }

    /// Nobody waits who has hung up, whose time is up, or on a server that stops.
    fn is_last_look(&mut self, key: ConnectionKey) -> bool {
        let Some(connection) = self.connections.get(key) else {
            return true;
        };
        let ctx = self.desk.context(&self.shared, self.now, false);
        connection.marks.input_end != InputEnd::Open
            || self.shared.lifecycle.stage() >= Stage::Closing
            || connection.session.deadline(&ctx) <= self.now.monotonic_micros
    }

    /// A waiting poll was told of news.
    pub(super) fn wake_poll(&mut self, key: ConnectionKey) {
        if self.parking.holds(key) {
            // It looks again anyway.
            return;
        }
        if self.has_leases(key) {
            return self.wake_poll_claims(key);
        }
        let mut found = self.find(key, Vec::new(), Vec::new());
        if !found.cold.is_empty() {
            self.stop_waiting();
            self.read_streams(key, &mut found);
        } else if found.is_empty() {
            self.look_again(key, &found);
            // What is pending may be due sooner than was known.
            self.settle(key);
        } else {
            self.end_waiting(key, &found);
        }
    }

    /// Dead messages alone were taken: what stands behind them has a turn of its own.
    fn look_again(&mut self, key: ConnectionKey, found: &Found) {
        if found.has_more {
            self.schedule_turn(key);
        }
    }

    /// A waiting poll is answered with what there is, which may be nothing.
    pub(super) fn end_poll(&mut self, key: ConnectionKey) {
        if self.parking.holds(key) {
            // It is answered when it goes on.
            return;
        }
        let found = if self.has_leases(key) {
            self.nothing_claimed(key)
        } else {
            self.find(key, Vec::new(), Vec::new())
        };
        self.end_waiting(key, &found);
    }

    /// A poll cannot be served.
    pub(super) fn refuse_poll(&mut self, key: ConnectionKey, message: &str) -> bool {
        self.leave_all(key);
        let Some(connection) = self.connections.get_mut(key) else {
            return false;
        };
        let mut ctx = self.desk.context(&self.shared, self.now, false);
        let out = self.answers.of(key);
        let turn = connection.session.poll_refused(message, &mut ctx, out);
        self.carry_out(key, turn)
    }

    /// Looks what there is behind a poll's places: in the streams of the topics that are `cold`, in
    /// the logs of the others.
    fn find(
        &mut self,
        key: ConnectionKey,
        gaps: Vec<(TopicName, Gap)>,
        mut cold: Vec<ColdTopic>,
    ) -> Found {
        let mut found = Found {
            gaps,
            ..Found::default()
        };
        let Some(connection) = self.connections.get(key) else {
            return found;
        };
        let Some(bounds) = connection.session.poll_bounds() else {
            return found;
        };
        let batch = Batch {
            messages_max: bounds.per_topic,
            bytes_max: self.limits.outbox_bytes_max,
        };
        let subscriptions: SmallVec<[SubscriptionRef; 1]> = connection.subscriptions.clone();
        if !self.seats.of(key).is_empty() {
            self.find_claims(key, bounds.in_all.min(bounds.per_topic), &mut found);
            return found;
        }
        let told = found.gaps.len();
        let read: Vec<ColdTopic> = cold.iter().map(ColdTopic::unread).collect();
        let mut strands: SmallVec<[Strand; 1]> = SmallVec::new();
        for at in subscriptions {
            let read = match cold.iter().position(|topic| topic.local == at.topic) {
                Some(index) => self.strand_of_stream(cold.swap_remove(index), &mut found.cold),
                None => self.read_strand(at, batch, &mut found.cold),
            };
            if let Some((strand, gap)) = read {
                strands.push(strand);
                found.gaps.extend(gap);
            }
        }
        if !found.cold.is_empty() {
            // What was read of the others is read again with these.
            for topic in read {
                if found.cold.iter().all(|it| it.local != topic.local) {
                    found.cold.push(topic);
                }
            }
            found.gaps.truncate(told);
        }
        found.merge(&strands, bounds.in_all, batch.bytes_max);
        if !bounds.tells_gaps {
            found.gaps.clear();
        }
        found
    }

    /// The same for an at-least-once consumer: what it is given now is its own until it
    /// acknowledges, or its time is up.
    fn find_claims(&mut self, key: ConnectionKey, most: usize, found: &mut Found) {
        let mut seats = self.seats.take(key);
        let mut claims = Claims::default();
        let bytes_max = self.limits.outbox_bytes_max / 2;
        for seat in &mut seats {
            let batch = Batch {
                messages_max: found.room(most),
                bytes_max: found.bytes_left(bytes_max),
            };
            if batch.messages_max == 0 || batch.bytes_max == 0 {
                found.has_more = true;
            } else if let Some(claim) = self.claim(key, seat, batch, &mut claims) {
                found.has_more |= claim.more;
            } else {
                found.is_over = true;
            }
            found.take_claims(seat, &mut claims);
        }
        found.stand_at(&seats);
        self.seats.put_back(key, seats);
    }

    fn read_strand(
        &mut self,
        at: SubscriptionRef,
        batch: Batch,
        cold: &mut Vec<ColdTopic>,
    ) -> Option<(Strand, Option<(TopicName, Gap)>)> {
        let topic = self.topics.get(at.topic)?;
        let (handle, place) = (topic.handle, topic.subscriber_at(at.index).place());
        let store = &self.shared.store;
        let mut messages = Vec::new();
        let reading = store.read(handle, place.sequence, batch, self.now, &mut messages)?;
        if reading.lost.is_some() && self.shared.valkey.is_some() {
            let topic = ColdTopic {
                local: at.topic,
                name: store.name(handle)?,
                behind: place.position,
                strand: None,
            };
            return self.strand_of_stream(topic, cold);
        }
        let gap = reading
            .lost
            .and_then(|lost| store.gap(handle, place, lost, GapReason::Trimmed));
        if gap.is_some() {
            self.metrics.gap(GapReason::Trimmed);
        }
        let strand = Strand {
            local: at.topic,
            before: store.id(reading.topic, reading.lost.unwrap_or(place).position),
            behind: store.id(reading.topic, reading.place.position),
            messages,
            has_more: reading.more,
        };
        Some((strand, gap))
    }

    fn end_waiting(&mut self, key: ConnectionKey, found: &Found) {
        self.stop_waiting();
        self.answer_poll(key, found);
        // One message may end many polls, each with an answer of its own.
        self.send_many_answers();
        // What came behind it has waited with it.
        self.schedule_read(key);
    }

    /// A poll that waits will not be answered: its client has gone.
    pub(super) fn abandon_poll(&mut self, key: ConnectionKey) {
        let connection = self.connections.get(key);
        if connection.is_some_and(|it| it.session.is_polling()) && !self.parking.holds(key) {
            self.stop_waiting();
            self.metrics.poll_ended(PollOutcome::Gone);
        }
    }

    /// One poll less waits.
    pub(super) fn stop_waiting(&mut self) {
        self.polls = self.polls.saturating_sub(1);
        self.metrics.polls_waiting(self.polls);
    }

    /// Tells how many polls wait, in all workers.
    pub(super) fn poll_stats(&mut self, key: ConnectionKey, ticket: &Ticket) -> bool {
        let workers = self.shared.workers.iter();
        let waiters = workers
            .map(|worker| worker.metrics.poll_waiters())
            .sum::<u64>();
        let Some(connection) = self.connections.get_mut(key) else {
            return false;
        };
        let mut ctx = self.desk.context(&self.shared, self.now, false);
        let out = self.answers.of(key);
        let turn = connection
            .session
            .poll_stats(ticket, waiters as usize, &mut ctx, out);
        self.carry_out(key, turn)
    }

    fn answer_poll(&mut self, key: ConnectionKey, found: &Found) -> bool {
        let outcome = if found.is_empty() {
            PollOutcome::Timeout
        } else {
            PollOutcome::Answered
        };
        self.metrics.poll_ended(outcome);
        for (local, messages) in &found.delivered {
            self.count_delivered(*local, DeliveryKind::LongPoll, *messages);
        }
        let bytes = found.messages.iter().map(|(it, _)| it.frame().len() as u64);
        let bytes = bytes.sum();
        self.metrics.delivered(found.messages.len() as u64, bytes);
        self.leave_all(key);
        let Some(connection) = self.connections.get_mut(key) else {
            return false;
        };
        let mut ctx = self.desk.context(&self.shared, self.now, false);
        let polled = Polled {
            messages: &found.messages,
            places: &found.places,
            gaps: &found.gaps,
            has_more: found.has_more,
        };
        let out = self.answers.of(key);
        let turn = connection.session.polled(&polled, &mut ctx, out);
        self.carry_out(key, turn)
    }
}
