//! A scanner over JSON text: finds where values begin and end, and what is wrong where.
//!
//! It builds no tree. It does not recurse: open brackets are bits on a stack of fixed size. Errors
//! have the reasons and places of Python's `json` module, because clients read them (SPEC
//! section 4).

/// Most levels of nesting; the outermost bracket of a body is level 1.
pub(super) const DEPTH_MAX: usize = 255;

/// Why a text is not JSON. [`Reason::words`] gives the sentence.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Reason {
    Value,
    PropertyName,
    Colon,
    Comma,
    UnterminatedString,
    ControlCharacter,
    Escape,
    UnicodeEscape,
    ExtraData,
    TooDeep,
    NotUtf8,
}

impl Reason {
    /// What Python's `json` module says, or a sentence like it where Python has none.
    pub(super) fn words(self) -> &'static str {
        match self {
            Reason::Value => "Expecting value",
            Reason::PropertyName => "Expecting property name enclosed in double quotes",
            Reason::Colon => "Expecting ':' delimiter",
            Reason::Comma => "Expecting ',' delimiter",
            Reason::UnterminatedString => "Unterminated string starting at",
            Reason::ControlCharacter => "Invalid control character at",
            Reason::Escape => "Invalid \\escape",
            Reason::UnicodeEscape => "Invalid \\uXXXX escape",
            Reason::ExtraData => "Extra data",
            Reason::TooDeep => "Nesting deeper than 255 levels",
            Reason::NotUtf8 => "Invalid UTF-8",
        }
    }
}

/// The text is not JSON.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct SyntaxError {
    pub(super) reason: Reason,
    /// Byte offset of the place in the text.
    pub(super) at: usize,
}

/// Where a value stands in the text. `start < end`, both on the value's own bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Span {
    pub(super) start: usize,
    pub(super) end: usize,
    /// CR or LF stands outside strings between `start` and `end`.
    pub(super) line_breaks: bool,
}

impl Span {
    /// The value as it came.
    pub(super) fn of(self, text: &str) -> &str {
        &text[self.start..self.end]
    }

    /// First byte of the value: tells its kind.
    pub(super) fn first(self, text: &str) -> u8 {
        text.as_bytes()[self.start]
    }
}

/// A place in a JSON text.
pub(super) struct Scanner<'t> {
    text: &'t str,
    bytes: &'t [u8],
    at: usize,
    line_breaks: bool,
}

impl<'t> Scanner<'t> {
    /// A scanner at byte `at` of `text`.
    pub(super) fn new(text: &'t str, at: usize) -> Scanner<'t> {
        Scanner {
            text,
            bytes: text.as_bytes(),
            at,
            line_breaks: false,
        }
    }

    /// The text that is scanned.
    pub(super) fn text(&self) -> &'t str {
        self.text
    }

    /// The byte at the present place.
    pub(super) fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    /// Scans a whole document: white space, what `value` scans, white space, end.
    pub(super) fn document<T>(
        &mut self,
        value: impl FnOnce(&mut Self) -> Result<T, SyntaxError>,
    ) -> Result<T, SyntaxError> {
        self.space();
        let result = value(self)?;
        self.space();
        if self.at == self.bytes.len() {
            Ok(result)
        } else {
            Err(self.error(Reason::ExtraData))
        }
    }

    /// Runs `scan` and says where what it scanned stands.
    pub(super) fn spanned<T>(
        &mut self,
        scan: impl FnOnce(&mut Self) -> Result<T, SyntaxError>,
    ) -> Result<(T, Span), SyntaxError> {
        let start = self.at;
        let outer = std::mem::replace(&mut self.line_breaks, false);
        let result = scan(self)?;
        let span = Span {
            start,
            end: self.at,
            line_breaks: self.line_breaks,
        };
        self.line_breaks |= outer;
        Ok((result, span))
    }

    /// Scans one value of any kind inside `depth` open brackets.
    pub(super) fn value(&mut self, depth: usize) -> Result<Span, SyntaxError> {
        let ((), span) = self.spanned(|scanner| scanner.any(depth))?;
        Ok(span)
    }

    /// Scans an object at whose `{` the scanner stands. `member` gets the span of each key with its
    /// quotes and scans the value, at whose first byte the scanner stands then.
    pub(super) fn members(
        &mut self,
        mut member: impl FnMut(&mut Self, Span) -> Result<(), SyntaxError>,
    ) -> Result<(), SyntaxError> {
        self.at += 1;
        self.space();
        if self.take(b'}') {
            return Ok(());
        }
        loop {
            let key = self.key()?;
            member(self, key)?;
            self.space();
            if self.take(b'}') {
                return Ok(());
            }
            self.comma()?;
        }
    }

    /// Scans an array at whose `[` the scanner stands. `element` scans each element.
    pub(super) fn elements(
        &mut self,
        mut element: impl FnMut(&mut Self) -> Result<(), SyntaxError>,
    ) -> Result<(), SyntaxError> {
        self.at += 1;
        self.space();
        if self.take(b']') {
            return Ok(());
        }
        loop {
            element(self)?;
            self.space();
            if self.take(b']') {
                return Ok(());
            }
            self.comma()?;
        }
    }

    /// One value with all that is in it, without recursion.
    fn any(&mut self, depth: usize) -> Result<(), SyntaxError> {
        let mut open = Brackets::inside(depth);
        loop {
            match self.peek() {
                Some(b'{') => {
                    open.push(Bracket::Object, self)?;
                    if !self.take(b'}') {
                        self.key()?;
                        continue;
                    }
                    open.pop();
                }
                Some(b'[') => {
                    open.push(Bracket::Array, self)?;
                    if !self.take(b']') {
                        continue;
                    }
                    open.pop();
                }
                _ => self.scalar()?,
            }
            if self.closed(&mut open)? {
                return Ok(());
            }
        }
    }

    /// After a value: takes closing brackets. True when the outermost is closed, else the scanner
    /// stands at the next value.
    fn closed(&mut self, open: &mut Brackets) -> Result<bool, SyntaxError> {
        while let Some(bracket) = open.top() {
            self.space();
            match (self.peek(), bracket) {
                (Some(b','), Bracket::Object) => {
                    self.at += 1;
                    self.space();
                    self.key()?;
                    return Ok(false);
                }
                (Some(b','), Bracket::Array) => {
                    self.at += 1;
                    self.space();
                    return Ok(false);
                }
                (Some(b'}'), Bracket::Object) | (Some(b']'), Bracket::Array) => {
                    self.at += 1;
                    open.pop();
                }
                _ => return Err(self.error(Reason::Comma)),
            }
        }
        Ok(true)
    }

    /// A key, its colon and the white space around that.
    fn key(&mut self) -> Result<Span, SyntaxError> {
        if self.peek() != Some(b'"') {
            return Err(self.error(Reason::PropertyName));
        }
        let start = self.at;
        self.string()?;
        let key = Span {
            start,
            end: self.at,
            line_breaks: false,
        };
        self.space();
        if !self.take(b':') {
            return Err(self.error(Reason::Colon));
        }
        self.space();
        Ok(key)
    }

    fn comma(&mut self) -> Result<(), SyntaxError> {
        if !self.take(b',') {
            return Err(self.error(Reason::Comma));
        }
        self.space();
        Ok(())
    }

    fn scalar(&mut self) -> Result<(), SyntaxError> {
        match self.peek() {
            Some(b'"') => self.string(),
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(b't') => self.word(b"true"),
            Some(b'f') => self.word(b"false"),
            Some(b'n') => self.word(b"null"),
            _ => Err(self.error(Reason::Value)),
        }
    }

    fn word(&mut self, word: &[u8]) -> Result<(), SyntaxError> {
        if self.bytes[self.at..].starts_with(word) {
            self.at += word.len();
            Ok(())
        } else {
            Err(self.error(Reason::Value))
        }
    }

    /// A number as Python reads it: what cannot continue one ends it.
    fn number(&mut self) -> Result<(), SyntaxError> {
        let start = self.at;
        self.take(b'-');
        match self.peek() {
            Some(b'0') => self.at += 1,
            Some(b'1'..=b'9') => self.digits(),
            _ => {
                self.at = start;
                return Err(self.error(Reason::Value));
            }
        }
        if self.peek() == Some(b'.') && self.digit_at(self.at + 1) {
            self.at += 1;
            self.digits();
        }
        if let Some(b'e' | b'E') = self.peek() {
            let sign = matches!(self.bytes.get(self.at + 1), Some(b'+' | b'-'));
            let digits = self.at + 1 + usize::from(sign);
            if self.digit_at(digits) {
                self.at = digits;
                self.digits();
            }
        }
        Ok(())
    }

    fn digit_at(&self, at: usize) -> bool {
        self.bytes.get(at).is_some_and(u8::is_ascii_digit)
    }

    fn digits(&mut self) {
        while self.digit_at(self.at) {
            self.at += 1;
        }
    }

    /// A string, at whose opening quote the scanner stands.
    fn string(&mut self) -> Result<(), SyntaxError> {
        let start = self.at;
        self.at += 1;
        loop {
            self.plain();
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(());
                }
                Some(b'\\') => self.escape(start)?,
                Some(_) => return Err(self.error(Reason::ControlCharacter)),
                None => {
                    self.at = start;
                    return Err(self.error(Reason::UnterminatedString));
                }
            }
        }
    }

    /// Moves over the bytes of a string that stand for themselves, eight at a time.
    fn plain(&mut self) {
        while let Some(chunk) = self.bytes[self.at..].first_chunk::<8>() {
            let special = special_bytes(u64::from_le_bytes(*chunk));
            if special != 0 {
                self.at += (special.trailing_zeros() / 8) as usize;
                return;
            }
            self.at += 8;
        }
        while self
            .peek()
            .is_some_and(|byte| byte >= 0x20 && byte != b'"' && byte != b'\\')
        {
            self.at += 1;
        }
    }

    /// An escape, at whose backslash the scanner stands, in a string that began at `start`.
    fn escape(&mut self, start: usize) -> Result<(), SyntaxError> {
        match self.bytes.get(self.at + 1) {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => {
                self.at += 2;
                Ok(())
            }
            Some(b'u') => {
                let digits = self.bytes.get(self.at + 2..self.at + 6);
                // Python wants a byte behind the digits too, before it looks at them.
                if digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
                    && self.at + 6 < self.bytes.len()
                {
                    self.at += 6;
                    return Ok(());
                }
                self.at += 1;
                Err(self.error(Reason::UnicodeEscape))
            }
            Some(_) => Err(self.error(Reason::Escape)),
            None => {
                self.at = start;
                Err(self.error(Reason::UnterminatedString))
            }
        }
    }

    fn space(&mut self) {
        while let Some(byte) = self.peek() {
            match byte {
                b' ' | b'\t' => {}
                b'\n' | b'\r' => self.line_breaks = true,
                _ => return,
            }
            self.at += 1;
        }
    }

    fn take(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    fn error(&self, reason: Reason) -> SyntaxError {
        SyntaxError {
            reason,
            at: self.at,
        }
    }
}

/// The high bit of each byte that is a quote, a backslash or a control character. Bytes above the
/// first of these may be marked wrongly; the first never is.
fn special_bytes(chunk: u64) -> u64 {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = 0x8080_8080_8080_8080;
    let zeros = |value: u64| value.wrapping_sub(ONES) & !value;
    let quote = zeros(chunk ^ (ONES * b'"' as u64));
    let backslash = zeros(chunk ^ (ONES * b'\\' as u64));
    let control = chunk.wrapping_sub(ONES * 0x20) & !chunk;
    (quote | backslash | control) & HIGH
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Bracket {
    Object,
    Array,
}

/// The brackets open inside a value: one bit each, set for an object.
///
/// `base <= depth <= DEPTH_MAX`; bits from `base` to `depth` count.
struct Brackets {
    bits: [u64; DEPTH_MAX.div_ceil(64)],
    base: usize,
    depth: usize,
}

impl Brackets {
    fn inside(depth: usize) -> Brackets {
        Brackets {
            bits: [0; DEPTH_MAX.div_ceil(64)],
            base: depth,
            depth,
        }
    }

    /// Opens the bracket at which `scanner` stands and moves over it and white space.
    fn push(&mut self, bracket: Bracket, scanner: &mut Scanner<'_>) -> Result<(), SyntaxError> {
        if self.depth == DEPTH_MAX {
            return Err(scanner.error(Reason::TooDeep));
        }
        let (word, bit) = (self.depth / 64, 1 << (self.depth % 64));
        match bracket {
            Bracket::Object => self.bits[word] |= bit,
            Bracket::Array => self.bits[word] &= !bit,
        }
        self.depth += 1;
        scanner.at += 1;
        scanner.space();
        Ok(())
    }

    fn pop(&mut self) {
        self.depth -= 1;
    }

    fn top(&self) -> Option<Bracket> {
        if self.depth == self.base {
            return None;
        }
        let last = self.depth - 1;
        if self.bits[last / 64] >> (last % 64) & 1 == 1 {
            Some(Bracket::Object)
        } else {
            Some(Bracket::Array)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn scan(text: &str) -> Result<Span, (Reason, usize)> {
        Scanner::new(text, 0)
            .document(|scanner| scanner.value(0))
            .map_err(|error| (error.reason, error.at))
    }

    #[test]
    fn reasons_and_places_are_those_of_python() {
        use Reason as R;
        for (text, reason, at) in [
            ("", R::Value, 0),
            (" ", R::Value, 1),
            ("[", R::Value, 1),
            ("[1,]", R::Value, 3),
            ("[1 2]", R::Comma, 3),
            ("{", R::PropertyName, 1),
            ("{\"a\":1,}", R::PropertyName, 7),
            ("{\"a\"", R::Colon, 4),
            ("{\"a\":}", R::Value, 5),
            ("{\"a\":1", R::Comma, 6),
            ("{\"a\":1]", R::Comma, 6),
            ("\"a", R::UnterminatedString, 0),
            ("\"a\\", R::UnterminatedString, 0),
            ("\"a\n\"", R::ControlCharacter, 2),
            ("\"a\\x\"", R::Escape, 2),
            ("\"\\u12x4\"", R::UnicodeEscape, 2),
            ("\"\\u1234", R::UnicodeEscape, 2),
            ("1.", R::ExtraData, 1),
            ("01", R::ExtraData, 1),
            ("1e+", R::ExtraData, 1),
            ("-", R::Value, 0),
            ("NaN", R::Value, 0),
            ("-Infinity", R::Value, 0),
            ("nul", R::Value, 0),
        ] {
            assert_eq!(scan(text), Err((reason, at)), "{text}");
        }
    }

    #[test]
    fn depth_is_bounded_at_the_bracket() {
        let nested = |levels| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
        assert!(scan(&nested(255)).is_ok());
        assert_eq!(scan(&nested(256)), Err((Reason::TooDeep, 255)));
        assert_eq!(scan(&"[".repeat(100_000)), Err((Reason::TooDeep, 255)));
        assert_eq!(
            scan(&"{\"a\":".repeat(100_000)),
            Err((Reason::TooDeep, 255 * 5))
        );
    }

    #[test]
    fn sees_line_breaks_outside_strings_only() {
        assert!(!scan("{\"a\": \"\\n\",\t\"b\": []}").unwrap().line_breaks);
        assert!(scan("{\"a\":\n1}").unwrap().line_breaks);
        assert!(!scan("\r\n1\n").unwrap().line_breaks);
    }

    proptest! {
        #[test]
        fn finds_the_first_special_byte(bytes: [u8; 8]) {
            let naive = bytes
                .iter()
                .position(|byte| matches!(byte, b'"' | b'\\' | 0..0x20));
            let special = special_bytes(u64::from_le_bytes(bytes));
            let found = (special != 0).then(|| (special.trailing_zeros() / 8) as usize);
            prop_assert_eq!(found, naive);
        }

        #[test]
        fn accepts_what_serde_json_accepts(text in "[\\[\\]{}:,\"\\\\unrtea1-9.0 \n-]{0,14}") {
            // Lone surrogates pass here; no such escape can be written with these characters.
            let naive = serde_json::from_str::<serde::de::IgnoredAny>(&text).is_ok();
            prop_assert_eq!(scan(&text).is_ok(), naive, "{}", text);
        }
    }
}
