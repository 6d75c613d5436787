//! Answers: status line, fields and body into an output buffer (RFC 9112 section 4).

use super::method::Version;

/// What is sent to a client that waits for it before it sends its body.
pub const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// What a status line, the fields of every answer and their ends take at most; a size to reserve.
const FIXED_BYTES: usize = 256;

/// One answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Response<'a> {
    /// 101 or 200 to 599.
    pub status: u16,
    /// Fields other than those that [`Response::encode`] writes itself. Control bytes in values
    /// become spaces.
    pub headers: &'a [(&'a str, &'a str)],
    /// Sent as `Content-Type` where there is a body or could be.
    pub content_type: Option<&'a str>,
    /// What follows the fields.
    pub body: ResponseBody<'a>,
}

/// The body of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResponseBody<'a> {
    /// All of it, also when it is not to be sent: its length is told.
    Whole(&'a [u8]),
    /// So many bytes, which somebody else sends behind the head.
    Apart(usize),
    /// It follows in parts: in chunks (RFC 9112 section 7.1), or, for a client of HTTP/1.0, up to
    /// the end of the connection.
    Stream,
}

impl<'a> ResponseBody<'a> {
    fn bytes(self) -> &'a [u8] {
        match self {
            ResponseBody::Whole(bytes) => bytes,
            ResponseBody::Apart(_) | ResponseBody::Stream => b"",
        }
    }

    /// How long it is, if that is known.
    pub fn told_len(self) -> Option<usize> {
        match self {
            ResponseBody::Whole(bytes) => Some(bytes.len()),
            ResponseBody::Apart(len) => Some(len),
            ResponseBody::Stream => None,
        }
    }
}

/// What an answer has to know of its request and of the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResponseContext<'a> {
    /// Version of the request; the answer itself is always HTTP/1.1.
    pub version: Version,
    /// Whether the connection stays open.
    pub keep_alive: bool,
    /// Whether the request was `HEAD`.
    pub head_only: bool,
    /// Now, as RFC 9110 section 5.6.7 writes it: `Sun, 06 Nov 1994 08:49:37 GMT`.
    pub date: &'a str,
}

impl Response<'_> {
    /// Appends the answer. `Server` and `Date` always stand; `Content-Type` and `Content-Length`
    /// where a body is allowed (not with 1xx and 204); the body unless it answers `HEAD` or is
    /// 304. `Connection` says what the client's version does not imply.
    pub fn encode(&self, context: &ResponseContext<'_>, out: &mut Vec<u8>) {
        let body = self.body.bytes();
        out.reserve(FIXED_BYTES + body.len());
        out.extend_from_slice(b"HTTP/1.1 ");
        push_number(u64::from(self.status), out);
        out.push(b' ');
        out.extend_from_slice(reason(self.status).as_bytes());
        out.extend_from_slice(b"\r\nServer: pulsar-proxy");
        push_header("Date", context.date, out);
        if self.has_body() {
            self.push_framing(context.version, out);
        }
        for (name, value) in self.headers {
            push_header(name, value, out);
        }
        self.push_connection(context, out);
        out.extend_from_slice(b"\r\n\r\n");
        if self.has_body() && self.status != 304 && !context.head_only {
            out.extend_from_slice(body);
        }
    }

    /// RFC 9110 section 8.6: no length with 1xx and 204. A 304 tells the length of what it stands
    /// for, if that is known.
    fn has_body(&self) -> bool {
        match self.status {
            100..=199 | 204 => false,
            304 => self.body.told_len().is_some_and(|len| len > 0),
            _ => true,
        }
    }

    fn push_framing(&self, version: Version, out: &mut Vec<u8>) {
        if let Some(content_type) = self.content_type {
            push_header("Content-Type", content_type, out);
        }
        match (self.body.told_len(), version) {
            (Some(len), _) => {
                out.extend_from_slice(b"\r\nContent-Length: ");
                push_number(len as u64, out);
            }
            (None, Version::Http11) => {
                push_header("Transfer-Encoding", "chunked", out);
            }
            (None, Version::Http10) => {}
        }
    }

    /// A 1xx says by itself what becomes of the connection.
    fn push_connection(&self, context: &ResponseContext<'_>, out: &mut Vec<u8>) {
        if self.status < 200 {
            return;
        }
        if !context.keep_alive {
            push_header("Connection", "close", out);
        } else if context.version == Version::Http10 {
            push_header("Connection", "keep-alive", out);
        }
    }
}

/// Appends a field with the line end in front of it. Whatever the value came from, it can neither
/// end its line nor the head.
fn push_header(name: &str, value: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(b"\r\n");
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
    let start = out.len();
    out.extend_from_slice(value.as_bytes());
    for byte in &mut out[start..] {
        if byte.is_ascii_control() {
            *byte = b' ';
        }
    }
}

fn push_number(mut number: u64, out: &mut Vec<u8>) {
    // u64::MAX has 20 digits.
    let mut digits = [0; 20];
    let mut start = digits.len();
    loop {
        start -= 1;
        digits[start] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[start..]);
}

/// The usual phrase; clients must not rely on it (RFC 9112 section 4), but people read it.
fn reason(status: u16) -> &'static str {
    match status {
        101 => "Switching Protocols",
        200 => "OK",
        201 => "Created",
        202 => "Accepted",
        204 => "No Content",
        207 => "Multi-Status",
        304 => "Not Modified",
        307 => "Temporary Redirect",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        409 => "Conflict",
        413 => "Content Too Large",
        414 => "URI Too Long",
        422 => "Unprocessable Entity",
        426 => "Upgrade Required",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        503 => "Service Unavailable",
        505 => "HTTP Version Not Supported",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const DATE: &str = "Sun, 06 Nov 1994 08:49:37 GMT";

    const CONTEXT: ResponseContext<'_> = ResponseContext {
        version: Version::Http11,
        keep_alive: true,
        head_only: false,
        date: DATE,
    };

    const JSON: Response<'_> = Response {
        status: 201,
        headers: &[("X-Request-Id", "req_1")],
        content_type: Some("application/json"),
        body: ResponseBody::Whole(b"{}"),
    };

    fn encode(response: Response<'_>, context: ResponseContext<'_>) -> String {
        let mut out = b"before".to_vec();
        response.encode(&context, &mut out);
        let text = String::from_utf8(out).unwrap();
        text.strip_prefix("before").unwrap().to_owned()
    }

    #[test]
    fn a_publish_answer() {
        let expected = format!(
            "HTTP/1.1 201 Created\r\nServer: pulsar-proxy\r\nDate: {DATE}\r\n\
             Content-Type: application/json\r\nContent-Length: 2\r\nX-Request-Id: req_1\r\n\r\n{{}}"
        );
        assert_eq!(encode(JSON, CONTEXT), expected);
    }

    #[test]
    fn head_tells_the_length_without_the_body() {
        let text = encode(
            JSON,
            ResponseContext {
                head_only: true,
                ..CONTEXT
            },
        );
        assert!(text.contains("Content-Length: 2\r\n") && text.ends_with("\r\n\r\n"));
    }

    #[test]
    fn a_body_that_comes_apart_has_its_length_told() {
        let body = ResponseBody::Apart(1234);
        let text = encode(Response { body, ..JSON }, CONTEXT);
        assert!(text.contains("Content-Length: 1234\r\n") && text.ends_with("\r\n\r\n"));
    }

    #[test]
    fn statuses_without_length_or_body() {
        for status in [101, 204] {
            let text = encode(Response { status, ..JSON }, CONTEXT);
            assert!(
                !text.contains("Content-") && text.ends_with("\r\n\r\n"),
                "{text}"
            );
            assert!(text.contains("Server: ") && text.contains("Date: "));
        }
        let text = encode(
            Response {
                status: 304,
                ..JSON
            },
            CONTEXT,
        );
        assert!(text.contains("Content-Length: 2\r\n") && text.ends_with("\r\n\r\n"));
        let text = encode(
            Response {
                status: 304,
                body: ResponseBody::Whole(b""),
                ..JSON
            },
            CONTEXT,
        );
        assert!(!text.contains("Content-"), "{text}");
        let text = encode(
            Response {
                status: 200,
                body: ResponseBody::Whole(b""),
                content_type: None,
                ..JSON
            },
            CONTEXT,
        );
        assert!(text.contains("Content-Length: 0\r\n") && !text.contains("Content-Type"));
    }

    #[test]
    fn connection_is_told_where_it_is_not_implied() {
        let closing = ResponseContext {
            keep_alive: false,
            ..CONTEXT
        };
        let old = ResponseContext {
            version: Version::Http10,
            ..CONTEXT
        };
        assert!(!encode(JSON, CONTEXT).contains("Connection"));
        assert!(encode(JSON, closing).contains("\r\nConnection: close\r\n"));
        assert!(encode(JSON, old).contains("\r\nConnection: keep-alive\r\n"));
        let headers = &[("Connection", "Upgrade"), ("Upgrade", "websocket")];
        let upgrade = Response {
            status: 101,
            headers,
            body: ResponseBody::Whole(b""),
            content_type: None,
        };
        let text = encode(upgrade, closing);
        assert_eq!(text.matches("Connection: ").count(), 1);
        assert!(
            text.contains("101 Switching Protocols") && text.contains("Connection: Upgrade\r\n")
        );
    }

    #[test]
    fn a_value_cannot_end_its_line() {
        let headers = &[("Location", "/a\r\nSet-Cookie: b\0\n")];
        let text = encode(Response { headers, ..JSON }, CONTEXT);
        assert!(text.contains("Location: /a  Set-Cookie: b  \r\n"));
    }

    proptest! {
        #[test]
        fn numbers_are_decimal(number: u64) {
            let mut out = Vec::new();
            push_number(number, &mut out);
            prop_assert_eq!(String::from_utf8(out).unwrap(), number.to_string());
        }
    }
}
