//! The rules for the members of each command.

use std::borrow::Cow;

use crate::api::consumer::{self, ACK_TIMEOUT_SECONDS, AtLeastOnce, MAX_DELIVERIES, WINDOW};
use crate::api::offset::Offset;
use crate::topic::TopicName;

use super::fields::{Fields, Given};
use super::{
    ACK_IDS_MAX, Command, CommandError, HEARTBEAT_SECONDS_MAX, NACK_DELAY_SECONDS_MAX, OnLag,
    Subscribe, TOPICS_MAX,
};

pub(super) fn subscribe(fields: Fields<'_>) -> Result<Subscribe<'_>, CommandError> {
    let knows_more = knows_more(&fields);
    let delivery = Delivery {
        mode: fields.delivery_mode,
        group: fields.group,
        ack_timeout: fields.ack_timeout,
        window: fields.window,
        max_deliveries: fields.max_deliveries,
        reset: fields.reset,
    };
    let topics = topics(fields.topics, TOPICS_MAX)?;
    let client_id = name("client_id", fields.client_id)?;
    let offset = offset(fields.offset.as_ref())?;
    Ok(Subscribe {
        topics,
        on_lag: on_lag(fields.on_lag.as_ref())?,
        delivery: delivery.read(&client_id)?,
        heartbeat: heartbeat(fields.heartbeat.as_ref())?,
        tell_positions: knows_more || offset != Offset::Last,
        client_id,
        offset,
    })
}

/// The client uses members that the first version of this interface did not have.
fn knows_more(fields: &Fields<'_>) -> bool {
    [
        &fields.on_lag,
        &fields.delivery_mode,
        &fields.ack_timeout,
        &fields.window,
        &fields.max_deliveries,
        &fields.reset,
        &fields.group,
        &fields.heartbeat,
    ]
    .iter()
    .any(|member| member.is_some())
}

pub(super) fn topics(given: Option<Given<'_>>, max: usize) -> Result<Vec<TopicName>, CommandError> {
    let wrong = |message: String| CommandError::of_field("topics", message);
    let Some(Given::Names(names, count)) = given else {
        return Err(wrong("topics must be a list of names".to_owned()));
    };
    if count == 0 || count > max {
        return Err(wrong(format!(
            "topics must have 1 to {max} names, not {count}"
        )));
    }
    names
        .iter()
        .map(|name| TopicName::parse(name).map_err(|error| wrong(error.to_string())))
        .collect()
}

pub(super) fn ack(fields: Fields<'_>) -> Result<Command<'_>, CommandError> {
    let mut ids = Vec::new();
    if fields.message_id.is_some() || fields.message_ids.is_none() {
        ids.push(message_id(fields.message_id)?);
    }
    match fields.message_ids {
        None => {}
        Some(Given::Names(given, count)) if (1..=ACK_IDS_MAX).contains(&count) => ids.extend(given),
        Some(_) => {
            return Err(CommandError::of_field(
                "message_ids",
                format!("message_ids must be a list of 1 to {ACK_IDS_MAX} strings"),
            ));
        }
    }
    Ok(Command::Ack {
        ids,
        cumulative: flag("cumulative", fields.cumulative.as_ref())?,
        confirm: flag("confirm", fields.confirm.as_ref())?,
    })
}

pub(super) fn auth(fields: Fields<'_>) -> Result<Command<'_>, CommandError> {
    match fields.token {
        Some(Given::Text(token)) if !token.is_empty() => Ok(Command::Auth { token }),
        _ => Err(CommandError::of_field(
            "token",
            "token must be a string that is not empty",
        )),
    }
}

pub(super) fn nack(fields: Fields<'_>) -> Result<Command<'_>, CommandError> {
    let message_id = message_id(fields.message_id)?;
    let delay = match fields.delay {
        None => 0.0,
        Some(Given::Number(seconds))
            if (0.0..=f64::from(NACK_DELAY_SECONDS_MAX)).contains(&seconds) =>
        {
            seconds
        }
        Some(_) => {
            return Err(CommandError::of_field(
                "delay",
                format!("delay must be a number of 0 to {NACK_DELAY_SECONDS_MAX} seconds"),
            ));
        }
    };
    Ok(Command::Nack {
        message_id,
        delay: consumer::micros(delay),
    })
}

fn message_id(given: Option<Given<'_>>) -> Result<Cow<'_, str>, CommandError> {
    match given {
        Some(Given::Text(message_id)) => Ok(message_id),
        _ => Err(CommandError::of_field(
            "message_id",
            "message_id must be a string",
        )),
    }
}

fn name<'m>(field: &'static str, given: Option<Given<'m>>) -> Result<Cow<'m, str>, CommandError> {
    match given {
        Some(Given::Text(name)) if consumer::is_name(&name) => Ok(name),
        _ => Err(CommandError::of_field(
            field,
            format!("{field} must be a string of 1 to 255 characters"),
        )),
    }
}

/// A string that names no place is a failed subscription, also in later messages.
fn offset(given: Option<&Given<'_>>) -> Result<Offset, CommandError> {
    match given {
        None => Ok(Offset::Last),
        Some(Given::Text(text)) => Offset::parse(text).ok_or_else(|| {
            CommandError::of_field(
                "offset",
                "offset must be last, earliest, a message id or a cursor",
            )
            .of_subscribe()
        }),
        Some(_) => Err(CommandError::of_field("offset", "offset must be a string")),
    }
}

fn on_lag(given: Option<&Given<'_>>) -> Result<OnLag, CommandError> {
    match given {
        None => Ok(OnLag::default()),
        Some(Given::Text(text)) if text == "disconnect" => Ok(OnLag::Disconnect),
        Some(Given::Text(text)) if text == "skip" => Ok(OnLag::Skip),
        Some(_) => Err(CommandError::of_field(
            "on_lag",
            "on_lag must be disconnect or skip",
        )),
    }
}

fn heartbeat(given: Option<&Given<'_>>) -> Result<Option<u16>, CommandError> {
    match given {
        None | Some(Given::Null) => Ok(None),
        Some(Given::Number(seconds))
            if is_integer(*seconds, 0..=u32::from(HEARTBEAT_SECONDS_MAX)) =>
        {
            Ok(Some(*seconds as u16))
        }
        Some(_) => Err(CommandError::of_field(
            "heartbeat",
            format!("heartbeat must be an integer of 0 to {HEARTBEAT_SECONDS_MAX} seconds"),
        )),
    }
}

fn flag(field: &'static str, given: Option<&Given<'_>>) -> Result<bool, CommandError> {
    match given {
        None => Ok(false),
        Some(Given::Bool(value)) => Ok(*value),
        Some(_) => Err(CommandError::of_field(
            field,
            format!("{field} must be true or false"),
        )),
    }
}

fn is_integer(number: f64, bounds: std::ops::RangeInclusive<u32>) -> bool {
    number.fract() == 0.0
        && (f64::from(*bounds.start())..=f64::from(*bounds.end())).contains(&number)
}

/// The members of `subscribe` that say how messages are owed.
struct Delivery<'m> {
    mode: Option<Given<'m>>,
    group: Option<Given<'m>>,
    ack_timeout: Option<Given<'m>>,
    window: Option<Given<'m>>,
    max_deliveries: Option<Given<'m>>,
    reset: Option<Given<'m>>,
}

impl Delivery<'_> {
    fn read(self, client_id: &str) -> Result<Option<AtLeastOnce>, CommandError> {
        if !self.is_at_least_once()? {
            return self.nothing_more().map(|()| None);
        }
        let mut consumer = AtLeastOnce::new(client_id);
        if let Some(seconds) = self.ack_timeout {
            consumer.ack_timeout = ack_timeout(&seconds)?;
        }
        if let Some(window) = self.window {
            consumer.window = integer("window", &window, WINDOW)?;
        }
        if let Some(max) = self.max_deliveries {
            consumer.max_deliveries = integer("max_deliveries", &max, MAX_DELIVERIES)?;
        }
        consumer.reset = flag("reset", self.reset.as_ref())?;
        if self.group.is_some() {
            consumer.group = Some(name("group", self.group)?.into());
        }
        Ok(Some(consumer))
    }

    /// A group alone means it too.
    fn is_at_least_once(&self) -> Result<bool, CommandError> {
        match &self.mode {
            None => Ok(self.group.is_some()),
            Some(Given::Text(mode)) if mode == "at_least_once" => Ok(true),
            Some(Given::Text(mode)) if mode == "at_most_once" => Ok(false),
            Some(_) => Err(CommandError::of_field(
                "delivery_mode",
                "delivery_mode must be at_most_once or at_least_once",
            )),
        }
    }

    /// What only at-least-once consumers may ask for is never swallowed.
    fn nothing_more(&self) -> Result<(), CommandError> {
        let members = [
            ("group", &self.group),
            ("ack_timeout", &self.ack_timeout),
            ("window", &self.window),
            ("max_deliveries", &self.max_deliveries),
            ("reset", &self.reset),
        ];
        match members.iter().find(|(_, given)| given.is_some()) {
            None => Ok(()),
            Some((field, _)) => Err(CommandError::of_field(
                field,
                format!("{field} needs delivery_mode at_least_once"),
            )),
        }
    }
}

fn ack_timeout(given: &Given<'_>) -> Result<u64, CommandError> {
    match given {
        Given::Number(seconds) if ACK_TIMEOUT_SECONDS.contains(seconds) => {
            Ok(consumer::micros(*seconds))
        }
        _ => Err(CommandError::of_field(
            "ack_timeout",
            format!(
                "ack_timeout must be a number of {} to {} seconds",
                ACK_TIMEOUT_SECONDS.start(),
                ACK_TIMEOUT_SECONDS.end()
            ),
        )),
    }
}

fn integer(
    field: &'static str,
    given: &Given<'_>,
    bounds: std::ops::RangeInclusive<u32>,
) -> Result<u32, CommandError> {
    match given {
        Given::Number(number) if is_integer(*number, bounds.clone()) => Ok(*number as u32),
        _ => Err(CommandError::of_field(
            field,
            format!(
                "{field} must be an integer of {} to {}",
                bounds.start(),
                bounds.end()
            ),
        )),
    }
}
