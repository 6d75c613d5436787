//! The bytes of a client: publish requests made from templates, answers, frames.
//!
//! Every message carries a stamp of fixed width in its payload: publisher, number, send time. Writing and
//! finding it costs nanoseconds, so that the generator does not take the cores from the server.

use memchr::memmem;

use super::Outcome;
use super::target::{TOPIC_DIGITS, Target};

/// `pppp-nnnnnnnn-tttttttttttt` in hexadecimal.
const STAMP_LEN: usize = 4 + 1 + 8 + 1 + 12;
/// What stands in front of a stamp.
pub const STAMP_MARK: &[u8] = b"\"stamp\":\"";
/// The longest frame, chunk or body that is accepted from the server; nothing that is asked for comes near.
const UNIT_BYTES_MAX: u64 = 256 << 20;
/// Publishers that a stamp can name.
pub const PUBLISHERS_MAX: usize = 1 << 16;
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
/// What RFC 6455 section 1.3 gives as the answer to its example key.
pub const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// Who sent a message, which one of this publisher and topic it is, and when it was to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// Below [`PUBLISHERS_MAX`].
    pub publisher: usize,
    /// From zero.
    pub number: u64,
    /// Microseconds since the generator's start.
    pub micros: u64,
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
    pub fn find(text: &[u8], place: &mut usize) -> Option<Self> {
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

/// Whether a delivery is of the topic that `mark` names, as JSON does. `place` remembers where that stood in the
/// last one.
pub fn is_of_topic(text: &[u8], mark: &[u8], place: &mut usize) -> bool {
    let is_marked = text
        .get(*place..)
        .is_some_and(|rest| rest.starts_with(mark));
    is_marked
        || memmem::find(text, mark)
            .inspect(|at| *place = *at)
            .is_some()
}

/// A publish request with places for topics and stamps.
pub struct PublishTemplate {
    bytes: Vec<u8>,
    topics_at: Vec<usize>,
    stamps_at: Vec<usize>,
}

impl PublishTemplate {
    /// One message for `POST /api/v1/messages`, or several for the bulk route. `message_bytes` is the size of
    /// each message's JSON, at least what the stamp needs.
    pub fn new(target: &Target, messages: usize, message_bytes: usize) -> Self {
        let topic_mark = format!("\"topic\":\"{}", target.topic_prefix());
        let message = message_json(&target.topic(0), message_bytes);
        let (path, body) = match messages {
            1 => ("/api/v1/messages", message),
            _ => {
                let list = vec![message; messages].join(",");
                (
                    "/api/v1/messages/bulk",
                    format!("{{\"messages\":[{list}]}}"),
                )
            }
        };
        let head = target.head("POST", path);
        let length = body.len();
        let bytes = format!(
            "{head}Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
        )
        .into_bytes();
        let after = |mark: &[u8]| {
            memmem::find_iter(&bytes, mark)
                .map(|at| at + mark.len())
                .collect()
        };
        let (topics_at, stamps_at) = (after(topic_mark.as_bytes()), after(STAMP_MARK));
        Self {
            bytes,
            topics_at,
            stamps_at,
        }
    }

    /// Messages in the request.
    pub fn messages(&self) -> usize {
        self.stamps_at.len()
    }

    /// Fills in where message `index` goes, and its stamp.
    pub fn set(&mut self, index: usize, topic: usize, stamp: Stamp) {
        let at = self.topics_at[index];
        write_decimal(&mut self.bytes[at..at + TOPIC_DIGITS], topic);
        let at = self.stamps_at[index];
        stamp.write(&mut self.bytes[at..at + STAMP_LEN]);
    }

    /// The request.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

fn message_json(topic: &str, size: usize) -> String {
    let stamp = "0".repeat(STAMP_LEN);
    let shortest =
        format!("{{\"topic\":\"{topic}\",\"payload\":{{\"stamp\":\"{stamp}\",\"text\":\"\"}}}}");
    let filler = "x".repeat(size.saturating_sub(shortest.len()));
    shortest.replace("\"text\":\"\"", &format!("\"text\":\"{filler}\""))
}

/// The request that opens a WebSocket at `/ws`.
pub fn upgrade_request(target: &Target) -> String {
    format!(
        "{}Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: {KEY}\r\n\
         Sec-WebSocket-Version: 13\r\n\r\n",
        target.head("GET", "/ws")
    )
}

/// The request that polls one topic for at most so many seconds, from where the answer before has ended; `since`
/// is empty for the first.
pub fn poll_request(target: &Target, topic: &str, seconds: u8, since: &str) -> String {
    let since = match since {
        "" => String::new(),
        since => format!("&since={since}"),
    };
    let path = format!("/api/v1/poll?topics={topic}&timeout={seconds}&limit=100{since}");
    target.head("GET", &path) + "\r\n"
}

/// Where the answer to a poll says to go on.
pub fn next_offset(body: &[u8]) -> Option<&str> {
    string_field(body, b"\"next_offset\":\"")
}

/// A whole answer.
pub struct Answer<'a> {
    /// The status.
    pub status: u16,
    /// The body, empty if there is none.
    pub body: &'a [u8],
}

/// Decodes one answer with `Content-Length`, or one without a body; the number is its length.
///
/// # Errors
/// A malformed head.
pub fn decode_answer(input: &[u8]) -> Outcome<Option<(Answer<'_>, usize)>> {
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
        Some(header) => bounded(std::str::from_utf8(header.value)?.parse()?)?,
        None => 0,
    };
    let body = input.get(head_len..head_len + body_len);
    Ok(body.map(|body| (Answer { status, body }, head_len + body_len)))
}

/// Decodes one chunk of a body that goes on for ever (RFC 9112 section 7.1); the server sends no extensions.
///
/// # Errors
/// A malformed size, and the chunk that ends the body.
pub fn decode_chunk(input: &[u8]) -> Outcome<Option<(&[u8], usize)>> {
    let Some(line_len) = memmem::find(input, b"\r\n") else {
        return Ok(None);
    };
    let size = u64::from_str_radix(std::str::from_utf8(&input[..line_len])?, 16)?;
    let size = bounded(size)?;
    if size == 0 {
        return Err("the server ended the stream".into());
    }
    let start = line_len + 2;
    let data = input.get(start..start + size + 2);
    Ok(data.map(|data| (&data[..size], start + size + 2)))
}

/// The id in a delivery.
pub fn message_id(text: &[u8]) -> Option<&str> {
    string_field(text, b"\"message_id\":\"")
}

/// The string behind `mark`, which is a name with its punctuation.
pub fn string_field<'a>(text: &'a [u8], mark: &[u8]) -> Option<&'a str> {
    let rest = &text[memmem::find(text, mark)? + mark.len()..];
    let end = memchr::memchr(b'"', rest)?;
    std::str::from_utf8(&rest[..end]).ok()
}

/// A message (RFC 6455 section 5.2, as are all of them).
pub const TEXT: u8 = 0x1;
/// The end.
pub const CLOSE: u8 = 0x8;
/// Asks for a sign of life.
pub const PING: u8 = 0x9;
/// The sign of life.
pub const PONG: u8 = 0xA;

/// A frame from the server.
pub struct Frame<'a> {
    /// What it is.
    pub opcode: u8,
    /// Its bytes.
    pub payload: &'a [u8],
}

/// Decodes one frame from the server: whole, not masked; the number is its length.
///
/// # Errors
/// A frame that is masked, compressed or in parts, which nobody asked for.
pub fn decode_frame(input: &[u8]) -> Outcome<Option<(Frame<'_>, usize)>> {
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
    let end = start + bounded(length)?;
    let frame = input.get(start..end).map(|payload| Frame {
        opcode: first & 0x0F,
        payload,
    });
    Ok(frame.map(|frame| (frame, end)))
}

/// Appends a frame as clients send it. The mask is zero: allowed on the wire, and free.
pub fn encode_frame(out: &mut Vec<u8>, opcode: u8, payload: &[u8]) {
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

/// A length that may be waited for.
fn bounded(length: u64) -> Outcome<usize> {
    if length > UNIT_BYTES_MAX {
        return Err(format!("the server sends {length} bytes at once").into());
    }
    Ok(length as usize)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stamps_are_found_where_they_were_set() {
        let target = Target::local(([127, 0, 0, 1], 1).into());
        for messages in [1, 3] {
            let mut template = PublishTemplate::new(&target, messages, 200);
            assert_eq!(template.messages(), messages);
            let stamp = |index: usize| Stamp {
                publisher: 0xabc,
                number: index as u64 + 0x1234,
                micros: 0xfeed_beef,
            };
            for index in 0..messages {
                template.set(index, 40 + index, stamp(index));
            }
            let text = String::from_utf8(template.bytes().to_vec()).unwrap();
            let (head, body) = text.split_once("\r\n\r\n").unwrap();
            assert!(head.contains(&format!("Content-Length: {}", body.len())));
            let parsed: serde_json::Value = serde_json::from_str(body).unwrap();
            let list = match messages {
                1 => vec![parsed],
                _ => parsed["messages"].as_array().unwrap().clone(),
            };
            for (index, message) in list.iter().enumerate() {
                assert_eq!(message["topic"], target.topic(40 + index));
                let message = message.to_string();
                let found = Stamp::find(message.as_bytes(), &mut 0);
                assert_eq!(found, Some(stamp(index)));
            }
        }
    }

    #[test]
    fn a_server_cannot_make_one_wait_for_ever_or_overflow() {
        let huge: [&[u8]; 2] = [
            b"\x81\x7f\xff\xff\xff\xff\xff\xff\xff\xff",
            b"\x81\x7f\0\0\0\xff\0\0\0\0",
        ];
        for frame in huge {
            assert!(decode_frame(frame).is_err());
        }
        assert!(decode_chunk(b"ffffffffffffffff\r\n").is_err());
        let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 18446744073709551615\r\n\r\n";
        assert!(decode_answer(answer).is_err());
    }
}
