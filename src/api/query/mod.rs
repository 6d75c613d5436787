//! Query strings (SPEC section 6): names and values as Python's `parse_qsl` reads them, which is
//! what clients of the first version of this interface rely on.

mod consumer;
mod reader;

use std::borrow::Cow;

pub(super) use reader::Reader;

/// The parameters of a query, without its `?`, in the order in which they came.
///
/// `%xx` is decoded and `+` is a space; a malformed escape stays as it is, and what is not UTF-8
/// becomes U+FFFD. A part without `=` has an empty value; an empty part is none.
pub fn parameters(query: Option<&str>) -> impl Iterator<Item = (Cow<'_, str>, Cow<'_, str>)> {
    let parts = query.unwrap_or_default().split('&');
    parts.filter(|part| !part.is_empty()).map(|part| {
        let (name, value) = part.split_once('=').unwrap_or((part, ""));
        (decode(name), decode(value))
    })
}

/// The last value of each of these names.
pub fn last_of<'q, const N: usize>(
    query: Option<&'q str>,
    names: &[&'static str; N],
) -> [Option<Cow<'q, str>>; N] {
    let mut values = [const { None }; N];
    for (name, value) in parameters(query) {
        if let Some(index) = names.iter().position(|known| *known == name) {
            values[index] = Some(value);
        }
    }
    values
}

fn decode(text: &str) -> Cow<'_, str> {
    if memchr::memchr2(b'%', b'+', text.as_bytes()).is_none() {
        return Cow::Borrowed(text);
    }
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, behind)) = rest.split_first() {
        let (byte, behind) = match (byte, behind) {
            (b'+', _) => (b' ', behind),
            (b'%', [high, low, after @ ..]) => match (digit(*high), digit(*low)) {
                (Some(high), Some(low)) => (high << 4 | low, after),
                _ => (b'%', behind),
            },
            _ => (byte, behind),
        };
        decoded.push(byte);
        rest = behind;
    }
    Cow::Owned(String::from_utf8_lossy(&decoded).into_owned())
}

/// The value of a hexadecimal digit, which is less than 16.
fn digit(byte: u8) -> Option<u8> {
    let value = char::from(byte).to_digit(16)?;
    u8::try_from(value).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn all(query: &str) -> Vec<(String, String)> {
        parameters(Some(query))
            .map(|(name, value)| (name.into_owned(), value.into_owned()))
            .collect()
    }

    #[test]
    fn reads_as_python_does() {
        for (query, expected) in [
            ("", vec![]),
            ("&&", vec![]),
            ("a=1&b=2", vec![("a", "1"), ("b", "2")]),
            ("a&b=&=c", vec![("a", ""), ("b", ""), ("", "c")]),
            ("a=b=c", vec![("a", "b=c")]),
            ("a+b=%2B+%26", vec![("a b", "+ &")]),
            (
                "a=%&b=%4&c=%zz&d=%%41",
                vec![("a", "%"), ("b", "%4"), ("c", "%zz"), ("d", "%A")],
            ),
            ("a=%ff%C3%A9%c3", vec![("a", "\u{fffd}é\u{fffd}")]),
        ] {
            let expected: Vec<_> = expected
                .into_iter()
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .collect();
            assert_eq!(all(query), expected, "{query}");
        }
        assert_eq!(parameters(None).count(), 0);
    }

    #[test]
    fn the_last_value_counts() {
        let values = last_of(Some("b=1&%61=2&b=3&x=4"), &["a", "b", "c"]);
        let values = values.each_ref().map(Option::as_deref);
        assert_eq!(values, [Some("2"), Some("3"), None]);
    }

    proptest! {
        #[test]
        fn any_query_is_read(query: String) {
            prop_assert!(parameters(Some(&query)).count() <= query.len());
        }

        #[test]
        fn what_is_encoded_comes_back(name: String, value: String) {
            let encode = |text: &str| -> String {
                text.bytes().map(|byte| format!("%{byte:02X}")).collect()
            };
            let query = format!("{}={}", encode(&name), encode(&value));
            prop_assert_eq!(all(&query), [(name, value)]);
        }
    }
}
