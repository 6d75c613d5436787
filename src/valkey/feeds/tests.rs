//! Feeds against a server that is a few lists, with its connections as queues that are emptied
//! step by step, in any order, and lost at any time.

mod world;

use proptest::prelude::*;

use self::world::{Step, TOPICS, World};
use super::*;

/// A world in which topic 0 is read.
fn reading() -> World {
    let mut world = World::new();
    world.step(Step::Connect);
    world.step(Step::Sync(0));
    world.calm();
    assert_eq!(world.readers.len(), 1);
    world
}

const PUBLISH: Step = Step::Publish {
    topic: 0,
    large: false,
};

#[test]
fn an_end_that_is_heard_late_takes_nothing_that_came_after_it() {
    let mut world = reading();
    world.step(Step::Cut);
    world.step(Step::Connect);
    while world.hear() {}
    for step in [Step::Delete(0), PUBLISH] {
        world.step(step);
    }
    // The stream has both before the channel says so.
    while world.execute() {}
    world.step(Step::Answer);
    assert_eq!(world.delivered[0], world.streams[0].last);
    while world.hear() {
        world.deliver();
    }
    world.check();
}

#[test]
fn what_comes_while_a_topic_starts_over_comes_once() {
    let mut world = reading();
    for step in [PUBLISH, Step::Wipe, Step::Connect] {
        world.step(step);
    }
    while world.hear() {}
    world.step(PUBLISH);
    // The newest position is looked up here, and known there only when more has come.
    while world.execute() {}
    world.step(PUBLISH);
    while world.hear() {
        world.deliver();
    }
    assert_eq!(world.delivered[0], Position::ZERO);
    world.calm();
    assert_eq!(world.delivered[0], world.streams[0].last);
    world.check();
}

fn any_step() -> impl Strategy<Value = Step> {
    let topic = 0..TOPICS;
    prop_oneof![
        12 => (topic.clone(), prop::bool::weighted(0.1))
            .prop_map(|(topic, large)| Step::Publish { topic, large }),
        1 => topic.clone().prop_map(Step::Delete),
        1 => topic.clone().prop_map(Step::Trim),
        1 => Just(Step::Wipe),
        4 => topic.clone().prop_map(Step::Sync),
        1 => topic.clone().prop_map(Step::Unsubscribe),
        1 => topic.prop_map(Step::Move),
        14 => Just(Step::Hear),
        8 => Just(Step::Execute),
        6 => Just(Step::Answer),
        1 => Just(Step::Refuse),
        1 => Just(Step::Cut),
        4 => Just(Step::Connect),
        2 => Just(Step::Tick),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn logs_have_what_was_published_whatever_is_lost_on_the_way(
        steps in prop::collection::vec(any_step(), 0..200),
    ) {
        let mut world = World::new();
        for step in steps {
            world.step(step);
        }
        world.calm();
        world.check();
        // One message more shows what goes on unseen.
        for topic in 0..TOPICS {
            world.sync(topic);
            world.publish(topic, false);
        }
        world.calm();
        world.check();
    }
}
