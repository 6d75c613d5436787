//! Which topics are followed, and how their logs get what is published: from the channels as it
//! happens, from the streams where something was missed. Lanes, the follower and whoever asks for a
//! topic share it.
//!
//! ```text
//!   worker ── sync ──►┌───────┐── Order: Echo, Tail, ReadOn ──► lane
//!          ◄─ Reply ──│       │◄─ opened, mended, epoch ─────────┘
//!                     │ Feeds │
//!  TopicStore ◄ feed ─│       │◄─ heard, echoed, confirmed ── follower
//!                     └───────┘── Errand: subscribe … ────────► follower
//! ```
//!
//! A number that comes back on the echo channel has everything in front of it that was published
//! before it was said. It wakes the follower, shows that the whole way works, and answers whoever
//! wants to know all that was published before he asked.

mod feeding;
mod figures;
mod followed;
mod mending;
mod state;
mod unheard;

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

pub(super) use self::feeding::Scratch;
use self::figures::Figures;
pub(super) use self::state::{ECHO_WITHIN, Errand};
use self::state::{Effects, State};
use super::entry::RawStrand;
use super::job::{Refused, Reply, Waiter};
use super::order::{Left, Listener, Order};
use super::post::{Mail, Post};
use crate::clock::Clock;
use crate::metrics::ValkeyStats;
use crate::moment::micros;
use crate::topic::{Epoch, Position, StoreError, TopicName, TopicStore};

/// Topics that are looked at in one hold of the lock.
const LOOKS_PER_HOLD: usize = 256;

/// The feeds of all followed topics of one node.
pub(super) struct Feeds {
    state: Mutex<State>,
    /// What the lanes told last.
    epoch: Mutex<Option<Epoch>>,
    store: Arc<TopicStore>,
    post: Arc<Post>,
    clock: Clock,
    /// Gives the node's lane an order. Never blocks.
    order: Box<dyn Fn(Order) + Send + Sync>,
    figures: Figures,
    /// Some topics may have to start over. Changes under the lock of the state.
    is_restarting: AtomicBool,
    is_stopped: AtomicBool,
}

impl fmt::Debug for Feeds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Feeds")
            .field("figures", &self.figures)
            .finish_non_exhaustive()
    }
}

impl Feeds {
    /// Follows nothing yet. A topic that nobody has read for `linger` is given up.
    pub(super) fn new(
        store: Arc<TopicStore>,
        post: Arc<Post>,
        clock: Clock,
        linger: Duration,
        order: impl Fn(Order) + Send + Sync + 'static,
    ) -> Feeds {
        let now = clock.now().monotonic_micros;
        Feeds {
            state: Mutex::new(State::new(micros(linger), now)),
            epoch: Mutex::new(None),
            store,
            post,
            clock,
            order: Box::new(order),
            figures: Figures::default(),
            is_restarting: AtomicBool::new(false),
            is_stopped: AtomicBool::new(false),
        }
    }

    /// What is due by time alone: deadlines, canaries, topics that nobody reads. To be called at
    /// least four times a second.
    pub(super) fn tick(&self) {
        self.tick_at(self.now());
    }

    fn tick_at(&self, now: u64) {
        self.change(|state, out| {
            state.tick(now, out);
            if self.is_restarting() && !state.is_any_restarting() {
                self.is_restarting.store(false, Ordering::Relaxed);
            }
        });
        if self.change(|state, _| state.is_any_unheard()) {
            // What comes between the look at the store and the change is read twice at most.
            let open = self.store.open_topics();
            self.change(|state, out| state.hear_again(open, now, out));
        }
        let close = |name: &TopicName| self.store.close_if_unread(name);
        while self.change(|state, _| state.close_some(now, LOOKS_PER_HOLD, close)) {}
    }

    /// What the follower is to do now.
    pub(super) fn take_errands(&self, errands: &mut Vec<Errand>) {
        self.change(|state, _| state.take_errands(errands));
    }

    /// The follower has a connection: it is to subscribe to whatever its errands say.
    pub(super) fn connected(&self) {
        // What comes between the look at the store and the change is read twice at most.
        let open = self.store.open_topics();
        self.change(|state, _| state.connected(open));
    }

    /// The connection hears the echo channel.
    pub(super) fn listens(&self) {
        let now = self.now();
        self.change(|state, out| state.listens(now, out));
    }

    /// The connection hears the channel of a topic. What was said there before to its consumers may
    /// not have been heard.
    pub(super) fn confirmed(&self, topic: &str) {
        self.change(|state, out| state.confirmed(topic, out));
        if let Ok(name) = TopicName::parse(topic) {
            let mut news = Vec::new();
            self.store.call_all(&name, &mut news);
            self.post.news(&mut news);
        }
    }

    /// A number has come back.
    pub(super) fn echoed(&self, number: u64) {
        let now = self.now();
        self.change(|state, out| state.echoed(number, now, out));
    }

    /// The connection is lost.
    pub(super) fn disconnected(&self) {
        let now = self.now();
        self.change(|state, _| state.disconnected(now));
    }

    /// The connection does not hear the channel of this topic any more, though it is to: it is told to
    /// ask for it again soon, unless others follow the topic by then.
    pub(super) fn unheard(&self, topic: &TopicName) {
        self.change(|state, _| state.unheard(topic));
    }

    /// The same for all of which `is_unheard` says so.
    pub(super) fn all_unheard(&self, is_unheard: impl Fn(&TopicName) -> bool) {
        self.change(|state, _| state.all_unheard(is_unheard));
    }

    /// Whether nothing has come back for too long. Monotonic microseconds.
    pub(super) fn is_mute(&self, now: u64) -> bool {
        self.change(|state, _| state.is_mute(now))
    }

    /// Whether the threads that serve these feeds are to end.
    pub(super) fn is_stopped(&self) -> bool {
        // Relaxed: nothing else is handed over by it.
        self.is_stopped.load(Ordering::Relaxed)
    }

    /// Whether some topics may have to start over.
    fn is_restarting(&self) -> bool {
        // Relaxed: what is heard within the nanoseconds that the mark takes was said before
        // anything that is looked up because of it.
        self.is_restarting.load(Ordering::Relaxed)
    }

    fn now(&self) -> u64 {
        self.clock.now().monotonic_micros
    }

    /// Changes the state, and does what follows when the lock is given back.
    fn change<R>(&self, change: impl FnOnce(&mut State, &mut Effects) -> R) -> R {
        let mut effects = Effects::default();
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let result = change(&mut state, &mut effects);
        drop(state);
        self.carry_out(effects);
        result
    }

    fn carry_out(&self, effects: Effects) {
        for order in effects.orders {
            (self.order)(order);
        }
        let mut replies = effects.replies;
        replies.sort_by_key(|(waiter, _)| waiter.worker);
        for some in replies.chunk_by(|(one, _), (other, _)| one.worker == other.worker) {
            let mail = some
                .iter()
                .map(|(waiter, result)| Mail::Reply(waiter.ticket, Reply::Synced(*result)));
            self.post.send(some[0].0.worker, mail);
        }
    }

    /// Opens a topic or starts it over, behind the newest message.
    fn stand(&self, topic: &TopicName, is_open: bool, last: Position) {
        let mut scratch = Scratch::default();
        if is_open {
            self.store.restart(topic, last, &mut scratch.news);
            self.post.news(&mut scratch.news);
        }
        // Another one may have followed it so far, and then the log stands where that left it.
        let stood = match self.store.open(topic, last) {
            Ok(stood) => stood,
            Err(error) => {
                let refused = refusal(error);
                self.change(|state, out| state.forget(topic, refused, out));
                return;
            }
        };
        self.change(|state, _| state.stands(topic, stood, stood < last));
        self.settle(topic, &mut scratch);
    }
}

impl Listener for Feeds {
    fn is_heard(&self) -> bool {
        let now = self.now();
        self.change(|state, _| state.is_heard() && !state.is_mute(now))
    }

    fn tell(&self, stats: &mut ValkeyStats) {
        let (topics, echo_micros) = self.change(|state, _| (state.count(), state.echo_micros));
        self.figures.tell(stats);
        stats.echo_seconds = stats.echo_seconds.max(echo_micros as f64 / 1e6);
        for (sum, count) in stats.topics.iter_mut().zip(topics) {
            *sum += count;
        }
    }

    fn stop(&self) {
        self.is_stopped.store(true, Ordering::Relaxed);
    }

    fn sync(&self, topic: TopicName, waiter: Waiter, deadline: u64) {
        let now = self.now();
        self.change(|state, out| state.sync(topic, waiter, deadline, now, out));
    }

    fn leave(&self, stays: &dyn Fn(&TopicName) -> bool) -> Vec<Left> {
        self.change(|state, out| state.leave(stays, out))
    }

    fn take_over(&self, left: Left) {
        let now = self.now();
        self.change(|state, out| state.take_over(left, now, out));
    }

    fn opened(&self, topic: &TopicName, last: Result<Position, Refused>) {
        match last {
            Ok(last) => {
                if let Some(is_open) = self.change(|state, _| state.awaits_tail(topic)) {
                    self.stand(topic, is_open, last);
                }
            }
            Err(refused) => self.change(|state, out| state.no_tail(topic, refused, out)),
        }
    }

    fn mended(&self, topic: &TopicName, strand: Result<RawStrand, Refused>) {
        match strand {
            Ok(strand) => self.mend(topic, &strand),
            Err(_) => self.change(|state, out| state.not_mended(topic, out)),
        }
    }

    fn epoch(&self, epoch: Epoch) {
        let mut known = self.epoch.lock().unwrap_or_else(PoisonError::into_inner);
        let before = known.replace(epoch);
        if before == Some(epoch) {
            return;
        }
        self.store.set_epoch(epoch);
        drop(known);
        if before.is_some() {
            tracing::warn!("what Valkey holds is not what it held: all topics start over");
            self.figures.epoch_changes.add();
            self.change(|state, out| {
                self.is_restarting.store(true, Ordering::Relaxed);
                state.restart_all(out);
            });
        }
    }
}

/// What those hear who wait for a topic that the store does not open.
fn refusal(error: StoreError) -> Refused {
    match error {
        StoreError::HashTaken => Refused::Error,
        _ => Refused::Full,
    }
}

#[cfg(test)]
mod tests;
