//! Stopping without haste: listeners first, then requests, then consumers at a pace.
//!
//! ```text
//!   Closing ── no worker has a request left, or a quarter of the time is over ──► Parting
//!     listeners are closed, requests are answered,           each consumer is given what it is owed,
//!     consumers get what is published                        told when to come back, and closed
//! ```
//!
//! Where messages live in memory alone a publisher is refused from the moment on from which its
//! message might come too late for somebody. So each message that was accepted is delivered to all
//! who were connected then. Where they live behind memory who goes reads on elsewhere.

use std::collections::VecDeque;

use super::Worker;
use super::connection::Connection;
use super::shared::Stage;
use super::slots::ConnectionKey;
use crate::moment::micros;
use crate::session::{CloseReason, Session};

/// Time between two steps, in microseconds.
const STEP_MICROS: u64 = 20_000;
/// WebSockets and streams that one step closes at the least.
const CLOSES_PER_STEP_MIN: usize = 50;
/// Looks at consumers in one step, for each one that may be closed: some wait for what they are owed.
const LOOKS_PER_CLOSE: usize = 4;
/// Time for the first request of a connection that was accepted last, in microseconds: it may be on
/// its way.
const NEW_MICROS: u64 = 500_000;
/// Consumers are told to come back at random within this time at the least, in milliseconds, so
/// that they do not all fall upon the next server at once.
const RECONNECT_SPREAD_MIN: u64 = 2_000;
/// And at the most: then they may still find what they have missed in the next server's history.
const RECONNECT_SPREAD_MAX: u64 = 300_000;

/// Turns of accepting before the listener closes: a queue is seldom longer.
const ACCEPT_TURNS_MAX: usize = 64;

/// A worker that is closing its connections.
#[derive(Debug)]
pub(super) struct Drain {
    /// In monotonic microseconds.
    next_step: u64,
    times: Times,
    /// Nothing is published here any more.
    takes_no_more: bool,
    /// Since the step before this one nothing was published anywhere.
    parting: Option<Parting>,
}

/// Until when, in monotonic microseconds; each is at or behind the one before.
#[derive(Clone, Copy, Debug)]
struct Times {
    /// Connections without a request so far may still send one.
    new_until: u64,
    /// Requests may end in peace.
    requests_until: u64,
    /// A worker that has not said by then that it takes no more has failed, and is waited for no
    /// longer.
    parting_by: u64,
    /// All consumers have been told by then.
    told_by: u64,
}

/// Consumers on their way out.
#[derive(Debug)]
struct Parting {
    /// WebSockets and streams that have not been told yet.
    consumers: VecDeque<ConnectionKey>,
    /// Polls that wait: each comes back when it is answered, so the pace of this is that of that.
    polls: VecDeque<ConnectionKey>,
    closes_per_step: usize,
    answers_per_step: usize,
    /// They come back within so many milliseconds.
    spread: u64,
}

impl Drain {
    /// One that begins now and may take so long, in microseconds.
    fn new(now: u64, patience: u64) -> Drain {
        let times = Times {
            new_until: now + NEW_MICROS.min(patience / 4),
            requests_until: now + patience / 4,
            parting_by: now + patience * 3 / 8,
            // So that they can answer in the second half.
            told_by: now + patience / 2,
        };
        Drain {
            next_step: now,
            times,
            takes_no_more: false,
            parting: None,
        }
    }

    /// When the next step is due, in monotonic microseconds.
    pub(super) fn next_step(&self) -> u64 {
        self.next_step
    }
}

/// Within how many milliseconds consumers come back, of whom there are so many, so that no more
/// than `rate` do in a second.
fn reconnect_spread(consumers: usize, rate: usize) -> u64 {
    let needed = (consumers as u64).saturating_mul(1_000) / (rate as u64).max(1);
    needed.clamp(RECONNECT_SPREAD_MIN, RECONNECT_SPREAD_MAX)
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
            // The others wait for its word that it takes no more.
            Stage::Closing | Stage::Parting => {
                self.has_said_no_more() && self.connections.len() == 0
            }
            Stage::Ending => true,
        }
    }

    /// Whether messages are refused, since there is nobody left to whom they could be promised.
    pub(super) fn takes_no_more(&self) -> bool {
        self.shared.lifecycle.stage() >= Stage::Parting || self.has_said_no_more()
    }

    fn has_said_no_more(&self) -> bool {
        self.drain.as_ref().is_some_and(|it| it.takes_no_more)
    }

    fn take_no_more(&mut self) {
        if let Some(drain) = &mut self.drain {
            drain.takes_no_more = true;
            self.shared.lifecycle.publishes_no_more();
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
        let patience = micros(self.shared.config.drain_timeout);
        self.drain = Some(Drain::new(self.now.monotonic_micros, patience));
    }

    fn drain_step(&mut self) {
        let now = self.now.monotonic_micros;
        let Some(drain) = self.drain.as_mut().filter(|drain| drain.next_step <= now) else {
            return;
        };
        drain.next_step = now + STEP_MICROS;
        let (times, parting) = (drain.times, drain.parting.take());
        let is_quiet = self.end_requests(now < times.new_until);
        if !self.has_said_no_more() && (is_quiet || now >= times.requests_until) {
            self.take_no_more();
        }
        if now >= times.parting_by {
            self.shared.lifecycle.enter(Stage::Parting);
        }
        let has_parted = self.shared.lifecycle.stage() >= Stage::Parting;
        let parting = match parting {
            Some(mut parting) => {
                self.part(&mut parting, now >= times.told_by);
                Some(parting)
            }
            // What others have published last is in the mailboxes, which are looked at before the
            // next step.
            None => has_parted.then(|| self.begin_parting(times.told_by)),
        };
        if let Some(drain) = &mut self.drain {
            drain.parting = parting;
        }
        // A socket that becomes writable in this iteration is flushed before the answers are sent,
        // and must not be shut down without the last of them.
        self.send_answers();
    }

    /// Ends the connections that are between requests, but for new ones where these are spared.
    /// Whether no request is left.
    fn end_requests(&mut self, spares_new: bool) -> bool {
        let is_request = |connection: &Connection| {
            matches!(connection.session, Session::Http(_)) && !connection.session.is_polling()
        };
        let keys = self.connections.keys();
        let keys: Vec<ConnectionKey> = keys
            .filter(|key| self.connections.get(*key).is_some_and(is_request))
            .collect();
        let mut is_quiet = true;
        for key in keys {
            if self.is_idle(key) {
                // A request that has come already is answered.
                self.read(key);
            }
            let connection = self.connections.get(key);
            let is_new = connection.is_some_and(|it| it.session.is_new_http());
            if self.is_idle(key) && !(is_new && spares_new) {
                self.begin_close(key, CloseReason::Draining);
            }
            is_quiet &= !self.connections.get(key).is_some_and(is_request);
        }
        is_quiet
    }

    fn begin_parting(&mut self, told_by: u64) -> Parting {
        let (mut consumers, mut polls) = (VecDeque::new(), VecDeque::new());
        for key in self.connections.keys() {
            match self.connections.get(key).map(|it| &it.session) {
                Some(Session::WebSocket(_) | Session::Stream(_)) => consumers.push_back(key),
                Some(Session::Http(_)) if self.is_polling(key) => polls.push_back(key),
                _ => {}
            }
        }
        let left = told_by.saturating_sub(self.now.monotonic_micros);
        let steps = (left / STEP_MICROS).max(1) as usize;
        let rate = self.shared.config.drain_reconnect_rate;
        let share = rate / self.shared.workers.len() * STEP_MICROS as usize / 1_000_000;
        Parting {
            closes_per_step: consumers.len().div_ceil(steps).max(CLOSES_PER_STEP_MIN),
            answers_per_step: polls.len().div_ceil(steps).max(share),
            consumers,
            polls,
            spread: reconnect_spread(self.shared.places.consumers(), rate),
        }
    }

    /// Tells a few consumers; those who are owed something wait for it, unless it is late.
    fn part(&mut self, parting: &mut Parting, is_late: bool) {
        let answered = parting.answers_per_step.min(parting.polls.len());
        for key in parting.polls.drain(..answered) {
            if self.is_polling(key) {
                self.end_poll(key);
            }
        }
        let mut left = parting.closes_per_step;
        let looks = parting.consumers.len().min(left * LOOKS_PER_CLOSE);
        for _ in 0..looks {
            let Some(key) = parting.consumers.pop_front() else {
                break;
            };
            if is_late || !self.is_owed(key) {
                self.tell_drained(key, parting.spread);
                left -= 1;
                if left == 0 {
                    break;
                }
            } else {
                parting.consumers.push_back(key);
            }
        }
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

    /// Whether a WebSocket or a stream has not been given yet what it was promised. What stands
    /// behind memory it gets elsewhere.
    fn is_owed(&self, key: ConnectionKey) -> bool {
        let Some(connection) = self.connections.get(key) else {
            return false;
        };
        if self.shared.valkey.is_some() || matches!(connection.session, Session::Closing(_)) {
            return false;
        }
        let has_news = connection.subscriptions.iter().any(|at| {
            let topic = self.topics.get(at.topic);
            topic.is_some_and(|topic| topic.has_news || topic.job.is_some())
        });
        has_news || connection.behind > 0 || connection.marks.has_turn || self.seats.has_more(key)
    }

    fn tell_drained(&mut self, key: ConnectionKey, spread: u64) {
        let after = self.desk.random_below(spread);
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
        connection.session.part(after, self.answers.of(key));
        self.begin_close(key, CloseReason::Draining);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_more_there_are_the_longer_they_take_to_come_back() {
        for (consumers, rate, spread) in [
            (0, 1_000, 2_000),
            (2_000, 1_000, 2_000),
            (10_000, 1_000, 10_000),
            (10_000, 1, 300_000),
            (usize::MAX, 1, 300_000),
            (100_000, 1_000_000, 2_000),
        ] {
            assert_eq!(reconnect_spread(consumers, rate), spread, "{consumers}");
        }
    }

    #[test]
    fn its_times_follow_each_other_however_short_the_whole_is() {
        for patience in [0, 1, 40_000, 30_000_000, 3_600_000_000] {
            let drain = Drain::new(7, patience);
            let times = drain.times;
            assert!(drain.next_step <= times.new_until);
            assert!(times.new_until <= times.requests_until);
            assert!(times.requests_until <= times.parting_by);
            assert!(times.parting_by <= times.told_by);
            assert!(times.told_by <= 7 + patience);
        }
    }
}
