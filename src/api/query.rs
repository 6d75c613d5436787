//! The query of a request target, as HTML forms write it (WHATWG URL,
//! `application/x-www-form-urlencoded`).

use std::borrow::Cow;

/// The parameters in order, decoded once: `+` is a space, `%xx` a byte. What is no escape stays as
/// it is, and bytes that are not UTF-8 become U+FFFD. Of repeated parameters the last one counts;
/// that is up to the caller.
pub fn parameters(query: Option<&str>) -> impl Iterator<Item = (Cow<'_, str>, Cow<'_, str>)> {
    let parts = query.into_iter().flat_map(|query| query.split('&'));
    parts.filter(|part| !part.is_empty()).map(|part| {
        let (name, value) = part.split_once('=').unwrap_or((part, ""));
        (decode(name), decode(value))
    })
}

fn decode(text: &str) -> Cow<'_, str> {
    if memchr::memchr2(b'%', b'+', text.as_bytes()).is_none() {
        return Cow::Borrowed(text);
    }
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, behind)) = rest.split_first() {
        let (byte, behind) = match byte {
            b'+' => (b' ', behind),
            b'%' => escaped(behind).unwrap_or((byte, behind)),
            _ => (byte, behind),
        };
        decoded.push(byte);
        rest = behind;
    }
    Cow::Owned(match String::from_utf8(decoded) {
        Ok(text) => text,
        Err(error) => String::from_utf8_lossy(error.as_bytes()).into_owned(),
    })
}

/// The byte that two hexadecimal digits name, and what stands behind them.
fn escaped(bytes: &[u8]) -> Option<(u8, &[u8])> {
    let (digits, behind) = bytes.split_first_chunk::<2>()?;
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let value = digit(digits[0])? << 4 | digit(digits[1])?;
    Some((value as u8, behind))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(query: &str) -> Vec<(String, String)> {
        parameters(Some(query))
            .map(|(name, value)| (name.into_owned(), value.into_owned()))
            .collect()
    }

    #[test]
    fn names_and_values_are_decoded_once() {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(
            read("a=1&b=x%20y+z&&c&d=&=e&%61=%2561&a=2=3"),
            [
                pair("a", "1"),
                pair("b", "x y z"),
                pair("c", ""),
                pair("d", ""),
                pair("", "e"),
                pair("a", "%61"),
                pair("a", "2=3"),
            ]
        );
        assert_eq!(parameters(None).count() + parameters(Some("")).count(), 0);
    }

    #[test]
    fn what_is_no_escape_stays() {
        for (query, value) in [
            ("a=%", "%"),
            ("a=%4", "%4"),
            ("a=%g1%41", "%g1A"),
            ("a=%C3%A9", "é"),
            ("a=%ff", "\u{fffd}"),
        ] {
            assert_eq!(read(query)[0].1, value, "{query}");
        }
    }
}
