//! Subscribing where topics live behind memory: first the local log is brought up to date, and
//! where streams begin is found out; then it goes on as in memory. Who wants each message until it is
//! acknowledged is given a seat at the consumers of each topic as well.

use super::Worker;
use super::commands::Reach;
use super::consulting;
use super::parking::Then;
use super::slots::ConnectionKey;
use crate::api::command::{CommandError, CommandErrorCode};
use crate::api::consumer::AtLeastOnce;
use crate::api::poll::PollRequest;
use crate::session::{Session, StreamOpening, SubscribeRequest};
use crate::topic::{Position, Start, StoreError, TopicName};
use crate::valkey::consumers::{
    AttachShared, ConsumerAction, ConsumerReply, ConsumerTask, NoRoom, SharedAttached,
};
use crate::valkey::{Refused, Reply, Task, catalogue};

/// What asks to be subscribed.
#[derive(Debug)]
pub(super) enum Entrant {
    /// A WebSocket.
    Subscribe(Box<SubscribeRequest>),
    /// A stream.
    Stream(Box<StreamOpening>),
    /// A poll.
    Poll(Box<PollRequest>),
}

impl Entrant {
    fn topics(&self) -> &[TopicName] {
        match self {
            Entrant::Subscribe(request) => &request.topics,
            Entrant::Stream(opening) => &opening.request.topics,
            Entrant::Poll(request) => &request.topics,
        }
    }

    /// How it wants each message until it acknowledges it, if it does.
    fn delivery(&self) -> Option<&AtLeastOnce> {
        match self {
            Entrant::Subscribe(request) => request.delivery.as_ref(),
            Entrant::Stream(opening) => opening.request.consumer.as_ref(),
            Entrant::Poll(request) => request.consumer.as_ref(),
        }
    }

    fn start(&self, index: usize, topic: &TopicName) -> Start {
        match self {
            Entrant::Subscribe(request) => request.offset.start(topic),
            Entrant::Stream(opening) => opening.request.offset.start(topic),
            Entrant::Poll(request) => request.since.start(index, topic),
        }
    }
}

/// It, and what has been found out for it.
#[derive(Debug)]
pub(super) struct Entering {
    entrant: Entrant,
    topics: Vec<Prepared>,
    denied: Option<Denied>,
    /// Which topic each job is for.
    parts: Vec<usize>,
}

/// Why it does not enter.
#[derive(Clone, Debug)]
enum Denied {
    Behind(Refused),
    NoRoom(NoRoom),
}

impl Denied {
    fn error(&self) -> CommandError {
        let (code, message) = match self {
            Denied::Behind(refused) => (
                CommandErrorCode::Subscription,
                refused.sentence().to_owned(),
            ),
            Denied::NoRoom(NoRoom::Consumers) => (
                CommandErrorCode::LimitExceeded,
                StoreError::ConsumersMax.to_string(),
            ),
            Denied::NoRoom(NoRoom::Members) => (
                CommandErrorCode::LimitExceeded,
                StoreError::GroupMembersMax.to_string(),
            ),
        };
        CommandError::new(code, message)
    }
}

/// What is known of a topic before it is subscribed to.
#[derive(Debug)]
pub(super) struct Prepared {
    pub(super) name: TopicName,
    starts_at_end: bool,
    /// Its log stands open although it could not be brought up to date.
    is_open: bool,
    pub(super) begins_behind: Option<Position>,
    /// The seat that was asked for at its consumers.
    attaching: Option<ConsumerTask>,
    attached: Option<SharedAttached>,
}

impl Prepared {
    /// The seat that it has been given: what was asked, and what was answered.
    pub(super) fn seat(&self) -> Option<(&AttachShared, &SharedAttached)> {
        match &self.attaching.as_ref()?.action {
            ConsumerAction::Attach(attach) => Some((attach, self.attached.as_ref()?)),
            _ => None,
        }
    }

    /// What the consumers have said; why there is no seat.
    fn take_seat(&mut self, reply: Reply) -> Result<(), Denied> {
        let (Some(task), Reply::Called(said)) = (&self.attaching, reply) else {
            return Ok(());
        };
        let said = said.and_then(|value| consulting::read(task, value));
        match said.map_err(Denied::Behind)? {
            ConsumerReply::Attached(attached) => self.attached = Some(attached),
            ConsumerReply::NoRoom(no_room) => return Err(Denied::NoRoom(no_room)),
            _ => return Err(Denied::Behind(Refused::Error)),
        }
        Ok(())
    }
}

impl Entering {
    /// A reply has come.
    pub(super) fn take_in(&mut self, part: usize, reply: Reply) {
        let Some(topic) = self.parts.get(part).map(|at| &mut self.topics[*at]) else {
            // That of the list of names, which has its reply for the next time.
            return;
        };
        let denied = match reply {
            Reply::Beginning(Ok(position)) => {
                topic.begins_behind = Some(position);
                None
            }
            // What comes is delivered when it comes, from the log that is there.
            Reply::Synced(Err(_)) if topic.is_open && topic.starts_at_end => None,
            Reply::Synced(Err(refused)) | Reply::Beginning(Err(refused)) => {
                Some(Denied::Behind(refused))
            }
            reply => topic.take_seat(reply).err(),
        };
        self.denied = self.denied.take().or(denied);
    }

    /// Whether seats are taken for it, which have to be left if it does not enter.
    pub(super) fn takes_seats(&self) -> bool {
        self.entrant.delivery().is_some()
    }
}

impl Worker {
    /// Has what must be known of an entrant's topics found out. Those that its connection
    /// subscribes to already are known.
    pub(super) fn prepare(&mut self, key: ConnectionKey, entrant: Entrant) {
        let mut entering = Entering {
            topics: Vec::with_capacity(entrant.topics().len()),
            denied: None,
            parts: Vec::new(),
            entrant,
        };
        let mut tasks = Vec::new();
        for (index, name) in entering.entrant.topics().iter().enumerate() {
            let is_known = self.subscription(key, name).is_some()
                || entering.topics.iter().any(|it| it.name == *name);
            if is_known {
                continue;
            }
            let place = entering.topics.len();
            let starts_at_end = entering.entrant.start(index, name) == Start::Last;
            tasks.push(Task::Sync(name.clone()));
            entering.parts.push(place);
            let start = entering.entrant.start(index, name);
            let attaching = self.attaching(key, &entering.entrant, name, start);
            let attach = attaching.as_ref().and_then(|task| self.consumer_call(task));
            let wants_beginning = !starts_at_end && attach.is_none();
            let beginning = wants_beginning.then(|| Task::Beginning(name.clone()));
            for task in attach.into_iter().chain(beginning) {
                tasks.push(task);
                entering.parts.push(place);
            }
            entering.topics.push(Prepared {
                name: name.clone(),
                starts_at_end,
                is_open: self.shared.store.find(name).is_some(),
                begins_behind: None,
                attaching,
                attached: None,
            });
        }
        // Who acknowledges by requests may do so through an instance that knows ids alone.
        let seats = entering.topics.iter().filter(|it| it.attaching.is_some());
        let names: Vec<&TopicName> = seats.map(|topic| &topic.name).collect();
        if let (Some(valkey), false) = (&self.shared.valkey, names.is_empty()) {
            tasks.push(Task::Call(catalogue::enlist(valkey.keys(), names)));
        }
        self.park(key, Then::Enter(Box::new(entering)), tasks);
    }

    /// What is asked of a topic's consumers for an entrant.
    fn attaching(
        &mut self,
        key: ConnectionKey,
        entrant: &Entrant,
        topic: &TopicName,
        start: Start,
    ) -> Option<ConsumerTask> {
        let is_poll = matches!(entrant, Entrant::Poll(_));
        let attach = self.attachment(key, topic, start, entrant.delivery()?, is_poll);
        Some(ConsumerTask {
            topic: topic.clone(),
            action: ConsumerAction::Attach(attach),
        })
    }

    /// All is known: the entrant enters, or is refused.
    pub(super) fn enter(&mut self, key: ConnectionKey, entering: &Entering) {
        let connection = self.connections.get(key);
        let is_there = connection.is_some_and(|it| !matches!(it.session, Session::Closing(_)));
        match &entering.denied {
            _ if !is_there => {}
            Some(denied) => self.refuse_entrant(key, &entering.entrant, denied.error()),
            None => {
                let reach = Reach::Streams(&entering.topics);
                match &entering.entrant {
                    Entrant::Subscribe(request) => self.subscribe(key, request, &reach),
                    Entrant::Stream(opening) => {
                        self.stream(key, opening, &reach);
                    }
                    Entrant::Poll(request) => {
                        self.poll(key, request, &reach);
                    }
                }
            }
        }
        for topic in &entering.topics {
            self.give_up_seat(key, topic);
        }
    }

    /// Leaves a seat that was asked for and is not taken. It may have been given all the same.
    fn give_up_seat(&mut self, key: ConnectionKey, topic: &Prepared) {
        let Some(ConsumerAction::Attach(attach)) = topic.attaching.as_ref().map(|it| &it.action)
        else {
            return;
        };
        let seat = attach.member.seat;
        let mut taken = self.seats.of(key).iter();
        if !taken.any(|it| it.is_number(seat.number)) {
            self.stand_up(key, &topic.name, attach.consumer.clone(), seat);
        }
    }

    fn refuse_entrant(&mut self, key: ConnectionKey, entrant: &Entrant, error: CommandError) {
        match entrant {
            Entrant::Subscribe(_) => self.refuse_subscribe(key, error),
            Entrant::Stream(opening) => {
                self.refuse_stream(key, &opening.ticket, &error.message);
            }
            Entrant::Poll(_) => {
                self.refuse_poll(key, &error.message);
            }
        }
    }
}
