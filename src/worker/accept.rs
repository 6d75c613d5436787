//! The listeners: how many connections at once, and what to do when descriptors run out.

use std::io;

use mio::event::Source;
use mio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use mio::{Interest, Registry, Token};

/// Listeners of one worker at most.
const LISTENERS_MAX: usize = 8;

/// The token of the first listener; the others follow downwards, and connections have none of them.
const FIRST_LISTENER: usize = usize::MAX - 1;

/// Connections accepted in one iteration, so that those that are there get their turn.
const ACCEPTS_PER_TURN: usize = 64;

/// Pause when the process or the machine is out of descriptors, in microseconds.
const PAUSE_MICROS: u64 = 100_000;

/// Where clients come in.
#[derive(Debug)]
pub enum Listener {
    /// Plain TCP.
    Plain(TcpListener),
    /// TCP, and TLS on it.
    Tls(TcpListener),
    /// A socket in the file system.
    Local(UnixListener),
}

/// Who has come in.
#[derive(Debug)]
pub(super) enum Guest {
    Plain(TcpStream),
    Tls(TcpStream),
    Local(UnixStream),
}

impl Listener {
    fn accept(&self) -> io::Result<Guest> {
        match self {
            Listener::Plain(listener) => listener.accept().map(|(it, _)| Guest::Plain(it)),
            Listener::Tls(listener) => listener.accept().map(|(it, _)| Guest::Tls(it)),
            Listener::Local(listener) => listener.accept().map(|(it, _)| Guest::Local(it)),
        }
    }

    fn source(&mut self) -> &mut dyn Source {
        match self {
            Listener::Plain(listener) | Listener::Tls(listener) => listener,
            Listener::Local(listener) => listener,
        }
    }
}

#[derive(Debug)]
struct Entrance {
    listener: Listener,
    /// The queue may hold more.
    is_ready: bool,
}

/// This worker's listeners.
#[derive(Debug)]
pub(super) struct Acceptor {
    /// None when they are closed.
    entrances: Vec<Entrance>,
    /// Whose turn it is.
    next: usize,
    /// Out of descriptors until then, in monotonic microseconds.
    paused_until: Option<u64>,
}

/// What accepting came to.
#[derive(Debug)]
pub(super) enum Accepted {
    /// A connection.
    Connection(Guest),
    /// Nobody waits, or enough for this turn.
    Nobody,
    /// No descriptor is free.
    OutOfDescriptors,
}

impl Acceptor {
    /// Registers the listeners: 8 at most.
    ///
    /// # Errors
    /// When the selector refuses one.
    pub(super) fn new(listeners: Vec<Listener>, registry: &Registry) -> io::Result<Acceptor> {
        debug_assert!(listeners.len() <= LISTENERS_MAX);
        let mut entrances = Vec::with_capacity(listeners.len());
        for (index, mut listener) in listeners.into_iter().enumerate() {
            let token = Token(FIRST_LISTENER - index);
            registry.register(listener.source(), token, Interest::READABLE)?;
            entrances.push(Entrance {
                listener,
                is_ready: true,
            });
        }
        Ok(Acceptor {
            entrances,
            next: 0,
            paused_until: None,
        })
    }

    /// The selector says that somebody waits. Whether the token is that of a listener.
    pub(super) fn ready(&mut self, Token(token): Token) -> bool {
        let Some(index) = FIRST_LISTENER.checked_sub(token) else {
            return false;
        };
        if let Some(entrance) = self.entrances.get_mut(index) {
            entrance.is_ready = true;
        }
        index < LISTENERS_MAX
    }

    /// Somebody may wait anywhere.
    pub(super) fn all_ready(&mut self) {
        for entrance in &mut self.entrances {
            entrance.is_ready = true;
        }
    }

    /// Whether to look at once.
    pub(super) fn has_work(&self) -> bool {
        self.paused_until.is_none() && self.entrances.iter().any(|it| it.is_ready)
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

    /// Accepts one connection; the listeners take turns.
    pub(super) fn accept(&mut self, now_micros: u64) -> Accepted {
        for _ in 0..self.entrances.len() {
            self.next = (self.next + 1) % self.entrances.len();
            let entrance = &mut self.entrances[self.next];
            while entrance.is_ready {
                match entrance.listener.accept() {
                    Ok(guest) => return Accepted::Connection(guest),
                    Err(error) => match error.kind() {
                        io::ErrorKind::Interrupted | io::ErrorKind::ConnectionAborted => {}
                        io::ErrorKind::WouldBlock => entrance.is_ready = false,
                        // EMFILE, ENFILE, ENOBUFS, ENOMEM: they have no kind of their own.
                        _ => {
                            self.paused_until = Some(now_micros + PAUSE_MICROS);
                            return Accepted::OutOfDescriptors;
                        }
                    },
                }
            }
        }
        Accepted::Nobody
    }

    /// Closes the listeners. Whoever was in their queues should have been accepted before.
    pub(super) fn close(&mut self, registry: &Registry) {
        for mut entrance in self.entrances.drain(..) {
            // It is closed next, which takes it out of the selector all the same.
            let _ = registry.deregister(entrance.listener.source());
        }
    }
}
