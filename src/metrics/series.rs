//! How the samples of families with labels of their own are read.

use prometheus::proto::Metric;

use super::cell::{Distribution, Sizes};
use super::labels::{ERROR_CODES, ErrorType, HANDLERS, STATUSES, StorageOperation};
use super::sample::{Labels, counter, gauge, histogram, summary};
use super::view::{TopicView, View};
use super::worker::{EXCHANGE_BUCKETS_MICROS, WorkerMetrics};
use crate::topic::LATENCY_BUCKETS_MICROS;

/// The one sample of a family without labels, if there is a value.
pub(super) fn one(value: Option<f64>, sample: fn(Labels<'_>, f64) -> Metric) -> Vec<Metric> {
    value.map(|value| sample(&[], value)).into_iter().collect()
}

pub(super) fn message_latency(view: &View<'_>) -> Vec<Metric> {
    let latency = |topic: TopicView<'_>| {
        let counts = Distribution {
            buckets: topic.counts.latency_buckets.to_vec(),
            sum_micros: topic.counts.latency_micros,
        };
        histogram(&[("topic", topic.name)], &LATENCY_BUCKETS_MICROS, &counts)
    };
    view.topics().map(latency).collect()
}

pub(super) fn storage_operations(view: &View<'_>) -> Vec<Metric> {
    let mut metrics = Vec::new();
    for operation in StorageOperation::ALL {
        for (place, status) in ["error", "success"].into_iter().enumerate() {
            let count =
                view.sum(|worker| worker.storage_operations[operation as usize][place].get());
            let labels = [("operation", operation.as_str()), ("status", status)];
            metrics.push(counter(&labels, count as f64));
        }
    }
    metrics
}

pub(super) fn errors(view: &View<'_>) -> Vec<Metric> {
    let mut metrics = Vec::new();
    for error_type in ErrorType::ALL {
        for (place, code) in ERROR_CODES.iter().enumerate() {
            let count = view.sum(|worker| worker.errors[error_type as usize][place].get());
            if count > 0 {
                let labels = [("type", error_type.as_str()), ("code", *code)];
                metrics.push(counter(&labels, count as f64));
            }
        }
    }
    metrics
}

pub(super) fn http_requests(view: &View<'_>) -> Vec<Metric> {
    STATUSES
        .iter()
        .enumerate()
        .flat_map(|(place, status)| {
            view.exchanges(|labels, handler, method| {
                let count = view.sum(|worker| worker.requests[handler][method][place].get());
                let labels = [labels[0], labels[1], ("status", *status)];
                (count > 0).then(|| counter(&labels, count as f64))
            })
        })
        .collect()
}

pub(super) fn http_durations(view: &View<'_>) -> Vec<Metric> {
    view.exchanges(|labels, handler, method| {
        let all = view.distribution(|worker, sum| worker.durations[handler][method].add_to(sum));
        (all.count() > 0).then(|| histogram(labels, &EXCHANGE_BUCKETS_MICROS, &all))
    })
}

pub(super) fn sizes(
    view: &View<'_>,
    read: impl Fn(&WorkerMetrics, usize) -> &Sizes,
) -> Vec<Metric> {
    let handlers = HANDLERS.iter().enumerate();
    let size = |(handler, name): (usize, &&str)| {
        let count = view.sum(|worker| read(worker, handler).count.get());
        let sum = view.sum(|worker| read(worker, handler).sum.get());
        (count > 0).then(|| summary(&[("handler", *name)], count, sum as f64))
    };
    handlers.filter_map(size).collect()
}

pub(super) fn open_connections(view: &View<'_>) -> Vec<Metric> {
    let mut metrics = Vec::new();
    for (index, worker) in view.workers.iter().enumerate() {
        let index = index.to_string();
        let kinds = [
            ("http", &worker.http_connections),
            ("websocket", &worker.websocket_connections),
        ];
        for (kind, open) in kinds {
            let labels = [("worker", index.as_str()), ("kind", kind)];
            metrics.push(gauge(&labels, open.get() as f64));
        }
    }
    metrics
}
