//! A lane's connection: made ready for work, then bytes out and answers in.

use std::time::Duration;

use redis::{Cmd, Connection, ProtocolVersion, RedisError, Value, cmd};

use super::connect::{Address, ConnectError, Connector};
use super::entry::number;
use super::node::{Node, version_error};
use super::trouble;

/// The server's name for a connection. What was sent on it may still be executed when it has long
/// been given up here, unless the server is told to end it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Trace {
    run_id: String,
    client: u64,
}

/// A connection that is ready for orders.
pub(super) struct Link {
    connection: Connection,
    /// What the server says of itself.
    pub(super) node: Node,
    /// How the server knows this connection, if it may be told.
    pub(super) trace: Option<Trace>,
    /// The server's clock in milliseconds, when it was last told.
    pub(super) now_millis: u64,
}

impl Link {
    /// Connects, looks at what is there, and has the server end the connections
    /// of `traces`.
    ///
    /// # Errors
    /// When there is no connection, or the server is not fit to work with.
    pub(super) fn open(
        connector: &Connector,
        address: &Address,
        timeout: Duration,
        traces: &[Trace],
    ) -> Result<Link, ConnectError> {
        let mut connection = connector.connect(address, ProtocolVersion::RESP2)?;
        connection.set_read_timeout(Some(timeout))?;
        connection.set_write_timeout(Some(timeout))?;
        let first = [
            cmd("INFO"),
            cmd("CLIENT").arg("ID").take(),
            cmd("TIME"),
            cmd("CONFIG").arg("GET").arg("appendfsync").take(),
        ];
        let [info, client, time, fsync] = exchange(&mut connection, &first)?;
        let node = Node::new(&info, &fsync);
        if let Some(text) = node.refusal(connector.is_of_cluster()) {
            return Err(ConnectError {
                text,
                detail: version_error(&node),
            });
        }
        let now_millis = time_millis(&time).ok_or_else(|| unexpected(time))?;
        let trace = number(&client).zip(node.run_id.clone());
        let mut link = Link {
            connection,
            node,
            trace: trace.map(|(client, run_id)| Trace { run_id, client }),
            now_millis,
        };
        link.end(traces)?;
        Ok(link)
    }

    /// Has the server end other connections, so that what was sent on them is either done by now
    /// or never will be.
    fn end(&mut self, traces: &[Trace]) -> Result<(), ConnectError> {
        for trace in traces {
            // Numbers start over with each start of a server.
            if self.node.run_id.as_ref() != Some(&trace.run_id) {
                continue;
            }
            let kill = cmd("CLIENT").arg("KILL").arg("ID").arg(trace.client).take();
            let [answer] = exchange(&mut self.connection, &[kill])?;
            if let Err(trouble) = trouble::check(answer) {
                tracing::warn!(
                    "Valkey does not let us end our own lost connection ({trouble:?}): a message \
                     that was under way may be stored twice; allow the user CLIENT|KILL"
                );
            }
        }
        Ok(())
    }

    /// Sends commands.
    pub(super) fn send(&mut self, commands: &[u8]) -> Result<(), RedisError> {
        self.connection.send_packed_command(commands)
    }

    /// The next answer, also one that refuses.
    pub(super) fn receive(&mut self) -> Result<Value, RedisError> {
        self.connection.recv_response()
    }

    /// Sends one command and takes its answer.
    pub(super) fn ask(&mut self, command: &Cmd) -> Result<Value, RedisError> {
        self.send(&command.get_packed_command())?;
        self.receive()
    }
}

/// What `TIME` answers, in milliseconds.
pub(super) fn time_millis(answer: &Value) -> Option<u64> {
    let Value::Array(parts) = answer else {
        return None;
    };
    let [seconds, micros] = &parts[..] else {
        return None;
    };
    Some(number(seconds)?.checked_mul(1000)? + number(micros)? / 1000)
}

fn exchange<const N: usize>(
    connection: &mut Connection,
    commands: &[Cmd; N],
) -> Result<[Value; N], RedisError> {
    let mut packed = Vec::new();
    for command in commands {
        command.write_packed_command(&mut packed);
    }
    connection.send_packed_command(&packed)?;
    let mut answers = [const { Value::Nil }; N];
    for answer in &mut answers {
        *answer = connection.recv_response()?;
    }
    Ok(answers)
}

fn unexpected(answer: Value) -> ConnectError {
    match trouble::check(answer) {
        Ok(answer) => unfit(format!("unexpected answer {answer:?}")),
        Err(trouble) => unfit(format!("{trouble:?}")),
    }
}

fn unfit(detail: String) -> ConnectError {
    ConnectError {
        text: "Valkey does not do what is needed",
        detail,
    }
}
