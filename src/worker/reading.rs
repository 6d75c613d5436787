//! From sockets to sessions: accept, read, feed.

use std::io;

use super::Worker;
use super::accept::{Accepted, Guest};
use super::connection::{Connection, InputEnd, Kind};
use super::outbox::ANSWER_BYTES_MAX;
use super::shared::Place;
use super::slots::ConnectionKey;
use super::stream::Stream;
use crate::session::{CloseReason, Context, Session};

/// Bytes of one read.
pub(super) const READ_BYTES_MAX: usize = 64 * 1024;

/// Bytes of a request or message that has come in part that are held also when memory is full: small
/// ones are no use to give up.
const HELD_BYTES_SPARED: usize = 16 * 1024;

/// Bytes inflated for one connection in one iteration, and what its last message takes beyond that:
/// a few kilobytes on the wire may stand for as many megabytes.
const INFLATED_BYTES_PER_TURN: usize = 1 << 20;

/// Reads of one connection in one iteration, so that the others get their turn.
const READS_PER_TURN: usize = 4;

/// Connections over the limit that are told so at one time, in one worker; more are just closed.
const TURNED_AWAY_MAX: usize = 64;

impl Worker {
    /// Accepts those who wait, within bounds.
    pub(super) fn accept(&mut self) {
        self.acceptor.resume(self.now.monotonic_micros);
        for _ in 0..self.acceptor.budget() {
            match self.acceptor.accept(self.now.monotonic_micros) {
                Accepted::Connection(guest) => self.welcome(guest),
                Accepted::Nobody => return,
                Accepted::OutOfDescriptors => {
                    self.metrics.accept_paused();
                    return;
                }
            }
        }
    }

    fn welcome(&mut self, guest: Guest) {
        self.metrics.accepted();
        // Who has come by a socket of the file system has no address.
        let has_address = !matches!(guest, Guest::Local(_));
        let Some(stream) = self.stream_of(guest) else {
            return;
        };
        let counted = if has_address {
            self.count_address(&stream)
        } else {
            Ok(None)
        };
        if counted.is_err() && !self.holdings.may_bar() {
            return;
        }
        let place = counted.is_ok().then(|| self.shared.places.enter());
        let is_crowded = self.connections.len()
            > self.shared.config.http_connections_max
                + self.shared.config.max_connections
                + TURNED_AWAY_MAX;
        let session = Session::new(self.now.monotonic_micros);
        let key = self
            .connections
            .insert_with(|_| Connection::new(stream, session));
        let Some(connection) = self.connections.get_mut(key) else {
            return;
        };
        connection.marks.kind = match place {
            None => Kind::Barred,
            Some(Place::Reserved) => Kind::Reserved,
            Some(Place::Ordinary | Place::Turned) => Kind::Ordinary,
        };
        let registry = self.poll.registry();
        let registered = connection.stream.register(registry, key.token());
        if registered.is_err() || is_crowded {
            Worker::doom(&mut self.doomed, connection, key, CloseReason::Limit);
        }
        match counted {
            Ok(counted) => self.holdings.keep_address(key, counted),
            Err(excess) => {
                self.holdings.bar();
                self.turn_away(key, &excess.to_string());
            }
        }
        if place == Some(Place::Turned) {
            self.turn_away(key, "No connection is free");
        }
        self.settle(key);
    }

    /// Tells a connection why it is not served.
    fn turn_away(&mut self, key: ConnectionKey, sentence: &str) {
        let connection = self.connections.get(key);
        if connection.is_none_or(|it| it.marks.is_doomed) {
            return;
        }
        let mut ctx = self.desk.context(&self.shared, self.now, false);
        let turn = Session::turned_away(sentence, &mut ctx, self.answers.of(key));
        self.carry_out(key, turn);
    }

    /// A balancer has said whose connection it is: now it counts as one of that address.
    fn meet(&mut self, key: ConnectionKey) {
        let Some(connection) = self.connections.get(key) else {
            return;
        };
        match self.count_address(&connection.stream) {
            Ok(counted) => self.holdings.keep_address(key, counted),
            Err(excess) => self.turn_away(key, &excess.to_string()),
        }
    }

    fn stream_of(&self, guest: Guest) -> Option<Stream> {
        let (stream, has_tls) = match guest {
            Guest::Plain(socket) => (Stream::plain(socket), false),
            Guest::Tls(socket) => (Stream::plain(socket), true),
            Guest::Local(socket) => (Stream::local(socket), false),
        };
        let expects_header =
            self.shared.config.proxy_protocol && self.shared.proxies.contains(stream.client()?);
        let stream = if expects_header {
            stream.behind_header()
        } else {
            stream
        };
        if !has_tls {
            return Some(stream);
        }
        stream.with_tls(self.shared.tls.as_ref()?.config()).ok()
    }

    /// The peer sends no more, or the connection is broken: reading tells.
    pub(super) fn hung_up(&mut self, key: ConnectionKey) {
        if let Some(connection) = self.connections.get_mut(key)
            && connection.marks.input_end == InputEnd::Open
        {
            connection.marks.input_end = InputEnd::HungUp;
        }
    }

    /// Reads those again that had more than one turn's worth, or could not be read for a while.
    pub(super) fn read_again(&mut self) {
        for key in std::mem::take(&mut self.again) {
            let Some(connection) = self.connections.get_mut(key) else {
                continue;
            };
            connection.marks.reads_again = false;
            if self.must_wait(key) {
                self.pause(key);
                continue;
            }
            let Some(connection) = self.connections.get_mut(key) else {
                continue;
            };
            if connection.input.is_some() {
                self.feed(key, &mut []);
            }
            self.read(key);
        }
    }

    /// Puts a connection on the list for the next iteration.
    pub(super) fn schedule_read(&mut self, key: ConnectionKey) {
        let Some(connection) = self.connections.get_mut(key) else {
            return;
        };
        if !std::mem::replace(&mut connection.marks.reads_again, true) {
            self.again.push(key);
        }
    }

    /// Reads a socket until it is empty, or for a turn's worth.
    pub(super) fn read(&mut self, key: ConnectionKey) {
        let mut buffer = std::mem::take(&mut self.read_buffer);
        let mut has_more = true;
        for _ in 0..READS_PER_TURN {
            has_more = self.read_once(key, &mut buffer);
            if !has_more {
                break;
            }
        }
        self.read_buffer = buffer;
        if has_more {
            self.schedule_read(key);
        }
        self.bound_held(key);
        self.settle(key);
        self.send_many_answers();
    }

    /// What has come in part is held while the memory budget has room for it, or history makes room.
    fn bound_held(&mut self, key: ConnectionKey) {
        let Some(connection) = self.connections.get_mut(key) else {
            return;
        };
        let is_small = connection.session.held_bytes() <= HELD_BYTES_SPARED;
        let has_grown = connection.private_bytes() > connection.charged as usize;
        if !is_small && has_grown && self.shared.store.is_full_of_others() {
            self.crowd_out(key);
        }
    }

    /// Gives up what a connection has sent in part, and with it the connection.
    pub(super) fn crowd_out(&mut self, key: ConnectionKey) {
        let Some(connection) = self.connections.get_mut(key) else {
            return;
        };
        if connection.marks.is_doomed {
            return;
        }
        let mut ctx = self
            .desk
            .context(&self.shared, self.now, connection.is_reserved());
        let out = self.answers.of(key);
        let turn = connection.session.crowded_out(&mut ctx, out);
        self.carry_out(key, turn);
    }

    /// One read; whether another one should follow.
    fn read_once(&mut self, key: ConnectionKey, buffer: &mut [u8]) -> bool {
        let Some(connection) = self.connections.get_mut(key) else {
            return false;
        };
        let marks = connection.marks;
        if marks.is_doomed || marks.input_end == InputEnd::Read || marks.reads_again {
            return false;
        }
        let is_handshaking = connection.stream.is_handshaking();
        if connection.owes_last_word() && !is_handshaking {
            // Reading goes on when that has been written: see `end_output`.
            return false;
        }
        if self.must_wait(key) {
            self.pause(key);
            let Some(connection) = self.connections.get_mut(key) else {
                return false;
            };
            if marks.input_end == InputEnd::HungUp && connection.session.is_polling() {
                self.end_of_input(key);
            }
            return false;
        }
        let Some(connection) = self.connections.get_mut(key) else {
            return false;
        };
        let awaited_header = connection.stream.awaits_header();
        let result = connection.stream.read(buffer);
        let has_more = connection.stream.has_more();
        let has_header = awaited_header && !connection.stream.awaits_header();
        if is_handshaking && !connection.stream.is_handshaking() {
            // What was said before is sent now.
            self.touch(key);
        }
        if has_header {
            self.meet(key);
        }
        match result {
            Ok(0) => {
                self.end_of_input(key);
                false
            }
            Ok(count) => {
                self.metrics.bytes_received(count as u64);
                self.feed(key, &mut buffer[..count]);
                // A short read has emptied the socket, and the end of input tells of itself.
                count == buffer.len() || has_more || marks.input_end == InputEnd::HungUp
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => true,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => has_more,
            Err(_) => {
                let Some(connection) = self.connections.get_mut(key) else {
                    return false;
                };
                Worker::doom(&mut self.doomed, connection, key, CloseReason::Gone);
                false
            }
        }
    }

    /// Whether a connection is not to be read: until its peer takes its answers, or until what it
    /// waits for has come.
    fn must_wait(&self, key: ConnectionKey) -> bool {
        let connection = self.connections.get(key);
        connection.is_some_and(|it| it.is_paused() || (it.holds_much_input() && self.is_held(key)))
    }

    fn pause(&mut self, key: ConnectionKey) {
        if let Some(connection) = self.connections.get_mut(key) {
            connection.marks.is_paused = true;
        }
    }

    /// Gives bytes to the session, behind those that it has not taken yet.
    fn feed(&mut self, key: ConnectionKey, bytes: &mut [u8]) {
        let Some(connection) = self.connections.get_mut(key) else {
            return;
        };
        let rest = match connection.input.take() {
            None => {
                let consumed = self.converse(key, bytes);
                let rest = &bytes[consumed..];
                (!rest.is_empty()).then(|| Box::new(rest.to_vec()))
            }
            Some(mut held) => {
                held.extend_from_slice(bytes);
                let consumed = self.converse(key, &mut held);
                held.drain(..consumed);
                (!held.is_empty()).then_some(held)
            }
        };
        if let Some(connection) = self.connections.get_mut(key) {
            connection.input = rest;
        }
    }

    /// Lets a session take what it can; returns how much that was.
    fn converse(&mut self, key: ConnectionKey, input: &mut [u8]) -> usize {
        let (mut consumed, mut requests, mut inflated) = (0, 0, 0);
        loop {
            if self.is_held(key) {
                return consumed;
            }
            let Some(connection) = self.connections.get_mut(key) else {
                return input.len();
            };
            // What stands behind a last word is no request and must not cost the peer that word.
            if connection.marks.is_doomed || connection.owes_last_word() {
                return input.len();
            }
            let has_limit = self.shared.quotas.has_default();
            let peer = has_limit.then(|| connection.stream.client()).flatten();
            let mut ctx = Context {
                peer,
                ..self
                    .desk
                    .context(&self.shared, self.now, connection.is_reserved())
            };
            let out = self.answers.of(key);
            let turn = connection
                .session
                .receive(&mut input[consumed..], &mut ctx, out);
            consumed += turn.consumed;
            if turn.consumed == 0 && turn.effect.is_none() {
                return consumed;
            }
            inflated += turn.inflated;
            requests += usize::from(self.carry_out(key, turn));
            let has_rest = consumed < input.len();
            let is_long =
                requests >= self.limits.pipeline_max || inflated >= INFLATED_BYTES_PER_TURN;
            if has_rest && (is_long || self.must_listen(key)) {
                self.schedule_read(key);
                return consumed;
            }
        }
    }

    /// Whether a connection has been answered so much that it has to take some of it first.
    fn must_listen(&mut self, key: ConnectionKey) -> bool {
        if self.answers.bytes_of_last() > ANSWER_BYTES_MAX {
            self.ring_peers();
            self.send_answers();
        }
        self.connections.get(key).is_some_and(Connection::is_paused)
    }

    /// The peer sends no more. What it asked for has been answered, in order; nothing else keeps
    /// the connection.
    fn end_of_input(&mut self, key: ConnectionKey) {
        let is_held = self.is_held(key);
        let Some(connection) = self.connections.get_mut(key) else {
            return;
        };
        if is_held {
            // What it asked for is answered first: the end is read again after that.
            connection.marks.input_end = InputEnd::HungUp;
            return;
        }
        if connection.session.is_polling() {
            // Nobody waits who sends no more, but what came behind the poll is answered as well:
            // the end is read again after it.
            connection.marks.input_end = InputEnd::HungUp;
            self.end_poll(key);
            return;
        }
        connection.marks.input_end = InputEnd::Read;
        match connection.session {
            Session::Http(_) => self.begin_close(key, CloseReason::Finished),
            Session::Closing(_) => {
                let reason = connection.close_reason();
                Worker::doom(&mut self.doomed, connection, key, reason);
            }
            Session::Stream(_) => self.close_stream(key, CloseReason::Finished),
            Session::WebSocket(_) => {
                Worker::doom(&mut self.doomed, connection, key, CloseReason::Gone);
            }
        }
    }
}
