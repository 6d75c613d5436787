//! The store as metrics show it.

use std::sync::atomic::Ordering;

use super::meter::TopicCounts;
use super::name::TopicName;
use super::store::TopicStore;

/// A topic as metrics and listings show it.
#[derive(Debug)]
pub struct TopicStats {
    /// Its name.
    pub name: TopicName,
    /// Messages kept.
    pub messages: usize,
    /// Its counters.
    pub counts: TopicCounts,
}

/// The store as metrics show it.
#[derive(Default, Debug)]
pub struct StoreStats {
    /// Topics with counters of their own.
    pub topics: Vec<TopicStats>,
    /// Counters of all others together.
    pub others: TopicCounts,
    /// Messages kept in all others together.
    pub others_messages: usize,
    /// Topics that exist.
    pub topics_total: usize,
    /// Bytes of all logs.
    pub history_bytes: u64,
    /// Messages that were evicted, by bounds or `ttl`.
    pub evicted: u64,
    /// Durable consumers in all topics.
    pub consumers: usize,
    /// Messages that they were given and have not acknowledged.
    pub consumers_pending: usize,
}

impl TopicStore {
    /// Reads all counters, one shard at a time.
    pub fn stats(&self) -> StoreStats {
        let mut stats = StoreStats {
            others: self.meters.others(),
            topics_total: self.topics.load(Ordering::Relaxed),
            history_bytes: self.history_bytes(),
            evicted: self.evicted(),
            consumers: self.consumers.load(Ordering::Relaxed),
            ..StoreStats::default()
        };
        for shard in 0..self.shards.len() {
            for topic in self.lock(shard as u16).topics() {
                let messages = topic.history.len();
                let consumers = topic.consumers.as_ref();
                stats.consumers_pending += consumers.map_or(0, |it| it.pending());
                match &topic.meter {
                    Some(meter) if self.meters.is_own(meter) => stats.topics.push(TopicStats {
                        name: topic.name.clone(),
                        messages,
                        counts: meter.counts(),
                    }),
                    _ => stats.others_messages += messages,
                }
            }
        }
        stats
    }
}
