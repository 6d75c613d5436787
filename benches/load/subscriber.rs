//! A WebSocket that checks that every message of its topic comes once and in order.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use memchr::memmem;

use crate::Outcome;
use crate::histogram::Histogram;
use crate::socket::{Socket, connect};
use crate::wire::{self, Stamp, decode_answer, decode_frame, encode_frame};

pub(crate) struct Subscriber {
    socket: Socket,
    /// The number that the next message of each publisher of the topic must have. Publisher `p` of
    /// `topics` topics stands at `p / topics`.
    next: Vec<u64>,
    topics: usize,
    /// Where the stamp stood in the last delivery.
    stamp_place: usize,
}

/// What deliveries are measured by.
pub(crate) struct Timing<'a> {
    pub(crate) start: Instant,
    /// Latency is taken of one message in so many.
    pub(crate) sample: u64,
    pub(crate) latencies: &'a mut Histogram,
}

impl Subscriber {
    /// Subscribes to one of `topics` topics, published to by at most `senders` publishers.
    pub(crate) fn connect(
        address: SocketAddr,
        topic: usize,
        topics: usize,
        senders: usize,
    ) -> Outcome<Self> {
        let (stream, rest) = subscribe(address, &wire::topic_name(topic), "")?;
        let socket = Socket::new(stream, rest)?;
        Ok(Self {
            socket,
            next: vec![0; senders],
            topics,
            stamp_place: 0,
        })
    }

    pub(crate) fn socket(&mut self) -> &mut Socket {
        &mut self.socket
    }

    /// Reads deliveries, checks them and returns how many came.
    ///
    /// # Errors
    /// A lost, repeated or misplaced message, and a close by the server.
    pub(crate) fn receive(&mut self, scratch: &mut [u8], timing: &mut Timing<'_>) -> Outcome<u64> {
        let (next, topics, place) = (&mut self.next, self.topics, &mut self.stamp_place);
        let mut pongs = Vec::new();
        let mut delivered = 0;
        let micros = timing.start.elapsed().as_micros() as u64;
        self.socket.receive(scratch, |input| {
            let mut used = 0;
            while let Some((frame, count)) = decode_frame(&input[used..])? {
                used += count;
                match frame.opcode {
                    wire::TEXT => {
                        let stamp = check(frame.payload, next, topics, place)?;
                        if stamp.number % timing.sample == 0 {
                            let latency = micros.saturating_sub(stamp.micros);
                            timing.latencies.record(Duration::from_micros(latency));
                        }
                        delivered += 1;
                    }
                    wire::PING => encode_frame(&mut pongs, wire::PONG, frame.payload),
                    wire::CLOSE => return Err(close_text(frame.payload).into()),
                    opcode => return Err(format!("unexpected opcode {opcode}").into()),
                }
            }
            Ok(used)
        })?;
        if !pongs.is_empty() {
            self.socket.outgoing().append(&mut pongs);
            self.socket.flush()?;
        }
        Ok(delivered)
    }
}

fn check(text: &[u8], next: &mut [u64], topics: usize, place: &mut usize) -> Outcome<Stamp> {
    let stamp = Stamp::find(text, place)
        .ok_or_else(|| format!("unexpected message {}", String::from_utf8_lossy(text)))?;
    let expected = next
        .get_mut(stamp.publisher / topics)
        .ok_or("message of another topic")?;
    if stamp.number != *expected {
        let Stamp {
            publisher, number, ..
        } = stamp;
        return Err(format!("publisher {publisher}: message {number} for {expected}").into());
    }
    *expected += 1;
    Ok(stamp)
}

/// A close payload in words (RFC 6455 section 5.5.1).
pub(crate) fn close_text(payload: &[u8]) -> String {
    let code = payload
        .first_chunk()
        .map_or(1005, |code| u16::from_be_bytes(*code));
    let reason = String::from_utf8_lossy(payload.get(2..).unwrap_or_default());
    format!("closed by the server: {code} {reason}")
}

/// Opens a WebSocket and subscribes it to one topic. `fields` are further fields of the subscribe, such as
/// `,"on_lag":"skip"`. Returns the blocking stream and what was read behind the server's `subscribed`.
pub(crate) fn subscribe(
    address: SocketAddr,
    topic: &str,
    fields: &str,
) -> Outcome<(TcpStream, Vec<u8>)> {
    let mut stream = connect(address)?;
    stream.write_all(wire::upgrade_request().as_bytes())?;
    let mut input = Vec::new();
    read_until(&mut stream, &mut input, |input| {
        let Some((answer, used)) = decode_answer(input)? else {
            return Ok(None);
        };
        let accepted = memmem::find(&input[..used], wire::ACCEPT.as_bytes()).is_some();
        if answer.status != 101 || !accepted {
            return Err(format!("handshake answered {}", answer.status).into());
        }
        Ok(Some(used))
    })?;
    let text = format!(
        "{{\"type\":\"subscribe\",\"topics\":[\"{topic}\"],\"client_id\":\"load\"{fields}}}"
    );
    let mut frame = Vec::new();
    encode_frame(&mut frame, wire::TEXT, text.as_bytes());
    stream.write_all(&frame)?;
    read_until(&mut stream, &mut input, |input| {
        let Some((frame, used)) = decode_frame(input)? else {
            return Ok(None);
        };
        if memmem::find(frame.payload, b"\"subscribed\"").is_none() {
            let text = String::from_utf8_lossy(frame.payload);
            return Err(format!("subscribe answered {text}").into());
        }
        Ok(Some(used))
    })?;
    Ok((stream, input))
}

/// Reads until `decode` finds something whole, and removes that from `input`.
fn read_until(
    stream: &mut TcpStream,
    input: &mut Vec<u8>,
    decode: impl Fn(&[u8]) -> Outcome<Option<usize>>,
) -> Outcome<()> {
    loop {
        if let Some(used) = decode(input)? {
            input.drain(..used);
            return Ok(());
        }
        let mut chunk = [0; 4096];
        match stream.read(&mut chunk)? {
            0 => return Err("the server closed the connection".into()),
            count => input.extend_from_slice(&chunk[..count]),
        }
    }
}
