//! One message that comes in parts: fragments, or a frame that is longer than what is there of it.

use super::assembler::{AssemblerError, Event};
use super::deflate;
use super::frame::{FrameHeader, Opcode};
use super::mask;

/// What has come of a message, unmasked. It takes what has arrived, whatever length was declared.
#[derive(Debug)]
pub(super) struct Message {
    is_text: bool,
    /// Until it is finished; then the bytes are inflated.
    is_compressed: bool,
    bytes: Vec<u8>,
    /// Length of the front of `bytes` that is known to be whole characters, in plain text.
    utf8_valid: usize,
    /// Frames so far.
    fragments: u32,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    /// A frame ended, another one must follow.
    Between,
    /// In the payload of a frame.
    Inside {
        mask: [u8; 4],
        /// Bytes of this payload that are gathered.
        taken: usize,
        /// Bytes of this payload that are missing.
        remaining: u64,
        fin: bool,
    },
    /// The last frame ended.
    Finished,
}

impl Message {
    /// Bytes allocated for the payload.
    pub(super) fn held_bytes(&self) -> usize {
        self.bytes.capacity()
    }

    /// An empty message of the kind that its first frame says.
    pub(super) fn new(header: &FrameHeader) -> Message {
        Message {
            is_text: header.opcode == Opcode::Text,
            is_compressed: header.is_compressed,
            bytes: Vec::new(),
            utf8_valid: 0,
            fragments: 0,
            stage: Stage::Between,
        }
    }

    /// Bytes gathered so far.
    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Frames begun so far.
    pub(super) fn fragments(&self) -> u32 {
        self.fragments
    }

    /// Whether the next bytes are payload.
    pub(super) fn is_inside_frame(&self) -> bool {
        matches!(self.stage, Stage::Inside { .. })
    }

    /// Whether the last frame ended.
    pub(super) fn is_finished(&self) -> bool {
        matches!(self.stage, Stage::Finished)
    }

    /// Starts a frame, behind whose header the next bytes stand.
    pub(super) fn begin(&mut self, header: &FrameHeader) {
        self.fragments += 1;
        self.stage = Stage::Inside {
            mask: header.mask,
            taken: 0,
            remaining: header.payload_len,
            fin: header.fin,
        };
    }

    /// Unmasks and keeps what `input` has of the present frame; returns how many bytes that were.
    pub(super) fn take(&mut self, input: &mut [u8]) -> Result<usize, AssemblerError> {
        let Stage::Inside {
            mask,
            taken,
            remaining,
            fin,
        } = &mut self.stage
        else {
            return Ok(0);
        };
        let len = usize::try_from(*remaining).map_or(input.len(), |len| len.min(input.len()));
        let piece = &mut input[..len];
        mask::apply(*mask, *taken, piece);
        self.bytes.extend_from_slice(piece);
        *taken += len;
        *remaining -= len as u64;
        if *remaining == 0 {
            self.stage = if *fin {
                Stage::Finished
            } else {
                Stage::Between
            };
        }
        self.check_utf8()?;
        Ok(len)
    }

    /// Looks at the characters that are new, and again only at one that was cut (RFC 6455 section
    /// 8.1).
    fn check_utf8(&mut self) -> Result<(), AssemblerError> {
        // Of compressed text it is seen when all of it is inflated.
        if !self.is_text || self.is_compressed {
            return Ok(());
        }
        match std::str::from_utf8(&self.bytes[self.utf8_valid..]) {
            Ok(text) => self.utf8_valid += text.len(),
            Err(error) if error.error_len().is_some() || self.is_finished() => {
                return Err(AssemblerError::InvalidUtf8);
            }
            // The last character may go on in the next bytes.
            Err(error) => self.utf8_valid += error.valid_up_to(),
        }
        Ok(())
    }

    /// Puts what a compressed message stands for in its place once all of it has come; returns how
    /// many bytes that are.
    pub(super) fn inflate(&mut self, bytes_max: usize) -> Result<usize, AssemblerError> {
        if !(self.is_compressed && self.is_finished()) {
            return Ok(0);
        }
        self.bytes = deflate::inflate(&self.bytes, bytes_max)?;
        self.is_compressed = false;
        Ok(self.bytes.len())
    }

    /// The message, once it is finished.
    pub(super) fn event(&self) -> Result<Option<Event<'_>>, AssemblerError> {
        if !self.is_finished() {
            return Ok(None);
        }
        event(self.is_text, &self.bytes).map(Some)
    }

    #[cfg(test)]
    pub(super) fn capacity(&self) -> usize {
        self.bytes.capacity()
    }
}

/// The event of a whole message.
pub(super) fn event(is_text: bool, payload: &[u8]) -> Result<Event<'_>, AssemblerError> {
    if !is_text {
        return Ok(Event::Binary(payload));
    }
    match std::str::from_utf8(payload) {
        Ok(text) => Ok(Event::Text(text)),
        Err(_) => Err(AssemblerError::InvalidUtf8),
    }
}
