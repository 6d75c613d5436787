//! Replies of scripts as values. What a server says is not trusted to have the shape it should.

use redis::Value;

use super::{
    ConsumerAction, ConsumerReply, ConsumerTask, HandedOut, NoRoom, SharedAttached, SharedClaim,
    SharedSeat, Unseated,
};
use crate::topic::{Ack, Position};

/// A reply that no script of ours makes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the message store gave a reply that cannot be read")]
pub struct Unreadable;

type Read<T> = Result<T, Unreadable>;

impl ConsumerTask {
    /// What a reply to this task's call says.
    ///
    /// # Errors
    /// When it has another shape; also when it is an error of the server.
    pub fn read(&self, reply: Value) -> Read<ConsumerReply> {
        let mut parts = Parts::of(reply)?;
        let word = parts.bytes()?;
        let reply = match (&self.action, &*word) {
            (ConsumerAction::Attach(_), b"ok") => ConsumerReply::Attached(parts.attached()?),
            (ConsumerAction::Attach(_), b"consumers") => ConsumerReply::NoRoom(NoRoom::Consumers),
            (ConsumerAction::Attach(_), b"members") => ConsumerReply::NoRoom(NoRoom::Members),
            (ConsumerAction::Claim(_), b"ok") => ConsumerReply::Claimed(parts.claim()?),
            (ConsumerAction::Claim(_), b"lost") => ConsumerReply::Unseated(Unseated::Lost),
            (ConsumerAction::Claim(_), b"gone") => ConsumerReply::Unseated(Unseated::Gone),
            (ConsumerAction::Settle(standing), b"ok") => {
                let acks = parts.list(|part| ack(&part))?;
                if acks.len() != standing.positions.len() {
                    return Err(Unreadable);
                }
                let wake = parts.seats()?;
                ConsumerReply::Settled { acks, wake }
            }
            (ConsumerAction::Detach { .. } | ConsumerAction::Bury { .. }, b"ok") => {
                let wake = parts.seats()?;
                ConsumerReply::Done { wake }
            }
            (ConsumerAction::Refresh(seats), b"ok") => {
                let index = |part: Value| {
                    let index = usize::try_from(number(&part)?).map_err(|_| Unreadable)?;
                    (index < seats.len()).then_some(index).ok_or(Unreadable)
                };
                let unseated = parts.list(index)?;
                let wake = parts.seats()?;
                let count = |part: Value| u64::try_from(number(&part)?).map_err(|_| Unreadable);
                let pending = parts.list(count)?;
                ConsumerReply::Refreshed {
                    pending,
                    unseated,
                    wake,
                }
            }
            (ConsumerAction::Drop { .. }, b"ok") => {
                // Below zero for no more.
                let skip = u64::try_from(parts.number()?).ok();
                ConsumerReply::Dropped { skip }
            }
            _ => return Err(Unreadable),
        };
        Ok(reply)
    }
}

/// The elements of an array, one after the other.
struct Parts(std::vec::IntoIter<Value>);

impl Parts {
    fn of(value: Value) -> Read<Parts> {
        match value {
            Value::Array(parts) => Ok(Parts(parts.into_iter())),
            _ => Err(Unreadable),
        }
    }

    fn next(&mut self) -> Read<Value> {
        self.0.next().ok_or(Unreadable)
    }

    fn bytes(&mut self) -> Read<Vec<u8>> {
        bytes(self.next()?)
    }

    fn number(&mut self) -> Read<i64> {
        number(&self.next()?)
    }

    fn unsigned(&mut self) -> Read<u64> {
        u64::try_from(self.number()?).map_err(|_| Unreadable)
    }

    fn flag(&mut self) -> Read<bool> {
        match self.number()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(Unreadable),
        }
    }

    fn position(&mut self) -> Read<Position> {
        position(&self.bytes()?)
    }

    fn list<T>(&mut self, read: impl Fn(Value) -> Read<T>) -> Read<Vec<T>> {
        Parts::of(self.next()?)?.0.map(read).collect()
    }

    /// Seats that are told something, each once.
    fn seats(&mut self) -> Read<Vec<SharedSeat>> {
        let mut seats = self.list(|part| seat(&bytes(part)?))?;
        seats.sort_unstable();
        seats.dedup();
        Ok(seats)
    }

    fn attached(&mut self) -> Read<SharedAttached> {
        Ok(SharedAttached {
            resumed: self.flag()?,
            misses: self.flag()?,
            place: self.position()?,
            begins_behind: self.position()?,
            newest: self.position()?,
            serial: self.unsigned()?,
            has_replaced: !self.bytes()?.is_empty(),
            wake: self.seats()?,
        })
    }

    fn claim(&mut self) -> Read<SharedClaim> {
        let more = self.flag()?;
        // Below zero for never.
        let next_due = u64::try_from(self.number()?).ok();
        Ok(SharedClaim {
            more,
            next_due,
            serial: self.unsigned()?,
            place: self.position()?,
            messages: self.list(handed_out)?,
            dead: self.list(handed_out)?,
            gaps: self.list(gap)?,
            now_millis: self.unsigned()?,
        })
    }
}

fn handed_out(value: Value) -> Read<HandedOut> {
    let mut parts = Parts::of(value)?;
    Ok(HandedOut {
        position: parts.position()?,
        attempt: u32::try_from(parts.number()?).map_err(|_| Unreadable)?,
        ttl: match &*parts.bytes()? {
            b"" => None,
            digits => Some(digits_of(digits)?),
        },
        stored_part: parts.bytes()?,
    })
}

fn gap(value: Value) -> Read<(Position, Position)> {
    let mut parts = Parts::of(value)?;
    Ok((parts.position()?, parts.position()?))
}

fn ack(value: &Value) -> Read<Ack> {
    match number(value)? {
        0 => Ok(Ack::NotPending),
        -1 => Ok(Ack::Reassigned),
        -2 => Ok(Ack::Unknown),
        count => {
            let count = u32::try_from(count).map_err(|_| Unreadable)?;
            Ok(Ack::Acknowledged(count))
        }
    }
}

/// `<instance>:<worker>:<connection>:<number>`.
fn seat(text: &[u8]) -> Read<SharedSeat> {
    let mut parts = text.rsplitn(4, |byte| *byte == b':');
    let mut part = || digits_of(parts.next().ok_or(Unreadable)?);
    let (number, connection) = (part()?, part()?);
    Ok(SharedSeat {
        worker: u8::try_from(part()?).map_err(|_| Unreadable)?,
        connection,
        number,
    })
}

fn position(text: &[u8]) -> Read<Position> {
    let dash = memchr::memchr(b'-', text).ok_or(Unreadable)?;
    let counter = digits_of(&text[dash + 1..])?;
    let counter = u32::try_from(counter).unwrap_or(u32::MAX);
    Ok(Position::new(digits_of(&text[..dash])?, counter))
}

fn digits_of(text: &[u8]) -> Read<u64> {
    let text = std::str::from_utf8(text).map_err(|_| Unreadable)?;
    text.parse().map_err(|_| Unreadable)
}

fn bytes(value: Value) -> Read<Vec<u8>> {
    match value {
        Value::BulkString(bytes) => Ok(bytes),
        Value::SimpleString(text) => Ok(text.into_bytes()),
        _ => Err(Unreadable),
    }
}

fn number(value: &Value) -> Read<i64> {
    match value {
        Value::Int(number) => Ok(*number),
        _ => Err(Unreadable),
    }
}
