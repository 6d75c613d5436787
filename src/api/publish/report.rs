//! What is wrong with a body, as the list that pydantic writes (SPEC section 4).

use crate::api::json::append_string;

use super::scan::{Reason, Span, SyntaxError};

/// Most entries in the list; what is wrong besides is dropped.
const ENTRIES_MAX: usize = 100;
/// Largest `input` that is repeated, in bytes; a larger one is null.
const INPUT_BYTES_MAX: usize = 16 * 1024;

/// The body breaks the rules for publishing: answered 422.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the body breaks the rules for publishing")]
pub struct ValidationErrors {
    detail: Vec<u8>,
}

impl ValidationErrors {
    /// The list for the answer's `detail`, as JSON. At most 100 entries; its size is bounded by a
    /// small multiple of the body's.
    pub fn detail(&self) -> &[u8] {
        &self.detail
    }

    /// The one entry of a body that is not JSON.
    pub(super) fn syntax(text: &str, error: SyntaxError) -> ValidationErrors {
        let characters = text.as_bytes()[..error.at]
            .iter()
            .filter(|byte| !is_continuation(**byte))
            .count();
        Self::json_invalid(characters, error.reason)
    }

    /// The one entry of a body that is not UTF-8 behind `valid` bytes, which are.
    pub(super) fn not_utf8(valid: &[u8]) -> ValidationErrors {
        let characters = valid.iter().filter(|byte| !is_continuation(**byte)).count();
        Self::json_invalid(characters, Reason::NotUtf8)
    }

    fn json_invalid(characters: usize, reason: Reason) -> ValidationErrors {
        let mut detail = Vec::with_capacity(160);
        detail.extend_from_slice(b"[{\"type\":\"json_invalid\",\"loc\":[\"body\",");
        detail.extend_from_slice(characters.to_string().as_bytes());
        detail
            .extend_from_slice(b"],\"msg\":\"JSON decode error\",\"input\":{},\"ctx\":{\"error\":");
        append_string(&mut detail, reason.words());
        detail.extend_from_slice(b"}}]");
        ValidationErrors { detail }
    }
}

fn is_continuation(byte: u8) -> bool {
    byte & 0xc0 == 0x80
}

/// One way to break the rules; pydantic's types.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Problem {
    Missing,
    StringType,
    StringTooShort,
    StringTooLong,
    TopicCharacters,
    TopicReserved,
    DescriptionTooLong,
    DictType,
    NotPositive,
    IntFromFloat,
    IntParsing,
    IntParsingSize,
    IntType,
    NotFinite,
    NotAnObject,
    ListType,
    ListEmpty,
    ListTooLong(usize),
}

impl Problem {
    /// The members `type` and `msg`.
    fn words(self) -> (&'static str, &'static str) {
        match self {
            Problem::Missing => ("missing", "Field required"),
            Problem::StringType => ("string_type", "Input should be a valid string"),
            Problem::StringTooShort => (
                "string_too_short",
                "String should have at least 1 character",
            ),
            Problem::StringTooLong => (
                "string_too_long",
                "String should have at most 255 characters",
            ),
            Problem::TopicCharacters => (
                "value_error",
                "Value error, Topic must contain only alphanumeric characters, hyphens, and underscores",
            ),
            Problem::TopicReserved => (
                "value_error",
                "Value error, No topic can be created with the name 'stats': its path leads to the totals",
            ),
            Problem::DescriptionTooLong => (
                "string_too_long",
                "String should have at most 1000 characters",
            ),
            Problem::DictType => ("dict_type", "Input should be a valid dictionary"),
            Problem::NotPositive => ("greater_than", "Input should be greater than 0"),
            Problem::IntFromFloat => (
                "int_from_float",
                "Input should be a valid integer, got a number with a fractional part",
            ),
            Problem::IntParsing => (
                "int_parsing",
                "Input should be a valid integer, unable to parse string as an integer",
            ),
            Problem::IntParsingSize => (
                "int_parsing_size",
                "Unable to parse input string as an integer, exceeded maximum size",
            ),
            Problem::IntType => ("int_type", "Input should be a valid integer"),
            Problem::NotFinite => ("finite_number", "Input should be a finite number"),
            Problem::NotAnObject => (
                "model_attributes_type",
                "Input should be a valid dictionary or object to extract fields from",
            ),
            Problem::ListType => ("list_type", "Input should be a valid list"),
            Problem::ListEmpty => (
                "too_short",
                "List should have at least 1 item after validation, not 0",
            ),
            Problem::ListTooLong(_) => (
                "too_long",
                "List should have at most 100 items after validation, not ",
            ),
        }
    }

    /// The member `ctx`, as JSON.
    fn context(self) -> Option<String> {
        let fixed = match self {
            Problem::StringTooShort => r#"{"min_length":1}"#,
            Problem::StringTooLong => r#"{"max_length":255}"#,
            Problem::TopicCharacters | Problem::TopicReserved => r#"{"error":{}}"#,
            Problem::DescriptionTooLong => r#"{"max_length":1000}"#,
            Problem::NotPositive => r#"{"gt":0}"#,
            Problem::ListEmpty => r#"{"field_type":"List","min_length":1,"actual_length":0}"#,
            Problem::ListTooLong(length) => {
                return Some(format!(
                    r#"{{"field_type":"List","max_length":100,"actual_length":{length}}}"#
                ));
            }
            _ => return None,
        };
        Some(fixed.to_owned())
    }
}

/// Where in the body something is wrong. What is `None` is not part of the path.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Place<'t> {
    /// Index in `messages`.
    pub(super) element: Option<usize>,
    pub(super) field: Option<&'static str>,
    /// A key of `metadata` as it came, with its quotes.
    pub(super) key: Option<&'t str>,
}

/// The value that is wrong.
#[derive(Clone, Copy, Debug)]
pub(super) enum Input<'t> {
    Null,
    Value(Span),
    /// A body that was not sent as JSON.
    Bytes(&'t [u8]),
}

/// Collects what is wrong with one body.
#[derive(Debug)]
pub(super) struct Report<'t> {
    text: &'t str,
    entries: usize,
    detail: Vec<u8>,
}

impl<'t> Report<'t> {
    /// An empty report about `text`, in which the spans of inputs lie.
    pub(super) fn new(text: &'t str) -> Report<'t> {
        Report {
            text,
            entries: 0,
            detail: Vec::new(),
        }
    }

    /// The report with this one entry.
    pub(super) fn only(
        text: &'t str,
        place: Place<'_>,
        problem: Problem,
        input: Input<'_>,
    ) -> ValidationErrors {
        let mut report = Report::new(text);
        report.add(place, problem, input);
        report.close()
    }

    /// Adds an entry, unless the list is full.
    pub(super) fn add(&mut self, place: Place<'_>, problem: Problem, input: Input<'_>) {
        if self.entries == ENTRIES_MAX {
            return;
        }
        self.detail
            .push(if self.entries == 0 { b'[' } else { b',' });
        self.entries += 1;
        let (kind, message) = problem.words();
        self.push("{\"type\":\"");
        self.push(kind);
        self.push("\",\"loc\":[\"body\"");
        self.append_place(place);
        self.push("],\"msg\":\"");
        self.push(message);
        if let Problem::ListTooLong(length) = problem {
            self.push(&length.to_string());
        }
        self.push("\",\"input\":");
        self.append_input(input);
        if let Some(context) = problem.context() {
            self.push(",\"ctx\":");
            self.push(&context);
        }
        self.push("}");
    }

    /// Nothing is wrong so far.
    pub(super) fn is_empty(&self) -> bool {
        self.entries == 0
    }

    /// The finished list.
    pub(super) fn close(mut self) -> ValidationErrors {
        self.push("]");
        ValidationErrors {
            detail: self.detail,
        }
    }

    fn push(&mut self, text: &str) {
        self.detail.extend_from_slice(text.as_bytes());
    }

    fn append_place(&mut self, place: Place<'_>) {
        if let Some(index) = place.element {
            self.push(&format!(",\"messages\",{index}"));
        }
        if let Some(field) = place.field {
            self.push(&format!(",\"{field}\""));
        }
        if let Some(key) = place.key {
            self.push(",");
            self.push(key);
        }
    }

    fn append_input(&mut self, input: Input<'_>) {
        match input {
            Input::Value(span) if span.end - span.start <= INPUT_BYTES_MAX => {
                append_compact(&mut self.detail, span.of(self.text).as_bytes());
            }
            Input::Bytes(bytes) if bytes.len() <= INPUT_BYTES_MAX => {
                append_string(&mut self.detail, &String::from_utf8_lossy(bytes));
            }
            _ => self.push("null"),
        }
    }
}

/// Appends valid JSON without the white space outside its strings.
fn append_compact(out: &mut Vec<u8>, json: &[u8]) {
    let (mut in_string, mut escaped) = (false, false);
    for &byte in json {
        if in_string {
            in_string = escaped || byte != b'"';
            escaped = !escaped && byte == b'\\';
        } else if matches!(byte, b' ' | b'\t' | b'\r' | b'\n') {
            continue;
        } else {
            in_string = byte == b'"';
        }
        out.push(byte);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compact_keeps_strings_as_they_are() {
        let mut out = Vec::new();
        append_compact(&mut out, b"{ \"a \\\" b\\\\\" : [ 1 ,\r\n\t\" \" ] }");
        assert_eq!(out, b"{\"a \\\" b\\\\\":[1,\" \"]}");
    }

    #[test]
    fn entries_and_inputs_are_bounded() {
        let text = format!("\"{}\"", "a".repeat(INPUT_BYTES_MAX));
        let span = Span {
            start: 0,
            end: text.len(),
        };
        let mut report = Report::new(&text);
        for _ in 0..ENTRIES_MAX + 1 {
            report.add(Place::default(), Problem::Missing, Input::Value(span));
        }
        let errors = report.close();
        let detail: serde_json::Value = serde_json::from_slice(errors.detail()).unwrap();
        assert_eq!(detail.as_array().unwrap().len(), ENTRIES_MAX);
        assert!(detail[99]["input"].is_null());
    }
}
