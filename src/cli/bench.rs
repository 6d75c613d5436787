//! `pulsar-proxy bench`: what is typed for it.

use std::ops::RangeInclusive;
use std::time::Duration;

use clap::builder::{PossibleValuesParser, ValueParser};
use clap::{Arg, ArgMatches, Command, value_parser};

use super::check::without_credentials;
use super::{Refusal, Surroundings, duration, given, remote};
use crate::bench::connections_possible;
use crate::bench::order::{Load, Order, Output, Own, Place, Running, Scenario};
use crate::config::SETTINGS;

/// Connections of each kind: as many as topics that have a name.
const CONNECTIONS: RangeInclusive<u64> = 1..=100_000;
/// Publishers: few are enough for any rate, and a stamp has room for no more.
const PUBLISHERS: RangeInclusive<u64> = 1..=10_000;
/// A message has room for its stamp; no server takes a longer one by default.
const MESSAGE_BYTES: RangeInclusive<u64> = 128..=1_048_576;
/// What the server takes in one request (SPEC section 3).
const MESSAGES: RangeInclusive<u64> = 1..=100;
/// More than any machine sends.
const RATE: RangeInclusive<u64> = 1..=10_000_000;
const DURATION_MIN: Duration = Duration::from_millis(100);
const DURATION_MAX: Duration = Duration::from_secs(3_600);
/// The heading in `--help`.
const HEADING: &str = "Load";

/// What `bench all` runs: each load that has a figure of its own, and rates that leave a small machine time, so
/// that latencies say something.
const ALL: [(Scenario, Option<u64>); 6] = [
    (Scenario::Publish, None),
    (Scenario::Publish, Some(1_000)),
    (Scenario::Fanout, None),
    (Scenario::Fanout, Some(20)),
    (Scenario::Idle, None),
    (Scenario::Poll, None),
];

/// The subcommand and those below it.
pub(super) fn command() -> Command {
    let bench = Command::new("bench")
        .about("Put load on a server and measure it")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .after_help(AFTER_HELP);
    let connections =
        |default: &'static str, help| number("connections", help, default, PUBLISHERS);
    let subscribers = |default, help| number("subscribers", help, default, CONNECTIONS);
    let topics = |help| optional("topics", help, CONNECTIONS);
    let rate = || {
        let help = "Messages a second, latencies counted from when each was to be sent [default: as many as go]";
        optional("rate", help, RATE)
    };
    let bulk = |help| optional("bulk", help, MESSAGES);
    let one = "Messages in a publish request [default: 1]";
    bench
        .subcommand(
            scenario("publish", "Keep-alive connections that publish", "10s")
                .arg(connections("64", "Publishing connections"))
                .arg(topics("Topics they publish to [default: one each]"))
                .arg(bulk(one))
                .arg(rate()),
        )
        .subcommand(
            scenario("fanout", "Topics with many WebSocket subscribers", "10s")
                .arg(subscribers("1000", "WebSocket connections"))
                .arg(connections("4", "Publishing connections"))
                .arg(topics("Topics they are spread over [default: 1]"))
                .arg(bulk(
                    "Messages in a publish request [default: 50, with --rate 1]",
                ))
                .arg(rate()),
        )
        .subcommand(
            scenario("idle", "WebSockets that do nothing: memory of each", "10s")
                .arg(number(
                    "connections",
                    "WebSocket connections, with a subscription each",
                    "10000",
                    CONNECTIONS,
                ))
                .arg(topics("Topics they are spread over [default: one each]")),
        )
        .subcommand(
            scenario("poll", "Topics with many waiting long polls", "10s")
                .arg(subscribers("1000", "Connections that poll"))
                .arg(connections("1", "Publishing connections"))
                .arg(topics("Topics they are spread over [default: 1]"))
                .arg(bulk(one))
                .arg(rate()),
        )
        .subcommand(scenario(
            "all",
            "Each of them, as the defaults say, and publish and fanout at a rate as well",
            "3s",
        ))
}

const AFTER_HELP: &str = "\
Without --url each load gets a server of its own, started from this executable and stopped at the end.
docs/BENCH.md explains every option and figure.";

/// A scenario with the options that all have.
fn scenario(name: &'static str, about: &'static str, duration: &'static str) -> Command {
    let text = |name: &'static str, value: &'static str, help: &'static str| {
        let argument = Arg::new(name).long(name).value_name(value).help(help);
        argument.help_heading(HEADING)
    };
    Command::new(name)
        .about(about)
        .after_help(AFTER_HELP)
        .arg(text("duration", "DURATION", "How long it is measured").default_value(duration))
        .arg(text("warmup", "DURATION", "How long it runs before").default_value("1s"))
        .arg(number(
            "size",
            "Bytes of a message as published",
            "256",
            MESSAGE_BYTES,
        ))
        .arg(
            text("output", "FORM", "Form of the result")
                .default_value("text")
                .value_parser(PossibleValuesParser::new(["text", "json", "markdown"])),
        )
        .args(remote::arguments("20s").into_iter().filter_map(for_bench))
        .arg(
            text(
                "pid",
                "NUMBER",
                "Process of the server [default: who listens at --url, on this machine]",
            )
            .value_parser(value_parser!(u32).range(1..))
            .requires("url"),
        )
        .arg(
            Arg::new("server-arguments")
                .value_name("SERVER ARGUMENTS")
                .help("Behind `--`: further arguments of the servers that are started")
                .num_args(1..)
                .last(true)
                .conflicts_with("url"),
        )
}

/// A shared option as it is here; the others are for connections that cannot be measured with.
fn for_bench(argument: Arg) -> Option<Arg> {
    match argument.get_id().as_str() {
        "url" => Some(argument.help(
            "http://host:port of the server; nothing else is ever loaded [default: a server of its own]",
        )),
        "credential" => Some(argument),
        "credential-file" => Some(
            argument.help("File with the API key or access token [env: PULSAR_CREDENTIAL_FILE]"),
        ),
        _ => None,
    }
}

fn optional(name: &'static str, help: &'static str, range: RangeInclusive<u64>) -> Arg {
    let (low, high) = (*range.start(), *range.end());
    let parser: ValueParser = value_parser!(u64).range(low..=high).into();
    Arg::new(name)
        .long(name)
        .value_name("NUMBER")
        .help(help)
        .help_heading(HEADING)
        .value_parser(parser)
}

fn number(
    name: &'static str,
    help: &'static str,
    default: &'static str,
    range: RangeInclusive<u64>,
) -> Arg {
    optional(name, help, range).default_value(default)
}

/// What is to be measured.
pub(super) fn read(matches: &ArgMatches, surroundings: &Surroundings) -> Result<Order, Refusal> {
    let (name, matches) = matches
        .subcommand()
        .expect("the command line must name a scenario");
    let loads = match Scenario::ALL.into_iter().find(|it| it.name() == name) {
        Some(scenario) => vec![load(matches, scenario, rate(matches))],
        None => ALL
            .into_iter()
            .map(|(scenario, rate)| load(matches, scenario, rate))
            .map(fitting)
            .collect(),
    };
    let output = match given(matches, "output").as_deref() {
        Some("json") => Output::Json,
        Some("markdown") => Output::Markdown,
        _ => Output::Text,
    };
    Ok(Order {
        place: place(matches, surroundings)?,
        loads,
        duration: bounded(matches, "duration", DURATION_MIN)?,
        warmup: bounded(matches, "warmup", Duration::ZERO)?,
        output,
        command_line: command_line(surroundings),
    })
}

/// Not every scenario has one.
fn rate(matches: &ArgMatches) -> Option<u64> {
    matches.try_get_one("rate").ok().flatten().copied()
}

/// One load; an option that its subcommand lacks is as by default.
fn load(matches: &ArgMatches, scenario: Scenario, rate: Option<u64>) -> Load {
    let value = |name: &str| {
        let value = matches.try_get_one::<u64>(name).ok().flatten();
        value.map(|value| *value as usize)
    };
    let connections = value("connections");
    let or = |value: Option<usize>, default| value.unwrap_or(default);
    let (connections, subscribers) = match scenario {
        Scenario::Publish => (or(connections, 64), 0),
        Scenario::Fanout => (or(connections, 4), or(value("subscribers"), 1_000)),
        Scenario::Idle => (1, or(connections, 10_000)),
        Scenario::Poll => (or(connections, 1), or(value("subscribers"), 1_000)),
    };
    let topics = match scenario {
        Scenario::Publish => connections,
        Scenario::Idle => subscribers,
        Scenario::Fanout | Scenario::Poll => 1,
    };
    let messages = match (scenario, rate) {
        (Scenario::Fanout, None) => 50,
        _ => 1,
    };
    Load {
        scenario,
        connections,
        subscribers,
        topics: or(value("topics"), topics),
        message_bytes: or(value("size"), 256),
        messages: or(value("bulk"), messages),
        rate,
    }
}

/// Nobody has asked for the number of idle connections, so that a smaller one does as well.
fn fitting(mut load: Load) -> Load {
    if load.scenario == Scenario::Idle {
        // A server on this machine has a few files open besides.
        let possible = connections_possible().saturating_sub(1_000).max(1_000);
        load.subscribers = load.subscribers.min(possible);
        load.topics = load.topics.min(possible);
    }
    load
}

fn place(matches: &ArgMatches, surroundings: &Surroundings) -> Result<Place, Refusal> {
    if given(matches, "url").is_none() {
        // The environment names a server for other commands; load goes only where it was told to go.
        let arguments = matches.get_many::<String>("server-arguments");
        let arguments: Vec<String> = arguments.into_iter().flatten().cloned().collect();
        for flag in ["--host", "--log-level"] {
            if arguments.iter().any(|it| is_flag(it, flag)) {
                let sentence = format!(
                    "{flag}: bench reads in the log where on this machine its servers listen"
                );
                return Err(Refusal::Command(sentence));
            }
        }
        let shown = without_secrets(arguments.iter().map(String::as_str));
        return Ok(Place::Own(Own { arguments, shown }));
    }
    let remote = remote::read(matches, &surroundings.environment)?;
    let Some((host, port, base)) = remote.url.plain() else {
        let sentence = "bench speaks plain HTTP over TCP only: give --url the server's http:// address; what \
                        TLS costs in addition stands in docs/PERFORMANCE.md";
        return Err(Refusal::Command(sentence.to_owned()));
    };
    let (credential, warning) = (remote.credential.read(), remote.warning());
    Ok(Place::Running(Running {
        host: host.to_owned(),
        port,
        base: base.to_owned(),
        credential: credential.map_err(|error| Refusal::Command(error.to_string()))?,
        pid: matches.get_one("pid").copied(),
        warning,
    }))
}

fn bounded(matches: &ArgMatches, name: &str, least: Duration) -> Result<Duration, Refusal> {
    let duration = duration(matches, name)?.unwrap_or_default();
    if duration < least || duration > DURATION_MAX {
        let least = humantime::format_duration(least);
        let sentence = format!("--{name}: allowed is {least} to 1h");
        return Err(Refusal::Command(sentence));
    }
    Ok(duration)
}

/// The command line for a shell, without secrets.
fn command_line(surroundings: &Surroundings) -> String {
    let words = surroundings.arguments.iter().skip(1);
    let words: Vec<_> = words.map(|word| word.to_string_lossy()).collect();
    let words = without_secrets(words.iter().map(AsRef::as_ref));
    let words: Vec<String> = words.iter().map(|word| quoted(word)).collect();
    format!("pulsar-proxy {}", words.join(" "))
}

/// The words of a command line with the credential, and what is secret of a server's settings, left out.
fn without_secrets<'a>(words: impl Iterator<Item = &'a str>) -> Vec<String> {
    let settings = SETTINGS.iter().map(|setting| setting.about());
    let secret = settings.filter(|it| it.is_secret).map(|it| it.name);
    let secret: Vec<&str> = secret.chain(["credential"]).collect();
    let mut is_secret = false;
    let mut shown = Vec::new();
    for word in words {
        if std::mem::take(&mut is_secret) {
            shown.push("…".to_owned());
            continue;
        }
        let (flag, value) = match word.split_once('=') {
            Some((flag, _)) => (flag, true),
            None => (word, false),
        };
        let is_named = flag
            .strip_prefix("--")
            .is_some_and(|name| secret.contains(&name));
        is_secret = is_named && !value;
        shown.push(match is_named && value {
            true => format!("{flag}=…"),
            false => without_credentials(word),
        });
    }
    shown
}

fn is_flag(word: &str, flag: &str) -> bool {
    let rest = word.strip_prefix(flag);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('='))
}

fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_alphanumeric() || "-_./:=,@%+…".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', "'\\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{Task, parse};
    use crate::config::Machine;
    use std::collections::BTreeMap;
    use std::path::PathBuf;

    fn order(line: &str) -> Result<Order, String> {
        let words = ["pulsar-proxy", "bench"].into_iter();
        let arguments = words.chain(line.split_whitespace()).map(Into::into);
        let surroundings = Surroundings {
            arguments: arguments.collect(),
            environment: BTreeMap::from([
                ("PULSAR_URL".to_owned(), "http://elsewhere".into()),
                ("PULSAR_CREDENTIAL".to_owned(), "hunter2".into()),
            ]),
            directory: PathBuf::from("/nowhere"),
            machine: Machine {
                cores: 1,
                memory: 1 << 30,
            },
        };
        match parse(&surroundings) {
            Ok(Task::Bench(order)) => Ok(*order),
            Ok(_) => Err("another task".to_owned()),
            Err(refusal) => Err(refusal.to_string()),
        }
    }

    #[test]
    fn load_goes_only_where_it_was_told_to_go() {
        let Place::Own(own) = order("publish -- --workers 3").unwrap().place else {
            panic!("the environment has named a server");
        };
        assert_eq!(own.arguments, ["--workers", "3"]);
        let Place::Running(running) = order("publish --url http://[::1]:81/p/").unwrap().place
        else {
            panic!("the server was named");
        };
        assert_eq!(running.url(), "http://[::1]:81/p");
        assert_eq!(running.credential.unwrap().expose(), "hunter2");
        for line in [
            "publish --url https://localhost",
            "publish --url unix:/run/p.sock",
        ] {
            let said = order(line).unwrap_err();
            assert!(said.contains("plain HTTP over TCP only"), "{said}");
        }
        assert!(order("publish --url http://a -- --workers 3").is_err());
        assert!(order("publish --pid 1").is_err());
        for flags in ["--log-level WARNING", "--host=127.0.0.2"] {
            let said = order(&format!("publish -- {flags}")).unwrap_err();
            assert!(said.contains("reads in the log"), "{said}");
        }
    }

    #[test]
    fn loads_are_as_asked_or_as_by_default() {
        let one = |line: &str| order(line).unwrap().loads.remove(0);
        let fanout = one("fanout --subscribers 7 --topics 2");
        assert_eq!(
            (
                fanout.subscribers,
                fanout.topics,
                fanout.messages,
                fanout.rate
            ),
            (7, 2, 50, None)
        );
        let fanout = one("fanout --rate 5");
        assert_eq!((fanout.messages, fanout.rate), (1, Some(5)));
        let idle = one("idle --connections 9");
        assert_eq!((idle.connections, idle.subscribers, idle.topics), (1, 9, 9));
        let all = order("all --size 500").unwrap();
        assert_eq!(all.loads.len(), ALL.len());
        assert!(all.loads.iter().all(|load| load.message_bytes == 500));
        assert_eq!(all.duration, Duration::from_secs(3));
    }

    #[test]
    fn everything_is_bounded() {
        for line in [
            "",
            "publish --duration 0",
            "publish --duration 2h",
            "publish --connections 0",
            "publish --connections 10001",
            "publish --bulk 101",
            "publish --size 10",
            "publish --rate 0",
            "fanout --subscribers 100001",
            "idle --rate 1",
            "all --rate 1",
            "publish --output xml",
            "publish --url http://a --timeout 5",
            "publish --url http://a --ca-file f",
        ] {
            assert!(order(line).is_err(), "{line}");
        }
        assert_eq!(order("publish --warmup 0").unwrap().warmup, Duration::ZERO);
    }

    #[test]
    fn the_command_line_is_kept_without_the_credential() {
        for given in ["--credential hunter3", "--credential=hunter3"] {
            let line = format!("publish --url http://a:1 {given} --rate 5");
            let kept = order(&line).unwrap().command_line;
            assert!(!kept.contains("hunter"), "{kept}");
            assert!(kept.starts_with("pulsar-proxy bench publish --url http://a:1 --credential"));
            assert!(kept.ends_with("… --rate 5"), "{kept}");
        }
        assert_eq!(quoted("a b'c"), "'a b'\\''c'");
    }

    #[test]
    fn secrets_of_servers_go_to_them_alone() {
        let given = "--jwt-secret-key hunter3 --workers 1 --valkey-password=hunter4 --jwks \
                     https://u:hunter5@a/b";
        let order = order(&format!("publish -- {given}")).unwrap();
        let shown = "--jwt-secret-key … --workers 1 --valkey-password=… --jwks https://…@a/b";
        assert_eq!(
            order.command_line,
            format!("pulsar-proxy bench publish -- {shown}")
        );
        let Place::Own(own) = order.place else {
            panic!("no server was named");
        };
        assert_eq!(own.arguments.join(" "), given);
        assert_eq!(own.shown.join(" "), shown);
    }
}
