//! Many polls that wait: what each takes of memory, and how soon all have their answers.

use std::thread;
use std::time::{Duration, Instant};

use mio::{Events, Interest, Poll, Token};

use super::{metric, throughput};
use crate::Outcome;
use crate::args::Common;
use crate::bulks::Bulks;
use crate::report::{self, Figure, Measure};
use crate::server::Server;
use pulsar_proxy::bench::allow_descriptors;
use pulsar_proxy::bench::histogram::Histogram;
use pulsar_proxy::bench::process::{Process, Spent};
use pulsar_proxy::bench::socket::Socket;
use pulsar_proxy::bench::target::Target;
use pulsar_proxy::bench::wire::{self, Stamp, decode_answer, poll_request};

/// Polls that come first, so that the server's pages that all share are there before the count.
const WARM_UP: usize = 100;
/// So that what logs keep does not grow with the rounds.
const LOG_BOUND: &str = "--max-messages-per-topic=1";
/// How long anything that is waited for may take before the run fails.
const TIMEOUT: Duration = Duration::from_secs(20);
const LOOK_AGAIN: Duration = Duration::from_millis(10);
const SCRATCH_BYTES: usize = 64 * 1024;
/// How much more memory a poll may take when it has come again. More is a leak.
const GROWTH_MAX: f64 = 64.0;

/// Parks `waiters` polls of one topic, or of one each, and answers all of them with one message to each
/// topic; then each is sent again from where its answer ended, as often as there are rounds.
pub(crate) fn polls(common: &Common, waiters: usize, topic_each: bool) -> Outcome<Vec<Figure>> {
    let (waiting, answer) = match topic_each {
        false => (report::WAITING_POLL, report::POLL_ANSWER),
        true => (report::WAITING_POLL_TOPIC, report::POLL_ANSWER_TOPIC),
    };
    allow_descriptors(waiters + WARM_UP)?;
    let before = throughput::quick_floor(common)?;
    let limit = format!("--max-connections={}", waiters + WARM_UP);
    let server = Server::start(common, &[limit, LOG_BOUND.to_owned()])?;
    let mut crowd = Crowd::new(&server.target, topic_each)?;
    crowd.grow(WARM_UP)?;
    let start = server.process.memory()?;
    crowd.grow(waiters)?;
    let parked = server.process.memory()?;
    let each = |before: u64, after: u64| (after as f64 - before as f64) / waiters as f64;

    let mut publisher = Bulks::connect(&server.target, common.body_bytes)?;
    let mut rounds = Vec::new();
    let mut growth = Vec::new();
    for number in 0..common.rounds.max(2) {
        rounds.push(crowd.answer(&mut publisher, number, server.process)?);
        crowd.ask_again()?;
        growth.push(each(parked.resident, server.process.memory()?.resident));
    }
    drop(crowd);
    drop(server);

    // The first round meets buffers that grow; whatever the later ones add is lost. Logs of topics of their own
    // may keep a message more or less, depending on when the server looks.
    let leak = growth[growth.len() - 1] - growth[0];
    let mut memory = Figure::of(waiting, each(start.resident, parked.resident));
    memory.note = format!(
        "{:.0} bytes of it private and dirty; waiting again after each round of answers: {} more",
        each(start.private_dirty, parked.private_dirty),
        growth
            .iter()
            .map(|bytes| format!("{bytes:.0}"))
            .collect::<Vec<_>>()
            .join(", "),
    );
    if leak > GROWTH_MAX && waiters >= 1000 && !topic_each {
        return Err(format!("{leak:.0} bytes a poll are lost: {}", memory.note).into());
    }
    let mut answers = middle(rounds, waiters + WARM_UP, answer);
    answers.floor = Some(f64::midpoint(before, throughput::quick_floor(common)?));
    Ok(vec![memory, answers])
}

/// One round of answers.
struct Answers {
    latencies: Histogram,
    first: Duration,
    last: Duration,
    spent: Spent,
}

/// The figure of the round with the median cost.
fn middle(mut rounds: Vec<Answers>, polls: usize, measure: Measure) -> Figure {
    rounds.sort_by_key(|round| round.spent.total);
    let index = (rounds.len() - 1) / 2;
    let Answers {
        latencies,
        first,
        last,
        spent,
    } = rounds.swap_remove(index);
    let mut figure = Figure::of(measure, spent.micros_per(polls as u64));
    figure.rate = Some(polls as f64 / last.as_secs_f64());
    let [first, p50, last] =
        [first, latencies.percentile(50.0), last].map(|it| it.as_secs_f64() * 1e3);
    figure.note = format!(
        "{polls} answers after the publish: first {first:.1} ms, p50 {p50:.1} ms, last {last:.1} ms"
    );
    figure
}

/// Connections that poll, all of them waiting or none.
struct Crowd<'a> {
    target: &'a Target,
    poll: Poll,
    waiters: Vec<Waiter>,
    topic_each: bool,
}

struct Waiter {
    socket: Socket,
    topic: String,
    /// Where the last answer said to go on.
    next_offset: String,
}

impl<'a> Crowd<'a> {
    fn new(target: &'a Target, topic_each: bool) -> Outcome<Self> {
        Ok(Self {
            target,
            poll: Poll::new()?,
            waiters: Vec::new(),
            topic_each,
        })
    }

    fn topics(&self) -> usize {
        if self.topic_each {
            self.waiters.len()
        } else {
            1
        }
    }

    /// Adds so many polls and waits until the server has them.
    fn grow(&mut self, count: usize) -> Outcome<()> {
        for index in self.waiters.len()..self.waiters.len() + count {
            let mut socket = Socket::new(self.target.connect()?, Vec::new())?;
            self.poll
                .registry()
                .register(socket.stream(), Token(index), Interest::READABLE)?;
            let mut waiter = Waiter {
                socket,
                topic: self.target.topic(if self.topic_each { index } else { 0 }),
                next_offset: String::new(),
            };
            waiter.ask(self.target)?;
            self.waiters.push(waiter);
        }
        self.wait_until_parked()
    }

    fn ask_again(&mut self) -> Outcome<()> {
        for waiter in &mut self.waiters {
            waiter.ask(self.target)?;
        }
        self.wait_until_parked()
    }

    fn wait_until_parked(&self) -> Outcome<()> {
        let deadline = Instant::now() + TIMEOUT;
        loop {
            let waiting = metric(self.target, "proxy_poll_waiters", "")?;
            if waiting as usize == self.waiters.len() {
                return Ok(());
            }
            if Instant::now() > deadline {
                return Err(format!("{waiting} of {} polls wait", self.waiters.len()).into());
            }
            thread::sleep(LOOK_AGAIN);
        }
    }

    /// Publishes message `number` to each topic and waits for all answers.
    fn answer(
        &mut self,
        publisher: &mut Bulks<'_>,
        number: usize,
        process: Process,
    ) -> Outcome<Answers> {
        let before = process.usage()?;
        let (topics, begin) = (self.topics(), Instant::now());
        let arrivals = thread::scope(|scope| {
            // Another thread, so that no answer waits until the publisher has its own. Errors of other threads
            // are passed on as text: theirs cannot be sent.
            let publishing = scope.spawn(move || {
                let published = publisher.publish_to_each(0..topics, number);
                published.map_err(|error| error.to_string())
            });
            let arrivals = self.receive(number as u64);
            let published = publishing.join().map_err(|_| "the publisher panicked")?;
            published?;
            arrivals
        })?;
        let mut latencies = Histogram::new();
        for at in &arrivals {
            latencies.record(*at - begin);
        }
        let spent = process.usage()?.since(&before);
        let [first, last] = [arrivals.first(), arrivals.last()].map(|at| at.map(|at| *at - begin));
        Ok(Answers {
            latencies,
            first: first.ok_or("no polls")?,
            last: last.ok_or("no polls")?,
            spent,
        })
    }

    /// When each answer came; each has this message alone.
    fn receive(&mut self, number: u64) -> Outcome<Vec<Instant>> {
        let mut arrivals = Vec::with_capacity(self.waiters.len());
        let mut events = Events::with_capacity(1024);
        let mut scratch = vec![0; SCRATCH_BYTES];
        let deadline = Instant::now() + TIMEOUT;
        while arrivals.len() < self.waiters.len() {
            self.poll.poll(&mut events, Some(LOOK_AGAIN))?;
            for event in &events {
                let answers = self.waiters[event.token().0].receive(number, &mut scratch)?;
                arrivals.extend(std::iter::repeat_n(Instant::now(), answers));
            }
            if Instant::now() > deadline {
                let missing = self.waiters.len() - arrivals.len();
                return Err(format!("{missing} polls were not answered").into());
            }
        }
        Ok(arrivals)
    }
}

impl Waiter {
    fn ask(&mut self, target: &Target) -> Outcome<()> {
        let request = poll_request(target, &self.topic, 60, &self.next_offset);
        self.socket.outgoing().extend_from_slice(request.as_bytes());
        self.socket.flush()
    }

    /// Returns how many answers came: one or none.
    fn receive(&mut self, number: u64, scratch: &mut [u8]) -> Outcome<usize> {
        let Self {
            socket,
            next_offset,
            ..
        } = self;
        let mut answers = 0;
        socket.receive(scratch, |input| {
            let Some((answer, used)) = decode_answer(input)? else {
                return Ok(0);
            };
            let stamp = Stamp::find(answer.body, &mut 0);
            let next = wire::next_offset(answer.body);
            match (stamp, next) {
                (Some(stamp), Some(next)) if answer.status == 200 && stamp.number == number => {
                    next.clone_into(next_offset);
                }
                _ => {
                    let body = String::from_utf8_lossy(answer.body);
                    return Err(format!("poll answered {}: {body}", answer.status).into());
                }
            }
            answers += 1;
            Ok(used)
        })?;
        Ok(answers)
    }
}
