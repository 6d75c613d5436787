//! A scanner over JSON text: finds where values begin and end, and what is wrong where.
//!
//! It builds no tree. It does not recurse: open brackets are bits on a stack of fixed size. Errors
//! have the reasons and places of Python's `json` module, because clients read them (SPEC
//! section 4).

use super::token::{skip_scalar, skip_space, skip_string};

/// Most levels of nesting; the outermost bracket of a body is level 1.
pub(in crate::api) const DEPTH_MAX: usize = 255;

/// Why a text is not JSON. [`Reason::words`] gives the sentence.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::api) enum Reason {
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
    pub(in crate::api) fn words(self) -> &'static str {
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
pub(in crate::api) struct SyntaxError {
    pub(in crate::api) reason: Reason,
    /// Byte offset of the place in the text.
    pub(in crate::api) at: usize,
}

/// Where a value stands in the text. `start < end`, both on the value's own bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::api) struct Span {
    pub(in crate::api) start: usize,
    pub(in crate::api) end: usize,
}

impl Span {
    /// The value as it came.
    pub(in crate::api) fn of(self, text: &str) -> &str {
        &text[self.start..self.end]
    }

    /// First byte of the value: tells its kind.
    pub(in crate::api) fn first(self, text: &str) -> u8 {
        text.as_bytes()[self.start]
    }
}

/// A place in a JSON text.
pub(in crate::api) struct Scanner<'t> {
    text: &'t str,
    bytes: &'t [u8],
    at: usize,
}

impl<'t> Scanner<'t> {
    /// A scanner at byte `at` of `text`.
    pub(in crate::api) fn new(text: &'t str, at: usize) -> Scanner<'t> {
        Scanner {
            text,
            bytes: text.as_bytes(),
            at,
        }
    }

    /// The text that is scanned.
    pub(in crate::api) fn text(&self) -> &'t str {
        self.text
    }

    /// The byte at the present place.
    pub(in crate::api) fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    /// Scans a whole document: white space, what `value` scans, white space, end.
    pub(in crate::api) fn document<T>(
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
    pub(in crate::api) fn spanned<T>(
        &mut self,
        scan: impl FnOnce(&mut Self) -> Result<T, SyntaxError>,
    ) -> Result<(T, Span), SyntaxError> {
        let start = self.at;
        let result = scan(self)?;
        let end = self.at;
        Ok((result, Span { start, end }))
    }

    /// Scans one value of any kind inside `depth` open brackets.
    pub(in crate::api) fn value(&mut self, depth: usize) -> Result<Span, SyntaxError> {
        let ((), span) = self.spanned(|scanner| scanner.any(depth))?;
        Ok(span)
    }

    /// Scans an object at whose `{` the scanner stands. `member` gets the span of each key with its
    /// quotes and scans the value, at whose first byte the scanner stands then.
    pub(in crate::api) fn members(
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
    pub(in crate::api) fn elements(
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
        self.at = match self.peek() {
            Some(b'{' | b'[') => nested(self.bytes, self.at, depth)?,
            _ => skip_scalar(self.bytes, self.at)?,
        };
        Ok(())
    }

    /// A key, its colon and the white space around that.
    fn key(&mut self) -> Result<Span, SyntaxError> {
        let start = self.at;
        let (end, behind) = skip_key(self.bytes, start)?;
        self.at = behind;
        Ok(Span { start, end })
    }

    fn comma(&mut self) -> Result<(), SyntaxError> {
        if !self.take(b',') {
            return Err(self.error(Reason::Comma));
        }
        self.space();
        Ok(())
    }

    fn space(&mut self) {
        self.at = skip_space(self.bytes, self.at);
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

/// The place behind the object or array at `at`, inside `depth` open brackets.
fn nested(bytes: &[u8], mut at: usize, depth: usize) -> Result<usize, SyntaxError> {
    let mut open = Brackets::inside(depth);
    'value: loop {
        match bytes.get(at) {
            Some(b'{') => {
                open.push(Bracket::Object, at)?;
                at = skip_space(bytes, at + 1);
                if bytes.get(at) != Some(&b'}') {
                    at = skip_key(bytes, at)?.1;
                    continue;
                }
            }
            Some(b'[') => {
                open.push(Bracket::Array, at)?;
                at = skip_space(bytes, at + 1);
                if bytes.get(at) != Some(&b']') {
                    continue;
                }
            }
            _ => at = skip_space(bytes, skip_scalar(bytes, at)?),
        }
        // Behind a value and white space: closing brackets up to a comma.
        loop {
            match (bytes.get(at), open.top) {
                (Some(b','), Bracket::Object) => {
                    at = skip_space(bytes, at + 1);
                    at = skip_key(bytes, at)?.1;
                    continue 'value;
                }
                (Some(b','), Bracket::Array) => {
                    at = skip_space(bytes, at + 1);
                    continue 'value;
                }
                (Some(b'}'), Bracket::Object) | (Some(b']'), Bracket::Array) => at += 1,
                _ => {
                    let reason = Reason::Comma;
                    return Err(SyntaxError { reason, at });
                }
            }
            if open.pop() {
                return Ok(at);
            }
            at = skip_space(bytes, at);
        }
    }
}

/// The places behind a key and behind the colon and white space that follow.
#[inline(always)]
fn skip_key(bytes: &[u8], at: usize) -> Result<(usize, usize), SyntaxError> {
    if bytes.get(at) != Some(&b'"') {
        let reason = Reason::PropertyName;
        return Err(SyntaxError { reason, at });
    }
    let end = skip_string(bytes, at)?;
    let colon = skip_space(bytes, end);
    if bytes.get(colon) != Some(&b':') {
        let (reason, at) = (Reason::Colon, colon);
        return Err(SyntaxError { reason, at });
    }
    Ok((end, skip_space(bytes, colon + 1)))
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
    bits: [u64; (DEPTH_MAX + 1) / 64],
    base: usize,
    depth: usize,
    /// The innermost; any when none is open.
    top: Bracket,
}

impl Brackets {
    fn inside(depth: usize) -> Brackets {
        Brackets {
            bits: [0; (DEPTH_MAX + 1) / 64],
            base: depth,
            depth,
            top: Bracket::Array,
        }
    }

    /// Opens the bracket that stands at `at`.
    #[inline(always)]
    fn push(&mut self, bracket: Bracket, at: usize) -> Result<(), SyntaxError> {
        if self.depth == DEPTH_MAX {
            let reason = Reason::TooDeep;
            return Err(SyntaxError { reason, at });
        }
        let bit = 1 << (self.depth % 64);
        let word = &mut self.bits[self.depth / 64];
        match bracket {
            Bracket::Object => *word |= bit,
            Bracket::Array => *word &= !bit,
        }
        self.depth += 1;
        self.top = bracket;
        Ok(())
    }

    /// Closes the innermost; true when none is open any more.
    #[inline(always)]
    fn pop(&mut self) -> bool {
        self.depth -= 1;
        if self.depth == self.base {
            return true;
        }
        let below = self.depth - 1;
        self.top = match self.bits[below / 64] >> (below % 64) & 1 {
            0 => Bracket::Array,
            _ => Bracket::Object,
        };
        false
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

    proptest! {
        #[test]
        fn accepts_what_serde_json_accepts(text in "[\\[\\]{}:,\"\\\\unrtea1-9.0 \n-]{0,14}") {
            // Lone surrogates pass here; no such escape can be written with these characters.
            let naive = serde_json::from_str::<serde::de::IgnoredAny>(&text).is_ok();
            prop_assert_eq!(scan(&text).is_ok(), naive, "{}", text);
        }
    }
}
