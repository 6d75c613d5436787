//! Reading the oldest records back, a stretch of a segment at a time.

use std::io::{self, ErrorKind};

use super::directory::{Directory, read_at};
use super::record::OwnedRecord;
use super::segment::{Frame, Frames};
use super::{Place, Segment};

/// What is read at once; more only if a record is longer.
const STRETCH_BYTES: u64 = 64 << 10;

/// Records that were read, up to a number of them and of their bytes.
#[derive(Debug)]
pub(super) struct Page {
    pub(super) records: Vec<OwnedRecord>,
    /// One for each record.
    pub(super) places: Vec<Place>,
    records_max: usize,
    bytes_left: usize,
    /// Something was left out.
    is_full: bool,
}

impl Page {
    pub(super) fn new(records_max: usize, bytes_max: usize) -> Page {
        Page {
            records: Vec::new(),
            places: Vec::new(),
            records_max,
            bytes_left: bytes_max,
            is_full: records_max == 0,
        }
    }

    /// Takes on the records of a segment; true if it has no more than those.
    pub(super) fn read(&mut self, directory: &Directory, segment: &Segment) -> io::Result<bool> {
        let file = match directory.open_segment(segment.number) {
            // Somebody removed it, and everything in it.
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(true),
            result => result?,
        };
        let (mut from, mut stretch, mut bytes) = (segment.start, STRETCH_BYTES, Vec::new());
        // Each turn goes on in the segment or doubles what is read of it, until it ends.
        loop {
            let len = stretch.min(segment.end.saturating_sub(from));
            read_at(&file, from, len, &mut bytes)?;
            let mut frames = Frames::new(&bytes);
            self.take_all(&mut frames, segment.number, from);
            if self.is_full {
                return Ok(false);
            }
            let is_last = from + len >= segment.end || (bytes.len() as u64) < len;
            if is_last || frames.is_stuck() {
                return Ok(true);
            }
            from += frames.used() as u64;
            stretch = if frames.used() == 0 {
                stretch.saturating_mul(2)
            } else {
                STRETCH_BYTES
            };
        }
    }

    fn take_all(&mut self, frames: &mut Frames<'_>, number: u64, from: u64) {
        let mut used = frames.used();
        while !self.is_full
            && let Some(frame) = frames.next()
        {
            // A damaged frame before this one counts as if it were part of it.
            let len = frames.used() - used;
            used = frames.used();
            let place = Place {
                number,
                end: from + used as u64,
                appended_at: frame.appended_at,
            };
            self.take(&frame, len, place);
        }
    }

    /// The first is taken however long it is: something must go on.
    fn take(&mut self, frame: &Frame<'_>, len: usize, place: Place) {
        let fits = self.records.is_empty() || len <= self.bytes_left;
        if self.records.len() >= self.records_max || !fits {
            self.is_full = true;
            return;
        }
        self.bytes_left = self.bytes_left.saturating_sub(len);
        self.records.push(frame.record.to_owned(frame.appended_at));
        self.places.push(place);
    }
}
