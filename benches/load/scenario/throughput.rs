//! As much as goes: CPU time of the server for each operation.

use std::time::Duration;

use crate::Outcome;
use crate::args::Common;
use crate::report::{self, Figure, Measure};
use crate::server::Server;
use pulsar_proxy::bench::engine::Engine;
use pulsar_proxy::bench::workload::{Round, Workload};

/// Connections that publish in the closed loop of `publish`, `pairs` and the floor.
pub(crate) const CONNECTIONS: usize = 64;
/// Logs that reach their bound at once: the steady state of a server that has run for a while. Growing
/// ones add the page faults of fresh memory, which say more about the machine than about the server.
const LOG_BOUND: &str = "--max-messages-per-topic=1000";
/// How long the floor is measured beside other scenarios.
const FLOOR_ROUND: Duration = Duration::from_secs(1);

/// Closed loop: each of `connections` publishes the next message when the last one is answered, to a topic
/// of its own.
pub(crate) fn publish(common: &Common, connections: usize) -> Outcome<Figure> {
    let workload = closed_loop(common, connections);
    beside_floor(common, || {
        measure(common, report::PUBLISH, &workload, |round| round.published)
    })
}

/// All of `subscribers` to one topic, with a backlog that lets the server send many messages at once.
pub(crate) fn fanout_saturated(common: &Common, subscribers: usize) -> Outcome<Figure> {
    let workload = saturated(common, subscribers);
    beside_floor(common, || {
        measure(common, report::FANOUT, &workload, |round| round.delivered)
    })
}

/// All of `subscribers` to one topic, the next message when all have the last one.
pub(crate) fn fanout_one_at_a_time(common: &Common, subscribers: usize) -> Outcome<Figure> {
    let workload = one_at_a_time(common, subscribers);
    beside_floor(common, || {
        measure(common, report::ONE_AT_A_TIME, &workload, |round| {
            round.delivered
        })
    })
}

/// Each message goes to exactly one of `subscribers`.
pub(crate) fn pairs(common: &Common, subscribers: usize) -> Outcome<Figure> {
    let workload = Workload {
        topics: subscribers,
        subscribers,
        ..closed_loop(common, CONNECTIONS.min(subscribers))
    };
    beside_floor(common, || {
        measure(common, report::PAIRS, &workload, |round| round.delivered)
    })
}

/// Requests of so many messages, without subscribers.
pub(crate) fn bulk(common: &Common, connections: usize, messages: usize) -> Outcome<Figure> {
    let workload = Workload {
        messages,
        ..closed_loop(common, connections)
    };
    beside_floor(common, || {
        measure(common, report::BULK, &workload, |round| round.published)
    })
}

/// The floor itself: the loop of `publish` against threads that only receive and send, and one write of a
/// frame to each of `subscribers`.
pub(crate) fn floor(common: &Common, subscribers: usize) -> Outcome<[Figure; 2]> {
    let server = Server::floor(common.workers)?;
    let workload = closed_loop(common, CONNECTIONS);
    let requests = measure_on(&server, common, report::FLOOR, &workload, |round| {
        round.published
    })?;
    drop(server);
    // Subscribers get what comes in on their own thread only.
    let server = Server::floor(1)?;
    let workload = one_at_a_time(common, subscribers);
    let writes = measure_on(&server, common, report::FLOOR_FANOUT, &workload, |round| {
        round.delivered
    })?;
    Ok([requests, writes])
}

fn closed_loop(common: &Common, connections: usize) -> Workload {
    Workload {
        publishers: connections,
        topics: connections,
        message_bytes: common.body_bytes,
        ..Workload::default()
    }
}

pub(super) fn saturated(common: &Common, subscribers: usize) -> Workload {
    Workload {
        publishers: 4,
        subscribers,
        messages: 50,
        message_bytes: common.body_bytes,
        depth: 4,
        window: Some(1000),
        sample: 16,
        ..Workload::default()
    }
}

pub(super) fn one_at_a_time(common: &Common, subscribers: usize) -> Workload {
    Workload {
        subscribers,
        message_bytes: common.body_bytes,
        window: Some(1),
        ..Workload::default()
    }
}

/// Measures the floor right before and right after, since a machine's speed changes by the minute.
pub(super) fn beside_floor(
    common: &Common,
    run: impl FnOnce() -> Outcome<Figure>,
) -> Outcome<Figure> {
    let before = quick_floor(common)?;
    let mut figure = run()?;
    figure.floor = Some(f64::midpoint(before, quick_floor(common)?));
    Ok(figure)
}

pub(super) fn quick_floor(common: &Common) -> Outcome<f64> {
    let server = Server::floor(common.workers)?;
    let seconds = FLOOR_ROUND.min(common.round()).as_secs_f64();
    let quick = Common {
        seconds,
        rounds: 1,
        body_bytes: 256,
        ..common.clone()
    };
    let workload = closed_loop(&quick, CONNECTIONS);
    let figure = measure_on(&server, &quick, report::FLOOR, &workload, |round| {
        round.published
    })?;
    Ok(figure.value)
}

pub(super) fn measure(
    common: &Common,
    measure: Measure,
    workload: &Workload,
    operations: fn(&Round) -> u64,
) -> Outcome<Figure> {
    let server = Server::start(common, &[LOG_BOUND.to_owned()])?;
    measure_on(&server, common, measure, workload, operations)
}

/// Runs the rounds and reports the one with the median cost.
pub(super) fn measure_on(
    server: &Server,
    common: &Common,
    measure: Measure,
    workload: &Workload,
    operations: fn(&Round) -> u64,
) -> Outcome<Figure> {
    let mut engine = Engine::connect(&server.target, workload)?;
    engine.run(common.round() / 4)?;
    let mut rounds = Vec::new();
    for _ in 0..common.rounds.max(1) {
        let before = server.process.usage()?;
        let round = engine.run(common.round())?;
        let spent = server.process.usage()?.since(&before);
        let count = operations(&round);
        rounds.push((spent.micros_per(count), count, spent, round));
    }
    rounds.sort_by(|left, right| left.0.total_cmp(&right.0));
    let middle = rounds.len() / 2;
    let spread = format!(
        "rounds {:.3} to {:.3}",
        rounds[0].0,
        rounds[rounds.len() - 1].0
    );
    let (_, count, spent, round) = rounds.swap_remove(middle);
    let mut figure = Figure::cpu(measure, count, spent, round);
    figure.note = spread;
    Ok(figure)
}
