//! Finds the end of a head without looking at a byte twice, and refuses on the way what is certain
//! to be refused: limits, a malformed request line, bare line feeds, NUL.
//!
//! Bytes are judged strictly in their order, so that a head gets the same verdict however it was
//! cut in pieces.

use super::head::{HeadError, HeadLimits};

/// Empty lines in front of a request that are ignored (RFC 9112 section 2.2).
const EMPTY_LINES_MAX: u8 = 4;

/// How a request line ends; `d` stands for a digit.
const VERSION_PATTERN: &[u8; 10] = b"HTTP/d.d\r\n";

/// Keeps the place in a head that has arrived in part.
#[derive(Clone, Debug, Default)]
pub(super) struct Scanner {
    part: Part,
    /// Where the part began. `mark <= at`
    mark: usize,
    /// Bytes that need not be looked at again; at most the length of the input so far.
    at: usize,
    /// Where the request line began, behind ignored empty lines.
    start: usize,
    empty_lines: u8,
    /// Header lines that are complete.
    header_lines: usize,
}

/// What stands at `mark`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Part {
    #[default]
    EmptyLine,
    Method,
    Target,
    Version,
    HeaderLine,
    /// The empty line was found, the head ends here.
    End,
}

/// A complete head within the input: from the request line to behind the empty line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Extent {
    pub(super) start: usize,
    pub(super) end: usize,
}

impl Scanner {
    /// Goes on where the last call stopped. `input` begins at the same byte on each call.
    pub(super) fn scan(
        &mut self,
        input: &[u8],
        limits: &HeadLimits,
    ) -> Result<Option<Extent>, HeadError> {
        let window = &input[..input.len().min(limits.bytes_max)];
        loop {
            let next = match self.part {
                Part::EmptyLine => self.empty_line(window)?,
                Part::Method => self.method(window)?,
                Part::Target => self.target(window, limits.target_bytes_max)?,
                Part::Version => self.version(window)?,
                Part::HeaderLine => self.header_line(window, limits.headers_max)?,
                Part::End => break,
            };
            match next {
                Some(part) => (self.part, self.mark) = (part, self.at),
                None if input.len() >= limits.bytes_max => return Err(HeadError::TooLarge),
                None => return Ok(None),
            }
        }
        Ok(Some(Extent {
            start: self.start,
            end: self.at,
        }))
    }

    /// Where the request line begins, once a byte of it has come.
    pub(super) fn request_line_at(&self) -> Option<usize> {
        (self.part != Part::EmptyLine).then_some(self.start)
    }

    // Each part returns what follows it, with `at` behind it, or `None` when the window ends first.

    fn empty_line(&mut self, window: &[u8]) -> Result<Option<Part>, HeadError> {
        match window[self.mark..] {
            [] | [b'\r'] => Ok(None),
            [b'\r', b'\n', ..] if self.empty_lines < EMPTY_LINES_MAX => {
                self.empty_lines += 1;
                self.at += 2;
                Ok(Some(Part::EmptyLine))
            }
            [b'\r' | b'\n', ..] => Err(HeadError::RequestLine),
            _ => {
                self.start = self.at;
                Ok(Some(Part::Method))
            }
        }
    }

    fn method(&mut self, window: &[u8]) -> Result<Option<Part>, HeadError> {
        self.at += count_while(&window[self.at..], is_token_byte);
        match window.get(self.at) {
            None => Ok(None),
            Some(b' ') if self.at > self.mark => {
                self.at += 1;
                Ok(Some(Part::Target))
            }
            Some(_) => Err(HeadError::RequestLine),
        }
    }

    fn target(&mut self, window: &[u8], bytes_max: usize) -> Result<Option<Part>, HeadError> {
        self.at += count_while(&window[self.at..], is_target_byte);
        if self.at - self.mark > bytes_max {
            return Err(HeadError::TargetTooLong);
        }
        match window.get(self.at) {
            None => Ok(None),
            Some(b' ') if self.at > self.mark => {
                self.at += 1;
                Ok(Some(Part::Version))
            }
            Some(_) => Err(HeadError::RequestLine),
        }
    }

    fn version(&mut self, window: &[u8]) -> Result<Option<Part>, HeadError> {
        let text = &window[self.mark..];
        let fits = text.iter().zip(VERSION_PATTERN).all(|(byte, wanted)| {
            if *wanted == b'd' {
                byte.is_ascii_digit()
            } else {
                byte == wanted
            }
        });
        if !fits {
            return Err(HeadError::RequestLine);
        }
        let Some(line_end) = text.get(..VERSION_PATTERN.len()) else {
            return Ok(None);
        };
        if !matches!(&line_end[5..8], b"1.0" | b"1.1") {
            return Err(HeadError::Version);
        }
        self.at = self.mark + line_end.len();
        Ok(Some(Part::HeaderLine))
    }

    fn header_line(&mut self, window: &[u8], lines_max: usize) -> Result<Option<Part>, HeadError> {
        let Some(found) = memchr::memchr2(b'\n', 0, &window[self.at..]) else {
            self.at = window.len();
            return Ok(None);
        };
        let line_feed = self.at + found;
        // RFC 9112 section 2.2 allows a bare LF as line end; two readings of one message are what
        // request smuggling needs, so it is refused (SPEC section 13).
        if window[line_feed] == 0 || window[line_feed - 1] != b'\r' {
            return Err(HeadError::HeaderLine);
        }
        self.at = line_feed + 1;
        if line_feed - 1 == self.mark {
            return Ok(Some(Part::End));
        }
        self.header_lines += 1;
        if self.header_lines > lines_max {
            return Err(HeadError::TooManyHeaders);
        }
        Ok(Some(Part::HeaderLine))
    }
}

fn count_while(bytes: &[u8], good: impl Fn(u8) -> bool) -> usize {
    bytes
        .iter()
        .position(|byte| !good(*byte))
        .unwrap_or(bytes.len())
}

/// A byte of a token (RFC 9110 section 5.6.2): of method names and field names.
pub(super) fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// Visible ASCII without `#`: a fragment is never sent (RFC 9112 section 3.2).
fn is_target_byte(byte: u8) -> bool {
    byte.is_ascii_graphic() && byte != b'#'
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: HeadLimits = HeadLimits {
        bytes_max: 64,
        headers_max: 2,
        target_bytes_max: 8,
    };

    /// The verdict, and how many bytes were there when it was certain.
    fn verdict(input: &[u8]) -> (usize, Result<Option<Extent>, HeadError>) {
        let mut scanner = Scanner::default();
        for len in 0..=input.len() {
            let verdict = scanner.scan(&input[..len], &LIMITS);
            if verdict != Ok(None) {
                let whole = Scanner::default().scan(input, &LIMITS);
                assert_eq!(whole, verdict, "whole and in bytes");
                return (len, verdict);
            }
        }
        (input.len(), Ok(None))
    }

    #[test]
    fn finds_the_end() {
        let extent = |start, end| (end, Ok(Some(Extent { start, end })));
        assert_eq!(verdict(b"GET / HTTP/1.1\r\n\r\n"), extent(0, 18));
        assert_eq!(verdict(b"GET / HTTP/1.1\r\n\r\nGET"), extent(0, 18));
        assert_eq!(
            verdict(b"\r\n\r\nGET / HTTP/1.0\r\nA:\r\n\r\n"),
            extent(4, 26)
        );
    }

    #[test]
    fn refuses_at_the_first_byte_that_makes_it_certain() {
        let cases: [(&[u8], usize, HeadError); 16] = [
            (b"\x16\x03\x01\x02\x00", 1, HeadError::RequestLine),
            (b"\0", 1, HeadError::RequestLine),
            (b" GET / HTTP/1.1", 1, HeadError::RequestLine),
            (b"\nGET /", 1, HeadError::RequestLine),
            (b"\rGET /", 2, HeadError::RequestLine),
            (b"\r\n\r\n\r\n\r\n\r\n", 10, HeadError::RequestLine),
            (b"GET  / HTTP/1.1", 5, HeadError::RequestLine),
            (b"GET /\r\n", 6, HeadError::RequestLine),
            (b"GET /#a HTTP/1.1", 6, HeadError::RequestLine),
            (b"GET /\xc3\xa9 HTTP/1.1", 6, HeadError::RequestLine),
            (b"GET /12345678", 13, HeadError::TargetTooLong),
            (b"GET / http/1.1", 7, HeadError::RequestLine),
            (b"GET / HTTP/1.1 \r\n", 15, HeadError::RequestLine),
            (b"GET / HTTP/1.1\n", 15, HeadError::RequestLine),
            (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 16, HeadError::Version),
            (b"GET / HTTP/0.9\r\n", 16, HeadError::Version),
        ];
        for (input, len, error) in cases {
            let text = String::from_utf8_lossy(input);
            assert_eq!(verdict(input), (len, Err(error)), "{text:?}");
        }
        assert_eq!(verdict(b"GET /1234567 HTTP/1.1").1, Ok(None), "target of 8");
    }

    #[test]
    fn refuses_header_lines_early() {
        let line = b"GET / HTTP/1.1\r\n";
        let head = |rest: &[u8]| verdict(&[&line[..], rest].concat());
        assert_eq!(head(b"A: b\n"), (21, Err(HeadError::HeaderLine)));
        assert_eq!(head(b"\n"), (17, Err(HeadError::HeaderLine)));
        assert_eq!(head(b"A: \0"), (20, Err(HeadError::HeaderLine)));
        assert_eq!(
            head(b"A:\r\nB:\r\nC:\r\n"),
            (28, Err(HeadError::TooManyHeaders))
        );
        assert_eq!(head(b"A:\r\nB:\r\n\r\n").0, 26);
    }

    #[test]
    fn the_limit_counts_the_whole_head() {
        let head = |padding: usize| {
            let line = b"GET / HTTP/1.1\r\nA: ".to_vec();
            [line, vec![b'a'; padding], b"\r\n\r\n".to_vec()].concat()
        };
        assert_eq!(verdict(&head(41)).1, Ok(Some(Extent { start: 0, end: 64 })));
        assert_eq!(verdict(&head(42)), (64, Err(HeadError::TooLarge)));
    }
}
