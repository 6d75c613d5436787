//! Ports for servers that must come back on the same one.
//!
//! Port 0 would give one of the range that outgoing connections take theirs from: while such a server is down,
//! any client could get it. These lie below that range.

use std::net::{Ipv4Addr, TcpListener};
use std::sync::atomic::{AtomicU32, Ordering};

const FIRST: u32 = 16_000;
const COUNT: u32 = 16_000;

/// How many this process has asked for.
static TAKEN: AtomicU32 = AtomicU32::new(0);

/// A port of 127.0.0.1 on which nobody listens, and which this process gives out once.
///
/// # Panics
///
/// When there is none.
pub fn free_port() -> u16 {
    // Tests run in several processes, which should not try the same ones at the same time.
    let start = std::process::id().wrapping_mul(997);
    for _ in 0..COUNT {
        let next = TAKEN.fetch_add(1, Ordering::Relaxed);
        let port = FIRST + start.wrapping_add(next) % COUNT;
        let port = u16::try_from(port).expect("the range ends below 32,000");
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return port;
        }
    }
    panic!("no port is free");
}
