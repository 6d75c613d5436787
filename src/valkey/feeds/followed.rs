//! One followed topic: what its log lacks, and what is under way to mend that.
//!
//! ```text
//!           channel confirmed     last is known
//!   Absent ──────────────────► Tail ────────────┐
//!                               ▲               ▼  nothing is held
//!                     new epoch │           Settling ─────────────► Whole
//!                               │               ▲                     │ a message does not fit,
//!                               │               │ all is read         │ or the connection was lost
//!                               └── Whole,    Reading ◄─────────── Lacking
//!                                   Lacking          its turn comes
//! ```
//!
//! What the channel says while a log is behind is held and fed when the log has come so far, so
//! that a busy topic does not have to be read again and again.

use crate::topic::{Draft, Position};

/// Bytes that are held of one topic. Past them the stream is read once more instead.
const HELD_BYTES_MAX: u64 = 256 << 10;

/// A message that came before those which stand in front of it.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) predecessor: Position,
    pub(super) position: Position,
    pub(super) draft: Draft,
}

/// A topic that is followed, or is to be.
#[derive(Debug)]
pub(super) struct Followed {
    /// Whether the connection there is now hears the topic's channel.
    pub(super) is_confirmed: bool,
    pub(super) log: Log,
    /// Empty unless the log is `Tail`, `Reading` or `Settling`.
    pub(super) held: Vec<Held>,
    held_bytes: u64,
    /// Numbers of those who wait for it, rising.
    pub(super) waiters: Vec<u64>,
    /// Whoever was told that it is open has until then to read it. Monotonic microseconds.
    pub(super) keep_until: u64,
    /// When it is looked at next, to see whether anybody reads it.
    pub(super) look_at: u64,
}

/// How far a log is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Log {
    /// The channel comes first, or what is said meanwhile would be missed.
    Absent,
    /// The newest position is being looked up: to open the topic, or to start an open one over.
    Tail { is_open: bool, again: bool },
    /// It goes on with what the channel says.
    Whole,
    /// The stream is to be read behind this position. A topic without its channel has to wait.
    Lacking(Position),
    /// The stream is being read behind this position.
    Reading(Position, Then),
    /// Everything up to here is in the log, and what was held comes next.
    Settling(Position, Then),
}

/// What comes when the stream was read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Then {
    /// Nothing more.
    Finish,
    /// Reading on: something may have been missed after the reading began.
    Again,
    /// Forgetting what was read, and reading behind this.
    Behind(Position),
    /// Forgetting it and starting over behind the newest.
    Restart,
}

impl Followed {
    pub(super) fn new(look_at: u64) -> Followed {
        Followed {
            is_confirmed: false,
            log: Log::Absent,
            held: Vec::new(),
            held_bytes: 0,
            waiters: Vec::new(),
            keep_until: 0,
            look_at,
        }
    }

    /// Whether the log has everything that the channel has said so far.
    pub(super) fn is_whole(&self) -> bool {
        self.is_confirmed && self.log == Log::Whole
    }

    /// Whether the log will be emptied and go on behind a position that is not known yet.
    pub(super) fn is_restarting(&self) -> bool {
        matches!(
            self.log,
            Log::Tail { is_open: true, .. }
                | Log::Reading(_, Then::Restart)
                | Log::Settling(_, Then::Restart)
        )
    }

    /// Whether it waits only for its turn to be read.
    pub(super) fn wants_reading(&self) -> bool {
        self.is_confirmed && matches!(self.log, Log::Lacking(_))
    }

    /// The stream is to be read from here; what is held will be found there.
    pub(super) fn lacks(&mut self, behind: Position) {
        self.log = Log::Lacking(behind);
        self.drop_held();
    }

    /// The newest position is to be looked up.
    pub(super) fn look_up(&mut self, is_open: bool) {
        let again = false;
        self.log = Log::Tail { is_open, again };
        self.drop_held();
    }

    /// Everything stored is another. Whether the newest position is to be looked up now.
    pub(super) fn restart(&mut self) -> bool {
        match &mut self.log {
            // In a cluster the log may stand where another node's follower has left it.
            Log::Absent | Log::Whole | Log::Lacking(_) => {
                self.look_up(true);
                return true;
            }
            Log::Reading(_, then) | Log::Settling(_, then) => *then = Then::Restart,
            // Looked up behind the change, since a lane does all in order.
            Log::Tail { is_open, .. } => *is_open = true,
        }
        false
    }

    /// Something may have been missed since that began which is under way.
    pub(super) fn read_again(&mut self) {
        match &mut self.log {
            Log::Tail { again, .. } => *again = true,
            Log::Reading(_, then @ Then::Finish) | Log::Settling(_, then @ Then::Finish) => {
                *then = Then::Again;
            }
            _ => {}
        }
    }

    /// The store's log was emptied and goes on behind `position`.
    pub(super) fn restarted(&mut self, position: Position) {
        self.drop_held();
        match &mut self.log {
            Log::Lacking(behind) => *behind = position,
            Log::Tail { again, .. } => *again = true,
            Log::Reading(_, Then::Restart) | Log::Settling(_, Then::Restart) => {}
            Log::Reading(_, then) | Log::Settling(_, then) => *then = Then::Behind(position),
            Log::Absent | Log::Whole => {}
        }
    }

    /// Keeps a message until the log has come so far. One for which there is no room will be read.
    pub(super) fn hold(&mut self, message: impl FnOnce() -> Option<Held>) {
        match self.log {
            // What comes before a reading begins is found by it.
            Log::Absent | Log::Whole | Log::Lacking(_) => return,
            Log::Reading(_, then) | Log::Settling(_, then) if then != Then::Finish => return,
            _ => {}
        }
        let Some(message) = message() else {
            return;
        };
        self.held_bytes += message.draft.cost();
        if self.held_bytes > HELD_BYTES_MAX {
            self.drop_held();
            self.read_again();
        } else {
            self.held.push(message);
        }
    }

    /// Takes what is held, oldest first.
    pub(super) fn take_held(&mut self) -> Vec<Held> {
        self.held_bytes = 0;
        std::mem::take(&mut self.held)
    }

    pub(super) fn drop_held(&mut self) {
        drop(self.take_held());
    }
}
