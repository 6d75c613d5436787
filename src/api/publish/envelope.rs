//! The outer members of publish bodies: finds them, and checks the syntax of all the rest on the
//! way. Of members with the same key the last counts.

use crate::api::validation::scan::{Scanner, Span, SyntaxError};
use crate::api::validation::text::unescape;

/// Most messages that are remembered of one bulk; the rest is counted.
pub(super) const MESSAGES_MAX: usize = 100;

/// What a message says, not yet checked against the rules.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fields {
    /// The whole message.
    pub(super) whole: Span,
    pub(super) topic: Option<Span>,
    pub(super) payload: Option<Span>,
    pub(super) ttl: Option<Span>,
    pub(super) metadata: Option<Metadata>,
}

/// A message's member `metadata`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Metadata {
    pub(super) span: Span,
    /// It is an object, and all values in it are strings.
    pub(super) all_strings: bool,
}

/// The place of a message: an object, or something else that stands there.
#[derive(Clone, Copy, Debug)]
pub(super) enum Message {
    Object(Fields),
    Other(Span),
}

/// What a bulk body says.
#[derive(Clone, Debug)]
pub(super) enum Bulk {
    Object {
        whole: Span,
        messages: Option<Messages>,
    },
    Other(Span),
}

/// A bulk's member `messages`.
#[derive(Clone, Debug)]
pub(super) enum Messages {
    List {
        span: Span,
        /// The first [`MESSAGES_MAX`] of them.
        first: Vec<Message>,
        /// How many there are.
        count: usize,
    },
    Other(Span),
}

/// Scans a message inside `depth` open brackets.
pub(super) fn message(scanner: &mut Scanner<'_>, depth: usize) -> Result<Message, SyntaxError> {
    if scanner.peek() != Some(b'{') {
        return Ok(Message::Other(scanner.value(depth)?));
    }
    let (mut topic, mut payload, mut ttl, mut meta) = (None, None, None, None);
    let ((), whole) = scanner.spanned(|scanner| {
        scanner.members(|scanner, key| {
            match known_key(scanner.text(), key) {
                Key::Topic => topic = Some(scanner.value(depth + 1)?),
                Key::Payload => payload = Some(scanner.value(depth + 1)?),
                Key::Ttl => ttl = Some(scanner.value(depth + 1)?),
                Key::Metadata => meta = Some(metadata(scanner, depth + 1)?),
                Key::Messages | Key::Other => {
                    scanner.value(depth + 1)?;
                }
            }
            Ok(())
        })
    })?;
    Ok(Message::Object(Fields {
        whole,
        topic,
        payload,
        ttl,
        metadata: meta,
    }))
}

/// Scans the body of a bulk.
pub(super) fn bulk(scanner: &mut Scanner<'_>) -> Result<Bulk, SyntaxError> {
    if scanner.peek() != Some(b'{') {
        return Ok(Bulk::Other(scanner.value(0)?));
    }
    let mut found = None;
    let ((), whole) = scanner.spanned(|scanner| {
        scanner.members(|scanner, key| {
            if known_key(scanner.text(), key) == Key::Messages {
                found = Some(messages(scanner)?);
            } else {
                scanner.value(1)?;
            }
            Ok(())
        })
    })?;
    Ok(Bulk::Object {
        whole,
        messages: found,
    })
}

fn messages(scanner: &mut Scanner<'_>) -> Result<Messages, SyntaxError> {
    if scanner.peek() != Some(b'[') {
        return Ok(Messages::Other(scanner.value(1)?));
    }
    let (mut first, mut count) = (Vec::new(), 0);
    let ((), span) = scanner.spanned(|scanner| {
        scanner.elements(|scanner| {
            let message = message(scanner, 2)?;
            if count < MESSAGES_MAX {
                first.push(message);
            }
            count += 1;
            Ok(())
        })
    })?;
    Ok(Messages::List { span, first, count })
}

fn metadata(scanner: &mut Scanner<'_>, depth: usize) -> Result<Metadata, SyntaxError> {
    if scanner.peek() != Some(b'{') {
        return Ok(Metadata {
            span: scanner.value(depth)?,
            all_strings: false,
        });
    }
    let mut all_strings = true;
    let ((), span) = scanner.spanned(|scanner| {
        scanner.members(|scanner, _| {
            all_strings &= scanner.peek() == Some(b'"');
            scanner.value(depth + 1)?;
            Ok(())
        })
    })?;
    Ok(Metadata { span, all_strings })
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Key {
    Topic,
    Payload,
    Ttl,
    Metadata,
    Messages,
    Other,
}

fn known_key(text: &str, key: Span) -> Key {
    match key.of(text) {
        "\"topic\"" => Key::Topic,
        "\"payload\"" => Key::Payload,
        "\"ttl\"" => Key::Ttl,
        "\"metadata\"" => Key::Metadata,
        "\"messages\"" => Key::Messages,
        quoted if quoted.contains('\\') => escaped_key(quoted),
        _ => Key::Other,
    }
}

fn escaped_key(quoted: &str) -> Key {
    match unescape(quoted).as_deref() {
        Ok("topic") => Key::Topic,
        Ok("payload") => Key::Payload,
        Ok("ttl") => Key::Ttl,
        Ok("metadata") => Key::Metadata,
        Ok("messages") => Key::Messages,
        _ => Key::Other,
    }
}
