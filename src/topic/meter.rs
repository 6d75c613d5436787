//! Counters of one topic, for metrics with a `topic` label, and the bound on how many there are.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// Upper bounds of the latency histogram's buckets, in microseconds (SPEC section 10).
pub const LATENCY_BUCKETS_MICROS: [u64; 15] = [
    1_000, 5_000, 10_000, 25_000, 50_000, 75_000, 100_000, 250_000, 500_000, 750_000, 1_000_000,
    2_500_000, 5_000_000, 7_500_000, 10_000_000,
];

/// How messages reach their consumers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DeliveryKind {
    /// As frames of a WebSocket.
    WebSocket,
    /// In the answer to a poll.
    LongPoll,
    /// In a stream: Server-Sent Events or NDJSON.
    Stream,
}

impl DeliveryKind {
    /// All of them, in the order of their counts.
    pub const ALL: [DeliveryKind; 3] = [
        DeliveryKind::WebSocket,
        DeliveryKind::LongPoll,
        DeliveryKind::Stream,
    ];

    /// The text that metrics have for it (SPEC section 10).
    pub fn as_str(self) -> &'static str {
        match self {
            DeliveryKind::WebSocket => "websocket",
            DeliveryKind::LongPoll => "longpoll",
            DeliveryKind::Stream => "sse",
        }
    }
}

/// What happened in one topic, or in all that have no place of their own.
#[derive(Default, Debug)]
pub struct TopicMeter {
    received: AtomicU64,
    delivered: [AtomicU64; DeliveryKind::ALL.len()],
    /// Not cumulative; the last one has no upper bound.
    latency_buckets: [AtomicU64; LATENCY_BUCKETS_MICROS.len() + 1],
    latency_micros: AtomicU64,
}

/// A reading of a [`TopicMeter`].
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct TopicCounts {
    /// Messages stored.
    pub received: u64,
    /// Messages delivered, by [`DeliveryKind`].
    pub delivered: [u64; DeliveryKind::ALL.len()],
    /// Messages by time from receipt to stored; not cumulative.
    pub latency_buckets: [u64; LATENCY_BUCKETS_MICROS.len() + 1],
    /// Sum of those times, in microseconds.
    pub latency_micros: u64,
}

impl TopicMeter {
    /// Counts messages that took `latency_micros` each from receipt to stored.
    pub fn received(&self, messages: u64, latency_micros: u64) {
        let bucket = LATENCY_BUCKETS_MICROS.partition_point(|bound| *bound < latency_micros);
        // Relaxed throughout: statistics order no other memory.
        self.received.fetch_add(messages, Ordering::Relaxed);
        self.latency_buckets[bucket].fetch_add(messages, Ordering::Relaxed);
        self.latency_micros
            .fetch_add(latency_micros * messages, Ordering::Relaxed);
    }

    /// Counts deliveries.
    pub fn delivered(&self, kind: DeliveryKind, messages: u64) {
        self.delivered[kind as usize].fetch_add(messages, Ordering::Relaxed);
    }

    /// What has been counted so far.
    pub fn counts(&self) -> TopicCounts {
        TopicCounts {
            received: self.received.load(Ordering::Relaxed),
            delivered: self
                .delivered
                .each_ref()
                .map(|count| count.load(Ordering::Relaxed)),
            latency_buckets: self
                .latency_buckets
                .each_ref()
                .map(|count| count.load(Ordering::Relaxed)),
            latency_micros: self.latency_micros.load(Ordering::Relaxed),
        }
    }
}

/// Hands out meters: the first `places` topics get one of their own, all others share one, so that
/// strangers cannot grow the metrics by naming topics.
#[derive(Debug)]
pub struct Meters {
    places: AtomicUsize,
    others: Arc<TopicMeter>,
}

impl Meters {
    /// Room for `places` topics with a meter of their own.
    pub fn new(places: usize) -> Meters {
        Meters {
            places: AtomicUsize::new(places),
            others: Arc::default(),
        }
    }

    /// A meter for a topic: its own while there are places, else the shared one.
    pub fn assign(&self) -> Arc<TopicMeter> {
        let taken = self
            .places
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |places| {
                places.checked_sub(1)
            });
        taken.map_or_else(|_| Arc::clone(&self.others), |_| Arc::default())
    }

    /// Takes back what [`Meters::assign`] gave.
    pub fn release(&self, meter: &Arc<TopicMeter>) {
        if self.is_own(meter) {
            self.places.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Whether a meter belongs to one topic alone.
    pub fn is_own(&self, meter: &Arc<TopicMeter>) -> bool {
        !Arc::ptr_eq(meter, &self.others)
    }

    /// The one that all others share.
    pub(super) fn shared(&self) -> &TopicMeter {
        &self.others
    }

    /// What was counted for topics without a place of their own.
    pub fn others(&self) -> TopicCounts {
        self.others.counts()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn latencies_fall_into_the_bucket_that_includes_its_bound() {
        let meter = TopicMeter::default();
        meter.received(2, 1_000);
        meter.received(1, 1_001);
        meter.received(1, 60_000_000);
        let counts = meter.counts();
        assert_eq!(
            (counts.latency_buckets[0], counts.latency_buckets[1]),
            (2, 1)
        );
        assert_eq!(counts.latency_buckets[15], 1);
        assert_eq!((counts.received, counts.latency_micros), (4, 60_003_001));
    }

    #[test]
    fn deliveries_are_counted_by_their_kind() {
        let meter = TopicMeter::default();
        for (index, kind) in DeliveryKind::ALL.into_iter().enumerate() {
            meter.delivered(kind, 10 + index as u64);
        }
        assert_eq!(meter.counts().delivered, [10, 11, 12]);
    }

    #[test]
    fn places_come_back() {
        let meters = Meters::new(1);
        let own = meters.assign();
        let shared = meters.assign();
        assert!(meters.is_own(&own) && !meters.is_own(&shared));
        meters.release(&shared);
        assert!(!meters.is_own(&meters.assign()));
        meters.release(&own);
        assert!(meters.is_own(&meters.assign()));
    }
}
