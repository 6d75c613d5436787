//! What memory does not have: lost replies, other instances, bounds of a topic.

use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use pulsar_proxy::topic::{Ack, Position};
use pulsar_proxy::valkey::consumers::*;

use super::bench::{Bench, RULES, client, connect, group, member, pairs};

/// What is said on the topic's channel from now on.
struct Ear {
    connection: redis::Connection,
    pushes: Receiver<redis::PushInfo>,
}

impl Ear {
    fn new(bench: &Bench) -> Ear {
        let mut connection = connect(&bench.server, 3);
        let (sender, pushes) = channel();
        connection.set_push_sender(sender);
        redis::cmd("SSUBSCRIBE")
            .arg(bench.keys.news(&bench.topic))
            .set_no_response(true)
            .exec(&mut connection)
            .unwrap();
        let mut ear = Ear { connection, pushes };
        assert_eq!(ear.hears(), 1, "that it is subscribed");
        ear
    }

    /// How much was said. The pong comes behind all of it.
    fn hears(&mut self) -> usize {
        redis::cmd("PING")
            .query::<String>(&mut self.connection)
            .unwrap();
        self.pushes.try_iter().count()
    }
}

#[test]
fn a_claim_whose_reply_was_lost_was_not_delivered() {
    let mut bench = Bench::new();
    let (jobs, a) = (client("a"), member("a", 1));
    let first = bench.publish(None);
    let serial = bench.sit(&jobs, &a).serial;
    let lost = bench.try_claim(&jobs, &a, 10, serial).unwrap();
    assert_eq!(pairs(&lost.messages), [(first, 1)]);
    let second = bench.publish(None);
    // The same call again, and a later one: the first attempt is still to come.
    let again = bench.try_claim(&jobs, &a, 1, serial).unwrap();
    assert_eq!(
        (pairs(&again.messages), again.more),
        (vec![(first, 1)], true)
    );
    let again = bench.try_claim(&jobs, &a, 10, serial).unwrap();
    assert_eq!(pairs(&again.messages), [(first, 1), (second, 1)]);
    // Once confirmed it is delivered.
    let none = bench.try_claim(&jobs, &a, 10, again.serial).unwrap();
    assert_eq!((none.messages, none.serial), (Vec::new(), again.serial));
    assert_eq!(bench.ack("a", first), Ack::Acknowledged(1));
    bench.now += 30_000;
    let due = bench.try_claim(&jobs, &a, 10, none.serial).unwrap();
    assert_eq!(pairs(&due.messages), [(second, 2)]);
}

#[test]
fn gaps_and_dead_letters_of_a_lost_reply_are_told_again() {
    let mut bench = Bench::new();
    let (jobs, mut a) = (client("a"), member("a", 1));
    a.rules.max_deliveries = 1;
    let [one, two, three] = [(); 3].map(|()| bench.publish(None));
    let serial = bench.sit(&jobs, &a).serial;
    let claim = bench.try_claim(&jobs, &a, 2, serial).unwrap();
    assert_eq!(pairs(&claim.messages), [(one, 1), (two, 1)]);
    bench.trim(Some(two));
    bench.now += 30_000;
    for _ in 0..2 {
        let again = bench.try_claim(&jobs, &a, 1, claim.serial).unwrap();
        assert_eq!(again.gaps, [(Position::ZERO, one)]);
        assert_eq!(pairs(&again.dead), [(two, 1)]);
        assert!(again.messages.is_empty() && again.more);
    }
    bench.trim(None);
    let after = bench.try_claim(&jobs, &a, 1, claim.serial).unwrap();
    assert_eq!(after.gaps, [(Position::ZERO, three)]);
    assert!(after.dead.is_empty() && after.next_due.is_none());
}

#[test]
fn what_is_dead_comes_again_until_it_is_buried() {
    let mut bench = Bench::new();
    let (jobs, mut a) = (client("a"), member("a", 1));
    (a.rules.max_deliveries, a.rules.window) = (1, 1);
    let [one, two] = [(); 2].map(|()| bench.publish(None));
    bench.sit(&jobs, &a);
    assert_eq!(bench.claimed(&jobs, &a), [(one, 1)]);
    bench.settle("a", None, Settling::Nack(Duration::ZERO), &[one]);
    assert_eq!(pairs(&bench.claim(&jobs, &a).dead), [(one, 1)]);
    let idle = bench.claim(&jobs, &a);
    assert!(idle.dead.is_empty() && idle.next_due == Some(1_000));
    bench.now += 1_000;
    assert_eq!(pairs(&bench.claim(&jobs, &a).dead), [(one, 1)]);
    assert_eq!(
        bench.bury(&jobs, vec![one, two]),
        [a.seat],
        "it has room now"
    );
    assert_eq!(bench.claimed(&jobs, &a), [(two, 1)]);
}

#[test]
fn attaching_again_for_a_lost_reply_changes_nothing() {
    let mut bench = Bench::new();
    let (jobs, a) = (client("a"), member("a", 1));
    let one = bench.publish(None);
    let first = bench.attach(&jobs, &a, SharedStart::Earliest, false);
    bench.publish(None);
    // The start was decided the first time.
    let again = bench.attach(&jobs, &a, SharedStart::Last, false);
    assert!(!first.resumed && !again.resumed && !again.has_replaced);
    assert_eq!((first.place, again.place), (Position::ZERO, Position::ZERO));
    assert_eq!((first.newest, again.begins_behind), (one, Position::ZERO));
    assert!(
        bench
            .attach(&jobs, &member("a", 2), SharedStart::Last, false)
            .resumed
    );
}

#[test]
fn a_newer_connection_takes_over_on_another_instance() {
    let mut bench = Bench::new();
    let (jobs, a) = (client("a"), member("a", 1));
    let one = bench.publish(None);
    bench.sit(&jobs, &a);
    assert_eq!(bench.claimed(&jobs, &a), [(one, 1)]);
    let mut ear = Ear::new(&bench);
    bench.terms.instance = "i10".into();
    // Seats are named alike there.
    let attached = bench.sit(&jobs, &a);
    assert!(attached.has_replaced && attached.wake.is_empty());
    assert_eq!(ear.hears(), 1);
    assert_eq!(bench.claimed(&jobs, &a), [(one, 2)]);
    bench.terms.instance = "i1".into();
    assert_eq!(bench.try_claim(&jobs, &a, 1, 0), Err(Unseated::Lost));
    assert!(bench.detach(&jobs, &a).is_empty(), "of no effect");
    bench.terms.instance = "i10".into();
    assert!(bench.claimed(&jobs, &a).is_empty());
    assert_eq!(bench.ack("a", one), Ack::Acknowledged(1));
}

#[test]
fn members_elsewhere_hear_of_what_is_there_for_them() {
    let mut bench = Bench::new();
    let (a, b) = (member("a", 1), member("b", 2));
    let [one, two] = [(); 2].map(|()| bench.publish(None));
    bench.sit(&group(), &a);
    bench.terms.instance = "i2".into();
    bench.sit(&group(), &b);
    let mut ear = Ear::new(&bench);
    assert_eq!(bench.claimed(&group(), &b), [(one, 1), (two, 1)]);
    assert_eq!(bench.ack("b", one), Ack::Acknowledged(1));
    assert_eq!(ear.hears(), 0, "nobody waited for that");
    bench.settle("b", Some(&group()), Settling::Nack(Duration::ZERO), &[two]);
    assert_eq!(ear.hears(), 1);
    assert_eq!(bench.claimed(&group(), &b), [(two, 2)]);
    bench.settle("b", None, Settling::Nack(Duration::from_secs(1)), &[two]);
    assert_eq!(ear.hears(), 1, "it is what comes next");
    bench.detach(&group(), &b);
    assert_eq!(ear.hears(), 1);
    // It was put off, which outlives the member.
    bench.terms.instance = "i1".into();
    assert_eq!(bench.claim(&group(), &a).next_due, Some(1_000));
    bench.now += 1_000;
    assert_eq!(bench.claimed(&group(), &a), [(two, 3)]);
    assert_eq!(bench.ack("b", two), Ack::Reassigned);
    assert_eq!(
        bench.ack("c", one),
        Ack::Acknowledged(1),
        "a stranger's, which is kept"
    );
}

#[test]
fn room_in_a_full_window_is_told_to_its_member() {
    let mut bench = Bench::new();
    let mut a = member("a", 1);
    a.rules.window = 1;
    let [one, two] = [(); 2].map(|()| bench.publish(None));
    bench.sit(&group(), &a);
    assert_eq!(bench.claimed(&group(), &a), [(one, 1)]);
    let mut ear = Ear::new(&bench);
    let (acks, wake) = bench.settle("a", None, Settling::Acknowledge, &[one, one]);
    assert_eq!(acks, [Ack::Acknowledged(1), Ack::NotPending]);
    assert_eq!((wake, ear.hears()), (vec![a.seat], 0));
    assert_eq!(bench.claimed(&group(), &a), [(two, 1)]);
    // From another instance, as by a request.
    bench.publish(None);
    bench.terms.instance = "i2".into();
    assert_eq!(bench.settle("a", None, Settling::Acknowledge, &[two]).1, []);
    assert_eq!(ear.hears(), 1);
}

#[test]
fn topics_and_groups_have_bounds() {
    let mut bench = Bench::new();
    (bench.terms.consumers_max, bench.terms.group_members_max) = (2, 2);
    let try_attach = |bench: &mut Bench, consumer, who, connection| {
        bench.run(ConsumerAction::Attach(AttachShared {
            consumer,
            member: member(who, connection),
            reset: false,
            start: SharedStart::Last,
        }))
    };
    bench.sit(&client("a"), &member("a", 1));
    bench.sit(&group(), &member("a", 2));
    bench.sit(&group(), &member("a", 3));
    let full = ConsumerReply::NoRoom(NoRoom::Members);
    assert_eq!(try_attach(&mut bench, group(), "b", 4), full);
    // Who has a seat takes none.
    bench.sit(&group(), &member("a", 3));
    let full = ConsumerReply::NoRoom(NoRoom::Consumers);
    assert_eq!(try_attach(&mut bench, client("b"), "b", 4), full);
    bench.detach(&client("a"), &member("a", 1));
    assert_eq!(try_attach(&mut bench, client("b"), "b", 4), full);
    bench.now += 86_400_000;
    assert_ne!(try_attach(&mut bench, client("b"), "b", 4), full);
}

#[test]
fn a_consumer_without_members_is_dropped() {
    let mut bench = Bench::new();
    bench.terms.retention = Duration::from_millis(1);
    let a = member("a", 1);
    bench.sit(&client("a"), &a);
    bench.detach(&client("a"), &a);
    let pattern = format!("*{{{}}}:c:[sotl]:*", bench.topic);
    loop {
        let mut keys = redis::cmd("KEYS");
        let left: Vec<String> = keys.arg(&pattern).query(&mut bench.connection).unwrap();
        if left.is_empty() {
            break;
        }
    }
    assert_eq!(bench.try_claim(&client("a"), &a, 1, 0), Err(Unseated::Gone));
    assert!(!bench.sit(&client("a"), &a).resumed);
    redis::cmd("FLUSHALL").exec(&mut bench.connection).unwrap();
    assert_eq!(bench.try_claim(&client("a"), &a, 1, 0), Err(Unseated::Gone));
}

#[test]
fn with_a_topic_go_consumers_without_members() {
    let mut bench = Bench::new();
    for number in 0..450_u64 {
        let (jobs, one) = (client(&number.to_string()), member("a", number));
        bench.sit(&jobs, &one);
        if number % 3 > 0 {
            bench.detach(&jobs, &one);
        }
    }
    let (mut next, mut calls) = (Some(0), 0);
    while let Some(skip) = next {
        match bench.run(ConsumerAction::Drop { skip }) {
            ConsumerReply::Dropped { skip } => next = skip,
            other => panic!("{other:?}"),
        }
        calls += 1;
    }
    assert_eq!(calls, 3);
    let try_claim = |bench: &mut Bench, number: u64| {
        let (jobs, one) = (client(&number.to_string()), member("a", number));
        bench.try_claim(&jobs, &one, 1, 0).map(|_| ())
    };
    assert_eq!(try_claim(&mut bench, 3), Ok(()));
    assert_eq!(try_claim(&mut bench, 4), Err(Unseated::Gone));
    bench.terms.consumers_max = 151;
    assert!(!bench.sit(&client("new"), &member("new", 1)).resumed);
}

#[test]
fn batches_are_bounded_and_the_first_message_has_room() {
    let mut bench = Bench::new();
    let (jobs, mut a) = (client("a"), member("a", 1));
    a.rules.window = 10_000;
    let sent: Vec<Position> = (0..100).map(|_| bench.publish(None)).collect();
    bench.sit(&jobs, &a);
    let mut claim = ClaimShared {
        consumer: jobs.clone(),
        member: a.clone(),
        batch: pulsar_proxy::topic::Batch {
            messages_max: 70,
            bytes_max: 1,
        },
        confirmed: 1 << 50,
    };
    let mut found = Vec::new();
    for bytes_max in [1, 1 << 20] {
        claim.batch.bytes_max = bytes_max;
        let ConsumerReply::Claimed(claimed) = bench.run(ConsumerAction::Claim(claim.clone()))
        else {
            panic!("it is seated");
        };
        assert!(claimed.more);
        found.extend(pairs(&claimed.messages));
    }
    let first = sent[..71].iter().map(|position| (*position, 1));
    assert_eq!(found, first.collect::<Vec<_>>());
    let up_to = bench.settle("a", None, Settling::AcknowledgeUpTo, &[sent[70]]);
    assert_eq!(up_to.0, [Ack::Acknowledged(71)]);
}

#[test]
fn much_at_once_goes_in_several_claims() {
    let mut bench = Bench::new();
    let (jobs, mut a) = (client("a"), member("a", 1));
    a.rules.window = 10_000;
    for _ in 0..2_500 {
        bench.publish(None);
    }
    bench.sit(&jobs, &a);
    let all = bench.try_claim(&jobs, &a, 5_000, 0).unwrap();
    assert_eq!(all.messages.len(), 2_500);
    // All of it is due.
    bench.now += RULES.ack_timeout / 1_000;
    let due = bench.try_claim(&jobs, &a, 5_000, all.serial).unwrap();
    assert_eq!((due.messages.len(), due.next_due), (1_000, Some(0)));
    // All of it is lost, and told once.
    bench.trim(None);
    let (mut gaps, mut serial) = (Vec::new(), due.serial);
    loop {
        let claim = bench.try_claim(&jobs, &a, 10, serial).unwrap();
        gaps.extend(claim.gaps);
        serial = claim.serial;
        if !claim.more {
            break;
        }
    }
    assert_eq!(gaps.len(), 3);
    assert_eq!((gaps[0].0, gaps[2].1), (Position::ZERO, bench.newest));
    assert!(gaps.windows(2).all(|two| two[0].1 == two[1].0));
    // What nobody wants any more is passed over, a few thousand at a time.
    for _ in 0..5_000 {
        bench.publish(Some(1));
    }
    bench.now += 1_000;
    let last = bench.publish(None);
    let claim = bench.try_claim(&jobs, &a, 10, serial).unwrap();
    assert!(claim.messages.is_empty() && claim.more);
    let mut found = Vec::new();
    while found.is_empty() {
        found = bench.claimed(&jobs, &a);
    }
    assert_eq!(found, [(last, 1)]);
}

#[test]
fn the_clock_is_that_of_the_server() {
    let mut bench = Bench::new();
    let (jobs, mut a) = (client("a"), member("a", 1));
    a.rules.ack_timeout = 1_000;
    bench.now = 0;
    let one = bench.publish(None);
    bench.sit(&jobs, &a);
    let mut attempts = Vec::new();
    while attempts.len() < 3 {
        let task = ConsumerTask {
            topic: bench.topic.clone(),
            action: ConsumerAction::Claim(ClaimShared {
                consumer: jobs.clone(),
                member: a.clone(),
                batch: pulsar_proxy::topic::Batch {
                    messages_max: 1,
                    bytes_max: 1,
                },
                confirmed: 1 << 50,
            }),
        };
        let call = task.call(&bench.keys, &bench.terms);
        let Ok(ConsumerReply::Claimed(claim)) = task.read(bench.send(&call)) else {
            panic!("it is seated");
        };
        attempts.extend(pairs(&claim.messages));
    }
    assert_eq!(attempts, [(one, 1), (one, 2), (one, 3)]);
}
