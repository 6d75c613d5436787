//! Pulsar Proxy: JSON messages in over HTTP, out over WebSocket.

pub mod http;
pub mod topic;
