//! The whole text, read back by a small parser of our own.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use super::sample::Kind;
use super::*;
use crate::session::{CloseReason, Exchange};
use crate::topic::{DeliveryKind, GapReason, TopicCounts, TopicMeter, TopicName, TopicStats};

/// Names of SPEC section 10 that other programs rely on, whatever we think of them.
const GIVEN_NAMES: [&str; 3] = [
    "proxy_topic_message_count",
    "process_open_fds",
    "process_max_fds",
];

/// What a name that is no counter's may end with: a unit, what is counted, or in which state.
const UNITS: [&str; 12] = [
    "_seconds",
    "_bytes",
    "_items",
    "_connections",
    "_topics",
    "_waiters",
    "_active",
    "_consumers",
    "_messages",
    "_publications",
    "_ratio",
    "_info",
];

/// The exposition, parsed: samples by name and labels as written, families by name.
#[derive(Default, Debug)]
pub(super) struct Parsed {
    samples: BTreeMap<String, f64>,
    families: BTreeMap<String, String>,
}

impl Parsed {
    pub(super) fn of(scrape: &Scrape<'_>) -> Parsed {
        let mut out = Vec::new();
        render(scrape, &mut out);
        Parsed::parse(&String::from_utf8(out).unwrap())
    }

    /// Strict: HELP and TYPE once before the samples, every sample of its family, none twice.
    fn parse(text: &str) -> Parsed {
        let mut parsed = Parsed::default();
        let (mut helped, mut family, mut kind) = ("", "", "");
        assert!(text.ends_with('\n'));
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("# HELP ") {
                let (name, help) = rest.split_once(' ').unwrap();
                assert!(!help.is_empty(), "{line}");
                helped = name;
            } else if let Some(rest) = line.strip_prefix("# TYPE ") {
                (family, kind) = rest.split_once(' ').unwrap();
                assert_eq!(family, helped, "HELP comes before TYPE");
                let before = parsed.families.insert(family.into(), kind.into());
                assert_eq!(before, None, "{family} stands twice");
            } else {
                let (series, value) = line.rsplit_once(' ').unwrap();
                let name = series.split('{').next().unwrap();
                let suffix = name.strip_prefix(family).expect("a sample of its family");
                let allowed: &[&str] = match kind {
                    "histogram" => &["_bucket", "_sum", "_count"],
                    "summary" => &["_sum", "_count"],
                    _ => &[""],
                };
                assert!(allowed.contains(&suffix), "{line}");
                check_labels(&series[name.len()..]);
                let value = value.parse().unwrap();
                let before = parsed.samples.insert(series.into(), value);
                assert_eq!(before, None, "{series} stands twice");
            }
        }
        parsed
    }

    #[track_caller]
    pub(super) fn is(&self, series: &str, value: f64) {
        assert_eq!(self.samples.get(series).copied(), Some(value), "{series}");
    }

    #[track_caller]
    pub(super) fn lacks(&self, part: &str) {
        let found = self.samples.keys().find(|series| series.contains(part));
        assert_eq!(found, None);
    }
}

/// `{name="value",…}`, with nothing in a value that needed an escape and has none.
fn check_labels(text: &str) {
    let Some(mut rest) = text.strip_prefix('{') else {
        return assert!(text.is_empty(), "{text}");
    };
    let mut names = HashSet::new();
    loop {
        let (name, value) = rest.split_once("=\"").unwrap();
        assert!(
            names.insert(name)
                && name
                    .bytes()
                    .all(|byte| byte.is_ascii_lowercase() || byte == b'_')
        );
        let mut end = 0;
        while value.as_bytes()[end] != b'"' {
            end += if value.as_bytes()[end] == b'\\' { 2 } else { 1 };
        }
        rest = &value[end + 1..];
        match rest.strip_prefix(',') {
            Some(more) => rest = more,
            None => return assert_eq!(rest, "}"),
        }
    }
}

fn workers(count: usize) -> Vec<Arc<WorkerMetrics>> {
    (0..count).map(|_| Arc::default()).collect()
}

pub(super) static INSTANCE: InstanceStats = InstanceStats {
    version: "1.2.3",
    checks: [("storage", true), ("workers", false), ("lifecycle", true)],
    connections: [("consumers", [3, 4]), ("others", [5, 6])],
    topics_max: 77,
    certificate_expires_at: Some(88),
    fetched_keys: Some(FetchedKeys {
        fetched_at: 99,
        refresh: Duration::from_secs(11),
    }),
};

pub(super) fn scrape<'a>(workers: &'a [Arc<WorkerMetrics>], store: &'a StoreStats) -> Scrape<'a> {
    Scrape {
        workers,
        instance: &INSTANCE,
        store,
        valkey: None,
        memory_used: 12,
        memory_max: 34,
    }
}

fn exchange(handler: &'static str, status: u16, duration_micros: u64) -> Exchange {
    Exchange {
        handler,
        method: "POST",
        status,
        error: None,
        duration_micros,
        request_bytes: 100,
        response_bytes: 10,
    }
}

#[test]
fn names_have_units_and_stand_once() {
    let mut names = HashSet::new();
    for family in families() {
        let name = family.name;
        assert!(names.insert(name), "{name} stands twice");
        let unit_less = !UNITS.iter().any(|unit| name.ends_with(unit));
        match family.kind {
            Kind::Counter => assert!(name.ends_with("_total"), "{name}"),
            _ if GIVEN_NAMES.contains(&name) => {}
            _ => assert!(!unit_less, "{name} has no unit"),
        }
        assert!(
            ["proxy_", "http_", "process_"]
                .iter()
                .any(|prefix| name.starts_with(prefix)),
            "{name}"
        );
        assert!(family.help.ends_with('.') && !family.help.contains(['\\', '\n', '|']));
    }
}

#[test]
fn every_family_stands_there_from_the_start() {
    for count in [0, 1, 4] {
        let workers = workers(count);
        let parsed = Parsed::of(&scrape(&workers, &StoreStats::default()));
        let declared =
            families().map(|family| (family.name.to_owned(), family.kind.as_str().to_owned()));
        assert_eq!(parsed.families, declared.collect());
        parsed.lacks("topic=");
        parsed.lacks("handler=");
        parsed.is("proxy_websocket_connections_active", 0.0);
    }
}

#[test]
fn every_family_has_samples_with_the_labels_that_it_declares() {
    let (workers, store) = busy();
    let valkey = ValkeyStats {
        operations: vec![("publish", "success", 3)],
        refused: vec![("away", 1)],
        ..ValkeyStats::default()
    };
    let scrape = Scrape {
        valkey: Some(&valkey),
        ..scrape(&workers, &store)
    };
    let view = View::new(&scrape, Process::read());
    for family in families() {
        let samples = (family.samples)(&view);
        assert!(!samples.is_empty(), "{}", family.name);
        for sample in samples {
            assert!(has_labels(&sample, family.labels), "{}", family.name);
        }
    }
}

/// Two workers and a store on which everything has happened at least once.
pub(super) fn busy() -> (Vec<Arc<WorkerMetrics>>, StoreStats) {
    let workers = workers(2);
    for worker in &workers {
        worker.exchange(&exchange("/api/v1/messages", 201, 100_000));
        worker.websocket_opened();
        worker.delivered(3, 300);
        worker.publish_to_delivery(200, 3);
    }
    let first = &workers[0];
    first.exchange(&exchange("/api/v1/messages", 422, 2_000_000));
    first.exchange(&Exchange {
        method: "BREW",
        ..exchange("/teapot", 404, 1)
    });
    first.websocket_opened();
    first.websocket_closed();
    first.connection_closed(CloseReason::Lagging);
    first.storage_operation(StorageOperation::SaveMessage, true, 50);
    first.storage_operation(StorageOperation::Subscribe, false, 1);
    first.error(ErrorType::Http, "VALIDATION_ERROR");
    first.error(ErrorType::WebSocket, "nonsense");
    first.idempotent_replay();
    first.polls_waiting(4);
    workers[1].polls_waiting(3);
    first.poll_ended(PollOutcome::Timeout);
    first.streams_open(2);
    first.acknowledged(AckResult::Acknowledged, 5);
    first.acknowledged(AckResult::Unknown, 1);
    first.nacked(2);
    first.redelivered(3);
    first.taken_over();
    first.dead_letters(DeadLetter::Dropped, 6);
    first.bytes_received(1_000);
    first.bytes_sent(2_000);
    first.gap(GapReason::Lagged);
    first.subscriber_fell_behind();
    first.loop_iteration(1_500_000);
    first.connections_open(5, 6);
    first.outbox_bytes(70);
    first.mailbox_depth(8);
    first.mailbox_depth(0);
    first.look_at_all();
    first.doorbell_rung();
    first.accepted();
    first.accept_paused();
    let meter = TopicMeter::default();
    meter.received(2, 1_000);
    meter.received(1, 60_000_000);
    meter.delivered(DeliveryKind::WebSocket, 9);
    meter.delivered(DeliveryKind::Stream, 2);
    let store = StoreStats {
        topics: vec![TopicStats {
            name: TopicName::parse("caf\u{e9}_1").unwrap(),
            messages: 3,
            counts: meter.counts(),
        }],
        others: TopicCounts {
            received: 7,
            ..TopicCounts::default()
        },
        others_messages: 5,
        topics_total: 4,
        history_bytes: 900,
        evicted: 11,
        consumers: 0,
        consumers_pending: 0,
    };
    (workers, store)
}

#[test]
fn requests_are_counted_by_route_method_and_status() {
    let (workers, store) = busy();
    let parsed = Parsed::of(&scrape(&workers, &store));
    let of = r#"handler="/api/v1/messages",method="POST""#;
    parsed.is(&format!("http_requests_total{{{of},status=\"2xx\"}}"), 2.0);
    parsed.is(&format!("http_requests_total{{{of},status=\"4xx\"}}"), 1.0);
    parsed.is(
        r#"http_requests_total{handler="none",method="OTHER",status="4xx"}"#,
        1.0,
    );
    parsed.lacks("BREW");
    parsed.lacks("teapot");
    let duration = "http_request_duration_seconds";
    parsed.is(&format!("{duration}_bucket{{{of},le=\"0.1\"}}"), 2.0);
    parsed.is(&format!("{duration}_bucket{{{of},le=\"1\"}}"), 2.0);
    parsed.is(&format!("{duration}_bucket{{{of},le=\"+Inf\"}}"), 3.0);
    parsed.is(&format!("{duration}_sum{{{of}}}"), 2.2);
    parsed.is(
        r#"http_request_duration_highr_seconds_bucket{le="0.075"}"#,
        1.0,
    );
    parsed.is(
        r#"http_request_duration_highr_seconds_bucket{le="60"}"#,
        4.0,
    );
    parsed.is("http_request_duration_highr_seconds_count", 4.0);
    parsed.is(
        r#"http_request_size_bytes_sum{handler="/api/v1/messages"}"#,
        300.0,
    );
    parsed.is(r#"http_request_size_bytes_count{handler="none"}"#, 1.0);
    parsed.is(
        r#"http_response_size_bytes_sum{handler="/api/v1/messages"}"#,
        30.0,
    );
}

#[test]
fn workers_are_added_up_or_told_apart() {
    let (workers, store) = busy();
    let parsed = Parsed::of(&scrape(&workers, &store));
    for (series, value) in [
        ("proxy_websocket_connections_active", 2.0),
        ("proxy_websocket_connections_total", 3.0),
        ("proxy_websocket_disconnections_total", 1.0),
        (
            r#"proxy_storage_operations_total{operation="save_message",status="success"}"#,
            50.0,
        ),
        (
            r#"proxy_storage_operations_total{operation="subscribe",status="error"}"#,
            1.0,
        ),
        (
            r#"proxy_storage_operations_total{operation="unsubscribe",status="error"}"#,
            0.0,
        ),
        (
            r#"proxy_errors_total{type="http",code="VALIDATION_ERROR"}"#,
            1.0,
        ),
        (r#"proxy_errors_total{type="websocket",code="OTHER"}"#, 1.0),
        ("proxy_deliveries_total", 6.0),
        ("proxy_delivered_bytes_total", 600.0),
        ("proxy_received_bytes_total", 1_000.0),
        ("proxy_sent_bytes_total", 2_000.0),
        (
            r#"proxy_publish_to_delivery_seconds_bucket{le="0.0001"}"#,
            0.0,
        ),
        (
            r#"proxy_publish_to_delivery_seconds_bucket{le="0.00025"}"#,
            6.0,
        ),
        ("proxy_publish_to_delivery_seconds_sum", 0.0012),
        ("proxy_idempotent_replays_total", 1.0),
        ("proxy_poll_waiters", 7.0),
        (r#"proxy_polls_total{outcome="timeout"}"#, 1.0),
        (r#"proxy_polls_total{outcome="gone"}"#, 0.0),
        ("proxy_streams_active", 2.0),
        (r#"proxy_acks_total{result="acknowledged"}"#, 5.0),
        (r#"proxy_acks_total{result="reassigned"}"#, 0.0),
        (r#"proxy_acks_total{result="unknown"}"#, 1.0),
        ("proxy_nacks_total", 2.0),
        ("proxy_redeliveries_total", 3.0),
        ("proxy_takeovers_total", 1.0),
        (r#"proxy_dead_letters_total{outcome="dropped"}"#, 6.0),
        (r#"proxy_gaps_total{reason="lagged"}"#, 1.0),
        (r#"proxy_gaps_total{reason="trimmed"}"#, 0.0),
        ("proxy_lagging_subscriptions_total", 1.0),
        (r#"proxy_outbox_bytes{worker="0"}"#, 70.0),
        (r#"proxy_open_connections{worker="0",kind="http"}"#, 5.0),
        (
            r#"proxy_open_connections{worker="0",kind="websocket"}"#,
            6.0,
        ),
        (r#"proxy_accepted_connections_total{worker="0"}"#, 1.0),
        (r#"proxy_accepted_connections_total{worker="1"}"#, 0.0),
        (r#"proxy_closed_connections_total{reason="lagging"}"#, 1.0),
        ("proxy_accept_pauses_total", 1.0),
        (r#"proxy_worker_loop_seconds_sum{worker="0"}"#, 1.5),
        (r#"proxy_worker_loop_seconds_count{worker="0"}"#, 1.0),
        (r#"proxy_mailbox_depth_items{worker="0"}"#, 8.0),
        (r#"proxy_mailbox_items_total{worker="0"}"#, 8.0),
        (r#"proxy_mailbox_overflows_total{worker="0"}"#, 1.0),
        (r#"proxy_doorbell_rings_total{worker="0"}"#, 1.0),
        ("proxy_memory_used_bytes", 12.0),
        ("proxy_memory_max_bytes", 34.0),
    ] {
        parsed.is(series, value);
    }
}

#[test]
fn topics_without_a_place_are_summed_under_a_star() {
    let (workers, mut store) = busy();
    let parsed = Parsed::of(&scrape(&workers, &store));
    let latency = "proxy_message_latency_seconds";
    for (series, value) in [
        ("proxy_messages_received_total{topic=\"caf\u{e9}_1\"}", 3.0),
        ("proxy_messages_received_total{topic=\"*\"}", 7.0),
        (
            "proxy_messages_delivered_total{topic=\"caf\u{e9}_1\",delivery_type=\"websocket\"}",
            9.0,
        ),
        (
            "proxy_messages_delivered_total{topic=\"caf\u{e9}_1\",delivery_type=\"sse\"}",
            2.0,
        ),
        (
            "proxy_messages_delivered_total{topic=\"*\",delivery_type=\"longpoll\"}",
            0.0,
        ),
        ("proxy_topic_message_count{topic=\"caf\u{e9}_1\"}", 3.0),
        ("proxy_topic_message_count{topic=\"*\"}", 5.0),
        ("proxy_store_topics", 4.0),
        ("proxy_store_bytes", 900.0),
        ("proxy_store_evictions_total", 11.0),
    ] {
        parsed.is(series, value);
    }
    parsed.is(
        &format!("{latency}_bucket{{topic=\"caf\u{e9}_1\",le=\"0.001\"}}"),
        2.0,
    );
    parsed.is(
        &format!("{latency}_bucket{{topic=\"caf\u{e9}_1\",le=\"+Inf\"}}"),
        3.0,
    );
    parsed.is(&format!("{latency}_sum{{topic=\"caf\u{e9}_1\"}}"), 60.002);
    store.others = TopicCounts::default();
    store.others_messages = 0;
    Parsed::of(&scrape(&workers, &store)).lacks("topic=\"*\"");
}

#[test]
fn label_values_are_escaped() {
    let mut family = MetricFamily::default();
    family.set_name("name".to_owned());
    family.set_metric(vec![sample::counter(&[("topic", "a\"b\\c\nd")], 1.0)]);
    let mut out = Vec::new();
    TextEncoder::new().encode(&[family], &mut out).unwrap();
    let text = String::from_utf8(out).unwrap();
    assert_eq!(
        text,
        "# TYPE name counter\nname{topic=\"a\\\"b\\\\c\\nd\"} 1\n"
    );
}

/// `UPDATE_DOCS=1 cargo test --lib metrics` writes the table of docs/METRICS.md anew.
#[test]
fn the_documentation_lists_exactly_what_is_rendered() {
    const START: &str = "<!-- metrics -->\n";
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/METRICS.md");
    let text = std::fs::read_to_string(path).unwrap();
    let (before, rest) = text.split_once(START).unwrap();
    let (table, after) = rest.split_once("<!-- /metrics -->").unwrap();
    let mut expected = "| name | type | labels | meaning |\n|---|---|---|---|\n".to_owned();
    for family in families() {
        let labels: Vec<String> = family
            .labels
            .iter()
            .map(|label| format!("`{label}`"))
            .collect();
        let (name, kind, help) = (family.name, family.kind.as_str(), family.help);
        expected += &format!("| `{name}` | {kind} | {} | {help} |\n", labels.join(", "));
    }
    if std::env::var_os("UPDATE_DOCS").is_some() {
        let text = format!("{before}{START}{expected}<!-- /metrics -->{after}");
        return std::fs::write(path, text).unwrap();
    }
    assert_eq!(
        table, expected,
        "run UPDATE_DOCS=1 cargo test --lib metrics"
    );
}
