//! Carrying out what sessions ask for: upgrades, what operators want to know.

use super::Worker;
use super::commands::Reach;
use super::connection::Kind;
use super::entering::Entrant;
use super::shared::Stage;
use super::slots::ConnectionKey;
use crate::metrics::{self, ErrorType, FetchedKeys, InstanceStats, Scrape};
use crate::session::{Effect, Exchange, Ticket, Turn};
use crate::tls::Certificate;
use crate::valkey::Health;
use crate::ws::handshake::Accept;

impl Worker {
    /// Does what a turn asks for. Returns whether a request was answered.
    pub(super) fn carry_out(&mut self, key: ConnectionKey, turn: Turn) -> bool {
        if let Some(code) = turn.error {
            self.metrics.error(ErrorType::WebSocket, code);
        }
        if let Some(exchange) = &turn.exchange {
            self.count(exchange);
            self.keep_place(key, exchange);
        }
        let answered = turn.exchange.is_some();
        answered
            | turn
                .effect
                .is_some_and(|effect| self.carry_out_effect(key, effect))
    }

    fn carry_out_effect(&mut self, key: ConnectionKey, effect: Effect) -> bool {
        match effect {
            Effect::Publish(publish) => self.publish(key, publish),
            Effect::Upgrade {
                ticket,
                accept,
                is_echo,
            } => self.upgrade(key, &ticket, &accept, is_echo),
            Effect::Ready(ticket) => self.ready(key, &ticket),
            Effect::Metrics(ticket) => self.scrape(key, &ticket),
            Effect::Topics(request) => self.topics(key, *request),
            Effect::Subscribe(request) if self.shared.valkey.is_some() => {
                self.prepare(key, Entrant::Subscribe(request));
                false
            }
            Effect::Subscribe(request) => {
                self.subscribe(key, &request, &Reach::Logs);
                false
            }
            Effect::Renew(rights) => {
                self.renew(key, rights);
                false
            }
            Effect::Unsubscribe(topics) => {
                self.unsubscribe(key, &topics);
                false
            }
            Effect::Poll(request) if self.shared.valkey.is_some() => {
                self.prepare(key, Entrant::Poll(request));
                false
            }
            Effect::Poll(request) => self.poll(key, &request, &Reach::Logs),
            Effect::EndPoll => {
                self.end_poll(key);
                true
            }
            Effect::PollStats(ticket) => self.poll_stats(key, &ticket),
            Effect::Stream(opening) if self.shared.valkey.is_some() => {
                self.prepare(key, Entrant::Stream(opening));
                false
            }
            Effect::Stream(opening) => self.stream(key, &opening, &Reach::Logs),
            Effect::Acknowledge(asked) => self.acknowledge(key, asked),
            Effect::Access(request) => self.access(key, *request),
            Effect::Redeem(redemption) => self.redeem(key, *redemption),
            Effect::Nack { message_id, delay } => {
                self.nack(key, &message_id, delay);
                false
            }
            Effect::Send { bytes, last } => {
                self.send_apart(key, bytes, last);
                false
            }
            Effect::Close(reason) => {
                self.begin_close(key, reason);
                false
            }
        }
    }

    fn count(&self, exchange: &Exchange) {
        self.metrics.exchange(exchange);
        if let Some(code) = exchange.error {
            self.metrics.error(ErrorType::Http, code.as_str());
        }
    }

    /// Tells the workers that the store has named.
    pub(super) fn spread_news(&mut self) {
        let mut news = std::mem::take(&mut self.outcome.news);
        for item in news.drain(..) {
            if item.worker == self.index {
                self.has_news(item.local);
            } else if let Some(sender) = &mut self.peers.senders[item.worker as usize] {
                sender.push(item.local);
                self.to_ring |= 1 << item.worker;
            }
        }
        self.outcome.news = news;
    }

    /// Counts a connection as a consumer from now on (SPEC section 14).
    ///
    /// # Errors
    /// A sentence for its client, if there is no room.
    pub(super) fn become_consumer(
        &mut self,
        key: ConnectionKey,
        kind: Kind,
    ) -> Result<(), &'static str> {
        let Some(connection) = self.connections.get_mut(key) else {
            return Err("The connection has gone");
        };
        if !connection.marks.kind.is_consumer() && !self.shared.places.upgrade() {
            return Err("There are as many connections as there may be");
        }
        connection.marks.kind = kind;
        Ok(())
    }

    /// The same for one that stays until it goes by itself, which a server that stops cannot promise.
    pub(super) fn let_stay(&mut self, key: ConnectionKey, kind: Kind) -> Result<(), &'static str> {
        if self.desk.is_draining {
            return Err("The server is stopping");
        }
        self.become_consumer(key, kind)
    }

    /// A connection that polled counts as such until another request of it is answered.
    fn keep_place(&mut self, key: ConnectionKey, exchange: &Exchange) {
        let Some(connection) = self.connections.get_mut(key) else {
            return;
        };
        let was_poll = connection.marks.kind == Kind::Poll && !exchange.is_poll();
        if was_poll && self.shared.places.downgrade() {
            connection.marks.kind = Kind::Ordinary;
        }
    }

    fn upgrade(
        &mut self,
        key: ConnectionKey,
        ticket: &Ticket,
        accept: &Accept,
        is_echo: bool,
    ) -> bool {
        if let Err(excess) = self.hold(key, ticket, Kind::WebSocket) {
            return self.refuse_stream(key, ticket, &excess.to_string());
        }
        if let Err(sentence) = self.let_stay(key, Kind::WebSocket) {
            return self.refuse_stream(key, ticket, sentence);
        }
        let Some(connection) = self.connections.get_mut(key) else {
            return false;
        };
        self.metrics.websocket_opened();
        let mut ctx = self.desk.context(&self.shared, self.now, false);
        let out = self.answers.of(key);
        let turn = connection
            .session
            .upgraded(ticket, accept, is_echo, &mut ctx, out);
        self.carry_out(key, turn)
    }

    fn ready(&mut self, key: ConnectionKey, ticket: &Ticket) -> bool {
        let (storage, is_well, is_serving) = self.fitness();
        let checks = [
            ("storage", storage.as_str()),
            ("workers", if is_well { "ok" } else { "stalled" }),
            ("lifecycle", if is_serving { "ok" } else { "draining" }),
        ];
        let Some(connection) = self.connections.get_mut(key) else {
            return false;
        };
        let mut ctx = self.desk.context(&self.shared, self.now, false);
        let out = self.answers.of(key);
        let is_ready = is_serving && is_well && storage == Health::Well;
        let turn = connection
            .session
            .ready(ticket, is_ready, &checks, &mut ctx, out);
        self.carry_out(key, turn)
    }

    /// How the storage is, whether no worker is stalled, and whether the server serves.
    fn fitness(&self) -> (Health, bool, bool) {
        let storage = self.shared.valkey.as_ref().map(|valkey| valkey.health());
        let is_well = self.shared.are_workers_well();
        let is_serving = self.shared.lifecycle.stage() == Stage::Serving;
        (storage.unwrap_or(Health::Well), is_well, is_serving)
    }

    fn instance_stats(&self) -> InstanceStats {
        let shared = &self.shared;
        let (storage, is_well, is_serving) = self.fitness();
        let [consumers, others] = shared.places.counts();
        let fetches_keys = shared.config.access.jwks_url().is_some();
        let authority = shared.authority.as_ref().filter(|_| fetches_keys);
        InstanceStats {
            version: env!("CARGO_PKG_VERSION"),
            checks: [
                ("storage", storage == Health::Well),
                ("workers", is_well),
                ("lifecycle", is_serving),
            ],
            connections: [("consumers", consumers), ("others", others)],
            topics_max: shared.config.topics_max,
            certificate_expires_at: shared.tls.as_ref().map(Certificate::expires_at),
            fetched_keys: authority.map(|it| FetchedKeys {
                fetched_at: it.keys_fetched_at(),
                refresh: shared.config.access.jwks_refresh,
            }),
        }
    }

    fn scrape(&mut self, key: ConnectionKey, ticket: &Ticket) -> bool {
        // Those of the others are up to a second old.
        self.tell_gauges();
        let stats = self.shared.store.stats();
        let workers: Vec<_> = self
            .shared
            .workers
            .iter()
            .map(|worker| worker.metrics.clone())
            .collect();
        let budget = self.shared.store.budget();
        let valkey = self.shared.valkey.as_ref().map(|valkey| valkey.stats());
        let mut text = Vec::new();
        let scrape = Scrape {
            workers: &workers,
            instance: &self.instance_stats(),
            store: &stats,
            valkey: valkey.as_ref(),
            memory_used: budget.used_exactly(),
            memory_max: budget.bytes_max(),
        };
        metrics::render(&scrape, &mut text);
        let Some(connection) = self.connections.get_mut(key) else {
            return false;
        };
        let mut ctx = self.desk.context(&self.shared, self.now, false);
        let out = self.answers.of(key);
        let content_type = metrics::CONTENT_TYPE;
        let turn = connection
            .session
            .metrics(ticket, content_type, &text, &mut ctx, out);
        self.carry_out(key, turn)
    }
}
