//! What the bytes ask for: routes, publish bodies, WebSocket commands, origins, and the JSON of
//! answers. No sockets and no clocks; sessions drive this.

pub mod command;
pub mod consumer;
pub mod delivery;
pub mod error;
mod json;
pub mod offset;
pub mod origin;
pub mod publish;
pub mod query;
pub mod reply;
pub mod route;
pub mod topics;
