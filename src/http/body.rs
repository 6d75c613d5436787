//! Chunked bodies (RFC 9112 section 7.1), in pieces of any size.
//!
//! Extensions and trailers are read and forgotten. What they may take is bounded, so that a body
//! costs its sender in proportion what it costs here.

use super::percent::hex_digit;
use super::scan::is_token_byte;

/// Digits of a chunk size: what a `u64` holds.
const SIZE_DIGITS_MAX: u8 = 16;

/// Bytes of extensions and trailers of one body, beyond one for each byte of data.
const OVERHEAD_BYTES_MAX: u64 = 16 * 1024;

/// Bytes of the extensions of one chunk, and of one trailer line.
const LINE_BYTES_MAX: u16 = 8 * 1024;

/// Decodes one chunked body.
#[derive(Clone, Debug, Default)]
pub struct ChunkedDecoder {
    part: Part,
    /// Size of the chunk while its line is read, then what is missing of its data.
    remaining: u64,
    /// Bytes of data so far.
    received: u64,
    /// Bytes of extensions and trailers so far.
    overhead: u64,
    /// Of these, bytes in the present line.
    line: u16,
}

/// What the next byte belongs to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Part {
    /// Size of a chunk: no digit yet.
    #[default]
    FirstDigit,
    /// Size of a chunk, of which so many digits are there.
    Digits(u8),
    /// White space behind the size, where only an extension may follow.
    Padding,
    Extension,
    SizeLineFeed,
    Data,
    DataCarriageReturn,
    DataLineFeed,
    /// Start of a trailer line, or the end.
    Trailer,
    TrailerName,
    TrailerValue,
    TrailerLineFeed,
    LastLineFeed,
    Done,
}

/// Why a body is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// Not a chunked body, a chunk size that no `u64` holds, or too much beside the data.
    #[error("malformed chunked body")]
    Malformed,
    /// More data than allowed.
    #[error("body too large")]
    TooLarge,
}

impl BodyError {
    /// The status of the answer.
    pub fn status(&self) -> u16 {
        match self {
            BodyError::Malformed => 400,
            BodyError::TooLarge => 413,
        }
    }
}

impl ChunkedDecoder {
    /// Takes what `input` has of the body and appends its data to `out`. Returns how many bytes
    /// were consumed, and whether the body is complete; until then all of `input` is consumed.
    ///
    /// # Errors
    /// As soon as it is certain; a body that will have more than `body_max` bytes, at the size of
    /// the chunk that passes it.
    pub fn decode(
        &mut self,
        input: &[u8],
        body_max: usize,
        out: &mut Vec<u8>,
    ) -> Result<(usize, bool), BodyError> {
        let mut at = 0;
        while at < input.len() && self.part != Part::Done {
            if self.part == Part::Data {
                at += self.data(&input[at..], out);
            } else {
                self.part = self.step(input[at], body_max)?;
                at += 1;
            }
        }
        Ok((at, self.part == Part::Done))
    }

    fn data(&mut self, input: &[u8], out: &mut Vec<u8>) -> usize {
        let len = usize::try_from(self.remaining).map_or(input.len(), |len| len.min(input.len()));
        out.extend_from_slice(&input[..len]);
        self.remaining -= len as u64;
        if self.remaining == 0 {
            self.part = Part::DataCarriageReturn;
        }
        len
    }

    /// Takes one byte outside the data and returns what the next belongs to.
    fn step(&mut self, byte: u8, body_max: usize) -> Result<Part, BodyError> {
        match (self.part, byte) {
            (Part::FirstDigit, _) => self.digit(byte, 0),
            (Part::Digits(_), b'\r' | b';' | b' ' | b'\t') => self.size_end(byte, body_max),
            (Part::Digits(digits), _) => self.digit(byte, digits),
            // White space in front of the semicolon is allowed (RFC 9112 section 7.1.1).
            (Part::Padding, b' ' | b'\t') => self.count(Part::Padding),
            (Part::Padding, b';') => self.count(Part::Extension),
            (Part::Extension, b'\r') => Ok(Part::SizeLineFeed),
            (Part::Extension, _) if is_text(byte) => self.count(Part::Extension),
            (Part::SizeLineFeed, b'\n') => Ok(self.chunk_start()),
            (Part::DataCarriageReturn, b'\r') => Ok(Part::DataLineFeed),
            (Part::DataLineFeed, b'\n') => Ok(Part::FirstDigit),
            (Part::Trailer, b'\r') => Ok(Part::LastLineFeed),
            (Part::Trailer, _) if is_token_byte(byte) => {
                self.line = 0;
                self.count(Part::TrailerName)
            }
            (Part::TrailerName, b':') => self.count(Part::TrailerValue),
            (Part::TrailerName, _) if is_token_byte(byte) => self.count(Part::TrailerName),
            (Part::TrailerValue, b'\r') => Ok(Part::TrailerLineFeed),
            (Part::TrailerValue, _) if is_text(byte) => self.count(Part::TrailerValue),
            (Part::TrailerLineFeed, b'\n') => Ok(Part::Trailer),
            (Part::LastLineFeed, b'\n') => Ok(Part::Done),
            _ => Err(BodyError::Malformed),
        }
    }

    fn digit(&mut self, byte: u8, digits: u8) -> Result<Part, BodyError> {
        let digit = hex_digit(byte).ok_or(BodyError::Malformed)?;
        if digits == SIZE_DIGITS_MAX {
            return Err(BodyError::Malformed);
        }
        self.remaining = self.remaining << 4 | u64::from(digit);
        Ok(Part::Digits(digits + 1))
    }

    /// The size is complete: this is where a body becomes too large.
    fn size_end(&mut self, byte: u8, body_max: usize) -> Result<Part, BodyError> {
        // usize has at most 64 bits on every platform that Rust knows.
        let allowed = (body_max as u64).saturating_sub(self.received);
        if self.remaining > allowed {
            return Err(BodyError::TooLarge);
        }
        self.received += self.remaining;
        self.line = 0;
        match byte {
            b'\r' => Ok(Part::SizeLineFeed),
            b';' => self.count(Part::Extension),
            _ => self.count(Part::Padding),
        }
    }

    fn chunk_start(&self) -> Part {
        if self.remaining == 0 {
            Part::Trailer
        } else {
            Part::Data
        }
    }

    /// Counts a byte of an extension or trailer against its bounds.
    fn count(&mut self, next: Part) -> Result<Part, BodyError> {
        self.line += 1;
        self.overhead += 1;
        let allowed = OVERHEAD_BYTES_MAX.saturating_add(self.received);
        if self.line > LINE_BYTES_MAX || self.overhead > allowed {
            return Err(BodyError::Malformed);
        }
        Ok(next)
    }
}

/// What may stand in extensions and values: no control bytes but tab.
fn is_text(byte: u8) -> bool {
    byte == b'\t' || !byte.is_ascii_control()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    type Outcome = Result<(Vec<u8>, usize, bool), BodyError>;

    fn pieces<'a>(input: impl IntoIterator<Item = &'a [u8]>, body_max: usize) -> Outcome {
        let mut decoder = ChunkedDecoder::default();
        let (mut out, mut total, mut complete) = (Vec::new(), 0, false);
        for piece in input {
            let (consumed, done) = decoder.decode(piece, body_max, &mut out)?;
            assert!(
                done || consumed == piece.len(),
                "all is consumed until the end"
            );
            (total, complete) = (total + consumed, done);
        }
        Ok((out, total, complete))
    }

    /// Whole, in two pieces at every place, and byte by byte: all must agree.
    fn decode_max(input: &[u8], body_max: usize) -> Outcome {
        let expected = pieces([input], body_max);
        for split in 0..=input.len().min(300) {
            let (front, back) = input.split_at(split);
            assert_eq!(
                pieces([front, back], body_max),
                expected,
                "split at {split}"
            );
        }
        assert_eq!(pieces(input.chunks(1), body_max), expected, "byte by byte");
        expected
    }

    fn decode(input: &[u8]) -> Outcome {
        decode_max(input, 1 << 20)
    }

    fn body(input: &[u8]) -> Vec<u8> {
        let (out, consumed, done) = decode(input).unwrap();
        assert!(done && consumed == input.len());
        out
    }

    #[test]
    fn chunks_extensions_and_trailers() {
        assert_eq!(body(b"0\r\n\r\n"), b"");
        assert_eq!(
            body(b"4\r\nWiki\r\n7\r\npedia i\r\n0\r\n\r\n"),
            b"Wikipedia i"
        );
        assert_eq!(
            body(b"00a;a=b;c=\"d e\"\r\n0123456789\r\n000\r\n\r\n"),
            b"0123456789"
        );
        assert_eq!(body(b"1 \t; a\r\nx\r\n0;z\r\nA: b\r\nC:\r\n\r\n"), b"x");
        assert_eq!(body(b"1\r\n\r\r\n1\r\n\n\r\n0\r\n\r\n"), b"\r\n");
    }

    #[test]
    fn stops_at_its_end() {
        let (out, consumed, done) = decode(b"1\r\na\r\n0\r\n\r\nGET /").unwrap();
        assert_eq!((&out[..], consumed, done), (&b"a"[..], 11, true));
        let mut decoder = ChunkedDecoder::default();
        decoder.decode(b"0\r\n\r\n", 0, &mut Vec::new()).unwrap();
        assert_eq!(decoder.decode(b"0", 0, &mut Vec::new()), Ok((0, true)));
    }

    #[test]
    fn refuses_malformed_bodies() {
        let cases: [&[u8]; 24] = [
            b"\r\n",
            b";a\r\n",
            b" 1\r\n",
            b"-1\r\n",
            b"+1\r\n",
            b"0x1\r\n",
            b"g\r\n",
            b"1\n",
            b"1\rx",
            b"1 \r\n",
            b"1 1\r\n",
            b"1;a\nx",
            b"1;\0",
            b"1\r\nab",
            b"1\r\na\n",
            b"1\r\na\rx",
            b"1\r\na1\r\n",
            b"0\r\n\n",
            b"0\r\n\rx",
            b"0\r\n a: b\r\n",
            b"0\r\na b: c\r\n",
            b"0\r\na: b\n",
            b"0\r\na\r\n",
            b"0\r\na: b\0",
        ];
        for input in cases {
            let text = String::from_utf8_lossy(input);
            assert_eq!(decode(input), Err(BodyError::Malformed), "{text:?}");
        }
    }

    #[test]
    fn refuses_sizes_that_overflow_and_bodies_too_large() {
        assert_eq!(decode(b"10000000000000000\r\n"), Err(BodyError::Malformed));
        assert_eq!(decode(b"00000000000000001\r\n"), Err(BodyError::Malformed));
        assert_eq!(decode(b"ffffffffffffffff\r"), Err(BodyError::TooLarge));
        assert_eq!(decode_max(b"3\r\nabc\r\n0\r\n\r\n", 3).unwrap().0, b"abc");
        assert_eq!(decode_max(b"4\r", 3), Err(BodyError::TooLarge));
        assert_eq!(decode_max(b"3\r\nabc\r\n1;", 3), Err(BodyError::TooLarge));
        assert_eq!(BodyError::TooLarge.status(), 413);
        assert_eq!(BodyError::Malformed.status(), 400);
    }

    #[test]
    fn extensions_and_trailers_are_bounded() {
        let line = vec![b'a'; usize::from(LINE_BYTES_MAX)];
        let long_extension = [b"1;", &line[..]].concat();
        assert_eq!(pieces([&long_extension[..]], 9), Err(BodyError::Malformed));
        let long_trailer = [b"0\r\n", &line[..], b"a"].concat();
        assert_eq!(pieces([&long_trailer[..]], 9), Err(BodyError::Malformed));
        let trailers = [b"0\r\n", &b"a: b\r\n".repeat(5000)[..]].concat();
        assert_eq!(pieces([&trailers[..]], 9), Err(BodyError::Malformed));
        let tiny = [&b"1;a\r\nx\r\n".repeat(20_000)[..], b"0\r\n\r\n"].concat();
        let refused = pieces([&tiny[..]], 1 << 20);
        assert_eq!(
            refused,
            Err(BodyError::Malformed),
            "two bytes beside each byte of data"
        );
        let plain = [&b"1\r\nx\r\n".repeat(20_000)[..], b"0\r\n\r\n"].concat();
        assert_eq!(pieces([&plain[..]], 1 << 20).unwrap().0.len(), 20_000);
    }

    proptest! {
        #[test]
        fn round_trip(chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..40), 0..8)) {
            let mut encoded = Vec::new();
            for chunk in &chunks {
                encoded.extend_from_slice(format!("{:X};n=v\r\n", chunk.len()).as_bytes());
                encoded.extend_from_slice(chunk);
                encoded.extend_from_slice(b"\r\n");
            }
            encoded.extend_from_slice(b"0\r\nT: v\r\n\r\n");
            prop_assert_eq!(body(&encoded), chunks.concat());
        }

        #[test]
        fn any_bytes_get_one_verdict(input in "([0-9a-f]{1,3}|;|\r\n|\r|\n|[a-z]: |x){0,20}") {
            // `decode_max` compares the verdicts.
            let _ = decode_max(input.as_bytes(), 100);
        }
    }
}
