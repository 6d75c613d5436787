//! Sends one request until it has an answer that counts.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

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

/// How long the same messages are sent again, and how long to wait before each time.
#[derive(Debug)]
pub(super) struct Patience {
    end: Instant,
    backoff: Backoff,
    is_over: bool,
}

impl Sending {
    pub(super) fn new(remote: &Remote, retry_for: Option<Duration>) -> Result<Sending, Failure> {
        Ok(Sending {
            http: Http::new(Arc::new(Dialer::new(remote)?)),
            retry_for,
            was_there: false,
        })
    }

    /// That of messages that are sent for the first time now.
    pub(super) fn patience(&self) -> Patience {
        Patience {
            end: Instant::now() + self.retry_for.unwrap_or(RETRY_FOR),
            backoff: Backoff::default(),
            is_over: false,
        }
    }

    /// Sends a body under a key of its own, and again as long as the server is away or busy, or has no more
    /// than a part of it: it is carried out once. When time is up, an answer that tells of a part counts.
    ///
    /// # Errors
    /// When there is no answer in time. It is not known then whether the request was carried out.
    pub(super) fn send(
        &mut self,
        path: &str,
        body: &[u8],
        patience: &mut Patience,
    ) -> Result<Answer, Failure> {
        let mut key = [0; 16];
        getrandom::fill(&mut key).map_err(|error| Failure::new(FailureKind::Failed, error))?;
        let key = format!("{:032x}", u128::from_ne_bytes(key));
        let mut is_repeat = false;
        loop {
            let answered = self.http.post(path, &key, body);
            let wait = match &answered {
                Ok(answer) => {
                    self.was_there = true;
                    if !may_change(answer, is_repeat) {
                        return answered.map_err(Failure::from);
                    }
                    patience.wait(answer.retry_after)
                }
                Err(error) if self.is_worth_another(error) => patience.wait(None),
                Err(_) => None,
            };
            is_repeat = true;
            match (wait, answered) {
                (Some(wait), _) => thread::sleep(wait),
                (None, Ok(answer)) if !is_busy(answer.status) => return Ok(answer),
                (None, Ok(answer)) => return Err(refused(&answer)),
                (None, Err(error)) if self.was_there => {
                    return Err(Failure::new(FailureKind::Unreachable, error));
                }
                (None, Err(error)) => return Err(error.into()),
            }
        }
    }

    fn is_worth_another(&self, error: &NoAnswer) -> bool {
        match error {
            NoAnswer::Broken(..) => true,
            NoAnswer::Dial(DialError::Away(_)) => self.was_there || self.retry_for.is_some(),
            // Files of credentials and certificates are being replaced for a moment.
            NoAnswer::Dial(DialError::Never(_)) | NoAnswer::Failure(_) => self.was_there,
        }
    }
}

impl Patience {
    /// Whether time was up before the last request had an answer that counts.
    pub(super) fn is_over(&self) -> bool {
        self.is_over
    }

    /// How long to wait before the next time; `None` when time would be up.
    fn wait(&mut self, asked: Option<Duration>) -> Option<Duration> {
        let wait = self.backoff.next();
        let wait = asked.map_or(wait, |asked| asked.max(wait));
        let left = self.end.saturating_duration_since(Instant::now());
        self.is_over = wait > left;
        (!self.is_over).then_some(wait)
    }
}

/// Whether the same request may have another answer later. What a tier behind memory has not confirmed may be
/// stored all the same, and the server leaves the key open: the repeat finishes the request. A server that
/// remembers what it rejected has said all under this key.
fn may_change(answer: &Answer, is_repeat: bool) -> bool {
    let is_last_word = is_repeat && answer.is_replayed;
    is_busy(answer.status) || (answer.status == 207 && !is_last_word && is_part(answer))
}

fn is_part(answer: &Answer) -> bool {
    let said: Value = serde_json::from_str(&answer.text).unwrap_or_default();
    said["summary"]["rejected"] != 0
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::remote::Credential;
    use crate::client::url::ServerUrl;

    #[test]
    fn files_may_be_missing_once_the_server_was_there() {
        let remote = Remote {
            url: ServerUrl::parse("http://127.0.0.1:1").unwrap(),
            credential: Credential::File("/nowhere".into()),
            authorities: None,
            identity: None,
            timeout: Duration::from_secs(1),
        };
        let mut sending = Sending::new(&remote, Some(Duration::ZERO)).unwrap();
        let mut kind = |was_there| {
            sending.was_there = was_there;
            let mut patience = sending.patience();
            let sent = sending.send("/", b"", &mut patience).unwrap_err();
            (sent.kind(), patience.is_over())
        };
        assert_eq!(kind(false), (FailureKind::Usage, false));
        assert_eq!(kind(true), (FailureKind::Unreachable, true), "in vain");
    }
}
