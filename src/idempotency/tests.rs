use std::net::Ipv4Addr;
use std::sync::Barrier;
use std::sync::atomic::AtomicUsize;
use std::thread;

use super::*;

const CALLER: Caller = Caller::Host(Ipv4Addr::LOCALHOST);
const ANSWER_MAX: usize = 100;

fn attempt(key: &str, body: &str) -> Attempt {
    Attempt::new(Key::parse(key.as_bytes()).unwrap(), "/a", body.as_bytes())
}

fn memory() -> Idempotency {
    Idempotency::new(1 << 20)
}

/// Carries out a request that must be new.
fn settled(memory: &Idempotency, key: &str, now: u64) {
    match memory.begin(CALLER, &attempt(key, "{}"), ANSWER_MAX, now) {
        Begun::New(claim) => claim.settle(201, key.as_bytes()),
        begun => panic!("{key}: {begun:?}"),
    }
}

fn begin<'a>(memory: &'a Idempotency, key: &str, body: &str, now: u64) -> Begun<'a> {
    memory.begin(CALLER, &attempt(key, body), ANSWER_MAX, now)
}

#[test]
fn a_repeat_gets_the_first_answer() {
    let memory = memory();
    settled(&memory, "k", 0);
    let Begun::Replay(201, body) = begin(&memory, "k", "{}", 1) else {
        panic!("a repeat");
    };
    assert_eq!(&*body, b"k");
    assert!(matches!(begin(&memory, "k", "{ }", 1), Begun::Reused));
    assert!(matches!(begin(&memory, "l", "{}", 1), Begun::New(_)));
    let other = Caller::Host(Ipv4Addr::new(127, 0, 0, 2));
    let begun = memory.begin(other, &attempt("k", "{}"), ANSWER_MAX, 1);
    assert!(matches!(begun, Begun::New(_)), "callers are apart");
}

#[test]
fn only_what_was_stored_is_remembered() {
    let memory = memory();
    for status in [200, 422, 500, 503] {
        let Begun::New(claim) = begin(&memory, "k", "{}", 0) else {
            panic!("nothing is remembered");
        };
        claim.settle(status, b"no");
        assert_eq!(memory.used(), 0);
    }
    drop(begin(&memory, "k", "{}", 0));
    assert_eq!(memory.used(), 0);
    let Begun::New(claim) = begin(&memory, "k", "[]", 0) else {
        panic!("nothing is remembered");
    };
    claim.settle(207, b"yes");
    assert!(matches!(
        begin(&memory, "k", "[]", 0),
        Begun::Replay(207, _)
    ));
}

#[test]
fn answers_are_forgotten_in_time() {
    let memory = memory();
    let end = micros(REMEMBERED);
    settled(&memory, "k", 5);
    assert!(matches!(
        begin(&memory, "k", "{}", end + 4),
        Begun::Replay(..)
    ));
    assert!(matches!(begin(&memory, "k", "{ }", end + 4), Begun::Reused));
    settled(&memory, "k", end + 5);
    assert!(matches!(
        begin(&memory, "k", "{}", end + 6),
        Begun::Replay(..)
    ));
    assert_eq!(memory.used(), ENTRY_BYTES + 2);
}

#[test]
fn an_expired_answer_is_not_told_though_others_are_freed_before_it() {
    let memory = memory();
    let keys: Vec<String> = (0..100 * STRIPES).map(|n| n.to_string()).collect();
    let now = 2 * micros(REMEMBERED);
    for key in &keys {
        settled(&memory, key, 0);
    }
    for key in keys.iter().rev() {
        settled(&memory, key, now);
    }
    for key in &keys {
        assert!(matches!(begin(&memory, key, "{}", now), Begun::Replay(..)));
    }
    let kept: usize = keys.iter().map(|key| ENTRY_BYTES + 2 * key.len()).sum();
    assert_eq!(memory.used(), kept);
}

#[test]
fn when_it_is_full_only_repeats_are_served_until_something_expires() {
    let memory = Idempotency::new(10 * (ENTRY_BYTES + 1 + ANSWER_MAX));
    for key in ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"] {
        settled(&memory, key, 0);
    }
    let end = micros(REMEMBERED);
    let mut more = 0;
    while let Begun::New(claim) = begin(&memory, &format!("more {more}"), "{}", 1) {
        claim.settle(201, &[0; ANSWER_MAX]);
        more += 1;
        assert!(memory.used() <= 10 * (ENTRY_BYTES + 1 + ANSWER_MAX));
    }
    assert!(matches!(begin(&memory, "z", "{}", end - 1), Begun::Full));
    assert!(matches!(
        begin(&memory, "a", "{}", end - 1),
        Begun::Replay(..)
    ));
    assert!(matches!(begin(&memory, "b", "[]", end - 1), Begun::Reused));
    settled(&memory, "z", end);
    settled(&memory, "a", end + 1);
}

#[test]
fn a_bound_without_room_for_one_answer_is_always_full() {
    let memory = Idempotency::new(ENTRY_BYTES);
    assert!(matches!(begin(&memory, "k", "{}", 0), Begun::Full));
    let begun = memory.begin(CALLER, &attempt("k", "{}"), usize::MAX / 2, 0);
    assert!(matches!(begun, Begun::Full));
    assert_eq!(memory.used(), 0);
}

#[test]
fn of_many_at_once_one_is_new_and_all_get_its_answer() {
    const THREADS: usize = 8;
    let memory = memory();
    let (published, start) = (AtomicUsize::new(0), Barrier::new(THREADS));
    let rounds = 0..200;
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                for round in rounds.clone() {
                    start.wait();
                    match begin(&memory, &round.to_string(), "{}", round) {
                        Begun::New(claim) => {
                            thread::yield_now();
                            published.fetch_add(1, Ordering::Relaxed);
                            claim.settle(201, round.to_string().as_bytes());
                        }
                        Begun::Replay(201, body) => {
                            assert_eq!(&*body, round.to_string().as_bytes());
                        }
                        begun => panic!("{begun:?}"),
                    }
                }
            });
        }
    });
    assert_eq!(published.into_inner(), 200);
}

#[test]
fn whoever_waits_for_one_that_fails_is_the_next() {
    const THREADS: usize = 8;
    let memory = memory();
    let (tried, start) = (AtomicUsize::new(0), Barrier::new(THREADS));
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                start.wait();
                let Begun::New(claim) = begin(&memory, "k", "{}", 0) else {
                    panic!("none was remembered");
                };
                assert_eq!(memory.used(), ENTRY_BYTES + 1 + ANSWER_MAX, "one at a time");
                tried.fetch_add(1, Ordering::Relaxed);
                claim.settle(503, b"");
            });
        }
    });
    assert_eq!((tried.into_inner(), memory.used()), (THREADS, 0));
}

#[test]
fn a_panic_leaves_nothing_behind() {
    let memory = memory();
    let panicked = thread::scope(|scope| {
        let holder = scope.spawn(|| {
            let _claim = begin(&memory, "k", "{}", 0);
            panic!("as a test of what a panic leaves");
        });
        holder.join()
    });
    assert!(panicked.is_err());
    settled(&memory, "k", 0);
    assert!(matches!(begin(&memory, "k", "{}", 0), Begun::Replay(..)));
}
