//! Bodies of HTTP error answers (SPEC section 4).

use super::json::{append_number, append_string};

/// What went wrong, as the member `error` says it. Each code has one status, and each status one
/// code that stands for it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum ErrorCode {
    /// Malformed HTTP.
    InvalidRequest,
    /// The caller has no credential that holds.
    Unauthorized,
    /// The caller may not do this.
    Forbidden,
    /// There is no such path.
    NotFound,
    /// The path has other methods.
    MethodNotAllowed,
    /// The request did not arrive in time.
    RequestTimeout,
    /// There is such a thing already.
    Conflict,
    /// The body is over the limit.
    PayloadTooLarge,
    /// The request target is over the limit.
    UriTooLong,
    /// The body breaks the rules of its route.
    ValidationError,
    /// The key of an earlier request came with another one.
    IdempotencyKeyReused,
    /// The path speaks WebSocket only.
    UpgradeRequired,
    /// The client has asked for more than it may.
    RateLimitExceeded,
    /// The head is over the limit.
    HeadersTooLarge,
    /// The fault is ours.
    InternalError,
    /// Something that HTTP or the contract knows and this version does not.
    NotImplemented,
    /// Not now: overload, start or end.
    ServiceUnavailable,
    /// Another version of HTTP than 1.0 and 1.1.
    HttpVersionNotSupported,
}

impl ErrorCode {
    /// Every code.
    pub const ALL: [ErrorCode; 18] = [
        ErrorCode::InvalidRequest,
        ErrorCode::Unauthorized,
        ErrorCode::Forbidden,
        ErrorCode::NotFound,
        ErrorCode::MethodNotAllowed,
        ErrorCode::RequestTimeout,
        ErrorCode::Conflict,
        ErrorCode::PayloadTooLarge,
        ErrorCode::UriTooLong,
        ErrorCode::ValidationError,
        ErrorCode::IdempotencyKeyReused,
        ErrorCode::UpgradeRequired,
        ErrorCode::RateLimitExceeded,
        ErrorCode::HeadersTooLarge,
        ErrorCode::InternalError,
        ErrorCode::NotImplemented,
        ErrorCode::ServiceUnavailable,
        ErrorCode::HttpVersionNotSupported,
    ];

    /// The code that stands for this status; [`ErrorCode::InternalError`] when none has it.
    pub fn of_status(status: u16) -> ErrorCode {
        Self::ALL
            .into_iter()
            .find(|code| code.status() == status)
            .unwrap_or(ErrorCode::InternalError)
    }

    /// The status of the answer.
    pub fn status(self) -> u16 {
        match self {
            ErrorCode::InvalidRequest => 400,
            ErrorCode::Unauthorized => 401,
            ErrorCode::Forbidden => 403,
            ErrorCode::NotFound => 404,
            ErrorCode::MethodNotAllowed => 405,
            ErrorCode::RequestTimeout => 408,
            ErrorCode::Conflict => 409,
            ErrorCode::PayloadTooLarge => 413,
            ErrorCode::UriTooLong => 414,
            ErrorCode::ValidationError | ErrorCode::IdempotencyKeyReused => 422,
            ErrorCode::UpgradeRequired => 426,
            ErrorCode::RateLimitExceeded => 429,
            ErrorCode::HeadersTooLarge => 431,
            ErrorCode::InternalError => 500,
            ErrorCode::NotImplemented => 501,
            ErrorCode::ServiceUnavailable => 503,
            ErrorCode::HttpVersionNotSupported => 505,
        }
    }

    /// The code as text.
    pub fn as_str(self) -> &'static str {
        match self {
            ErrorCode::InvalidRequest => "INVALID_REQUEST",
            ErrorCode::Unauthorized => "UNAUTHORIZED",
            ErrorCode::Forbidden => "FORBIDDEN",
            ErrorCode::NotFound => "NOT_FOUND",
            ErrorCode::MethodNotAllowed => "METHOD_NOT_ALLOWED",
            ErrorCode::RequestTimeout => "REQUEST_TIMEOUT",
            ErrorCode::Conflict => "CONFLICT",
            ErrorCode::PayloadTooLarge => "PAYLOAD_TOO_LARGE",
            ErrorCode::UriTooLong => "URI_TOO_LONG",
            ErrorCode::ValidationError => "VALIDATION_ERROR",
            ErrorCode::IdempotencyKeyReused => "IDEMPOTENCY_KEY_REUSED",
            ErrorCode::UpgradeRequired => "UPGRADE_REQUIRED",
            ErrorCode::RateLimitExceeded => "RATE_LIMIT_EXCEEDED",
            ErrorCode::HeadersTooLarge => "HEADERS_TOO_LARGE",
            ErrorCode::InternalError => "INTERNAL_ERROR",
            ErrorCode::NotImplemented => "NOT_IMPLEMENTED",
            ErrorCode::ServiceUnavailable => "SERVICE_UNAVAILABLE",
            ErrorCode::HttpVersionNotSupported => "HTTP_VERSION_NOT_SUPPORTED",
        }
    }

    /// A sentence for answers that have no better one.
    fn sentence(self) -> &'static str {
        match self {
            ErrorCode::InvalidRequest => "The request is malformed",
            ErrorCode::Unauthorized => "A credential is needed",
            ErrorCode::Forbidden => "This is not allowed",
            ErrorCode::NotFound => "There is no such path",
            ErrorCode::MethodNotAllowed => "The path does not have this method",
            ErrorCode::RequestTimeout => "The request did not arrive in time",
            ErrorCode::Conflict => "There is such a thing already",
            ErrorCode::PayloadTooLarge => "The body is too large",
            ErrorCode::UriTooLong => "The request target is too long",
            ErrorCode::ValidationError => "The request body is not valid",
            ErrorCode::IdempotencyKeyReused => {
                "The Idempotency-Key belongs to an earlier request that was not the same"
            }
            ErrorCode::UpgradeRequired => "This path speaks WebSocket (version 13)",
            ErrorCode::RateLimitExceeded => "Too many messages or requests",
            ErrorCode::HeadersTooLarge => "The header fields are too large",
            ErrorCode::InternalError => "The server failed",
            ErrorCode::NotImplemented => "The server does not know this",
            ErrorCode::ServiceUnavailable => "The server cannot take this now",
            ErrorCode::HttpVersionNotSupported => "The server speaks HTTP/1.0 and HTTP/1.1",
        }
    }
}

/// The body of one error answer.
#[derive(Clone, Copy, Debug)]
pub struct ErrorBody<'a> {
    code: ErrorCode,
    message: &'a str,
    limit: Option<u64>,
    list: Option<&'a [u8]>,
    request_id: &'a str,
}

impl<'a> ErrorBody<'a> {
    /// The body for `code` with the code's own sentence. `request_id` is that of the answer.
    pub fn new(code: ErrorCode, request_id: &'a str) -> ErrorBody<'a> {
        ErrorBody {
            code,
            message: code.sentence(),
            limit: None,
            list: None,
            request_id,
        }
    }

    /// With another sentence: what was wrong, no internals.
    #[must_use]
    pub fn message(self, message: &'a str) -> ErrorBody<'a> {
        ErrorBody { message, ..self }
    }

    /// With `details` that tell the limit, in bytes, that was passed.
    #[must_use]
    pub fn limit(self, bytes: u64) -> ErrorBody<'a> {
        ErrorBody {
            limit: Some(bytes),
            ..self
        }
    }

    /// With the list of what is wrong as `detail`: JSON, see
    /// [`ValidationErrors::detail`](super::publish::ValidationErrors::detail).
    #[must_use]
    pub fn list(self, list: &'a [u8]) -> ErrorBody<'a> {
        ErrorBody {
            list: Some(list),
            ..self
        }
    }

    /// Appends the body as JSON.
    pub fn append(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"error\":");
        append_string(out, self.code.as_str());
        out.extend_from_slice(b",\"message\":");
        append_string(out, self.message);
        out.extend_from_slice(b",\"details\":");
        match self.limit {
            Some(bytes) => {
                out.extend_from_slice(b"{\"limit\":");
                append_number(out, bytes);
                out.push(b'}');
            }
            None => out.extend_from_slice(b"null"),
        }
        out.extend_from_slice(b",\"request_id\":");
        append_string(out, self.request_id);
        out.extend_from_slice(b",\"detail\":");
        let is_general = self.message == self.code.sentence();
        match (self.list, self.code) {
            (Some(list), _) => out.extend_from_slice(list),
            // Clients know these two strings from the first version of this interface.
            (None, ErrorCode::NotFound) if is_general => append_string(out, "Not Found"),
            (None, ErrorCode::MethodNotAllowed) => append_string(out, "Method Not Allowed"),
            (None, _) => append_string(out, self.message),
        }
        out.push(b'}');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(error: ErrorBody<'_>) -> String {
        let mut out = Vec::new();
        error.append(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn every_status_has_one_code() {
        for code in ErrorCode::ALL {
            let general = match code {
                ErrorCode::IdempotencyKeyReused => ErrorCode::ValidationError,
                code => code,
            };
            assert_eq!(ErrorCode::of_status(code.status()), general);
        }
        assert_eq!(ErrorCode::of_status(418), ErrorCode::InternalError);
    }

    #[test]
    fn detail_is_a_string_that_clients_know() {
        assert_eq!(
            body(ErrorBody::new(ErrorCode::NotFound, "req_1")),
            r#"{"error":"NOT_FOUND","message":"There is no such path","details":null,"request_id":"req_1","detail":"Not Found"}"#
        );
        let text = body(ErrorBody::new(ErrorCode::NotFound, "r").message("Topic not found"));
        assert!(
            text.ends_with(r#""detail":"Topic not found"}"#),
            "of a known path"
        );
        let text = body(ErrorBody::new(ErrorCode::MethodNotAllowed, "r"));
        assert!(text.ends_with(r#""detail":"Method Not Allowed"}"#));
        let text = body(ErrorBody::new(ErrorCode::Forbidden, "r").message("Say \"no\""));
        assert!(text.ends_with(
            r#""message":"Say \"no\"","details":null,"request_id":"r","detail":"Say \"no\""}"#
        ));
    }

    #[test]
    fn limit_and_list() {
        let text = body(ErrorBody::new(ErrorCode::PayloadTooLarge, "r").limit(1_048_576));
        assert!(text.contains(r#""details":{"limit":1048576},"#));
        let text = body(ErrorBody::new(ErrorCode::ValidationError, "r").list(b"[{}]"));
        assert!(text.ends_with(r#""detail":[{}]}"#));
    }
}
