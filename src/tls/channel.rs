//! One TLS connection between a socket that does not block and what is said on it.
//!
//! ```text
//!   socket ──ciphertext──► read ──plaintext──► worker
//!   socket ◄─ciphertext── write ◄─plaintext── worker      what the socket does not take waits here,
//!                                                         at most CHANNEL_BYTES_MAX
//! ```

use std::io::{self, IoSlice, Read, Write};
use std::sync::Arc;

use rustls::{ServerConfig, ServerConnection};

/// Bytes that wait for the socket, encrypted or, during the handshake, plain; more are not taken.
pub const CHANNEL_BYTES_MAX: usize = 64 * 1024;

/// What an idle connection takes at least beside what waits, in bytes: the state of its ciphers, and
/// the smallest buffer for a record.
pub const CHANNEL_BYTES_IDLE: usize = 8 * 1024;

/// Times that one read asks the socket, each for some kilobytes: a client may send records without
/// end that hold nothing.
const STEPS_PER_READ: usize = 32;

/// A client's TLS connection without its socket.
#[derive(Debug)]
pub struct Channel {
    tls: ServerConnection,
    /// The last read stopped before the socket was empty or its end was told.
    has_more: bool,
    /// Bytes were taken that are sent when the handshake is over.
    has_held: bool,
}

impl Channel {
    /// A connection whose handshake has not begun.
    ///
    /// # Errors
    /// When the configuration has no version or cipher that could be offered.
    pub fn new(config: Arc<ServerConfig>) -> Result<Channel, rustls::Error> {
        let mut tls = ServerConnection::new(config)?;
        tls.set_buffer_limit(Some(CHANNEL_BYTES_MAX));
        Ok(Channel {
            tls,
            has_more: false,
            has_held: false,
        })
    }

    /// Whether the client still has to finish the handshake.
    pub fn is_handshaking(&self) -> bool {
        self.tls.is_handshaking()
    }

    /// Whether bytes wait for the socket, for which [`Channel::flush`] is due when it takes some, or
    /// for the end of the handshake.
    pub fn has_unsent(&self) -> bool {
        self.tls.wants_write() || (self.has_held && self.is_handshaking())
    }

    /// Whether another read is due without an event, because the last one ended early, whatever it
    /// returned.
    pub fn has_more(&self) -> bool {
        self.has_more
    }

    /// Reads until the buffer is full or the socket empty; writes what the handshake answers.
    /// `Ok(0)` is the end, told by the client or by its socket alone: what is said inside knows
    /// by itself whether it is whole.
    ///
    /// # Errors
    /// `WouldBlock` if nothing has come; `InvalidData` for what is no TLS, after the alert for it;
    /// those of the socket.
    pub fn read(
        &mut self,
        socket: &mut (impl Read + Write),
        buffer: &mut [u8],
    ) -> io::Result<usize> {
        let (mut filled, mut steps) = (0, 0);
        let mut is_blocked = false;
        let result = loop {
            match self.tls.reader().read(&mut buffer[filled..]) {
                Ok(0) => break Ok(()),
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => break Ok(()),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if steps == STEPS_PER_READ {
                        break Err(error);
                    }
                    steps += 1;
                    if let Err(error) = self.take_in(socket) {
                        is_blocked = error.kind() == io::ErrorKind::WouldBlock;
                        break Err(error);
                    }
                }
                Err(error) => break Err(error),
            }
            if filled == buffer.len() {
                break Ok(());
            }
        };
        // An end or an error behind bytes is told by the next read.
        self.has_more = !is_blocked && (filled > 0 || steps == STEPS_PER_READ);
        if filled > 0 {
            Ok(filled)
        } else {
            result.map(|()| 0)
        }
    }

    /// Takes one step's ciphertext from the socket.
    fn take_in(&mut self, socket: &mut (impl Read + Write)) -> io::Result<()> {
        self.tls.read_tls(socket)?;
        let processed = self.tls.process_new_packets();
        // The handshake's answer, or the alert that says what was wrong.
        let flushed = self.flush(socket);
        processed.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        flushed.map(|_| ())
    }

    /// Encrypts bytes and writes them. What was taken may still wait: see [`Channel::has_unsent`].
    ///
    /// # Errors
    /// `WouldBlock` if nothing was taken; those of the socket.
    pub fn write(&mut self, socket: &mut impl Write, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        self.flush(socket)?;
        if self.tls.wants_write() {
            // The room that is left would only make small records.
            return taken_or_blocked(0);
        }
        let mut taken = 0;
        for slice in slices {
            let mut left = &slice[..];
            while !left.is_empty() {
                let count = self.tls.writer().write(left)?;
                taken += count;
                left = &left[count..];
                self.has_held |= count > 0 && self.is_handshaking();
                if count == 0 {
                    self.flush(socket)?;
                    if self.has_unsent() || self.is_handshaking() {
                        return taken_or_blocked(taken);
                    }
                }
            }
        }
        self.flush(socket)?;
        Ok(taken)
    }

    /// Writes what waits, as far as the socket takes it: so many bytes.
    ///
    /// # Errors
    /// Those of the socket, but for `WouldBlock` and `Interrupted`.
    pub fn flush(&mut self, socket: &mut impl Write) -> io::Result<usize> {
        let mut sent = 0;
        while self.tls.wants_write() {
            match self.tls.write_tls(socket) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => sent += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        Ok(sent)
    }

    /// Tells the client that nothing more comes (RFC 8446 section 6.1).
    ///
    /// # Errors
    /// Those of the socket.
    pub fn close(&mut self, socket: &mut impl Write) -> io::Result<()> {
        self.tls.send_close_notify();
        self.flush(socket).map(|_| ())
    }
}

fn taken_or_blocked(taken: usize) -> io::Result<usize> {
    match taken {
        0 => Err(io::ErrorKind::WouldBlock.into()),
        _ => Ok(taken),
    }
}

#[cfg(test)]
mod tests;
