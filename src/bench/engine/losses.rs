//! Connections that end, and what does not come.

use std::time::{Duration, Instant};

use super::Engine;
use crate::bench::Failure;

/// What is due has not come when nothing has come for so long.
const STALL_TIMEOUT: Duration = Duration::from_secs(20);

impl Engine<'_> {
    /// Whether its last messages were accepted cannot be known any more. Without any it comes again: servers
    /// end connections that idle.
    pub(super) fn bury_publisher(&mut self, index: usize, error: &Failure) {
        let Some(mut publisher) = self.publishers[index].take() else {
            return;
        };
        if publisher.may_come_again()
            && publisher.reconnect(self.target).is_ok()
            && self.register(&mut publisher, index).is_ok()
        {
            self.publishers[index] = Some(publisher);
            return;
        }
        let messages = self.workload.messages as u64;
        for topic in publisher.unanswered() {
            self.settled += messages;
            self.queued_to[topic] -= messages;
            self.expected -= messages * self.audience[topic];
            self.faults.unanswered += messages;
        }
        self.faults.disconnected += 1;
        self.faults.note(|| format!("a publisher: {error}"));
    }

    /// What it should have had and has not is lost.
    pub(super) fn bury_subscriber(&mut self, index: usize, error: &Failure) {
        let Some(subscriber) = self.subscribers[index].take() else {
            return;
        };
        let topic = subscriber.topic();
        let missing = self.queued_to[topic].saturating_sub(subscriber.count());
        self.audience[topic] -= 1;
        self.delivered += missing;
        self.given_up += missing;
        self.faults.lost += missing;
        self.faults.disconnected += 1;
        self.faults.note(|| format!("a subscriber: {error}"));
    }

    /// Whether something is due and nothing has come for too long. `last` is the sum of all counts and when it
    /// changed.
    pub(super) fn has_stalled(&self, last: &mut (u64, Instant)) -> bool {
        let done = self.settled + self.delivered + self.queued;
        if done != last.0 || self.is_settled() {
            *last = (done, Instant::now());
        }
        last.1.elapsed() > STALL_TIMEOUT
    }

    /// Counts as lost what is missing, and ends all connections of publishers that wait.
    pub(super) fn give_up(&mut self) {
        let waited = STALL_TIMEOUT.as_secs();
        for index in 0..self.publishers.len() {
            let publisher = &self.publishers[index];
            if publisher.as_ref().is_some_and(|it| it.in_flight() > 0) {
                let error = format!("no answer for {waited} s").into();
                self.bury_publisher(index, &error);
                // The server has ended nothing.
                self.faults.disconnected -= 1;
            }
        }
        let missing = self.expected.saturating_sub(self.delivered);
        self.delivered += missing;
        self.given_up += missing;
        self.faults.lost += missing;
        if missing > 0 {
            let words = || format!("{missing} deliveries did not come within {waited} s");
            self.faults.note(words);
        }
    }
}
