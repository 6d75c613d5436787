//! What the bytes ask for: routes, publish bodies, WebSocket commands, origins, and the JSON of
//! answers. No sockets and no clocks; sessions drive this.

pub mod ack;
pub mod close_reason;
pub mod command;
pub mod consumer;
pub mod dead_letter;
pub mod delivery;
pub mod error;
mod json;
pub mod new_topic;
pub mod offset;
pub mod origin;
pub mod poll;
pub mod publish;
pub mod query;
pub mod reply;
pub mod revocation;
pub mod route;
pub mod stream;
pub mod topics;
mod validation;
