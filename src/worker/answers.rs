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

    /// Bytes that wait to be sent, of all connections.
    pub(super) fn len(&self) -> usize {
        self.bytes.len()
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
        if self.answers.len() > BYTES_MAX {
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
