//! What a lane does with the orders it has taken: looks for those that may have been stored before,
//! sends all others as one pipeline, and settles each with its answer.

use std::sync::atomic::Ordering;
use std::time::Duration;

use redis::Value;
use smallvec::SmallVec;

use super::counters::{Ending, Operation, count};
use super::entry::{self, parse_position};
use super::job::{Call, Job, Refused, Reply, Task, Waiter};
use super::lane::{Broken, CANARY_INTERVAL, Carrier};
use super::link::{Link, time_millis};
use super::order::Order;
use super::post::Mail;
use super::queue::Pending;
use super::strand;
use super::trouble::{self, Trouble};
use crate::moment::micros;
use crate::topic::Position;

/// What was sent is looked for from so long before: clocks of servers differ, and step.
const CLOCK_MARGIN_MILLIS: u64 = 10_000;
/// How often the log hears of refusals that nobody expected.
const COMPLAINT_INTERVAL: Duration = Duration::from_secs(1);
/// Room for commands that is kept.
const PACKED_BYTES_KEPT: usize = 8 << 20;

impl Carrier {
    /// Carries out what is in flight.
    ///
    /// # Errors
    /// When the connection is of no use any more. What must be tried again is in flight then.
    pub(super) fn work(&mut self, link: &mut Link, echo: Option<u64>) -> Result<(), Broken> {
        self.refuse_expired();
        self.is_sent = false;
        let since_millis = link.now_millis.saturating_sub(CLOCK_MARGIN_MILLIS);
        let worked = self.seek_and_send(link, echo);
        if worked.is_err() {
            self.mark_lost(since_millis);
        }
        self.again.append(&mut self.flight);
        std::mem::swap(&mut self.again, &mut self.flight);
        if worked.is_ok() {
            self.cell.lane.queue.put_back(&mut self.flight);
        }
        worked
    }

    fn seek_and_send(&mut self, link: &mut Link, echo: Option<u64>) -> Result<(), Broken> {
        if std::mem::take(&mut self.needs_epoch) && self.keeps_epoch() {
            let found = self.look_up_epoch(link);
            found.map_err(|error| Broken::Unfit(error.text))?;
        }
        self.seek(link)?;
        self.send(link, echo)
    }

    fn refuse_expired(&mut self) {
        let now = self.now();
        for pending in std::mem::take(&mut self.flight) {
            if pending.deadline <= now {
                self.refuse(pending, Refused::TooLate);
            } else {
                self.flight.push_back(pending);
            }
        }
    }

    /// What was sent and has no answer may have been stored.
    fn mark_lost(&mut self, since_millis: u64) {
        for (pending, _) in self.held.drain(..).rev() {
            self.flight.push_front(pending);
        }
        if !self.is_sent {
            return;
        }
        for mut pending in std::mem::take(&mut self.flight) {
            let operation = operation(&pending.order);
            self.office.counters.count(operation, Ending::Lost);
            match &mut pending.order {
                Order::Job(Job {
                    task: Task::Publish(publication),
                    ..
                }) => {
                    publication.sent_since.get_or_insert(since_millis);
                    pending.is_sought = false;
                }
                Order::Job(Job {
                    task: Task::Call(Call { is_repeatable, .. }),
                    ..
                }) if !*is_repeatable => {
                    self.refuse(pending, Refused::TooLate);
                    continue;
                }
                _ => {}
            }
            self.flight.push_back(pending);
        }
    }

    /// Sends everything as one pipeline and takes the answers.
    fn send(&mut self, link: &mut Link, echo: Option<u64>) -> Result<(), Broken> {
        let started = self.now();
        let is_canary = started >= self.canary_at;
        let canary = is_canary.then(|| self.keeps_epoch());
        let waits = self.pack(echo, canary);
        if self.commands.packed.is_empty() {
            return Ok(());
        }
        count(&self.office.counters.pipelines);
        let orders = self.flight.len() as u64;
        self.office
            .counters
            .orders
            .fetch_add(orders, Ordering::Relaxed);
        self.is_sent = true;
        link.send(&self.commands.packed)?;
        for _ in 0..self.flight.len() {
            let answer = self.receive(link, started)?;
            if let Some(pending) = self.flight.pop_front() {
                self.settle(pending, answer, link);
            }
        }
        if waits {
            let answer = self.receive(link, started)?;
            self.settle_held(answer);
        }
        if let Some(keeps_epoch) = canary {
            self.take_canary(link, started, keeps_epoch)?;
        }
        if echo.is_some() {
            let answer = self.receive(link, started)?;
            // What it says about others is said by theirs.
            let _ = self.check(Operation::Echo, answer);
        }
        self.unfit
            .take()
            .map_or(Ok(()), |text| Err(Broken::Unfit(text)))
    }

    /// Whether replicas are waited for. `canary` says whether the epoch is where it looks.
    fn pack(&mut self, echo: Option<u64>, canary: Option<bool>) -> bool {
        let commands = &mut self.commands;
        if commands.packed.capacity() > PACKED_BYTES_KEPT {
            commands.packed = Vec::new();
        }
        commands.packed.clear();
        let mut publishes = !self.held.is_empty();
        for pending in &self.flight {
            match &pending.order {
                Order::Job(job) => match &job.task {
                    Task::Publish(publication) => {
                        publishes = true;
                        commands.publish(publication);
                    }
                    Task::Read(read) => commands.read(read),
                    Task::Call(call) => commands.run(call),
                    Task::Beginning(topic) | Task::Sync(topic) => commands.beginning(topic),
                },
                Order::Tail(topic) => commands.tail(topic),
                Order::ReadOn { topic, behind } => commands.read_on(topic, *behind),
                Order::Echo(number) => commands.echo(*number),
            }
        }
        let settings = &self.office.settings;
        let waits = publishes && settings.wait > 0;
        if waits {
            // The answer must come before the connection counts as lost.
            let millis = (settings.timeout.as_millis() * 3 / 4) as u64;
            commands.wait(settings.wait, millis);
        }
        if let Some(keeps_epoch) = canary {
            commands.look(keeps_epoch);
            commands.time();
        }
        if let Some(number) = echo {
            commands.echo(number);
        }
        waits
    }

    fn take_canary(
        &mut self,
        link: &mut Link,
        started: u64,
        keeps_epoch: bool,
    ) -> Result<(), Broken> {
        let epoch = self.receive(link, started)?;
        let epoch = self.check(Operation::Epoch, epoch);
        self.needs_epoch = keeps_epoch && epoch.is_ok_and(|epoch| !self.tell_epoch(&epoch));
        let time = self.receive(link, started)?;
        self.canary_at = started + micros(CANARY_INTERVAL);
        if let Some(millis) = time_millis(&time) {
            link.now_millis = link.now_millis.max(millis);
        }
        Ok(())
    }

    pub(super) fn receive(&mut self, link: &mut Link, started: u64) -> Result<Value, Broken> {
        let answer = link.receive()?;
        if self.now().saturating_sub(started) > micros(self.office.settings.timeout) {
            return Err(Broken::Late);
        }
        Ok(answer)
    }

    /// What is to be done about an answer that refuses.
    pub(super) fn check(&mut self, operation: Operation, answer: Value) -> Result<Value, Trouble> {
        let checked = trouble::check(answer);
        let ending = if checked.is_ok() {
            Ending::Success
        } else {
            Ending::Refused
        };
        self.office.counters.count(operation, ending);
        match &checked {
            Ok(_) | Err(Trouble::NoMemory) => {}
            Err(Trouble::NoScript) => {
                self.commands.scripts.forget();
                self.needs_pause = true;
            }
            Err(Trouble::Later) => self.needs_pause = true,
            Err(Trouble::Moved) => self.office.lanes.look_again(),
            Err(Trouble::Unfit(text)) => self.unfit = Some(text),
            Err(Trouble::Other(text)) => self.complain(operation, text),
        }
        checked
    }

    fn complain(&mut self, operation: Operation, text: &str) {
        let now = self.now();
        if now >= self.complained_at {
            self.complained_at = now + micros(COMPLAINT_INTERVAL);
            tracing::error!("Valkey refuses to {}: {text}", operation.name());
        }
    }

    fn settle(&mut self, pending: Pending, answer: Value, link: &mut Link) {
        match self.check(operation(&pending.order), answer) {
            Ok(answer) => self.done(pending, answer, link),
            Err(Trouble::NoMemory) => self.refuse(pending, Refused::OutOfMemory),
            Err(Trouble::Other(_)) => self.refuse(pending, Refused::Error),
            Err(Trouble::NoScript | Trouble::Later | Trouble::Unfit(_)) => {
                count(&self.office.counters.retries);
                self.again.push_back(pending);
            }
            Err(Trouble::Moved) => {
                count(&self.office.counters.retries);
                self.put_aside(pending);
            }
        }
    }

    fn done(&mut self, pending: Pending, answer: Value, link: &mut Link) {
        if let Order::Job(Job {
            task: Task::Publish(publication),
            ..
        }) = &pending.order
        {
            let positions = entry::positions(&answer);
            let positions: Option<Vec<_>> = positions.and_then(|all| all.into_iter().collect());
            match positions.filter(|all| all.len() == publication.messages.len()) {
                Some(positions) => {
                    let newest = positions.last().map_or(0, |newest| newest.millis());
                    link.now_millis = link.now_millis.max(newest);
                    self.stored(pending, positions);
                }
                None => self.refuse(pending, Refused::Error),
            }
            return;
        }
        self.release(&pending);
        match pending.order {
            Order::Job(Job {
                waiter,
                task: Task::Call(_),
                ..
            }) => self.reply(waiter, Reply::Called(Ok(answer))),
            Order::Job(Job { waiter, task, .. }) => self.tell_read(waiter, &task, answer),
            Order::Tail(topic) => {
                let last = match &answer {
                    Value::Nil => Some(Position::ZERO),
                    answer => entry::bytes(answer).and_then(parse_position),
                };
                self.listener.opened(&topic, last.ok_or(Refused::Error));
            }
            Order::ReadOn { topic, .. } => {
                let strand = entry::strand(answer).ok_or(Refused::Error);
                self.listener.mended(&topic, strand);
            }
            Order::Echo(_) => {}
        }
    }

    fn tell_read(&mut self, waiter: Waiter, task: &Task, answer: Value) {
        let raw = entry::strand(answer).ok_or(Refused::Error);
        let reply = match task {
            Task::Read(read) => Reply::Read(raw.map(|raw| {
                let now = self.office.clock.now();
                strand::frame(&raw, &read.topic, read.behind, &self.office.store, now)
            })),
            Task::Beginning(_) => {
                Reply::Beginning(raw.map(|raw| strand::begins_behind(&raw, Position::ZERO)))
            }
            // Lanes are given none of these.
            Task::Publish(_) | Task::Sync(_) | Task::Call(_) => task.refusal()(Refused::Error),
        };
        self.reply(waiter, reply);
    }

    /// Stored: the publisher hears of it, unless replicas must have it as well.
    pub(super) fn stored(&mut self, pending: Pending, positions: Vec<Position>) {
        if self.office.settings.wait > 0 {
            self.held.push((pending, positions));
        } else {
            self.published(pending, positions);
        }
    }

    fn settle_held(&mut self, answer: Value) {
        let replicas = self.check(Operation::Publish, answer).ok();
        let replicas = replicas.as_ref().and_then(entry::number).unwrap_or(0);
        let is_enough = replicas >= u64::from(self.office.settings.wait);
        for (pending, positions) in std::mem::take(&mut self.held) {
            if is_enough {
                self.published(pending, positions);
            } else {
                self.refuse(pending, Refused::TooLate);
            }
        }
    }

    fn published(&mut self, pending: Pending, positions: Vec<Position>) {
        self.release(&pending);
        if let Order::Job(job) = pending.order {
            let positions = SmallVec::from_vec(positions);
            self.reply(job.waiter, Reply::Published(Ok(positions)));
        }
    }

    /// Puts a reply with the others for its worker.
    pub(super) fn reply(&mut self, waiter: Waiter, reply: Reply) {
        let worker = usize::from(waiter.worker);
        if self.outgoing.len() <= worker {
            self.outgoing.resize_with(worker + 1, Vec::new);
        }
        self.outgoing[worker].push(Mail::Reply(waiter.ticket, reply));
    }
}

fn operation(order: &Order) -> Operation {
    match order {
        Order::Job(Job {
            task: Task::Publish(_),
            ..
        }) => Operation::Publish,
        Order::Job(Job {
            task: Task::Call(_),
            ..
        }) => Operation::Call,
        Order::Job(_) | Order::ReadOn { .. } => Operation::Read,
        Order::Tail(_) => Operation::Tail,
        Order::Echo(_) => Operation::Echo,
    }
}
