//! A parser of event streams by the rules of the WHATWG ("Interpreting an event stream"), as a
//! browser has one; comments are told, too, since tests wait for them.

/// One thing that a stream said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Said {
    /// An event was dispatched.
    Event(StreamEvent),
    /// A line that began with a colon, without it.
    Comment(String),
    /// A new time to wait before a reconnection, in milliseconds.
    Retry(u64),
}

/// A dispatched event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamEvent {
    /// The last event id that the stream has set, by this event or an earlier one.
    pub id: String,
    /// The name; `message` where none was sent.
    pub event: String,
    /// The lines of data, joined by line feeds.
    pub data: String,
}

/// The state of one stream.
#[derive(Debug, Default)]
pub struct EventParser {
    /// The unfinished line.
    line: Vec<u8>,
    /// The last byte was a carriage return, so that a line feed next ends no line of its own.
    after_return: bool,
    /// A first line has begun, before which a byte order mark is skipped.
    began: bool,
    data: String,
    event: String,
    id: String,
}

impl EventParser {
    /// Takes more bytes, cut anywhere, and tells what they completed.
    pub fn feed(&mut self, bytes: &[u8]) -> Vec<Said> {
        let mut said = Vec::new();
        let mut rest = bytes;
        while !rest.is_empty() {
            if std::mem::take(&mut self.after_return) && rest[0] == b'\n' {
                rest = &rest[1..];
                continue;
            }
            let end = rest.iter().position(|byte| matches!(byte, b'\r' | b'\n'));
            self.line
                .extend_from_slice(&rest[..end.unwrap_or(rest.len())]);
            let Some(end) = end else { break };
            self.after_return = rest[end] == b'\r';
            rest = &rest[end + 1..];
            said.extend(self.end_line());
        }
        said
    }

    fn end_line(&mut self) -> Option<Said> {
        let line = std::mem::take(&mut self.line);
        let mut line = String::from_utf8_lossy(&line).into_owned();
        if !std::mem::replace(&mut self.began, true)
            && let Some(rest) = line.strip_prefix('\u{feff}')
        {
            line = rest.to_owned();
        }
        if line.is_empty() {
            return self.dispatch();
        }
        if let Some(comment) = line.strip_prefix(':') {
            return Some(Said::Comment(comment.to_owned()));
        }
        let (field, value) = line.split_once(':').unwrap_or((&line, ""));
        self.field(field, value.strip_prefix(' ').unwrap_or(value))
    }

    fn field(&mut self, field: &str, value: &str) -> Option<Said> {
        match field {
            "event" => value.clone_into(&mut self.event),
            "data" => {
                self.data += value;
                self.data.push('\n');
            }
            "id" if !value.contains('\0') => value.clone_into(&mut self.id),
            "retry" if value.bytes().all(|byte| byte.is_ascii_digit()) => {
                return value.parse().ok().map(Said::Retry);
            }
            _ => {}
        }
        None
    }

    fn dispatch(&mut self) -> Option<Said> {
        let mut data = std::mem::take(&mut self.data);
        let event = std::mem::take(&mut self.event);
        // The last line feed is none of the data; without any there is no event.
        data.pop()?;
        let event = if event.is_empty() {
            "message".to_owned()
        } else {
            event
        };
        let id = self.id.clone();
        Some(Said::Event(StreamEvent { id, event, data }))
    }
}
