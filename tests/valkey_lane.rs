//! What the tier on Valkey promises to workers: stored or refused, once, in order, and told so in
//! time, whatever happens to the server.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use pulsar_proxy::clock::Clock;
use pulsar_proxy::config::{OnOutage, Secret, ValkeySettings, ValkeyTopology};
use pulsar_proxy::fanout::Doorbell;
use pulsar_proxy::metrics::ValkeyStats;
use pulsar_proxy::topic::{
    Budget, Epoch, HistoryLimits, Message, Position, StoreLimits, TopicName, TopicStore,
};
use pulsar_proxy::valkey::{
    Ending, Health, Job, KeepLimits, Left, Listener, Mail, Operation, Order, Outgoing, Post,
    Publication, RawStrand, ReadOn, Refused, Reply, Strand, Task, Tools, Valkey, Waiter,
};
use test_util::valkey::{Valkey as Server, ValkeySentinel, ValkeySetup};

const WITHIN: Duration = Duration::from_secs(20);

/// What the lanes told.
#[derive(Default)]
struct Heard {
    opened: Mutex<Vec<(String, Result<Position, Refused>)>>,
    mended: Mutex<Vec<Result<RawStrand, Refused>>>,
    epochs: Mutex<Vec<Epoch>>,
}

impl Listener for Heard {
    fn sync(&self, _: TopicName, _: Waiter, _: u64) {}

    fn opened(&self, topic: &TopicName, last: Result<Position, Refused>) {
        self.opened
            .lock()
            .expect("nobody panics with it")
            .push((topic.to_string(), last));
    }

    fn mended(&self, _: &TopicName, strand: Result<RawStrand, Refused>) {
        self.mended
            .lock()
            .expect("nobody panics with it")
            .push(strand);
    }

    fn epoch(&self, epoch: Epoch) {
        self.epochs
            .lock()
            .expect("nobody panics with it")
            .push(epoch);
    }

    fn is_heard(&self) -> bool {
        true
    }

    fn leave(&self, _: &dyn Fn(&TopicName) -> bool) -> Vec<Left> {
        Vec::new()
    }

    fn take_over(&self, _: Left) {}

    fn tell(&self, _: &mut ValkeyStats) {}

    fn stop(&self) {}
}

/// A tier with one worker, which is the test.
struct Bench {
    valkey: Arc<Valkey>,
    post: Arc<Post>,
    clock: Clock,
    heard: Arc<Heard>,
    tickets: AtomicU64,
    replies: Mutex<HashMap<u64, Reply>>,
}

impl Bench {
    fn new(server: &Server) -> Bench {
        Bench::with(settings(server.port()), 1_000)
    }

    fn with(settings: ValkeySettings, messages_max: usize) -> Bench {
        let post = Arc::new(Post::new([Arc::<Doorbell>::default()].into_iter(), |_| {}));
        let clock = Clock::start();
        let heard = Arc::new(Heard::default());
        let tools = Tools {
            limits: KeepLimits {
                messages_max,
                retention: settings.retention,
            },
            settings,
            store: Arc::new(store()),
            post: Arc::clone(&post),
            clock,
            instance: "test".to_owned(),
        };
        let listener = Arc::clone(&heard) as Arc<dyn Listener>;
        let valkey = Valkey::start_with(tools, move |_| Ok(Arc::clone(&listener)));
        Bench {
            valkey: valkey.expect("it was given"),
            post,
            clock,
            heard,
            tickets: AtomicU64::new(0),
            replies: Mutex::default(),
        }
    }

    fn order(&self, order: Order) {
        self.valkey.cells()[0].order(order);
    }

    fn submit(&self, task: Task) -> Result<u64, Refused> {
        self.submit_within(task, WITHIN)
    }

    fn submit_within(&self, task: Task, within: Duration) -> Result<u64, Refused> {
        let ticket = self.tickets.fetch_add(1, Ordering::Relaxed);
        let waiter = Waiter { worker: 0, ticket };
        let deadline = self.clock.now().after(within);
        self.valkey.submit(Job {
            waiter,
            deadline,
            task,
        })?;
        Ok(ticket)
    }

    fn reply(&self, ticket: u64) -> Reply {
        wait_for("a reply", || {
            let mut mail = Vec::new();
            self.post.inbox(0).take(&mut mail);
            let mut replies = self.replies.lock().expect("nobody panics with it");
            for item in mail {
                if let Mail::Reply(ticket, reply) = item {
                    assert!(replies.insert(ticket, reply).is_none(), "told twice");
                }
            }
            replies.remove(&ticket)
        })
    }

    fn publish(&self, publication: Publication) -> Result<Vec<Position>, Refused> {
        let ticket = self.submit(Task::Publish(publication))?;
        self.published(ticket)
    }

    fn published(&self, ticket: u64) -> Result<Vec<Position>, Refused> {
        match self.reply(ticket) {
            Reply::Published(positions) => positions.map(|all| all.to_vec()),
            other => panic!("{other:?}"),
        }
    }

    fn read(&self, topic: &str, behind: Position) -> Strand {
        let read = ReadOn {
            topic: name(topic),
            behind,
            messages_max: 100,
            bytes_max: 1 << 20,
        };
        self.read_with(read)
    }

    fn read_with(&self, read: ReadOn) -> Strand {
        let ticket = self.submit(Task::Read(read)).expect("it was given");
        match self.reply(ticket) {
            Reply::Read(strand) => strand.expect("it was given"),
            other => panic!("{other:?}"),
        }
    }

    fn beginning(&self, topic: &str) -> Position {
        let ticket = self
            .submit(Task::Beginning(name(topic)))
            .expect("it was given");
        match self.reply(ticket) {
            Reply::Beginning(position) => position.expect("it was given"),
            other => panic!("{other:?}"),
        }
    }

    fn wait_until_well(&self) {
        wait_for("health", || {
            (self.valkey.health() == Health::Well).then_some(())
        });
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        self.valkey.stop(Duration::ZERO);
    }
}

fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(start.elapsed() < WITHIN, "{what} did not come");
        std::thread::yield_now();
        std::thread::park_timeout(Duration::from_micros(200));
    }
}

fn settings(port: u16) -> ValkeySettings {
    ValkeySettings {
        topology: ValkeyTopology::Standalone,
        addresses: vec![("127.0.0.1".to_owned(), port)],
        username: None,
        password: None,
        sentinel_username: None,
        sentinel_password: None,
        db: 0,
        use_tls: false,
        ca_file: None,
        prefix: "pulsar:".to_owned(),
        timeout: Duration::from_secs(5),
        queue_bytes_max: 64 << 20,
        wait: 0,
        linger: Duration::from_secs(10),
        retention: Duration::from_secs(3600),
        last_retention: Duration::from_secs(7200),
        on_outage: OnOutage::Reject,
    }
}

fn store() -> TopicStore {
    let limits = StoreLimits {
        history: HistoryLimits {
            messages_max: 100,
            bytes_max: 1 << 20,
            retention_micros: u64::MAX,
        },
        topics_max: 100,
        metered_topics_max: 0,
        consumers_max: 100,
        group_members_max: 100,
        client_retention: u64::MAX,
    };
    TopicStore::following(limits, 1, Epoch::new(7), Budget::new(1 << 30))
}

fn name(topic: &str) -> TopicName {
    TopicName::parse(topic).expect("it was given")
}

/// A publication of so many messages, whose payloads say `text` and a number.
fn publication(topic: &str, text: &str, count: usize) -> Publication {
    let messages = (0..count).map(|number| outgoing(topic, &format!("{text}-{number}"), None));
    Publication {
        topic: name(topic),
        messages: messages.collect(),
        sent_since: None,
    }
}

fn outgoing(topic: &str, text: &str, ttl: Option<u64>) -> Outgoing {
    let stored_part = format!(
        "\"topic\":\"{topic}\",\"payload\":{{\"text\":\"{text}\"}},\
         \"timestamp\":\"2026-01-31T12:00:00.123456Z\",\"metadata\":null}}"
    );
    let mut token = [0; 16];
    token[..8].copy_from_slice(&NEXT_TOKEN.fetch_add(1, Ordering::Relaxed).to_be_bytes());
    Outgoing {
        token,
        ttl,
        stored_part: stored_part.into_bytes().into(),
    }
}

static NEXT_TOKEN: AtomicU64 = AtomicU64::new(1);

fn texts(strand: &Strand) -> Vec<String> {
    let text = |frame: &[u8]| {
        let frame = String::from_utf8_lossy(frame).into_owned();
        let (_, rest) = frame.split_once("\"text\":\"").expect("it was given");
        rest.split('"').next().expect("it was given").to_owned()
    };
    strand
        .messages
        .iter()
        .map(|one| text(one.frame()))
        .collect()
}

#[test]
fn what_is_published_is_read_in_order() {
    let server = Server::start();
    let bench = Bench::new(&server);
    let first = bench.publish(publication("t", "a", 1)).unwrap();
    let bulk = bench.publish(publication("t", "b", 3)).unwrap();
    let all: Vec<_> = first.iter().chain(&bulk).copied().collect();
    assert!(all.is_sorted_by(|one, other| one < other), "{all:?}");
    let strand = bench.read("t", Position::ZERO);
    assert_eq!(texts(&strand), ["a-0", "b-0", "b-1", "b-2"]);
    let read: Vec<_> = strand.messages.iter().map(Message::position).collect();
    assert_eq!(read, all);
    assert_eq!(
        (strand.begins_behind, strand.reached),
        (Position::ZERO, all[3])
    );
    assert!(!strand.has_more);
    let rest = bench.read("t", all[2]);
    assert_eq!(
        (texts(&rest), rest.begins_behind),
        (vec!["b-2".to_owned()], all[2])
    );
    let some = bench.read_with(ReadOn {
        topic: name("t"),
        behind: Position::ZERO,
        messages_max: 2,
        bytes_max: 1 << 20,
    });
    assert!(some.has_more && texts(&some).len() == 2 && some.reached == all[1]);
    let one = bench.read_with(ReadOn {
        topic: name("t"),
        behind: all[0],
        messages_max: 100,
        bytes_max: 1,
    });
    assert!(one.has_more && texts(&one) == ["b-0"]);
    let empty = bench.read("other", Position::ZERO);
    assert_eq!((empty.messages.len(), empty.reached), (0, Position::ZERO));
    assert_eq!(
        bench.valkey.counters().queue_bytes.load(Ordering::Relaxed),
        0
    );
}

#[test]
fn the_beginning_tells_what_trimming_took() {
    let server = Server::start();
    let bench = Bench::with(settings(server.port()), 3);
    assert_eq!(bench.beginning("t"), Position::ZERO);
    let kept = bench.publish(publication("t", "a", 3)).unwrap();
    assert_eq!(bench.beginning("t"), Position::ZERO);
    bench.publish(publication("t", "b", 2)).unwrap();
    assert_eq!(bench.beginning("t"), kept[1]);
    let strand = bench.read("t", kept[0]);
    assert_eq!(strand.begins_behind, kept[1]);
    assert_eq!(texts(&strand), ["a-2", "b-0", "b-1"]);
    assert_eq!(bench.read("t", kept[2]).begins_behind, kept[2]);
    // The stream expires, the newest position does not.
    let _: u64 = server.command(&["DEL", "pulsar:{t}:log"]);
    let gone = bench.read("t", kept[2]);
    assert!(gone.messages.is_empty() && gone.begins_behind > kept[2]);
    assert_eq!(gone.reached, gone.begins_behind);
    assert_eq!(bench.beginning("t"), gone.begins_behind);
    let next = bench.publish(publication("t", "c", 1)).unwrap();
    assert!(next[0] > gone.begins_behind);
    assert_eq!(bench.beginning("t"), gone.begins_behind);
}

#[test]
fn what_is_too_old_leaves_the_stream() {
    let server = Server::start();
    let mut settings = settings(server.port());
    settings.retention = Duration::from_secs(60);
    let bench = Bench::with(settings, 1_000);
    let old = "1000-0";
    let _: String = server.command(&["XADD", "pulsar:{t}:log", old, "p", "0-0", "d", "x"]);
    let positions = bench.publish(publication("t", "a", 1)).unwrap();
    let strand = bench.read("t", Position::ZERO);
    assert_eq!(strand.begins_behind, Position::new(1_000, 0));
    assert_eq!(strand.reached, positions[0]);
    let log: i64 = server.command(&["PTTL", "pulsar:{t}:log"]);
    let last: i64 = server.command(&["PTTL", "pulsar:{t}:last"]);
    assert!((1..=60_000).contains(&log), "{log}");
    assert!((60_001..=7_200_000).contains(&last), "{last}");
}

#[test]
fn a_full_counter_carries_into_the_milliseconds() {
    let server = Server::start();
    let bench = Bench::new(&server);
    // The clock is behind what stands there, as after a fail-over.
    let ahead = Position::MILLIS_MAX - 10;
    let newest = format!("{ahead}-{}", Position::COUNTER_MAX - 1);
    let _: String = server.command(&["SET", "pulsar:{t}:last", &newest]);
    let positions = bench.publish(publication("t", "a", 3)).unwrap();
    let expected = [
        Position::new(ahead, Position::COUNTER_MAX),
        Position::new(ahead + 1, 0),
        Position::new(ahead + 1, 1),
    ];
    assert_eq!(positions, expected);
}

#[test]
fn messages_leave_with_their_ttl() {
    let server = Server::start();
    let bench = Bench::new(&server);
    let mut mortal = publication("t", "short", 1);
    mortal.messages[0].ttl = Some(1);
    let mut lasting = publication("t", "long", 1);
    lasting.messages[0].ttl = Some(1_000);
    let first = bench.publish(mortal).unwrap();
    let second = bench.publish(lasting).unwrap();
    let strand = wait_for("the end of the ttl", || {
        let strand = bench.read("t", Position::ZERO);
        (strand.messages.len() == 1).then_some(strand)
    });
    assert_eq!(texts(&strand), ["long-0"]);
    assert_eq!(
        (strand.begins_behind, strand.reached),
        (Position::ZERO, second[0])
    );
    let soon = bench.clock.now().after(Duration::from_secs(1_000));
    let expires_at = strand.messages[0].expires_at();
    assert!(expires_at <= soon && expires_at > soon - 60_000_000);
    assert!(bench.read("t", first[0]).reached == second[0]);
}

#[test]
fn what_was_stored_before_is_found_by_its_token() {
    let server = Server::start();
    let bench = Bench::new(&server);
    let stored = publication("t", "a", 3);
    let tokens: Vec<_> = stored.messages.iter().map(|one| one.token).collect();
    let positions = bench.publish(stored).unwrap();
    for number in 0..600 {
        bench
            .submit(Task::Publish(publication("t", &format!("more{number}"), 1)))
            .unwrap();
    }
    let mut again = publication("t", "a", 3);
    for (message, token) in again.messages.iter_mut().zip(tokens) {
        message.token = token;
    }
    again.sent_since = Some(positions[0].millis());
    assert_eq!(bench.publish(again), Ok(positions));
    let mut new = publication("t", "new", 2);
    new.sent_since = Some(0);
    bench.publish(new).unwrap();
    let stored: usize = server.command(&["XLEN", "pulsar:{t}:log"]);
    assert_eq!(stored, 605);
    let found = bench
        .valkey
        .counters()
        .operations(Operation::Find, Ending::Success);
    assert_eq!(found, 2);
}

#[test]
fn a_full_server_refuses_and_stores_nothing() {
    let server = ValkeySetup::new()
        .set("maxmemory-policy", "noeviction")
        .start();
    let bench = Bench::new(&server);
    let kept = bench.publish(publication("t", "a", 1)).unwrap();
    let _: String = server.command(&["CONFIG", "SET", "maxmemory", "1"]);
    assert_eq!(
        bench.publish(publication("t", "b", 3)),
        Err(Refused::OutOfMemory)
    );
    assert_eq!(
        texts(&bench.read("t", Position::ZERO)),
        ["a-0"],
        "it can still be read"
    );
    let last: String = server.command(&["GET", "pulsar:{t}:last"]);
    assert_eq!(last, format!("{:?}", kept[0]));
    let _: String = server.command(&["CONFIG", "SET", "maxmemory", "0"]);
    bench.publish(publication("t", "c", 1)).unwrap();
    assert_eq!(texts(&bench.read("t", Position::ZERO)), ["a-0", "c-0"]);
}

#[test]
fn scripts_that_were_forgotten_are_told_again() {
    let server = Server::start();
    let bench = Bench::new(&server);
    bench.publish(publication("t", "a", 1)).unwrap();
    let _: String = server.command(&["SCRIPT", "FLUSH"]);
    bench.publish(publication("t", "b", 1)).unwrap();
    assert_eq!(texts(&bench.read("t", Position::ZERO)), ["a-0", "b-0"]);
}

#[test]
fn listeners_hear_of_tails_strands_and_the_epoch() {
    let server = Server::start();
    let bench = Bench::new(&server);
    let positions = bench.publish(publication("t", "a", 2)).unwrap();
    bench.order(Order::Tail(name("t")));
    bench.order(Order::Tail(name("none")));
    bench.order(Order::ReadOn {
        topic: name("t"),
        behind: positions[0],
    });
    let mended = wait_for("the strand", || {
        bench
            .heard
            .mended
            .lock()
            .expect("nobody panics with it")
            .pop()
    });
    let strand = mended.unwrap();
    assert_eq!(strand.entries.len(), 1);
    assert_eq!(strand.entries[0].predecessor, positions[0]);
    assert_eq!(
        (strand.entries[0].position, strand.last),
        (positions[1], positions[1])
    );
    assert!(strand.now_millis.abs_diff(positions[1].millis()) < 60_000);
    let opened = bench
        .heard
        .opened
        .lock()
        .expect("nobody panics with it")
        .clone();
    let expected = [
        ("t".to_owned(), Ok(positions[1])),
        ("none".to_owned(), Ok(Position::ZERO)),
    ];
    assert_eq!(opened, expected);
    let epoch: u32 = server.command(&["GET", "pulsar:epoch"]);
    let heard = bench
        .heard
        .epochs
        .lock()
        .expect("nobody panics with it")
        .clone();
    assert!(!heard.is_empty() && heard.iter().all(|one| *one == Epoch::new(epoch)));
    let _: String = server.command(&["SET", "pulsar:epoch", "77"]);
    wait_for("the canary", || {
        (bench
            .heard
            .epochs
            .lock()
            .expect("nobody panics with it")
            .last()
            == Some(&Epoch::new(77)))
        .then_some(())
    });
    let _: String = server.command(&["FLUSHALL"]);
    wait_for("a new epoch", || {
        (bench
            .heard
            .epochs
            .lock()
            .expect("nobody panics with it")
            .last()
            != Some(&Epoch::new(77)))
        .then_some(())
    });
}

#[test]
fn the_channel_hears_what_is_published_and_the_echo() {
    let server = Server::start();
    let mut connection = redis::Client::open(format!(
        "redis://127.0.0.1:{}/?protocol=resp3",
        server.port()
    ))
    .and_then(|client| client.get_connection())
    .unwrap();
    let (sender, receiver) = std::sync::mpsc::channel();
    connection.set_push_sender(sender);
    connection.set_read_timeout(Some(WITHIN)).unwrap();
    for channel in ["pulsar:{t}:news", "pulsar:{0}:echo:test"] {
        let mut subscribe = redis::cmd("SSUBSCRIBE");
        subscribe.arg(channel);
        connection
            .send_packed_command(&subscribe.get_packed_command())
            .unwrap();
        connection.recv_response().unwrap();
    }
    let bench = Bench::new(&server);
    let mut both = publication("t", "a", 2);
    both.messages[1].ttl = Some(60);
    let parts: Vec<_> = both
        .messages
        .iter()
        .map(|one| one.stored_part.clone())
        .collect();
    let positions = bench.publish(both).unwrap();
    bench.order(Order::Echo(41));
    let mut heard = Vec::new();
    while heard.len() < 3 {
        connection.recv_response().unwrap();
        while let Ok(push) = receiver.try_recv() {
            if push.kind == redis::PushKind::SMessage {
                let payload: Vec<u8> = redis::from_redis_value(push.data[1].clone()).unwrap();
                heard.push(payload);
            }
        }
    }
    let line = |position: &Position, before: &str, ttl: u64, part: &[u8]| {
        let mut line = format!("m {position:?} {before} {ttl} ").into_bytes();
        line.extend_from_slice(part);
        line
    };
    assert_eq!(heard[0], line(&positions[0], "0-0", 0, &parts[0]));
    assert_eq!(
        heard[1],
        line(&positions[1], &format!("{:?}", positions[0]), 60, &parts[1])
    );
    assert_eq!(heard[2], b"41");
}

#[test]
fn nobody_waits_long_for_a_server_that_is_away() {
    let mut server = Server::start();
    let bench = Bench::new(&server);
    bench.publish(publication("t", "a", 1)).unwrap();
    server.kill();
    let start = Instant::now();
    let outcome = bench.publish(publication("t", "b", 1));
    assert_eq!(outcome, Err(Refused::Away));
    assert!(
        start.elapsed() < Duration::from_secs(5),
        "{:?}",
        start.elapsed()
    );
    assert!(matches!(bench.valkey.health(), Health::Away(_)));
    assert_eq!(bench.submit(Task::Beginning(name("t"))), Err(Refused::Away));
    server.restart();
    bench.wait_until_well();
    bench.publish(publication("t", "c", 1)).unwrap();
    assert_eq!(
        bench
            .valkey
            .counters()
            .breakers_open
            .load(Ordering::Relaxed),
        0
    );
}

#[test]
fn a_restart_is_ridden_out() {
    let mut server = ValkeySetup::new().durable().start();
    let bench = Bench::new(&server);
    bench.publish(publication("t", "a", 1)).unwrap();
    let tickets: Vec<_> = (0..50)
        .map(|number| bench.submit(Task::Publish(publication("t", &format!("b{number}"), 1))))
        .collect();
    server.kill();
    server.restart();
    let mut stored = HashSet::new();
    for (number, ticket) in tickets.into_iter().enumerate() {
        if ticket.and_then(|ticket| bench.published(ticket)).is_ok() {
            stored.insert(format!("b{number}-0"));
        }
    }
    bench.wait_until_well();
    let read = texts(&bench.read("t", Position::ZERO));
    let once: HashSet<_> = read.iter().cloned().collect();
    assert_eq!(once.len(), read.len(), "each once: {read:?}");
    assert!(
        stored.is_subset(&once),
        "what was said to be stored is there"
    );
}

#[test]
fn connections_that_end_lose_and_repeat_nothing() {
    let server = Server::start();
    let bench = Bench::new(&server);
    bench.wait_until_well();
    let mut tickets = Vec::new();
    for number in 0..2_000 {
        let task = Task::Publish(publication(
            &format!("t{}", number % 3),
            &number.to_string(),
            2,
        ));
        tickets.push(bench.submit(task).unwrap());
        if number % 100 == 0 {
            let _: u64 = server.command(&["CLIENT", "KILL", "TYPE", "normal"]);
        }
    }
    for ticket in tickets {
        assert_eq!(bench.published(ticket).unwrap().len(), 2);
    }
    for topic in 0..3 {
        let mut read = Vec::new();
        let (mut behind, topic) = (Position::ZERO, format!("t{topic}"));
        loop {
            let strand = bench.read(&topic, behind);
            read.extend(texts(&strand));
            behind = strand.reached;
            if !strand.has_more {
                break;
            }
        }
        let once: HashSet<_> = read.iter().collect();
        assert_eq!(once.len(), read.len());
        assert!(read.len() >= 1_000, "the newest 1,000 are kept");
    }
    assert!(bench.valkey.counters().connects.load(Ordering::Relaxed) > 1);
}

#[test]
fn a_server_that_hangs_repeats_nothing_when_it_goes_on() {
    let server = Server::start();
    let mut settings = settings(server.port());
    settings.timeout = Duration::from_millis(300);
    let bench = Bench::with(settings, 1_000_000);
    bench.publish(publication("t", "a", 1)).unwrap();
    server.pause();
    let text = "x".repeat(2_000);
    let tickets: Vec<_> = (0..1_000)
        .map(|number| {
            let publication = publication("t", &format!("{number}-{text}"), 1);
            bench.submit(Task::Publish(publication))
        })
        .collect();
    wait_for("the time-out", || {
        (bench.valkey.health() != Health::Well).then_some(())
    });
    server.resume();
    let mut stored = 0;
    for ticket in tickets {
        match ticket.and_then(|ticket| bench.published(ticket)) {
            Ok(_) => stored += 1,
            Err(refused) => assert_eq!(refused, Refused::Away),
        }
    }
    let kept: usize = server.command(&["XLEN", "pulsar:{t}:log"]);
    assert!((stored + 1..=1_001).contains(&kept), "{stored} of {kept}");
    if stored == 1_000 {
        assert_eq!(kept, 1_001);
    }
}

#[test]
fn a_deadline_is_kept_while_the_server_hangs() {
    let server = Server::start();
    let mut settings = settings(server.port());
    settings.timeout = Duration::from_millis(300);
    let bench = Bench::with(settings, 1_000);
    bench.publish(publication("t", "a", 1)).unwrap();
    server.pause();
    let soon = Duration::from_millis(300);
    let start = Instant::now();
    let first = bench.submit_within(Task::Publish(publication("t", "b", 1)), soon);
    let second = bench.submit_within(Task::Publish(publication("t", "c", 1)), soon);
    assert_eq!(bench.published(first.unwrap()), Err(Refused::TooLate));
    assert_eq!(bench.published(second.unwrap()), Err(Refused::TooLate));
    assert!(start.elapsed() < Duration::from_secs(3));
    server.resume();
}

#[test]
fn as_much_waits_as_may_wait() {
    let server = Server::start();
    let mut settings = settings(server.port());
    settings.queue_bytes_max = 10_000;
    let bench = Bench::with(settings, 1_000);
    bench.wait_until_well();
    server.pause();
    let mut tickets = Vec::new();
    let refused = loop {
        match bench.submit(Task::Publish(publication("t", "a", 1))) {
            Ok(ticket) => tickets.push(ticket),
            Err(refused) => break refused,
        }
        assert!(tickets.len() < 100);
    };
    assert_eq!(refused, Refused::Full);
    server.resume();
    for ticket in tickets {
        bench.published(ticket).unwrap();
    }
    bench.publish(publication("t", "b", 1)).unwrap();
    assert_eq!(
        bench.valkey.counters().queue_bytes.load(Ordering::Relaxed),
        0
    );
}

#[test]
fn the_end_sends_what_waits() {
    let server = Server::start();
    let bench = Bench::new(&server);
    let tickets: Vec<_> = (0..500)
        .map(|_| {
            bench
                .submit(Task::Publish(publication("t", "a", 1)))
                .unwrap()
        })
        .collect();
    bench.valkey.stop(Duration::from_secs(10));
    for ticket in tickets {
        bench.published(ticket).unwrap();
    }
    let late = bench.submit(Task::Publish(publication("t", "b", 1)));
    assert_eq!(late, Err(Refused::Away));
}

#[test]
fn passwords_and_users_are_used() {
    let user = "alice on >wonder ~pulsar:* &pulsar:* +@all";
    let server = ValkeySetup::new()
        .password("secret")
        .user(user)
        .login("alice", "wonder")
        .start();
    let mut settings = settings(server.port());
    settings.password = Some(Secret::new("wrong".to_owned()));
    let bench = Bench::with(settings.clone(), 10);
    let text = wait_for("the refusal", || match bench.valkey.health() {
        Health::Away(text) => Some(text),
        _ => None,
    });
    assert_eq!(text, "Valkey refuses the credentials");
    settings.username = Some(Secret::new("alice".to_owned()));
    settings.password = Some(Secret::new("wonder".to_owned()));
    let bench = Bench::with(settings, 10);
    bench.publish(publication("t", "a", 1)).unwrap();
}

#[test]
fn tls_trusts_the_authority_that_was_named() {
    let server = ValkeySetup::new().tls().start();
    let mut settings = settings(server.tls_port());
    settings.use_tls = true;
    let stranger = Bench::with(settings.clone(), 10);
    wait_for("the refusal", || {
        matches!(stranger.valkey.health(), Health::Away(_)).then_some(())
    });
    settings.ca_file = Some(server.ca_file());
    let bench = Bench::with(settings, 10);
    bench.publish(publication("t", "a", 1)).unwrap();
    assert_eq!(texts(&bench.read("t", Position::ZERO)), ["a-0"]);
}

#[test]
fn too_few_replicas_are_told_in_time() {
    let server = Server::start();
    let mut settings = settings(server.port());
    settings.wait = 1;
    settings.timeout = Duration::from_millis(500);
    let bench = Bench::with(settings, 10);
    assert_eq!(
        bench.publish(publication("t", "a", 1)),
        Err(Refused::TooLate)
    );
    assert_eq!(
        texts(&bench.read("t", Position::ZERO)),
        ["a-0"],
        "it was stored all the same"
    );
}

#[test]
fn sentinels_lead_to_the_new_primary() {
    let mut pair = ValkeySentinel::start();
    let mut settings = settings(0);
    settings.topology = ValkeyTopology::Sentinel {
        master: "mymaster".to_owned(),
    };
    let port = |sentinel: &Server| ("127.0.0.1".to_owned(), sentinel.port());
    settings.addresses = pair.sentinels().iter().map(port).collect();
    settings.wait = 1;
    let bench = Bench::with(settings, 1_000);
    // Any of the two may be the replica that the first one waits for.
    let first = wait_for("the replica", || {
        bench.publish(publication("t", "a", 1)).ok()
    });
    pair.kill_primary();
    pair.wait_for_primary();
    bench.wait_until_well();
    // What a replica had is there, and the topic goes on behind it.
    let strand = bench.read("t", Position::ZERO);
    let read: Vec<_> = strand.messages.iter().map(Message::position).collect();
    assert!(read.contains(&first[0]));
    let next = bench.submit_within(
        Task::Publish(publication("t", "b", 1)),
        Duration::from_secs(1),
    );
    // There is no replica any more.
    assert_eq!(bench.published(next.unwrap()), Err(Refused::TooLate));
    assert!(bench.read("t", strand.reached).reached > strand.reached);
}
