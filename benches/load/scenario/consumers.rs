//! What other ways of consuming cost beside the plain WebSocket, measured in the same run.

use super::throughput::{self, beside_floor, measure, measure_on, one_at_a_time, saturated};
use crate::Outcome;
use crate::args::Common;
use crate::report::{self, Figure, Measure};
use crate::server::Server;
use pulsar_proxy::bench::subscriber::{Acks, Mode};
use pulsar_proxy::bench::transport::Transport;

/// Messages that one acknowledgement speaks of.
const ACK_EVERY: u64 = 100;
/// Logs that reach their bound soon, and yet keep what is published while acknowledgements are under way.
const LOG_BOUND: &str = "--max-messages-per-topic=10000";

/// The fan-outs of `throughput` to streams.
pub(crate) fn streams(common: &Common, subscribers: usize) -> Outcome<Vec<Figure>> {
    let mode = Mode {
        transport: Transport::Events,
        ..Mode::default()
    };
    let plain = throughput::fanout_saturated(common, subscribers)?;
    let mut workload = saturated(common, subscribers);
    workload.mode = mode;
    let many = beside_floor(common, || {
        measure(common, report::STREAM, &workload, |round| round.delivered)
    })?;
    let many = beside(many, &plain);

    let plain = throughput::fanout_one_at_a_time(common, subscribers)?;
    let mut workload = one_at_a_time(common, subscribers);
    workload.mode = mode;
    let one = beside_floor(common, || {
        measure(common, report::STREAM_ONE_AT_A_TIME, &workload, |round| {
            round.delivered
        })
    })?;
    Ok(vec![many, beside(one, &plain)])
}

/// One consumer that acknowledges, beside one that does not; publishing is part of all of them.
pub(crate) fn at_least_once(common: &Common) -> Outcome<Vec<Figure>> {
    let run = |what: Measure, acks: Acks| {
        let mut workload = saturated(common, 1);
        workload.publishers = 1;
        workload.mode.acks = acks;
        beside_floor(common, || {
            let server = Server::start(common, &[LOG_BOUND.to_owned()])?;
            measure_on(&server, common, what, &workload, |round| round.delivered)
        })
    };
    let plain = run(report::AT_MOST_ONCE, Acks::None)?;
    let each = run(report::ACK_EACH, Acks::Each)?;
    let cumulative = run(report::ACK_CUMULATIVE, Acks::Cumulative(ACK_EVERY))?;
    let [each, cumulative] = [each, cumulative].map(|figure| beside(figure, &plain));
    Ok(vec![plain, each, cumulative])
}

/// Notes the ratio to what the plain way took.
fn beside(mut figure: Figure, plain: &Figure) -> Figure {
    let ratio = figure.value / plain.value;
    figure.note += &format!(
        "; {ratio:.2} times the {:.3} of {}",
        plain.value, plain.measure.name
    );
    figure
}
