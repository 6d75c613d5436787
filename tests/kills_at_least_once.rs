//! At-least-once delivery while connections are cut at random moments: clients and groups over WebSocket, a
//! stream and a poll acknowledge, give back, ignore, sleep past their timeout, vanish and come back, while
//! publishers run. In the end every message is acknowledged, none came after its acknowledgement was
//! confirmed, and each that came again did so for a reason.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use fastrand::Rng;
use serde_json::{Value, json};
use test_util::everywhere::Place;
use test_util::journal::{Connection, Journal, Tally};
use test_util::owed::{Death, Delivery, Lines, Owed, post_ack, publish_numbers};
use test_util::{DEADLINE, Event, Http, Server};

const ACK_TIMEOUT: Duration = Duration::from_secs(1);
/// Longer than that.
const NAP: Duration = Duration::from_millis(1200);
/// How often one consumer sleeps past its timeout.
const NAPS: u32 = 3;
const TOPICS: [&str; 3] = ["a", "b", "c"];
const MESSAGES_PER_TOPIC: u64 = 600;
/// Between two requests of a publisher, so that there is time for everything else.
const PACE: Duration = Duration::from_millis(25);
/// How long a look at a connection may take when nothing comes.
const LOOK: Duration = Duration::from_millis(3);

#[test]
fn every_message_is_acknowledged_with_one_worker() {
    run(&Place::in_memory("1"), 1, 1);
}

#[test]
fn every_message_is_acknowledged_with_four_workers() {
    run(&Place::in_memory("4"), 1, 2);
}

#[test]
fn every_message_is_acknowledged_across_instances() {
    run(&Place::behind_memory("2"), 3, 3);
}

#[test]
fn every_message_is_acknowledged_on_a_cluster() {
    run(&Place::on_a_cluster("2"), 2, 4);
}

/// Who consumes what, and how.
#[derive(Clone, Copy)]
enum Kind {
    Client,
    /// With so many members.
    Group(usize),
    Stream,
    Poll,
}

const CONSUMERS: [(&str, &str, Kind); 7] = [
    ("client-a", "a", Kind::Client),
    ("client-b", "b", Kind::Client),
    ("client-c", "c", Kind::Client),
    ("group-a", "a", Kind::Group(3)),
    ("group-b", "b", Kind::Group(4)),
    ("stream", "c", Kind::Stream),
    ("poll", "b", Kind::Poll),
];

/// What all threads share.
struct World {
    servers: Vec<Server>,
    connections: AtomicUsize,
    published: Mutex<BTreeMap<&'static str, Vec<String>>>,
    publishing: AtomicUsize,
    /// Every message has been acknowledged, or a thread has failed.
    over: AtomicBool,
}

impl World {
    fn published(&self, topic: &str) -> Vec<String> {
        self.lock().get(topic).cloned().unwrap_or_default()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<&'static str, Vec<String>>> {
        self.published
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }

    /// Of one server after the other.
    fn address(&self) -> SocketAddr {
        let number = self.connections.fetch_add(1, Ordering::Relaxed);
        self.servers[number % self.servers.len()].addr()
    }
}

/// Ends the others when its thread fails.
struct Fuse<'w>(&'w World);

impl Drop for Fuse<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.over.store(true, Ordering::Relaxed);
        }
    }
}

fn run(place: &Place, servers: usize, seed: u64) {
    let seed = std::env::var("KILLS_SEED").map_or(seed, |it| it.parse().expect("a number"));
    eprintln!("KILLS_SEED={seed}");
    let world = World {
        servers: (0..servers).map(|_| place.start(&[])).collect(),
        connections: AtomicUsize::new(0),
        published: Mutex::default(),
        publishing: AtomicUsize::new(TOPICS.len()),
        over: AtomicBool::new(false),
    };
    let journals: Vec<Journal> = CONSUMERS
        .iter()
        .map(|(name, _, kind)| match kind {
            Kind::Poll => Journal::of_polls(name, ACK_TIMEOUT),
            _ => Journal::new(name, ACK_TIMEOUT),
        })
        .collect();
    let mut seeds = Rng::with_seed(seed);
    thread::scope(|scope| {
        let world = &world;
        for topic in TOPICS {
            let random = seeds.fork();
            scope.spawn(move || publish(world, topic, random));
        }
        for (journal, (name, topic, kind)) in journals.iter().zip(CONSUMERS) {
            let members = if let Kind::Group(members) = kind {
                members
            } else {
                1
            };
            for member in 0..members {
                let mut consumer = Consumer {
                    world,
                    journal,
                    topic,
                    client_id: format!("{name}-{member}"),
                    group: matches!(kind, Kind::Group(_)).then_some(name),
                    random: seeds.fork(),
                    naps: NAPS,
                };
                scope.spawn(move || {
                    let _fuse = Fuse(world);
                    match kind {
                        Kind::Client | Kind::Group(_) => consumer.live_on_sockets(),
                        Kind::Stream => consumer.live_on_streams(),
                        Kind::Poll => consumer.live_on_polls(),
                    }
                });
            }
        }
        scope.spawn(|| {
            for topic in TOPICS.iter().cycle().take_while(|_| !world.is_over()) {
                place.disturb(topic);
                thread::sleep(10 * PACE);
            }
        });
        wait_for_the_end(world, &journals);
    });
    settle_the_rest(place, &world, &journals);
    let check = |(journal, (name, topic, _)): (&Journal, (&str, &str, Kind))| {
        let tally = journal.check(&world.published(topic));
        eprintln!("{name}: {tally:?}");
        assert_eq!(tally.messages as u64, MESSAGES_PER_TOPIC);
        tally
    };
    let tallies: Vec<Tally> = journals.iter().zip(CONSUMERS).map(check).collect();
    assert_lively(&tallies);
}

/// The chances are such that each kind of trouble came up, or the test would say nothing.
fn assert_lively(tallies: &[Tally]) {
    for (name, cause) in ["nack", "lost connection", "timeout"].iter().zip(0..) {
        let count: usize = tallies.iter().map(|tally| tally.causes[cause]).sum();
        assert!(count >= 10, "{count} redeliveries after a {name}");
    }
    assert!(tallies.iter().all(|tally| tally.lost >= 3), "{tallies:?}");
}

fn publish(world: &World, topic: &'static str, mut random: Rng) {
    let _fuse = Fuse(world);
    let mut number = 0;
    while number < MESSAGES_PER_TOPIC && !world.is_over() {
        let end = (number + random.u64(1..8)).min(MESSAGES_PER_TOPIC);
        let server = random.choice(&world.servers).expect("there is one");
        let ids = publish_numbers(server, topic, number..end);
        world.lock().entry(topic).or_default().extend(ids);
        number = end;
        thread::sleep(PACE);
    }
    world.publishing.fetch_sub(1, Ordering::Relaxed);
}

/// Waits until each consumer has sent an acknowledgement of each message.
fn wait_for_the_end(world: &World, journals: &[Journal]) {
    let _fuse = Fuse(world);
    let end = Instant::now() + 3 * DEADLINE;
    while !world.is_over() {
        let open: Vec<_> = journals
            .iter()
            .zip(CONSUMERS)
            .map(|(journal, (name, topic, _))| (name, journal.open(&world.published(topic))))
            .filter(|(_, open)| !open.is_empty())
            .collect();
        if world.publishing.load(Ordering::Relaxed) == 0 && open.is_empty() {
            world.over.store(true, Ordering::Relaxed);
        }
        assert!(Instant::now() < end, "never acknowledged: {open:?}");
        thread::sleep(Duration::from_millis(20));
    }
}

/// Acknowledges what is pending still, since an acknowledgement may be lost with its connection; then nothing
/// may be.
fn settle_the_rest(place: &Place, world: &World, journals: &[Journal]) {
    let began = Instant::now();
    let mut last: Vec<(Owed, &Journal, Connection)> = journals
        .iter()
        .zip(CONSUMERS)
        .map(|(journal, (name, topic, kind))| {
            let mut fields = json!({"ack_timeout": 1});
            if let Kind::Group(_) = kind {
                fields["group"] = name.into();
            }
            let connection = journal.connection();
            let client_id = format!("{name}-0");
            let owed = Owed::connect(world.address(), &client_id, topic, &fields);
            (owed, journal, connection)
        })
        .collect();
    let end = Instant::now() + DEADLINE;
    let mut is_quiet = false;
    while !is_quiet || place.pending(&world.servers[0]) != 0 {
        assert!(Instant::now() < end, "messages stay pending");
        is_quiet = true;
        for (owed, journal, connection) in &mut last {
            while let Some(message) = owed.message_within(LOOK) {
                is_quiet = false;
                journal.delivered(*connection, &message, began);
                journal.asked([message.id.as_str()]);
                let (_, failed) = owed.confirm(&json!({"message_id": message.id}));
                // An acknowledgement of the connection before may have been on its way.
                for (id, error) in &failed {
                    journal.refused(id, error);
                }
            }
        }
    }
    last.iter_mut().for_each(|(owed, ..)| owed.assert_quiet());
}

/// One member of a consumer, through all its lives.
struct Consumer<'w> {
    world: &'w World,
    journal: &'w Journal,
    topic: &'static str,
    client_id: String,
    group: Option<&'static str>,
    random: Rng,
    naps: u32,
}

/// What a life on a connection has seen.
struct Life {
    connection: Connection,
    /// When the connection was last known to hold nothing unread.
    drained: Instant,
    /// Messages of this life that were not given back.
    held: Vec<String>,
    /// Some of them, to be acknowledged together.
    batch: Vec<String>,
    messages_left: u32,
}

impl Consumer<'_> {
    fn begin(&mut self) -> Life {
        Life {
            connection: self.journal.connection(),
            drained: Instant::now(),
            held: Vec::new(),
            batch: Vec::new(),
            // Some live long enough to see timeouts.
            messages_left: self.random.u32(1..40)
                * self.random.choice([1, 1, 1, 1, 1, 8]).expect("some"),
        }
    }

    fn connect(&mut self) -> Owed {
        let mut fields = json!({"ack_timeout": 1, "window": self.random.u32(10..60)});
        fields["offset"] = "earliest".into();
        if let Some(group) = self.group {
            fields["group"] = group.into();
        }
        Owed::connect(self.world.address(), &self.client_id, self.topic, &fields)
    }

    fn live_on_sockets(&mut self) {
        let mut life = self.begin();
        let mut owed = self.connect();
        while !self.world.is_over() {
            self.consume(&mut owed, &mut life);
            self.journal.lost(life.connection);
            let next_life = self.begin();
            if self.group.is_none() && self.random.u8(0..5) == 0 {
                let newer = self.connect();
                assert_replaced(&mut owed);
                owed = newer;
            } else {
                let death = self.random.choice(Death::ALL).expect("there are some");
                if self.random.u8(0..5) == 0 {
                    owed.unsubscribe(self.topic);
                }
                let kept = owed.die(death);
                self.pause();
                owed = self.connect();
                drop(kept);
            }
            life = next_life;
        }
        self.journal.lost(life.connection);
    }

    /// Reads and answers messages until the life is at its end.
    fn consume(&mut self, owed: &mut Owed, life: &mut Life) {
        while life.messages_left > 0 && !self.world.is_over() {
            let now = Instant::now();
            match owed.message_within(LOOK) {
                None => life.drained = now,
                Some(message) => {
                    self.note(life, &message);
                    self.answer(owed, life, &message);
                }
            }
        }
    }

    fn note(&self, life: &mut Life, message: &Delivery) {
        self.journal
            .delivered(life.connection, message, life.drained);
        life.held.push(message.id.clone());
        life.messages_left = life.messages_left.saturating_sub(1);
    }

    /// Does one of the things that can be done with a message.
    fn answer(&mut self, owed: &mut Owed, life: &mut Life, message: &Delivery) {
        let id = &message.id;
        match self.random.u32(0..100) {
            0..10 => {
                life.batch.push(id.clone());
                if life.batch.len() > 4 {
                    let batch = std::mem::take(&mut life.batch);
                    self.confirm(owed, life, &json!({"message_ids": batch}), &batch);
                }
            }
            10..18 => {
                self.journal.asked([id.as_str()]);
                owed.ack(id);
            }
            18..25 => self.confirm_by_http(&[id]),
            25..33 => {
                life.held.retain(|held| held != id);
                self.journal.nacked(life.connection, id);
                owed.nack(id, f64::from(self.random.u8(0..2)) * 0.3);
            }
            // Left to its timeout.
            33..36 => {}
            36..43 if self.group.is_none() => {
                self.journal.asked_up_to(id);
                let held: Vec<String> = life.held.iter().filter(|it| *it <= id).cloned().collect();
                let fields = json!({"message_id": id, "cumulative": true});
                self.confirm(owed, life, &fields, &held);
            }
            43..46 if self.naps > 0 => {
                self.naps -= 1;
                thread::sleep(NAP);
                self.confirm(
                    owed,
                    life,
                    &json!({"message_id": id}),
                    std::slice::from_ref(id),
                );
            }
            _ => self.confirm(
                owed,
                life,
                &json!({"message_id": id}),
                std::slice::from_ref(id),
            ),
        }
    }

    /// Acknowledges over the connection and waits for what is said to it. All of `ids` that are not refused
    /// are done with.
    fn confirm(&mut self, owed: &mut Owed, life: &mut Life, fields: &Value, ids: &[String]) {
        self.journal.asked(ids.iter().map(String::as_str));
        let (_, failed) = owed.confirm(fields);
        // These came before the confirmation.
        let early = owed.early();
        for message in &early {
            self.note(life, message);
        }
        self.refused(&failed);
        let done = ids
            .iter()
            .filter(|id| !failed.iter().any(|(it, _)| it == *id));
        self.journal
            .confirmed(Some(life.connection), done.map(String::as_str));
        for message in &early {
            self.journal.asked([message.id.as_str()]);
            owed.ack(&message.id);
        }
    }

    fn confirm_by_http(&self, ids: &[&str]) {
        self.journal.asked(ids.iter().copied());
        let body = json!({"message_ids": ids, "client_id": self.client_id});
        let (_, failed) = post_ack(self.world.address(), &body);
        self.refused(&failed);
        let done = ids
            .iter()
            .filter(|id| !failed.iter().any(|(it, _)| it == *id));
        self.journal.confirmed(None, done.copied());
    }

    fn refused(&self, failed: &[(String, String)]) {
        for (id, error) in failed {
            assert!(
                self.group.is_some() || error != "REASSIGNED",
                "to whom? {id}"
            );
            self.journal.refused(id, error);
        }
    }

    fn query(&mut self) -> String {
        format!(
            "topics={}&client_id={}&delivery_mode=at_least_once&ack_timeout=1&window={}",
            self.topic,
            self.client_id,
            self.random.u32(10..60)
        )
    }

    fn live_on_streams(&mut self) {
        while !self.world.is_over() {
            let mut life = self.begin();
            let query = self.query() + "&since=earliest";
            let mut lines = Lines::open(self.world.address(), &query);
            while life.messages_left > 0 && !self.world.is_over() {
                let now = Instant::now();
                match lines.message_within(LOOK) {
                    None => life.drained = now,
                    Some(message) => {
                        self.note(&mut life, &message);
                        self.settle_by_http(&message.id);
                    }
                }
            }
            self.journal.lost(life.connection);
            let death = self.random.choice([Death::Reset, Death::Finish]);
            let kept = lines.die(death.expect("there are some"));
            self.pause();
            drop(kept);
        }
    }

    fn live_on_polls(&mut self) {
        while !self.world.is_over() {
            let mut http = Http::open(self.world.address());
            for _ in 0..self.random.u32(1..20) {
                let life = self.begin();
                let (query, limit) = (self.query(), self.random.u32(1..20));
                let query = format!("{query}&since=earliest&timeout=1&limit={limit}");
                let request = http.encode("GET", &format!("/api/v1/poll?{query}"), &[], b"");
                http.send(request);
                if self.random.u8(0..6) == 0 {
                    // Whatever it is answered with is lost.
                    self.journal.lost(life.connection);
                    self.pause();
                    break;
                }
                let response = http.read_response();
                assert_eq!(response.status, 200, "{response:?}");
                let answer = response.json();
                let messages = answer["messages"].as_array().expect("messages is a list");
                for message in messages.iter().map(Delivery::of) {
                    self.journal
                        .delivered(life.connection, &message, life.drained);
                    self.settle_by_http(&message.id);
                }
            }
        }
    }

    fn settle_by_http(&mut self, id: &str) {
        match self.random.u32(0..100) {
            // Left to its timeout.
            0..5 => {}
            5..7 if self.naps > 0 => {
                self.naps -= 1;
                thread::sleep(NAP);
                self.confirm_by_http(&[id]);
            }
            _ => self.confirm_by_http(&[id]),
        }
    }

    /// What passes before a client comes back.
    fn pause(&mut self) {
        thread::sleep(Duration::from_millis(self.random.u64(0..30)));
    }
}

/// The older of two connections of a client is told that it was replaced, behind whatever else it was sent.
fn assert_replaced(owed: &mut Owed) {
    loop {
        match owed.client().next(DEADLINE) {
            Event::Text(_) => {}
            Event::Close(Some(4010)) => return,
            other => panic!("not replaced: {other:?}"),
        }
    }
}
