//! The head of a request: request line and header fields (RFC 9112 sections 2 to 5).
//!
//! [`Scanner`] finds the end, `httparse` splits the lines, and what it is lenient about is checked
//! here or was by the scanner.

use std::mem::MaybeUninit;

use super::framing::{Framing, framing};
use super::headers::{HEADERS_MAX, Headers};
use super::method::{Method, Version};
use super::scan::Scanner;
use super::target::{Target, is_authority};

/// Bounds of one head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeadLimits {
    /// Bytes up to and with the empty line, empty lines in front included.
    pub bytes_max: usize,
    /// Header fields, at most [`HEADERS_MAX`].
    pub headers_max: usize,
    /// Bytes of the request target.
    pub target_bytes_max: usize,
}

/// Decodes heads one after the other, and keeps its place in one that has arrived in part.
#[derive(Clone, Debug, Default)]
pub struct HeadDecoder {
    scanner: Scanner,
}

/// A request up to its body, borrowed from the input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestHead<'b> {
    /// All of it, as it was sent.
    pub bytes: &'b [u8],
    /// What is asked for.
    pub method: Method<'b>,
    /// The target as it was sent: visible ASCII.
    pub target: &'b str,
    /// Path of the target, still percent-encoded. Begins with `/`, or is `*` for `OPTIONS *`.
    pub path: &'b str,
    /// What follows the first `?` of the target.
    pub query: Option<&'b str>,
    /// What the client speaks.
    pub version: Version,
    /// Host and port: of the target when it has them, else of the field `Host`, which only
    /// HTTP/1.0 may leave out.
    pub host: Option<&'b str>,
    /// Length of the body.
    pub framing: Framing,
    /// Whether the connection stays open behind the answer (RFC 9112 section 9.3).
    pub keep_alive: bool,
    /// Whether the client waits for `100 Continue` before it sends the body. Other expectations
    /// are ignored.
    pub expect_continue: bool,
    /// All fields.
    pub headers: Headers<'b>,
}

/// Why a head is refused. The connection cannot go on: where the next request begins is unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeadError {
    /// Not `method SP target SP version CRLF`, or bytes that do not belong there.
    #[error("malformed request line")]
    RequestLine,
    /// No form of target that this server knows.
    #[error("malformed request target")]
    Target,
    /// A line that is not `name: value CRLF`: bare CR or LF, NUL, folding, white space before the
    /// colon.
    #[error("malformed header line")]
    HeaderLine,
    /// HTTP/1.1 without `Host`.
    #[error("missing Host")]
    HostMissing,
    /// More than one `Host`, or one that is not a host and port.
    #[error("malformed or repeated Host")]
    Host,
    /// `Content-Length` is malformed or repeated.
    #[error("malformed or repeated Content-Length")]
    Length,
    /// `Content-Length` and `Transfer-Encoding` in one request.
    #[error("Content-Length together with Transfer-Encoding")]
    LengthAndCoding,
    /// `Transfer-Encoding` in HTTP/1.0, or not ending in one `chunked`.
    #[error("Transfer-Encoding does not end in one chunked")]
    Coding,
    /// A transfer coding that this server does not know.
    #[error("unknown transfer coding")]
    UnknownCoding,
    /// More than [`HeadLimits::target_bytes_max`].
    #[error("request target too long")]
    TargetTooLong,
    /// More than [`HeadLimits::headers_max`].
    #[error("too many header fields")]
    TooManyHeaders,
    /// More than [`HeadLimits::bytes_max`].
    #[error("head too large")]
    TooLarge,
    /// Neither HTTP/1.0 nor HTTP/1.1.
    #[error("HTTP version not supported")]
    Version,
}

impl HeadDecoder {
    /// Decodes the head that `input` begins with, and says how many bytes it takes, ignored empty
    /// lines in front included. `None` when more bytes are needed: the next call passes the same
    /// bytes and those that follow, of which only the new ones are looked at.
    ///
    /// # Errors
    /// As soon as the head is certain to be refused, also before it is complete.
    pub fn decode<'b>(
        &mut self,
        input: &'b [u8],
        limits: &HeadLimits,
    ) -> Result<Option<(RequestHead<'b>, usize)>, HeadError> {
        let Some(extent) = self.scanner.scan(input, limits)? else {
            return Ok(None);
        };
        let head = RequestHead::of_bytes(&input[extent.start..extent.end])?;
        self.scanner = Scanner::default();
        Ok(Some((head, extent.end)))
    }

    /// Where the request line of the head that has come in part, or was refused, begins: behind
    /// ignored empty lines. `None` before its first byte.
    pub fn request_line_at(&self) -> Option<usize> {
        self.scanner.request_line_at()
    }
}

impl<'b> RequestHead<'b> {
    /// Parses a complete head, from its request line to its empty line, that a decoder has passed.
    ///
    /// # Errors
    /// When it is no head.
    pub fn of_bytes(head: &'b [u8]) -> Result<RequestHead<'b>, HeadError> {
        let mut lines = [const { MaybeUninit::uninit() }; HEADERS_MAX];
        let mut request = httparse::Request::new(&mut []);
        request.parse_with_uninit_headers(head, &mut lines)?;
        let (Some(method), Some(text), Some(minor)) =
            (request.method, request.path, request.version)
        else {
            return Err(HeadError::HeaderLine);
        };
        let version = match minor {
            0 => Version::Http10,
            _ => Version::Http11,
        };
        let fields = request.headers.iter();
        let headers: Headers<'b> = fields.map(|field| (field.name, field.value)).collect();
        let method = Method::parse(method);
        let target = Target::parse(text, method).ok_or(HeadError::Target)?;
        let host = host(&headers, version)?;
        Ok(RequestHead {
            bytes: head,
            method,
            target: text,
            path: target.path,
            query: target.query,
            version,
            // The authority of the target wins (RFC 9112 section 3.2.2).
            host: target.authority.or(host),
            framing: framing(&headers, version)?,
            keep_alive: keep_alive(&headers, version),
            expect_continue: expect_continue(&headers, version),
            headers,
        })
    }
}

/// RFC 9112 section 3.2: exactly one `Host` in 1.1, at most one in 1.0, and a valid one.
fn host<'b>(headers: &Headers<'b>, version: Version) -> Result<Option<&'b str>, HeadError> {
    let mut values = headers.all("host");
    match (values.next(), values.next()) {
        (None, _) if version == Version::Http10 => Ok(None),
        (None, _) => Err(HeadError::HostMissing),
        (Some(host), None) if is_authority(host) => std::str::from_utf8(host)
            .map(Some)
            .map_err(|_| HeadError::Host),
        (Some(_), _) => Err(HeadError::Host),
    }
}

/// RFC 9112 section 9.3: `close` beats all, 1.1 stays open, 1.0 only when it asks for it.
fn keep_alive(headers: &Headers<'_>, version: Version) -> bool {
    let mut asked = version == Version::Http11;
    for option in headers.list("connection") {
        if option.eq_ignore_ascii_case(b"close") {
            return false;
        }
        asked |= option.eq_ignore_ascii_case(b"keep-alive");
    }
    asked
}

/// RFC 9110 section 10.1.1: a 1.0 client never waits.
fn expect_continue(headers: &Headers<'_>, version: Version) -> bool {
    version == Version::Http11
        && headers
            .list("expect")
            .any(|expectation| expectation.eq_ignore_ascii_case(b"100-continue"))
}

impl HeadError {
    /// Whether the lines are in order, and only what they say together is refused. Such a head is
    /// refused when it is complete, others as soon as they are certain to be.
    pub fn is_of_whole_head(&self) -> bool {
        match self {
            HeadError::Target
            | HeadError::HostMissing
            | HeadError::Host
            | HeadError::Length
            | HeadError::LengthAndCoding
            | HeadError::Coding
            | HeadError::UnknownCoding => true,
            HeadError::RequestLine
            | HeadError::HeaderLine
            | HeadError::TargetTooLong
            | HeadError::TooManyHeaders
            | HeadError::TooLarge
            | HeadError::Version => false,
        }
    }

    /// The status of the answer.
    pub fn status(&self) -> u16 {
        match self {
            HeadError::TargetTooLong => 414,
            HeadError::TooManyHeaders | HeadError::TooLarge => 431,
            HeadError::UnknownCoding => 501,
            HeadError::Version => 505,
            _ => 400,
        }
    }
}

impl From<httparse::Error> for HeadError {
    fn from(error: httparse::Error) -> HeadError {
        match error {
            httparse::Error::TooManyHeaders => HeadError::TooManyHeaders,
            httparse::Error::Version => HeadError::Version,
            httparse::Error::Token => HeadError::RequestLine,
            _ => HeadError::HeaderLine,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LIMITS: HeadLimits = HeadLimits {
        bytes_max: 1024,
        headers_max: 10,
        target_bytes_max: 100,
    };

    type Decoded<'b> = Result<Option<(RequestHead<'b>, usize)>, HeadError>;

    fn whole(input: &[u8]) -> Decoded<'_> {
        HeadDecoder::default().decode(input, &LIMITS)
    }

    /// Decodes byte by byte and in two pieces at every place; all must agree with `whole`.
    fn decode(input: &[u8]) -> Decoded<'_> {
        let expected = whole(input);
        let mut bytewise = HeadDecoder::default();
        let by_bytes = (0..=input.len()).find_map(|len| {
            let decoded = bytewise.decode(&input[..len], &LIMITS);
            (decoded != Ok(None)).then_some(decoded)
        });
        assert_eq!(by_bytes.unwrap_or(Ok(None)), expected, "byte by byte");
        for split in 0..input.len() {
            let mut decoder = HeadDecoder::default();
            let decoded = match decoder.decode(&input[..split], &LIMITS) {
                Ok(None) => decoder.decode(input, &LIMITS),
                certain => certain,
            };
            assert_eq!(decoded, expected, "split at {split}");
        }
        expected
    }

    fn head(text: &str) -> RequestHead<'_> {
        let (head, consumed) = decode(text.as_bytes()).unwrap().unwrap();
        assert_eq!(consumed, text.len());
        head
    }

    fn error(text: &str) -> HeadError {
        decode(text.as_bytes()).unwrap_err()
    }

    #[test]
    fn a_publish_request() {
        let head = head(
            "POST /api/v1/messages?a=b HTTP/1.1\r\nHost: localhost:8080\r\n\
             Content-Type:application/json \t\r\nContent-Length: 42\r\nExpect: 100-Continue\r\n\r\n",
        );
        assert_eq!(head.method, Method::Post);
        assert_eq!(head.target, "/api/v1/messages?a=b");
        assert_eq!((head.path, head.query), ("/api/v1/messages", Some("a=b")));
        assert_eq!(head.version, Version::Http11);
        assert_eq!(head.host, Some("localhost:8080"));
        assert_eq!(head.framing, Framing::Length(42));
        assert!(head.keep_alive && head.expect_continue);
        let content_type = head.headers.first("content-type");
        assert_eq!(content_type, Some(&b"application/json"[..]));
    }

    #[test]
    fn empty_lines_in_front_are_consumed_and_what_follows_is_not() {
        let input = b"\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\nGET";
        let (head, consumed) = decode(input).unwrap().unwrap();
        assert_eq!((head.path, consumed), ("/", input.len() - 3));
    }

    #[test]
    fn one_decoder_decodes_pipelined_heads() {
        let input = b"GET /1 HTTP/1.1\r\nHost: a\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\n";
        let mut decoder = HeadDecoder::default();
        let (first, consumed) = decoder.decode(input, &LIMITS).unwrap().unwrap();
        let (second, _) = decoder
            .decode(&input[consumed..], &LIMITS)
            .unwrap()
            .unwrap();
        assert_eq!((first.path, second.path), ("/1", "/2"));
    }

    #[test]
    fn the_authority_of_the_target_replaces_host() {
        let head = head("GET http://b:1?c HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(
            (head.host, head.path, head.query),
            (Some("b:1"), "/", Some("c"))
        );
        let missing = error("GET http://b/ HTTP/1.1\r\n\r\n");
        assert_eq!(missing, HeadError::HostMissing);
    }

    #[test]
    fn keep_alive_by_version_and_connection() {
        let cases = [
            ("1.1", "", true),
            ("1.1", "Connection: close\r\n", false),
            ("1.1", "Connection: Upgrade, CLOSE\r\n", false),
            ("1.1", "Connection: x\r\nconnection: close\r\n", false),
            ("1.1", "Connection: closed\r\n", true),
            ("1.0", "", false),
            ("1.0", "Connection: Keep-Alive\r\n", true),
            ("1.0", "Connection: keep-alive, close\r\n", false),
        ];
        for (version, fields, expected) in cases {
            let text = format!("GET / HTTP/{version}\r\nHost: a\r\n{fields}\r\n");
            assert_eq!(head(&text).keep_alive, expected, "{text:?}");
        }
    }

    #[test]
    fn http_1_0_may_leave_out_host_and_does_not_wait() {
        let head = head("GET / HTTP/1.0\r\nExpect: 100-continue\r\n\r\n");
        assert_eq!((head.host, head.version), (None, Version::Http10));
        assert!(!head.expect_continue);
    }

    #[test]
    fn refuses_malformed_fields() {
        let lines = [
            "Name : a",
            " Name: a",
            "\tName: a",
            "Name",
            ": a",
            "Na me: a",
            "Name: a\rb",
            "Name: a\r",
            "Name: a\x7f",
            "Name: \x01",
            "Name: a\r\n folded: b",
            "Näme: a",
            "Name: a\0",
            "Name\r: a",
            "Name: a\n",
            "Name(: a",
        ];
        for line in lines {
            let text = format!("GET / HTTP/1.1\r\nHost: a\r\n{line}\r\n\r\n");
            assert_eq!(error(&text), HeadError::HeaderLine, "{line:?}");
        }
    }

    #[test]
    fn values_may_be_empty_or_not_utf8() {
        let input = b"GET / HTTP/1.1\r\nHost: a\r\nA:\r\nB: \r\nC: \xff\t\xfe \r\n\r\n";
        let (head, _) = decode(input).unwrap().unwrap();
        assert_eq!(head.headers.first("a"), Some(&b""[..]));
        assert_eq!(head.headers.first("b"), Some(&b""[..]));
        assert_eq!(head.headers.first("c"), Some(&b"\xff\t\xfe"[..]));
    }

    #[test]
    fn refuses_missing_repeated_and_malformed_hosts() {
        let of = |fields: &str| error(&format!("GET / HTTP/1.1\r\n{fields}\r\n"));
        assert_eq!(of(""), HeadError::HostMissing);
        for fields in [
            "Host: a\r\nhost: a\r\n",
            "Host:\r\n",
            "Host: a b\r\n",
            "Host: a/\r\n",
        ] {
            assert_eq!(of(fields), HeadError::Host, "{fields:?}");
        }
        let repeated = "GET / HTTP/1.0\r\nHost: a\r\nHost: a\r\n\r\n";
        assert_eq!(error(repeated), HeadError::Host);
    }

    #[test]
    fn refuses_targets_of_other_forms() {
        for line in ["GET *", "CONNECT a:80", "GET a", "GET http:///", "POST ?a"] {
            let text = format!("{line} HTTP/1.1\r\nHost: a\r\n\r\n");
            assert_eq!(error(&text), HeadError::Target, "{line}");
        }
    }

    #[test]
    fn limits_have_their_own_statuses() {
        let target = format!("GET /{} ", "a".repeat(100));
        assert_eq!(error(&target).status(), 414);
        let headers = format!("GET / HTTP/1.1\r\n{}", "A:\r\n".repeat(11));
        assert_eq!(error(&headers).status(), 431);
        let bytes = format!("GET / HTTP/1.1\r\nA: {}", "a".repeat(1024));
        assert_eq!(error(&bytes).status(), 431);
        assert_eq!(error("GET / HTTP/2.0\r\n").status(), 505);
        assert_eq!(HeadError::UnknownCoding.status(), 501);
        assert_eq!(HeadError::Host.status(), 400);
    }

    #[test]
    fn the_largest_number_of_headers_fits() {
        let limits = HeadLimits {
            bytes_max: 4096,
            headers_max: HEADERS_MAX,
            ..LIMITS
        };
        let text = format!(
            "GET / HTTP/1.1\r\nHost: a\r\n{}\r\n",
            "A:\r\n".repeat(HEADERS_MAX - 1)
        );
        let (head, _) = HeadDecoder::default()
            .decode(text.as_bytes(), &limits)
            .unwrap()
            .unwrap();
        assert_eq!(head.headers.iter().count(), HEADERS_MAX);
        let limits = HeadLimits {
            headers_max: HEADERS_MAX + 1,
            ..limits
        };
        let text = text.replacen("A:", "A:\r\nA:", 1);
        let decoded = HeadDecoder::default().decode(text.as_bytes(), &limits);
        assert_eq!(decoded, Err(HeadError::TooManyHeaders));
    }

    proptest! {
        #[test]
        fn round_trip(path in "/[!\"$-;=-~]{0,20}", fields in prop::collection::vec(
            ("[A-Za-z!#-]{1,9}-x", "([!-~]([ -~]{0,9}[!-~])?)?"), 0..8)) {
            let mut text = format!("PUT {path} HTTP/1.1\r\nHost: a\r\n");
            for (name, value) in &fields {
                text.push_str(&format!("{name}: {value}\t\r\n"));
            }
            text.push_str("\r\n");
            let head = head(&text);
            prop_assert_eq!(head.target, path);
            let decoded: Vec<_> = head.headers.iter().skip(1).collect();
            let sent: Vec<_> = fields.iter().map(|(name, value)| (&name[..], value.as_bytes())).collect();
            prop_assert_eq!(decoded, sent);
        }

        #[test]
        fn any_bytes_get_one_verdict(pieces in prop::collection::vec(prop::sample::select(vec![
            "GET ", "/", " ", "HTTP/1.1\r\n", "HTTP/1.0\r\n", "\r\n", "\n", "\r", "Host: a\r\n", "a: b\r\n",
            ":", "\0", "Content-Length: 1\r\n", "Transfer-Encoding: chunked\r\n", "\u{e9}", "http://b", "?",
        ]), 0..12)) {
            // `decode` compares the verdicts.
            let _ = decode(pieces.concat().as_bytes());
        }
    }
}
