//! What this tier counts. Plain numbers, relaxed: whoever renders them needs no order among them.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::metrics::ValkeyStats;

/// What a lane asks Valkey for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Operation {
    /// Store messages.
    Publish,
    /// Look whether messages have been stored.
    Find,
    /// Read a stream on.
    Read,
    /// Run a script.
    Call,
    /// Look up where a topic's newest message stands.
    Tail,
    /// Say a number on the echo channel.
    Echo,
    /// Look up the epoch and the time.
    Epoch,
}

impl Operation {
    /// All, in the order of their counters.
    pub const ALL: [Operation; 7] = [
        Operation::Publish,
        Operation::Find,
        Operation::Read,
        Operation::Call,
        Operation::Tail,
        Operation::Echo,
        Operation::Epoch,
    ];

    /// Its name in metrics.
    pub fn name(self) -> &'static str {
        match self {
            Operation::Publish => "publish",
            Operation::Find => "find",
            Operation::Read => "read",
            Operation::Call => "call",
            Operation::Tail => "tail",
            Operation::Echo => "echo",
            Operation::Epoch => "epoch",
        }
    }
}

/// How it ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ending {
    /// Done.
    Success,
    /// Valkey refused it, for good or for now.
    Refused,
    /// The connection was lost before the answer came.
    Lost,
}

impl Ending {
    /// All, in the order of their counters.
    pub const ALL: [Ending; 3] = [Ending::Success, Ending::Refused, Ending::Lost];

    /// Its name in metrics.
    pub fn name(self) -> &'static str {
        match self {
            Ending::Success => "success",
            Ending::Refused => "refused",
            Ending::Lost => "lost",
        }
    }
}

/// Counters of all lanes together.
#[derive(Debug, Default)]
pub struct ValkeyCounters {
    operations: [[AtomicU64; Ending::ALL.len()]; Operation::ALL.len()],
    /// Pipelines sent.
    pub pipelines: AtomicU64,
    /// Orders sent in them.
    pub orders: AtomicU64,
    /// Publications sent once more, since the answer was lost or Valkey could not take them yet.
    pub retries: AtomicU64,
    /// Connections made.
    pub connects: AtomicU64,
    /// Tries to connect that failed.
    pub connect_failures: AtomicU64,
    /// Lanes whose breaker is open now.
    pub breakers_open: AtomicU64,
    /// Bytes of publications that wait for Valkey or its answer now.
    pub queue_bytes: AtomicU64,
    /// Jobs refused because too many bytes waited.
    pub refused_full: AtomicU64,
    /// Jobs refused because there was no connection.
    pub refused_away: AtomicU64,
    /// Jobs refused because their time was up.
    pub refused_late: AtomicU64,
}

impl ValkeyCounters {
    /// How many operations have ended so.
    pub fn operations(&self, operation: Operation, ending: Ending) -> u64 {
        self.operations[operation as usize][ending as usize].load(Ordering::Relaxed)
    }

    /// Tells what lanes know.
    pub(super) fn tell(&self, stats: &mut ValkeyStats) {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        for operation in Operation::ALL {
            for ending in Ending::ALL {
                let count = self.operations(operation, ending);
                let names = (operation.name(), ending.name());
                stats.operations.push((names.0, names.1, count));
            }
        }
        stats.pipelines = read(&self.pipelines);
        stats.orders = read(&self.orders);
        stats.retries = read(&self.retries);
        stats.connects = [read(&self.connects), read(&self.connect_failures)];
        stats.queue_bytes = read(&self.queue_bytes);
        stats.refused = vec![
            ("full", read(&self.refused_full)),
            ("away", read(&self.refused_away)),
            ("late", read(&self.refused_late)),
        ];
    }

    pub(super) fn count(&self, operation: Operation, ending: Ending) {
        self.operations[operation as usize][ending as usize].fetch_add(1, Ordering::Relaxed);
    }
}

/// One more.
pub(super) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_operation_and_ending_has_its_counter() {
        let counters = ValkeyCounters::default();
        for (at, operation) in Operation::ALL.into_iter().enumerate() {
            assert_eq!(operation as usize, at, "{}", operation.name());
            for (at, ending) in Ending::ALL.into_iter().enumerate() {
                assert_eq!(ending as usize, at, "{}", ending.name());
                assert_eq!(counters.operations(operation, ending), 0);
                counters.count(operation, ending);
                assert_eq!(counters.operations(operation, ending), 1);
            }
        }
    }
}
