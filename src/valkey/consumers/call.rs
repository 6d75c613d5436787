//! Tasks as calls of scripts. What stands where in `KEYS` and `ARGV` is said in each script.

use std::time::Duration;

use super::script::{ATTACH, BURY, CLAIM, DETACH, DROP, REFRESH, SETTLE};
use super::{
    AttachShared, ClaimShared, ConsumerAction, ConsumerTask, ConsumerTerms, Settling, SharedMember,
    SharedSeat, SharedStart, Standing,
};
use crate::topic::{ConsumerName, Position, TopicName};
use crate::valkey::{Call, Keys};

impl ConsumerTask {
    /// The call that does it. To be made again, as it is, if its reply was lost.
    ///
    /// Its first argument is empty, and the clock is Valkey's. Tests put the milliseconds of a
    /// clock of their own there.
    pub fn call(&self, keys: &Keys, terms: &ConsumerTerms) -> Call {
        let mut call = Builder::new(keys, &self.topic, terms);
        let script = match &self.action {
            ConsumerAction::Attach(attach) => call.attach(attach),
            ConsumerAction::Claim(claim) => call.claim(claim),
            ConsumerAction::Settle(standing) => call.settle(standing),
            ConsumerAction::Detach { consumer, seat } => call.detach(consumer, *seat),
            ConsumerAction::Bury {
                consumer,
                positions,
            } => call.bury(consumer, positions),
            ConsumerAction::Refresh(seats) => call.refresh(seats),
            ConsumerAction::Drop { skip } => call.drop_idle(*skip),
        };
        Call {
            script,
            keys: call.keys,
            args: call.args,
            is_repeatable: true,
        }
    }
}

struct Builder<'a> {
    names: &'a Keys,
    topic: &'a TopicName,
    terms: &'a ConsumerTerms,
    keys: Vec<Vec<u8>>,
    args: Vec<Vec<u8>>,
}

impl<'a> Builder<'a> {
    fn new(names: &'a Keys, topic: &'a TopicName, terms: &'a ConsumerTerms) -> Builder<'a> {
        let mut call = Builder {
            names,
            topic,
            terms,
            keys: Vec::new(),
            args: Vec::new(),
        };
        call.arg("");
        call.arg(names.news(topic));
        call.arg(format!("{}:", terms.instance));
        call
    }

    fn attach(&mut self, attach: &AttachShared) -> &'static str {
        self.key("log");
        self.key("last");
        self.key("c:all");
        self.key_of_groups(&attach.member.client);
        self.keys_of(&attach.consumer);
        self.span(self.terms.lease);
        self.span(self.terms.retention);
        self.number(self.terms.consumers_max as u64);
        self.number(self.terms.group_members_max as u64);
        self.arg(name_of(&attach.consumer));
        self.number(u64::from(attach.reset));
        match attach.start {
            SharedStart::Last => self.arg("last"),
            SharedStart::Earliest => self.arg("earliest"),
            SharedStart::Behind(position) => self.position(position),
            SharedStart::Since(position) => self.arg(format!("since {}", text_of(position))),
        }
        self.member(&attach.member);
        ATTACH
    }

    fn claim(&mut self, claim: &ClaimShared) -> &'static str {
        self.key("log");
        self.key("last");
        self.keys_of(&claim.consumer);
        self.span(self.terms.lease);
        self.arg(name_of(&claim.consumer));
        self.number(claim.batch.messages_max as u64);
        self.number(claim.batch.bytes_max as u64);
        self.number(claim.confirmed);
        self.member(&claim.member);
        CLAIM
    }

    fn settle(&mut self, standing: &Standing) -> &'static str {
        self.key("log");
        self.key("last");
        self.key_of_groups(&standing.client);
        let (how, delay) = match standing.settling {
            Settling::Acknowledge => ("a", Duration::ZERO),
            Settling::AcknowledgeUpTo => ("u", Duration::ZERO),
            Settling::Nack(delay) => ("n", delay),
        };
        self.arg(how);
        self.span(delay);
        self.arg(&*standing.client);
        self.arg(self.names.of_topic(self.topic, "c:"));
        let own = ConsumerName::Client(standing.client.clone());
        let preferred = standing.preferred.as_ref().filter(|it| **it != own);
        let consumers = preferred.into_iter().chain([&own]);
        self.number(consumers.clone().count() as u64);
        for consumer in consumers {
            self.keys_of(consumer);
            self.arg(name_of(consumer));
        }
        self.positions(&standing.positions);
        SETTLE
    }

    fn detach(&mut self, consumer: &ConsumerName, seat: SharedSeat) -> &'static str {
        self.key("last");
        self.key("c:all");
        self.keys_of(consumer);
        self.span(self.terms.retention);
        self.arg(name_of(consumer));
        self.seat(seat);
        DETACH
    }

    fn bury(&mut self, consumer: &ConsumerName, positions: &[Position]) -> &'static str {
        self.key("last");
        self.keys_of(consumer);
        self.positions(positions);
        BURY
    }

    fn refresh(&mut self, seats: &[(ConsumerName, SharedMember)]) -> &'static str {
        self.key("c:all");
        self.span(self.terms.lease);
        self.span(self.terms.retention);
        for (consumer, member) in seats {
            self.key_of_groups(&member.client);
            self.keys_of(consumer);
            self.arg(name_of(consumer));
            self.seat(member.seat);
        }
        REFRESH
    }

    fn drop_idle(&mut self, skip: u64) -> &'static str {
        self.key("c:all");
        self.arg(self.names.of_topic(self.topic, "c:"));
        self.number(skip);
        DROP
    }

    fn member(&mut self, member: &SharedMember) {
        self.arg(&*member.client);
        self.seat(member.seat);
        self.number(u64::from(member.is_poll));
        self.number(member.rules.ack_timeout / 1_000);
        self.number(u64::from(member.rules.window));
        self.number(u64::from(member.rules.max_deliveries));
    }

    fn key(&mut self, what: &str) {
        let key = self.names.of_topic(self.topic, what);
        self.keys.push(key.into());
    }

    fn key_of_groups(&mut self, client: &str) {
        self.key(&format!("c:m:{client}"));
    }

    fn keys_of(&mut self, consumer: &ConsumerName) {
        let name = name_of(consumer);
        for part in ["s", "o", "t", "l"] {
            self.key(&format!("c:{part}:{name}"));
        }
    }

    fn arg(&mut self, arg: impl Into<String>) {
        self.args.push(arg.into().into_bytes());
    }

    fn number(&mut self, number: u64) {
        // Lua counts in doubles.
        self.arg(number.min(1 << 53).to_string());
    }

    fn span(&mut self, span: Duration) {
        self.number(u64::try_from(span.as_millis()).unwrap_or(u64::MAX));
    }

    fn seat(&mut self, seat: SharedSeat) {
        let SharedSeat {
            worker,
            connection,
            number,
        } = seat;
        let instance = &self.terms.instance;
        self.arg(format!("{instance}:{worker}:{connection}:{number}"));
    }

    fn position(&mut self, position: Position) {
        self.arg(text_of(position));
    }

    fn positions(&mut self, positions: &[Position]) {
        for position in positions {
            self.position(*position);
        }
    }
}

/// As in ids of streams.
fn text_of(position: Position) -> String {
    format!("{}-{}", position.millis(), position.counter())
}

/// A client's own consumer and a group of the same name are two.
fn name_of(consumer: &ConsumerName) -> String {
    match consumer {
        ConsumerName::Client(name) => format!("c:{name}"),
        ConsumerName::Group(name) => format!("g:{name}"),
    }
}
