//! What a lane looks up as soon as it has a connection, before it does anything else: the epoch of
//! what is stored, or, of a primary of a cluster that has not that, whether it serves at all.

use redis::{Cmd, Value, cmd};

use super::connect::ConnectError;
use super::entry::number;
use super::lane::Carrier;
use super::link::Link;
use super::trouble::{self, Trouble};

impl Carrier {
    /// Looks at what the node has.
    ///
    /// # Errors
    /// When it does not serve, or nobody knows the epoch yet.
    pub(super) fn greet(&mut self, link: &mut Link) -> Result<(), ConnectError> {
        let is_told = if self.keeps_epoch() {
            self.look_up_epoch(link)?
        } else {
            // One also connects to a cluster that is down.
            let probe = cmd("GET").arg(&self.commands.echo_channel).take();
            self.ask(link, &probe)?;
            false
        };
        if !is_told && self.office.lanes.epoch().is_none() {
            return Err(ConnectError {
                text: "the Valkey cluster is being connected to",
                detail: "the epoch, which another node has, is not known yet".to_owned(),
            });
        }
        Ok(())
    }

    /// Whether the epoch is stored where this lane leads.
    pub(super) fn keeps_epoch(&self) -> bool {
        let key = self.commands.keys.epoch();
        self.office.lanes.leads_to(self.cell.index, &key)
    }

    /// Tells the listeners the epoch, of which there is one from now on, and returns `true`, unless
    /// another node has it.
    pub(super) fn look_up_epoch(&mut self, link: &mut Link) -> Result<bool, ConnectError> {
        let key = self.commands.keys.epoch();
        let get = cmd("GET").arg(&key).take();
        let mut answer = self.ask(link, &get)?;
        if answer == Some(Value::Nil) {
            let set = cmd("SET").arg(&key).arg(self.new_epoch()).arg("NX").take();
            answer_to_write(link.ask(&set)?)?;
            answer = self.ask(link, &get)?;
        }
        if let Some(answer) = &answer {
            self.tell_epoch(answer);
        }
        Ok(answer.is_some())
    }

    /// The answer; `None` when another node has it, or will have it soon.
    fn ask(&self, link: &mut Link, command: &Cmd) -> Result<Option<Value>, ConnectError> {
        match trouble::check(link.ask(command)?) {
            Ok(answer) => Ok(Some(answer)),
            Err(Trouble::Moved) => {
                self.office.lanes.look_again();
                Ok(None)
            }
            Err(trouble) => Err(unfit(&trouble)),
        }
    }

    /// Where nothing is stored, everything starts over. But in a cluster a fail-over may have lost
    /// the epoch alone: what other nodes have is what it was.
    fn new_epoch(&self) -> u32 {
        match self.office.lanes.epoch() {
            Some((known, by)) if by != self.node => known,
            _ => fastrand::u32(..1 << 20),
        }
    }

    /// Whether there is one.
    pub(super) fn tell_epoch(&mut self, answer: &Value) -> bool {
        if let Some(bits) = number(answer).and_then(|bits| u32::try_from(bits).ok()) {
            self.office.lanes.tell_epoch(bits, self.node.as_ref());
        }
        *answer != Value::Nil
    }
}

/// A server that cannot take a new epoch now, since its memory or its disk is full, is connected
/// to all the same: it can be read, and the next look says more. So it is with a slot that moves.
fn answer_to_write(answer: Value) -> Result<(), ConnectError> {
    match trouble::check(answer) {
        Ok(_) | Err(Trouble::NoMemory | Trouble::Later | Trouble::Moved) => Ok(()),
        Err(trouble) => Err(unfit(&trouble)),
    }
}

fn unfit(trouble: &Trouble) -> ConnectError {
    ConnectError {
        text: match trouble {
            Trouble::Unfit(text) => text,
            _ => "Valkey does not do what is needed",
        },
        detail: format!("{trouble:?}"),
    }
}
