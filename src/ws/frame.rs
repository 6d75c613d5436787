//! Frame headers (RFC 6455 section 5.2).
//!
//! ```text
//! byte 0       byte 1       then
//! FRRR oooo    Mlll llll    0, 2 or 8 bytes of length, 4 bytes of mask when M, payload
//! ```

/// The longest payload of a control frame, in bytes (RFC 6455 section 5.5).
pub const CONTROL_PAYLOAD_MAX: usize = 125;

/// The longest header of a server's frame, in bytes.
pub const HEADER_LEN_MAX: usize = 10;

const FIN: u8 = 0x80;
const RESERVED: u8 = 0x70;
/// RSV1: the message is compressed (RFC 7692 section 6).
const COMPRESSED: u8 = 0x40;
const MASKED: u8 = 0x80;

/// Values of the 7-bit length that say that 2 or 8 bytes of length follow.
const LENGTH_16: u8 = 126;
const LENGTH_64: u8 = 127;

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opcode {
    /// A further fragment of a message.
    Continuation,
    /// A text message, or its first fragment.
    Text,
    /// A binary message, or its first fragment.
    Binary,
    /// The end of what the sender sends.
    Close,
    /// Asks for a pong with the same payload.
    Ping,
    /// Answers a ping, or says that the sender lives.
    Pong,
}

impl Opcode {
    /// Whether frames of this kind stand between fragments and have at most
    /// [`CONTROL_PAYLOAD_MAX`] bytes.
    pub fn is_control(self) -> bool {
        matches!(self, Opcode::Close | Opcode::Ping | Opcode::Pong)
    }

    fn bits(self) -> u8 {
        match self {
            Opcode::Continuation => 0,
            Opcode::Text => 1,
            Opcode::Binary => 2,
            Opcode::Close => 8,
            Opcode::Ping => 9,
            Opcode::Pong => 10,
        }
    }

    fn from_bits(bits: u8) -> Option<Opcode> {
        match bits {
            0 => Some(Opcode::Continuation),
            1 => Some(Opcode::Text),
            2 => Some(Opcode::Binary),
            8 => Some(Opcode::Close),
            9 => Some(Opcode::Ping),
            10 => Some(Opcode::Pong),
            _ => None,
        }
    }
}

/// Header of a frame from a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameHeader {
    /// Whether the message ends with this frame; always so for control frames.
    pub fin: bool,
    /// Whether the message that begins with this frame is compressed.
    pub is_compressed: bool,
    /// What the frame is.
    pub opcode: Opcode,
    /// What the payload is masked with.
    pub mask: [u8; 4],
    /// Bytes of payload: at most 125 in a control frame, below 2^63 in any.
    pub payload_len: u64,
}

/// Why a frame header is refused; each is a protocol error (close code 1002).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// A bit is set that no extension in use gives a meaning there.
    #[error("reserved bit set")]
    ReservedBit,
    /// One of the opcodes 3 to 7 and 11 to 15.
    #[error("unknown opcode")]
    UnknownOpcode,
    /// A client must mask (RFC 6455 section 5.1).
    #[error("frame not masked")]
    NotMasked,
    /// A control frame without FIN.
    #[error("fragmented control frame")]
    ControlFragmented,
    /// A control frame of more than [`CONTROL_PAYLOAD_MAX`] bytes.
    #[error("control frame too long")]
    ControlTooLong,
    /// A length in more bytes than it needs, or with its highest bit set.
    #[error("malformed payload length")]
    Length,
}

/// Decodes the header of a client's frame, and says how many bytes it takes. `None` when more
/// bytes are needed. With `takes_compressed`, permessage-deflate was negotiated: messages may be
/// marked as compressed, on their first frame (RFC 7692 section 6).
///
/// # Errors
/// As soon as the bytes that say so are there, also before the header is complete.
pub fn decode(
    input: &[u8],
    takes_compressed: bool,
) -> Result<Option<(FrameHeader, usize)>, FrameError> {
    let Some((&first, rest)) = input.split_first() else {
        return Ok(None);
    };
    let is_compressed = takes_compressed && first & RESERVED == COMPRESSED;
    if first & RESERVED != 0 && !is_compressed {
        return Err(FrameError::ReservedBit);
    }
    let fin = first & FIN != 0;
    let opcode = Opcode::from_bits(first & 0x0f).ok_or(FrameError::UnknownOpcode)?;
    if is_compressed && !matches!(opcode, Opcode::Text | Opcode::Binary) {
        return Err(FrameError::ReservedBit);
    }
    if opcode.is_control() && !fin {
        return Err(FrameError::ControlFragmented);
    }
    let Some((&second, rest)) = rest.split_first() else {
        return Ok(None);
    };
    if second & MASKED == 0 {
        return Err(FrameError::NotMasked);
    }
    let short = second & !MASKED;
    if opcode.is_control() && usize::from(short) > CONTROL_PAYLOAD_MAX {
        return Err(FrameError::ControlTooLong);
    }
    let Some((payload_len, rest)) = decode_length(short, rest)? else {
        return Ok(None);
    };
    let Some((&mask, rest)) = rest.split_first_chunk() else {
        return Ok(None);
    };
    let header = FrameHeader {
        fin,
        is_compressed,
        opcode,
        mask,
        payload_len,
    };
    Ok(Some((header, input.len() - rest.len())))
}

/// The length and what follows it. RFC 6455 section 5.2: the fewest bytes that hold the length
/// must be used, and the highest of 64 bits must be 0.
fn decode_length(short: u8, rest: &[u8]) -> Result<Option<(u64, &[u8])>, FrameError> {
    match short {
        LENGTH_16 => match rest.split_first_chunk() {
            Some((bytes, rest)) => match u16::from_be_bytes(*bytes) {
                0..=125 => Err(FrameError::Length),
                len => Ok(Some((u64::from(len), rest))),
            },
            None => Ok(None),
        },
        LENGTH_64 if rest.first().is_some_and(|byte| byte & 0x80 != 0) => Err(FrameError::Length),
        LENGTH_64 => match rest.split_first_chunk() {
            Some((bytes, rest)) => match u64::from_be_bytes(*bytes) {
                0..=0xffff => Err(FrameError::Length),
                len => Ok(Some((len, rest))),
            },
            None => Ok(None),
        },
        short => Ok(Some((u64::from(short), rest))),
    }
}

/// Bytes that [`encode_header`] appends for a payload of that length: 2, 4 or 10.
pub fn header_len(payload_len: usize) -> usize {
    match payload_len {
        0..=125 => 2,
        126..=0xffff => 4,
        _ => HEADER_LEN_MAX,
    }
}

/// Appends the header of a whole message or control frame from the server: FIN set, not masked.
pub fn encode_header(opcode: Opcode, payload_len: usize, out: &mut Vec<u8>) {
    encode(FIN | opcode.bits(), 0, payload_len, out);
}

/// The same for a message that is compressed.
pub fn encode_compressed_header(opcode: Opcode, payload_len: usize, out: &mut Vec<u8>) {
    encode(FIN | COMPRESSED | opcode.bits(), 0, payload_len, out);
}

/// What a whole frame of the server is, and its payload.
pub fn parts(whole: &[u8]) -> Option<(Opcode, &[u8])> {
    let (&[first, short], _) = whole.split_first_chunk()?;
    let header_len = match short {
        LENGTH_16 => 4,
        LENGTH_64 => HEADER_LEN_MAX,
        _ => 2,
    };
    Some((Opcode::from_bits(first & 0x0f)?, whole.get(header_len..)?))
}

/// Appends a frame as a client sends it. The server never does; clients in tests do.
pub fn encode_client_frame(header: &FrameHeader, payload: &[u8], out: &mut Vec<u8>) {
    let fin = if header.fin { FIN } else { 0 };
    let compressed = if header.is_compressed { COMPRESSED } else { 0 };
    encode(
        fin | compressed | header.opcode.bits(),
        MASKED,
        payload.len(),
        out,
    );
    out.extend_from_slice(&header.mask);
    let start = out.len();
    out.extend_from_slice(payload);
    super::mask::apply(header.mask, 0, &mut out[start..]);
}

fn encode(first: u8, masked: u8, payload_len: usize, out: &mut Vec<u8>) {
    match payload_len {
        // Each pattern fits the width that its length is written in.
        0..=125 => out.extend_from_slice(&[first, masked | payload_len as u8]),
        126..=0xffff => {
            out.extend_from_slice(&[first, masked | LENGTH_16]);
            out.extend_from_slice(&(payload_len as u16).to_be_bytes());
        }
        _ => {
            out.extend_from_slice(&[first, masked | LENGTH_64]);
            out.extend_from_slice(&(payload_len as u64).to_be_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The verdict of all bytes, and how many were there when it was certain.
    fn verdict(input: &[u8]) -> (usize, Result<Option<(FrameHeader, usize)>, FrameError>) {
        verdict_if(input, false)
    }

    fn verdict_if(
        input: &[u8],
        takes_compressed: bool,
    ) -> (usize, Result<Option<(FrameHeader, usize)>, FrameError>) {
        let whole = decode(input, takes_compressed);
        for len in 0..=input.len() {
            let prefix = decode(&input[..len], takes_compressed);
            if prefix != Ok(None) {
                assert_eq!(prefix, whole, "first {len} bytes of {input:x?}");
                return (len, whole);
            }
        }
        (input.len(), whole)
    }

    #[test]
    fn examples_of_the_rfc() {
        // RFC 6455 section 5.7.
        let hello = [
            0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58,
        ];
        let header = FrameHeader {
            fin: true,
            is_compressed: false,
            opcode: Opcode::Text,
            mask: [0x37, 0xfa, 0x21, 0x3d],
            payload_len: 5,
        };
        assert_eq!(verdict(&hello), (6, Ok(Some((header, 6)))));
        let mut encoded = Vec::new();
        encode_client_frame(&header, b"Hello", &mut encoded);
        assert_eq!(encoded, hello);

        let encode = |opcode, len| {
            let mut out = Vec::new();
            encode_header(opcode, len, &mut out);
            out
        };
        assert_eq!(encode(Opcode::Text, 5), [0x81, 0x05]);
        assert_eq!(encode(Opcode::Ping, 5), [0x89, 0x05]);
        assert_eq!(encode(Opcode::Binary, 256), [0x82, 0x7e, 0x01, 0x00]);
        assert_eq!(
            encode(Opcode::Binary, 65536),
            [0x82, 0x7f, 0, 0, 0, 0, 0, 1, 0, 0]
        );
    }

    #[test]
    fn refuses_at_the_first_byte_that_makes_it_certain() {
        let mut cases = vec![
            (vec![0xc1], FrameError::ReservedBit),
            (vec![0xa1], FrameError::ReservedBit),
            (vec![0x91], FrameError::ReservedBit),
            (vec![0x09], FrameError::ControlFragmented),
            (vec![0x08], FrameError::ControlFragmented),
            (vec![0x81, 0x05], FrameError::NotMasked),
            (vec![0x88, 0x00], FrameError::NotMasked),
            (vec![0x89, 0xfe], FrameError::ControlTooLong),
            (vec![0x8a, 0xff], FrameError::ControlTooLong),
            (vec![0x81, 0xfe, 0, 125], FrameError::Length),
            (vec![0x81, 0xff, 0x80], FrameError::Length),
            (
                vec![0x81, 0xff, 0, 0, 0, 0, 0, 0, 0xff, 0xff],
                FrameError::Length,
            ),
        ];
        for opcode in [3, 4, 5, 6, 7, 11, 12, 13, 14, 15] {
            cases.push((vec![0x80 | opcode], FrameError::UnknownOpcode));
        }
        for (mut input, error) in cases {
            let len = input.len();
            input.extend_from_slice(&[0; 12]);
            assert_eq!(verdict(&input), (len, Err(error)));
        }
    }

    #[test]
    fn only_messages_are_marked_as_compressed_and_only_if_negotiated() {
        for first in [0x41, 0xc1, 0x42, 0xc2] {
            let input = [first, 0x80, 1, 2, 3, 4];
            assert_eq!(verdict(&input), (1, Err(FrameError::ReservedBit)));
            let (_, decoded) = verdict_if(&input, true);
            let (header, _) = decoded.unwrap().unwrap();
            assert!(header.is_compressed);
            let mut encoded = Vec::new();
            encode_client_frame(&header, b"", &mut encoded);
            assert_eq!(encoded, input);
        }
        for first in [0x40, 0xc0, 0xc8, 0xc9, 0xca, 0xe1, 0xd1, 0xa1, 0x91] {
            let input = [first, 0x80, 1, 2, 3, 4];
            assert_eq!(
                verdict_if(&input, true),
                (1, Err(FrameError::ReservedBit)),
                "{first:x}"
            );
        }
        let plain = [0x81, 0x80, 1, 2, 3, 4];
        assert_eq!(verdict_if(&plain, true), verdict(&plain));
        let mut out = Vec::new();
        encode_compressed_header(Opcode::Text, 7, &mut out);
        assert_eq!(out, [0xc1, 0x07], "RFC 7692 section 7.2.3.1");
    }

    #[test]
    fn lengths_at_their_borders() {
        let lens = [
            0,
            1,
            125,
            126,
            127,
            0xffff,
            0x1_0000,
            0x1_0001,
            (1 << 63) - 1,
        ];
        for len in lens {
            let mut input = Vec::new();
            encode(FIN | Opcode::Text.bits(), MASKED, len, &mut input);
            assert_eq!(input.len(), header_len(len));
            let mut whole = Vec::new();
            encode_header(Opcode::Text, len, &mut whole);
            whole.push(b'x');
            assert_eq!(parts(&whole), Some((Opcode::Text, &b"x"[..])));
            input.extend_from_slice(&[1, 2, 3, 4, 5]);
            let (certain, decoded) = verdict(&input);
            let (header, consumed) = decoded.unwrap().unwrap();
            assert_eq!(header.payload_len, len as u64);
            assert_eq!(header.mask, [1, 2, 3, 4]);
            assert_eq!((certain, consumed), (input.len() - 1, input.len() - 1));
        }
    }

    proptest! {
        #[test]
        fn any_bytes_get_one_verdict(
            input in prop::collection::vec(any::<u8>(), 0..16),
            takes_compressed: bool,
        ) {
            // `verdict_if` compares.
            let _ = verdict_if(&input, takes_compressed);
        }
    }
}
