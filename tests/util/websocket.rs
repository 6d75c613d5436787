//! An ordinary subscriber, on an independent implementation of the protocol.

use std::io::ErrorKind;
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tungstenite::{Error, Message, WebSocket};

use crate::{DEADLINE, contract};

/// One WebSocket connection. Pings are answered by tungstenite while something is read.
pub struct Client {
    socket: WebSocket<TcpStream>,
}

/// What came next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A text message.
    Text(String),
    /// A close frame, with its code.
    Close(Option<u16>),
    /// The connection ended.
    Gone,
    /// Nothing, in the time given.
    Nothing,
}

impl Client {
    /// Connects and upgrades.
    ///
    /// # Panics
    ///
    /// When the server refuses.
    pub fn connect(address: SocketAddr) -> Client {
        Self::try_connect(address).expect("the server upgrades")
    }

    /// Connects and upgrades; `None` when the server refuses or goes away.
    pub fn try_connect(address: SocketAddr) -> Option<Client> {
        let stream = TcpStream::connect_timeout(&address, DEADLINE).ok()?;
        stream.set_nodelay(true).ok()?;
        stream.set_read_timeout(Some(DEADLINE)).ok()?;
        stream.set_write_timeout(Some(DEADLINE)).ok()?;
        let (socket, _) = tungstenite::client(format!("ws://{address}/ws"), stream).ok()?;
        Some(Client { socket })
    }

    /// Connects and subscribes to topics from now on.
    pub fn subscribed(address: SocketAddr, topics: &[&str]) -> Client {
        let mut client = Client::connect(address);
        client.subscribe(json!({"topics": topics}));
        client
    }

    /// Connects and subscribes from `offset`; returns the reply, too.
    pub fn subscribed_from(address: SocketAddr, topics: &[&str], offset: &str) -> (Client, Value) {
        let mut client = Client::connect(address);
        let reply = client.subscribe(json!({"topics": topics, "offset": offset}));
        (client, reply)
    }

    /// Subscribes with these fields, `type` and `client_id` filled in, and returns the reply.
    ///
    /// # Panics
    ///
    /// When the next message is not `subscribed`.
    pub fn subscribe(&mut self, mut fields: Value) -> Value {
        fields["type"] = "subscribe".into();
        if fields["client_id"].is_null() {
            fields["client_id"] = "test".into();
        }
        self.send(&fields);
        let reply = self.read_json();
        assert_eq!(reply["type"], "subscribed", "{reply}");
        reply
    }

    /// Sends one JSON message.
    pub fn send(&mut self, message: &Value) {
        self.send_text(&message.to_string());
    }

    /// Sends any text.
    pub fn send_text(&mut self, text: &str) {
        self.socket
            .send(Message::text(text))
            .expect("the server reads");
    }

    /// Sends one JSON message, if there is still a server that reads.
    pub fn send_to_deaf(&mut self, message: &Value) {
        // The next read finds that it has gone.
        let _ = self.socket.send(Message::text(message.to_string()));
    }

    /// Sends a binary message.
    pub fn send_binary(&mut self, bytes: &[u8]) {
        self.socket
            .send(Message::binary(bytes.to_vec()))
            .expect("the server reads");
    }

    /// Reads the next text message as it came.
    ///
    /// # Panics
    ///
    /// When something else comes, or nothing.
    pub fn read_text(&mut self) -> String {
        match self.next(DEADLINE) {
            Event::Text(text) => text,
            other => panic!("not a message: {other:?}"),
        }
    }

    /// Reads the next message as JSON.
    pub fn read_json(&mut self) -> Value {
        serde_json::from_str(&self.read_text()).expect("the server sends JSON")
    }

    /// Sends a ping of the application and reads its pong, which must be the next message.
    pub fn assert_quiet(&mut self) {
        self.send(&json!({"type": "ping"}));
        let reply = self.read_json();
        assert_eq!(reply["type"], "pong", "nothing else was due: {reply}");
    }

    /// Reads up to the close frame, which must be next, and returns its code.
    ///
    /// # Panics
    ///
    /// When something else comes.
    pub fn expect_close(&mut self) -> Option<u16> {
        match self.next(DEADLINE) {
            Event::Close(code) => code,
            other => panic!("not a close: {other:?}"),
        }
    }

    /// Waits for what comes next, at most for `timeout`.
    pub fn next(&mut self, timeout: Duration) -> Event {
        let end = Instant::now() + timeout;
        loop {
            let remaining = end.saturating_duration_since(Instant::now());
            let remaining = remaining.max(Duration::from_millis(1));
            let set = self.socket.get_ref().set_read_timeout(Some(remaining));
            set.expect("the timeout is not zero");
            match self.socket.read() {
                Ok(Message::Text(text)) => {
                    contract::check_message("send", &text);
                    return Event::Text(text.to_string());
                }
                Ok(Message::Close(frame)) => return Event::Close(frame.map(|f| f.code.into())),
                Ok(Message::Binary(_)) => panic!("the server never sends binary"),
                Ok(_) => {}
                Err(Error::Io(error)) if is_timeout(error.kind()) => {
                    if Instant::now() >= end {
                        return Event::Nothing;
                    }
                }
                Err(Error::Protocol(
                    tungstenite::error::ProtocolError::ResetWithoutClosingHandshake,
                ))
                | Err(Error::ConnectionClosed | Error::AlreadyClosed | Error::Io(_)) => {
                    return Event::Gone;
                }
                Err(error) => panic!("the server broke the protocol: {error}"),
            }
        }
    }

    /// Closes properly and waits until the server has closed, too.
    pub fn close(mut self) {
        // An error here means that the server was faster, which the loop below finds.
        let _ = self.socket.close(None);
        while !matches!(self.next(DEADLINE), Event::Gone | Event::Nothing) {}
    }

    /// Vanishes without a word: the peer sees a reset.
    pub fn vanish(self) {
        let socket = socket2::SockRef::from(self.socket.get_ref());
        socket
            .set_linger(Some(Duration::ZERO))
            .expect("a TCP socket has this option");
    }

    /// The socket, for options.
    pub fn stream(&self) -> &TcpStream {
        self.socket.get_ref()
    }
}

fn is_timeout(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted
    )
}
