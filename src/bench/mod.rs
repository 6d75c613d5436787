//! Load for a server, and what it made of it: `pulsar-proxy bench`, and the parts of it that the load
//! generator in `benches/load` uses as well.
//!
//! It knows the server as a stranger does and shares no code with it. One thread carries all connections,
//! since the load shall not take the cores from the server; each message carries a stamp, by which its
//! subscribers find out what was lost, doubled or misplaced and how long it took.
//!
//! ```text
//! command ── runs ── Engine ── publishers ──HTTP──► server under load ──WebSocket, SSE, poll──► subscribers ── Engine
//!                                                         │ /proc
//!                                                      Process ──► Report ── text, JSON, Markdown
//! ```

pub mod checker;
pub mod command;
pub mod engine;
pub mod histogram;
mod limits;
mod machine;
mod markdown;
pub mod order;
mod pacer;
pub mod process;
pub mod publisher;
pub mod report;
mod runs;
mod schedule;
mod signals;
pub mod socket;
pub mod spawned;
pub mod subscriber;
pub mod target;
mod text;
mod tidy;
pub mod transport;
mod watch;
pub mod wire;
pub mod workload;

use std::error::Error;

pub use limits::{allow_descriptors, connections_possible};
pub use machine::{Machine, now};
pub use watch::{Progress, Watch};

/// Why nothing can be measured, in a sentence for who asked for it; nothing else depends on which it is.
pub type Failure = Box<dyn Error + Send + Sync>;
/// The result of what may fail for good.
pub type Outcome<T> = Result<T, Failure>;
