//! Whole conversations under virtual time.

use crate as pulsar_proxy;

mod bodies;
mod client;
mod conversation;
mod limits;
mod requests;
mod splits;
mod websocket;
mod websocket_life;
