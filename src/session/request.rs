//! What an answer needs to know of its request, kept from the head until then.

use std::net::IpAddr;

use super::context::Context;
use super::rights::Rights;
use crate::api::route::Route;
use crate::edge::TrustedProxies;
use crate::http::{HeadError, Method, RequestHead, Version};
use crate::quota::Standing;

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
    /// What its sender may do.
    pub(super) rights: Rights,
    /// Whom it says that it is from; to be believed of those who are trusted.
    pub(super) forwarded: Option<IpAddr>,
    /// What its sender has left, where that is limited.
    pub(super) standing: Option<Standing>,
    /// A listed origin, whose pages may read the answer.
    pub(super) cors_origin: Option<Box<str>>,
    /// First byte of the head, in monotonic microseconds.
    pub(super) began_at: u64,
    pub(super) body_bytes: u64,
}

impl Ticket {
    /// What its sender may do.
    pub fn rights(&self) -> &Rights {
        &self.rights
    }

    /// The address that it comes from: who is at the other end, or, if that is a proxy that is trusted,
    /// whom this has it from.
    pub fn client(&self, peer: IpAddr, proxies: &TrustedProxies) -> IpAddr {
        let forwarded = self.forwarded.filter(|_| proxies.contains(peer));
        forwarded.unwrap_or(peer)
    }

    /// For a request whose first byte came at `began_at`.
    pub(super) fn new(head: &RequestHead<'_>, began_at: u64, ctx: &mut Context<'_>) -> Ticket {
        Ticket {
            handler: handler(None),
            method: head.method.label(),
            is_head: head.method == Method::Head,
            version: head.version,
            keep_alive: head.keep_alive,
            request_id: RequestId::of(head.headers.first("x-request-id"), ctx.random),
            rights: Rights::default(),
            forwarded: ctx.proxies.client(&head.headers),
            standing: None,
            cors_origin: None,
            began_at,
            body_bytes: 0,
        }
    }

    /// For a request whose head is refused, with what can be told from it, from its request line on:
    /// an answer to `HEAD` has no body, and the id of a request stands on every answer to it.
    pub(super) fn refused(
        head: &[u8],
        error: HeadError,
        began_at: u64,
        ctx: &mut Context<'_>,
    ) -> Ticket {
        // Of a head that is not complete, what has come by now depends on the network.
        let id = error
            .is_of_whole_head()
            .then(|| field(head, b"x-request-id"))
            .flatten();
        let is_head = head.starts_with(b"HEAD ");
        let unknown = Ticket::unknown(began_at, ctx);
        Ticket {
            is_head,
            method: if is_head { "HEAD" } else { unknown.method },
            request_id: id.map_or(unknown.request_id, |id| RequestId::of(Some(id), ctx.random)),
            ..unknown
        }
    }

    /// For a request whose head did not come.
    pub(super) fn unknown(began_at: u64, ctx: &mut Context<'_>) -> Ticket {
        Ticket {
            handler: handler(None),
            method: "OTHER",
            is_head: false,
            version: Version::Http11,
            keep_alive: false,
            request_id: RequestId::of(None, ctx.random),
            rights: Rights::default(),
            forwarded: None,
            standing: None,
            cors_origin: None,
            began_at,
            body_bytes: 0,
        }
    }
}

/// The value of the first field of this name in a head whose lines are in order.
fn field<'b>(head: &'b [u8], name: &[u8]) -> Option<&'b [u8]> {
    let lines = head.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
    let fields = lines.skip(1).take_while(|line| !line.is_empty());
    let mut named = fields.filter_map(|line| {
        let colon = line.iter().position(|byte| *byte == b':')?;
        let is_named = line[..colon].eq_ignore_ascii_case(name);
        is_named.then(|| line[colon + 1..].trim_ascii_start())
    });
    named.next()
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
