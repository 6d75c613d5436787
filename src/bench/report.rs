//! The result of a measurement, as it goes out in JSON; `docs/BENCH.md` explains every name.

use serde::Serialize;

use super::checker::Faults;
use super::histogram::Histogram;
use super::machine::Machine;
use super::order::Load;
use super::process::Spent;
use super::workload::Round;
use crate::client::harmless;

/// A whole result.
#[derive(Clone, Serialize, Debug)]
pub struct Report {
    /// Version of the program that measured.
    pub version: &'static str,
    /// The command line, without credentials.
    pub command: String,
    /// When it began: UTC, RFC 3339.
    pub date: String,
    /// Where it ran.
    pub machine: Machine,
    /// What was measured.
    pub server: ServerFacts,
    /// One for each load, in the order in which they ran.
    pub runs: Vec<Run>,
    /// Whether it was ended early, by a signal.
    pub interrupted: bool,
    /// Why the loads that are missing could not be measured.
    pub failure: Option<String>,
    /// Whether every load ran, and without a fault.
    pub passed: bool,
}

/// What is known of the server.
#[derive(Clone, Default, Serialize, Debug)]
pub struct ServerFacts {
    /// Its address; none if each load had a server of its own.
    pub url: Option<String>,
    /// Arguments of the servers that were started; none if one was named.
    pub arguments: Option<Vec<String>>,
    /// What `/health` says.
    pub version: Option<String>,
    /// The process that CPU time and memory are of.
    pub pid: Option<u32>,
    /// The name of its program.
    pub program: Option<String>,
    /// Topics of this run that could not be deleted behind it.
    pub topics_left: usize,
}

/// The result of one load.
#[derive(Clone, Serialize, Debug)]
pub struct Run {
    /// `publish`, `fanout`, `idle` or `poll`.
    pub scenario: &'static str,
    /// `saturation`: as many as go; `rate`: so many a second; `hold`: open, then silent.
    pub mode: &'static str,
    /// Messages a second that were asked for.
    pub rate: Option<u64>,
    /// Publishing connections.
    pub connections: usize,
    /// Subscribing, polling or idle connections.
    pub subscribers: usize,
    /// Topics they are spread over.
    pub topics: usize,
    /// Size of a message as published.
    pub message_bytes: usize,
    /// Messages in a publish request.
    pub messages_per_request: usize,
    /// What was measured, in seconds; warm-up excluded.
    pub seconds: f64,
    /// What an operation is: `publish`, `delivery` or `connection`.
    pub operation: &'static str,
    /// How many there were.
    pub operations: u64,
    /// And of them in a second.
    pub operations_per_second: f64,
    /// Messages that were accepted.
    pub published: u64,
    /// Messages that came, counted once for each subscriber.
    pub delivered: u64,
    /// Messages that were due at the rate and could not be sent in time; latencies are without them.
    pub unsent: u64,
    /// From the time at which a request was to be sent to its answer.
    pub publish_latency: Option<Latency>,
    /// From the time at which a request was to be sent to the delivery of its message.
    pub delivery_latency: Option<Latency>,
    /// From connecting to the answer of the subscribe, in `idle`.
    pub open_latency: Option<Latency>,
    /// What went wrong.
    pub faults: Faults,
    /// What it cost the server, if its process can be seen.
    pub server: Option<Cost>,
    /// Cores that the load generator used, of the one that it can.
    pub generator_cores: f64,
    /// Whether nothing went wrong.
    pub passed: bool,
}

/// Percentiles in milliseconds.
#[derive(Clone, Copy, Serialize, Debug)]
pub struct Latency {
    /// Values.
    pub count: u64,
    /// 50 %.
    pub p50_ms: f64,
    /// 90 %.
    pub p90_ms: f64,
    /// 99 %.
    pub p99_ms: f64,
    /// 99.9 %.
    pub p99_9_ms: f64,
    /// The longest.
    pub max_ms: f64,
}

/// What a load cost the server.
#[derive(Clone, Copy, Serialize, Debug)]
pub struct Cost {
    /// CPU time of all its threads for one operation, user and kernel.
    pub cpu_us_per_operation: f64,
    /// The part of it in user mode, 0 to 1.
    pub cpu_user_share: f64,
    /// Cores that it used on average; in `idle`, while the connections were silent.
    pub cpu_cores: f64,
    /// Resident memory at the end.
    pub resident_bytes: u64,
    /// By how much resident memory grew for each connection, in `idle` and `poll`.
    pub bytes_per_connection: Option<f64>,
}

impl Run {
    /// What one round of a load has shown.
    pub(super) fn new(load: &Load, round: &Round) -> Self {
        let seconds = round.elapsed.as_secs_f64();
        let operations = match load.subscribers {
            0 => round.published,
            _ => round.delivered,
        };
        let mode = load.rate.map_or("saturation", |_| "rate");
        Self {
            scenario: load.scenario.name(),
            mode,
            rate: load.rate,
            connections: load.connections,
            subscribers: load.subscribers,
            topics: load.topics,
            message_bytes: load.message_bytes,
            messages_per_request: load.messages,
            seconds,
            operation: load.scenario.operation(),
            operations,
            operations_per_second: operations as f64 / seconds,
            published: round.published,
            delivered: round.delivered,
            unsent: round.unsent,
            publish_latency: Latency::of(&round.answers),
            delivery_latency: Latency::of(&round.deliveries),
            open_latency: None,
            faults: round.faults.clone(),
            server: None,
            generator_cores: 0.0,
            passed: round.faults.is_clean(),
        }
    }

    /// Whether the generator was so busy that the server may take more than this.
    pub(super) fn is_generator_bound(&self) -> bool {
        self.generator_cores > 0.9
    }
}

impl Latency {
    /// Those of a histogram that is not empty.
    pub(super) fn of(histogram: &Histogram) -> Option<Self> {
        let percent = |percent| histogram.percentile(percent).as_secs_f64() * 1e3;
        (!histogram.is_empty()).then(|| Self {
            count: histogram.count(),
            p50_ms: percent(50.0),
            p90_ms: percent(90.0),
            p99_ms: percent(99.0),
            p99_9_ms: percent(99.9),
            max_ms: histogram.max().as_secs_f64() * 1e3,
        })
    }

    /// All of them in order.
    pub(super) fn values(&self) -> [f64; 5] {
        [
            self.p50_ms,
            self.p90_ms,
            self.p99_ms,
            self.p99_9_ms,
            self.max_ms,
        ]
    }
}

/// Words that may be the server's: short, and without what a terminal would act on.
pub(super) fn printable(words: &str) -> String {
    const CHARS_MAX: usize = 300;
    let words = words.replace(['\r', '\n'], " ");
    harmless(&words).chars().take(CHARS_MAX).collect()
}

impl Cost {
    /// That of `operations` in `seconds`.
    pub(super) fn new(spent: Spent, operations: u64, seconds: f64, resident_bytes: u64) -> Self {
        Self {
            cpu_us_per_operation: spent.micros_per(operations),
            cpu_user_share: spent.user_share,
            cpu_cores: spent.total.as_secs_f64() / seconds.max(f64::MIN_POSITIVE),
            resident_bytes,
            bytes_per_connection: None,
        }
    }
}
