//! Command line of the load generator.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, Subcommand, ValueEnum};

/// Measures a Pulsar Proxy server: throughput, CPU per operation, memory, latency.
#[derive(Parser, Debug)]
#[command(name = "load", max_term_width = 100)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) scenario: Scenario,
    #[command(flatten)]
    pub(crate) common: Common,
}

/// What every scenario takes.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct Common {
    /// Seconds of each measured round
    #[arg(long, global = true, default_value_t = 3.0)]
    pub(crate) seconds: f64,
    /// Measured rounds; the median is reported
    #[arg(long, global = true, default_value_t = 3)]
    pub(crate) rounds: usize,
    /// Worker threads of the server [default: one per core]
    #[arg(long, global = true, default_value_t = cores())]
    pub(crate) workers: usize,
    /// Size of a publish body, in bytes
    #[arg(long, global = true, default_value_t = 256)]
    pub(crate) body_bytes: usize,
    /// Program to start as the server [default: the one built with this bench]
    #[arg(long, global = true)]
    pub(crate) server: Option<PathBuf>,
    /// One more argument for the server, may be repeated
    #[arg(long, global = true, allow_hyphen_values = true)]
    pub(crate) server_arg: Vec<String>,
    /// API key or token that connections show, for a server that asks for one
    #[arg(long, global = true)]
    pub(crate) credential: Option<String>,
    /// Measure a server that runs already, such as 127.0.0.1:8080 (needs --pid)
    #[arg(long, global = true)]
    pub(crate) url: Option<String>,
    /// Process id of the server at --url
    #[arg(long, global = true)]
    pub(crate) pid: Option<u32>,
    /// Show what the server logs
    #[arg(long, global = true)]
    pub(crate) verbose: bool,
}

impl Common {
    pub(crate) fn round(&self) -> Duration {
        Duration::from_secs_f64(self.seconds)
    }
}

/// The loads that can be put on a server.
#[derive(Subcommand, Clone, Debug)]
pub(crate) enum Scenario {
    /// Keep-alive connections that each publish one message after the other
    Publish {
        /// Publishing connections
        #[arg(long, default_value_t = 64)]
        connections: usize,
    },
    /// One topic with many WebSocket subscribers
    Fanout {
        /// Subscribing connections
        #[arg(long, default_value_t = 1000)]
        subscribers: usize,
        /// Publish the next message when every subscriber has the one before
        #[arg(long)]
        one_at_a_time: bool,
    },
    /// One topic for each of many subscribers: a publish and one delivery each
    Pairs {
        /// Subscribing connections, and topics
        #[arg(long, default_value_t = 1000)]
        subscribers: usize,
    },
    /// Bulk requests without subscribers
    Bulk {
        /// Publishing connections
        #[arg(long, default_value_t = 64)]
        connections: usize,
        /// Messages in a request
        #[arg(long, default_value_t = 50)]
        messages: usize,
    },
    /// Memory of idle WebSockets, each with one subscription to a topic of its own
    Idle {
        /// WebSocket connections
        #[arg(long, default_value_t = 10_000)]
        connections: usize,
    },
    /// Polls that wait, in memory each, and their answers after one publish
    Polls {
        /// Waiting polls
        #[arg(long, default_value_t = 10_000)]
        waiters: usize,
        /// A topic for each of them
        #[arg(long)]
        topic_each: bool,
    },
    /// All that is kept of a topic, to one consumer, over each transport
    Replay {
        /// Messages in the topic
        #[arg(long, default_value_t = 100_000)]
        messages: usize,
    },
    /// Server-Sent Events to many clients, beside WebSockets
    Stream {
        /// Clients
        #[arg(long, default_value_t = 1000)]
        subscribers: usize,
    },
    /// A consumer that acknowledges each message, or many at once, beside one that does not
    AtLeastOnce,
    /// What the kernel alone takes: bare threads that receive and send without parsing
    Floor {
        /// Connections that receive the frame of each request
        #[arg(long, default_value_t = 1000)]
        subscribers: usize,
    },
    /// A subscriber that never reads beside many that do
    Slow(Slow),
    /// Connections that come, resume, vanish and stay, while messages flow
    Churn(Churn),
    /// Members of a group that are killed: how soon the others have what they held
    Groups(Groups),
    /// Everything but slow, churn and groups, as a Markdown table
    All,
    /// Serve as the bare floor (started by the generator itself)
    #[command(hide = true)]
    FloorServer,
}

/// Options of the `slow` scenario.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct Slow {
    /// Subscribers that read
    #[arg(long, default_value_t = 100)]
    pub(crate) readers: usize,
    /// Publish bodies altogether, in MB
    #[arg(long, default_value_t = 200)]
    pub(crate) megabytes: u64,
    /// Publishing rate, in MB a second
    #[arg(long, default_value_t = 10)]
    pub(crate) rate: u64,
    /// Size of a publish body, in bytes
    #[arg(long, default_value_t = 16_384)]
    pub(crate) message_bytes: usize,
    /// `--memory-max` of the server, in MiB
    #[arg(long, default_value_t = 64)]
    pub(crate) memory_max: u64,
    /// What the subscriber that never reads asks for
    #[arg(long, value_enum, default_value_t = OnLag::Disconnect)]
    pub(crate) on_lag: OnLag,
}

/// `on_lag` of a subscribe (SPEC section 5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum OnLag {
    Disconnect,
    Skip,
}

impl OnLag {
    pub(crate) fn name(self) -> &'static str {
        match self {
            OnLag::Disconnect => "disconnect",
            OnLag::Skip => "skip",
        }
    }
}

/// Options of the `churn` scenario; it lasts `--seconds`.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct Churn {
    /// Subscribers that stay
    #[arg(long, default_value_t = 100)]
    pub(crate) readers: usize,
    /// Topics they are spread over
    #[arg(long, default_value_t = 10)]
    pub(crate) topics: usize,
    /// Messages published a second
    #[arg(long, default_value_t = 2000)]
    pub(crate) rate: u64,
}

/// Options of the `groups` scenario.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct Groups {
    /// Members that are killed, one after the other
    #[arg(long, default_value_t = 100)]
    pub(crate) kills: usize,
    /// Messages that each of them holds without having acknowledged them, at most 10000
    #[arg(long, default_value_t = 1000)]
    pub(crate) pending: usize,
    /// Members that stay
    #[arg(long, default_value_t = 3)]
    pub(crate) others: usize,
}

/// Cores this process may use.
pub(crate) fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}
