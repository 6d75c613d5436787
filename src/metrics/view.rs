//! What a scrape sees: all workers together, the store, the process.

use std::sync::Arc;

use prometheus::proto::Metric;

use super::Scrape;
use super::cell::Distribution;
use super::instance::InstanceStats;
use super::labels::{HANDLERS, METHODS};
use super::process::Process;
use super::sample;
use super::valkey::ValkeyStats;
use super::worker::WorkerMetrics;
use crate::topic::{StoreStats, TopicCounts};

/// One scrape with what it reads on its own.
pub(super) struct View<'a> {
    pub(super) workers: &'a [Arc<WorkerMetrics>],
    pub(super) instance: &'a InstanceStats,
    pub(super) store: &'a StoreStats,
    pub(super) valkey: Option<&'a ValkeyStats>,
    pub(super) memory_used: u64,
    pub(super) memory_max: u64,
    pub(super) process: Process,
}

/// One topic, or all without a place of their own.
pub(super) struct TopicView<'a> {
    pub(super) name: &'a str,
    pub(super) messages: usize,
    pub(super) counts: &'a TopicCounts,
}

impl<'a> View<'a> {
    /// A view of a scrape, at this time of the process.
    pub(super) fn new(scrape: &Scrape<'a>, process: Process) -> View<'a> {
        View {
            workers: scrape.workers,
            instance: scrape.instance,
            store: scrape.store,
            valkey: scrape.valkey,
            memory_used: scrape.memory_used,
            memory_max: scrape.memory_max,
            process,
        }
    }

    /// A number of all workers together.
    pub(super) fn sum(&self, read: impl Fn(&WorkerMetrics) -> u64) -> u64 {
        self.workers.iter().map(|worker| read(worker)).sum()
    }

    /// Durations of all workers together.
    pub(super) fn distribution(
        &self,
        add: impl Fn(&WorkerMetrics, &mut Distribution),
    ) -> Distribution {
        let mut counts = Distribution::default();
        for worker in self.workers {
            add(worker, &mut counts);
        }
        counts
    }

    /// A counter without labels, as its only sample.
    pub(super) fn counter(&self, read: impl Fn(&WorkerMetrics) -> u64) -> Vec<Metric> {
        vec![sample::counter(&[], self.sum(read) as f64)]
    }

    /// One sample for each worker.
    pub(super) fn per_worker(
        &self,
        sample: impl Fn(&[(&'static str, &str)], &WorkerMetrics) -> Metric,
    ) -> Vec<Metric> {
        let workers = self.workers.iter().enumerate();
        workers
            .map(|(index, worker)| sample(&[("worker", &index.to_string())], worker))
            .collect()
    }

    /// Topics with counters of their own, and `*` for all others once they have something.
    pub(super) fn topics(&self) -> impl Iterator<Item = TopicView<'a>> {
        let store = self.store;
        let own = store.topics.iter().map(|topic| TopicView {
            name: topic.name.as_str(),
            messages: topic.messages,
            counts: &topic.counts,
        });
        let others = TopicView {
            name: "*",
            messages: store.others_messages,
            counts: &store.others,
        };
        let has_others = store.others_messages > 0 || store.others != TopicCounts::default();
        own.chain(has_others.then_some(others))
    }

    /// Samples for each handler and method for which `sample` has one.
    pub(super) fn exchanges(
        &self,
        sample: impl Fn(&[(&'static str, &str)], usize, usize) -> Option<Metric>,
    ) -> Vec<Metric> {
        let mut metrics = Vec::new();
        for (handler, handler_name) in HANDLERS.iter().enumerate() {
            for (method, method_name) in METHODS.iter().enumerate() {
                let labels = [("handler", *handler_name), ("method", *method_name)];
                metrics.extend(sample(&labels, handler, method));
            }
        }
        metrics
    }
}
