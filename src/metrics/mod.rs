//! Every metric name, the counters of each worker, and the Prometheus text (SPEC section 10).
//!
//! A worker writes its own [`WorkerMetrics`] and nothing else; whoever answers `/metrics` reads
//! those of all workers and adds them up in [`render`]. Counters of single topics live in the
//! store, which bounds their number.

mod catalogue;
mod cell;
mod instance;
mod labels;
mod process;
mod sample;
mod series;
mod valkey;
mod view;
mod worker;

#[cfg(test)]
mod tests;

use std::io::Write;
use std::sync::Arc;

use prometheus::proto::{LabelPair, Metric, MetricFamily};
use prometheus::{Encoder, TextEncoder};

use crate::topic::StoreStats;
use catalogue::Family;
use process::Process;
use view::View;

pub use instance::{FetchedKeys, InstanceStats};
pub use labels::{AckResult, DeadLetter, ErrorType, PollOutcome, StorageOperation};
pub use valkey::ValkeyStats;
pub use worker::WorkerMetrics;

/// The `Content-Type` of what [`render`] writes.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What a scrape reads.
#[derive(Clone, Copy, Debug)]
pub struct Scrape<'a> {
    /// The counters of all workers, in order: the label `worker` is the place.
    pub workers: &'a [Arc<WorkerMetrics>],
    /// The instance's.
    pub instance: &'a InstanceStats,
    /// The store's.
    pub store: &'a StoreStats,
    /// The tier's behind memory, where there is one.
    pub valkey: Option<&'a ValkeyStats>,
    /// Bytes of the common budget in use.
    pub memory_used: u64,
    /// Bytes of the common budget.
    pub memory_max: u64,
}

/// Appends the whole exposition. Each family stands there with its `HELP` and `TYPE` lines, also
/// before its first sample. Reads `/proc` for what the system knows of the process.
pub fn render(scrape: &Scrape<'_>, out: &mut Vec<u8>) {
    let view = View::new(scrape, Process::read());
    for family in families() {
        write_family(family, &view, out);
    }
}

/// All of them, in the order of the text.
fn families() -> impl Iterator<Item = &'static Family> {
    let instance = catalogue::FAMILIES.iter().chain(instance::FAMILIES);
    instance.chain(valkey::FAMILIES)
}

fn write_family(family: &Family, view: &View<'_>, out: &mut Vec<u8>) {
    let samples = (family.samples)(view);
    debug_assert!(
        samples
            .iter()
            .all(|sample| has_labels(sample, family.labels)),
        "samples of {} have the labels that it declares",
        family.name
    );
    if samples.is_empty() {
        // The encoder refuses these.
        let (name, help, kind) = (family.name, family.help, family.kind.as_str());
        write!(out, "# HELP {name} {help}\n# TYPE {name} {kind}\n")
            .expect("a Vec takes all that is written");
        return;
    }
    let mut encoded = MetricFamily::default();
    encoded.set_name(family.name.to_owned());
    encoded.set_help(family.help.to_owned());
    encoded.set_field_type(family.kind.metric_type());
    encoded.set_metric(samples);
    TextEncoder::new()
        .encode(&[encoded], out)
        .expect("a family with a name and samples, written to a Vec");
}

fn has_labels(sample: &Metric, names: &[&str]) -> bool {
    sample
        .get_label()
        .iter()
        .map(LabelPair::name)
        .eq(names.iter().copied())
}
