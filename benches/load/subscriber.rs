//! A subscriber that checks that every message of its topic comes once and in order.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::Outcome;
use crate::histogram::Histogram;
use crate::socket::Socket;
use crate::transport::{Transport, Unit, open_stream, subscribe};
use crate::wire::{self, Stamp, encode_frame, message_id};

/// How a subscriber has its messages.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Mode {
    pub(crate) transport: Transport,
    /// Over a WebSocket only.
    pub(crate) acks: Acks,
    /// All that is kept comes first.
    pub(crate) from_earliest: bool,
}

/// What a subscriber says about the messages it has.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) enum Acks {
    /// Nothing: it has each at most once.
    #[default]
    None,
    /// Each message, in a frame of its own.
    Each,
    /// The last of so many, for all of them.
    Cumulative(u64),
}

pub(crate) struct Subscriber {
    socket: Socket,
    mode: Mode,
    /// The number that the next message of each publisher of the topic must have. Publisher `p` of
    /// `topics` topics stands at `p / topics`.
    next: Vec<u64>,
    topics: usize,
    /// Where the stamp stood in the last delivery.
    stamp_place: usize,
    /// Deliveries so far.
    count: u64,
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
        mode: Mode,
    ) -> Outcome<Self> {
        let (stream, rest) = mode.open(address, &wire::topic_name(topic))?;
        let socket = Socket::new(stream, rest)?;
        Ok(Self {
            socket,
            mode,
            next: vec![0; senders],
            topics,
            stamp_place: 0,
            count: 0,
        })
    }

    pub(crate) fn socket(&mut self) -> &mut Socket {
        &mut self.socket
    }

    /// Reads deliveries, checks and acknowledges them, and returns how many came.
    ///
    /// # Errors
    /// A lost, repeated or misplaced message, and a close by the server.
    pub(crate) fn receive(&mut self, scratch: &mut [u8], timing: &mut Timing<'_>) -> Outcome<u64> {
        let Mode {
            transport, acks, ..
        } = self.mode;
        let (next, topics, place) = (&mut self.next, self.topics, &mut self.stamp_place);
        let mut replies = Vec::new();
        let mut count = self.count;
        let micros = timing.start.elapsed().as_micros() as u64;
        self.socket.receive(scratch, |input| {
            let mut used = 0;
            while let Some((unit, len)) = transport.decode(&input[used..])? {
                used += len;
                match unit {
                    Unit::Message(text) => {
                        let stamp = check(text, next, topics, place)?;
                        if stamp.number % timing.sample == 0 {
                            let latency = micros.saturating_sub(stamp.micros);
                            timing.latencies.record(Duration::from_micros(latency));
                        }
                        count += 1;
                        acks.reply(text, count, &mut replies)?;
                    }
                    Unit::Ping(payload) => encode_frame(&mut replies, wire::PONG, payload),
                    Unit::Other => {}
                }
            }
            Ok(used)
        })?;
        if !replies.is_empty() {
            self.socket.outgoing().append(&mut replies);
            self.socket.flush()?;
        }
        let delivered = count - self.count;
        self.count = count;
        Ok(delivered)
    }
}

impl Mode {
    fn open(self, address: SocketAddr, topic: &str) -> Outcome<(std::net::TcpStream, Vec<u8>)> {
        let content_type = match self.transport {
            Transport::WebSocket => return subscribe(address, topic, &self.fields()),
            Transport::Events => "text/event-stream",
            Transport::Lines => "application/x-ndjson",
        };
        let since = if self.from_earliest {
            "&since=earliest"
        } else {
            ""
        };
        open_stream(address, topic, content_type, since)
    }

    /// What it adds to a subscribe.
    fn fields(self) -> String {
        let mut fields = String::new();
        if self.from_earliest {
            fields += ",\"offset\":\"earliest\"";
        }
        if !matches!(self.acks, Acks::None) {
            fields += ",\"delivery_mode\":\"at_least_once\",\"ack_timeout\":3600,\"reset\":true";
        }
        fields
    }
}

impl Acks {
    /// Appends what is to be said about the message that is number `count`.
    fn reply(self, text: &[u8], count: u64, out: &mut Vec<u8>) -> Outcome<()> {
        let more = match self {
            Acks::None => return Ok(()),
            Acks::Each => "",
            Acks::Cumulative(every) if !count.is_multiple_of(every) => return Ok(()),
            Acks::Cumulative(_) => ",\"cumulative\":true",
        };
        let id = message_id(text).ok_or("no id in a message")?;
        let ack = format!("{{\"type\":\"ack\",\"message_id\":\"{id}\"{more}}}");
        encode_frame(out, wire::TEXT, ack.as_bytes());
        Ok(())
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
