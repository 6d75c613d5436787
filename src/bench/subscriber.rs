//! A subscriber that checks whether every message of its topic comes once and in order.

use std::time::{Duration, Instant};

use memchr::memmem;

use super::Outcome;
use super::checker::{Arrival, Faults, Lane};
use super::histogram::Histogram;
use super::socket::Socket;
use super::target::Target;
use super::transport::{Transport, Unit, open_poll, open_stream, poll_on, read_offset, subscribe};
use super::wire::{self, STAMP_MARK, Stamp, encode_frame, is_of_topic, message_id};

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
    /// What stands in each delivery of the topic.
    topic_mark: Vec<u8>,
    /// Where that stood in the last delivery, and where the stamp did.
    topic_place: usize,
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
        let name = target.topic(topic);
        let (stream, rest) = mode.open(target, &name)?;
        let socket = Socket::new(stream, rest)?;
        Ok(Self::of(socket, mode, &name, topic, topics, senders))
    }

    fn of(
        socket: Socket,
        mode: Mode,
        name: &str,
        topic: usize,
        topics: usize,
        senders: usize,
    ) -> Self {
        Self {
            socket,
            mode,
            lanes: vec![Lane::default(); senders],
            topic,
            topics,
            topic_mark: format!("\"topic\":\"{name}\"").into_bytes(),
            topic_place: 0,
            stamp_place: 0,
            count: 0,
            since: String::new(),
        }
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
    /// ones, and those of other topics, become faults.
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
            topic_mark,
            topic_place,
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
                        if !is_of_topic(text, topic_mark, topic_place) {
                            misrouted(stamp, timing.faults);
                            continue;
                        }
                        take(stamp, lanes, *topics, count, micros, timing);
                        mode.acks.reply(text, *count, &mut replies)?;
                    }
                    Unit::Page(body) => {
                        let mut from = 0;
                        for at in memmem::find_iter(body, STAMP_MARK) {
                            let stamp = Stamp::find(&body[at..], &mut 0);
                            let stamp = stamp.ok_or("a malformed stamp in an answer to a poll")?;
                            // A message's topic stands in front of its payload.
                            match is_of_topic(&body[from..at], topic_mark, &mut 0) {
                                true => take(stamp, lanes, *topics, count, micros, timing),
                                false => misrouted(stamp, timing.faults),
                            }
                            from = at;
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

/// Counts a delivery of another topic.
fn misrouted(stamp: Stamp, faults: &mut Faults) {
    let Stamp {
        publisher, number, ..
    } = stamp;
    faults.unexpected += 1;
    faults.note(|| format!("message {number} of publisher {publisher} to another topic"));
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::net::{TcpListener, TcpStream};

    fn message(topic: &str, number: u64) -> String {
        format!(
            "{{\"topic\":\"{topic}\",\"payload\":{{\"stamp\":\"0000-{number:08x}-000000000000\"}}}}"
        )
    }

    /// What a subscriber of `load-00000` finds in these bytes.
    fn checked(transport: Transport, bytes: &[u8]) -> (u64, Faults) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let target = Target::local(listener.local_addr().unwrap());
        let stream = TcpStream::connect(target.address()).unwrap();
        let (mut peer, _) = listener.accept().unwrap();
        let mode = Mode {
            transport,
            ..Mode::default()
        };
        let socket = Socket::new(stream, Vec::new()).unwrap();
        let mut subscriber = Subscriber::of(socket, mode, &target.topic(0), 0, 1, 1);
        peer.write_all(bytes).unwrap();
        drop(peer);
        let (mut latencies, mut faults) = (Histogram::new(), Faults::default());
        let mut timing = Timing {
            start: Instant::now(),
            sample: 1,
            latencies: &mut latencies,
            faults: &mut faults,
        };
        // The end of the connection comes behind all bytes.
        let mut scratch = [0; 4096];
        while subscriber
            .receive(&target, &mut scratch, &mut timing)
            .is_ok()
        {}
        (subscriber.count(), faults)
    }

    #[test]
    fn messages_of_other_topics_are_unexpected() {
        let messages = [
            message("load-00000", 0),
            message("load-00001", 0),
            message("load-00000", 1),
            message("load-000001", 7),
        ];
        let frames: Vec<u8> = messages
            .iter()
            .flat_map(|text| [&[0x81, text.len() as u8], text.as_bytes()].concat())
            .collect();
        let list = messages.join(",");
        let body = format!("{{\"messages\":[{list}],\"next_offset\":\"msg_1\"}}");
        let page = format!(
            "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        for (transport, bytes) in [
            (Transport::WebSocket, &*frames),
            (Transport::Polls, page.as_bytes()),
        ] {
            let (count, faults) = checked(transport, bytes);
            assert_eq!(
                (count, faults.unexpected),
                (2, 2),
                "{transport:?} {faults:?}"
            );
            assert_eq!((faults.doubled, faults.misordered), (0, 0), "{faults:?}");
        }
    }
}
