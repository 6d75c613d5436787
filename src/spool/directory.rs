//! The directory of a spool and the files in it; what is in the files, others know.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use super::error::SpoolError;
use super::mark::{self, Mark};

const LOCK: &str = "lock";
const MARK: &str = "confirmed";
const NEW_MARK: &str = "confirmed.new";
const SEGMENT_SUFFIX: &str = ".segment";
/// Digits of a segment's number in its name, so that names have the order of numbers.
const DIGITS: usize = 16;

/// Messages are their publishers' secrets: nobody else on the machine may read them.
const DIRECTORY_MODE: u32 = 0o700;
const FILE_MODE: u32 = 0o600;

/// A directory that nobody else uses while this lives.
#[derive(Debug)]
pub(super) struct Directory {
    /// Absolute, since the program may change its own directory.
    path: PathBuf,
    /// For `fsync`, which makes new and changed names durable.
    handle: File,
    /// Locked; the lock goes with the handle.
    _lock: File,
}

impl Directory {
    /// Makes the directory if it is not there, and locks it.
    pub(super) fn open(path: &Path) -> Result<Directory, SpoolError> {
        let is_new = !path.exists();
        DirBuilder::new()
            .recursive(true)
            .mode(DIRECTORY_MODE)
            .create(path)?;
        let path = fs::canonicalize(path)?;
        if is_new && let Some(parent) = path.parent() {
            File::open(parent)?.sync_all()?;
        }
        let lock = writing()
            .create(true)
            .truncate(false)
            .open(path.join(LOCK))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(SpoolError::Locked),
            Err(TryLockError::Error(error)) => return Err(error.into()),
        }
        Ok(Directory {
            handle: File::open(&path)?,
            path,
            _lock: lock,
        })
    }

    /// The segments that are there, in order. Files of other names are not ours.
    pub(super) fn segments(&self) -> io::Result<Vec<u64>> {
        let mut numbers = Vec::new();
        for entry in fs::read_dir(&self.path)? {
            numbers.extend(entry?.file_name().to_str().and_then(segment_number));
        }
        numbers.sort_unstable();
        Ok(numbers)
    }

    /// A new segment, to be written; its name is durable after [`Directory::sync`].
    pub(super) fn create_segment(&self, number: u64) -> io::Result<File> {
        writing().create_new(true).open(self.segment(number))
    }

    /// A segment, to be read.
    pub(super) fn open_segment(&self, number: u64) -> io::Result<File> {
        File::open(self.segment(number))
    }

    /// Cuts off what a segment has behind its first `len` bytes.
    pub(super) fn cut_segment(&self, number: u64, len: u64) -> io::Result<()> {
        writing().open(self.segment(number))?.set_len(len)
    }

    /// Removes a segment if it is there.
    pub(super) fn remove_segment(&self, number: u64) -> io::Result<()> {
        match fs::remove_file(self.segment(number)) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            result => result,
        }
    }

    /// Makes durable what was created, renamed and removed.
    pub(super) fn sync(&self) -> io::Result<()> {
        self.handle.sync_all()
    }

    /// The mark, if there is one that can be read.
    pub(super) fn read_mark(&self) -> io::Result<Option<Mark>> {
        let file = match File::open(self.path.join(MARK)) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            result => result?,
        };
        let mut bytes = Vec::new();
        file.take(mark::LEN as u64 + 1).read_to_end(&mut bytes)?;
        Ok(Mark::decode(&bytes))
    }

    /// Replaces the mark. It survives the end of the process in any case, and that of the machine
    /// if it `is_durable`; otherwise the machine may leave an older or a damaged one.
    pub(super) fn write_mark(&self, mark: Mark, is_durable: bool) -> io::Result<()> {
        let new = self.path.join(NEW_MARK);
        let mut file = writing().create(true).truncate(true).open(&new)?;
        file.write_all(&mark.encode())?;
        if is_durable {
            file.sync_data()?;
        }
        fs::rename(new, self.path.join(MARK))?;
        if is_durable { self.sync() } else { Ok(()) }
    }

    fn segment(&self, number: u64) -> PathBuf {
        self.path
            .join(format!("{number:0DIGITS$x}{SEGMENT_SUFFIX}"))
    }
}

/// Reads at most `len` bytes from a place on; fewer at the end of the file. `out` is cleared.
pub(super) fn read_at(mut file: &File, from: u64, len: u64, out: &mut Vec<u8>) -> io::Result<()> {
    out.clear();
    file.seek(SeekFrom::Start(from))?;
    file.take(len).read_to_end(out)?;
    Ok(())
}

fn writing() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true).mode(FILE_MODE);
    options
}

fn segment_number(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(SEGMENT_SUFFIX)?;
    let is_ours = |digit: u8| matches!(digit, b'0'..=b'9' | b'a'..=b'f');
    let is_number = digits.len() == DIGITS && digits.bytes().all(is_ours);
    is_number.then(|| u64::from_str_radix(digits, 16).ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_the_order_of_numbers() {
        assert_eq!(segment_number("00000000000000ff.segment"), Some(255));
        for name in [
            "ff.segment",
            "00000000000000FF.segment",
            "+0000000000000ff.segment",
            "00000000000000ff.segment.new",
            "00000000000000ff",
        ] {
            assert_eq!(segment_number(name), None, "{name}");
        }
    }
}
