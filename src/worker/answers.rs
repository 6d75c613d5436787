//! Answers of one iteration: written by sessions, sent before the fan-out.

use super::Worker;
use super::slots::ConnectionKey;
use crate::session::CloseReason;

/// Bytes after which answers are sent at once, and room that is kept for the next iteration.
const BYTES_MAX: usize = 1 << 20;

/// Bytes for several connections, one behind the other.
#[derive(Default, Debug)]
pub(super) struct Answers {
    bytes: Vec<u8>,
    /// Whose bytes begin where.
    parts: Vec<(ConnectionKey, usize)>,
}

impl Answers {
    /// Where a session appends its answers.
    pub(super) fn of(&mut self, key: ConnectionKey) -> &mut Vec<u8> {
        if self.parts.last().is_none_or(|(last, _)| *last != key) {
            self.parts.push((key, self.bytes.len()));
        }
        &mut self.bytes
    }

    /// Bytes that the session which wrote last has written.
    pub(super) fn bytes_of_last(&self) -> usize {
        self.parts
            .last()
            .map_or(0, |(_, start)| self.bytes.len() - start)
    }

    fn clear(&mut self) {
        self.parts.clear();
        self.bytes.clear();
        self.bytes.shrink_to(BYTES_MAX);
    }
}

impl Worker {
    /// Sends what sessions have answered so far, if that has become much.
    pub(super) fn send_many_answers(&mut self) {
        if self.answers.bytes.len() > BYTES_MAX {
            self.ring_peers();
            self.send_answers();
        }
    }

    /// Sends what sessions have answered.
    pub(super) fn send_answers(&mut self) {
        let mut answers = std::mem::take(&mut self.answers);
        let ends = answers.parts.iter().skip(1).map(|(_, start)| *start);
        let ends = ends.chain(std::iter::once(answers.bytes.len()));
        for ((key, start), end) in answers.parts.iter().zip(ends) {
            self.send_answer(*key, &answers.bytes[*start..end]);
        }
        answers.clear();
        self.answers = answers;
    }

    /// Sends bytes that are there for good behind what was answered. The socket takes them when the connection
    /// is flushed; until it has, the connection is not read.
    pub(super) fn send_apart(
        &mut self,
        key: ConnectionKey,
        bytes: &'static [u8],
        last: Option<CloseReason>,
    ) {
        // Their head is among the answers of this iteration.
        self.ring_peers();
        self.send_answers();
        let Some(connection) = self.connections.get_mut(key) else {
            return;
        };
        if !connection.marks.is_doomed {
            connection.queue_fixed(bytes, self.now.monotonic_micros);
            self.touch(key);
        }
        if let Some(reason) = last {
            self.begin_close(key, reason);
        }
    }

    fn send_answer(&mut self, key: ConnectionKey, bytes: &[u8]) {
        let Some(connection) = self.connections.get_mut(key) else {
            return;
        };
        if connection.marks.is_doomed || bytes.is_empty() {
            return;
        }
        match connection.send_answer(bytes, self.now.monotonic_micros) {
            Ok(sent) => {
                self.metrics.bytes_sent(sent as u64);
                if connection.has_outbox() {
                    self.settle(key);
                }
            }
            Err(_) => Worker::doom(&mut self.doomed, connection, key, CloseReason::Gone),
        }
    }
}
