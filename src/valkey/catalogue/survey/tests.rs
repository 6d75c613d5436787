//! Surveys of a world in which a test says what is there.

use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::topic::Position;

/// What a list and its topics are.
#[derive(Default)]
struct World {
    listed: BTreeSet<String>,
    topics: BTreeMap<String, Found>,
    /// Topics that come into being right after they were seen to be gone.
    coming: BTreeMap<String, Found>,
    rounds: usize,
}

fn topic(messages: u64) -> Found {
    Found::Topic(TopicFacts {
        messages,
        bytes: 10 * messages,
        evicted: 1,
        oldest: Some(Position::new(1, 0)),
        newest: Some(Position::new(messages, 0)),
        created_at: None,
        description: None,
    })
}

fn text(text: &str) -> Value {
    Value::BulkString(text.as_bytes().to_vec())
}

fn encoded(found: &Found) -> Value {
    Value::Array(match found {
        Found::Gone => vec![text("gone")],
        Found::Idle => vec![text("idle")],
        Found::Topic(facts) => vec![
            text("topic"),
            Value::Int(facts.messages as i64),
            Value::Int(facts.bytes as i64),
            Value::Int(facts.evicted as i64),
            text("1-0"),
            text(&format!("{}-0", facts.messages)),
            Value::Nil,
            Value::Nil,
        ],
    })
}

impl World {
    fn of(topics: &[(&str, Found)]) -> World {
        let mut world = World::default();
        for (name, found) in topics {
            world.listed.insert((*name).to_owned());
            world.topics.insert((*name).to_owned(), found.clone());
        }
        world
    }

    fn describe(&self, names: &[TopicName]) -> Vec<Value> {
        let found = |name: &TopicName| self.topics.get(name.as_str()).unwrap_or(&Found::Gone);
        names.iter().map(|name| encoded(found(name))).collect()
    }

    fn answer(&mut self, survey: &Survey) -> Vec<Value> {
        let count = survey.calls(&Keys::new("p:")).len();
        let answers = match &survey.step {
            Step::Names => {
                let after = String::from_utf8(survey.after.clone()).expect("it came from here");
                let behind = self.listed.iter().filter(|name| **name > after);
                let names = behind.take(survey.chunk()).map(|name| text(name));
                vec![Value::Array(names.collect())]
            }
            Step::Describe(names) => {
                let answers = self.describe(names);
                self.topics.append(&mut self.coming);
                answers
            }
            Step::LookAgain(names) => self.describe(names),
            Step::Unlist(names) => {
                self.listed
                    .retain(|it| names.iter().all(|name| name.as_str() != it));
                vec![Value::Int(1)]
            }
            Step::Enlist(names) => {
                self.listed.extend(names.iter().map(ToString::to_string));
                vec![Value::Int(1)]
            }
        };
        assert_eq!(answers.len(), count, "as many answers as calls");
        answers
    }

    fn run(&mut self, mut survey: Survey) -> Surveyed {
        loop {
            self.rounds += 1;
            let answers = self.answer(&survey);
            match survey.take_in(&answers).expect("answers have their form") {
                Progress::Ask(next) => survey = next,
                Progress::Done(found) => return found,
            }
        }
    }

    fn list(&mut self, after: Option<&str>, limit: usize) -> Vec<String> {
        let Surveyed::List { topics, .. } = self.run(Survey::list(after, limit, None)) else {
            panic!("a list was asked for");
        };
        topics
            .into_iter()
            .map(|(name, _)| name.to_string())
            .collect()
    }
}

#[test]
fn lists_go_on_until_enough_topics_exist() {
    let there = || topic(1);
    let mut world = World::of(&[
        ("a", there()),
        ("b", Found::Idle),
        ("c", Found::Gone),
        ("d", there()),
        ("e", there()),
    ]);
    assert_eq!(world.list(None, 2), ["a", "d"]);
    let listed: Vec<&str> = world.listed.iter().map(String::as_str).collect();
    assert_eq!(
        listed,
        ["a", "b", "d", "e"],
        "only what is gone is taken out"
    );
    assert_eq!(world.list(Some("a"), 5), ["d", "e"]);
    assert_eq!(world.list(Some("d"), 1), ["e"]);
    assert_eq!(world.list(Some("e"), 1), [""; 0]);
    assert_eq!(World::default().list(None, 1000), [""; 0]);
}

#[test]
fn a_topic_that_comes_back_is_listed_again() {
    let mut world = World::of(&[("a", Found::Gone), ("b", topic(1))]);
    world.coming.insert("a".to_owned(), topic(1));
    assert_eq!(world.list(None, 10), ["b"]);
    assert!(world.listed.contains("a"));
    assert_eq!(world.list(None, 10), ["a", "b"]);
}

#[test]
fn totals_add_up_chunk_by_chunk() {
    let names: Vec<String> = (0..2 * CHUNK).map(|number| format!("t{number}")).collect();
    let topics: Vec<(&str, Found)> = names.iter().map(|name| (name.as_str(), topic(3))).collect();
    let mut world = World::of(&topics);
    world.listed.insert("no topic's name".to_owned());
    let count = names.len() as u64;
    assert_eq!(
        world.run(Survey::totals()),
        Surveyed::Totals {
            topics: count,
            messages: 3 * count,
            bytes: 30 * count,
            evicted: count,
        }
    );
    assert_eq!(world.rounds, 6, "two chunks, and one name that is none");
}

#[test]
fn other_answers_are_refused() {
    let bad = [
        vec![],
        vec![Value::Nil],
        vec![Value::Array(vec![Value::Nil])],
    ];
    for answers in bad {
        assert!(Survey::totals().take_in(&answers).is_none(), "{answers:?}");
    }
    let names = Value::Array(vec![text("a")]);
    let Some(Progress::Ask(survey)) = Survey::totals().take_in(&[names]) else {
        panic!("the topic is asked for");
    };
    assert!(survey.take_in(&[Value::Nil]).is_none());
}
