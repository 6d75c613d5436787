//! What is due without an event: deadlines of connections, the sweep of the store.

use super::Worker;
use super::deadlines::Deadlines;
use super::slots::ConnectionKey;
use crate::session::{CloseReason, Session};

/// Time between two sweeps of this worker's share of the store, in microseconds.
const SWEEP_INTERVAL_MICROS: u64 = 1_000_000;
/// The same while there is more to evict than one sweep takes.
const SWEEP_AGAIN_MICROS: u64 = 10_000;

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
        let Some(connection) = self.connections.get_mut(key) else {
            return;
        };
        let mut ctx = self
            .desk
            .context(&self.shared, self.now, connection.marks.is_reserved);
        let turn = connection.session.timeout(&mut ctx, self.answers.of(key));
        self.carry_out(key, turn);
    }

    /// A connection has not taken a byte for too long.
    fn give_up(&mut self, key: ConnectionKey) {
        let Some(connection) = self.connections.get_mut(key) else {
            return;
        };
        match connection.session {
            Session::WebSocket(_) => self.close_lagging(key, CloseReason::Lagging),
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
        self.shed();
        self.tell_gauges();
    }

    /// Memory is held by those who do not read, or do not send the rest of what they began, and
    /// history has none left to give: the one with the most goes, each time.
    fn shed(&mut self) {
        if !self.shared.store.is_full_of_others() {
            return;
        }
        let sizes = |key: &ConnectionKey| {
            let connection = self.connections.get(*key);
            connection.map_or((0, 0), |it| (it.message_bytes(), it.session.held_bytes()))
        };
        let most = |key: &ConnectionKey| {
            let (waiting, held) = sizes(key);
            waiting.max(held)
        };
        let largest = self.connections.keys().max_by_key(most);
        let Some((key, (waiting, held))) = largest.map(|key| (key, sizes(&key))) else {
            return;
        };
        if waiting >= held && waiting > 0 {
            self.close_lagging(key, CloseReason::Lagging);
        } else if held > 0 {
            self.crowd_out(key);
            self.settle(key);
        }
    }

    fn tell_gauges(&self) {
        let (mut websockets, mut others, mut outbox_bytes) = (0, 0, 0);
        for connection in self
            .connections
            .keys()
            .filter_map(|key| self.connections.get(key))
        {
            *if connection.marks.is_websocket {
                &mut websockets
            } else {
                &mut others
            } += 1;
            outbox_bytes += connection.outbox_bytes() as u64;
        }
        self.metrics.connections_open(others, websockets);
        self.metrics.outbox_bytes(outbox_bytes);
    }
}
