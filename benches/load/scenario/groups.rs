//! A member of a group is killed: how soon the others have what it held.

use std::time::{Duration, Instant};

use memchr::memmem;
use mio::{Events, Interest, Poll, Token};

use crate::Outcome;
use crate::args::{Common, Groups};
use crate::bulks::Bulks;
use crate::frame_reader::FrameReader;
use crate::server::Server;
use pulsar_proxy::bench::histogram::Histogram;
use pulsar_proxy::bench::socket::Socket;
use pulsar_proxy::bench::target::Target;
use pulsar_proxy::bench::transport::{close_text, subscribe};
use pulsar_proxy::bench::wire::{self, Stamp, decode_frame, encode_frame, message_id};

/// The longest that a fail-over may take.
const FAIL_OVER_MAX: Duration = Duration::from_millis(100);
/// How long anything that is waited for may take before the run fails.
const TIMEOUT: Duration = Duration::from_secs(20);
const SCRATCH_BYTES: usize = 64 * 1024;

/// Kills members, tells how long the others waited, and fails when that was too long.
pub(crate) fn groups(common: &Common, options: &Groups) -> Outcome<()> {
    let waits = fail_over(common, options)?;
    println!(
        "{} kills of a member with {} messages pending, until {} others had them all: {waits}",
        options.kills, options.pending, options.others
    );
    if waits.percentile(100.0) > FAIL_OVER_MAX {
        return Err(format!("a fail-over took longer than {FAIL_OVER_MAX:?}").into());
    }
    Ok(())
}

/// The time from each kill until the last message that was pending has come to another member.
pub(crate) fn fail_over(common: &Common, options: &Groups) -> Outcome<Histogram> {
    let server = Server::start(common, &[])?;
    let mut publisher = Bulks::connect(&server.target, common.body_bytes)?;
    let mut waits = Histogram::new();
    for kill in 0..options.kills {
        // A topic for each, so that what is left of one kill is not in the way of the next.
        waits.record(kill_one(&server.target, kill, options, &mut publisher)?);
    }
    Ok(waits)
}

fn kill_one(
    target: &Target,
    topic: usize,
    options: &Groups,
    publisher: &mut Bulks<'_>,
) -> Outcome<Duration> {
    let name = target.topic(topic);
    let fields = |client: usize| {
        format!(
            ",\"client_id\":\"{client}\",\"group\":\"g\",\"ack_timeout\":3600,\"window\":{}",
            options.pending
        )
    };
    let (stream, rest) = subscribe(target, &name, &fields(0))?;
    let reset = stream.try_clone()?;
    let mut victim = FrameReader::new(stream, rest, TIMEOUT)?;
    publisher.publish(topic, 0..options.pending)?;
    let mut place = 0;
    for number in 0..options.pending as u64 {
        victim.next(|frame| expect_stamp(frame.payload, number, &mut place))?;
    }

    let mut others = Others::connect(1..=options.others, |client| {
        subscribe(target, &name, &fields(client))
    })?;
    socket2::SockRef::from(&reset).set_linger(Some(Duration::ZERO))?;
    drop(reset);
    let killed_at = Instant::now();
    drop(victim);
    let wait = others.receive(options.pending, killed_at)?;
    others.acknowledge(options.pending)?;
    Ok(wait)
}

fn expect_stamp(text: &[u8], number: u64, place: &mut usize) -> Outcome<()> {
    match Stamp::find(text, place) {
        Some(stamp) if stamp.number == number => Ok(()),
        _ => Err(format!("{} for message {number}", String::from_utf8_lossy(text)).into()),
    }
}

/// The members that stay.
struct Others {
    poll: Poll,
    members: Vec<Other>,
}

struct Other {
    socket: Socket,
    /// Id of the newest message that has come.
    newest: Option<String>,
}

impl Others {
    fn connect(
        clients: impl IntoIterator<Item = usize>,
        subscribe: impl Fn(usize) -> Outcome<(std::net::TcpStream, Vec<u8>)>,
    ) -> Outcome<Self> {
        let poll = Poll::new()?;
        let mut members = Vec::new();
        for client in clients {
            let (stream, rest) = subscribe(client)?;
            let mut socket = Socket::new(stream, rest)?;
            let token = Token(members.len());
            poll.registry()
                .register(socket.stream(), token, Interest::READABLE)?;
            members.push(Other {
                socket,
                newest: None,
            });
        }
        Ok(Self { poll, members })
    }

    /// Waits until each of `count` messages has come to one of them; returns how long after `from` that was.
    fn receive(&mut self, count: usize, from: Instant) -> Outcome<Duration> {
        let mut seen = vec![false; count];
        let (mut left, mut place) = (count, 0);
        while left > 0 {
            self.wait(from, |other, text| {
                let stamp = Stamp::find(text, &mut place).ok_or("no stamp in a message")?;
                let is_again = memmem::find(text, b"\"delivery_attempt\":2").is_some();
                let seen = usize::try_from(stamp.number)
                    .ok()
                    .and_then(|number| seen.get_mut(number));
                match seen {
                    Some(seen) if !*seen && is_again => *seen = true,
                    _ => return Err(String::from_utf8_lossy(text).into()),
                }
                left -= 1;
                let id = message_id(text).ok_or("no id in a message")?;
                let newest = other.newest.get_or_insert_default();
                if id > newest.as_str() {
                    id.clone_into(newest);
                }
                Ok(())
            })?;
        }
        Ok(from.elapsed())
    }

    /// Acknowledges everything; all of `count` messages must have been pending.
    fn acknowledge(&mut self, count: usize) -> Outcome<()> {
        let mut asked = 0;
        for other in &mut self.members {
            let Some(id) = &other.newest else {
                continue;
            };
            let ack = format!(
                "{{\"type\":\"ack\",\"message_id\":\"{id}\",\"cumulative\":true,\"confirm\":true}}"
            );
            encode_frame(other.socket.outgoing(), wire::TEXT, ack.as_bytes());
            other.socket.flush()?;
            asked += 1;
        }
        let (mut answers, mut acknowledged) = (0, 0);
        let from = Instant::now();
        while answers < asked {
            self.wait(from, |_, text| {
                let answer: serde_json::Value = serde_json::from_slice(text)?;
                acknowledged += answer["acknowledged"].as_u64().ok_or("no acked")?;
                answers += 1;
                Ok(())
            })?;
        }
        if acknowledged != count as u64 {
            return Err(format!("{acknowledged} of {count} messages were pending").into());
        }
        Ok(())
    }

    /// Waits for frames and shows the text of each.
    fn wait(
        &mut self,
        from: Instant,
        mut show: impl FnMut(&mut Other, &[u8]) -> Outcome<()>,
    ) -> Outcome<()> {
        let mut events = Events::with_capacity(64);
        self.poll.poll(&mut events, Some(TIMEOUT))?;
        if from.elapsed() > TIMEOUT {
            return Err("waited too long for a member of the group".into());
        }
        let mut scratch = vec![0; SCRATCH_BYTES];
        for event in &events {
            let other = &mut self.members[event.token().0];
            let mut texts = Vec::new();
            other.socket.receive(&mut scratch, |input| {
                let mut used = 0;
                while let Some((frame, count)) = decode_frame(&input[used..])? {
                    used += count;
                    match frame.opcode {
                        wire::TEXT => texts.push(frame.payload.to_vec()),
                        wire::CLOSE => return Err(close_text(frame.payload).into()),
                        _ => {}
                    }
                }
                Ok(used)
            })?;
            for text in texts {
                show(other, &text)?;
            }
        }
        Ok(())
    }
}
