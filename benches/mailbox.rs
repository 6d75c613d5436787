//! News from worker to worker, without the wake-up itself.

use std::hint::black_box;
use std::sync::Arc;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use pulsar_proxy::fanout::{Doorbell, mailbox};

/// Items in one burst.
const BURST: u32 = 64;

fn mailboxes(c: &mut Criterion) {
    let mut group = c.benchmark_group("mailbox");
    let doorbell = Arc::new(Doorbell::default());
    let (mut sender, mut receiver) = mailbox(1024, Arc::clone(&doorbell));
    group.throughput(Throughput::Elements(u64::from(BURST)));
    group.bench_function("push, ring, take 64", |b| {
        b.iter(|| {
            for item in 0..BURST {
                sender.push(black_box(item));
            }
            let wake = sender.ring();
            let taken = std::iter::from_fn(|| receiver.pop()).count();
            (wake, taken)
        });
    });
    group.throughput(Throughput::Elements(1));
    group.bench_function("ring one that is awake", |b| b.iter(|| sender.ring()));
    group.bench_function("go to sleep, ring", |b| {
        b.iter(|| {
            doorbell.prepare_to_sleep();
            let idle = receiver.is_empty() && !doorbell.must_look_at_all();
            (idle, sender.ring())
        });
    });
    group.finish();
}

criterion_group!(benches, mailboxes);
criterion_main!(benches);
