//! `pulsar-proxy check`: every setting, its value, and where that is from.

use std::fmt::Write;

use clap::Command;
use serde_json::{Value, json};

use super::{AFTER_HELP, flag, with_settings};
use crate::config::{About, Config, ConfigError, SETTINGS, Source, Typed};

/// What is shown of a secret.
const HIDDEN: &str = "(hidden)";

/// The settings, to be held against the files that they name before they are shown.
#[derive(Debug)]
pub struct Check {
    outcome: Result<Checked, ConfigError>,
    is_json: bool,
}

/// Settings with which a server would start, as far as they alone tell.
#[derive(Debug)]
pub(super) struct Checked {
    pub(super) config: Config,
    pub(super) typed: Typed,
    pub(super) warnings: Vec<String>,
}

/// One line of what is shown.
struct Line {
    name: &'static str,
    value: String,
    /// In one word.
    kind: &'static str,
    /// Which flag, variable or key; how it was decided.
    place: String,
}

/// The subcommand.
pub(super) fn command() -> Command {
    let command = Command::new("check")
        .about("Show every setting and where it is from, and judge all of them");
    with_settings(command)
        .mut_args(|argument| argument.hide_short_help(true))
        .arg(flag("json", "Print JSON"))
        .after_help(format!(
            "Takes the settings of the server, which are listed by --help, and reads the files that they \
             name. Exit code: 0 a server may start, 2 it may not.\n\n{AFTER_HELP}"
        ))
}

impl Check {
    pub(super) fn new(outcome: Result<Checked, ConfigError>, is_json: bool) -> Check {
        Check { outcome, is_json }
    }

    /// Shows the settings, if `examine` finds nothing wrong with the files that they name and returns what
    /// it has found: what is to be printed.
    ///
    /// # Errors
    /// What is to be printed if no server would start, and the sentence that says why.
    pub fn run(
        self,
        examine: impl FnOnce(&Config) -> Result<Vec<String>, ConfigError>,
    ) -> Result<String, (Option<String>, String)> {
        let is_json = self.is_json;
        let examined = self.outcome.and_then(|checked| {
            let found = examine(&checked.config)?;
            Ok((checked, found))
        });
        match examined {
            Ok((checked, found)) if is_json => Ok(checked.json(&found)),
            Ok((checked, found)) => Ok(checked.text(&found)),
            Err(error) => {
                let sentence = error.to_string();
                let said = json!({"valid": false, "error": sentence});
                Err((is_json.then(|| format!("{said:#}")), sentence))
            }
        }
    }
}

impl Checked {
    fn lines(&self) -> Vec<Line> {
        let line = |about: &About, default: String| {
            let name = about.name;
            let Some(given) = self.typed.given(name) else {
                return self.left(name, default);
            };
            let value = match about.is_secret {
                true => HIDDEN.to_owned(),
                false => without_credentials(&given.text),
            };
            let (kind, place) = match &given.source {
                Source::Flag(name) => ("flag", format!("--{name}")),
                Source::Environment(name) => ("environment", name.clone()),
                Source::DotEnv(name) => (".env", name.clone()),
                Source::File(path, key) => ("file", format!("{key} in {}", path.display())),
                Source::Default => ("default", String::new()),
            };
            Line {
                name,
                value,
                kind,
                place,
            }
        };
        let settings = SETTINGS.iter();
        settings
            .map(|setting| line(setting.about(), setting.default_text()))
            .collect()
    }

    /// A setting that nobody gave. Some defaults are words; these tell how it was decided.
    fn left(&self, name: &'static str, default: String) -> Line {
        let config = &self.config;
        let decided = match name {
            "workers" => Some(config.workers),
            "memory-max" => Some(config.memory_max),
            "outbox-bytes-max" => Some(config.outbox_bytes_max),
            _ => None,
        };
        match decided {
            Some(number) => Line {
                name,
                value: number.to_string(),
                kind: "decided",
                place: default,
            },
            None => {
                let value = if default.is_empty() {
                    "none".to_owned()
                } else {
                    default
                };
                Line {
                    name,
                    value,
                    kind: "default",
                    place: String::new(),
                }
            }
        }
    }

    fn text(&self, found: &[String]) -> String {
        let lines = self.lines();
        let width = |part: fn(&Line) -> usize| lines.iter().map(part).max().unwrap_or(0);
        let names = width(|line| line.name.len());
        let values = width(|line| line.value.chars().count()).min(40);
        let mut text = String::new();
        for Line {
            name,
            value,
            kind,
            place,
        } in &lines
        {
            let line = format!("{name:names$}  {value:values$}  {kind} {place}");
            text.push_str(line.trim_end());
            text.push('\n');
        }
        for sentence in found {
            // A String takes everything.
            let _ = write!(text, "\n{sentence}");
        }
        for warning in &self.warnings {
            let _ = write!(text, "\nwarning: {warning}");
        }
        let _ = write!(text, "\nA server may start with these settings.");
        text
    }

    fn json(&self, found: &[String]) -> String {
        let lines = self.lines();
        let settings = lines.iter().map(
            |Line {
                 name,
                 value,
                 kind,
                 place,
             }| {
                json!({"name": name, "value": value, "origin": kind, "place": place})
            },
        );
        let settings: Vec<Value> = settings.collect();
        let said = json!({
            "valid": true,
            "settings": settings,
            "found": found,
            "warnings": self.warnings,
        });
        format!("{said:#}")
    }
}

/// An address without user, password and query; any other text as it is.
pub(super) fn without_credentials(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("://") else {
        return text.to_owned();
    };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    let (hidden, host) = match authority.rsplit_once('@') {
        Some((_, host)) => ("…@", host),
        None => ("", authority),
    };
    let (path, query) = match path.find(['?', '#']) {
        Some(at) => (&path[..at], "?…"),
        None => (path, ""),
    };
    format!("{scheme}://{hidden}{host}{path}{query}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_shown_without_credentials() {
        for (text, shown) in [
            ("keys.json", "keys.json"),
            ("https://a/b", "https://a/b"),
            ("https://u:p@a:1/b?token=x", "https://…@a:1/b?…"),
            ("https://a?x=/@", "https://a?…"),
            ("https://u:p@w@a", "https://…@a"),
        ] {
            assert_eq!(without_credentials(text), shown);
        }
    }
}
