//! The loads.

pub(crate) mod churn;
pub(crate) mod consumers;
pub(crate) mod groups;
pub(crate) mod idle;
pub(crate) mod polls;
pub(crate) mod replay;
pub(crate) mod slow;
pub(crate) mod throughput;

use std::io::{Read, Write};
use std::net::SocketAddr;

use crate::Outcome;
use crate::socket::connect;
use crate::wire::decode_answer;

/// Descriptors of this process besides its connections.
const OWN_DESCRIPTORS: u64 = 64;

/// Sees to it that this process may have so many connections.
fn allow_descriptors(connections: usize) -> Outcome<()> {
    let wanted = connections as u64 + OWN_DESCRIPTORS;
    let allowed = rlimit::increase_nofile_limit(wanted)?;
    if allowed < wanted {
        return Err(format!("{wanted} descriptors are needed, {allowed} allowed").into());
    }
    Ok(())
}

/// The body that `GET path` is answered with.
fn fetch(address: SocketAddr, path: &str) -> Outcome<String> {
    let mut stream = connect(address)?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    let mut input = Vec::new();
    stream.read_to_end(&mut input)?;
    let (answer, _) = decode_answer(&input)?.ok_or("half an answer")?;
    if answer.status != 200 {
        return Err(format!("{path} answered {}", answer.status).into());
    }
    Ok(String::from_utf8(answer.body.to_vec())?)
}

/// The sum of all samples of one metric, of those whose labels contain `label`.
fn metric(address: SocketAddr, name: &str, label: &str) -> Outcome<f64> {
    let text = fetch(address, "/metrics")?;
    let mut sum = 0.0;
    for line in text.lines() {
        let Some(rest) = line.strip_prefix(name) else {
            continue;
        };
        let own = rest.starts_with([' ', '{']) && rest.contains(label);
        if let (true, Some((_, value))) = (own, rest.rsplit_once(' ')) {
            sum += value.parse::<f64>()?;
        }
    }
    Ok(sum)
}
