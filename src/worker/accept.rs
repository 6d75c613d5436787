//! The listener: how many connections at once, and what to do when descriptors run out.

use std::io;

use mio::net::{TcpListener, TcpStream};
use mio::{Interest, Registry, Token};

/// The listener's token; connections never have it.
pub(super) const LISTENER: Token = Token(usize::MAX);

/// Connections accepted in one iteration, so that those that are there get their turn.
const ACCEPTS_PER_TURN: usize = 64;

/// Pause when the process or the machine is out of descriptors, in microseconds.
const PAUSE_MICROS: u64 = 100_000;

/// This worker's listener.
#[derive(Debug)]
pub(super) struct Acceptor {
    listener: Option<TcpListener>,
    /// The queue may hold more.
    is_ready: bool,
    /// Out of descriptors until then, in monotonic microseconds.
    paused_until: Option<u64>,
}

/// What accepting came to.
#[derive(Debug)]
pub(super) enum Accepted {
    /// A connection.
    Connection(TcpStream),
    /// Nobody waits, or enough for this turn.
    Nobody,
    /// No descriptor is free.
    OutOfDescriptors,
}

impl Acceptor {
    /// Registers the listener.
    ///
    /// # Errors
    /// When the selector refuses it.
    pub(super) fn new(mut listener: TcpListener, registry: &Registry) -> io::Result<Acceptor> {
        registry.register(&mut listener, LISTENER, Interest::READABLE)?;
        Ok(Acceptor {
            listener: Some(listener),
            is_ready: true,
            paused_until: None,
        })
    }

    /// The selector says that somebody waits.
    pub(super) fn ready(&mut self) {
        self.is_ready = true;
    }

    /// Whether to look at once.
    pub(super) fn has_work(&self) -> bool {
        self.is_ready && self.paused_until.is_none() && self.listener.is_some()
    }

    /// When the pause ends.
    pub(super) fn paused_until(&self) -> Option<u64> {
        self.paused_until
    }

    /// Ends the pause when its time has come.
    pub(super) fn resume(&mut self, now_micros: u64) {
        self.paused_until = self.paused_until.filter(|until| *until > now_micros);
    }

    /// A descriptor is free again.
    pub(super) fn descriptor_freed(&mut self) {
        self.paused_until = None;
    }

    /// How many may be accepted in this iteration.
    pub(super) fn budget(&self) -> usize {
        if self.has_work() { ACCEPTS_PER_TURN } else { 0 }
    }

    /// Accepts one connection.
    pub(super) fn accept(&mut self, now_micros: u64) -> Accepted {
        let Some(listener) = &self.listener else {
            return Accepted::Nobody;
        };
        loop {
            return match listener.accept() {
                Ok((socket, _)) => Accepted::Connection(socket),
                Err(error) => match error.kind() {
                    io::ErrorKind::Interrupted | io::ErrorKind::ConnectionAborted => continue,
                    io::ErrorKind::WouldBlock => {
                        self.is_ready = false;
                        Accepted::Nobody
                    }
                    // EMFILE, ENFILE, ENOBUFS, ENOMEM: they have no kind of their own.
                    _ => {
                        self.paused_until = Some(now_micros + PAUSE_MICROS);
                        Accepted::OutOfDescriptors
                    }
                },
            };
        }
    }

    /// Closes the listener. Whoever was in its queue should have been accepted before.
    pub(super) fn close(&mut self, registry: &Registry) {
        if let Some(mut listener) = self.listener.take() {
            // It is closed next, which takes it out of the selector all the same.
            let _ = registry.deregister(&mut listener);
        }
    }

    /// Whether it is closed.
    pub(super) fn is_closed(&self) -> bool {
        self.listener.is_none()
    }
}
