//! Bodies that create and describe topics (SPEC section 9): the same rules and reports as for
//! publishing.

use super::report::{Problem, Report};
use super::scan::{Scanner, Span, SyntaxError};
use super::text::unescape;
use super::{Check, Reported, ValidationErrors, json_text, not_an_object};
use crate::topic::TopicName;

/// Most characters (Unicode scalar values) of a description.
const DESCRIPTION_CHARS_MAX: usize = 1000;
/// The path that a topic of this name would have leads elsewhere.
const RESERVED_NAME: &str = "stats";

/// A topic that is to be created.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NewTopic {
    /// Its name.
    pub name: TopicName,
    /// At most 1000 characters.
    pub description: Option<Box<str>>,
}

/// Reads the body of a request that creates a topic. `content_type` is the first header of that
/// name.
///
/// # Errors
/// When `topic_name` is missing, no topic name, or `stats`; when `description` is neither null nor
/// a string of at most 1000 characters.
pub fn parse_new_topic(
    body: &[u8],
    content_type: Option<&[u8]>,
) -> Result<NewTopic, ValidationErrors> {
    let text = json_text(body, content_type)?;
    let fields = fields(text)?;
    let mut report = Report::new(text);
    let mut check = fields.check(text, &mut report);
    let parsed = check
        .topic("topic_name", fields.name)
        .and_then(|name| Ok((name, check.description(fields.description)?)))
        .map_err(|error| ValidationErrors::syntax(text, error))?;
    let (Some(name), Ok(description)) = parsed else {
        return Err(report.close());
    };
    match TopicName::parse(&name) {
        Ok(name) if name.as_str() != RESERVED_NAME => Ok(NewTopic { name, description }),
        _ => {
            fields.check(text, &mut report).add(
                "topic_name",
                Problem::TopicReserved,
                fields.name.unwrap_or(fields.whole),
            );
            Err(report.close())
        }
    }
}

/// Reads the body of a request that describes a topic anew: `description` is required.
///
/// # Errors
/// When `description` is missing, or neither null nor a string of at most 1000 characters.
pub fn parse_description(
    body: &[u8],
    content_type: Option<&[u8]>,
) -> Result<Option<Box<str>>, ValidationErrors> {
    let text = json_text(body, content_type)?;
    let fields = fields(text)?;
    let mut report = Report::new(text);
    let mut check = fields.check(text, &mut report);
    if fields.description.is_none() {
        check.add("description", Problem::Missing, fields.whole);
        return Err(report.close());
    }
    let description = check
        .description(fields.description)
        .map_err(|error| ValidationErrors::syntax(text, error))?;
    description.map_err(|Reported| report.close())
}

/// What a body says, not yet checked against the rules.
#[derive(Clone, Copy)]
struct Fields {
    whole: Span,
    name: Option<Span>,
    description: Option<Span>,
}

impl Fields {
    fn check<'c, 'r, 't>(&self, text: &'t str, report: &'c mut Report<'r>) -> Check<'c, 'r, 't> {
        Check {
            text,
            whole: self.whole,
            element: None,
            report,
        }
    }
}

fn fields(text: &str) -> Result<Fields, ValidationErrors> {
    let scanned = Scanner::new(text, 0).document(scan);
    match scanned.map_err(|error| ValidationErrors::syntax(text, error))? {
        Ok(fields) => Ok(fields),
        Err(other) => Err(not_an_object(text, other)),
    }
}

/// The fields of an object, or where another value stands.
fn scan(scanner: &mut Scanner<'_>) -> Result<Result<Fields, Span>, SyntaxError> {
    if scanner.peek() != Some(b'{') {
        return scanner.value(0).map(Err);
    }
    let (mut name, mut description) = (None, None);
    let ((), whole) = scanner.spanned(|scanner| {
        scanner.members(|scanner, key| {
            let text = scanner.text();
            let value = Some(scanner.value(1)?);
            match unescape(key.of(text)).as_deref() {
                Ok("topic_name") => name = value,
                Ok("description") => description = value,
                _ => {}
            }
            Ok(())
        })
    })?;
    Ok(Ok(Fields {
        whole,
        name,
        description,
    }))
}

impl Check<'_, '_, '_> {
    /// # Errors
    /// When the description has a lone surrogate: it could not be told again.
    fn description(
        &mut self,
        description: Option<Span>,
    ) -> Result<Result<Option<Box<str>>, Reported>, SyntaxError> {
        let Some(span) = description.filter(|span| span.first(self.text) != b'n') else {
            return Ok(Ok(None));
        };
        if span.first(self.text) != b'"' {
            self.add("description", Problem::StringType, span);
            return Ok(Err(Reported));
        }
        let said = self.string(span)?;
        if said.chars().nth(DESCRIPTION_CHARS_MAX).is_some() {
            self.add("description", Problem::DescriptionTooLong, span);
            return Ok(Err(Reported));
        }
        Ok(Ok(Some(said.into())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn errors<T: std::fmt::Debug>(result: Result<T, ValidationErrors>) -> Value {
        serde_json::from_slice(result.unwrap_err().detail()).unwrap()
    }

    fn create(body: &str) -> Result<NewTopic, ValidationErrors> {
        parse_new_topic(body.as_bytes(), Some(b"application/json"))
    }

    fn describe(body: &str) -> Result<Option<Box<str>>, ValidationErrors> {
        parse_description(body.as_bytes(), None)
    }

    #[test]
    fn names_and_descriptions() {
        for (body, name, description) in [
            (r#"{"topic_name":"a"}"#, "a", None),
            (
                r#"{"topic_name":"größe","description":null}"#,
                "größe",
                None,
            ),
            (
                r#" {"x":[],"topic_n\u0061me":"a","description":"b\n"} "#,
                "a",
                Some("b\n"),
            ),
            (
                r#"{"topic_name":1,"topic_name":"Stats","description":""}"#,
                "Stats",
                Some(""),
            ),
        ] {
            let topic = create(body).unwrap();
            assert_eq!(topic.name.as_str(), name);
            assert_eq!(topic.description.as_deref(), description, "{body}");
        }
        let longest = "é".repeat(DESCRIPTION_CHARS_MAX);
        let body = json!({"description": longest}).to_string();
        assert_eq!(describe(&body).unwrap().as_deref(), Some(&*longest));
        assert_eq!(describe(r#"{"description":null}"#), Ok(None));
    }

    #[test]
    fn what_is_wrong_is_listed_in_field_order() {
        let list = errors(create(r#"{"description":7,"topic_name":"a b"}"#));
        assert_eq!(
            list,
            json!([
                {"type": "value_error", "loc": ["body", "topic_name"], "input": "a b",
                 "msg": "Value error, Topic must contain only alphanumeric characters, hyphens, and underscores",
                 "ctx": {"error": {}}},
                {"type": "string_type", "loc": ["body", "description"],
                 "msg": "Input should be a valid string", "input": 7},
            ])
        );
        let list = errors(create("{}"));
        assert_eq!(
            list,
            json!([{"type": "missing", "loc": ["body", "topic_name"], "msg": "Field required", "input": {}}])
        );
        let list = errors(create(r#"{"topic_name":"stats"}"#));
        assert_eq!(list[0]["type"], "value_error");
        assert_eq!(list[0]["loc"], json!(["body", "topic_name"]));
        let list = errors(describe(r#"{"topic_name":"a"}"#));
        assert_eq!(list[0]["type"], "missing");
        assert_eq!(list[0]["loc"], json!(["body", "description"]));
        let long = "x".repeat(DESCRIPTION_CHARS_MAX + 1);
        let list = errors(describe(&json!({"description": long}).to_string()));
        assert_eq!(
            list,
            json!([{"type": "string_too_long", "loc": ["body", "description"], "input": long,
                    "msg": "String should have at most 1000 characters", "ctx": {"max_length": 1000}}])
        );
    }

    #[test]
    fn other_bodies_are_refused_as_in_publishing() {
        for (body, kind) in [
            ("", "missing"),
            ("null", "missing"),
            ("[]", "model_attributes_type"),
            ("{", "json_invalid"),
            (
                r#"{"topic_name":"a","description":"\ud800"}"#,
                "json_invalid",
            ),
            (r#"{"topic_name":"\ud800"}"#, "json_invalid"),
        ] {
            assert_eq!(errors(create(body))[0]["type"], kind, "{body}");
        }
        let list = errors(parse_description(b"{}", Some(b"text/plain")));
        assert_eq!(list[0]["type"], "model_attributes_type");
    }
}
