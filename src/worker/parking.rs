//! What waits for the tier behind memory: a worker never does. What a connection asked for is put
//! aside, with a ticket for each job, and goes on when the last reply has come.
//!
//! ```text
//!   request ─► park ─► jobs ─► ... ─► Mail::Reply(ticket) ─► take in ─► go on
//!                 └──────────── the connection has gone ───► forgotten
//! ```

use std::collections::HashMap;

use super::Worker;
use super::access::{Accessing, HEARING_TICKET};
use super::acks_behind::Acking;
use super::burying::Burial;
use super::charges::EXCHANGE_TICKET;
use super::commands::Joined;
use super::consulting::Consulting;
use super::entering::Entering;
use super::listing::Enlisting;
use super::once::Beginning;
use super::publish_behind::Publishing;
use super::slots::{ConnectionKey, Slots};
use super::topics_behind::Asking;
use crate::topic::{Gap, LocalTopic, Position, TopicName};
use crate::valkey::{Job, Mail, Refused, Reply, Strand, Task, Waiter};

/// The ticket of a job for which nobody waits.
const NO_TICKET: u64 = u64::MAX >> 1;

/// Finds what is parked, as long as it waits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct ParkingKey(ConnectionKey);

/// What is to be done when all replies are there, and what they have brought so far.
#[derive(Debug)]
pub(super) enum Then {
    /// Publish, if the request is no repeat.
    Begin(Box<Beginning>),
    /// Answer a publish request.
    Publish(Box<Publishing>),
    /// Answer it when the names of its topics are listed.
    Enlist(Box<Enlisting>),
    /// Go on with a question about topics.
    Topics(Box<Asking>),
    /// Subscribe, open a stream, or look for what a poll asks for.
    Enter(Box<Entering>),
    /// Look again for what a poll asks for, with what was read from the streams of topics whose
    /// logs do not reach back far enough; and the gaps that are to be told.
    Poll(Vec<ColdTopic>, Vec<(TopicName, Gap)>),
    /// Do what the consumers of a topic have answered to.
    Consult(Box<Consulting>),
    /// Answer a request about credentials, or go on with one that has shown a ticket.
    Access(Box<Accessing>),
    /// Answer acknowledgements.
    Acknowledge(Box<Acking>),
    /// Forget dead messages whose letters are published.
    Bury(Box<Burial>),
    /// Deliver what a subscription is behind.
    ReadOn(LocalTopic, Option<Result<Strand, Refused>>),
}

/// A topic whose stream has to be read for a poll.
#[derive(Debug)]
pub(super) struct ColdTopic {
    pub(super) local: LocalTopic,
    pub(super) name: TopicName,
    /// Behind which position.
    pub(super) behind: Position,
    /// What stands there.
    pub(super) strand: Option<Result<Strand, Refused>>,
}

impl ColdTopic {
    /// The topic of a subscription that its log does not reach back to.
    pub(super) fn of(joined: &Joined) -> ColdTopic {
        ColdTopic {
            local: joined.local,
            name: joined.name.clone(),
            behind: joined.resume.position,
            strand: None,
        }
    }

    /// The same, to be read again.
    pub(super) fn unread(&self) -> ColdTopic {
        ColdTopic {
            local: self.local,
            name: self.name.clone(),
            behind: self.behind,
            strand: None,
        }
    }
}

impl Then {
    /// Whether the connection must not go on before.
    fn holds(&self) -> bool {
        match self {
            Then::Consult(consulting) => consulting.holds(),
            Then::Acknowledge(acking) => acking.holds(),
            Then::Bury(_) | Then::ReadOn(..) => false,
            _ => true,
        }
    }

    /// Whether it goes on also when its connection has gone.
    fn outlives(&self) -> bool {
        match self {
            Then::Enter(entering) => entering.takes_seats(),
            _ => false,
        }
    }

    /// One of the replies has come: that of the job number `part`.
    fn take_in(&mut self, part: usize, reply: Reply) {
        match (self, reply) {
            (Then::Publish(publishing), reply) => publishing.take_in(part, reply),
            (Then::Begin(beginning), Reply::Called(begun)) => beginning.take_in(begun),
            (Then::Enlist(enlisting), Reply::Called(said)) => enlisting.take_in(&said),
            (Then::Topics(asking), Reply::Called(said)) => asking.take_in(part, said),
            (Then::Enter(entering), reply) => entering.take_in(part, reply),
            (Then::Consult(consulting), Reply::Called(said)) => consulting.take_in(said),
            (Then::Access(accessing), Reply::Called(said)) => accessing.take_in(said),
            (Then::Acknowledge(acking), Reply::Called(said)) => acking.take_in(part, said),
            (Then::Bury(burial), reply) => burial.take_in(part, &reply),
            (Then::Poll(topics, _), Reply::Read(strand)) => topics[part].strand = Some(strand),
            (Then::ReadOn(_, slot), Reply::Read(strand)) => *slot = Some(strand),
            (then, reply) => debug_assert!(false, "{reply:?} is no answer to {then:?}"),
        }
    }
}

/// Something that waits.
#[derive(Debug)]
struct Parked {
    owner: ConnectionKey,
    replies_missing: usize,
    then: Then,
}

/// A job that was given away: for what, and which of its jobs it is.
#[derive(Clone, Copy, Debug)]
struct Errand {
    parked: ParkingKey,
    part: usize,
}

/// All that waits in one worker.
#[derive(Default, Debug)]
pub(super) struct Parking {
    parked: Slots<Parked>,
    errands: Slots<Errand>,
    /// What connections wait for and must not go on before.
    holding: HashMap<ConnectionKey, ParkingKey>,
    /// What connections read from streams meanwhile, and in which topic: one at a time.
    reading: HashMap<ConnectionKey, (ParkingKey, LocalTopic)>,
}

impl Parking {
    /// Whether a connection must not go on yet.
    pub(super) fn holds(&self, key: ConnectionKey) -> bool {
        !self.holding.is_empty() && self.holding.contains_key(&key)
    }

    /// Whether a part of a stream is on its way to a connection.
    pub(super) fn reads(&self, key: ConnectionKey) -> bool {
        !self.reading.is_empty() && self.reading.contains_key(&key)
    }

    /// A connection has gone, or is going: nothing goes on for it.
    pub(super) fn forget(&mut self, key: ConnectionKey) {
        let reading = self.reading.remove(&key).map(|(parked, _)| parked);
        for parked in self.holding.remove(&key).into_iter().chain(reading) {
            let waiting = self.parked.get(parked.0);
            if waiting.is_some_and(|it| !it.then.outlives()) {
                self.parked.remove(parked.0);
            }
        }
    }

    /// A connection has left a topic: what is being read for it there is not wanted any more.
    pub(super) fn forget_reading(&mut self, key: ConnectionKey, topic: LocalTopic) {
        if let Some((parked, read)) = self.reading.get(&key).copied()
            && read == topic
        {
            self.reading.remove(&key);
            self.parked.remove(parked.0);
        }
    }

    fn put(&mut self, owner: ConnectionKey, then: Then, replies_missing: usize) -> ParkingKey {
        let holds = then.holds();
        let reads = match then {
            Then::ReadOn(topic, _) => Some(topic),
            _ => None,
        };
        let parked = self.parked.insert_with(|_| Parked {
            owner,
            replies_missing,
            then,
        });
        let parked = ParkingKey(parked);
        if holds {
            self.holding.insert(owner, parked);
        }
        if let Some(topic) = reads {
            self.reading.insert(owner, (parked, topic));
        }
        parked
    }

    fn ticket(&mut self, parked: ParkingKey, part: usize) -> u64 {
        let errand = Errand { parked, part };
        self.errands.insert_with(|_| errand).token().0 as u64
    }

    /// Takes a reply in. When it was the last one: what goes on, and for whom.
    fn take_in(&mut self, ticket: u64, reply: Reply) -> Option<(ConnectionKey, Then)> {
        let ticket = ConnectionKey::from_token(mio::Token(ticket as usize));
        let Errand { parked, part } = self.errands.remove(ticket)?;
        let waiting = self.parked.get_mut(parked.0)?;
        waiting.then.take_in(part, reply);
        waiting.replies_missing -= 1;
        if waiting.replies_missing > 0 {
            return None;
        }
        let Parked { owner, then, .. } = self.parked.remove(parked.0)?;
        if self.holding.get(&owner) == Some(&parked) {
            self.holding.remove(&owner);
        }
        if let Then::ReadOn(..) = then {
            self.reading.remove(&owner);
        }
        Some((owner, then))
    }
}

impl Worker {
    /// Whether a connection waits for something before which it must not go on.
    pub(super) fn is_held(&self, key: ConnectionKey) -> bool {
        self.parking.holds(key) || self.ask_later.iter().any(|(other, _)| *other == key)
    }

    /// Gives tasks away, and puts aside what is to be done when all of them have a reply.
    pub(super) fn park(&mut self, key: ConnectionKey, then: Then, tasks: Vec<Task>) {
        let Some(valkey) = self.shared.valkey.clone() else {
            return;
        };
        if tasks.is_empty() {
            self.go_on(key, then);
            return;
        }
        let parked = self.parking.put(key, then, tasks.len());
        let deadline = self.clock.now().after(valkey.timeout());
        for (part, task) in tasks.into_iter().enumerate() {
            let ticket = self.parking.ticket(parked, part);
            let waiter = Waiter {
                worker: self.index,
                ticket,
            };
            let refusal = task.refusal();
            let job = Job {
                waiter,
                deadline,
                task,
            };
            if let Err(refused) = valkey.submit(job) {
                self.take_reply(ticket, refusal(refused));
            }
        }
    }

    /// Gives a task away of which nobody wants to hear.
    pub(super) fn send_off(&self, task: Task) {
        let Some(valkey) = &self.shared.valkey else {
            return;
        };
        let job = Job {
            waiter: Waiter {
                worker: self.index,
                ticket: NO_TICKET,
            },
            deadline: self.clock.now().after(valkey.timeout()),
            task,
        };
        // What is not done is made up for by whoever needs it.
        let _ = valkey.submit(job);
    }

    /// Takes what other threads have to say.
    pub(super) fn take_inbox(&mut self) {
        if self.shared.valkey.is_none() {
            return;
        }
        self.follow_epoch();
        let mut mail = std::mem::take(&mut self.mail);
        self.shared.post.inbox(self.index).take(&mut mail);
        for item in mail.drain(..) {
            match item {
                Mail::Reply(EXCHANGE_TICKET, reply) => self.charges_heard(reply),
                Mail::Reply(HEARING_TICKET, reply) => self.revocations_heard(reply),
                Mail::Reply(ticket, reply) => self.take_reply(ticket, reply),
                Mail::News(local) => self.has_news(local),
            }
        }
        self.mail = mail;
    }

    fn take_reply(&mut self, ticket: u64, reply: Reply) {
        if let Some((key, then)) = self.parking.take_in(ticket, reply) {
            self.go_on(key, then);
        }
    }

    fn go_on(&mut self, key: ConnectionKey, then: Then) {
        let held = then.holds();
        match then {
            Then::Begin(beginning) => self.begun_once(key, beginning),
            Then::Publish(publishing) => self.published_behind(key, publishing),
            Then::Enlist(enlisting) => self.enlisted(key, *enlisting),
            Then::Topics(asking) => self.topics_said(key, *asking),
            Then::Enter(entering) => self.enter(key, &entering),
            Then::Consult(consulting) => self.consulted(key, *consulting),
            Then::Access(accessing) => self.access_said(key, *accessing),
            Then::Acknowledge(acking) => self.acks_said(key, *acking),
            Then::Bury(burial) => self.letters_published(key, *burial),
            Then::Poll(topics, gaps) => self.poll_cold(key, topics, gaps),
            Then::ReadOn(topic, Some(strand)) => self.deliver_strand(key, topic, strand),
            Then::ReadOn(_, None) => {}
        }
        if held && !self.parking.holds(key) {
            // What came behind it has waited with it.
            self.schedule_read(key);
        }
        self.settle(key);
        self.send_many_answers();
    }
}
