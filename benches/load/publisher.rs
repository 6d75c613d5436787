//! A keep-alive HTTP connection that publishes stamped messages.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Instant;

use memchr::memmem;

use crate::Outcome;
use crate::histogram::Histogram;
use crate::socket::{Socket, connect};
use crate::wire::{PublishTemplate, Stamp, decode_answer};

pub(crate) struct Publisher {
    socket: Socket,
    index: usize,
    template: PublishTemplate,
    /// The topics it publishes to in turn, each with the number of the next message.
    topics: Vec<(usize, u64)>,
    turn: usize,
    /// When each request that has no answer yet was queued.
    in_flight: VecDeque<Instant>,
}

impl Publisher {
    pub(crate) fn connect(
        address: SocketAddr,
        index: usize,
        topics: Vec<usize>,
        template: PublishTemplate,
    ) -> Outcome<Self> {
        let socket = Socket::new(connect(address)?, Vec::new())?;
        let topics = topics.into_iter().map(|topic| (topic, 0)).collect();
        Ok(Self {
            socket,
            index,
            template,
            topics,
            turn: 0,
            in_flight: VecDeque::new(),
        })
    }

    pub(crate) fn socket(&mut self) -> &mut Socket {
        &mut self.socket
    }

    /// Requests without an answer.
    pub(crate) fn in_flight(&self) -> usize {
        self.in_flight.len()
    }

    /// Queues one request to the next topic and returns that topic.
    pub(crate) fn queue(&mut self, start: Instant) -> usize {
        let now = Instant::now();
        let micros = (now - start).as_micros() as u64;
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
        self.in_flight.push_back(now);
        topic
    }

    /// Reads answers and returns how many requests they settle.
    ///
    /// # Errors
    /// An answer that is not the acceptance of every message in its request.
    pub(crate) fn receive(
        &mut self,
        scratch: &mut [u8],
        latencies: &mut Histogram,
    ) -> Outcome<u64> {
        let wanted = if self.template.messages() == 1 {
            201
        } else {
            207
        };
        let in_flight = &mut self.in_flight;
        let mut settled = 0;
        let now = Instant::now();
        self.socket.receive(scratch, |input| {
            let mut used = 0;
            while let Some((answer, count)) = decode_answer(&input[used..])? {
                let refused =
                    answer.status == 207 && memmem::find(answer.body, b"\"rejected\":0}").is_none();
                if answer.status != wanted || refused {
                    let body = String::from_utf8_lossy(answer.body);
                    return Err(format!("publish answered {}: {body}", answer.status).into());
                }
                let queued = in_flight.pop_front().ok_or("an answer without a request")?;
                latencies.record(now - queued);
                settled += 1;
                used += count;
            }
            Ok(used)
        })?;
        Ok(settled)
    }
}
