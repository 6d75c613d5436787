//! What the bytes ask for: routes, publish bodies, WebSocket commands, and the JSON of answers.
//! No sockets and no clocks; sessions drive this.

mod json;
pub mod publish;
