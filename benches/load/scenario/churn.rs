//! Connections that come, resume where they were, vanish in the middle of things, and stay.

use std::io::Write;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, ScopedJoinHandle};
use std::time::{Duration, Instant};

use super::{fetch, metric};
use crate::Outcome;
use crate::args::{Churn, Common};
use crate::frame_reader::FrameReader;
use crate::server::Server;
use pulsar_proxy::bench::engine::Engine;
use pulsar_proxy::bench::target::Target;
use pulsar_proxy::bench::transport::subscribe;
use pulsar_proxy::bench::wire::{self, Stamp, message_id};
use pulsar_proxy::bench::workload::Workload;

/// Threads that open and drop connections, one after the other.
const CHURNERS: usize = 4;
/// Messages that a returning subscriber reads in each of its lives.
const MESSAGES_PER_LIFE: usize = 20;
const LIVES: usize = 5;
/// How long publishing goes on at a time until the churners have ended.
const FLOW_ON: Duration = Duration::from_millis(200);
/// How long the server may take to forget the connections that are gone, and a message to come.
const SETTLE_TIMEOUT: Duration = Duration::from_secs(30);

/// What the churners did.
#[derive(Default)]
struct Tally {
    resumed: AtomicU64,
    vanished: AtomicU64,
}

/// Publishes at a rate to subscribers that stay while others come and go, for `--seconds`. Afterwards the
/// server must be back to where it was.
pub(crate) fn churn(common: &Common, options: &Churn) -> Outcome<()> {
    let server = Server::start(common, &[])?;
    fetch(&server.target, "/health")?;
    let descriptors = server.process.descriptors()?;
    let workload = Workload {
        publishers: options.topics.min(4),
        topics: options.topics,
        subscribers: options.readers,
        message_bytes: common.body_bytes,
        depth: usize::MAX,
        rate: Some(options.rate),
        ..Workload::default()
    };
    let mut engine = Engine::connect(&server.target, &workload)?;
    let (stop, tally) = (AtomicBool::new(false), Tally::default());
    let round = thread::scope(|scope| {
        let churners: Vec<_> = (0..CHURNERS)
            .map(|_| scope.spawn(|| churn_until(&stop, &server.target, options.topics, &tally)))
            .collect();
        let round = engine.run(common.round());
        stop.store(true, Ordering::Relaxed);
        // Those that resume still wait for messages of the life they are in.
        while round.is_ok() && !churners.iter().all(ScopedJoinHandle::is_finished) {
            engine.run(FLOW_ON)?;
        }
        for churner in churners {
            churner.join().map_err(|_| "a churner panicked")??;
        }
        round
    })?;
    drop(engine);
    println!(
        "{} deliveries in order; {}",
        round.delivered, round.deliveries
    );
    let [resumed, vanished] = [&tally.resumed, &tally.vanished].map(|n| n.load(Ordering::Relaxed));
    println!("{resumed} resumed by message id, {vanished} vanished");
    settle(&server, descriptors)?;
    println!(
        "resident: {:.1} MB",
        server.process.memory()?.resident as f64 / 1e6
    );
    Ok(())
}

/// Waits until connections and descriptors are back to what they were.
fn settle(server: &Server, descriptors: usize) -> Outcome<()> {
    let deadline = Instant::now() + SETTLE_TIMEOUT;
    loop {
        let active = metric(&server.target, "proxy_websocket_connections_active", "")?;
        let open = server.process.descriptors()?;
        if active == 0.0 && open <= descriptors {
            return Ok(());
        }
        if Instant::now() > deadline {
            let text =
                format!("{active} WebSockets and {open} descriptors left, {descriptors} before");
            return Err(text.into());
        }
        thread::sleep(Duration::from_millis(50));
    }
}

fn churn_until(stop: &AtomicBool, target: &Target, topics: usize, tally: &Tally) -> Outcome<()> {
    while !stop.load(Ordering::Relaxed) {
        let topic = target.topic(fastrand::usize(0..topics));
        match fastrand::u8(0..4) {
            0 => {
                resume(target, &topic)?;
                tally.resumed.fetch_add(LIVES as u64 - 1, Ordering::Relaxed);
                continue;
            }
            1 => drop(subscribe(target, &topic, "")?),
            2 => vanish(
                target,
                b"POST /api/v1/messages HTTP/1.1\r\nHost: x\r\nContent-Le",
            )?,
            _ => vanish(
                target,
                b"POST /api/v1/messages HTTP/1.1\r\nHost: localhost\r\n\
                Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{\"topic\":",
            )?,
        }
        tally.vanished.fetch_add(1, Ordering::Relaxed);
    }
    Ok(())
}

/// Sends half a request and goes.
fn vanish(target: &Target, half: &[u8]) -> Outcome<()> {
    Ok(target.connect()?.write_all(half)?)
}

/// Comes back by message id a few times; over all its lives it must miss nothing and get nothing twice.
fn resume(target: &Target, topic: &str) -> Outcome<()> {
    let (mut offset, mut expected, mut place) = (String::from("last"), None, 0);
    for _ in 0..LIVES {
        let (stream, rest) = subscribe(target, topic, &format!(",\"offset\":\"{offset}\""))?;
        let mut reader = FrameReader::new(stream, rest, SETTLE_TIMEOUT)?;
        let mut read = 0;
        while read < MESSAGES_PER_LIFE {
            reader.next(|frame| {
                if frame.opcode != wire::TEXT {
                    return Ok(());
                }
                let text = || String::from_utf8_lossy(frame.payload).into_owned();
                let stamp = Stamp::find(frame.payload, &mut place).ok_or_else(text)?;
                if expected.is_some_and(|number| number != stamp.number) {
                    return Err(format!("resumed at {}: {}", stamp.number, text()).into());
                }
                offset = message_id(frame.payload).ok_or_else(text)?.to_owned();
                expected = Some(stamp.number + 1);
                read += 1;
                Ok(())
            })?;
        }
    }
    Ok(())
}
