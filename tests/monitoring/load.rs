//! Clients of all kinds, those in trouble included, so that there is something to see.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::{Value, json};
use test_util::owed::Owed;
use test_util::{Client, Http, Poller, Server, Stream};

/// Makes messages large enough that one who does not read lags soon.
const PADDING: usize = 18_000;

/// Clients of one server, which do something of everything again and again.
pub(crate) struct Load {
    address: SocketAddr,
    publisher: Http,
    reader: Client,
    stream: Stream,
    poller: Poller,
    owed: Owed,
    /// Neither of them reads.
    stuck: Vec<Client>,
    round: u64,
}

impl Load {
    pub(crate) fn on(server: &Server) -> Load {
        let address = server.addr();
        let mut publisher = Http::open(address);
        publisher.publish(&json!({"topic": "t", "payload": {}}));
        let once = json!({"max_deliveries": 1, "window": 100});
        let mut load = Load {
            publisher,
            reader: Client::subscribed(address, &["t", "u"]),
            stream: Stream::open(address, "/api/v1/stream?topics=t"),
            poller: Poller::open(address, &["t"], None),
            owed: Owed::connect(address, "owed", "t", &once),
            stuck: ["skip", "disconnect"]
                .map(|on_lag| stuck(address, on_lag))
                .into(),
            address,
            round: 0,
        };
        load.poller.send("timeout=60");
        load
    }

    /// One round: what is published is read by those who read.
    pub(crate) fn play(&mut self) {
        self.round += 1;
        self.publish();
        self.read();
        self.settle();
        self.err();
        // Who was closed for not reading comes back; the kernel takes some megabytes for each.
        if self.round.is_multiple_of(10) {
            self.stuck.push(stuck(self.address, "disconnect"));
        }
    }

    fn publish(&mut self) {
        let key = format!("key-{}", self.round);
        let headers = [
            ("Idempotency-Key", &*key),
            ("Content-Type", "application/json"),
        ];
        let one = json!({"topic": "t", "payload": {"n": self.round}}).to_string();
        for _ in 0..2 {
            let path = "/api/v1/messages";
            let answer = self
                .publisher
                .request("POST", path, &headers, one.as_bytes());
            assert_eq!(answer.status, 201, "{answer:?}");
        }
        let padding = "x".repeat(PADDING);
        let many = vec![json!({"topic": "big", "payload": {"p": padding}}); 3];
        let body = json!({"messages": many}).to_string();
        for _ in 0..12 {
            let answer = self.publisher.post("/api/v1/messages/bulk", &body);
            assert_eq!(answer.status, 207, "{answer:?}");
        }
    }

    fn read(&mut self) {
        assert_eq!(self.reader.read_json()["type"], "message");
        loop {
            if self.stream.next_event().event == "message" {
                break;
            }
        }
        self.poller.read();
        self.poller.poll("timeout=0");
        self.poller.since = None;
        self.poller.send("timeout=60");
    }

    /// Acknowledges one message and gives the next back, whose deliveries are used up with that. Every third time
    /// another connection takes over.
    fn settle(&mut self) {
        let id = self.owed.next_message().id;
        if self.round.is_multiple_of(2) {
            self.owed.nack(&id, 0.0);
        } else {
            self.owed.ack(&id);
        }
        let unknown = json!({"message_ids": [id], "client_id": "nobody"});
        let answer = self.publisher.post("/api/v1/ack", unknown.to_string());
        assert_eq!(answer.status, 200, "{answer:?}");
        if self.round.is_multiple_of(3) {
            let fields = json!({"max_deliveries": 1, "window": 100});
            self.owed = Owed::connect(self.address, "owed", "t", &fields);
        }
    }

    fn err(&mut self) {
        self.publisher
            .post("/api/v1/messages", "{")
            .assert_error(422, "VALIDATION_ERROR");
        assert_eq!(self.publisher.get("/nowhere").status, 404);
        assert_eq!(self.publisher.get("/api/v1/topics").status, 200);
        self.reader.send(&json!({"type": "dance"}));
        let told: Value = self.reader.read_json();
        assert_eq!(told["code"], "UNKNOWN_MESSAGE_TYPE", "{told}");
    }
}

/// Subscribes to what is large, and reads no more.
fn stuck(address: SocketAddr, on_lag: &str) -> Client {
    let mut client = Client::connect(address);
    client.subscribe(json!({"topics": ["big"], "offset": "earliest", "on_lag": on_lag}));
    client
}

/// Time between two rounds: there are to be some in each interval of Prometheus.
pub(crate) const PAUSE: Duration = Duration::from_millis(100);
