//! What an answer needs to know of its request, kept from the head until then.

use super::context::Context;
use crate::api::route::Route;
use crate::http::{Method, RequestHead, Version};

/// Longest incoming `X-Request-Id` that is kept (SPEC section 4).
const REQUEST_ID_BYTES_MAX: usize = 128;

/// A request that waits for its answer.
#[derive(Debug)]
pub struct Ticket {
    pub(super) handler: &'static str,
    pub(super) method: &'static str,
    pub(super) is_head: bool,
    pub(super) version: Version,
    pub(super) keep_alive: bool,
    pub(super) request_id: RequestId,
    /// A listed origin, whose pages may read the answer.
    pub(super) cors_origin: Option<Box<str>>,
    /// First byte of the head, in monotonic microseconds.
    pub(super) began_at: u64,
    pub(super) body_bytes: u64,
}

impl Ticket {
    /// For a request whose first byte came at `began_at`.
    pub(super) fn new(head: &RequestHead<'_>, began_at: u64, ctx: &mut Context<'_>) -> Ticket {
        Ticket {
            handler: handler(None),
            method: head.method.label(),
            is_head: head.method == Method::Head,
            version: head.version,
            keep_alive: head.keep_alive,
            request_id: RequestId::of(head.headers.first("x-request-id"), ctx.random),
            cors_origin: None,
            began_at,
            body_bytes: 0,
        }
    }

    /// For a request whose head was not understood, or did not come.
    pub(super) fn unknown(began_at: u64, ctx: &mut Context<'_>) -> Ticket {
        Ticket {
            handler: handler(None),
            method: "OTHER",
            is_head: false,
            version: Version::Http11,
            keep_alive: false,
            request_id: RequestId::of(None, ctx.random),
            cors_origin: None,
            began_at,
            body_bytes: 0,
        }
    }
}

/// The id of a request: the one it brought, or one of ours.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum RequestId {
    Given(Box<str>),
    Made(u64),
}

impl RequestId {
    /// A valid incoming id is kept, else one is made.
    pub(super) fn of(header: Option<&[u8]>, random: &mut fastrand::Rng) -> RequestId {
        let is_valid = |id: &&[u8]| {
            let is_allowed = |byte: &u8| byte.is_ascii_alphanumeric() || b"._-".contains(byte);
            (1..=REQUEST_ID_BYTES_MAX).contains(&id.len()) && id.iter().all(is_allowed)
        };
        let given = header
            .filter(is_valid)
            .and_then(|id| std::str::from_utf8(id).ok());
        given.map_or_else(
            || RequestId::Made(random.u64(..)),
            |id| RequestId::Given(id.into()),
        )
    }

    /// The text; `room` is where one of ours is written.
    pub(super) fn text<'a>(&'a self, room: &'a mut IdRoom) -> &'a str {
        match self {
            RequestId::Given(id) => id,
            RequestId::Made(number) => tagged("req_", *number, room),
        }
    }
}

/// An id of ours: a tag and hexadecimal digits.
pub(super) fn tagged<'a>(tag: &str, number: u64, room: &'a mut IdRoom) -> &'a str {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let len = tag.len() + 16;
    room[..tag.len()].copy_from_slice(tag.as_bytes());
    for (index, byte) in room[tag.len()..len].iter_mut().enumerate() {
        *byte = DIGITS[(number >> (60 - 4 * index)) as usize & 15];
    }
    std::str::from_utf8(&room[..len]).expect("tag and digits are ASCII")
}

/// Where an id of ours is written: 16 digits behind the longest tag.
pub(super) type IdRoom = [u8; 24];

/// The route's pattern as metrics name it.
pub(super) fn handler(route: Option<Route>) -> &'static str {
    route.map_or("none", Route::pattern)
}
