//! `pulsar-proxy sub`: what is typed for it.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::time::Duration;

use clap::{Arg, ArgMatches, Command, value_parser};

use super::{Refusal, duration, flag, given, remote, topic};
use crate::client::Subscribe;

/// Between these a ping is neither a burden nor in vain.
const PING_INTERVAL_MIN: Duration = Duration::from_millis(100);
const PING_INTERVAL_MAX: Duration = Duration::from_secs(3_600);

const EXAMPLES: &str = "\
Examples:
  pulsar-proxy sub news
  pulsar-proxy sub orders prices --offset earliest --json
  pulsar-proxy sub jobs --group workers --client-id w1 --json

When the connection breaks or the server restarts, it comes back by itself and goes on behind the last
message: none is lost, none comes twice. What the server does not have any more is told as a gap.
With --ack or --group each message is acknowledged once it is printed; one that was not comes again.
It ends on SIGINT and SIGTERM, after --count messages, and when nobody reads its output: exit code 0.
1 the server refuses, 2 wrong usage, 3 the server cannot be reached, 4 the credential is not accepted,
5 another connection with the same client id has taken over.";

/// The subcommand.
pub(super) fn command() -> Command {
    let text = |name: &'static str, value: &'static str, help: &'static str| {
        Arg::new(name).long(name).value_name(value).help(help)
    };
    Command::new("sub")
        .about("Subscribe: print messages as they come")
        .arg(
            Arg::new("topics")
                .value_name("TOPIC")
                .required(true)
                .num_args(1..)
                .help("The topics"),
        )
        .arg(
            text("offset", "OFFSET", "Where to start: last, earliest, a message id, or a cursor")
                .default_value("last"),
        )
        .arg(
            text("count", "NUMBER", "End after so many messages")
                .value_parser(value_parser!(u64).range(1..)),
        )
        .arg(flag("json", "Print each delivery as it comes, one a line; gaps, too"))
        .arg(flag("ack", "Acknowledge what is printed (at least once); needs --client-id")
            .requires("client-id"))
        .arg(text("group", "NAME", "Share the messages with others of this group; implies --ack"))
        .arg(text("client-id", "NAME", "The name under which the server knows this client"))
        .arg(text(
            "retry-for",
            "DURATION",
            "Time for which a server that is away is waited for [default: for ever, but one that cannot be \
             reached at the beginning is not waited for]",
        ))
        .arg(
            text(
                "ping-interval",
                "DURATION",
                "Silence after which the server is asked whether it is there; after twice that it is not",
            )
            .default_value("20s"),
        )
        .arg(flag("quiet", "Say nothing on standard error but failures").short('q'))
        .args(remote::arguments("10s"))
        .after_help(EXAMPLES)
}

/// What is to be printed.
pub(super) fn read(
    matches: &ArgMatches,
    environment: &BTreeMap<String, OsString>,
) -> Result<Subscribe, Refusal> {
    let mut topics = Vec::new();
    for text in matches.get_many::<String>("topics").into_iter().flatten() {
        let topic = topic(text)?;
        if !topics.contains(&topic) {
            topics.push(topic);
        }
    }
    let ping_interval = duration(matches, "ping-interval")?.unwrap_or(PING_INTERVAL_MAX);
    if !(PING_INTERVAL_MIN..=PING_INTERVAL_MAX).contains(&ping_interval) {
        let sentence = "--ping-interval: allowed is a duration from 100ms to 1h";
        return Err(Refusal::Command(sentence.to_owned()));
    }
    let group = given(matches, "group");
    Ok(Subscribe {
        remote: remote::read(matches, environment)?,
        topics,
        offset: given(matches, "offset").unwrap_or_default(),
        client_id: given(matches, "client-id"),
        is_acking: matches.get_flag("ack") || group.is_some(),
        group,
        count: matches.get_one::<u64>("count").copied(),
        is_json: matches.get_flag("json"),
        is_quiet: matches.get_flag("quiet"),
        ping_interval,
        retry_for: duration(matches, "retry-for")?,
    })
}
