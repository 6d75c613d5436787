//! Answers of long polls, in both forms (SPEC section 6).

use crate::api::delivery;
use crate::api::json::{append_id, append_number};
use crate::api::poll::PollForm;
use crate::topic::{Cursor, Gap, MessageId, Position};

use super::{append_bool, gap};

/// Where the next poll goes on.
#[derive(Clone, Copy, Debug)]
pub enum NextOffset<'a> {
    /// With one topic.
    Id(MessageId),
    /// With several.
    Cursor(&'a Cursor),
}

/// Writes an answer piece by piece: [`PollAnswer::begin`], messages in order, then
/// [`PollAnswer::end_query`] or [`PollAnswer::end_relay`] by the form.
#[derive(Debug)]
pub struct PollAnswer<'o> {
    out: &'o mut Vec<u8>,
    form: PollForm,
    count: usize,
}

impl<'o> PollAnswer<'o> {
    /// Begins an answer at the end of `out`.
    pub fn begin(out: &'o mut Vec<u8>, form: PollForm) -> PollAnswer<'o> {
        out.extend_from_slice(b"{\"messages\":[");
        PollAnswer {
            out,
            form,
            count: 0,
        }
    }

    /// Appends a message: its frame as [`delivery::encode`] made it, its position, and for
    /// at-least-once consumers the number of the delivery, from 1.
    pub fn message(&mut self, frame: &[u8], position: Position, attempt: Option<u32>) {
        if self.count > 0 {
            self.out.push(b',');
        }
        self.count += 1;
        self.out.push(b'{');
        let shared = delivery::shared_part(frame);
        self.out.extend_from_slice(shared);
        if let Some(attempt) = attempt {
            self.out.pop();
            delivery::append_attempt(self.out, attempt);
        }
        if self.form == PollForm::Relay {
            self.stream_id(position);
        }
    }

    /// Messages so far.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Ends an answer of the query form. `has_more`: more is kept right now; `timed_out`: nothing
    /// came in time.
    pub fn end_query(
        self,
        next: NextOffset<'_>,
        has_more: bool,
        gaps: &[(&str, Gap)],
        timed_out: bool,
    ) {
        let out = self.out;
        out.extend_from_slice(b"],\"next_offset\":");
        match next {
            NextOffset::Id(id) => append_id(out, &id),
            NextOffset::Cursor(cursor) => {
                out.push(b'"');
                cursor.append(out);
                out.push(b'"');
            }
        }
        out.extend_from_slice(b",\"has_more\":");
        append_bool(out, has_more);
        if !gaps.is_empty() {
            out.extend_from_slice(b",\"gaps\":[");
            super::append_joined(out, gaps, |out, (topic, lost)| gap(out, topic, lost));
            out.push(b']');
        }
        if timed_out {
            out.extend_from_slice(b",\"timeout\":true");
        }
        out.push(b'}');
    }

    /// Ends an answer of the relay form.
    pub fn end_relay(self, has_more: bool) {
        self.out.extend_from_slice(b"],\"has_more\":");
        append_bool(self.out, has_more);
        self.out.push(b'}');
    }

    /// Puts `stream_id` into the object that was just appended.
    fn stream_id(&mut self, position: Position) {
        if self.out.last() == Some(&b'}') {
            self.out.pop();
        }
        self.out.extend_from_slice(b",\"stream_id\":\"");
        append_number(self.out, position.millis());
        self.out.push(b'-');
        append_number(self.out, u64::from(position.counter()));
        self.out.extend_from_slice(b"\"}");
    }
}

/// Appends the body of `/messages/poll/stats`.
pub fn poll_stats(out: &mut Vec<u8>, active_waiters: usize) {
    out.extend_from_slice(b"{\"active_waiters\":");
    append_number(out, active_waiters as u64);
    out.push(b'}');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::publish::Publication;
    use crate::topic::{Epoch, GapReason, TopicHash};
    use serde_json::{Value, json};
    use std::borrow::Cow;

    fn frame() -> Vec<u8> {
        let mut out = Vec::new();
        let publication = Publication {
            topic: Cow::Borrowed("a"),
            payload: Cow::Borrowed(b"{\"n\":1.0}"),
            ttl: None,
            metadata: None,
        };
        delivery::encode(&publication, "2026-01-31T12:00:00.123456Z", &mut out);
        out
    }

    fn id(counter: u32) -> MessageId {
        MessageId {
            position: Position::new(9, counter),
            epoch: Epoch::new(1),
            topic: TopicHash::of("a"),
        }
    }

    #[test]
    fn query_form() {
        let mut out = Vec::new();
        let mut answer = PollAnswer::begin(&mut out, PollForm::Query);
        answer.message(&frame(), id(1).position, None);
        answer.message(&frame(), id(2).position, Some(2));
        assert_eq!(answer.count(), 2);
        let lost = Gap {
            from: id(0),
            to: id(1),
            reason: GapReason::Trimmed,
        };
        answer.end_query(NextOffset::Id(id(2)), true, &[("a", lost)], false);
        let value: Value = serde_json::from_slice(&out).unwrap();
        assert_eq!(value["next_offset"], id(2).to_string());
        assert_eq!(value["has_more"], true);
        assert_eq!(value["gaps"][0]["reason"], "trimmed");
        assert_eq!(value.get("timeout"), None);
        assert_eq!(value["messages"][0].as_object().unwrap().len(), 5);
        assert_eq!(value["messages"][1]["delivery_attempt"], 2);
    }

    #[test]
    fn query_form_with_nothing() {
        let mut cursor = Cursor::new(Epoch::new(1));
        cursor.set(TopicHash::of("a"), Position::new(1, 1));
        let mut out = Vec::new();
        let answer = PollAnswer::begin(&mut out, PollForm::Query);
        answer.end_query(NextOffset::Cursor(&cursor), false, &[], true);
        let expected = format!(
            r#"{{"messages":[],"next_offset":"{cursor}","has_more":false,"timeout":true}}"#
        );
        assert_eq!(out, expected.as_bytes());
    }

    #[test]
    fn relay_form() {
        let mut out = Vec::new();
        let mut answer = PollAnswer::begin(&mut out, PollForm::Relay);
        answer.message(&frame(), id(3).position, None);
        answer.message(&frame(), id(4).position, None);
        answer.end_relay(false);
        let value: Value = serde_json::from_slice(&out).unwrap();
        assert_eq!(value["messages"][0]["stream_id"], "9-3");
        assert_eq!(value["messages"][1]["payload"], json!({"n": 1.0}));
        assert_eq!(value["messages"][1].as_object().unwrap().len(), 6);
        assert_eq!(value.as_object().unwrap().len(), 2);
    }

    #[test]
    fn stats() {
        let mut out = Vec::new();
        poll_stats(&mut out, 3);
        assert_eq!(out, b"{\"active_waiters\":3}");
    }
}
