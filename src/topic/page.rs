//! Pages of a topic's log, in either order (SPEC section 9).

use super::catalogue::CatalogueError;
use super::history::History;
use super::id::{MessageId, TopicHash};
use super::message::Message;
use super::name::TopicName;
use super::reading::Batch;
use super::store::TopicStore;
use crate::moment::Moment;

/// Which message comes first.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Order {
    /// The oldest.
    Ascending,
    /// The newest.
    Descending,
}

/// Which page is asked for.
#[derive(Clone, Copy, Debug)]
pub struct PageRequest {
    /// Which message comes first.
    pub order: Order,
    /// Where the page before ended; this message is not part of it.
    pub cursor: Option<MessageId>,
    /// How much it may hold; a message is read even if it is larger.
    pub batch: Batch,
}

/// A page of a topic's log.
#[derive(Clone, Debug)]
pub struct Page {
    /// In the order asked for.
    pub messages: Vec<Message>,
    /// Messages kept in the topic.
    pub total: usize,
    /// The cursor of the next page; `None` when all has been read.
    pub next: Option<MessageId>,
}

impl TopicStore {
    /// Reads a page of a topic's log. A cursor that this store did not issue stands, like one whose
    /// message was trimmed, at the old end of what is kept.
    ///
    /// # Errors
    /// When there is no topic of this name.
    pub fn page(
        &self,
        name: &TopicName,
        request: &PageRequest,
        now: Moment,
    ) -> Result<Page, CatalogueError> {
        let (messages, more, total) = self.look_at(name, now, |topic| {
            let history = &topic.history;
            let (messages, more) = self.read_page(history, request, now.monotonic_micros);
            (messages, more, history.len())
        })?;
        let next = messages.last().filter(|_| more);
        let next = next.map(|last| self.id(TopicHash::of(name.as_str()), last.position()));
        Ok(Page {
            messages,
            total,
            next,
        })
    }

    /// The messages of a page, and whether there are more behind them.
    fn read_page(
        &self,
        history: &History,
        request: &PageRequest,
        now: u64,
    ) -> (Vec<Message>, bool) {
        let newest = history.newest().position;
        let known = request
            .cursor
            .filter(|id| id.epoch == self.epoch() && id.position <= newest)
            .map(|id| id.position);
        match request.order {
            Order::Ascending => {
                let behind = known.map_or(0, |position| history.place_behind(position).sequence);
                fill(history.behind(behind, now), request.batch)
            }
            Order::Descending if known.is_none() && request.cursor.is_some() => (Vec::new(), false),
            Order::Descending => fill(history.below(known, now), request.batch),
        }
    }
}

fn fill<'m>(kept: impl Iterator<Item = &'m Message>, batch: Batch) -> (Vec<Message>, bool) {
    let (mut messages, mut bytes) = (Vec::new(), 0);
    for message in kept {
        bytes += message.frame().len();
        let is_over = bytes > batch.bytes_max && !messages.is_empty();
        if messages.len() == batch.messages_max || is_over {
            return (messages, true);
        }
        messages.push(message.clone());
    }
    (messages, false)
}

#[cfg(test)]
mod tests {
    use super::super::{Budget, Draft, Epoch, FrameLayout, HistoryLimits, Outcome, StoreLimits};
    use super::*;
    use proptest::prelude::*;
    use proptest::sample::Index;

    const MESSAGES_MAX: usize = 8;

    #[derive(Clone, Debug)]
    enum Operation {
        Publish { bytes: usize, ttl: Option<u64> },
        Wait(u64),
        Remove,
        Page(Asked),
        ReadAll(Asked),
    }

    #[derive(Clone, Debug)]
    struct Asked {
        descending: bool,
        cursor: Option<Index>,
        batch: (usize, usize),
    }

    /// The store, and everything that was ever published: what is kept of it, and what is not.
    struct World {
        store: TopicStore,
        name: TopicName,
        now: Moment,
        issued: Vec<MessageId>,
        /// Id, end of its `ttl`, bytes of its frame.
        kept: Vec<(MessageId, u64, usize)>,
    }

    impl World {
        fn new() -> World {
            let history = HistoryLimits {
                messages_max: MESSAGES_MAX,
                bytes_max: 1 << 40,
                retention_micros: 1 << 40,
            };
            let limits = StoreLimits {
                history,
                topics_max: 1,
                metered_topics_max: 0,
                consumers_max: 10,
                group_members_max: 10,
                client_retention: u64::MAX,
            };
            let now = Moment {
                wall_micros: 1 << 50,
                monotonic_micros: 1 << 30,
            };
            World {
                store: TopicStore::new(limits, 1, Epoch::new(5), Budget::new(1 << 30)),
                name: TopicName::parse("t").unwrap(),
                now,
                issued: Vec::new(),
                kept: Vec::new(),
            }
        }

        fn carry_out(&mut self, operation: &Operation) {
            match operation {
                Operation::Publish { bytes, ttl } => self.publish(*bytes, *ttl),
                Operation::Wait(micros) => {
                    self.now.monotonic_micros += micros;
                    self.now.wall_micros += micros;
                }
                Operation::Remove => {
                    self.expire();
                    let removed = self.store.remove(&self.name, self.now);
                    assert_eq!(removed.is_ok(), !self.kept.is_empty());
                    self.kept.clear();
                }
                Operation::Page(asked) => {
                    self.page(asked);
                }
                Operation::ReadAll(asked) => self.read_all(asked),
            }
        }

        fn publish(&mut self, bytes: usize, ttl: Option<u64>) {
            let expires_at = ttl.map_or(u64::MAX, |ttl| self.now.monotonic_micros + ttl);
            let mut frame = vec![b'0'; MessageId::LEN + bytes];
            frame.extend_from_slice(self.name.as_bytes());
            let layout = FrameLayout {
                id_at: 0,
                topic_at: MessageId::LEN + bytes,
                topic_len: self.name.len(),
            };
            let draft = Draft::new(&frame, layout, expires_at, self.store.budget());
            let mut outcome = Outcome::default();
            self.store
                .publish(std::iter::once(draft), self.now, 0, &mut outcome)
                .unwrap();
            self.issued.push(outcome.ids[0]);
            self.kept.push((outcome.ids[0], expires_at, frame.len()));
            self.expire();
            let over = self.kept.len().saturating_sub(MESSAGES_MAX);
            self.kept.drain(..over);
        }

        fn expire(&mut self) {
            let now = self.now.monotonic_micros;
            self.kept.retain(|(_, expires_at, _)| *expires_at > now);
        }

        /// Reads one page and sees that it is the naive one.
        fn page(&mut self, asked: &Asked) -> Option<MessageId> {
            let issued = |index: Index| self.issued.get(index.index(self.issued.len().max(1)));
            let cursor = asked.cursor.and_then(issued).copied();
            self.page_behind(asked, cursor)
        }

        fn page_behind(&mut self, asked: &Asked, cursor: Option<MessageId>) -> Option<MessageId> {
            self.expire();
            let (messages_max, bytes_max) = asked.batch;
            let order = if asked.descending {
                Order::Descending
            } else {
                Order::Ascending
            };
            let request = PageRequest {
                order,
                cursor,
                batch: Batch {
                    messages_max,
                    bytes_max,
                },
            };
            let page = self.store.page(&self.name, &request, self.now);
            if self.kept.is_empty() {
                assert_eq!(page.unwrap_err(), CatalogueError::Unknown);
                return None;
            }
            let page = page.unwrap();
            let (wanted, next) = self.naive_page(asked, cursor);
            let hash = TopicHash::of(&self.name);
            let read = page.messages.iter().map(Message::position);
            let read: Vec<_> = read.map(|it| self.store.id(hash, it)).collect();
            assert_eq!((read, page.next), (wanted, next));
            assert_eq!(page.total, self.kept.len());
            page.next
        }

        fn naive_page(
            &self,
            asked: &Asked,
            cursor: Option<MessageId>,
        ) -> (Vec<MessageId>, Option<MessageId>) {
            let mut rest = self.kept.clone();
            if asked.descending {
                rest.reverse();
            }
            rest.retain(|(id, ..)| {
                cursor.is_none_or(|cursor| {
                    (id.position < cursor.position) == asked.descending && *id != cursor
                })
            });
            let (mut wanted, mut bytes) = (Vec::new(), 0);
            for (id, _, len) in &rest {
                bytes += len;
                let is_over = bytes > asked.batch.1 && !wanted.is_empty();
                if wanted.len() == asked.batch.0 || is_over {
                    break;
                }
                wanted.push(*id);
            }
            let next = wanted.last().copied();
            let has_more = wanted.len() < rest.len();
            (wanted, next.filter(|_| has_more))
        }

        /// Follows the cursors to the end: nothing is missing, nothing comes twice.
        fn read_all(&mut self, asked: &Asked) {
            let (mut cursor, mut pages) = (None, 0);
            loop {
                cursor = self.page_behind(asked, cursor);
                pages += 1;
                assert!(pages <= MESSAGES_MAX);
                if cursor.is_none() {
                    break;
                }
            }
        }
    }

    fn asked() -> impl Strategy<Value = Asked> {
        let batch = (1..10usize, prop_oneof![1..400usize, Just(usize::MAX)]);
        (any::<bool>(), any::<Option<Index>>(), batch).prop_map(|(descending, cursor, batch)| {
            Asked {
                descending,
                cursor,
                batch,
            }
        })
    }

    fn operation() -> impl Strategy<Value = Operation> {
        prop_oneof![
            8 => (0..100usize, prop::option::weighted(0.3, 1..50_000u64))
                .prop_map(|(bytes, ttl)| Operation::Publish { bytes, ttl }),
            2 => (0..30_000u64).prop_map(Operation::Wait),
            1 => Just(Operation::Remove),
            4 => asked().prop_map(Operation::Page),
            3 => asked().prop_map(Operation::ReadAll),
        ]
    }

    proptest! {
        #[test]
        fn pages_are_those_of_the_model(operations in prop::collection::vec(operation(), 1..80)) {
            let mut world = World::new();
            for operation in &operations {
                world.carry_out(operation);
            }
        }
    }

    #[test]
    fn a_cursor_of_another_store_stands_at_the_old_end() {
        let mut world = World::new();
        (0..3).for_each(|_| world.publish(0, None));
        let own = world.issued[1];
        let other_epoch = MessageId {
            epoch: Epoch::new(6),
            ..own
        };
        let beyond = MessageId {
            position: world.issued[2].position.next(1 << 47),
            ..own
        };
        for cursor in [other_epoch, beyond] {
            for (order, count) in [(Order::Ascending, 3), (Order::Descending, 0)] {
                let request = PageRequest {
                    order,
                    cursor: Some(cursor),
                    batch: Batch {
                        messages_max: 10,
                        bytes_max: usize::MAX,
                    },
                };
                let page = world.store.page(&world.name, &request, world.now).unwrap();
                assert_eq!((page.messages.len(), page.next), (count, None));
            }
        }
    }
}
