//! Subscribing where topics live behind memory: first the local log is brought up to date, and
//! where streams begin is found out; then it goes on as in memory.

use super::Worker;
use super::commands::Reach;
use super::parking::Then;
use super::slots::ConnectionKey;
use crate::api::command::{CommandError, CommandErrorCode};
use crate::api::poll::PollRequest;
use crate::session::{StreamOpening, SubscribeRequest};
use crate::topic::{Position, Start, TopicName};
use crate::valkey::{Refused, Reply, Task};

/// Why at-least-once consumers are refused.
const NO_CONSUMERS: &str =
    "At-least-once delivery is only to be had with the storage backend memory";

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

    /// Whether it wants each message until it acknowledges it.
    fn is_at_least_once(&self) -> bool {
        match self {
            Entrant::Subscribe(request) => request.delivery.is_some(),
            Entrant::Stream(opening) => opening.request.consumer.is_some(),
            Entrant::Poll(request) => request.consumer.is_some(),
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
    refused: Option<Refused>,
    /// Which topic each job is for.
    parts: Vec<usize>,
}

/// What is known of a topic before it is subscribed to.
#[derive(Debug)]
struct Prepared {
    name: TopicName,
    starts_at_end: bool,
    /// Its log stands open although it could not be brought up to date.
    is_open: bool,
    begins_behind: Option<Position>,
}

impl Entering {
    /// A reply has come.
    pub(super) fn take_in(&mut self, part: usize, reply: &Reply) {
        let topic = &mut self.topics[self.parts[part]];
        match reply {
            Reply::Beginning(Ok(position)) => topic.begins_behind = Some(*position),
            // What comes is delivered when it comes, from the log that is there.
            Reply::Synced(Err(_)) if topic.is_open && topic.starts_at_end => {}
            Reply::Synced(Err(refused)) | Reply::Beginning(Err(refused)) => {
                self.refused = Some(*refused);
            }
            _ => {}
        }
    }

    /// How far back each topic reaches.
    pub(super) fn reach(&self) -> Reach<'_> {
        let topics = self.topics.iter();
        Reach::Streams(
            topics
                .map(|topic| (&topic.name, topic.begins_behind))
                .collect(),
        )
    }
}

impl Worker {
    /// Has what must be known of an entrant's topics found out. Those that its connection
    /// subscribes to already are known.
    pub(super) fn prepare(&mut self, key: ConnectionKey, entrant: Entrant) {
        if entrant.is_at_least_once() {
            self.refuse_entrant(key, &entrant, NO_CONSUMERS);
            return;
        }
        let mut entering = Entering {
            topics: Vec::with_capacity(entrant.topics().len()),
            refused: None,
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
            if !starts_at_end {
                tasks.push(Task::Beginning(name.clone()));
                entering.parts.push(place);
            }
            entering.topics.push(Prepared {
                name: name.clone(),
                starts_at_end,
                is_open: self.shared.store.find(name).is_some(),
                begins_behind: None,
            });
        }
        self.park(key, Then::Enter(Box::new(entering)), tasks);
    }

    /// All is known: the entrant enters, or is refused.
    pub(super) fn enter(&mut self, key: ConnectionKey, entering: &Entering) {
        if let Some(refused) = entering.refused {
            self.refuse_entrant(key, &entering.entrant, refused.sentence());
            return;
        }
        let reach = entering.reach();
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

    fn refuse_entrant(&mut self, key: ConnectionKey, entrant: &Entrant, sentence: &str) {
        match entrant {
            Entrant::Subscribe(_) => {
                let code = CommandErrorCode::Subscription;
                self.refuse_subscribe(key, CommandError::new(code, sentence));
            }
            Entrant::Stream(opening) => {
                self.refuse_stream(key, &opening.ticket, sentence);
            }
            Entrant::Poll(_) => {
                self.refuse_poll(key, sentence);
            }
        }
    }
}
