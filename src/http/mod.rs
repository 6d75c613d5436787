//! HTTP/1.1 on byte slices (RFC 9112, SPEC section 13).
//!
//! Functions of bytes: no socket, no clock, no routes. A session feeds [`HeadDecoder`] until a
//! [`RequestHead`] stands, takes the body as its [`Framing`] says ([`ChunkedDecoder`] for chunked
//! ones), and appends a [`Response`] to its output.

mod body;
mod framing;
mod head;
mod headers;
mod method;
mod percent;
mod response;
mod scan;
mod target;

pub use body::{BodyError, ChunkedDecoder};
pub use framing::Framing;
pub use head::{HeadDecoder, HeadError, HeadLimits, RequestHead};
pub use headers::{HEADERS_MAX, Headers};
pub use method::{Method, Version};
pub use percent::percent_decode;
pub use response::{CONTINUE, Response, ResponseBody, ResponseContext};
