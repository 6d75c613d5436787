//! Requests for the documents that describe the interface: which one, in which coding, and whether the
//! client has it already (RFC 9110 sections 12.5.3 and 13.1.2).

use super::answer::{Answer, answer};
use super::context::Context;
use super::request::Ticket;
use super::{Effect, Turn};
use crate::api::route::Route;
use crate::documents::{Body, Coding, PAGE_POLICY};
use crate::http::{Headers, RequestHead};

/// What is to be shown.
#[derive(Debug)]
pub(super) struct Shown {
    body: &'static Body,
    coding: Coding,
    /// The client has it.
    is_known: bool,
    is_page: bool,
}

/// The document at a path, percent-decoded; `None` when there is none.
pub(super) fn show(
    route: Route,
    head: &RequestHead<'_>,
    path: &str,
    ctx: &Context<'_>,
) -> Option<Shown> {
    let body = ctx.documents?.at(route, path)?;
    let coding = coding(&head.headers);
    let tag = body.tag(coding);
    let mut known = head.headers.list("if-none-match");
    Some(Shown {
        body,
        coding,
        is_known: known.any(|it| it == b"*" || is_same(it, &tag)),
        is_page: matches!(route, Route::Docs | Route::Redoc),
    })
}

/// Appends the answer; the worker sends the document itself.
pub(super) fn answer_with(
    ticket: &Ticket,
    shown: &Shown,
    ctx: &mut Context<'_>,
    out: &mut Vec<u8>,
) -> Turn {
    let bytes = shown.body.bytes(shown.coding);
    let mut told = match shown.is_known {
        true => Answer::empty(304),
        false => Answer::apart(shown.body.content_type(), bytes.len()),
    };
    told = told
        .header("ETag", shown.body.tag(shown.coding))
        // It may be kept, but another version of the program may have another one.
        .header("Cache-Control", "no-cache")
        .header("Vary", "Accept-Encoding")
        .header("X-Content-Type-Options", "nosniff");
    if shown.coding == Coding::Gzip && !shown.is_known {
        told = told.header("Content-Encoding", "gzip");
    }
    if shown.is_page {
        told = told
            .header("Content-Security-Policy", PAGE_POLICY)
            .header("Referrer-Policy", "no-referrer");
    }
    let turn = answer(ticket, &told, ctx, out);
    if shown.is_known || ticket.is_head {
        return turn;
    }
    let last = match turn.effect {
        Some(Effect::Close(reason)) => Some(reason),
        _ => None,
    };
    Turn {
        effect: Some(Effect::Send { bytes, last }),
        ..turn
    }
}

/// gzip for those who take it, by name or by whatever they take.
fn coding(headers: &Headers<'_>) -> Coding {
    let mut by_name = None;
    let mut by_star = false;
    for range in headers.list("accept-encoding") {
        let mut parts = range.split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
        let name = parts.next().unwrap_or_default();
        let takes = !parts.any(super::plan::refuses);
        if name.eq_ignore_ascii_case(b"gzip") || name.eq_ignore_ascii_case(b"x-gzip") {
            by_name = Some(takes);
        } else if name == b"*" {
            by_star = takes;
        }
    }
    match by_name.unwrap_or(by_star) {
        true => Coding::Gzip,
        false => Coding::Identity,
    }
}

/// By weak comparison (RFC 9110 section 8.8.3.2).
fn is_same(given: &[u8], tag: &str) -> bool {
    given.strip_prefix(b"W/").unwrap_or(given) == tag.as_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gzip_goes_to_those_who_take_it() {
        for (accepted, is_gzip) in [
            ("", false),
            ("gzip", true),
            ("br;q=1.0, GZIP;q=0.8, *;q=0.1", true),
            ("*", true),
            ("*;q=0", false),
            ("gzip;q=0, *", false),
            ("gzip;q=0.000", false),
            ("identity, deflate", false),
            ("x-gzip", true),
        ] {
            let fields = [("Accept-Encoding", accepted.as_bytes())];
            let headers: Headers<'_> = fields.into_iter().collect();
            assert_eq!(coding(&headers) == Coding::Gzip, is_gzip, "{accepted}");
        }
    }

    #[test]
    fn tags_are_compared_weakly() {
        assert!(is_same(b"\"a\"", "\"a\"") && is_same(b"W/\"a\"", "\"a\""));
        assert!(!is_same(b"a", "\"a\"") && !is_same(b"\"a-gzip\"", "\"a\""));
    }
}
