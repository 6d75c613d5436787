//! A network between the server under test and its store that a test can make bad.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use socket2::SockRef;

use crate::DEADLINE;
use crate::ports::free_port;

/// A TCP proxy on a port of 127.0.0.1. New connections are accepted and bytes flow, until told otherwise.
pub struct ValkeyProxy {
    port: u16,
    shared: Arc<Shared>,
}

struct Shared {
    target: SocketAddr,
    weather: Mutex<Weather>,
    changed: Condvar,
}

/// What the network is like.
#[derive(Default)]
struct Weather {
    /// Connections are refused, as asked and as it is.
    refusing: bool,
    refused: bool,
    stalled: bool,
    dropping_replies: bool,
    delay: Duration,
    ended: bool,
    /// Those that are open.
    connections: Vec<Arc<Connection>>,
    /// How many there have been.
    accepted: u64,
}

struct Connection {
    client: TcpStream,
    store: TcpStream,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    cut: bool,
    /// Replies are missing, so that what would follow belonged to other requests.
    lacks_replies: bool,
}

impl ValkeyProxy {
    /// Starts a proxy in front of a store.
    ///
    /// # Panics
    ///
    /// When it can't listen.
    pub fn start(target: SocketAddr) -> ValkeyProxy {
        let port = free_port();
        let shared = Arc::new(Shared {
            target,
            weather: Mutex::default(),
            changed: Condvar::new(),
        });
        let listener = listen(port);
        let listening = Arc::clone(&shared);
        std::thread::spawn(move || listening.run(listener, port));
        ValkeyProxy { port, shared }
    }

    /// Where it listens.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    /// Connections that are open.
    pub fn connections(&self) -> usize {
        self.shared.lock().connections.len()
    }

    /// Connections that were ever accepted.
    pub fn accepted(&self) -> u64 {
        self.shared.lock().accepted
    }

    /// Ends all connections.
    pub fn cut(&self) {
        let connections = std::mem::take(&mut self.shared.lock().connections);
        connections.iter().for_each(|connection| connection.cut());
        self.shared.changed.notify_all();
    }

    /// Refuses new connections, as if nobody listened; those that are open stay.
    ///
    /// # Panics
    ///
    /// When the listener does not close.
    pub fn refuse(&self) {
        self.set(|weather| weather.refusing = true);
        // Wakes the listener, if it waits. An error means that it has closed.
        drop(TcpStream::connect_timeout(&self.address(), DEADLINE));
        self.shared.wait("it refuses", |weather| weather.refused);
    }

    /// Accepts new connections again.
    ///
    /// # Panics
    ///
    /// When it can't listen any more.
    pub fn accept(&self) {
        self.set(|weather| weather.refusing = false);
        self.shared.wait("it accepts", |weather| !weather.refused);
    }

    /// Holds each piece of up to 64 KiB back for so long, both ways.
    pub fn delay(&self, delay: Duration) {
        self.set(|weather| weather.delay = delay);
    }

    /// Holds all bytes back, both ways; connections stay, and new ones are accepted.
    pub fn stall(&self) {
        self.set(|weather| weather.stalled = true);
    }

    /// Lets bytes flow again.
    pub fn flow(&self) {
        self.set(|weather| weather.stalled = false);
    }

    /// Passes requests on and loses all that comes back.
    pub fn drop_replies(&self) {
        self.set(|weather| weather.dropping_replies = true);
    }

    /// Passes replies on again. Connections that lack some are cut, because what would follow on them answers
    /// other requests.
    pub fn pass_replies(&self) {
        let mut weather = self.shared.lock();
        weather.dropping_replies = false;
        weather.connections.retain(|connection| {
            let lacks = connection.lock().lacks_replies;
            if lacks {
                connection.cut();
            }
            !lacks
        });
        drop(weather);
        self.shared.changed.notify_all();
    }

    fn set(&self, change: impl FnOnce(&mut Weather)) {
        change(&mut self.shared.lock());
        self.shared.changed.notify_all();
    }
}

impl Drop for ValkeyProxy {
    fn drop(&mut self) {
        self.set(|weather| weather.ended = true);
        self.cut();
        // Wakes the listener, which then sees the end. An error means that it has closed.
        drop(TcpStream::connect_timeout(&self.address(), DEADLINE));
    }
}

impl Shared {
    /// Accepts connections to the end.
    fn run(self: &Arc<Self>, mut listener: TcpListener, port: u16) {
        loop {
            let client = listener.accept();
            let mut weather = self.lock();
            if weather.refusing && !weather.ended {
                // Closing it is not enough: a process that another test is just starting has it for a moment, too.
                let shut_down = SockRef::from(&listener).shutdown(Shutdown::Both);
                shut_down.expect("it listens");
                drop(listener);
                weather.refused = true;
                self.changed.notify_all();
                let waiting = |weather: &mut Weather| weather.refusing && !weather.ended;
                let waited = self.changed.wait_while(weather, waiting);
                weather = waited.unwrap_or_else(PoisonError::into_inner);
                if weather.ended {
                    return;
                }
                listener = listen(port);
                weather.refused = false;
                self.changed.notify_all();
                continue;
            }
            if weather.ended {
                return;
            }
            drop(weather);
            if let Ok((client, _)) = client {
                self.open(client);
            }
        }
    }

    /// Connects a client with the store; it is closed at once if the store can't be reached.
    fn open(self: &Arc<Self>, client: TcpStream) {
        let Ok(store) = TcpStream::connect_timeout(&self.target, DEADLINE) else {
            return;
        };
        for stream in [&client, &store] {
            let set = stream.set_nodelay(true);
            set.expect("a TCP socket has this option");
        }
        let connection = Arc::new(Connection {
            client,
            store,
            state: Mutex::default(),
        });
        let mut weather = self.lock();
        weather.accepted += 1;
        weather.connections.push(Arc::clone(&connection));
        drop(weather);
        for replies in [false, true] {
            let (shared, connection) = (Arc::clone(self), Arc::clone(&connection));
            std::thread::spawn(move || shared.pump(&connection, replies));
        }
    }

    /// Moves bytes one way until the connection ends.
    fn pump(&self, connection: &Arc<Connection>, replies: bool) {
        let (mut from, mut to) = match replies {
            false => (&connection.client, &connection.store),
            true => (&connection.store, &connection.client),
        };
        let mut chunk = vec![0; 64 * 1024];
        while let Ok(count @ 1..) = from.read(&mut chunk) {
            if !self.pass(connection, replies) {
                continue;
            }
            if to.write_all(&chunk[..count]).is_err() {
                break;
            }
        }
        connection.cut();
        let mut weather = self.lock();
        weather
            .connections
            .retain(|it| !Arc::ptr_eq(it, connection));
        drop(weather);
        self.changed.notify_all();
    }

    /// Waits until a piece may be passed on; `false` when it is lost.
    fn pass(&self, connection: &Connection, replies: bool) -> bool {
        let weather = self.lock();
        let delay = weather.delay;
        let cut = |_: &mut Weather| !connection.lock().cut;
        let waited = self.changed.wait_timeout_while(weather, delay, cut);
        let (weather, _) = waited.unwrap_or_else(PoisonError::into_inner);
        let held = |weather: &mut Weather| weather.stalled && !connection.lock().cut;
        let waited = self.changed.wait_while(weather, held);
        let weather = waited.unwrap_or_else(PoisonError::into_inner);
        let lost = replies && weather.dropping_replies;
        if lost {
            connection.lock().lacks_replies = true;
        }
        !lost
    }

    fn wait(&self, what: &str, holds: impl Fn(&Weather) -> bool) {
        let waiting = |weather: &mut Weather| !holds(weather);
        let waited = self
            .changed
            .wait_timeout_while(self.lock(), DEADLINE, waiting);
        let (weather, _) = waited.unwrap_or_else(PoisonError::into_inner);
        assert!(holds(&weather), "waited in vain until {what}");
    }

    fn lock(&self) -> MutexGuard<'_, Weather> {
        self.weather.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Connection {
    fn cut(&self) {
        self.lock().cut = true;
        for stream in [&self.client, &self.store] {
            // The other side may have closed before.
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn listen(port: u16) -> TcpListener {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).expect("the port is free")
}
