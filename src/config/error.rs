//! Why the settings do not allow a start. Each error is one sentence for the operator, which names the
//! setting, where it was given and what is allowed.

use std::fmt;
use std::path::PathBuf;

/// Where the value of a setting comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A flag of the command line.
    Flag(&'static str),
    /// A variable of the process environment.
    Environment(String),
    /// A line of the `.env` file in the working directory.
    DotEnv(String),
    /// A key of the file that `--config` names.
    File(PathBuf, String),
    /// Nothing was given.
    Default,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::Flag(name) => write!(f, "given by --{name}"),
            Source::Environment(name) => write!(f, "given by the environment variable {name}"),
            Source::DotEnv(name) => write!(f, "given by {name} in the file .env"),
            Source::File(path, key) => write!(f, "given by {key} in the file {}", path.display()),
            Source::Default => f.write_str("left at its default"),
        }
    }
}

/// Settings with which the server does not start.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// The text has the wrong form or is out of bounds.
    #[error("the setting {setting}, {source_of}, cannot be {value}: allowed is {allowed}")]
    Value {
        /// The flag's name.
        setting: &'static str,
        /// Where the value was given.
        source_of: Source,
        /// The value, quoted and of bounded length.
        value: String,
        /// What would do.
        allowed: String,
    },
    /// Two settings do not fit together.
    #[error("the setting {setting}, {source_of}, cannot be {value}: it must be {relation}")]
    Contradiction {
        /// The flag's name.
        setting: &'static str,
        /// Where the value was given.
        source_of: Source,
        /// The value as decided.
        value: String,
        /// How it must relate to which other setting, from where, and to which value of that.
        relation: String,
    },
    /// An address that others can reach, and nothing that keeps them out.
    #[error(
        "the setting host, {0}, cannot be {1}: no credentials are configured, and without them only a \
         loopback address (127.0.0.1, ::1 or localhost) is allowed, unless --insecure-no-auth is given"
    )]
    Exposed(Source, String),
    /// Credentials that break a rule, which is told without them.
    #[error("the setting {0}")]
    Credentials(String),
    /// A setting of a later version.
    #[error(
        "the setting {0}, {1}, cannot be set: this version does not have it; allowed is to leave it unset"
    )]
    Later(&'static str, Source),
    /// A value that is not Unicode.
    #[error("the setting {0}, {1}, is not valid UTF-8: allowed is Unicode text")]
    NotUnicode(&'static str, Source),
    /// A key of the TOML file that no setting has.
    #[error(
        "the setting {1} in the file {path} is unknown: allowed are the flags' names with _ for -, as \
         --help lists them",
        path = .0.display()
    )]
    UnknownKey(PathBuf, String),
    /// A value of the TOML file that is neither text, number, switch nor list of texts.
    #[error("the setting {0}, {1}, must be a text, a number, true or false, or a list of texts")]
    ValueType(&'static str, Source),
    /// The TOML file cannot be read.
    #[error("the setting config, {0}, names the file {path}, which cannot be read: {2}", path = .1.display())]
    FileUnreadable(Source, PathBuf, String),
    /// The TOML file is no TOML.
    #[error("the file {path}, line {1}, is not valid TOML: {2}", path = .0.display())]
    FileMalformed(PathBuf, usize, String),
    /// The `.env` file exists and cannot be read.
    #[error("the file .env in the working directory cannot be read: {0}")]
    DotEnvUnreadable(String),
    /// The `.env` file has a line that is neither `NAME=value` nor a comment.
    #[error(
        "the file .env in the working directory is malformed in line {0}: allowed are lines NAME=value, with \
         quotes around a value that has spaces or quotes in it"
    )]
    DotEnvMalformed(usize),
}

/// The value for a sentence: in quotes, without control characters, not too long.
pub(super) fn quoted(text: &str) -> String {
    const SHOWN_CHARS_MAX: usize = 80;
    let shown: String = text.chars().take(SHOWN_CHARS_MAX).collect();
    let rest = if shown.len() < text.len() { "…" } else { "" };
    format!("{shown:?}{rest}")
}
