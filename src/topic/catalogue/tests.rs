//! Listing, creating and removing topics.

use std::collections::BTreeSet;

use super::super::{
    Batch, Budget, Draft, Epoch, FrameLayout, HistoryLimits, Outcome, Start, StoreLimits,
};
use super::*;
use proptest::prelude::*;

const NOW: Moment = Moment {
    wall_micros: 1 << 50,
    monotonic_micros: 1 << 30,
};

fn store(topics_max: usize) -> TopicStore {
    let limits = StoreLimits {
        history: HistoryLimits {
            messages_max: 100,
            bytes_max: 1 << 40,
            retention_micros: 1 << 40,
        },
        topics_max,
        metered_topics_max: 1,
        consumers_max: 10,
        group_members_max: 10,
        client_retention: u64::MAX,
    };
    TopicStore::new(limits, 1, Epoch::new(5), Budget::new(1 << 30))
}

fn name(text: &str) -> TopicName {
    TopicName::parse(text).unwrap()
}

fn publish(store: &TopicStore, topic: &str, ttl: Option<u64>) -> MessageId {
    let mut frame = vec![b'0'; MessageId::LEN];
    frame.extend_from_slice(topic.as_bytes());
    let layout = FrameLayout {
        id_at: 0,
        topic_at: MessageId::LEN,
        topic_len: topic.len(),
    };
    let expires_at = ttl.map_or(u64::MAX, |ttl| NOW.monotonic_micros + ttl);
    let draft = Draft::new(&frame, layout, expires_at, store.budget());
    let mut outcome = Outcome::default();
    store
        .publish(std::iter::once(draft), NOW, 0, &mut outcome)
        .unwrap();
    outcome.ids[0]
}

fn later(micros: u64) -> Moment {
    Moment {
        monotonic_micros: NOW.monotonic_micros + micros,
        ..NOW
    }
}

#[test]
fn a_created_topic_stays_until_it_is_removed() {
    let store = store(1);
    let topic = name("a");
    let created = store.create(&topic, Some("x".into()), NOW).unwrap();
    assert_eq!(created.created_at, Some(NOW.wall_micros));
    assert_eq!(created.description.as_deref(), Some("x"));
    assert_eq!(created.hash, TopicHash::of("a"));
    let again = store.create(&topic, None, NOW);
    assert_eq!(again, Err(CatalogueError::Exists));
    publish(&store, "a", Some(10));
    store.sweep(0, 1, later(20));
    assert_eq!(store.describe(&topic, later(20)).unwrap(), created);
    let full = store.create(&name("b"), None, NOW);
    assert_eq!(full, Err(CatalogueError::Store(StoreError::TopicsMax)));
    store
        .update(&topic, Some("y".repeat(500).into()), NOW)
        .unwrap();
    store.remove(&topic, NOW).unwrap();
    assert_eq!(store.budget().used_exactly(), 0);
    assert_eq!(store.remove(&topic, NOW), Err(CatalogueError::Unknown));
    assert!(
        store.create(&name("b"), None, NOW).is_ok(),
        "its place is free"
    );
}

#[test]
fn what_live_readers_of_a_removed_topic_have_not_read_is_lost_to_them() {
    let store = store(1);
    let subscribed = store.subscribe(&name("a"), 0, 0, Start::Last).unwrap();
    let batch = Some(Batch {
        messages_max: 10,
        bytes_max: 1000,
    });
    let read = |now| {
        let mut messages = Vec::new();
        let reading = store.take_news(subscribed.handle, 0, batch, now, &mut messages);
        (reading.unwrap(), messages.len())
    };
    publish(&store, "a", None);
    let newest = publish(&store, "a", None);
    publish(&store, "a", Some(10));
    store.remove(&name("a"), later(20)).unwrap();
    let (reading, messages) = read(later(20));
    assert_eq!(messages, 0);
    assert_eq!(
        reading.lost.unwrap().position,
        newest.position,
        "not the expired one"
    );
    publish(&store, "a", None);
    let (reading, messages) = read(NOW);
    assert_eq!((reading.lost, messages), (None, 1));
    assert_eq!(
        store.describe(&name("a"), NOW).unwrap().summary.subscribers,
        1
    );
}

#[test]
fn removing_what_was_read_or_has_expired_loses_nothing() {
    let store = store(1);
    let subscribed = store.subscribe(&name("a"), 0, 0, Start::Last).unwrap();
    publish(&store, "a", Some(10));
    store.remove(&name("a"), later(20)).unwrap();
    let reading = store.take_news(subscribed.handle, 0, None, later(20), &mut Vec::new());
    assert_eq!(reading.unwrap().lost, None);
}

#[test]
fn subscriptions_of_all_workers_are_counted() {
    let store = store(2);
    let count = || {
        let details = store.describe(&name("a"), NOW);
        details.map(|details| details.summary.subscribers)
    };
    let first = store.subscribe(&name("a"), 0, 0, Start::Last).unwrap();
    store.subscribe(&name("a"), 0, 0, Start::Last).unwrap();
    store.subscribe(&name("a"), 3, 0, Start::Last).unwrap();
    assert_eq!(count(), Ok(3));
    store.leave(first.handle, 0);
    assert_eq!(count(), Ok(2));
    store.unsubscribe(first.handle, 3);
    assert_eq!((count(), store.totals(NOW).subscribers), (Ok(1), 1));
    store.unsubscribe(first.handle, 0);
    assert_eq!(count(), Err(CatalogueError::Unknown));
}

#[test]
fn what_has_expired_is_not_shown() {
    let store = store(2);
    publish(&store, "a", Some(10));
    let kept = publish(&store, "b", None);
    publish(&store, "b", Some(10));
    let totals = store.totals(NOW);
    assert_eq!((totals.topics, totals.messages), (2, 3));
    assert_eq!(totals.bytes, store.history_bytes());
    let list = store.list(None, 10, |_| true, later(10));
    assert_eq!(list.len(), 1);
    let shown = (list[0].messages, list[0].oldest, list[0].newest);
    assert_eq!(shown, (1, Some(kept), Some(kept)));
    assert_eq!(list[0].bytes, store.history_bytes());
    let gone = store.describe(&name("a"), later(10));
    assert_eq!(gone, Err(CatalogueError::Unknown));
    let totals = store.totals(later(10));
    assert_eq!((totals.topics, totals.messages, totals.evicted), (1, 1, 2));
}

proptest! {
    #[test]
    fn pages_of_the_list_hold_every_topic_once(
        used in prop::collection::btree_set("[a-dZé]{1,3}", 0..40),
        created in prop::collection::btree_set("[a-dZé]{1,3}", 0..40),
        limit in 1..12usize,
        from in prop::option::of("[a-d é]{0,2}"),
    ) {
        let store = store(1000);
        for topic in &used {
            publish(&store, topic, None);
        }
        for topic in &created {
            store.create(&name(topic), None, NOW).unwrap();
        }
        let all: BTreeSet<&String> = used.union(&created).collect();
        prop_assert_eq!(store.totals(NOW).topics, all.len() as u64);
        let behind = |it: &&&String| from.as_ref().is_none_or(|from| **it > from);
        let wanted: Vec<&String> = all.iter().filter(behind).copied().collect();
        let (mut read, mut after) = (Vec::new(), from.clone());
        loop {
            let page = store.list(after.as_deref(), limit, |_| true, NOW);
            prop_assert!(page.len() <= limit);
            let Some(last) = page.last() else { break };
            after = Some(last.name.to_string());
            read.extend(page.iter().map(|topic| topic.name.to_string()));
        }
        prop_assert!(read.iter().eq(wanted));
    }
}
