//! Whether what the server says is what its descriptions tell: each answer and message that a test sees
//! is held against `docs/openapi.json` and `docs/asyncapi.json`, copies of what the server serves.
//!
//! Objects may have no members but those described, so that what is new in the code and not in the
//! descriptions fails a test as well. Of many alike only some are looked at, to keep tests fast.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{LazyLock, OnceLock};

use jsonschema::Validator;
use serde_json::{Map, Value, json};

use crate::Response;
use crate::checker::is_message;

/// Answers and deliveries of a process that are all looked at; behind them one of [`SAMPLE`] is. Of everything else
/// that is said on a WebSocket or a stream there is little, and all is looked at.
const ALL_OF_FIRST: usize = 500;
const SAMPLE: usize = 50;

static OPENAPI: LazyLock<OpenApi> = LazyLock::new(OpenApi::read);
static ASYNCAPI: LazyLock<AsyncApi> = LazyLock::new(AsyncApi::read);
static SEEN: AtomicUsize = AtomicUsize::new(0);

/// One operation, by the statuses that it answers.
type Answers = BTreeMap<u16, Option<Checked>>;

/// A schema, made a validator when it is first needed: that takes time, and a test needs few.
struct Checked {
    document: Arc<Value>,
    schema: Value,
    validator: OnceLock<Validator>,
}

impl Checked {
    fn new(document: &Arc<Value>, schema: &Value) -> Checked {
        Checked {
            document: Arc::clone(document),
            schema: schema.clone(),
            validator: OnceLock::new(),
        }
    }

    fn complaint(&self, value: &Value) -> Option<String> {
        let compiled = || compile(&self.document, &self.schema);
        let error = self
            .validator
            .get_or_init(compiled)
            .iter_errors(value)
            .next()?;
        Some(format!("{error} at {}", error.instance_path()))
    }
}

struct OpenApi {
    /// The parts of each path, and its methods.
    paths: Vec<(Vec<String>, BTreeMap<String, Answers>)>,
}

struct AsyncApi {
    /// By channel and direction, then by type.
    messages: BTreeMap<&'static str, BTreeMap<String, Checked>>,
}

/// What is wrong with the answer to a request, if the path is described and something is.
pub fn wrong_with(method: &str, target: &str, response: &Response) -> Option<String> {
    let path = target.split(['?', '#']).next()?;
    let methods = OPENAPI.methods(path)?;
    let Some(answers) = methods.get(&method.to_lowercase()) else {
        let is_known = matches!(
            response.status,
            405 | 204 | 400 | 403 | 413 | 503 | 501 | 408
        );
        return (!is_known).then(|| format!("{method} is not described"));
    };
    let Some(body) = answers.get(&response.status) else {
        return Some(format!("status {} is not described", response.status));
    };
    if method == "HEAD" {
        return None;
    }
    let validator = body.as_ref()?;
    if response.header("content-type") != Some("application/json") {
        return Some("the body is described as JSON".to_owned());
    }
    let body = serde_json::from_slice(&response.body).ok()?;
    validator.complaint(&body)
}

/// Checks the answer to a request.
///
/// # Panics
///
/// When it is not as described.
pub fn check(method: &str, target: &str, response: &Response) {
    if is_looked_at()
        && let Some(wrong) = wrong_with(method, target, response)
    {
        panic!("{method} {target}: {wrong}: {response:?}");
    }
}

/// Checks a message of the server on a WebSocket (`send`) or a stream (`stream`).
///
/// # Panics
///
/// When it is not as described.
pub fn check_message(operation: &str, text: &str) {
    if (!is_message(text) || is_looked_at())
        && let Some(wrong) = wrong_with_message(operation, text)
    {
        panic!("{operation}: {wrong}: {text}");
    }
}

/// What is wrong with a message: of a client (`receive`), or of the server (`send`, `stream`).
pub fn wrong_with_message(operation: &str, text: &str) -> Option<String> {
    // Payloads may be deeper, and have other numbers and surrogates, than serde_json reads.
    let message = serde_json::from_str::<Value>(text).ok()?;
    // The first message of a client may leave it out.
    let kind = message["type"].as_str();
    let kind = kind.or((operation == "receive").then_some("subscribe"))?;
    match ASYNCAPI.messages[operation].get(kind) {
        Some(validator) => validator.complaint(&with_type(&message, kind)),
        None => Some(format!("there is no message of type {kind}")),
    }
}

fn with_type(message: &Value, kind: &str) -> Value {
    let mut message = message.clone();
    if let Some(members) = message.as_object_mut() {
        members.insert("type".to_owned(), kind.into());
    }
    message
}

fn is_looked_at() -> bool {
    let seen = SEEN.fetch_add(1, Ordering::Relaxed);
    seen < ALL_OF_FIRST || seen.is_multiple_of(SAMPLE)
}

impl OpenApi {
    fn read() -> OpenApi {
        let document = Arc::new(read("openapi.json"));
        let mut paths = Vec::new();
        for (path, item) in members(&document["paths"]) {
            let mut methods = BTreeMap::new();
            for (method, operation) in members(item) {
                let mut answers = Answers::new();
                for (status, answer) in members(&operation["responses"]) {
                    let answer = resolved(&document, answer);
                    let schema = answer.pointer("/content/application~1json/schema");
                    let validator = schema.map(|it| Checked::new(&document, it));
                    let status = status.parse().expect("statuses are numbers");
                    answers.insert(status, validator);
                }
                methods.insert(method.clone(), answers);
            }
            let parts: Vec<String> = path.split('/').map(str::to_owned).collect();
            paths.push((parts, methods));
        }
        // Those with a name in them match others, too.
        paths.sort_by_key(|(parts, _)| parts.iter().filter(|it| it.starts_with('{')).count());
        OpenApi { paths }
    }

    fn methods(&self, path: &str) -> Option<&BTreeMap<String, Answers>> {
        let given: Vec<&str> = path.split('/').collect();
        let is_it = |parts: &[String]| {
            let mut pairs = parts.iter().zip(&given);
            parts.len() == given.len()
                && pairs.all(|(part, given)| {
                    part == given || (part.starts_with('{') && !given.is_empty())
                })
        };
        let mut paths = self.paths.iter();
        paths.find(|(parts, _)| is_it(parts)).map(|(_, it)| it)
    }
}

impl AsyncApi {
    fn read() -> AsyncApi {
        let document = Arc::new(read("asyncapi.json"));
        let messages = ["receive", "send", "stream"].map(|operation| {
            let listed = &document["operations"][operation]["messages"];
            let listed = listed.as_array().expect("messages are a list").iter();
            let validators = listed.map(|message| {
                let message = resolved(&document, resolved(&document, message));
                let name = message["name"].as_str().expect("messages have names");
                let payload = resolved(&document, &message["payload"]);
                let mut schema = payload.clone();
                if operation == "receive" {
                    open(&mut schema);
                }
                (name.to_owned(), Checked::new(&document, &schema))
            });
            (operation, validators.collect())
        });
        AsyncApi {
            messages: messages.into(),
        }
    }
}

/// Read when it is needed: a new copy builds nothing anew.
fn read(name: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../docs")
        .join(name);
    let text = fs::read_to_string(path).expect("the copy is there");
    serde_json::from_str(&text).expect("the descriptions are JSON")
}

fn members(value: &Value) -> &Map<String, Value> {
    value.as_object().expect("it is an object")
}

fn resolved<'v>(document: &'v Value, value: &'v Value) -> &'v Value {
    match value.get("$ref").and_then(Value::as_str) {
        Some(reference) => document
            .pointer(reference.trim_start_matches('#'))
            .expect("references lead somewhere"),
        None => value,
    }
}

/// A validator of a schema of the document, in which objects have no members but those described.
fn compile(document: &Value, schema: &Value) -> Validator {
    let mut whole = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "allOf": [schema],
        "components": {"schemas": document["components"]["schemas"]},
    });
    close(&mut whole["allOf"][0]);
    close(&mut whole["components"]);
    jsonschema::validator_for(&whole).expect("the schemas are valid")
}

/// Lets messages of clients have members that are not described: what is not known is ignored.
fn open(schema: &mut Value) {
    match schema.get_mut("anyOf").and_then(Value::as_array_mut) {
        Some(forms) => forms.iter_mut().for_each(open),
        None => schema["additionalProperties"] = true.into(),
    }
}

fn close(value: &mut Value) {
    match value {
        Value::Object(members) => {
            let is_whole = members.contains_key("required") && members.contains_key("properties");
            if is_whole && !members.contains_key("additionalProperties") {
                members.insert("additionalProperties".to_owned(), false.into());
            }
            members.values_mut().for_each(close);
        }
        Value::Array(items) => items.iter_mut().for_each(close),
        _ => {}
    }
}
