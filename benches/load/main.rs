//! Load generator: what the server takes, in CPU time per operation and in memory, and whether every message
//! comes once and in order while it is busy.
//!
//! `cargo bench --bench load -- publish`, or another scenario; `-- --help` lists them. Without a scenario it
//! tests itself: every load once and small. It starts the server it measures, and a bare floor beside it:
//! threads that receive and send and do nothing else, since that is what the kernel takes on this machine at
//! this minute.
//!
//! It is for who works on the server: limits, the floor, memory that leaks, scenarios that hurt. The engine and what
//! it is made of are those of `pulsar-proxy bench` (`src/bench`), which is for who runs one.
//!
//! ```text
//! engine ── publishers ──HTTP──► server under load ──WebSocket──► subscribers ── engine
//!                                      │ /proc
//!                                 accounting ──► report
//! ```

mod args;
mod bulks;
mod floor;
mod frame_reader;
mod report;
mod scenario;
mod server;

use std::process::ExitCode;

use clap::Parser;
use pulsar_proxy::bench::Outcome;

use args::{Args, Churn, Common, Groups, Scenario};
use report::Figure;
use scenario::{churn, consumers, groups, idle, polls, replay, slow, throughput};

/// A load with what `all` puts on the server.
type Load = fn(&Common) -> Outcome<Vec<Figure>>;

fn main() -> ExitCode {
    // Cargo adds these flags of the standard test harness.
    let words = std::env::args().filter(|word| word != "--bench" && word != "--test");
    let words: Vec<_> = words.collect();
    let result = match words.len() {
        0 | 1 => self_test(),
        _ => {
            let Args { scenario, common } = Args::parse_from(words);
            run(&scenario, &common)
        }
    };
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => {
            eprintln!("not within the limits");
            ExitCode::FAILURE
        }
        Err(failure) => {
            eprintln!("failed: {failure}");
            ExitCode::FAILURE
        }
    }
}

/// Runs one scenario and says whether its figures are within their limits.
fn run(scenario: &Scenario, common: &Common) -> Outcome<bool> {
    let figures = match *scenario {
        Scenario::Publish { connections } => vec![throughput::publish(common, connections)?],
        Scenario::Fanout {
            subscribers,
            one_at_a_time: false,
        } => vec![throughput::fanout_saturated(common, subscribers)?],
        Scenario::Fanout {
            subscribers,
            one_at_a_time: true,
        } => vec![throughput::fanout_one_at_a_time(common, subscribers)?],
        Scenario::Pairs { subscribers } => vec![throughput::pairs(common, subscribers)?],
        Scenario::Bulk {
            connections,
            messages,
        } => vec![throughput::bulk(common, connections, messages)?],
        Scenario::Idle { connections } => vec![idle::idle(common, connections)?],
        Scenario::Polls {
            waiters,
            topic_each,
        } => polls::polls(common, waiters, topic_each)?,
        Scenario::Replay { messages } => replay::replay(common, messages)?,
        Scenario::Stream { subscribers } => consumers::streams(common, subscribers)?,
        Scenario::AtLeastOnce => consumers::at_least_once(common)?,
        Scenario::Floor { subscribers } => throughput::floor(common, subscribers)?.into(),
        Scenario::Slow(ref options) => return slow::slow(common, options).map(|()| true),
        Scenario::Churn(ref options) => return churn::churn(common, options).map(|()| true),
        Scenario::Groups(ref options) => return groups::groups(common, options).map(|()| true),
        Scenario::All => return all(common),
        Scenario::FloorServer => return floor::serve(common.workers).map(|()| true),
    };
    for figure in &figures {
        println!("{figure}");
    }
    Ok(figures.iter().all(Figure::passes))
}

/// Everything that has a figure, one after the other, each against a server of its own.
fn all(common: &Common) -> Outcome<bool> {
    let loads: [Load; 11] = [
        |common| Ok(vec![throughput::publish(common, throughput::CONNECTIONS)?]),
        |common| Ok(vec![throughput::fanout_saturated(common, 1000)?]),
        |common| Ok(vec![throughput::fanout_one_at_a_time(common, 1000)?]),
        |common| Ok(vec![throughput::pairs(common, 1000)?]),
        |common| Ok(vec![throughput::bulk(common, throughput::CONNECTIONS, 50)?]),
        |common| Ok(vec![idle::idle(common, 10_000)?]),
        |common| polls::polls(common, 10_000, false),
        |common| polls::polls(common, 10_000, true),
        |common| consumers::streams(common, 1000),
        consumers::at_least_once,
        |common| replay::replay(common, 100_000),
    ];
    let mut figures = Vec::from(throughput::floor(common, 1000)?);
    for load in loads {
        figures.extend(load(common)?);
    }
    for figure in &figures {
        println!("{figure}");
    }
    println!("\n{}", report::table(&figures));
    Ok(figures.iter().all(Figure::passes))
}

/// Every load, small: shows that the generator works, and measures nothing.
fn self_test() -> Outcome<bool> {
    let common = Args::try_parse_from(["load", "all", "--seconds=0.1", "--rounds=1"])?.common;
    throughput::floor(&common, 8)?;
    throughput::publish(&common, 4)?;
    throughput::fanout_saturated(&common, 8)?;
    throughput::fanout_one_at_a_time(&common, 8)?;
    throughput::pairs(&common, 8)?;
    throughput::bulk(&common, 2, 10)?;
    idle::idle(&common, 50)?;
    polls::polls(&common, 50, false)?;
    polls::polls(&common, 50, true)?;
    consumers::streams(&common, 8)?;
    consumers::at_least_once(&common)?;
    replay::replay(&common, 1000)?;
    churn::churn(
        &common,
        &Churn {
            readers: 8,
            topics: 2,
            rate: 1000,
        },
    )?;
    groups::fail_over(
        &common,
        &Groups {
            kills: 2,
            pending: 150,
            others: 2,
        },
    )?;
    println!("load: every scenario works");
    Ok(true)
}
