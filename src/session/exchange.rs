//! What metrics want to know of an answered request.

use crate::api::error::ErrorCode;
use crate::api::route::Route;

/// A request and its answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Exchange {
    /// The route's pattern, `none` for what matched no route (SPEC section 10).
    pub handler: &'static str,
    /// The method, `OTHER` for unknown ones.
    pub method: &'static str,
    /// Status code of the answer.
    pub status: u16,
    /// Of an answer that is an error: its code.
    pub error: Option<ErrorCode>,
    /// From the first byte of the request to the answer, in microseconds.
    pub duration_micros: u64,
    /// Bytes of the request's body.
    pub request_bytes: u64,
    /// Bytes of the answer's body.
    pub response_bytes: u64,
}

impl Exchange {
    /// Whether the request was a poll.
    pub fn is_poll(&self) -> bool {
        let polls = [Route::Poll, Route::RelayPoll].map(Route::pattern);
        polls.contains(&self.handler)
    }

    /// The answer's body, if `out` ends with the answer.
    pub fn body_in(self, out: &[u8]) -> &[u8] {
        let start = out.len().saturating_sub(self.response_bytes as usize);
        &out[start..]
    }
}
