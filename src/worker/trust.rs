//! What credentials mean for connections: renewed ones, and those that hold no more.

use std::net::IpAddr;

use super::Worker;
use super::slots::ConnectionKey;
use crate::api::command::{CommandError, CommandErrorCode};
use crate::idempotency;
use crate::session::{Rights, Ticket};
use crate::topic::TopicName;

impl Worker {
    /// Ends what rests on credentials that are trusted no more. Costs nothing while trust is as it was.
    pub(super) fn follow_trust(&mut self) {
        if !self.desk.refresh_trust() {
            return;
        }
        let keys: Vec<ConnectionKey> = self.connections.keys().collect();
        for key in keys {
            if self.rests_on_nothing(key) {
                self.revoke(key);
                self.settle(key);
            }
        }
    }

    /// Ends what has begun with a credential that was trusted when it was asked for, and is not any more.
    pub(super) fn recheck_trust(&mut self, key: ConnectionKey) {
        if self.rests_on_nothing(key) {
            self.revoke(key);
        }
    }

    /// Whether the credential that a conversation rests on is trusted no more.
    fn rests_on_nothing(&self, key: ConnectionKey) -> bool {
        let connection = self.connections.get(key);
        let rights = connection.and_then(|it| it.session.rights());
        let caller = rights.and_then(Rights::caller);
        caller.is_some_and(|caller| !self.desk.still_admits(caller))
    }

    fn revoke(&mut self, key: ConnectionKey) {
        self.abandon_poll(key);
        let Some(connection) = self.connections.get_mut(key) else {
            return;
        };
        let mut ctx = self.desk.context(&self.shared, self.now, false);
        let turn = connection.session.revoked(&mut ctx, self.answers.of(key));
        self.carry_out(key, turn);
    }

    /// Takes the rights of a new credential, if they cover what the connection is subscribed to.
    pub(super) fn renew(&mut self, key: ConnectionKey, rights: Rights) {
        let mut topics = self.topics_of(key).into_iter();
        let uncovered = topics.find(|name| !rights.may_read(name));
        let Some(connection) = self.connections.get_mut(key) else {
            return;
        };
        let mut ctx = self.desk.context(&self.shared, self.now, false);
        let out = self.answers.of(key);
        let Some(topic) = uncovered else {
            let caller = rights.caller().cloned();
            connection.session.renewed(rights, &mut ctx, out);
            if let Some(caller) = caller {
                self.hold_for(key, &caller);
            }
            return;
        };
        let sentence = format!(
            "The credential does not allow reading the topic {topic}, which is subscribed to"
        );
        let error = CommandError::new(CommandErrorCode::Forbidden, sentence);
        let turn = connection.session.refused(error, &mut ctx, out);
        self.carry_out(key, turn);
    }

    fn topics_of(&self, key: ConnectionKey) -> Vec<TopicName> {
        let subscriptions = self.connections.get(key).map(|it| it.subscriptions.iter());
        let names = subscriptions.into_iter().flatten().filter_map(|at| {
            let handle = self.topics.get(at.topic)?.handle;
            self.shared.store.name(handle)
        });
        names.collect()
    }

    /// Who sends, for all that is kept by caller: whose credential it is, else which address. `None`
    /// when the peer has gone.
    pub(super) fn caller_of(
        &self,
        key: ConnectionKey,
        ticket: &Ticket,
    ) -> Option<idempotency::Caller> {
        match ticket.rights().caller() {
            Some(caller) => Some(idempotency::Caller::named(&caller.identity)),
            None => {
                let client = self.client_of(key, ticket)?;
                Some(idempotency::Caller::from(client))
            }
        }
    }

    /// The address that a request comes from: whose connection it is, or whom a proxy that is trusted has
    /// it from. `None` when the peer has gone.
    pub(super) fn client_of(&self, key: ConnectionKey, ticket: &Ticket) -> Option<IpAddr> {
        let peer = self.connections.get(key)?.stream.client()?;
        Some(ticket.client(peer, &self.shared.proxies))
    }
}
