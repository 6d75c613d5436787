//! The server, its connections, and what is fed from them.

use std::collections::{HashMap, HashSet, VecDeque};

use super::super::super::entry::RawEntry;
use super::super::*;
use crate::fanout::Doorbell;
use crate::topic::{Batch, Budget, HistoryLimits, LocalTopic, Message, Start, StoreLimits};

pub(super) const TOPICS: usize = 3;
/// Messages that one reading gives.
const READ_MAX: usize = 3;
const LINGER: Duration = Duration::from_secs(3600);

/// What happens next.
#[derive(Clone, Copy, Debug)]
pub(super) enum Step {
    Publish {
        topic: usize,
        large: bool,
    },
    Delete(usize),
    /// The server loses its oldest messages of a topic.
    Trim(usize),
    /// Everything stored is lost.
    Wipe,
    Sync(usize),
    /// The follower takes what comes next on its connection.
    Hear,
    /// The lane sends its next order.
    Execute,
    /// Its next answer arrives.
    Answer,
    /// It is lost instead.
    Refuse,
    /// The server ends the follower's subscription to a topic.
    Unsubscribe(usize),
    /// The same, and another one follows the topic from now on, with what was asked of this one.
    Move(usize),
    /// The follower's connection is lost.
    Cut,
    Connect,
    Tick,
}

#[derive(Clone)]
struct Stored {
    position: Position,
    predecessor: Position,
    part: Vec<u8>,
}

#[derive(Default)]
pub(super) struct Stream {
    entries: Vec<Stored>,
    pub(super) last: Position,
    /// Positions that were ever stored, since the last wipe.
    published: Vec<Position>,
}

enum Said {
    OnTopic(TopicName, Vec<u8>),
    Echo(u64),
    Confirmed(TopicName),
    Unsubscribed(TopicName),
    EchoConfirmed,
}

enum Answer {
    Tail(TopicName, Position),
    Strand(TopicName, RawStrand),
}

/// The server, its two connections, and what is fed from them.
pub(super) struct World {
    names: Vec<TopicName>,
    pub(super) streams: Vec<Stream>,
    time: u64,
    epoch: u32,
    subscribed: HashSet<TopicName>,
    is_connected: bool,
    hears_echo: bool,
    to_follower: VecDeque<Said>,
    orders: Arc<Mutex<VecDeque<Order>>>,
    answers: VecDeque<Answer>,
    store: Arc<TopicStore>,
    post: Arc<Post>,
    feeds: Feeds,
    clock: Clock,
    scratch: Scratch,
    /// What has to be in the log when the reply comes, by ticket.
    syncs: HashMap<u64, (usize, Position, u32)>,
    tickets: u64,
    /// Topics with a reader, and the position behind which it reads.
    pub(super) readers: HashMap<usize, Position>,
    /// The newest that was delivered of each topic.
    pub(super) delivered: [Position; TOPICS],
}

impl World {
    pub(super) fn new() -> World {
        let limits = StoreLimits {
            history: HistoryLimits {
                messages_max: 1 << 20,
                bytes_max: 1 << 40,
                retention_micros: 1 << 50,
            },
            topics_max: TOPICS,
            metered_topics_max: 0,
            consumers_max: 0,
            group_members_max: 0,
            client_retention: 0,
        };
        let budget = Budget::new(1 << 40);
        let store = TopicStore::following(limits, 1, Epoch::new(0), budget);
        let (store, clock) = (Arc::new(store), Clock::start());
        let post = Arc::new(Post::new(
            [Arc::new(Doorbell::default())].into_iter(),
            |_| (),
        ));
        let orders: Arc<Mutex<VecDeque<Order>>> = Arc::default();
        let queue = Arc::clone(&orders);
        let feeds = Feeds::new(
            Arc::clone(&store),
            Arc::clone(&post),
            clock,
            LINGER,
            move |order| queue.lock().unwrap().push_back(order),
        );
        feeds.epoch(Epoch::new(0));
        let name = |topic| TopicName::parse(&format!("t{topic}")).unwrap();
        World {
            names: (0..TOPICS).map(name).collect(),
            streams: (0..TOPICS).map(|_| Stream::default()).collect(),
            time: 1000,
            epoch: 0,
            subscribed: HashSet::new(),
            is_connected: false,
            hears_echo: false,
            to_follower: VecDeque::new(),
            orders,
            answers: VecDeque::new(),
            store,
            post,
            feeds,
            clock,
            scratch: Scratch::default(),
            syncs: HashMap::new(),
            tickets: 0,
            readers: HashMap::new(),
            delivered: [Position::ZERO; TOPICS],
        }
    }

    pub(super) fn step(&mut self, step: Step) {
        match step {
            Step::Publish { topic, large } => self.publish(topic, large),
            Step::Delete(topic) => self.delete(topic),
            Step::Trim(topic) => drop(self.streams[topic].entries.drain(..).next()),
            Step::Wipe => self.wipe(),
            Step::Sync(topic) => self.sync(topic),
            Step::Hear => drop(self.hear()),
            Step::Execute => drop(self.execute()),
            Step::Answer => drop(self.answer(true)),
            Step::Refuse => drop(self.answer(false)),
            Step::Unsubscribe(topic) => self.unsubscribe(topic),
            Step::Move(topic) => self.move_away(topic),
            Step::Cut => self.cut(),
            Step::Connect => self.connect(),
            Step::Tick => self.feeds.tick(),
        }
        self.take_replies();
        self.deliver();
    }

    pub(super) fn publish(&mut self, topic: usize, large: bool) {
        self.time += 1;
        let (name, stream) = (&self.names[topic], &mut self.streams[topic]);
        let (predecessor, position) = (stream.last, Position::new(self.time, 0));
        let fill = "x".repeat(if large { 100_000 } else { 0 });
        let part = format!(r#""topic":"{name}","payload":"{fill}{}"}}"#, self.time);
        let said = format!("m {position:?} {predecessor:?} 0 {part}");
        stream.entries.push(Stored {
            position,
            predecessor,
            part: part.into_bytes(),
        });
        stream.last = position;
        stream.published.push(position);
        self.say(topic, said);
    }

    fn delete(&mut self, topic: usize) {
        self.time += 1;
        let stream = &mut self.streams[topic];
        stream.entries.clear();
        stream.last = Position::new(self.time, 0);
        let said = format!("r {:?}", stream.last);
        self.say(topic, said);
    }

    fn say(&mut self, topic: usize, said: String) {
        if self.subscribed.contains(&self.names[topic]) {
            let said = Said::OnTopic(self.names[topic].clone(), said.into_bytes());
            self.to_follower.push_back(said);
        }
    }

    fn wipe(&mut self) {
        self.cut();
        self.streams.fill_with(Stream::default);
        // The lane's connection is lost as well, and the next one tells first what is new.
        while self.answer(false) {}
        self.epoch += 1;
        self.feeds.epoch(Epoch::new(self.epoch));
        self.deliver();
        self.readers.clear();
        self.delivered = [Position::ZERO; TOPICS];
    }

    fn unsubscribe(&mut self, topic: usize) {
        let topic = &self.names[topic];
        if self.subscribed.remove(topic) {
            self.to_follower
                .push_back(Said::Unsubscribed(topic.clone()));
        }
    }

    /// One has the part of both followers: what comes to the old one about the topic is lost, but
    /// for messages.
    fn move_away(&mut self, topic: usize) {
        self.unsubscribe(topic);
        let name = &self.names[topic];
        self.to_follower.retain(
            |said| !matches!(said, Said::Confirmed(it) | Said::Unsubscribed(it) if it == name),
        );
        self.orders.lock().unwrap().retain(|order| {
            !matches!(order, Order::Tail(it) | Order::ReadOn { topic: it, .. } if it == name)
        });
        self.answers.retain(
            |answer| !matches!(answer, Answer::Tail(it, _) | Answer::Strand(it, _) if it == name),
        );
        for left in self.feeds.leave(&|it| it != name) {
            self.feeds.take_over(left);
        }
    }

    pub(super) fn sync(&mut self, topic: usize) {
        self.tickets += 1;
        let waiter = Waiter {
            worker: 0,
            ticket: self.tickets,
        };
        let last = self.streams[topic].last;
        self.syncs.insert(self.tickets, (topic, last, self.epoch));
        self.feeds.sync(self.names[topic].clone(), waiter, u64::MAX);
    }

    pub(super) fn connect(&mut self) {
        if !self.is_connected {
            (self.is_connected, self.hears_echo) = (true, true);
            self.to_follower.push_back(Said::EchoConfirmed);
            self.feeds.connected();
        }
    }

    pub(super) fn cut(&mut self) {
        if self.is_connected {
            (self.is_connected, self.hears_echo) = (false, false);
            self.subscribed.clear();
            self.to_follower.clear();
            self.feeds.disconnected();
        }
    }

    pub(super) fn hear(&mut self) -> bool {
        let Some(said) = self.to_follower.pop_front() else {
            return false;
        };
        match said {
            Said::OnTopic(topic, payload) => {
                let now = self.clock.now();
                self.feeds.heard(&topic, &payload, now, &mut self.scratch);
            }
            Said::Echo(number) => {
                self.feeds.echoed(number);
                self.run_errands();
            }
            Said::Confirmed(topic) => self.feeds.confirmed(&topic),
            Said::Unsubscribed(topic) => self.feeds.unheard(&topic),
            Said::EchoConfirmed => {
                self.feeds.listens();
                self.run_errands();
            }
        }
        true
    }

    fn run_errands(&mut self) {
        let mut errands = Vec::new();
        self.feeds.take_errands(&mut errands);
        for errand in errands {
            match errand {
                Errand::Subscribe(topic) => {
                    self.subscribed.insert(topic.clone());
                    self.to_follower.push_back(Said::Confirmed(topic));
                }
                Errand::Unsubscribe(topic) => drop(self.subscribed.remove(&topic)),
            }
        }
    }

    pub(super) fn execute(&mut self) -> bool {
        let Some(order) = self.orders.lock().unwrap().pop_front() else {
            return false;
        };
        match order {
            Order::Echo(number) if self.hears_echo => {
                self.to_follower.push_back(Said::Echo(number));
            }
            Order::Echo(_) => {}
            Order::Tail(topic) => {
                let last = self.stream(&topic).last;
                self.answers.push_back(Answer::Tail(topic, last));
            }
            Order::ReadOn { topic, behind } => {
                let strand = self.read(&topic, behind);
                self.answers.push_back(Answer::Strand(topic, strand));
            }
            Order::Job(_) => unreachable!("nobody gave one"),
        }
        true
    }

    fn stream(&self, topic: &TopicName) -> &Stream {
        let at = self.names.iter().position(|name| name == topic).unwrap();
        &self.streams[at]
    }

    fn read(&self, topic: &TopicName, behind: Position) -> RawStrand {
        let stream = self.stream(topic);
        let entries = stream.entries.iter().filter(|it| it.position > behind);
        let raw = |stored: &Stored| RawEntry {
            position: stored.position,
            predecessor: stored.predecessor,
            ttl: None,
            stored_part: stored.part.clone(),
        };
        RawStrand {
            entries: entries.clone().take(READ_MAX).map(raw).collect(),
            has_more: entries.count() > READ_MAX,
            last: stream.last,
            now_millis: self.time,
        }
    }

    pub(super) fn answer(&mut self, is_well: bool) -> bool {
        let Some(answer) = self.answers.pop_front() else {
            return false;
        };
        let refused = Err(Refused::Away);
        match answer {
            Answer::Tail(topic, last) => {
                let last = if is_well { Ok(last) } else { refused };
                self.feeds.opened(&topic, last);
            }
            Answer::Strand(topic, strand) => {
                let strand = if is_well {
                    Ok(strand)
                } else {
                    Err(Refused::Away)
                };
                self.feeds.mended(&topic, strand);
            }
        }
        true
    }

    /// Checks that those who are answered have everything, and lets one in each topic read.
    fn take_replies(&mut self) {
        let mut mail = Vec::new();
        self.post.inbox(0).take(&mut mail);
        for item in mail {
            let Mail::Reply(ticket, Reply::Synced(result)) = item else {
                continue;
            };
            let (topic, last, epoch) = self.syncs.remove(&ticket).expect("answered once");
            assert_eq!(result, Ok(()));
            let newest = self.newest(topic).expect("open behind a sync");
            if epoch == self.epoch {
                assert!(newest >= last, "{newest:?} is not as new as {last:?}");
                self.start_reading(topic);
            }
        }
    }

    fn newest(&self, topic: usize) -> Option<Position> {
        let open = self.store.open_topics();
        let mut found = open
            .into_iter()
            .filter(|(name, _)| *name == self.names[topic]);
        found.next().map(|(_, newest)| newest)
    }

    fn start_reading(&mut self, topic: usize) {
        if !self.readers.contains_key(&topic) {
            let local = topic as LocalTopic;
            let name = &self.names[topic];
            let subscribed = self
                .store
                .subscribe_behind(name, 0, local, Start::Last, None);
            let start = subscribed.expect("open behind a sync").start;
            self.readers.insert(topic, start.position);
        }
    }

    /// Reads on as a worker does, and checks that nothing comes twice.
    pub(super) fn deliver(&mut self) {
        let batch = Batch {
            messages_max: usize::MAX,
            bytes_max: usize::MAX,
        };
        for topic in 0..TOPICS {
            let mut messages = Vec::new();
            let now = self.clock.now();
            if let Some(handle) = self.store.find(&self.names[topic]) {
                let batch = Some(batch);
                self.store.take_news(handle, 0, batch, now, &mut messages);
            }
            for message in messages {
                let (position, before) = (message.position(), self.delivered[topic]);
                assert!(position > before, "{position:?} comes behind {before:?}");
                self.delivered[topic] = position;
            }
        }
    }

    /// Lets everything come that is under way, over a connection that holds.
    pub(super) fn calm(&mut self) {
        self.connect();
        loop {
            self.take_replies();
            self.feeds.tick();
            self.deliver();
            let is_busy = self.hear() || self.execute() || self.answer(true);
            if !is_busy {
                break;
            }
        }
        self.take_replies();
    }

    /// Whether each log has the newest of what was published, and for a reader all since it began.
    pub(super) fn check(&mut self) {
        assert!(self.syncs.is_empty(), "{:?} wait still", self.syncs);
        for topic in 0..TOPICS {
            let Some(handle) = self.store.find(&self.names[topic]) else {
                continue;
            };
            let stream = &self.streams[topic];
            let batch = Batch {
                messages_max: usize::MAX,
                bytes_max: usize::MAX,
            };
            let mut messages = Vec::new();
            let now = self.clock.now();
            let read = self.store.read(handle, 0, batch, now, &mut messages);
            let reading = read.expect("it was found");
            assert_eq!(reading.place.position, stream.last, "the log is as new");
            let positions: Vec<_> = messages.iter().map(Message::position).collect();
            assert!(
                stream.published.ends_with(&positions),
                "{positions:?} are not the newest of {:?}",
                stream.published
            );
            let is_spoilt = stream.entries.len() < stream.published.len();
            if let Some(start) = self.readers.get(&topic).filter(|_| !is_spoilt) {
                let owed = stream.published.iter().filter(|it| *it > start).count();
                assert!(positions.len() >= owed, "{positions:?} from {start:?}");
            }
        }
    }
}
