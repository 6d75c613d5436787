//! The ways in which messages come to a subscriber: how each is opened, and what comes over it.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use memchr::memmem;

use crate::Outcome;
use crate::socket::connect;
use crate::wire::{self, decode_answer, decode_chunk, decode_frame, encode_frame};

/// What a subscriber reads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Transport {
    #[default]
    WebSocket,
    /// Server-Sent Events.
    Events,
    /// NDJSON.
    Lines,
}

/// One thing that came.
pub(crate) enum Unit<'a> {
    Message(&'a [u8]),
    Ping(&'a [u8]),
    /// A sign of life.
    Other,
}

impl Transport {
    /// Decodes one thing. The server sends each event of a stream as a chunk of its own.
    ///
    /// # Errors
    /// What is malformed, and the end of the connection in the words of the server.
    pub(crate) fn decode(self, input: &[u8]) -> Outcome<Option<(Unit<'_>, usize)>> {
        if self == Transport::WebSocket {
            let Some((frame, used)) = decode_frame(input)? else {
                return Ok(None);
            };
            let unit = match frame.opcode {
                wire::TEXT => Unit::Message(frame.payload),
                wire::PING => Unit::Ping(frame.payload),
                wire::CLOSE => return Err(close_text(frame.payload).into()),
                opcode => return Err(format!("unexpected opcode {opcode}").into()),
            };
            return Ok(Some((unit, used)));
        }
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
pub(crate) fn open_stream(
    address: SocketAddr,
    topic: &str,
    content_type: &str,
    fields: &str,
) -> Outcome<(TcpStream, Vec<u8>)> {
    let mut stream = connect(address)?;
    let request = format!(
        "GET /api/v1/stream?topics={topic}{fields} HTTP/1.1\r\nHost: localhost\r\n\
         Accept: {content_type}\r\n\r\n"
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
            return Err(format!("answered {} in place of {status}", answer.status).into());
        }
        Ok(Some(used))
    })
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
