//! Every way in which a connection ends.

use crate::ws::CloseCode;

/// Why a connection ends: it labels the metric and the log line, and picks the close code.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CloseReason {
    /// All was said: an HTTP connection that is not kept alive, or a WebSocket closed by its peer.
    Finished,
    /// The peer went without a word, or its connection broke.
    Gone,
    /// Malformed HTTP, or a request that was refused together with its connection.
    Refused,
    /// The peer broke the WebSocket protocol.
    ProtocolError,
    /// A text message was not UTF-8.
    InvalidData,
    /// A WebSocket message was too big.
    TooBig,
    /// The first message was no valid subscribe, or did not come in time.
    SubscribeFailed,
    /// A request did not come, or an answer was not taken, in time.
    Timeout,
    /// Nothing came for too long.
    Idle,
    /// The consumer was too slow.
    Lagging,
    /// There are as many connections as there may be, or there is no memory for what it wants.
    Limit,
    /// The server is stopping.
    Draining,
    /// Its credential holds no more.
    Unauthorized,
    /// Its credential does not allow what it asked for first.
    Forbidden,
    /// A newer connection of the same client has taken over its messages.
    Replaced,
}

impl CloseReason {
    /// All of them, for metrics.
    pub const ALL: [CloseReason; 15] = [
        CloseReason::Finished,
        CloseReason::Gone,
        CloseReason::Refused,
        CloseReason::ProtocolError,
        CloseReason::InvalidData,
        CloseReason::TooBig,
        CloseReason::SubscribeFailed,
        CloseReason::Timeout,
        CloseReason::Idle,
        CloseReason::Lagging,
        CloseReason::Limit,
        CloseReason::Draining,
        CloseReason::Unauthorized,
        CloseReason::Forbidden,
        CloseReason::Replaced,
    ];

    /// One word, for labels and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            CloseReason::Finished => "finished",
            CloseReason::Gone => "gone",
            CloseReason::Refused => "refused",
            CloseReason::ProtocolError => "protocol_error",
            CloseReason::InvalidData => "invalid_data",
            CloseReason::TooBig => "too_big",
            CloseReason::SubscribeFailed => "subscribe_failed",
            CloseReason::Timeout => "timeout",
            CloseReason::Idle => "idle",
            CloseReason::Lagging => "lagging",
            CloseReason::Limit => "limit",
            CloseReason::Draining => "draining",
            CloseReason::Unauthorized => "unauthorized",
            CloseReason::Forbidden => "forbidden",
            CloseReason::Replaced => "replaced",
        }
    }

    /// The close code that a WebSocket is told (RFC 6455 section 7.4, SPEC section 5).
    pub fn close_code(self) -> CloseCode {
        match self {
            CloseReason::Finished
            | CloseReason::Gone
            | CloseReason::Refused
            | CloseReason::SubscribeFailed
            | CloseReason::Timeout => CloseCode::NORMAL,
            CloseReason::ProtocolError => CloseCode::PROTOCOL_ERROR,
            CloseReason::InvalidData => CloseCode::INVALID_DATA,
            CloseReason::TooBig => CloseCode::TOO_BIG,
            CloseReason::Idle | CloseReason::Draining => CloseCode::GOING_AWAY,
            CloseReason::Lagging => CloseCode::LAGGING,
            CloseReason::Limit => CloseCode::LIMIT,
            CloseReason::Unauthorized => CloseCode::UNAUTHORIZED,
            CloseReason::Forbidden => CloseCode::FORBIDDEN,
            CloseReason::Replaced => CloseCode::REPLACED,
        }
    }
}
