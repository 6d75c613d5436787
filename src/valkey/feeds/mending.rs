//! How logs that are behind catch up: who is read from its stream, and what comes then.

use super::super::job::Refused;
use super::super::order::Order;
use super::followed::{Followed, Held, Log, Then};
use super::state::{Effects, Errand, State};
use crate::topic::{Position, TopicName};

/// Streams that are being read at one time: enough to fill a pipeline, few enough that none waits
/// long for its next part.
const READINGS_MAX: usize = 64;

/// What becomes of a message that does not fit the log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Misfit {
    /// The log has moved since: it may fit now.
    Retry,
    /// It is held, or will be read, or is nobody's.
    Settled,
}

/// What comes next for a log that has come as far as was read.
#[derive(Debug)]
pub(super) enum Settle {
    /// These, oldest first.
    Feed(Vec<Held>),
    Done,
}

impl State {
    /// A message of the channel does not fit behind `newest`, or its topic was not open yet
    /// (`None`). `is_second`: also not when it was tried again.
    pub(super) fn misfit(
        &mut self,
        name: &TopicName,
        newest: Option<Position>,
        is_second: bool,
        message: impl FnOnce() -> Option<Held>,
        out: &mut Effects,
    ) -> Misfit {
        let Some(followed) = self.topics.get_mut(name) else {
            return Misfit::Settled;
        };
        if followed.log != Log::Whole {
            followed.hold(message);
            return Misfit::Settled;
        }
        if !is_second {
            return Misfit::Retry;
        }
        if let Some(newest) = newest {
            self.lacks(name, newest, out);
        } else {
            followed.look_up(false);
            out.orders.push(Order::Tail(name.clone()));
        }
        Misfit::Settled
    }

    /// Keeps a message from the log of a topic that starts over. Whether it does.
    pub(super) fn hold_back(
        &mut self,
        name: &TopicName,
        message: impl FnOnce() -> Option<Held>,
    ) -> bool {
        let followed = self.topics.get_mut(name).filter(|it| it.is_restarting());
        followed.map(|followed| followed.hold(message)).is_some()
    }

    /// Whether any topic has to start over still.
    pub(super) fn is_any_restarting(&self) -> bool {
        self.topics.values().any(Followed::is_restarting)
    }

    /// The store's log of a topic was emptied and goes on behind `position`; if `is_lacking`, the
    /// stream has more behind that.
    pub(super) fn restarted(
        &mut self,
        name: &TopicName,
        position: Position,
        is_lacking: bool,
        out: &mut Effects,
    ) {
        let Some(followed) = self.topics.get_mut(name) else {
            return;
        };
        if followed.log == Log::Whole && is_lacking {
            self.lacks(name, position, out);
        } else {
            followed.restarted(position);
        }
    }

    /// Everything stored is another: all open topics start over.
    pub(super) fn restart_all(&mut self, out: &mut Effects) {
        for (name, followed) in &mut self.topics {
            if followed.restart() {
                out.orders.push(Order::Tail(name.clone()));
            }
        }
    }

    /// Whether the position of a topic's newest message is waited for, and if so, whether the
    /// topic is open.
    pub(super) fn awaits_tail(&self, name: &TopicName) -> Option<bool> {
        match self.topics.get(name)?.log {
            Log::Tail { is_open, .. } => Some(is_open),
            _ => None,
        }
    }

    /// The topic is open, or was started over, behind `last`, and more stands in the stream if it
    /// `is_behind`. [`State::settle`] comes next.
    pub(super) fn stands(&mut self, name: &TopicName, last: Position, is_behind: bool) {
        if let Some(followed) = self.topics.get_mut(name)
            && let Log::Tail { again, .. } = followed.log
        {
            let then = if again || is_behind {
                Then::Again
            } else {
                Then::Finish
            };
            followed.log = Log::Settling(last, then);
        }
    }

    /// The position could not be looked up.
    pub(super) fn no_tail(&mut self, name: &TopicName, refused: Refused, out: &mut Effects) {
        let may_pass = matches!(refused, Refused::Away | Refused::Full | Refused::TooLate);
        match self.awaits_tail(name) {
            Some(is_open) if is_open || may_pass => self.to_retry.push(name.clone()),
            Some(_) => self.forget(name, refused, out),
            None => {}
        }
    }

    /// Gives a topic up that could not be opened.
    pub(super) fn forget(&mut self, name: &TopicName, refused: Refused, out: &mut Effects) {
        let Some(followed) = self.topics.remove(name) else {
            return;
        };
        for number in followed.waiters {
            if let Some(waiting) = self.waiting.remove(&number) {
                out.replies.push((waiting.waiter, Err(refused)));
            }
        }
        self.errands.push(Errand::Unsubscribe(name.clone()));
    }

    /// Behind which position a topic's stream is being read, if what was read is still of use.
    pub(super) fn awaits_strand(&self, name: &TopicName) -> Option<Position> {
        match self.topics.get(name)?.log {
            Log::Reading(behind, Then::Finish | Then::Again) => Some(behind),
            _ => None,
        }
    }

    /// A part of the stream was read, and is in the log up to `reached`. [`State::settle`] comes
    /// next.
    pub(super) fn mended(
        &mut self,
        name: &TopicName,
        reached: Position,
        has_more: bool,
        out: &mut Effects,
    ) {
        let Some(followed) = self.topics.get_mut(name) else {
            return;
        };
        let Log::Reading(_, then) = followed.log else {
            return;
        };
        self.readings -= 1;
        if has_more && matches!(then, Then::Finish | Then::Again) {
            // What is held will be read, and so will be what came too late for this part.
            self.lacks(name, reached, out);
        } else {
            followed.log = Log::Settling(reached, then);
        }
        self.read_on(out);
    }

    /// The stream could not be read.
    pub(super) fn not_mended(&mut self, name: &TopicName, out: &mut Effects) {
        let Some(followed) = self.topics.get_mut(name) else {
            return;
        };
        let Log::Reading(behind, then) = followed.log else {
            return;
        };
        self.readings -= 1;
        match then {
            Then::Finish | Then::Again => followed.lacks(behind),
            Then::Behind(position) => followed.lacks(position),
            Then::Restart => followed.look_up(true),
        }
        self.to_retry.push(name.clone());
        self.read_on(out);
    }

    /// Goes on with a log that has everything that was read.
    pub(super) fn settle(&mut self, name: &TopicName, now: u64, out: &mut Effects) -> Settle {
        let Some(followed) = self.topics.get_mut(name) else {
            return Settle::Done;
        };
        let Log::Settling(reached, then) = followed.log else {
            return Settle::Done;
        };
        match then {
            Then::Restart => {
                followed.look_up(true);
                out.orders.push(Order::Tail(name.clone()));
            }
            Then::Behind(position) => self.lacks(name, position, out),
            Then::Again => self.lacks(name, reached, out),
            // It is read again when the channel is heard again.
            Then::Finish if !followed.is_confirmed => followed.lacks(reached),
            Then::Finish if !followed.held.is_empty() => return Settle::Feed(followed.take_held()),
            Then::Finish => {
                followed.log = Log::Whole;
                self.answer_echoed(name, now, out);
            }
        }
        Settle::Done
    }

    /// What was held does not fit behind `newest`.
    pub(super) fn unsettled(&mut self, name: &TopicName, newest: Position) {
        if let Some(followed) = self.topics.get_mut(name)
            && let Log::Settling(reached, then @ Then::Finish) = &mut followed.log
        {
            (*reached, *then) = (newest, Then::Again);
            followed.drop_held();
        }
    }

    pub(super) fn lacks(&mut self, name: &TopicName, behind: Position, out: &mut Effects) {
        if let Some(followed) = self.topics.get_mut(name) {
            followed.lacks(behind);
            if followed.is_confirmed {
                self.to_read.push_back(name.clone());
                self.read_on(out);
            }
        }
    }

    /// Gives turns while there are any.
    pub(super) fn read_on(&mut self, out: &mut Effects) {
        while self.readings < READINGS_MAX
            && let Some(topic) = self.to_read.pop_front()
        {
            if let Some(followed) = self.topics.get_mut(&topic)
                && followed.wants_reading()
                && let Log::Lacking(behind) = followed.log
            {
                followed.log = Log::Reading(behind, Then::Finish);
                self.readings += 1;
                out.orders.push(Order::ReadOn { topic, behind });
            }
        }
    }

    pub(super) fn retry(&mut self, name: &TopicName, out: &mut Effects) {
        let Some(followed) = self.topics.get_mut(name) else {
            return;
        };
        match followed.log {
            Log::Tail { is_open: false, .. } if followed.waiters.is_empty() => {
                self.forget(name, Refused::Away, out);
            }
            Log::Tail { .. } => out.orders.push(Order::Tail(name.clone())),
            Log::Lacking(behind) => self.lacks(name, behind, out),
            _ => {}
        }
    }

    /// Answers those who wait for a topic that is whole now and have heard their number.
    fn answer_echoed(&mut self, name: &TopicName, now: u64, out: &mut Effects) {
        let Some(followed) = self.topics.get(name) else {
            return;
        };
        let echoed = followed.waiters.iter().copied();
        let echoed: Vec<u64> = echoed.take_while(|number| *number <= self.echoed).collect();
        for number in echoed {
            self.answer(number, Ok(()), now, out);
        }
    }
}
