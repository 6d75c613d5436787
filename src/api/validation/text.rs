//! Strings of JSON text: what they say once their escapes are read.

use std::borrow::Cow;

/// An escape `\uD800` to `\uDFFF` without its other half, at this byte offset of its `u`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::api) struct LoneSurrogate(pub(super) usize);

/// What a string says. `quoted` is a valid JSON string with its quotes.
pub(in crate::api) fn unescape(quoted: &str) -> Result<Cow<'_, str>, LoneSurrogate> {
    let inner = &quoted[1..quoted.len() - 1];
    if memchr::memchr(b'\\', inner.as_bytes()).is_none() {
        return Ok(Cow::Borrowed(inner));
    }
    let mut text = String::with_capacity(inner.len());
    let mut rest = inner;
    while let Some(plain) = rest.find('\\') {
        text.push_str(&rest[..plain]);
        let escape = &rest[plain..];
        let offset = quoted.len() - 1 - escape.len();
        let (character, used) = read_escape(escape).ok_or(LoneSurrogate(offset + 1))?;
        text.push(character);
        rest = &escape[used..];
    }
    text.push_str(rest);
    Ok(Cow::Owned(text))
}

/// The character of the escape with which `escape` begins and the bytes it takes; `None` for a
/// lone surrogate.
fn read_escape(escape: &str) -> Option<(char, usize)> {
    let short = match escape.as_bytes()[1] {
        b'b' => '\u{8}',
        b'f' => '\u{c}',
        b'n' => '\n',
        b'r' => '\r',
        b't' => '\t',
        b'u' => return read_unicode_escape(escape),
        other => char::from(other),
    };
    Some((short, 2))
}

fn read_unicode_escape(escape: &str) -> Option<(char, usize)> {
    let unit = code_unit(escape)?;
    if let Some(character) = char::from_u32(unit) {
        return Some((character, 6));
    }
    let low = code_unit(&escape[6..]).filter(|low| (0xdc00..0xe000).contains(low))?;
    if unit >= 0xdc00 {
        return None;
    }
    let scalar = 0x1_0000 + ((unit - 0xd800) << 10) + (low - 0xdc00);
    Some((char::from_u32(scalar)?, 12))
}

/// The number in `\uXXXX` at the front of `text`.
fn code_unit(text: &str) -> Option<u32> {
    let digits = text.strip_prefix("\\u")?.get(..4)?;
    u32::from_str_radix(digits, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_string_without_escapes_is_borrowed() {
        assert!(matches!(unescape("\"größe\""), Ok(Cow::Borrowed("größe"))));
    }

    #[test]
    fn names_the_place_of_a_lone_surrogate() {
        for (quoted, at) in [
            ("\"\\ud800\"", 2),
            ("\"ab\\udc00\"", 4),
            ("\"\\ud800\\ud800\\udc00\"", 2),
            ("\"\\ud83d\\ude00\\ud800x\"", 14),
            ("\"\\ud800\\n\"", 2),
            ("\"\\udc00\\udc00\"", 2),
        ] {
            assert_eq!(unescape(quoted), Err(LoneSurrogate(at)), "{quoted}");
        }
    }

    proptest! {
        #[test]
        fn says_what_serde_json_says(
            inner in "([a-zé🙂]|\\\\[\"\\\\/bfnrt]|\\\\u[0-9a-f]{4}|\\\\ud83d\\\\ude[0-9a-f]{2}|\\\\ud[89a-f]00){0,8}"
        ) {
            let quoted = format!("\"{inner}\"");
            let naive: Option<String> = serde_json::from_str(&quoted).ok();
            prop_assert_eq!(unescape(&quoted).ok().map(Cow::into_owned), naive);
        }
    }
}
