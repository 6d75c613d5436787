//! A bounded queue of publications in a local directory, for the time that Valkey is away
//! (`--on-outage spool`). It outlives the process. One thread of the caller's drives it; it has no
//! thread and no clock of its own, and its calls block for as long as the disk does.
//!
//! ```text
//!   append ──► written, one fdatasync for all of them ──► they stand in the spool
//!                └── the disk refuses: none of them does
//!   peek ──► the oldest that are not confirmed, again and again, until
//!   confirm ──► the mark moves on; segments behind it are removed
//! ```
//!
//! # Files
//!
//! A segment is a header and frames, one for each record, and is removed when all of them are
//! confirmed. A new one begins where the next record would make it too long, at each start and after
//! each failure of the disk, so that nothing is ever written behind something doubtful. Numbers of
//! segments rise and are not used twice. All numbers in the files are little-endian; checksums are
//! CRC-32 (IEEE 802.3).
//!
//! ```text
//!   <directory>/lock                       held as long as the spool is open
//!               confirmed                  the mark
//!               000000000000002a.segment   the segment with number 42
//!
//!   segment   header, frame*
//!   header    "PXSPOOL" | version u8 = 1 | number u64 | checksum of these u32
//!   frame     head, body
//!   head      length of the body u32 | checksum of the body u32 |
//!             appended at, microseconds of the wall clock u64 | checksum of these u32
//!   body      length of the topic u16 | topic | number of messages u8 | message*
//!   message   token 16 bytes | flags u8: 1 ttl, 2 expires_at |
//!             [ttl, seconds u64] | [expires_at, microseconds of the wall clock u64] |
//!             length of the stored part u32 | stored part
//!
//!   mark      "PXMARK" | 0 u8 | version u8 = 1 | segment u64 | offset in it u64 |
//!             checksum of these u32
//! ```
//!
//! # After a crash
//!
//! What [`Spool::append`] has answered is there. Of an append under way, a first part may be there.
//! Everything that was peeked and confirmed stays so if the process ended; if the machine did, what
//! was confirmed last, about [`MARK_BYTES`] of it, may be peeked again: the messages' tokens tell.
//! A damaged body costs its record, a damaged head the rest of its segment.

mod batch;
mod directory;
mod error;
mod mark;
mod reading;
pub mod record;
mod recovery;
pub mod segment;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Write as _};
use std::path::Path;

use crate::moment::Moment;
use batch::{Batch, Room};
use directory::{Directory, read_at};
use mark::Mark;
use reading::Page;

pub use error::SpoolError;
pub use record::{Message, OwnedMessage, OwnedRecord, Record, RecordError};
pub use recovery::Recovered;

/// Bytes of confirmed records after which the mark is made durable: what may be replayed for nothing
/// after the end of the machine, against a flush of the disk for each confirmation.
pub const MARK_BYTES: u64 = 1 << 20;

/// Length of a segment. A spool has at least 16, so that confirmed records of one that is not yet
/// removed hold little of its bound, unless they would be too small to be worth their files.
const SEGMENT_BYTES_MAX: u64 = 8 << 20;
const SEGMENT_BYTES_MIN: u64 = 4 << 10;
const SEGMENTS: u64 = 16;

/// The longest segment: that of one record alone.
const FILE_BYTES_MAX: u64 =
    (segment::HEADER_LEN + segment::HEAD_LEN + record::BODY_BYTES_MAX) as u64;
const _: () = assert!(SEGMENT_BYTES_MAX < FILE_BYTES_MAX);

/// Records in a directory, oldest first.
#[derive(Debug)]
pub struct Spool {
    directory: Directory,
    bytes_max: u64,
    segment_bytes: u64,
    /// In order; each has records that are not confirmed.
    segments: VecDeque<Segment>,
    /// The last of `segments`, if it can be written on.
    tail: Option<Tail>,
    next_number: u64,
    /// What the latest peek returned and is not confirmed.
    peeked: VecDeque<Place>,
    /// Bytes that were confirmed since the mark was last durable.
    unmarked: u64,
    oldest_at: Option<u64>,
    lost: u64,
    recovered: Recovered,
}

#[derive(Clone, Copy, Debug)]
struct Segment {
    number: u64,
    /// Where the first frame that is not confirmed begins.
    start: u64,
    /// Length of the file.
    end: u64,
    /// Records from `start` on that can be read, as far as is known.
    records: u64,
}

/// The file behind the last segment; its cursor is at the segment's end.
#[derive(Debug)]
struct Tail {
    number: u64,
    file: File,
}

/// A record that was read.
#[derive(Clone, Copy, Debug)]
struct Place {
    number: u64,
    /// Where its frame ends.
    end: u64,
    appended_at: u64,
}

impl Spool {
    /// Opens the spool of a directory, which is made if it is not there, with what an earlier run
    /// left; [`Spool::recovered`] tells. Its segments take at most `bytes_max` bytes; if they take
    /// more already, nothing is appended until they do not.
    ///
    /// # Errors
    ///
    /// The directory is in use, has segments of another version, or its files cannot be read, cut
    /// or removed.
    pub fn open(directory: &Path, bytes_max: u64) -> Result<Spool, SpoolError> {
        let directory = Directory::open(directory)?;
        let mark = directory.read_mark()?;
        let mut spool = Spool {
            directory,
            bytes_max,
            segment_bytes: (bytes_max / SEGMENTS).clamp(SEGMENT_BYTES_MIN, SEGMENT_BYTES_MAX),
            segments: VecDeque::new(),
            tail: None,
            // Above the mark, or it would be taken for one in a segment that is yet to come.
            next_number: mark.map_or(0, |mark| mark.number.saturating_add(1)),
            peeked: VecDeque::new(),
            unmarked: 0,
            oldest_at: None,
            lost: 0,
            recovered: Recovered::default(),
        };
        for number in spool.directory.segments()? {
            spool.recover(number, mark)?;
        }
        Ok(spool)
    }

    /// What was there when it was opened.
    pub fn recovered(&self) -> Recovered {
        self.recovered
    }

    /// Appends all of the records and makes them durable, or none.
    ///
    /// # Errors
    ///
    /// A record is outside its bounds, there is no room, or the disk refuses. Should it also refuse
    /// to take back what was written, then this spool does not know of it, but the next one that is
    /// opened does.
    pub fn append(&mut self, records: &[Record<'_>], now: Moment) -> Result<(), SpoolError> {
        let room = Room {
            tail: self
                .tail
                .as_ref()
                .and(self.segments.back())
                .map(|it| (it.number, it.end)),
            next_number: self.next_number,
            segment_bytes: self.segment_bytes,
        };
        let batch = Batch::new(records, now.wall_micros, room)?;
        if self.bytes().saturating_add(batch.bytes.len() as u64) > self.bytes_max {
            return Err(SpoolError::Full);
        }
        // Also if it fails: a file that could not be removed keeps its number.
        self.next_number = self.next_number.saturating_add(batch.new_segments());
        if let Err(error) = self.write(&batch) {
            self.take_back(&batch);
            return Err(error.into());
        }
        if self.is_empty() {
            self.oldest_at = (!records.is_empty()).then_some(now.wall_micros);
        }
        self.count(&batch);
        Ok(())
    }

    /// The oldest records that are not confirmed: at most so many of at most so many bytes together,
    /// but one of any length. The same again until [`Spool::confirm`].
    ///
    /// Records that turn out to be damaged since are passed over and counted ([`Spool::lost`]).
    ///
    /// # Errors
    ///
    /// The oldest cannot be read now; nothing is lost by that.
    pub fn peek(
        &mut self,
        records_max: usize,
        bytes_max: usize,
    ) -> Result<Vec<OwnedRecord>, SpoolError> {
        self.peeked.clear();
        let mut page = Page::new(records_max, bytes_max);
        for segment in &mut self.segments {
            let before = page.records.len();
            match page.read(&self.directory, segment) {
                Ok(true) => {
                    let found = (page.records.len() - before) as u64;
                    self.lost += segment.records.saturating_sub(found);
                    segment.records = found;
                }
                Err(error) if page.records.is_empty() => return Err(error.into()),
                Ok(false) | Err(_) => break,
            }
        }
        if let Some(oldest) = page.places.first() {
            self.oldest_at = Some(oldest.appended_at);
        }
        self.peeked.extend(page.places);
        // What cannot be removed has no whole record, and the next start will try again.
        let _ = self.remove_done();
        Ok(page.records)
    }

    /// Removes the oldest `count` records, at most those that the latest [`Spool::peek`] returned.
    ///
    /// # Errors
    ///
    /// A segment cannot be removed or the mark cannot be written. The records are confirmed all the
    /// same, but may be there again after a restart.
    pub fn confirm(&mut self, count: usize) -> Result<(), SpoolError> {
        let count = count.min(self.peeked.len());
        let mut mark = None;
        for place in self.peeked.drain(..count) {
            let mut segments = self.segments.iter_mut();
            if let Some(segment) = segments.find(|segment| segment.number == place.number) {
                self.unmarked += place.end - segment.start;
                segment.start = place.end;
                segment.records = segment.records.saturating_sub(1);
            }
            mark = Some(place);
        }
        let Some(last) = mark else { return Ok(()) };
        // Before the mark, which a full disk may have no room for.
        let removed = self.remove_done();
        let next = self.peeked.front().unwrap_or(&last);
        self.oldest_at = (!self.is_empty()).then_some(next.appended_at);
        self.move_mark(last)?;
        Ok(removed?)
    }

    /// Records that are not confirmed.
    pub fn len(&self) -> u64 {
        self.segments.iter().map(|segment| segment.records).sum()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.segments.is_empty()
    }

    /// Bytes of the segments, with confirmed records of those that have others.
    pub fn bytes(&self) -> u64 {
        self.segments.iter().map(|segment| segment.end).sum()
    }

    /// When the oldest record was appended, in microseconds of the wall clock. After a confirmation
    /// of all that was peeked it is the newest of those, until the next peek.
    pub fn oldest_at(&self) -> Option<u64> {
        self.oldest_at
    }

    /// Records that stood in the spool since it was opened and could not be read back.
    pub fn lost(&self) -> u64 {
        self.lost
    }

    /// Takes on what an earlier run left in a segment.
    fn recover(&mut self, number: u64, mark: Option<Mark>) -> Result<(), SpoolError> {
        self.next_number = self.next_number.max(number.saturating_add(1));
        if mark.is_some_and(|mark| number < mark.number) {
            return Ok(self.directory.remove_segment(number)?);
        }
        let file = self.directory.open_segment(number)?;
        let file_len = file.metadata()?.len();
        let mut bytes = Vec::new();
        read_at(&file, 0, FILE_BYTES_MAX, &mut bytes)?;
        let confirmed = mark
            .filter(|mark| mark.number == number)
            .map(|mark| mark.offset);
        let found = recovery::examine(number, &bytes, file_len, confirmed)?;
        self.recovered.records += found.records;
        self.recovered.lost_bytes += found.lost_bytes;
        self.recovered.damaged_segments += u64::from(found.lost_bytes > 0);
        if found.records == 0 {
            return Ok(self.directory.remove_segment(number)?);
        }
        if found.end < file_len {
            self.directory.cut_segment(number, found.end)?;
        }
        self.oldest_at = self.oldest_at.or(found.oldest_at);
        self.segments.push_back(Segment {
            number,
            start: found.start,
            end: found.end,
            records: found.records,
        });
        Ok(())
    }

    fn write(&mut self, batch: &Batch) -> io::Result<()> {
        for piece in &batch.pieces {
            if piece.is_new {
                self.tail = Some(Tail {
                    number: piece.number,
                    file: self.directory.create_segment(piece.number)?,
                });
            }
            if let Some(tail) = &mut self.tail {
                tail.file.write_all(&batch.bytes[piece.range.clone()])?;
                tail.file.sync_data()?;
            }
        }
        if batch.new_segments() > 0 {
            self.directory.sync()?;
        }
        Ok(())
    }

    /// Undoes what was written of a batch. The segment is not written on: after a failed flush
    /// nobody knows what of it is on the disk and will be.
    fn take_back(&mut self, batch: &Batch) {
        self.tail = None;
        for piece in &batch.pieces {
            let before = self.segments.back().filter(|_| !piece.is_new);
            let result = match before {
                Some(segment) => self.directory.cut_segment(segment.number, segment.end),
                None => self.directory.remove_segment(piece.number),
            };
            // The error to tell is the one before; what is left lies behind the segment's end.
            let _ = result;
        }
    }

    fn count(&mut self, batch: &Batch) {
        for piece in &batch.pieces {
            if piece.is_new {
                self.segments.push_back(Segment {
                    number: piece.number,
                    start: segment::HEADER_LEN as u64,
                    end: 0,
                    records: 0,
                });
            }
            if let Some(segment) = self.segments.back_mut() {
                segment.end += piece.range.len() as u64;
                segment.records += piece.records;
            }
        }
    }

    /// Removes segments without records; the first error is told when all have been tried.
    fn remove_done(&mut self) -> io::Result<()> {
        let (directory, mut result) = (&self.directory, Ok(()));
        self.segments.retain(|segment| {
            if segment.records == 0 {
                let removed = directory.remove_segment(segment.number);
                if result.is_ok() {
                    result = removed;
                }
            }
            segment.records > 0
        });
        let last = self.segments.back().map(|segment| segment.number);
        self.tail.take_if(|tail| Some(tail.number) != last);
        if last.is_none() {
            self.oldest_at = None;
        }
        result
    }

    fn move_mark(&mut self, confirmed: Place) -> io::Result<()> {
        let mark = Mark {
            number: confirmed.number,
            offset: confirmed.end,
        };
        let is_durable = self.unmarked >= MARK_BYTES;
        self.directory.write_mark(mark, is_durable)?;
        if is_durable {
            self.unmarked = 0;
        }
        Ok(())
    }
}
