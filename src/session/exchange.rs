//! What metrics want to know of an answered request.

/// A request and its answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Exchange {
    /// The route's pattern, `none` for what matched no route (SPEC section 10).
    pub handler: &'static str,
    /// The method, `OTHER` for unknown ones.
    pub method: &'static str,
    /// Status code of the answer.
    pub status: u16,
    /// From the first byte of the request to the answer, in microseconds.
    pub duration_micros: u64,
    /// Bytes of the request's body.
    pub request_bytes: u64,
    /// Bytes of the answer's body.
    pub response_bytes: u64,
}
