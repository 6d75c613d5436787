//! `pulsar-proxy sub`: prints what comes on topics, and goes on behind a broken connection where it was.
//!
//! ```text
//!   connect ─► subscribe each topic from its place ─► print, remember places ─► end of the connection
//!      ▲                                                                              │
//!      └──────── wait: as told by the server, else longer from time to time ◄─────────┘
//! ```

mod conversation;
mod output;
mod places;
mod verdict;

use std::io::{self, Write};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::backoff::Backoff;
use super::dial::Dialer;
use super::failure::{Failure, FailureKind};
use super::harmless::harmless;
use super::interrupt::Interrupt;
use super::remote::Remote;
use conversation::Conversation;
use output::Output;
use places::Places;

/// What to print.
#[derive(Debug)]
pub struct Subscribe {
    /// The server.
    pub remote: Remote,
    /// The topics, one at least.
    pub topics: Vec<String>,
    /// Where to start: `last`, `earliest`, a message id or a cursor.
    pub offset: String,
    /// The name under which a server knows an at-least-once consumer.
    pub client_id: Option<String>,
    /// The group whose members share the messages; implies `is_acking`.
    pub group: Option<String>,
    /// Whether messages are acknowledged once they are printed.
    pub is_acking: bool,
    /// Messages after which it ends.
    pub count: Option<u64>,
    /// Whether deliveries are printed as they come.
    pub is_json: bool,
    /// Whether nothing is said but messages and failures.
    pub is_quiet: bool,
    /// Silence after which the server is asked whether it is there; after twice that it is not.
    pub ping_interval: Duration,
    /// Time for which a server that is away is waited for. `None`: for ever, but at the very beginning not.
    pub retry_for: Option<Duration>,
}

/// Why a conversation ends.
#[derive(Debug)]
enum Stop {
    /// All is done: there are enough messages, a signal came, or nobody reads any more.
    Done,
    /// There may be another one.
    Again {
        why: String,
        /// How long the server asks to wait.
        after: Option<Duration>,
    },
    /// There is no use in another one.
    Failed(Failure),
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Stop {
        Stop::Failed(failure)
    }
}

/// What lasts from one connection to the next.
#[derive(Debug)]
struct Reader<'a> {
    order: &'a Subscribe,
    client_id: String,
    places: Places,
    output: Output,
    interrupt: Interrupt,
    /// Whether a server has answered, were it that it is busy: it is worth waiting for.
    has_answered: bool,
    /// Whether all topics were subscribed to once.
    was_there: bool,
}

/// Prints messages until it has printed enough, a signal comes, or nobody reads.
///
/// # Errors
/// When the server refuses, or is away too long.
pub fn subscribe(order: &Subscribe) -> Result<(), Failure> {
    let dialer = Arc::new(Dialer::new(&order.remote)?);
    let mut reader = Reader {
        order,
        client_id: client_id(order),
        places: Places::new(&order.topics, &order.offset),
        output: Output::new(order.is_json, order.count),
        interrupt: Interrupt::listen()?,
        has_answered: false,
        was_there: false,
    };
    if let Some(warning) = order.remote.warning() {
        reader.note(warning);
    }
    let mut backoff = Backoff::default();
    let mut away_since = None;
    loop {
        let mut has_subscribed = false;
        let stop = match Conversation::open(&dialer, &mut reader) {
            Ok(mut conversation) => {
                let stop = conversation.run();
                has_subscribed = conversation.has_subscribed();
                stop
            }
            Err(stop) => stop,
        };
        reader.interrupt.watch(None);
        let (why, after) = match stop {
            _ if reader.interrupt.is_due() => return reader.output.finish(),
            Stop::Done => return reader.output.finish(),
            Stop::Failed(failure) => {
                reader.output.finish()?;
                return Err(failure);
            }
            Stop::Again { why, after } => (why, after),
        };
        if has_subscribed {
            backoff.reset();
            away_since = None;
        }
        let patience = match (order.retry_for, reader.has_answered) {
            (Some(time), _) => time,
            (None, true) => Duration::MAX,
            (None, false) => Duration::ZERO,
        };
        let wait = backoff.next();
        let wait = after.map_or(wait, |asked| asked.saturating_add(wait));
        let away = away_since.get_or_insert_with(Instant::now).elapsed();
        if away.saturating_add(wait) > patience {
            reader.output.finish()?;
            return Err(Failure::new(FailureKind::Unreachable, why));
        }
        let seconds = wait.as_secs_f64();
        reader.note(&format!("{why}; again in {seconds:.1} s"));
        if reader.interrupt.sleep(wait) {
            return reader.output.finish();
        }
    }
}

impl Reader<'_> {
    /// What a failure means before anything is asked: where all was right once, files may be being replaced.
    fn unless_it_was_there(&self, failure: Failure) -> Stop {
        match self.was_there {
            true => verdict::again(&failure.to_string(), None),
            false => Stop::Failed(failure),
        }
    }

    /// Says something on standard error.
    fn note(&self, sentence: &str) {
        if !self.order.is_quiet {
            // Whoever closed it does not want to know.
            let _ = writeln!(io::stderr(), "pulsar-proxy: {}", harmless(sentence));
        }
    }
}

/// Without a name nobody else has it.
fn client_id(order: &Subscribe) -> String {
    let random = || format!("sub-{:016x}", fastrand::u64(..));
    order.client_id.clone().unwrap_or_else(random)
}
