//! The bytes of a client: publish requests made from templates, answers, frames.
//!
//! Every message carries a stamp of fixed width in its payload: publisher, number, send time. Writing and
//! finding it costs nanoseconds, so that the generator does not take the cores from the server.

use memchr::memmem;

use crate::Outcome;

/// `pppp-nnnnnnnn-tttttttttttt` in hexadecimal.
pub(crate) const STAMP_LEN: usize = 4 + 1 + 8 + 1 + 12;
pub(crate) const STAMP_MARK: &[u8] = b"\"stamp\":\"";
const TOPIC_DIGITS: usize = 5;
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
/// What RFC 6455 section 1.3 gives as the answer to its example key.
pub(crate) const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// Who sent a message, which one of this publisher and topic it is, and when it was queued.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    pub(crate) publisher: usize,
    pub(crate) number: u64,
    /// Microseconds since the generator's start.
    pub(crate) micros: u64,
}

impl Stamp {
    fn write(self, out: &mut [u8]) {
        write_hex(&mut out[0..4], self.publisher as u64);
        write_hex(&mut out[5..13], self.number);
        write_hex(&mut out[14..26], self.micros);
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        Some(Self {
            publisher: read_hex(bytes.get(0..4)?)? as usize,
            number: read_hex(bytes.get(5..13)?)?,
            micros: read_hex(bytes.get(14..26)?)?,
        })
    }

    /// Finds the stamp of a delivery. `place` remembers where the last one stood: deliveries of a topic
    /// have fixed width.
    pub(crate) fn find(text: &[u8], place: &mut usize) -> Option<Self> {
        let marked = |at: usize| {
            text.get(at..)
                .is_some_and(|rest| rest.starts_with(STAMP_MARK))
        };
        if !marked(*place) {
            *place = memmem::find(text, STAMP_MARK)?;
        }
        Self::read(&text[*place + STAMP_MARK.len()..])
    }
}

/// The name of topic `index`; all have the same width.
pub(crate) fn topic_name(index: usize) -> String {
    format!("load-{index:0TOPIC_DIGITS$}")
}

/// A publish request with places for topics and stamps.
pub(crate) struct PublishTemplate {
    bytes: Vec<u8>,
    topics_at: Vec<usize>,
    stamps_at: Vec<usize>,
}

impl PublishTemplate {
    /// One message for `POST /api/v1/messages`, or several for the bulk route. `message_bytes` is the size of
    /// each message's JSON, at least what the stamp needs.
    pub(crate) fn new(messages: usize, message_bytes: usize, credential: Option<&str>) -> Self {
        let message = message_json(message_bytes);
        let body = match messages {
            1 => message,
            _ => format!("{{\"messages\":[{}]}}", vec![message; messages].join(",")),
        };
        let path = if messages == 1 {
            "/api/v1/messages"
        } else {
            "/api/v1/messages/bulk"
        };
        let bytes = format!(
            "POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
             {}Content-Length: {}\r\n\r\n{body}",
            credential.map_or_else(String::new, |it| format!("Authorization: Bearer {it}\r\n")),
            body.len()
        )
        .into_bytes();
        let after = |mark: &[u8]| {
            memmem::find_iter(&bytes, mark)
                .map(|at| at + mark.len())
                .collect()
        };
        let (topics_at, stamps_at) = (after(b"\"topic\":\"load-"), after(STAMP_MARK));
        Self {
            bytes,
            topics_at,
            stamps_at,
        }
    }

    pub(crate) fn messages(&self) -> usize {
        self.stamps_at.len()
    }

    pub(crate) fn set(&mut self, index: usize, topic: usize, stamp: Stamp) {
        let at = self.topics_at[index];
        write_decimal(&mut self.bytes[at..at + TOPIC_DIGITS], topic);
        let at = self.stamps_at[index];
        stamp.write(&mut self.bytes[at..at + STAMP_LEN]);
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

fn message_json(size: usize) -> String {
    let stamp = "0".repeat(STAMP_LEN);
    let shortest = format!(
        "{{\"topic\":\"{}\",\"payload\":{{\"stamp\":\"{stamp}\",\"text\":\"\"}}}}",
        topic_name(0)
    );
    let filler = "x".repeat(size.saturating_sub(shortest.len()));
    shortest.replace("\"text\":\"\"", &format!("\"text\":\"{filler}\""))
}

/// The request that opens a WebSocket at `/ws`.
pub(crate) fn upgrade_request() -> String {
    format!(
        "GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: {KEY}\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )
}

/// A status and the length of head and body together, once all of an answer is there.
pub(crate) struct Answer<'a> {
    pub(crate) status: u16,
    pub(crate) body: &'a [u8],
}

/// Decodes one answer with `Content-Length`, or one without a body.
pub(crate) fn decode_answer(input: &[u8]) -> Outcome<Option<(Answer<'_>, usize)>> {
    let mut headers = [httparse::EMPTY_HEADER; 32];
    let mut head = httparse::Response::new(&mut headers);
    let httparse::Status::Complete(head_len) = head.parse(input)? else {
        return Ok(None);
    };
    let status = head.code.ok_or("answer without a status")?;
    let length = head
        .headers
        .iter()
        .find(|h| h.name.eq_ignore_ascii_case("content-length"));
    let body_len = match length {
        Some(header) => std::str::from_utf8(header.value)?.parse()?,
        None => 0,
    };
    let body = input.get(head_len..head_len + body_len);
    Ok(body.map(|body| (Answer { status, body }, head_len + body_len)))
}

/// Decodes one chunk of a body that goes on for ever (RFC 9112 section 7.1); the server sends no extensions.
///
/// # Errors
/// A malformed size, and the chunk that ends the body.
pub(crate) fn decode_chunk(input: &[u8]) -> Outcome<Option<(&[u8], usize)>> {
    let Some(line_len) = memmem::find(input, b"\r\n") else {
        return Ok(None);
    };
    let size = usize::from_str_radix(std::str::from_utf8(&input[..line_len])?, 16)?;
    if size == 0 {
        return Err("the server ended the stream".into());
    }
    let start = line_len + 2;
    let data = input.get(start..start + size + 2);
    Ok(data.map(|data| (&data[..size], start + size + 2)))
}

/// The id in a delivery.
pub(crate) fn message_id(text: &[u8]) -> Option<&str> {
    string_field(text, b"\"message_id\":\"")
}

/// The string behind `mark`, which is a name with its punctuation.
pub(crate) fn string_field<'a>(text: &'a [u8], mark: &[u8]) -> Option<&'a str> {
    let rest = &text[memmem::find(text, mark)? + mark.len()..];
    let end = memchr::memchr(b'"', rest)?;
    std::str::from_utf8(&rest[..end]).ok()
}

/// Opcodes of RFC 6455 section 5.2 that a server of ours sends.
pub(crate) const TEXT: u8 = 0x1;
pub(crate) const CLOSE: u8 = 0x8;
pub(crate) const PING: u8 = 0x9;
pub(crate) const PONG: u8 = 0xA;

pub(crate) struct Frame<'a> {
    pub(crate) opcode: u8,
    pub(crate) payload: &'a [u8],
}

/// Decodes one frame from the server: whole, not masked.
pub(crate) fn decode_frame(input: &[u8]) -> Outcome<Option<(Frame<'_>, usize)>> {
    let Some(&[first, second]) = input.first_chunk::<2>() else {
        return Ok(None);
    };
    if first & 0xF0 != 0x80 || second & 0x80 != 0 {
        return Err(format!("unexpected frame header {first:#x} {second:#x}").into());
    }
    let rest = &input[2..];
    let length = match second {
        126 => rest
            .first_chunk()
            .map(|bytes| (u64::from(u16::from_be_bytes(*bytes)), 4)),
        127 => rest
            .first_chunk()
            .map(|bytes| (u64::from_be_bytes(*bytes), 10)),
        short => Some((u64::from(short), 2)),
    };
    let Some((length, start)) = length else {
        return Ok(None);
    };
    let end = start + usize::try_from(length)?;
    let frame = input.get(start..end).map(|payload| Frame {
        opcode: first & 0x0F,
        payload,
    });
    Ok(frame.map(|frame| (frame, end)))
}

/// Appends a frame as clients send it. The mask is zero: allowed on the wire, and free.
pub(crate) fn encode_frame(out: &mut Vec<u8>, opcode: u8, payload: &[u8]) {
    out.push(0x80 | opcode);
    match u16::try_from(payload.len()) {
        Ok(length) if length < 126 => out.push(0x80 | length as u8),
        Ok(length) => {
            out.push(0x80 | 126);
            out.extend_from_slice(&length.to_be_bytes());
        }
        Err(_) => {
            out.push(0x80 | 127);
            out.extend_from_slice(&(payload.len() as u64).to_be_bytes());
        }
    }
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(payload);
}

fn write_hex(out: &mut [u8], mut value: u64) {
    for digit in out.iter_mut().rev() {
        *digit = b"0123456789abcdef"[(value & 15) as usize];
        value >>= 4;
    }
}

fn read_hex(digits: &[u8]) -> Option<u64> {
    digits.iter().try_fold(0, |value, digit| {
        let nibble = (*digit as char).to_digit(16)?;
        Some(value << 4 | u64::from(nibble))
    })
}

fn write_decimal(out: &mut [u8], mut value: usize) {
    for digit in out.iter_mut().rev() {
        *digit = b'0' + (value % 10) as u8;
        value /= 10;
    }
}
