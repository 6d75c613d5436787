//! `pulsar-proxy pub`: gives messages to a topic, each once, also when the server is busy or away for a while.

mod bulk;
mod input;
mod progress;
mod sending;

use std::io::{self, Write};
use std::time::Duration;

use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use super::failure::{Failure, FailureKind};
use super::harmless::harmless;
use super::remote::Remote;
use bulk::Bulks;
use input::Feed;
use progress::Progress;
use sending::Sending;

/// What to publish where.
#[derive(Debug)]
pub struct Publish {
    /// The server.
    pub remote: Remote,
    /// The topic.
    pub topic: String,
    /// One payload, as typed; `None` for one a line on standard input.
    pub payload: Option<String>,
    /// Whether what is no JSON object becomes `{"text": …}`.
    pub is_text: bool,
    /// Seconds after which the messages are not delivered any more.
    pub ttl: Option<u64>,
    /// What they carry beside the payload.
    pub metadata: Vec<(String, String)>,
    /// Time for which one request is tried again. `None`: half a minute, but a server that cannot be
    /// reached at the very beginning is not waited for.
    pub retry_for: Option<Duration>,
    /// Whether answers are printed whole.
    pub is_json: bool,
    /// Whether nothing is said but failures.
    pub is_quiet: bool,
}

/// How messages are written: everything but the payload.
#[derive(Debug)]
struct Form {
    front: String,
    back: String,
    is_text: bool,
}

/// Publishes, and prints what came of it: the id of one message, or a summary of many.
///
/// # Errors
/// When the server is not there, or refuses something; when nobody takes what is printed.
pub fn publish(order: &Publish) -> Result<(), Failure> {
    let form = Form::new(order)?;
    if let Some(warning) = order.remote.warning().filter(|_| !order.is_quiet) {
        // Whoever closed it does not want to know.
        let _ = writeln!(io::stderr(), "pulsar-proxy: {warning}");
    }
    let sending = Sending::new(&order.remote, order.retry_for)?;
    match &order.payload {
        Some(payload) => one(order, &form, sending, payload),
        None => lines(order, form, sending),
    }
}

fn one(order: &Publish, form: &Form, mut sending: Sending, payload: &str) -> Result<(), Failure> {
    let payload = form.payload(payload.as_bytes());
    let payload =
        payload.map_err(|why| Failure::new(FailureKind::Usage, format!("the payload: {why}")))?;
    let message = form.message(&payload);
    let mut patience = sending.patience();
    let answer = sending.send("/api/v1/messages", message.as_bytes(), &mut patience)?;
    if !matches!(answer.status, 201 | 202) {
        return Err(sending::refused(&answer));
    }
    let said: Value = serde_json::from_str(&answer.text).unwrap_or_default();
    let shown = match said["message_id"].as_str() {
        Some(id) if !order.is_json => id,
        _ => &answer.text,
    };
    if order.is_quiet && !order.is_json {
        return Ok(());
    }
    // JSON for programs goes as it came.
    match order.is_json {
        true => print(shown),
        false => print(&harmless(shown)),
    }
}

fn lines(order: &Publish, form: Form, sending: Sending) -> Result<(), Failure> {
    let feed = Feed::of_stdin()?;
    let progress = Progress::start(order.is_quiet);
    let mut bulks = Bulks::new(form, sending, order.is_json, progress);
    while let Some(lines) = feed.take() {
        bulks.publish(lines)?;
    }
    bulks.finish(feed.trouble())
}

fn print(text: &str) -> Result<(), Failure> {
    let written = writeln!(io::stdout(), "{text}");
    written.map_err(|error| Failure::new(FailureKind::Failed, format!("standard output: {error}")))
}

impl Form {
    fn new(order: &Publish) -> Result<Form, Failure> {
        let mut back = String::new();
        if let Some(seconds) = order.ttl {
            back.push_str(&format!(",\"ttl\":{seconds}"));
        }
        if !order.metadata.is_empty() {
            let pairs = order.metadata.iter();
            let pairs: Map<String, Value> = pairs
                .map(|(key, text)| (key.clone(), json!(text)))
                .collect();
            back.push_str(&format!(",\"metadata\":{}", Value::Object(pairs)));
        }
        back.push('}');
        let topic = serde_json::to_string(&order.topic);
        let topic = topic.map_err(|error| Failure::new(FailureKind::Failed, error))?;
        Ok(Form {
            front: format!("{{\"topic\":{topic},\"payload\":"),
            back,
            is_text: order.is_text,
        })
    }

    /// The payload that a text stands for.
    fn payload(&self, text: &[u8]) -> Result<String, &'static str> {
        let text = std::str::from_utf8(text)
            .map_err(|_| "it is not valid UTF-8")?
            .trim();
        let is_object = text.starts_with('{') && serde_json::from_str::<&RawValue>(text).is_ok();
        match (is_object, self.is_text) {
            (true, _) => Ok(text.to_owned()),
            (false, true) => Ok(json!({ "text": text }).to_string()),
            (false, false) => Err("it is no JSON object; --text wraps other text in one"),
        }
    }

    fn message(&self, payload: &str) -> String {
        [&self.front, payload, &self.back].concat()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form(is_text: bool) -> Form {
        Form {
            front: "{\"topic\":\"a\",\"payload\":".to_owned(),
            back: ",\"ttl\":1}".to_owned(),
            is_text,
        }
    }

    #[test]
    fn objects_are_passed_on_and_other_text_is_wrapped_on_demand() {
        assert_eq!(
            form(false).payload(b" {\"n\": 1.0}\r").unwrap(),
            "{\"n\": 1.0}"
        );
        for other in ["Hello", "{\"n\":", "[1]", "1", "\"x\""] {
            assert!(form(false).payload(other.as_bytes()).is_err());
            let wrapped = form(true).payload(other.as_bytes()).unwrap();
            assert_eq!(wrapped, json!({ "text": other }).to_string());
        }
        assert!(form(true).payload(b"\xff").is_err());
        assert_eq!(
            form(true).message("{}"),
            "{\"topic\":\"a\",\"payload\":{},\"ttl\":1}"
        );
    }
}
