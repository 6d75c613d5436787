//! What a worker's sessions share: limits, random ids, the date, room to write.

use std::time::{Duration, UNIX_EPOCH};

use super::shared::Shared;
use crate::access::{Caller, Gate};
use crate::config::{Config, PROXY_IDLE_MARGIN, SUBSCRIBE_TIMEOUT};
use crate::http::HeadLimits;
use crate::moment::{Moment, micros};
use crate::session::{Context, SessionIds, SessionLimits};

/// Where contexts come from.
#[derive(Debug)]
pub(super) struct Desk {
    limits: SessionLimits,
    scratch: Vec<u8>,
    random: fastrand::Rng,
    sessions: SessionIds,
    date: String,
    date_second: u64,
    gate: Option<Gate>,
    /// Answers say that the connection ends.
    pub(super) is_draining: bool,
}

impl Desk {
    /// With a gate where credentials are asked for.
    pub(super) fn new(config: &Config, gate: Option<Gate>) -> Desk {
        Desk {
            limits: SessionLimits {
                head: HeadLimits {
                    bytes_max: config.head_bytes_max,
                    headers_max: config.headers_max,
                    target_bytes_max: config.target_bytes_max,
                },
                message_bytes_max: config.max_message_size,
                head_timeout: micros(config.head_timeout),
                body_timeout: micros(config.body_timeout),
                keep_alive_timeout: micros(config.keep_alive_timeout),
                subscribe_timeout: micros(SUBSCRIBE_TIMEOUT),
                ping_interval: micros(config.ws_ping_interval),
                idle_timeout: micros(config.ws_idle_timeout),
                poll_timeout_max: poll_timeout_max(config),
                has_echo: config.ws_echo,
                takes_query_tokens: config.access.allow_query_token,
                guards_metrics: config.access.metrics_auth,
                has_compression: config.ws_compression,
            },
            scratch: Vec::new(),
            random: fastrand::Rng::new(),
            sessions: SessionIds::new(fastrand::u32(..)),
            date: String::new(),
            date_second: u64::MAX,
            gate,
            is_draining: false,
        }
    }

    /// Writes the date anew when its second is over.
    pub(super) fn set_time(&mut self, now: Moment) {
        let second = now.wall_micros / 1_000_000;
        if second != self.date_second {
            self.date_second = second;
            self.date = httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(second));
        }
    }

    /// What a session is given with an event.
    pub(super) fn context<'a>(
        &'a mut self,
        shared: &'a Shared,
        now: Moment,
        is_reserved: bool,
    ) -> Context<'a> {
        Context {
            now,
            date: &self.date,
            limits: &self.limits,
            gate: self.gate.as_mut(),
            quotas: &shared.quotas,
            peer: None,
            proxies: &shared.proxies,
            access: &shared.access,
            documents: shared.documents,
            budget: shared.store.budget(),
            scratch: &mut self.scratch,
            random: &mut self.random,
            sessions: &mut self.sessions,
            is_draining: self.is_draining,
            is_reserved,
        }
    }

    /// Takes over what has changed about whom the server trusts; says whether anything has.
    pub(super) fn refresh_trust(&mut self) -> bool {
        self.gate.as_mut().is_some_and(Gate::refresh)
    }

    /// Whether a caller that was admitted once is still trusted.
    pub(super) fn still_admits(&self, caller: &Caller) -> bool {
        let gate = self.gate.as_ref();
        gate.is_none_or(|gate| gate.still_admits(caller))
    }

    /// A random number below `end`, for spreading things in time.
    pub(super) fn random_below(&mut self, end: u64) -> u64 {
        self.random.u64(..end)
    }
}

/// A poll is answered before a proxy takes its connection for dead.
fn poll_timeout_max(config: &Config) -> u64 {
    if config.proxy_idle_timeout.is_zero() {
        return u64::MAX;
    }
    micros(config.proxy_idle_timeout.saturating_sub(PROXY_IDLE_MARGIN))
}
