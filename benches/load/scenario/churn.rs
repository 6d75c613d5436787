//! Connections that come, resume where they were, vanish in the middle of things, and stay.

use std::io::Write;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, ScopedJoinHandle};
use std::time::{Duration, Instant};

use super::{fetch, metric};
use crate::Outcome;
use crate::args::{Churn, Common};
use crate::engine::{Engine, Workload};
use crate::frame_reader::FrameReader;
use crate::server::Server;
use crate::socket::connect;
use crate::transport::subscribe;
use crate::wire::{self, Stamp, message_id, topic_name};

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
    fetch(server.address, "/health")?;
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
    let mut engine = Engine::connect(server.address, &workload)?;
    let (stop, tally) = (AtomicBool::new(false), Tally::default());
    let round = thread::scope(|scope| {
        let churners: Vec<_> = (0..CHURNERS)
            .map(|_| scope.spawn(|| churn_until(&stop, server.address, options.topics, &tally)))
            .collect();
        let round = engine.run(common.round());
        stop.store(true, Ordering::Relaxed);
        // Those that resume still wait for messages of the life they are in.
        while round.is_ok() && !churners.iter().all(ScopedJoinHandle::is_finished) {
            engine.run(FLOW_ON)?;
        }
        for churner in churners {
            churner
                .join()
                .map_err(|_| "a churner panicked")?
                .map_err(|failure| failure.0)?;
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
        let active = metric(server.address, "proxy_websocket_connections_active", "")?;
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

/// An error that may cross threads.
struct ThreadFailure(String);

fn churn_until(
    stop: &AtomicBool,
    address: SocketAddr,
    topics: usize,
    tally: &Tally,
) -> Result<(), ThreadFailure> {
    let failed = |failure: crate::Failure| ThreadFailure(failure.to_string());
    while !stop.load(Ordering::Relaxed) {
        let topic = topic_name(fastrand::usize(0..topics));
        match fastrand::u8(0..4) {
            0 => {
                resume(address, &topic).map_err(failed)?;
                tally.resumed.fetch_add(LIVES as u64 - 1, Ordering::Relaxed);
                continue;
            }
            1 => drop(subscribe(address, &topic, "").map_err(failed)?),
            2 => vanish(
                address,
                b"POST /api/v1/messages HTTP/1.1\r\nHost: x\r\nContent-Le",
            )
            .map_err(failed)?,
            _ => vanish(
                address,
                b"POST /api/v1/messages HTTP/1.1\r\nHost: localhost\r\n\
                Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{\"topic\":",
            )
            .map_err(failed)?,
        }
        tally.vanished.fetch_add(1, Ordering::Relaxed);
    }
    Ok(())
}

/// Sends half a request and goes.
fn vanish(address: SocketAddr, half: &[u8]) -> Outcome<()> {
    Ok(connect(address)?.write_all(half)?)
}

/// Comes back by message id a few times; over all its lives it must miss nothing and get nothing twice.
fn resume(address: SocketAddr, topic: &str) -> Outcome<()> {
    let (mut offset, mut expected, mut place) = (String::from("last"), None, 0);
    for _ in 0..LIVES {
        let (stream, rest) = subscribe(address, topic, &format!(",\"offset\":\"{offset}\""))?;
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
