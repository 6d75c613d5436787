//! Streams: answers whose body goes on with what is published (SPEC section 8). To the fan-out they
//! are subscribers like WebSockets, around whose messages other bytes stand.

use super::Worker;
use super::commands::{Joined, Reach, Terms};
use super::connection::Kind;
use super::slots::ConnectionKey;
use crate::api::command::OnLag;
use crate::session::{CloseReason, StreamOpening, Ticket};

impl Worker {
    /// Subscribes a stream to all its topics and opens it, or refuses it.
    pub(super) fn stream(
        &mut self,
        key: ConnectionKey,
        opening: &StreamOpening,
        reach: &Reach<'_>,
    ) -> bool {
        let (ticket, request) = (&opening.ticket, &opening.request);
        if let Err(excess) = self.hold(key, ticket, Kind::Stream) {
            return self.refuse_stream(key, ticket, &excess.to_string());
        }
        if let Err(sentence) = self.let_stay(key, Kind::Stream) {
            return self.refuse_stream(key, ticket, sentence);
        }
        let skips = request.on_lag == OnLag::Skip;
        let terms = Terms::of(skips, request.consumer.as_ref(), reach);
        let mut joined: Vec<Joined> = Vec::with_capacity(request.topics.len());
        for name in &request.topics {
            match self.join(key, name, request.offset.start(name), &terms) {
                Ok(topic) => joined.push(topic),
                Err(error) => return self.refuse_stream(key, ticket, &error.message),
            }
        }
        self.open_stream(key, opening, &joined)
    }

    fn open_stream(
        &mut self,
        key: ConnectionKey,
        opening: &StreamOpening,
        joined: &[Joined],
    ) -> bool {
        let Some(connection) = self.connections.get_mut(key) else {
            return false;
        };
        let (resumes, gaps) = (Joined::resumes(joined), Joined::gaps(joined));
        let mut ctx = self.desk.context(&self.shared, self.now, false);
        let out = self.answers.of(key);
        let turn = connection
            .session
            .streaming(opening, &resumes, &gaps, &mut ctx, out);
        self.carry_out(key, turn);
        self.schedule_catch_up(key);
        if opening.request.consumer.is_some() {
            self.schedule_turn(key);
        }
        // It may have waited for what is known of its topics.
        self.recheck_trust(key);
        true
    }

    /// A stream ends, and is told why.
    pub(super) fn close_stream(&mut self, key: ConnectionKey, reason: CloseReason) {
        let Some(connection) = self.connections.get_mut(key) else {
            return;
        };
        let out = self.answers.of(key);
        connection.session.end(reason, reason.as_str(), out);
        self.begin_close(key, reason);
    }

    /// There can be no stream, or no WebSocket.
    pub(super) fn refuse_stream(
        &mut self,
        key: ConnectionKey,
        ticket: &Ticket,
        message: &str,
    ) -> bool {
        self.leave_all(key);
        let Some(connection) = self.connections.get_mut(key) else {
            return false;
        };
        let mut ctx = self.desk.context(&self.shared, self.now, false);
        let out = self.answers.of(key);
        let turn = connection
            .session
            .unavailable(ticket, message, &mut ctx, out);
        self.carry_out(key, turn)
    }
}
