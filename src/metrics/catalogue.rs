//! Every metric: name, type, labels, meaning, and how its samples are read. A flat list.

use prometheus::proto::Metric;

use super::labels::{AckResult, DeadLetter, PollOutcome};
use super::sample::{Kind, counter, gauge, histogram, seconds, summary};
use super::series::{
    errors, http_durations, http_requests, message_latency, one, open_connections, sizes,
    storage_operations,
};
use super::view::{TopicView, View};
use super::worker::{
    DELIVERY_BUCKETS_MICROS, FINE_EXCHANGE_BUCKETS_MICROS, GAP_REASONS, WorkerMetrics,
};
use crate::session::CloseReason;
use crate::topic::DeliveryKind;

/// A metric family.
pub(super) struct Family {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    /// Names of labels, in the order in which they are written.
    pub(super) labels: &'static [&'static str],
    /// One sentence without backslash, pipe or line break.
    pub(super) help: &'static str,
    pub(super) samples: fn(&View<'_>) -> Vec<Metric>,
}

/// All of them but those of the tier behind memory, in the order of the text.
pub(super) static FAMILIES: &[Family] = &[
    Family {
        name: "proxy_messages_received_total",
        kind: Kind::Counter,
        labels: &["topic"],
        help: "Messages stored.",
        samples: |view| {
            let received = |topic: TopicView<'_>| {
                counter(&[("topic", topic.name)], topic.counts.received as f64)
            };
            view.topics().map(received).collect()
        },
    },
    Family {
        name: "proxy_messages_delivered_total",
        kind: Kind::Counter,
        labels: &["topic", "delivery_type"],
        help: "Messages delivered, once for each subscriber, by transport.",
        samples: |view| {
            let delivered = |topic: TopicView<'_>| {
                DeliveryKind::ALL.map(|kind| {
                    let labels = [("topic", topic.name), ("delivery_type", kind.as_str())];
                    counter(&labels, topic.counts.delivered[kind as usize] as f64)
                })
            };
            view.topics().flat_map(delivered).collect()
        },
    },
    Family {
        name: "proxy_message_latency_seconds",
        kind: Kind::Histogram,
        labels: &["topic"],
        help: "Time from receipt of a publish request to its messages being stored.",
        samples: message_latency,
    },
    Family {
        name: "proxy_topic_message_count",
        kind: Kind::Gauge,
        labels: &["topic"],
        help: "Messages kept.",
        samples: |view| {
            let kept =
                |topic: TopicView<'_>| gauge(&[("topic", topic.name)], topic.messages as f64);
            view.topics().map(kept).collect()
        },
    },
    Family {
        name: "proxy_websocket_connections_active",
        kind: Kind::Gauge,
        labels: &[],
        help: "WebSockets that are open.",
        samples: |view| {
            // Closed ones first: a WebSocket that opens in between must not make this negative.
            let closed = view.sum(|worker| worker.websockets_closed.get());
            let opened = view.sum(|worker| worker.websockets_opened.get());
            vec![gauge(&[], opened.saturating_sub(closed) as f64)]
        },
    },
    Family {
        name: "proxy_websocket_connections_total",
        kind: Kind::Counter,
        labels: &[],
        help: "WebSockets that were opened.",
        samples: |view| view.counter(|worker| worker.websockets_opened.get()),
    },
    Family {
        name: "proxy_websocket_disconnections_total",
        kind: Kind::Counter,
        labels: &[],
        help: "WebSockets that were open and are gone.",
        samples: |view| view.counter(|worker| worker.websockets_closed.get()),
    },
    Family {
        name: "proxy_storage_operations_total",
        kind: Kind::Counter,
        labels: &["operation", "status"],
        help: "Requests to the store, by what was asked and how it ended.",
        samples: storage_operations,
    },
    Family {
        name: "proxy_errors_total",
        kind: Kind::Counter,
        labels: &["type", "code"],
        help: "Errors that clients were told, by transport and error code.",
        samples: errors,
    },
    Family {
        name: "proxy_idempotent_replays_total",
        kind: Kind::Counter,
        labels: &[],
        help: "Repeats of publish requests that got the first answer again.",
        samples: |view| view.counter(|worker| worker.idempotent_replays.get()),
    },
    Family {
        name: "http_requests_total",
        kind: Kind::Counter,
        labels: &["handler", "method", "status"],
        help: "Answered HTTP requests.",
        samples: http_requests,
    },
    Family {
        name: "http_request_duration_seconds",
        kind: Kind::Histogram,
        labels: &["handler", "method"],
        help: "Time from the first byte of an HTTP request to its answer.",
        samples: http_durations,
    },
    Family {
        name: "http_request_duration_highr_seconds",
        kind: Kind::Histogram,
        labels: &[],
        help: "Time from the first byte of an HTTP request to its answer, in finer steps.",
        samples: |view| {
            let all = view.distribution(|worker, sum| worker.fine_durations.add_to(sum));
            vec![histogram(&[], &FINE_EXCHANGE_BUCKETS_MICROS, &all)]
        },
    },
    Family {
        name: "http_request_size_bytes",
        kind: Kind::Summary,
        labels: &["handler"],
        help: "Size of the bodies of HTTP requests.",
        samples: |view| sizes(view, |worker, handler| &worker.request_bytes[handler]),
    },
    Family {
        name: "http_response_size_bytes",
        kind: Kind::Summary,
        labels: &["handler"],
        help: "Size of the bodies of HTTP answers.",
        samples: |view| sizes(view, |worker, handler| &worker.response_bytes[handler]),
    },
    Family {
        name: "proxy_deliveries_total",
        kind: Kind::Counter,
        labels: &[],
        help: "Messages delivered in all topics, once for each subscriber.",
        samples: |view| view.counter(|worker| worker.deliveries.get()),
    },
    Family {
        name: "proxy_delivered_bytes_total",
        kind: Kind::Counter,
        labels: &[],
        help: "Bytes of the frames of delivered messages, before compression.",
        samples: |view| view.counter(|worker| worker.delivered_bytes.get()),
    },
    Family {
        name: "proxy_received_bytes_total",
        kind: Kind::Counter,
        labels: &[],
        help: "Bytes read from clients.",
        samples: |view| view.counter(|worker| worker.received_bytes.get()),
    },
    Family {
        name: "proxy_sent_bytes_total",
        kind: Kind::Counter,
        labels: &[],
        help: "Bytes written to clients.",
        samples: |view| view.counter(|worker| worker.sent_bytes.get()),
    },
    Family {
        name: "proxy_publish_to_delivery_seconds",
        kind: Kind::Histogram,
        labels: &[],
        help: "Time from a message being stored to its live delivery, once for each subscriber.",
        samples: |view| {
            let all = view.distribution(|worker, sum| worker.publish_to_delivery.add_to(sum));
            vec![histogram(&[], &DELIVERY_BUCKETS_MICROS, &all)]
        },
    },
    Family {
        name: "proxy_gaps_total",
        kind: Kind::Counter,
        labels: &["reason"],
        help: "Gaps that subscribers were told.",
        samples: |view| {
            let gap = |(place, reason): (usize, &&str)| {
                let told = view.sum(|worker| worker.gaps[place].get());
                counter(&[("reason", reason)], told as f64)
            };
            GAP_REASONS.iter().enumerate().map(gap).collect()
        },
    },
    Family {
        name: "proxy_lagging_subscriptions_total",
        kind: Kind::Counter,
        labels: &[],
        help: "Times that a subscription fell behind the live group.",
        samples: |view| view.counter(|worker| worker.fell_behind.get()),
    },
    Family {
        name: "proxy_poll_waiters",
        kind: Kind::Gauge,
        labels: &[],
        help: "Long polls that wait for messages.",
        samples: |view| vec![gauge(&[], view.sum(WorkerMetrics::poll_waiters) as f64)],
    },
    Family {
        name: "proxy_polls_total",
        kind: Kind::Counter,
        labels: &["outcome"],
        help: "Long polls that ended, by how.",
        samples: |view| {
            let ended = |outcome: PollOutcome| {
                let count = view.sum(|worker| worker.polls[outcome as usize].get());
                counter(&[("outcome", outcome.as_str())], count as f64)
            };
            PollOutcome::ALL.into_iter().map(ended).collect()
        },
    },
    Family {
        name: "proxy_streams_active",
        kind: Kind::Gauge,
        labels: &[],
        help: "Streams that are open.",
        samples: |view| vec![gauge(&[], view.sum(|worker| worker.streams.get()) as f64)],
    },
    Family {
        name: "proxy_acks_total",
        kind: Kind::Counter,
        labels: &["result"],
        help: "Messages that clients acknowledged, by what became of it.",
        samples: |view| {
            let acks = |result: AckResult| {
                let count = view.sum(|worker| worker.acks[result as usize].get());
                counter(&[("result", result.as_str())], count as f64)
            };
            AckResult::ALL.into_iter().map(acks).collect()
        },
    },
    Family {
        name: "proxy_nacks_total",
        kind: Kind::Counter,
        labels: &[],
        help: "Messages that clients gave back.",
        samples: |view| view.counter(|worker| worker.nacks.get()),
    },
    Family {
        name: "proxy_redeliveries_total",
        kind: Kind::Counter,
        labels: &[],
        help: "Deliveries of messages that had been delivered before and not acknowledged.",
        samples: |view| view.counter(|worker| worker.redeliveries.get()),
    },
    Family {
        name: "proxy_takeovers_total",
        kind: Kind::Counter,
        labels: &[],
        help: "At-least-once consumers that a newer connection took from an older one.",
        samples: |view| view.counter(|worker| worker.takeovers.get()),
    },
    Family {
        name: "proxy_dead_letters_total",
        kind: Kind::Counter,
        labels: &["outcome"],
        help: "Messages whose deliveries were used up, by what became of them.",
        samples: |view| {
            let dead = |outcome: DeadLetter| {
                let count = view.sum(|worker| worker.dead_letters[outcome as usize].get());
                counter(&[("outcome", outcome.as_str())], count as f64)
            };
            DeadLetter::ALL.into_iter().map(dead).collect()
        },
    },
    Family {
        name: "proxy_outbox_bytes",
        kind: Kind::Gauge,
        labels: &["worker"],
        help: "Bytes that wait for slow clients, counted once a second.",
        samples: |view| {
            view.per_worker(|label, worker| gauge(label, worker.outbox_bytes.get() as f64))
        },
    },
    Family {
        name: "proxy_open_connections",
        kind: Kind::Gauge,
        labels: &["worker", "kind"],
        help: "Connections that are open, counted once a second.",
        samples: open_connections,
    },
    Family {
        name: "proxy_accepted_connections_total",
        kind: Kind::Counter,
        labels: &["worker"],
        help: "Connections that were accepted.",
        samples: |view| {
            view.per_worker(|label, worker| counter(label, worker.accepted.get() as f64))
        },
    },
    Family {
        name: "proxy_closed_connections_total",
        kind: Kind::Counter,
        labels: &["reason"],
        help: "Connections that are gone, by reason.",
        samples: |view| {
            let closed = |reason: CloseReason| {
                let gone = view.sum(|worker| worker.closed[reason as usize].get());
                counter(&[("reason", reason.as_str())], gone as f64)
            };
            CloseReason::ALL.into_iter().map(closed).collect()
        },
    },
    Family {
        name: "proxy_accept_pauses_total",
        kind: Kind::Counter,
        labels: &[],
        help: "Times that a worker stopped accepting connections.",
        samples: |view| view.counter(|worker| worker.accept_pauses.get()),
    },
    Family {
        name: "proxy_worker_loop_seconds",
        kind: Kind::Summary,
        labels: &["worker"],
        help: "Time that a turn of a worker's loop took, without its sleep.",
        samples: |view| {
            view.per_worker(|label, worker| {
                let busy = seconds(worker.loop_micros.get());
                summary(label, worker.loop_turns.get(), busy)
            })
        },
    },
    Family {
        name: "proxy_mailbox_depth_items",
        kind: Kind::Gauge,
        labels: &["worker"],
        help: "News from other workers that the latest look into the mailboxes found.",
        samples: |view| {
            view.per_worker(|label, worker| gauge(label, worker.mailbox_depth.get() as f64))
        },
    },
    Family {
        name: "proxy_mailbox_items_total",
        kind: Kind::Counter,
        labels: &["worker"],
        help: "News taken from the mailboxes.",
        samples: |view| {
            view.per_worker(|label, worker| counter(label, worker.mailbox_items.get() as f64))
        },
    },
    Family {
        name: "proxy_mailbox_overflows_total",
        kind: Kind::Counter,
        labels: &["worker"],
        help: "Times that a worker looked at all its topics because a mailbox had been full.",
        samples: |view| {
            view.per_worker(|label, worker| counter(label, worker.looks_at_all.get() as f64))
        },
    },
    Family {
        name: "proxy_doorbell_rings_total",
        kind: Kind::Counter,
        labels: &["worker"],
        help: "Times that a worker woke another.",
        samples: |view| {
            view.per_worker(|label, worker| counter(label, worker.doorbell_rings.get() as f64))
        },
    },
    Family {
        name: "proxy_store_topics",
        kind: Kind::Gauge,
        labels: &[],
        help: "Topics that exist.",
        samples: |view| vec![gauge(&[], view.store.topics_total as f64)],
    },
    Family {
        name: "proxy_store_bytes",
        kind: Kind::Gauge,
        labels: &[],
        help: "Bytes of the messages kept.",
        samples: |view| vec![gauge(&[], view.store.history_bytes as f64)],
    },
    Family {
        name: "proxy_store_evictions_total",
        kind: Kind::Counter,
        labels: &[],
        help: "Messages that were evicted, by bounds or because their ttl ran out.",
        samples: |view| vec![counter(&[], view.store.evicted as f64)],
    },
    Family {
        name: "proxy_consumers",
        kind: Kind::Gauge,
        labels: &[],
        help: "Durable consumers: a client or a group in one topic counts as one. On Valkey those alone that have a connection to this instance, each member of a group.",
        samples: |view| {
            let seats = view.sum(|worker| worker.seats.get());
            vec![gauge(&[], view.store.consumers as f64 + seats as f64)]
        },
    },
    Family {
        name: "proxy_pending_messages",
        kind: Kind::Gauge,
        labels: &[],
        help: "Messages that durable consumers were given and have not acknowledged. On Valkey those of the connections to this instance, as of some seconds ago.",
        samples: |view| {
            let pending = view.sum(|worker| worker.seats_pending.get());
            vec![gauge(
                &[],
                view.store.consumers_pending as f64 + pending as f64,
            )]
        },
    },
    Family {
        name: "proxy_memory_used_bytes",
        kind: Kind::Gauge,
        labels: &[],
        help: "Bytes of messages, outboxes and pending requests.",
        samples: |view| vec![gauge(&[], view.memory_used as f64)],
    },
    Family {
        name: "proxy_memory_max_bytes",
        kind: Kind::Gauge,
        labels: &[],
        help: "How many of these bytes there may be.",
        samples: |view| vec![gauge(&[], view.memory_max as f64)],
    },
    Family {
        name: "process_cpu_seconds_total",
        kind: Kind::Counter,
        labels: &[],
        help: "User and system CPU time of the process.",
        samples: |view| one(view.process.cpu_seconds, counter),
    },
    Family {
        name: "process_resident_memory_bytes",
        kind: Kind::Gauge,
        labels: &[],
        help: "Resident memory of the process.",
        samples: |view| one(view.process.resident_bytes, gauge),
    },
    Family {
        name: "process_virtual_memory_bytes",
        kind: Kind::Gauge,
        labels: &[],
        help: "Virtual memory of the process.",
        samples: |view| one(view.process.virtual_bytes, gauge),
    },
    Family {
        name: "process_open_fds",
        kind: Kind::Gauge,
        labels: &[],
        help: "Open file descriptors of the process.",
        samples: |view| one(view.process.open_fds, gauge),
    },
    Family {
        name: "process_max_fds",
        kind: Kind::Gauge,
        labels: &[],
        help: "How many file descriptors the process may have open.",
        samples: |view| one(view.process.max_fds, gauge),
    },
    Family {
        name: "process_start_time_seconds",
        kind: Kind::Gauge,
        labels: &[],
        help: "Start of the process, in seconds since the Unix epoch.",
        samples: |view| one(view.process.start_seconds, gauge),
    },
];
