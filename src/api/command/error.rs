//! What is wrong with a command, as `error` messages tell it (SPEC section 5).

/// The code of an `error` message.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum CommandErrorCode {
    /// The subscription was not made.
    Subscription,
    /// No such type of message.
    UnknownMessageType,
    /// The message cannot be understood or breaks a rule.
    Processing,
    /// The credential does not hold.
    Unauthorized,
    /// The credential does not allow this.
    Forbidden,
    /// The client has asked for more than it may in a minute.
    RateLimit,
    /// A bound of the connection was reached.
    LimitExceeded,
}

impl CommandErrorCode {
    /// All of them.
    pub const ALL: [CommandErrorCode; 7] = [
        CommandErrorCode::Subscription,
        CommandErrorCode::UnknownMessageType,
        CommandErrorCode::Processing,
        CommandErrorCode::Unauthorized,
        CommandErrorCode::Forbidden,
        CommandErrorCode::RateLimit,
        CommandErrorCode::LimitExceeded,
    ];

    /// The code as text.
    pub fn as_str(self) -> &'static str {
        match self {
            CommandErrorCode::Subscription => "SUBSCRIPTION_ERROR",
            CommandErrorCode::UnknownMessageType => "UNKNOWN_MESSAGE_TYPE",
            CommandErrorCode::Processing => "PROCESSING_ERROR",
            CommandErrorCode::Unauthorized => "UNAUTHORIZED",
            CommandErrorCode::Forbidden => "FORBIDDEN",
            CommandErrorCode::RateLimit => "RATE_LIMIT_EXCEEDED",
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

    /// The member `field` is wrong.
    pub(super) fn of_field(field: &'static str, message: impl Into<String>) -> CommandError {
        CommandError {
            field: Some(field),
            ..Self::new(CommandErrorCode::Processing, message)
        }
    }
}
