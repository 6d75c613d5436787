//! A consumer for the checker, on any transport, whose connection may be cut at any moment: it goes
//! on where it was, as a client would, and writes down what comes over all its connections.

use std::collections::{BTreeMap, VecDeque};
use std::net::{Shutdown, SocketAddr};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::checker::{Ledger, Trace};
use crate::link::{Cut, Filled, Link};
use crate::poll::{self, list, text};
use crate::stream::{self, Item, Stream};
use crate::{Client, DEADLINE, Event, Random, Server};

/// How a consumer reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// `/ws`, resuming each topic by the id of its newest message.
    WebSocket,
    /// `GET /api/v1/poll`, following `next_offset`.
    Poll,
    /// `POST /messages/poll` with the newest id of each topic; it tells no gaps.
    RelayPoll,
    /// `GET /api/v1/stream`, resuming by `Last-Event-ID` or `since`.
    Events,
    /// `GET /api/v1/stream` in lines, for one topic: lines carry no cursor.
    Lines,
}

/// One consumer of some topics, from the oldest message kept.
pub struct Consumer {
    /// At least one; of several, the first is the one to connect to.
    addresses: VecDeque<SocketAddr>,
    /// A connection that ends is nothing unusual, and is followed by one to the next address.
    roams: bool,
    transport: Transport,
    topics: Vec<String>,
    /// Where a poll or stream goes on.
    since: String,
    connection: Option<Connection>,
    connections: usize,
    traces: BTreeMap<String, Trace>,
    random: Random,
}

enum Connection {
    Socket(Client),
    /// Without a request under way.
    Idle(Link),
    /// With a poll under way.
    Polling(Link),
    /// With a request for a stream under way.
    Opening(Link),
    Streaming(Stream),
}

impl Consumer {
    /// A consumer that has not connected yet. `seed` makes its choices.
    pub fn new(address: SocketAddr, transport: Transport, topics: &[&str], seed: u64) -> Self {
        let one = topics.len() == 1;
        assert!(one || transport != Transport::Lines, "lines have no cursor");
        let trace = |topic: &&str| ((*topic).to_owned(), Trace::behind(topic, ""));
        Consumer {
            addresses: VecDeque::from([address]),
            roams: false,
            transport,
            topics: topics.iter().map(ToString::to_string).collect(),
            since: "earliest".to_owned(),
            connection: None,
            connections: 0,
            traces: topics.iter().map(trace).collect(),
            random: Random::new(seed),
        }
    }

    /// A consumer that goes to another of several servers whenever it loses the one it has, whatever that server
    /// says before, and begins with the first.
    pub fn roaming(
        addresses: &[SocketAddr],
        transport: Transport,
        topics: &[&str],
        seed: u64,
    ) -> Self {
        Consumer {
            addresses: addresses.iter().copied().collect(),
            roams: true,
            ..Self::new(addresses[0], transport, topics, seed)
        }
    }

    /// Goes on over another transport from the next connection on.
    ///
    /// # Panics
    ///
    /// While connected.
    pub fn switch(&mut self, transport: Transport) {
        assert!(self.connection.is_none(), "cut the connection first");
        self.transport = transport;
        // A place of its own has only who leads one; ids of one topic are good everywhere.
        if self.topics.len() == 1 && !self.traces[&self.topics[0]].last.is_empty() {
            self.since.clone_from(&self.traces[&self.topics[0]].last);
        }
    }

    /// Connects if need be and reads until `until`, or until the server has ended the connection.
    pub fn read_until(&mut self, until: Instant) {
        while Instant::now() < until {
            self.step(until);
        }
    }

    /// Checks that all has come to it once and in order, and comes to a new one at this server.
    ///
    /// # Panics
    ///
    /// When something is missing, twice, out of order, or told as a gap.
    pub fn check_all(&mut self, server: &Server, ledger: &Ledger, topics: &[&str]) {
        let mut late = Consumer::new(server.addr(), Transport::WebSocket, topics, 1);
        for consumer in [self, &mut late] {
            consumer.read_all(ledger);
            for trace in consumer.traces() {
                ledger.check(trace);
                assert!(trace.gaps.is_empty(), "{:?}", trace.gaps);
            }
        }
    }

    /// Reads until everything that `ledger` now holds of the topics has come.
    ///
    /// # Panics
    ///
    /// When nothing comes for the deadline.
    pub fn read_all(&mut self, ledger: &Ledger) {
        for topic in self.topics.clone() {
            let Some(end) = ledger.newest(&topic) else {
                continue;
            };
            let mut seen = self.seen();
            let mut deadline = Instant::now() + DEADLINE;
            while self.traces[&topic].last < end {
                self.step(Instant::now() + Duration::from_millis(50));
                if self.seen() > seen {
                    seen = self.seen();
                    deadline = Instant::now() + DEADLINE;
                }
                assert!(
                    Instant::now() < deadline,
                    "{:?}: nothing comes any more: {topic} up to {end}, has {}",
                    self.transport,
                    self.traces[&topic].last
                );
            }
        }
    }

    /// Breaks the connection off, if there is one.
    ///
    /// # Panics
    ///
    /// When the server does not close behind a FIN.
    pub fn cut(&mut self, how: Cut) {
        let Some(connection) = self.connection.take() else {
            return;
        };
        match (how, connection) {
            (Cut::Close, _) => {}
            (Cut::Reset, Connection::Socket(client)) => client.vanish(),
            (Cut::Reset, Connection::Streaming(stream)) => stream.into_link().reset(),
            (
                Cut::Reset,
                Connection::Idle(link) | Connection::Polling(link) | Connection::Opening(link),
            ) => link.reset(),
            (Cut::Finish, connection) => self.finish(connection),
        }
    }

    /// What has come of each topic over all connections.
    pub fn traces(&self) -> impl Iterator<Item = &Trace> {
        self.traces.values()
    }

    /// How many connections there have been.
    pub fn connections(&self) -> usize {
        self.connections
    }

    fn seen(&self) -> usize {
        let seen = |trace: &Trace| trace.received.len() + trace.gaps.len();
        self.traces.values().map(seen).sum()
    }

    /// Sends what is due and takes what comes next.
    fn step(&mut self, until: Instant) {
        let connection = self.connection.take().or_else(|| self.connect());
        self.connection = connection.and_then(|connection| self.advance(connection, until));
        if self.connection.is_none() && self.roams {
            self.addresses.rotate_left(1);
            // Nobody else may be there for a while.
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// A connection; `None` only while roaming, when it is refused.
    fn connect(&mut self) -> Option<Connection> {
        self.connections += 1;
        let address = self.addresses[0];
        let connection = match self.transport {
            Transport::WebSocket => Client::try_connect(address).map(|it| self.subscribe(it)),
            Transport::Poll | Transport::RelayPoll => Link::try_open(address).map(Connection::Idle),
            Transport::Events | Transport::Lines => {
                Link::try_open(address).map(|link| self.open_stream(link))
            }
        };
        assert!(connection.is_some() || self.roams, "the server refuses");
        connection
    }

    fn subscribe(&self, mut client: Client) -> Connection {
        for (topic, trace) in &self.traces {
            let offset = if trace.last.is_empty() {
                "earliest"
            } else {
                &trace.last
            };
            client.send_to_deaf(&json!({
                "type": "subscribe", "topics": [topic], "client_id": "consumer",
                "offset": offset, "on_lag": "skip",
            }));
        }
        Connection::Socket(client)
    }

    fn open_stream(&mut self, mut link: Link) -> Connection {
        let accept = match self.transport {
            Transport::Lines => "application/x-ndjson",
            _ => "text/event-stream",
        };
        let by_header = self.since != "earliest" && self.random.below(2) == 0;
        let since = (!by_header).then_some(self.since.as_str());
        let query = poll::query(&self.topics, since, "");
        let mut headers = vec![("Accept", accept)];
        if by_header {
            headers.push(("Last-Event-ID", &self.since));
        }
        let path = format!("/api/v1/stream?{query}");
        let request = stream::request(link.address(), &path, &headers);
        link.send(request);
        Connection::Opening(link)
    }

    fn send_poll(&mut self, link: &mut Link) {
        let timeout = self.random.below(3);
        let request = match self.transport {
            Transport::RelayPoll => {
                let body = json!({
                    "topics": self.topics, "timeout": timeout + 1, "since": self.newest(),
                });
                let body = body.to_string();
                format!(
                    "POST /messages/poll HTTP/1.1\r\nHost: {}\r\n\
                     Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
                    link.address(),
                    body.len()
                )
                .into_bytes()
            }
            _ => {
                let limit = self.random.choose(&[1, 3, 10, 100]);
                let more = format!("timeout={timeout}&limit={limit}");
                let path = poll::path(&self.topics, Some(&self.since), &more);
                stream::request(link.address(), &path, &[])
            }
        };
        link.send(request);
    }

    /// The newest id of each topic; where none has come, one that is not known.
    fn newest(&self) -> Value {
        let newest = |(topic, trace): (&String, &Trace)| {
            let unknown = || format!("msg_{}", "0".repeat(30));
            let last = Some(trace.last.clone()).filter(|last| !last.is_empty());
            (topic.clone(), last.unwrap_or_else(unknown).into())
        };
        Value::Object(self.traces.iter().map(newest).collect())
    }

    /// Moves one connection on; `None` when it has ended.
    fn advance(&mut self, connection: Connection, until: Instant) -> Option<Connection> {
        match connection {
            Connection::Socket(mut client) => {
                let timeout = until.saturating_duration_since(Instant::now());
                match client.next(timeout) {
                    Event::Text(text) => {
                        let object = parse(&text);
                        if self.roams && object["type"] == "error" {
                            return None;
                        }
                        self.take(&object);
                    }
                    Event::Nothing => {}
                    Event::Close(_) | Event::Gone if self.roams => return None,
                    other => panic!("a healthy subscriber was cut off: {other:?}"),
                }
                Some(Connection::Socket(client))
            }
            Connection::Idle(mut link) => {
                self.send_poll(&mut link);
                Some(Connection::Polling(link))
            }
            Connection::Polling(mut link) => {
                if let Some(response) = link.take_response() {
                    if self.roams && response.status != 200 {
                        return None;
                    }
                    self.take_answer(&response);
                    return Some(Connection::Idle(link));
                }
                (link.fill(until) != Filled::End).then_some(Connection::Polling(link))
            }
            Connection::Opening(mut link) => match link.take_head() {
                Some(head) => match Stream::begun(link, head) {
                    Ok(stream) => Some(Connection::Streaming(stream)),
                    Err(_) if self.roams => None,
                    Err(head) => panic!("no stream: {head:?}"),
                },
                None => (link.fill(until) != Filled::End).then_some(Connection::Opening(link)),
            },
            Connection::Streaming(mut stream) => {
                let item = stream.next_until(until);
                let ended = matches!(item, Item::End(_));
                self.take_item(item);
                (!ended).then_some(Connection::Streaming(stream))
            }
        }
    }

    /// Closes the sending side and reads what still comes.
    fn finish(&mut self, connection: Connection) {
        match &connection {
            Connection::Socket(client) => {
                // The server may have closed before.
                let _ = client.stream().shutdown(Shutdown::Write);
            }
            Connection::Streaming(stream) => stream.link().finish(),
            Connection::Idle(link) | Connection::Polling(link) | Connection::Opening(link) => {
                link.finish();
            }
        }
        let deadline = Instant::now() + DEADLINE;
        let mut next = Some(connection);
        while let Some(connection) = next {
            assert!(Instant::now() < deadline, "the server does not close");
            next = match connection {
                Connection::Socket(mut client) => match client.next(DEADLINE) {
                    Event::Text(text) => {
                        self.take(&parse(&text));
                        Some(Connection::Socket(client))
                    }
                    Event::Close(_) => Some(Connection::Socket(client)),
                    Event::Gone => None,
                    Event::Nothing => panic!("the server does not close"),
                },
                Connection::Idle(mut link) => {
                    let filled = link.fill(deadline);
                    (filled != Filled::End).then_some(Connection::Idle(link))
                }
                other => self.advance(other, deadline),
            };
        }
    }

    fn take_answer(&mut self, response: &crate::Response) {
        if self.transport == Transport::RelayPoll {
            let answer = poll::check_relay(response);
            list(&answer["messages"])
                .iter()
                .for_each(|message| self.take_message(message));
            return;
        }
        let answer = poll::check(response, self.topics.len());
        let mut gaps = answer
            .get("gaps")
            .map_or(Vec::new(), |gaps| list(gaps).clone());
        for message in list(&answer["messages"]) {
            // A gap of the topic that ends before the message comes before it.
            let due = |gap: &Value| {
                gap["topic"] == message["topic"] && text(&gap["to"]) < text(&message["message_id"])
            };
            for gap in gaps.extract_if(.., |gap| due(gap)) {
                self.take_gap(&gap);
            }
            self.take_message(message);
        }
        gaps.iter().for_each(|gap| self.take_gap(gap));
        text(&answer["next_offset"]).clone_into(&mut self.since);
    }

    fn take_item(&mut self, item: Item) {
        match item {
            Item::Event(event) => {
                let data = parse(&event.data);
                match event.event.as_str() {
                    "message" => self.take_message(&data),
                    "gap" => self.take_gap(&data),
                    "subscribed" | "close" => {}
                    other => panic!("an event {other}: {data}"),
                }
                if !event.id.is_empty() {
                    self.since = event.id;
                }
            }
            Item::Line(line) => {
                self.take(&parse(&line));
                self.since = Some(self.traces[&self.topics[0]].last.clone())
                    .filter(|last| !last.is_empty())
                    .unwrap_or_else(|| "earliest".to_owned());
            }
            Item::Comment(_) | Item::Retry(_) | Item::Nothing | Item::End(_) => {}
        }
    }

    /// Takes one object of a WebSocket or a stream of lines.
    fn take(&mut self, object: &Value) {
        match object["type"].as_str() {
            Some("message") | None => self.take_message(object),
            Some("gap") => self.take_gap(object),
            Some("subscribed" | "heartbeat" | "close") => {}
            Some(other) => panic!("{other}: {object}"),
        }
    }

    fn take_message(&mut self, message: &Value) {
        let mark = text(&message["payload"]["mark"]);
        let id = text(&message["message_id"]);
        self.trace(message).push(id, mark);
    }

    fn take_gap(&mut self, gap: &Value) {
        let [from, to, reason] = ["from", "to", "reason"].map(|name| text(&gap[name]));
        self.trace(gap).push_gap(from, to, reason);
    }

    fn trace(&mut self, object: &Value) -> &mut Trace {
        let topic = text(&object["topic"]);
        self.traces
            .get_mut(topic)
            .unwrap_or_else(|| panic!("not asked for: {object}"))
    }
}

fn parse(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}
