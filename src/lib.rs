//! Pulsar Proxy: JSON messages in over HTTP, out over WebSocket.

pub mod api;
pub mod cli;
pub mod config;
pub mod fanout;
pub mod http;
pub mod logging;
pub mod metrics;
pub mod moment;
pub mod server;
pub mod session;
pub mod topic;
pub mod worker;
pub mod ws;
