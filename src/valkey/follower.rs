//! The thread that hears what a node's channels say, and the one that watches the time for it.
//!
//! Its connection speaks RESP3, on which messages of channels and confirmations come as they
//! happen; nothing else is asked on it. It never sleeps for long: a number is echoed twice a
//! second, and a connection on which nothing comes back is given up for a new one. Then all
//! channels are subscribed to again, and what was said meanwhile is read from the streams.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use redis::{Connection, ProtocolVersion, PushKind, RedisError, ServerError, Value, cmd};

use super::breaker::Backoff;
use super::cell::{Berth, Cell};
use super::channel::parse_echo;
use super::connect::{ConnectError, Connector};
use super::entry::bytes;
use super::feeds::{ECHO_WITHIN, Errand, Feeds, Scratch};
use super::keys::Keys;
use super::slots::slot_of;
use super::trouble;
use crate::clock::Clock;
use crate::topic::TopicName;

/// Channels that one command subscribes to.
const CHANNELS_PER_COMMAND: usize = 500;
/// Confirmations that are waited for before more is asked: the node keeps what it has to say in a
/// bounded buffer.
const UNCONFIRMED_MAX: usize = 4 * CHANNELS_PER_COMMAND;
/// Between two looks at the time.
const TICK: Duration = Duration::from_millis(100);

/// What a follower needs.
pub(super) struct FollowerParts {
    pub(super) feeds: Arc<Feeds>,
    pub(super) cell: Arc<Cell>,
    pub(super) connector: Arc<Connector>,
    pub(super) keys: Keys,
    /// Name of this instance on echo channels.
    pub(super) instance: String,
    pub(super) clock: Clock,
}

/// Starts both threads. They end soon after [`Feeds::stop`]: at the next echo, or when none comes.
///
/// # Errors
/// When the system has no thread to give.
pub(super) fn start(parts: FollowerParts) -> std::io::Result<()> {
    let feeds = Arc::clone(&parts.feeds);
    let spawn = |name: &str, run: Box<dyn FnOnce() + Send>| {
        thread::Builder::new().name(name.to_owned()).spawn(run)
    };
    spawn("valkey-clock", Box::new(move || watch_time(&feeds)))?;
    spawn("valkey-follow", Box::new(move || Hearing::new(parts).run()))?;
    Ok(())
}

fn watch_time(feeds: &Feeds) {
    while !feeds.is_stopped() {
        feeds.tick();
        thread::sleep(TICK);
    }
}

/// Why a connection was given up.
#[derive(Debug, thiserror::Error)]
enum Lost {
    #[error("{0}")]
    Connect(#[from] ConnectError),
    #[error("{0}")]
    Connection(#[from] RedisError),
    #[error("it refuses: {0}")]
    Refused(String),
    #[error("nothing came back within {} s", ECHO_WITHIN / 1_000_000)]
    Mute,
    #[error("it ended our subscription to {0}")]
    Unsubscribed(String),
    #[error("another node has what it had")]
    Moved,
    #[error("the end")]
    Stopped,
}

/// The thread's own.
struct Hearing {
    parts: FollowerParts,
    backoff: Backoff,
    scratch: Scratch,
    errands: Vec<Errand>,
}

/// What is known of one connection.
struct Ear {
    connection: Connection,
    /// The node's echo channel.
    echo: String,
    /// How often the cell had moved before.
    moves: u64,
    /// One command names one channel: each has a slot of its own.
    is_cluster: bool,
    /// Topics whose channels were asked for.
    topics: HashSet<TopicName>,
    /// Topics whose channels are to be heard no more, until that is confirmed.
    leaving: HashSet<TopicName>,
    /// Not done yet, in order.
    errands: VecDeque<Errand>,
    /// Confirmations that have not come.
    unconfirmed: usize,
    commands: Vec<u8>,
}

impl Hearing {
    fn new(parts: FollowerParts) -> Hearing {
        Hearing {
            parts,
            backoff: Backoff::default(),
            scratch: Scratch::default(),
            errands: Vec::new(),
        }
    }

    fn run(&mut self) {
        while !self.parts.feeds.is_stopped() {
            let Err(lost) = self.connect().and_then(|mut ear| self.hear(&mut ear));
            self.parts.feeds.disconnected();
            if matches!(lost, Lost::Stopped) {
                return;
            }
            if self.parts.cell.is_used() {
                self.parts.cell.doubt();
                tracing::warn!("not following Valkey's channels: {lost}");
            }
            let wait = self.backoff.next(|below| fastrand::u64(..below.max(1)));
            thread::sleep(Duration::from_micros(wait));
        }
    }

    fn connect(&self) -> Result<Ear, Lost> {
        let connector = &self.parts.connector;
        let (berth, moves) = self.parts.cell.berth();
        let (address, tag) = berth.find(connector)?;
        let connection = connector.connect(&address, ProtocolVersion::RESP3)?;
        // Longer than anything takes that is well, so that a value is never given up halfway.
        let within = Some(Duration::from_micros(ECHO_WITHIN));
        connection.set_read_timeout(within)?;
        connection.set_write_timeout(within)?;
        let mut ear = Ear {
            connection,
            echo: self.parts.keys.echo(&tag, &self.parts.instance),
            moves,
            is_cluster: berth != Berth::Single,
            topics: HashSet::new(),
            leaving: HashSet::new(),
            errands: VecDeque::new(),
            unconfirmed: 0,
            commands: Vec::new(),
        };
        let subscribe = cmd("SSUBSCRIBE").arg(&ear.echo).get_packed_command();
        ear.connection.send_packed_command(&subscribe)?;
        Ok(ear)
    }

    /// Hears until the connection is lost.
    fn hear(&mut self, ear: &mut Ear) -> Result<std::convert::Infallible, Lost> {
        self.parts.feeds.connected();
        loop {
            let value = ear.connection.recv_response().map_err(|error| {
                if error.is_timeout() {
                    Lost::Mute
                } else {
                    error.into()
                }
            })?;
            if self.parts.feeds.is_stopped() {
                return Err(Lost::Stopped);
            }
            if self.parts.cell.has_moved_since(ear.moves) {
                return Err(Lost::Moved);
            }
            match value {
                Value::Push { kind, data } => self.take_push(ear, &kind, &data)?,
                Value::ServerError(error) => self.refused(ear, &error)?,
                // Nothing is asked that has another answer.
                _ => {}
            }
        }
    }

    /// Another node has the slot of a channel that was asked for; anything else is not understood.
    fn refused(&mut self, ear: &mut Ear, error: &ServerError) -> Result<(), Lost> {
        let Some(slot) = trouble::moved_slot(error) else {
            return Err(Lost::Refused(error.to_string()));
        };
        self.parts.cell.doubt();
        if slot == slot_of(ear.echo.as_bytes()) {
            return Err(Lost::Moved);
        }
        let is_there = |topic: &TopicName| slot_of(topic.as_str().as_bytes()) == slot;
        self.parts.feeds.all_unheard(is_there);
        self.answered(ear)
    }

    fn take_push(&mut self, ear: &mut Ear, kind: &PushKind, data: &[Value]) -> Result<(), Lost> {
        let (Some(channel), Some(rest)) = (data.first().and_then(bytes), data.get(1)) else {
            return Ok(());
        };
        // Channels of ours are UTF-8; to others nothing was subscribed.
        let Ok(channel) = std::str::from_utf8(channel) else {
            return Ok(());
        };
        let is_echo = channel == ear.echo;
        match kind {
            PushKind::SMessage if is_echo => self.echoed(ear, bytes(rest)),
            PushKind::SMessage => self.heard(ear, channel, bytes(rest)),
            PushKind::SSubscribe => self.confirmed(ear, channel, is_echo),
            PushKind::SUnsubscribe => self.unsubscribed(ear, channel, is_echo),
            _ => Ok(()),
        }
    }

    fn heard(&mut self, ear: &Ear, channel: &str, payload: Option<&[u8]>) -> Result<(), Lost> {
        let now = self.parts.clock.now();
        let name = self.parts.keys.topic_of_news(channel);
        if let (Some(topic), Some(payload)) = (name.and_then(|name| ear.topics.get(name)), payload)
        {
            let feeds = &self.parts.feeds;
            feeds.heard(topic, payload, now, &mut self.scratch);
        }
        // What waits in front of an echo is not silence, but it may hide one.
        if self.parts.feeds.is_mute(now.monotonic_micros) {
            return Err(Lost::Mute);
        }
        Ok(())
    }

    fn echoed(&mut self, ear: &mut Ear, payload: Option<&[u8]>) -> Result<(), Lost> {
        // Anyone may say something there that is no number.
        if let Some(number) = payload.and_then(parse_echo) {
            self.parts.feeds.echoed(number);
        }
        self.run_errands(ear)
    }

    fn confirmed(&mut self, ear: &mut Ear, channel: &str, is_echo: bool) -> Result<(), Lost> {
        if is_echo {
            self.backoff.reset();
            self.parts.feeds.listens();
            tracing::info!("following Valkey's channels");
            return self.run_errands(ear);
        }
        if let Some(topic) = self.parts.keys.topic_of_news(channel) {
            self.parts.feeds.confirmed(topic);
        }
        self.answered(ear)
    }

    /// One thing more that was asked for has been answered.
    fn answered(&self, ear: &mut Ear) -> Result<(), Lost> {
        ear.unconfirmed = ear.unconfirmed.saturating_sub(1);
        if ear.unconfirmed == 0 || ear.unconfirmed == UNCONFIRMED_MAX / 2 {
            ear.send_some(&self.parts.keys)?;
        }
        Ok(())
    }

    fn unsubscribed(&self, ear: &mut Ear, channel: &str, is_echo: bool) -> Result<(), Lost> {
        let topic = self.parts.keys.topic_of_news(channel);
        let is_asked = !is_echo && topic.is_none_or(|topic| ear.leaving.remove(topic));
        if is_asked {
            return Ok(());
        }
        // Another node serves the slot from now on.
        self.parts.cell.doubt();
        match topic.and_then(|topic| ear.topics.take(topic)) {
            Some(topic) if ear.is_cluster => {
                self.parts.feeds.unheard(&topic);
                Ok(())
            }
            _ => Err(Lost::Unsubscribed(channel.to_owned())),
        }
    }

    fn run_errands(&mut self, ear: &mut Ear) -> Result<(), Lost> {
        self.parts.feeds.take_errands(&mut self.errands);
        ear.errands.extend(self.errands.drain(..));
        ear.send_some(&self.parts.keys)?;
        Ok(())
    }
}

impl Ear {
    /// Sends as much of what there is to do as may be under way.
    fn send_some(&mut self, keys: &Keys) -> Result<(), RedisError> {
        self.commands.clear();
        while self.unconfirmed < UNCONFIRMED_MAX
            && let Some(first) = self.errands.front()
        {
            let is_subscribe = matches!(first, Errand::Subscribe(_));
            let mut command = cmd(if is_subscribe {
                "SSUBSCRIBE"
            } else {
                "SUNSUBSCRIBE"
            });
            let channels_max = if self.is_cluster {
                1
            } else {
                CHANNELS_PER_COMMAND
            };
            for _ in 0..channels_max {
                let is_same = |it: &mut Errand| matches!(it, Errand::Subscribe(_)) == is_subscribe;
                match self.errands.pop_front_if(is_same) {
                    Some(Errand::Subscribe(topic)) => {
                        command.arg(keys.news(&topic));
                        if self.is_cluster {
                            // That it is to be left may have been refused: it was gone already.
                            self.leaving.remove(&topic);
                        }
                        self.topics.insert(topic);
                        self.unconfirmed += 1;
                    }
                    Some(Errand::Unsubscribe(topic)) => {
                        command.arg(keys.news(&topic));
                        self.topics.remove(&topic);
                        self.leaving.insert(topic);
                    }
                    None => break,
                }
            }
            command.write_packed_command(&mut self.commands);
        }
        if self.commands.is_empty() {
            return Ok(());
        }
        self.connection.send_packed_command(&self.commands)
    }
}
