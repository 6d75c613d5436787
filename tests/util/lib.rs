//! What the black-box tests share: the server under test, clients that speak bytes, and the checker.
//!
//! Nothing here knows the inside of the program. Every wait has a deadline, and none is a fixed
//! pause: what a test waits for is always something that a client could see.

pub mod bearer;
pub mod browser;
pub mod checker;
pub mod command;
pub mod consumer;
pub mod contract;
pub mod devtools;
pub mod event_stream;
pub mod everywhere;
pub mod http;
pub mod journal;
pub mod link;
pub mod metrics;
pub mod owed;
pub mod poll;
pub mod ports;
pub mod random;
pub mod roaming;
pub mod secrets;
pub mod server;
pub mod stream;

pub mod tokens;
pub mod told;
pub mod valkey;
pub mod websocket;
pub mod wire;

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

pub use command::{Ended, Running};
pub use everywhere::everywhere;
pub use http::{Http, Response};
pub use link::{Cut, Link};
pub use poll::Poller;
pub use random::Random;
pub use roaming::{Fate, RoamingPublisher};
pub use server::{Program, Server};
pub use stream::{Item, Stream};
pub use valkey::{Valkey, ValkeyCluster, ValkeyProxy, ValkeySentinel, ValkeySetup};
pub use websocket::{Client, Event};
pub use wire::{Frame, Wire};

/// How long any single wait may take before the test fails. Generous, because test machines are
/// small and busy; a healthy server answers in microseconds.
pub const DEADLINE: Duration = Duration::from_secs(20);

/// Runs a test with one worker and with several, which must behave alike.
pub fn with_workers(test: impl Fn(&str)) {
    for workers in ["1", "4"] {
        eprintln!("with --workers {workers}");
        test(workers);
    }
}

/// Polls until `condition` holds.
///
/// # Panics
///
/// When it does not hold within `deadline`; `what` says what was waited for.
pub fn wait_until(what: &str, deadline: Duration, mut condition: impl FnMut() -> bool) {
    let end = Instant::now() + deadline;
    while !condition() {
        assert!(Instant::now() < end, "not within {deadline:?}: {what}");
        // Only the time between two looks: the condition decides, not the pause.
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Raises this process's limit of open files to the hard limit and returns it.
pub fn raise_descriptor_limit() -> u64 {
    rlimit::increase_nofile_limit(u64::MAX).unwrap_or(0)
}

/// Checks that a JSON object has these keys and no others.
///
/// # Panics
///
/// When it has not, or is no object.
pub fn assert_keys(object: &serde_json::Value, keys: &[&str]) {
    let object = object
        .as_object()
        .unwrap_or_else(|| panic!("no object: {object}"));
    let found: BTreeSet<&str> = object.keys().map(String::as_str).collect();
    assert_eq!(found, keys.iter().copied().collect(), "{object:?}");
}
