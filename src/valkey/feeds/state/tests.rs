use super::super::followed::Held;
use super::super::mending::{Misfit, Settle};
use super::*;
use crate::topic::{Budget, Draft};

const LINGER: u64 = 10_000_000;

struct Bench {
    state: State,
    out: Effects,
}

fn topic() -> TopicName {
    TopicName::parse("t").unwrap()
}

fn waiter(ticket: u64) -> Waiter {
    Waiter { worker: 0, ticket }
}

impl Bench {
    fn new() -> Bench {
        let (state, out) = (State::new(LINGER, 0), Effects::default());
        Bench { state, out }
    }

    /// With a topic whose log is whole.
    fn following() -> Bench {
        let mut bench = Bench::new();
        bench.connect(0);
        bench.sync(1, u64::MAX, 0);
        assert_eq!(bench.errands(), [Errand::Subscribe(topic())]);
        bench.state.confirmed("t", &mut bench.out);
        assert!(matches!(bench.out.orders.pop(), Some(Order::Tail(_))));
        assert_eq!(bench.state.awaits_tail(&topic()), Some(false));
        bench.state.stands(&topic(), Position::ZERO, false);
        bench.state.settle(&topic(), 0, &mut bench.out);
        assert_eq!(bench.replies(), [], "the number has not come back");
        bench.echo(0);
        assert_eq!(bench.replies(), [(1, Ok(()))]);
        bench
    }

    fn connect(&mut self, now: u64) {
        self.state.connected(Vec::new());
        self.state.listens(now, &mut self.out);
    }

    fn sync(&mut self, ticket: u64, deadline: u64, now: u64) {
        let waiter = waiter(ticket);
        self.state
            .sync(topic(), waiter, deadline, now, &mut self.out);
    }

    /// The newest number comes back.
    fn echo(&mut self, now: u64) {
        self.state.echoed(self.state.numbered, now, &mut self.out);
    }

    fn errands(&mut self) -> Vec<Errand> {
        let mut errands = Vec::new();
        self.state.take_errands(&mut errands);
        errands
    }

    fn replies(&mut self) -> Vec<(u64, Result<(), Refused>)> {
        let replies = self.out.replies.drain(..);
        replies
            .map(|(waiter, result)| (waiter.ticket, result))
            .collect()
    }

    /// Numbers that are to be echoed, and nothing else.
    fn echoes(&mut self) -> Vec<u64> {
        let number = |order| match order {
            Order::Echo(number) => number,
            order => panic!("{order:?}"),
        };
        self.out.orders.drain(..).map(number).collect()
    }

    fn close(&mut self, now: u64) -> bool {
        let mut is_asked = false;
        let close = |_: &TopicName| {
            is_asked = true;
            true
        };
        assert!(!self.state.close_some(now, 8, close));
        is_asked
    }
}

#[test]
fn an_echo_answers_those_who_asked_before_it() {
    let mut bench = Bench::following();
    bench.sync(2, u64::MAX, 1);
    let asked = bench.state.numbered;
    bench.sync(3, u64::MAX, 1);
    bench.state.echoed(asked, 2, &mut bench.out);
    assert_eq!(bench.replies(), [(2, Ok(()))]);
    // Neither an old number nor one that was never given says anything.
    bench.state.echoed(asked, 2, &mut bench.out);
    bench.state.echoed(u64::MAX, 2, &mut bench.out);
    assert_eq!(bench.replies(), []);
    bench.echo(2);
    assert_eq!(bench.replies(), [(3, Ok(()))]);
}

#[test]
fn who_waits_too_long_is_told() {
    let mut bench = Bench::following();
    bench.sync(2, 500, 1);
    bench.sync(3, 501, 1);
    bench.state.tick(500, &mut bench.out);
    assert_eq!(bench.replies(), [(2, Err(Refused::TooLate))]);
    bench.echo(500);
    assert_eq!(bench.replies(), [(3, Ok(()))]);
}

#[test]
fn nobody_waits_long_for_a_connection() {
    let mut bench = Bench::following();
    bench.state.disconnected(100);
    bench.sync(2, u64::MAX, 200);
    bench.state.disconnected(PATIENCE);
    bench.state.tick(PATIENCE + 99, &mut bench.out);
    assert_eq!(bench.replies(), []);
    bench.state.tick(PATIENCE + 100, &mut bench.out);
    bench.sync(3, u64::MAX, PATIENCE + 100);
    let away = Err(Refused::Away);
    assert_eq!(bench.replies(), [(2, away), (3, away)]);
    bench.connect(PATIENCE + 200);
    bench.sync(4, u64::MAX, PATIENCE + 200);
    assert_eq!(bench.replies(), []);
}

#[test]
fn a_connection_on_which_nothing_comes_back_is_mute() {
    let mut bench = Bench::new();
    assert!(!bench.state.is_mute(u64::MAX), "there is none");
    bench.connect(0);
    assert_eq!(bench.echoes(), [1]);
    bench.state.tick(CANARY_INTERVAL - 1, &mut bench.out);
    assert!(bench.echoes().is_empty());
    bench.state.tick(CANARY_INTERVAL, &mut bench.out);
    bench.state.tick(CANARY_INTERVAL + 1, &mut bench.out);
    assert_eq!(bench.echoes(), [2]);
    assert!(!bench.state.is_mute(ECHO_WITHIN - 1) && bench.state.is_mute(ECHO_WITHIN));
    bench.echo(ECHO_WITHIN);
    assert!(!bench.state.is_mute(ECHO_WITHIN) && bench.state.is_heard());
}

#[test]
fn a_topic_that_nobody_wants_is_closed_after_the_linger() {
    let mut bench = Bench::following();
    assert!(!bench.close(LINGER - 1), "not looked at yet");
    bench.sync(2, u64::MAX, LINGER - 1);
    assert!(!bench.close(LINGER), "somebody waits for it");
    bench.echo(LINGER + 5);
    assert!(!bench.close(2 * LINGER), "who was told is about to read it");
    assert_eq!(bench.errands(), []);
    assert!(bench.close(3 * LINGER));
    assert_eq!(bench.errands(), [Errand::Unsubscribe(topic())]);
    assert_eq!(bench.state.count(), [0, 0]);
    bench.sync(3, u64::MAX, 3 * LINGER);
    assert_eq!(bench.errands(), [Errand::Subscribe(topic())]);
    // What waited for its turn before does not count for the new one.
    assert!(!bench.close(4 * LINGER));
    assert_eq!(bench.state.looks.len(), 1);
}

#[test]
fn a_topic_that_is_read_stays() {
    let mut bench = Bench::following();
    assert!(!bench.state.close_some(5 * LINGER, 8, |_| false));
    assert_eq!((bench.errands(), bench.state.count()), (vec![], [1, 0]));
}

#[test]
fn what_may_pass_is_tried_again_while_somebody_waits() {
    let mut bench = Bench::new();
    bench.connect(0);
    bench.sync(1, 1_000, 0);
    bench.state.confirmed("t", &mut bench.out);
    bench.out.orders.clear();
    bench.state.no_tail(&topic(), Refused::Away, &mut bench.out);
    bench.state.tick(100, &mut bench.out);
    assert!(matches!(bench.out.orders.pop(), Some(Order::Tail(_))));
    bench.state.no_tail(&topic(), Refused::Away, &mut bench.out);
    bench.state.tick(1_000, &mut bench.out);
    assert_eq!(bench.replies(), [(1, Err(Refused::TooLate))]);
    assert_eq!(bench.state.count(), [0, 0]);
    assert!(bench.errands().contains(&Errand::Unsubscribe(topic())));
}

#[test]
fn what_does_not_pass_is_told_at_once() {
    let mut bench = Bench::new();
    bench.connect(0);
    bench.sync(1, u64::MAX, 0);
    bench.state.confirmed("t", &mut bench.out);
    bench
        .state
        .no_tail(&topic(), Refused::Error, &mut bench.out);
    assert_eq!(bench.replies(), [(1, Err(Refused::Error))]);
    assert_eq!(bench.state.count(), [0, 0]);
}

#[test]
fn after_a_loss_every_topic_is_read_and_few_at_a_time() {
    let mut bench = Bench::new();
    bench.connect(0);
    let name = |number: usize| TopicName::parse(&format!("t{number}")).unwrap();
    let open = (0..200).map(|number| (name(number), Position::ZERO));
    let open: Vec<_> = open.collect();
    for (name, _) in &open {
        bench
            .state
            .sync(name.clone(), waiter(1), u64::MAX, 0, &mut bench.out);
        bench.state.confirmed(name, &mut bench.out);
        bench.state.stands(name, Position::ZERO, false);
        bench.state.settle(name, 0, &mut bench.out);
    }
    assert_eq!(bench.state.count(), [200, 0]);
    bench.state.disconnected(1);
    bench.out.orders.clear();
    bench.state.connected(open.clone());
    bench.state.listens(1, &mut bench.out);
    assert_eq!((bench.errands().len(), bench.echoes().len()), (200, 1));
    for (name, _) in &open {
        bench.state.confirmed(name, &mut bench.out);
    }
    let mut read = 0;
    while !bench.out.orders.is_empty() {
        let orders: Vec<_> = bench.out.orders.drain(..).collect();
        assert!(orders.len() <= 64, "{} at a time", orders.len());
        for order in orders {
            let Order::ReadOn { topic, behind } = order else {
                panic!("{order:?}");
            };
            bench.state.mended(&topic, behind, false, &mut bench.out);
            bench.state.settle(&topic, 1, &mut bench.out);
            read += 1;
        }
    }
    assert_eq!((read, bench.state.count()), (200, [200, 0]));
}

#[test]
fn what_is_held_and_does_not_fit_is_read() {
    let mut bench = Bench::following();
    let behind = Position::new(7, 0);
    bench.out.orders.clear();
    for is_second in [false, true] {
        let never = || unreachable!("nothing is held in a log that is whole");
        let newest = Some(Position::ZERO);
        let misfit = bench
            .state
            .misfit(&topic(), newest, is_second, never, &mut bench.out);
        assert_eq!(misfit == Misfit::Retry, !is_second);
    }
    assert!(matches!(bench.out.orders.pop(), Some(Order::ReadOn { .. })));
    let held = || Some(held(Position::new(8, 0), Position::new(9, 0)));
    bench
        .state
        .misfit(&topic(), None, false, held, &mut bench.out);
    bench.state.mended(&topic(), behind, false, &mut bench.out);
    let Settle::Feed(found) = bench.state.settle(&topic(), 0, &mut bench.out) else {
        panic!("something is held");
    };
    assert_eq!(found.len(), 1);
    bench.state.unsettled(&topic(), behind);
    bench.state.settle(&topic(), 0, &mut bench.out);
    let order = bench.out.orders.pop();
    assert!(matches!(order, Some(Order::ReadOn { behind: from, .. }) if from == behind));
    assert_eq!(bench.state.count(), [1, 1]);
}

#[test]
fn each_channel_that_is_not_heard_is_asked_for_once() {
    let mut bench = Bench::new();
    bench.connect(0);
    let names = ["a", "b", "c"].map(|name| TopicName::parse(name).unwrap());
    for name in &names {
        bench.state.take_over(left(name), 0, &mut bench.out);
    }
    assert_eq!(bench.errands().len(), names.len());
    for _ in 0..9 {
        // All are in one slot, and each is refused because of that.
        for _ in &names {
            bench.state.all_unheard(|_| true);
        }
        bench.state.hear_again(Vec::new(), 0, &mut bench.out);
        assert_eq!(bench.errands().len(), names.len());
    }
}

#[test]
fn who_waits_for_a_turn_has_it_when_those_before_have_left() {
    let mut bench = Bench::new();
    bench.connect(0);
    let topics = (0..100).map(|number| TopicName::parse(&format!("t{number}")).unwrap());
    let topics: Vec<TopicName> = topics.collect();
    for name in &topics {
        bench.state.take_over(left(name), 0, &mut bench.out);
        bench.state.confirmed(name.as_str(), &mut bench.out);
        bench.state.stands(name, Position::ZERO, true);
        bench.state.settle(name, 0, &mut bench.out);
    }
    let being_read = |out: &mut Effects| {
        let orders = out.orders.drain(..).filter_map(|order| match order {
            Order::ReadOn { topic, .. } => Some(topic),
            _ => None,
        });
        orders.collect::<Vec<_>>()
    };
    let first = being_read(&mut bench.out);
    let left = bench
        .state
        .leave(&|topic| !first.contains(topic), &mut bench.out);
    assert_eq!(left.len(), first.len());
    let next = being_read(&mut bench.out);
    assert_eq!(first.len() + next.len(), topics.len());
}

fn left(topic: &TopicName) -> Left {
    Left {
        topic: topic.clone(),
        is_restarting: false,
        waiters: Vec::new(),
    }
}

fn held(predecessor: Position, position: Position) -> Held {
    let part = br#""topic":"t","payload":1}"#;
    let mut frame = Vec::new();
    let layout = crate::api::delivery::restore(part, "t", &mut frame).unwrap();
    let draft = Draft::new(&frame, layout, u64::MAX, Budget::new(1 << 20));
    Held {
        predecessor,
        position,
        draft,
    }
}
