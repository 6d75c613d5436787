//! Sends one request until it has an answer that counts.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use crate::client::backoff::Backoff;
use crate::client::dial::{DialError, Dialer};
use crate::client::failure::{Failure, FailureKind};
use crate::client::http::{Answer, Http, NoAnswer};
use crate::client::remote::Remote;

/// Time for which a request is tried again unless told. Must be well below the 600 s for which a server
/// remembers a key.
const RETRY_FOR: Duration = Duration::from_secs(30);

/// Sends requests, one after the other.
#[derive(Debug)]
pub(super) struct Sending {
    http: Http,
    retry_for: Option<Duration>,
    /// Whether the server has answered anything.
    was_there: bool,
}

impl Sending {
    pub(super) fn new(remote: &Remote, retry_for: Option<Duration>) -> Result<Sending, Failure> {
        Ok(Sending {
            http: Http::new(Arc::new(Dialer::new(remote)?)),
            retry_for,
            was_there: false,
        })
    }

    /// Sends a body under a key of its own, and again as long as the server is away or busy: it is carried
    /// out once.
    ///
    /// # Errors
    /// When there is no answer in time. It is not known then whether the request was carried out.
    pub(super) fn send(&mut self, path: &str, body: &[u8]) -> Result<Answer, Failure> {
        let mut key = [0; 16];
        getrandom::fill(&mut key).map_err(|error| Failure::new(FailureKind::Failed, error))?;
        let key = format!("{:032x}", u128::from_ne_bytes(key));
        let end = Instant::now() + self.retry_for.unwrap_or(RETRY_FOR);
        let mut backoff = Backoff::default();
        loop {
            let answered = self.http.post(path, &key, body);
            let wait = match &answered {
                Ok(answer) if !is_busy(answer.status) => {
                    self.was_there = true;
                    return Ok(answer.clone());
                }
                Ok(answer) => {
                    self.was_there = true;
                    let wait = backoff.next();
                    answer.retry_after.map_or(wait, |asked| asked.max(wait))
                }
                Err(NoAnswer::Broken(..)) => backoff.next(),
                Err(NoAnswer::Dial(DialError::Away(_)))
                    if self.was_there || self.retry_for.is_some() =>
                {
                    backoff.next()
                }
                Err(NoAnswer::Dial(_) | NoAnswer::Failure(_)) => Duration::MAX,
            };
            let left = end.saturating_duration_since(Instant::now());
            if wait > left {
                return match answered {
                    Ok(answer) => Err(refused(&answer)),
                    Err(error) => Err(error.into()),
                };
            }
            thread::sleep(wait);
        }
    }
}

/// Answers of servers, and of balancers before them, that may be another one later.
fn is_busy(status: u16) -> bool {
    matches!(status, 408 | 429 | 502 | 503 | 504)
}

/// The failure that an answer stands for.
pub(super) fn refused(answer: &Answer) -> Failure {
    let kind = match answer.status {
        401 | 403 => FailureKind::Denied,
        status if is_busy(status) => FailureKind::Unreachable,
        _ => FailureKind::Failed,
    };
    Failure::new(kind, format!("the server refuses: {}", answer.sentence()))
}
