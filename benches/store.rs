//! The topic store: what publishing and reading cost beside the codecs and the sockets.

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use pulsar_proxy::moment::Moment;
use pulsar_proxy::topic::{
    Batch, Budget, Draft, Epoch, FrameLayout, HistoryLimits, MessageId, Outcome, Start,
    StoreLimits, TopicHandle, TopicName, TopicStore,
};

const TOPIC: &str = "notifications";
const FRAME_BYTES: usize = 400;
const WORKER: u8 = 0;
const BULK: usize = 50;
const BATCH: Batch = Batch {
    messages_max: 512,
    bytes_max: 512 * 1024,
};

/// A store, the time, and what is used again from call to call.
struct Bench {
    store: TopicStore,
    budget: &'static Budget,
    frame: Vec<u8>,
    now: Moment,
    outcome: Outcome,
}

impl Bench {
    fn new() -> Bench {
        let limits = StoreLimits {
            history: HistoryLimits {
                messages_max: 1_000,
                bytes_max: u64::MAX,
                retention_micros: u64::MAX,
            },
            topics_max: 1_000,
            metered_topics_max: 1_000,
            consumers_max: 1_000,
            group_members_max: 1_000,
            client_retention: u64::MAX,
        };
        let budget = Budget::new(1 << 40);
        let mut frame = vec![b'0'; MessageId::LEN];
        frame.extend_from_slice(TOPIC.as_bytes());
        frame.resize(FRAME_BYTES, b' ');
        Bench {
            store: TopicStore::new(limits, 2, Epoch::new(1), budget),
            budget,
            frame,
            now: Moment {
                wall_micros: 1_700_000_000_000_000,
                monotonic_micros: 1,
            },
            outcome: Outcome::default(),
        }
    }

    fn draft(&self) -> Draft {
        let layout = FrameLayout {
            id_at: 0,
            topic_at: MessageId::LEN,
            topic_len: TOPIC.len(),
        };
        Draft::new(&self.frame, layout, u64::MAX, self.budget)
    }

    fn publish(&mut self, count: usize) {
        self.now.wall_micros += 10;
        self.now.monotonic_micros += 10;
        self.outcome.news.clear();
        let drafts: Vec<Draft> = (0..count).map(|_| self.draft()).collect();
        let result = self.store.publish(
            drafts.into_iter(),
            self.now,
            self.now.monotonic_micros,
            &mut self.outcome,
        );
        assert_eq!(result, Ok(()));
    }

    fn publish_one(&mut self) {
        self.now.wall_micros += 10;
        self.now.monotonic_micros += 10;
        self.outcome.news.clear();
        let draft = std::iter::once(self.draft());
        let received_at = self.now.monotonic_micros;
        let result = self
            .store
            .publish(draft, self.now, received_at, &mut self.outcome);
        assert_eq!(result, Ok(()));
    }

    fn subscribe(&self) -> TopicHandle {
        let name = TopicName::parse(TOPIC).expect("a topic name");
        let subscribed = self.store.subscribe(&name, WORKER, 0, Start::Last);
        subscribed.expect("there is room").handle
    }

    fn take_news(&self, handle: TopicHandle, messages: &mut Vec<pulsar_proxy::topic::Message>) {
        let reading = self
            .store
            .take_news(handle, WORKER, Some(BATCH), self.now, messages);
        assert!(reading.is_some_and(|reading| !reading.more));
    }
}

fn publish(c: &mut Criterion) {
    let mut group = c.benchmark_group("store");
    group.throughput(Throughput::Elements(1));
    group.bench_function("publish 1", |b| {
        let mut bench = Bench::new();
        b.iter(|| bench.publish_one());
    });
    group.bench_function("publish 1, read by 1 worker", |b| {
        let (mut bench, mut messages) = (Bench::new(), Vec::new());
        let handle = bench.subscribe();
        b.iter(|| {
            bench.publish_one();
            messages.clear();
            bench.take_news(handle, &mut messages);
        });
    });
    group.throughput(Throughput::Elements(BULK as u64));
    group.bench_function("publish 50", |b| {
        let mut bench = Bench::new();
        b.iter(|| bench.publish(BULK));
    });
    group.finish();
}

fn read(c: &mut Criterion) {
    let mut group = c.benchmark_group("store");
    group.throughput(Throughput::Elements(BULK as u64));
    group.bench_function("take news of 50", |b| {
        let bench = std::cell::RefCell::new(Bench::new());
        let handle = bench.borrow().subscribe();
        b.iter_batched_ref(
            || {
                bench.borrow_mut().publish(BULK);
                Vec::with_capacity(BULK)
            },
            |messages| bench.borrow().take_news(handle, messages),
            BatchSize::PerIteration,
        );
    });
    group.finish();
}

criterion_group!(benches, publish, read);
criterion_main!(benches);
