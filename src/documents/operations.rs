//! What each route does with each of its methods. The matches have no catch-all for routes, so that a
//! route that is not described does not compile.

use utoipa::openapi::path::{HttpMethod, OperationBuilder};
use utoipa::openapi::request_body::{RequestBody, RequestBodyBuilder};
use utoipa::openapi::response::ResponseBuilder;
use utoipa::openapi::schema::AnyOfBuilder;
use utoipa::openapi::{Array, Content, ObjectBuilder, Required};

use super::Description;
use super::parameters;
use super::replies::{answer, json_of, refusal};
use super::schemas::{of, text};
use crate::api::route::Route;

/// The tags, in the order in which pages show them.
pub(super) const TAGS: [(&str, &str); 6] = [
    ("publish", "Messages in"),
    ("consume", "Messages out"),
    ("topics", "Topics and their history"),
    ("access", "Credentials"),
    ("operate", "For operators and their probes"),
    ("documents", "What describes this interface"),
];

/// Refusals that every request may meet.
const EVERYWHERE: [u16; 9] = [400, 403, 408, 413, 414, 431, 501, 503, 505];

/// Fields of answers that a client may keep and ask about again.
const CACHED: [&str; 3] = ["ETag", "Cache-Control", "Vary"];

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

/// What a route does with a method, without what depends on the server; `HEAD` is told as `GET`.
pub(super) fn told(route: Route, method: &HttpMethod) -> OperationBuilder {
    match route {
        Route::PublishOne => publish(),
        Route::PublishBulk => publish_bulk(),
        Route::WebSocket => websocket(
            "webSocket",
            "Open a WebSocket; see asyncapi.json for its messages",
        ),
        Route::WebSocketEcho => websocket(
            "webSocketEcho",
            "Open a WebSocket that sends back what it gets, for conformance tests",
        ),
        Route::Poll => operation("consume", "poll", "Wait for messages", &[422])
            .parameters(Some(parameters::poll()))
            .response(
                "200",
                json_of("Messages, or that time is up", of("PollResponse"), &[]),
            ),
        Route::RelayPoll => {
            let summary = "The same, as relay clients ask";
            operation("consume", "relayPoll", summary, &[422])
                .request_body(Some(body("RelayPollRequest")))
                .response(
                    "200",
                    json_of("Messages, or none", of("RelayPollResponse"), &[]),
                )
        }
        Route::PollStats => operation("consume", "pollStats", "How many polls wait", &[])
            .response("200", json_of("The number", of("PollStats"), &[])),
        Route::Stream => stream(),
        Route::Ack => operation("consume", "acknowledge", "Acknowledge messages", &[422])
            .request_body(Some(body("AckRequest")))
            .response(
                "200",
                json_of("What became of each", of("AckResponse"), &[]),
            ),
        Route::Tickets => {
            let summary = "A ticket for one stream or WebSocket";
            operation("access", "createTicket", summary, &[]).response(
                "201",
                json_of("The ticket", of("Ticket"), &["Cache-Control"]),
            )
        }
        Route::Revocations => {
            let summary = "End tokens before their time";
            operation("access", "revokeTokens", summary, &[422])
                .request_body(Some(body("RevocationRequest")))
                .response("204", answer("They are accepted no more", &[]))
        }
        Route::Health => operation("operate", "health", "Whether the process lives", &[])
            .response("200", json_of("It does", of("Health"), &[])),
        Route::Ready => {
            let summary = "Whether requests are to be sent here";
            operation("operate", "ready", summary, &[])
                .response("200", json_of("They are", of("Readiness"), &[]))
                .response("503", not_ready())
        }
        Route::Metrics => {
            let summary = "Counters and gauges for Prometheus";
            let metrics = answer("In the text format 0.0.4", &[]);
            operation("operate", "metrics", summary, &[])
                .response("200", metrics.content("text/plain", words()))
        }
        Route::Topics if *method == HttpMethod::Post => {
            operation("topics", "createTopic", "Create a topic", &[409, 422])
                .request_body(Some(body("NewTopic")))
                .response("201", json_of("It is created", of("Topic"), &[]))
        }
        Route::Topics => {
            let summary = "Which topics there are, by name";
            let listed = Array::new(of("TopicSummary"));
            operation("topics", "listTopics", summary, &[])
                .parameters(Some([parameters::limit(1000, 1000), parameters::after()]))
                .response("200", json_of("Those that may be read", listed, &[]))
        }
        Route::TopicTotals => operation("topics", "topicTotals", "Sums over all topics", &[])
            .response("200", json_of("The sums", of("TopicTotals"), &[])),
        Route::Topic => topic(method),
        Route::TopicMessages => {
            let summary = "A page of a topic's history";
            operation("topics", "topicMessages", summary, &[307, 404])
                .parameter(parameters::topic_name())
                .parameters(Some(parameters::page()))
                .response("200", json_of("The page", of("HistoryPage"), &[]))
        }
        Route::OpenApi => json_document("openapi", "This description, OpenAPI 3.1"),
        Route::AsyncApi => json_document("asyncapi", "WebSocket and stream, AsyncAPI 3.0"),
        Route::Docs => page("docs", "A page to read and try"),
        Route::Redoc => page("redoc", "A page to read"),
        Route::DocsFile => {
            let file = answer("The document", &CACHED)
                .content("text/javascript", words())
                .content("text/css", words());
            document("docsFile", "What these pages load", file, &[307, 404])
                .parameter(parameters::file_name())
        }
    }
}

/// An operation with the refusals that all have, and these.
fn operation(tag: &str, id: &str, summary: &str, refusals: &[u16]) -> OperationBuilder {
    let operation = OperationBuilder::new()
        .tag(tag)
        .operation_id(Some(id))
        .summary(Some(summary));
    EVERYWHERE
        .iter()
        .chain(refusals)
        .fold(operation, |operation, status| {
            operation.response(status.to_string(), refusal(*status))
        })
}

/// A body of this schema.
fn body(schema: &str) -> RequestBody {
    RequestBodyBuilder::new()
        .content("application/json", Content::new(Some(of(schema))))
        .required(Some(Required::True))
        .build()
}

/// A body that is no JSON.
fn words() -> Content {
    Content::new(Some(text()))
}

fn publish() -> OperationBuilder {
    let repeated = ["Idempotent-Replayed"];
    let stored = json_of("It is stored", of("MessageResponse"), &repeated);
    let spooled = json_of(
        "It waits in a file until its store is there again",
        of("SpooledResponse"),
        &[],
    );
    operation("publish", "publish", "Publish a message", &[422, 500])
        .parameter(parameters::idempotency_key())
        .request_body(Some(body("Message")))
        .response("201", stored)
        .response("202", spooled)
}

fn publish_bulk() -> OperationBuilder {
    let repeated = ["Idempotent-Replayed"];
    let results = json_of("What became of each", of("BulkMessageResponse"), &repeated);
    let summary = "Publish 1 to 100 messages: all valid, or none is taken";
    operation("publish", "publishBulk", summary, &[422, 500])
        .parameter(parameters::idempotency_key())
        .request_body(Some(body("BulkMessageRequest")))
        .response("207", results)
}

fn websocket(id: &str, summary: &str) -> OperationBuilder {
    let fields = ["Upgrade", "Sec-WebSocket-Accept"];
    let switched = answer("The connection speaks WebSocket", &fields);
    operation("consume", id, summary, &[426]).response("101", switched)
}

fn stream() -> OperationBuilder {
    let summary = "Messages as they come: Server-Sent Events, or lines of JSON; see asyncapi.json";
    let endless = answer(
        "It does not end by itself",
        &["Cache-Control", "X-Accel-Buffering"],
    )
    .content("text/event-stream", words())
    .content("application/x-ndjson", words());
    operation("consume", "stream", summary, &[422])
        .parameters(Some(parameters::stream()))
        .response("200", endless)
}

fn topic(method: &HttpMethod) -> OperationBuilder {
    let operation = match method {
        HttpMethod::Put => {
            let summary = "Describe a topic anew";
            operation("topics", "updateTopic", summary, &[307, 404, 422])
                .request_body(Some(body("TopicUpdate")))
                .response("200", json_of("It is described", of("Topic"), &[]))
        }
        HttpMethod::Delete => {
            let summary = "Remove a topic and its messages";
            operation("topics", "deleteTopic", summary, &[307, 404])
                .response("204", answer("It is gone", &[]))
        }
        _ => operation("topics", "topic", "Everything about a topic", &[307, 404])
            .response("200", json_of("The topic", of("TopicDetails"), &[])),
    };
    operation.parameter(parameters::topic_name())
}

fn json_document(id: &str, summary: &str) -> OperationBuilder {
    let found = json_of("The document", ObjectBuilder::new(), &CACHED);
    document(id, summary, found, &[])
}

fn page(id: &str, summary: &str) -> OperationBuilder {
    let fields = [&CACHED[..], &["Content-Security-Policy"]].concat();
    let found = answer("The document", &fields).content("text/html", words());
    document(id, summary, found, &[])
}

fn document(id: &str, summary: &str, found: ResponseBuilder, refusals: &[u16]) -> OperationBuilder {
    operation("documents", id, summary, refusals)
        .parameter(parameters::conditional())
        .response("200", found)
        .response("304", answer("The client has it", &CACHED))
}

/// `/ready` says no with its checks; a connection for which there is no place gets an error.
fn not_ready() -> ResponseBuilder {
    let either = AnyOfBuilder::new().item(of("Readiness")).item(of("Error"));
    let about = "They are not, or there is no place for the connection";
    json_of(about, either, &["Retry-After"])
}
