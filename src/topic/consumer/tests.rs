//! Each rule of durable consumers by itself.

mod bench;
mod model;
mod naive;
mod operations;
mod threads;

use super::*;
use crate::topic::{Epoch, GapReason, MessageId, News, Start, StoreError, TopicName};
use bench::{Bench, RULES, SECOND, client, group, member, pairs, poll};

#[test]
fn a_durable_position_beats_the_start_unless_reset() {
    let mut bench = Bench::new();
    let (anna, first) = (client("anna"), member("anna", 0, 1));
    assert!(!bench.attach(&anna, &first, RULES).resumed);
    let ids = bench.publish(3);
    assert_eq!(bench.claimed(&anna, &first), [(1, 1), (2, 1), (3, 1)]);
    assert_eq!(
        bench.settle(&ids[2], "anna", None, true),
        Ack::Acknowledged(3)
    );
    bench.detach(&anna, &first);
    bench.publish(1);
    let second = member("anna", 0, 2);
    let attached = bench
        .try_attach(&anna, &second, RULES, Start::Last, false)
        .unwrap();
    assert!(attached.resumed && attached.subscribed.gap.is_none());
    assert_eq!(attached.subscribed.resume, ids[2]);
    assert_eq!(bench.claimed(&anna, &second), [(4, 1)]);
    let attached = bench
        .try_attach(&anna, &second, RULES, Start::Earliest, true)
        .unwrap();
    assert!(!attached.resumed && attached.replaced.is_none());
    assert_eq!(bench.claimed(&anna, &second).len(), 4, "all from the start");
}

#[test]
fn the_window_bounds_what_is_held_and_an_ack_gives_word() {
    let mut bench = Bench::new();
    let (anna, seat) = (client("anna"), member("anna", 0, 1));
    bench.attach(&anna, &seat, ClaimRules { window: 2, ..RULES });
    let ids = bench.publish(3);
    bench.take_news(&seat);
    let (claim, claims) = bench.claim(&anna, &seat);
    assert_eq!(pairs(&claims.messages), [(1, 1), (2, 1)]);
    let next_due = bench.now + RULES.ack_timeout;
    let full = Claim {
        more: false,
        next_due,
    };
    assert_eq!(claim, Some(full), "the window is full, not the batch");
    assert_eq!(bench.ack(&ids[0], "anna"), Ack::Acknowledged(1));
    let told = [News {
        worker: 0,
        local: 7,
    }];
    assert_eq!(bench.news, told);
    assert_eq!(bench.claimed(&anna, &seat), [(3, 1)]);
    assert_eq!(bench.ack(&ids[1], "anna"), Ack::Acknowledged(1));
    assert!(bench.news.is_empty(), "nothing waits");
    assert_eq!(bench.ack(&ids[1], "anna"), Ack::NotPending);
}

#[test]
fn what_is_due_comes_before_what_is_new() {
    let mut bench = Bench::new();
    let (anna, seat) = (client("anna"), member("anna", 0, 1));
    bench.attach(&anna, &seat, RULES);
    let ids = bench.publish(4);
    let (claim, _) = bench.claim_some(&anna, &seat, 3);
    assert!(claim.unwrap().more);
    bench.ack(&ids[1], "anna");
    bench.now += RULES.ack_timeout - 1;
    assert_eq!(bench.claimed(&anna, &seat), [(4, 1)]);
    bench.now += 1;
    bench.publish(1);
    assert_eq!(bench.claimed(&anna, &seat), [(1, 2), (3, 2), (5, 1)]);
    assert_eq!(bench.ack(&ids[0], "anna"), Ack::Acknowledged(1));
}

#[test]
fn a_newer_member_takes_over_with_what_was_pending() {
    let mut bench = Bench::new();
    let (anna, older, newer) = (client("anna"), member("anna", 0, 1), member("anna", 1, 1));
    bench.attach(&anna, &older, RULES);
    bench.publish(2);
    bench.claim(&anna, &older);
    let attached = bench.attach(&anna, &newer, RULES);
    assert_eq!(attached.replaced, Some(older.seat));
    assert_eq!(bench.claim(&anna, &older).0, None);
    assert_eq!(
        bench.claimed(&anna, &newer),
        [(1, 2), (2, 2)],
        "at once: the older connection ends"
    );
    assert_eq!(bench.detach(&anna, &older), 0);
    assert!(bench.claim(&anna, &newer).0.is_some(), "it kept its seat");
}

#[test]
fn a_lost_connection_gives_back_at_once_and_a_poll_does_not() {
    let mut bench = Bench::new();
    let (anna, connection) = (client("anna"), member("anna", 0, 1));
    bench.attach(&anna, &connection, RULES);
    bench.publish(2);
    bench.claim_some(&anna, &connection, 1);
    bench.detach(&anna, &connection);
    let first = poll("anna", 2);
    bench.attach(&anna, &first, RULES);
    assert_eq!(bench.claimed(&anna, &first), [(1, 2), (2, 1)]);
    bench.detach(&anna, &first);
    let second = poll("anna", 3);
    let attached = bench.attach(&anna, &second, RULES);
    assert_eq!(attached.replaced, None);
    let (claim, claims) = bench.claim(&anna, &second);
    assert!(claims.messages.is_empty());
    assert_eq!(claim.unwrap().next_due, bench.now + RULES.ack_timeout);
    bench.attach(&anna, &member("anna", 0, 4), RULES);
    bench.detach(&anna, &member("anna", 0, 4));
    bench.now += RULES.ack_timeout;
    bench.attach(&anna, &poll("anna", 5), RULES);
    assert_eq!(bench.claimed(&anna, &poll("anna", 5)), [(1, 3), (2, 2)]);
}

#[test]
fn polls_share_one_window() {
    let mut bench = Bench::new();
    let rules = ClaimRules { window: 3, ..RULES };
    bench.publish(10);
    for consumer in [client("anna"), group()] {
        for (connection, expected) in [(1, 2), (2, 1), (3, 0)] {
            let seat = poll("anna", connection);
            bench.attach(&consumer, &seat, rules);
            let (_, claims) = bench.claim_some(&consumer, &seat, 2);
            assert_eq!(claims.messages.len(), expected);
            bench.detach(&consumer, &seat);
        }
    }
}

#[test]
fn members_of_a_group_share_and_a_killed_one_gives_back() {
    let mut bench = Bench::new();
    let (a, b) = (member("a", 0, 1), member("b", 1, 1));
    let rules = ClaimRules { window: 2, ..RULES };
    bench.attach(&group(), &a, rules);
    bench.attach(&group(), &b, rules);
    let ids = bench.publish(5);
    for seat in [&a, &b] {
        bench.take_news(seat);
    }
    assert_eq!(bench.claimed(&group(), &a), [(1, 1), (2, 1)]);
    assert_eq!(bench.claimed(&group(), &b), [(3, 1), (4, 1)]);
    assert_eq!(bench.ack(&ids[0], "b"), Ack::Reassigned, "it is with a");
    bench.ack(&ids[2], "b");
    assert_eq!(bench.news[0].worker, 1, "there is room for the fifth");
    bench.take_news(&b);
    assert_eq!(bench.claimed(&group(), &b), [(5, 1)]);
    assert_eq!(bench.detach(&group(), &a), 1);
    assert_eq!(bench.news[0].worker, 1, "the others are told");
    assert_eq!(
        bench.ack(&ids[1], "a"),
        Ack::Acknowledged(1),
        "nobody has it"
    );
    bench.take_news(&b);
    assert_eq!(bench.claimed(&group(), &b), [], "no room");
    bench.ack(&ids[3], "b");
    assert_eq!(bench.claimed(&group(), &b), [(1, 2)]);
    assert_eq!(bench.ack(&ids[0], "a"), Ack::Reassigned);
    let stranger = bench.ack(&ids[0], "c");
    assert_eq!(
        stranger,
        Ack::Acknowledged(1),
        "of no concern to the members"
    );
    assert_eq!(bench.ack(&ids[0], "b"), Ack::Acknowledged(1));
    assert_eq!(bench.ack(&ids[0], "a"), Ack::NotPending);
}

#[test]
fn a_timeout_in_a_group_gives_to_whoever_claims_first() {
    let mut bench = Bench::new();
    let (a, b) = (member("a", 0, 1), member("b", 0, 2));
    for seat in [&a, &b] {
        bench.attach(&group(), seat, RULES);
    }
    let ids = bench.publish(1);
    assert_eq!(bench.claimed(&group(), &a), [(1, 1)]);
    let (claim, _) = bench.claim(&group(), &b);
    assert_eq!(claim.unwrap().next_due, bench.now + RULES.ack_timeout);
    bench.now += RULES.ack_timeout;
    assert_eq!(bench.claimed(&group(), &b), [(1, 2)]);
    let preferred = Some(group());
    let acked = bench.settle(&ids[0], "a", preferred.as_ref(), false);
    assert_eq!(acked, Ack::Reassigned);
}

#[test]
fn the_others_learn_when_what_a_poll_holds_is_due() {
    let mut bench = Bench::new();
    let (a, b) = (member("a", 1, 1), poll("b", 1));
    for seat in [&a, &b] {
        bench.attach(&group(), seat, RULES);
    }
    bench.publish(1);
    bench.take_news(&a);
    bench.claim(&group(), &b);
    assert_eq!(bench.detach(&group(), &b), 1);
    let (claim, claims) = bench.claim(&group(), &a);
    assert!(claims.messages.is_empty());
    assert_eq!(claim.unwrap().next_due, bench.now + RULES.ack_timeout);
}

#[test]
fn nack_puts_off_as_long_as_it_says() {
    let mut bench = Bench::new();
    let (anna, seat) = (client("anna"), member("anna", 0, 1));
    bench.attach(&anna, &seat, RULES);
    let ids = bench.publish(2);
    bench.take_news(&seat);
    bench.claim(&anna, &seat);
    assert_eq!(bench.nack(&ids[1], "anna", 0), Ack::Acknowledged(1));
    assert_eq!(bench.news.len(), 1);
    assert_eq!(
        bench.nack(&ids[0], "anna", 5 * SECOND),
        Ack::Acknowledged(1)
    );
    let (claim, claims) = bench.claim(&anna, &seat);
    assert_eq!(pairs(&claims.messages), [(2, 2)]);
    assert_eq!(claim.unwrap().next_due, bench.now + 5 * SECOND);
    bench.now += 5 * SECOND;
    assert_eq!(bench.claimed(&anna, &seat), [(1, 2)]);
    assert_eq!(bench.nack(&ids[0], "bert", 0), Ack::NotPending);
}

#[test]
fn used_up_attempts_make_a_message_dead_until_it_is_buried() {
    let mut bench = Bench::new();
    let (anna, seat) = (client("anna"), member("anna", 0, 1));
    let rules = ClaimRules {
        max_deliveries: 2,
        window: 1,
        ..RULES
    };
    bench.attach(&anna, &seat, rules);
    let ids = bench.publish(2);
    bench.claim(&anna, &seat);
    bench.nack(&ids[0], "anna", 0);
    assert_eq!(bench.claimed(&anna, &seat), [(1, 2)]);
    bench.now += RULES.ack_timeout;
    let (claim, claims) = bench.claim(&anna, &seat);
    assert!(claims.messages.is_empty());
    assert_eq!(pairs(&claims.dead), [(1, 2)]);
    let claim = claim.unwrap();
    assert!(claim.more, "its place is free once it is buried");
    assert_eq!(claim.next_due, bench.now + SECOND);
    let (claim, claims) = bench.claim(&anna, &seat);
    assert!(claims.dead.is_empty() && !claim.unwrap().more);
    bench.now += SECOND;
    assert_eq!(pairs(&bench.claim(&anna, &seat).1.dead), [(1, 2)]);
    bench.store.bury(bench.handle(), &anna, &ids[0]);
    assert_eq!(bench.claimed(&anna, &seat), [(2, 1)]);
    bench.store.bury(bench.handle(), &anna, &ids[1]);
    let living = bench.ack(&ids[1], "anna");
    assert_eq!(living, Ack::Acknowledged(1), "what lives is not buried");
}

#[test]
fn what_history_drops_is_told_once_and_leaves_the_window() {
    let mut bench = Bench::with(|limits| limits.history.messages_max = 2);
    let (anna, seat) = (client("anna"), member("anna", 0, 1));
    bench.attach(&anna, &seat, ClaimRules { window: 2, ..RULES });
    let ids = bench.publish(2);
    bench.take_news(&seat);
    bench.claim(&anna, &seat);
    bench.ack(&ids[0], "anna");
    bench.publish(1);
    bench.take_news(&seat);
    let newer = bench.publish(3);
    bench.take_news(&seat);
    bench.publish(1);
    let (_, claims) = bench.claim(&anna, &seat);
    let [gap] = claims.gaps[..] else {
        panic!("one gap: {:?}", claims.gaps);
    };
    assert_eq!(gap.reason, GapReason::Trimmed);
    assert!(gap.from.position < ids[1].position, "what was pending");
    assert!(
        gap.from.position >= ids[0].position,
        "not what was acknowledged"
    );
    assert_eq!(gap.to, newer[1]);
    assert_eq!(pairs(&claims.messages), [(6, 1), (7, 1)]);
    assert!(bench.claim(&anna, &seat).1.gaps.is_empty());
}

#[test]
fn what_was_missed_is_one_gap_of_the_first_claim() {
    let mut bench = Bench::with(|limits| limits.history.messages_max = 1);
    let (anna, seat) = (client("anna"), member("anna", 0, 1));
    bench.attach(&anna, &seat, RULES);
    bench.publish(1);
    let (_, claims) = bench.claim(&anna, &seat);
    assert_eq!(pairs(&claims.messages), [(1, 1)]);
    bench.detach(&anna, &seat);
    bench.store.unsubscribe(bench.handle(), 0);
    let ids = bench.publish(3);
    let attached = bench.attach(&anna, &seat, RULES);
    assert!(attached.misses && attached.subscribed.gap.is_none());
    let (_, claims) = bench.claim(&anna, &seat);
    let [gap] = claims.gaps[..] else {
        panic!(
            "what was pending and what follows are one: {:?}",
            claims.gaps
        );
    };
    assert_eq!(gap.to, ids[1]);
    assert_eq!(pairs(&claims.messages), [(4, 1)]);
    bench.detach(&anna, &seat);
    assert!(!bench.attach(&anna, &seat, RULES).misses, "told once");
}

#[test]
fn what_expires_leaves_in_silence() {
    let mut bench = Bench::new();
    let (anna, seat) = (client("anna"), member("anna", 0, 1));
    bench.attach(&anna, &seat, ClaimRules { window: 1, ..RULES });
    let ids = bench.publish_until(1, bench.now + SECOND);
    bench.publish(1);
    let (claim, _) = bench.claim(&anna, &seat);
    assert_eq!(claim.unwrap().next_due, bench.now + SECOND);
    bench.now += SECOND;
    let (_, claims) = bench.claim(&anna, &seat);
    assert!(claims.gaps.is_empty() && claims.dead.is_empty());
    assert_eq!(pairs(&claims.messages), [(2, 1)]);
    assert_eq!(bench.ack(&ids[0], "anna"), Ack::NotPending);
}

#[test]
fn strangers_acknowledge_what_is_kept() {
    let mut bench = Bench::new();
    let ids = bench.publish(1);
    assert_eq!(bench.ack(&ids[0], "anna"), Ack::Acknowledged(1));
    let other_epoch = MessageId {
        epoch: Epoch::new(2),
        ..ids[0]
    };
    assert_eq!(bench.ack(&other_epoch, "anna"), Ack::Unknown);
    let never_issued = MessageId {
        position: ids[0].position.next(u64::MAX),
        ..ids[0]
    };
    assert_eq!(bench.ack(&never_issued, "anna"), Ack::Unknown);
    let other_topic = MessageId {
        topic: crate::topic::TopicHash::of("none"),
        ..ids[0]
    };
    assert_eq!(bench.ack(&other_topic, "anna"), Ack::Unknown);
    let expiring = bench.publish_until(1, bench.now + 1);
    bench.now += 1;
    assert_eq!(bench.ack(&expiring[0], "anna"), Ack::Unknown);
}

#[test]
fn consumers_and_members_are_bounded() {
    let mut bench = Bench::with(|limits| {
        limits.consumers_max = 2;
        limits.group_members_max = 1;
    });
    let (a, b) = (member("a", 0, 1), member("b", 0, 2));
    bench.attach(&client("a"), &a, RULES);
    bench.attach(&group(), &a, RULES);
    let refused = |consumer: &ConsumerName, seat: &Member| {
        bench
            .try_attach(consumer, seat, RULES, Start::Last, false)
            .unwrap_err()
    };
    assert_eq!(refused(&client("b"), &b), StoreError::ConsumersMax);
    assert_eq!(refused(&group(), &b), StoreError::GroupMembersMax);
    bench.name = TopicName::parse("other").unwrap();
    let result = bench.try_attach(&client("b"), &b, RULES, Start::Last, false);
    assert_eq!(result.unwrap_err(), StoreError::ConsumersMax);
    let stats = bench.store.stats();
    assert_eq!(
        (stats.topics_total, stats.consumers),
        (1, 2),
        "nothing is left of the refused"
    );
}

#[test]
fn an_abandoned_consumer_is_dropped_and_gives_its_bytes_back() {
    let mut bench = Bench::new();
    let (anna, seat) = (client("anna"), member("anna", 0, 1));
    bench.attach(&anna, &seat, RULES);
    let ids = bench.publish(1);
    bench.take_news(&seat);
    bench.claim(&anna, &seat);
    let stats = bench.store.stats();
    assert_eq!((stats.consumers, stats.consumers_pending), (1, 1));
    bench.now += 2 * 3600 * SECOND;
    bench.store.sweep(0, 1, bench.moment());
    assert_eq!(bench.store.stats().consumers, 1, "it has a member");
    bench.detach(&anna, &seat);
    bench.store.unsubscribe(bench.handle(), 0);
    let with_consumer = bench.store.budget().used_exactly();
    bench.now += 3600 * SECOND - 1;
    bench.store.sweep(0, 1, bench.moment());
    assert_eq!(bench.store.stats().consumers, 1);
    bench.now += 1;
    bench.store.sweep(0, 1, bench.moment());
    let stats = bench.store.stats();
    assert_eq!((stats.consumers, stats.consumers_pending), (0, 0));
    assert!(bench.store.budget().used_exactly() < with_consumer);
    assert_eq!(bench.ack(&ids[0], "anna"), Ack::Acknowledged(1), "no state");
}

#[test]
fn a_topic_with_a_consumer_is_not_freed() {
    let mut bench = Bench::new();
    let (anna, seat) = (client("anna"), member("anna", 0, 1));
    bench.attach(&anna, &seat, RULES);
    bench.detach(&anna, &seat);
    bench.store.unsubscribe(bench.handle(), 0);
    bench.store.sweep(0, 1, bench.moment());
    assert!(bench.store.find(&bench.name).is_some());
    bench.now += 3600 * SECOND;
    bench.store.sweep(0, 1, bench.moment());
    assert!(bench.store.find(&bench.name).is_none());
    assert_eq!(bench.store.budget().used_exactly(), 0);
}
