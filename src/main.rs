//! The `pulsar-proxy` program.

fn main() {}
