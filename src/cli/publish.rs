//! `pulsar-proxy pub`: what is typed for it.

use std::collections::BTreeMap;
use std::ffi::OsString;

use clap::{Arg, ArgAction, ArgMatches, Command};

use super::{Refusal, given, remote};
use crate::client::Publish;
use crate::topic::TopicName;

/// The subcommand.
pub(super) fn command() -> Command {
    Command::new("pub")
        .about("Publish to a topic")
        .arg(
            Arg::new("topic")
                .value_name("TOPIC")
                .required(true)
                .help("The topic"),
        )
        .arg(
            Arg::new("payload")
                .value_name("PAYLOAD")
                .required(true)
                .help("A JSON object"),
        )
        .arg(
            Arg::new("json")
                .long("json")
                .action(ArgAction::SetTrue)
                .help("Print the whole answer instead of the message's id"),
        )
        .args(remote::arguments("10s"))
}

/// What is to be published.
pub(super) fn read(
    matches: &ArgMatches,
    environment: &BTreeMap<String, OsString>,
) -> Result<Publish, Refusal> {
    let payload = given(matches, "payload").unwrap_or_default();
    let topic = given(matches, "topic").unwrap_or_default();
    if TopicName::parse(&topic).is_err() {
        return Err(Refusal::Command(format!("{topic:?} is no name of a topic")));
    }
    let payload = serde_json::from_str(&payload)
        .map_err(|error| Refusal::Command(format!("the payload is no JSON: {error}")))?;
    Ok(Publish {
        remote: remote::read(matches, environment)?,
        topic,
        payload,
        is_json: matches.get_flag("json"),
    })
}
