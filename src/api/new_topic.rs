//! Bodies that create and describe topics (SPEC section 9).

use super::validation::body::Body;
use super::validation::report::Problem;
use super::validation::{ValidationErrors, topic_problem};
use crate::topic::TopicName;

/// Most characters (Unicode scalar values) of a description.
const DESCRIPTION_CHARS_MAX: u32 = 1000;
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
    let mut body = Body::read(body, content_type, ["topic_name", "description"])?;
    body.require("topic_name", false);
    let mut parsed = None;
    body.text("topic_name", |text| match TopicName::parse(text) {
        Ok(_) if text == RESERVED_NAME => Some(Problem::Rule(
            "No topic can be created with the name 'stats': its path leads to the totals",
        )),
        Ok(name) => {
            parsed = Some(name);
            None
        }
        Err(error) => Some(topic_problem(error)),
    })?;
    let description = body.text("description", description_problem)?;
    let name = body.finish(parsed)?;
    Ok(NewTopic {
        name: name.expect("a body without a name has been reported"),
        description: description.map(Into::into),
    })
}

/// Reads the body of a request that describes a topic anew: `description` is required.
///
/// # Errors
/// When `description` is missing, or neither null nor a string of at most 1000 characters.
pub fn parse_description(
    body: &[u8],
    content_type: Option<&[u8]>,
) -> Result<Option<Box<str>>, ValidationErrors> {
    let mut body = Body::read(body, content_type, ["description"])?;
    body.require("description", true);
    let description = body.text("description", description_problem)?;
    body.finish(description.map(Into::into))
}

fn description_problem(text: &str) -> Option<Problem> {
    let is_long = text.chars().nth(DESCRIPTION_CHARS_MAX as usize).is_some();
    is_long.then_some(Problem::StringTooLong(DESCRIPTION_CHARS_MAX))
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
        let longest = "é".repeat(DESCRIPTION_CHARS_MAX as usize);
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
        let long = "x".repeat(DESCRIPTION_CHARS_MAX as usize + 1);
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
