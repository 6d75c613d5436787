//! A WebSocket conversation: commands in, replies out (SPEC section 5, RFC 6455).
//!
//! ```text
//!              subscribe
//!   Joining ─────────────► Open         Echo (conformance only)
//!      │ anything else       │            │
//!      │ or nothing in 10 s  │ close, violation, silence, lag
//!      └──────────► close frame, then the worker closes the socket ◄──┘
//! ```

use super::context::Context;
use super::request::{IdRoom, tagged};
use super::wrapping::Wrapping;
use super::{AckReply, Acknowledge, Acknowledged, CloseReason, Effect, SubscribeRequest, Turn};
use crate::api::command::{Command, CommandError, OnLag, Subscribe, parse, parse_first};
use crate::api::delivery;
use crate::api::reply::{self, Resume};
use crate::topic::{Gap, Message, TopicName};
use crate::ws::{Assembler, CloseCode, Deflate, Event, Opcode, close, deflate, frame};

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
    /// When something last came, or a waiting byte could be written, in monotonic microseconds.
    alive_at: u64,
    /// When the client was last pinged.
    pinged_at: Lately,
    /// When it last got a heartbeat, or asked for them.
    beat_at: Lately,
    /// Seconds between heartbeats; 0 for none.
    heartbeat: u16,
}

/// A monotonic time of the last 49 days, in milliseconds: every WebSocket has two.
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
const _: () = assert!(size_of::<WebSocket>() <= 32);

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stage {
    /// The first subscribe has not come.
    Joining,
    Open,
    Echo,
}

impl WebSocket {
    /// A WebSocket that has just been opened.
    pub(super) fn new(is_echo: bool, deflate: Option<Deflate>, ctx: &mut Context<'_>) -> WebSocket {
        let now_micros = ctx.now.monotonic_micros;
        WebSocket {
            assembler: Assembler::default(),
            stage: if is_echo { Stage::Echo } else { Stage::Joining },
            deflate,
            id: ctx.sessions.next(),
            alive_at: now_micros,
            pinged_at: Lately::at(now_micros),
            beat_at: Lately::at(now_micros),
            heartbeat: 0,
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
            self.alive_at = ctx.now.monotonic_micros;
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
                Stage::Joining => join(parse_first(text), ctx, out),
                Stage::Open => open(parse(text), ctx, out),
            },
            Some(Event::Binary(bytes)) => match stage {
                Stage::Echo => echo(Opcode::Binary, bytes, echoes_with, out),
                Stage::Joining => join(Err(CommandError::binary().of_subscribe()), ctx, out),
                Stage::Open => open(Err(CommandError::binary()), ctx, out),
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
        match self.stage {
            // Nothing else keeps a client that does not subscribe.
            Stage::Joining => {
                let opened_at = self.beat_at.micros(ctx.now.monotonic_micros);
                opened_at.saturating_add(ctx.limits.subscribe_timeout)
            }
            Stage::Open | Stage::Echo => {
                let idle_at = self.alive_at.saturating_add(ctx.limits.idle_timeout);
                self.ping_due(ctx).min(idle_at).min(self.beat_due(ctx))
            }
        }
    }

    fn ping_due(&self, ctx: &Context<'_>) -> u64 {
        let last = self
            .alive_at
            .max(self.pinged_at.micros(ctx.now.monotonic_micros));
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
        if self.stage == Stage::Joining {
            return join(Err(CommandError::late()), ctx, out);
        }
        if now.saturating_sub(self.alive_at) >= ctx.limits.idle_timeout {
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

    /// Waiting bytes could be written: somebody is there.
    pub(super) fn progressed(&mut self, now_micros: u64) {
        self.alive_at = now_micros;
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
            Stage::Joining => join(Err(error.of_subscribe()), ctx, out),
            Stage::Open | Stage::Echo => open(Err(error), ctx, out),
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

/// The first message, which decides whether there is a conversation at all.
fn join(
    first: Result<Subscribe<'_>, CommandError>,
    ctx: &mut Context<'_>,
    out: &mut Vec<u8>,
) -> Turn {
    match first {
        Ok(subscribe) => Turn::effect(Effect::Subscribe(Box::new(request(subscribe)))),
        Err(error) => {
            append_text(ctx, out, |json| reply::error(json, &error));
            let turn = closed(CloseReason::SubscribeFailed, "", out);
            Turn {
                error: Some(error.code.as_str()),
                ..turn
            }
        }
    }
}

fn open(
    command: Result<Command<'_>, CommandError>,
    ctx: &mut Context<'_>,
    out: &mut Vec<u8>,
) -> Turn {
    match command {
        Ok(Command::Subscribe(subscribe)) => {
            Turn::effect(Effect::Subscribe(Box::new(request(subscribe))))
        }
        Ok(Command::Unsubscribe { topics }) => Turn::effect(Effect::Unsubscribe(topics)),
        // At most once: delivered is delivered.
        Ok(Command::Ack {
            ids,
            cumulative,
            confirm,
        }) => Turn::effect(Effect::Acknowledge(Box::new(Acknowledge {
            ids: ids.into_iter().map(Into::into).collect(),
            cumulative,
            reply: if confirm {
                AckReply::Message
            } else {
                AckReply::None
            },
        }))),
        Ok(Command::Nack { message_id, delay }) => Turn::effect(Effect::Nack {
            message_id: message_id.into(),
            delay,
        }),
        Ok(Command::Ping) => {
            let timestamp = ctx.now.timestamp();
            append_text(ctx, out, |json| reply::pong(json, timestamp.as_str()));
            Turn::default()
        }
        Err(error) => {
            append_text(ctx, out, |json| reply::error(json, &error));
            Turn {
                error: Some(error.code.as_str()),
                ..Turn::default()
            }
        }
    }
}

fn request(subscribe: Subscribe<'_>) -> SubscribeRequest {
    SubscribeRequest {
        topics: subscribe.topics,
        offset: subscribe.offset,
        skips: subscribe.on_lag == OnLag::Skip,
        tell_positions: subscribe.tell_positions,
        delivery: subscribe.delivery,
        heartbeat: subscribe.heartbeat,
    }
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

fn append_text(ctx: &mut Context<'_>, out: &mut Vec<u8>, json: impl FnOnce(&mut Vec<u8>)) {
    ctx.scratch.clear();
    json(ctx.scratch);
    append_frame(Opcode::Text, ctx.scratch, out);
    ctx.scratch.clear();
}

fn append_frame(opcode: Opcode, payload: &[u8], out: &mut Vec<u8>) {
    frame::encode_header(opcode, payload.len(), out);
    out.extend_from_slice(payload);
}
