//! Random operations on the consumers of one topic, beside the plain model.

use proptest::prelude::*;
use proptest::sample::Index;

use super::super::{Ack, ClaimRules, Claimed, Claims, ConsumerName, Member};
use super::bench::{Bench, RULES, group, member, pairs};
use super::naive::{Expected, Holder, Naive, Sent};
use super::operations::{CLIENTS, MILLI, Operation, operation};
use crate::topic::{Batch, MessageId, Start};

/// A member that has its seat.
#[derive(Debug)]
struct Seated {
    consumer: usize,
    holder: usize,
    member: Member,
    /// When its worker has it claim without news.
    alarm: u64,
}

struct World {
    bench: Bench,
    names: Vec<ConsumerName>,
    /// In the order of `names`; those that were never attached to are absent.
    naive: Vec<Option<Naive>>,
    seated: Vec<Seated>,
    /// By sequence; nothing has sequence zero.
    sent: Vec<Sent>,
    ids: Vec<MessageId>,
    /// The newest sequence that trimming took.
    lost: u64,
    /// Workers that have news to look at.
    told: [bool; 2],
    connections: u64,
}

impl World {
    fn new(messages_max: usize) -> World {
        let bench = Bench::with(|limits| {
            limits.history.messages_max = messages_max;
            limits.group_members_max = 1_000;
        });
        let own = CLIENTS.map(|client| ConsumerName::Client(client.into()));
        let mut world = World {
            bench,
            names: own.into_iter().chain([group()]).collect(),
            naive: (0..=CLIENTS.len()).map(|_| None).collect(),
            seated: Vec::new(),
            sent: vec![Sent {
                expires_at: 0,
                is_alive: false,
            }],
            ids: Vec::new(),
            lost: 0,
            told: [false; 2],
            connections: 0,
        };
        world.publish(1, None);
        // A topic with a consumer is never freed, so its sequences go on.
        world.attach(0, CLIENTS[0], false, RULES, Start::Last, false);
        world.detach(0);
        world
    }

    fn carry_out(&mut self, operation: &Operation) {
        let picked = |index: &Index, count: usize| (count > 0).then(|| index.index(count));
        match operation {
            Operation::Publish(count, ttl) => self.publish(*count, *ttl),
            Operation::Wait(millis) => self.bench.now += millis * MILLI,
            Operation::Attach {
                client,
                in_group,
                is_poll,
                rules,
                earliest,
                reset,
            } => {
                let consumer = if *in_group { CLIENTS.len() } else { *client };
                let start = if *earliest {
                    Start::Earliest
                } else {
                    Start::Last
                };
                self.attach(consumer, CLIENTS[*client], *is_poll, *rules, start, *reset);
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
            Operation::Wake(worker) => self.wake(*worker),
            Operation::Acknowledge(index, client, on, all) => {
                let at = index.index(self.ids.len());
                self.settle(
                    at,
                    CLIENTS[*client],
                    self.preferred(*client, *on),
                    Some(*all),
                    0,
                );
            }
            Operation::Nack(index, client, on, delay) => {
                let at = index.index(self.ids.len());
                let preferred = self.preferred(*client, *on);
                self.settle(at, CLIENTS[*client], preferred, None, *delay * MILLI);
            }
            Operation::Sweep => {
                self.bench.store.sweep(0, 1, self.bench.moment());
            }
        }
        self.look();
        self.check();
    }

    fn preferred(&self, client: usize, on: Option<bool>) -> Option<usize> {
        let consumer = on.map(|in_group| if in_group { CLIENTS.len() } else { client });
        consumer.filter(|consumer| self.naive[*consumer].is_some())
    }

    fn publish(&mut self, count: usize, ttl: Option<u64>) {
        let expires_at = ttl.map_or(u64::MAX, |ttl| self.bench.now + ttl * MILLI);
        self.ids.extend(self.bench.publish_until(count, expires_at));
        let sent = Sent {
            expires_at,
            is_alive: true,
        };
        self.sent.extend(std::iter::repeat_n(sent, count));
        self.note_news();
        self.look();
    }

    /// Finds out what is kept.
    fn look(&mut self) {
        let (handle, mut messages) = (self.bench.handle(), Vec::new());
        let all = Batch {
            messages_max: usize::MAX,
            bytes_max: usize::MAX,
        };
        let moment = self.bench.moment();
        let reading = self
            .bench
            .store
            .read(handle, 0, all, moment, &mut messages)
            .unwrap();
        self.lost = reading.trimmed_to;
        for sent in &mut self.sent {
            sent.is_alive = false;
        }
        for message in messages {
            self.sent[message.sequence() as usize].is_alive = true;
        }
    }

    fn note_news(&mut self) {
        for news in self.bench.news.drain(..) {
            self.told[usize::from(news.worker)] = true;
        }
    }

    fn attach(
        &mut self,
        consumer: usize,
        client: &str,
        is_poll: bool,
        rules: ClaimRules,
        start: Start,
        reset: bool,
    ) {
        self.connections += 1;
        let worker = (self.connections % 2) as u8;
        let member = Member {
            is_poll,
            ..member(client, worker, self.connections)
        };
        let name = &self.names[consumer];
        let attached = self
            .bench
            .try_attach(name, &member, rules, start, reset)
            .unwrap();
        let is_new = self.naive[consumer].is_none();
        let naive = self.naive[consumer].get_or_insert_default();
        naive.is_group = consumer == CLIENTS.len();
        assert_eq!(attached.resumed, !is_new && !reset);
        if is_new || reset {
            let newest = self.sent.len() as u64 - 1;
            naive.start(if start == Start::Last {
                newest
            } else {
                self.lost
            });
            assert_eq!(attached.subscribed.gap, None);
        } else {
            assert_eq!(attached.subscribed.gap, None);
            assert!(attached.misses || naive.place >= self.lost);
        }
        assert_eq!(attached.subscribed.start.sequence, naive.place);
        let holder = naive.attach(Holder {
            client: client.into(),
            seat: Some(member.clone()),
            window: rules.window as usize,
            ack_timeout: rules.ack_timeout,
            max_deliveries: rules.max_deliveries,
        });
        let is_same = |it: &Seated| (it.consumer, it.holder) == (consumer, holder);
        let before = self.seated.iter().position(is_same);
        let replaced = before.map(|index| self.seated.remove(index).member.seat);
        assert_eq!(attached.replaced, replaced);
        // Nobody is told of a reset but the one who asks for it.
        for seated in self
            .seated
            .iter_mut()
            .filter(|it| reset && it.consumer == consumer)
        {
            seated.alarm = 0;
        }
        self.seated.push(Seated {
            consumer,
            holder,
            member,
            alarm: 0,
        });
        if let Some(seat) = replaced {
            self.unsubscribe(seat.worker);
        }
    }

    fn detach(&mut self, index: usize) {
        let Seated {
            consumer,
            holder,
            member,
            ..
        } = self.seated.remove(index);
        self.naive[consumer].as_mut().unwrap().detach(holder);
        let name = self.names[consumer].clone();
        self.bench.detach(&name, &member);
        self.note_news();
        self.unsubscribe(member.seat.worker);
    }

    fn unsubscribe(&mut self, worker: u8) {
        if !self.seated.iter().any(|it| it.member.seat.worker == worker) {
            self.bench.store.unsubscribe(self.bench.handle(), worker);
            self.told[usize::from(worker)] = false;
        }
    }

    fn wake(&mut self, worker: u8) {
        let seats: Vec<usize> = (0..self.seated.len())
            .filter(|index| self.seated[*index].member.seat.worker == worker)
            .collect();
        let Some(first) = seats.first() else { return };
        self.bench.take_news(&self.seated[*first].member);
        self.told[usize::from(worker)] = false;
        for index in seats {
            while self.claim(index, 2, true) {}
        }
    }

    /// Returns whether there is more.
    fn claim(&mut self, index: usize, most: usize, bury: bool) -> bool {
        self.look();
        let (consumer, holder) = (self.seated[index].consumer, self.seated[index].holder);
        let naive = self.naive[consumer].as_mut().unwrap();
        for sequence in naive.fates.keys() {
            assert!(!naive.pending.contains_key(sequence), "done is done");
        }
        let expected = naive.claim(holder, (most, self.bench.now), self.lost, &self.sent);
        let name = &self.names[consumer];
        let (claim, claims) = self
            .bench
            .claim_some(name, &self.seated[index].member, most);
        let claim = claim.expect("it is seated");
        let found = Expected {
            messages: pairs(&claims.messages),
            dead: pairs(&claims.dead),
            lost: expected.lost.clone(),
            more: claim.more,
            next_due: claim.next_due,
        };
        assert_eq!(found, expected);
        self.check_gaps(&claims, &expected.lost);
        for Claimed { message, .. } in claims.dead.iter().filter(|_| bury) {
            let id = self.ids[message.sequence() as usize - 1];
            self.bench
                .store
                .bury(self.bench.handle(), &self.names[consumer], &id);
            let naive = self.naive[consumer].as_mut().unwrap();
            naive.bury(message.sequence());
        }
        self.seated[index].alarm = if claim.more { 0 } else { claim.next_due };
        claim.more
    }

    /// What is lost is declared once and in order, and nothing that is kept is.
    fn check_gaps(&self, claims: &Claims, lost: &[u64]) {
        let position = |sequence: u64| self.ids[sequence as usize - 1].position;
        let covers = |sequence: u64| {
            let in_gap = claims.gaps.iter().filter(|gap| {
                gap.from.position < position(sequence) && position(sequence) <= gap.to.position
            });
            in_gap.count()
        };
        assert!(lost.iter().all(|sequence| covers(*sequence) == 1));
        let newest = self.sent.len() as u64 - 1;
        assert!((self.lost + 1..=newest).all(|sequence| covers(sequence) == 0));
        for gap in &claims.gaps {
            let is_in = |sequence: u64| {
                gap.from.position < position(sequence) && position(sequence) <= gap.to.position
            };
            // The newest that was trimmed may have expired since.
            let mut candidates = lost.iter().copied().chain([self.lost]);
            assert!(candidates.any(is_in), "something was lost");
        }
        for pair in claims.gaps.windows(2) {
            assert!(pair[0].to.position <= pair[1].from.position, "in order");
        }
    }

    /// Acknowledges (all up to it, or it alone), or nacks.
    fn settle(
        &mut self,
        at: usize,
        client: &str,
        preferred: Option<usize>,
        acknowledge: Option<bool>,
        delay: u64,
    ) {
        let (id, sequence, now) = (self.ids[at], at as u64 + 1, self.bench.now);
        let sent = self.sent[sequence as usize];
        let until = (now + delay).min(sent.expires_at);
        let own = CLIENTS.iter().position(|it| *it == client);
        let mut settled = 0;
        for consumer in preferred.into_iter().chain(own).chain([CLIENTS.len()]) {
            if let Some(naive) = self.naive[consumer].as_mut().filter(|_| settled == 0) {
                settled = match acknowledge {
                    Some(all) => naive.acknowledge(sequence, client, all),
                    None if delay == 0 => naive.nack(sequence, client, now, now),
                    None => naive.nack(sequence, client, until, now),
                };
            }
        }
        let mut expected = if settled > 0 {
            Some(Ack::Acknowledged(settled))
        } else {
            None
        };
        for consumer in [CLIENTS.len()].into_iter().chain(own) {
            let is_preferred = preferred == Some(consumer);
            let naive = self.naive[consumer].as_ref();
            let refusal =
                naive.and_then(|it| it.refusal(sequence, client, is_preferred || !it.is_group));
            expected = expected.or(refusal);
        }
        let fallback = match (sent.is_alive && sent.expires_at > now, acknowledge) {
            (false, _) => Ack::Unknown,
            (true, None) => Ack::NotPending,
            (true, Some(_)) => Ack::Acknowledged(1),
        };
        let name = preferred.map(|consumer| self.names[consumer].clone());
        let found = match acknowledge {
            Some(all) => self.bench.settle(&id, client, name.as_ref(), all),
            None => {
                self.bench
                    .store
                    .nack(&id, client, name.as_ref(), delay, now, &mut self.bench.news)
            }
        };
        assert_eq!(found, expected.unwrap_or(fallback));
        self.note_news();
    }

    fn check(&self) {
        let stats = self.bench.store.stats();
        let naive = || self.naive.iter().flatten();
        assert_eq!(stats.consumers, naive().count());
        let pending: usize = naive().map(|it| it.pending.len()).sum();
        assert_eq!(stats.consumers_pending, pending);
        for seated in &self.seated {
            let naive = self.naive[seated.consumer].as_ref().unwrap();
            let is_new = |sequence: u64| self.sent[sequence as usize].is_alive;
            let newest = self.sent.len() as u64 - 1;
            let has_new = (naive.place + 1..=newest).any(is_new);
            let is_idle = !self.told[usize::from(seated.member.seat.worker)];
            if is_idle && naive.room(seated.holder) > 0 && (has_new || naive.first_due().is_some())
            {
                assert_ne!(seated.alarm, u64::MAX, "nobody waits for ever: {seated:?}");
            }
        }
        for (consumer, naive) in self.naive.iter().enumerate() {
            let Some(naive) = naive else { continue };
            let is_ripe = naive.first_due().is_some()
                || naive.pending.values().any(|it| it.until <= self.bench.now);
            let members = || self.seated.iter().filter(move |it| it.consumer == consumer);
            let mut with_room = members().filter(|it| naive.room(it.holder) > 0).peekable();
            let is_awake = |it: &Seated| {
                it.alarm <= self.bench.now || self.told[usize::from(it.member.seat.worker)]
            };
            assert!(
                !is_ripe || with_room.peek().is_none() || members().any(is_awake),
                "what is due is claimed at once"
            );
        }
    }

    /// All go, then one of each claims and acknowledges until nothing is left.
    fn finish(&mut self) {
        while !self.seated.is_empty() {
            self.detach(0);
        }
        self.bench.now += 100_000 * MILLI;
        for consumer in 0..self.names.len() {
            if self.naive[consumer].is_none() {
                continue;
            }
            let rules = ClaimRules {
                ack_timeout: MILLI,
                window: 100,
                max_deliveries: 0,
            };
            let client = CLIENTS[consumer % CLIENTS.len()];
            self.attach(consumer, client, false, rules, Start::Last, false);
            let index = self.seated.len() - 1;
            while self.claim(index, 3, false) {}
            let newest = self.ids.len() - 1;
            self.settle(newest, client, Some(consumer), Some(true), 0);
            self.look();
            self.check();
            let naive = self.naive[consumer].as_ref().unwrap();
            assert!(naive.pending.is_empty() && naive.place as usize == self.ids.len());
            for sequence in naive.started + 1..=naive.place {
                let has_expired = self.sent[sequence as usize].expires_at <= self.bench.now;
                let fate = naive.fates.get(&sequence);
                assert!(has_expired || fate.is_some(), "{sequence} has a fate");
            }
        }
        while !self.seated.is_empty() {
            self.detach(0);
        }
        self.bench.now += 3600 * 1_000 * MILLI;
        self.bench.store.sweep(0, 1, self.bench.moment());
        assert_eq!(self.bench.store.stats().consumers, 0);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn behaves_like_the_model(
        messages_max in prop_oneof![1..8usize, Just(1_000)],
        operations in prop::collection::vec(operation(), 1..150),
    ) {
        let mut world = World::new(messages_max);
        for operation in &operations {
            world.carry_out(operation);
        }
        world.finish();
    }
}
