//! A conversation under virtual time: what a worker does for a session, without sockets and with a
//! store of its own. The tests and the fuzz target drive it; what must hold in every conversation
//! is asserted here.

use super::pulsar_proxy::access::Gate;
use super::pulsar_proxy::api::command::{CommandError, CommandErrorCode};
use super::pulsar_proxy::api::delivery;
use super::pulsar_proxy::api::origin::AccessPolicy;
use super::pulsar_proxy::api::publish::parse_one;
use super::pulsar_proxy::api::reply::AckError;
use super::pulsar_proxy::documents::{Description, Documents};
use super::pulsar_proxy::edge::TrustedProxies;
use super::pulsar_proxy::http::HeadLimits;
use super::pulsar_proxy::moment::Moment;
use super::pulsar_proxy::quota::Quotas;
use super::pulsar_proxy::session::{
    AccessAnswer, Acknowledged, CloseReason, Context, Effect, Exchange, Kept, NotStored, Publish,
    Redeemed, Session, SessionIds, SessionLimits, Stored, SubscribeRequest, Turn,
};
use super::pulsar_proxy::topic::{
    Budget, CatalogueError, Draft, Epoch, Gap, HistoryLimits, LocalTopic, MessageId, Outcome,
    Start, StoreLimits, TopicHandle, TopicName, TopicStore,
};

#[path = "consuming.rs"]
mod consuming;

use consuming::resumes;

/// A second, in microseconds.
pub(super) const SECOND: u64 = 1_000_000;
/// What every `Date` says, whatever the time is.
pub(super) const DATE: &str = "Sat, 31 Jan 2026 12:00:00 GMT";
/// What `/metrics` is answered with.
pub(super) const METRICS: &str = "# TYPE up gauge\nup 1\n";
/// The interim answer, which depends on whether the body comes together with the head.
const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";
/// Time for the peer to read the last answer.
const LINGER: u64 = SECOND;
/// Subscriptions of the connection.
pub(super) const SUBSCRIPTIONS_MAX: usize = 60;

pub(super) const LIMITS: SessionLimits = SessionLimits {
    head: HeadLimits {
        bytes_max: 2048,
        headers_max: 20,
        target_bytes_max: 256,
    },
    message_bytes_max: 2048,
    head_timeout: 10 * SECOND,
    body_timeout: 30 * SECOND,
    keep_alive_timeout: 75 * SECOND,
    subscribe_timeout: 10 * SECOND,
    ping_interval: 20 * SECOND,
    idle_timeout: 60 * SECOND,
    poll_timeout_max: 40 * SECOND,
    has_echo: true,
    takes_query_tokens: false,
    guards_metrics: false,
    has_compression: true,
};

thread_local! {
    /// A budget is never freed, so the conversations of a thread, millions when fuzzing, share one.
    static BUDGET: &'static Budget = Budget::new(1 << 24);
    static DOCUMENTS: &'static Documents = Documents::new(&Description {
        title: "Conversation",
        version: "0",
        has_echo: true,
        asks_for_credentials: false,
        takes_query_tokens: false,
        guards_metrics: false,
    });
}

/// A topic, where its subscription starts, and what it misses.
type Joined = (TopicName, MessageId, Option<Gap>);

/// One client and its server.
pub(super) struct Conversation {
    pub(super) session: Session,
    pub(super) limits: SessionLimits,
    /// Where credentials are asked for.
    pub(super) gate: Option<Gate>,
    pub(super) proxies: TrustedProxies,
    pub(super) quotas: Quotas,
    pub(super) access: AccessPolicy,
    pub(super) is_draining: bool,
    pub(super) is_reserved: bool,
    /// There is room for a WebSocket.
    pub(super) has_place: bool,
    pub(super) now: Moment,
    /// What the client gets.
    pub(super) output: Vec<u8>,
    /// How much of it is there for good, and takes no memory of the connection's.
    pub(super) fixed_bytes: usize,
    /// Bytes of the client that are done with, in all.
    pub(super) consumed: usize,
    pub(super) exchanges: Vec<Exchange>,
    /// Codes of WebSocket errors.
    pub(super) errors: Vec<&'static str>,
    /// Our side has said all, for this reason.
    pub(super) closed: Option<CloseReason>,
    /// The socket is closed.
    pub(super) is_over: bool,
    /// What has come and was not enough.
    held: Vec<u8>,
    pub(super) store: TopicStore,
    outcome: Outcome,
    subscriptions: Vec<Subscription>,
    next_local: LocalTopic,
    random: fastrand::Rng,
    sessions: SessionIds,
    scratch: Vec<u8>,
}

struct Subscription {
    name: TopicName,
    handle: TopicHandle,
    /// Sequence of the last message that was delivered.
    read: u64,
}

impl Conversation {
    /// A connection that has just been accepted by a server that listens on loopback.
    pub(super) fn new() -> Conversation {
        let history = HistoryLimits {
            messages_max: 100,
            bytes_max: 1 << 20,
            retention_micros: 600 * SECOND,
        };
        let limits = StoreLimits {
            history,
            topics_max: 100,
            metered_topics_max: 1,
            consumers_max: 100,
            group_members_max: 100,
            client_retention: u64::MAX,
        };
        let now = Moment {
            wall_micros: 1_769_860_800_000_000,
            monotonic_micros: 5 * SECOND,
        };
        Conversation {
            session: Session::new(now.monotonic_micros),
            limits: LIMITS,
            gate: None,
            proxies: TrustedProxies::default(),
            quotas: Quotas::new(0, false),
            access: AccessPolicy::new(true, [], []),
            is_draining: false,
            is_reserved: false,
            has_place: true,
            now,
            output: Vec::new(),
            fixed_bytes: 0,
            consumed: 0,
            exchanges: Vec::new(),
            errors: Vec::new(),
            closed: None,
            is_over: false,
            held: Vec::new(),
            store: TopicStore::new(limits, 1, Epoch::new(7), BUDGET.with(|budget| *budget)),
            outcome: Outcome::default(),
            subscriptions: Vec::new(),
            next_local: 0,
            random: fastrand::Rng::with_seed(1),
            sessions: SessionIds::new(1),
            scratch: Vec::new(),
        }
    }

    /// The client sends.
    pub(super) fn send(&mut self, bytes: &[u8]) {
        let mut input = std::mem::take(&mut self.held);
        input.extend_from_slice(bytes);
        let mut taken = 0;
        let mut idle_turns = 0;
        while !self.is_over {
            let rest = &mut input[taken..];
            let len = rest.len();
            let turn = self.event(|session, ctx, out| session.receive(rest, ctx, out));
            assert!(turn.consumed <= len, "takes no more than there is");
            taken += turn.consumed;
            let needs_more = turn.consumed == 0 && turn.effect.is_none();
            idle_turns = if turn.consumed == 0 {
                idle_turns + 1
            } else {
                0
            };
            assert!(idle_turns < 3, "asks again and again without taking");
            self.carry_out(turn);
            if needs_more {
                break;
            }
        }
        self.consumed += taken;
        input.drain(..taken);
        self.held = input;
    }

    /// Time passes, in microseconds; what is due happens when it is due.
    pub(super) fn pass(&mut self, micros: u64) {
        let end = self.now.monotonic_micros + micros;
        while let Some(deadline) = self.deadline().filter(|at| *at <= end) {
            self.set_time(deadline.max(self.now.monotonic_micros));
            let turn = self.event(Session::timeout);
            self.carry_out(turn);
            let is_later = self
                .deadline()
                .is_none_or(|at| at > self.now.monotonic_micros);
            assert!(is_later, "a deadline comes up once");
        }
        self.set_time(end);
    }

    /// The worker has no memory for the rest of what has begun to come.
    pub(super) fn crowd_out(&mut self) {
        let turn = self.event(Session::crowded_out);
        self.carry_out(turn);
    }

    /// When something is due, in monotonic microseconds, if ever.
    pub(super) fn deadline(&mut self) -> Option<u64> {
        let deadline = self.event(|session, ctx, _| session.deadline(ctx));
        (!self.is_over && deadline != u64::MAX).then_some(deadline)
    }

    /// Another client publishes. The session does not see it, but gets it.
    pub(super) fn publish(&mut self, body: &str) {
        let publication = parse_one(body.as_bytes(), None).expect("a valid body");
        let timestamp = self.now.timestamp();
        let mut frame = Vec::new();
        let layout = delivery::encode(&publication, timestamp.as_str(), &mut frame);
        let expires_at = publication.ttl.map_or(u64::MAX, |ttl| {
            self.now.monotonic_micros.saturating_add(ttl * SECOND)
        });
        let draft = Draft::new(&frame, layout, expires_at, self.store.budget());
        let _ = self.store(draft);
        self.deliver();
    }

    /// The server ends the conversation for a reason of its own.
    pub(super) fn end(&mut self, reason: CloseReason, text: &str) {
        self.event(|session, _, out| session.end(reason, text, out));
        self.close(reason);
    }

    /// There was no room for the connection.
    pub(super) fn turn_away(&mut self) {
        let turn = self.event(|_, ctx, out| Session::turned_away("No place", ctx, out));
        self.carry_out(turn);
    }

    /// The output as text in which is equal what may differ between two runs: ids of messages and
    /// cursors, whose counters depend on which topics share a shard, and interim answers.
    pub(super) fn normalized_output(&self) -> String {
        let mut text = String::new();
        let mut rest = &self.output[..];
        while let Some((&first, behind)) = rest.split_first() {
            if let Some(behind) = rest.strip_prefix(CONTINUE) {
                rest = behind;
            } else if let Some(behind) = rest.strip_prefix(b"msg_").filter(|id| id.len() >= 30) {
                text.push_str("msg_…");
                rest = &behind[30..];
            } else if let Some(behind) = rest.strip_prefix(b"cur_") {
                text.push_str("cur_…");
                let len = behind.iter().take_while(|it| it.is_ascii_alphanumeric());
                rest = &behind[len.count()..];
            } else {
                text.push(char::from(first));
                rest = behind;
            }
        }
        text
    }

    fn set_time(&mut self, monotonic_micros: u64) {
        self.now.wall_micros += monotonic_micros - self.now.monotonic_micros;
        self.now.monotonic_micros = monotonic_micros;
    }

    /// Lets the session take an event, and sees that it keeps silent once all was said.
    fn event<T>(
        &mut self,
        event: impl FnOnce(&mut Session, &mut Context<'_>, &mut Vec<u8>) -> T,
    ) -> T {
        let said = self.output.len();
        let mut ctx = Context {
            now: self.now,
            date: DATE,
            limits: &self.limits,
            gate: self.gate.as_mut(),
            quotas: &self.quotas,
            peer: None,
            proxies: &self.proxies,
            access: &self.access,
            documents: Some(DOCUMENTS.with(|it| *it)),
            budget: self.store.budget(),
            scratch: &mut self.scratch,
            random: &mut self.random,
            sessions: &mut self.sessions,
            is_draining: self.is_draining,
            is_reserved: self.is_reserved,
        };
        let result = event(&mut self.session, &mut ctx, &mut self.output);
        assert!(self.scratch.is_empty(), "scratch is left as it was");
        let is_silent = self.closed.is_none() || self.output.len() == said;
        assert!(is_silent, "nothing is said behind the last word");
        result
    }

    fn carry_out(&mut self, turn: Turn) {
        self.exchanges.extend(turn.exchange);
        self.errors.extend(turn.error);
        if let Some(effect) = turn.effect {
            self.carry_out_effect(effect);
        }
    }

    fn carry_out_effect(&mut self, effect: Effect) {
        let is_ready = !self.is_draining;
        let has_place = self.has_place;
        let turn = match effect {
            Effect::Publish(publish) => self.carry_out_publish(publish),
            Effect::Upgrade {
                ticket,
                accept,
                is_echo,
            } => self.event(|session, ctx, out| {
                if has_place {
                    session.upgraded(&ticket, &accept, is_echo, ctx, out)
                } else {
                    session.unavailable(&ticket, "full", ctx, out)
                }
            }),
            Effect::Ready(ticket) => self.event(|session, ctx, out| {
                session.ready(&ticket, is_ready, &[("storage", "ok")], ctx, out)
            }),
            Effect::Metrics(ticket) => self.event(|session, ctx, out| {
                session.metrics(&ticket, "text/plain", METRICS.as_bytes(), ctx, out)
            }),
            Effect::Topics(request) => {
                let said = Err(CatalogueError::Unknown);
                let ticket = &request.ticket;
                self.event(|session, ctx, out| session.topics_answered(ticket, &said, ctx, out))
            }
            Effect::Poll(request) => {
                let topics = request.topics.iter().enumerate();
                let gaps: Vec<_> = topics
                    .filter_map(|(index, name)| self.join(name, request.since.start(index, name)))
                    .filter_map(|(name, _, gap)| Some((name, gap?)))
                    .collect();
                self.answer_poll(&gaps, request.timeout == 0)
            }
            Effect::EndPoll => self.answer_poll(&[], true),
            Effect::PollStats(ticket) => {
                self.event(|session, ctx, out| session.poll_stats(&ticket, 0, ctx, out))
            }
            Effect::Stream(opening) => self.stream(&opening),
            Effect::Acknowledge(asked) => {
                let failed = (0..asked.ids.len()).map(|place| (place, AckError::Unknown));
                let result = Acknowledged {
                    count: 0,
                    failed: failed.collect(),
                };
                self.event(|session, ctx, out| session.acknowledged(&asked, &result, ctx, out))
            }
            Effect::Access(request) => {
                let (ticket, said) = (&request.ticket, AccessAnswer::Revoked);
                self.event(|session, ctx, out| session.access_answered(ticket, &said, ctx, out))
            }
            Effect::Redeem(redemption) => {
                let said = Redeemed::Unknown;
                self.event(|session, ctx, out| session.redeemed(*redemption, said, ctx, out))
            }
            Effect::Nack { .. } => Turn::default(),
            Effect::Subscribe(request) => self.subscribe(&request),
            Effect::Unsubscribe(topics) => self.unsubscribe(&topics),
            Effect::Renew(rights) => {
                let covers = self
                    .subscriptions
                    .iter()
                    .all(|it| rights.may_read(&it.name));
                assert!(covers, "no test renews with less");
                self.event(|session, ctx, out| session.renewed(rights, ctx, out));
                Turn::default()
            }
            Effect::Send { bytes, last } => {
                self.output.extend_from_slice(bytes);
                self.fixed_bytes += bytes.len();
                if let Some(reason) = last {
                    self.close(reason);
                }
                Turn::default()
            }
            Effect::Close(reason) => {
                self.close(reason);
                Turn::default()
            }
        };
        self.carry_out(turn);
    }

    fn carry_out_publish(&mut self, publish: Publish) -> Turn {
        let Publish {
            drafts, receipt, ..
        } = publish;
        let stored: Vec<Stored> = drafts.into_iter().map(|draft| self.store(draft)).collect();
        let turn = self.event(|session, ctx, out| session.published(&receipt, &stored, ctx, out));
        let exchange = turn
            .exchange
            .expect("a request that is carried out is answered");
        let is_bounded = exchange.response_bytes <= receipt.answer_bytes_max() as u64;
        assert!(is_bounded || exchange.status >= 400, "{exchange:?}");
        turn
    }

    fn store(&mut self, draft: Draft) -> Stored {
        let (now, draft) = (self.now, std::iter::once(draft));
        self.store
            .publish(draft, now, now.monotonic_micros, &mut self.outcome)
            .map_err(NotStored::Store)?;
        self.outcome.news.clear();
        Ok(Kept::At(self.outcome.ids[0]))
    }

    /// All topics, or none: as the worker does it, but for names that are subscribed already, whose
    /// positions are not told.
    fn subscribe(&mut self, request: &SubscribeRequest) -> Turn {
        let known = self.subscriptions.len();
        let (mut positions, mut gaps) = (Vec::new(), Vec::new());
        for name in &request.topics {
            if self.subscriptions.iter().any(|it| it.name == *name) {
                continue;
            }
            let Some(joined) = self.join(name, request.offset.start(name)) else {
                let refused = self.subscriptions.split_off(known);
                self.leave(&refused);
                let error = CommandError::new(CommandErrorCode::LimitExceeded, "too many");
                return self.event(|session, ctx, out| session.refused(error, ctx, out));
            };
            let (name, resume, gap) = joined;
            positions.push((name.clone(), resume, gap.is_none()));
            gaps.extend(gap.map(|gap| (name, gap)));
        }
        let resumes = resumes(&positions);
        self.event(|session, ctx, out| session.subscribed(request, &resumes, &gaps, ctx, out));
        // At once, so that the output does not depend on what comes in the same piece.
        self.deliver();
        Turn::default()
    }

    /// Subscribes to one topic, if there is room.
    fn join(&mut self, name: &TopicName, start: Start) -> Option<Joined> {
        if self.subscriptions.len() >= SUBSCRIPTIONS_MAX {
            return None;
        }
        let local = self.next_local;
        self.next_local += 1;
        let subscribed = self.store.subscribe(name, 0, local, start).ok()?;
        self.subscriptions.push(Subscription {
            name: subscribed.name.clone(),
            handle: subscribed.handle,
            read: subscribed.start.sequence,
        });
        Some((subscribed.name, subscribed.resume, subscribed.gap))
    }

    fn unsubscribe(&mut self, topics: &[TopicName]) -> Turn {
        let (gone, kept) = std::mem::take(&mut self.subscriptions)
            .into_iter()
            .partition(|it: &Subscription| topics.contains(&it.name));
        self.subscriptions = kept;
        self.leave(&gone);
        self.event(|session, ctx, out| session.unsubscribed(topics, ctx, out));
        Turn::default()
    }

    fn leave(&self, subscriptions: &[Subscription]) {
        let handles = subscriptions.iter().map(|it| it.handle);
        handles.for_each(|handle| self.store.unsubscribe(handle, 0));
    }

    fn close(&mut self, reason: CloseReason) {
        if matches!(self.session, Session::Closing(_)) {
            self.is_over = true;
            return;
        }
        assert!(self.closed.is_none(), "closed once");
        self.closed = Some(reason);
        self.subscriptions.clear();
        self.session
            .closing(reason, self.now.monotonic_micros + LINGER);
    }
}
