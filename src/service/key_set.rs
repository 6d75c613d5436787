//! A JSON Web Key Set that is fetched, and fetched again, by a thread of its own.

use std::io;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rustls::crypto::ring;
use ureq::Agent;
use ureq::tls::{Certificate, RootCerts, TlsConfig};

use super::credentials::Credentials;
use crate::access::{VerificationKey, WantedKeys};

/// Time for a whole answer.
const FETCH_TIMEOUT: Duration = Duration::from_secs(5);
/// Bytes of an answer.
const SET_BYTES_MAX: u64 = 1 << 20;
/// Steps to another address.
const REDIRECTS_MAX: u32 = 3;
/// The least time between two fetches, whatever tokens ask for.
const PAUSE: Duration = Duration::from_secs(10);

/// Fetches a set.
#[derive(Debug)]
pub(super) struct KeySet {
    agent: Agent,
    url: String,
}

/// Why there is no set. The sentence names no credential that the address may hold.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct NoKeySet(String);

impl KeySet {
    /// Of this address. What begins in HTTPS stays there; the system's authorities are trusted.
    pub(super) fn new(url: &str) -> KeySet {
        let authorities = rustls_native_certs::load_native_certs().certs;
        let authorities = authorities
            .iter()
            .map(|it| Certificate::from_der(it).to_owned());
        let tls = TlsConfig::builder()
            .root_certs(RootCerts::from(authorities.collect::<Vec<_>>()))
            .unversioned_rustls_crypto_provider(Arc::new(ring::default_provider()));
        let config = Agent::config_builder()
            .timeout_global(Some(FETCH_TIMEOUT))
            .max_redirects(REDIRECTS_MAX)
            .https_only(url.starts_with("https://"))
            .tls_config(tls.build());
        KeySet {
            agent: config.build().into(),
            url: url.to_owned(),
        }
    }

    /// Fetches the set; takes five seconds at most.
    ///
    /// # Errors
    /// When it does not come, or is none that can be used.
    pub(super) fn fetch(&self) -> Result<Vec<VerificationKey>, NoKeySet> {
        let answer = self.agent.get(&self.url).call();
        let text = answer.and_then(|mut answer| {
            let body = answer.body_mut().with_config().limit(SET_BYTES_MAX);
            body.read_to_string()
        });
        let text = text.map_err(|error| NoKeySet(reason(&error)))?;
        VerificationKey::jwks(&text).map_err(|error| NoKeySet(error.to_string()))
    }
}

/// Now, in seconds since the Unix epoch. Before 1970 is 1970.
pub(super) fn unix_seconds() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.unwrap_or_default().as_secs()
}

/// In words, without the address.
fn reason(error: &ureq::Error) -> String {
    match error {
        ureq::Error::StatusCode(status) => format!("the answer is {status}"),
        ureq::Error::Timeout(_) => format!("no answer within {} s", FETCH_TIMEOUT.as_secs()),
        ureq::Error::BodyExceedsLimit(limit) => format!("the answer has more than {limit} bytes"),
        ureq::Error::TooManyRedirects => format!("more than {REDIRECTS_MAX} redirections"),
        ureq::Error::RequireHttpsOnly(_) => "a redirection leaves HTTPS".to_owned(),
        ureq::Error::BadUri(_) => "the address is none".to_owned(),
        ureq::Error::HostNotFound => "the host is not known".to_owned(),
        ureq::Error::Io(error) => error.to_string(),
        ureq::Error::Rustls(error) => error.to_string(),
        _ => "the answer is no HTTP that is understood".to_owned(),
    }
}

/// Starts the thread. `changed` is called after each change of keys.
///
/// # Errors
/// When the system gives no thread.
pub(super) fn follow(
    set: KeySet,
    credentials: Arc<Credentials>,
    wanted: Arc<WantedKeys>,
    interval: Duration,
    changed: impl Fn() + Send + 'static,
) -> io::Result<()> {
    let run = move || {
        let mut last = Instant::now();
        loop {
            wait(&wanted, last, interval, credentials.has_fetched());
            last = Instant::now();
            if credentials.take_in(set.fetch()) {
                changed();
            }
        }
    };
    // It ends with the process: nothing that it does is left half done.
    thread::Builder::new().name("jwks".to_owned()).spawn(run)?;
    Ok(())
}

/// Until it is time for the next fetch: sooner if a key is wanted, or if there are none yet.
fn wait(wanted: &WantedKeys, last: Instant, interval: Duration, has_keys: bool) {
    let interval = if has_keys {
        interval
    } else {
        interval.min(PAUSE)
    };
    let until = |span: Duration| (last + span).saturating_duration_since(Instant::now());
    if wanted.wait(until(interval)) {
        thread::sleep(until(PAUSE.min(interval)));
    }
}
