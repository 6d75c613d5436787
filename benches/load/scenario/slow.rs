//! A subscriber that never reads beside many that do: it must cost them nothing and the server little.

use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use memchr::memmem;

use super::metric;
use crate::Outcome;
use crate::args::{Common, OnLag, Slow};
use crate::frame_reader::FrameReader;
use crate::server::Server;
use pulsar_proxy::bench::engine::Engine;
use pulsar_proxy::bench::process::Process;
use pulsar_proxy::bench::target::Target;
use pulsar_proxy::bench::transport::{close_text, subscribe};
use pulsar_proxy::bench::wire::{self, Stamp};
use pulsar_proxy::bench::workload::{Round, Workload};

/// How much worse the 99th percentile of the others may be.
const LATENCY_FACTOR: f64 = 2.0;
/// How much more than its bounds the server may grow by.
const MEMORY_FACTOR: f64 = 1.1;
const SAMPLE_EVERY: Duration = Duration::from_millis(50);
/// How long the end of the slow connection may take: a reset comes 5 s after the close.
const END_TIMEOUT: Duration = Duration::from_secs(10);

/// Publishes the same amount at the same rate without and with the slow subscriber and compares.
pub(crate) fn slow(common: &Common, options: &Slow) -> Outcome<()> {
    let (alone, growth) = run(common, options, None)?;
    println!(
        "without it: {}\n  server grew by {:.1} MB",
        alone.deliveries,
        growth as f64 / 1e6
    );
    let (beside, growth) = run(common, options, Some(options.on_lag))?;
    println!(
        "beside it:  {}\n  server grew by {:.1} MB",
        beside.deliveries,
        growth as f64 / 1e6
    );

    let [alone, beside] =
        [alone, beside].map(|round| round.deliveries.percentile(99.0).as_secs_f64());
    println!("p99 ratio {:.2} (at most {LATENCY_FACTOR})", beside / alone);
    if beside > alone * LATENCY_FACTOR {
        return Err("the slow subscriber delays the others".into());
    }
    let bound = (options.memory_max << 20) as f64 * MEMORY_FACTOR;
    println!("growth bound {:.1} MB", bound / 1e6);
    if growth as f64 > bound {
        return Err("the server grew beyond its bounds".into());
    }
    Ok(())
}

/// One run against a server of its own; returns also by how much that grew, in bytes.
fn run(common: &Common, options: &Slow, stuck: Option<OnLag>) -> Outcome<(Round, u64)> {
    let memory_max = options.memory_max;
    let server = Server::start(
        common,
        &[
            format!("--memory-max={memory_max}MiB"),
            format!("--topic-bytes-max={}MiB", memory_max / 2),
        ],
    )?;
    let message_bytes = options.message_bytes;
    let workload = Workload {
        publishers: 1,
        subscribers: options.readers,
        message_bytes,
        depth: usize::MAX,
        rate: Some((options.rate * 1_000_000).div_ceil(message_bytes as u64)),
        ..Workload::default()
    };
    let mut engine = Engine::connect(&server.target, &workload)?;
    let stuck = stuck
        .map(|on_lag| {
            let fields = format!(",\"on_lag\":\"{}\"", on_lag.name());
            Ok::<_, pulsar_proxy::bench::Failure>((
                subscribe(&server.target, &server.target.topic(0), &fields)?,
                on_lag,
            ))
        })
        .transpose()?;
    let before = server.process.resident()?;
    let duration = Duration::from_secs_f64(options.megabytes as f64 / options.rate as f64);
    let (round, peak) = watch_memory(server.process, || engine.run(duration))?;
    if let Some(((stream, rest), on_lag)) = stuck {
        let last = round.published - 1;
        match on_lag {
            OnLag::Disconnect => check_disconnected(&server.target, stream, rest)?,
            OnLag::Skip => check_skipped(stream, rest, last)?,
        }
    }
    Ok((round, peak.saturating_sub(before)))
}

/// Runs `work` and returns also the most memory that `process` had meanwhile.
fn watch_memory(process: Process, work: impl FnOnce() -> Outcome<Round>) -> Outcome<(Round, u64)> {
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let watcher = scope.spawn(|| {
            let mut peak = 0;
            while !done.load(Ordering::Relaxed) {
                peak = peak.max(process.resident().unwrap_or(0));
                thread::sleep(SAMPLE_EVERY);
            }
            peak
        });
        let round = work();
        done.store(true, Ordering::Relaxed);
        let peak = watcher.join().map_err(|_| "the memory watcher panicked")?;
        Ok((round?, peak))
    })
}

/// The policy `disconnect`: the connection was ended, and that was counted.
fn check_disconnected(target: &Target, stream: TcpStream, rest: Vec<u8>) -> Outcome<()> {
    let counted = metric(target, CLOSED, LAGGING)?;
    println!("  {CLOSED} with {LAGGING}: {counted}");
    if counted != 1.0 {
        return Err("the slow subscriber was not disconnected, or that was not counted".into());
    }
    let mut reader = FrameReader::new(stream, rest, END_TIMEOUT)?;
    let end = loop {
        match reader.next(|frame| match frame.opcode {
            wire::CLOSE => Err(close_text(frame.payload).into()),
            _ => Ok(()),
        }) {
            Ok(()) => {}
            Err(end) => break end,
        }
    };
    println!("  it saw at its end: {end}");
    Ok(())
}

/// The policy `skip`: it goes on with a gap for what was lost, in order, up to message `last`.
fn check_skipped(stream: TcpStream, rest: Vec<u8>, last: u64) -> Outcome<()> {
    let mut reader = FrameReader::new(stream, rest, END_TIMEOUT)?;
    let (mut next, mut gaps, mut gap_open, mut place) = (0, 0, false, 0);
    while next <= last {
        reader.next(|frame| {
            if memmem::find(frame.payload, b"\"type\":\"gap\"").is_some() {
                (gaps, gap_open) = (gaps + 1, true);
                return Ok(());
            }
            let Some(stamp) = Stamp::find(frame.payload, &mut place) else {
                return Ok(());
            };
            if stamp.number != next && !(gap_open && stamp.number > next) {
                return Err(format!("message {} for {next} without a gap", stamp.number).into());
            }
            (next, gap_open) = (stamp.number + 1, false);
            Ok(())
        })?;
    }
    println!("  it went on after {gaps} gaps");
    if gaps == 0 {
        Err("nothing was skipped".into())
    } else {
        Ok(())
    }
}

/// Where the server counts connections it ended, and the label of those that lagged.
const CLOSED: &str = "proxy_closed_connections_total";
const LAGGING: &str = "reason=\"lagging\"";
