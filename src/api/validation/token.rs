//! The smallest parts of JSON text: strings, numbers, words and white space.
//!
//! Functions from a place to the place behind. They take and give the place by value, so that it
//! stays in a register; this is the inner loop of publishing.

use super::scan::{Reason, SyntaxError};

type Skipped = Result<usize, SyntaxError>;

fn error(reason: Reason, at: usize) -> Skipped {
    Err(SyntaxError { reason, at })
}

/// White space.
#[inline(always)]
pub(in crate::api) fn skip_space(bytes: &[u8], mut at: usize) -> usize {
    while let Some(b' ' | b'\t' | b'\n' | b'\r') = bytes.get(at) {
        at += 1;
    }
    at
}

/// Any value that has no brackets.
#[inline(always)]
pub(in crate::api) fn skip_scalar(bytes: &[u8], at: usize) -> Skipped {
    match bytes.get(at) {
        Some(b'"') => skip_string(bytes, at),
        Some(b'-' | b'0'..=b'9') => skip_number(bytes, at),
        Some(b't') => skip_word(bytes, at, b"true"),
        Some(b'f') => skip_word(bytes, at, b"false"),
        Some(b'n') => skip_word(bytes, at, b"null"),
        _ => error(Reason::Value, at),
    }
}

#[inline(always)]
fn skip_word(bytes: &[u8], at: usize, word: &[u8]) -> Skipped {
    if bytes[at..].starts_with(word) {
        Ok(at + word.len())
    } else {
        error(Reason::Value, at)
    }
}

/// A number as Python reads it: what cannot continue one ends it.
#[inline(always)]
fn skip_number(bytes: &[u8], start: usize) -> Skipped {
    let mut at = start + usize::from(bytes.get(start) == Some(&b'-'));
    match bytes.get(at) {
        Some(b'0') => at += 1,
        Some(b'1'..=b'9') => at = skip_digits(bytes, at + 1),
        _ => return error(Reason::Value, start),
    }
    match bytes.get(at) {
        Some(b'.' | b'e' | b'E') => Ok(skip_fraction(bytes, at)),
        _ => Ok(at),
    }
}

/// What may follow the digits of an integer.
fn skip_fraction(bytes: &[u8], mut at: usize) -> usize {
    if bytes.get(at) == Some(&b'.') && is_digit(bytes, at + 1) {
        at = skip_digits(bytes, at + 1);
    }
    if let Some(b'e' | b'E') = bytes.get(at) {
        let sign = matches!(bytes.get(at + 1), Some(b'+' | b'-'));
        let digits = at + 1 + usize::from(sign);
        if is_digit(bytes, digits) {
            at = skip_digits(bytes, digits);
        }
    }
    at
}

#[inline(always)]
fn is_digit(bytes: &[u8], at: usize) -> bool {
    bytes.get(at).is_some_and(u8::is_ascii_digit)
}

#[inline(always)]
fn skip_digits(bytes: &[u8], mut at: usize) -> usize {
    while is_digit(bytes, at) {
        at += 1;
    }
    at
}

/// A string, at whose opening quote `start` is.
#[inline(always)]
pub(in crate::api) fn skip_string(bytes: &[u8], start: usize) -> Skipped {
    let at = skip_plain(bytes, start + 1);
    if bytes.get(at) == Some(&b'"') {
        Ok(at + 1)
    } else {
        skip_string_with_escapes(bytes, start, at)
    }
}

/// The rest of a string that began at `start`, from its first byte that is special.
#[inline(never)]
fn skip_string_with_escapes(bytes: &[u8], start: usize, mut at: usize) -> Skipped {
    loop {
        match bytes.get(at) {
            Some(b'"') => return Ok(at + 1),
            Some(b'\\') => at = skip_escape(bytes, start, at)?,
            Some(_) => return error(Reason::ControlCharacter, at),
            None => return error(Reason::UnterminatedString, start),
        }
        at = skip_plain(bytes, at);
    }
}

/// The bytes of a string that stand for themselves, eight at a time.
#[inline(always)]
fn skip_plain(bytes: &[u8], mut at: usize) -> usize {
    while let Some(chunk) = bytes.get(at..).and_then(<[u8]>::first_chunk::<8>) {
        let special = special_bytes(u64::from_le_bytes(*chunk));
        if special != 0 {
            return at + (special.trailing_zeros() / 8) as usize;
        }
        at += 8;
    }
    while bytes.get(at).is_some_and(|byte| !is_special(*byte)) {
        at += 1;
    }
    at
}

fn is_special(byte: u8) -> bool {
    matches!(byte, b'"' | b'\\' | 0..0x20)
}

/// The high bit of each byte that is special. Bytes above the first of these may be marked
/// wrongly; the first never is.
#[inline(always)]
fn special_bytes(chunk: u64) -> u64 {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = 0x8080_8080_8080_8080;
    let zeros = |value: u64| value.wrapping_sub(ONES) & !value;
    let quote = zeros(chunk ^ (ONES * b'"' as u64));
    let backslash = zeros(chunk ^ (ONES * b'\\' as u64));
    let control = chunk.wrapping_sub(ONES * 0x20) & !chunk;
    (quote | backslash | control) & HIGH
}

/// An escape, at whose backslash `at` is, in a string that began at `start`.
fn skip_escape(bytes: &[u8], start: usize, at: usize) -> Skipped {
    match bytes.get(at + 1) {
        Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => Ok(at + 2),
        Some(b'u') => {
            // Python wants a byte behind the four digits too, before it looks at them.
            let digits = bytes.get(at + 2..at + 6).filter(|_| at + 6 < bytes.len());
            if digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit)) {
                Ok(at + 6)
            } else {
                error(Reason::UnicodeEscape, at + 1)
            }
        }
        Some(_) => error(Reason::Escape, at),
        None => error(Reason::UnterminatedString, start),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn finds_the_first_special_byte(bytes: [u8; 8]) {
            let naive = bytes.iter().position(|byte| is_special(*byte));
            let special = special_bytes(u64::from_le_bytes(bytes));
            let found = (special != 0).then(|| (special.trailing_zeros() / 8) as usize);
            prop_assert_eq!(found, naive);
        }

        #[test]
        fn strings_of_any_length_end_at_their_quote(plain in "[ a-zé]{0,40}", behind in "[a\"]{0,12}") {
            let text = format!("\"{plain}\"{behind}");
            prop_assert_eq!(skip_string(text.as_bytes(), 0), Ok(plain.len() + 2));
        }
    }
}
