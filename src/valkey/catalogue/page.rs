//! Pages of a topic's stream.

use redis::Value;

use super::super::entry::{bytes, number, parse_position, position_text};
use super::keys_of;
use super::reply::array;
use crate::api::delivery;
use crate::topic::{
    Draft, Epoch, Message, Order, Page, PageRequest, Position, TopicHash, TopicName, TopicStore,
};
use crate::valkey::Keys;
use crate::valkey::job::Call;

/// A page that is asked for, in one call or in several: each looks only so far for a message that
/// has not expired.
#[derive(Clone, Debug)]
pub struct PageAsked {
    topic: TopicName,
    request: PageRequest,
    from: Origin,
}

/// Where a call begins.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Origin {
    /// At the end that the order begins with.
    End,
    /// Behind this position, in the order asked for.
    Behind(Position),
    /// At a cursor of another epoch.
    Foreign,
}

/// What a call has brought.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RawPage {
    /// Messages kept in the topic.
    total: u64,
    /// More may stand behind what was looked at.
    has_more: bool,
    /// Up to where was looked.
    reached: Position,
    /// In the order asked for: positions and stored parts.
    messages: Vec<(Position, Vec<u8>)>,
}

impl PageAsked {
    /// A page, in the epoch that is.
    pub fn new(topic: TopicName, request: PageRequest, epoch: Epoch) -> PageAsked {
        let from = match request.cursor {
            None => Origin::End,
            Some(id) if id.epoch == epoch => Origin::Behind(id.position),
            Some(_) => Origin::Foreign,
        };
        PageAsked {
            topic,
            request,
            from,
        }
    }

    /// What was asked for.
    pub fn request(&self) -> PageRequest {
        self.request
    }

    /// The call to make: [`RawPage`].
    pub fn call(&self, keys: &Keys) -> Call {
        let order = match self.request.order {
            Order::Ascending => "asc",
            Order::Descending => "desc",
        };
        let from = match self.from {
            Origin::End => String::new(),
            Origin::Behind(position) => position_text(position),
            Origin::Foreign => "foreign".to_owned(),
        };
        let batch = self.request.batch;
        let (count, bytes) = (batch.messages_max, batch.bytes_max);
        let args = [order.to_owned(), from, count.to_string(), bytes.to_string()];
        Call {
            script: include_str!("page.lua"),
            keys: keys_of(keys, &self.topic).to_vec(),
            args: args.map(String::into_bytes).to_vec(),
            is_repeatable: true,
        }
    }

    /// The next call, if this one found only what has expired and there may be more.
    pub fn goes_on(&mut self, page: &RawPage) -> bool {
        let goes_on = page.has_more && page.messages.is_empty();
        if goes_on {
            self.from = Origin::Behind(page.reached);
        }
        goes_on
    }

    /// The page.
    pub fn page(&self, raw: &RawPage, store: &TopicStore, now: u64) -> Page {
        let hash = TopicHash::of(&self.topic);
        let mut frame = Vec::new();
        let framed = raw.messages.iter().filter_map(|(position, stored_part)| {
            frame.clear();
            let layout = delivery::restore(stored_part, &self.topic, &mut frame)?;
            let draft = Draft::new(&frame, layout, u64::MAX, store.budget());
            Some(store.cold_message(hash, *position, draft, now))
        });
        let messages: Vec<Message> = framed.collect();
        let last = raw.messages.last().filter(|_| raw.has_more);
        Page {
            messages,
            total: usize::try_from(raw.total).unwrap_or(usize::MAX),
            next: last.map(|(position, _)| store.id(hash, *position)),
        }
    }
}

impl RawPage {
    /// What the call has answered: inside `None` when there is no such topic; outside for what has
    /// not its form.
    pub fn read(value: &Value) -> Option<Option<RawPage>> {
        if *value == Value::Nil {
            return Some(None);
        }
        let [total, has_more, reached, rest @ ..] = array(value)? else {
            return None;
        };
        let (pairs, []) = rest.as_chunks() else {
            return None;
        };
        let messages = pairs.iter().map(|[position, part]| {
            let position = parse_position(bytes(position)?)?;
            Some((position, bytes(part)?.to_vec()))
        });
        Some(Some(RawPage {
            total: number(total)?,
            has_more: number(has_more)? != 0,
            reached: parse_position(bytes(reached)?)?,
            messages: messages.collect::<Option<_>>()?,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topic::{Batch, Budget, HistoryLimits, MessageId, StoreLimits};

    fn store() -> TopicStore {
        let limits = StoreLimits {
            history: HistoryLimits {
                messages_max: 10,
                bytes_max: 1 << 20,
                retention_micros: u64::MAX,
            },
            topics_max: 10,
            metered_topics_max: 0,
            client_retention: u64::MAX,
            consumers_max: 10,
            group_members_max: 10,
        };
        TopicStore::following(limits, 1, Epoch::new(3), Budget::new(1 << 30))
    }

    fn asked(order: Order, cursor: Option<(Position, Epoch)>) -> PageAsked {
        let topic = TopicName::parse("t").unwrap();
        let cursor = cursor.map(|(position, epoch)| MessageId {
            position,
            epoch,
            topic: TopicHash::of("t"),
        });
        let batch = Batch {
            messages_max: 2,
            bytes_max: 100,
        };
        let request = PageRequest {
            order,
            cursor,
            batch,
        };
        PageAsked::new(topic, request, Epoch::new(3))
    }

    fn text(text: &str) -> Value {
        Value::BulkString(text.as_bytes().to_vec())
    }

    fn raw(has_more: bool, messages: &[(&str, &str)]) -> RawPage {
        let mut parts = vec![Value::Int(7), Value::Int(i64::from(has_more)), text("9-1")];
        for (position, part) in messages {
            parts.extend([text(position), text(part)]);
        }
        RawPage::read(&Value::Array(parts)).unwrap().unwrap()
    }

    const PART: &str = r#""topic":"t","payload":{"a":1},"timestamp":"2026-01-31T12:00:00.123456Z","metadata":null}"#;

    #[test]
    fn cursors_stand_where_their_epoch_says() {
        let at = Position::new(5, 1);
        for (asked, args) in [
            (asked(Order::Descending, None), ["desc", "", "2", "100"]),
            (
                asked(Order::Ascending, Some((at, Epoch::new(3)))),
                ["asc", "5-1", "2", "100"],
            ),
            (
                asked(Order::Ascending, Some((at, Epoch::new(4)))),
                ["asc", "foreign", "2", "100"],
            ),
        ] {
            let call = asked.call(&Keys::new("p:"));
            assert_eq!(call.args, args.map(|arg| arg.as_bytes().to_vec()));
            assert_eq!(call.keys[0], b"p:{t}:log");
        }
    }

    #[test]
    fn messages_are_framed_and_the_last_one_is_the_next_cursor() {
        let (store, asked) = (store(), asked(Order::Ascending, None));
        let page = asked.page(&raw(true, &[("5-0", PART), ("5-1", PART)]), &store, 0);
        assert_eq!((page.messages.len(), page.total), (2, 7));
        let next = page.next.unwrap();
        assert_eq!(next, store.id(TopicHash::of("t"), Position::new(5, 1)));
        let frame = page.messages[1].frame();
        assert_eq!(delivery::message_id(frame), next.encode());
        assert_eq!(delivery::stored_part(frame), PART.as_bytes());
        let last = asked.page(&raw(false, &[("5-0", PART)]), &store, 0);
        assert!(last.next.is_none());
        let foreign = asked.page(&raw(false, &[("5-0", "{}")]), &store, 0);
        assert!(
            foreign.messages.is_empty(),
            "what is none of ours is left out"
        );
    }

    #[test]
    fn only_an_empty_page_with_more_behind_it_goes_on() {
        let mut asked = asked(Order::Descending, None);
        assert!(!asked.goes_on(&raw(false, &[])));
        assert!(!asked.goes_on(&raw(true, &[("5-0", PART)])));
        assert!(asked.goes_on(&raw(true, &[])));
        assert_eq!(asked.call(&Keys::new("p:")).args[1], b"9-1");
    }

    #[test]
    fn other_answers_are_refused() {
        assert_eq!(RawPage::read(&Value::Nil), Some(None));
        let front = || vec![Value::Int(7), Value::Int(0), text("9-1")];
        for (index, bad) in [(0, Value::Nil), (1, text("x")), (2, text("9"))] {
            let mut parts = front();
            parts[index] = bad;
            assert_eq!(RawPage::read(&Value::Array(parts)), None);
        }
        for rest in [
            vec![text("5-0")],
            vec![text("5"), text("")],
            vec![Value::Nil; 2],
        ] {
            let parts = front().into_iter().chain(rest).collect();
            assert_eq!(RawPage::read(&Value::Array(parts)), None);
        }
        assert_eq!(RawPage::read(&Value::Array(front()[..2].to_vec())), None);
    }
}
