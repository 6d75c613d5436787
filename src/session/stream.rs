//! Deliveries as the body of an answer that does not end: Server-Sent Events, or a line each (SPEC
//! section 8, WHATWG "Server-sent events").

use std::borrow::Cow;
use std::io::Write as _;

use super::answer::{Answer, begin_stream};
use super::context::Context;
use super::request::{IdRoom, Ticket, tagged};
use super::rights::Rights;
use super::wrapping::Wrapping;
use super::{CloseReason, Turn, poll};
use crate::api::delivery;
use crate::api::reply::Resume;
use crate::api::stream::{StreamFormat, StreamRequest};
use crate::http::Version;
use crate::topic::{Cursor, Gap, Message, MessageId, TopicName};

/// Time between two signs of life, in microseconds.
const HEARTBEAT_INTERVAL: u64 = 15_000_000;
/// Bytes that a client may still send; it has nothing more to say.
const IGNORED_BYTES_MAX: usize = 64 * 1024;

/// A request for a stream.
#[derive(Debug)]
pub struct StreamOpening {
    /// The request.
    pub ticket: Ticket,
    /// How the stream is written.
    pub format: StreamFormat,
    /// What it asks for.
    pub request: StreamRequest,
}

/// A stream after its head.
#[derive(Debug)]
pub struct Stream {
    format: StreamFormat,
    /// The body goes in chunks, not up to the end of the connection.
    is_chunked: bool,
    /// With several topics: what has been delivered of each.
    cursor: Option<Cursor>,
    /// When the client gets the next sign of life, in monotonic microseconds.
    beat_at: u64,
    /// Bytes that have come since.
    ignored: usize,
    rights: Rights,
}

impl Stream {
    /// Appends the head of the answer and the first event, which tells where the stream starts.
    pub(super) fn begin(
        opening: &StreamOpening,
        resumes: &[Resume<'_>],
        gaps: &[(TopicName, Gap)],
        ctx: &mut Context<'_>,
        out: &mut Vec<u8>,
    ) -> (Stream, Turn) {
        let StreamOpening {
            ticket,
            format,
            request,
        } = opening;
        let stream = Stream {
            format: *format,
            is_chunked: ticket.version == Version::Http11,
            cursor: cursor_of(resumes),
            beat_at: ctx.in_micros(HEARTBEAT_INTERVAL),
            ignored: 0,
            rights: ticket.rights.clone(),
        };
        let content_type = match format {
            StreamFormat::Events => "text/event-stream",
            StreamFormat::Lines => "application/x-ndjson",
        };
        let head = Answer::stream(content_type)
            .header("Cache-Control", "no-cache")
            .header("X-Accel-Buffering", "no");
        let turn = begin_stream(ticket, &head, ctx, out);
        // Whoever is cut off before he was told everything that is lost must be told again, so only
        // the last of these says where to go on.
        let place = stream.start(resumes);
        let id_unless = |more: bool| if more { "" } else { &place };
        stream.subscribed(request, resumes, id_unless(!gaps.is_empty()), ctx, out);
        for (number, (topic, gap)) in gaps.iter().enumerate() {
            stream.append_gap(topic, gap, id_unless(number + 1 < gaps.len()), out);
        }
        (stream, turn)
    }

    /// What a client says to go on where the stream starts.
    fn start(&self, resumes: &[Resume<'_>]) -> String {
        match (&self.cursor, resumes) {
            (Some(cursor), _) => cursor.to_string(),
            (None, [resume, ..]) => resume.position.to_string(),
            (None, []) => String::new(),
        }
    }

    fn subscribed(
        &self,
        request: &StreamRequest,
        resumes: &[Resume<'_>],
        id: &str,
        ctx: &mut Context<'_>,
        out: &mut Vec<u8>,
    ) {
        let mut room = IdRoom::default();
        let count = ctx.sessions.next();
        let session_id = tagged("sess_", ctx.sessions.whole(count), &mut room);
        let timestamp = ctx.now.timestamp();
        let topics = request.topics.iter().map(TopicName::as_str);
        let mut event = Vec::new();
        self.format.subscribed(
            &mut event,
            id.as_bytes(),
            topics,
            session_id,
            timestamp.as_str(),
            resumes,
        );
        self.append(&event, out);
    }

    /// What a client sends behind its request means nothing, but it may not go on for ever.
    pub(super) fn receive(&mut self, input: &[u8]) -> Turn {
        self.ignored = self.ignored.saturating_add(input.len());
        let turn = if self.ignored > IGNORED_BYTES_MAX {
            Turn::close(CloseReason::Refused)
        } else {
            Turn::default()
        };
        turn.behind(input.len())
    }

    /// What the client may do.
    pub(super) fn rights(&self) -> &Rights {
        &self.rights
    }

    /// When the next sign of life, or the end, is due, in monotonic microseconds.
    pub(super) fn deadline(&self, ctx: &Context<'_>) -> u64 {
        self.beat_at.min(self.rights.end(ctx))
    }

    /// A sign of life, so that nobody in between takes the connection for dead; or the end.
    pub(super) fn timeout(&mut self, ctx: &mut Context<'_>, out: &mut Vec<u8>) -> Turn {
        if self.rights.end(ctx) <= ctx.now.monotonic_micros {
            self.end(CloseReason::Unauthorized, "expired", out);
            return Turn::close(CloseReason::Unauthorized);
        }
        self.beat_at = ctx.in_micros(HEARTBEAT_INTERVAL);
        let mut event = Vec::new();
        let timestamp = ctx.now.timestamp();
        self.format.heartbeat(&mut event, timestamp.as_str());
        self.append(&event, out);
        Turn::default()
    }

    /// The bytes of one delivery. The place of the stream moves on with it.
    pub(super) fn wrap(&mut self, message: &Message, attempt: Option<u32>) -> Wrapping {
        let frame = message.frame();
        let mut part = delivery::payload_range(frame);
        let id = self.place_behind(message);
        let mut around = Vec::with_capacity(160);
        self.format.begin_message(&mut around, &id);
        let head_len = around.len();
        if let Some(attempt) = attempt {
            part.end -= 1;
            delivery::append_attempt(&mut around, attempt);
        } else if self.format.tells_offset(&id) {
            part.end -= 1;
            around.push(b'}');
        }
        self.format.end_object(&mut around, &id);
        if !self.is_chunked {
            return Wrapping::new(message, part, &around, head_len);
        }
        let size = format!("{:x}\r\n", around.len() + part.len());
        around.splice(..0, size.bytes());
        around.extend_from_slice(b"\r\n");
        Wrapping::new(message, part, &around, head_len + size.len())
    }

    /// Tells that messages cannot be delivered. The stream goes on behind them.
    pub(super) fn gap(&mut self, topic: &TopicName, gap: &Gap, out: &mut Vec<u8>) {
        let id = match &mut self.cursor {
            Some(cursor) => {
                cursor.set(gap.to.topic, gap.to.position);
                cursor.to_string()
            }
            None => gap.to.to_string(),
        };
        self.append_gap(topic, gap, &id, out);
    }

    fn append_gap(&self, topic: &TopicName, gap: &Gap, id: &str, out: &mut Vec<u8>) {
        let mut event = Vec::new();
        let name = topic.as_str();
        self.format.gap(&mut event, id.as_bytes(), name, gap);
        self.append(&event, out);
    }

    /// The last event says why the stream ends, in the words of a WebSocket's close frame.
    pub(super) fn end(&mut self, reason: CloseReason, text: &str, out: &mut Vec<u8>) {
        self.close(None, reason, text, out);
    }

    /// The last event of a server that stops; a browser connects again after so many milliseconds.
    pub(super) fn part(&mut self, retry_ms: u64, text: &str, out: &mut Vec<u8>) {
        self.close(Some(retry_ms), CloseReason::Draining, text, out);
    }

    fn close(&self, retry_ms: Option<u64>, reason: CloseReason, text: &str, out: &mut Vec<u8>) {
        let mut event = Vec::new();
        let code = reason.close_code().get();
        self.format.closed(&mut event, retry_ms, code, text);
        self.append(&event, out);
        if self.is_chunked {
            out.extend_from_slice(b"0\r\n\r\n");
        }
    }

    /// Bytes of its own.
    pub(super) fn held_bytes(&self) -> usize {
        size_of::<Stream>() + self.cursor.as_ref().map_or(0, |_| Cursor::LEN_MAX)
    }

    /// What a client says to go on behind a message. The place of the stream moves there.
    fn place_behind<'m>(&mut self, message: &'m Message) -> Cow<'m, [u8]> {
        let id = delivery::message_id(message.frame());
        let Some(cursor) = &mut self.cursor else {
            return Cow::Borrowed(id);
        };
        let parsed = std::str::from_utf8(id).ok().map(MessageId::parse);
        if let Some(Ok(id)) = parsed {
            cursor.set(id.topic, id.position);
        }
        Cow::Owned(cursor.to_string().into_bytes())
    }

    fn append(&self, bytes: &[u8], out: &mut Vec<u8>) {
        if !self.is_chunked {
            out.extend_from_slice(bytes);
            return;
        }
        let _ = write!(out, "{:x}\r\n", bytes.len());
        out.extend_from_slice(bytes);
        out.extend_from_slice(b"\r\n");
    }
}

/// The places of several topics; with one, the message id says where to go on.
fn cursor_of(resumes: &[Resume<'_>]) -> Option<Cursor> {
    let places: Vec<MessageId> = resumes.iter().map(|it| it.position).collect();
    (places.len() > 1).then(|| poll::cursor_of(&places))
}
