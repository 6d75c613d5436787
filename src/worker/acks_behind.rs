//! Acknowledgements where consumers live behind memory: the names of topics that nobody here knows
//! are asked for first, then each topic's consumers settle their part.

use std::sync::Arc;

use redis::Value;

use super::Worker;
use super::consulting::{self, Matter};
use super::parking::Then;
use super::slots::ConnectionKey;
use crate::session::{AckReply, Acknowledge};
use crate::topic::{Ack, ConsumerName, MessageId, Position, TopicHash, TopicName};
use crate::valkey::consumers::{ConsumerAction, ConsumerReply, ConsumerTask, Settling, Standing};
use crate::valkey::{Refused, Task, catalogue};

/// Messages of one topic that are settled in one step.
const POSITIONS_MAX: usize = 1_000;

/// Acknowledgements that wait.
#[derive(Debug)]
pub(super) struct Acking {
    asked: Box<Acknowledge>,
    /// What becomes of each id.
    acks: Vec<Ack>,
    parts: Vec<Part>,
    /// What the calls under way have said, in the order of the tasks, or of the nameless parts.
    said: Vec<Result<Value, Refused>>,
    is_settling: bool,
}

/// Messages of one topic.
#[derive(Debug)]
struct Part {
    topic: TopicHash,
    name: Option<TopicName>,
    client: Arc<str>,
    preferred: Option<ConsumerName>,
    /// Places of their ids in the request.
    places: Vec<usize>,
    positions: Vec<Position>,
    /// How they are settled.
    task: Option<ConsumerTask>,
}

impl Acking {
    /// Whether the connection must not go on before: answers to requests keep their order.
    pub(super) fn holds(&self) -> bool {
        matches!(self.asked.reply, AckReply::Answer { .. })
    }

    /// What the call of this number has brought.
    pub(super) fn take_in(&mut self, part: usize, said: Result<Value, Refused>) {
        self.said[part] = said;
    }

    /// Waits for so many answers.
    fn expect(&mut self, count: usize) {
        self.said.clear();
        self.said.resize_with(count, || Err(Refused::Error));
    }
}

impl Worker {
    /// Acknowledges messages; whoever wants to know hears of it later.
    pub(super) fn acknowledge_behind(&mut self, key: ConnectionKey, asked: Box<Acknowledge>) {
        let client = self.client_of_request(key, &asked.reply);
        let mut acking = Box::new(Acking {
            acks: vec![Ack::Unknown; asked.ids.len()],
            parts: self.parts_of(key, &asked, client.as_deref()),
            asked,
            said: Vec::new(),
            is_settling: false,
        });
        let nameless: Vec<TopicHash> = acking
            .parts
            .iter()
            .filter(|part| part.name.is_none())
            .map(|part| part.topic)
            .collect();
        match &self.shared.valkey {
            Some(valkey) if !nameless.is_empty() => {
                let call = catalogue::names_of(valkey.keys(), nameless);
                acking.expect(1);
                self.park(key, Then::Acknowledge(acking), vec![Task::Call(call)]);
            }
            _ => self.settle_acks(key, acking),
        }
    }

    /// By topic; ids of another epoch, and what are none, are left out.
    fn parts_of(&self, key: ConnectionKey, asked: &Acknowledge, client: Option<&str>) -> Vec<Part> {
        let store = &self.shared.store;
        let mut parts: Vec<Part> = Vec::new();
        for (place, text) in asked.ids.iter().enumerate() {
            let Ok(id) = MessageId::parse(text) else {
                continue;
            };
            if id.epoch != store.epoch() {
                continue;
            }
            let is_it =
                |part: &&mut Part| part.topic == id.topic && part.positions.len() < POSITIONS_MAX;
            if let Some(part) = parts.iter_mut().rev().find(is_it) {
                part.places.push(place);
                part.positions.push(id.position);
                continue;
            }
            let seat = self.seats.of(key).iter().find(|it| it.topic == id.topic);
            let (client, preferred) = match (client, seat) {
                (None, Some(seat)) => (Arc::clone(&seat.client), Some(seat.consumer.clone())),
                (client, _) => (client.unwrap_or_default().into(), None),
            };
            parts.push(Part {
                topic: id.topic,
                name: match seat {
                    Some(seat) => Some(seat.name.clone()),
                    None => store.name_of(id.topic),
                },
                client,
                preferred,
                places: vec![place],
                positions: vec![id.position],
                task: None,
            });
        }
        parts
    }

    /// The calls have been answered.
    pub(super) fn acks_said(&mut self, key: ConnectionKey, mut acking: Acking) {
        if let Some(refused) = acking.said.iter().find_map(|said| said.as_ref().err()) {
            return self.refuse_acks(key, &acking.asked, *refused);
        }
        if acking.is_settling {
            return self.acks_settled(key, acking);
        }
        let said = acking.said.pop().and_then(Result::ok);
        let nameless = acking.parts.iter_mut().filter(|part| part.name.is_none());
        let mut nameless: Vec<&mut Part> = nameless.collect();
        let names = catalogue::read_names(&said.unwrap_or(Value::Nil), nameless.len());
        for (part, name) in nameless.iter_mut().zip(names) {
            part.name = name;
        }
        // What nobody has a name for nobody has.
        acking.parts.retain(|part| part.name.is_some());
        self.settle_acks(key, Box::new(acking));
    }

    fn settle_acks(&mut self, key: ConnectionKey, mut acking: Box<Acking>) {
        acking.is_settling = true;
        if let Some(rights) = acking.asked.reply.rights() {
            let may_read = |name: &TopicName| rights.may_read(name);
            acking
                .parts
                .retain(|part| part.name.as_ref().is_none_or(may_read));
        }
        let settling = if acking.asked.cumulative {
            Settling::AcknowledgeUpTo
        } else {
            Settling::Acknowledge
        };
        let mut tasks = Vec::new();
        for part in &mut acking.parts {
            let Some(name) = &part.name else { continue };
            let standing = Standing {
                client: Arc::clone(&part.client),
                preferred: part.preferred.take(),
                settling,
                positions: std::mem::take(&mut part.positions),
            };
            let task = ConsumerTask {
                topic: name.clone(),
                action: ConsumerAction::Settle(standing),
            };
            tasks.extend(self.consumer_call(&task));
            part.task = Some(task);
        }
        acking.expect(tasks.len());
        self.park(key, Then::Acknowledge(acking), tasks);
    }

    fn acks_settled(&mut self, key: ConnectionKey, acking: Acking) {
        let Acking {
            asked,
            mut acks,
            parts,
            said,
            ..
        } = acking;
        for (part, said) in parts.iter().zip(said) {
            let Some(task) = &part.task else { continue };
            let reply = said.and_then(|value| consulting::read(task, value));
            let (settled, wake) = match reply {
                Ok(ConsumerReply::Settled { acks, wake }) => (acks, wake),
                Ok(_) => return self.refuse_acks(key, &asked, Refused::Error),
                Err(refused) => return self.refuse_acks(key, &asked, refused),
            };
            for (place, ack) in part.places.iter().zip(settled) {
                acks[*place] = ack;
            }
            self.wake_seats(&task.topic, &wake);
        }
        // A full window has room again.
        let topics: Vec<TopicHash> = parts.iter().map(|part| part.topic).collect();
        for seat in self.seats.of_mut(key) {
            if topics.contains(&seat.topic) {
                seat.want_claim();
            }
        }
        self.schedule_claim(key);
        self.tell_acknowledged(key, &asked, &acks);
    }

    /// They may have been settled, in part or as a whole; then they are not pending when they are
    /// acknowledged again.
    fn refuse_acks(&mut self, key: ConnectionKey, asked: &Acknowledge, refused: Refused) {
        let Some(connection) = self.connections.get_mut(key) else {
            return;
        };
        let mut ctx = self.desk.context(&self.shared, self.now, false);
        let out = self.answers.of(key);
        let sentence = refused.sentence();
        let turn = connection
            .session
            .acknowledgement_refused(asked, sentence, &mut ctx, out);
        self.carry_out(key, turn);
    }

    /// Gives a message back, to be delivered again.
    pub(super) fn nack_behind(&mut self, key: ConnectionKey, id: &MessageId, delay: u64) {
        let mut seats = self.seats.of(key).iter();
        let Some(seat) = seats.find(|it| it.topic == id.topic) else {
            return;
        };
        if id.epoch != self.shared.store.epoch() {
            return;
        }
        let standing = Standing {
            client: Arc::clone(&seat.client),
            preferred: Some(seat.consumer.clone()),
            settling: Settling::Nack(std::time::Duration::from_micros(delay)),
            positions: vec![id.position],
        };
        let (name, local) = (seat.name.clone(), seat.local);
        let action = ConsumerAction::Settle(standing);
        self.consult(key, &name, action, Matter::Nack(local));
    }
}
