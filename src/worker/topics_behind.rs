//! Requests for topics and their history where topics live behind memory: each question takes a
//! call or several, one after the other.

use redis::Value;

use super::Worker;
use super::parking::Then;
use super::slots::ConnectionKey;
use crate::metrics::StorageOperation;
use crate::session::{Rights, Ticket, TopicsAnswer, TopicsQuestion};
use crate::topic::{CatalogueError, TopicName, TopicTotals};
use crate::valkey::catalogue::{self, Created, Found, PageAsked, Progress, Survey, Surveyed};
use crate::valkey::catalogue::{RawPage, TopicFacts};
use crate::valkey::consumers::{ConsumerAction, ConsumerReply, ConsumerTask};
use crate::valkey::{Call, Refused, Task};

/// A request for topics that waits.
#[derive(Debug)]
pub(super) struct Asking {
    ticket: Ticket,
    matter: Matter,
    /// What the calls that are under way have brought so far.
    said: Vec<Result<Value, Refused>>,
}

/// What it waits for.
#[derive(Debug)]
enum Matter {
    Create(TopicName),
    /// A created topic's name stands in the list.
    Enlist(TopicsAnswer),
    Describe(TopicName),
    Update(TopicName),
    Remove(TopicName),
    /// The consumers of a topic that is removed.
    Drop(ConsumerTask),
    Page(PageAsked),
    Survey(Survey),
}

/// What follows from what was said.
enum Next {
    Answer(Result<TopicsAnswer, CatalogueError>),
    Ask(Matter, Vec<Call>),
}

impl Asking {
    /// What the call of this number has brought.
    pub(super) fn take_in(&mut self, part: usize, said: Result<Value, Refused>) {
        self.said[part] = said;
    }
}

impl Worker {
    /// Asks for topics; the answer comes later.
    pub(super) fn ask_behind(
        &mut self,
        key: ConnectionKey,
        ticket: Ticket,
        question: TopicsQuestion,
    ) {
        if let Some((matter, calls)) = self.first_calls(question, ticket.rights()) {
            self.ask_on(key, ticket, matter, calls);
        }
    }

    /// The calls have been answered.
    pub(super) fn topics_said(&mut self, key: ConnectionKey, asking: Asking) {
        let Asking {
            ticket,
            matter,
            said,
        } = asking;
        if let Matter::Page(_) = matter {
            let is_read = said.iter().all(Result::is_ok);
            self.metrics
                .storage_operation(StorageOperation::ReadMessages, is_read, 1);
        }
        let said: Result<Vec<Value>, Refused> = said.into_iter().collect();
        let next = said.and_then(|said| self.follow(matter, said).ok_or(Refused::Error));
        let said = match next {
            Ok(Next::Ask(matter, calls)) => return self.ask_on(key, ticket, matter, calls),
            Ok(Next::Answer(said)) => said,
            Err(refused) => Ok(TopicsAnswer::Behind(refused.sentence())),
        };
        self.answer_topics(key, &ticket, &said);
    }

    fn ask_on(&mut self, key: ConnectionKey, ticket: Ticket, matter: Matter, calls: Vec<Call>) {
        let asking = Asking {
            ticket,
            matter,
            said: calls.iter().map(|_| Err(Refused::Error)).collect(),
        };
        let tasks = calls.into_iter().map(Task::Call).collect();
        self.park(key, Then::Topics(Box::new(asking)), tasks);
    }

    fn first_calls(
        &self,
        question: TopicsQuestion,
        rights: &Rights,
    ) -> Option<(Matter, Vec<Call>)> {
        let keys = self.shared.valkey.as_ref()?.keys();
        let now = self.clock.now().wall_micros;
        let (matter, call) = match question {
            TopicsQuestion::List(list) => {
                let survey =
                    Survey::list(list.after.as_deref(), list.limit, rights.caller().cloned());
                let calls = survey.calls(keys);
                return Some((Matter::Survey(survey), calls));
            }
            TopicsQuestion::Totals => {
                let survey = Survey::totals();
                let calls = survey.calls(keys);
                return Some((Matter::Survey(survey), calls));
            }
            TopicsQuestion::Create(topic) => {
                let description = topic.description.as_deref();
                let call = catalogue::create(keys, &topic.name, now, description);
                (Matter::Create(topic.name), call)
            }
            TopicsQuestion::Describe(name) => {
                let call = catalogue::describe(keys, &name);
                (Matter::Describe(name), call)
            }
            TopicsQuestion::Update(name, description) => {
                let call = catalogue::update(keys, &name, now, description.as_deref());
                (Matter::Update(name), call)
            }
            TopicsQuestion::Remove(name) => {
                let life = self.shared.config.valkey.as_ref()?.last_retention;
                let call = catalogue::remove(keys, &name, life);
                (Matter::Remove(name), call)
            }
            TopicsQuestion::Page(name, request) => {
                let page = PageAsked::new(name, request, self.shared.store.epoch());
                let call = page.call(keys);
                (Matter::Page(page), call)
            }
        };
        Some((matter, vec![call]))
    }

    /// `None` when what was said has not its form.
    fn follow(&self, matter: Matter, mut said: Vec<Value>) -> Option<Next> {
        let store = &self.shared.store;
        if let Matter::Survey(survey) = matter {
            return self.follow_survey(survey, &said);
        }
        let said = said.pop()?;
        if let Matter::Drop(task) = matter {
            return match task.read(said).ok()? {
                ConsumerReply::Dropped { skip: Some(skip) } => {
                    self.drop_consumers(task.topic, skip)
                }
                _ => Some(Next::Answer(Ok(TopicsAnswer::Removed))),
            };
        }
        Some(Next::Answer(match matter {
            Matter::Create(name) => return self.created(name, &said),
            Matter::Enlist(answer) => Ok(answer),
            Matter::Describe(name) => existing(Found::read(&said)?)
                .map(|facts| TopicsAnswer::Details(facts.details(name, store))),
            Matter::Update(name) => existing(Found::read(&said)?)
                .map(|facts| TopicsAnswer::Updated(facts.details(name, store))),
            Matter::Remove(name) if catalogue::read_removed(&said)? => {
                return self.drop_consumers(name, 0);
            }
            Matter::Remove(_) => Err(CatalogueError::Unknown),
            Matter::Page(page) => return self.follow_page(page, &said),
            Matter::Survey(_) | Matter::Drop(_) => return None,
        }))
    }

    /// Those without a member go with their topic, some at a time.
    fn drop_consumers(&self, topic: TopicName, skip: u64) -> Option<Next> {
        let action = ConsumerAction::Drop { skip };
        let task = ConsumerTask { topic, action };
        let keys = self.shared.valkey.as_ref()?.keys();
        let call = task.call(keys, &self.shared.consumer_terms);
        Some(Next::Ask(Matter::Drop(task), vec![call]))
    }

    /// The name is listed before who has created the topic hears of it; and also when it was
    /// created before, for that one may not have come so far.
    fn created(&self, name: TopicName, said: &Value) -> Option<Next> {
        let call = catalogue::enlist(self.shared.valkey.as_ref()?.keys(), [&name]);
        Some(match Created::read(said)? {
            Created::Now(facts) => {
                let answer = TopicsAnswer::Created(facts.details(name, &self.shared.store));
                Next::Ask(Matter::Enlist(answer), vec![call])
            }
            Created::Before => {
                self.send_off(Task::Call(call));
                Next::Answer(Err(CatalogueError::Exists))
            }
        })
    }

    fn follow_page(&self, mut page: PageAsked, said: &Value) -> Option<Next> {
        let Some(raw) = RawPage::read(said)? else {
            return Some(Next::Answer(Err(CatalogueError::Unknown)));
        };
        if page.goes_on(&raw) {
            let call = page.call(self.shared.valkey.as_ref()?.keys());
            return Some(Next::Ask(Matter::Page(page), vec![call]));
        }
        let now = self.now.monotonic_micros;
        let read = page.page(&raw, &self.shared.store, now);
        Some(Next::Answer(Ok(TopicsAnswer::Page(page.request(), read))))
    }

    fn follow_survey(&self, survey: Survey, said: &[Value]) -> Option<Next> {
        let surveyed = match survey.take_in(said)? {
            Progress::Ask(survey) => {
                let calls = survey.calls(self.shared.valkey.as_ref()?.keys());
                return Some(Next::Ask(Matter::Survey(survey), calls));
            }
            Progress::Done(surveyed) => surveyed,
        };
        let store = &self.shared.store;
        Some(Next::Answer(Ok(match surveyed {
            Surveyed::List { topics, .. } => {
                let topics = topics.into_iter();
                let summaries = topics.map(|(name, facts)| facts.summary(name, store));
                TopicsAnswer::List(summaries.collect())
            }
            Surveyed::Totals {
                topics,
                messages,
                bytes,
                evicted,
            } => TopicsAnswer::Totals(TopicTotals {
                topics,
                messages,
                bytes,
                evicted,
                subscribers: store.totals(self.clock.now()).subscribers,
            }),
        })))
    }
}

fn existing(found: Found) -> Result<TopicFacts, CatalogueError> {
    match found {
        Found::Topic(facts) => Ok(facts),
        Found::Idle | Found::Gone => Err(CatalogueError::Unknown),
    }
}
