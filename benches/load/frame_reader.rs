//! Reads a WebSocket frame by frame, waiting for each: for what needs no speed.

use std::io::{ErrorKind, Read};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::Outcome;
use pulsar_proxy::bench::wire::{self, decode_frame};

/// Reads frame by frame from a blocking stream.
pub(crate) struct FrameReader {
    stream: TcpStream,
    input: Vec<u8>,
    /// Bytes of `input` that have been shown.
    used: usize,
    deadline: Instant,
}

impl FrameReader {
    /// `input` was read from the stream already. All frames must have come within `timeout`.
    pub(crate) fn new(stream: TcpStream, input: Vec<u8>, timeout: Duration) -> Outcome<Self> {
        stream.set_read_timeout(Some(timeout))?;
        Ok(Self {
            stream,
            input,
            used: 0,
            deadline: Instant::now() + timeout,
        })
    }

    /// Waits for one frame and shows it.
    ///
    /// # Errors
    /// Those of `show`, the end of the connection, and the deadline.
    pub(crate) fn next<T>(
        &mut self,
        mut show: impl FnMut(wire::Frame<'_>) -> Outcome<T>,
    ) -> Outcome<T> {
        let mut chunk = [0; 65536];
        loop {
            if let Some((frame, count)) = decode_frame(&self.input[self.used..])? {
                self.used += count;
                return show(frame);
            }
            self.input.drain(..self.used);
            self.used = 0;
            if Instant::now() > self.deadline {
                return Err("waited too long for a frame".into());
            }
            match self.stream.read(&mut chunk) {
                Ok(0) => return Err("end of stream".into()),
                Ok(count) => self.input.extend_from_slice(&chunk[..count]),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}
