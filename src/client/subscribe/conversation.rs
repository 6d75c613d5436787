//! One connection: subscribes, prints, acknowledges, and notices when nobody is there.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::sync::Arc;

use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use tungstenite::client::{IntoClientRequest, client_with_config};
use tungstenite::http::HeaderValue;
use tungstenite::protocol::WebSocketConfig;
use tungstenite::{Bytes, Error, HandshakeError, Message, WebSocket};

use super::verdict::{self, again};
use super::{Reader, Stop};
use crate::client::dial::{DialError, Dialer, reason};
use crate::client::failure::{Failure, FailureKind};
use crate::client::remote::Credential;
use crate::client::stream::Stream;
use crate::config::Secret;

/// Largest message that is taken: the largest that a server may be set to, and what is around it.
const MESSAGE_BYTES_MAX: usize = 80 << 20;
/// Messages after which what was printed is handed on and acknowledged, also if more are there.
const BATCH_MESSAGES: usize = 256;
/// Most messages that a server hands out and waits for (SPEC section 5).
const WINDOW: u64 = 1_000;

/// What a server says, as far as it is of use here.
#[derive(Debug, Deserialize)]
pub(super) struct Frame<'a> {
    #[serde(rename = "type", borrow)]
    kind: Cow<'a, str>,
    #[serde(borrow, default)]
    pub(super) topic: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    message_id: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    pub(super) timestamp: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    pub(super) payload: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub(super) metadata: Option<&'a RawValue>,
    #[serde(borrow, default)]
    to: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    reason: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    code: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    message: Option<Cow<'a, str>>,
    #[serde(default)]
    positions: BTreeMap<String, String>,
    #[serde(default)]
    recovered: BTreeMap<String, bool>,
}

/// A connection and how far it is.
pub(super) struct Conversation<'r, 'o> {
    reader: &'r mut Reader<'o>,
    socket: WebSocket<Stream>,
    credential: Credential,
    /// What was shown last.
    shown: Option<String>,
    /// Subscribes that have no answer yet, and how many there were.
    unanswered: usize,
    asked: usize,
    /// Code and sentence of the last error.
    told: Option<(String, String)>,
    /// Printed and not yet acknowledged.
    unacknowledged: Vec<String>,
    /// Printed and not yet handed on.
    unflushed: usize,
    /// Whether reads return at once: more may be there.
    is_draining: bool,
    /// Whether nothing has come since it was asked for.
    is_pinged: bool,
}

impl<'r, 'o> Conversation<'r, 'o> {
    /// Connects, and asks for all topics.
    pub(super) fn open(
        dialer: &Arc<Dialer>,
        reader: &'r mut Reader<'o>,
    ) -> Result<Conversation<'r, 'o>, Stop> {
        let stream = dialer.dial().map_err(|error| match error {
            DialError::Away(why) => again(&why, None),
            DialError::Never(_) => reader.unless_it_was_there(error.into()),
        })?;
        let watched = stream.socket().try_clone();
        reader
            .interrupt
            .watch(Some(watched.map_err(|error| broken(&error.into()))?));
        let shown = dialer.authorization();
        let shown = shown.map_err(|failure| reader.unless_it_was_there(failure))?;
        let socket = upgrade(dialer, stream, shown.as_deref(), &mut reader.has_answered)?;
        let interval = Some(reader.order.ping_interval);
        let set = socket.get_ref().socket().set_read_timeout(interval);
        set.map_err(|error| broken(&error.into()))?;
        let mut conversation = Conversation {
            reader,
            socket,
            credential: dialer.credential().clone(),
            shown,
            unanswered: 0,
            asked: 0,
            told: None,
            unacknowledged: Vec::new(),
            unflushed: 0,
            is_draining: false,
            is_pinged: false,
        };
        conversation.subscribe()?;
        Ok(conversation)
    }

    /// Whether the server has accepted all topics.
    pub(super) fn has_subscribed(&self) -> bool {
        self.unanswered == 0
    }

    /// Goes on until there is a reason to stop.
    pub(super) fn run(&mut self) -> Stop {
        let stop = loop {
            if let Err(stop) = self.step() {
                break stop;
            }
        };
        // What was printed counts also if the connection is gone.
        let settled = self.settle();
        if matches!(stop, Stop::Done) || self.reader.interrupt.is_due() {
            // The server notices the end in any case.
            let _ = self.socket.close(None);
            let _ = self.socket.flush();
        }
        match settled {
            Err(Stop::Done) => Stop::Done,
            _ => stop,
        }
    }

    fn step(&mut self) -> Result<(), Stop> {
        if self.reader.output.is_enough() || self.reader.interrupt.is_due() {
            return Err(Stop::Done);
        }
        let message = match self.socket.read() {
            Ok(message) => message,
            Err(Error::Io(error)) if is_timeout(error.kind()) => return self.silence(),
            // A signal, perhaps one that ends the command: the next step knows by then, or is ended by it.
            Err(Error::Io(error)) if error.kind() == ErrorKind::Interrupted => return Ok(()),
            Err(error) => return Err(broken(&error)),
        };
        self.is_pinged = false;
        match message {
            Message::Text(text) => self.take(&text)?,
            Message::Close(frame) => {
                let (code, reason) = match &frame {
                    Some(frame) => (frame.code.into(), frame.reason.as_str()),
                    None => (1005, ""),
                };
                return Err(self.closed(code, reason));
            }
            _ => {}
        }
        if self.unflushed >= BATCH_MESSAGES {
            self.settle()?;
        }
        self.drain(true)
    }

    /// Nothing more is there.
    fn silence(&mut self) -> Result<(), Stop> {
        if self.is_draining {
            self.settle()?;
            return self.drain(false);
        }
        if std::mem::replace(&mut self.is_pinged, true) {
            return Err(again("the server does not answer", None));
        }
        let sent = self.socket.send(Message::Ping(Bytes::new()));
        sent.map_err(|error| broken(&error))
    }

    /// Whether the next read returns at once.
    fn drain(&mut self, is_draining: bool) -> Result<(), Stop> {
        if self.is_draining != is_draining {
            let socket = self.socket.get_ref().socket();
            let set = socket.set_nonblocking(is_draining);
            set.map_err(|error| broken(&error.into()))?;
            self.is_draining = is_draining;
        }
        Ok(())
    }

    fn take(&mut self, text: &str) -> Result<(), Stop> {
        let frame: Frame<'_> = serde_json::from_str(text).map_err(|error| {
            let sentence = format!("the server says what is not understood: {error}");
            Failure::new(FailureKind::Failed, sentence)
        })?;
        match &*frame.kind {
            "message" => self.message(&frame, text),
            "subscribed" => {
                // The gap that follows a loss moves on by itself: a connection that ends before it
                // has come would leave the loss untold.
                let is_whole = |topic: &String| frame.recovered.get(topic) != Some(&false);
                for (topic, place) in frame.positions.iter().filter(|(topic, _)| is_whole(topic)) {
                    self.reader.places.set(topic, place);
                }
                self.unanswered = self.unanswered.saturating_sub(1);
                if self.unanswered == 0 {
                    self.reader.was_there = true;
                    let topics = self.reader.order.topics.join(", ");
                    self.reader.note(&format!("subscribed to {topics}"));
                }
                Ok(())
            }
            "gap" => self.gap(&frame, text),
            "error" => self.error(&frame),
            "auth_expiring" => self.renew(),
            "authenticated" => {
                self.reader.note("the server has taken the new credential");
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn message(&mut self, frame: &Frame<'_>, text: &str) -> Result<(), Stop> {
        if self.reader.output.is_enough() {
            return Err(Stop::Done);
        }
        self.reader.output.message(frame, text)?;
        self.unflushed += 1;
        let (Some(topic), Some(id)) = (&frame.topic, &frame.message_id) else {
            return Ok(());
        };
        self.reader.places.set(topic, id);
        if self.reader.order.is_acking {
            self.unacknowledged.push(id.clone().into_owned());
        }
        Ok(())
    }

    fn gap(&mut self, frame: &Frame<'_>, text: &str) -> Result<(), Stop> {
        let topic = frame.topic.as_deref().unwrap_or_default();
        if let Some(to) = &frame.to {
            self.reader.places.set(topic, to);
        }
        self.unflushed += 1;
        if !self.reader.output.gap(text)? {
            let reason = frame.reason.as_deref().unwrap_or_default();
            self.reader
                .note(&format!("gap in {topic}: messages are lost ({reason})"));
        }
        Ok(())
    }

    fn error(&mut self, frame: &Frame<'_>) -> Result<(), Stop> {
        let code = frame.code.as_deref().unwrap_or_default();
        let sentence = frame.message.as_deref().unwrap_or_default();
        self.told = Some((code.to_owned(), sentence.to_owned()));
        if self.unanswered > 0 && self.unanswered == self.asked {
            // The close frame behind it says more.
            return Ok(());
        }
        if self.unanswered > 0 {
            return Err(verdict::of_error(code, sentence, self.reader.was_there));
        }
        self.reader.note(&format!("the server says: {sentence}"));
        Ok(())
    }

    fn closed(&self, code: u16, reason: &str) -> Stop {
        if code == 4001 {
            match self.new_credential() {
                Ok(None) => {}
                Ok(Some(_)) => {
                    return again("the credential holds no more, and there is a new one", None);
                }
                // It may be there in a moment.
                Err(failure) => return self.reader.unless_it_was_there(failure),
            }
        }
        let was_there = self.reader.was_there;
        verdict::of_close(code, reason, self.told.as_ref(), was_there)
    }

    /// The file of the credential may have been replaced in time.
    fn renew(&mut self) -> Result<(), Stop> {
        // One that cannot be read now is looked for when the server ends the connection.
        let Ok(Some(secret)) = self.new_credential() else {
            return Ok(());
        };
        self.shown = Some(format!("Bearer {}", secret.expose()));
        self.say(&json!({"type": "auth", "token": secret.expose()}))
    }

    /// What is in the file of the credential, if that was not shown yet.
    fn new_credential(&self) -> Result<Option<Secret>, Failure> {
        let Credential::File(_) = self.credential else {
            return Ok(None);
        };
        let read = self.credential.read()?;
        Ok(read.filter(|secret| Some(format!("Bearer {}", secret.expose())) != self.shown))
    }

    /// Hands on what was printed, and acknowledges it then.
    fn settle(&mut self) -> Result<(), Stop> {
        if std::mem::take(&mut self.unflushed) > 0 {
            self.reader.output.flush()?;
        }
        if self.unacknowledged.is_empty() {
            return Ok(());
        }
        let ids = std::mem::take(&mut self.unacknowledged);
        self.drain(false)?;
        self.say(&json!({"type": "ack", "message_ids": ids}))
    }

    fn subscribe(&mut self) -> Result<(), Stop> {
        let requests: Vec<Value> = self
            .reader
            .places
            .requests()
            .into_iter()
            .map(|(topics, offset)| self.request(&topics, offset))
            .collect();
        self.unanswered = requests.len();
        self.asked = requests.len();
        for request in requests {
            self.say(&request)?;
        }
        Ok(())
    }

    fn request(&self, topics: &[&str], offset: &str) -> Value {
        let order = self.reader.order;
        // A member beyond the first ones makes the answer tell the positions.
        let mut request = json!({
            "type": "subscribe",
            "topics": topics,
            "client_id": self.reader.client_id,
            "offset": offset,
            "on_lag": "disconnect",
        });
        if order.is_acking {
            request["delivery_mode"] = json!("at_least_once");
            // What will not be printed is not taken away from others.
            let left = self.reader.output.left().unwrap_or(WINDOW);
            request["window"] = json!(left.clamp(1, WINDOW));
        }
        if let Some(group) = &order.group {
            request["group"] = json!(group);
        }
        request
    }

    fn say(&mut self, what: &Value) -> Result<(), Stop> {
        let sent = self.socket.send(Message::text(what.to_string()));
        sent.map_err(|error| broken(&error))
    }
}

fn upgrade(
    dialer: &Dialer,
    stream: Stream,
    authorization: Option<&str>,
    has_answered: &mut bool,
) -> Result<WebSocket<Stream>, Stop> {
    let failed = |error: &dyn std::fmt::Display| {
        Stop::Failed(Failure::new(FailureKind::Failed, error.to_string()))
    };
    let request = dialer.url().uri("ws", "/ws").into_client_request();
    let mut request = request.map_err(|error| failed(&error))?;
    if let Some(authorization) = authorization {
        let value = HeaderValue::from_str(authorization).map_err(|error| failed(&error))?;
        request.headers_mut().insert("Authorization", value);
    }
    let config = WebSocketConfig::default()
        .max_message_size(Some(MESSAGE_BYTES_MAX))
        .max_frame_size(Some(MESSAGE_BYTES_MAX));
    match client_with_config(request, stream, Some(config)) {
        Ok((socket, _)) => {
            *has_answered = true;
            Ok(socket)
        }
        Err(HandshakeError::Interrupted(_)) => Err(again("no answer in time", None)),
        Err(HandshakeError::Failure(Error::Http(answer))) => {
            *has_answered = true;
            let retry_after = answer.headers().get("retry-after");
            let retry_after = retry_after.and_then(|it| it.to_str().ok()?.parse().ok());
            let body = answer.body().as_deref().unwrap_or_default();
            Err(verdict::of_status(
                answer.status().as_u16(),
                retry_after,
                body,
            ))
        }
        Err(HandshakeError::Failure(error)) => Err(broken(&error)),
    }
}

fn broken(error: &Error) -> Stop {
    let why = match error {
        Error::Io(error) => reason(error),
        Error::ConnectionClosed | Error::AlreadyClosed => "it has ended".to_owned(),
        Error::Protocol(_) => "it has ended without a word".to_owned(),
        error => error.to_string(),
    };
    again(&format!("the connection is broken: {why}"), None)
}

fn is_timeout(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::WouldBlock | ErrorKind::TimedOut)
}
