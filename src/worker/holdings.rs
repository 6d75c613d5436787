//! What this worker's connections have of what their clients may have at a time. Nothing is kept, and
//! nothing done, where there is no bound.

use std::collections::HashMap;

use super::Worker;
use super::connection::{Connection, Kind};
use super::slots::ConnectionKey;
use super::stream::Stream;
use crate::access::Caller;
use crate::quota::{Excess, Held, Who};
use crate::session::{CloseReason, Session, Ticket};

/// What connections are counted as.
#[derive(Default, Debug)]
pub(super) struct Holdings {
    /// As what their clients have.
    clients: HashMap<ConnectionKey, (Who, Held)>,
    /// As connections of their addresses.
    addresses: HashMap<ConnectionKey, Who>,
    /// How many were turned away for their address.
    barred: usize,
    /// Clients that have too many bytes: these connections have got more of them.
    in_excess: Vec<ConnectionKey>,
}

/// Connections of a worker that are told that their address has too many; others are closed without a word.
const BARRED_MAX: usize = 64;

/// What a connection holds at least that is given up for its bytes: the others have more of them.
const SHED_BYTES_MIN: u64 = 4096;

impl Holdings {
    /// Whether one more connection may be told that its address has too many.
    pub(super) fn may_bar(&self) -> bool {
        self.barred < BARRED_MAX
    }

    /// One more is told.
    pub(super) fn bar(&mut self) {
        self.barred += 1;
    }

    /// One that was told has gone.
    pub(super) fn unbar(&mut self) {
        self.barred -= 1;
    }

    /// A connection is counted as one of this address.
    pub(super) fn keep_address(&mut self, key: ConnectionKey, counted: Option<Who>) {
        if let Some(who) = counted {
            self.addresses.insert(key, who);
        }
    }
}

/// One connection of an address.
const ONE: Held = Held {
    connections: 1,
    subscriptions: 0,
    polls: 0,
    bytes: 0,
};

impl Worker {
    /// Counts a new connection among those of its address; `None` if it is not counted: those that proxies
    /// pass on are told apart by what they bring.
    ///
    /// # Errors
    /// When there are as many as there may be.
    pub(super) fn count_address(&self, stream: &Stream) -> Result<Option<Who>, Excess> {
        let addresses = &self.shared.addresses;
        if !addresses.is_used() {
            return Ok(None);
        }
        let address = stream.client();
        let counted = address.filter(|it| !self.shared.proxies.contains(*it));
        let who = counted.map(Who::at);
        if let Some(who) = who {
            addresses.exchange(who, Held::default(), ONE)?;
        }
        Ok(who)
    }

    /// Counts a connection as a consumer of whoever has sent a request.
    ///
    /// # Errors
    /// When that client has as many as it may have.
    pub(super) fn hold(
        &mut self,
        key: ConnectionKey,
        ticket: &Ticket,
        kind: Kind,
    ) -> Result<(), Excess> {
        match self.holder(key, ticket) {
            Some(who) => self.hold_as(key, who, kind),
            None => Ok(()),
        }
    }

    /// Counts the poll that a connection waits for.
    ///
    /// # Errors
    /// When its client has as many as it may have.
    pub(super) fn hold_poll(&mut self, key: ConnectionKey) -> Result<(), Excess> {
        let connection = self.connections.get(key);
        let ticket = connection.and_then(|it| it.session.ticket());
        match ticket.and_then(|ticket| self.holder(key, ticket)) {
            Some(who) => self.hold_as(key, who, Kind::Poll),
            None => Ok(()),
        }
    }

    /// Whose a request is; `None` if there is nothing to count, or the peer has gone.
    fn holder(&self, key: ConnectionKey, ticket: &Ticket) -> Option<Who> {
        if !self.shared.clients.is_used() {
            return None;
        }
        match ticket.rights().caller() {
            Some(caller) => Some(Who(caller.number)),
            None => self.client_of(key, ticket).map(Who::at),
        }
    }

    fn hold_as(&mut self, key: ConnectionKey, who: Who, kind: Kind) -> Result<(), Excess> {
        let held = self.move_to(key, who);
        let more = Held {
            connections: 1,
            polls: u64::from(kind == Kind::Poll),
            ..held
        };
        self.count_as(key, who, held, more)
    }

    /// Counts one more subscription of a connection.
    ///
    /// # Errors
    /// When its client has as many as it may have.
    pub(super) fn hold_subscription(&mut self, key: ConnectionKey) -> Result<(), Excess> {
        let Some((who, held)) = self.holdings.clients.get(&key).copied() else {
            return Ok(());
        };
        let connection = self.connections.get(key);
        let subscriptions = connection.map_or(0, |it| it.subscriptions.len() as u64);
        let more = Held {
            subscriptions: subscriptions + 1,
            ..held
        };
        self.count_as(key, who, held, more)
    }

    /// A connection is somebody else's from now on.
    pub(super) fn hold_for(&mut self, key: ConnectionKey, caller: &Caller) {
        if self.holdings.clients.contains_key(&key) {
            self.move_to(key, Who(caller.number));
        }
    }

    /// Brings the count in line with what a connection has.
    pub(super) fn recount(&mut self, key: ConnectionKey) {
        if !self.shared.clients.is_used() {
            return;
        }
        let Some(connection) = self.connections.get(key) else {
            return;
        };
        let topics = connection.subscriptions.len() as u64;
        let bytes = (connection.private_bytes() + connection.message_bytes()) as u64;
        let is_polling = connection.session.is_polling();
        let is_open = matches!(connection.marks.kind, Kind::WebSocket | Kind::Stream);
        let has_grown = |held: Held| bytes > held.bytes;
        let mut known = self.holdings.clients.get(&key).copied();
        if has_grown(known.map_or_else(Held::default, |(_, held)| held)) {
            // Whose bytes they are is known from the head on; before, they are their address's.
            let ticket = connection.session.ticket();
            let who = match ticket {
                Some(ticket) => self.holder(key, ticket),
                None if known.is_none() => self.peer_of(connection),
                None => None,
            };
            if let Some(who) = who {
                known = Some((who, self.move_to(key, who)));
            }
        }
        let Some((who, held)) = known else {
            return;
        };
        // Nobody gets more of these but by asking for it.
        let now = Held {
            connections: held.connections.min(u64::from(is_open || is_polling)),
            subscriptions: held.subscriptions.min(topics),
            polls: held.polls.min(u64::from(is_polling)),
            bytes,
        };
        if held == now {
            return;
        }
        if self.shared.clients.replace(who, held, now) == Some(Excess::Bytes) {
            self.holdings.in_excess.push(key);
        }
        if now == Held::default() {
            self.holdings.clients.remove(&key);
        } else {
            self.holdings.clients.insert(key, (who, now));
        }
    }

    /// The address of a connection; `None` for that of a proxy, or when the peer has gone.
    fn peer_of(&self, connection: &Connection) -> Option<Who> {
        let peer = connection.stream.client();
        let peer = peer.filter(|it| !self.shared.proxies.contains(*it));
        peer.map(Who::at)
    }

    /// A connection has gone.
    pub(super) fn let_go(&mut self, key: ConnectionKey) {
        if let Some((who, held)) = self.holdings.clients.remove(&key) {
            self.shared.clients.replace(who, held, Held::default());
        }
        if let Some(who) = self.holdings.addresses.remove(&key) {
            self.shared.addresses.replace(who, ONE, Held::default());
        }
    }

    /// Gives up connections by which their clients have got too many bytes: what they do not read, or have
    /// sent in part.
    pub(super) fn shed_excess(&mut self) {
        for key in std::mem::take(&mut self.holdings.in_excess) {
            let Some((who, held)) = self.holdings.clients.get(&key).copied() else {
                continue;
            };
            // Another connection of this client may have been enough.
            if held.bytes < SHED_BYTES_MIN || !self.shared.clients.has_too_many_bytes(who) {
                continue;
            }
            let Some(connection) = self.connections.get_mut(key) else {
                continue;
            };
            match connection.session {
                Session::WebSocket(_) | Session::Stream(_) if connection.has_outbox() => {
                    self.close_lagging(key, CloseReason::Lagging);
                }
                Session::Http(_) if connection.has_outbox() => {
                    Worker::doom(&mut self.doomed, connection, key, CloseReason::Limit);
                }
                _ => self.crowd_out(key),
            }
            self.settle(key);
        }
    }

    /// Counts all that a connection has as this client's. Returns what that is.
    fn move_to(&mut self, key: ConnectionKey, who: Who) -> Held {
        let Some((before, held)) = self.holdings.clients.get(&key).copied() else {
            return Held::default();
        };
        if before != who {
            let clients = &self.shared.clients;
            clients.replace(before, held, Held::default());
            // What it has it keeps.
            clients.replace(who, Held::default(), held);
            self.holdings.clients.insert(key, (who, held));
        }
        held
    }

    fn count_as(
        &mut self,
        key: ConnectionKey,
        who: Who,
        from: Held,
        to: Held,
    ) -> Result<(), Excess> {
        self.shared.clients.exchange(who, from, to)?;
        self.holdings.clients.insert(key, (who, to));
        Ok(())
    }
}
