//! Publish bodies: bytes to [`Publication`]s, or to the list of what is wrong (SPEC sections 3, 4).
//!
//! ```text
//! bytes ─► content type ─► UTF-8 ─► envelope (over scan) ─► rules here ─► Publication
//!                                      spans of members        │
//!                                                              └─► report: the 422 list
//! ```
//!
//! One pass over the body checks the syntax and finds the members. Payload and metadata are passed
//! on as they came; no tree is built. Time is linear in the body, and what a refusal takes is
//! bounded by a small multiple of it.

mod content_type;
mod envelope;
mod metadata;
mod report;
mod scan;
mod text;
mod token;
mod topic;
mod ttl;

use std::borrow::Cow;

use crate::topic::{TopicName, TopicNameError};

use envelope::{Bulk, Fields, MESSAGES_MAX, Message, Messages};
use report::{Input, Place, Problem, Report};
use scan::{Reason, Scanner, Span, SyntaxError};
use text::{LoneSurrogate, unescape};

pub use report::ValidationErrors;
pub use topic::{NewTopic, parse_description, parse_new_topic};

/// A message that a producer asks to publish, checked against all rules.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Publication<'b> {
    /// A valid topic name ([`TopicName::check`]).
    pub topic: Cow<'b, str>,
    /// A JSON object as it came, without CR and LF outside strings.
    pub payload: Cow<'b, [u8]>,
    /// Seconds, at least 1; a larger number than fits is capped.
    pub ttl: Option<u64>,
    /// A JSON object with string values as it came, without CR and LF outside strings.
    pub metadata: Option<Cow<'b, [u8]>>,
}

/// Reads the body of a publish request. `content_type` is the first header of that name.
///
/// # Errors
/// When the body breaks a rule of SPEC section 3.
pub fn parse_one<'b>(
    body: &'b [u8],
    content_type: Option<&[u8]>,
) -> Result<Publication<'b>, ValidationErrors> {
    let text = json_text(body, content_type)?;
    let message = Scanner::new(text, 0)
        .document(|scanner| envelope::message(scanner, 0))
        .map_err(|error| ValidationErrors::syntax(text, error))?;
    let mut report = Report::new(text);
    let publication = match message {
        Message::Object(fields) => publication(text, &fields, None, &mut report)
            .map_err(|error| ValidationErrors::syntax(text, error))?,
        Message::Other(span) => return Err(not_an_object(text, span)),
    };
    publication.ok_or_else(|| report.close())
}

/// Reads the body of a bulk publish request: 1 to 100 messages.
///
/// # Errors
/// When the body or any message in it breaks a rule of SPEC section 3.
pub fn parse_bulk<'b>(
    body: &'b [u8],
    content_type: Option<&[u8]>,
) -> Result<Vec<Publication<'b>>, ValidationErrors> {
    let text = json_text(body, content_type)?;
    let bulk = Scanner::new(text, 0)
        .document(envelope::bulk)
        .map_err(|error| ValidationErrors::syntax(text, error))?;
    let messages = listed_messages(text, bulk)?;
    let mut report = Report::new(text);
    let mut publications = Vec::with_capacity(messages.len());
    for (index, message) in messages.iter().enumerate() {
        match message {
            Message::Object(fields) => {
                let publication = publication(text, fields, Some(index), &mut report)
                    .map_err(|error| ValidationErrors::syntax(text, error))?;
                publications.extend(publication);
            }
            Message::Other(span) => {
                let place = Place {
                    element: Some(index),
                    ..Place::default()
                };
                report.add(place, Problem::NotAnObject, Input::Value(*span));
            }
        }
    }
    if report.is_empty() {
        Ok(publications)
    } else {
        Err(report.close())
    }
}

/// The body as JSON text, without a byte order mark.
#[inline]
fn json_text<'b>(body: &'b [u8], content_type: Option<&[u8]>) -> Result<&'b str, ValidationErrors> {
    if body.is_empty() {
        return Err(Report::only(
            "",
            Place::default(),
            Problem::Missing,
            Input::Null,
        ));
    }
    if !content_type::is_json(content_type) {
        let input = Input::Bytes(body);
        return Err(Report::only(
            "",
            Place::default(),
            Problem::NotAnObject,
            input,
        ));
    }
    let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
    match std::str::from_utf8(body) {
        Ok(text) => Ok(text),
        Err(error) => Err(ValidationErrors::not_utf8(&body[..error.valid_up_to()])),
    }
}

/// What is wrong with a body that is another JSON value than an object.
fn not_an_object(text: &str, span: Span) -> ValidationErrors {
    let (problem, input) = if span.of(text) == "null" {
        (Problem::Missing, Input::Null)
    } else {
        (Problem::NotAnObject, Input::Value(span))
    };
    Report::only(text, Place::default(), problem, input)
}

/// The messages of a bulk, if it has a list of the right length.
fn listed_messages(text: &str, bulk: Bulk) -> Result<Vec<Message>, ValidationErrors> {
    let (whole, messages) = match bulk {
        Bulk::Object { whole, messages } => (whole, messages),
        Bulk::Other(span) => return Err(not_an_object(text, span)),
    };
    let (problem, span) = match messages {
        None => (Problem::Missing, whole),
        Some(Messages::Other(span)) => (Problem::ListType, span),
        Some(Messages::List { span, count: 0, .. }) => (Problem::ListEmpty, span),
        Some(Messages::List { span, count, .. }) if count > MESSAGES_MAX => {
            (Problem::ListTooLong(count), span)
        }
        Some(Messages::List { first, .. }) => return Ok(first),
    };
    let place = Place {
        field: Some("messages"),
        ..Place::default()
    };
    Err(Report::only(text, place, problem, Input::Value(span)))
}

/// Checks one message; `None` when that put something into `report`.
///
/// # Errors
/// When the topic has a lone surrogate: no text could name it.
fn publication<'t>(
    text: &'t str,
    fields: &Fields,
    element: Option<usize>,
    report: &mut Report<'_>,
) -> Result<Option<Publication<'t>>, SyntaxError> {
    let mut check = Check {
        text,
        whole: fields.whole,
        element,
        report,
    };
    let topic = check.topic("topic", fields.topic)?;
    let payload = check.payload(fields.payload);
    let ttl = check.ttl(fields.ttl);
    let metadata = check.metadata(fields.metadata);
    let (Some(topic), Some(payload), Ok(ttl), Ok(metadata)) = (topic, payload, ttl, metadata)
    else {
        return Ok(None);
    };
    Ok(Some(Publication {
        topic,
        payload,
        ttl,
        metadata,
    }))
}

/// A field broke a rule, and the report says so.
struct Reported;

/// The rules for the fields of one message. Each tells the report what is wrong.
struct Check<'c, 'r, 't> {
    text: &'t str,
    whole: Span,
    element: Option<usize>,
    report: &'c mut Report<'r>,
}

impl<'t> Check<'_, '_, 't> {
    fn topic(
        &mut self,
        field: &'static str,
        topic: Option<Span>,
    ) -> Result<Option<Cow<'t, str>>, SyntaxError> {
        let Some(span) = topic else {
            self.add(field, Problem::Missing, self.whole);
            return Ok(None);
        };
        if span.first(self.text) != b'"' {
            self.add(field, Problem::StringType, span);
            return Ok(None);
        }
        let name = self.string(span)?;
        let problem = match TopicName::check(&name) {
            Ok(()) => return Ok(Some(name)),
            Err(TopicNameError::Empty) => Problem::StringTooShort,
            Err(TopicNameError::TooLong) => Problem::StringTooLong,
            Err(TopicNameError::Characters) => Problem::TopicCharacters,
        };
        self.add(field, problem, span);
        Ok(None)
    }

    /// What a string says.
    fn string(&self, span: Span) -> Result<Cow<'t, str>, SyntaxError> {
        unescape(span.of(self.text)).map_err(|LoneSurrogate(offset)| SyntaxError {
            reason: Reason::UnicodeEscape,
            at: span.start + offset,
        })
    }

    fn payload(&mut self, payload: Option<Span>) -> Option<Cow<'t, [u8]>> {
        let Some(span) = payload else {
            self.add("payload", Problem::Missing, self.whole);
            return None;
        };
        if span.first(self.text) != b'{' {
            self.add("payload", Problem::DictType, span);
            return None;
        }
        Some(one_line(self.text, span))
    }

    fn ttl(&mut self, ttl: Option<Span>) -> Result<Option<u64>, Reported> {
        let Some(span) = ttl.filter(|span| span.first(self.text) != b'n') else {
            return Ok(None);
        };
        ttl::parse(span.of(self.text)).map(Some).map_err(|problem| {
            self.add("ttl", problem, span);
            Reported
        })
    }

    fn metadata(
        &mut self,
        metadata: Option<envelope::Metadata>,
    ) -> Result<Option<Cow<'t, [u8]>>, Reported> {
        let Some(found) = metadata.filter(|found| found.span.first(self.text) != b'n') else {
            return Ok(None);
        };
        if found.all_strings {
            return Ok(Some(one_line(self.text, found.span)));
        }
        if found.span.first(self.text) != b'{' {
            self.add("metadata", Problem::DictType, found.span);
            return Err(Reported);
        }
        // A value that is no string may be overridden by a later one that is.
        if metadata::check(self.text, found.span, self.place("metadata"), self.report) {
            Ok(Some(one_line(self.text, found.span)))
        } else {
            Err(Reported)
        }
    }

    fn place(&self, field: &'static str) -> Place<'t> {
        Place {
            element: self.element,
            field: Some(field),
            key: None,
        }
    }

    fn add(&mut self, field: &'static str, problem: Problem, span: Span) {
        self.report
            .add(self.place(field), problem, Input::Value(span));
    }
}

/// The value without CR and LF. In strings of valid JSON there are none but as escapes.
fn one_line(text: &str, span: Span) -> Cow<'_, [u8]> {
    let bytes = span.of(text).as_bytes();
    if memchr::memchr2(b'\r', b'\n', bytes).is_none() {
        return Cow::Borrowed(bytes);
    }
    let kept = bytes.iter().filter(|byte| !matches!(byte, b'\r' | b'\n'));
    Cow::Owned(kept.copied().collect())
}

#[cfg(test)]
mod tests;
