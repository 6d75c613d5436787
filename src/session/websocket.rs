//! A WebSocket conversation: commands in, replies out (SPEC section 5, RFC 6455).
//!
//! ```text
//!              subscribe
//!   Joining ─────────────► Open         Echo (conformance only)
//!      │ anything else       │            │
//!      │ or nothing in 10 s  │ close, violation, silence, lag
//!      └──────────► close frame, then the worker closes the socket ◄──┘
//! ```

use super::commands::{authenticated, join, open, refuse, refuse_first, unauthorized};
use super::context::Context;
use super::request::{IdRoom, tagged};
use super::rights::Rights;
use super::wrapping::Wrapping;
use super::{Acknowledged, CloseReason, SubscribeRequest, Turn};
use crate::api::command::{CommandError, parse, parse_first};
use crate::api::delivery;
use crate::api::reply::{self, Resume};
use crate::moment::Timestamp;
use crate::topic::{Gap, Message, TopicName};
use crate::ws::{Assembler, CloseCode, Deflate, Event, Opcode, close, deflate, frame};

/// Time between the word that a credential ends and its end, in microseconds.
const WARNING: u64 = 30_000_000;

/// The protocol state of a WebSocket.
#[derive(Debug)]
pub struct WebSocket {
    assembler: Assembler,
    stage: Stage,
    /// Messages may be compressed, in both directions. Only deliveries and echoes are: an answer is
    /// short and its own.
    deflate: Option<Deflate>,
    /// What the client is told as its `session_id`.
    id: u32,
    /// When something last came, or a waiting byte could be written.
    alive_at: Lately,
    /// When the client was last pinged.
    pinged_at: Lately,
    /// When it last got a heartbeat, or asked for them.
    beat_at: Lately,
    /// Seconds between heartbeats; 0 for none.
    heartbeat: u16,
    /// The client knows that its credential ends soon.
    is_warned: bool,
    rights: Rights,
}

/// A monotonic time of the last 49 days, in milliseconds: every WebSocket has three.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Lately(u32);

impl Lately {
    fn at(micros: u64) -> Lately {
        Lately((micros / 1000) as u32)
    }

    /// The time in microseconds, at most `now_micros`.
    fn micros(self, now_micros: u64) -> u64 {
        let now = now_micros / 1000;
        let ago = (now as u32).wrapping_sub(self.0);
        (now - u64::from(ago).min(now)) * 1000
    }
}

// Every idle connection has one.
const _: () = assert!(size_of::<WebSocket>() <= 40);

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stage {
    /// The first subscribe has not come.
    Joining,
    Open,
    Echo,
}

impl WebSocket {
    /// A WebSocket that has just been opened.
    pub(super) fn new(
        is_echo: bool,
        deflate: Option<Deflate>,
        rights: Rights,
        ctx: &mut Context<'_>,
    ) -> WebSocket {
        let now_micros = ctx.now.monotonic_micros;
        WebSocket {
            assembler: Assembler::default(),
            stage: if is_echo { Stage::Echo } else { Stage::Joining },
            deflate,
            id: ctx.sessions.next(),
            alive_at: Lately::at(now_micros),
            pinged_at: Lately::at(now_micros),
            beat_at: Lately::at(now_micros),
            heartbeat: 0,
            is_warned: false,
            rights,
        }
    }

    /// Takes what has come, up to the end of one message or control frame.
    pub(super) fn receive(
        &mut self,
        input: &mut [u8],
        ctx: &mut Context<'_>,
        out: &mut Vec<u8>,
    ) -> Turn {
        // An empty input still frees the message that the last call has handed out.
        if !input.is_empty() {
            self.alive_at = Lately::at(ctx.now.monotonic_micros);
        }
        let len = input.len();
        let stage = self.stage;
        let limits = ctx
            .limits
            .assembler(stage == Stage::Echo, self.deflate.is_some());
        let fed = match self.assembler.feed(input, &limits) {
            Ok(fed) => fed,
            Err(error) => {
                let reason = reason_of(error.close_code());
                return closed(reason, reason.as_str(), out).behind(len);
            }
        };
        let inflated = fed.inflated;
        let echoes_with = self.deflate.filter(|_| inflated > 0);
        let turn = match fed.event {
            None => Turn::default(),
            Some(Event::Ping(payload)) => {
                append_frame(Opcode::Pong, payload, out);
                Turn::default()
            }
            Some(Event::Pong(_)) => Turn::default(),
            Some(Event::Close(received)) => answer_close(received.map(|(code, _)| code), out),
            Some(Event::Text(text)) => match stage {
                Stage::Echo => echo(Opcode::Text, text.as_bytes(), echoes_with, out),
                Stage::Joining => join(parse_first(text), &self.rights, ctx, out),
                Stage::Open => open(parse(text), &self.rights, ctx, out),
            },
            Some(Event::Binary(bytes)) => match stage {
                Stage::Echo => echo(Opcode::Binary, bytes, echoes_with, out),
                Stage::Joining => refuse_first(&CommandError::binary().of_subscribe(), ctx, out),
                Stage::Open => refuse(&CommandError::binary(), ctx, out),
            },
        };
        Turn {
            inflated,
            ..turn.behind(fed.consumed)
        }
    }

    /// Whether it inflates what is compressed for everybody.
    pub(super) fn takes_compressed(&self) -> bool {
        self.deflate.is_some_and(Deflate::takes_shared)
    }

    /// When [`WebSocket::timeout`] is due, in monotonic microseconds.
    pub(super) fn deadline(&self, ctx: &Context<'_>) -> u64 {
        let due = match self.stage {
            // Nothing else keeps a client that does not subscribe.
            Stage::Joining => {
                let opened_at = self.beat_at.micros(ctx.now.monotonic_micros);
                opened_at.saturating_add(ctx.limits.subscribe_timeout)
            }
            Stage::Open | Stage::Echo => {
                let alive_at = self.alive_at.micros(ctx.now.monotonic_micros);
                let idle_at = alive_at.saturating_add(ctx.limits.idle_timeout);
                self.ping_due(ctx).min(idle_at).min(self.beat_due(ctx))
            }
        };
        due.min(self.rights_due(ctx))
    }

    /// When the client is told that its credential ends, or that it has ended.
    fn rights_due(&self, ctx: &Context<'_>) -> u64 {
        let end = self.rights.end(ctx);
        match self.is_warned {
            _ if end == u64::MAX => u64::MAX,
            true => end,
            false => end.saturating_sub(WARNING),
        }
    }

    fn ping_due(&self, ctx: &Context<'_>) -> u64 {
        let now = ctx.now.monotonic_micros;
        let last = self.alive_at.micros(now).max(self.pinged_at.micros(now));
        last.saturating_add(ctx.limits.ping_interval)
    }

    fn beat_due(&self, ctx: &Context<'_>) -> u64 {
        match self.heartbeat {
            0 => u64::MAX,
            seconds => {
                self.beat_at.micros(ctx.now.monotonic_micros) + u64::from(seconds) * 1_000_000
            }
        }
    }

    /// The deadline has come.
    pub(super) fn timeout(&mut self, ctx: &mut Context<'_>, out: &mut Vec<u8>) -> Turn {
        let now = ctx.now.monotonic_micros;
        if self.rights.end(ctx) <= now {
            return unauthorized("The credential has expired", "expired", ctx, out);
        }
        if self.rights_due(ctx) <= now {
            self.warn(ctx, out);
            return Turn::default();
        }
        if self.stage == Stage::Joining {
            return refuse_first(&CommandError::late(), ctx, out);
        }
        if now.saturating_sub(self.alive_at.micros(now)) >= ctx.limits.idle_timeout {
            return closed(CloseReason::Idle, "idle", out);
        }
        if self.ping_due(ctx) <= now {
            self.pinged_at = Lately::at(now);
            append_frame(Opcode::Ping, b"", out);
        }
        if self.beat_due(ctx) <= now {
            self.beat_at = Lately::at(now);
            let timestamp = ctx.now.timestamp();
            append_text(ctx, out, |json| reply::heartbeat(json, timestamp.as_str()));
        }
        Turn::default()
    }

    fn warn(&mut self, ctx: &mut Context<'_>, out: &mut Vec<u8>) {
        self.is_warned = true;
        let end = self.rights.caller().and_then(|caller| caller.expires_at);
        let end = end.map(Timestamp::of_unix);
        append_text(ctx, out, |json| {
            reply::expiring(json, end.as_ref().map(Timestamp::as_str));
        });
    }

    /// What the client may do.
    pub(super) fn rights(&self) -> &Rights {
        &self.rights
    }

    /// The client may do this from now on.
    pub(super) fn renewed(&mut self, rights: Rights, ctx: &mut Context<'_>, out: &mut Vec<u8>) {
        self.rights = rights;
        self.is_warned = false;
        authenticated(&self.rights, ctx, out);
    }

    /// Waiting bytes could be written: somebody is there.
    pub(super) fn progressed(&mut self, now_micros: u64) {
        self.alive_at = Lately::at(now_micros);
    }

    /// The worker has subscribed to what was asked for.
    pub(super) fn subscribed(
        &mut self,
        request: &SubscribeRequest,
        resumes: &[Resume<'_>],
        gaps: &[(TopicName, Gap)],
        ctx: &mut Context<'_>,
        out: &mut Vec<u8>,
    ) {
        self.stage = Stage::Open;
        if let Some(seconds) = request.heartbeat {
            self.heartbeat = seconds;
            self.beat_at = Lately::at(ctx.now.monotonic_micros);
        }
        let mut room = IdRoom::default();
        let session_id = tagged("sess_", ctx.sessions.whole(self.id), &mut room);
        let resumes = request.tell_positions.then_some(resumes);
        let timestamp = ctx.now.timestamp();
        append_text(ctx, out, |json| {
            let topics = request.topics.iter().map(TopicName::as_str);
            reply::subscribed(json, topics, session_id, timestamp.as_str(), resumes);
        });
        for (topic, gap) in gaps {
            gap_frame(topic, gap, out);
        }
    }

    /// The worker has acknowledged.
    pub(super) fn acknowledged(
        ids: &[Box<str>],
        result: &Acknowledged,
        ctx: &mut Context<'_>,
        out: &mut Vec<u8>,
    ) {
        let failed = result.failed_ids(ids);
        append_text(ctx, out, |json| {
            reply::acked(json, result.count, &failed, true);
        });
    }

    /// The worker has unsubscribed.
    pub(super) fn unsubscribed(topics: &[TopicName], ctx: &mut Context<'_>, out: &mut Vec<u8>) {
        let names = topics.iter().map(TopicName::as_str);
        append_text(ctx, out, |json| reply::unsubscribed(json, names));
    }

    /// The worker could not subscribe.
    pub(super) fn refused(
        &mut self,
        error: CommandError,
        ctx: &mut Context<'_>,
        out: &mut Vec<u8>,
    ) -> Turn {
        match self.stage {
            Stage::Joining => refuse_first(&error.of_subscribe(), ctx, out),
            Stage::Open | Stage::Echo => refuse(&error, ctx, out),
        }
    }

    /// Bytes held for a message that has come in part.
    pub(super) fn held_bytes(&self) -> usize {
        self.assembler.held_bytes()
    }
}

/// Appends a close frame and asks for the end of the connection.
pub(super) fn closed(reason: CloseReason, text: &str, out: &mut Vec<u8>) -> Turn {
    close::encode(reason.close_code(), text, out);
    Turn::close(reason)
}

/// Appends the frame of a `gap` message.
pub(super) fn gap_frame(topic: &TopicName, gap: &Gap, out: &mut Vec<u8>) {
    let mut json = Vec::with_capacity(256);
    reply::gap(&mut json, topic.as_str(), gap);
    append_frame(Opcode::Text, &json, out);
}

/// A delivery that says how often the message was delivered: the frame has another length.
pub(super) fn wrap(message: &Message, attempt: u32) -> Wrapping {
    let mut part = delivery::payload_range(message.frame());
    part.end -= 1;
    let (mut head, mut tail) = (Vec::new(), Vec::new());
    delivery::append_attempt(&mut tail, attempt);
    frame::encode_header(Opcode::Text, part.len() + tail.len(), &mut head);
    let head_len = head.len();
    head.extend_from_slice(&tail);
    Wrapping::new(message, part, &head, head_len)
}

/// Sends a message back, compressed for the peer's window if it came compressed.
fn echo(opcode: Opcode, payload: &[u8], deflate: Option<Deflate>, out: &mut Vec<u8>) -> Turn {
    let compressed =
        deflate.and_then(|deflate| deflate::compress(opcode, payload, deflate.window_bits()));
    match compressed {
        Some(whole) => out.extend_from_slice(&whole),
        None => append_frame(opcode, payload, out),
    }
    Turn::default()
}

/// A close frame is answered with its own code (RFC 6455 section 5.5.1).
fn answer_close(received: Option<CloseCode>, out: &mut Vec<u8>) -> Turn {
    match received {
        Some(code) => close::encode(code, "", out),
        None => append_frame(Opcode::Close, b"", out),
    }
    Turn::close(CloseReason::Finished)
}

fn reason_of(code: CloseCode) -> CloseReason {
    match code {
        CloseCode::INVALID_DATA => CloseReason::InvalidData,
        CloseCode::TOO_BIG => CloseReason::TooBig,
        _ => CloseReason::ProtocolError,
    }
}

/// Appends a text message of this JSON.
pub(super) fn append_text(
    ctx: &mut Context<'_>,
    out: &mut Vec<u8>,
    json: impl FnOnce(&mut Vec<u8>),
) {
    ctx.scratch.clear();
    json(ctx.scratch);
    append_frame(Opcode::Text, ctx.scratch, out);
    ctx.scratch.clear();
}

fn append_frame(opcode: Opcode, payload: &[u8], out: &mut Vec<u8>) {
    frame::encode_header(opcode, payload.len(), out);
    out.extend_from_slice(payload);
}
