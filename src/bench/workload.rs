//! What an engine is to do, and what it has done.

use std::time::Duration;

use super::Outcome;
use super::checker::Faults;
use super::histogram::Histogram;
use super::subscriber::Mode;

/// What is published, and who receives it.
#[derive(Clone, Debug)]
pub struct Workload {
    /// Publishing connections.
    pub publishers: usize,
    /// Publisher `p` uses topic `p`, `p + publishers`, …, or shares topic `p % topics`.
    pub topics: usize,
    /// Subscriber `s` subscribes to topic `s % topics`.
    pub subscribers: usize,
    /// How they have their messages; only one may acknowledge, since all have one name.
    pub mode: Mode,
    /// Messages in a request; more than one makes it a bulk request.
    pub messages: usize,
    /// Size of a message as published, in bytes.
    pub message_bytes: usize,
    /// Requests without an answer on one connection.
    pub depth: usize,
    /// Messages published and not yet delivered to all, at most.
    pub window: Option<u64>,
    /// Messages a second, in place of as many as go. Latencies count from the time at which a message was to
    /// be sent, whether or not a connection was free for it.
    pub rate: Option<u64>,
    /// Delivery latency is taken of one message in so many.
    pub sample: u64,
}

impl Default for Workload {
    fn default() -> Self {
        Self {
            publishers: 1,
            topics: 1,
            subscribers: 0,
            mode: Mode::default(),
            messages: 1,
            message_bytes: 256,
            depth: 1,
            window: None,
            rate: None,
            sample: 1,
        }
    }
}

/// How long a round is.
#[derive(Clone, Copy, Debug)]
pub enum Span {
    /// Publish for so long.
    Time(Duration),
    /// Publish so many messages.
    Messages(u64),
    /// Publish nothing for so long.
    Silence(Duration),
}

/// What one round has done. Everything published was answered and delivered when it ended, or is a fault.
pub struct Round {
    /// Messages that were accepted.
    pub published: u64,
    /// Messages that came, counted once for each subscriber.
    pub delivered: u64,
    /// Messages that were due at the rate and not sent within the time.
    pub unsent: u64,
    /// Until everything was settled.
    pub elapsed: Duration,
    /// From the time of sending a request to its answer.
    pub answers: Histogram,
    /// From the time of sending a request to the delivery of its message.
    pub deliveries: Histogram,
    /// What went wrong since the connections were opened.
    pub faults: Faults,
}

impl Round {
    /// The round, if nothing went wrong: for a measurement that means nothing otherwise.
    ///
    /// # Errors
    /// The first fault in words, and all in numbers.
    pub fn clean(self) -> Outcome<Self> {
        match self.faults.is_clean() {
            true => Ok(self),
            false => Err(format!("{:?}", self.faults).into()),
        }
    }
}
