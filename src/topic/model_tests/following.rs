//! A store that follows another, against an obvious model of both: what is published elsewhere
//! comes late, twice, in no order, or not at all.

mod consumer;
mod threads;
mod world;

use proptest::prelude::*;
use proptest::sample::Index;

use super::super::history::HistoryLimits;
use super::super::store::StoreLimits;
use world::World;

/// Workers, each with at most one consumer.
const WORKERS: u8 = 3;

/// Where a consumer of the test starts.
#[derive(Clone, Debug)]
enum From {
    Last,
    Earliest,
    /// Any message of this epoch.
    Published(Index),
    OtherEpoch,
    Beyond,
}

#[derive(Clone, Debug)]
enum Operation {
    /// Elsewhere; nobody here hears of it yet.
    Publish {
        ttl_millis: Option<u64>,
    },
    /// What comes next is heard of here.
    FeedNext,
    /// Something is heard of, in time or not.
    Feed(Index),
    /// A message that the stream never had.
    FeedForeign(u64),
    /// The stream is read behind the newest.
    Mend(usize),
    /// The stream drops its oldest messages.
    Trim(usize),
    /// The stream is deleted; this may be heard of here at once, or never.
    Delete {
        is_told: bool,
    },
    /// The store elsewhere begins anew.
    Restart {
        millis: u64,
    },
    Open,
    Close,
    Subscribe {
        worker: u8,
        from: From,
    },
    /// A consumer reads on, here or elsewhere.
    Step {
        worker: u8,
        messages_max: usize,
    },
    /// Its worker's mark is cleared.
    TakeNews {
        worker: u8,
    },
    Leave {
        worker: u8,
    },
    Sweep,
    Wait {
        millis: u64,
    },
}

fn operation() -> impl Strategy<Value = Operation> {
    use Operation::*;
    let from = prop_oneof![
        1 => Just(From::Last),
        1 => Just(From::Earliest),
        3 => any::<Index>().prop_map(From::Published),
        1 => Just(From::OtherEpoch),
        1 => Just(From::Beyond),
    ];
    prop_oneof![
        10 => prop::option::weighted(0.3, 1..60u64).prop_map(|ttl_millis| Publish { ttl_millis }),
        8 => Just(FeedNext),
        4 => any::<Index>().prop_map(Feed),
        1 => (1..1_000u64).prop_map(FeedForeign),
        3 => (1..5usize).prop_map(Mend),
        2 => (1..6usize).prop_map(Trim),
        1 => any::<bool>().prop_map(|is_told| Delete { is_told }),
        1 => (1..2_000u64).prop_map(|millis| Restart { millis }),
        2 => Just(Open),
        1 => Just(Close),
        4 => (0..WORKERS, from).prop_map(|(worker, from)| Subscribe { worker, from }),
        10 => (0..WORKERS, 1..4usize)
            .prop_map(|(worker, messages_max)| Step { worker, messages_max }),
        6 => (0..WORKERS).prop_map(|worker| TakeNews { worker }),
        1 => (0..WORKERS).prop_map(|worker| Leave { worker }),
        1 => Just(Sweep),
        3 => (0..40u64).prop_map(|millis| Wait { millis }),
    ]
}

/// Bounds that bite and bounds that do not.
fn limits() -> impl Strategy<Value = (StoreLimits, u64)> {
    let either = |tight: std::ops::Range<u64>| prop_oneof![tight, Just(1u64 << 40)];
    (
        prop_oneof![1..6usize, Just(1_000)],
        either(300..2_000),
        either(10_000..100_000),
        either(600..3_000),
    )
        .prop_map(|(messages_max, bytes_max, retention_micros, memory_max)| {
            let history = HistoryLimits {
                messages_max,
                bytes_max,
                retention_micros,
            };
            let limits = StoreLimits {
                history,
                topics_max: 1,
                metered_topics_max: 1,
                consumers_max: 0,
                group_members_max: 0,
                client_retention: u64::MAX,
            };
            (limits, memory_max)
        })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn follows_like_the_model(
        (limits, memory_max) in limits(),
        operations in prop::collection::vec(operation(), 1..200),
    ) {
        let mut world = World::new(limits, memory_max);
        for operation in &operations {
            world.carry_out(operation);
        }
        world.finish();
    }
}
