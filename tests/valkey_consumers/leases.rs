//! Instances that die, or that Valkey does not hear of for a while.

use pulsar_proxy::topic::{Ack, ConsumerName};
use pulsar_proxy::valkey::consumers::*;

use super::bench::{Bench, client, group, member};

const LEASE_MILLIS: u64 = 6_000;

fn refresh(
    bench: &mut Bench,
    seats: &[(ConsumerName, SharedMember)],
) -> (Vec<usize>, Vec<SharedSeat>) {
    match bench.run(ConsumerAction::Refresh(seats.to_vec())) {
        ConsumerReply::Refreshed { unseated, wake, .. } => (unseated, wake),
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_a_dead_instance_held_is_for_those_that_are_left() {
    let mut bench = Bench::new();
    let (a, b, mut poll) = (member("a", 1), member("b", 2), member("p", 3));
    poll.is_poll = true;
    let one = bench.publish(None);
    bench.sit(&group(), &a);
    assert_eq!(bench.claimed(&group(), &a), [(one, 1)]);
    bench.sit(&group(), &poll);
    let two = bench.publish(None);
    assert_eq!(bench.claimed(&group(), &poll), [(two, 1)]);
    bench.terms.instance = "i2".into();
    bench.sit(&group(), &b);
    let seats = [(group(), b.clone())];
    bench.now += LEASE_MILLIS - 1;
    assert_eq!(refresh(&mut bench, &seats), (Vec::new(), Vec::new()));
    assert!(bench.claimed(&group(), &b).is_empty());
    bench.now += 1;
    // Two have gone, so the channel is used for whom there is.
    assert_eq!(refresh(&mut bench, &seats).0, [0; 0]);
    assert_eq!(bench.claimed(&group(), &b), [(one, 2)]);
    assert_eq!(
        bench.ack("p", two),
        Ack::Acknowledged(1),
        "a poll may acknowledge late"
    );
    assert_eq!(bench.ack("a", one), Ack::Reassigned);
}

#[test]
fn members_of_the_same_instance_are_told_without_the_channel() {
    let mut bench = Bench::new();
    let (a, b) = (member("a", 1), member("b", 2));
    let one = bench.publish(None);
    bench.sit(&group(), &a);
    assert_eq!(bench.claimed(&group(), &a), [(one, 1)]);
    bench.now += LEASE_MILLIS - 1;
    bench.sit(&group(), &b);
    bench.now += 1;
    let (unseated, wake) = refresh(&mut bench, &[(group(), b.clone())]);
    assert_eq!(unseated, [0; 0]);
    assert!(wake.contains(&b.seat));
    assert_eq!(bench.claimed(&group(), &b), [(one, 2)]);
}

#[test]
fn who_comes_back_has_the_seat_unless_somebody_took_it() {
    let mut bench = Bench::new();
    let (jobs, a) = (client("a"), member("a", 1));
    let one = bench.publish(None);
    bench.sit(&jobs, &a);
    assert_eq!(bench.claimed(&jobs, &a), [(one, 1)]);
    // Nobody looked meanwhile: nothing was given back.
    bench.now += LEASE_MILLIS + 1_000;
    assert!(bench.claimed(&jobs, &a).is_empty());
    let b = member("a", 2);
    bench.now += LEASE_MILLIS + 1_000;
    let attached = bench.sit(&jobs, &b);
    assert!(
        !attached.has_replaced && attached.resumed,
        "its lease was over"
    );
    assert_eq!(refresh(&mut bench, &[(jobs.clone(), a.clone())]).0, [0]);
    assert_eq!(bench.try_claim(&jobs, &a, 1, 0), Err(Unseated::Lost));
    assert_eq!(bench.claimed(&jobs, &b), [(one, 2)]);
    bench.detach(&jobs, &b);
    assert_eq!(bench.try_claim(&jobs, &a, 1, 0), Err(Unseated::Lost));
}

#[test]
fn a_member_of_a_group_sits_down_again() {
    let mut bench = Bench::new();
    let (a, b) = (member("a", 1), member("b", 2));
    let one = bench.publish(None);
    bench.sit(&group(), &a);
    assert_eq!(bench.claimed(&group(), &a), [(one, 1)]);
    bench.now += LEASE_MILLIS;
    bench.sit(&group(), &b);
    let seats = [(group(), a.clone()), (group(), b.clone())];
    assert_eq!(refresh(&mut bench, &seats).0, [0]);
    assert_eq!(bench.claimed(&group(), &a), [(one, 2)]);
    assert_eq!(refresh(&mut bench, &seats).0, [0; 0]);
    bench.detach(&group(), &a);
    assert_eq!(bench.claimed(&group(), &b), [(one, 3)]);
}

#[test]
fn many_seats_are_refreshed_in_several_calls() {
    let seat = (group(), member("a", 1));
    let seats = vec![seat; REFRESH_SEATS_MAX + 1];
    let sizes = ConsumerAction::refreshes(&seats).map(|action| match action {
        ConsumerAction::Refresh(seats) => seats.len(),
        other => panic!("{other:?}"),
    });
    assert_eq!(sizes.collect::<Vec<_>>(), [REFRESH_SEATS_MAX, 1]);
}
