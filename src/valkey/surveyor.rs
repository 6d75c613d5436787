//! The thread that looks which primaries a cluster has and what each serves: at the start, every few
//! seconds, and when something was not where it was thought to be.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use redis::{ProtocolVersion, Value, cmd};

use super::cell::{Berth, Cell};
use super::connect::{Address, ConnectError, Connector};
use super::entry::{bytes, number};
use super::lanes::Lanes;
use super::slots::{SLOTS, Served};

/// Between two looks when all is well.
const INTERVAL: Duration = Duration::from_secs(5);
/// The least time between two.
const PAUSE: Duration = Duration::from_millis(50);
/// Time for an answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(1);

/// What it works with.
pub(super) struct Surveyor {
    pub(super) lanes: Arc<Lanes>,
    pub(super) connector: Arc<Connector>,
    /// Nodes that were named by the operator.
    pub(super) seeds: Vec<Address>,
    pub(super) make: Box<dyn Fn(usize, Berth) -> io::Result<Arc<Cell>> + Send>,
    pub(super) is_stopped: Arc<AtomicBool>,
}

impl Surveyor {
    /// Until it is stopped and woken.
    pub(super) fn run(self) {
        let mut first = 0;
        while !self.is_stopped.load(Ordering::Acquire) {
            let whom = self.look(first);
            // Another one next time: one that is cut off from the others may be the last to know.
            first = whom.map_or(0, |whom| whom + 1);
            thread::sleep(PAUSE);
            thread::park_timeout(if whom.is_some() { INTERVAL } else { PAUSE });
        }
    }

    /// Asks one node after the other, beginning with this one; says which one has told.
    fn look(&self, first: usize) -> Option<usize> {
        let mut nodes = self.lanes.addresses();
        let seeds = self.seeds.iter();
        let seeds: Vec<Address> = seeds.filter(|it| !nodes.contains(it)).cloned().collect();
        nodes.extend(seeds);
        for index in 0..nodes.len() {
            if self.is_stopped.load(Ordering::Acquire) {
                return None;
            }
            let at = (first + index) % nodes.len();
            match self.ask(&nodes[at]) {
                Ok(served) => {
                    if let Err(error) = self.lanes.follow(&served, &self.make) {
                        tracing::error!("no lane to a primary of Valkey: {error}");
                    }
                    return Some(at);
                }
                Err(error) => {
                    tracing::debug!("{}:{}: {error}", nodes[at].0, nodes[at].1);
                    self.lanes.does_not_tell(error.text);
                }
            }
        }
        None
    }

    fn ask(&self, node: &Address) -> Result<Vec<Served>, ConnectError> {
        let mut connection = self.connector.connect(node, ProtocolVersion::RESP2)?;
        connection.set_read_timeout(Some(ANSWER_WITHIN))?;
        let slots = cmd("CLUSTER").arg("SLOTS").query::<Value>(&mut connection);
        let slots = slots.map_err(|error| ConnectError {
            text: "Valkey is no cluster, or does not tell of it: see valkey-mode",
            detail: error.to_string(),
        })?;
        let served = served(&slots, node);
        served.filter(|all| !all.is_empty()).ok_or(ConnectError {
            text: "Valkey does not tell how its cluster is",
            detail: "no slots in the answer to CLUSTER SLOTS".to_owned(),
        })
    }
}

/// Reads what `CLUSTER SLOTS` answers; `asked` is the node that did.
fn served(slots: &Value, asked: &Address) -> Option<Vec<Served>> {
    let Value::Array(ranges) = slots else {
        return None;
    };
    let read = |range: &Value| {
        let Value::Array(parts) = range else {
            return None;
        };
        let [first, last, primary, ..] = &parts[..] else {
            return None;
        };
        let slot = |value| u16::try_from(number(value)?).ok().filter(|it| *it < SLOTS);
        Some(Served {
            first: slot(first)?,
            last: slot(last)?,
            primary: address(primary, asked)?,
        })
    };
    ranges.iter().map(read).collect()
}

/// A node that does not know its own name has that by which it was asked.
fn address(node: &Value, asked: &Address) -> Option<Address> {
    let Value::Array(parts) = node else {
        return None;
    };
    let [host, port, ..] = &parts[..] else {
        return None;
    };
    let host = match bytes(host).map(std::str::from_utf8) {
        Some(Ok(host)) if !matches!(host, "" | "?") => host.to_owned(),
        _ => asked.0.clone(),
    };
    Some((host, u16::try_from(number(port)?).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Value {
        Value::BulkString(text.as_bytes().to_vec())
    }

    fn node(host: Value, port: i64) -> Value {
        Value::Array(vec![
            host,
            Value::Int(port),
            text("id"),
            Value::Array(Vec::new()),
        ])
    }

    #[test]
    fn ranges_are_read_with_their_primaries() {
        let asked = ("asked".to_owned(), 1);
        let range = |first, last, nodes: Vec<Value>| {
            let bounds = vec![Value::Int(first), Value::Int(last)];
            Value::Array([bounds, nodes].concat())
        };
        let slots = Value::Array(vec![
            range(0, 5, vec![node(text("a"), 7000), node(text("b"), 7001)]),
            range(6, 6, vec![node(Value::Nil, 7002)]),
            range(7, 16_383, vec![node(text(""), 7003)]),
        ]);
        let one = |first, last, host: &str, port| Served {
            first,
            last,
            primary: (host.to_owned(), port),
        };
        let wanted = [
            one(0, 5, "a", 7000),
            one(6, 6, "asked", 7002),
            one(7, 16_383, "asked", 7003),
        ];
        assert_eq!(served(&slots, &asked).unwrap(), wanted);
        for bad in [
            Value::Nil,
            Value::Array(vec![Value::Int(1)]),
            Value::Array(vec![range(0, 5, vec![])]),
            Value::Array(vec![range(0, 16_384, vec![node(text("a"), 7000)])]),
            Value::Array(vec![range(0, 5, vec![node(text("a"), 70_000)])]),
        ] {
            assert_eq!(served(&bad, &asked), None);
        }
    }
}
