//! Looking at many topics: names out of the list, so many at a time, then each topic in its own
//! slot, on and on until enough are found.
//!
//! ```text
//!        ┌──────────────────────── more ────────────────────────┐
//!        ▼                                                      │
//!   Names ─► Describe ─► all there ─────────────────────────────┴─► done
//!               └─► some are gone ─► Unlist ─► LookAgain ─► (Enlist) ─┘
//! ```

use std::sync::Arc;

use redis::Value;

use super::super::entry::bytes;
use super::reply::{Found, TopicFacts, array};
use super::{describe, enlist, names, unlist};
use crate::access::Caller;
use crate::topic::TopicName;
use crate::valkey::Keys;
use crate::valkey::job::Call;

/// Topics that are looked at together: each costs Valkey some microseconds, and others are served
/// between any two.
const CHUNK: usize = 500;

/// What is wanted of all topics, and how far it is.
#[derive(Debug)]
pub struct Survey {
    /// The last name that the list gave.
    after: Vec<u8>,
    /// It has more behind that.
    has_more: bool,
    caller: Option<Arc<Caller>>,
    step: Step,
    found: Surveyed,
}

/// What was found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Surveyed {
    /// Topics by name, at most `limit`.
    List {
        /// How many are wanted.
        limit: usize,
        /// Those that exist.
        topics: Vec<(TopicName, TopicFacts)>,
    },
    /// All together.
    Totals {
        /// Topics that exist.
        topics: u64,
        /// Messages kept.
        messages: u64,
        /// What they cost.
        bytes: u64,
        /// Messages that trimming has taken from them.
        evicted: u64,
    },
}

/// What is being asked.
#[derive(Debug)]
enum Step {
    Names,
    Describe(Vec<TopicName>),
    Unlist(Vec<TopicName>),
    LookAgain(Vec<TopicName>),
    Enlist(Vec<TopicName>),
}

/// What comes next.
#[derive(Debug)]
pub enum Progress {
    /// To make [the calls](Survey::calls) of this one.
    Ask(Survey),
    /// Nothing: here it is.
    Done(Surveyed),
}

impl Survey {
    /// The first `limit` topics, at least one, whose names come behind `after`; of a caller's those
    /// alone that it may read.
    pub fn list(after: Option<&str>, limit: usize, caller: Option<Arc<Caller>>) -> Survey {
        let topics = Vec::new();
        Survey {
            caller,
            ..Survey::new(after, Surveyed::List { limit, topics })
        }
    }

    /// All topics together.
    pub fn totals() -> Survey {
        let nothing = Surveyed::Totals {
            topics: 0,
            messages: 0,
            bytes: 0,
            evicted: 0,
        };
        Survey::new(None, nothing)
    }

    fn new(after: Option<&str>, found: Surveyed) -> Survey {
        Survey {
            after: after.unwrap_or_default().as_bytes().to_vec(),
            has_more: true,
            caller: None,
            step: Step::Names,
            found,
        }
    }

    /// What is to be called now: at least one, in any order.
    pub fn calls(&self, keys: &Keys) -> Vec<Call> {
        match &self.step {
            Step::Names => vec![names(keys, &self.after, self.chunk())],
            Step::Describe(names) | Step::LookAgain(names) => {
                names.iter().map(|name| describe(keys, name)).collect()
            }
            Step::Unlist(names) => vec![unlist(keys, names)],
            Step::Enlist(names) => vec![enlist(keys, names)],
        }
    }

    /// The calls have been answered, in their order. `None` when an answer has not its form.
    pub fn take_in(mut self, answers: &[Value]) -> Option<Progress> {
        let step = std::mem::replace(&mut self.step, Step::Names);
        let next = match step {
            Step::Names => self.take_names(answers)?,
            Step::Describe(names) => {
                let gone = self.take_topics(names, answers)?;
                (!gone.is_empty()).then_some(Step::Unlist(gone))
            }
            Step::Unlist(gone) => Some(Step::LookAgain(gone)),
            Step::LookAgain(gone) => {
                let back = still_there(gone, answers)?;
                (!back.is_empty()).then_some(Step::Enlist(back))
            }
            Step::Enlist(_) => None,
        };
        match next {
            Some(step) => self.step = step,
            None if !self.has_more || self.missing() == 0 => {
                return Some(Progress::Done(self.found));
            }
            None => {}
        }
        Some(Progress::Ask(self))
    }

    /// Topics that may still be found.
    fn missing(&self) -> usize {
        match &self.found {
            Surveyed::List { limit, topics } => limit.saturating_sub(topics.len()),
            Surveyed::Totals { .. } => usize::MAX,
        }
    }

    fn chunk(&self) -> usize {
        self.missing().clamp(1, CHUNK)
    }

    /// Inside `None`: there is nothing to look at.
    fn take_names(&mut self, answers: &[Value]) -> Option<Option<Step>> {
        let [answer] = answers else { return None };
        let listed = array(answer)?;
        self.has_more = listed.len() >= self.chunk();
        if let Some(last) = listed.last() {
            self.after = bytes(last)?.to_vec();
        }
        // Whoever put something else there: it is no topic.
        let names = listed.iter().filter_map(|name| {
            let name = std::str::from_utf8(bytes(name)?).ok()?;
            let may_read = |it: &Arc<Caller>| it.grant.may_read(name);
            let is_wanted = self.caller.as_ref().is_none_or(may_read);
            TopicName::parse(name).ok().filter(|_| is_wanted)
        });
        let names: Vec<TopicName> = names.collect();
        Some((!names.is_empty()).then_some(Step::Describe(names)))
    }

    /// Returns those of which nothing is known any more.
    fn take_topics(&mut self, names: Vec<TopicName>, answers: &[Value]) -> Option<Vec<TopicName>> {
        let mut gone = Vec::new();
        for (name, answer) in names.into_iter().zip(answers) {
            match Found::read(answer)? {
                Found::Topic(facts) => self.found.add(name, facts),
                Found::Idle => {}
                Found::Gone => gone.push(name),
            }
        }
        Some(gone)
    }
}

impl Surveyed {
    fn add(&mut self, name: TopicName, facts: TopicFacts) {
        match self {
            Surveyed::List { topics, .. } => topics.push((name, facts)),
            Surveyed::Totals {
                topics,
                messages,
                bytes,
                evicted,
            } => {
                *topics += 1;
                *messages = messages.saturating_add(facts.messages);
                *bytes = bytes.saturating_add(facts.bytes);
                *evicted = evicted.saturating_add(facts.evicted);
            }
        }
    }
}

/// Those that were not gone after all.
fn still_there(names: Vec<TopicName>, answers: &[Value]) -> Option<Vec<TopicName>> {
    let mut there = Vec::new();
    for (name, answer) in names.into_iter().zip(answers) {
        if Found::read(answer)? != Found::Gone {
            there.push(name);
        }
    }
    Some(there)
}

#[cfg(test)]
mod tests;
