//! Ports for servers that must come back on the same one.
//!
//! Port 0 would give one of the range that outgoing connections take theirs from: while such a server is down,
//! any client could get it. These lie below that range, and other processes with tests leave them alone.

use std::fs::{self, File};
use std::net::{Ipv4Addr, TcpListener};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};

const FIRST: u32 = 16_000;
const COUNT: u32 = 16_000;

/// How many this process has asked for.
static TAKEN: AtomicU32 = AtomicU32::new(0);
/// Locked as long as this process lives: a port is its own also while nobody listens there.
static LOCKS: Mutex<Vec<File>> = Mutex::new(Vec::new());

/// A port of 127.0.0.1 on which nobody listens, and which this process alone is given, and once.
///
/// # Panics
///
/// When there is none, or no folder for temporary files.
pub fn free_port() -> u16 {
    let folder = std::env::temp_dir().join("pulsar-proxy-test-ports");
    fs::create_dir_all(&folder).expect("there is a folder for temporary files");
    // Tests run in several processes, which need not try the same ones at the same time.
    let start = std::process::id().wrapping_mul(997);
    for _ in 0..COUNT {
        let next = TAKEN.fetch_add(1, Ordering::Relaxed);
        let port = FIRST + start.wrapping_add(next) % COUNT;
        let port = u16::try_from(port).expect("the range ends below 32,000");
        let lock = File::create(folder.join(port.to_string()));
        let lock = lock.ok().filter(|lock| lock.try_lock().is_ok());
        if let (Some(lock), Ok(_)) = (lock, TcpListener::bind((Ipv4Addr::LOCALHOST, port))) {
            let mut locks = LOCKS.lock().unwrap_or_else(PoisonError::into_inner);
            locks.push(lock);
            return port;
        }
    }
    panic!("no port is free");
}
