//! What a worker does for polls and streams.

use super::super::pulsar_proxy::api::reply::Resume;
use super::super::pulsar_proxy::session::{Polled, StreamOpening, Turn};
use super::super::pulsar_proxy::topic::{Batch, Gap, Message, MessageId, TopicName};
use super::{Conversation, Joined};

impl Conversation {
    /// Answers a poll, if there is anything for it or its time is up.
    pub(super) fn answer_poll(&mut self, gaps: &[(TopicName, Gap)], is_over: bool) -> Turn {
        let Some(bounds) = self.session.poll_bounds() else {
            return Turn::default();
        };
        let batch = Batch {
            messages_max: bounds.per_topic.min(bounds.in_all),
            bytes_max: usize::MAX,
        };
        let (mut messages, mut places, mut has_more) = (Vec::new(), Vec::new(), false);
        for it in &self.subscriptions {
            let mut read = Vec::new();
            let reading = self
                .store
                .read(it.handle, it.read, batch, self.now, &mut read);
            let reading = reading.expect("a topic with a subscriber exists");
            has_more |= reading.more;
            places.push(self.store.id(reading.topic, reading.place.position));
            messages.extend(read.into_iter().map(|message| (message, None)));
        }
        let gaps = if bounds.tells_gaps { gaps } else { &[] };
        if messages.is_empty() && gaps.is_empty() && !is_over {
            return Turn::default();
        }
        let gone = std::mem::take(&mut self.subscriptions);
        self.leave(&gone);
        let polled = Polled {
            messages: &messages,
            places: &places,
            gaps,
            has_more,
        };
        self.event(|session, ctx, out| session.polled(&polled, ctx, out))
    }

    pub(super) fn stream(&mut self, opening: &StreamOpening) -> Turn {
        if !self.has_place {
            return self
                .event(|session, ctx, out| session.unavailable(&opening.ticket, "full", ctx, out));
        }
        let request = &opening.request;
        let joined = request.topics.iter();
        let joined: Vec<Joined> = joined
            .filter_map(|name| self.join(name, request.offset.start(name)))
            .collect();
        let positions = joined.iter();
        let positions: Vec<_> = positions
            .map(|(name, resume, gap)| (name.clone(), *resume, gap.is_none()))
            .collect();
        let gaps: Vec<_> = joined
            .into_iter()
            .filter_map(|(name, _, gap)| Some((name, gap?)))
            .collect();
        let resumes = resumes(&positions);
        let turn =
            self.event(|session, ctx, out| session.streaming(opening, &resumes, &gaps, ctx, out));
        self.deliver();
        turn
    }

    /// Appends the frames that subscriptions have not had.
    pub(super) fn deliver(&mut self) {
        if self.session.is_polling() {
            let turn = self.answer_poll(&[], false);
            return self.carry_out(turn);
        }
        let batch = Batch {
            messages_max: usize::MAX,
            bytes_max: usize::MAX,
        };
        let mut messages: Vec<Message> = Vec::new();
        for subscription in &mut self.subscriptions {
            let handle = subscription.handle;
            let reading = self
                .store
                .read(handle, subscription.read, batch, self.now, &mut messages)
                .expect("a topic with a subscriber exists");
            subscription.read = reading.place.sequence;
            assert!(reading.lost.is_none(), "delivered at once, nothing is lost");
            // What was delivered may be evicted.
            self.store
                .take_news(handle, 0, None, self.now, &mut Vec::new());
            for message in messages.drain(..) {
                match self.session.wrap(&message, None) {
                    Some(wrapping) => self.output.extend(wrapping.slices().concat()),
                    None => self.output.extend_from_slice(message.frame()),
                }
            }
        }
    }
}

pub(super) fn resumes(positions: &[(TopicName, MessageId, bool)]) -> Vec<Resume<'_>> {
    let resumes = positions.iter().map(|(name, position, recovered)| Resume {
        topic: name.as_str(),
        position: *position,
        recovered: *recovered,
    });
    resumes.collect()
}
