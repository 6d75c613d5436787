//! A client of `GET /api/v1/stream`: Server-Sent Events or lines of JSON, over a raw socket.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::event_stream::{EventParser, Said, StreamEvent};
use crate::link::{Filled, Link};
use crate::{DEADLINE, Response, contract};

/// One stream, read as it comes.
pub struct Stream {
    link: Link,
    head: Response,
    body: Body,
    format: Format,
    items: VecDeque<Item>,
}

/// What came next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Item {
    /// An event of an event stream.
    Event(StreamEvent),
    /// A comment of an event stream.
    Comment(String),
    /// The time to wait before a reconnection, in milliseconds.
    Retry(u64),
    /// A line of NDJSON.
    Line(String),
    /// The stream ended; `true` if it said so itself.
    End(bool),
    /// Nothing, in the time given.
    Nothing,
}

/// How the body is delimited.
enum Body {
    /// In chunks; the bytes that the current one still lacks, its line end included.
    Chunked(usize),
    /// By the end of the connection.
    ToTheEnd,
    /// It has ended.
    Ended,
}

enum Format {
    Events(EventParser),
    /// With the unfinished line.
    Lines(Vec<u8>),
}

impl Stream {
    /// Opens an event stream.
    ///
    /// # Panics
    ///
    /// When the answer is not 200.
    pub fn open(address: SocketAddr, path: &str) -> Stream {
        Self::open_with(address, path, &[("Accept", "text/event-stream")])
    }

    /// Opens a stream of lines.
    ///
    /// # Panics
    ///
    /// When the answer is not 200.
    pub fn open_lines(address: SocketAddr, path: &str) -> Stream {
        Self::open_with(address, path, &[("Accept", "application/x-ndjson")])
    }

    /// Opens a stream with these header fields.
    ///
    /// # Panics
    ///
    /// When the answer is not 200.
    pub fn open_with(address: SocketAddr, path: &str, headers: &[(&str, &str)]) -> Stream {
        let mut link = Link::open(address);
        link.send(request(address, path, headers));
        Self::answered(link).unwrap_or_else(|head| panic!("no stream: {head:?}"))
    }

    /// Reads the head of the answer to a request that was sent on `link`.
    ///
    /// # Errors
    ///
    /// The head, when it is not 200; `None` when the connection ends before.
    pub fn answered(mut link: Link) -> Result<Stream, Option<Response>> {
        let end = Instant::now() + DEADLINE;
        loop {
            if let Some(head) = link.take_head() {
                return Self::begun(link, head);
            }
            match link.fill(end) {
                Filled::Some => {}
                Filled::Nothing => assert!(Instant::now() < end, "no answer in time"),
                Filled::End => return Err(None),
            }
        }
    }

    /// A stream of which the head has been taken.
    ///
    /// # Errors
    ///
    /// The head, when it is not 200.
    pub fn begun(link: Link, head: Response) -> Result<Stream, Option<Response>> {
        if head.status != 200 {
            return Err(Some(head));
        }
        let body = match head.header("transfer-encoding") {
            Some(coding) => {
                assert_eq!(coding, "chunked");
                Body::Chunked(0)
            }
            None => Body::ToTheEnd,
        };
        assert_eq!(head.header("content-length"), None, "a stream has no end");
        let format = match head.header("content-type") {
            Some("application/x-ndjson") => Format::Lines(Vec::new()),
            _ => Format::Events(EventParser::default()),
        };
        Ok(Stream {
            link,
            head,
            body,
            format,
            items: VecDeque::new(),
        })
    }

    /// The head of the answer.
    pub fn head(&self) -> &Response {
        &self.head
    }

    /// The connection.
    pub fn link(&self) -> &Link {
        &self.link
    }

    /// Gives up the stream with the connection.
    pub fn into_link(self) -> Link {
        self.link
    }

    /// Waits for what comes next, at most until `until`.
    pub fn next_until(&mut self, until: Instant) -> Item {
        loop {
            self.decode();
            if let Some(item) = self.items.pop_front() {
                match &item {
                    Item::Event(event) => contract::check_message("stream", &event.data),
                    Item::Line(line) => contract::check_message("stream", line),
                    _ => {}
                }
                return item;
            }
            if matches!(self.body, Body::Ended) {
                return Item::End(true);
            }
            match self.link.fill(until) {
                Filled::Some => {}
                Filled::Nothing if Instant::now() < until => {}
                Filled::Nothing => return Item::Nothing,
                Filled::End => return Item::End(false),
            }
        }
    }

    /// Waits for what comes next.
    pub fn next(&mut self, timeout: Duration) -> Item {
        self.next_until(Instant::now() + timeout)
    }

    /// The next event, past comments and times to wait.
    ///
    /// # Panics
    ///
    /// When none comes within [`DEADLINE`].
    pub fn next_event(&mut self) -> StreamEvent {
        let end = Instant::now() + DEADLINE;
        loop {
            match self.next_until(end) {
                Item::Event(event) => return event,
                Item::Comment(_) | Item::Retry(_) => {}
                other => panic!("no event: {other:?}"),
            }
        }
    }

    /// The data of the next event, which must have this name, as JSON.
    pub fn expect_event(&mut self, name: &str) -> (String, Value) {
        let event = self.next_event();
        assert_eq!(event.event, name, "{event:?}");
        (event.id, parse(&event.data))
    }

    /// The next line as JSON.
    ///
    /// # Panics
    ///
    /// When none comes within [`DEADLINE`].
    pub fn next_line(&mut self) -> Value {
        match self.next(DEADLINE) {
            Item::Line(line) => parse(&line),
            other => panic!("no line: {other:?}"),
        }
    }

    /// Reads on to the end, which the stream must announce itself if it is chunked. It may say
    /// why before.
    ///
    /// # Panics
    ///
    /// When other events come, or no end.
    pub fn expect_end(&mut self) {
        loop {
            match self.next(DEADLINE) {
                Item::Comment(_) | Item::Retry(_) => {}
                Item::Event(event) if event.event == "close" => {}
                Item::Line(line) if parse(&line)["type"] == "close" => {}
                Item::End(said) => {
                    assert!(said || matches!(self.body, Body::ToTheEnd), "cut off");
                    return;
                }
                other => panic!("no end: {other:?}"),
            }
        }
    }

    /// Moves what has come from the connection through the framing into items.
    fn decode(&mut self) {
        let mut bytes = Vec::new();
        loop {
            match &mut self.body {
                Body::ToTheEnd => {
                    bytes.append(&mut self.link.buffer);
                    break;
                }
                Body::Chunked(0) => {
                    let Some(size) = take_chunk_size(&mut self.link.buffer) else {
                        break;
                    };
                    self.body = match size {
                        0 => Body::Ended,
                        size => Body::Chunked(size + 2),
                    };
                }
                Body::Chunked(missing) => {
                    let count = (*missing).min(self.link.buffer.len());
                    if count == 0 {
                        break;
                    }
                    // The last two bytes of a chunk end its line.
                    let data = count.min(missing.saturating_sub(2));
                    bytes.extend_from_slice(&self.link.buffer[..data]);
                    assert!(
                        self.link.buffer[data..count]
                            .iter()
                            .all(|byte| b"\r\n".contains(byte)),
                        "a chunk does not end"
                    );
                    self.link.buffer.drain(..count);
                    *missing -= count;
                }
                Body::Ended => break,
            }
        }
        self.items.extend(self.format.feed(&bytes));
    }
}

impl Format {
    fn feed(&mut self, bytes: &[u8]) -> Vec<Item> {
        match self {
            Format::Events(parser) => parser.feed(bytes).into_iter().map(Item::from).collect(),
            Format::Lines(unfinished) => {
                unfinished.extend_from_slice(bytes);
                let mut lines = Vec::new();
                while let Some(end) = unfinished.iter().position(|byte| *byte == b'\n') {
                    let line: Vec<u8> = unfinished.drain(..=end).collect();
                    let line = String::from_utf8(line[..end].to_vec());
                    lines.push(Item::Line(line.expect("the server sends UTF-8")));
                }
                lines
            }
        }
    }
}

impl From<Said> for Item {
    fn from(said: Said) -> Item {
        match said {
            Said::Event(event) => Item::Event(event),
            Said::Comment(text) => Item::Comment(text),
            Said::Retry(millis) => Item::Retry(millis),
        }
    }
}

/// The bytes of a GET with these header fields.
pub fn request(address: SocketAddr, path: &str, headers: &[(&str, &str)]) -> Vec<u8> {
    let mut head = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\n");
    for (name, value) in headers {
        head += &format!("{name}: {value}\r\n");
    }
    (head + "\r\n").into_bytes()
}

/// Takes the line with the size of a chunk, and behind the last one the empty line, too.
fn take_chunk_size(buffer: &mut Vec<u8>) -> Option<usize> {
    let end = crate::http::find(buffer, b"\r\n")?;
    let line = std::str::from_utf8(&buffer[..end]).expect("a chunk size is text");
    let size = usize::from_str_radix(line, 16).unwrap_or_else(|_| panic!("no size: {line:?}"));
    let length = if size == 0 { end + 4 } else { end + 2 };
    if buffer.len() < length {
        return None;
    }
    buffer.drain(..length);
    Some(size)
}

fn parse(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}
