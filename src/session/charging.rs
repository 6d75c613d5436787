//! What requests cost their senders (SPEC section 12, "Rate limits").

use std::num::NonZeroU32;

use super::answer::Answer;
use super::context::Context;
use super::request::Ticket;
use super::rights::Rights;
use crate::api::command::{CommandError, CommandErrorCode};
use crate::api::error::ErrorCode;
use crate::quota::{Exhausted, Standing, Who};

/// Charges the sender of a request for so many messages, or for one if there are none; its answer tells
/// what is left.
///
/// # Errors
/// When that is not enough: the answer.
pub(super) fn charge(
    ticket: &mut Ticket,
    messages: usize,
    ctx: &Context<'_>,
) -> Result<(), Box<Answer<'static>>> {
    let count = u32::try_from(messages).ok().and_then(NonZeroU32::new);
    let count = count.unwrap_or(NonZeroU32::MIN);
    let (who, own) = match (ticket.rights.caller(), ctx.peer) {
        (Some(caller), _) => (Who(caller.number), caller.rate_limit),
        (None, Some(peer)) => (Who::at(ticket.client(peer, ctx.proxies)), None),
        // Without a limit nobody has asked for the address, or the peer has gone.
        (None, None) => return Ok(()),
    };
    match ctx.quotas.charge(who, own, count) {
        Ok(standing) => {
            ticket.standing = standing;
            Ok(())
        }
        Err(exhausted) => {
            ticket.standing = Some(exhausted.standing);
            Err(Box::new(refused(&exhausted)))
        }
    }
}

fn refused(exhausted: &Exhausted) -> Answer<'static> {
    let limit = exhausted.standing.limit;
    let answer = Answer::error(ErrorCode::RateLimitExceeded);
    match exhausted.retry_after {
        Some(seconds) => answer
            .message(format!(
                "More than {limit} messages or requests in a minute"
            ))
            .header("Retry-After", seconds.to_string()),
        None => answer
            .message(format!(
                "More messages at once than the {limit} of a minute: send them in smaller portions"
            ))
            .header("Retry-After", exhausted.standing.full_in.max(1).to_string()),
    }
}

/// Charges a client for a message of its WebSocket. Who has no credential and comes through a proxy has been
/// charged for the handshake alone: which address that was is not kept.
///
/// # Errors
/// When nothing is left.
pub(super) fn charge_command(rights: &Rights, ctx: &Context<'_>) -> Result<(), CommandError> {
    let (who, own) = match (rights.caller(), ctx.peer) {
        (Some(caller), _) => (Who(caller.number), caller.rate_limit),
        (None, Some(peer)) if !ctx.proxies.contains(peer) => (Who::at(peer), None),
        (None, _) => return Ok(()),
    };
    let charged = ctx.quotas.charge(who, own, NonZeroU32::MIN);
    charged.map(|_| ()).map_err(|exhausted| {
        let limit = exhausted.standing.limit;
        let sentence = format!("More than {limit} messages or requests in a minute");
        CommandError::new(CommandErrorCode::RateLimit, sentence)
    })
}

/// The fields that tell where a client stands; the time is Unix time in seconds.
pub(super) fn fields(standing: &Standing, now_unix: u64) -> [(&'static str, String); 3] {
    [
        ("X-RateLimit-Limit", standing.limit.to_string()),
        ("X-RateLimit-Remaining", standing.remaining.to_string()),
        (
            "X-RateLimit-Reset",
            (now_unix + standing.full_in).to_string(),
        ),
    ]
}
