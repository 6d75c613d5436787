//! The list of all topics behind memory learns of a topic when its first message is stored. Each
//! worker remembers what it has listed lately, so that few publish requests wait for that as well.

use std::collections::HashMap;
use std::time::Duration;

use super::Worker;
use super::parking::Then;
use super::publish_behind::Publishing;
use super::slots::ConnectionKey;
use crate::topic::{TopicHash, TopicName};
use crate::valkey::{Refused, Task, catalogue};

/// Names that a worker remembers; then it begins anew.
const NAMES_MAX: usize = 10_000;
/// After so long a name is listed again, whatever has happened to the list.
const RENEWED: Duration = Duration::from_secs(600);

/// Topics whose names this worker has listed: until when, in monotonic microseconds.
#[derive(Default, Debug)]
pub(super) struct Listed(HashMap<TopicHash, u64>);

impl Listed {
    /// Whether a topic was listed not long ago.
    pub(super) fn knows(&self, topic: TopicHash, now: u64) -> bool {
        self.0.get(&topic).is_some_and(|until| now < *until)
    }

    fn add(&mut self, topic: TopicHash, until: u64) {
        if self.0.len() >= NAMES_MAX {
            self.0.clear();
        }
        self.0.insert(topic, until);
    }
}

/// A publish request whose messages are stored, in topics that may not be listed yet.
#[derive(Debug)]
pub(super) struct Enlisting {
    publishing: Box<Publishing>,
    names: Vec<TopicName>,
    is_listed: bool,
}

impl Enlisting {
    /// Whether the names are listed now.
    pub(super) fn take_in(&mut self, said: &Result<redis::Value, Refused>) {
        self.is_listed = said.is_ok();
    }
}

impl Worker {
    /// Has the names of topics listed before a publish request is answered: who has the answer
    /// finds them. Not before the messages are stored: a name without a topic might be taken out of
    /// the list again.
    pub(super) fn enlist(
        &mut self,
        key: ConnectionKey,
        publishing: Box<Publishing>,
        names: Vec<TopicName>,
    ) {
        let Some(valkey) = &self.shared.valkey else {
            return;
        };
        let call = catalogue::enlist(valkey.keys(), &names);
        let enlisting = Enlisting {
            publishing,
            names,
            is_listed: false,
        };
        self.park(
            key,
            Then::Enlist(Box::new(enlisting)),
            vec![Task::Call(call)],
        );
    }

    /// Names are listed; or not, and the next message of their topics has to see to that.
    pub(super) fn enlisted(&mut self, key: ConnectionKey, enlisting: Enlisting) {
        if enlisting.is_listed {
            let until = self.clock.now().after(self.listed_for());
            for name in &enlisting.names {
                self.listed.add(TopicHash::of(name), until);
            }
        }
        self.published_behind(key, enlisting.publishing);
    }

    /// Less than a topic is remembered without messages: only then its name leaves the list.
    fn listed_for(&self) -> Duration {
        let settings = self.shared.config.valkey.as_ref();
        let remembered = settings.map_or(Duration::ZERO, |it| it.last_retention);
        RENEWED.min(remembered / 2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_remembered_for_a_while_and_not_without_bound() {
        let mut listed = Listed::default();
        let hash = |number: usize| TopicHash::of(&number.to_string());
        listed.add(hash(0), 100);
        assert!(listed.knows(hash(0), 99));
        assert!(!listed.knows(hash(0), 100) && !listed.knows(hash(1), 99));
        for number in 0..=NAMES_MAX {
            listed.add(hash(number), 100);
            assert!(listed.knows(hash(number), 0));
        }
        assert!(listed.0.len() <= NAMES_MAX);
    }
}
