//! `pulsar-proxy pub`: what is typed for it.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::io::{self, IsTerminal};
use std::path::Path;
use std::time::Duration;

use clap::{Arg, ArgAction, ArgMatches, Command};

use super::{Refusal, duration, flag, given, remote, topic};
use crate::client::Publish;

/// A server remembers for 600 s what it was sent; whoever tries longer may publish twice.
const RETRY_MAX: Duration = Duration::from_secs(540);

const EXAMPLES: &str = "\
Examples:
  pulsar-proxy pub news '{\"text\":\"Hello!\"}'
  pulsar-proxy pub news --text Hello
  pulsar-proxy pub news --file message.json --ttl 10m --metadata by=me
  tail -f events.jsonl | pulsar-proxy pub events

Each line of standard input is a message; they are published in order, each once, also when the
server is busy or the connection breaks. Exit code: 0 all are published, 1 something was refused,
2 wrong usage, 3 the server cannot be reached, 4 the credential is not accepted.";

/// The subcommand.
pub(super) fn command() -> Command {
    let text = |name: &'static str, value: &'static str, help: &'static str| {
        Arg::new(name).long(name).value_name(value).help(help)
    };
    Command::new("pub")
        .about("Publish: one message, or each line of standard input")
        .arg(Arg::new("topic").value_name("TOPIC").required(true).help("The topic"))
        .arg(
            Arg::new("payload")
                .value_name("PAYLOAD")
                .conflicts_with("file")
                .help("A JSON object; without it, or with -, the lines of standard input are one each"),
        )
        .arg(text("file", "FILE", "File that holds the payload of one message"))
        .arg(flag("text", "Make {\"text\": …} of what is no JSON object"))
        .arg(text("ttl", "DURATION", "Time after which the messages are not delivered any more"))
        .arg(
            text("metadata", "KEY=VALUE", "What they carry beside the payload; may be repeated")
                .action(ArgAction::Append),
        )
        .arg(text(
            "retry-for",
            "DURATION",
            "Time for which a request is tried again, up to 9m; 0 is never [default: 30s, but a server \
             that cannot be reached at the beginning is not waited for]",
        ))
        .arg(flag("json", "Print the server's answer to each message"))
        .arg(flag("quiet", "Print failures alone").short('q'))
        .args(remote::arguments("10s"))
        .after_help(EXAMPLES)
}

/// What is to be published.
pub(super) fn read(
    matches: &ArgMatches,
    directory: &Path,
    environment: &BTreeMap<String, OsString>,
) -> Result<Publish, Refusal> {
    let refuse = |sentence: String| Refusal::Command(sentence);
    let retry_for = duration(matches, "retry-for")?;
    if retry_for.is_some_and(|time| time > RETRY_MAX) {
        let sentence =
            "--retry-for: allowed are up to 9m, since servers remember for 10m what they got";
        return Err(refuse(sentence.to_owned()));
    }
    let payload = match (given(matches, "file"), given(matches, "payload")) {
        (Some(name), _) => {
            let read = fs::read_to_string(directory.join(&name));
            Some(read.map_err(|error| refuse(format!("--file: {name}: {error}")))?)
        }
        (None, Some(payload)) if payload != "-" => Some(payload),
        (None, None) if io::stdin().is_terminal() => {
            let sentence =
                "there is nothing to publish: give a PAYLOAD, a --file, or lines on standard input";
            return Err(refuse(sentence.to_owned()));
        }
        _ => None,
    };
    let ttl = match duration(matches, "ttl")? {
        Some(time) if time.as_secs() == 0 || time.subsec_nanos() > 0 => {
            return Err(refuse(
                "--ttl: allowed are whole seconds, one at least".to_owned(),
            ));
        }
        time => time.map(|time| time.as_secs()),
    };
    let pairs = matches.get_many::<String>("metadata").into_iter().flatten();
    let pairs = pairs.map(|pair| {
        let (key, value) = pair.split_once('=')?;
        Some((key.to_owned(), value.to_owned()))
    });
    let metadata = pairs.collect::<Option<_>>();
    Ok(Publish {
        remote: remote::read(matches, environment)?,
        topic: topic(&given(matches, "topic").unwrap_or_default())?,
        payload,
        is_text: matches.get_flag("text"),
        ttl,
        metadata: metadata.ok_or_else(|| refuse("--metadata: allowed is KEY=VALUE".to_owned()))?,
        retry_for,
        is_json: matches.get_flag("json"),
        is_quiet: matches.get_flag("quiet"),
    })
}
