//! The bare floor: what receiving a request and sending an answer costs when nothing is done in between.
//!
//! It looks at the first byte of what it receives and at nothing else: `P` gets a fixed answer, `G` the
//! answer to the generator's own WebSocket handshake, anything else is a subscribe. The body of a request
//! goes as one frame to each subscriber of the same thread.

use std::io::{self, IoSlice, Read, Write};
use std::net::SocketAddr;
use std::thread;

use memchr::memmem;
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};
use socket2::{Domain, Socket, Type};

use crate::Outcome;
use pulsar_proxy::bench::wire::ACCEPT;

const LISTENER: Token = Token(usize::MAX);
/// The size of the server's answer to a publish, head and body.
const ANSWER_BYTES: usize = 300;
/// What the server puts around a published body in a delivery, about.
const ENVELOPE_BYTES: usize = 130;

/// Serves until it is killed.
pub(crate) fn serve(workers: usize) -> Outcome<()> {
    let first = listen(([127, 0, 0, 1], 0).into())?;
    let address = first.local_addr()?;
    let mut listeners = vec![first];
    for _ in 1..workers {
        listeners.push(listen(address)?);
    }
    let threads: Vec<_> = listeners
        .into_iter()
        .map(|listener| thread::spawn(move || Worker::new(listener)?.run()))
        .collect();
    eprintln!("floor on {address}");
    for thread in threads {
        thread
            .join()
            .map_err(|_| "a floor thread panicked")?
            .map_err(|error: io::Error| error)?;
    }
    Ok(())
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.set_reuse_port(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(4096)?;
    Ok(TcpListener::from_std(socket.into()))
}

struct Worker {
    poll: Poll,
    listener: TcpListener,
    connections: Vec<TcpStream>,
    subscribers: Vec<usize>,
    answer: Vec<u8>,
}

impl Worker {
    fn new(mut listener: TcpListener) -> io::Result<Self> {
        let poll = Poll::new()?;
        poll.registry()
            .register(&mut listener, LISTENER, Interest::READABLE)?;
        let answer = fixed_answer();
        Ok(Self {
            poll,
            listener,
            connections: Vec::new(),
            subscribers: Vec::new(),
            answer,
        })
    }

    fn run(mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(1024);
        let mut buffer = vec![0; 65536];
        loop {
            self.poll.poll(&mut events, None)?;
            for event in &events {
                match event.token() {
                    LISTENER => self.accept()?,
                    Token(index) => self.serve(index, &mut buffer)?,
                }
            }
        }
    }

    fn accept(&mut self) -> io::Result<()> {
        loop {
            let mut stream = match self.listener.accept() {
                Ok((stream, _)) => stream,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            };
            stream.set_nodelay(true)?;
            let token = Token(self.connections.len());
            let interest = Interest::READABLE | Interest::WRITABLE;
            self.poll
                .registry()
                .register(&mut stream, token, interest)?;
            self.connections.push(stream);
        }
    }

    /// One receive and one send. The generator waits for each answer, so neither is ever partial.
    fn serve(&mut self, index: usize, buffer: &mut [u8]) -> io::Result<()> {
        // The first event of a connection says only that it can be written to; gone is gone.
        let Ok(count) = self.connections[index].read(buffer) else {
            return Ok(());
        };
        match buffer[..count].first() {
            None => Ok(()),
            Some(b'P') => {
                self.connections[index].write_all(&self.answer)?;
                self.fan_out(&buffer[..count])
            }
            Some(b'G') => self.connections[index].write_all(handshake().as_bytes()),
            Some(_) => {
                self.subscribers.push(index);
                self.connections[index].write_all(b"\x81\x15{\"type\":\"subscribed\"}")
            }
        }
    }

    fn fan_out(&mut self, request: &[u8]) -> io::Result<()> {
        if self.subscribers.is_empty() {
            return Ok(());
        }
        let body = memmem::find(request, b"\r\n\r\n").map_or(request, |at| &request[at + 4..]);
        let envelope = [b' '; ENVELOPE_BYTES];
        let length = (body.len() + envelope.len()) as u16;
        let [high, low] = length.to_be_bytes();
        let header = [0x81, 126, high, low];
        let frame = [
            IoSlice::new(&header),
            IoSlice::new(&envelope),
            IoSlice::new(body),
        ];
        for index in &self.subscribers {
            let count = self.connections[*index].write_vectored(&frame)?;
            // Each subscriber has read the last frame before this one is made.
            assert_eq!(
                count,
                header.len() + envelope.len() + body.len(),
                "a full socket"
            );
        }
        Ok(())
    }
}

fn fixed_answer() -> Vec<u8> {
    let head = "HTTP/1.1 201 Created\r\nContent-Type: application/json\r\nContent-Length: ";
    let filler = ANSWER_BYTES - head.len() - "123\r\n\r\n".len();
    format!("{head}{filler}\r\n\r\n{}", "x".repeat(filler)).into_bytes()
}

fn handshake() -> String {
    format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {ACCEPT}\r\n\r\n"
    )
}
