//! The values that labels can have: fixed tables, so that no peer can grow the metrics.

use crate::api::route::Route;

/// Patterns of all routes, and `none` for what matched no route.
pub(super) const HANDLERS: [&str; Route::ALL.len() + 1] = {
    let mut handlers = ["none"; Route::ALL.len() + 1];
    let mut at = 0;
    while at < Route::ALL.len() {
        handlers[at] = Route::ALL[at].pattern();
        at += 1;
    }
    handlers
};

/// Methods, and `OTHER` for unknown ones. What is not listed counts as `OTHER`.
pub(super) const METHODS: [&str; 8] = [
    "POST", "GET", "HEAD", "PUT", "DELETE", "PATCH", "OPTIONS", "OTHER",
];

/// Classes of status codes.
pub(super) const STATUSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

/// Error codes of SPEC sections 4 and 5. What is not listed counts as `OTHER`.
pub(super) const ERROR_CODES: [&str; 23] = [
    "VALIDATION_ERROR",
    "IDEMPOTENCY_KEY_REUSED",
    "NOT_FOUND",
    "METHOD_NOT_ALLOWED",
    "INVALID_REQUEST",
    "UNAUTHORIZED",
    "FORBIDDEN",
    "REQUEST_TIMEOUT",
    "CONFLICT",
    "UPGRADE_REQUIRED",
    "PAYLOAD_TOO_LARGE",
    "URI_TOO_LONG",
    "HEADERS_TOO_LARGE",
    "RATE_LIMIT_EXCEEDED",
    "INTERNAL_ERROR",
    "NOT_IMPLEMENTED",
    "SERVICE_UNAVAILABLE",
    "HTTP_VERSION_NOT_SUPPORTED",
    "SUBSCRIPTION_ERROR",
    "UNKNOWN_MESSAGE_TYPE",
    "PROCESSING_ERROR",
    "LIMIT_EXCEEDED",
    "OTHER",
];

/// Place of a value in its table; the last place stands for all unknown ones.
pub(super) fn place(table: &[&str], value: &str) -> usize {
    let known = &table[..table.len() - 1];
    known
        .iter()
        .position(|entry| *entry == value)
        .unwrap_or(known.len())
}

/// Place of a status code in [`STATUSES`].
pub(super) fn status_place(status: u16) -> usize {
    (usize::from(status) / 100).clamp(1, STATUSES.len()) - 1
}

/// What the store was asked to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum StorageOperation {
    /// Store a message.
    SaveMessage,
    /// Read a log on.
    ReadMessages,
    /// Begin to read a topic.
    Subscribe,
    /// End it.
    Unsubscribe,
}

impl StorageOperation {
    pub(super) const ALL: [StorageOperation; 4] = [
        StorageOperation::SaveMessage,
        StorageOperation::ReadMessages,
        StorageOperation::Subscribe,
        StorageOperation::Unsubscribe,
    ];

    pub(super) fn as_str(self) -> &'static str {
        match self {
            StorageOperation::SaveMessage => "save_message",
            StorageOperation::ReadMessages => "read_messages",
            StorageOperation::Subscribe => "subscribe",
            StorageOperation::Unsubscribe => "unsubscribe",
        }
    }
}

/// How a poll ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PollOutcome {
    /// With messages or gaps.
    Answered,
    /// With nothing, because its time was up.
    Timeout,
    /// Its client left before, or its credential was trusted no more.
    Gone,
}

impl PollOutcome {
    pub(super) const ALL: [PollOutcome; 3] = [
        PollOutcome::Answered,
        PollOutcome::Timeout,
        PollOutcome::Gone,
    ];

    pub(super) fn as_str(self) -> &'static str {
        match self {
            PollOutcome::Answered => "answered",
            PollOutcome::Timeout => "timeout",
            PollOutcome::Gone => "gone",
        }
    }
}

/// What became of an acknowledgement.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AckResult {
    /// It counted.
    Acknowledged,
    /// The message was not pending for the client: acknowledged before, or never delivered.
    NotPending,
    /// The message was given to another member of the group.
    Reassigned,
    /// No message of this id is known.
    Unknown,
}

impl AckResult {
    pub(super) const ALL: [AckResult; 4] = [
        AckResult::Acknowledged,
        AckResult::NotPending,
        AckResult::Reassigned,
        AckResult::Unknown,
    ];

    pub(super) fn as_str(self) -> &'static str {
        match self {
            AckResult::Acknowledged => "acknowledged",
            AckResult::NotPending => "not_pending",
            AckResult::Reassigned => "reassigned",
            AckResult::Unknown => "unknown",
        }
    }
}

/// What became of a message whose deliveries were used up.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DeadLetter {
    /// It was published to the topic for such messages.
    Published,
    /// It was dropped: there is no such topic, or no room in it.
    Dropped,
}

impl DeadLetter {
    pub(super) const ALL: [DeadLetter; 2] = [DeadLetter::Published, DeadLetter::Dropped];

    pub(super) fn as_str(self) -> &'static str {
        match self {
            DeadLetter::Published => "published",
            DeadLetter::Dropped => "dropped",
        }
    }
}

/// Who was told an error.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ErrorType {
    /// The sender of an HTTP request.
    Http,
    /// A WebSocket client.
    WebSocket,
}

impl ErrorType {
    pub(super) const ALL: [ErrorType; 2] = [ErrorType::Http, ErrorType::WebSocket];

    pub(super) fn as_str(self) -> &'static str {
        match self {
            ErrorType::Http => "http",
            ErrorType::WebSocket => "websocket",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::CloseReason;
    use crate::topic::DeliveryKind;

    #[test]
    fn places_are_found_again() {
        for table in [&HANDLERS[..], &METHODS[..], &ERROR_CODES[..]] {
            for (index, value) in table.iter().enumerate() {
                assert_eq!(place(table, value), index);
            }
            assert_eq!(place(table, "a stranger"), table.len() - 1);
        }
        for (status, class) in [
            (101, "1xx"),
            (201, "2xx"),
            (307, "3xx"),
            (431, "4xx"),
            (599, "5xx"),
            (0, "1xx"),
            (999, "5xx"),
        ] {
            assert_eq!(STATUSES[status_place(status)], class);
        }
    }

    #[test]
    fn enums_are_their_places() {
        for (index, operation) in StorageOperation::ALL.into_iter().enumerate() {
            assert_eq!(operation as usize, index);
        }
        for (index, error_type) in ErrorType::ALL.into_iter().enumerate() {
            assert_eq!(error_type as usize, index);
        }
        for (index, outcome) in PollOutcome::ALL.into_iter().enumerate() {
            assert_eq!(outcome as usize, index);
        }
        for (index, result) in AckResult::ALL.into_iter().enumerate() {
            assert_eq!(result as usize, index);
        }
        for (index, outcome) in DeadLetter::ALL.into_iter().enumerate() {
            assert_eq!(outcome as usize, index);
        }
        for (index, kind) in DeliveryKind::ALL.into_iter().enumerate() {
            assert_eq!(kind as usize, index);
        }
        for (index, reason) in CloseReason::ALL.into_iter().enumerate() {
            assert_eq!(reason as usize, index);
        }
    }
}
