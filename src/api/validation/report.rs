//! What is wrong with a request, as the list that pydantic writes (SPEC section 4).

use std::borrow::Cow;

use crate::api::json::{append_joined, append_number, append_string};

use super::scan::{Reason, SyntaxError};

/// Most entries in the list; what is wrong besides is dropped.
const ENTRIES_MAX: usize = 100;
/// Largest `input` that is repeated, in bytes; a larger one is null.
const INPUT_BYTES_MAX: usize = 16 * 1024;

/// A request breaks the rules of its route: answered 422.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the request breaks the rules of its route")]
pub struct ValidationErrors {
    detail: Vec<u8>,
}

impl ValidationErrors {
    /// The list for the answer's `detail`, as JSON. At most 100 entries; its size is bounded by a
    /// small multiple of the request's.
    pub fn detail(&self) -> &[u8] {
        &self.detail
    }

    /// The one entry of a body that is not JSON.
    pub(in crate::api) fn syntax(text: &str, error: SyntaxError) -> ValidationErrors {
        let characters = text.as_bytes()[..error.at]
            .iter()
            .filter(|byte| !is_continuation(**byte))
            .count();
        Self::json_invalid(characters, error.reason)
    }

    /// The one entry of a body that is not UTF-8 behind `valid` bytes, which are.
    pub(in crate::api) fn not_utf8(valid: &[u8]) -> ValidationErrors {
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
pub(in crate::api) enum Problem {
    Missing,
    StringType,
    StringTooShort,
    /// Of so many characters at most.
    StringTooLong(u32),
    /// A rule that pydantic has no type for: the sentence.
    Rule(&'static str),
    DictType,
    NotPositive,
    IntFromFloat,
    IntParsing,
    IntParsingSize,
    IntType,
    NotFinite,
    AtLeast(u32),
    AtMost(u32),
    FloatParsing,
    BoolType,
    BoolParsing,
    /// None of these words, as pydantic lists them.
    NotOneOf(&'static str),
    NotAnObject,
    ListType,
    ListEmpty,
    ListTooLong {
        max: usize,
        length: usize,
    },
}

impl Problem {
    /// The member `type`.
    fn kind(self) -> &'static str {
        match self {
            Problem::Missing => "missing",
            Problem::StringType => "string_type",
            Problem::StringTooShort => "string_too_short",
            Problem::StringTooLong(_) => "string_too_long",
            Problem::Rule(_) => "value_error",
            Problem::DictType => "dict_type",
            Problem::NotPositive => "greater_than",
            Problem::IntFromFloat => "int_from_float",
            Problem::IntParsing => "int_parsing",
            Problem::IntParsingSize => "int_parsing_size",
            Problem::IntType => "int_type",
            Problem::NotFinite => "finite_number",
            Problem::AtLeast(_) => "greater_than_equal",
            Problem::AtMost(_) => "less_than_equal",
            Problem::FloatParsing => "float_parsing",
            Problem::BoolType => "bool_type",
            Problem::BoolParsing => "bool_parsing",
            Problem::NotOneOf(_) => "literal_error",
            Problem::NotAnObject => "model_attributes_type",
            Problem::ListType => "list_type",
            Problem::ListEmpty => "too_short",
            Problem::ListTooLong { .. } => "too_long",
        }
    }

    /// The member `msg`.
    fn message(self) -> Cow<'static, str> {
        let fixed = match self {
            Problem::Missing => "Field required",
            Problem::StringType => "Input should be a valid string",
            Problem::StringTooShort => "String should have at least 1 character",
            Problem::StringTooLong(max) => {
                return format!("String should have at most {max} characters").into();
            }
            Problem::Rule(sentence) => return format!("Value error, {sentence}").into(),
            Problem::DictType => "Input should be a valid dictionary",
            Problem::NotPositive => "Input should be greater than 0",
            Problem::IntFromFloat => {
                "Input should be a valid integer, got a number with a fractional part"
            }
            Problem::IntParsing => {
                "Input should be a valid integer, unable to parse string as an integer"
            }
            Problem::IntParsingSize => {
                "Unable to parse input string as an integer, exceeded maximum size"
            }
            Problem::IntType => "Input should be a valid integer",
            Problem::NotFinite => "Input should be a finite number",
            Problem::AtLeast(bound) => {
                return format!("Input should be greater than or equal to {bound}").into();
            }
            Problem::AtMost(bound) => {
                return format!("Input should be less than or equal to {bound}").into();
            }
            Problem::FloatParsing => {
                "Input should be a valid number, unable to parse string as a number"
            }
            Problem::BoolType => "Input should be a valid boolean",
            Problem::BoolParsing => "Input should be a valid boolean, unable to interpret input",
            Problem::NotOneOf(words) => return format!("Input should be {words}").into(),
            Problem::NotAnObject => {
                "Input should be a valid dictionary or object to extract fields from"
            }
            Problem::ListType => "Input should be a valid list",
            Problem::ListEmpty => "List should have at least 1 item after validation, not 0",
            Problem::ListTooLong { max, length } => {
                let message =
                    format!("List should have at most {max} items after validation, not {length}");
                return message.into();
            }
        };
        fixed.into()
    }

    /// The member `ctx`, as JSON.
    fn context(self) -> Option<String> {
        let fixed = match self {
            Problem::StringTooShort => r#"{"min_length":1}"#,
            Problem::Rule(_) => r#"{"error":{}}"#,
            Problem::NotPositive => r#"{"gt":0}"#,
            Problem::ListEmpty => r#"{"field_type":"List","min_length":1,"actual_length":0}"#,
            Problem::ListTooLong { max, length } => {
                return Some(format!(
                    r#"{{"field_type":"List","max_length":{max},"actual_length":{length}}}"#
                ));
            }
            Problem::StringTooLong(max) => return Some(format!(r#"{{"max_length":{max}}}"#)),
            Problem::AtLeast(bound) => return Some(format!(r#"{{"ge":{bound}}}"#)),
            Problem::AtMost(bound) => return Some(format!(r#"{{"le":{bound}}}"#)),
            Problem::NotOneOf(words) => return Some(format!(r#"{{"expected":"{words}"}}"#)),
            _ => return None,
        };
        Some(fixed.to_owned())
    }
}

/// One step on the way to the place where something is wrong.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::api) enum Step<'t> {
    /// A name of ours.
    Name(&'static str),
    Index(usize),
    /// A key as it came, with its quotes.
    Key(&'t str),
}

/// The value that is wrong.
#[derive(Clone, Copy, Debug)]
pub(in crate::api) enum Input<'t> {
    Null,
    /// Valid JSON as it came.
    Json(&'t str),
    /// What was not sent as JSON.
    Bytes(&'t [u8]),
}

/// Collects what is wrong with one request.
#[derive(Default, Debug)]
pub(in crate::api) struct Report {
    entries: usize,
    detail: Vec<u8>,
}

impl Report {
    /// The report with this one entry.
    pub(in crate::api) fn only(
        steps: &[Step<'_>],
        problem: Problem,
        input: Input<'_>,
    ) -> ValidationErrors {
        let mut report = Report::default();
        report.add(steps, problem, input);
        report.close()
    }

    /// Adds an entry, unless the list is full.
    pub(in crate::api) fn add(&mut self, steps: &[Step<'_>], problem: Problem, input: Input<'_>) {
        if self.entries == ENTRIES_MAX {
            return;
        }
        self.detail
            .push(if self.entries == 0 { b'[' } else { b',' });
        self.entries += 1;
        self.push("{\"type\":\"");
        self.push(problem.kind());
        self.push("\",\"loc\":[");
        append_joined(&mut self.detail, steps, append_step);
        self.push("],\"msg\":\"");
        self.push(&problem.message());
        self.push("\",\"input\":");
        self.append_input(input);
        if let Some(context) = problem.context() {
            self.push(",\"ctx\":");
            self.push(&context);
        }
        self.push("}");
    }

    /// Nothing is wrong so far.
    pub(in crate::api) fn is_empty(&self) -> bool {
        self.entries == 0
    }

    /// `value`, if nothing is wrong.
    pub(in crate::api) fn finish<T>(self, value: T) -> Result<T, ValidationErrors> {
        if self.is_empty() {
            Ok(value)
        } else {
            Err(self.close())
        }
    }

    /// The finished list.
    pub(in crate::api) fn close(mut self) -> ValidationErrors {
        self.push("]");
        ValidationErrors {
            detail: self.detail,
        }
    }

    fn push(&mut self, text: &str) {
        self.detail.extend_from_slice(text.as_bytes());
    }

    fn append_input(&mut self, input: Input<'_>) {
        match input {
            Input::Json(json) if json.len() <= INPUT_BYTES_MAX => {
                append_compact(&mut self.detail, json.as_bytes());
            }
            Input::Bytes(bytes) if bytes.len() <= INPUT_BYTES_MAX => {
                append_string(&mut self.detail, &String::from_utf8_lossy(bytes));
            }
            _ => self.push("null"),
        }
    }
}

fn append_step(out: &mut Vec<u8>, step: &Step<'_>) {
    match step {
        Step::Name(name) => append_string(out, name),
        Step::Index(index) => append_number(out, *index as u64),
        Step::Key(quoted) => out.extend_from_slice(quoted.as_bytes()),
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
        let mut report = Report::default();
        for _ in 0..ENTRIES_MAX + 1 {
            report.add(&[Step::Index(1)], Problem::Missing, Input::Json(&text));
        }
        let errors = report.close();
        let detail: serde_json::Value = serde_json::from_slice(errors.detail()).unwrap();
        assert_eq!(detail.as_array().unwrap().len(), ENTRIES_MAX);
        assert!(detail[99]["input"].is_null());
    }
}
