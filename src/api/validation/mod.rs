//! What all request bodies and queries share: JSON text, its envelope, and the 422 list (SPEC
//! section 4).

pub(in crate::api) mod body;
mod content_type;
pub(in crate::api) mod integer;
pub(in crate::api) mod report;
pub(in crate::api) mod scan;
pub(in crate::api) mod strings;
pub(in crate::api) mod text;
mod token;

use std::borrow::Cow;

use crate::topic::TopicNameError;

use report::{Input, Problem, Report, Step};
use scan::{Reason, Span, SyntaxError};
use text::{LoneSurrogate, unescape};

pub use report::ValidationErrors;

/// Most characters of a name: of a topic, a client or a group.
const NAME_CHARS_MAX: u32 = 255;
/// The place of what is wrong with a body as a whole.
const BODY: [Step<'static>; 1] = [Step::Name("body")];

/// The body as JSON text, without a byte order mark.
#[inline]
pub(super) fn json_text<'b>(
    body: &'b [u8],
    content_type: Option<&[u8]>,
) -> Result<&'b str, ValidationErrors> {
    if body.is_empty() {
        return Err(Report::only(&BODY, Problem::Missing, Input::Null));
    }
    if !content_type::is_json(content_type) {
        let input = Input::Bytes(body);
        return Err(Report::only(&BODY, Problem::NotAnObject, input));
    }
    let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
    match std::str::from_utf8(body) {
        Ok(text) => Ok(text),
        Err(error) => Err(ValidationErrors::not_utf8(&body[..error.valid_up_to()])),
    }
}

/// What is wrong with a body that is another JSON value than an object.
pub(super) fn not_an_object(text: &str, span: Span) -> ValidationErrors {
    let (problem, input) = if span.of(text) == "null" {
        (Problem::Missing, Input::Null)
    } else {
        (Problem::NotAnObject, Input::Json(span.of(text)))
    };
    Report::only(&BODY, problem, input)
}

/// What the JSON string at `span` says.
///
/// # Errors
/// When it has a lone surrogate: no text says that.
pub(super) fn read_string(text: &str, span: Span) -> Result<Cow<'_, str>, SyntaxError> {
    unescape(span.of(text)).map_err(|LoneSurrogate(offset)| SyntaxError {
        reason: Reason::UnicodeEscape,
        at: span.start + offset,
    })
}

/// What is wrong with the name of a topic.
pub(super) fn topic_problem(error: TopicNameError) -> Problem {
    match error {
        TopicNameError::Empty => Problem::StringTooShort,
        TopicNameError::TooLong => Problem::StringTooLong(NAME_CHARS_MAX),
        TopicNameError::Characters => Problem::Rule(
            "Topic must contain only alphanumeric characters, hyphens, and underscores",
        ),
    }
}
