//! Random operations on the consumers of one topic, in memory and on Valkey: what anybody outside
//! can tell must be the same.

use std::collections::BTreeSet;
use std::time::Duration;

use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::TestRunner;
use pulsar_proxy::moment::Moment;
use pulsar_proxy::topic::{
    Ack, Batch, Budget, Claim, ClaimRules, Claimed, Claims, ConsumerName, Draft, Epoch,
    FrameLayout, HistoryLimits, Member, MessageId, News, Outcome, Position, Start, StoreLimits,
    TopicHash, TopicStore,
};
use pulsar_proxy::valkey::consumers::*;

use super::bench::{Bench, client, group, member, pairs};
use super::operations::{CLIENTS, Operation, operation};

struct Seated {
    consumer: ConsumerName,
    member: SharedMember,
    serial: u64,
}

/// Both, side by side.
struct World<'a> {
    bench: &'a mut Bench,
    store: TopicStore,
    ids: Vec<MessageId>,
    /// When each ends, in microseconds.
    expire_at: Vec<u64>,
    seated: Vec<Seated>,
    connections: u64,
}

impl World<'_> {
    fn new(bench: &mut Bench, messages_max: usize) -> World<'_> {
        bench.another_topic();
        let limits = StoreLimits {
            history: HistoryLimits {
                messages_max,
                bytes_max: u64::MAX,
                retention_micros: u64::MAX,
            },
            topics_max: 10,
            metered_topics_max: 10,
            consumers_max: 100,
            group_members_max: 1_000,
            client_retention: u64::MAX,
        };
        let mut world = World {
            bench,
            store: TopicStore::new(limits, 2, Epoch::new(1), Budget::new(1 << 40)),
            ids: Vec::new(),
            expire_at: Vec::new(),
            seated: Vec::new(),
            connections: 0,
        };
        world.publish(1, None);
        world
    }

    fn micros(&self) -> u64 {
        self.bench.now * 1_000
    }

    fn moment(&self) -> Moment {
        Moment {
            wall_micros: self.micros(),
            monotonic_micros: self.micros(),
        }
    }

    fn carry_out(&mut self, operation: &Operation) {
        let picked = |index: &Index, count: usize| (count > 0).then(|| index.index(count));
        match operation {
            Operation::Publish(count, ttl) => self.publish(*count, *ttl),
            Operation::Wait(millis) => self.bench.now += millis,
            Operation::Attach {
                client: who,
                in_group,
                is_poll,
                rules,
                start,
                reset,
            } => {
                self.connections += 1;
                let member = SharedMember {
                    is_poll: *is_poll,
                    rules: *rules,
                    ..member(CLIENTS[*who], self.connections)
                };
                let consumer = if *in_group {
                    group()
                } else {
                    client(CLIENTS[*who])
                };
                self.attach(consumer, member, *start, *reset);
            }
            Operation::Detach(index) => {
                if let Some(index) = picked(index, self.seated.len()) {
                    self.detach(index);
                }
            }
            Operation::Claim(index, most, bury) => {
                if let Some(index) = picked(index, self.seated.len()) {
                    self.claim(index, *most, *bury);
                }
            }
            Operation::Acknowledge(ids, client, on, all) => {
                let ids: Vec<_> = ids.iter().map(|it| *it.get(&self.ids)).collect();
                self.acknowledge(&ids, *client, *on, *all);
            }
            Operation::Nack(index, client, on, delay) => {
                let id = *index.get(&self.ids);
                self.nack(id, *client, *on, *delay);
            }
        }
    }

    fn publish(&mut self, count: usize, ttl: Option<u64>) {
        let expires_at = ttl.map_or(u64::MAX, |ttl| self.micros() + ttl * 1_000_000);
        let name = self.bench.topic.clone();
        let mut frame = vec![b'0'; MessageId::LEN];
        frame.extend_from_slice(name.as_str().as_bytes());
        let layout = FrameLayout {
            id_at: 0,
            topic_at: MessageId::LEN,
            topic_len: name.as_str().len(),
        };
        let draft = || Draft::new(&frame, layout, expires_at, self.store.budget());
        let drafts: Vec<Draft> = (0..count).map(|_| draft()).collect();
        let mut outcome = Outcome::default();
        self.store
            .publish(
                drafts.into_iter(),
                self.moment(),
                self.micros(),
                &mut outcome,
            )
            .unwrap();
        for id in outcome.ids {
            self.bench.publish_at(id.position, ttl);
            self.ids.push(id);
            self.expire_at.push(expires_at);
        }
    }

    /// The stream loses what memory has lost. Who claims may look from here on.
    fn trim(&mut self) -> usize {
        let (handle, mut messages) = (self.handle(), Vec::new());
        let all = Batch {
            messages_max: 1,
            bytes_max: usize::MAX,
        };
        let moment = self.moment();
        let reading = self.store.read(handle, 0, all, moment, &mut messages);
        let lost = reading.unwrap().trimmed_to as usize;
        let first_kept = self.ids.get(lost).map(|id| id.position);
        if lost > 0 {
            self.bench.trim(first_kept);
        }
        lost
    }

    fn handle(&self) -> pulsar_proxy::topic::TopicHandle {
        self.store.find(&self.bench.topic).unwrap()
    }

    fn attach(
        &mut self,
        consumer: ConsumerName,
        member: SharedMember,
        start: Option<Index>,
        reset: bool,
    ) {
        let at = start.map(|start| start.index(self.ids.len() + 3));
        let (start, shared) = match at {
            None => (Start::Last, SharedStart::Last),
            Some(0) => (Start::Earliest, SharedStart::Earliest),
            Some(1) => {
                let future = self.bench.newest.next(self.bench.now + 5);
                let id = MessageId {
                    position: future,
                    ..self.ids[0]
                };
                (Start::Behind(id), SharedStart::Behind(future))
            }
            Some(2) => {
                let position = self.bench.newest.next(self.bench.now + 5);
                let topic = TopicHash::of("another");
                let id = MessageId {
                    position,
                    topic,
                    ..self.ids[0]
                };
                (Start::Behind(id), SharedStart::Since(position))
            }
            Some(at) => {
                let id = self.ids[at - 3];
                (Start::Behind(id), SharedStart::Behind(id.position))
            }
        };
        self.trim();
        let plain = plain(&member);
        let (now, rules) = (self.micros(), member.rules);
        let name = self.bench.topic.clone();
        let inner = self
            .store
            .attach(&name, 0, 7, start, reset, &consumer, &plain, rules, now)
            .unwrap();
        let attached = self.bench.attach(&consumer, &member, shared, reset);
        assert_eq!(attached.resumed, inner.resumed);
        assert_eq!(attached.misses, inner.misses);
        assert_eq!(attached.has_replaced, inner.replaced.is_some());
        self.compare_places(attached.place, inner.subscribed.resume.position);
        assert_eq!(attached.newest, self.bench.newest);
        if let Some(seat) = inner.replaced {
            let is_replaced = |it: &Seated| it.member.seat.connection == seat.connection;
            let before = self.seated.iter().position(is_replaced).unwrap();
            let Seated {
                consumer, member, ..
            } = self.seated.remove(before);
            assert_eq!(attached.wake, [member.seat]);
            let lost = self.bench.try_claim(&consumer, &member, 1, 0);
            assert_eq!(lost, Err(Unseated::Lost));
        }
        let serial = attached.serial;
        self.seated.push(Seated {
            consumer,
            member,
            serial,
        });
    }

    fn detach(&mut self, index: usize) {
        let Seated {
            consumer, member, ..
        } = self.seated.remove(index);
        let mut news = Vec::new();
        let (handle, seat) = (self.handle(), plain(&member).seat);
        self.store
            .detach(handle, &consumer, seat, self.micros(), &mut news);
        self.bench.detach(&consumer, &member);
    }

    fn claim(&mut self, index: usize, messages_max: usize, buries: bool) {
        let lost = self.trim();
        let seated = &self.seated[index];
        let (consumer, member, serial) = (
            seated.consumer.clone(),
            seated.member.clone(),
            seated.serial,
        );
        let batch = Batch {
            messages_max,
            bytes_max: usize::MAX,
        };
        let (handle, moment, mut claims) = (self.handle(), self.moment(), Claims::default());
        let seat = plain(&member).seat;
        let inner = self
            .store
            .claim(handle, &consumer, seat, batch, moment, &mut claims);
        let inner = inner.expect("it is seated");
        let found = self
            .bench
            .try_claim(&consumer, &member, messages_max, serial)
            .unwrap();
        self.seated[index].serial = found.serial;
        self.compare(&found, inner, &claims, lost);
        let dead: Vec<Position> = found.dead.iter().map(|it| it.position).collect();
        if buries && !dead.is_empty() {
            for claimed in &claims.dead {
                let id = self.ids[claimed.message.sequence() as usize - 1];
                self.store.bury(handle, &consumer, &id);
            }
            self.bench.bury(&consumer, dead);
        }
    }

    fn compare(&self, found: &SharedClaim, inner: Claim, claims: &Claims, lost: usize) {
        assert_eq!(pairs(&found.messages), plain_pairs(&claims.messages));
        assert_eq!(pairs(&found.dead), plain_pairs(&claims.dead));
        for one in &found.messages {
            assert_eq!(
                one.stored_part,
                super::bench::text(one.position).into_bytes()
            );
        }
        let mut ends = self.ids.iter().zip(&self.expire_at);
        let has_new = ends.any(|(id, end)| id.position > found.place && *end > self.micros());
        if found.dead.is_empty() || has_new {
            assert_eq!(found.more, inner.more);
        }
        let due = (inner.next_due != u64::MAX).then_some(inner.next_due / 1_000);
        assert_eq!(found.next_due.map(|it| it + self.bench.now), due);
        let gaps = claims
            .gaps
            .iter()
            .map(|it| (it.from.position, it.to.position));
        let covered = self.covered(found.gaps.iter().copied());
        assert_eq!(covered, self.covered(gaps));
        assert!(covered.iter().all(|index| *index < lost));
        assert!(
            found.gaps.windows(2).all(|two| two[0].1 < two[1].0),
            "one where they adjoin"
        );
    }

    /// How far either goes on over what has expired when a window is full, is its own affair.
    fn compare_places(&self, found: Position, expected: Position) {
        let (found, expected) = (found.min(expected), found.max(expected));
        for (id, expires_at) in self.ids.iter().zip(&self.expire_at) {
            let is_between = found < id.position && id.position <= expected;
            assert!(!is_between || *expires_at <= self.micros());
        }
    }

    fn covered(&self, gaps: impl Iterator<Item = (Position, Position)>) -> BTreeSet<usize> {
        let mut covered = BTreeSet::new();
        for (from, to) in gaps {
            let in_gap = |id: &MessageId| from < id.position && id.position <= to;
            let indexes = (0..self.ids.len()).filter(|index| in_gap(&self.ids[*index]));
            covered.extend(indexes);
        }
        covered
    }

    fn preferred(&self, who: usize, on: Option<bool>) -> Option<ConsumerName> {
        on.map(|in_group| {
            if in_group {
                group()
            } else {
                client(CLIENTS[who])
            }
        })
    }

    fn acknowledge(&mut self, ids: &[MessageId], who: usize, on: Option<bool>, all: bool) {
        self.trim();
        let preferred = self.preferred(who, on);
        let (now, mut news) = (self.micros(), Vec::<News>::new());
        let settle = |id| {
            self.store
                .acknowledge(id, CLIENTS[who], preferred.as_ref(), all, now, &mut news)
        };
        let expected: Vec<Ack> = ids.iter().map(settle).collect();
        let positions: Vec<Position> = ids.iter().map(|id| id.position).collect();
        let settling = if all {
            Settling::AcknowledgeUpTo
        } else {
            Settling::Acknowledge
        };
        let found = self
            .bench
            .settle(CLIENTS[who], preferred.as_ref(), settling, &positions);
        assert_eq!(found.0, expected);
    }

    fn nack(&mut self, id: MessageId, who: usize, on: Option<bool>, delay: u64) {
        self.trim();
        let preferred = self.preferred(who, on);
        let (now, mut news) = (self.micros(), Vec::new());
        let preferred = preferred.as_ref();
        let expected = self
            .store
            .nack(&id, CLIENTS[who], preferred, delay * 1_000, now, &mut news);
        let settling = Settling::Nack(Duration::from_millis(delay));
        let found = self
            .bench
            .settle(CLIENTS[who], preferred, settling, &[id.position]);
        assert_eq!(found.0, [expected]);
    }

    /// All go, then one of each consumer claims and acknowledges until nothing is left.
    fn finish(&mut self) {
        while !self.seated.is_empty() {
            self.detach(0);
        }
        self.bench.now += 10_000_000;
        let own = CLIENTS.map(client);
        for consumer in own.into_iter().chain([group()]) {
            self.connections += 1;
            let rules = ClaimRules {
                max_deliveries: 0,
                window: 1_000,
                ack_timeout: 1_000_000,
            };
            let name = match &consumer {
                ConsumerName::Client(name) => name.to_string(),
                ConsumerName::Group(_) => CLIENTS[0].to_owned(),
            };
            let member = SharedMember {
                rules,
                ..member(&name, self.connections)
            };
            self.attach(consumer.clone(), member.clone(), None, false);
            self.claim(0, 1_000, false);
            let newest = *self.ids.last().unwrap();
            let who = CLIENTS.iter().position(|it| *it == name).unwrap();
            self.acknowledge(&[newest], who, Some(consumer == group()), true);
            self.detach(0);
            let keys = self.bench.keys.of_topic(&self.bench.topic, "c:o:*");
            let name = keys.replace('*', &name_of(&consumer));
            let mut count = redis::cmd("ZCARD");
            let left: usize = count.arg(name).query(&mut self.bench.connection).unwrap();
            assert_eq!(left, 1, "nothing is pending any more");
        }
    }
}

fn name_of(consumer: &ConsumerName) -> String {
    match consumer {
        ConsumerName::Client(name) => format!("c:{name}"),
        ConsumerName::Group(name) => format!("g:{name}"),
    }
}

fn plain(member: &SharedMember) -> Member {
    Member {
        client: member.client.clone(),
        seat: pulsar_proxy::topic::Seat {
            worker: 0,
            connection: member.seat.connection,
        },
        is_poll: member.is_poll,
    }
}

fn plain_pairs(claimed: &[Claimed]) -> Vec<(Position, u32)> {
    let pairs = claimed.iter();
    pairs
        .map(|it| (it.message.position(), it.attempt))
        .collect()
}

#[test]
fn behaves_like_the_store_in_memory() {
    let mut bench = Bench::new();
    // Time leaps here; leases are another test's.
    bench.terms.lease = Duration::from_secs(100_000_000);
    let bench = std::cell::RefCell::new(bench);
    let config = ProptestConfig {
        cases: 300,
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    let histories = prop_oneof![1..8usize, Just(1_000)];
    let operations = prop::collection::vec(operation(), 1..120);
    let result = TestRunner::new(config).run(&(histories, operations), |(max, operations)| {
        let mut bench = bench.borrow_mut();
        let mut world = World::new(&mut bench, max);
        for operation in &operations {
            world.carry_out(operation);
        }
        world.finish();
        Ok(())
    });
    result.unwrap();
}
