//! Compressing and inflating whole messages (RFC 7692 section 7.2).
//!
//! Each message stands for itself: neither side refers to an earlier one, so that a message is
//! compressed once for everybody, and nothing is kept for a connection.

use std::cell::RefCell;

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

use super::frame::{self, HEADER_LEN_MAX, Opcode};

/// Shorter messages are sent as they are: they hardly shrink, and a packet is a packet.
pub const PAYLOAD_LEN_MIN: usize = 64;

/// The window of a compressor that nobody has asked for a smaller one, as a power of two.
pub const WINDOW_BITS_MAX: u8 = 15;

/// The smallest window that zlib compresses with; a peer may ask for 8 (RFC 7692 section 7.1.2).
const WINDOW_BITS_MIN: u8 = 9;

/// Leaves a third of a delivery of 1 KiB in 13 µs. Level 1 takes 4 µs and leaves 41 %; levels above
/// take up to twice as long for large messages and leave 3 to 5 % less. It is spent once a message.
const LEVEL: u32 = 3;

/// What a flush ends with and the sender leaves out (RFC 7692 section 7.2.1).
const FLUSH_TAIL: [u8; 4] = [0x00, 0x00, 0xff, 0xff];

/// What is put behind a compressed message: what its sender left out, then an empty last block,
/// which ends the data only if all blocks before it are whole.
const CLOSING: [u8; 9] = [0x00, 0x00, 0xff, 0xff, 0x01, 0x00, 0x00, 0xff, 0xff];

/// Room for what is inflated grows from here.
const ROOM_MIN: usize = 1024;

thread_local! {
    // Each takes tens to hundreds of kilobytes that are worth keeping, but not for each connection.
    static COMPRESSOR: RefCell<Option<Compress>> = const { RefCell::new(None) };
    static INFLATER: RefCell<Option<Decompress>> = const { RefCell::new(None) };
}

/// Why a compressed message is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InflateError {
    /// It stands for more bytes than are allowed.
    #[error("message too big")]
    TooBig,
    /// It is not DEFLATE data (RFC 1951) that ends where a flush ends.
    #[error("malformed compressed message")]
    Malformed,
}

/// Inflates the payload of a compressed message, all fragments together, to at most `bytes_max`
/// bytes.
///
/// # Errors
/// [`InflateError::TooBig`] as soon as there is one byte too many: neither memory nor time is
/// spent on the rest.
pub fn inflate(payload: &[u8], bytes_max: usize) -> Result<Vec<u8>, InflateError> {
    INFLATER.with_borrow_mut(|kept| {
        let inflater = kept.get_or_insert_with(|| Decompress::new(false));
        inflater.reset(false);
        let mut inflating = Inflating {
            inflater,
            out: Vec::new(),
            bytes_max,
            has_ended: false,
        };
        inflating.take(payload)?;
        inflating.take(&CLOSING)?;
        while !inflating.has_ended {
            // What the room was too small for when all was taken.
            if !inflating.step(&[])?.has_moved {
                return Err(InflateError::Malformed);
            }
        }
        Ok(inflating.out)
    })
}

/// The compressed form of a whole frame that [`frame::encode_header`] began, or `None` when it
/// would hardly be shorter. It needs a window of [`WINDOW_BITS_MAX`] to be inflated.
pub fn compressed(whole: &[u8]) -> Option<Vec<u8>> {
    let (opcode, payload) = frame::parts(whole)?;
    if payload.len() < PAYLOAD_LEN_MIN {
        return None;
    }
    let made = compress(opcode, payload, WINDOW_BITS_MAX)?;
    (made.len() < whole.len()).then_some(made)
}

/// A whole compressed frame of a message for a peer that inflates with a window of this size, or
/// `None` when that is too small to compress for.
pub fn compress(opcode: Opcode, payload: &[u8], window_bits: u8) -> Option<Vec<u8>> {
    if window_bits < WINDOW_BITS_MIN {
        return None;
    }
    let make = || Compress::new_with_window_bits(Compression::new(LEVEL), false, window_bits);
    if window_bits < WINDOW_BITS_MAX {
        return compress_with(&mut make(), opcode, payload);
    }
    COMPRESSOR.with_borrow_mut(|kept| {
        let mut compressor = kept.take().unwrap_or_else(make);
        compressor.reset();
        let made = compress_with(&mut compressor, opcode, payload)?;
        // One that could not finish is not kept: resetting it would leave its output half written.
        *kept = Some(compressor);
        Some(made)
    })
}

/// A message on its way through the inflater.
struct Inflating<'a> {
    inflater: &'a mut Decompress,
    out: Vec<u8>,
    bytes_max: usize,
    /// The last block ended.
    has_ended: bool,
}

/// What one call of the inflater did.
struct Step {
    taken: usize,
    has_moved: bool,
}

impl Inflating<'_> {
    /// Gives all of `input` to the inflater.
    fn take(&mut self, mut input: &[u8]) -> Result<(), InflateError> {
        while !input.is_empty() {
            if self.has_ended {
                // RFC 7692 section 7.2.3.4: a last block may be anywhere in a message.
                self.inflater.reset(false);
                self.has_ended = false;
            }
            let step = self.step(input)?;
            if !step.has_moved {
                return Err(InflateError::Malformed);
            }
            input = &input[step.taken..];
        }
        Ok(())
    }

    fn step(&mut self, input: &[u8]) -> Result<Step, InflateError> {
        self.make_room();
        let (len, before) = (self.out.len(), self.inflater.total_in());
        let status = self
            .inflater
            .decompress_vec(input, &mut self.out, FlushDecompress::None)
            .map_err(|_| InflateError::Malformed)?;
        if self.out.len() > self.bytes_max {
            return Err(InflateError::TooBig);
        }
        self.has_ended = status == Status::StreamEnd;
        // No more than the input has, so it fits.
        let taken = (self.inflater.total_in() - before) as usize;
        Ok(Step {
            taken,
            has_moved: taken > 0 || self.out.len() > len || self.has_ended,
        })
    }

    /// Doubles what is full, up to the one byte that is too many.
    fn make_room(&mut self) {
        let len = self.out.len();
        if len == self.out.capacity() {
            let wanted = (2 * len)
                .max(ROOM_MIN)
                .min(self.bytes_max.saturating_add(1));
            self.out.reserve_exact(wanted.saturating_sub(len).max(1));
        }
    }
}

/// `None` if the compressor could not finish, which it can with the room that it is given.
fn compress_with(compressor: &mut Compress, opcode: Opcode, payload: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(HEADER_LEN_MAX + room(payload.len()));
    // The header is as long as the length that it tells, which is known last.
    out.resize(HEADER_LEN_MAX, 0);
    let status = compressor.compress_vec(payload, &mut out, FlushCompress::Sync);
    let is_done = matches!(status, Ok(Status::Ok))
        && compressor.total_in() == payload.len() as u64
        && out.len() < out.capacity();
    if !is_done || !out.ends_with(&FLUSH_TAIL) {
        return None;
    }
    out.truncate(out.len() - FLUSH_TAIL.len());
    let len = out.len() - HEADER_LEN_MAX;
    let mut header = Vec::with_capacity(HEADER_LEN_MAX);
    frame::encode_compressed_header(opcode, len, &mut header);
    let start = HEADER_LEN_MAX - header.len();
    out[start..HEADER_LEN_MAX].copy_from_slice(&header);
    out.drain(..start);
    Some(out)
}

/// More than a compressor makes of so many bytes: zlib's own bound, and a flush.
fn room(payload_len: usize) -> usize {
    payload_len + payload_len / 8 + payload_len / 64 + 64
}

#[cfg(test)]
mod tests;
