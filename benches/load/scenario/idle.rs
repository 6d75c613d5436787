//! What a connection costs that does nothing.

use crate::Outcome;
use crate::args::Common;
use crate::report::{self, Figure};
use crate::server::Server;
use pulsar_proxy::bench::allow_descriptors;
use pulsar_proxy::bench::transport::subscribe;

/// Connections that come first, so that the server's pages that all share are there before the count.
const WARM_UP: usize = 100;

/// User memory of the server for each of `connections` WebSockets, with a topic each.
pub(crate) fn idle(common: &Common, connections: usize) -> Outcome<Figure> {
    allow_descriptors(connections + WARM_UP)?;
    let limit = format!("--max-connections={}", connections + WARM_UP);
    let server = Server::start(common, &[limit])?;
    let mut sockets = Vec::with_capacity(connections + WARM_UP);
    for index in 0..WARM_UP {
        sockets.push(subscribe(&server.target, &server.target.topic(index), "")?);
    }
    let before = server.process.memory()?;
    for index in WARM_UP..WARM_UP + connections {
        sockets.push(subscribe(&server.target, &server.target.topic(index), "")?);
    }
    let after = server.process.memory()?;
    let each = |before: u64, after: u64| (after as f64 - before as f64) / connections as f64;
    let private = each(before.private_dirty, after.private_dirty);
    let megabytes = after.resident as f64 / 1e6;
    let mut figure = Figure::of(report::IDLE, each(before.resident, after.resident));
    figure.note = format!("{private:.0} bytes of it private and dirty; {megabytes:.1} MB resident");
    Ok(figure)
}
