//! The store against an obvious model: random operations, everything ever published remembered
//! with its fate, and time an argument.

mod following;
mod inspect;
mod model;
mod threads;
mod world;

use proptest::prelude::*;
use proptest::sample::Index;

use super::history::HistoryLimits;
use super::id::MessageId;
use super::store::StoreLimits;
use world::World;

/// Topics that operations name.
const TOPICS: usize = 5;
/// Workers that subscribe.
const WORKERS: u8 = 3;
/// Bytes of the smallest frame: an id, a name and a tag.
const LEAST_FRAME: usize = MessageId::LEN + "topic-0".len() + 8;

/// Where a subscription of the test starts.
#[derive(Clone, Debug)]
enum From {
    Last,
    Earliest,
    /// Any id ever issued in this topic.
    Own(Index),
    /// Any id ever issued in another topic.
    Other(usize, Index),
    /// Any id of this topic, in another epoch.
    OtherEpoch(Index),
    /// An id that the store has not issued yet.
    Beyond,
    /// The place of some consumer of this topic.
    Resume(Index),
}

#[derive(Clone, Debug)]
enum Operation {
    Publish {
        topic: usize,
        count: usize,
        ttl_millis: Option<u64>,
        bytes: usize,
    },
    Subscribe {
        topic: usize,
        worker: u8,
        from: From,
    },
    /// A worker reads its news, in a batch or (`None`) past it.
    TakeNews {
        topic: usize,
        worker: u8,
        batch: Option<(usize, usize)>,
    },
    /// A consumer with a position of its own reads on.
    Read {
        consumer: Index,
        batch: (usize, usize),
    },
    /// A consumer goes, and with the last of its worker the interest.
    Leave {
        consumer: Index,
    },
    Sweep {
        first: usize,
        of: usize,
    },
    /// Both clocks; the wall clock may step back.
    Wait {
        millis: u64,
        wall_step_millis: i64,
    },
    /// An outbox holds what is kept of a topic.
    Hold {
        topic: usize,
    },
    /// Something else of the budget is in use.
    Occupy {
        bytes: usize,
    },
    ReleaseAll,
}

fn from() -> impl Strategy<Value = From> {
    prop_oneof![
        3 => Just(From::Last),
        3 => Just(From::Earliest),
        4 => any::<Index>().prop_map(From::Own),
        2 => (0..TOPICS, any::<Index>()).prop_map(|(topic, index)| From::Other(topic, index)),
        1 => any::<Index>().prop_map(From::OtherEpoch),
        1 => Just(From::Beyond),
        3 => any::<Index>().prop_map(From::Resume),
    ]
}

fn batch() -> impl Strategy<Value = (usize, usize)> {
    (
        1..4usize,
        prop_oneof![
            1..2000usize,
            (1..20usize).prop_map(|frames| frames * LEAST_FRAME),
            Just(usize::MAX)
        ],
    )
}

fn operation() -> impl Strategy<Value = Operation> {
    use Operation::*;
    let ttl = prop::option::weighted(0.3, 1..60u64);
    let count = prop_oneof![3 => Just(1), 2 => 2..8usize];
    // Sizes that fill a batch to the last byte, and others.
    let bytes = prop_oneof![
        0..600usize,
        (0..6usize).prop_map(|frames| frames * LEAST_FRAME)
    ];
    let publish =
        (0..TOPICS, count, ttl, bytes).prop_map(|(topic, count, ttl_millis, bytes)| Publish {
            topic,
            count,
            ttl_millis,
            bytes,
        });
    let subscribe = (0..TOPICS, 0..WORKERS, from()).prop_map(|(topic, worker, from)| Subscribe {
        topic,
        worker,
        from,
    });
    let batches = prop::option::weighted(0.8, batch());
    let take_news = (0..TOPICS, 0..WORKERS, batches).prop_map(|(topic, worker, batch)| TakeNews {
        topic,
        worker,
        batch,
    });
    let wall_steps = prop_oneof![4 => Just(0i64), 1 => -5_000..5_000i64];
    prop_oneof![
        8 => publish,
        4 => subscribe,
        6 => take_news,
        4 => (any::<Index>(), batch()).prop_map(|(consumer, batch)| Read { consumer, batch }),
        3 => any::<Index>().prop_map(|consumer| Leave { consumer }),
        2 => (0..3usize, 1..4usize).prop_map(|(first, of)| Sweep { first, of }),
        2 => Just(Sweep { first: 0, of: 1 }),
        3 => (0..40u64, wall_steps)
            .prop_map(|(millis, wall_step_millis)| Wait { millis, wall_step_millis }),
        1 => (0..TOPICS).prop_map(|topic| Hold { topic }),
        1 => (0..3000usize).prop_map(|bytes| Occupy { bytes }),
        1 => Just(ReleaseAll),
    ]
}

/// Bounds that bite and bounds that do not, in all combinations.
#[derive(Clone, Debug)]
struct Bounds {
    store: StoreLimits,
    memory_max: u64,
    freed_marks_max: usize,
}

fn bounds() -> impl Strategy<Value = Bounds> {
    let either = |tight: std::ops::Range<u64>| prop_oneof![tight, Just(1u64 << 40)];
    (
        prop_oneof![1..8usize, Just(1_000)],
        either(300..3_000),
        either(20_000..100_000),
        prop_oneof![1..TOPICS, Just(TOPICS)],
        either(1_500..8_000),
        prop_oneof![Just(0), Just(8), Just(1 << 16)],
    )
        .prop_map(
            |(
                messages_max,
                bytes_max,
                retention_micros,
                topics_max,
                memory_max,
                freed_marks_max,
            )| {
                Bounds {
                    store: StoreLimits {
                        history: HistoryLimits {
                            messages_max,
                            bytes_max,
                            retention_micros,
                        },
                        topics_max,
                        metered_topics_max: 2,
                        consumers_max: 0,
                        group_members_max: 0,
                        client_retention: u64::MAX,
                    },
                    memory_max,
                    freed_marks_max,
                }
            },
        )
}

fn run(bounds: &Bounds, operations: &[Operation]) {
    let mut world = World::new(bounds);
    for operation in operations {
        world.carry_out(operation);
    }
    world.finish();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn behaves_like_the_model(bounds in bounds(), operations in prop::collection::vec(operation(), 1..150)) {
        run(&bounds, &operations);
    }
}

/// Messages whose `ttl` ran out are no gap, also when a bound takes them before anybody noticed:
/// the count of this topic, or the memory of all.
#[test]
fn what_has_expired_is_not_lost() {
    let publish = |topic, count, ttl_millis| Operation::Publish {
        topic,
        count,
        ttl_millis,
        bytes: 0,
    };
    let later = Operation::Wait {
        millis: 1,
        wall_step_millis: 0,
    };
    let mut bounds = Bounds {
        store: StoreLimits {
            history: HistoryLimits {
                messages_max: 1,
                bytes_max: 1 << 40,
                retention_micros: 1 << 40,
            },
            topics_max: TOPICS,
            metered_topics_max: 2,
            consumers_max: 0,
            group_members_max: 0,
            client_retention: u64::MAX,
        },
        memory_max: 1 << 40,
        freed_marks_max: 1 << 16,
    };
    run(
        &bounds,
        &[publish(0, 5, Some(1)), later.clone(), publish(0, 1, None)],
    );
    bounds.store.history.messages_max = 1_000;
    bounds.memory_max = 1_500;
    run(
        &bounds,
        &[publish(0, 4, Some(1)), later, publish(1, 2, None)],
    );
}
