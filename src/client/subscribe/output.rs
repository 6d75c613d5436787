//! Standard output: a line for each message.

use std::io::{self, BufWriter, ErrorKind, Stdout, Write};

use serde_json::value::RawValue;

use super::Stop;
use super::conversation::Frame;
use crate::client::failure::{Failure, FailureKind};
use crate::client::harmless::harmless;

/// Bytes that are written at once.
const BUFFER_BYTES: usize = 64 << 10;

/// Writes lines, and counts them.
#[derive(Debug)]
pub(super) struct Output {
    out: BufWriter<Stdout>,
    is_json: bool,
    left: Option<u64>,
}

impl Output {
    pub(super) fn new(is_json: bool, count: Option<u64>) -> Output {
        Output {
            out: BufWriter::with_capacity(BUFFER_BYTES, io::stdout()),
            is_json,
            left: count,
        }
    }

    /// Whether as many were written as were asked for.
    pub(super) fn is_enough(&self) -> bool {
        self.left == Some(0)
    }

    /// How many are still to be written.
    pub(super) fn left(&self) -> Option<u64> {
        self.left
    }

    /// Writes a message, of which `text` is the whole.
    pub(super) fn message(&mut self, frame: &Frame<'_>, text: &str) -> Result<(), Stop> {
        self.left = self.left.map(|left| left.saturating_sub(1));
        if self.is_json {
            return self.line(text);
        }
        let time = frame.timestamp.as_deref().unwrap_or_default();
        let topic = frame.topic.as_deref().unwrap_or_default();
        let payload = frame.payload.map_or("", RawValue::get);
        let line = match frame.metadata.map(RawValue::get) {
            None | Some("null") => format!("{time} {topic} {payload}"),
            Some(metadata) => format!("{time} {topic} {payload} {metadata}"),
        };
        self.line(&harmless(&line))
    }

    /// Writes a gap where programs read; whether it was written.
    pub(super) fn gap(&mut self, text: &str) -> Result<bool, Stop> {
        if self.is_json {
            self.line(text)?;
        }
        Ok(self.is_json)
    }

    /// Hands on what was written.
    pub(super) fn flush(&mut self) -> Result<(), Stop> {
        self.out.flush().map_err(|error| closed(&error))
    }

    /// The same at the end, when it is no failure that nobody reads.
    pub(super) fn finish(&mut self) -> Result<(), Failure> {
        match self.flush() {
            Err(Stop::Failed(failure)) => Err(failure),
            _ => Ok(()),
        }
    }

    fn line(&mut self, text: &str) -> Result<(), Stop> {
        let written = self.out.write_all(text.as_bytes());
        let written = written.and_then(|()| self.out.write_all(b"\n"));
        written.map_err(|error| closed(&error))
    }
}

fn closed(error: &io::Error) -> Stop {
    match error.kind() {
        ErrorKind::BrokenPipe => Stop::Done,
        _ => Stop::Failed(Failure::new(
            FailureKind::Failed,
            format!("standard output: {error}"),
        )),
    }
}
