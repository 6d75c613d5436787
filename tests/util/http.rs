//! A small blocking HTTP/1.1 client that sends any bytes and reads answers strictly.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Instant;

use serde_json::Value;

use crate::{DEADLINE, contract, secrets};

/// One connection.
pub struct Http {
    stream: TcpStream,
    address: SocketAddr,
    /// Bytes received and not yet part of an answer.
    buffer: Vec<u8>,
}

/// One answer.
#[derive(Debug, Clone)]
pub struct Response {
    /// Status code.
    pub status: u16,
    /// Protocol version as sent, such as `HTTP/1.1`.
    pub version: String,
    /// Header fields in order, names as sent.
    pub headers: Vec<(String, String)>,
    /// The decoded body.
    pub body: Vec<u8>,
}

impl Http {
    /// Connects to the server.
    pub fn open(address: SocketAddr) -> Self {
        let stream = TcpStream::connect_timeout(&address, DEADLINE).expect("the server accepts");
        Http::on(stream)
    }

    /// Takes a stream that is connected to the server.
    pub fn on(stream: TcpStream) -> Self {
        let address = stream.peer_addr().expect("the stream is connected");
        stream
            .set_nodelay(true)
            .expect("a TCP socket has this option");
        stream
            .set_write_timeout(Some(DEADLINE))
            .expect("the timeout is not zero");
        Http {
            stream,
            address,
            buffer: Vec::new(),
        }
    }

    /// The socket, for what this client does not do.
    pub fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// Sends bytes as they are.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        secrets::note_sent(bytes.as_ref());
        self.stream
            .write_all(bytes.as_ref())
            .expect("the server reads");
    }

    /// Sends bytes as far as the server takes them: one that has refused them may have closed.
    pub fn send_to_deaf(&mut self, bytes: impl AsRef<[u8]>) {
        // The answer is what the caller looks at.
        let _ = self.stream.write_all(bytes.as_ref());
    }

    /// Closes the sending side.
    pub fn finish(&self) {
        self.stream
            .shutdown(Shutdown::Write)
            .expect("the connection is open");
    }

    /// The bytes of a request with `Host` and, when there is a body, `Content-Length`.
    pub fn encode(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Vec<u8> {
        let mut head = format!("{method} {path} HTTP/1.1\r\n");
        if !headers
            .iter()
            .any(|(name, _)| name.eq_ignore_ascii_case("host"))
        {
            head += &format!("Host: {}\r\n", self.address);
        }
        for (name, value) in headers {
            head += &format!("{name}: {value}\r\n");
        }
        if !body.is_empty() || matches!(method, "POST" | "PUT") {
            head += &format!("Content-Length: {}\r\n", body.len());
        }
        head += "\r\n";
        [head.as_bytes(), body].concat()
    }

    /// Sends a request and reads its answer.
    pub fn request(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Response {
        let bytes = self.encode(method, path, headers, body);
        self.send(bytes);
        let response = if method == "HEAD" {
            self.read_response_to_head()
        } else {
            self.read_response()
        };
        contract::check(method, path, &response);
        response
    }

    /// GET on this connection.
    pub fn get(&mut self, path: &str) -> Response {
        self.request("GET", path, &[], b"")
    }

    /// POST of JSON on this connection.
    pub fn post(&mut self, path: &str, body: impl AsRef<[u8]>) -> Response {
        self.request(
            "POST",
            path,
            &[("Content-Type", "application/json")],
            body.as_ref(),
        )
    }

    /// Publishes a message and returns its answer.
    ///
    /// # Panics
    ///
    /// When the answer is not 201.
    pub fn publish(&mut self, message: &Value) -> Value {
        let response = self.post("/api/v1/messages", message.to_string());
        assert_eq!(response.status, 201, "{response:?}");
        response.json()
    }

    /// Reads the next answer with its body.
    pub fn read_response(&mut self) -> Response {
        self.try_read_response()
            .expect("an answer before the connection ends")
    }

    /// Reads the next answer, or `None` when the connection ends before its first byte.
    pub fn try_read_response(&mut self) -> Option<Response> {
        let mut response = self.read_head()?;
        if response.status >= 200 && !matches!(response.status, 204 | 304) {
            response.body = self.read_body(&response);
        }
        Some(response)
    }

    /// Reads the next answer, which has no body whatever its head says.
    pub fn read_response_to_head(&mut self) -> Response {
        self.read_head()
            .expect("an answer before the connection ends")
    }

    /// Checks that nothing more comes and that the server closes.
    ///
    /// # Panics
    ///
    /// When bytes come or the connection stays open.
    pub fn expect_closed(&mut self) {
        self.fill_to_end();
        assert!(
            self.buffer.is_empty(),
            "more came: {:?}",
            String::from_utf8_lossy(&self.buffer)
        );
    }

    /// Whether a byte of an answer has come, without waiting.
    pub fn has_answer(&mut self) -> bool {
        if !self.buffer.is_empty() {
            return true;
        }
        self.stream
            .set_nonblocking(true)
            .expect("a TCP socket has this option");
        let mut byte = [0];
        let some = matches!(self.stream.peek(&mut byte), Ok(1));
        self.stream
            .set_nonblocking(false)
            .expect("a TCP socket has this option");
        some
    }

    /// Gives up the connection with what has been received behind the last answer.
    pub(crate) fn into_parts(self) -> (TcpStream, Vec<u8>) {
        (self.stream, self.buffer)
    }

    fn read_head(&mut self) -> Option<Response> {
        let end = loop {
            if let Some(end) = find(&self.buffer, b"\r\n\r\n") {
                break end;
            }
            if !self.fill() {
                let rest = String::from_utf8_lossy(&self.buffer);
                assert!(rest.is_empty(), "the connection ended in a head: {rest:?}");
                return None;
            }
        };
        let head: Vec<u8> = self.buffer.drain(..end + 4).collect();
        Some(parse_head(&head[..end]))
    }

    fn read_body(&mut self, response: &Response) -> Vec<u8> {
        if let Some(coding) = response.header("transfer-encoding") {
            assert!(coding.eq_ignore_ascii_case("chunked"), "{coding}");
            return self.read_chunks();
        }
        match response.header("content-length") {
            Some(length) => {
                let length = length.parse().expect("Content-Length is a number");
                self.take(length)
            }
            None => {
                self.fill_to_end();
                std::mem::take(&mut self.buffer)
            }
        }
    }

    fn read_chunks(&mut self) -> Vec<u8> {
        let mut body = Vec::new();
        loop {
            let line = self.take_line();
            let size = usize::from_str_radix(&line, 16).expect("a chunk size");
            if size == 0 {
                while !self.take_line().is_empty() {}
                return body;
            }
            body.extend(self.take(size));
            assert_eq!(self.take(2), b"\r\n");
        }
    }

    fn take(&mut self, length: usize) -> Vec<u8> {
        while self.buffer.len() < length {
            assert!(self.fill(), "the connection ended in a body");
        }
        self.buffer.drain(..length).collect()
    }

    fn take_line(&mut self) -> String {
        let end = loop {
            if let Some(end) = find(&self.buffer, b"\r\n") {
                break end;
            }
            assert!(self.fill(), "the connection ended in a line");
        };
        let line = self.take(end);
        self.take(2);
        String::from_utf8(line).expect("the line is text")
    }

    fn fill_to_end(&mut self) {
        while self.fill() {}
    }

    /// Receives more; `false` at the end of the connection, also when it is reset.
    fn fill(&mut self) -> bool {
        fill(
            &mut self.stream,
            &mut self.buffer,
            Instant::now() + DEADLINE,
        )
    }
}

impl Response {
    /// The only value of a header field, by name in any case.
    ///
    /// # Panics
    ///
    /// When the field comes twice, which none of the server's may.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut values = self
            .headers
            .iter()
            .filter(|(field, _)| field.eq_ignore_ascii_case(name));
        let value = values.next().map(|(_, value)| value.as_str());
        assert!(values.next().is_none(), "{name} twice: {self:?}");
        value
    }

    /// The body as JSON.
    ///
    /// # Panics
    ///
    /// When it is none.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The body as text.
    ///
    /// # Panics
    ///
    /// When it is not UTF-8.
    pub fn text(&self) -> String {
        String::from_utf8(self.body.clone()).expect("the body is UTF-8")
    }

    /// Checks the shape that every error body has, and its status and code.
    ///
    /// # Panics
    ///
    /// When anything differs.
    pub fn assert_error(&self, status: u16, code: &str) -> Value {
        assert_eq!(self.status, status, "{self:?}");
        let body = self.json();
        assert_eq!(body["error"], code, "{body}");
        assert!(
            body["message"]
                .as_str()
                .is_some_and(|text| !text.is_empty()),
            "{body}"
        );
        assert!(
            body["details"].is_object() || body["details"].is_null(),
            "{body}"
        );
        assert!(
            body.as_object()
                .is_some_and(|object| object.contains_key("details")),
            "{body}"
        );
        let kind = if status == 422 {
            body["detail"].is_array()
        } else {
            body["detail"].is_string()
        };
        assert!(kind, "{body}");
        assert_eq!(
            body["request_id"].as_str(),
            self.header("x-request-id"),
            "{self:?}"
        );
        assert_eq!(
            self.header("content-type"),
            Some("application/json"),
            "{self:?}"
        );
        body
    }
}

/// Receives more bytes into `buffer`; `false` at the end of the connection, also when it is reset.
///
/// # Panics
///
/// When nothing comes until `end`.
pub(crate) fn fill(stream: &mut TcpStream, buffer: &mut Vec<u8>, end: Instant) -> bool {
    let remaining = end.saturating_duration_since(Instant::now());
    assert!(
        !remaining.is_zero(),
        "nothing came in time; so far {:?}",
        excerpt(buffer)
    );
    stream
        .set_read_timeout(Some(remaining))
        .expect("the timeout is not zero");
    let mut chunk = [0; 16 * 1024];
    match stream.read(&mut chunk) {
        Ok(0) => false,
        Ok(count) => {
            buffer.extend_from_slice(&chunk[..count]);
            true
        }
        Err(error) if error.kind() == ErrorKind::Interrupted => true,
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
            panic!("nothing came in time; so far {:?}", excerpt(buffer))
        }
        Err(_) => false,
    }
}

fn excerpt(buffer: &[u8]) -> String {
    String::from_utf8_lossy(&buffer[..buffer.len().min(500)]).into_owned()
}

pub(crate) fn parse_head(head: &[u8]) -> Response {
    let head = std::str::from_utf8(head).expect("the head is text");
    let mut lines = head.split("\r\n");
    let status_line = lines.next().expect("split gives at least one piece");
    let (version, rest) = status_line.split_once(' ').expect("a status line");
    let status = rest.get(..3).and_then(|code| code.parse().ok());
    let header = |line: &str| {
        let (name, value) = line
            .split_once(':')
            .unwrap_or_else(|| panic!("no colon: {line}"));
        (name.to_owned(), value.trim().to_owned())
    };
    Response {
        status: status.unwrap_or_else(|| panic!("no status: {status_line}")),
        version: version.to_owned(),
        headers: lines.map(header).collect(),
        body: Vec::new(),
    }
}

pub(crate) fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack
        .windows(needle.len())
        .position(|window| window == needle)
}
