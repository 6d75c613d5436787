//! What waits for one socket to take it: references to messages, and answers.

use std::collections::VecDeque;
use std::io::{self, IoSlice, Write};

use smallvec::SmallVec;

use crate::session::Wrapping;
use crate::topic::Message;

/// Chunks of one `writev`, each of at most three slices; the kernel takes no more than 1,024 of
/// these (`IOV_MAX`).
const CHUNKS_MAX: usize = 128;

/// Bytes of answers that may wait beyond the bound for messages; past that the connection is not
/// read (a peer that asks must also listen).
pub(super) const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// Bytes waiting for one connection, in order. Exists only while there are some.
#[derive(Default, Debug)]
pub(super) struct Outbox {
    chunks: VecDeque<Chunk>,
    /// `0 <= front_sent < length of the front chunk`.
    front_sent: usize,
    message_bytes: usize,
    answer_bytes: usize,
    fixed_bytes: usize,
    /// What is held around messages, which nobody shares.
    wrapping_bytes: usize,
}

#[derive(Debug)]
enum Chunk {
    /// A message's own frame.
    Message(Message),
    Wrapped(Box<Wrapping>),
    /// One of which the peer gets the compressed frame.
    Compressed(Message),
    Answer(Box<[u8]>),
    /// Bytes that are there for good, so that nobody counts them but for their peer to be waited for.
    Fixed(&'static [u8]),
}

impl Chunk {
    fn len(&self) -> usize {
        match self {
            Chunk::Message(message) => message.frame().len(),
            Chunk::Compressed(message) => compressed(message).len(),
            Chunk::Wrapped(wrapping) => wrapping.len(),
            Chunk::Answer(bytes) => bytes.len(),
            Chunk::Fixed(bytes) => bytes.len(),
        }
    }

    fn slices(&self) -> SmallVec<[&[u8]; 3]> {
        match self {
            Chunk::Message(message) => SmallVec::from_slice(&[message.frame()]),
            Chunk::Compressed(message) => SmallVec::from_slice(&[compressed(message)]),
            Chunk::Wrapped(wrapping) => SmallVec::from(wrapping.slices()),
            Chunk::Answer(bytes) => SmallVec::from_slice(&[&bytes[..]]),
            Chunk::Fixed(bytes) => SmallVec::from_slice(&[*bytes]),
        }
    }
}

/// `Outbox::push_compressed` has seen that it is there, and it stays.
fn compressed(message: &Message) -> &[u8] {
    message.compressed_frame().unwrap_or_default()
}

/// How a flush ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Flushed {
    /// Bytes that the socket took.
    pub(super) bytes: usize,
    /// Nothing is left.
    pub(super) is_empty: bool,
}

impl Outbox {
    /// Whether nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        self.chunks.is_empty()
    }

    /// Bytes of messages, in full also while one is partly sent.
    pub(super) fn message_bytes(&self) -> usize {
        self.message_bytes
    }

    /// Bytes of answers, in full also while one is partly sent.
    pub(super) fn answer_bytes(&self) -> usize {
        self.answer_bytes
    }

    /// Bytes that are there for good, in full also while they are partly sent.
    pub(super) fn fixed_bytes(&self) -> usize {
        self.fixed_bytes
    }

    /// Bytes that no other outbox shares.
    pub(super) fn private_bytes(&self) -> usize {
        self.answer_bytes + self.wrapping_bytes
    }

    /// Queues a message of which the socket has taken `sent` bytes already, which it may have only
    /// if nothing waits before it.
    pub(super) fn push_message(&mut self, message: Message, sent: usize) {
        debug_assert!(sent == 0 || self.is_empty());
        debug_assert!(sent < message.frame().len());
        self.message_bytes += message.frame().len();
        self.front_sent += sent;
        self.chunks.push_back(Chunk::Message(message));
    }

    /// Queues a message with bytes around it.
    pub(super) fn push_wrapped(&mut self, wrapping: Wrapping) {
        self.message_bytes += wrapping.len();
        self.wrapping_bytes += wrapping.own_bytes();
        self.chunks.push_back(Chunk::Wrapped(Box::new(wrapping)));
    }

    /// Queues the compressed frame of a message, if it has one; else the plain one.
    pub(super) fn push_compressed(&mut self, message: Message) {
        match message.compressed_frame() {
            None => self.push_message(message, 0),
            Some(frame) => {
                self.message_bytes += frame.len();
                self.chunks.push_back(Chunk::Compressed(message));
            }
        }
    }

    /// Queues a copy of answer bytes, of which the socket has taken `sent` already: as with
    /// [`Outbox::push_message`]. What the peer has a part of must be known, so that it is finished.
    pub(super) fn push_answer(&mut self, bytes: &[u8], sent: usize) {
        debug_assert!(sent == 0 || self.is_empty());
        if sent < bytes.len() {
            self.answer_bytes += bytes.len();
            self.front_sent += sent;
            self.chunks.push_back(Chunk::Answer(bytes.into()));
        }
    }

    /// Queues bytes that are there for good.
    pub(super) fn push_fixed(&mut self, bytes: &'static [u8]) {
        if !bytes.is_empty() {
            self.fixed_bytes += bytes.len();
            self.chunks.push_back(Chunk::Fixed(bytes));
        }
    }

    /// Forgets everything but what must be finished: a frame that the socket has taken a part of.
    pub(super) fn drop_unstarted(&mut self) {
        let keep = usize::from(self.front_sent > 0);
        for chunk in self.chunks.split_off(keep.min(self.chunks.len())) {
            self.count_out(&chunk);
        }
    }

    fn count_out(&mut self, chunk: &Chunk) {
        let len = chunk.len();
        match chunk {
            Chunk::Message(_) | Chunk::Compressed(_) => self.message_bytes -= len,
            Chunk::Wrapped(wrapping) => {
                self.message_bytes -= len;
                self.wrapping_bytes -= wrapping.own_bytes();
            }
            Chunk::Answer(_) => self.answer_bytes -= len,
            Chunk::Fixed(_) => self.fixed_bytes -= len,
        }
    }

    /// Writes until nothing is left or the socket takes no more.
    ///
    /// # Errors
    /// Those of the socket, but for `WouldBlock` and `Interrupted`.
    pub(super) fn flush(&mut self, socket: &mut impl Write) -> io::Result<Flushed> {
        let mut bytes = 0;
        while !self.is_empty() {
            let mut slices = SmallVec::<[IoSlice<'_>; CHUNKS_MAX]>::new();
            let chunks = self.chunks.iter().take(CHUNKS_MAX);
            slices.extend(chunks.flat_map(Chunk::slices).map(IoSlice::new));
            let mut unsent = &mut slices[..];
            IoSlice::advance_slices(&mut unsent, self.front_sent);
            match socket.write_vectored(unsent) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(sent) => {
                    drop(slices);
                    self.sent(sent);
                    bytes += sent;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        Ok(Flushed {
            bytes,
            is_empty: self.is_empty(),
        })
    }

    fn sent(&mut self, mut sent: usize) {
        sent += self.front_sent;
        while let Some(front) = self.chunks.front() {
            let len = front.len();
            if sent < len {
                break;
            }
            sent -= len;
            if let Some(whole) = self.chunks.pop_front() {
                self.count_out(&whole);
            }
        }
        self.front_sent = sent;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Takes a few bytes at a time, and now and then none.
    struct Socket {
        takes: Vec<usize>,
        taken: Vec<u8>,
    }

    impl Write for Socket {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            match self.takes.pop() {
                None | Some(0) => Err(io::ErrorKind::WouldBlock.into()),
                Some(take) => {
                    let take = take.min(bytes.len());
                    self.taken.extend_from_slice(&bytes[..take]);
                    Ok(take)
                }
            }
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn an_answer_that_the_socket_has_a_part_of_is_finished() {
        let mut outbox = Outbox::default();
        outbox.push_answer(b"answer", 4);
        outbox.push_answer(b"next", 0);
        outbox.drop_unstarted();
        outbox.push_answer(b" closed", 0);
        let mut socket = Socket {
            takes: vec![usize::MAX; 3],
            taken: Vec::new(),
        };
        assert!(outbox.flush(&mut socket).unwrap().is_empty);
        assert_eq!(socket.taken, b"er closed");
    }

    #[test]
    fn bytes_that_are_there_for_good_keep_their_place_and_cost_nothing() {
        let mut outbox = Outbox::default();
        outbox.push_answer(b"head ", 0);
        outbox.push_fixed(b"document");
        outbox.push_answer(b" next", 0);
        assert_eq!((outbox.private_bytes(), outbox.fixed_bytes()), (10, 8));
        let mut socket = Socket {
            takes: vec![usize::MAX, usize::MAX, 4, 7, 3],
            taken: Vec::new(),
        };
        assert!(outbox.flush(&mut socket).unwrap().is_empty);
        assert_eq!(socket.taken, b"head document next");
        assert_eq!((outbox.private_bytes(), outbox.fixed_bytes()), (0, 0));
    }

    proptest! {
        #[test]
        fn bytes_leave_in_order_whatever_the_socket_takes(
            answers in prop::collection::vec("[a-z]{1,9}", 1..20),
            takes in prop::collection::vec(0usize..12, 0..80),
        ) {
            let mut outbox = Outbox::default();
            for answer in &answers {
                outbox.push_answer(answer.as_bytes(), 0);
            }
            let mut socket = Socket { takes, taken: Vec::new() };
            while !socket.takes.is_empty() && !outbox.is_empty() {
                outbox.flush(&mut socket).unwrap();
            }
            let all = answers.concat();
            prop_assert!(all.as_bytes().starts_with(&socket.taken));
            outbox.drop_unstarted();
            let finished: usize = answers.iter().scan(0, |at, answer| {
                *at += answer.len();
                Some(*at)
            }).find(|at| *at >= socket.taken.len()).unwrap_or(0);
            socket.takes = vec![usize::MAX; 2];
            if outbox.answer_bytes() > 0 {
                outbox.flush(&mut socket).unwrap();
                prop_assert_eq!(socket.taken.len(), finished, "only the frame in progress");
            }
            prop_assert!(outbox.is_empty());
            prop_assert_eq!((outbox.answer_bytes(), outbox.message_bytes()), (0, 0));
        }
    }
}
