//! What `pulsar-proxy bench` is asked for.

use std::time::Duration;

use crate::config::Secret;

/// A whole measurement.
#[derive(Clone, Debug)]
pub struct Order {
    /// The server.
    pub place: Place,
    /// What is put on it, one after the other.
    pub loads: Vec<Load>,
    /// How long each is measured.
    pub duration: Duration,
    /// How long each runs before.
    pub warmup: Duration,
    /// The form of the result.
    pub output: Output,
    /// The command line, without secrets, for who wants to repeat it.
    pub command_line: String,
}

/// The server under load.
#[derive(Clone, Debug)]
pub enum Place {
    /// One of its own: started for each load from the same executable.
    Own(Own),
    /// One that runs already.
    Running(Running),
}

/// Servers that are started.
#[derive(Clone, Debug)]
pub struct Own {
    /// Their arguments beside those that the load makes necessary.
    pub arguments: Vec<String>,
    /// The same without secrets.
    pub shown: Vec<String>,
}

/// A server that runs already.
#[derive(Clone, Debug)]
pub struct Running {
    /// Name or address.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// What stands in front of every path, empty or with a slash at its beginning only.
    pub base: String,
    /// API key or access token.
    pub credential: Option<Secret>,
    /// Its process, when it is not the one that listens there.
    pub pid: Option<u32>,
    /// What to know before the credential is sent to it.
    pub warning: Option<&'static str>,
}

impl Running {
    /// Host and port as `Host` has them.
    pub fn authority(&self) -> String {
        let Self { host, port, .. } = self;
        match host.contains(':') {
            true => format!("[{host}]:{port}"),
            false => format!("{host}:{port}"),
        }
    }

    /// Its address.
    pub fn url(&self) -> String {
        format!("http://{}{}", self.authority(), self.base)
    }
}

/// One load.
#[derive(Clone, Debug)]
pub struct Load {
    /// What it does.
    pub scenario: Scenario,
    /// Publishing connections.
    pub connections: usize,
    /// Subscribing connections; in `idle` those that do nothing, in `poll` those that wait.
    pub subscribers: usize,
    /// Topics they are spread over.
    pub topics: usize,
    /// Size of a message as published, in bytes.
    pub message_bytes: usize,
    /// Messages in a request.
    pub messages: usize,
    /// Messages a second; as many as go without it.
    pub rate: Option<u64>,
}

/// What a load does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Scenario {
    /// Connections publish.
    Publish,
    /// Connections publish to WebSocket subscribers.
    Fanout,
    /// WebSocket connections are opened, do nothing, and then get one message each.
    Idle,
    /// Connections publish to clients that long-poll.
    Poll,
}

impl Scenario {
    /// Every scenario.
    pub const ALL: [Scenario; 4] = [
        Scenario::Publish,
        Scenario::Fanout,
        Scenario::Idle,
        Scenario::Poll,
    ];

    /// Its name on the command line and in results.
    pub fn name(self) -> &'static str {
        match self {
            Scenario::Publish => "publish",
            Scenario::Fanout => "fanout",
            Scenario::Idle => "idle",
            Scenario::Poll => "poll",
        }
    }

    /// What its operations are, one of them.
    pub fn operation(self) -> &'static str {
        match self {
            Scenario::Publish => "publish",
            Scenario::Fanout | Scenario::Poll => "delivery",
            Scenario::Idle => "connection",
        }
    }
}

/// The form of the result.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Output {
    /// For reading.
    Text,
    /// For programs.
    Json,
    /// For pasting.
    Markdown,
}
