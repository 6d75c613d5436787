//! Stopping without haste: listeners first, then connections at a pace.

use super::Worker;
use super::shared::Stage;
use super::slots::ConnectionKey;
use crate::moment::micros;
use crate::session::{CloseReason, Session};

/// Time between two steps, in microseconds.
const STEP_MICROS: u64 = 20_000;
/// WebSockets that one step closes at the least.
const CLOSES_PER_STEP_MIN: usize = 50;
/// WebSockets are told to come back at random within this time, in milliseconds, so that they do
/// not all fall upon the next server at once.
const RECONNECT_SPREAD_MILLIS: u64 = 2_000;

/// Turns of accepting before the listener closes: a queue is seldom longer.
const ACCEPT_TURNS_MAX: usize = 64;

/// A worker that is closing its connections.
#[derive(Debug)]
pub(super) struct Drain {
    /// WebSockets and streams that have not been told yet.
    remaining: Vec<ConnectionKey>,
    per_step: usize,
    next_step: u64,
}

impl Drain {
    /// When the next step is due, in monotonic microseconds.
    pub(super) fn next_step(&self) -> u64 {
        self.next_step
    }
}

impl Worker {
    /// Does what the server's stage asks for.
    pub(super) fn follow_stage(&mut self) {
        let stage = self.shared.lifecycle.stage();
        self.desk.is_draining = stage > Stage::Serving;
        if stage >= Stage::Closing {
            if self.drain.is_none() {
                self.begin_drain();
            }
            self.drain_step();
        }
    }

    /// Whether there is nothing left to serve.
    pub(super) fn is_finished(&self) -> bool {
        match self.shared.lifecycle.stage() {
            Stage::Serving | Stage::Draining => false,
            Stage::Closing => self.acceptor.is_closed() && self.connections.len() == 0,
            Stage::Ending => true,
        }
    }

    fn begin_drain(&mut self) {
        // Who is in the queue would be reset when the listener closes. Others may come as fast as
        // these are taken, so it ends with what a queue holds.
        self.acceptor.all_ready();
        for _ in 0..ACCEPT_TURNS_MAX {
            self.accept();
        }
        self.acceptor.close(self.poll.registry());
        let polls = self.connections.keys().filter(|key| self.is_polling(*key));
        for key in polls.collect::<Vec<_>>() {
            self.end_poll(key);
        }
        let is_consumer = |key: &ConnectionKey| {
            let connection = self.connections.get(*key);
            connection
                .is_some_and(|it| matches!(it.session, Session::WebSocket(_) | Session::Stream(_)))
        };
        let remaining: Vec<ConnectionKey> = self.connections.keys().filter(is_consumer).collect();
        // All are told within the first half of the time, so that they can answer in the second.
        let steps = (micros(self.shared.config.drain_timeout) / 2 / STEP_MICROS).max(1) as usize;
        self.drain = Some(Drain {
            per_step: remaining.len().div_ceil(steps).max(CLOSES_PER_STEP_MIN),
            remaining,
            next_step: self.now.monotonic_micros,
        });
    }

    fn drain_step(&mut self) {
        let now = self.now.monotonic_micros;
        let Some(drain) = self.drain.as_mut().filter(|drain| drain.next_step <= now) else {
            return;
        };
        drain.next_step = now + STEP_MICROS;
        let keep = drain.remaining.len().saturating_sub(drain.per_step);
        for key in drain.remaining.split_off(keep) {
            self.tell_drained(key);
        }
        let keys = self.connections.keys();
        let idle: Vec<ConnectionKey> = keys.filter(|key| self.is_idle(*key)).collect();
        for key in idle {
            // A request that has come already is answered.
            self.read(key);
            if self.is_idle(key) {
                self.begin_close(key, CloseReason::Draining);
            }
        }
        // A socket that becomes writable in this iteration is flushed before the answers are sent,
        // and must not be shut down without the last of them.
        self.send_answers();
    }

    pub(super) fn is_polling(&self, key: ConnectionKey) -> bool {
        let connection = self.connections.get(key);
        connection.is_some_and(|it| it.session.is_polling())
    }

    fn is_idle(&self, key: ConnectionKey) -> bool {
        let connection = self.connections.get(key);
        connection.is_some_and(|it| {
            it.session.is_idle_http() && !it.has_outbox() && !it.marks.reads_again
        })
    }

    fn tell_drained(&mut self, key: ConnectionKey) {
        let spread = self.desk.random_below(RECONNECT_SPREAD_MILLIS);
        let Some(connection) = self.connections.get_mut(key) else {
            return;
        };
        if !matches!(
            connection.session,
            Session::WebSocket(_) | Session::Stream(_)
        ) {
            // It is ending for a reason of its own.
            return;
        }
        let text = format!("{{\"reconnect_after_ms\":{spread}}}");
        connection
            .session
            .end(CloseReason::Draining, &text, self.answers.of(key));
        self.begin_close(key, CloseReason::Draining);
    }
}
