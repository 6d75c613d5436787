//! What each route does with each of its methods. The matches have no catch-all for routes, so that a
//! route that is not described does not compile.

use serde_json::{Value, json};

use super::Description;
use super::parameters;
use super::replies::{body_of, empty, json_of};
use super::schemas::of;
use crate::api::route::Route;

/// One operation, without what all have.
pub(super) struct Told {
    pub(super) id: &'static str,
    pub(super) tag: &'static str,
    pub(super) summary: &'static str,
    pub(super) parameters: Vec<Value>,
    /// The schema of the body.
    pub(super) body: Option<&'static str>,
    /// Answers that are none of the refusals.
    pub(super) answers: Vec<(u16, Value)>,
    /// Statuses of refusals that not every operation has.
    pub(super) refusals: &'static [u16],
}

impl Told {
    fn new(tag: &'static str, id: &'static str, summary: &'static str) -> Told {
        Told {
            id,
            tag,
            summary,
            parameters: Vec::new(),
            body: None,
            answers: Vec::new(),
            refusals: &[],
        }
    }

    fn parameters(self, parameters: Vec<Value>) -> Told {
        Told { parameters, ..self }
    }

    fn body(self, schema: &'static str) -> Told {
        Told {
            body: Some(schema),
            ..self
        }
    }

    fn answer(mut self, status: u16, answer: Value) -> Told {
        self.answers.push((status, answer));
        self
    }

    fn refusals(self, refusals: &'static [u16]) -> Told {
        Told { refusals, ..self }
    }
}

/// The tags, in the order in which pages show them.
pub(super) const TAGS: [(&str, &str); 6] = [
    ("publish", "Messages in"),
    ("consume", "Messages out"),
    ("topics", "Topics and their history"),
    ("access", "Credentials"),
    ("operate", "For operators and their probes"),
    ("documents", "What describes this interface"),
];

/// Whether a route needs a credential where such are asked for.
pub(super) fn is_guarded(route: Route, about: &Description<'_>) -> bool {
    match route {
        Route::Health | Route::Ready => false,
        Route::Metrics => about.guards_metrics,
        route => !route.is_document(),
    }
}

/// Whether requests count against a rate limit.
pub(super) fn is_limited(route: Route) -> bool {
    !matches!(route, Route::Health | Route::Ready | Route::Metrics)
}

/// What a route does with a method; `HEAD` is told as `GET`.
pub(super) fn told(route: Route, method: &str) -> Told {
    match route {
        Route::PublishOne | Route::PublishBulk => publish(route),
        Route::WebSocket | Route::WebSocketEcho => websocket(route),
        Route::Poll | Route::RelayPoll | Route::PollStats => poll(route),
        Route::Stream => stream(),
        Route::Ack => Told::new("consume", "acknowledge", "Acknowledge messages")
            .body("AckRequest")
            .answer(200, json_of("What became of each", &of("AckResponse"), &[]))
            .refusals(&[422]),
        Route::Tickets => Told::new(
            "access",
            "createTicket",
            "A ticket for one stream or WebSocket",
        )
        .answer(
            201,
            json_of("The ticket", &of("Ticket"), &["Cache-Control"]),
        ),
        Route::Revocations => Told::new("access", "revokeTokens", "End tokens before their time")
            .body("RevocationRequest")
            .answer(204, empty("They are accepted no more", &[]))
            .refusals(&[422]),
        Route::Health => Told::new("operate", "health", "Whether the process lives")
            .answer(200, json_of("It does", &of("Health"), &[])),
        Route::Ready => Told::new("operate", "ready", "Whether requests are to be sent here")
            .answer(200, json_of("They are", &of("Readiness"), &[]))
            .answer(503, not_ready()),
        Route::Metrics => {
            let text = [("text/plain", json!({"type": "string"}))];
            Told::new("operate", "metrics", "Counters and gauges for Prometheus")
                .answer(200, body_of("In the text format 0.0.4", &text, &[]))
        }
        Route::Topics if method == "POST" => Told::new("topics", "createTopic", "Create a topic")
            .body("NewTopic")
            .answer(201, json_of("It is created", &of("Topic"), &[]))
            .refusals(&[409, 422]),
        Route::Topics => Told::new("topics", "listTopics", "Which topics there are, by name")
            .parameters(vec![parameters::limit(1000, 1000), parameters::after()])
            .answer(
                200,
                json_of(
                    "Those that may be read",
                    &json!({"type": "array", "items": of("TopicSummary")}),
                    &[],
                ),
            ),
        Route::TopicTotals => Told::new("topics", "topicTotals", "Sums over all topics")
            .answer(200, json_of("The sums", &of("TopicTotals"), &[])),
        Route::Topic => topic(method),
        Route::TopicMessages => {
            let named = std::iter::once(parameters::topic_name());
            Told::new("topics", "topicMessages", "A page of a topic's history")
                .parameters(named.chain(parameters::page()).collect())
                .answer(200, json_of("The page", &of("HistoryPage"), &[]))
                .refusals(&[307, 404])
        }
        Route::OpenApi => document(
            "openapi",
            "This description, OpenAPI 3.1",
            "application/json",
        ),
        Route::AsyncApi => document(
            "asyncapi",
            "WebSocket and stream, AsyncAPI 3.0",
            "application/json",
        ),
        Route::Docs => document("docs", "A page to read and try", "text/html"),
        Route::Redoc => document("redoc", "A page to read", "text/html"),
        Route::DocsFile => {
            let mut told = document("docsFile", "What these pages load", "text/javascript");
            told.parameters.push(parameters::file_name());
            told.refusals(&[307, 404])
        }
    }
}

fn publish(route: Route) -> Told {
    let repeated = ["Idempotent-Replayed"];
    let told = if route == Route::PublishOne {
        let stored = json_of("It is stored", &of("MessageResponse"), &repeated);
        let spooled = json_of(
            "It waits in a file until its store is there again",
            &of("SpooledResponse"),
            &[],
        );
        Told::new("publish", "publish", "Publish a message")
            .body("Message")
            .answer(201, stored)
            .answer(202, spooled)
    } else {
        let results = json_of("What became of each", &of("BulkMessageResponse"), &repeated);
        Told::new(
            "publish",
            "publishBulk",
            "Publish 1 to 100 messages: all valid, or none is taken",
        )
        .body("BulkMessageRequest")
        .answer(207, results)
    };
    told.parameters(vec![parameters::idempotency_key()])
        .refusals(&[422, 500])
}

fn websocket(route: Route) -> Told {
    let (id, summary) = if route == Route::WebSocket {
        (
            "webSocket",
            "Open a WebSocket; see asyncapi.json for its messages",
        )
    } else {
        (
            "webSocketEcho",
            "Open a WebSocket that sends back what it gets, for conformance tests",
        )
    };
    let switched = empty(
        "The connection speaks WebSocket",
        &["Upgrade", "Sec-WebSocket-Accept"],
    );
    Told::new("consume", id, summary)
        .answer(101, switched)
        .refusals(&[426])
}

fn poll(route: Route) -> Told {
    match route {
        Route::Poll => Told::new("consume", "poll", "Wait for messages")
            .parameters(parameters::poll())
            .answer(
                200,
                json_of("Messages, or that time is up", &of("PollResponse"), &[]),
            )
            .refusals(&[422]),
        Route::RelayPoll => Told::new("consume", "relayPoll", "The same, as relay clients ask")
            .body("RelayPollRequest")
            .answer(
                200,
                json_of("Messages, or none", &of("RelayPollResponse"), &[]),
            )
            .refusals(&[422]),
        _ => Told::new("consume", "pollStats", "How many polls wait")
            .answer(200, json_of("The number", &of("PollStats"), &[])),
    }
}

fn stream() -> Told {
    let contents = ["text/event-stream", "application/x-ndjson"];
    let contents = contents.map(|kind| (kind, json!({"type": "string"})));
    let fields = ["Cache-Control", "X-Accel-Buffering"];
    Told::new(
        "consume",
        "stream",
        "Messages as they come: Server-Sent Events, or lines of JSON; see asyncapi.json",
    )
    .parameters(parameters::stream())
    .answer(
        200,
        body_of("It does not end by itself", &contents, &fields),
    )
    .refusals(&[422])
}

fn topic(method: &str) -> Told {
    let told = match method {
        "PUT" => Told::new("topics", "updateTopic", "Describe a topic anew")
            .body("TopicUpdate")
            .answer(200, json_of("It is described", &of("Topic"), &[]))
            .refusals(&[307, 404, 422]),
        "DELETE" => Told::new("topics", "deleteTopic", "Remove a topic and its messages")
            .answer(204, empty("It is gone", &[]))
            .refusals(&[307, 404]),
        _ => Told::new("topics", "topic", "Everything about a topic")
            .answer(200, json_of("The topic", &of("TopicDetails"), &[]))
            .refusals(&[307, 404]),
    };
    told.parameters(vec![parameters::topic_name()])
}

fn document(id: &'static str, summary: &'static str, kind: &str) -> Told {
    let schema = match kind {
        "application/json" => json!({"type": "object"}),
        _ => json!({"type": "string"}),
    };
    let mut contents = vec![(kind, schema.clone())];
    if id == "docsFile" {
        contents.push(("text/css", schema));
    }
    let mut fields = vec!["ETag", "Cache-Control", "Vary"];
    if kind == "text/html" {
        fields.push("Content-Security-Policy");
    }
    Told::new("documents", id, summary)
        .parameters(parameters::conditional())
        .answer(200, body_of("The document", &contents, &fields))
        .answer(
            304,
            empty("The client has it", &["ETag", "Cache-Control", "Vary"]),
        )
}

/// `/ready` says no with its checks; a connection for which there is no place gets an error.
fn not_ready() -> Value {
    let either = json!({"anyOf": [of("Readiness"), of("Error")]});
    json_of(
        "They are not, or there is no place for the connection",
        &either,
        &["Retry-After"],
    )
}
