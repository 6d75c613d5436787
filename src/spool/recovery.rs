//! What an earlier run left in a segment. No files.

use super::error::SpoolError;
use super::segment::{Frames, HEADER_LEN, HeaderError, check_header};

/// What [`Spool::open`](super::Spool::open) found in the directory.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Recovered {
    /// Records that are whole and not confirmed.
    pub records: u64,
    /// Bytes that are damaged, or torn at the end of an append that was never answered.
    pub lost_bytes: u64,
    /// Segments that had such bytes.
    pub damaged_segments: u64,
}

/// A segment that was looked through.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Examined {
    /// Where its first frame that is not confirmed begins.
    pub(super) start: u64,
    /// Where its last frame ends; what is behind that can be cut off.
    pub(super) end: u64,
    /// Whole records from `start` on.
    pub(super) records: u64,
    /// Bytes from `start` on that are no part of them.
    pub(super) lost_bytes: u64,
    /// When the first of them was appended, in microseconds of the wall clock.
    pub(super) oldest_at: Option<u64>,
}

/// Looks through the beginning of a file of `file_len` bytes; behind `bytes` there is nothing that
/// we write. The records before `confirmed` are done.
pub(super) fn examine(
    number: u64,
    bytes: &[u8],
    file_len: u64,
    confirmed: Option<u64>,
) -> Result<Examined, SpoolError> {
    let header_lost = match check_header(number, bytes) {
        Err(HeaderError::Version(version)) => return Err(SpoolError::Version { number, version }),
        // The records have checksums of their own, and need it not.
        Err(HeaderError::Damaged) if confirmed.is_none() => bytes.len().min(HEADER_LEN),
        Err(HeaderError::Damaged) | Ok(()) => 0,
    };
    let start = confirmed.unwrap_or(HEADER_LEN as u64);
    let first = usize::try_from(start).unwrap_or(usize::MAX);
    let mut frames = Frames::new(bytes.get(first..).unwrap_or_default());
    let oldest_at = frames.next().map(|frame| frame.appended_at);
    let records = u64::from(oldest_at.is_some()) + frames.by_ref().count() as u64;
    let end = start + frames.used() as u64;
    let behind = file_len.saturating_sub(end);
    Ok(Examined {
        start,
        end,
        records,
        lost_bytes: (header_lost + frames.damaged()) as u64 + behind,
        oldest_at,
    })
}
