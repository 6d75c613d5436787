//! Makes connections: name, socket, TLS, each within its time.

use std::io::{self, ErrorKind, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};
use socket2::{Domain, SockAddr, Type};

use super::failure::{Failure, FailureKind};
use super::remote::{Credential, Remote};
use super::stream::{Socket, Stream};
use super::tls;
use super::url::{Place, ServerUrl};

/// Makes connections to one server.
#[derive(Debug)]
pub(super) struct Dialer {
    url: ServerUrl,
    credential: Credential,
    tls: Option<Arc<ClientConfig>>,
    /// What is sent before all else.
    greeting: &'static [u8],
    timeout: Duration,
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(super) enum DialError {
    /// It may be there later.
    #[error("{0}")]
    Away(String),
    /// It will not be there later, either.
    #[error("{0}")]
    Never(String),
}

impl From<DialError> for Failure {
    fn from(error: DialError) -> Failure {
        Failure::new(FailureKind::Unreachable, error)
    }
}

impl Dialer {
    /// Reads what is needed for TLS.
    ///
    /// # Errors
    /// When a file cannot be used.
    pub(super) fn new(remote: &Remote) -> Result<Dialer, Failure> {
        let is_tls = remote.url.is_tls();
        let tls = is_tls.then(|| tls::config(remote)).transpose()?;
        Ok(Dialer::with(remote, tls, b""))
    }

    /// The same with this for TLS; each connection begins with the greeting.
    pub(super) fn with(
        remote: &Remote,
        tls: Option<Arc<ClientConfig>>,
        greeting: &'static [u8],
    ) -> Dialer {
        Dialer {
            url: remote.url.clone(),
            credential: remote.credential.clone(),
            tls,
            greeting,
            timeout: remote.timeout,
        }
    }

    pub(super) fn url(&self) -> &ServerUrl {
        &self.url
    }

    pub(super) fn credential(&self) -> &Credential {
        &self.credential
    }

    /// The value of `Authorization`, if there is one.
    ///
    /// # Errors
    /// When the file of the credential cannot be used.
    pub(super) fn authorization(&self) -> Result<Option<String>, Failure> {
        let credential = self.credential.read()?;
        Ok(credential.map(|it| format!("Bearer {}", it.expose())))
    }

    pub(super) fn timeout(&self) -> Duration {
        self.timeout
    }

    /// Connects. Timeouts for reading and writing are set on what is returned.
    ///
    /// # Errors
    /// When the server cannot be reached in time, or is not to be trusted.
    pub(super) fn dial(&self) -> Result<Stream, DialError> {
        let url = &self.url;
        let mut socket = self.connect().map_err(|error| {
            let hint = match error.kind() {
                ErrorKind::ConnectionRefused | ErrorKind::NotFound => {
                    "; is a server running there?"
                }
                _ => "",
            };
            DialError::Away(format!("cannot connect to {url}: {}{hint}", reason(&error)))
        })?;
        let prepared = socket
            .set_read_timeout(Some(self.timeout))
            .and_then(|()| socket.set_write_timeout(Some(self.timeout)))
            .and_then(|()| socket.write_all(self.greeting));
        prepared.map_err(|error| DialError::Away(format!("cannot connect to {url}: {error}")))?;
        match (&self.tls, url.place()) {
            (Some(config), Place::Port { host, .. }) => self.secure(socket, config, host),
            _ => Ok(Stream::Plain(socket)),
        }
    }

    fn connect(&self) -> io::Result<Socket> {
        let (host, port) = match self.url.place() {
            Place::Path(path) => return self.connect_to_path(path).map(Socket::Unix),
            Place::Port { host, port, .. } => (host.as_str(), *port),
        };
        let end = Instant::now() + self.timeout;
        let mut last = io::Error::new(ErrorKind::NotFound, "the name has no address");
        for address in (host, port).to_socket_addrs()? {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(ErrorKind::TimedOut.into());
            }
            match TcpStream::connect_timeout(&address, left) {
                Ok(socket) => {
                    socket.set_nodelay(true)?;
                    return Ok(Socket::Tcp(socket));
                }
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// The kernel waits for room in a listener's queue as long as for room to write: there is no other bound.
    fn connect_to_path(&self, path: &Path) -> io::Result<UnixStream> {
        let socket = socket2::Socket::new(Domain::UNIX, Type::STREAM, None)?;
        socket.set_write_timeout(Some(self.timeout))?;
        socket.connect(&SockAddr::unix(path)?)?;
        Ok(socket.into())
    }

    /// Shakes hands.
    fn secure(
        &self,
        mut socket: Socket,
        config: &Arc<ClientConfig>,
        host: &str,
    ) -> Result<Stream, DialError> {
        let url = &self.url;
        let name = ServerName::try_from(host.to_owned()).map_err(|_| {
            DialError::Never(format!("{url} has no name that a certificate can have"))
        })?;
        let connection = ClientConnection::new(Arc::clone(config), name);
        let mut connection =
            connection.map_err(|error| DialError::Never(format!("TLS cannot be had: {error}")))?;
        while connection.is_handshaking() {
            connection
                .complete_io(&mut socket)
                .map_err(|error| self.refused(&error))?;
        }
        let stream = StreamOwned::new(connection, socket);
        Ok(Stream::Tls(Box::new(stream)))
    }

    /// What a failed handshake means: a certificate does not get better by waiting. All else may be that of a
    /// balancer whose servers are being replaced.
    fn refused(&self, error: &io::Error) -> DialError {
        let url = &self.url;
        let inner = error
            .get_ref()
            .and_then(|it| it.downcast_ref::<rustls::Error>());
        match inner {
            Some(rustls::Error::InvalidCertificate(error)) => {
                DialError::Never(format!("the certificate of {url} is not trusted: {error}"))
            }
            Some(error) => DialError::Away(format!("no TLS with {url}: {error}")),
            None => DialError::Away(format!("no TLS with {url}: {}", reason(error))),
        }
    }
}

/// The error in words, without the number of the system.
pub(super) fn reason(error: &io::Error) -> String {
    match error.kind() {
        ErrorKind::ConnectionRefused => "connection refused".to_owned(),
        ErrorKind::ConnectionReset => "the connection was reset".to_owned(),
        ErrorKind::TimedOut | ErrorKind::WouldBlock => "no answer in time".to_owned(),
        ErrorKind::UnexpectedEof => "the connection has ended".to_owned(),
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustls::CertificateError;

    fn dialer(url: ServerUrl) -> Dialer {
        let remote = Remote {
            url,
            credential: Credential::None,
            authorities: None,
            identity: None,
            timeout: Duration::from_millis(100),
        };
        Dialer::with(&remote, None, b"")
    }

    #[test]
    fn a_full_queue_is_not_waited_for_without_end() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s");
        let listener = socket2::Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
        listener.bind(&SockAddr::unix(&path).unwrap()).unwrap();
        listener.listen(0).unwrap();
        let dialer = dialer(ServerUrl::of_path(path));
        let first = dialer.dial().unwrap();
        let error = dialer.dial().unwrap_err().to_string();
        assert!(error.ends_with("no answer in time"), "{error}");
        drop(first);
    }

    #[test]
    fn a_certificate_alone_does_not_get_better() {
        let dialer = dialer(ServerUrl::parse("https://a.example").unwrap());
        let refused =
            |error: rustls::Error| dialer.refused(&io::Error::new(ErrorKind::InvalidData, error));
        let expired = rustls::Error::InvalidCertificate(CertificateError::Expired);
        assert!(matches!(refused(expired), DialError::Never(_)));
        let ended = rustls::Error::AlertReceived(rustls::AlertDescription::InternalError);
        assert!(matches!(refused(ended), DialError::Away(_)));
        let reset = dialer.refused(&ErrorKind::ConnectionReset.into());
        assert!(matches!(reset, DialError::Away(_)));
    }
}
