//! Requests for topics and their history: the store answers at once, unless topics live behind
//! memory.

use super::Worker;
use super::slots::ConnectionKey;
use crate::metrics::StorageOperation;
use crate::session::{Rights, Ticket, TopicsAnswer, TopicsQuestion, TopicsRequest};
use crate::topic::CatalogueError;

impl Worker {
    /// Asks the store and answers. Returns whether a request was answered.
    pub(super) fn topics(&mut self, key: ConnectionKey, request: TopicsRequest) -> bool {
        let TopicsRequest { ticket, question } = request;
        if self.shared.valkey.is_some() {
            self.ask_behind(key, ticket, question);
            return false;
        }
        let said = self.ask_store(question, ticket.rights());
        self.answer_topics(key, &ticket, &said)
    }

    /// Tells what the store has said. Returns whether a request was answered.
    pub(super) fn answer_topics(
        &mut self,
        key: ConnectionKey,
        ticket: &Ticket,
        said: &Result<TopicsAnswer, CatalogueError>,
    ) -> bool {
        let Some(connection) = self.connections.get_mut(key) else {
            return false;
        };
        let mut ctx = self.desk.context(&self.shared, self.clock.now(), false);
        let out = self.answers.of(key);
        let turn = connection
            .session
            .topics_answered(ticket, said, &mut ctx, out);
        self.carry_out(key, turn)
    }

    fn ask_store(
        &self,
        question: TopicsQuestion,
        rights: &Rights,
    ) -> Result<TopicsAnswer, CatalogueError> {
        let (store, now) = (&self.shared.store, self.clock.now());
        Ok(match question {
            TopicsQuestion::List(list) => {
                let is_wanted = |name: &str| rights.may_read(name);
                TopicsAnswer::List(store.list(list.after.as_deref(), list.limit, is_wanted, now))
            }
            TopicsQuestion::Totals => TopicsAnswer::Totals(store.totals(now)),
            TopicsQuestion::Create(topic) => {
                TopicsAnswer::Created(store.create(&topic.name, topic.description, now)?)
            }
            TopicsQuestion::Describe(name) => TopicsAnswer::Details(store.describe(&name, now)?),
            TopicsQuestion::Update(name, description) => {
                TopicsAnswer::Updated(store.update(&name, description, now)?)
            }
            TopicsQuestion::Remove(name) => {
                store.remove(&name, now)?;
                TopicsAnswer::Removed
            }
            TopicsQuestion::Page(name, request) => {
                let page = store.page(&name, &request, now)?;
                self.metrics
                    .storage_operation(StorageOperation::ReadMessages, true, 1);
                TopicsAnswer::Page(request, page)
            }
        })
    }
}
