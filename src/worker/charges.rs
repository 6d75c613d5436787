//! Tells other instances what clients were charged here, and hears what they were charged there. One worker
//! does it for all.

use super::Worker;
use super::beat::Beat;
use crate::quota::{Charge, Who};
use crate::valkey::charges::{self, SharedCharge};
use crate::valkey::{Job, Reply, Task, Waiter};

/// The ticket of an exchange: there is one at a time.
pub(super) const EXCHANGE_TICKET: u64 = (u64::MAX >> 1) - 1;

/// Clients of one exchange; others wait for the next one.
const CLIENTS_MAX: usize = 4_096;

/// How far an exchange is.
#[derive(Debug)]
pub(super) struct Exchange {
    pub(super) beat: Beat,
    /// The last entry that was heard of, as Valkey names it.
    last: Vec<u8>,
}

impl Exchange {
    /// Of a worker that does it, or does not.
    pub(super) fn new(does_it: bool) -> Exchange {
        Exchange {
            beat: Beat::new(does_it),
            last: Vec::new(),
        }
    }
}

impl Worker {
    /// Begins an exchange, if it is time for one.
    pub(super) fn exchange_charges(&mut self) {
        if !self.exchange.beat.begins(self.now.monotonic_micros) {
            return;
        }
        let quotas = &self.shared.quotas;
        let Some(valkey) = self.shared.valkey.as_ref().filter(|_| quotas.is_used()) else {
            return;
        };
        let told: Vec<SharedCharge> = quotas.take_charges(CLIENTS_MAX).iter().map(told).collect();
        let instance = &*self.shared.consumer_terms.instance;
        let call = charges::exchange(valkey.keys(), &self.exchange.last, instance, &told);
        let job = Job {
            waiter: Waiter {
                worker: self.index,
                ticket: EXCHANGE_TICKET,
            },
            deadline: self.clock.now().after(valkey.timeout()),
            task: Task::Call(call),
        };
        // Without Valkey each instance counts for itself, and what could not be told is let go.
        if valkey.submit(job).is_ok() {
            self.exchange.beat.is_sent();
        }
    }

    /// The others have been heard.
    pub(super) fn charges_heard(&mut self, reply: Reply) {
        self.exchange.beat.ends();
        let Reply::Called(Ok(answer)) = reply else {
            return;
        };
        if let Some((last, told)) = charges::heard(&answer) {
            self.exchange.last = last;
            let charges = told.into_iter().filter_map(|charge| {
                Some(Charge {
                    who: Who(charge.who),
                    limit: charge.limit.try_into().ok()?,
                    count: charge.count,
                })
            });
            self.shared.quotas.owe(charges);
        }
    }
}

fn told(charge: &Charge) -> SharedCharge {
    SharedCharge {
        who: charge.who.0,
        limit: charge.limit.get(),
        count: charge.count,
    }
}
