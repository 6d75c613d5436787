//! One raw connection that is read in steps and may be broken off at any moment.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use crate::http::{find, parse_head};
use crate::secrets;
use crate::{DEADLINE, Response};

/// A connection and what has come on it and was not yet taken.
pub struct Link {
    stream: TcpStream,
    address: SocketAddr,
    /// Bytes received and not yet taken.
    pub buffer: Vec<u8>,
}

/// What a wait for bytes brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Filled {
    /// More bytes are in the buffer.
    Some,
    /// Nothing came in the time given.
    Nothing,
    /// The connection has ended, also when it was reset.
    End,
}

/// How a client breaks its connection off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// The peer sees a reset.
    Reset,
    /// The descriptor is closed: the peer sees a FIN, and a reset if it had sent something unread.
    Close,
    /// Only the sending side is closed, and what still comes is read.
    Finish,
}

impl Link {
    /// Connects to the server.
    pub fn open(address: SocketAddr) -> Self {
        Self::try_open(address).expect("the server accepts")
    }

    /// Connects to the server; `None` when it does not accept.
    pub fn try_open(address: SocketAddr) -> Option<Self> {
        let stream = TcpStream::connect_timeout(&address, DEADLINE).ok()?;
        stream
            .set_nodelay(true)
            .expect("a TCP socket has this option");
        stream
            .set_write_timeout(Some(DEADLINE))
            .expect("the timeout is not zero");
        Some(Link {
            stream,
            address,
            buffer: Vec::new(),
        })
    }

    /// The socket, for options.
    pub fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// Where the server listens, for `Host`.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Sends bytes as far as the server takes them; whether it closed is found at reading.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        secrets::note_sent(bytes.as_ref());
        // An error here means that the server has closed, which the next read finds.
        let _ = self.stream.write_all(bytes.as_ref());
    }

    /// Waits for more bytes, at most until `until`, but looks once in any case.
    pub fn fill(&mut self, until: Instant) -> Filled {
        let remaining = until.saturating_duration_since(Instant::now());
        let set = self
            .stream
            .set_read_timeout(Some(remaining.max(Duration::from_millis(1))));
        set.expect("the timeout is not zero");
        let mut chunk = [0; 16 * 1024];
        match self.stream.read(&mut chunk) {
            Ok(0) => Filled::End,
            Ok(count) => {
                self.buffer.extend_from_slice(&chunk[..count]);
                Filled::Some
            }
            Err(error)
                if matches!(
                    error.kind(),
                    ErrorKind::Interrupted | ErrorKind::WouldBlock | ErrorKind::TimedOut
                ) =>
            {
                Filled::Nothing
            }
            Err(_) => Filled::End,
        }
    }

    /// Takes the head of an answer, once it is complete.
    pub fn take_head(&mut self) -> Option<Response> {
        let end = find(&self.buffer, b"\r\n\r\n")?;
        let head: Vec<u8> = self.buffer.drain(..end + 4).collect();
        Some(parse_head(&head[..end]))
    }

    /// Takes a whole answer, once it is complete; its length must be announced.
    ///
    /// # Panics
    ///
    /// When it has no `Content-Length`.
    pub fn take_response(&mut self) -> Option<Response> {
        let end = find(&self.buffer, b"\r\n\r\n")? + 4;
        let mut response = parse_head(&self.buffer[..end - 4]);
        let length = response.header("content-length");
        let length: usize = length
            .and_then(|length| length.parse().ok())
            .unwrap_or_else(|| panic!("no length: {response:?}"));
        response.body = self.buffer.get(end..end + length)?.to_vec();
        self.buffer.drain(..end + length);
        Some(response)
    }

    /// Closes the sending side.
    pub fn finish(&self) {
        // The server may have closed before.
        let _ = self.stream.shutdown(Shutdown::Write);
    }

    /// Vanishes without a word: the peer sees a reset.
    pub fn reset(self) {
        let socket = socket2::SockRef::from(&self.stream);
        socket
            .set_linger(Some(Duration::ZERO))
            .expect("a TCP socket has this option");
    }
}
