//! The server that a command talks to, and how: what the shared options of the commands come to.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use super::failure::{Failure, FailureKind};
use super::url::ServerUrl;
use crate::config::Secret;

/// Longest credential that a file may hold, in bytes; no server takes a longer one.
const CREDENTIAL_BYTES_MAX: usize = 8_192;

/// The server that a command talks to.
#[derive(Clone, Debug)]
pub struct Remote {
    /// Where it is.
    pub url: ServerUrl,
    /// What it is shown.
    pub credential: Credential,
    /// PEM file of the authorities that its certificate may come from; those of the system without one.
    pub authorities: Option<PathBuf>,
    /// The certificate that it is shown, for servers with `--tls-client-ca`.
    pub identity: Option<Identity>,
    /// Time for making a connection, and for an answer.
    pub timeout: Duration,
}

/// An API key or access token.
#[derive(Clone, Debug)]
pub enum Credential {
    /// None is shown.
    None,
    /// This one.
    Given(Secret),
    /// The one in the file, which is read again for each connection: it may be replaced before it ends.
    File(PathBuf),
}

/// The PEM files of a certificate and of its key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Identity {
    /// The certificate, and behind it those that lead to its authority.
    pub certificate: PathBuf,
    /// The private key of the first one.
    pub key: PathBuf,
}

impl Remote {
    /// What to know before a credential is sent to it.
    pub fn warning(&self) -> Option<&'static str> {
        let is_shown = !matches!(self.credential, Credential::None);
        let is_open = !self.url.is_tls() && !self.url.is_local();
        (is_shown && is_open)
            .then_some("the credential goes over the network in plain text; https would hide it")
    }
}

impl Credential {
    /// The credential as it is now; `None` if there is none.
    ///
    /// # Errors
    /// When the file cannot be read, or holds no credential.
    pub fn read(&self) -> Result<Option<Secret>, Failure> {
        let path = match self {
            Credential::None => return Ok(None),
            Credential::Given(secret) => return Ok(Some(secret.clone())),
            Credential::File(path) => path,
        };
        let refuse = |why: String| {
            let sentence = format!("the credential file {}: {why}", path.display());
            Failure::new(FailureKind::Usage, sentence)
        };
        let text = fs::read_to_string(path).map_err(|error| refuse(error.to_string()))?;
        match Credential::check(text.trim()) {
            Ok(credential) => Ok(Some(Secret::new(credential.to_owned()))),
            Err(why) => Err(refuse(why.to_owned())),
        }
    }

    /// Whether a text may stand in a header.
    ///
    /// # Errors
    /// What is wrong with it, without the text.
    pub fn check(text: &str) -> Result<&str, &'static str> {
        if text.is_empty() || text.len() > CREDENTIAL_BYTES_MAX {
            Err("a credential has 1 to 8192 bytes")
        } else if text.bytes().all(|byte| byte.is_ascii_graphic()) {
            Ok(text)
        } else {
            Err("a credential has printable ASCII characters without white space only")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_credential_in_plain_text_is_warned_of() {
        for (url, credential, is_warned) in [
            (
                "http://a.example",
                Credential::Given(Secret::new("k".to_owned())),
                true,
            ),
            ("http://a.example", Credential::None, false),
            (
                "https://a.example",
                Credential::File(PathBuf::from("f")),
                false,
            ),
            (
                "http://127.0.0.1",
                Credential::File(PathBuf::from("f")),
                false,
            ),
            ("unix:/s", Credential::File(PathBuf::from("f")), false),
        ] {
            let remote = Remote {
                url: ServerUrl::parse(url).unwrap(),
                credential,
                authorities: None,
                identity: None,
                timeout: Duration::from_secs(1),
            };
            assert_eq!(remote.warning().is_some(), is_warned, "{remote:?}");
        }
    }
}
