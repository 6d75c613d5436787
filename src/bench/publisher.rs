//! A keep-alive HTTP connection that publishes stamped messages.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use memchr::memmem;

use super::Outcome;
use super::socket::Socket;
use super::target::Target;
use super::wire::{Answer, PublishTemplate, Stamp, decode_answer};

/// One connection.
pub struct Publisher {
    socket: Socket,
    index: usize,
    template: PublishTemplate,
    /// The topics it publishes to in turn, each with the number of the next message.
    topics: Vec<(usize, u64)>,
    turn: usize,
    /// What has no answer yet.
    in_flight: VecDeque<Request>,
    /// Whether this connection has answered anything.
    is_proven: bool,
}

/// A request on its way.
struct Request {
    topic: usize,
    /// When it was to be sent.
    intended: Instant,
}

/// A request with its answer.
pub struct Settled {
    /// Where its messages went.
    pub topic: usize,
    /// Messages that were accepted.
    pub accepted: u64,
    /// Messages that were not.
    pub refused: u64,
    /// From when it was to be sent.
    pub latency: Duration,
    /// What the server said, if not all were accepted.
    pub refusal: Option<String>,
}

impl Publisher {
    /// Connects. `index` is below [`PUBLISHERS_MAX`](super::wire::PUBLISHERS_MAX).
    ///
    /// # Errors
    /// When there is no connection.
    pub fn connect(
        target: &Target,
        index: usize,
        topics: Vec<usize>,
        template: PublishTemplate,
    ) -> Outcome<Self> {
        let socket = Socket::new(target.connect()?, Vec::new())?;
        let topics = topics.into_iter().map(|topic| (topic, 0)).collect();
        Ok(Self {
            socket,
            index,
            template,
            topics,
            turn: 0,
            in_flight: VecDeque::new(),
            is_proven: false,
        })
    }

    /// Whether nothing is missing that was sent on a connection that worked.
    pub(super) fn may_come_again(&self) -> bool {
        self.is_proven && self.in_flight.is_empty()
    }

    /// Takes a new connection in place of the one that has ended.
    pub(super) fn reconnect(&mut self, target: &Target) -> Outcome<()> {
        self.socket = Socket::new(target.connect()?, Vec::new())?;
        self.is_proven = false;
        Ok(())
    }

    /// Its socket.
    pub fn socket(&mut self) -> &mut Socket {
        &mut self.socket
    }

    /// Requests without an answer.
    pub fn in_flight(&self) -> usize {
        self.in_flight.len()
    }

    /// Topics of the requests without an answer.
    pub fn unanswered(&self) -> impl Iterator<Item = usize> {
        self.in_flight.iter().map(|request| request.topic)
    }

    /// Queues one request to the next topic and returns that topic. Its time of sending, from which latencies
    /// are measured, is `intended`, a time behind `start`.
    pub fn queue(&mut self, start: Instant, intended: Instant) -> usize {
        let micros = intended.saturating_duration_since(start).as_micros() as u64;
        let (topic, ref mut number) = self.topics[self.turn];
        for index in 0..self.template.messages() {
            let stamp = Stamp {
                publisher: self.index,
                number: *number,
                micros,
            };
            self.template.set(index, topic, stamp);
            *number += 1;
        }
        self.turn = (self.turn + 1) % self.topics.len();
        self.socket
            .outgoing()
            .extend_from_slice(self.template.bytes());
        self.in_flight.push_back(Request { topic, intended });
        topic
    }

    /// Reads answers and shows what each settles.
    ///
    /// # Errors
    /// The end of the connection, and what is no answer.
    pub fn receive(&mut self, scratch: &mut [u8], mut show: impl FnMut(Settled)) -> Outcome<()> {
        let messages = self.template.messages() as u64;
        let (in_flight, is_proven) = (&mut self.in_flight, &mut self.is_proven);
        let now = Instant::now();
        self.socket.receive(scratch, |input| {
            let mut used = 0;
            while let Some((answer, count)) = decode_answer(&input[used..])? {
                let accepted = accepted(&answer, messages);
                let words = || {
                    let body = String::from_utf8_lossy(answer.body);
                    format!("publish answered {}: {body}", answer.status)
                };
                let request = in_flight.pop_front().ok_or_else(words)?;
                *is_proven = true;
                show(Settled {
                    topic: request.topic,
                    accepted,
                    refused: messages - accepted,
                    latency: now.saturating_duration_since(request.intended),
                    refusal: (accepted < messages).then(words),
                });
                used += count;
            }
            Ok(used)
        })
    }
}

/// How many of the messages in a request an answer accepts (SPEC section 3).
fn accepted(answer: &Answer<'_>, messages: u64) -> u64 {
    const REJECTED: &[u8] = b"\"rejected\":";
    match (answer.status, messages) {
        (201, 1) => 1,
        (207, 2..) => {
            let rejected = memmem::rfind(answer.body, REJECTED).and_then(|at| {
                let digits = &answer.body[at + REJECTED.len()..];
                let end = digits.iter().position(|byte| !byte.is_ascii_digit())?;
                std::str::from_utf8(&digits[..end]).ok()?.parse().ok()
            });
            messages.saturating_sub(rejected.unwrap_or(messages))
        }
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_say_how_many_were_accepted() {
        for (status, body, messages, expected) in [
            (201, "{}", 1, 1),
            (429, "{}", 1, 0),
            (200, "{}", 1, 0),
            (207, "{\"accepted\":48,\"rejected\":2}", 50, 48),
            (207, "{\"accepted\":50,\"rejected\":0}", 50, 50),
            (207, "{}", 50, 0),
            (413, "{}", 50, 0),
        ] {
            let body = body.as_bytes();
            let answer = Answer { status, body };
            assert_eq!(accepted(&answer, messages), expected, "{status}");
        }
    }
}
