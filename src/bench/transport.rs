//! The ways in which messages come to a subscriber: how each is opened, and what comes over it.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;

use memchr::memmem;

use super::Outcome;
use super::target::Target;
use super::wire::{self, decode_answer, decode_chunk, decode_frame, encode_frame, next_offset};

/// The longest wait that a poll may ask for, in seconds.
const POLL_SECONDS: u8 = 60;

/// What a subscriber reads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Transport {
    /// A WebSocket.
    #[default]
    WebSocket,
    /// Server-Sent Events.
    Events,
    /// NDJSON.
    Lines,
    /// Long polls, each from where the answer before has ended.
    Polls,
}

/// One thing that came.
pub enum Unit<'a> {
    /// A message.
    Message(&'a [u8]),
    /// The answer to a poll: any number of messages, and where to go on.
    Page(&'a [u8]),
    /// Wants a pong with these bytes.
    Ping(&'a [u8]),
    /// A sign of life.
    Other,
}

impl Transport {
    /// Decodes one thing; the number is its length. The server sends each event of a stream as a chunk of its
    /// own.
    ///
    /// # Errors
    /// What is malformed, and the end of the connection in the words of the server.
    pub fn decode(self, input: &[u8]) -> Outcome<Option<(Unit<'_>, usize)>> {
        match self {
            Transport::WebSocket => decode_websocket(input),
            Transport::Events | Transport::Lines => decode_stream(input),
            Transport::Polls => decode_poll(input),
        }
    }
}

fn decode_websocket(input: &[u8]) -> Outcome<Option<(Unit<'_>, usize)>> {
    let Some((frame, used)) = decode_frame(input)? else {
        return Ok(None);
    };
    let unit = match frame.opcode {
        wire::TEXT => Unit::Message(frame.payload),
        wire::PING => Unit::Ping(frame.payload),
        wire::CLOSE => return Err(close_text(frame.payload).into()),
        opcode => return Err(format!("unexpected opcode {opcode}").into()),
    };
    Ok(Some((unit, used)))
}

fn decode_stream(input: &[u8]) -> Outcome<Option<(Unit<'_>, usize)>> {
    let Some((event, used)) = decode_chunk(input)? else {
        return Ok(None);
    };
    let is_heartbeat = event.starts_with(b":") || event.starts_with(b"{\"type\":\"heartbeat\"");
    let unit = match is_heartbeat {
        true => Unit::Other,
        false => Unit::Message(event),
    };
    Ok(Some((unit, used)))
}

fn decode_poll(input: &[u8]) -> Outcome<Option<(Unit<'_>, usize)>> {
    let Some((answer, used)) = decode_answer(input)? else {
        return Ok(None);
    };
    if answer.status != 200 {
        let body = String::from_utf8_lossy(answer.body);
        return Err(format!("poll answered {}: {body}", answer.status).into());
    }
    Ok(Some((Unit::Page(answer.body), used)))
}

/// A close payload in words (RFC 6455 section 5.5.1).
pub fn close_text(payload: &[u8]) -> String {
    let code = payload
        .first_chunk()
        .map_or(1005, |code| u16::from_be_bytes(*code));
    let reason = String::from_utf8_lossy(payload.get(2..).unwrap_or_default());
    format!("closed by the server: {code} {reason}")
}

/// Opens a WebSocket and subscribes it to one topic. `fields` are further fields of the subscribe, such as
/// `,"on_lag":"skip"`. Returns the blocking stream and what was read behind the server's `subscribed`.
///
/// # Errors
/// When there is no connection, or the server refuses.
pub fn subscribe(target: &Target, topic: &str, fields: &str) -> Outcome<(TcpStream, Vec<u8>)> {
    let mut stream = target.connect()?;
    stream.write_all(wire::upgrade_request(target).as_bytes())?;
    let mut input = Vec::new();
    read_head(&mut stream, &mut input, 101, wire::ACCEPT)?;
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
        is_subscribed(frame.payload).map(|()| Some(used))
    })?;
    Ok((stream, input))
}

/// Opens a stream of one topic. `fields` are further ones of the query, such as `&since=earliest`. Returns
/// the blocking stream and what was read behind the first event.
///
/// # Errors
/// When there is no connection, or the server refuses.
pub fn open_stream(
    target: &Target,
    topic: &str,
    content_type: &str,
    fields: &str,
) -> Outcome<(TcpStream, Vec<u8>)> {
    let mut stream = target.connect()?;
    let path = format!("/api/v1/stream?topics={topic}{fields}");
    let request = format!(
        "{}Accept: {content_type}\r\n\r\n",
        target.head("GET", &path)
    );
    stream.write_all(request.as_bytes())?;
    let mut input = Vec::new();
    read_head(&mut stream, &mut input, 200, content_type)?;
    read_until(&mut stream, &mut input, |input| {
        let Some((event, used)) = decode_chunk(input)? else {
            return Ok(None);
        };
        is_subscribed(event).map(|()| Some(used))
    })?;
    Ok((stream, input))
}

/// Finds out where one topic ends, and sends the poll that waits for what comes behind it.
///
/// # Errors
/// When there is no connection, or the server refuses.
pub(super) fn open_poll(target: &Target, topic: &str) -> Outcome<(TcpStream, Vec<u8>)> {
    let mut stream = target.connect()?;
    stream.write_all(wire::poll_request(target, topic, 0, "").as_bytes())?;
    let (mut input, mut since) = (Vec::new(), String::new());
    read_until(&mut stream, &mut input, |input| {
        let Some((Unit::Page(body), used)) = decode_poll(input)? else {
            return Ok(None);
        };
        read_offset(body, &mut since)?;
        Ok(Some(used))
    })?;
    stream.write_all(poll_on(target, topic, &since).as_bytes())?;
    Ok((stream, input))
}

/// The poll behind an answer.
pub(super) fn poll_on(target: &Target, topic: &str, since: &str) -> String {
    wire::poll_request(target, topic, POLL_SECONDS, since)
}

/// Takes from an answer where to go on.
pub(super) fn read_offset(body: &[u8], since: &mut String) -> Outcome<()> {
    let malformed = || format!("poll answered {}", String::from_utf8_lossy(body));
    next_offset(body).ok_or_else(malformed)?.clone_into(since);
    Ok(())
}

/// The body that `GET path` is answered with.
///
/// # Errors
/// When there is no connection, or another status than 200.
pub fn fetch(target: &Target, path: &str) -> Outcome<String> {
    let mut stream = target.connect()?;
    stream.write_all((target.head("GET", path) + "\r\n").as_bytes())?;
    let (mut input, mut text) = (Vec::new(), String::new());
    read_until(&mut stream, &mut input, |input| {
        let Some((answer, used)) = decode_answer(input)? else {
            return Ok(None);
        };
        let body = String::from_utf8_lossy(answer.body);
        if answer.status != 200 {
            return Err(format!("{path} answered {}: {body}", answer.status).into());
        }
        text = body.into_owned();
        Ok(Some(used))
    })?;
    Ok(text)
}

fn is_subscribed(text: &[u8]) -> Outcome<()> {
    if memmem::find(text, b"\"subscribed\"").is_none() {
        return Err(format!("subscribe answered {}", String::from_utf8_lossy(text)).into());
    }
    Ok(())
}

/// Reads a head that must have this status and hold this text.
fn read_head(
    stream: &mut TcpStream,
    input: &mut Vec<u8>,
    status: u16,
    wanted: &str,
) -> Outcome<()> {
    read_until(stream, input, |input| {
        let Some((answer, used)) = decode_answer(input)? else {
            return Ok(None);
        };
        let is_there = memmem::find(&input[..used], wanted.as_bytes()).is_some();
        if answer.status != status || !is_there {
            let body = String::from_utf8_lossy(answer.body);
            let text = format!("answered {} in place of {status}: {body}", answer.status);
            return Err(text.into());
        }
        Ok(Some(used))
    })
}

/// Reads until `decode` finds something whole, and removes that from `input`.
fn read_until(
    stream: &mut TcpStream,
    input: &mut Vec<u8>,
    mut decode: impl FnMut(&[u8]) -> Outcome<Option<usize>>,
) -> Outcome<()> {
    loop {
        if let Some(used) = decode(input)? {
            input.drain(..used);
            return Ok(());
        }
        let mut chunk = [0; 4096];
        match stream.read(&mut chunk) {
            Ok(0) => return Err("the server closed the connection".into()),
            Ok(count) => input.extend_from_slice(&chunk[..count]),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                return Err("the server does not answer".into());
            }
            Err(error) => return Err(error.into()),
        }
    }
}
