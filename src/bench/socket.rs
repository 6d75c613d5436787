//! A non-blocking client socket with the bytes that wait in either direction.

use std::io::{self, Read, Write};

use mio::net::TcpStream;

use super::Outcome;

/// A connection.
pub struct Socket {
    stream: TcpStream,
    /// Bytes to send; those before `sent` have gone.
    outgoing: Vec<u8>,
    sent: usize,
    /// The beginning of something of which the rest has not come yet.
    partial: Vec<u8>,
}

impl Socket {
    /// Takes over a connected stream. `partial` is what was read from it and not used.
    ///
    /// # Errors
    /// Those of fcntl(2).
    pub fn new(stream: std::net::TcpStream, partial: Vec<u8>) -> Outcome<Self> {
        stream.set_nonblocking(true)?;
        let stream = TcpStream::from_std(stream);
        Ok(Self {
            stream,
            outgoing: Vec::new(),
            sent: 0,
            partial,
        })
    }

    /// What is registered with a selector.
    pub fn stream(&mut self) -> &mut TcpStream {
        &mut self.stream
    }

    /// Bytes to send; `flush` sends them.
    pub fn outgoing(&mut self) -> &mut Vec<u8> {
        &mut self.outgoing
    }

    /// Sends until all is gone or the socket takes no more.
    ///
    /// # Errors
    /// When the peer has gone.
    pub fn flush(&mut self) -> Outcome<()> {
        while self.sent < self.outgoing.len() {
            match self.stream.write(&self.outgoing[self.sent..]) {
                Ok(count) => self.sent += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        self.outgoing.clear();
        self.sent = 0;
        Ok(())
    }

    /// Reads all there is. `consume` gets the bytes and says how many it took; the rest is kept for the next
    /// call.
    ///
    /// # Errors
    /// Those of `consume`, and an error when the peer has closed.
    pub fn receive(
        &mut self,
        scratch: &mut [u8],
        mut consume: impl FnMut(&[u8]) -> Outcome<usize>,
    ) -> Outcome<()> {
        loop {
            let count = match self.stream.read(scratch) {
                Ok(0) => return Err("the server closed the connection".into()),
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error.into()),
            };
            if self.partial.is_empty() {
                let used = consume(&scratch[..count])?;
                self.partial.extend_from_slice(&scratch[used..count]);
            } else {
                self.partial.extend_from_slice(&scratch[..count]);
                let used = consume(&self.partial)?;
                self.partial.drain(..used);
            }
            if count < scratch.len() {
                return Ok(());
            }
        }
    }
}
