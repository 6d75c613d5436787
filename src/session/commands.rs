//! What the messages of a WebSocket client lead to: effects, or errors (SPEC section 5).

use super::charging::charge_command;
use super::context::Context;
use super::rights::{Rights, no_reading_sentence};
use super::websocket::{append_text, closed};
use super::{AckReply, Acknowledge, CloseReason, Effect, SubscribeRequest, Turn};
use crate::api::command::{Command, CommandError, CommandErrorCode, OnLag, Subscribe};
use crate::api::reply;
use crate::moment::Timestamp;
use crate::topic::TopicName;

/// The first message, which decides whether there is a conversation at all.
pub(super) fn join(
    first: Result<Subscribe<'_>, CommandError>,
    rights: &Rights,
    ctx: &mut Context<'_>,
    out: &mut Vec<u8>,
) -> Turn {
    match first {
        Ok(subscribe) => match rights.unreadable(&subscribe.topics) {
            None => Turn::effect(Effect::Subscribe(Box::new(request(subscribe)))),
            Some(topic) => {
                let error = forbidden(topic).of_subscribe();
                last_error(&error, CloseReason::Forbidden, ctx, out)
            }
        },
        Err(error) => refuse_first(&error, ctx, out),
    }
}

/// The first message is no subscribe that can be made: it is the last one, too.
pub(super) fn refuse_first(error: &CommandError, ctx: &mut Context<'_>, out: &mut Vec<u8>) -> Turn {
    last_error(error, CloseReason::SubscribeFailed, ctx, out)
}

/// Says what is wrong, and that it is the end.
fn last_error(
    error: &CommandError,
    reason: CloseReason,
    ctx: &mut Context<'_>,
    out: &mut Vec<u8>,
) -> Turn {
    let told = refuse(error, ctx, out);
    let word = match reason {
        CloseReason::SubscribeFailed => "",
        _ => reason.as_str(),
    };
    Turn {
        error: told.error,
        ..closed(reason, word, out)
    }
}

/// Says what is wrong; the connection goes on.
pub(super) fn refuse(error: &CommandError, ctx: &mut Context<'_>, out: &mut Vec<u8>) -> Turn {
    append_text(ctx, out, |json| reply::error(json, error));
    Turn {
        error: Some(error.code.as_str()),
        ..Turn::default()
    }
}

/// The credential holds no more, for this reason in a word: the connection ends.
pub(super) fn unauthorized(
    sentence: &str,
    word: &str,
    ctx: &mut Context<'_>,
    out: &mut Vec<u8>,
) -> Turn {
    let error = CommandError::new(CommandErrorCode::Unauthorized, sentence);
    let told = refuse(&error, ctx, out);
    Turn {
        error: told.error,
        ..closed(CloseReason::Unauthorized, word, out)
    }
}

fn forbidden(topic: &TopicName) -> CommandError {
    CommandError::new(CommandErrorCode::Forbidden, no_reading_sentence(topic))
}

/// Another credential for the connection. Where none are asked for any is as good.
fn renew(credential: &str, ctx: &mut Context<'_>, out: &mut Vec<u8>) -> Turn {
    let now = ctx.now.wall_micros / 1_000_000;
    let Some(gate) = ctx.gate.as_deref_mut() else {
        authenticated(&Rights::default(), ctx, out);
        return Turn::default();
    };
    match gate.admit(credential, now) {
        Ok(caller) => Turn::effect(Effect::Renew(Rights::of(caller))),
        Err(denied) => {
            let code = CommandErrorCode::Unauthorized;
            refuse(&CommandError::new(code, denied.to_string()), ctx, out)
        }
    }
}

/// Tells until when a credential holds.
pub(super) fn authenticated(rights: &Rights, ctx: &mut Context<'_>, out: &mut Vec<u8>) {
    let end = rights.caller().and_then(|caller| caller.expires_at);
    let end = end.map(Timestamp::of_unix);
    append_text(ctx, out, |json| {
        reply::authenticated(json, end.as_ref().map(Timestamp::as_str));
    });
}

/// Any later message.
pub(super) fn open(
    command: Result<Command<'_>, CommandError>,
    rights: &Rights,
    ctx: &mut Context<'_>,
    out: &mut Vec<u8>,
) -> Turn {
    let is_charged = matches!(command, Ok(Command::Subscribe(_) | Command::Auth { .. }));
    if is_charged && let Err(error) = charge_command(rights, ctx) {
        return refuse(&error, ctx, out);
    }
    match command {
        Ok(Command::Subscribe(subscribe)) => match rights.unreadable(&subscribe.topics) {
            None => Turn::effect(Effect::Subscribe(Box::new(request(subscribe)))),
            Some(topic) => refuse(&forbidden(topic), ctx, out),
        },
        Ok(Command::Auth { token }) => renew(&token, ctx, out),
        Ok(Command::Unsubscribe { topics }) => Turn::effect(Effect::Unsubscribe(topics)),
        // At most once: delivered is delivered.
        Ok(Command::Ack {
            ids,
            cumulative,
            confirm,
        }) => Turn::effect(Effect::Acknowledge(Box::new(Acknowledge {
            ids: ids.into_iter().map(Into::into).collect(),
            cumulative,
            reply: if confirm {
                AckReply::Message
            } else {
                AckReply::None
            },
        }))),
        Ok(Command::Nack { message_id, delay }) => Turn::effect(Effect::Nack {
            message_id: message_id.into(),
            delay,
        }),
        Ok(Command::Ping) => {
            let timestamp = ctx.now.timestamp();
            append_text(ctx, out, |json| reply::pong(json, timestamp.as_str()));
            Turn::default()
        }
        Err(error) => refuse(&error, ctx, out),
    }
}

fn request(subscribe: Subscribe<'_>) -> SubscribeRequest {
    SubscribeRequest {
        topics: subscribe.topics,
        offset: subscribe.offset,
        skips: subscribe.on_lag == OnLag::Skip,
        tell_positions: subscribe.tell_positions,
        delivery: subscribe.delivery,
        heartbeat: subscribe.heartbeat,
    }
}
