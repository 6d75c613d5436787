//! What is told of the tier behind memory. Without one the families stand there without samples.

use prometheus::proto::Metric;

use super::catalogue::Family;
use super::sample::{Kind, counter, gauge};
use super::view::View;

/// Numbers of the tier behind memory, since the start or now.
#[derive(Clone, PartialEq, Default, Debug)]
pub struct ValkeyStats {
    /// Valkey answers, and what is said through it comes back.
    pub is_up: bool,
    /// What was asked for, how it ended, how often.
    pub operations: Vec<(&'static str, &'static str, u64)>,
    /// Pipelines sent.
    pub pipelines: u64,
    /// What went out in them.
    pub orders: u64,
    /// Sent once more.
    pub retries: u64,
    /// Connections made, and tries that failed.
    pub connects: [u64; 2],
    /// Bytes of publications that wait.
    pub queue_bytes: u64,
    /// How many there may be.
    pub queue_bytes_max: u64,
    /// Refused, by reason.
    pub refused: Vec<(&'static str, u64)>,
    /// Seconds that the newest echo took.
    pub echo_seconds: f64,
    /// Topics that are followed, and those of them whose logs are known to be behind.
    pub topics: [u64; 2],
    /// Messages that went into logs: from channels, and read from streams since channels did not
    /// bring them.
    pub fed: [u64; 2],
    /// Times that a new life of what is stored was seen.
    pub epoch_changes: u64,
    /// Publications in the spool, and bytes of its files.
    pub spool: [u64; 2],
    /// Bytes that its files may take; 0 without a spool.
    pub spool_bytes_max: u64,
    /// Publications of the spool that could not be read back.
    pub spool_lost: u64,
}

/// The families.
pub(super) static FAMILIES: &[Family] = &[
    Family {
        name: "proxy_valkey_up_ratio",
        kind: Kind::Gauge,
        labels: &[],
        help: "1 while Valkey answers and what is said through it comes back, else 0.",
        samples: |view| of(view, |stats| vec![gauge(&[], f64::from(stats.is_up))]),
    },
    Family {
        name: "proxy_valkey_operations_total",
        kind: Kind::Counter,
        labels: &["operation", "status"],
        help: "What Valkey was asked for, by how it ended: success, refused, or lost with the connection.",
        samples: |view| {
            of(view, |stats| {
                let operations = stats.operations.iter();
                let sample = |(operation, status, count): &(&str, &str, u64)| {
                    let labels = [("operation", *operation), ("status", *status)];
                    counter(&labels, *count as f64)
                };
                operations.map(sample).collect()
            })
        },
    },
    Family {
        name: "proxy_valkey_pipelines_total",
        kind: Kind::Counter,
        labels: &[],
        help: "Pipelines sent to Valkey: operations by pipelines is the depth of the group commit.",
        samples: |view| of(view, |stats| vec![counter(&[], stats.pipelines as f64)]),
    },
    Family {
        name: "proxy_valkey_pipelined_total",
        kind: Kind::Counter,
        labels: &[],
        help: "What went out in these pipelines.",
        samples: |view| of(view, |stats| vec![counter(&[], stats.orders as f64)]),
    },
    Family {
        name: "proxy_valkey_retries_total",
        kind: Kind::Counter,
        labels: &[],
        help: "Sent once more, since an answer was lost or Valkey could not take it yet.",
        samples: |view| of(view, |stats| vec![counter(&[], stats.retries as f64)]),
    },
    Family {
        name: "proxy_valkey_connects_total",
        kind: Kind::Counter,
        labels: &["status"],
        help: "Tries to connect to Valkey.",
        samples: |view| {
            of(view, |stats| {
                let [done, failed] = stats.connects;
                vec![
                    counter(&[("status", "success")], done as f64),
                    counter(&[("status", "error")], failed as f64),
                ]
            })
        },
    },
    Family {
        name: "proxy_valkey_queue_bytes",
        kind: Kind::Gauge,
        labels: &[],
        help: "Bytes of publications that wait for Valkey or its answer.",
        samples: |view| of(view, |stats| vec![gauge(&[], stats.queue_bytes as f64)]),
    },
    Family {
        name: "proxy_valkey_queue_max_bytes",
        kind: Kind::Gauge,
        labels: &[],
        help: "How many of these bytes there may be for each primary; with all of them publishers are refused.",
        samples: |view| of(view, |stats| vec![gauge(&[], stats.queue_bytes_max as f64)]),
    },
    Family {
        name: "proxy_valkey_refused_total",
        kind: Kind::Counter,
        labels: &["reason"],
        help: "Requests that Valkey was not asked for: full, away, or late.",
        samples: |view| {
            of(view, |stats| {
                let refused = stats.refused.iter();
                refused
                    .map(|(reason, count)| counter(&[("reason", reason)], *count as f64))
                    .collect()
            })
        },
    },
    Family {
        name: "proxy_valkey_echo_seconds",
        kind: Kind::Gauge,
        labels: &[],
        help: "How long the newest canary took: written, through a channel, and read.",
        samples: |view| of(view, |stats| vec![gauge(&[], stats.echo_seconds)]),
    },
    Family {
        name: "proxy_valkey_followed_topics",
        kind: Kind::Gauge,
        labels: &["state"],
        help: "Topics whose channels are followed; behind are those that are known to miss messages.",
        samples: |view| {
            of(view, |stats| {
                let [topics, behind] = stats.topics;
                vec![
                    gauge(&[("state", "followed")], topics as f64),
                    gauge(&[("state", "behind")], behind as f64),
                ]
            })
        },
    },
    Family {
        name: "proxy_valkey_fed_messages_total",
        kind: Kind::Counter,
        labels: &["source"],
        help: "Messages that went into logs: from channels, or from streams when a channel did not bring them.",
        samples: |view| {
            of(view, |stats| {
                let [channel, stream] = stats.fed;
                vec![
                    counter(&[("source", "channel")], channel as f64),
                    counter(&[("source", "stream")], stream as f64),
                ]
            })
        },
    },
    Family {
        name: "proxy_valkey_epoch_changes_total",
        kind: Kind::Counter,
        labels: &[],
        help: "Times that Valkey was found to have lost everything.",
        samples: |view| of(view, |stats| vec![counter(&[], stats.epoch_changes as f64)]),
    },
    Family {
        name: "proxy_spool_publications",
        kind: Kind::Gauge,
        labels: &[],
        help: "Publications in the spool.",
        samples: |view| of(view, |stats| vec![gauge(&[], stats.spool[0] as f64)]),
    },
    Family {
        name: "proxy_spool_bytes",
        kind: Kind::Gauge,
        labels: &[],
        help: "Bytes of the files of the spool.",
        samples: |view| of(view, |stats| vec![gauge(&[], stats.spool[1] as f64)]),
    },
    Family {
        name: "proxy_spool_max_bytes",
        kind: Kind::Gauge,
        labels: &[],
        help: "How many bytes they may take; 0 without a spool.",
        samples: |view| of(view, |stats| vec![gauge(&[], stats.spool_bytes_max as f64)]),
    },
    Family {
        name: "proxy_spool_lost_total",
        kind: Kind::Counter,
        labels: &[],
        help: "Publications of the spool that could not be read back from disk.",
        samples: |view| of(view, |stats| vec![counter(&[], stats.spool_lost as f64)]),
    },
];

fn of(view: &View<'_>, samples: impl FnOnce(&ValkeyStats) -> Vec<Metric>) -> Vec<Metric> {
    view.valkey.map(samples).unwrap_or_default()
}
