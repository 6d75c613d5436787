use std::collections::VecDeque;

use rcgen::{CertificateParams, KeyPair};
use rustls::pki_types::PrivateKeyDer;
use rustls::{ClientConfig, ClientConnection, RootCertStore};

use super::*;

/// Takes at most `room` bytes, and gives what has come.
struct Socket {
    incoming: VecDeque<u8>,
    outgoing: VecDeque<u8>,
    room: usize,
    has_ended: bool,
}

impl Read for Socket {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.incoming.is_empty() && !self.has_ended {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        self.incoming.read(buffer)
    }
}

impl Write for Socket {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let take = bytes.len().min(self.room);
        if take == 0 {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        self.room -= take;
        self.outgoing.extend(&bytes[..take]);
        Ok(take)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn pair() -> (Channel, ClientConnection, Socket) {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let certificate = params.self_signed(&key).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(certificate.der().clone()).unwrap();
    let server = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![certificate.der().clone()],
            PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
        )
        .unwrap();
    let client = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let mut client =
        ClientConnection::new(Arc::new(client), "localhost".try_into().unwrap()).unwrap();
    client.set_buffer_limit(None);
    let socket = Socket {
        incoming: VecDeque::new(),
        outgoing: VecDeque::new(),
        room: usize::MAX,
        has_ended: false,
    };
    (Channel::new(Arc::new(server)).unwrap(), client, socket)
}

/// What the client has to send goes to the socket, and what the socket has taken to the client,
/// whose plaintext is returned.
fn exchange(client: &mut ClientConnection, socket: &mut Socket) -> Vec<u8> {
    let mut said = Vec::new();
    while !socket.outgoing.is_empty() {
        client.read_tls(&mut socket.outgoing).unwrap();
        client.process_new_packets().unwrap();
        let mut buffer = [0; 65_536];
        while let Ok(count @ 1..) = client.reader().read(&mut buffer) {
            said.extend_from_slice(&buffer[..count]);
        }
    }
    while client.wants_write() {
        client.write_tls(&mut socket.incoming).unwrap();
    }
    said
}

fn shaken() -> (Channel, ClientConnection, Socket) {
    let (mut channel, mut client, mut socket) = pair();
    while channel.is_handshaking() {
        exchange(&mut client, &mut socket);
        let read = channel.read(&mut socket, &mut [0; 64]);
        assert_eq!(read.unwrap_err().kind(), io::ErrorKind::WouldBlock);
    }
    exchange(&mut client, &mut socket);
    (channel, client, socket)
}

#[test]
fn a_short_read_has_emptied_the_socket_and_a_full_one_says_that_there_is_more() {
    let (mut channel, mut client, mut socket) = shaken();
    client.writer().write_all(&[7; 50_000]).unwrap();
    exchange(&mut client, &mut socket);
    let mut buffer = [0; 40_000];
    assert_eq!(channel.read(&mut socket, &mut buffer).unwrap(), 40_000);
    assert!(channel.has_more());
    assert_eq!(channel.read(&mut socket, &mut buffer).unwrap(), 10_000);
    assert!(!channel.has_more() && socket.incoming.is_empty());
}

#[test]
fn what_the_socket_does_not_take_is_bounded_and_sent_later() {
    let (mut channel, mut client, mut socket) = shaken();
    socket.room = 1_000;
    let message: Vec<u8> = (0..300_000u32).map(|at| at as u8).collect();
    let taken = channel
        .write(&mut socket, &[IoSlice::new(&message)])
        .unwrap();
    assert!(taken <= CHANNEL_BYTES_MAX + 1_000 && channel.has_unsent());
    let none = channel.write(&mut socket, &[IoSlice::new(&message)]);
    assert_eq!(none.unwrap_err().kind(), io::ErrorKind::WouldBlock);
    socket.room = usize::MAX;
    channel.flush(&mut socket).unwrap();
    assert!(!channel.has_unsent());
    let rest = IoSlice::new(&message[taken..]);
    assert_eq!(channel.write(&mut socket, &[rest]).unwrap(), rest.len());
    assert_eq!(exchange(&mut client, &mut socket), message);
}

#[test]
fn an_end_behind_bytes_is_told_next_whether_the_client_says_so_or_goes() {
    for says_so in [true, false] {
        let (mut channel, mut client, mut socket) = shaken();
        client.writer().write_all(b"last").unwrap();
        if says_so {
            client.send_close_notify();
        }
        exchange(&mut client, &mut socket);
        socket.has_ended = !says_so;
        let mut buffer = [0; 64];
        assert_eq!(channel.read(&mut socket, &mut buffer).unwrap(), 4);
        assert!(channel.has_more());
        assert_eq!(channel.read(&mut socket, &mut buffer).unwrap(), 0);
        let answer = [IoSlice::new(b"answer")];
        assert_eq!(channel.write(&mut socket, &answer).unwrap(), 6);
        channel.close(&mut socket).unwrap();
        assert_eq!(exchange(&mut client, &mut socket), b"answer");
        assert!(client.process_new_packets().unwrap().peer_has_closed());
    }
}

#[test]
fn what_is_no_tls_is_an_error_and_answered_with_an_alert() {
    let (mut channel, _, mut socket) = pair();
    socket
        .incoming
        .extend(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let read = channel.read(&mut socket, &mut [0; 64]);
    assert_eq!(read.unwrap_err().kind(), io::ErrorKind::InvalidData);
    assert_eq!(socket.outgoing.front(), Some(&21), "an alert record");
}
