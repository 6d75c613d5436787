//! Carries out one load after the other.

use std::net::ToSocketAddrs;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use super::engine::Engine;
use super::order::{Load, Order, Place, Running, Scenario};
use super::process::{Memory, Process, Usage};
use super::report::{self, Cost, Latency, Report, Run, ServerFacts};
use super::spawned::Spawned;
use super::subscriber::Mode;
use super::target::Target;
use super::transport::{Transport, fetch};
use super::watch::Watch;
use super::wire::string_field;
use super::workload::{Span, Workload};
use super::{Machine, Outcome, allow_descriptors, now, tidy};

/// Messages published and not yet delivered, on average over all subscribers, in a saturated fan-out: enough for
/// the server to have many to send at once.
const FANOUT_WINDOW: u64 = 1_000;
/// Messages that a server of our own keeps of a topic in a saturated fan-out: the slowest subscriber is further
/// behind than the average, and what it has not had yet must still be there.
const FANOUT_LOG: usize = 10_000;
const _: () = assert!(
    FANOUT_LOG as u64 >= 8 * (FANOUT_WINDOW + 100),
    "the slowest may be far behind a full window and a bulk"
);
/// Requests without an answer on one connection of a saturated fan-out.
const FANOUT_DEPTH: usize = 4;
/// A saturated fan-out has so many deliveries that the latency of one message in so many is enough.
const FANOUT_SAMPLE: u64 = 16;
/// Connections that come before memory is looked at: they grow what all share.
const FIRST_CONNECTIONS: usize = 100;
/// Messages that a server of our own keeps of a topic in any other load: soon reached, so that a short run shows
/// what a long one would.
const OWN_LOG: usize = 1_000;
/// Connections that a server of our own may have besides those of the load.
const OWN_SPARE: usize = 200;
/// Memory is at rest when two looks in a row see the same.
const REST_LOOK: Duration = Duration::from_millis(50);
/// How many looks there are at most.
const REST_LOOKS: usize = 40;

/// The server of one load.
struct Site {
    /// Ends the server, if it is our own.
    _spawned: Option<Spawned>,
    target: Target,
    process: Option<Process>,
}

/// Carries out an order, as far as that goes.
pub(super) fn carry_out(order: &Order, watch: &mut Watch<'_>) -> Report {
    let mut report = Report {
        version: env!("CARGO_PKG_VERSION"),
        command: order.command_line.clone(),
        date: now(),
        machine: Machine::detect(),
        server: ServerFacts::default(),
        runs: Vec::new(),
        interrupted: false,
        failure: None,
        passed: false,
    };
    for load in &order.loads {
        if watch.is_stopped() {
            break;
        }
        match carry_out_one(order, load, &mut report.server, watch) {
            Ok(run) => report.runs.extend(run),
            Err(error) => {
                let words = format!("{}: {error}", load.scenario.name());
                report.failure = Some(report::printable(&words));
                break;
            }
        }
    }
    report.interrupted = watch.is_stopped();
    // A signal that came before there was any result leaves nothing that could have passed.
    let has_runs = !report.runs.is_empty();
    let is_clean = report.runs.iter().all(|run| run.passed);
    report.passed = report.failure.is_none() && has_runs && is_clean;
    report
}

/// The result of one load, none if it was ended before anything was measured.
fn carry_out_one(
    order: &Order,
    load: &Load,
    facts: &mut ServerFacts,
    watch: &mut Watch<'_>,
) -> Outcome<Option<Run>> {
    watch.begin(load);
    allow_descriptors(load.connections + load.subscribers)?;
    let site = Site::open(order, load, facts)?;
    let run = match load.scenario {
        Scenario::Idle => idle(order, load, &site, watch),
        _ => throughput(order, load, &site, watch),
    };
    if let Place::Running(_) = order.place {
        facts.topics_left += tidy::delete_topics(&site.target, load.topics);
    }
    run
}

impl Site {
    fn open(order: &Order, load: &Load, facts: &mut ServerFacts) -> Outcome<Self> {
        // Several measurements of one server at a time do not hear each other.
        let prefix = format!("bench-{:08x}", fastrand::u32(..));
        let site = match &order.place {
            Place::Own(own) => {
                let spawned = spawn(load, &own.arguments)?;
                facts.arguments = Some(own.shown.clone());
                Site {
                    target: Target::new(spawned.address, "localhost", "", None, &prefix),
                    process: Some(spawned.process),
                    _spawned: Some(spawned),
                }
            }
            Place::Running(running) => {
                let target = target(running, &prefix)?;
                facts.url = Some(running.url());
                let process = match running.pid {
                    Some(pid) => Some(Process::new(pid)),
                    None => Process::listening_at(target.address()),
                };
                // A wrong --pid should be told, not passed over.
                process.map(Process::usage).transpose()?;
                facts.pid = process.map(Process::pid);
                Site {
                    _spawned: None,
                    target,
                    process,
                }
            }
        };
        let program = site.process.and_then(|process| process.name().ok());
        facts.program = program.as_deref().map(report::printable);
        let health = fetch(&site.target, "/health")?;
        let version = string_field(health.as_bytes(), b"\"version\":\"");
        facts.version = version.map(report::printable);
        Ok(site)
    }

    /// CPU time of the server, while it is there, and of this process so far.
    fn usage(&self) -> Outcome<(Option<Usage>, Usage)> {
        let server = self.process.and_then(|process| process.usage().ok());
        Ok((server, Process::own().usage()?))
    }

    /// Resident memory once it does not change any more; of a process of another user, the kernel's estimate.
    fn resident(&self) -> Option<u64> {
        let process = self.process?;
        let look = || match process.memory() {
            Ok(Memory { resident, .. }) => Some(resident),
            Err(_) => process.resident().ok(),
        };
        let mut last = look();
        for _ in 0..REST_LOOKS {
            thread::sleep(REST_LOOK);
            let next = look();
            if next == last {
                break;
            }
            last = next;
        }
        last
    }
}

/// Starts a server for a load. It knows no settings but these, whatever the environment and the directory say.
fn spawn(load: &Load, arguments: &[String]) -> Outcome<Spawned> {
    let log = match (load.scenario, load.rate) {
        (Scenario::Fanout, None) => FANOUT_LOG,
        _ => OWN_LOG,
    };
    let own = [
        ("port", 0),
        ("max-connections", load.subscribers + OWN_SPARE),
        ("http-connections-max", load.connections + OWN_SPARE),
        ("topics-max", load.topics + OWN_SPARE),
        ("max-messages-per-topic", log),
    ];
    let mut command = Command::new(std::env::current_exe()?);
    command.env_clear().current_dir("/").arg("serve");
    for (flag, value) in own {
        let flag = format!("--{flag}");
        let is_given = |it: &String| *it == flag || it.starts_with(&format!("{flag}="));
        if !arguments.iter().any(is_given) {
            command.arg(format!("{flag}={value}"));
        }
    }
    command.args(arguments);
    // The signals of the terminal are not meant for it: it has to live until the result is there.
    command.process_group(0);
    Spawned::start(command, false)
}

/// Whether the server takes connections.
///
/// # Errors
/// When it does not, or has no address.
pub(super) fn reach(running: &Running) -> Outcome<()> {
    target(running, "bench").map(drop)
}

/// The first address of the server that takes connections.
fn target(running: &Running, prefix: &str) -> Outcome<Target> {
    let Running {
        host,
        port,
        base,
        credential,
        ..
    } = running;
    let credential = credential.as_ref().map(crate::config::Secret::expose);
    let authority = running.authority();
    let mut last = format!("{host} has no address");
    for address in (host.as_str(), *port).to_socket_addrs()? {
        let target = Target::new(address, &authority, base, credential, prefix);
        match target.connect() {
            Ok(_) => return Ok(target),
            Err(error) => last = error.to_string(),
        }
    }
    Err(last.into())
}

fn workload(load: &Load) -> Workload {
    let is_saturated = load.rate.is_none();
    let mut workload = Workload {
        publishers: load.connections,
        topics: load.topics,
        subscribers: load.subscribers,
        messages: load.messages,
        message_bytes: load.message_bytes,
        rate: load.rate,
        ..Workload::default()
    };
    match load.scenario {
        Scenario::Fanout if is_saturated => {
            workload.window = Some(FANOUT_WINDOW);
            workload.depth = FANOUT_DEPTH;
            workload.sample = FANOUT_SAMPLE;
        }
        // The next message when all have the one before: more would wait for the next poll.
        Scenario::Poll if is_saturated => workload.window = Some(1),
        _ => {}
    }
    if load.scenario == Scenario::Poll {
        workload.mode = Mode {
            transport: Transport::Polls,
            ..Mode::default()
        };
    }
    workload
}

/// Publishes as much as goes, or at a rate.
fn throughput(
    order: &Order,
    load: &Load,
    site: &Site,
    watch: &mut Watch<'_>,
) -> Outcome<Option<Run>> {
    let mut engine = Engine::new(&site.target, &workload(load))?;
    engine.open_publishers()?;
    let growth = open_subscribers(&mut engine, load, site, watch)?;
    if watch.is_stopped() {
        return Ok(None);
    }
    if !order.warmup.is_zero() {
        let round = engine.measure(Span::Time(order.warmup), watch)?;
        // Late comers would be counted against what is measured now.
        if round.faults.lost > 0 || round.faults.unanswered > 0 {
            return Ok(Some(Run::new(load, &round)));
        }
    }
    if watch.is_stopped() {
        return Ok(None);
    }
    let before = site.usage()?;
    let round = engine.measure(Span::Time(order.duration), watch)?;
    if watch.is_stopped() && round.published == 0 && round.faults.is_clean() {
        return Ok(None);
    }
    let mut run = Run::new(load, &round);
    charge(&mut run, site, before, round.elapsed)?;
    if let (Some(server), Scenario::Poll) = (&mut run.server, load.scenario) {
        server.bytes_per_connection = growth;
    }
    Ok(Some(run))
}

/// Opens them, and says by how much the server grew for each.
fn open_subscribers(
    engine: &mut Engine<'_>,
    load: &Load,
    site: &Site,
    watch: &mut Watch<'_>,
) -> Outcome<Option<f64>> {
    let wanted = load.subscribers;
    if load.scenario == Scenario::Fanout || wanted <= FIRST_CONNECTIONS {
        engine.open_subscribers(wanted, watch)?;
        return Ok(None);
    }
    engine.open_subscribers(FIRST_CONNECTIONS, watch)?;
    let before = site.resident();
    engine.open_subscribers(wanted - FIRST_CONNECTIONS, watch)?;
    let grown = engine.subscribers() - FIRST_CONNECTIONS;
    let each = |before: u64, after: u64| (after as f64 - before as f64) / grown.max(1) as f64;
    Ok(before
        .zip(site.resident())
        .map(|(before, after)| each(before, after)))
}

/// Opens connections, lets them idle, and finds out whether each is still there.
fn idle(order: &Order, load: &Load, site: &Site, watch: &mut Watch<'_>) -> Outcome<Option<Run>> {
    let mut engine = Engine::new(&site.target, &workload(load))?;
    let (begin, before) = (Instant::now(), site.usage()?);
    let growth = open_subscribers(&mut engine, load, site, watch)?;
    let opened = engine.subscribers() as u64;
    let opening = engine.opening().clone();
    let after = site.usage()?;
    // The looks at memory are no work of the server.
    let opening_seconds = opening.mean().as_secs_f64() * opened as f64;
    let spent = before
        .0
        .zip(after.0)
        .map(|(before, after)| after.since(&before));
    let resident = site.resident();
    if engine.subscribers() < load.subscribers {
        return Ok(None);
    }

    let before = site.usage()?;
    let silence = engine.measure(Span::Silence(order.duration), watch)?;
    let after = site.usage()?;
    let silent_cores = before.0.zip(after.0).map(|(before, after)| {
        after.since(&before).total.as_secs_f64() / silence.elapsed.as_secs_f64()
    });
    engine.open_publishers()?;
    // A message for each topic: whoever is gone without a word does not get it. A signal has ended the silence
    // alone: without this nothing would be known of the connections.
    let messages = Span::Messages(load.topics as u64);
    let round = Watch::unwatched(|watch| engine.measure(messages, watch))?;
    let mut run = Run::new(load, &round);
    run.mode = "hold";
    run.operations = opened;
    run.operations_per_second = opened as f64 / opening_seconds;
    run.seconds = silence.elapsed.as_secs_f64();
    run.open_latency = Latency::of(&opening);
    run.generator_cores =
        after.1.since(&before.1).total.as_secs_f64() / silence.elapsed.as_secs_f64();
    run.server = spent.zip(resident).map(|(spent, resident)| Cost {
        cpu_cores: silent_cores.unwrap_or_default(),
        bytes_per_connection: growth,
        ..Cost::new(spent, opened, begin.elapsed().as_secs_f64(), resident)
    });
    Ok(Some(run))
}

/// Adds to a result what it cost since `before`.
fn charge(
    run: &mut Run,
    site: &Site,
    before: (Option<Usage>, Usage),
    elapsed: Duration,
) -> Outcome<()> {
    let after = site.usage()?;
    let seconds = elapsed.as_secs_f64();
    run.generator_cores = after.1.since(&before.1).total.as_secs_f64() / seconds;
    let spent = before
        .0
        .zip(after.0)
        .map(|(before, after)| after.since(&before));
    let resident = site.process.and_then(|process| process.resident().ok());
    run.server = spent
        .zip(resident)
        .map(|(spent, resident)| Cost::new(spent, run.operations, seconds, resident));
    Ok(())
}
