//! At-least-once consumers on Valkey: the scripts on a real server, at a clock of the test.
#![expect(clippy::unwrap_used, reason = "all of this is a test")]

mod bench;
mod differential;
mod leases;
mod operations;
mod promises;
