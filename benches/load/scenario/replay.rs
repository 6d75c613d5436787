//! Everything that is kept of a topic, to one consumer that has nothing of it yet.

use std::io::{Read, Write};
use std::time::{Duration, Instant};

use memchr::memmem;
use mio::{Events, Interest, Poll, Token};

use super::throughput;
use crate::Outcome;
use crate::args::Common;
use crate::bulks::Bulks;
use crate::report::{self, Figure, Measure};
use crate::server::Server;
use pulsar_proxy::bench::checker::Faults;
use pulsar_proxy::bench::histogram::Histogram;
use pulsar_proxy::bench::subscriber::{Acks, Mode, Subscriber, Timing};
use pulsar_proxy::bench::target::Target;
use pulsar_proxy::bench::transport::Transport;
use pulsar_proxy::bench::wire::{STAMP_MARK, Stamp, decode_answer, next_offset, poll_request};

/// Messages that one acknowledgement speaks of.
const ACK_EVERY: u64 = 100;
/// How long nothing may come before the run fails.
const TIMEOUT: Duration = Duration::from_secs(20);
const SCRATCH_BYTES: usize = 256 * 1024;

/// Replays a topic of `messages` over each transport.
pub(crate) fn replay(common: &Common, messages: usize) -> Outcome<Vec<Figure>> {
    let before = throughput::quick_floor(common)?;
    let server = Server::start(common, &[])?;
    Bulks::connect(&server.target, common.body_bytes)?.publish(0, 0..messages)?;
    let over = |transport, acks| Mode {
        transport,
        acks,
        from_earliest: true,
    };
    let modes = [
        (report::REPLAY, over(Transport::WebSocket, Acks::None)),
        (report::REPLAY_EVENTS, over(Transport::Events, Acks::None)),
        (report::REPLAY_LINES, over(Transport::Lines, Acks::None)),
        (
            report::REPLAY_ACKS,
            over(Transport::WebSocket, Acks::Cumulative(ACK_EVERY)),
        ),
    ];
    let mut figures = Vec::new();
    for (what, mode) in modes {
        figures.push(median(common, &server, what, messages, || {
            stream(&server.target, mode, messages as u64)
        })?);
    }
    figures.push(median(
        common,
        &server,
        report::REPLAY_POLLS,
        messages,
        || poll(&server.target, messages),
    )?);
    drop(server);
    let floor = f64::midpoint(before, throughput::quick_floor(common)?);
    for figure in &mut figures {
        figure.floor = Some(floor);
    }
    Ok(figures)
}

/// The figure of the replay with the median cost.
fn median(
    common: &Common,
    server: &Server,
    what: Measure,
    messages: usize,
    replay: impl Fn() -> Outcome<()>,
) -> Outcome<Figure> {
    let mut rounds = Vec::new();
    for _ in 0..common.rounds.max(1) {
        let (before, begin) = (server.process.usage()?, Instant::now());
        replay()?;
        let elapsed = begin.elapsed();
        rounds.push((server.process.usage()?.since(&before), elapsed));
    }
    rounds.sort_by_key(|(spent, _)| spent.total);
    let (spent, elapsed) = rounds[(rounds.len() - 1) / 2];
    let mut figure = Figure::of(what, spent.micros_per(messages as u64));
    figure.rate = Some(messages as f64 / elapsed.as_secs_f64());
    figure.note = format!(
        "{messages} messages in {:.0} ms",
        elapsed.as_secs_f64() * 1e3
    );
    Ok(figure)
}

fn stream(target: &Target, mode: Mode, messages: u64) -> Outcome<()> {
    let mut poll = Poll::new()?;
    let mut subscriber = Subscriber::connect(target, 0, 1, 1, mode)?;
    let socket = subscriber.socket().stream();
    poll.registry()
        .register(socket, Token(0), Interest::READABLE)?;
    let mut events = Events::with_capacity(1);
    let mut scratch = vec![0; SCRATCH_BYTES];
    let mut timing = Timing {
        start: Instant::now(),
        sample: u64::MAX,
        latencies: &mut Histogram::new(),
        faults: &mut Faults::default(),
    };
    let (mut count, mut progress_at) = (0, Instant::now());
    while count < messages && timing.faults.is_clean() {
        poll.poll(&mut events, Some(TIMEOUT))?;
        subscriber.receive(target, &mut scratch, &mut timing)?;
        if subscriber.count() > count {
            progress_at = Instant::now();
        }
        if progress_at.elapsed() > TIMEOUT {
            return Err(format!("{count} of {messages} messages came").into());
        }
        count = subscriber.count();
    }
    match timing.faults.is_clean() {
        true => Ok(()),
        false => Err(format!("{:?}", timing.faults).into()),
    }
}

/// A poll after the other, each from where the last one ended.
fn poll(target: &Target, messages: usize) -> Outcome<()> {
    let mut stream = target.connect()?;
    let (topic, mut since) = (target.topic(0), "earliest".to_owned());
    let mut input = Vec::new();
    let mut scratch = vec![0; SCRATCH_BYTES];
    let (mut count, mut has_more) = (0, true);
    while has_more {
        let request = poll_request(target, &topic, 0, &since);
        stream.write_all(request.as_bytes())?;
        let used = loop {
            if let Some((answer, used)) = decode_answer(&input)? {
                let malformed = || String::from_utf8_lossy(answer.body).into_owned();
                count = check_page(answer.body, count).ok_or_else(malformed)?;
                let next = next_offset(answer.body);
                next.ok_or_else(malformed)?.clone_into(&mut since);
                has_more = memmem::rfind(answer.body, b"\"has_more\":true").is_some();
                break used;
            }
            match stream.read(&mut scratch)? {
                0 => return Err("the server closed the connection".into()),
                read => input.extend_from_slice(&scratch[..read]),
            }
        };
        input.drain(..used);
    }
    if count != messages {
        return Err(format!("{count} of {messages} messages came").into());
    }
    Ok(())
}

/// Checks that the messages go on from number `from`; returns where they end.
fn check_page(body: &[u8], from: usize) -> Option<usize> {
    let mut number = from;
    for at in memmem::find_iter(body, STAMP_MARK) {
        let stamp = Stamp::find(&body[at..], &mut 0)?;
        if stamp.number != number as u64 {
            return None;
        }
        number += 1;
    }
    Some(number)
}
