//! `pulsar-proxy pub`: gives messages to a topic.

use std::io::{self, Write};
use std::sync::Arc;

use serde_json::value::RawValue;

use super::dial::Dialer;
use super::failure::{Failure, FailureKind};
use super::http::Http;
use super::remote::Remote;

/// What to publish where.
#[derive(Debug)]
pub struct Publish {
    /// The server.
    pub remote: Remote,
    /// The topic.
    pub topic: String,
    /// A JSON object.
    pub payload: Box<RawValue>,
    /// Whether the whole answer is printed instead of the id.
    pub is_json: bool,
}

/// Publishes and prints what came of it.
///
/// # Errors
/// When the server is not there, refuses, or nobody takes what is printed.
pub fn publish(order: &Publish) -> Result<(), Failure> {
    let http = Http::new(Arc::new(Dialer::new(&order.remote)?));
    let key = format!("{:032x}", u128::from_ne_bytes(random()?));
    let body = serde_json::to_vec(&Body {
        topic: &order.topic,
        payload: &order.payload,
    });
    let body = body.map_err(|error| Failure::new(FailureKind::Failed, error))?;
    let answer = http.post("/api/v1/messages", &key, &body)?;
    if answer.status != 201 {
        let kind = match answer.status {
            401 | 403 => FailureKind::Denied,
            _ => FailureKind::Failed,
        };
        return Err(Failure::new(kind, answer.sentence()));
    }
    let said: serde_json::Value = serde_json::from_str(&answer.text).unwrap_or_default();
    let shown = match said["message_id"].as_str() {
        Some(id) if !order.is_json => id,
        _ => &answer.text,
    };
    writeln!(io::stdout(), "{shown}").map_err(|error| Failure::new(FailureKind::Failed, error))
}

#[derive(serde::Serialize)]
struct Body<'a> {
    topic: &'a str,
    payload: &'a RawValue,
}

fn random<const LEN: usize>() -> Result<[u8; LEN], Failure> {
    let mut bytes = [0; LEN];
    getrandom::fill(&mut bytes).map_err(|error| Failure::new(FailureKind::Failed, error))?;
    Ok(bytes)
}
