//! Acknowledgements, and messages that are given back (SPEC sections 5 and 7).

use super::Worker;
use super::slots::ConnectionKey;
use crate::api::reply::AckError;
use crate::metrics::AckResult;
use crate::session::{AckReply, Acknowledge, Acknowledged};
use crate::topic::{Ack, MessageId};

impl Worker {
    /// Acknowledges messages. Returns whether a request was answered.
    pub(super) fn acknowledge(&mut self, key: ConnectionKey, asked: Box<Acknowledge>) -> bool {
        if self.shared.valkey.is_some() {
            self.acknowledge_behind(key, asked);
            return false;
        }
        let client = self.client_of_request(key, &asked.reply);
        let ids = asked.ids.iter();
        let acks: Vec<Ack> = ids
            .map(|text| match self.may_acknowledge(text, &asked.reply) {
                true => self.acknowledge_one(key, text, client.as_deref(), asked.cumulative),
                false => Ack::Unknown,
            })
            .collect();
        self.spread_news();
        self.tell_acknowledged(key, &asked, &acks)
    }

    /// Tells what has become of each id.
    pub(super) fn tell_acknowledged(
        &mut self,
        key: ConnectionKey,
        asked: &Acknowledge,
        acks: &[Ack],
    ) -> bool {
        let mut result = Acknowledged::default();
        for (place, ack) in acks.iter().enumerate() {
            let error = match ack {
                Ack::Acknowledged(count) => {
                    result.count += *count as usize;
                    self.metrics
                        .acknowledged(AckResult::Acknowledged, u64::from(*count));
                    continue;
                }
                Ack::NotPending => (AckError::NotPending, AckResult::NotPending),
                Ack::Reassigned => (AckError::Reassigned, AckResult::Reassigned),
                Ack::Unknown => (AckError::Unknown, AckResult::Unknown),
            };
            result.failed.push((place, error.0));
            self.metrics.acknowledged(error.1, 1);
        }
        let Some(connection) = self.connections.get_mut(key) else {
            return false;
        };
        let mut ctx = self.desk.context(&self.shared, self.now, false);
        let out = self.answers.of(key);
        let turn = connection
            .session
            .acknowledged(asked, &result, &mut ctx, out);
        self.carry_out(key, turn)
    }

    /// Whether who acknowledges may take messages of the topic at all. A connection acknowledges what
    /// it is subscribed to alone.
    fn may_acknowledge(&self, text: &str, reply: &AckReply) -> bool {
        let (Some(rights), Ok(id)) = (reply.rights(), MessageId::parse(text)) else {
            return true;
        };
        let name = self.shared.store.name_of(id.topic);
        name.is_none_or(|name| rights.may_read(&name))
    }

    fn acknowledge_one(
        &mut self,
        key: ConnectionKey,
        text: &str,
        client: Option<&str>,
        cumulative: bool,
    ) -> Ack {
        let Ok(id) = MessageId::parse(text) else {
            return Ack::Unknown;
        };
        let seat = self.seats.of(key).iter().find(|it| it.topic == id.topic);
        let (client, consumer) = match seat {
            Some(seat) if client.is_none() => (&*seat.client, Some(&seat.consumer)),
            _ => (client.unwrap_or_default(), None),
        };
        let (now, news) = (self.now.monotonic_micros, &mut self.outcome.news);
        let store = &self.shared.store;
        store.acknowledge(&id, client, consumer, cumulative, now, news)
    }

    /// Gives a message back, to be delivered again. One that is not owed is nobody's any more.
    pub(super) fn nack(&mut self, key: ConnectionKey, text: &str, delay: u64) {
        let Ok(id) = MessageId::parse(text) else {
            return;
        };
        if self.shared.valkey.is_some() {
            return self.nack_behind(key, &id, delay);
        }
        let Some(seat) = self.seats.of(key).iter().find(|it| it.topic == id.topic) else {
            return;
        };
        let (now, news) = (self.now.monotonic_micros, &mut self.outcome.news);
        let (client, consumer) = (&*seat.client, Some(&seat.consumer));
        let store = &self.shared.store;
        let nacked = store.nack(&id, client, consumer, delay, now, news);
        if let Ack::Acknowledged(_) = nacked {
            self.metrics.nacked(1);
        }
        self.spread_news();
        // The delay may end before anything else is due.
        self.schedule_turn(key);
    }

    /// Who acknowledges by a request: the client that it names, else the caller.
    pub(super) fn client_of_request(&self, key: ConnectionKey, reply: &AckReply) -> Option<String> {
        let AckReply::Answer { client_id, ticket } = reply else {
            return None;
        };
        if let Some(client_id) = client_id {
            return Some(client_id.to_string());
        }
        if let Some(caller) = ticket.rights().caller() {
            return Some(caller.identity.to_string());
        }
        let client = self.client_of(key, ticket);
        // A peer that has gone gets no answer either.
        Some(client.map_or_else(String::new, |client| client.to_string()))
    }
}
