//! WebSocket messages of clients: text to [`Command`], or to what is wrong (SPEC section 5).

mod fields;

use std::borrow::Cow;

use serde_json::error::Category;

use crate::topic::{MessageId, Start, TopicName};

use fields::{Fields, Given, NAMES_MAX};

/// Most topics of one `subscribe`.
pub const TOPICS_MAX: usize = 50;
/// Most characters of a `client_id`.
const CLIENT_ID_CHARS_MAX: usize = 255;
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
    /// A message was received.
    Ack {
        /// As sent; need not be an id.
        message_id: Cow<'m, str>,
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
    pub start: Start,
    /// What to do when the client is too slow.
    pub on_lag: OnLag,
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

/// The code of an `error` message.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum CommandErrorCode {
    /// The subscription was not made.
    Subscription,
    /// No such type of message.
    UnknownMessageType,
    /// The message cannot be understood or breaks a rule.
    Processing,
    /// A bound of the connection was reached.
    LimitExceeded,
}

impl CommandErrorCode {
    /// The code as text.
    pub fn as_str(self) -> &'static str {
        match self {
            CommandErrorCode::Subscription => "SUBSCRIPTION_ERROR",
            CommandErrorCode::UnknownMessageType => "UNKNOWN_MESSAGE_TYPE",
            CommandErrorCode::Processing => "PROCESSING_ERROR",
            CommandErrorCode::LimitExceeded => "LIMIT_EXCEEDED",
        }
    }
}

/// A message that is answered with `error`.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{message}")]
pub struct CommandError {
    /// The code.
    pub code: CommandErrorCode,
    /// What was wrong, in one sentence of bounded length.
    pub message: String,
    /// The member that was wrong.
    pub field: Option<&'static str>,
}

impl CommandError {
    /// An error that no single member is to blame for.
    pub fn new(code: CommandErrorCode, message: impl Into<String>) -> CommandError {
        CommandError {
            code,
            message: message.into(),
            field: None,
        }
    }

    /// A binary frame came.
    pub fn binary() -> CommandError {
        Self::new(CommandErrorCode::Processing, "messages must be text frames")
    }

    /// No `subscribe` came in time.
    pub fn late() -> CommandError {
        Self::new(
            CommandErrorCode::Processing,
            "no subscribe message came in time",
        )
        .of_subscribe()
    }

    /// The same as the reason why there is no subscription, which is what every error in place of
    /// a connection's first subscribe is.
    #[must_use]
    pub fn of_subscribe(self) -> CommandError {
        if self.code == CommandErrorCode::Subscription {
            return self;
        }
        CommandError {
            code: CommandErrorCode::Subscription,
            message: format!("Failed to subscribe: {}", self.message),
            ..self
        }
    }

    fn of_field(field: &'static str, message: impl Into<String>) -> CommandError {
        CommandError {
            field: Some(field),
            ..Self::new(CommandErrorCode::Processing, message)
        }
    }
}

/// Reads the first message of a connection, which must be a `subscribe`; its `type` may be left
/// out.
///
/// # Errors
/// When it is anything else; the code is always [`CommandErrorCode::Subscription`].
pub fn parse_first(text: &str) -> Result<Subscribe<'_>, CommandError> {
    read(text)
        .and_then(|fields| match &fields.kind {
            None => subscribe(fields),
            Some(Given::Text(kind)) if kind == "subscribe" => subscribe(fields),
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
        "subscribe" => subscribe(fields).map(Command::Subscribe),
        "unsubscribe" => Ok(Command::Unsubscribe {
            topics: topics(fields.topics, NAMES_MAX)?,
        }),
        "ack" => ack(fields),
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

fn ack(fields: Fields<'_>) -> Result<Command<'_>, CommandError> {
    supported(fields.unbuilt_of_ack)?;
    match fields.message_id {
        Some(Given::Text(message_id)) => Ok(Command::Ack { message_id }),
        _ => Err(CommandError::of_field(
            "message_id",
            "message_id must be a string",
        )),
    }
}

fn subscribe(fields: Fields<'_>) -> Result<Subscribe<'_>, CommandError> {
    supported(fields.unbuilt_of_subscribe)?;
    let topics = topics(fields.topics, TOPICS_MAX)?;
    let client_id = client_id(fields.client_id)?;
    let start = start(fields.offset.as_ref())?;
    let tell_positions = fields.on_lag.is_some() || start != Start::Last;
    Ok(Subscribe {
        topics,
        client_id,
        start,
        on_lag: on_lag(fields.on_lag.as_ref())?,
        tell_positions,
    })
}

/// A member that the contract names is never swallowed.
fn supported(unbuilt: Option<&'static str>) -> Result<(), CommandError> {
    match unbuilt {
        None => Ok(()),
        Some(name) => Err(CommandError::of_field(
            name,
            format!("{name} is not supported by this version"),
        )),
    }
}

fn topics(given: Option<Given<'_>>, max: usize) -> Result<Vec<TopicName>, CommandError> {
    let wrong = |message: String| CommandError::of_field("topics", message);
    let Some(Given::Names(names, count)) = given else {
        return Err(wrong("topics must be a list of names".to_owned()));
    };
    if count == 0 || count > max {
        return Err(wrong(format!(
            "topics must have 1 to {max} names, not {count}"
        )));
    }
    names
        .iter()
        .map(|name| TopicName::parse(name).map_err(|error| wrong(error.to_string())))
        .collect()
}

fn client_id(given: Option<Given<'_>>) -> Result<Cow<'_, str>, CommandError> {
    match given {
        Some(Given::Text(id))
            if !id.is_empty() && id.chars().nth(CLIENT_ID_CHARS_MAX).is_none() =>
        {
            Ok(id)
        }
        _ => Err(CommandError::of_field(
            "client_id",
            "client_id must be a string of 1 to 255 characters",
        )),
    }
}

/// A string that names no place is a failed subscription, also in later messages.
fn start(offset: Option<&Given<'_>>) -> Result<Start, CommandError> {
    let text = match offset {
        None => return Ok(Start::Last),
        Some(Given::Text(text)) => text.as_ref(),
        Some(_) => return Err(CommandError::of_field("offset", "offset must be a string")),
    };
    match text {
        "last" => Ok(Start::Last),
        "earliest" => Ok(Start::Earliest),
        _ => MessageId::parse(text).map(Start::Behind).map_err(|_| {
            CommandError::of_field("offset", "offset must be last, earliest or a message id")
                .of_subscribe()
        }),
    }
}

fn on_lag(given: Option<&Given<'_>>) -> Result<OnLag, CommandError> {
    match given {
        None => Ok(OnLag::default()),
        Some(Given::Text(text)) if text == "disconnect" => Ok(OnLag::Disconnect),
        Some(Given::Text(text)) if text == "skip" => Ok(OnLag::Skip),
        Some(_) => Err(CommandError::of_field(
            "on_lag",
            "on_lag must be disconnect or skip",
        )),
    }
}

#[cfg(test)]
mod tests;
