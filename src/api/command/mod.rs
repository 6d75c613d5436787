//! WebSocket messages of clients: text to [`Command`], or to what is wrong (SPEC section 5).

mod error;
mod fields;
mod rules;

use std::borrow::Cow;

use serde_json::error::Category;

use crate::api::consumer::AtLeastOnce;
use crate::api::offset::Offset;
use crate::topic::TopicName;

use fields::{Fields, Given, NAMES_MAX};

pub use error::{CommandError, CommandErrorCode};

/// Most topics of one `subscribe`.
pub const TOPICS_MAX: usize = 50;
/// Most ids in the `message_ids` of one `ack`.
pub const ACK_IDS_MAX: usize = NAMES_MAX;
/// Most seconds between two heartbeats that a client may ask for.
pub const HEARTBEAT_SECONDS_MAX: u16 = 3600;
/// Longest `delay` of a `nack`, in seconds.
pub const NACK_DELAY_SECONDS_MAX: u16 = 3600;
/// Most characters of an unknown type that the answer repeats.
const TYPE_CHARS_MAX: usize = 64;

/// What a client asks for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Command<'m> {
    /// Deliver messages of these topics.
    Subscribe(Subscribe<'m>),
    /// Deliver no more messages of these topics: at least one.
    Unsubscribe {
        /// As asked; a name may come twice.
        topics: Vec<TopicName>,
    },
    /// Messages were received.
    Ack {
        /// As sent; need not be ids. 1 to [`ACK_IDS_MAX`], and one more where both members came.
        ids: Vec<Cow<'m, str>>,
        /// In the topic of each id, all that was delivered before it was received too.
        cumulative: bool,
        /// The client wants an answer.
        confirm: bool,
    },
    /// A message could not be worked on: deliver it again.
    Nack {
        /// As sent; need not be an id.
        message_id: Cow<'m, str>,
        /// Not before this many microseconds, at most [`NACK_DELAY_SECONDS_MAX`].
        delay: u64,
    },
    /// Another credential for the connection.
    Auth {
        /// As sent, not empty.
        token: Cow<'m, str>,
    },
    /// Answer me.
    Ping,
}

/// The command `subscribe`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Subscribe<'m> {
    /// 1 to [`TOPICS_MAX`] names as asked; a name may come twice.
    pub topics: Vec<TopicName>,
    /// Who subscribes: 1 to 255 characters.
    pub client_id: Cow<'m, str>,
    /// Where to start.
    pub offset: Offset,
    /// What to do when the client is too slow.
    pub on_lag: OnLag,
    /// Messages are owed until they are acknowledged; `None` for at most once. The `client_id` in
    /// it is that of the command.
    pub delivery: Option<AtLeastOnce>,
    /// Seconds between heartbeats, up to [`HEARTBEAT_SECONDS_MAX`], if the client says; 0 for none.
    pub heartbeat: Option<u16>,
    /// The answer tells positions: the client knows what the first clients of this interface did
    /// not.
    pub tell_positions: bool,
}

impl Subscribe<'_> {
    /// The topics in the order asked, each once.
    pub fn distinct_topics(&self) -> impl Iterator<Item = &TopicName> {
        let topics = self.topics.iter().enumerate();
        topics
            .filter(|(index, topic)| !self.topics[..*index].contains(topic))
            .map(|(_, topic)| topic)
    }
}

/// What becomes of a subscription whose place is no longer kept.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum OnLag {
    /// The connection is closed.
    #[default]
    Disconnect,
    /// It goes on behind what is lost, and the client is told.
    Skip,
}

/// Reads the first message of a connection, which must be a `subscribe`; its `type` may be left
/// out.
///
/// # Errors
/// When it is anything else; the code is always [`CommandErrorCode::Subscription`].
pub fn parse_first(text: &str) -> Result<Subscribe<'_>, CommandError> {
    read(text)
        .and_then(|fields| match &fields.kind {
            None => rules::subscribe(fields),
            Some(Given::Text(kind)) if kind == "subscribe" => rules::subscribe(fields),
            Some(_) => Err(CommandError::of_field(
                "type",
                "the first message must be of type subscribe",
            )),
        })
        .map_err(CommandError::of_subscribe)
}

/// Reads any later message.
///
/// # Errors
/// When it is not JSON, no object, of an unknown type, or breaks a rule of its type.
pub fn parse(text: &str) -> Result<Command<'_>, CommandError> {
    let fields = read(text)?;
    let Some(Given::Text(kind)) = &fields.kind else {
        return Err(CommandError::of_field("type", "type must be a string"));
    };
    match kind.as_ref() {
        "subscribe" => rules::subscribe(fields).map(Command::Subscribe),
        "unsubscribe" => Ok(Command::Unsubscribe {
            topics: rules::topics(fields.topics, NAMES_MAX)?,
        }),
        "ack" => rules::ack(fields),
        "nack" => rules::nack(fields),
        "auth" => rules::auth(fields),
        "ping" => Ok(Command::Ping),
        unknown => Err(unknown_type(unknown)),
    }
}

fn read(text: &str) -> Result<Fields<'_>, CommandError> {
    serde_json::from_str(text).map_err(|error| {
        let message = match error.classify() {
            Category::Data => "the message must be a JSON object",
            _ => "the message is not valid JSON",
        };
        CommandError::new(CommandErrorCode::Processing, message)
    })
}

fn unknown_type(kind: &str) -> CommandError {
    let short: String = kind.chars().take(TYPE_CHARS_MAX).collect();
    let dots = if short.len() < kind.len() { "…" } else { "" };
    CommandError::new(
        CommandErrorCode::UnknownMessageType,
        format!("Unknown message type: {short}{dots}"),
    )
}

#[cfg(test)]
mod tests;
