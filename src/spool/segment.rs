//! The bytes of a segment: its header, and records in frames with checksums. No files.
//!
//! A damaged body costs its record alone, since the frame around it still tells where the next one
//! begins. Where a frame's head is damaged nobody knows that, and the rest of the segment is lost:
//! looking for the next thing that has the form of a record would find those that somebody wrote
//! into a payload.

use thiserror::Error;

use super::record::{BODY_BYTES_MAX, Record, RecordError};

/// What a segment begins with, before its version.
const MAGIC: &[u8; 7] = b"PXSPOOL";
/// The format that is written, and the only one that is read.
pub const VERSION: u8 = 1;
/// Bytes of a segment's header.
pub const HEADER_LEN: usize = 20;
/// Bytes of a frame before its body.
pub const HEAD_LEN: usize = 20;

/// A segment that does not begin as it should.
#[derive(Clone, Copy, PartialEq, Eq, Error, Debug)]
pub enum HeaderError {
    /// It is no header of this segment, or not any more.
    #[error("damaged")]
    Damaged,
    /// It is whole, and of another version.
    #[error("version {0}")]
    Version(u8),
}

/// Appends the header of a segment.
pub fn encode_header(number: u64, out: &mut Vec<u8>) {
    let start = out.len();
    out.extend(MAGIC);
    out.push(VERSION);
    out.extend(number.to_le_bytes());
    out.extend(crc32fast::hash(&out[start..]).to_le_bytes());
}

/// Checks the header of a segment with this number.
///
/// # Errors
///
/// It is cut off, damaged, another segment's, or of another version.
pub fn check_header(number: u64, segment: &[u8]) -> Result<(), HeaderError> {
    let header = segment.get(..HEADER_LEN).ok_or(HeaderError::Damaged)?;
    let (content, checksum) = header.split_at(HEADER_LEN - 4);
    let (magic, version) = (&content[..MAGIC.len()], content[MAGIC.len()]);
    if crc32fast::hash(content).to_le_bytes() != *checksum || magic != MAGIC {
        return Err(HeaderError::Damaged);
    }
    if version != VERSION {
        return Err(HeaderError::Version(version));
    }
    if content[MAGIC.len() + 1..] != number.to_le_bytes() {
        return Err(HeaderError::Damaged);
    }
    Ok(())
}

/// A record in its frame, as it was read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Frame<'a> {
    /// When it was appended, in microseconds of the wall clock.
    pub appended_at: u64,
    /// The record.
    pub record: Record<'a>,
}

/// A frame that cannot be read.
#[derive(Clone, Copy, PartialEq, Eq, Error, Debug)]
pub enum Damage {
    /// Where the next one begins is not known.
    #[error("the head of a frame is damaged")]
    Head,
    /// The next one begins behind so many bytes.
    #[error("the body of a frame of {0} bytes is damaged")]
    Body(usize),
}

/// Appends a record in its frame.
///
/// # Errors
///
/// The record is outside its bounds; then nothing is appended.
pub fn encode(record: &Record<'_>, appended_at: u64, out: &mut Vec<u8>) -> Result<(), RecordError> {
    let body_len = record.encoded_len()?;
    let start = out.len();
    out.reserve(HEAD_LEN + body_len);
    out.extend([0; HEAD_LEN]);
    record.encode(out)?;
    let body_len = u32::try_from(body_len).map_err(|_| RecordError::TooLong)?;
    let (head, body) = out[start..].split_at_mut(HEAD_LEN);
    head[..4].copy_from_slice(&body_len.to_le_bytes());
    head[4..8].copy_from_slice(&crc32fast::hash(body).to_le_bytes());
    head[8..16].copy_from_slice(&appended_at.to_le_bytes());
    let checksum = crc32fast::hash(&head[..16]);
    head[16..].copy_from_slice(&checksum.to_le_bytes());
    Ok(())
}

/// Reads the frame at the beginning of `input`, and tells its length; `None` if `input` ends within
/// it.
///
/// # Errors
///
/// A checksum does not fit, or what it covers is nothing that [`encode`] makes.
pub fn decode(input: &[u8]) -> Result<Option<(Frame<'_>, usize)>, Damage> {
    let Some((head, rest)) = input.split_first_chunk::<HEAD_LEN>() else {
        return Ok(None);
    };
    let number =
        |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
    let body_len = usize::try_from(number(0)).unwrap_or(usize::MAX);
    if crc32fast::hash(&head[..16]) != number(16) || body_len > BODY_BYTES_MAX {
        return Err(Damage::Head);
    }
    let Some(body) = rest.get(..body_len) else {
        return Ok(None);
    };
    let len = HEAD_LEN + body_len;
    if crc32fast::hash(body) != number(4) {
        return Err(Damage::Body(len));
    }
    let record = Record::decode(body).ok_or(Damage::Body(len))?;
    let appended_at = u64::from(number(8)) | u64::from(number(12)) << 32;
    let frame = Frame {
        appended_at,
        record,
    };
    Ok(Some((frame, len)))
}

/// The records of a stretch of a segment that begins with a frame; damaged ones are passed over.
#[derive(Clone, Debug)]
pub struct Frames<'a> {
    input: &'a [u8],
    used: usize,
    is_stuck: bool,
    damaged: usize,
}

impl<'a> Frames<'a> {
    /// Those of `input`.
    pub fn new(input: &'a [u8]) -> Frames<'a> {
        Frames {
            input,
            used: 0,
            is_stuck: false,
            damaged: 0,
        }
    }

    /// Bytes of the frames passed so far. At the end, what is behind them is no whole frame.
    pub fn used(&self) -> usize {
        self.used
    }

    /// Whether a damaged head ended it, so that more bytes will not help.
    pub fn is_stuck(&self) -> bool {
        self.is_stuck
    }

    /// Bytes of the frames that were passed over.
    pub fn damaged(&self) -> usize {
        self.damaged
    }
}

impl<'a> Iterator for Frames<'a> {
    type Item = Frame<'a>;

    fn next(&mut self) -> Option<Frame<'a>> {
        // Each turn but the last takes bytes of the input.
        loop {
            match decode(&self.input[self.used..]) {
                Ok(Some((frame, len))) => {
                    self.used += len;
                    return Some(frame);
                }
                Ok(None) => return None,
                Err(Damage::Head) => {
                    self.is_stuck = true;
                    return None;
                }
                Err(Damage::Body(len)) => {
                    self.used += len;
                    self.damaged += len;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::record::Message;
    use super::*;

    fn record(stored_part: &[u8]) -> Record<'_> {
        Record {
            topic: "t",
            messages: vec![Message {
                token: [1; 16],
                ttl: Some(60),
                expires_at: Some(61_000_000),
                stored_part,
            }],
        }
    }

    /// Three frames, and where each ends.
    fn three() -> (Vec<u8>, Vec<usize>) {
        let (mut bytes, mut ends) = (Vec::new(), Vec::new());
        for (at, part) in [&b"one"[..], b"", b"three"].into_iter().enumerate() {
            encode(&record(part), at as u64, &mut bytes).unwrap();
            ends.push(bytes.len());
        }
        (bytes, ends)
    }

    fn times(input: &[u8]) -> Vec<u64> {
        Frames::new(input).map(|frame| frame.appended_at).collect()
    }

    #[test]
    fn every_cut_leaves_the_frames_before_it() {
        let (bytes, ends) = three();
        for cut in 0..=bytes.len() {
            let whole = ends.iter().filter(|end| **end <= cut).count();
            let mut frames = Frames::new(&bytes[..cut]);
            assert_eq!(frames.by_ref().count(), whole);
            assert_eq!(frames.used(), if whole == 0 { 0 } else { ends[whole - 1] });
            assert!(!frames.is_stuck() && frames.damaged() == 0);
        }
    }

    #[test]
    fn every_flipped_bit_costs_one_record_or_the_rest() {
        let (bytes, ends) = three();
        for bit in 0..8 * bytes.len() {
            let (at, mut changed) = (bit / 8, bytes.clone());
            changed[at] ^= 1 << (bit % 8);
            let hit = ends.iter().filter(|end| **end <= at).count();
            let start = if hit == 0 { 0 } else { ends[hit - 1] };
            let mut expected: Vec<u64> = vec![0, 1, 2];
            if at < start + HEAD_LEN {
                expected.truncate(hit);
            } else {
                expected.remove(hit);
            }
            assert_eq!(times(&changed), expected, "bit {bit}");
        }
    }

    #[test]
    fn neither_zeros_nor_long_lengths_are_frames() {
        assert_eq!(decode(&[0; 100]), Err(Damage::Head));
        assert_eq!(decode(&[0; HEAD_LEN - 1]), Ok(None));
        for (body_len, expected) in [
            (BODY_BYTES_MAX, Ok(None)),
            (BODY_BYTES_MAX + 1, Err(Damage::Head)),
            (u32::MAX as usize, Err(Damage::Head)),
        ] {
            let mut head = [0; HEAD_LEN];
            head[..4].copy_from_slice(&u32::try_from(body_len).unwrap().to_le_bytes());
            let checksum = crc32fast::hash(&head[..16]);
            head[16..].copy_from_slice(&checksum.to_le_bytes());
            assert_eq!(decode(&head), expected);
        }
    }

    #[test]
    fn headers_are_of_one_segment_and_version() {
        let mut header = Vec::new();
        encode_header(9, &mut header);
        assert_eq!(header.len(), HEADER_LEN);
        assert_eq!(check_header(9, &header), Ok(()));
        assert_eq!(check_header(8, &header), Err(HeaderError::Damaged));
        for cut in 0..header.len() {
            let damaged = Err(HeaderError::Damaged);
            assert_eq!(check_header(9, &header[..cut]), damaged);
            let mut changed = header.clone();
            changed[cut] ^= 1;
            assert_eq!(check_header(9, &changed), damaged);
        }
        header[7] = 2;
        let checksum = crc32fast::hash(&header[..16]);
        header[16..].copy_from_slice(&checksum.to_le_bytes());
        assert_eq!(check_header(9, &header), Err(HeaderError::Version(2)));
    }
}
