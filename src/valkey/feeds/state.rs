//! Which topics are followed, how far each is, and who waits: a function of what happens and when.
//! What is to be done about it stands in [`Effects`].

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};

use super::super::job::{Refused, Waiter};
use super::super::order::{Left, Order};
use super::followed::{Followed, Log};
use crate::topic::{Position, TopicName};

/// Without a connection for so long, nobody is let wait for one. Microseconds.
const PATIENCE: u64 = 2_000_000;
/// A number is echoed at least so often. Microseconds.
const CANARY_INTERVAL: u64 = 500_000;
/// A connection that has echoed nothing for so long is given up. Microseconds.
pub(in crate::valkey) const ECHO_WITHIN: u64 = 2_000_000;

/// What is to be done, once the lock is given back.
#[derive(Default, Debug)]
pub(super) struct Effects {
    pub(super) orders: Vec<Order>,
    pub(super) replies: Vec<(Waiter, Result<(), Refused>)>,
}

/// Something for the follower to do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(in crate::valkey) enum Errand {
    Subscribe(TopicName),
    Unsubscribe(TopicName),
}

/// The follower's connection. Times are monotonic microseconds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Contact {
    /// Lost, or not made yet.
    Lost { since: u64 },
    /// Its echo channel is heard.
    Heard { echoed_at: u64, asked_at: u64 },
}

#[derive(Debug)]
pub(super) struct Waiting {
    topic: TopicName,
    pub(super) waiter: Waiter,
    deadline: u64,
}

/// All of it.
#[derive(Debug)]
pub(super) struct State {
    pub(super) topics: HashMap<TopicName, Followed>,
    /// By number.
    pub(super) waiting: BTreeMap<u64, Waiting>,
    /// The highest number given to anybody.
    numbered: u64,
    /// The highest number that was echoed.
    pub(super) echoed: u64,
    contact: Contact,
    /// A number that has not come back, and when it was given.
    timed: Option<(u64, u64)>,
    /// Microseconds that the last one of these took.
    pub(super) echo_micros: u64,
    pub(super) errands: Vec<Errand>,
    /// Topics in the order of their turns; those that want no reading any more are passed over.
    pub(super) to_read: VecDeque<TopicName>,
    pub(super) readings: usize,
    /// Refused by a lane; for the next tick.
    pub(super) to_retry: Vec<TopicName>,
    /// When each topic is looked at, in order of time.
    looks: VecDeque<(u64, TopicName)>,
    linger: u64,
    /// Topics whose channels the connection does not hear, though it should.
    pub(super) unheard: HashSet<TopicName>,
}

impl State {
    /// Of a follower that begins to connect; `linger` is in microseconds.
    pub(super) fn new(linger: u64, now: u64) -> State {
        State {
            topics: HashMap::new(),
            waiting: BTreeMap::new(),
            numbered: 0,
            echoed: 0,
            contact: Contact::Lost { since: now },
            timed: None,
            echo_micros: 0,
            errands: Vec::new(),
            to_read: VecDeque::new(),
            readings: 0,
            to_retry: Vec::new(),
            looks: VecDeque::new(),
            linger,
            unheard: HashSet::new(),
        }
    }

    /// Somebody wants to know everything that was published before now.
    pub(super) fn sync(
        &mut self,
        topic: TopicName,
        waiter: Waiter,
        deadline: u64,
        now: u64,
        out: &mut Effects,
    ) {
        if self.is_away(now) {
            out.replies.push((waiter, Err(Refused::Away)));
            return;
        }
        let number = self.echo(now, out);
        self.follow(&topic, now).waiters.push(number);
        let waiting = Waiting {
            topic,
            waiter,
            deadline,
        };
        self.waiting.insert(number, waiting);
    }

    fn follow(&mut self, topic: &TopicName, now: u64) -> &mut Followed {
        match self.topics.entry(topic.clone()) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => {
                let look_at = now + self.linger;
                self.looks.push_back((look_at, topic.clone()));
                self.errands.push(Errand::Subscribe(topic.clone()));
                entry.insert(Followed::new(look_at))
            }
        }
    }

    /// Gives up all topics but those that `stays` names. Their logs stay as they are.
    pub(super) fn leave(
        &mut self,
        stays: &dyn Fn(&TopicName) -> bool,
        out: &mut Effects,
    ) -> Vec<Left> {
        let astray = self.topics.keys().filter(|topic| !stays(topic));
        let astray: Vec<TopicName> = astray.cloned().collect();
        let mut left = Vec::with_capacity(astray.len());
        for topic in astray {
            let Some(followed) = self.topics.remove(&topic) else {
                continue;
            };
            if let Log::Reading(..) = followed.log {
                self.readings -= 1;
            }
            let numbers = followed.waiters.iter();
            let waiting = numbers.filter_map(|number| self.waiting.remove(number));
            left.push(Left {
                topic,
                is_restarting: followed.is_restarting(),
                waiters: waiting.map(|it| (it.waiter, it.deadline)).collect(),
            });
        }
        // Those that stay have the turns of those that were being read.
        self.read_on(out);
        left
    }

    /// Follows a topic that another node had.
    pub(super) fn take_over(&mut self, left: Left, now: u64, out: &mut Effects) {
        let Left { topic, waiters, .. } = left;
        let followed = self.follow(&topic, now);
        if left.is_restarting && followed.restart() {
            out.orders.push(Order::Tail(topic.clone()));
        }
        for (waiter, deadline) in waiters {
            self.sync(topic.clone(), waiter, deadline, now, out);
        }
        // The follower looks for errands whenever something comes back.
        self.echo(now, out);
    }

    /// What the follower has to do; asked whenever something was echoed.
    pub(super) fn take_errands(&mut self, errands: &mut Vec<Errand>) {
        errands.append(&mut self.errands);
    }

    /// There is a connection, which hears nothing yet. `open` is what stands in the store.
    pub(super) fn connected(&mut self, open: Vec<(TopicName, Position)>) {
        for (name, newest) in open {
            if let Some(followed) = self.topics.get_mut(&name)
                && followed.log == Log::Whole
            {
                followed.lacks(newest);
            }
        }
        self.errands.clear();
        self.unheard.clear();
        for (name, followed) in &mut self.topics {
            // One that is not in the store in spite of all is opened again.
            if followed.log == Log::Whole {
                followed.log = Log::Absent;
            }
            self.errands.push(Errand::Subscribe(name.clone()));
        }
    }

    /// The connection hears the echo channel.
    pub(super) fn listens(&mut self, now: u64, out: &mut Effects) {
        self.contact = Contact::Heard {
            echoed_at: now,
            asked_at: now,
        };
        self.timed = None;
        self.echo(now, out);
    }

    /// The connection hears a topic's channel: what is published from now on is not missed.
    pub(super) fn confirmed(&mut self, topic: &str, out: &mut Effects) {
        let Some((name, followed)) = self.topics.get_key_value(topic) else {
            return;
        };
        let (name, log) = (name.clone(), followed.log);
        let Some(followed) = self.topics.get_mut(topic) else {
            return;
        };
        followed.is_confirmed = true;
        match log {
            Log::Absent => {
                followed.look_up(false);
                out.orders.push(Order::Tail(name));
            }
            Log::Lacking(_) => {
                self.to_read.push_back(name);
                self.read_on(out);
            }
            Log::Tail { .. } | Log::Reading(..) | Log::Settling(..) => followed.read_again(),
            Log::Whole => {}
        }
    }

    /// The connection is lost, and with it whatever its channels say from now on.
    pub(super) fn disconnected(&mut self, now: u64) {
        if matches!(self.contact, Contact::Heard { .. }) {
            self.contact = Contact::Lost { since: now };
        }
        for followed in self.topics.values_mut() {
            followed.is_confirmed = false;
            followed.drop_held();
        }
        self.to_read.clear();
    }

    /// A number came back, and with it everything that was published before it was said.
    pub(super) fn echoed(&mut self, number: u64, now: u64, out: &mut Effects) {
        if let Contact::Heard { echoed_at, .. } = &mut self.contact {
            *echoed_at = now;
        }
        // Anyone may say something on the channel, but not more than was asked for.
        if number > self.numbered || number <= self.echoed {
            return;
        }
        if let Some((_, at)) = self.timed.take_if(|(timed, _)| *timed <= number) {
            self.echo_micros = now.saturating_sub(at);
        }
        let since = self.waiting.range(self.echoed + 1..=number);
        let numbers: Vec<u64> = since.map(|(number, _)| *number).collect();
        self.echoed = number;
        for number in numbers {
            let topic = &self.waiting[&number].topic;
            if self.topics.get(topic).is_some_and(Followed::is_whole) {
                self.answer(number, Ok(()), now, out);
            }
        }
    }

    /// What is due by time alone: at least four times a second.
    pub(super) fn tick(&mut self, now: u64, out: &mut Effects) {
        let is_away = self.is_away(now);
        let due = self
            .waiting
            .iter()
            .filter(|(_, it)| is_away || it.deadline <= now);
        let due: Vec<u64> = due.map(|(number, _)| *number).collect();
        let refused = if is_away {
            Refused::Away
        } else {
            Refused::TooLate
        };
        for number in due {
            self.answer(number, Err(refused), now, out);
        }
        if let Contact::Heard { asked_at, .. } = &mut self.contact
            && now.saturating_sub(*asked_at) >= CANARY_INTERVAL
        {
            *asked_at = now;
            self.echo(now, out);
        }
        for name in std::mem::take(&mut self.to_retry) {
            self.retry(&name, out);
        }
    }

    /// Looks at up to `most` topics whose time has come, and stops following those that `close`
    /// says are closed. Whether more are due.
    pub(super) fn close_some(
        &mut self,
        now: u64,
        most: usize,
        mut close: impl FnMut(&TopicName) -> bool,
    ) -> bool {
        for _ in 0..most {
            let Some((due, name)) = self.looks.pop_front_if(|(due, _)| *due <= now) else {
                return false;
            };
            // The topic may have been given up, and followed again since.
            let Some(followed) = self.topics.get_mut(&name).filter(|it| it.look_at == due) else {
                continue;
            };
            let is_free = followed.is_whole() && followed.waiters.is_empty();
            if is_free && followed.keep_until <= now && close(&name) {
                self.topics.remove(&name);
                self.errands.push(Errand::Unsubscribe(name));
            } else {
                followed.look_at = now + self.linger;
                self.looks.push_back((followed.look_at, name));
            }
        }
        true
    }

    /// Whether there is a connection that hears.
    pub(super) fn is_heard(&self) -> bool {
        matches!(self.contact, Contact::Heard { .. })
    }

    /// Whether the connection has echoed nothing for too long.
    pub(super) fn is_mute(&self, now: u64) -> bool {
        match self.contact {
            Contact::Heard { echoed_at, .. } => now.saturating_sub(echoed_at) >= ECHO_WITHIN,
            Contact::Lost { .. } => false,
        }
    }

    /// Whether nobody is to wait for a connection.
    pub(super) fn is_away(&self, now: u64) -> bool {
        matches!(self.contact, Contact::Lost { since } if now.saturating_sub(since) >= PATIENCE)
    }

    /// Topics that are followed, and those of them whose logs are not whole.
    pub(super) fn count(&self) -> [u64; 2] {
        let behind = self.topics.values().filter(|it| !it.is_whole()).count();
        [self.topics.len(), behind].map(|count| count as u64)
    }

    /// A new number, to be echoed.
    pub(super) fn echo(&mut self, now: u64, out: &mut Effects) -> u64 {
        self.numbered += 1;
        self.timed.get_or_insert((self.numbered, now));
        out.orders.push(Order::Echo(self.numbered));
        self.numbered
    }

    pub(super) fn answer(
        &mut self,
        number: u64,
        result: Result<(), Refused>,
        now: u64,
        out: &mut Effects,
    ) {
        let Some(waiting) = self.waiting.remove(&number) else {
            return;
        };
        if let Some(followed) = self.topics.get_mut(&waiting.topic) {
            followed.waiters.retain(|it| *it != number);
            followed.keep_until = now + self.linger;
        }
        out.replies.push((waiting.waiter, result));
    }
}

#[cfg(test)]
mod tests;
