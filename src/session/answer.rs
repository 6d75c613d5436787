//! Answers to HTTP requests, with the fields that stand on all of them.

use std::borrow::Cow;

use smallvec::SmallVec;

use super::charging;
use super::context::Context;
use super::exchange::Exchange;
use super::request::{IdRoom, Ticket};
use super::{CloseReason, Effect, Turn};
use crate::api::error::{ErrorBody, ErrorCode};
use crate::api::origin::CorsGrant;
use crate::http::{Response, ResponseBody, ResponseContext};

/// Seconds after which a refused client may try again.
const RETRY_AFTER: &str = "1";

type Fields<'a> = SmallVec<[(&'a str, &'a str); 8]>;

/// What to answer, beside what every answer has.
#[derive(Clone, Debug)]
pub(super) struct Answer<'a> {
    status: u16,
    headers: SmallVec<[(&'static str, Cow<'a, str>); 3]>,
    content: Content<'a>,
}

#[derive(Clone, Debug)]
enum Content<'a> {
    None,
    Body {
        content_type: &'static str,
        bytes: &'a [u8],
    },
    /// So many bytes follow, sent by the worker; they depend on the codings that the client takes.
    Apart {
        content_type: &'static str,
        len: usize,
    },
    /// What follows is appended by others.
    Stream {
        content_type: &'static str,
    },
    Error {
        code: ErrorCode,
        message: Option<Cow<'a, str>>,
        limit: Option<u64>,
        list: Option<Cow<'a, [u8]>>,
    },
}

impl<'a> Answer<'a> {
    /// A JSON body.
    pub(super) fn json(status: u16, bytes: &'a [u8]) -> Answer<'a> {
        Answer::body(status, "application/json", bytes)
    }

    /// A body of another type.
    pub(super) fn body(status: u16, content_type: &'static str, bytes: &'a [u8]) -> Answer<'a> {
        let content = Content::Body {
            content_type,
            bytes,
        };
        Answer {
            status,
            headers: SmallVec::new(),
            content,
        }
    }

    /// The head of a body of so many bytes that is sent apart, in a coding that the client takes.
    pub(super) fn apart(content_type: &'static str, len: usize) -> Answer<'a> {
        Answer {
            status: 200,
            headers: SmallVec::new(),
            content: Content::Apart { content_type, len },
        }
    }

    /// The head of a body that follows in parts.
    pub(super) fn stream(content_type: &'static str) -> Answer<'a> {
        Answer {
            status: 200,
            headers: SmallVec::new(),
            content: Content::Stream { content_type },
        }
    }

    /// No body.
    pub(super) fn empty(status: u16) -> Answer<'a> {
        Answer {
            status,
            headers: SmallVec::new(),
            content: Content::None,
        }
    }

    /// The error of this code, with its own status and sentence.
    pub(super) fn error(code: ErrorCode) -> Answer<'a> {
        let content = Content::Error {
            code,
            message: None,
            limit: None,
            list: None,
        };
        let answer = Answer {
            status: code.status(),
            headers: SmallVec::new(),
            content,
        };
        match code {
            ErrorCode::ServiceUnavailable => answer.header("Retry-After", RETRY_AFTER),
            ErrorCode::Unauthorized => answer.header("WWW-Authenticate", "Bearer"),
            _ => answer,
        }
    }

    /// Of an error: another sentence.
    pub(super) fn message(mut self, sentence: impl Into<Cow<'a, str>>) -> Answer<'a> {
        if let Content::Error { message, .. } = &mut self.content {
            *message = Some(sentence.into());
        }
        self
    }

    /// Of an error: the limit that was passed, in bytes.
    pub(super) fn limit(mut self, bytes: u64) -> Answer<'a> {
        if let Content::Error { limit, .. } = &mut self.content {
            *limit = Some(bytes);
        }
        self
    }

    /// Of an error: the list of what is wrong, as JSON.
    pub(super) fn list(mut self, json: impl Into<Cow<'a, [u8]>>) -> Answer<'a> {
        if let Content::Error { list, .. } = &mut self.content {
            *list = Some(json.into());
        }
        self
    }

    /// With one more field.
    pub(super) fn header(
        mut self,
        name: &'static str,
        value: impl Into<Cow<'a, str>>,
    ) -> Answer<'a> {
        self.headers.push((name, value.into()));
        self
    }

    /// The code of an error; that of its status where the body has none.
    fn error_code(&self) -> Option<ErrorCode> {
        match self.content {
            Content::Error { code, .. } => Some(code),
            _ => self.is_error().then(|| ErrorCode::of_status(self.status)),
        }
    }

    /// Whether it is an error.
    pub(super) fn is_error(&self) -> bool {
        self.status >= 400
    }
}

/// Appends an answer, and says what came of the request.
pub(super) fn answer(
    ticket: &Ticket,
    answer: &Answer<'_>,
    ctx: &mut Context<'_>,
    out: &mut Vec<u8>,
) -> Turn {
    let keep_alive = ticket.keep_alive && !ctx.is_draining;
    let exchange = encode(ticket, answer, keep_alive, ctx, out);
    let effect = (!keep_alive).then_some(Effect::Close(CloseReason::Finished));
    Turn {
        effect,
        exchange: Some(exchange),
        ..Turn::default()
    }
}

/// Appends the head of an answer whose body goes on until the connection ends.
pub(super) fn begin_stream(
    ticket: &Ticket,
    answer: &Answer<'_>,
    ctx: &mut Context<'_>,
    out: &mut Vec<u8>,
) -> Turn {
    Turn {
        exchange: Some(encode(ticket, answer, false, ctx, out)),
        ..Turn::default()
    }
}

/// Appends an answer behind which the connection cannot go on.
pub(super) fn refusal(
    ticket: &Ticket,
    answer: &Answer<'_>,
    reason: CloseReason,
    ctx: &mut Context<'_>,
    out: &mut Vec<u8>,
) -> Turn {
    let exchange = encode(ticket, answer, false, ctx, out);
    Turn {
        exchange: Some(exchange),
        ..Turn::close(reason)
    }
}

/// Every field stands once: what an answer varies by is one list.
fn join_vary(fields: &mut Fields<'_>) {
    let is_vary = |field: &&mut (&str, &str)| field.0 == "Vary";
    let mut all = fields.iter_mut().filter(is_vary);
    if let (Some(first), Some(_)) = (all.next(), all.next()) {
        first.1 = "Accept-Encoding, Origin";
        let mut seen = 0;
        fields.retain(|(name, _)| {
            seen += usize::from(*name == "Vary");
            *name != "Vary" || seen == 1
        });
    }
}

fn encode(
    ticket: &Ticket,
    answer: &Answer<'_>,
    keep_alive: bool,
    ctx: &mut Context<'_>,
    out: &mut Vec<u8>,
) -> Exchange {
    let mut room = IdRoom::default();
    let request_id = ticket.request_id.text(&mut room);
    let standing = ticket.standing.as_ref();
    let quota = standing.map(|it| charging::fields(it, ctx.now.wall_micros / 1_000_000));
    let mut fields = Fields::new();
    fields.push(("X-Request-Id", request_id));
    fields.extend(
        quota
            .iter()
            .flatten()
            .map(|(name, value)| (*name, &**value)),
    );
    fields.extend(
        answer
            .headers
            .iter()
            .map(|(name, value)| (*name, value.as_ref())),
    );
    match ticket.cors_origin.as_deref() {
        Some(origin) => fields.extend(CorsGrant::to(origin).headers()),
        None if ctx.access.has_origins() => fields.push(("Vary", "Origin")),
        None => {}
    }
    join_vary(&mut fields);
    let mut error_body = Vec::new();
    let whole = ResponseBody::Whole;
    let (content_type, body) = match &answer.content {
        Content::None => (None, whole(b"")),
        Content::Body {
            content_type,
            bytes,
        } => (Some(*content_type), whole(bytes)),
        Content::Apart { content_type, len } => (Some(*content_type), ResponseBody::Apart(*len)),
        Content::Stream { content_type } => (Some(*content_type), ResponseBody::Stream),
        Content::Error {
            code,
            message,
            limit,
            list,
        } => {
            let mut body = ErrorBody::new(*code, request_id);
            body = message
                .as_deref()
                .map_or(body, |message| body.message(message));
            body = limit.map_or(body, |limit| body.limit(limit));
            body = list.as_deref().map_or(body, |list| body.list(list));
            body.append(&mut error_body);
            (Some("application/json"), whole(&error_body))
        }
    };
    let response = Response {
        status: answer.status,
        headers: &fields,
        content_type,
        body,
    };
    response.encode(
        &ResponseContext {
            version: ticket.version,
            keep_alive,
            head_only: ticket.is_head,
            date: ctx.date,
        },
        out,
    );
    Exchange {
        handler: ticket.handler,
        method: ticket.method,
        status: answer.status,
        error: answer.error_code(),
        duration_micros: ctx.now.monotonic_micros.saturating_sub(ticket.began_at),
        request_bytes: ticket.body_bytes,
        response_bytes: match body.told_len() {
            Some(len) if !ticket.is_head => len as u64,
            _ => 0,
        },
    }
}
