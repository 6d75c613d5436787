//! Publish requests with an `Idempotency-Key` where topics live behind memory: a record there says
//! whether a request is a repeat, also one of another instance's.

use std::time::Duration;

use super::Worker;
use super::parking::Then;
use super::slots::ConnectionKey;
use crate::idempotency::Attempt;
use crate::session::{NotStored, Receipt, Repeat};
use crate::topic::TopicName;
use crate::valkey::idempotency::{Begun, Record};
use crate::valkey::{Outgoing, Refused, Task};

/// Time beyond a job's own that a first request may take before a repeat finishes it.
const LEASE_MARGIN: Duration = Duration::from_secs(2);

/// Microseconds until a repeat asks again whether the first request has been answered.
pub(super) const ASK_AGAIN_MICROS: u64 = 20_000;

/// Milliseconds of Valkey's clock by which messages are looked for before their first sending.
const CLOCK_SLACK_MILLIS: u64 = 10_000;

/// A request with a key, of which it is not known yet whether it is a repeat.
#[derive(Debug)]
pub(super) struct Beginning {
    receipt: Box<Receipt>,
    messages: Vec<(TopicName, Outgoing)>,
    record: Record,
    /// Monotonic microseconds after which it does not ask again.
    deadline: u64,
    begun: Option<Result<redis::Value, Refused>>,
}

impl Beginning {
    /// What the record says has come.
    pub(super) fn take_in(&mut self, begun: Result<redis::Value, Refused>) {
        self.begun = Some(begun);
    }
}

impl Worker {
    /// Looks whether a request with a key is a repeat.
    pub(super) fn begin_once(
        &mut self,
        key: ConnectionKey,
        receipt: Box<Receipt>,
        messages: Vec<(TopicName, Outgoing)>,
        attempt: &Attempt,
    ) {
        let valkey = self.shared.valkey.clone();
        let caller = self.caller_of(key, receipt.ticket());
        let (Some(valkey), Some(caller)) = (valkey, caller) else {
            // The peer has gone: it gets no answer, and may repeat what is not published.
            return;
        };
        let record = Record::new(valkey.keys(), caller, attempt, self.tokens.next());
        let beginning = Beginning {
            receipt,
            messages,
            record,
            deadline: self.clock.now().after(valkey.timeout()),
            begun: None,
        };
        self.ask_once(key, Box::new(beginning));
    }

    fn ask_once(&mut self, key: ConnectionKey, beginning: Box<Beginning>) {
        let Some(valkey) = &self.shared.valkey else {
            return;
        };
        // For the answer to this, and for that to the messages.
        let lease = valkey.timeout() * 2 + LEASE_MARGIN;
        let call = beginning.record.begin(beginning.receipt.timestamp(), lease);
        self.park(key, Then::Begin(beginning), vec![Task::Call(call)]);
    }

    /// It is known whether the request is a repeat.
    pub(super) fn begun_once(&mut self, key: ConnectionKey, mut beginning: Box<Beginning>) {
        let begun = match beginning.begun.take() {
            Some(Ok(value)) => Begun::read(&value).ok_or(Refused::Error),
            Some(Err(refused)) => Err(refused),
            None => Err(Refused::Error),
        };
        match begun {
            Ok(Begun::New) => self.publish_once_behind(key, *beginning, None),
            Ok(Begun::Again(nonce, timestamp, begun)) => {
                beginning.record.nonce = nonce;
                beginning.restamp(&timestamp);
                let since = begun.saturating_sub(CLOCK_SLACK_MILLIS);
                self.publish_once_behind(key, *beginning, Some(since));
            }
            Ok(Begun::Done(status, body)) => {
                self.repeat_behind(key, &beginning, Repeat::Replayed(status, &body));
            }
            Ok(Begun::Other) => self.repeat_behind(key, &beginning, Repeat::Reused),
            Ok(Begun::Busy) if self.now.monotonic_micros < beginning.deadline => {
                if self.ask_later.is_empty() {
                    // Those who come later do not put it off.
                    self.next_asking = self.now.monotonic_micros + ASK_AGAIN_MICROS;
                }
                self.ask_later.push((key, beginning));
            }
            Ok(Begun::Busy) => self.refuse_publish(key, &beginning.receipt, Refused::TooLate),
            Err(refused) => self.refuse_publish(key, &beginning.receipt, refused),
        }
    }

    /// Asks again for those whose first request was still under way.
    pub(super) fn ask_again(&mut self) {
        if self.ask_later.is_empty() || self.now.monotonic_micros < self.next_asking {
            return;
        }
        for (key, beginning) in std::mem::take(&mut self.ask_later) {
            if self.connections.get(key).is_some() {
                self.ask_once(key, beginning);
            }
        }
    }

    fn publish_once_behind(
        &mut self,
        key: ConnectionKey,
        beginning: Beginning,
        sent_since: Option<u64>,
    ) {
        let Beginning {
            receipt,
            mut messages,
            record,
            ..
        } = beginning;
        for (number, (_, message)) in messages.iter_mut().enumerate() {
            message.token = record.token(number);
        }
        self.send_messages(key, receipt, messages, Some(record), sent_since);
    }

    fn repeat_behind(&mut self, key: ConnectionKey, beginning: &Beginning, repeat: Repeat<'_>) {
        let turn = self.repeat(key, &beginning.receipt, repeat);
        if let Some(turn) = turn {
            self.carry_out(key, turn);
        }
    }

    fn refuse_publish(&mut self, key: ConnectionKey, receipt: &Receipt, refused: Refused) {
        let Some(connection) = self.connections.get_mut(key) else {
            return;
        };
        let stored = vec![Err(NotStored::Behind(refused.sentence())); receipt.messages()];
        let mut ctx = self.desk.context(&self.shared, self.clock.now(), false);
        let out = self.answers.of(key);
        let turn = connection
            .session
            .published(receipt, &stored, &mut ctx, out);
        self.carry_out(key, turn);
    }
}

impl Beginning {
    /// Gives the request the timestamp of the first one, of which some messages may be stored.
    fn restamp(&mut self, timestamp: &str) {
        let ours = format!(",\"timestamp\":\"{}\"", self.receipt.timestamp());
        let theirs = format!(",\"timestamp\":\"{timestamp}\"");
        if ours.len() != theirs.len() || !self.receipt.restamp(timestamp) {
            return;
        }
        for (_, message) in &mut self.messages {
            // Its last one: nobody knows this microsecond before the request is there.
            let part = &mut message.stored_part;
            if let Some(at) = memchr::memmem::rfind(part, ours.as_bytes()) {
                part[at..at + theirs.len()].copy_from_slice(theirs.as_bytes());
            }
        }
    }
}
