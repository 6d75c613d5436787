//! Records that are appended together, and which of their bytes go to which segment.

use std::ops::Range;

use super::record::{Record, RecordError};
use super::segment::{self, HEAD_LEN};

/// Where records may go.
#[derive(Clone, Copy, Debug)]
pub(super) struct Room {
    /// Number and length of the segment that is written, if there is one.
    pub(super) tail: Option<(u64, u64)>,
    /// Number of the next segment; those after it follow on.
    pub(super) next_number: u64,
    /// Length that a segment passes only for the sake of its first record.
    pub(super) segment_bytes: u64,
}

/// All that is to be written.
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) bytes: Vec<u8>,
    /// In order and side by side; each has at least one record.
    pub(super) pieces: Vec<Piece>,
}

/// What goes to one segment.
#[derive(Debug)]
pub(super) struct Piece {
    pub(super) number: u64,
    /// Whether the segment begins with it.
    pub(super) is_new: bool,
    /// Of the batch's bytes.
    pub(super) range: Range<usize>,
    pub(super) records: u64,
}

impl Batch {
    /// Puts each record where there is room for it.
    pub(super) fn new(
        records: &[Record<'_>],
        appended_at: u64,
        room: Room,
    ) -> Result<Batch, RecordError> {
        let mut batch = Batch {
            bytes: Vec::new(),
            pieces: Vec::new(),
        };
        let mut next_number = room.next_number;
        // The segment that the next record goes to if it fits, and its length.
        let mut last = room.tail;
        for record in records {
            let len = (HEAD_LEN + record.encoded_len()?) as u64;
            let (number, before) = match last {
                Some((number, before)) if before + len <= room.segment_bytes => (number, before),
                _ => {
                    let number = next_number;
                    next_number = next_number.saturating_add(1);
                    (number, batch.begin_segment(number))
                }
            };
            batch.push(number, record, appended_at)?;
            last = Some((number, before + len));
        }
        Ok(batch)
    }

    /// Segments that begin with it.
    pub(super) fn new_segments(&self) -> u64 {
        self.pieces
            .iter()
            .map(|piece| u64::from(piece.is_new))
            .sum()
    }

    /// The length of the segment so far.
    fn begin_segment(&mut self, number: u64) -> u64 {
        let start = self.bytes.len();
        segment::encode_header(number, &mut self.bytes);
        self.pieces.push(Piece {
            number,
            is_new: true,
            range: start..self.bytes.len(),
            records: 0,
        });
        (self.bytes.len() - start) as u64
    }

    fn push(
        &mut self,
        number: u64,
        record: &Record<'_>,
        appended_at: u64,
    ) -> Result<(), RecordError> {
        let start = self.bytes.len();
        segment::encode(record, appended_at, &mut self.bytes)?;
        match self.pieces.last_mut() {
            Some(piece) if piece.number == number => {
                piece.range.end = self.bytes.len();
                piece.records += 1;
            }
            _ => self.pieces.push(Piece {
                number,
                is_new: false,
                range: start..self.bytes.len(),
                records: 1,
            }),
        }
        Ok(())
    }
}
