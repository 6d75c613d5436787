//! The three ways into a server, and streams of bytes on them that look closely at how they end.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::Arc;

use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use serde_json::Value;
use tempfile::TempDir;
use test_util::{DEADLINE, Server};

/// Where clients come in.
#[derive(Clone)]
pub(crate) enum Place {
    Plain(SocketAddr),
    Tls(SocketAddr, Arc<ClientConfig>),
    Local(PathBuf),
}

/// A connection of any kind.
pub(crate) trait Duplex: Read + Write + Send {}

impl<T: Read + Write + Send> Duplex for T {}

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    head: String,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn has(&self, header: &str) -> bool {
        self.head
            .to_ascii_lowercase()
            .contains(&format!("\r\n{header}"))
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).expect("an answer is JSON")
    }
}

/// A server with all three, and these.
pub(crate) fn start(folder: &TempDir, flags: &[&str]) -> (Server, [Place; 3]) {
    let CertifiedKey { cert, signing_key } =
        generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    let path = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
    std::fs::write(path("cert.pem"), cert.pem()).expect("a file can be written");
    std::fs::write(path("key.pem"), signing_key.serialize_pem()).expect("a file can be written");
    let (certificate, key, socket) = (path("cert.pem"), path("key.pem"), path("socket"));
    let more = [
        "--tls-port",
        "0",
        "--tls-cert",
        &certificate,
        "--tls-key",
        &key,
    ];
    let server = Server::start(&[flags, &more, &["--unix-socket", &socket]].concat());

    let mut roots = RootCertStore::empty();
    roots.add(cert.der().clone()).expect("a certificate");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let log = server.log();
    let (_, rest) = log.split_once("\"tls_address\":\"").expect("it says where");
    let (tls, _) = rest.split_once('"').expect("the text ends");
    let tls = tls.parse().expect("an address");
    let places = [
        Place::Plain(server.addr()),
        Place::Tls(tls, Arc::new(config)),
        Place::Local(socket.into()),
    ];
    (server, places)
}

impl Place {
    /// Connects; `None` when nobody listens any more.
    pub(crate) fn connect(&self) -> Option<Box<dyn Duplex>> {
        let tcp = |address: &SocketAddr| {
            let stream = TcpStream::connect(address).ok()?;
            stream.set_read_timeout(Some(DEADLINE)).ok()?;
            stream.set_nodelay(true).ok()?;
            Some(stream)
        };
        match self {
            Place::Plain(address) => Some(Box::new(tcp(address)?)),
            Place::Tls(address, config) => {
                let name = "localhost".try_into().expect("a name");
                let client = ClientConnection::new(Arc::clone(config), name).expect("a client");
                // The handshake is made by the first write.
                Some(Box::new(StreamOwned::new(client, tcp(address)?)))
            }
            Place::Local(path) => {
                let stream = UnixStream::connect(path).ok()?;
                stream.set_read_timeout(Some(DEADLINE)).ok()?;
                Some(Box::new(stream))
            }
        }
    }
}

/// The bytes of a request.
pub(crate) fn request(method: &str, path: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n{body}")
        .into_bytes()
}

/// Reads one answer; `None` when the connection ends before its first byte.
///
/// # Panics
///
/// When it ends, or is reset, in the middle of the answer, or nothing comes for the deadline.
pub(crate) fn answer(stream: &mut dyn Duplex) -> Option<Answer> {
    let mut bytes = Vec::new();
    loop {
        if let Some(answer) = whole(&bytes) {
            return Some(answer);
        }
        let mut chunk = [0; 16 * 1024];
        match stream.read(&mut chunk) {
            Ok(0) if bytes.is_empty() => return None,
            Err(error) if bytes.is_empty() && !is_timeout(&error) => return None,
            Ok(0) => panic!(
                "it ends inside of an answer: {:?}",
                String::from_utf8_lossy(&bytes)
            ),
            Ok(count) => bytes.extend_from_slice(&chunk[..count]),
            Err(error) => panic!("{error} inside of {:?}", String::from_utf8_lossy(&bytes)),
        }
    }
}

/// Reads everything up to the end, which must be one that the server made.
///
/// # Panics
///
/// When the connection is reset, or nothing comes for the deadline.
pub(crate) fn rest(stream: &mut dyn Duplex) -> Vec<u8> {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap_or_else(|error| {
        panic!("{error} behind {} bytes", bytes.len());
    });
    bytes
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

fn whole(bytes: &[u8]) -> Option<Answer> {
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
    let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let length = head.to_ascii_lowercase();
    let (_, length) = length.split_once("\r\ncontent-length: ").expect("a length");
    let (length, _) = length.split_once('\r').expect("the head ends");
    let body = bytes.get(end..end + length.parse::<usize>().expect("a number"))?;
    Some(Answer {
        status: head[9..12].parse().expect("a status"),
        head,
        body: body.to_vec(),
    })
}

/// The data of a body in chunks, which must have ended.
pub(crate) fn unchunked(mut bytes: &[u8]) -> String {
    let mut data = Vec::new();
    loop {
        let end = bytes
            .windows(2)
            .position(|two| two == b"\r\n")
            .expect("a size");
        let size = std::str::from_utf8(&bytes[..end]).expect("digits");
        let size = usize::from_str_radix(size, 16).expect("a number");
        bytes = &bytes[end + 2..];
        if size == 0 {
            assert_eq!(bytes, b"\r\n", "nothing follows the last chunk");
            return String::from_utf8(data).expect("UTF-8");
        }
        data.extend_from_slice(&bytes[..size]);
        bytes = &bytes[size + 2..];
    }
}
