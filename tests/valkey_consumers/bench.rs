//! A server of its own, and one topic on it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use pulsar_proxy::topic::{Ack, Batch, ClaimRules, ConsumerName, Position, Seat, TopicName};
use pulsar_proxy::valkey::consumers::*;
use pulsar_proxy::valkey::{Call, Keys};
use test_util::Valkey;

pub(crate) const RULES: ClaimRules = ClaimRules {
    ack_timeout: 30_000_000,
    window: 10,
    max_deliveries: 0,
};

/// One topic, at a time of its own, on a server of its own.
pub(crate) struct Bench {
    pub(crate) server: Valkey,
    pub(crate) connection: redis::Connection,
    pub(crate) keys: Keys,
    pub(crate) terms: ConsumerTerms,
    pub(crate) topic: TopicName,
    /// Milliseconds.
    pub(crate) now: u64,
    pub(crate) newest: Position,
}

impl Bench {
    pub(crate) fn new() -> Bench {
        let server = Valkey::start();
        let connection = connect(&server, 2);
        let terms = ConsumerTerms::new("i1", Duration::from_secs(86_400));
        let mut bench = Bench {
            server,
            connection,
            keys: Keys::new("pulsar:"),
            terms,
            topic: TopicName::parse("t").unwrap(),
            now: 1_700_000_000_000,
            newest: Position::ZERO,
        };
        bench.another_topic();
        bench
    }

    /// Goes on with a topic that nobody has used.
    pub(crate) fn another_topic(&mut self) {
        static TOPICS: AtomicU64 = AtomicU64::new(0);
        let number = TOPICS.fetch_add(1, Ordering::Relaxed);
        self.topic = TopicName::parse(&format!("orders-{number}")).unwrap();
        self.newest = Position::ZERO;
    }

    pub(crate) fn run(&mut self, action: ConsumerAction) -> ConsumerReply {
        let task = ConsumerTask {
            topic: self.topic.clone(),
            action,
        };
        let mut call = task.call(&self.keys, &self.terms);
        call.args[0] = self.now.to_string().into_bytes();
        let value = self.send(&call);
        task.read(value).unwrap()
    }

    pub(crate) fn send(&mut self, call: &Call) -> redis::Value {
        let mut command = redis::cmd("EVAL");
        command.arg(call.script).arg(call.keys.len());
        for part in call.keys.iter().chain(&call.args) {
            command.arg(part);
        }
        command.query(&mut self.connection).unwrap()
    }

    /// Stores a message now.
    pub(crate) fn publish(&mut self, ttl: Option<u64>) -> Position {
        let position = self.newest.next(self.now);
        self.publish_at(position, ttl);
        position
    }

    pub(crate) fn publish_at(&mut self, position: Position, ttl: Option<u64>) {
        let mut command = redis::cmd("XADD");
        command
            .arg(self.keys.log(&self.topic))
            .arg(text(position))
            .arg("p")
            .arg(text(self.newest));
        command.arg("k").arg(&[0_u8, 255, 10, 13][..]);
        if let Some(ttl) = ttl {
            command.arg("t").arg(ttl);
        }
        command.arg("d").arg(text(position));
        command.exec(&mut self.connection).unwrap();
        let mut set = redis::cmd("SET");
        set.arg(self.keys.last(&self.topic)).arg(text(position));
        set.exec(&mut self.connection).unwrap();
        self.newest = position;
    }

    /// The stream loses all below a position, or all.
    pub(crate) fn trim(&mut self, first_kept: Option<Position>) {
        let mut command = redis::cmd("XTRIM");
        command.arg(self.keys.log(&self.topic));
        match first_kept {
            Some(position) => command.arg("MINID").arg(text(position)),
            None => command.arg("MAXLEN").arg(0),
        };
        command.exec(&mut self.connection).unwrap();
    }

    pub(crate) fn attach(
        &mut self,
        consumer: &ConsumerName,
        member: &SharedMember,
        start: SharedStart,
        reset: bool,
    ) -> SharedAttached {
        let attach = AttachShared {
            consumer: consumer.clone(),
            member: member.clone(),
            reset,
            start,
        };
        match self.run(ConsumerAction::Attach(attach)) {
            ConsumerReply::Attached(attached) => attached,
            other => panic!("{other:?}"),
        }
    }

    /// From the oldest message on.
    pub(crate) fn sit(&mut self, consumer: &ConsumerName, member: &SharedMember) -> SharedAttached {
        self.attach(consumer, member, SharedStart::Earliest, false)
    }

    pub(crate) fn try_claim(
        &mut self,
        consumer: &ConsumerName,
        member: &SharedMember,
        messages_max: usize,
        confirmed: u64,
    ) -> Result<SharedClaim, Unseated> {
        let claim = ClaimShared {
            consumer: consumer.clone(),
            member: member.clone(),
            batch: Batch {
                messages_max,
                bytes_max: 1 << 20,
            },
            confirmed,
        };
        match self.run(ConsumerAction::Claim(claim)) {
            ConsumerReply::Claimed(claim) => Ok(claim),
            ConsumerReply::Unseated(why) => Err(why),
            other => panic!("{other:?}"),
        }
    }

    /// Everything that can be had, with the replies of all earlier claims confirmed.
    pub(crate) fn claim(&mut self, consumer: &ConsumerName, member: &SharedMember) -> SharedClaim {
        self.try_claim(consumer, member, 100, 1 << 50).unwrap()
    }

    /// Positions and attempts of what is handed out.
    pub(crate) fn claimed(
        &mut self,
        consumer: &ConsumerName,
        member: &SharedMember,
    ) -> Vec<(Position, u32)> {
        pairs(&self.claim(consumer, member).messages)
    }

    pub(crate) fn settle(
        &mut self,
        client: &str,
        preferred: Option<&ConsumerName>,
        settling: Settling,
        positions: &[Position],
    ) -> (Vec<Ack>, Vec<SharedSeat>) {
        let standing = Standing {
            client: client.into(),
            preferred: preferred.cloned(),
            settling,
            positions: positions.to_vec(),
        };
        match self.run(ConsumerAction::Settle(standing)) {
            ConsumerReply::Settled { acks, wake } => (acks, wake),
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn ack(&mut self, client: &str, position: Position) -> Ack {
        self.settle(client, None, Settling::Acknowledge, &[position])
            .0[0]
    }

    pub(crate) fn detach(
        &mut self,
        consumer: &ConsumerName,
        member: &SharedMember,
    ) -> Vec<SharedSeat> {
        self.done(ConsumerAction::Detach {
            consumer: consumer.clone(),
            seat: member.seat,
        })
    }

    pub(crate) fn bury(
        &mut self,
        consumer: &ConsumerName,
        positions: Vec<Position>,
    ) -> Vec<SharedSeat> {
        self.done(ConsumerAction::Bury {
            consumer: consumer.clone(),
            positions,
        })
    }

    fn done(&mut self, action: ConsumerAction) -> Vec<SharedSeat> {
        match self.run(action) {
            ConsumerReply::Done { wake } => wake,
            other => panic!("{other:?}"),
        }
    }
}

/// A connection of this version of the protocol.
pub(crate) fn connect(server: &Valkey, version: u8) -> redis::Connection {
    let url = format!("redis://{}/?protocol=resp{version}", server.address());
    let client = redis::Client::open(url).unwrap();
    client.get_connection().unwrap()
}

pub(crate) fn pairs(messages: &[HandedOut]) -> Vec<(Position, u32)> {
    let pairs = messages.iter();
    pairs.map(|it| (it.position, it.attempt)).collect()
}

pub(crate) fn text(position: Position) -> String {
    format!("{}-{}", position.millis(), position.counter())
}

pub(crate) fn client(name: &str) -> ConsumerName {
    ConsumerName::Client(name.into())
}

pub(crate) fn group() -> ConsumerName {
    ConsumerName::Group("workers {x}".into())
}

pub(crate) fn member(client: &str, connection: u64) -> SharedMember {
    let seat = Seat {
        worker: 1,
        connection,
    };
    SharedMember {
        client: client.into(),
        seat: SharedSeat::new(seat, 1),
        is_poll: false,
        rules: RULES,
    }
}
