//! The scripts on topics, on a real server: what they answer, and what they leave behind.

use std::time::Duration;

use pulsar_proxy::topic::{
    Batch, Budget, Epoch, HistoryLimits, MessageId, Order, Page, PageRequest, Position,
    StoreLimits, TopicHash, TopicName, TopicStore,
};
use pulsar_proxy::valkey::catalogue::{
    self, Created, Found, PageAsked, Progress, RawPage, Survey, Surveyed, TopicFacts,
};
use pulsar_proxy::valkey::{Call, Keys};
use redis::Value;
use test_util::{Valkey, ValkeyCluster};

const LIFE: Duration = Duration::from_secs(100);

struct World {
    valkey: Valkey,
    connection: redis::Connection,
    keys: Keys,
    store: TopicStore,
}

fn name(topic: &str) -> TopicName {
    TopicName::parse(topic).expect("it is a name")
}

fn part(topic: &str, payload: &str) -> String {
    format!(
        r#""topic":"{topic}","payload":{payload},"timestamp":"2026-01-31T12:00:00.123456Z","metadata":null}}"#
    )
}

fn eval(call: &Call) -> redis::Cmd {
    let mut command = redis::cmd("EVAL");
    command.arg(call.script).arg(call.keys.len());
    command.arg(&call.keys).arg(&call.args);
    command
}

fn words(words: &[&str]) -> redis::Cmd {
    let mut command = redis::Cmd::new();
    command.arg(words);
    command
}

impl World {
    fn new() -> World {
        let valkey = Valkey::start();
        let client = redis::Client::open(format!("redis://{}", valkey.address()));
        let client = client.expect("it is an address");
        let limits = StoreLimits {
            history: HistoryLimits {
                messages_max: 10,
                bytes_max: 1 << 20,
                retention_micros: u64::MAX,
            },
            topics_max: 10,
            metered_topics_max: 0,
            consumers_max: 10,
            group_members_max: 10,
            client_retention: u64::MAX,
        };
        World {
            valkey,
            connection: client.get_connection().expect("it answers"),
            keys: Keys::new("p:"),
            store: TopicStore::following(limits, 1, Epoch::new(3), Budget::new(1 << 30)),
        }
    }

    fn run(&mut self, call: &Call) -> Value {
        let command = eval(call);
        command
            .query(&mut self.connection)
            .expect("the script runs")
    }

    fn describe(&mut self, topic: &str) -> Found {
        let said = self.run(&catalogue::describe(&self.keys, &name(topic)));
        Found::read(&said).expect("the answer has its form")
    }

    fn facts(&mut self, topic: &str) -> TopicFacts {
        match self.describe(topic) {
            Found::Topic(facts) => facts,
            other => panic!("{topic} is {other:?}"),
        }
    }

    /// Stores a message as publishing does, and lists its topic.
    fn publish(&mut self, topic: &str, position: &str, ttl: Option<&str>, payload: &str) {
        let (log, last) = (self.keys.log(&name(topic)), self.keys.last(&name(topic)));
        let part = part(topic, payload);
        let mut add = vec!["XADD", &log, position, "p", "0-0", "k", "0123456789abcdef"];
        if let Some(ttl) = ttl {
            add.extend(["t", ttl]);
        }
        add.extend(["d", &part]);
        let mut both = redis::pipe();
        both.add_command(words(&add));
        both.add_command(words(&["SET", &last, position]));
        both.exec(&mut self.connection).expect("it is stored");
        self.run(&catalogue::enlist(&self.keys, [&name(topic)]));
    }

    fn page(&mut self, order: Order, cursor: Option<MessageId>, batch: Batch) -> Option<Page> {
        let request = PageRequest {
            order,
            cursor,
            batch,
        };
        let mut asked = PageAsked::new(name("t"), request, self.store.epoch());
        loop {
            let said = self.run(&asked.call(&self.keys));
            let raw = RawPage::read(&said).expect("the answer has its form")?;
            if !asked.goes_on(&raw) {
                return Some(asked.page(&raw, &self.store, 0));
            }
        }
    }

    /// Positions of all pages, each in brackets.
    fn pages(&mut self, order: Order, first: Option<MessageId>, batch: Batch) -> String {
        let (mut text, mut cursor) = (String::new(), first);
        loop {
            let page = self.page(order, cursor, batch).expect("the topic exists");
            let positions = page.messages.iter().map(|it| it.position().millis());
            text += &format!("{:?}", positions.collect::<Vec<_>>());
            match page.next {
                Some(next) => cursor = Some(next),
                None => return text,
            }
        }
    }

    fn survey(&mut self, mut survey: Survey) -> Surveyed {
        loop {
            let calls = survey.calls(&self.keys);
            let said: Vec<Value> = calls.iter().map(|call| self.run(call)).collect();
            match survey.take_in(&said).expect("answers have their form") {
                Progress::Ask(next) => survey = next,
                Progress::Done(found) => return found,
            }
        }
    }

    fn list(&mut self, after: Option<&str>, limit: usize) -> Vec<String> {
        match self.survey(Survey::list(after, limit, None)) {
            Surveyed::List { topics, .. } => {
                topics.iter().map(|(name, _)| name.to_string()).collect()
            }
            other => panic!("{other:?}"),
        }
    }

    fn exists(&self, key: &str) -> bool {
        self.valkey.command::<u64>(&["EXISTS", key]) == 1
    }
}

fn batch(messages_max: usize) -> Batch {
    Batch {
        messages_max,
        bytes_max: 1 << 20,
    }
}

fn id(millis: u64, epoch: u32) -> Option<MessageId> {
    Some(MessageId {
        position: Position::new(millis, 0),
        epoch: Epoch::new(epoch),
        topic: TopicHash::of("t"),
    })
}

#[test]
fn a_topic_comes_with_its_first_message() {
    let mut world = World::new();
    assert_eq!(world.describe("t"), Found::Gone);
    world.publish("t", "5-0", None, "{}");
    world.publish("t", "7-3", None, "{}");
    let facts = world.facts("t");
    assert_eq!((facts.messages, facts.evicted), (2, 0));
    assert_eq!(facts.oldest, Some(Position::new(5, 0)));
    assert_eq!(facts.newest, Some(Position::new(7, 3)));
    assert!(facts.bytes > 200, "{}", facts.bytes);
    assert_eq!((facts.created_at, facts.description), (None, None));
    let _: u64 = world.valkey.command(&["XTRIM", "p:{t}:log", "MAXLEN", "1"]);
    let facts = world.facts("t");
    assert_eq!((facts.messages, facts.evicted), (1, 1));
    let _: u64 = world.valkey.command(&["XTRIM", "p:{t}:log", "MAXLEN", "0"]);
    assert_eq!(world.describe("t"), Found::Idle);
    let _: u64 = world.valkey.command(&["DEL", "p:{t}:log", "p:{t}:last"]);
    assert_eq!(world.describe("t"), Found::Gone);
}

#[test]
fn a_topic_is_created_once() {
    let mut world = World::new();
    let mut create = |at, description| {
        let said = world.run(&catalogue::create(
            &world.keys.clone(),
            &name("t"),
            at,
            description,
        ));
        Created::read(&said).expect("the answer has its form")
    };
    let Created::Now(first) = create(17, Some("caf\u{e9}")) else {
        panic!("it was not there");
    };
    assert_eq!((first.messages, first.created_at), (0, Some(17)));
    assert_eq!(first.description.as_deref(), Some("caf\u{e9}"));
    // The same call once more: its answer was lost.
    assert_eq!(create(17, Some("caf\u{e9}")), Created::Now(first.clone()));
    assert_eq!(create(17, None), Created::Before);
    assert_eq!(create(18, Some("caf\u{e9}")), Created::Before);
    assert_eq!(world.facts("t"), first);
    assert_eq!(world.valkey.command::<i64>(&["TTL", "p:{t}:about"]), -1);
}

#[test]
fn a_topic_is_described_anew() {
    let mut world = World::new();
    let update = |world: &mut World, at, description| {
        let call = catalogue::update(&world.keys, &name("t"), at, description);
        Found::read(&world.run(&call)).expect("the answer has its form")
    };
    assert_eq!(update(&mut world, 1, Some("x")), Found::Gone);
    assert!(!world.exists("p:{t}:about"));
    world.publish("t", "5-0", None, "{}");
    for (at, description) in [(20, Some("")), (30, Some("more")), (40, None)] {
        let Found::Topic(facts) = update(&mut world, at, description) else {
            panic!("it exists");
        };
        assert_eq!(facts.created_at, Some(20), "from its first description on");
        assert_eq!(facts.description.as_deref(), description);
        assert_eq!(facts.messages, 1);
        assert_eq!(world.facts("t"), facts);
    }
}

#[test]
fn removing_keeps_the_newest_position_and_tells_it() {
    let mut world = World::new();
    let remove = |world: &mut World| {
        let said = world.run(&catalogue::remove(&world.keys, &name("t"), LIFE));
        catalogue::read_removed(&said).expect("the answer has its form")
    };
    assert!(!remove(&mut world));
    world.run(&catalogue::create(&world.keys.clone(), &name("t"), 1, None));
    assert!(remove(&mut world));
    assert!(!world.exists("p:{t}:about") && !world.exists("p:{t}:last"));

    world.publish("t", "5-0", None, "{}");
    world.publish("t", "7-3", None, "{}");
    let client = redis::Client::open(format!(
        "redis://{}/?protocol=resp3",
        world.valkey.address()
    ));
    let mut news = client.unwrap().get_connection().unwrap();
    news.set_read_timeout(Some(test_util::DEADLINE)).unwrap();
    let (sender, told) = std::sync::mpsc::channel();
    news.set_push_sender(sender);
    let mut subscribe = redis::cmd("SSUBSCRIBE");
    subscribe.arg("p:{t}:news").set_no_response(true);
    subscribe.exec(&mut news).unwrap();
    // The answer to a command comes behind that to the one before it.
    let _: String = redis::cmd("PING").query(&mut news).unwrap();
    assert!(remove(&mut world));
    let _: String = redis::cmd("PING").query(&mut news).unwrap();
    let data = told.try_iter().map(|push| format!("{:?}", push.data));
    let data: Vec<String> = data.collect();
    assert!(data.iter().any(|it| it.contains("r 7-3")), "{data:?}");

    assert_eq!(world.describe("t"), Found::Idle);
    assert_eq!(
        world.valkey.command::<String>(&["GET", "p:{t}:last"]),
        "7-3"
    );
    let left: i64 = world.valkey.command(&["PTTL", "p:{t}:last"]);
    assert!(left > 90_000 && left <= 100_000, "{left}");
    assert!(!remove(&mut world));
}

#[test]
fn a_stream_without_its_newest_position_leaves_one() {
    let mut world = World::new();
    world.publish("t", "7-3", None, "{}");
    let _: u64 = world.valkey.command(&["DEL", "p:{t}:last"]);
    world.run(&catalogue::remove(&world.keys.clone(), &name("t"), LIFE));
    assert_eq!(
        world.valkey.command::<String>(&["GET", "p:{t}:last"]),
        "7-3"
    );
}

#[test]
fn pages_go_through_a_stream_in_both_orders() {
    let mut world = World::new();
    assert!(world.page(Order::Ascending, None, batch(1)).is_none());
    world.run(&catalogue::create(&world.keys.clone(), &name("t"), 1, None));
    let empty = world.page(Order::Ascending, None, batch(1)).unwrap();
    assert!(empty.messages.is_empty() && empty.total == 0 && empty.next.is_none());
    for millis in 1..=9 {
        world.publish("t", &format!("{millis}-0"), None, "{\"n\":1}");
    }
    let (up, down) = (Order::Ascending, Order::Descending);
    assert_eq!(
        world.pages(up, None, batch(4)),
        "[1, 2, 3, 4][5, 6, 7, 8][9]"
    );
    assert_eq!(
        world.pages(down, None, batch(4)),
        "[9, 8, 7, 6][5, 4, 3, 2][1]"
    );
    assert_eq!(
        world.pages(up, None, batch(9)),
        "[1, 2, 3, 4, 5, 6, 7, 8, 9]"
    );
    assert_eq!(world.pages(up, id(7, 3), batch(4)), "[8, 9]");
    assert_eq!(world.pages(down, id(3, 3), batch(4)), "[2, 1]");
    assert_eq!(world.pages(up, id(9, 3), batch(4)), "[]");
    // Of another epoch, or above the newest: at the old end.
    for foreign in [id(7, 4), id(10, 3)] {
        assert_eq!(
            world.pages(up, foreign, batch(3)),
            "[1, 2, 3][4, 5, 6][7, 8, 9]"
        );
        assert_eq!(world.pages(down, foreign, batch(3)), "[]");
    }
    assert_eq!(world.page(up, None, batch(1)).unwrap().total, 9);
}

#[test]
fn pages_are_bounded_in_bytes_and_hold_one_message_at_least() {
    let mut world = World::new();
    let payload = |len: usize| format!("{{\"a\":\"{}\"}}", "x".repeat(len));
    for (millis, len) in [(1, 10), (2, 5000), (3, 10), (4, 10), (5, 5000), (6, 5000)] {
        world.publish("t", &format!("{millis}-0"), None, &payload(len));
    }
    let small = Batch {
        messages_max: 100,
        bytes_max: 1000,
    };
    let pages = world.pages(Order::Ascending, None, small);
    assert_eq!(pages, "[1][2][3, 4][5][6]");
    let pages = world.pages(Order::Descending, None, small);
    assert_eq!(pages, "[6][5][4, 3][2][1]");
}

#[test]
fn expired_messages_stand_on_no_page() {
    let mut world = World::new();
    world.publish("t", "1-0", None, "{}");
    for millis in 2..2500 {
        world.publish("t", &format!("{millis}-0"), Some("1"), "{}");
    }
    world.publish("t", "9000000000000-0", Some("1"), "{}");
    let page = world.page(Order::Ascending, None, batch(2)).unwrap();
    let positions = page.messages.iter().map(|it| it.position().millis());
    assert_eq!(positions.collect::<Vec<_>>(), [1]);
    // Looking further than one call does, it finds the other one.
    assert_eq!(
        world.pages(Order::Ascending, None, batch(2)),
        "[1][9000000000000]"
    );
    assert_eq!(
        world.pages(Order::Descending, None, batch(1)),
        "[9000000000000][1]"
    );
}

#[test]
fn topics_are_listed_by_name_and_added_up() {
    let mut world = World::new();
    assert_eq!(world.list(None, 10), [""; 0]);
    for topic in ["b", "a", "caf\u{e9}", "Z"] {
        world.publish(topic, "5-0", None, "{}");
        world.publish(topic, "6-0", None, "{}");
    }
    assert_eq!(world.list(None, 10), ["Z", "a", "b", "caf\u{e9}"]);
    assert_eq!(world.list(None, 2), ["Z", "a"]);
    assert_eq!(world.list(Some("a"), 2), ["b", "caf\u{e9}"]);
    assert_eq!(world.list(Some("["), 1), ["a"]);
    let bytes = world.facts("a").bytes;
    let totals = world.survey(Survey::totals());
    let Surveyed::Totals {
        topics,
        messages,
        bytes: all,
        evicted,
    } = totals
    else {
        panic!("{totals:?}");
    };
    assert_eq!((topics, messages, evicted), (4, 8, 0));
    assert!(all >= 4 * bytes, "{all}");

    // One is removed, and forgotten a while later: only then its name goes too.
    world.run(&catalogue::remove(&world.keys.clone(), &name("a"), LIFE));
    assert_eq!(world.list(None, 10), ["Z", "b", "caf\u{e9}"]);
    assert_eq!(world.valkey.command::<u64>(&["ZCARD", "p:topics"]), 4);
    let _: u64 = world.valkey.command(&["DEL", "p:{a}:last"]);
    assert_eq!(world.list(None, 1), ["Z"]);
    assert_eq!(world.list(None, 3), ["Z", "b", "caf\u{e9}"]);
    assert_eq!(world.valkey.command::<u64>(&["ZCARD", "p:topics"]), 3);
}

#[test]
fn removing_frees_what_is_full() {
    let mut world = World::new();
    world.publish("t", "7-3", None, "{}");
    let _: () = world.valkey.command(&["CONFIG", "SET", "maxmemory", "1"]);
    world.facts("t");
    let page = world.page(Order::Ascending, None, batch(1)).unwrap();
    assert_eq!(page.messages.len(), 1);
    let said = world.run(&catalogue::remove(&world.keys.clone(), &name("t"), LIFE));
    assert_eq!(catalogue::read_removed(&said), Some(true));
}

#[test]
fn all_keys_of_a_call_are_in_one_slot() {
    let cluster = ValkeyCluster::start();
    let keys = Keys::new("p:");
    let (topic, cursor) = (name("t"), None);
    let request = PageRequest {
        order: Order::Ascending,
        cursor,
        batch: batch(10),
    };
    let calls = [
        catalogue::create(&keys, &topic, 1, Some("x")),
        catalogue::enlist(&keys, [&topic]),
        catalogue::describe(&keys, &topic),
        catalogue::update(&keys, &topic, 1, None),
        PageAsked::new(topic.clone(), request, Epoch::new(1)).call(&keys),
        catalogue::remove(&keys, &topic, LIFE),
    ];
    for call in calls.iter().chain(&Survey::totals().calls(&keys)) {
        let slot = cluster.slot(std::str::from_utf8(&call.keys[0]).unwrap());
        let node = &cluster.nodes()[cluster.wait_for_primary_of(slot)];
        let client = redis::Client::open(format!("redis://{}", node.address()));
        let mut connection = client.unwrap().get_connection().unwrap();
        if call.keys.len() == 4 {
            let add = words(&["ZADD", "p:{t}:c:all", "1", "c:x"]);
            add.exec(&mut connection).unwrap();
        }
        let _: Value = eval(call).query(&mut connection).expect("the script runs");
    }
}
