//! What becomes of a conversation when the credential that it rests on changes.

use super::commands;
use super::context::Context;
use super::poll::Poll;
use super::{CloseReason, Rights, Session, Ticket, Turn};

impl Session {
    /// What the client may do; `None` between requests.
    pub fn rights(&self) -> Option<&Rights> {
        match self {
            Session::Http(http) => http.polling().map(Poll::rights),
            Session::WebSocket(websocket) => Some(websocket.rights()),
            Session::Stream(stream) => Some(stream.rights()),
            Session::Closing(_) => None,
        }
    }

    /// The request whose body is on its way, or whose poll waits.
    pub fn ticket(&self) -> Option<&Ticket> {
        match self {
            Session::Http(http) => http.ticket(),
            _ => None,
        }
    }

    /// Takes the rights of a new credential in place of those that it had, and tells until when they
    /// hold.
    pub fn renewed(&mut self, rights: Rights, ctx: &mut Context<'_>, out: &mut Vec<u8>) {
        if let Session::WebSocket(websocket) = self {
            websocket.renewed(rights, ctx, out);
        }
    }

    /// The credential holds no more: whatever goes on ends.
    pub fn revoked(&mut self, ctx: &mut Context<'_>, out: &mut Vec<u8>) -> Turn {
        let sentence = "The credential is not accepted any more";
        match self {
            Session::Http(http) => match http.end_poll(ctx.now.monotonic_micros) {
                Some(poll) => poll.revoke(sentence, ctx, out),
                None => Turn::default(),
            },
            Session::WebSocket(_) => commands::unauthorized(sentence, "revoked", ctx, out),
            Session::Stream(stream) => {
                stream.end(CloseReason::Unauthorized, "revoked", out);
                Turn::close(CloseReason::Unauthorized)
            }
            Session::Closing(_) => Turn::default(),
        }
    }
}
