//! A subscriber that checks whether every message of its topic comes once and in order.

use std::time::{Duration, Instant};

use memchr::memmem;

use super::Outcome;
use super::checker::{Arrival, Faults, Lane};
use super::histogram::Histogram;
use super::socket::Socket;
use super::target::Target;
use super::transport::{Transport, Unit, open_poll, open_stream, poll_on, read_offset, subscribe};
use super::wire::{self, STAMP_MARK, Stamp, encode_frame, message_id};

/// How a subscriber has its messages.
#[derive(Clone, Copy, Debug, Default)]
pub struct Mode {
    /// What it reads.
    pub transport: Transport,
    /// Over a WebSocket only.
    pub acks: Acks,
    /// All that is kept comes first; not for polls.
    pub from_earliest: bool,
}

/// What a subscriber says about the messages it has.
#[derive(Clone, Copy, Debug, Default)]
pub enum Acks {
    /// Nothing: it has each at most once.
    #[default]
    None,
    /// Each message, in a frame of its own.
    Each,
    /// The last of so many, for all of them.
    Cumulative(u64),
}

/// One connection with one topic.
pub struct Subscriber {
    socket: Socket,
    mode: Mode,
    /// What has come of each publisher of the topic. Publisher `p` of `topics` topics stands at `p / topics`.
    lanes: Vec<Lane>,
    topic: usize,
    topics: usize,
    /// Where the stamp stood in the last delivery.
    stamp_place: usize,
    /// Messages that came for the first time.
    count: u64,
    /// Where the last answer to a poll said to go on.
    since: String,
}

/// What deliveries are measured by.
pub struct Timing<'a> {
    /// What stamps count from.
    pub start: Instant,
    /// Latency is taken of one message in so many.
    pub sample: u64,
    /// Where they go.
    pub latencies: &'a mut Histogram,
    /// What else is found.
    pub faults: &'a mut Faults,
}

impl Subscriber {
    /// Subscribes to one of `topics` topics, published to by at most `senders` publishers.
    ///
    /// # Errors
    /// When there is no connection, or the server refuses.
    pub fn connect(
        target: &Target,
        topic: usize,
        topics: usize,
        senders: usize,
        mode: Mode,
    ) -> Outcome<Self> {
        let (stream, rest) = mode.open(target, &target.topic(topic))?;
        let socket = Socket::new(stream, rest)?;
        Ok(Self {
            socket,
            mode,
            lanes: vec![Lane::default(); senders],
            topic,
            topics,
            stamp_place: 0,
            count: 0,
            since: String::new(),
        })
    }

    /// Its socket.
    pub fn socket(&mut self) -> &mut Socket {
        &mut self.socket
    }

    /// The topic it is subscribed to.
    pub fn topic(&self) -> usize {
        self.topic
    }

    /// Messages that have come, each counted once.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Reads deliveries, checks and acknowledges them, and polls on where it polls. Doubled and misordered
    /// ones become faults.
    ///
    /// # Errors
    /// The end of the connection in the server's words, and what is no delivery.
    pub fn receive(
        &mut self,
        target: &Target,
        scratch: &mut [u8],
        timing: &mut Timing<'_>,
    ) -> Outcome<()> {
        let Self {
            socket,
            mode,
            lanes,
            topic,
            topics,
            stamp_place,
            count,
            since,
        } = self;
        let mut replies = Vec::new();
        let micros = timing.start.elapsed().as_micros() as u64;
        let received = socket.receive(scratch, |input| {
            let mut used = 0;
            while let Some((unit, len)) = mode.transport.decode(&input[used..])? {
                used += len;
                match unit {
                    Unit::Message(text) => {
                        let stamp = Stamp::find(text, stamp_place).ok_or_else(|| {
                            format!("unexpected message {}", String::from_utf8_lossy(text))
                        })?;
                        take(stamp, lanes, *topics, count, micros, timing);
                        mode.acks.reply(text, *count, &mut replies)?;
                    }
                    Unit::Page(body) => {
                        for at in memmem::find_iter(body, STAMP_MARK) {
                            let stamp = Stamp::find(&body[at..], &mut 0);
                            let stamp = stamp.ok_or("a malformed stamp in an answer to a poll")?;
                            take(stamp, lanes, *topics, count, micros, timing);
                        }
                        read_offset(body, since)?;
                        let poll = poll_on(target, &target.topic(*topic), since);
                        replies.extend_from_slice(poll.as_bytes());
                    }
                    Unit::Ping(payload) => encode_frame(&mut replies, wire::PONG, payload),
                    Unit::Other => {}
                }
            }
            Ok(used)
        });
        if !replies.is_empty() {
            self.socket.outgoing().append(&mut replies);
            self.socket.flush()?;
        }
        received
    }
}

/// Checks and measures one delivery.
fn take(
    stamp: Stamp,
    lanes: &mut [Lane],
    topics: usize,
    count: &mut u64,
    micros: u64,
    timing: &mut Timing<'_>,
) {
    let faults = &mut *timing.faults;
    let Stamp {
        publisher, number, ..
    } = stamp;
    let Some(lane) = lanes.get_mut(publisher / topics) else {
        faults.unexpected += 1;
        faults.note(|| format!("message {number} of publisher {publisher}, who is none"));
        return;
    };
    match lane.take(number) {
        Arrival::New => {}
        Arrival::Misordered => {
            faults.misordered += 1;
            faults.note(|| format!("message {number} of publisher {publisher} behind a later one"));
        }
        Arrival::Doubled => {
            faults.doubled += 1;
            faults.note(|| format!("message {number} of publisher {publisher} came again"));
            return;
        }
    }
    *count += 1;
    if number % timing.sample == 0 {
        let latency = Duration::from_micros(micros.saturating_sub(stamp.micros));
        timing.latencies.record(latency);
    }
}

impl Mode {
    fn open(self, target: &Target, topic: &str) -> Outcome<(std::net::TcpStream, Vec<u8>)> {
        let content_type = match self.transport {
            Transport::WebSocket => return subscribe(target, topic, &self.fields()),
            Transport::Polls => return open_poll(target, topic),
            Transport::Events => "text/event-stream",
            Transport::Lines => "application/x-ndjson",
        };
        let since = if self.from_earliest {
            "&since=earliest"
        } else {
            ""
        };
        open_stream(target, topic, content_type, since)
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
