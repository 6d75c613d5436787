//! The server under load: where it is, how it is spoken to, and the topics of this run.

use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};

use super::Outcome;

/// How long a connection may take to be set up.
const SETUP_TIMEOUT: Duration = Duration::from_secs(20);
/// Loopback addresses that connections may come from, each with the free ports of the machine: `127.0.0.1`
/// as the system chooses it, then `127.0.0.2` and so on.
const SOURCES: u8 = 64;
/// Digits of a topic's number.
pub(super) const TOPIC_DIGITS: usize = 5;
/// Topics that have a name.
pub const TOPICS_MAX: usize = 100_000;

/// A server under load.
#[derive(Debug)]
pub struct Target {
    address: SocketAddr,
    /// What stands in `Host`.
    host: String,
    /// What stands in front of every path.
    base: String,
    /// API key or access token.
    credential: Option<String>,
    /// What names of topics begin with, and a dash.
    prefix: String,
    /// Which loopback address connections come from.
    source: AtomicU8,
}

impl Target {
    /// A server of this machine without credentials; topics are `load-00000` and so on.
    pub fn local(address: SocketAddr) -> Self {
        Self::new(address, "localhost", "", None, "load")
    }

    /// A server. `host` goes into the header `Host`, `base` in front of each path; topics begin with `prefix`
    /// and a dash.
    pub fn new(
        address: SocketAddr,
        host: &str,
        base: &str,
        credential: Option<&str>,
        prefix: &str,
    ) -> Self {
        Self {
            address,
            host: host.to_owned(),
            base: base.to_owned(),
            credential: credential.map(str::to_owned),
            prefix: format!("{prefix}-"),
            source: AtomicU8::new(1),
        }
    }

    /// The same with a credential.
    #[must_use]
    pub fn with_credential(mut self, credential: Option<&str>) -> Self {
        self.credential = credential.map(str::to_owned);
        self
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The name of topic `index`, below [`TOPICS_MAX`]; all have the same width.
    pub fn topic(&self, index: usize) -> String {
        format!("{}{index:0TOPIC_DIGITS$}", self.prefix)
    }

    pub(super) fn topic_prefix(&self) -> &str {
        &self.prefix
    }

    /// A request line, and the headers that each request has.
    pub fn head(&self, method: &str, path: &str) -> String {
        let credential = match &self.credential {
            None => String::new(),
            Some(credential) => format!("Authorization: Bearer {credential}\r\n"),
        };
        let Self { base, host, .. } = self;
        format!("{method} {base}{path} HTTP/1.1\r\nHost: {host}\r\n{credential}")
    }

    /// Connects and waits for it, for set-up before a measurement.
    ///
    /// # Errors
    /// When nobody listens there, or this machine has no free port left.
    pub fn connect(&self) -> Outcome<TcpStream> {
        let stream = loop {
            let source = self.source.load(Ordering::Relaxed);
            match self.connect_from(source) {
                Ok(stream) => break stream,
                Err(error) if is_out_of_ports(&error) => {
                    if source == SOURCES || !self.is_loopback() {
                        return Err(out_of_ports(self.address, source).into());
                    }
                    self.source.store(source + 1, Ordering::Relaxed);
                }
                Err(error) => {
                    return Err(format!("no connection to {}: {error}", self.address).into());
                }
            }
        };
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(SETUP_TIMEOUT))?;
        stream.set_write_timeout(Some(SETUP_TIMEOUT))?;
        Ok(stream)
    }

    fn is_loopback(&self) -> bool {
        matches!(self.address.ip(), IpAddr::V4(ip) if ip.is_loopback())
    }

    /// The first source is the system's choice.
    fn connect_from(&self, source: u8) -> io::Result<TcpStream> {
        if source == 1 {
            return TcpStream::connect_timeout(&self.address, SETUP_TIMEOUT);
        }
        let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP))?;
        let address = Ipv4Addr::new(127, 0, 0, source);
        socket.bind(&SocketAddr::from((address, 0)).into())?;
        socket.connect_timeout(&self.address.into(), SETUP_TIMEOUT)?;
        Ok(socket.into())
    }
}

fn is_out_of_ports(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::AddrNotAvailable | ErrorKind::AddrInUse
    )
}

fn out_of_ports(address: SocketAddr, sources: u8) -> String {
    format!(
        "no free port is left to connect to {address} from, with {sources} source addresses: widen the \
         range (`sysctl net.ipv4.ip_local_port_range`), wait a minute until old connections are forgotten, \
         or ask for fewer connections"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn requests_go_below_the_base_with_the_credential() {
        let address = ([127, 0, 0, 1], 1).into();
        let target = Target::new(address, "a.example:1", "/p", Some("key"), "run");
        assert_eq!(
            target.head("GET", "/ws"),
            "GET /p/ws HTTP/1.1\r\nHost: a.example:1\r\nAuthorization: Bearer key\r\n"
        );
        assert_eq!(target.topic(7), "run-00007");
    }

    #[test]
    fn other_sources_reach_the_same_server() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let target = Target::local(listener.local_addr().unwrap());
        target.source.store(3, Ordering::Relaxed);
        let stream = target.connect().unwrap();
        let source = stream.local_addr().unwrap().ip();
        assert_eq!(source, IpAddr::V4(Ipv4Addr::new(127, 0, 0, 3)));
    }
}
