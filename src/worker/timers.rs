//! What is due without an event: deadlines of connections, the sweep of the store.

use std::cmp::Reverse;

use super::Worker;
use super::connection::{Connection, Kind};
use super::deadlines::Deadlines;
use super::slots::ConnectionKey;
use crate::session::{CloseReason, Session};

/// Time between two sweeps of this worker's share of the store, in microseconds.
const SWEEP_INTERVAL_MICROS: u64 = 1_000_000;
/// The same while there is more to evict than one sweep takes.
const SWEEP_AGAIN_MICROS: u64 = 10_000;
/// Who holds less than this is not to blame when memory is short.
const SHED_BYTES_MIN: usize = 4096;

impl Connection {
    /// Bytes that are free again when the connection is closed. The body of a request does not
    /// count: it ends soon, one way or the other, and its sender is owed an answer.
    fn sheddable_bytes(&self) -> usize {
        match self.session {
            Session::WebSocket(_) | Session::Stream(_) => {
                self.message_bytes() + self.private_bytes()
            }
            Session::Http(_) | Session::Closing(_) => self.outbox_bytes(),
        }
    }
}

impl Worker {
    /// Looks at the connections whose time has come, and at the store.
    pub(super) fn take_deadlines(&mut self) {
        let mut due = std::mem::take(&mut self.due);
        self.deadlines.due(self.now.monotonic_micros, &mut due);
        for (key, tick) in due.drain(..) {
            let Some(connection) = self.connections.get_mut(key) else {
                continue;
            };
            if Deadlines::came_up(&mut connection.scheduled, tick) {
                self.take_deadline(key);
                self.settle(key);
            }
        }
        self.due = due;
        self.sweep();
    }

    fn take_deadline(&mut self, key: ConnectionKey) {
        let now = self.now.monotonic_micros;
        if self.deadline_of(key) > now {
            return;
        }
        if self.lags_at(key).is_some_and(|at| at <= now) {
            self.give_up(key);
            return;
        }
        if self.seats.next_due(key) <= now {
            // Its turn says when the next one is due.
            self.seats.forget_due(key, now);
            self.schedule_turn(key);
        }
        let Some(connection) = self.connections.get_mut(key) else {
            return;
        };
        let mut ctx = self
            .desk
            .context(&self.shared, self.now, connection.is_reserved());
        if connection.session.deadline(&ctx) > now {
            return;
        }
        let turn = connection.session.timeout(&mut ctx, self.answers.of(key));
        self.carry_out(key, turn);
    }

    /// A connection has not taken a byte for too long.
    fn give_up(&mut self, key: ConnectionKey) {
        let Some(connection) = self.connections.get_mut(key) else {
            return;
        };
        match connection.session {
            Session::WebSocket(_) | Session::Stream(_) => {
                self.close_lagging(key, CloseReason::Lagging);
            }
            Session::Http(_) | Session::Closing(_) => {
                Worker::doom(&mut self.doomed, connection, key, CloseReason::Timeout);
            }
        }
    }

    fn sweep(&mut self) {
        let now = self.now.monotonic_micros;
        if now < self.next_sweep {
            return;
        }
        let workers = self.shared.workers.len();
        let has_more = self
            .shared
            .store
            .sweep(self.index as usize, workers, self.now);
        let interval = if has_more {
            SWEEP_AGAIN_MICROS
        } else {
            SWEEP_INTERVAL_MICROS
        };
        self.next_sweep = now + interval;
        self.try_stalled_again();
        self.renew_leases();
        if self.index == 0 {
            self.shared.quotas.sweep();
        }
        self.shed();
        self.tell_gauges();
    }

    /// Memory is held by those who do not read, or who do not end what they have begun to send,
    /// and history has none left to give: those with the most go, as many as hold this worker's
    /// share of what is too much.
    fn shed(&mut self) {
        let store = &self.shared.store;
        if !store.is_full_of_others() {
            return;
        }
        let excess = store
            .budget()
            .excess()
            .saturating_sub(store.history_bytes());
        let mut share = excess as usize / self.shared.workers.len() + 1;
        let mut holders: Vec<(usize, ConnectionKey)> = self
            .connections
            .keys()
            .filter_map(|key| Some((self.connections.get(key)?.sheddable_bytes(), key)))
            .filter(|(bytes, _)| *bytes >= SHED_BYTES_MIN)
            .collect();
        holders.sort_unstable_by_key(|(bytes, _)| Reverse(*bytes));
        for (bytes, key) in holders {
            self.shed_one(key);
            share = share.saturating_sub(bytes);
            if share == 0 {
                break;
            }
        }
    }

    fn shed_one(&mut self, key: ConnectionKey) {
        let Some(connection) = self.connections.get_mut(key) else {
            return;
        };
        let reads = connection.outbox_bytes() < SHED_BYTES_MIN;
        match connection.session {
            Session::WebSocket(_) | Session::Stream(_) if !reads => {
                self.close_lagging(key, CloseReason::Lagging);
            }
            Session::Http(_) | Session::WebSocket(_) if reads => {
                self.crowd_out(key);
                self.settle(key);
            }
            Session::Http(_) | Session::WebSocket(_) | Session::Stream(_) | Session::Closing(_) => {
                Worker::doom(&mut self.doomed, connection, key, CloseReason::Limit);
            }
        }
    }

    /// Sets the gauges of this worker.
    pub(super) fn tell_gauges(&self) {
        let (mut websockets, mut streams, mut others, mut outbox_bytes) = (0, 0, 0, 0);
        for connection in self
            .connections
            .keys()
            .filter_map(|key| self.connections.get(key))
        {
            *match connection.marks.kind {
                Kind::WebSocket => &mut websockets,
                Kind::Stream => &mut streams,
                Kind::Ordinary | Kind::Reserved | Kind::Barred | Kind::Poll => &mut others,
            } += 1;
            outbox_bytes += connection.outbox_bytes() as u64;
        }
        self.metrics.connections_open(others + streams, websockets);
        self.metrics.streams_open(streams);
        let (seats, pending) = self.seats.count();
        self.metrics.seats(seats, pending);
        self.metrics.outbox_bytes(outbox_bytes);
    }
}
