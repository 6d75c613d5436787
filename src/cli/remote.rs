//! The options of all commands that talk to a server.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Arg, ArgMatches};

use super::{Refusal, duration, given};
use crate::client::{Credential, Identity, Remote, ServerUrl};
use crate::config::Secret;

/// Where a server listens by default.
const URL_DEFAULT: &str = "http://127.0.0.1:8080";
/// The heading above them in `--help`.
const HEADING: &str = "Server to talk to";
/// The longest `--timeout`: past it, it is a mistake in the unit.
const TIMEOUT_MAX: Duration = Duration::from_secs(3_600);

/// The options; `timeout` is how long one waits for a connection and for an answer unless told.
pub(super) fn arguments(timeout: &'static str) -> Vec<Arg> {
    let option = |name: &'static str, value: &'static str, help: String| {
        let argument = Arg::new(name).long(name).value_name(value).help(help);
        argument.help_heading(HEADING)
    };
    let file = |name, help: &str| option(name, "FILE", format!("{help} [env: {}]", variable(name)));
    vec![
        option(
            "url",
            "URL",
            format!(
                "http://host:port, https://host:port or unix:/path [default: {URL_DEFAULT}] [env: {}]",
                variable("url")
            ),
        ),
        option(
            "credential",
            "TEXT",
            format!(
                "API key or access token; others can see command lines, so better given by a file or \
                 the environment [env: {}]",
                variable("credential")
            ),
        ),
        file(
            "credential-file",
            "File with the API key or access token; read again for each connection",
        ),
        file(
            "ca-file",
            "PEM file of the authorities to trust instead of the system's",
        ),
        file(
            "client-cert",
            "PEM file of a certificate to show, for a server with --tls-client-ca",
        ),
        file(
            "client-key",
            "PEM file of the private key of that certificate",
        ),
        option(
            "timeout",
            "DURATION",
            "Time for making a connection, and for an answer".to_owned(),
        )
        .default_value(timeout),
    ]
}

/// What the options and the environment say. `.env` is not asked: it may be anybody's, and a credential
/// must not go where a stranger's file says.
pub(super) fn read(
    matches: &ArgMatches,
    environment: &BTreeMap<String, OsString>,
) -> Result<Remote, Refusal> {
    let value = |name: &str| value(matches, environment, name);
    let url = match value("url")? {
        None => ServerUrl::parse(URL_DEFAULT),
        Some((text, _)) => ServerUrl::parse(&text),
    };
    let path = |name| Ok::<_, Refusal>(value(name)?.map(|(text, _)| PathBuf::from(text)));
    let identity = match (path("client-cert")?, path("client-key")?) {
        (None, None) => None,
        (Some(certificate), Some(key)) => Some(Identity { certificate, key }),
        _ => {
            let sentence = "--client-cert and --client-key must be given together";
            return Err(Refusal::Command(sentence.to_owned()));
        }
    };
    Ok(Remote {
        url: url.map_err(|error| {
            let origin = value("url").ok().flatten().map(|(_, origin)| origin);
            let origin = origin.unwrap_or_default();
            Refusal::Command(format!("the URL given by {origin} cannot be used: {error}"))
        })?,
        credential: credential(&value)?,
        authorities: path("ca-file")?,
        identity,
        timeout: timeout(matches)?,
    })
}

/// The text and where it was given; a flag beats the environment, in which an empty text counts as unset.
type Value = Option<(String, String)>;

fn value(
    matches: &ArgMatches,
    environment: &BTreeMap<String, OsString>,
    name: &str,
) -> Result<Value, Refusal> {
    if let Some(text) = given(matches, name) {
        return Ok(Some((text, format!("--{name}"))));
    }
    let variable = variable(name);
    let origin = format!("the environment variable {variable}");
    match environment.get(&variable).map(|text| text.to_str()) {
        None => Ok(None),
        Some(None) => Err(Refusal::Command(format!("{origin} is not valid UTF-8"))),
        Some(Some(text)) => {
            let text = text.trim();
            Ok((!text.is_empty()).then(|| (text.to_owned(), origin)))
        }
    }
}

/// A flag beats the environment, whichever of the two it is.
fn credential(value: &impl Fn(&str) -> Result<Value, Refusal>) -> Result<Credential, Refusal> {
    let (text, file) = (value("credential")?, value("credential-file")?);
    let (text, file) = match (text, file) {
        (Some(text), Some(file)) => match (text.1.starts_with("--"), file.1.starts_with("--")) {
            (true, false) => (Some(text), None),
            (false, true) => (None, Some(file)),
            _ => {
                let sentence = format!("{} and {} cannot be given both", text.1, file.1);
                return Err(Refusal::Command(sentence));
            }
        },
        one => one,
    };
    if let Some((path, _)) = file {
        return Ok(Credential::File(PathBuf::from(path)));
    }
    let Some((text, origin)) = text else {
        return Ok(Credential::None);
    };
    match Credential::check(&text) {
        Ok(text) => Ok(Credential::Given(Secret::new(text.to_owned()))),
        Err(why) => Err(Refusal::Command(format!("{origin}: {why}"))),
    }
}

fn timeout(matches: &ArgMatches) -> Result<Duration, Refusal> {
    let timeout = duration(matches, "timeout")?.unwrap_or(TIMEOUT_MAX);
    if timeout.is_zero() || timeout > TIMEOUT_MAX {
        let sentence = "--timeout: allowed is a duration of more than 0 and up to 1h";
        return Err(Refusal::Command(sentence.to_owned()));
    }
    Ok(timeout)
}

fn variable(name: &str) -> String {
    format!("PULSAR_{}", name.replace('-', "_").to_ascii_uppercase())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Command;

    fn remote(arguments: &[&str], environment: &[(&str, &str)]) -> Result<Remote, String> {
        let command = Command::new("x").args(super::arguments("10s"));
        let matches = command.try_get_matches_from([&["x"], arguments].concat());
        let environment = environment
            .iter()
            .map(|(name, text)| ((*name).to_owned(), (*text).into()));
        read(&matches.unwrap(), &environment.collect()).map_err(|error| error.to_string())
    }

    fn shown(remote: &Remote) -> String {
        match &remote.credential {
            Credential::None => String::new(),
            Credential::Given(secret) => secret.expose().to_owned(),
            Credential::File(path) => format!("in {}", path.display()),
        }
    }

    #[test]
    fn flags_go_before_the_environment() {
        let none = remote(&[], &[("PULSAR_URL", "")]).unwrap();
        assert_eq!(
            (none.url.to_string(), shown(&none)),
            (URL_DEFAULT.to_owned(), String::new())
        );
        let environment = [("PULSAR_URL", "https://a"), ("PULSAR_CREDENTIAL", "k")];
        let told = remote(&[], &environment).unwrap();
        assert_eq!(
            (told.url.to_string(), shown(&told)),
            ("https://a:443".to_owned(), "k".to_owned())
        );
        let told = remote(
            &["--url", "unix:/s", "--credential-file", "f"],
            &environment,
        )
        .unwrap();
        assert_eq!(
            (told.url.to_string(), shown(&told)),
            ("unix:/s".to_owned(), "in f".to_owned())
        );
        let files = [("PULSAR_CREDENTIAL_FILE", "f"), ("PULSAR_CREDENTIAL", "k")];
        assert!(
            remote(&[], &files)
                .unwrap_err()
                .contains("cannot be given both")
        );
        assert_eq!(shown(&remote(&["--credential", "c"], &files).unwrap()), "c");
    }

    #[test]
    fn what_is_wrong_is_told_with_its_origin_and_without_secrets() {
        for (arguments, environment, sentence) in [
            (
                &[][..],
                &[("PULSAR_URL", "http://u:hunter2@a")][..],
                "the URL given by the environment variable PULSAR_URL cannot be used",
            ),
            (
                &["--url", "a:1"],
                &[],
                "the URL given by --url cannot be used",
            ),
            (
                &["--credential", "hunter2 x"],
                &[],
                "--credential: a credential has printable",
            ),
            (&["--client-cert", "c"], &[], "must be given together"),
            (&["--timeout", "0"], &[], "--timeout: allowed is"),
            (&["--timeout", "soon"], &[], "--timeout: allowed is"),
        ] {
            let said = remote(arguments, environment).unwrap_err();
            assert!(
                said.contains(sentence) && !said.contains("hunter2"),
                "{said}"
            );
        }
    }
}
