//! HTTP on our own connections: requests and answers are `ureq`'s, sockets and TLS are [`Dialer`]'s.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use ureq::Agent;
use ureq::config::Config;
use ureq::http::{Response, Uri};
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{
    Buffers, ConnectionDetails, Connector, LazyBuffers, NextTimeout, Transport,
};

use super::dial::{DialError, Dialer, reason};
use super::failure::{Failure, FailureKind};
use super::stream::Stream;

/// Bytes of an answer that are read; a bulk of 100 is answered with less.
const ANSWER_BYTES_MAX: u64 = 1 << 20;
/// Longest wait that a server may ask for, in seconds.
const RETRY_AFTER_MAX: u64 = 300;
/// A body of more bytes is sent when the server has agreed to take it: one that refuses it at its head ends the
/// connection under what is still being sent, and its answer is lost.
const UNASKED_BYTES_MAX: usize = 64 << 10;
/// Bytes of each buffer of a connection.
const BUFFER_BYTES: usize = 64 << 10;

/// Sends requests to one server, on one connection as long as that lives.
#[derive(Debug)]
pub(super) struct Http {
    agent: Agent,
    dialer: Arc<Dialer>,
}

/// What the server says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    /// How long it asks to wait.
    pub(super) retry_after: Option<Duration>,
    /// Whether it is the remembered answer to an earlier request with the same key.
    pub(super) is_replayed: bool,
    /// The body, as far as it is text.
    pub(super) text: String,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum NoAnswer {
    /// There is no connection.
    #[error(transparent)]
    Dial(#[from] DialError),
    /// The connection ended, or time was up; the request may have been carried out.
    #[error("no answer from {0}: {1}")]
    Broken(String, String),
    /// The request cannot be made.
    #[error(transparent)]
    Failure(#[from] Failure),
}

impl From<NoAnswer> for Failure {
    fn from(error: NoAnswer) -> Failure {
        match error {
            NoAnswer::Dial(error) => error.into(),
            NoAnswer::Broken(..) => Failure::new(FailureKind::Unreachable, error),
            NoAnswer::Failure(failure) => failure,
        }
    }
}

impl Http {
    pub(super) fn new(dialer: Arc<Dialer>) -> Http {
        let config = Agent::config_builder()
            .http_status_as_error(false)
            // Where a credential is shown, nobody else may say where to.
            .max_redirects(0)
            .max_redirects_will_error(false)
            .proxy(None)
            .timeout_global(Some(dialer.timeout()))
            .user_agent(concat!("pulsar-proxy/", env!("CARGO_PKG_VERSION")))
            .build();
        let connector = Dialing(Arc::clone(&dialer));
        Http {
            agent: Agent::with_parts(config, connector, NoNames),
            dialer,
        }
    }

    /// Asks for a path.
    ///
    /// # Errors
    /// When no answer comes.
    pub(super) fn get(&self, path: &str) -> Result<Answer, NoAnswer> {
        let mut request = self.agent.get(self.dialer.url().uri("http", path));
        if let Some(value) = self.dialer.authorization()? {
            request = request.header("Authorization", value);
        }
        self.answer(request.call())
    }

    /// Sends JSON. With the same key it is carried out once, however often it is sent.
    ///
    /// # Errors
    /// When no answer comes.
    pub(super) fn post(&self, path: &str, key: &str, body: &[u8]) -> Result<Answer, NoAnswer> {
        let request = self.agent.post(self.dialer.url().uri("http", path));
        let mut request = request
            .header("Content-Type", "application/json")
            .header("Idempotency-Key", key);
        if body.len() > UNASKED_BYTES_MAX {
            request = request.header("Expect", "100-continue");
        }
        if let Some(value) = self.dialer.authorization()? {
            request = request.header("Authorization", value);
        }
        self.answer(request.send(body))
    }

    fn answer(
        &self,
        called: Result<Response<ureq::Body>, ureq::Error>,
    ) -> Result<Answer, NoAnswer> {
        let mut response = called.map_err(|error| self.no_answer(error))?;
        let retry_after = response.headers().get("retry-after");
        let retry_after = retry_after.and_then(|it| it.to_str().ok()?.parse::<u64>().ok());
        let is_replayed = response.headers().contains_key("idempotent-replayed");
        let body = response.body_mut().with_config().limit(ANSWER_BYTES_MAX);
        let body = body.read_to_vec().map_err(|error| self.no_answer(error))?;
        Ok(Answer {
            status: response.status().as_u16(),
            retry_after: retry_after.map(|it| Duration::from_secs(it.min(RETRY_AFTER_MAX))),
            is_replayed,
            text: String::from_utf8_lossy(&body).into_owned(),
        })
    }

    fn no_answer(&self, error: ureq::Error) -> NoAnswer {
        let why = match error {
            ureq::Error::Other(inner) => match inner.downcast::<DialError>() {
                Ok(error) => return NoAnswer::Dial(*error),
                Err(inner) => inner.to_string(),
            },
            ureq::Error::Io(error) => reason(&error),
            ureq::Error::Timeout(_) => "it took too long".to_owned(),
            error => error.to_string(),
        };
        NoAnswer::Broken(self.dialer.url().to_string(), why)
    }
}

impl Answer {
    /// The server's own sentence, or the number of the status.
    pub(super) fn sentence(&self) -> String {
        sentence(self.status, self.text.as_bytes())
    }
}

/// The server's own sentence in the body of an error, or the number of the status.
pub(super) fn sentence(status: u16, body: &[u8]) -> String {
    let said = serde_json::from_slice::<serde_json::Value>(body).ok();
    let said = said.as_ref().and_then(|it| it["message"].as_str());
    said.map_or_else(|| format!("status {status}"), str::to_owned)
}

/// Gives `ureq` its connections.
#[derive(Debug)]
struct Dialing(Arc<Dialer>);

impl Connector for Dialing {
    type Out = Line;

    fn connect(
        &self,
        _details: &ConnectionDetails<'_>,
        _chained: Option<()>,
    ) -> Result<Option<Line>, ureq::Error> {
        match self.0.dial() {
            Ok(stream) => Ok(Some(Line {
                stream,
                buffers: LazyBuffers::new(BUFFER_BYTES, BUFFER_BYTES),
            })),
            Err(error) => Err(ureq::Error::Other(Box::new(error))),
        }
    }
}

/// Names are the dialer's, too; `ureq` asks for an address and gets one that nobody uses.
#[derive(Debug)]
struct NoNames;

impl Resolver for NoNames {
    fn resolve(
        &self,
        _uri: &Uri,
        _config: &Config,
        _timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let mut addresses = self.empty();
        addresses.push(SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)));
        Ok(addresses)
    }
}

/// A connection as `ureq` wants it.
#[derive(Debug)]
struct Line {
    stream: Stream,
    buffers: LazyBuffers,
}

impl Transport for Line {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), ureq::Error> {
        let left = timeout.not_zero().map(|it| *it);
        self.stream.socket().set_write_timeout(left)?;
        let output = &self.buffers.output()[..amount];
        let written = self.stream.write_all(output);
        let written = written.and_then(|()| self.stream.flush());
        written.map_err(|error| timed(error, &timeout))
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, ureq::Error> {
        let left = timeout.not_zero().map(|it| *it);
        self.stream.socket().set_read_timeout(left)?;
        let count = loop {
            match self.stream.read(self.buffers.input_append_buf()) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                read => break read.map_err(|error| timed(error, &timeout))?,
            }
        };
        self.buffers.input_appended(count);
        Ok(count > 0)
    }

    /// Whether nothing has come since the last answer: an end would have.
    fn is_open(&mut self) -> bool {
        let socket = self.stream.socket();
        if socket.set_nonblocking(true).is_err() {
            return false;
        }
        let mut byte = [0];
        let read = self.stream.read(&mut byte);
        let is_silent = read.is_err_and(|error| error.kind() == ErrorKind::WouldBlock);
        is_silent && self.stream.socket().set_nonblocking(false).is_ok()
    }

    fn is_tls(&self) -> bool {
        matches!(self.stream, Stream::Tls(_))
    }
}

fn timed(error: io::Error, timeout: &NextTimeout) -> ureq::Error {
    match error.kind() {
        ErrorKind::WouldBlock | ErrorKind::TimedOut => ureq::Error::Timeout(timeout.reason),
        _ => ureq::Error::Io(error),
    }
}
