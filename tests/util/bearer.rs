//! Requests with a credential.

use std::net::SocketAddr;

use crate::wire::{handshake_with, subscribe};
use crate::{Http, Response, Wire};

/// Asks for the topics, on a connection of its own.
pub fn ask(address: SocketAddr, credential: &str) -> Response {
    let bearer = format!("Bearer {credential}");
    let headers = [("Authorization", &*bearer)];
    Http::open(address).request("GET", "/api/v1/topics", &headers, b"")
}

/// A WebSocket that is subscribed to the topic `t`.
///
/// # Panics
///
/// When it may not be.
pub fn subscribed(address: SocketAddr, credential: &str) -> Wire {
    let bearer = format!("Bearer {credential}");
    let bytes = handshake_with(address, &[("Authorization", &bearer)]);
    let (mut wire, answer) = Wire::handshake(address, bytes);
    assert_eq!(answer.status, 101);
    wire.send(0x81, subscribe("t").as_bytes());
    assert_eq!(wire.read_json()["type"], "subscribed");
    wire
}
