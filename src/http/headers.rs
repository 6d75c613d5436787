//! The header fields of one head (RFC 9110 section 5).

use smallvec::SmallVec;

/// The most header fields that a head can have, whatever the limit that is configured.
pub const HEADERS_MAX: usize = 256;

/// Header fields in the order in which they came, borrowed from the input.
///
/// Names are tokens, values have no control bytes but tab and no white space around them; a value
/// need not be UTF-8. Up to sixteen fields take no memory of their own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Headers<'b> {
    fields: SmallVec<[(&'b str, &'b [u8]); 16]>,
}

impl<'b> Headers<'b> {
    /// The value of the first field of that name, in any case.
    pub fn first(&self, name: &str) -> Option<&'b [u8]> {
        self.all(name).next()
    }

    /// The values of all fields of that name, in any case.
    pub fn all<'h>(&'h self, name: &'h str) -> impl Iterator<Item = &'b [u8]> + use<'h, 'b> {
        self.iter()
            .filter(move |(field, _)| field.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
    }

    /// The elements of a comma-separated list, also over several fields of that name, without
    /// empty elements and white space around them (RFC 9110 section 5.6.1). Commas in quoted
    /// strings separate too, so this is for lists of tokens.
    pub fn list<'h>(&'h self, name: &'h str) -> impl Iterator<Item = &'b [u8]> + use<'h, 'b> {
        self.all(name)
            .flat_map(|value| value.split(|byte| *byte == b','))
            .map(<[u8]>::trim_ascii)
            .filter(|element| !element.is_empty())
    }

    /// All fields, name and value.
    pub fn iter<'h>(&'h self) -> impl Iterator<Item = (&'b str, &'b [u8])> + use<'h, 'b> {
        self.fields.iter().copied()
    }
}

impl<'b> FromIterator<(&'b str, &'b [u8])> for Headers<'b> {
    fn from_iter<T: IntoIterator<Item = (&'b str, &'b [u8])>>(fields: T) -> Headers<'b> {
        Headers {
            fields: fields.into_iter().collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers() -> Headers<'static> {
        [
            ("Connection", &b"keep-alive, ,Upgrade"[..]),
            ("Host", b"a"),
            ("connection", b"close\t,"),
        ]
        .into_iter()
        .collect()
    }

    #[test]
    fn finds_fields_in_any_case() {
        assert_eq!(headers().first("HOST"), Some(&b"a"[..]));
        assert_eq!(headers().first("Hos"), None);
        assert_eq!(headers().all("CONNECTION").count(), 2);
        assert_eq!(headers().iter().count(), 3);
    }

    #[test]
    fn lists_run_over_repeated_fields() {
        let headers = headers();
        let elements: Vec<_> = headers.list("connection").collect();
        assert_eq!(elements, [&b"keep-alive"[..], b"Upgrade", b"close"]);
        assert_eq!(headers.list("te").count(), 0);
    }
}
