//! What following a topic on Valkey promises: the local log has everything that was published, once
//! and in one order everywhere, whatever happens to the server and the connections to it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use pulsar_proxy::clock::Clock;
use pulsar_proxy::config::{OnOutage, ValkeySettings, ValkeyTopology};
use pulsar_proxy::fanout::Doorbell;
use pulsar_proxy::topic::{
    Batch, Budget, Epoch, HistoryLimits, LocalTopic, Message, Position, Start, StoreLimits,
    TopicName, TopicStore,
};
use pulsar_proxy::valkey::{
    Health, Job, KeepLimits, Mail, Outgoing, Post, Publication, Refused, Reply, Task, Valkey,
    Waiter,
};
use test_util::valkey::{Valkey as Server, ValkeyProxy, ValkeySetup};

const WITHIN: Duration = Duration::from_secs(20);
/// After a fault that has passed, delivery goes on within this time.
const RECOVERY: Duration = Duration::from_secs(2);
/// Messages that the log of a topic keeps: all that a test publishes.
const KEPT: usize = 1 << 20;

static NEXT_TOKEN: AtomicU64 = AtomicU64::new(1);

/// A tier with one worker, which is the test.
struct Instance {
    valkey: Arc<Valkey>,
    store: Arc<TopicStore>,
    post: Arc<Post>,
    clock: Clock,
    tickets: AtomicU64,
    replies: Mutex<HashMap<u64, Reply>>,
    /// News of a topic that have come.
    news: AtomicU64,
}

impl Drop for Instance {
    fn drop(&mut self) {
        self.valkey.stop(Duration::ZERO);
    }
}

impl Instance {
    fn new(port: u16) -> Instance {
        Instance::with(&settings(port))
    }

    fn with(settings: &ValkeySettings) -> Instance {
        let post = Arc::new(Post::new([Arc::<Doorbell>::default()].into_iter(), |_| {}));
        let (clock, store) = (Clock::start(), Arc::new(store()));
        let limits = KeepLimits {
            messages_max: KEPT,
            retention: settings.retention,
        };
        let (to, through) = (Arc::clone(&store), Arc::clone(&post));
        let valkey = Valkey::start(settings, limits, to, through, clock);
        let instance = Instance {
            valkey: valkey.expect("threads can be started"),
            store,
            post,
            clock,
            tickets: AtomicU64::new(0),
            replies: Mutex::default(),
            news: AtomicU64::new(0),
        };
        instance.wait_until_well();
        instance
    }

    fn submit(&self, task: Task) -> Result<u64, Refused> {
        let ticket = self.tickets.fetch_add(1, Ordering::Relaxed);
        let deadline = self.clock.now().after(WITHIN);
        self.valkey.submit(Job {
            waiter: Waiter { worker: 0, ticket },
            deadline,
            task,
        })?;
        Ok(ticket)
    }

    fn lock_replies(&self) -> MutexGuard<'_, HashMap<u64, Reply>> {
        self.replies.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take_mail(&self) {
        let mut mail = Vec::new();
        let mut replies = self.lock_replies();
        self.post.inbox(0).take(&mut mail);
        for item in mail {
            match item {
                Mail::Reply(ticket, reply) => {
                    assert!(replies.insert(ticket, reply).is_none(), "told twice");
                }
                Mail::News(_) => drop(self.news.fetch_add(1, Ordering::Relaxed)),
            }
        }
    }

    fn reply(&self, ticket: u64) -> Reply {
        wait_for("a reply", || {
            self.take_mail();
            self.lock_replies().remove(&ticket)
        })
    }

    fn synced(&self, ticket: u64) -> Result<(), Refused> {
        match self.reply(ticket) {
            Reply::Synced(result) => result,
            other => panic!("{other:?}"),
        }
    }

    fn try_sync(&self, topic: &str) -> Result<(), Refused> {
        self.synced(self.submit(Task::Sync(name(topic)))?)
    }

    /// Until there is a connection, as a client would.
    fn sync(&self, topic: &str) {
        wait_for("a sync", || self.try_sync(topic).ok());
    }

    /// Follows a topic, and has it read from now on.
    fn follow(&self, topic: &str) {
        self.sync(topic);
        let local: LocalTopic = 1;
        let start = Start::Last;
        let subscribed = self
            .store
            .subscribe_behind(&name(topic), 0, local, start, None);
        subscribed.expect("it is open behind a sync");
    }

    /// What the log holds: positions, and payloads.
    fn log(&self, topic: &str) -> Vec<(Position, String)> {
        let handle = self.store.find(&name(topic)).expect("the topic is open");
        let batch = Batch {
            messages_max: usize::MAX,
            bytes_max: usize::MAX,
        };
        let mut messages = Vec::new();
        let now = self.clock.now();
        self.store.read(handle, 0, batch, now, &mut messages);
        messages
            .iter()
            .map(|it| (it.position(), text(it)))
            .collect()
    }

    fn publish(&self, topic: &str, text: &str) -> Position {
        let ticket = wait_for("room", || self.submit(publication(topic, text)).ok());
        self.published(ticket).expect("nothing is wrong")
    }

    fn published(&self, ticket: u64) -> Result<Position, Refused> {
        match self.reply(ticket) {
            Reply::Published(positions) => positions.map(|all| all[0]),
            other => panic!("{other:?}"),
        }
    }

    /// Publishes, some at a time, and gives what was told to be stored.
    fn publish_many(&self, topic: &str, count: usize) -> Vec<(Position, String)> {
        let mut stored = Vec::new();
        for round in 0..count / 20 {
            let texts = (0..20).map(|number| format!("{topic}-{round}-{number}"));
            let submit = |text: String| {
                let ticket = wait_for("room", || self.submit(publication(topic, &text)).ok());
                (ticket, text)
            };
            let tickets: Vec<_> = texts.map(submit).collect();
            for (ticket, text) in tickets {
                // What is refused in an outage may be sent again by whoever wants.
                if let Ok(position) = self.published(ticket) {
                    stored.push((position, text));
                }
            }
        }
        stored
    }

    fn wait_until_well(&self) {
        wait_for("a connection", || {
            (self.valkey.health() == Health::Well).then_some(())
        });
    }

    /// Topics that are followed, and how many of their logs are behind.
    fn topics(&self) -> [u64; 2] {
        self.valkey.stats().topics
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
            messages_max: KEPT,
            bytes_max: 1 << 30,
            retention_micros: u64::MAX,
        },
        topics_max: 100_000,
        metered_topics_max: 0,
        consumers_max: 100,
        group_members_max: 100,
        client_retention: u64::MAX,
    };
    TopicStore::following(limits, 1, Epoch::new(7), Budget::new(1 << 30))
}

fn name(topic: &str) -> TopicName {
    TopicName::parse(topic).expect("it is a name")
}

fn publication(topic: &str, text: &str) -> Task {
    let stored_part = format!(
        "\"topic\":\"{topic}\",\"payload\":{{\"text\":\"{text}\"}},\
         \"timestamp\":\"2026-01-31T12:00:00.123456Z\",\"metadata\":null}}"
    );
    let mut token = [0; 16];
    token[..8].copy_from_slice(&NEXT_TOKEN.fetch_add(1, Ordering::Relaxed).to_be_bytes());
    let message = Outgoing {
        token,
        ttl: None,
        stored_part: stored_part.into_bytes().into(),
    };
    Task::Publish(Publication {
        topic: name(topic),
        messages: [message].into_iter().collect(),
        sent_since: None,
    })
}

fn text(message: &Message) -> String {
    let frame = String::from_utf8_lossy(message.frame()).into_owned();
    let (_, rest) = frame.split_once("\"text\":\"").expect("it is one of ours");
    rest.split('"').next().unwrap_or_default().to_owned()
}

fn wait_for<T>(what: &str, look: impl FnMut() -> Option<T>) -> T {
    look_every(Duration::from_micros(200), what, look)
}

/// The same for a look that costs something: it takes time from what is waited for.
fn look_every<T>(pause: Duration, what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(start.elapsed() < WITHIN, "{what} did not come");
        thread::park_timeout(pause);
    }
}

/// Publishes from `publisher` while `disturb` does what it does until that has ended, and checks
/// that all `readers` have everything that was stored, once and in order.
fn survives(publisher: &Instance, readers: &[&Instance], mut disturb: impl FnMut()) {
    for reader in readers {
        reader.follow("t");
    }
    let stored = thread::scope(|scope| {
        let publishing = scope.spawn(|| publisher.publish_many("t", 4_000));
        while !publishing.is_finished() {
            disturb();
        }
        publishing.join().expect("it does not panic")
    });
    assert!(stored.len() >= 1_000, "{} were stored", stored.len());
    let logs: Vec<_> = readers
        .iter()
        .map(|reader| {
            reader.sync("t");
            reader.log("t")
        })
        .collect();
    for log in &logs {
        assert!(log.is_sorted_by(|one, other| one.0 < other.0), "in order");
        assert!(log == &logs[0], "one order everywhere");
        let found: HashMap<_, _> = log
            .iter()
            .map(|(position, text)| (text, position))
            .collect();
        assert_eq!(found.len(), log.len(), "nothing is there twice");
        for (position, text) in &stored {
            assert_eq!(found.get(text), Some(&position), "{text}");
        }
    }
}

#[test]
fn all_instances_see_one_order() {
    let server = Server::start();
    let instances = [0; 2].map(|_| Instance::new(server.port()));
    for instance in &instances {
        instance.follow("t");
    }
    thread::scope(|scope| {
        for (number, instance) in instances.iter().enumerate() {
            scope.spawn(move || {
                for count in 0..200 {
                    instance.publish("t", &format!("{number}-{count}"));
                }
            });
        }
    });
    let logs = instances.each_ref().map(|instance| {
        instance.sync("t");
        instance.log("t")
    });
    assert_eq!(logs[0].len(), 400);
    assert_eq!(logs[0], logs[1]);
    assert!(
        instances[0].news.load(Ordering::Relaxed) > 0,
        "readers are told"
    );
}

#[test]
fn a_sync_sees_all_that_was_published_before_it() {
    let server = Server::start();
    let [one, other] = [0; 2].map(|_| Instance::new(server.port()));
    for round in 0..50 {
        // Also in a topic that nobody follows yet, of which only the newest position is known.
        let topic = format!("t{}", round % 5);
        let position = one.publish(&topic, &format!("{round}"));
        other.sync(&topic);
        let open = other.store.open_topics();
        let found = open.iter().find(|(open, _)| *open == name(&topic));
        assert_eq!(found, Some(&(name(&topic), position)));
    }
}

#[test]
fn connections_that_are_cut_lose_and_repeat_nothing() {
    let server = Server::start();
    let [one, other] = [0; 2].map(|_| Instance::new(server.port()));
    let mut kills = 0;
    survives(&one, &[&one, &other], || {
        kills += server.command::<u64>(&["CLIENT", "KILL", "TYPE", "pubsub"]);
        thread::park_timeout(Duration::from_millis(30));
    });
    assert!(kills >= 4, "{kills} connections were cut");
}

#[test]
fn a_server_that_is_killed_and_comes_back_loses_and_repeats_nothing() {
    let mut server = ValkeySetup::new().durable().start();
    let [one, other] = [0; 2].map(|_| Instance::new(server.port()));
    let mut kills = 0;
    survives(&one, &[&one, &other], || {
        thread::park_timeout(Duration::from_millis(200));
        if kills < 3 {
            kills += 1;
            server.restart();
        }
    });
}

#[test]
fn a_follower_that_hears_nothing_connects_again() {
    let server = Server::start();
    let proxy = ValkeyProxy::start(server.address());
    let (one, other) = (Instance::new(server.port()), Instance::new(proxy.port()));
    other.follow("t");
    one.publish("t", "before");
    other.sync("t");
    proxy.stall();
    let position = one.publish("t", "meanwhile");
    wait_for("the loss to be seen", || {
        (other.valkey.health() != Health::Well).then_some(())
    });
    proxy.flow();
    proxy.cut();
    let start = Instant::now();
    wait_for("the message", || {
        other
            .log("t")
            .last()
            .filter(|(last, _)| *last == position)
            .map(drop)
    });
    assert!(start.elapsed() < RECOVERY, "{:?}", start.elapsed());
}

#[test]
fn many_topics_are_followed_again_soon() {
    const TOPICS: usize = 10_000;
    let server = Server::start();
    let instance = Instance::new(server.port());
    let submit = |number| {
        instance
            .submit(Task::Sync(name(&format!("t{number}"))))
            .unwrap()
    };
    let tickets: Vec<_> = (0..TOPICS).map(submit).collect();
    for ticket in tickets {
        assert_eq!(instance.synced(ticket), Ok(()));
    }
    assert_eq!(instance.topics(), [TOPICS as u64, 0]);
    let start = Instant::now();
    assert_eq!(
        server.command::<u64>(&["CLIENT", "KILL", "TYPE", "pubsub"]),
        1
    );
    let last = instance.publish(&format!("t{}", TOPICS - 1), "meanwhile");
    // Each look counts all topics under the lock that following them needs.
    let pause = Duration::from_millis(20);
    look_every(pause, "the loss to be seen", || {
        (instance.topics()[1] > 0).then_some(())
    });
    look_every(pause, "all logs", || {
        (instance.topics()[1] == 0).then_some(())
    });
    assert!(start.elapsed() < RECOVERY, "{:?}", start.elapsed());
    assert_eq!(
        instance.log(&format!("t{}", TOPICS - 1)).pop().unwrap().0,
        last
    );
}

#[test]
fn a_topic_that_nobody_reads_is_given_up() {
    let server = Server::start();
    let linger = Duration::from_secs(1);
    let instance = Instance::with(&ValkeySettings {
        linger,
        ..settings(server.port())
    });
    instance.sync("unread");
    instance.follow("read");
    assert_eq!(instance.topics(), [2, 0]);
    let start = Instant::now();
    wait_for("the end", || (instance.topics() == [1, 0]).then_some(()));
    // A little less: the time began when the reply went out.
    assert!(start.elapsed() > linger / 2);
    assert!(instance.store.find(&name("read")).is_some());
    assert!(instance.store.find(&name("unread")).is_none());
    // Two topics' channels less one, and the echo channel.
    wait_for("the channel to be left", || {
        let channels: Vec<String> = server.command(&["PUBSUB", "SHARDCHANNELS"]);
        (channels.len() == 2).then_some(())
    });
    instance.publish("unread", "after");
    instance.sync("unread");
    assert_eq!(instance.topics(), [2, 0]);
}

#[test]
fn a_server_that_lost_everything_begins_anew() {
    let mut server = Server::start();
    let instance = Instance::new(server.port());
    instance.follow("t");
    instance.publish("t", "before");
    instance.sync("t");
    let before = instance.store.epoch();
    assert_eq!(instance.log("t").len(), 1);
    server.restart_empty();
    wait_for("the new epoch", || {
        (instance.store.epoch() != before).then_some(())
    });
    instance.sync("t");
    assert_eq!(instance.log("t"), []);
    let position = instance.publish("t", "after");
    instance.sync("t");
    assert_eq!(instance.log("t"), [(position, "after".to_owned())]);
    assert_eq!(instance.valkey.stats().epoch_changes, 1);
}

#[test]
fn what_others_say_on_our_channels_is_harmless() {
    let server = Server::start();
    let instance = Instance::new(server.port());
    instance.follow("t");
    let first = instance.publish("t", "first");
    let channel = "pulsar:{t}:news";
    let forged = "m 1-1 0-0 0 \"topic\":\"other\",\"payload\":1}";
    for said in ["", "m", "x", "\u{0}", "m 1-1 0-0 0 ", forged] {
        assert_eq!(server.command::<u64>(&["SPUBLISH", channel, said]), 1);
    }
    // Something in front of which everything is missing, and that is not in the stream.
    let future = "m 281474976710655-1 281474976710655-0 0 \"topic\":\"t\",\"payload\":1}";
    server.command::<u64>(&["SPUBLISH", channel, future]);
    let second = instance.publish("t", "second");
    instance.sync("t");
    let log = instance.log("t");
    let positions: Vec<_> = log.iter().map(|(position, _)| *position).collect();
    assert_eq!(positions, [first, second]);
}

#[test]
fn a_call_to_look_again_reaches_readers() {
    let server = Server::start();
    let instance = Instance::new(server.port());
    instance.follow("t");
    server.command::<u64>(&["SPUBLISH", "pulsar:{t}:news", "w"]);
    wait_for("the call", || {
        instance.take_mail();
        (instance.news.load(Ordering::Relaxed) > 0).then_some(())
    });
}
