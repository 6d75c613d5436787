//! How a server that stops takes leave of its clients.

use super::{CloseReason, Session, websocket};

impl Session {
    /// Whether it is between requests, so that a server that stops may end it.
    pub fn is_idle_http(&self) -> bool {
        matches!(self, Session::Http(http) if http.is_idle())
    }

    /// Whether its first request has yet to begin: it may be on its way.
    pub fn is_new_http(&self) -> bool {
        matches!(self, Session::Http(http) if http.is_new())
    }

    /// Appends the last word to a WebSocket or a stream, if it is one: the server stops, and is to be
    /// replaced by another so many milliseconds later.
    pub fn part(&mut self, reconnect_after_ms: u64, out: &mut Vec<u8>) {
        let text = format!("{{\"reconnect_after_ms\":{reconnect_after_ms}}}");
        match self {
            Session::WebSocket(_) => {
                websocket::closed(CloseReason::Draining, &text, out);
            }
            Session::Stream(stream) => stream.part(reconnect_after_ms, &text, out),
            Session::Http(_) | Session::Closing(_) => {}
        }
    }
}
