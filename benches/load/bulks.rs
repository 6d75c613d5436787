//! A connection that publishes a given number of messages, waiting for each answer.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::ops::Range;

use crate::Outcome;
use pulsar_proxy::bench::target::Target;
use pulsar_proxy::bench::wire::{PublishTemplate, Stamp, decode_answer};

/// Messages in one publish request, at most.
const BULK: usize = 50;

/// One connection.
pub(crate) struct Bulks<'a> {
    target: &'a Target,
    stream: TcpStream,
    message_bytes: usize,
}

impl<'a> Bulks<'a> {
    /// Connects.
    pub(crate) fn connect(target: &'a Target, message_bytes: usize) -> Outcome<Self> {
        Ok(Self {
            target,
            stream: target.connect()?,
            message_bytes,
        })
    }

    /// Publishes messages with these numbers to one topic.
    pub(crate) fn publish(&mut self, topic: usize, numbers: Range<usize>) -> Outcome<()> {
        self.each(numbers, |number| (topic, number))
    }

    /// Publishes one message with this number to each of the topics.
    pub(crate) fn publish_to_each(&mut self, topics: Range<usize>, number: usize) -> Outcome<()> {
        self.each(topics, |topic| (topic, number))
    }

    fn each(
        &mut self,
        mut range: Range<usize>,
        place: impl Fn(usize) -> (usize, usize),
    ) -> Outcome<()> {
        let mut template = PublishTemplate::new(self.target, BULK, self.message_bytes);
        while !range.is_empty() {
            let messages = BULK.min(range.len());
            if messages != template.messages() {
                template = PublishTemplate::new(self.target, messages, self.message_bytes);
            }
            for (index, at) in range.by_ref().take(messages).enumerate() {
                let (topic, number) = place(at);
                let stamp = Stamp {
                    publisher: 0,
                    number: number as u64,
                    micros: 0,
                };
                template.set(index, topic, stamp);
            }
            self.request(template.bytes())?;
        }
        Ok(())
    }

    fn request(&mut self, bytes: &[u8]) -> Outcome<()> {
        self.stream.write_all(bytes)?;
        let mut input = Vec::new();
        loop {
            if let Some((answer, _)) = decode_answer(&input)? {
                return match answer.status {
                    201 | 207 => Ok(()),
                    status => Err(format!("publish answered {status}").into()),
                };
            }
            let mut chunk = [0; 16 * 1024];
            match self.stream.read(&mut chunk)? {
                0 => return Err("the server closed the connection".into()),
                count => input.extend_from_slice(&chunk[..count]),
            }
        }
    }
}
