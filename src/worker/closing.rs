//! Flushing sockets, and every step between the last word and the end of a connection.
//!
//! ```text
//!   begin_close ─► outbox flushed ─► our side shut down ─► peer done, or 1 s, or 64 KiB ─► doomed ─► buried
//!   doom ────────────────────────────────────────────────────────────────────────────────────┘
//! ```

use super::Worker;
use super::connection::{Connection, InputEnd, Kind};
use super::slots::ConnectionKey;
use super::subscriptions::Standing;
use crate::session::{CloseReason, Session};

/// Time for the peer to read the last answer and close, in microseconds (SPEC section 13).
const LINGER_MICROS: u64 = 1_000_000;
/// Time for a consumer that was too slow to read why it is closed, in microseconds.
const LAGGING_LINGER_MICROS: u64 = 5_000_000;

impl Connection {
    /// Why it is closing; gone if nobody has said.
    pub(super) fn close_reason(&self) -> CloseReason {
        match &self.session {
            Session::Closing(closing) => closing.reason(),
            Session::Http(_) | Session::WebSocket(_) | Session::Stream(_) => CloseReason::Gone,
        }
    }
}

impl Worker {
    /// Ends a connection when what it was told has been written.
    pub(super) fn begin_close(&mut self, key: ConnectionKey, reason: CloseReason) {
        self.abandon_poll(key);
        self.parking.forget(key);
        let Some(connection) = self.connections.get_mut(key) else {
            return;
        };
        if let Session::Closing(closing) = &connection.session {
            let reason = closing.reason();
            Worker::doom(&mut self.doomed, connection, key, reason);
            return;
        }
        let linger = match reason {
            CloseReason::Lagging => LAGGING_LINGER_MICROS,
            // What is left to write is watched by the lag timeout.
            _ => self.limits.lag_timeout,
        };
        let deadline = self.now.monotonic_micros.saturating_add(linger);
        connection.session.closing(reason, deadline);
        self.leave_all(key);
        self.touch(key);
    }

    /// A consumer was too slow: it gets the frame in progress and the reason, and 5 s to read them.
    pub(super) fn close_lagging(&mut self, key: ConnectionKey, reason: CloseReason) {
        let Some(connection) = self.connections.get_mut(key) else {
            return;
        };
        connection.drop_unstarted();
        let mut text = Vec::new();
        connection.session.end(reason, reason.as_str(), &mut text);
        connection.queue_answer(&text, self.now.monotonic_micros);
        self.begin_close(key, reason);
    }

    /// Marks a connection as lost; it is buried at the end of the iteration, never before.
    pub(super) fn doom(
        doomed: &mut Vec<(ConnectionKey, CloseReason)>,
        connection: &mut Connection,
        key: ConnectionKey,
        reason: CloseReason,
    ) {
        if !std::mem::replace(&mut connection.marks.is_doomed, true) {
            doomed.push((key, reason));
        }
    }

    /// Puts a connection on the list of those to flush.
    pub(super) fn touch(&mut self, key: ConnectionKey) {
        let Some(connection) = self.connections.get_mut(key) else {
            return;
        };
        if !std::mem::replace(&mut connection.marks.is_touched, true) {
            self.touched.push(key);
        }
    }

    /// Flushes each connection that was queued for, once.
    pub(super) fn flush_touched(&mut self) {
        for key in std::mem::take(&mut self.touched) {
            if let Some(connection) = self.connections.get_mut(key) {
                connection.marks.is_touched = false;
                self.flush(key);
            }
        }
    }

    /// Writes what waits, and does what was waiting for that.
    pub(super) fn flush(&mut self, key: ConnectionKey) {
        let Some(connection) = self.connections.get_mut(key) else {
            return;
        };
        if connection.marks.is_doomed {
            return;
        }
        match connection.flush(self.now.monotonic_micros) {
            Err(_) => Worker::doom(&mut self.doomed, connection, key, CloseReason::Gone),
            Ok(flushed) => {
                self.metrics.bytes_sent(flushed.bytes as u64);
                if flushed.bytes > 0
                    && let Session::Closing(closing) = &mut connection.session
                    && closing.reason() != CloseReason::Lagging
                {
                    let more = self.limits.lag_timeout;
                    closing.postpone(self.now.monotonic_micros.saturating_add(more));
                }
                if flushed.is_empty && matches!(connection.session, Session::Closing(_)) {
                    self.end_output(key);
                } else if flushed.is_empty || flushed.bytes > 0 {
                    self.drained(key);
                }
                // Else nothing has changed for who waits: to try again at once would go on for as
                // long as the socket is full.
            }
        }
        self.settle(key);
    }

    /// Reads on, from the log or from the socket, what had to wait for the outbox.
    fn drained(&mut self, key: ConnectionKey) {
        let Some(connection) = self.connections.get_mut(key) else {
            return;
        };
        if connection.marks.is_paused && !connection.is_paused() {
            connection.marks.is_paused = false;
            self.schedule_read(key);
        }
        self.schedule_catch_up(key);
        self.schedule_claim(key);
    }

    /// All was written: the peer is told that nothing more comes, and given time to read it.
    fn end_output(&mut self, key: ConnectionKey) {
        let Some(connection) = self.connections.get_mut(key) else {
            return;
        };
        if std::mem::replace(&mut connection.marks.is_write_closed, true) {
            return;
        }
        let reason = connection.close_reason();
        let is_shut = connection.stream.shut_down().is_ok();
        if !is_shut || connection.marks.input_end == InputEnd::Read {
            Worker::doom(&mut self.doomed, connection, key, reason);
            return;
        }
        let linger = if reason == CloseReason::Lagging {
            LAGGING_LINGER_MICROS
        } else {
            LINGER_MICROS
        };
        connection
            .session
            .closing(reason, self.now.monotonic_micros.saturating_add(linger));
        // Input that was held back is thrown away from now on.
        self.schedule_read(key);
    }

    /// Buries the doomed: nothing is freed before this point of the iteration.
    pub(super) fn bury(&mut self) {
        while let Some((key, reason)) = self.doomed.pop() {
            self.abandon_poll(key);
            self.parking.forget(key);
            self.leave_all(key);
            self.let_go(key);
            let Some(mut connection) = self.connections.remove(key) else {
                continue;
            };
            if connection.marks.kind == Kind::Barred {
                self.holdings.unbar();
            } else {
                let is_consumer = connection.marks.kind.is_consumer();
                self.shared.places.leave(is_consumer);
            }
            if connection.is_websocket() {
                self.metrics.websocket_closed();
            }
            self.metrics.connection_closed(reason);
            self.shared
                .store
                .budget()
                .adjust(connection.charged as usize, 0);
            if connection.has_outbox() || connection.stream.has_unsent() {
                // What it did not read must not linger in the kernel.
                connection.stream.forget_unread();
            }
            connection.stream.deregister(self.poll.registry());
            self.acceptor.descriptor_freed();
        }
    }

    /// Brings what depends on a connection's state up to date: its bytes in the budget and its
    /// deadline.
    pub(super) fn settle(&mut self, key: ConnectionKey) {
        let Some(connection) = self.connections.get_mut(key) else {
            return;
        };
        let bytes = u32::try_from(connection.private_bytes()).unwrap_or(u32::MAX);
        if bytes != connection.charged {
            self.shared
                .store
                .budget()
                .adjust(connection.charged as usize, bytes as usize);
            connection.charged = bytes;
        }
        self.recount(key);
        let deadline = self.deadline_of(key);
        if let Some(connection) = self.connections.get_mut(key) {
            self.deadlines
                .schedule(key, &mut connection.scheduled, deadline);
        }
    }

    /// When to look at a connection, in monotonic microseconds; `u64::MAX` for never.
    pub(super) fn deadline_of(&mut self, key: ConnectionKey) -> u64 {
        let lags_at = self.lags_at(key).unwrap_or(u64::MAX);
        let Some(connection) = self.connections.get(key) else {
            return u64::MAX;
        };
        let ctx = self
            .desk
            .context(&self.shared, self.now, connection.is_reserved());
        let session = connection.session.deadline(&ctx);
        session.min(lags_at).min(self.seats.next_due(key))
    }

    /// When a connection that takes nothing is given up: a consumer that is behind and wants to be
    /// disconnected, a stream that nobody reads, or a client that does not read its answers.
    pub(super) fn lags_at(&self, key: ConnectionKey) -> Option<u64> {
        let connection = self.connections.get(key)?;
        let stuck_since = connection.stuck_since()?;
        let must_read = || {
            let is_behind = connection.behind > 0 && self.wants_disconnect(connection);
            is_behind || !self.seats.of(key).is_empty()
        };
        let patience = match connection.session {
            Session::Http(_) => self.limits.lag_timeout,
            Session::WebSocket(_) | Session::Stream(_) if must_read() => self.limits.lag_timeout,
            // It gets signs of life and never gives any.
            Session::Stream(_) => self.limits.idle_timeout,
            // It ends by itself when it is silent.
            Session::WebSocket(_) | Session::Closing(_) => return None,
        };
        Some(stuck_since.saturating_add(patience))
    }

    /// Whether one of its subscriptions wants it closed when it is too slow: that one decides for all.
    pub(super) fn wants_disconnect(&self, connection: &Connection) -> bool {
        connection.subscriptions.iter().any(|at| {
            let topic = self.topics.get(at.topic);
            topic.is_some_and(|topic| {
                let subscriber = topic.subscriber_at(at.index);
                let is_left = matches!(subscriber.standing, Standing::Gone | Standing::Asking);
                !subscriber.skips && !is_left
            })
        })
    }
}
