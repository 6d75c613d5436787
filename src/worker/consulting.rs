//! Questions to the consumers of a topic that live behind memory, where all instances share them
//! (SPEC sections 5 and 7). Most hold nobody: a seat claims while its connection goes on, and news
//! that comes meanwhile has it claim again.

use redis::Value;

use super::Worker;
use super::parking::Then;
use super::polls::Found;
use super::seats::SeatAt;
use super::slots::ConnectionKey;
use crate::topic::{Ack, LocalTopic, TopicName};
use crate::valkey::consumers::{
    ConsumerAction, ConsumerReply, ConsumerTask, SharedAttached, SharedSeat,
};
use crate::valkey::{Refused, Task};

/// A question, and the answer when it has come.
#[derive(Debug)]
pub(super) struct Consulting {
    task: ConsumerTask,
    matter: Matter,
    said: Option<Result<Value, Refused>>,
}

/// What it is about. Seats are named by their numbers.
#[derive(Debug)]
pub(super) enum Matter {
    /// What a WebSocket or a stream may have.
    Claim(u64),
    /// What a poll may have, with what it has been given so far.
    Poll(u64, Box<Found>),
    /// A seat at a consumer that had gone.
    Reseat(u64),
    /// Something after which others may have to claim.
    Notice,
    /// A message that is given back by a connection with a seat at its topic.
    Nack(LocalTopic),
    /// Leases, in the order of the task.
    Renewal(Vec<(ConnectionKey, u64)>),
}

impl Consulting {
    /// The answer has come.
    pub(super) fn take_in(&mut self, said: Result<Value, Refused>) {
        self.said = Some(said);
    }

    /// Whether its connection must not go on before.
    pub(super) fn holds(&self) -> bool {
        matches!(self.matter, Matter::Poll(..))
    }
}

impl Worker {
    /// Asks the consumers of a topic.
    pub(super) fn consult(
        &mut self,
        key: ConnectionKey,
        topic: &TopicName,
        action: ConsumerAction,
        matter: Matter,
    ) {
        let task = ConsumerTask {
            topic: topic.clone(),
            action,
        };
        if let Some(call) = self.consumer_call(&task) {
            let consulting = Consulting {
                task,
                matter,
                said: None,
            };
            self.park(key, Then::Consult(Box::new(consulting)), vec![call]);
        }
    }

    /// How consumers are asked.
    pub(super) fn consumer_call(&self, task: &ConsumerTask) -> Option<Task> {
        let keys = self.shared.valkey.as_ref()?.keys();
        Some(Task::Call(task.call(keys, &self.shared.consumer_terms)))
    }

    /// The consumers have answered.
    pub(super) fn consulted(&mut self, key: ConnectionKey, consulting: Consulting) {
        let Consulting { task, matter, said } = consulting;
        let reply = said.unwrap_or(Err(Refused::Error));
        let reply = reply.and_then(|value| read(&task, value));
        match matter {
            Matter::Claim(number) => self.claimed(key, number, reply),
            Matter::Poll(number, found) => self.poll_claimed(key, number, found, reply),
            Matter::Reseat(number) => self.reseated(key, number, &task.topic, reply),
            Matter::Notice => self.noticed(&task.topic, reply),
            Matter::Nack(local) => self.nacked(key, local, &task.topic, reply),
            Matter::Renewal(seats) => self.renewed(&seats, &task.topic, reply),
        }
    }

    fn noticed(&mut self, topic: &TopicName, reply: Result<ConsumerReply, Refused>) {
        if let Ok(ConsumerReply::Done { wake } | ConsumerReply::Settled { wake, .. }) = reply {
            self.wake_seats(topic, &wake);
        }
    }

    fn nacked(
        &mut self,
        key: ConnectionKey,
        local: LocalTopic,
        topic: &TopicName,
        reply: Result<ConsumerReply, Refused>,
    ) {
        let Ok(ConsumerReply::Settled { acks, wake }) = reply else {
            return;
        };
        if let [Ack::Acknowledged(_)] = acks[..] {
            self.metrics.nacked(1);
        }
        self.wake_seats(topic, &wake);
        // The delay may end before anything else is due.
        self.seats.have_news(key, local);
        self.schedule_turn(key);
    }

    /// A seat was lost with its consumer: it has one again, which begins with what is kept.
    pub(super) fn reseat(&mut self, key: ConnectionKey, number: u64) {
        let mut seats = self.seats.of_mut(key).iter_mut();
        let Some(seat) = seats.find(|seat| seat.is_number(number)) else {
            return;
        };
        if let Some(lease) = &mut seat.lease {
            lease.is_claiming = true;
        }
        let (name, attach) = (seat.name.clone(), seat.again());
        if let Some(attach) = attach {
            let action = ConsumerAction::Attach(attach);
            self.consult(key, &name, action, Matter::Reseat(number));
        }
    }

    fn reseated(
        &mut self,
        key: ConnectionKey,
        number: u64,
        topic: &TopicName,
        reply: Result<ConsumerReply, Refused>,
    ) {
        let now = self.clock.now().monotonic_micros;
        let mut seats = self.seats.of_mut(key).iter_mut();
        let lease = seats
            .find(|seat| seat.is_number(number))
            .and_then(|seat| seat.lease.as_mut());
        let Some(lease) = lease else { return };
        lease.is_claiming = false;
        lease.wants_claim = true;
        if let Ok(ConsumerReply::Attached(attached)) = reply {
            lease.serial = attached.serial;
            lease.renewed_at = now;
            self.attached(topic, &attached);
            self.schedule_turn(key);
        } else {
            // Its next claim says again that there is no such consumer.
            self.stalled.push(key);
        }
    }

    /// A member of this worker has a seat.
    pub(super) fn attached(&mut self, topic: &TopicName, attached: &SharedAttached) {
        if attached.has_replaced {
            self.metrics.taken_over();
        }
        self.wake_seats(topic, &attached.wake);
    }

    /// Has seats of this instance claim.
    pub(super) fn wake_seats(&mut self, topic: &TopicName, seats: &[SharedSeat]) {
        let mut others = 0_u64;
        for seat in seats {
            if seat.worker != self.index {
                others |= 1_u64.checked_shl(seat.worker.into()).unwrap_or(0);
                continue;
            }
            let key = ConnectionKey::from_token(mio::Token(seat.connection as usize));
            let own = self.seats.of_mut(key).iter_mut();
            own.filter(|own| own.is_number(seat.number))
                .for_each(SeatAt::want_claim);
            self.schedule_turn(key);
        }
        let Some(handle) = self.shared.store.find(topic).filter(|_| others != 0) else {
            return;
        };
        while others != 0 {
            let worker = others.trailing_zeros() as u8;
            others &= others - 1;
            let news = &mut self.outcome.news;
            self.shared.store.call(handle, worker, news);
        }
        self.spread_news();
    }
}

/// What was answered; one that cannot be read is none.
pub(super) fn read(task: &ConsumerTask, value: Value) -> Result<ConsumerReply, Refused> {
    task.read(value).map_err(|unreadable| {
        tracing::warn!("consumers of topic \"{}\": {unreadable}", task.topic);
        Refused::Error
    })
}
