//! From bytes to whole messages and control frames (RFC 6455 sections 5.4, 5.5 and 8.1).
//!
//! A frame that is whole in the input is unmasked there and borrowed from it. Only a message that
//! comes in parts, or compressed, is gathered in memory of its own, which grows with what has
//! arrived and is gone as soon as the message was read. A compressed message is inflated when all
//! of it has come, so that nothing of an inflater is kept for a connection.

use super::close::{self, CloseCode, CloseError};
use super::deflate::InflateError;
use super::frame::{self, FrameError, FrameHeader, Opcode};
use super::mask;
use super::message::{Message, event};

/// Bounds of one message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AssemblerLimits {
    /// Bytes of payload of a message, all fragments together, as it came and inflated.
    pub message_bytes_max: usize,
    /// Frames of a message that is fragmented.
    pub fragments_max: u32,
    /// Messages may be compressed: permessage-deflate was negotiated.
    pub takes_compressed: bool,
}

/// Assembles what one client sends.
#[derive(Debug, Default)]
pub struct Assembler {
    /// A message that has come in part, or was handed out by the last call.
    message: Option<Box<Message>>,
}

/// What one call of [`Assembler::feed`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fed<'a> {
    /// Bytes of the input that must not be fed again; 0 when more bytes are needed.
    pub consumed: usize,
    /// What they completed. There is none without consumed bytes.
    pub event: Option<Event<'a>>,
    /// Bytes that a compressed message was inflated to: work that its length on the wire does not
    /// tell.
    pub inflated: usize,
}

/// Something that a client has sent completely.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// A text message.
    Text(&'a str),
    /// A binary message.
    Binary(&'a [u8]),
    /// A ping and its payload.
    Ping(&'a [u8]),
    /// A pong and its payload.
    Pong(&'a [u8]),
    /// A close frame with its code and reason, if it has them.
    Close(Option<(CloseCode, &'a str)>),
}

/// Why a connection must be closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AssemblerError {
    /// A frame header is malformed.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// The payload of a close frame is malformed.
    #[error(transparent)]
    Close(#[from] CloseError),
    /// A continuation without a message to continue.
    #[error("continuation without a message")]
    UnexpectedContinuation,
    /// A new message before the last one ended.
    #[error("new message between fragments")]
    ExpectedContinuation,
    /// More than [`AssemblerLimits::message_bytes_max`].
    #[error("message too big")]
    TooBig,
    /// More than [`AssemblerLimits::fragments_max`].
    #[error("too many fragments")]
    TooManyFragments,
    /// Text that is not UTF-8.
    #[error("text is not UTF-8")]
    InvalidUtf8,
    /// A compressed message that is not what a compressor makes.
    #[error("malformed compressed message")]
    MalformedDeflate,
}

impl Assembler {
    /// Takes at most one event from the front of `input`, which may be unmasked in place.
    ///
    /// Feed again what was not consumed, until nothing is: then it waits for more bytes (at most
    /// 130 remain), and an assembler that is between messages owns no memory. The limits stay the
    /// same through a connection.
    ///
    /// # Errors
    /// As soon as it is certain. The connection is to be closed with
    /// [`AssemblerError::close_code`], and nothing more to be fed.
    pub fn feed<'a>(
        &'a mut self,
        input: &'a mut [u8],
        limits: &AssemblerLimits,
    ) -> Result<Fed<'a>, AssemblerError> {
        self.free_finished();
        let mut payload_at = 0;
        if !self.is_inside_frame() {
            let Some((header, header_len)) = frame::decode(input, limits.takes_compressed)? else {
                return Ok(Fed::NOTHING);
            };
            if header.opcode.is_control() {
                return control(&header, header_len, input);
            }
            self.admit(&header, limits)?;
            let is_plain = header.fin && !header.is_compressed;
            if self.message.is_none() && is_plain && is_whole(&header, header_len, input) {
                return unfragmented(&header, header_len, input);
            }
            let message = self
                .message
                .get_or_insert_with(|| Box::new(Message::new(&header)));
            message.begin(&header);
            payload_at = header_len;
        }
        self.gather(payload_at, input, limits)
    }

    /// Bytes that are allocated for a message that has come in part.
    pub fn held_bytes(&self) -> usize {
        self.message
            .as_ref()
            .map_or(0, |message| message.held_bytes())
    }

    /// The message that the last call handed out was read since.
    fn free_finished(&mut self) {
        self.message.take_if(|message| message.is_finished());
    }

    fn is_inside_frame(&self) -> bool {
        let message = self.message.as_ref();
        message.is_some_and(|message| message.is_inside_frame())
    }

    /// Decides at its header whether a data frame may come.
    fn admit(&self, header: &FrameHeader, limits: &AssemblerLimits) -> Result<(), AssemblerError> {
        // RFC 6455 section 5.4: fragments of two messages are never interleaved.
        let (assembled, fragments) = match (&self.message, header.opcode) {
            (None, Opcode::Continuation) => return Err(AssemblerError::UnexpectedContinuation),
            (None, _) => (0, 0),
            (Some(message), Opcode::Continuation) => (message.len(), message.fragments()),
            (Some(_), _) => return Err(AssemblerError::ExpectedContinuation),
        };
        let allowed = limits.message_bytes_max.saturating_sub(assembled);
        // usize has at most 64 bits on every platform that Rust knows.
        if header.payload_len > allowed as u64 {
            return Err(AssemblerError::TooBig);
        }
        let fragmented = fragments > 0 || !header.fin;
        if fragmented && fragments >= limits.fragments_max {
            return Err(AssemblerError::TooManyFragments);
        }
        Ok(())
    }

    /// Gathers what `input` has of the present frame's payload, from `payload_at` on.
    fn gather<'a>(
        &'a mut self,
        payload_at: usize,
        input: &mut [u8],
        limits: &AssemblerLimits,
    ) -> Result<Fed<'a>, AssemblerError> {
        let Some(message) = self.message.as_deref_mut() else {
            return Ok(Fed::NOTHING);
        };
        let taken = message.take(&mut input[payload_at..])?;
        let inflated = message.inflate(limits.message_bytes_max)?;
        Ok(Fed {
            consumed: payload_at + taken,
            event: message.event()?,
            inflated,
        })
    }
}

impl Fed<'_> {
    /// More bytes are needed.
    const NOTHING: Self = Fed {
        consumed: 0,
        event: None,
        inflated: 0,
    };
}

impl AssemblerError {
    /// What the connection is to be closed with.
    pub fn close_code(&self) -> CloseCode {
        match self {
            AssemblerError::Close(error) => error.close_code(),
            AssemblerError::TooBig | AssemblerError::TooManyFragments => CloseCode::TOO_BIG,
            // RFC 7692 names no code for what cannot be inflated; RFC 6455 section 7.4.1 has this
            // one for data that is not what its message says it is.
            AssemblerError::InvalidUtf8 | AssemblerError::MalformedDeflate => {
                CloseCode::INVALID_DATA
            }
            AssemblerError::Frame(_)
            | AssemblerError::UnexpectedContinuation
            | AssemblerError::ExpectedContinuation => CloseCode::PROTOCOL_ERROR,
        }
    }
}

impl From<InflateError> for AssemblerError {
    fn from(error: InflateError) -> AssemblerError {
        match error {
            InflateError::TooBig => AssemblerError::TooBig,
            InflateError::Malformed => AssemblerError::MalformedDeflate,
        }
    }
}

fn is_whole(header: &FrameHeader, header_len: usize, input: &[u8]) -> bool {
    header.payload_len <= (input.len() - header_len) as u64
}

/// The unmasked payload of a frame that is whole in the input.
fn payload<'a>(header: &FrameHeader, header_len: usize, input: &'a mut [u8]) -> &'a mut [u8] {
    // No more than the input has, so it fits.
    let payload = &mut input[header_len..][..header.payload_len as usize];
    mask::apply(header.mask, 0, payload);
    payload
}

/// A message of one frame, without a copy.
fn unfragmented<'a>(
    header: &FrameHeader,
    header_len: usize,
    input: &'a mut [u8],
) -> Result<Fed<'a>, AssemblerError> {
    let payload = payload(header, header_len, input);
    Ok(Fed {
        consumed: header_len + payload.len(),
        event: Some(event(header.opcode == Opcode::Text, payload)?),
        inflated: 0,
    })
}

/// A control frame, which is never taken in part: it has at most 125 bytes of payload.
fn control<'a>(
    header: &FrameHeader,
    header_len: usize,
    input: &'a mut [u8],
) -> Result<Fed<'a>, AssemblerError> {
    if !is_whole(header, header_len, input) {
        return Ok(Fed::NOTHING);
    }
    let payload = payload(header, header_len, input);
    let consumed = header_len + payload.len();
    let event = match header.opcode {
        Opcode::Ping => Event::Ping(payload),
        Opcode::Pong => Event::Pong(payload),
        _ => Event::Close(close::parse(payload)?),
    };
    Ok(Fed {
        consumed,
        event: Some(event),
        inflated: 0,
    })
}

#[cfg(test)]
mod tests;
