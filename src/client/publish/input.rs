//! Standard input, line by line, without waiting for more lines than are there.

use std::collections::VecDeque;
use std::io::{self, BufRead, BufReader, Read};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use crate::client::failure::{Failure, FailureKind};

/// Most lines of a bulk (SPEC section 3).
const LINES_MAX: usize = 100;
/// Bytes of lines that are held, unless one line is longer.
const HELD_BYTES_MAX: usize = 512 << 10;
/// Longest line: no server takes a longer message.
const LINE_BYTES_MAX: usize = 64 << 20;

/// A line with its number, from 1.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) number: u64,
    /// The bytes without the end of the line; `None` if there were too many.
    pub(super) text: Option<Vec<u8>>,
}

/// Lines that were read and not yet taken: a bulk at most. A thread reads ahead.
#[derive(Clone, Debug, Default)]
pub(super) struct Feed {
    shared: Arc<(Mutex<Held>, Condvar)>,
}

#[derive(Debug, Default)]
struct Held {
    lines: VecDeque<Line>,
    bytes: usize,
    has_ended: bool,
    trouble: Option<String>,
}

impl Feed {
    pub(super) fn of_stdin() -> Result<Feed, Failure> {
        let feed = Feed::default();
        let reader = feed.clone();
        let read = move || reader.read(BufReader::with_capacity(64 << 10, io::stdin()));
        let spawned = thread::Builder::new().name("stdin".to_owned()).spawn(read);
        spawned.map_err(|error| Failure::new(FailureKind::Failed, error))?;
        Ok(feed)
    }

    /// All lines that are there: one at least, a bulk at most. `None` at the end.
    pub(super) fn take(&self) -> Option<Vec<Line>> {
        let changed = &self.shared.1;
        let is_waiting = |held: &mut Held| held.lines.is_empty() && !held.has_ended;
        let waited = changed.wait_while(self.lock(), is_waiting);
        let mut held = waited.unwrap_or_else(PoisonError::into_inner);
        held.bytes = 0;
        let lines: Vec<Line> = held.lines.drain(..).collect();
        changed.notify_all();
        (!lines.is_empty()).then_some(lines)
    }

    /// Why there are no more lines, unless that was their end.
    pub(super) fn trouble(&self) -> Option<String> {
        self.lock().trouble.clone()
    }

    fn read(&self, mut input: impl BufRead) {
        for number in 1.. {
            match line(&mut input) {
                Ok(Some(text)) => self.put(Line { number, text }),
                ended => {
                    let mut held = self.lock();
                    held.has_ended = true;
                    held.trouble = ended.err().map(|error| error.to_string());
                    self.shared.1.notify_all();
                    return;
                }
            }
        }
    }

    fn put(&self, line: Line) {
        let changed = &self.shared.1;
        let is_full =
            |held: &mut Held| held.lines.len() >= LINES_MAX || held.bytes >= HELD_BYTES_MAX;
        let waited = changed.wait_while(self.lock(), is_full);
        let mut held = waited.unwrap_or_else(PoisonError::into_inner);
        held.bytes += line.text.as_ref().map_or(0, Vec::len);
        held.lines.push_back(line);
        changed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, Held> {
        // Nothing is half done when a panic lets go of it.
        self.shared.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The next line: `None` at the end, `Some(None)` if it was too long.
fn line(input: &mut impl BufRead) -> io::Result<Option<Option<Vec<u8>>>> {
    let mut text = Vec::new();
    input
        .by_ref()
        .take(LINE_BYTES_MAX as u64)
        .read_until(b'\n', &mut text)?;
    if text.is_empty() {
        return Ok(None);
    }
    if text.len() == LINE_BYTES_MAX && text.last() != Some(&b'\n') {
        skip(input)?;
        return Ok(Some(None));
    }
    if text.last() == Some(&b'\n') {
        text.pop();
    }
    Ok(Some(Some(text)))
}

/// Reads to the end of the line and keeps nothing.
fn skip(input: &mut impl BufRead) -> io::Result<()> {
    loop {
        let buffer = input.fill_buf()?;
        let end = memchr::memchr(b'\n', buffer);
        let len = end.map_or(buffer.len(), |end| end + 1);
        let is_over = end.is_some() || len == 0;
        input.consume(len);
        if is_over {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_have_numbers_and_come_in_bulks() {
        let text: String = (1..=250).map(|n| format!("{n}\n")).collect();
        let feed = Feed::default();
        let reader = feed.clone();
        let reading = thread::spawn(move || reader.read((text + "end").as_bytes()));
        let mut numbers = Vec::new();
        while let Some(lines) = feed.take() {
            assert!(lines.len() <= LINES_MAX);
            numbers.extend(lines.iter().map(|line| line.number));
            let last = lines.last().unwrap().text.clone().unwrap();
            let number = numbers.last().unwrap().to_string();
            assert_eq!(
                last,
                if number == "251" { "end" } else { &number }.as_bytes()
            );
        }
        reading.join().unwrap();
        assert_eq!(numbers, (1..=251).collect::<Vec<u64>>());
        assert_eq!(feed.trouble(), None);
    }

    #[test]
    fn a_line_that_is_too_long_is_skipped() {
        let front = io::repeat(b'x').take(LINE_BYTES_MAX as u64 + 5);
        let mut input = BufReader::new(front.chain(&b"\nnext\n"[..]));
        assert_eq!(line(&mut input).unwrap(), Some(None));
        assert_eq!(line(&mut input).unwrap(), Some(Some(b"next".to_vec())));
        assert_eq!(line(&mut input).unwrap(), None);
    }
}
