//! One client: its socket, its conversation, and what waits to be read or written.

use std::io::{self, IoSlice, Write};

use smallvec::SmallVec;

use super::deadlines::Scheduled;
use super::outbox::{ANSWER_BYTES_MAX, Flushed, Outbox};
use super::stream::Stream;
use super::subscriptions::{Moved, SubscriptionRef};
use crate::session::Session;
use crate::topic::{DeliveryKind, Gap, Message, TopicName};
use crate::ws::deflate;

/// Bytes held behind a poll that waits; past that the connection is not read.
const HELD_BEHIND_POLL_MAX: usize = 64 * 1024;

/// A connection of one worker, which it never leaves. Idle, it owns no buffers.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) stream: Stream,
    pub(super) session: Session,
    /// Bytes that have come and were not enough, or are not to be looked at yet.
    #[expect(
        clippy::box_collection,
        reason = "idle connections hold eight bytes, not 24"
    )]
    pub(super) input: Option<Box<Vec<u8>>>,
    outbox: Option<Box<Waiting>>,
    pub(super) subscriptions: SmallVec<[SubscriptionRef; 1]>,
    pub(super) scheduled: Scheduled,
    /// Bytes of its own that are counted in the budget.
    pub(super) charged: u32,
    /// How many of its subscriptions read on by themselves.
    pub(super) behind: u32,
    pub(super) marks: Marks,
}

/// What is known or due: eight bytes, since every connection has them.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Marks {
    /// On the list of connections to flush.
    pub(super) is_touched: bool,
    /// On the list of connections to read again.
    pub(super) reads_again: bool,
    /// In the work queue.
    pub(super) has_turn: bool,
    /// Not read until its answers are taken.
    pub(super) is_paused: bool,
    /// Whether the peer sends more.
    pub(super) input_end: InputEnd,
    /// Our side is shut down: all was written.
    pub(super) is_write_closed: bool,
    /// Against which bound it counts.
    pub(super) kind: Kind,
    /// To be buried at the end of the iteration.
    pub(super) is_doomed: bool,
}

/// Whether a peer sends more.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(super) enum InputEnd {
    /// As far as is known.
    #[default]
    Open,
    /// The selector says that it does not: read to the end.
    HungUp,
    /// The end was read.
    Read,
}

/// As what a connection counts (SPEC section 14).
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(super) enum Kind {
    /// HTTP.
    #[default]
    Ordinary,
    /// HTTP, on one of the last places, for requests that operators need.
    Reserved,
    /// Only told that its address has too many connections: it counts against no bound.
    Barred,
    /// HTTP, whose latest request was a poll.
    Poll,
    /// A WebSocket.
    WebSocket,
    /// A stream.
    Stream,
}

impl Kind {
    /// Whether it counts against `--max-connections`.
    pub(super) fn is_consumer(self) -> bool {
        matches!(self, Kind::Poll | Kind::WebSocket | Kind::Stream)
    }
}

#[derive(Debug)]
struct Waiting {
    outbox: Outbox,
    /// When the socket last took a byte, in monotonic microseconds.
    progressed_at: u64,
}

/// How many frames of a batch were taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Accepted {
    /// All, by the socket or the outbox.
    All,
    /// These many; the outbox is at its bound.
    First(usize),
}

impl Connection {
    /// A connection that has just been accepted.
    pub(super) fn new(stream: Stream, session: Session) -> Connection {
        Connection {
            stream,
            session,
            input: None,
            outbox: None,
            subscriptions: SmallVec::new(),
            scheduled: Scheduled::default(),
            charged: 0,
            behind: 0,
            marks: Marks::default(),
        }
    }

    /// Whether it has one of the last places.
    pub(super) fn is_reserved(&self) -> bool {
        self.marks.kind == Kind::Reserved
    }

    /// Whether it counts as a WebSocket.
    pub(super) fn is_websocket(&self) -> bool {
        self.marks.kind == Kind::WebSocket
    }

    /// Whether bytes wait for the socket.
    pub(super) fn has_outbox(&self) -> bool {
        self.outbox.is_some()
    }

    /// Since when no waiting byte could be written, in monotonic microseconds.
    pub(super) fn stuck_since(&self) -> Option<u64> {
        self.outbox.as_ref().map(|waiting| waiting.progressed_at)
    }

    /// Bytes of messages that wait.
    pub(super) fn message_bytes(&self) -> usize {
        self.outbox
            .as_ref()
            .map_or(0, |waiting| waiting.outbox.message_bytes())
    }

    /// Whether so many answers wait, or so much behind a poll, that the peer is not to be read.
    pub(super) fn is_paused(&self) -> bool {
        self.answer_bytes() + self.fixed_bytes() > ANSWER_BYTES_MAX
            || (self.holds_much_input() && self.session.is_polling())
    }

    /// Whether as much input is held as may be while something else is waited for.
    pub(super) fn holds_much_input(&self) -> bool {
        let held = self.input.as_ref().map_or(0, |input| input.len());
        held >= HELD_BEHIND_POLL_MAX
    }

    /// Whether the conversation is over, but what it ended with is not written yet.
    pub(super) fn owes_last_word(&self) -> bool {
        matches!(self.session, Session::Closing(_)) && !self.marks.is_write_closed
    }

    /// All bytes that wait, but for those that are there for good.
    pub(super) fn outbox_bytes(&self) -> usize {
        self.message_bytes() + self.answer_bytes()
    }

    fn answer_bytes(&self) -> usize {
        self.outbox
            .as_ref()
            .map_or(0, |waiting| waiting.outbox.answer_bytes())
    }

    fn fixed_bytes(&self) -> usize {
        self.outbox
            .as_ref()
            .map_or(0, |waiting| waiting.outbox.fixed_bytes())
    }

    /// Bytes that it owns alone.
    pub(super) fn private_bytes(&self) -> usize {
        let input = self.input.as_ref().map_or(0, |input| input.capacity());
        let waiting = self.outbox.as_ref();
        let waiting = waiting.map_or(0, |waiting| waiting.outbox.private_bytes());
        input + self.session.held_bytes() + waiting + self.stream.held_bytes()
    }

    /// Sends answer bytes, or queues what the socket does not take.
    ///
    /// # Errors
    /// Those of the socket.
    pub(super) fn send_answer(&mut self, bytes: &[u8], now_micros: u64) -> io::Result<usize> {
        let sent = if self.has_outbox() {
            0
        } else {
            write_some(&mut self.stream, bytes)?
        };
        if sent < bytes.len() {
            self.waiting(now_micros).push_answer(bytes, sent);
        }
        Ok(sent)
    }

    /// Queues answer bytes; the connection is to be flushed.
    pub(super) fn queue_answer(&mut self, bytes: &[u8], now_micros: u64) {
        if !bytes.is_empty() {
            self.waiting(now_micros).push_answer(bytes, 0);
        }
    }

    /// Queues bytes that are there for good; the connection is to be flushed.
    pub(super) fn queue_fixed(&mut self, bytes: &'static [u8], now_micros: u64) {
        self.waiting(now_micros).push_fixed(bytes);
    }

    /// Queues the word that messages cannot be delivered; the connection is to be flushed.
    pub(super) fn queue_gap(&mut self, topic: &TopicName, gap: &Gap, now_micros: u64) {
        let mut text = Vec::new();
        self.session.gap(topic, gap, &mut text);
        self.queue_answer(&text, now_micros);
    }

    /// Whether messages are delivered as their own frames.
    pub(super) fn takes_frames(&self) -> bool {
        matches!(self.session, Session::WebSocket(_)) && !self.session.takes_compressed()
    }

    /// How deliveries are counted.
    pub(super) fn delivery_kind(&self) -> DeliveryKind {
        match self.session {
            Session::Http(_) => DeliveryKind::LongPoll,
            Session::Stream(_) => DeliveryKind::Stream,
            Session::WebSocket(_) | Session::Closing(_) => DeliveryKind::WebSocket,
        }
    }

    /// Queues one delivery, whatever the bound; the connection is to be flushed. `attempt` counts
    /// the deliveries of the message where they are counted. Returns its bytes.
    pub(super) fn queue_one(
        &mut self,
        message: &Message,
        attempt: Option<u32>,
        now_micros: u64,
    ) -> usize {
        match self.session.wrap(message, attempt) {
            Some(wrapping) => {
                let len = wrapping.len();
                self.waiting(now_micros).push_wrapped(wrapping);
                len
            }
            None if self.session.takes_compressed() => {
                let len = self.bytes_of(message);
                self.waiting(now_micros).push_compressed(message.clone());
                len
            }
            None => {
                self.waiting(now_micros).push_message(message.clone(), 0);
                message.frame().len()
            }
        }
    }

    /// Queues frames up to the bound; the connection is to be flushed.
    pub(super) fn queue(
        &mut self,
        frames: &[Message],
        bytes_max: usize,
        now_micros: u64,
    ) -> Accepted {
        for (index, frame) in frames.iter().enumerate() {
            if self.message_bytes() + self.bytes_of(frame) > bytes_max {
                return Accepted::First(index);
            }
            self.queue_one(frame, None, now_micros);
        }
        Accepted::All
    }

    /// Bytes that a message takes from the bound of the outbox.
    fn bytes_of(&self, message: &Message) -> usize {
        let compressed = self
            .session
            .takes_compressed()
            .then(|| message.compressed_frame_or(deflate::compressed));
        compressed
            .flatten()
            .map_or(message.frame().len(), <[u8]>::len)
    }

    /// Writes frames straight from the batch that all subscribers share, and queues what the socket
    /// does not take. Only with nothing waiting, to who takes plain frames.
    ///
    /// # Errors
    /// Those of the socket.
    pub(super) fn write(
        &mut self,
        frames: &[Message],
        slices: &[IoSlice<'_>],
        bytes_max: usize,
        now_micros: u64,
    ) -> io::Result<(usize, Accepted)> {
        debug_assert!(!self.has_outbox() && frames.len() == slices.len());
        let sent = loop {
            match self.stream.write_vectored(slices) {
                Ok(sent) => break sent,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break 0,
                Err(error) => return Err(error),
            }
        };
        let mut left = sent;
        let whole = frames.iter().take_while(|frame| {
            let fits = frame.frame().len() <= left;
            left -= if fits { frame.frame().len() } else { 0 };
            fits
        });
        let whole = whole.count();
        let Some(partial) = frames.get(whole) else {
            return Ok((sent, Accepted::All));
        };
        self.waiting(now_micros).push_message(partial.clone(), left);
        let rest = self.queue(&frames[whole + 1..], bytes_max, now_micros);
        Ok((
            sent,
            match rest {
                Accepted::All => Accepted::All,
                Accepted::First(more) => Accepted::First(whole + 1 + more),
            },
        ))
    }

    /// Writes what waits.
    ///
    /// # Errors
    /// Those of the socket.
    pub(super) fn flush(&mut self, now_micros: u64) -> io::Result<Flushed> {
        let pushed = self.stream.push()?;
        let mut flushed = Flushed {
            bytes: 0,
            is_empty: true,
        };
        if let Some(waiting) = &mut self.outbox {
            flushed = waiting.outbox.flush(&mut self.stream)?;
            if pushed + flushed.bytes > 0 {
                waiting.progressed_at = now_micros;
            }
        }
        if pushed + flushed.bytes > 0 {
            self.session.progressed(now_micros);
        }
        if flushed.is_empty {
            self.outbox = None;
            flushed.is_empty = !self.stream.has_unsent();
        }
        Ok(flushed)
    }

    /// Drops what waits, but for a frame that the peer has a part of.
    pub(super) fn drop_unstarted(&mut self) {
        if let Some(waiting) = &mut self.outbox {
            waiting.outbox.drop_unstarted();
            if waiting.outbox.is_empty() {
                self.outbox = None;
            }
        }
    }

    /// One of its subscriptions stands in another place now.
    pub(super) fn moved(&mut self, moved: &Moved) {
        let mine = self
            .subscriptions
            .iter_mut()
            .find(|own| **own == moved.from);
        if let Some(own) = mine {
            *own = moved.to;
        }
    }

    fn waiting(&mut self, now_micros: u64) -> &mut Outbox {
        let fresh = || {
            Box::new(Waiting {
                outbox: Outbox::default(),
                progressed_at: now_micros,
            })
        };
        &mut self.outbox.get_or_insert_with(fresh).outbox
    }
}

fn write_some(socket: &mut Stream, bytes: &[u8]) -> io::Result<usize> {
    let mut sent = 0;
    while sent < bytes.len() {
        match socket.write(&bytes[sent..]) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(taken) => sent += taken,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
            Err(error) => return Err(error),
        }
    }
    Ok(sent)
}
