//! Topics as requests ask for them and answers show them (SPEC section 9). Bodies are read in
//! [`super::publish`]; every `append` function appends JSON.

use std::borrow::Cow;

use super::delivery;
use super::json::{append_id, append_joined, append_number, append_string};
use super::query;
use crate::moment::{Moment, Timestamp};
use crate::topic::{
    Batch, MessageId, Order, Page, PageRequest, TopicDetails, TopicHash, TopicName, TopicSummary,
    TopicTotals,
};

/// Topics in a listing, at the most and where nothing else is asked for.
const LIST_MAX: usize = 1000;
/// Messages on a page where nothing else is asked for.
const PAGE_DEFAULT: usize = 10;
/// Messages on a page at the most.
const PAGE_MAX: usize = 100;
/// Bytes of a page's messages, unless the first one is larger: messages are up to 64 MiB, and a
/// hundred of them would hold up the worker and its other connections.
const PAGE_BYTES_MAX: usize = 4 << 20;

/// Which topics are to be listed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ListRequest {
    /// At most so many.
    pub limit: usize,
    /// Those with names behind this one.
    pub after: Option<Box<str>>,
}

/// Why a query cannot be understood.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum QueryError {
    /// `limit`.
    #[error("limit must be an integer of at least 1")]
    Limit,
    /// `order`.
    #[error("order must be asc or desc")]
    Order,
    /// `cursor`.
    #[error("cursor is not the id of a message of this topic")]
    Cursor,
}

/// Reads the query of a listing: `limit` (capped at 1000) and `after`.
///
/// # Errors
/// When `limit` is no integer or below 1.
pub fn parse_list(query: Option<&str>) -> Result<ListRequest, QueryError> {
    let (mut topics_max, mut after) = (Ok(LIST_MAX), None);
    for (name, value) in query::parameters(query) {
        match &*name {
            "limit" => topics_max = limit(&value),
            "after" => after = given(value),
            _ => {}
        }
    }
    Ok(ListRequest {
        limit: topics_max?.min(LIST_MAX),
        after: after.map(Into::into),
    })
}

/// Reads the query of a page of `topic`: `limit` (capped at 100), `order`, and `cursor`, which may
/// be empty. Of repeated parameters the last one counts.
///
/// # Errors
/// When one of them cannot be understood.
pub fn parse_page(query: Option<&str>, topic: &TopicName) -> Result<PageRequest, QueryError> {
    let (mut messages_max, mut order) = (Ok(PAGE_DEFAULT), Ok(Order::Descending));
    let mut cursor = None;
    for (name, value) in query::parameters(query) {
        match &*name {
            "limit" => messages_max = limit(&value),
            "order" => order = parse_order(&value),
            "cursor" => cursor = given(value),
            _ => {}
        }
    }
    Ok(PageRequest {
        order: order?,
        cursor: cursor.map(|text| parse_cursor(&text, topic)).transpose()?,
        batch: Batch {
            messages_max: messages_max?.min(PAGE_MAX),
            bytes_max: PAGE_BYTES_MAX,
        },
    })
}

fn given(value: Cow<'_, str>) -> Option<Cow<'_, str>> {
    Some(value).filter(|value| !value.is_empty())
}

/// An integer of at least 1; what does not fit is capped by the caller anyway.
fn limit(value: &str) -> Result<usize, QueryError> {
    let digits = value.trim();
    let digits = digits.strip_prefix('+').unwrap_or(digits);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(QueryError::Limit);
    }
    match digits.parse() {
        Ok(0) => Err(QueryError::Limit),
        Ok(limit) => Ok(limit),
        Err(_) => Ok(usize::MAX),
    }
}

fn parse_order(value: &str) -> Result<Order, QueryError> {
    match value {
        "asc" => Ok(Order::Ascending),
        "desc" => Ok(Order::Descending),
        _ => Err(QueryError::Order),
    }
}

fn parse_cursor(value: &str, topic: &TopicName) -> Result<MessageId, QueryError> {
    MessageId::parse(value)
        .ok()
        .filter(|id| id.topic == TopicHash::of(topic.as_str()))
        .ok_or(QueryError::Cursor)
}

/// Appends the list of topics.
pub fn append_list(out: &mut Vec<u8>, topics: &[TopicSummary]) {
    out.push(b'[');
    append_joined(out, topics, |out, topic| {
        out.extend_from_slice(b"{\"topic_name\":");
        append_string(out, &topic.name);
        append_figures(out, topic);
        out.push(b'}');
    });
    out.push(b']');
}

/// Appends a topic as who creates it is told.
pub fn append_created(out: &mut Vec<u8>, topic: &TopicDetails) {
    append_identity(out, topic);
    out.push(b'}');
}

/// Appends everything about a topic.
pub fn append_details(out: &mut Vec<u8>, topic: &TopicDetails) {
    append_identity(out, topic);
    append_figures(out, &topic.summary);
    out.push(b'}');
}

/// Appends the sums over all topics.
pub fn append_totals(out: &mut Vec<u8>, totals: &TopicTotals) {
    append_numbers(
        out,
        b'{',
        [
            ("topics", totals.topics),
            ("messages", totals.messages),
            ("bytes", totals.bytes),
            ("subscribers", totals.subscribers),
            ("evicted", totals.evicted),
        ],
    );
    out.push(b'}');
}

/// Appends a page, and what was asked for. Messages go in as they were framed when they came.
pub fn append_page(out: &mut Vec<u8>, request: &PageRequest, page: &Page) {
    let shared = page
        .messages
        .iter()
        .map(|it| delivery::shared_part(it.frame()));
    out.reserve(shared.clone().map(|part| part.len() + 2).sum::<usize>() + 256);
    out.extend_from_slice(b"{\"messages\":[");
    append_joined(out, shared, |out, part| {
        out.push(b'{');
        out.extend_from_slice(part);
    });
    out.push(b']');
    let limit = request.batch.messages_max as u64;
    append_numbers(out, b',', [("total", page.total as u64), ("limit", limit)]);
    out.extend_from_slice(match request.order {
        Order::Ascending => b",\"order\":\"asc\",\"cursor\":".as_slice(),
        Order::Descending => b",\"order\":\"desc\",\"cursor\":",
    });
    append_optional_id(out, request.cursor);
    out.extend_from_slice(b",\"next_cursor\":");
    append_optional_id(out, page.next);
    out.push(b'}');
}

fn append_identity(out: &mut Vec<u8>, topic: &TopicDetails) {
    out.extend_from_slice(b"{\"topic_id\":\"topic_");
    out.extend_from_slice(&topic.hash.encode());
    out.extend_from_slice(b"\",\"topic_name\":");
    append_string(out, &topic.summary.name);
    out.extend_from_slice(b",\"owner_id\":null,\"created_at\":");
    let created_at = topic.created_at.map(|wall_micros| {
        let moment = Moment {
            wall_micros,
            monotonic_micros: 0,
        };
        moment.timestamp()
    });
    append_optional_text(out, created_at.as_ref().map(Timestamp::as_str));
    out.extend_from_slice(b",\"description\":");
    append_optional_text(out, topic.description.as_deref());
}

fn append_figures(out: &mut Vec<u8>, topic: &TopicSummary) {
    append_numbers(
        out,
        b',',
        [
            ("message_count", topic.messages as u64),
            ("bytes", topic.bytes),
            ("subscribers", topic.subscribers),
        ],
    );
    out.extend_from_slice(b",\"oldest\":");
    append_optional_id(out, topic.oldest);
    out.extend_from_slice(b",\"newest\":");
    append_optional_id(out, topic.newest);
}

/// Appends members behind `front`.
fn append_numbers<const N: usize>(out: &mut Vec<u8>, front: u8, members: [(&str, u64); N]) {
    out.push(front);
    append_joined(out, members, |out, (name, number)| {
        append_string(out, name);
        out.push(b':');
        append_number(out, number);
    });
}

fn append_optional_id(out: &mut Vec<u8>, id: Option<MessageId>) {
    match id {
        Some(id) => append_id(out, &id),
        None => out.extend_from_slice(b"null"),
    }
}

fn append_optional_text(out: &mut Vec<u8>, text: Option<&str>) {
    match text {
        Some(text) => append_string(out, text),
        None => out.extend_from_slice(b"null"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topic::{Epoch, Position};

    fn name() -> TopicName {
        TopicName::parse("größe").unwrap()
    }

    fn id(topic: &str) -> MessageId {
        MessageId {
            position: Position::new(1, 2),
            epoch: Epoch::new(3),
            topic: TopicHash::of(topic),
        }
    }

    fn summary() -> TopicSummary {
        TopicSummary {
            name: name(),
            messages: 2,
            bytes: 300,
            subscribers: 1,
            oldest: None,
            newest: Some(id("größe")),
        }
    }

    fn text(append: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        append(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn limits_are_capped_and_checked() {
        let limit_of = |query| parse_page(Some(query), &name()).map(|page| page.batch.messages_max);
        for (query, limit) in [
            ("", 10),
            ("limit=1", 1),
            ("limit=%207+", 7),
            ("limit=%2B7", 7),
            ("limit=100", 100),
            ("limit=101", 100),
            ("limit=99999999999999999999999", 100),
            ("limit=0&limit=5", 5),
        ] {
            assert_eq!(limit_of(query), Ok(limit), "{query}");
        }
        for query in [
            "limit=0",
            "limit=-1",
            "limit=",
            "limit=x",
            "limit=1.0",
            "limit=5&limit=0",
        ] {
            assert_eq!(limit_of(query), Err(QueryError::Limit), "{query}");
        }
        assert_eq!(parse_list(Some("limit=5000")).unwrap().limit, 1000);
        assert_eq!(parse_list(Some("limit=0")), Err(QueryError::Limit));
        let after = parse_list(Some("after=gr%C3%B6%C3%9Fe&limit=2")).unwrap();
        assert_eq!(after.after.as_deref(), Some("größe"));
    }

    #[test]
    fn cursors_are_ids_of_the_topic() {
        let cursor_of = |query: &str| parse_page(Some(query), &name()).map(|page| page.cursor);
        assert_eq!(cursor_of("order=asc&cursor="), Ok(None));
        let own = id("größe");
        assert_eq!(cursor_of(&format!("cursor={own}")), Ok(Some(own)));
        for bad in ["x", "cur_0000", &id("other").to_string()] {
            assert_eq!(cursor_of(&format!("cursor={bad}")), Err(QueryError::Cursor));
        }
        assert_eq!(cursor_of("order=up"), Err(QueryError::Order));
        assert_eq!(cursor_of("order="), Err(QueryError::Order));
    }

    #[test]
    fn topics_as_json() {
        let topic = TopicDetails {
            summary: summary(),
            hash: TopicHash::of("größe"),
            created_at: Some(1_769_860_800_123_456),
            description: Some("\"x\"".into()),
        };
        let hash = &id("größe").to_string()[22..];
        let newest = id("größe");
        let identity = format!(
            r#"{{"topic_id":"topic_{hash}","topic_name":"größe","owner_id":null,"created_at":"2026-01-31T12:00:00.123456Z","description":"\"x\"""#
        );
        let figures = format!(
            r#""message_count":2,"bytes":300,"subscribers":1,"oldest":null,"newest":"{newest}"}}"#
        );
        assert_eq!(
            text(|out| append_created(out, &topic)),
            format!("{identity}}}")
        );
        assert_eq!(
            text(|out| append_details(out, &topic)),
            format!("{identity},{figures}")
        );
        let unmade = TopicDetails {
            created_at: None,
            description: None,
            ..topic
        };
        let unmade = text(|out| append_created(out, &unmade));
        assert!(
            unmade.ends_with(r#""created_at":null,"description":null}"#),
            "{unmade}"
        );
        assert_eq!(
            text(|out| append_list(out, &[summary(), summary()])),
            format!(r#"[{{"topic_name":"größe",{figures},{{"topic_name":"größe",{figures}]"#)
        );
        assert_eq!(text(|out| append_list(out, &[])), "[]");
    }

    #[test]
    fn totals_and_empty_pages_as_json() {
        assert_eq!(
            text(|out| append_totals(out, &TopicTotals::default())),
            r#"{"topics":0,"messages":0,"bytes":0,"subscribers":0,"evicted":0}"#
        );
        let request = parse_page(Some(""), &name()).unwrap();
        let page = Page {
            messages: Vec::new(),
            total: 0,
            next: None,
        };
        assert_eq!(
            text(|out| append_page(out, &request, &page)),
            r#"{"messages":[],"total":0,"limit":10,"order":"desc","cursor":null,"next_cursor":null}"#
        );
    }
}
