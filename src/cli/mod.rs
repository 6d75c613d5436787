//! From the command line and its surroundings to a [`Config`]. Reads the settings files, validates, and
//! never acts: what it finds is returned, also the text of `--help`.

mod bench;
mod check;
mod files;
mod healthcheck;
mod machine;
mod paper;
mod publish;
mod remote;
mod subscribe;
mod token;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Arg, ArgAction, ArgMatches, Command};

use crate::bench::order::Order;
use crate::client::{Healthcheck, Publish, Subscribe};
use crate::config::{self, About, Config, ConfigError, Layers, Machine, SETTINGS, Shape};
use crate::topic::TopicName;

use check::Checked;

pub use check::Check;
pub use machine::detect as detect_machine;

/// What the program is started with and in. Handed in, so that tests need not change their process.
pub struct Surroundings {
    /// Program name and arguments.
    pub arguments: Vec<OsString>,
    /// The process environment; names that are not Unicode are nobody's.
    pub environment: BTreeMap<String, OsString>,
    /// The working directory, in which `.env` may be.
    pub directory: PathBuf,
    /// Cores and memory.
    pub machine: Machine,
}

impl Surroundings {
    /// Those of this process.
    pub fn of_process() -> Surroundings {
        let named = |(name, value): (OsString, OsString)| Some((name.into_string().ok()?, value));
        Surroundings {
            arguments: std::env::args_os().collect(),
            environment: std::env::vars_os().filter_map(named).collect(),
            directory: PathBuf::from("."),
            machine: detect_machine(),
        }
    }
}

/// A server that may start.
#[derive(Debug)]
pub struct Start {
    /// The decided settings.
    pub config: Config,
    /// What the operator should be told as soon as there is a log.
    pub warnings: Vec<String>,
}

/// What the command line asks for.
#[derive(Debug)]
pub enum Task {
    /// To serve.
    Serve(Box<Start>),
    /// To print this text, and nothing else.
    Print(String),
    /// To show the settings.
    Check(Box<Check>),
    /// To ask a server how it is.
    Healthcheck(Box<Healthcheck>),
    /// To publish.
    Publish(Box<Publish>),
    /// To print what comes on topics.
    Subscribe(Box<Subscribe>),
    /// To measure.
    Bench(Box<Order>),
}

/// Why there is nothing to do.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// Help or version was asked for, or the command line has a flag that does not exist.
    #[error(transparent)]
    Usage(#[from] clap::Error),
    /// A setting is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// What a subcommand was told is wrong.
    #[error("{0}")]
    Command(String),
    /// The command line of `healthcheck` has a flag that does not exist.
    #[error(transparent)]
    HealthUsage(clap::Error),
    /// It is not known where the server is whose health is asked for.
    #[error("{0}")]
    Health(String),
}

/// Reads command line, environment, `.env` and settings file, decides the settings, and finds out what is to
/// be done.
///
/// # Errors
///
/// Help and version, which are no failures ([`clap::Error::exit_code`] says so), and everything that is
/// wrong with flags, files and settings.
pub fn parse(surroundings: &Surroundings) -> Result<Task, Refusal> {
    let arguments = &surroundings.arguments;
    let matches = command().try_get_matches_from(arguments);
    let matches = matches.map_err(|error| match arguments.get(1) {
        Some(name) if name == "healthcheck" && error.use_stderr() => Refusal::HealthUsage(error),
        _ => Refusal::Usage(error),
    })?;
    let environment = &surroundings.environment;
    match matches.subcommand() {
        Some(("token", matches)) => {
            let access = || Ok(decide(surroundings, BTreeMap::new())?.config.access);
            token::run(matches, &surroundings.directory, access).map(Task::Print)
        }
        Some(("check", matches)) => {
            let outcome = check(surroundings, flags(matches));
            let is_json = matches.get_flag("json");
            Ok(Task::Check(Box::new(Check::new(outcome, is_json))))
        }
        Some(("completions", matches)) => Ok(Task::Print(paper::completions(matches))),
        Some(("healthcheck", matches)) => {
            let config = || Ok(decide(surroundings, flags(matches))?.config);
            match healthcheck::read(matches, environment, config) {
                Ok(order) => Ok(Task::Healthcheck(Box::new(order))),
                Err(refusal) => Err(Refusal::Health(refusal.to_string())),
            }
        }
        Some(("man", _)) => paper::man().map(Task::Print),
        Some(("pub", matches)) => {
            let order = publish::read(matches, &surroundings.directory, environment)?;
            Ok(Task::Publish(Box::new(order)))
        }
        Some(("sub", matches)) => {
            let order = subscribe::read(matches, environment)?;
            Ok(Task::Subscribe(Box::new(order)))
        }
        Some(("bench", matches)) => {
            let order = bench::read(matches, surroundings)?;
            Ok(Task::Bench(Box::new(order)))
        }
        // `serve` has the flags of the bare program; clap takes them on one side of it only.
        serve => {
            let matches = serve.map_or(&matches, |(_, matches)| matches);
            let start = decide(surroundings, flags(matches))?;
            Ok(Task::Serve(Box::new(start)))
        }
    }
}

fn decide(
    surroundings: &Surroundings,
    flags: BTreeMap<&'static str, String>,
) -> Result<Start, ConfigError> {
    let Checked {
        config, warnings, ..
    } = check(surroundings, flags)?;
    Ok(Start { config, warnings })
}

fn check(
    surroundings: &Surroundings,
    flags: BTreeMap<&'static str, String>,
) -> Result<Checked, ConfigError> {
    let mut layers = Layers {
        flags,
        environment: surroundings.environment.clone(),
        dotenv: files::read_dotenv(&surroundings.directory)?,
        file: None,
    };
    if let Some(given) = layers.config_file()? {
        let path = surroundings.directory.join(&given.text);
        let table = files::read_toml(&path, &given)?;
        layers.file = Some((Path::new(&given.text).to_owned(), table));
    }
    let typed = layers.merge()?;
    let (config, warnings) = config::decide(&typed, surroundings.machine)?;
    Ok(Checked {
        config,
        typed,
        warnings,
    })
}

/// The command line, made from the declarations of the settings.
fn command() -> Command {
    let serve = Command::new("serve").about("Serve; what the program does without a subcommand");
    with_settings(Command::new("pulsar-proxy"))
        .version(env!("CARGO_PKG_VERSION"))
        .about(env!("CARGO_PKG_DESCRIPTION"))
        .after_help(AFTER_HELP)
        .args_conflicts_with_subcommands(true)
        .disable_help_subcommand(true)
        .subcommand(with_settings(serve).after_help(AFTER_HELP))
        .subcommand(publish::command())
        .subcommand(subscribe::command())
        .subcommand(bench::command())
        .subcommand(token::command())
        .subcommand(check::command())
        .subcommand(healthcheck::command())
        .subcommands(paper::commands())
}

const AFTER_HELP: &str = "\
Precedence: flag, environment, .env in the working directory, file of --config, default.
Of several environment names the first that is listed wins; an empty variable counts as unset.
Durations: 500ms, 10s, 1m30s, or plain seconds. Sizes: 64KiB, 1MiB, or plain bytes.
Switches: --flag alone is on; true, 1, yes, on, false, 0, no and off are understood.
Lists: commas, or the flag again.";

fn with_settings(command: Command) -> Command {
    command.args(
        SETTINGS
            .iter()
            .map(|setting| argument(setting.about(), &setting.default_text())),
    )
}

fn argument(about: &'static About, default: &str) -> Arg {
    let argument = Arg::new(about.name)
        .long(about.name)
        .value_name(about.value_name)
        .help_heading(about.group.heading())
        .help(help(about, default))
        .allow_negative_numbers(true);
    match about.shape {
        Shape::One => argument,
        Shape::List => argument.action(ArgAction::Append),
        Shape::Switch => argument
            .num_args(0..=1)
            .require_equals(true)
            .default_missing_value("on"),
    }
}

fn help(about: &About, default: &str) -> String {
    let default = if default.is_empty() { "none" } else { default };
    let names = about.environment_names().join(", ");
    format!("{} [default: {default}] [env: {names}]", about.help)
}

/// The flags that were given, as texts.
fn flags(matches: &ArgMatches) -> BTreeMap<&'static str, String> {
    let names = SETTINGS.iter().map(|setting| setting.about().name);
    let given = |name: &'static str| {
        let texts: Vec<&str> = matches
            .get_many::<String>(name)?
            .map(String::as_str)
            .collect();
        Some((name, texts.join(",")))
    };
    names.filter_map(given).collect()
}

/// The text of an option of a subcommand; one that it lacks is not given.
fn given(matches: &ArgMatches, name: &str) -> Option<String> {
    matches.try_get_one::<String>(name).ok().flatten().cloned()
}

/// The duration of an option of a subcommand, as settings have them.
fn duration(matches: &ArgMatches, name: &str) -> Result<Option<Duration>, Refusal> {
    let Some(text) = given(matches, name) else {
        return Ok(None);
    };
    let duration = config::parse_duration(&text).ok_or_else(|| {
        let allowed = "a duration such as 500ms, 10s or 1m30s, a plain number being seconds";
        Refusal::Command(format!("--{name}: allowed is {allowed}"))
    })?;
    Ok(Some(duration))
}

/// An option of a subcommand that has no value.
fn flag(name: &'static str, help: &'static str) -> Arg {
    let argument = Arg::new(name).long(name).action(ArgAction::SetTrue);
    argument.help(help)
}

fn topic(text: &str) -> Result<String, Refusal> {
    match TopicName::parse(text) {
        Ok(_) => Ok(text.to_owned()),
        Err(_) => Err(Refusal::Command(format!(
            "{text:?} is no name of a topic: allowed are 1 to 255 letters, numbers, - and _, not only - and _"
        ))),
    }
}
