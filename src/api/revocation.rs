//! Bodies that call tokens back.

use super::validation::ValidationErrors;
use super::validation::body::Body;
use super::validation::report::Problem;

/// Whose tokens, or which one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum RevocationRequest {
    /// This token.
    Token(Box<str>),
    /// The token with this `jti`, whose end is known at this second of Unix time, if at all.
    TokenId(Box<str>, Option<u64>),
    /// All tokens with this `sub` that were issued until now; the last of them ends at this second of
    /// Unix time, if that is known.
    Subject(Box<str>, Option<u64>),
}

/// Reads the body of a request that calls tokens back. `content_type` is the first header of that name.
///
/// # Errors
/// When not exactly one of `token`, `token_id` and `subject` is there, or one is no string with
/// characters in it; when `expires_at` is there and no second of Unix time.
pub fn parse_revocation(
    body: &[u8],
    content_type: Option<&[u8]>,
) -> Result<RevocationRequest, ValidationErrors> {
    let names = ["token", "token_id", "subject", "expires_at"];
    let mut body = Body::read(body, content_type, names)?;
    let token = body.text("token", no_text)?.map(Into::into);
    let id = body.text("token_id", no_text)?.map(Into::into);
    let subject = body.text("subject", no_text)?.map(Into::into);
    let end = body.integer("expires_at", (1, u32::MAX), 0);
    let end = (end > 0).then_some(u64::from(end));
    let given = ["token", "token_id", "subject"].map(|name| body.is_given(name));
    let request = match (token, id, subject) {
        (Some(token), None, None) => Some(RevocationRequest::Token(token)),
        (None, Some(id), None) => Some(RevocationRequest::TokenId(id, end)),
        (None, None, Some(subject)) => Some(RevocationRequest::Subject(subject, end)),
        _ => None,
    };
    if given.iter().filter(|it| **it).count() != 1 {
        body.whole_is(Problem::Rule(
            "Exactly one of 'token', 'token_id' and 'subject' must be there",
        ));
    }
    let request = body.finish(request)?;
    Ok(request.expect("a body that does not have one of them has been reported"))
}

fn no_text(text: &str) -> Option<Problem> {
    text.is_empty().then_some(Problem::StringTooShort)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    fn parse(body: &str) -> Result<RevocationRequest, ValidationErrors> {
        parse_revocation(body.as_bytes(), Some(b"application/json"))
    }

    #[test]
    fn one_of_three_is_called_back() {
        let token = RevocationRequest::Token("a.b.c".into());
        assert_eq!(parse(r#"{"token":"a.b.c"}"#).unwrap(), token);
        let id = RevocationRequest::TokenId("1".into(), Some(9));
        assert_eq!(parse(r#"{"token_id":"1","expires_at":9}"#).unwrap(), id);
        let subject = RevocationRequest::Subject("ann".into(), None);
        let body = r#"{"subject":"ann","token":null}"#;
        assert_eq!(parse(body).unwrap(), subject);
    }

    #[test]
    fn what_is_wrong_is_named() {
        let bodies = [
            ("{}", "value_error"),
            (r#"{"token":"a","subject":"b"}"#, "value_error"),
            (r#"{"token":1}"#, "string_type"),
            (r#"{"subject":""}"#, "string_too_short"),
            (r#"{"subject":"a","expires_at":0}"#, "greater_than_equal"),
            (r#"{"subject":"a","expires_at":"x"}"#, "int_parsing"),
        ];
        for (body, kind) in bodies {
            let errors = parse(body).unwrap_err();
            let detail: Value = serde_json::from_slice(errors.detail()).unwrap();
            let kinds: Vec<_> = detail
                .as_array()
                .unwrap()
                .iter()
                .map(|it| &it["type"])
                .collect();
            assert_eq!(kinds, [kind], "{body}");
        }
    }
}
