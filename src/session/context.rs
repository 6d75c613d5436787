//! What a session may know beside the bytes: the time, its limits, and where ids come from.

use std::net::IpAddr;
use std::time::Duration;

use crate::access::Gate;
use crate::api::origin::AccessPolicy;
use crate::api::route::Offer;
use crate::documents::Documents;
use crate::edge::TrustedProxies;
use crate::http::HeadLimits;
use crate::moment::{Moment, micros};
use crate::quota::Quotas;
use crate::topic::Budget;
use crate::ws::AssemblerLimits;

/// Fragments of one message that an application sends; the echo path takes more.
const FRAGMENTS_MAX: u32 = 1024;
/// The echo path exists for conformance suites, whose largest messages these are.
const ECHO_LIMITS: AssemblerLimits = AssemblerLimits {
    message_bytes_max: 16 << 20,
    fragments_max: 65_536,
    takes_compressed: false,
};

/// Bounds of one conversation, as plain values. Times are in microseconds.
#[derive(Clone, Copy, Debug)]
pub struct SessionLimits {
    /// Bounds of a request's head.
    pub head: HeadLimits,
    /// Bytes of an HTTP body or a WebSocket message.
    pub message_bytes_max: usize,
    /// Time for a head, from its first byte or the start of the connection.
    pub head_timeout: u64,
    /// Time for a body, from the end of its head.
    pub body_timeout: u64,
    /// Time between two requests.
    pub keep_alive_timeout: u64,
    /// Time for the first subscribe.
    pub subscribe_timeout: u64,
    /// Silence after which a WebSocket client is pinged.
    pub ping_interval: u64,
    /// Silence after which a WebSocket is closed.
    pub idle_timeout: u64,
    /// The longest that a poll waits, whatever it asks for.
    pub poll_timeout_max: u64,
    /// Whether `/ws/echo` exists.
    pub has_echo: bool,
    /// Whether a credential may stand in a query.
    pub takes_query_tokens: bool,
    /// Whether `/metrics` is for those alone who may read every topic.
    pub guards_metrics: bool,
    /// Whether permessage-deflate is accepted.
    pub has_compression: bool,
}

impl SessionLimits {
    /// Bounds of a WebSocket message.
    pub fn assembler(&self, is_echo: bool, takes_compressed: bool) -> AssemblerLimits {
        if is_echo {
            return AssemblerLimits {
                takes_compressed,
                ..ECHO_LIMITS
            };
        }
        AssemblerLimits {
            message_bytes_max: self.message_bytes_max,
            fragments_max: FRAGMENTS_MAX,
            takes_compressed,
        }
    }
}

/// Time for a head, and for a body, on one of the last places, which are for operators.
pub(super) const RESERVED_TIMEOUT: Duration = Duration::from_secs(1);

/// Ids of one worker's sessions: a part of its own and a count. A session keeps the count alone.
#[derive(Debug)]
pub struct SessionIds {
    worker: u32,
    count: u32,
}

impl SessionIds {
    /// The ids of the worker that is told apart from others by this number.
    pub fn new(worker: u32) -> SessionIds {
        SessionIds { worker, count: 0 }
    }

    pub(super) fn next(&mut self) -> u32 {
        self.count = self.count.wrapping_add(1);
        self.count
    }

    pub(super) fn whole(&self, count: u32) -> u64 {
        u64::from(self.worker) << 32 | u64::from(count)
    }
}

/// What a session is given with each event.
#[derive(Debug)]
pub struct Context<'a> {
    /// Now.
    pub now: Moment,
    /// Now, as HTTP's `Date` says it.
    pub date: &'a str,
    /// Bounds.
    pub limits: &'a SessionLimits,
    /// Where credentials are checked; `None` where none are asked for.
    pub gate: Option<&'a mut Gate>,
    /// What clients have left.
    pub quotas: &'a Quotas,
    /// The address at the other end, where clients without a credential have a limit.
    pub peer: Option<IpAddr>,
    /// Who is believed what others said of who they are.
    pub proxies: &'a TrustedProxies,
    /// Which origins and hosts are served.
    pub access: &'a AccessPolicy,
    /// What describes the interface; `None` where it is not served.
    pub documents: Option<&'static Documents>,
    /// Where messages are counted.
    pub budget: &'static Budget,
    /// Room for one text at a time; empty between two uses.
    pub scratch: &'a mut Vec<u8>,
    /// Where ids of requests come from; they are no secrets.
    pub random: &'a mut fastrand::Rng,
    /// Where ids of sessions come from.
    pub sessions: &'a mut SessionIds,
    /// The server is stopping: answers say that the connection ends.
    pub is_draining: bool,
    /// The connection has one of the last places: only operators' requests are answered.
    pub is_reserved: bool,
}

impl Context<'_> {
    /// Which routes there are.
    pub(super) fn offer(&self) -> Offer {
        Offer {
            echo: self.limits.has_echo,
            documents: self.documents.is_some(),
        }
    }

    /// The monotonic time that lies `span` microseconds ahead.
    pub(super) fn in_micros(&self, span: u64) -> u64 {
        self.now.monotonic_micros.saturating_add(span)
    }

    /// The end of a message's `ttl`.
    pub(super) fn expiry(&self, ttl: Option<u64>) -> u64 {
        ttl.map_or(u64::MAX, |seconds| {
            self.in_micros(micros(Duration::from_secs(seconds)))
        })
    }
}
