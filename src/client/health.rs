//! `pulsar-proxy healthcheck`: asks a server how it is.

use std::path::PathBuf;
use std::sync::Arc;

use serde_json::Value;

use super::dial::Dialer;
use super::failure::{Failure, FailureKind};
use super::http::Http;
use super::remote::Remote;
use super::tls;

/// What begins a connection of nobody in particular (PROXY protocol, version 1).
const PROXY_GREETING: &[u8] = b"PROXY UNKNOWN\r\n";

/// Whom to ask what.
#[derive(Debug)]
pub struct Healthcheck {
    /// The server.
    pub remote: Remote,
    /// Whether it is asked only if it lives, not if it is ready.
    pub is_live: bool,
    /// What is known of it, if its settings are those of this program.
    pub beside: Option<Beside>,
}

/// What its settings tell of a server on this machine.
#[derive(Debug)]
pub struct Beside {
    /// Whether it expects the PROXY protocol from this machine.
    pub expects_proxy: bool,
    /// The file of its certificate. Its name is seldom that of the loopback address, so it is compared
    /// instead of verified.
    pub certificate: Option<PathBuf>,
}

/// Asks, and returns a sentence for those who want to know.
///
/// # Errors
/// When the server does not answer, or says no.
pub fn healthcheck(order: &Healthcheck) -> Result<String, Failure> {
    let mut shown = None;
    let dialer = match &order.beside {
        None => Dialer::new(&order.remote)?,
        Some(beside) => {
            let mut config = None;
            if order.remote.url.is_tls() {
                let (tls, certificate) = tls::beside(order.remote.identity.as_ref())?;
                shown = Some(certificate);
                config = Some(tls);
            }
            let greeting = if beside.expects_proxy {
                PROXY_GREETING
            } else {
                b""
            };
            Dialer::with(&order.remote, config, greeting)
        }
    };
    let path = if order.is_live { "/health" } else { "/ready" };
    let answer = Http::new(Arc::new(dialer)).get(path)?;
    let said: Value = serde_json::from_str(&answer.text).unwrap_or_default();
    let is_ours = said["status"].is_string() || said["ready"].is_boolean();
    if answer.status != 200 || !is_ours {
        let sentence = match is_ours {
            true => format!("not ready: {}", troubles(&said)),
            false => format!("{path} is answered with {}", answer.sentence()),
        };
        return Err(Failure::new(FailureKind::Failed, sentence));
    }
    let word = if order.is_live { "alive" } else { "ready" };
    let certificate = order.beside.as_ref().and_then(|it| it.certificate.as_ref());
    let (Some(shown), Some(path)) = (shown, certificate) else {
        return Ok(word.to_owned());
    };
    // A new file that cannot be used must not end a server that goes on well with the old one.
    let is_same = tls::certificates(path).is_ok_and(|chain| shown.certificate() == chain.first());
    Ok(match is_same {
        true => word.to_owned(),
        false => format!(
            "{word}, but the certificate is not that of {}",
            path.display()
        ),
    })
}

/// The checks that are not passed.
fn troubles(said: &Value) -> String {
    let checks = said["checks"].as_object().into_iter().flatten();
    let wrong = checks
        .filter(|(_, state)| *state != "ok")
        .map(|(name, state)| {
            let state = state.as_str().unwrap_or("wrong");
            format!("{name} is {state}")
        });
    let wrong: Vec<String> = wrong.collect();
    match wrong.is_empty() {
        true => "the server says so".to_owned(),
        false => wrong.join(", "),
    }
}
