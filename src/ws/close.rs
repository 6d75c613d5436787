//! Close codes and close payloads (RFC 6455 sections 5.5.1 and 7.4).

use super::frame::{self, CONTROL_PAYLOAD_MAX, Opcode};

/// The longest reason, in bytes: what a control frame holds beside the code.
pub const REASON_BYTES_MAX: usize = CONTROL_PAYLOAD_MAX - 2;

/// A close code that may stand in a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CloseCode(u16);

impl CloseCode {
    /// The purpose of the connection is fulfilled.
    pub const NORMAL: CloseCode = CloseCode(1000);
    /// The server shuts down, or the client has been silent too long.
    pub const GOING_AWAY: CloseCode = CloseCode(1001);
    /// The client broke the protocol.
    pub const PROTOCOL_ERROR: CloseCode = CloseCode(1002);
    /// Text that is not UTF-8.
    pub const INVALID_DATA: CloseCode = CloseCode(1007);
    /// A message over the limit.
    pub const TOO_BIG: CloseCode = CloseCode(1009);
    /// The server failed.
    pub const INTERNAL_ERROR: CloseCode = CloseCode(1011);
    /// The credentials are missing, wrong or expired.
    pub const UNAUTHORIZED: CloseCode = CloseCode(4001);
    /// The credentials do not allow this.
    pub const FORBIDDEN: CloseCode = CloseCode(4003);
    /// The client did not keep up with what it subscribed to.
    pub const LAGGING: CloseCode = CloseCode(4008);
    /// A limit of the connection was passed.
    pub const LIMIT: CloseCode = CloseCode(4009);
    /// A newer connection took over; reconnecting would take it back.
    pub const REPLACED: CloseCode = CloseCode(4010);
    /// Too many messages in too short a time.
    pub const RATE_LIMITED: CloseCode = CloseCode(4029);
    /// The server drains; reconnect later.
    pub const DRAINING: CloseCode = CloseCode(4503);

    /// The code of that number, if it may stand in a frame: registered ones, and those of
    /// libraries and applications (3000 to 4999).
    pub fn new(code: u16) -> Option<CloseCode> {
        match code {
            1000..=1003 | 1007..=1014 | 3000..=4999 => Some(CloseCode(code)),
            _ => None,
        }
    }

    /// The number.
    pub fn get(self) -> u16 {
        self.0
    }
}

/// Why the payload of a close frame is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CloseError {
    /// A single byte, where the code has two.
    #[error("close payload of one byte")]
    Truncated,
    /// A code that must not stand in a frame.
    #[error("invalid close code")]
    Code,
    /// The reason is not UTF-8.
    #[error("close reason is not UTF-8")]
    Reason,
}

impl CloseError {
    /// The code of the answer.
    pub fn close_code(&self) -> CloseCode {
        match self {
            CloseError::Truncated | CloseError::Code => CloseCode::PROTOCOL_ERROR,
            CloseError::Reason => CloseCode::INVALID_DATA,
        }
    }
}

/// Code and reason of an unmasked close payload; `None` when it is empty.
///
/// # Errors
/// When the payload is not a valid code and text (RFC 6455 section 7.4).
pub fn parse(payload: &[u8]) -> Result<Option<(CloseCode, &str)>, CloseError> {
    if payload.is_empty() {
        return Ok(None);
    }
    let (code, reason) = payload.split_first_chunk().ok_or(CloseError::Truncated)?;
    let code = CloseCode::new(u16::from_be_bytes(*code)).ok_or(CloseError::Code)?;
    let reason = std::str::from_utf8(reason).map_err(|_| CloseError::Reason)?;
    Ok(Some((code, reason)))
}

/// Appends a close frame from the server. A reason of more than [`REASON_BYTES_MAX`] bytes is cut
/// in front of the character that passes them.
pub fn encode(code: CloseCode, reason: &str, out: &mut Vec<u8>) {
    let reason = &reason[..reason.floor_char_boundary(REASON_BYTES_MAX)];
    frame::encode_header(Opcode::Close, 2 + reason.len(), out);
    out.extend_from_slice(&code.get().to_be_bytes());
    out.extend_from_slice(reason.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn encoded(code: CloseCode, reason: &str) -> Vec<u8> {
        let mut out = Vec::new();
        encode(code, reason, &mut out);
        out
    }

    #[test]
    fn parses_code_and_reason() {
        assert_eq!(parse(b""), Ok(None));
        assert_eq!(parse(b"\x03\xe8"), Ok(Some((CloseCode::NORMAL, ""))));
        let lagging = parse(b"\x0f\xa8lag");
        assert_eq!(lagging, Ok(Some((CloseCode::LAGGING, "lag"))));
    }

    #[test]
    fn refuses_what_must_not_stand_in_a_frame() {
        assert_eq!(parse(b"\x03"), Err(CloseError::Truncated));
        assert_eq!(parse(b"\x03\xe8\xff"), Err(CloseError::Reason));
        let refused = [
            0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535,
        ];
        for code in refused {
            assert_eq!(
                parse(&u16::to_be_bytes(code)),
                Err(CloseError::Code),
                "{code}"
            );
        }
        for code in [1000, 1003, 1007, 1014, 3000, 3999, 4000, 4999] {
            assert!(CloseCode::new(code).is_some(), "{code}");
        }
        assert_eq!(CloseError::Code.close_code(), CloseCode::PROTOCOL_ERROR);
        assert_eq!(
            CloseError::Truncated.close_code(),
            CloseCode::PROTOCOL_ERROR
        );
        assert_eq!(CloseError::Reason.close_code(), CloseCode::INVALID_DATA);
    }

    #[test]
    fn all_constants_may_stand_in_a_frame() {
        let constants = [
            CloseCode::NORMAL,
            CloseCode::GOING_AWAY,
            CloseCode::PROTOCOL_ERROR,
            CloseCode::INVALID_DATA,
            CloseCode::TOO_BIG,
            CloseCode::INTERNAL_ERROR,
            CloseCode::UNAUTHORIZED,
            CloseCode::FORBIDDEN,
            CloseCode::LAGGING,
            CloseCode::LIMIT,
            CloseCode::REPLACED,
            CloseCode::RATE_LIMITED,
            CloseCode::DRAINING,
        ];
        for code in constants {
            assert_eq!(CloseCode::new(code.get()), Some(code));
        }
    }

    #[test]
    fn long_reasons_are_cut_between_characters() {
        let frame = encoded(CloseCode::GOING_AWAY, "shutdown");
        assert_eq!(frame, b"\x88\x0a\x03\xe9shutdown");
        let frame = encoded(CloseCode::NORMAL, &"a".repeat(200));
        assert_eq!((frame.len(), frame[1]), (127, 125));
        let frame = encoded(CloseCode::NORMAL, &"é".repeat(100));
        assert_eq!((frame.len(), frame[1]), (126, 124));
    }

    proptest! {
        #[test]
        fn round_trip(code in 3000..5000u16, reason in "\\PC{0,30}") {
            let code = CloseCode::new(code).unwrap();
            let frame = encoded(code, &reason);
            prop_assert_eq!(parse(&frame[2..]), Ok(Some((code, reason.as_str()))));
        }
    }
}
