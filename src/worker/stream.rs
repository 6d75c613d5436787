//! A client's socket, and what some have between it and their session: TLS, or the word of a balancer.

use std::io::{self, IoSlice, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Shutdown};
use std::sync::Arc;
use std::time::Duration;

use mio::net::{TcpStream, UnixStream};
use mio::{Interest, Registry, Token};
use rustls::ServerConfig;
use socket2::SockRef;

use crate::edge::proxy_protocol::{self, HEADER_BYTES_MAX, Header};
use crate::tls::{CHANNEL_BYTES_IDLE, CHANNEL_BYTES_MAX, Channel};

/// Bytes to and from a client. A plain TCP connection has nothing but its descriptor.
#[derive(Debug)]
pub(super) struct Stream {
    socket: TcpStream,
    layer: Option<Box<Layer>>,
}

#[derive(Default, Debug)]
struct Layer {
    tls: Option<Channel>,
    /// Who is at the other end, where the socket does not tell.
    client: Option<IpAddr>,
    /// A balancer has still to say whose connection it is.
    awaits_header: bool,
}

impl Stream {
    /// Bytes as they are.
    pub(super) fn plain(socket: TcpStream) -> Stream {
        // Nagle's algorithm would hold small frames back; where it cannot be turned off (the peer
        // has gone already) the next read tells.
        let _ = socket.set_nodelay(true);
        Stream {
            socket,
            layer: None,
        }
    }

    /// From a process of the same machine, which counts as 127.0.0.1.
    ///
    /// To read from, write to and shut down a Unix socket takes the same system calls as a TCP one.
    pub(super) fn local(socket: UnixStream) -> Stream {
        let descriptor = std::os::fd::OwnedFd::from(std::os::unix::net::UnixStream::from(socket));
        Stream {
            socket: TcpStream::from_std(descriptor.into()),
            layer: Some(Box::new(Layer {
                client: Some(Ipv4Addr::LOCALHOST.into()),
                ..Layer::default()
            })),
        }
    }

    /// Bytes in TLS.
    ///
    /// # Errors
    /// When the configuration offers nothing.
    pub(super) fn with_tls(mut self, config: Arc<ServerConfig>) -> Result<Stream, rustls::Error> {
        self.layer.get_or_insert_default().tls = Some(Channel::new(config)?);
        Ok(self)
    }

    /// Bytes behind a balancer's word of whose connection it is.
    pub(super) fn behind_header(mut self) -> Stream {
        self.layer.get_or_insert_default().awaits_header = true;
        self
    }

    /// Puts the socket into a selector.
    ///
    /// # Errors
    /// Those of the selector.
    pub(super) fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        let interest = Interest::READABLE | Interest::WRITABLE;
        registry.register(&mut self.socket, token, interest)
    }

    /// Takes the socket out of its selector.
    pub(super) fn deregister(&mut self, registry: &Registry) {
        // It is closed next, which takes it out all the same.
        let _ = registry.deregister(&mut self.socket);
    }

    /// Whether a balancer has still to say whose connection it is.
    pub(super) fn awaits_header(&self) -> bool {
        self.layer.as_ref().is_some_and(|it| it.awaits_header)
    }

    /// Who is at the other end. `None` when the peer has gone.
    pub(super) fn client(&self) -> Option<IpAddr> {
        let told = self.layer.as_ref().and_then(|layer| layer.client);
        told.or_else(|| Some(self.socket.peer_addr().ok()?.ip()))
    }

    /// Reads what has come. `Ok(0)` is the end.
    ///
    /// # Errors
    /// `WouldBlock` if nothing has come; those of the socket; `InvalidData` for what is no TLS or lacks
    /// the header.
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if let Some(layer) = self.layer.as_mut().filter(|layer| layer.awaits_header) {
            layer.take_header(&mut self.socket)?;
        }
        match self.channel() {
            None => self.socket.read(buffer),
            Some((channel, socket)) => channel.read(socket, buffer),
        }
    }

    /// Whether another read is due without an event, although the last one was short.
    pub(super) fn has_more(&self) -> bool {
        self.tls().is_some_and(Channel::has_more)
    }

    /// Whether the client has still to agree on keys.
    pub(super) fn is_handshaking(&self) -> bool {
        self.tls().is_some_and(Channel::is_handshaking)
    }

    /// Whether bytes that were taken wait for the socket.
    pub(super) fn has_unsent(&self) -> bool {
        self.tls().is_some_and(Channel::has_unsent)
    }

    /// Writes bytes that were taken and wait: so many of what they have become.
    ///
    /// # Errors
    /// Those of the socket.
    pub(super) fn push(&mut self) -> io::Result<usize> {
        match self.channel() {
            None => Ok(0),
            Some((channel, socket)) => channel.flush(socket),
        }
    }

    /// Tells the client that nothing more comes.
    ///
    /// # Errors
    /// Those of the socket.
    pub(super) fn shut_down(&mut self) -> io::Result<()> {
        if let Some((channel, socket)) = self.channel() {
            // Should the socket not take it, the end of the connection says the same, and what was
            // said on it knows by itself whether it is whole.
            channel.close(socket)?;
        }
        self.socket.shutdown(Shutdown::Write)
    }

    /// Throws away what the client has not read yet when the socket is closed.
    pub(super) fn forget_unread(&self) {
        // A socket that cannot be told so is closed all the same.
        let _ = SockRef::from(&self.socket).set_linger(Some(Duration::ZERO));
    }

    /// Bytes that it holds, but for its descriptor; no less than they are.
    pub(super) fn held_bytes(&self) -> usize {
        let unsent = usize::from(self.has_unsent()) * CHANNEL_BYTES_MAX;
        let channel = self.tls().map_or(0, |_| CHANNEL_BYTES_IDLE + unsent);
        self.layer.as_ref().map_or(0, |_| size_of::<Layer>()) + channel
    }

    fn tls(&self) -> Option<&Channel> {
        self.layer.as_ref()?.tls.as_ref()
    }

    fn channel(&mut self) -> Option<(&mut Channel, &mut TcpStream)> {
        let channel = self.layer.as_mut()?.tls.as_mut()?;
        Some((channel, &mut self.socket))
    }
}

impl Layer {
    /// Takes the header and nothing behind it: until it is whole it stays in the socket, which tells when
    /// more comes.
    fn take_header(&mut self, socket: &mut TcpStream) -> io::Result<()> {
        let mut bytes = [0; HEADER_BYTES_MAX];
        let count = socket.peek(&mut bytes)?;
        let header = proxy_protocol::parse(&bytes[..count]);
        match header.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))? {
            Header::Incomplete if count == 0 => Err(io::ErrorKind::UnexpectedEof.into()),
            Header::Incomplete => Err(io::ErrorKind::WouldBlock.into()),
            Header::Complete { len, source } => {
                socket.read_exact(&mut bytes[..len])?;
                self.client = source.map(|source| source.ip()).or(self.client);
                self.awaits_header = false;
                Ok(())
            }
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.channel() {
            None => self.socket.write(bytes),
            Some((channel, socket)) => channel.write(socket, &[IoSlice::new(bytes)]),
        }
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match self.channel() {
            None => self.socket.write_vectored(slices),
            Some((channel, socket)) => channel.write(socket, slices),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.push().map(|_| ())
    }
}
