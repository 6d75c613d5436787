//! A consumer as workers serve it: it reads the stream elsewhere where the log here has lost
//! something, and goes on in the log from where that has everything.

use super::super::super::history::Place;
use super::super::super::id::Position;
use super::super::super::message::Message;
use super::super::super::{Batch, Subscribed, TopicHandle, TopicStore};
use super::world::{Entry, Stream};
use crate::moment::Moment;

#[derive(Debug)]
pub(super) struct Consumer {
    pub(super) handle: TopicHandle,
    /// Everything up to here was delivered, has expired, or lies in a gap.
    pub(super) handled: Position,
    /// Where it reads on in the log; `None` while it reads the stream.
    hot: Option<u64>,
    /// What the log had lost when it was read last.
    sequence: u64,
    /// A news item is under way to its worker, or the worker is new.
    pub(super) is_told: bool,
    /// What its worker has read.
    read: u64,
}

impl Consumer {
    pub(super) fn new(subscribed: &Subscribed, newest: Place) -> Consumer {
        assert_eq!(subscribed.newly_interested, Some(newest));
        let sequence = subscribed.start.sequence;
        Consumer {
            handle: subscribed.handle,
            handled: subscribed.start.position,
            hot: (!subscribed.is_cold).then_some(sequence),
            sequence,
            is_told: false,
            read: newest.sequence,
        }
    }

    /// Whether the log tells it that it has missed something.
    pub(super) fn misses(&self, store: &TopicStore, now: Moment) -> bool {
        let reading = store.read(self.handle, self.sequence, batch(1), now, &mut Vec::new());
        reading.expect("it has interest").lost.is_some()
    }

    /// Its worker has told it that the epoch has changed.
    pub(super) fn begin_anew(&mut self, begins_behind: Position) {
        self.handled = begins_behind;
        self.hot = None;
    }

    pub(super) fn take_news(&mut self, store: &TopicStore, worker: u8, lost: Place, now: Moment) {
        let reading = store.take_news(self.handle, worker, None, now, &mut Vec::new());
        let reading = reading.expect("it has interest");
        assert_eq!(reading.lost, (self.read < lost.sequence).then_some(lost));
        self.read = reading.place.sequence;
        self.is_told = false;
    }

    pub(super) fn step(
        &mut self,
        store: &TopicStore,
        stream: &Stream,
        messages_max: usize,
        now: Moment,
    ) {
        match self.hot {
            Some(behind) => self.read_log(store, stream, behind, messages_max, now),
            None => self.read_stream(store, stream, messages_max, now),
        }
    }

    fn read_log(
        &mut self,
        store: &TopicStore,
        stream: &Stream,
        behind: u64,
        messages_max: usize,
        now: Moment,
    ) {
        let mut messages = Vec::new();
        let reading = store.read(self.handle, behind, batch(messages_max), now, &mut messages);
        let reading = reading.expect("it has interest");
        if reading.lost.is_some() {
            self.hot = None;
            return;
        }
        let positions: Vec<Position> = messages.iter().map(Message::position).collect();
        self.deliver(&positions, reading.place.position, stream, now);
        self.go_on(reading.place);
    }

    fn read_stream(
        &mut self,
        store: &TopicStore,
        stream: &Stream,
        messages_max: usize,
        now: Moment,
    ) {
        if self.handled < stream.begins_behind {
            // A gap, at the most up to where the log has come.
            match store.place_behind(self.handle, stream.begins_behind) {
                None => self.handled = stream.begins_behind,
                Some(place) => {
                    assert!(place.position >= self.handled);
                    self.handled = place.position;
                    return self.go_on(place);
                }
            }
        }
        let handled = self.handled;
        let behind = stream.entries.iter().filter(|it| it.position > handled);
        let strand: Vec<&Entry> = behind.clone().take(messages_max).collect();
        let has_more = strand.len() < behind.count();
        let last = strand.last().filter(|_| has_more);
        let reached = last.map_or(stream.last, |it| it.position);
        let place = store.place_behind(self.handle, reached);
        let up_to = place.map_or(reached, |it| it.position);
        let is_due = |it: &&&Entry| it.position <= up_to && it.expires_at > now.monotonic_micros;
        let positions: Vec<Position> = strand.iter().filter(is_due).map(|it| it.position).collect();
        self.deliver(&positions, up_to, stream, now);
        if let Some(place) = place {
            self.go_on(place);
        }
    }

    fn go_on(&mut self, place: Place) {
        self.hot = Some(place.sequence);
        self.sequence = place.sequence;
    }

    /// Just what was published between, and has not expired.
    fn deliver(&mut self, positions: &[Position], up_to: Position, stream: &Stream, now: Moment) {
        assert!(up_to >= self.handled, "never back");
        let between = |it: &&Entry| {
            (self.handled < it.position && it.position <= up_to)
                && it.expires_at > now.monotonic_micros
        };
        let due = stream.published.iter().filter(between);
        let due: Vec<Position> = due.map(|it| it.position).collect();
        assert_eq!(positions, due, "each once, in order");
        self.handled = up_to;
    }
}

fn batch(messages_max: usize) -> Batch {
    Batch {
        messages_max,
        bytes_max: usize::MAX,
    }
}
