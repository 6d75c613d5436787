//! Looks for publications whose answer was lost: only Valkey knows whether they were stored.

use hashbrown::HashMap;
use redis::Value;

use super::counters::{Operation, count};
use super::entry;
use super::job::{Job, Publication, Task};
use super::lane::{Broken, Carrier};
use super::link::Link;
use super::order::Order;
use super::queue::Pending;
use super::trouble::Trouble;
use crate::topic::{Position, TopicName};

impl Carrier {
    /// Looks for publications that were sent before without an answer: those that are found are
    /// answered, the others are free to be sent.
    pub(super) fn seek(&mut self, link: &mut Link) -> Result<(), Broken> {
        let mut topics: HashMap<TopicName, Vec<usize>> = HashMap::new();
        for (at, pending) in self.flight.iter().enumerate() {
            if let Some(publication) = unsought(pending) {
                topics
                    .entry(publication.topic.clone())
                    .or_default()
                    .push(at);
            }
        }
        if topics.is_empty() {
            return Ok(());
        }
        let topics: Vec<_> = topics.into_iter().collect();
        self.send_searches(link, &topics)?;
        let mut found = vec![Search::NotAsked; self.flight.len()];
        let started = self.now();
        for (_, places) in &topics {
            let answer = self.receive(link, started)?;
            self.take_search(answer, places, &mut found);
        }
        self.settle_searches(found);
        Ok(())
    }

    fn send_searches(
        &mut self,
        link: &mut Link,
        topics: &[(TopicName, Vec<usize>)],
    ) -> Result<(), Broken> {
        self.commands.packed.clear();
        for (topic, places) in topics {
            let publications = places.iter().filter_map(|at| unsought(&self.flight[*at]));
            let since = publications.clone().filter_map(|one| one.sent_since).min();
            // All messages of a publication are stored, or none: the last one tells.
            let tokens = publications
                .filter_map(|one| one.messages.last())
                .map(|one| &one.token);
            self.commands.find(topic, since.unwrap_or(0), tokens);
        }
        Ok(link.send(&self.commands.packed)?)
    }

    fn take_search(&mut self, answer: Value, places: &[usize], found: &mut [Search]) {
        let answer = self.check(Operation::Find, answer);
        if answer == Err(Trouble::Moved) {
            for at in places {
                found[*at] = Search::Elsewhere;
            }
            return;
        }
        let positions = answer.ok().and_then(|answer| entry::positions(&answer));
        let Some(positions) = positions.filter(|all| all.len() == places.len()) else {
            for at in places {
                found[*at] = Search::Failed;
            }
            return;
        };
        for (at, position) in places.iter().zip(positions) {
            found[*at] = position.map_or(Search::Missing, Search::Found);
        }
    }

    fn settle_searches(&mut self, found: Vec<Search>) {
        for (mut pending, search) in std::mem::take(&mut self.flight).into_iter().zip(found) {
            match search {
                Search::NotAsked => self.flight.push_back(pending),
                Search::Missing => {
                    pending.is_sought = true;
                    count(&self.office.counters.retries);
                    self.flight.push_back(pending);
                }
                Search::Failed => {
                    self.needs_pause = true;
                    self.again.push_back(pending);
                }
                Search::Elsewhere => self.put_aside(pending),
                Search::Found(last) => {
                    let messages = messages(&pending.order);
                    let positions = (0..messages).rev().map(|behind| back(last, behind as u32));
                    self.stored(pending, positions.collect());
                }
            }
        }
    }
}

/// What looking for a publication gave.
#[derive(Clone, Copy)]
enum Search {
    NotAsked,
    /// The position of its last message.
    Found(Position),
    Missing,
    /// Its slot is, or will be soon.
    Elsewhere,
    Failed,
}

/// The publication of an order that may have been stored already.
fn unsought(pending: &Pending) -> Option<&Publication> {
    match &pending.order {
        Order::Job(Job {
            task: Task::Publish(publication),
            ..
        }) => (publication.sent_since.is_some() && !pending.is_sought).then_some(publication),
        _ => None,
    }
}

fn messages(order: &Order) -> usize {
    match order {
        Order::Job(Job {
            task: Task::Publish(publication),
            ..
        }) => publication.messages.len(),
        _ => 0,
    }
}

/// The position so many messages before, in one publication: its positions are dense.
fn back(position: Position, messages: u32) -> Position {
    let (millis, counter) = (position.millis(), position.counter());
    match counter.checked_sub(messages) {
        Some(counter) => Position::new(millis, counter),
        None => Position::new(
            millis.saturating_sub(1),
            Position::COUNTER_MAX - (messages - counter - 1),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_of_one_publication_are_dense() {
        let mut position = Position::new(9, Position::COUNTER_MAX - 1);
        let first = position;
        for behind in 0..5 {
            assert_eq!(
                back(position, behind),
                first,
                "{behind} before {position:?}"
            );
            position = position.next(0);
        }
    }
}
