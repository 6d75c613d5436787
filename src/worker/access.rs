//! Tickets, and tokens that are called back: in memory, or behind it for all instances.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use redis::Value;

use super::Worker;
use super::beat::Beat;
use super::parking::Then;
use super::slots::ConnectionKey;
use crate::access::{Authority, Caller, Digest, Revocation};
use crate::session::{AccessAnswer, AccessQuestion, AccessRequest, Context};
use crate::session::{Redeemed, Redemption, Ticket};
use crate::valkey::{Call, Job, Refused, Reply, Task, Waiter};
use crate::valkey::{admissions, revocations};

/// Which of the worker's jobs asks for news of revocations: there is one at a time.
pub(super) const HEARING_TICKET: u64 = (u64::MAX >> 1) - 2;

/// Random bytes of a ticket.
const TICKET_BYTES: usize = 24;

/// Something that waits for what is behind memory.
#[derive(Debug)]
pub(super) struct Accessing {
    matter: Matter,
    said: Option<Result<Value, Refused>>,
}

#[derive(Debug)]
enum Matter {
    Revoke(Ticket, Revocation),
    /// The text of the ticket that is given.
    Admit(Ticket, String),
    Redeem(Redemption),
}

impl Accessing {
    /// It was said.
    pub(super) fn take_in(&mut self, said: Result<Value, Refused>) {
        self.said = Some(said);
    }
}

/// How far a worker is that hears for all of what other instances have called back.
#[derive(Debug)]
pub(super) struct Hearing {
    pub(super) beat: Beat,
    /// How many revocations it has heard of.
    last: i64,
}

impl Hearing {
    /// Of a worker that does it, or does not.
    pub(super) fn new(does_it: bool) -> Hearing {
        Hearing {
            beat: Beat::new(does_it),
            last: 0,
        }
    }
}

impl Worker {
    /// Does what is asked about credentials. Returns whether a request was answered.
    pub(super) fn access(&mut self, key: ConnectionKey, request: AccessRequest) -> bool {
        let AccessRequest { ticket, question } = request;
        match question {
            AccessQuestion::Revocation(revocation) => self.call_back(key, ticket, revocation),
            AccessQuestion::Admission => self.admit(key, ticket),
        }
    }

    fn call_back(&mut self, key: ConnectionKey, ticket: Ticket, revocation: Revocation) -> bool {
        let now = self.now_unix();
        if let Some(valkey) = &self.shared.valkey {
            let call = revocations::revoke(valkey.keys(), &revocation, now);
            return self.ask_access(key, Matter::Revoke(ticket, revocation), call);
        }
        let said = self.called_back([revocation]);
        self.answer_access(key, &ticket, &said)
    }

    /// Ends what rests on these tokens in this instance.
    fn called_back(&self, revocations: impl IntoIterator<Item = Revocation>) -> AccessAnswer {
        let Some(authority) = &self.shared.authority else {
            return AccessAnswer::Revoked;
        };
        let added = authority.revocations().extend(revocations, self.now_unix());
        for waker in self.peers.wakers.iter() {
            // A full eventfd is one that wakes anyway.
            let _ = waker.wake();
        }
        match added {
            Ok(()) => AccessAnswer::Revoked,
            Err(no_room) => AccessAnswer::Unavailable(no_room.to_string()),
        }
    }

    /// Who asks for a ticket where none is asked for gets one that is not looked at.
    fn admit(&mut self, key: ConnectionKey, ticket: Ticket) -> bool {
        let mut random = [0; TICKET_BYTES];
        if getrandom::fill(&mut random).is_err() {
            let sentence = "The system has no random numbers now".to_owned();
            return self.answer_access(key, &ticket, &AccessAnswer::Unavailable(sentence));
        }
        let text = URL_SAFE_NO_PAD.encode(random);
        let digest = Digest::of(text.as_bytes());
        let caller = ticket.rights().caller().cloned();
        let (Some(authority), Some(caller)) = (&self.shared.authority, caller) else {
            return self.answer_access(key, &ticket, &AccessAnswer::Admitted(text));
        };
        if let Some(valkey) = &self.shared.valkey {
            let call = admissions::grant(valkey.keys(), &digest, &caller);
            return self.ask_access(key, Matter::Admit(ticket, text), call);
        }
        let now = self.now.monotonic_micros;
        let said = match authority.admissions().grant(digest, caller, now) {
            Ok(()) => AccessAnswer::Admitted(text),
            Err(too_many) => AccessAnswer::Unavailable(too_many.to_string()),
        };
        self.answer_access(key, &ticket, &said)
    }

    /// Finds out whose ticket it is. Returns whether a request was answered.
    pub(super) fn redeem(&mut self, key: ConnectionKey, redemption: Redemption) -> bool {
        if let Some(valkey) = &self.shared.valkey {
            let call = admissions::take(valkey.keys(), redemption.digest());
            return self.ask_access(key, Matter::Redeem(redemption), call);
        }
        let now = self.now.monotonic_micros;
        let admissions = self.shared.authority.as_deref().map(Authority::admissions);
        let caller = admissions.and_then(|it| it.take(redemption.digest(), now));
        self.redeemed(key, redemption, self.redeemed_by(caller))
    }

    /// The answer has come.
    pub(super) fn access_said(&mut self, key: ConnectionKey, accessing: Accessing) {
        let Accessing { matter, said } = accessing;
        let said = said.unwrap_or(Err(Refused::Error));
        let unavailable = |refused: Refused| AccessAnswer::Unavailable(refused.sentence().into());
        match matter {
            Matter::Revoke(ticket, revocation) => {
                let is_kept = said.map(|said| revocations::read_revoked(&said));
                let said = match is_kept {
                    Ok(Some(true)) => self.called_back([revocation]),
                    Ok(Some(false)) => AccessAnswer::Unavailable(crate::access::NoRoom.to_string()),
                    Ok(None) => unavailable(Refused::Error),
                    Err(refused) => unavailable(refused),
                };
                self.answer_access(key, &ticket, &said);
            }
            Matter::Admit(ticket, text) => {
                let said = said.map(|_| AccessAnswer::Admitted(text));
                self.answer_access(key, &ticket, &said.unwrap_or_else(unavailable));
            }
            Matter::Redeem(redemption) => {
                let said = match said {
                    Ok(said) => self.redeemed_by(admissions::read_taken(&said)),
                    Err(refused) => Redeemed::Unavailable(refused.sentence()),
                };
                self.redeemed(key, redemption, said);
            }
        }
    }

    /// Asks whether other instances have called something back, if it is time.
    pub(super) fn hear_revocations(&mut self) {
        if !self.hearing.beat.begins(self.now.monotonic_micros) {
            return;
        }
        let Some(valkey) = &self.shared.valkey else {
            return;
        };
        let job = Job {
            waiter: Waiter {
                worker: self.index,
                ticket: HEARING_TICKET,
            },
            deadline: self.clock.now().after(valkey.timeout()),
            task: Task::Call(revocations::revoked(valkey.keys(), self.hearing.last)),
        };
        if valkey.submit(job).is_ok() {
            self.hearing.beat.is_sent();
        }
    }

    /// The news has come.
    pub(super) fn revocations_heard(&mut self, reply: Reply) {
        self.hearing.beat.ends();
        let Reply::Called(Ok(answer)) = reply else {
            return;
        };
        let Some((last, news)) = revocations::read_news(&answer) else {
            return;
        };
        self.hearing.last = last;
        if !news.is_empty() {
            // There may be more.
            self.hearing.beat.hurry();
            if let AccessAnswer::Unavailable(sentence) = self.called_back(news) {
                tracing::error!("not every revoked token is refused: {sentence}");
            }
        }
    }

    fn ask_access(&mut self, key: ConnectionKey, matter: Matter, call: Call) -> bool {
        let accessing = Accessing { matter, said: None };
        let then = Then::Access(Box::new(accessing));
        self.park(key, then, vec![Task::Call(call)]);
        false
    }

    /// Whoever got the ticket is let in as if he came with his credential now.
    fn redeemed_by(&self, caller: Option<Arc<Caller>>) -> Redeemed {
        let now = self.now_unix();
        let holds =
            |caller: &Arc<Caller>| caller.is_valid_at(now) && self.desk.still_admits(caller);
        caller.filter(holds).map_or(Redeemed::Unknown, Redeemed::By)
    }

    fn redeemed(&mut self, key: ConnectionKey, redemption: Redemption, said: Redeemed) -> bool {
        let Some(connection) = self.connections.get_mut(key) else {
            return false;
        };
        let peer = connection.stream.client();
        let mut ctx = Context {
            peer,
            ..self.desk.context(&self.shared, self.clock.now(), false)
        };
        let out = self.answers.of(key);
        let turn = connection.session.redeemed(redemption, said, &mut ctx, out);
        self.carry_out(key, turn)
    }

    fn answer_access(&mut self, key: ConnectionKey, ticket: &Ticket, said: &AccessAnswer) -> bool {
        let Some(connection) = self.connections.get_mut(key) else {
            return false;
        };
        let mut ctx = self.desk.context(&self.shared, self.clock.now(), false);
        let out = self.answers.of(key);
        let turn = connection
            .session
            .access_answered(ticket, said, &mut ctx, out);
        self.carry_out(key, turn)
    }

    fn now_unix(&self) -> u64 {
        self.now.wall_micros / 1_000_000
    }
}
