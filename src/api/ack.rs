//! Acknowledgements over HTTP (SPEC section 7).

use super::command::ACK_IDS_MAX;
use super::validation::ValidationErrors;
use super::validation::body::Body;

/// The body of `POST /api/v1/ack`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AckRequest {
    /// As sent; need not be ids. 1 to [`ACK_IDS_MAX`].
    pub ids: Vec<Box<str>>,
    /// Who acknowledges, 1 to 255 characters; without it, the caller's identity.
    pub client_id: Option<Box<str>>,
    /// In the topic of each id, all that was delivered before it was received too.
    pub cumulative: bool,
}

impl AckRequest {
    /// Reads a body. `content_type` is the first header of that name.
    ///
    /// # Errors
    /// All that breaks a rule, or why the body is no JSON object.
    pub fn of_body(
        body: &[u8],
        content_type: Option<&[u8]>,
    ) -> Result<AckRequest, ValidationErrors> {
        let names = ["message_ids", "client_id", "cumulative"];
        let mut body = Body::read(body, content_type, names)?;
        let mut ids = Vec::new();
        let elements = body.list("message_ids", ACK_IDS_MAX);
        for (index, span) in elements.into_iter().enumerate() {
            ids.extend(body.element("message_ids", index, span)?.map(Box::from));
        }
        let client_id = body.name("client_id")?.map(Box::from);
        let cumulative = body.flag("cumulative");
        body.finish(AckRequest {
            ids,
            client_id,
            cumulative,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn read(body: &str) -> Result<AckRequest, Value> {
        AckRequest::of_body(body.as_bytes(), None)
            .map_err(|errors| serde_json::from_slice(errors.detail()).unwrap())
    }

    #[test]
    fn all_members() {
        let body = r#"{"message_ids":["a","\u0062"],"client_id":"c","cumulative":"yes","x":[]}"#;
        let expected = AckRequest {
            ids: vec!["a".into(), "b".into()],
            client_id: Some("c".into()),
            cumulative: true,
        };
        assert_eq!(read(body), Ok(expected));
        let plain = read(r#"{"message_ids":["a"],"client_id":null}"#).unwrap();
        assert_eq!((plain.client_id, plain.cumulative), (None, false));
    }

    #[test]
    fn what_is_wrong_is_listed() {
        let errors = read(r#"{"message_ids":["a",1],"client_id":"","cumulative":2}"#).unwrap_err();
        let places: Vec<&Value> = errors
            .as_array()
            .unwrap()
            .iter()
            .map(|it| &it["loc"])
            .collect();
        assert_eq!(
            places,
            [
                &json!(["body", "message_ids", 1]),
                &json!(["body", "client_id"]),
                &json!(["body", "cumulative"])
            ]
        );
        let many = format!("{{\"message_ids\":[{}1]}}", "1,".repeat(1000));
        for (body, kind) in [
            ("", "missing"),
            ("null", "missing"),
            ("[]", "model_attributes_type"),
            ("{}", "missing"),
            ("{\"message_ids\":[]}", "too_short"),
            ("{\"message_ids\":5}", "list_type"),
            ("{\"message_ids\":[\"\\ud800\"]}", "json_invalid"),
            ("{", "json_invalid"),
            (&many, "too_long"),
            (&"[".repeat(300), "json_invalid"),
        ] {
            assert_eq!(read(body).unwrap_err()[0]["type"], kind, "{body:.40}");
        }
    }
}
