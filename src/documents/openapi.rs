//! OpenAPI 3.1: the table of routes, with what each of them takes and answers.

use serde_json::{Map, Value, json};

use super::Description;
use super::operations::{TAGS, Told, is_guarded, is_limited, told};
use super::parameters;
use super::replies::{fields, refusal, refusals};
use super::schemas::{self, of};
use crate::api::route::Route;

const ABOUT: &str = "A real-time message proxy: JSON messages in over HTTP, out over WebSocket, Server-Sent \
     Events and long poll.\n\nEvery answer has `X-Request-Id`. Another method than those described is answered 405 \
     with `Allow`, one slash too many at the end of a path 307; `OPTIONS` answers CORS preflights of listed origins. \
     What WebSocket and stream say is in `asyncapi.json`.";

/// Refusals that every request may meet.
const EVERYWHERE: [u16; 9] = [400, 403, 408, 413, 414, 431, 501, 503, 505];

/// The document.
pub(super) fn describe(about: &Description<'_>) -> Value {
    let offered = |route: &Route| about.has_echo || *route != Route::WebSocketEcho;
    let paths: Map<String, Value> = Route::ALL
        .into_iter()
        .filter(offered)
        .map(|route| (route.pattern().to_owned(), path(route, about)))
        .collect();
    let tags = TAGS.map(|(name, text)| json!({"name": name, "description": text}));
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": about.title,
            "version": about.version,
            "description": ABOUT,
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": "."}],
        "tags": tags,
        "paths": paths,
        "components": {
            "schemas": schemas::all(),
            "headers": fields(),
            "responses": refusals(),
            "parameters": {"RequestId": parameters::request_id()},
            "securitySchemes": security_schemes(about),
        },
    })
}

fn path(route: Route, about: &Description<'_>) -> Value {
    let methods = route.allow().split(", ");
    let operations: Map<String, Value> = methods
        .map(|method| (method.to_lowercase(), operation(route, method, about)))
        .collect();
    operations.into()
}

fn operation(route: Route, method: &str, about: &Description<'_>) -> Value {
    let is_head = method == "HEAD";
    let told = told(route, method);
    let id = match is_head {
        true => format!("{}Head", told.id),
        false => told.id.to_owned(),
    };
    let summary = match is_head {
        true => format!("{} (the head of the answer alone)", told.summary),
        false => told.summary.to_owned(),
    };
    let responses = responses(&told, route, is_head, about);
    let mut parameters = told.parameters;
    parameters.push(json!({"$ref": "#/components/parameters/RequestId"}));
    let mut operation = json!({
        "operationId": id,
        "tags": [told.tag],
        "summary": summary,
        "parameters": parameters,
        "responses": responses,
        "security": security(route, about),
    });
    if let Some(schema) = told.body {
        let content = json!({"application/json": {"schema": of(schema)}});
        operation["requestBody"] = json!({"required": true, "content": content});
    }
    operation
}

fn responses(told: &Told, route: Route, is_head: bool, about: &Description<'_>) -> Value {
    let mut statuses = EVERYWHERE.to_vec();
    statuses.extend(told.refusals);
    statuses.extend(is_guarded(route, about).then_some(401));
    statuses.extend(is_limited(route).then_some(429));
    let mut responses: Map<String, Value> = statuses
        .into_iter()
        .map(|status| (status.to_string(), refusal(status, is_head)))
        .collect();
    for (status, answer) in &told.answers {
        let mut answer = answer.clone();
        if let Some(answer) = answer.as_object_mut().filter(|_| is_head) {
            answer.remove("content");
        }
        responses.insert(status.to_string(), answer);
    }
    responses.into()
}

fn security_schemes(about: &Description<'_>) -> Value {
    let mut schemes = json!({
        "bearer": {
            "type": "http",
            "scheme": "bearer",
            "bearerFormat": "JWT or API key",
            "description": "An access token or an API key. For WebSockets of browsers also as the subprotocols \
                `bearer, bearer.<credential>`.",
        },
        "ticket": {
            "type": "apiKey",
            "in": "query",
            "name": "ticket",
            "description": "A ticket from `POST /api/v1/tickets`, good for one stream or WebSocket.",
        },
    });
    if about.takes_query_tokens {
        schemes["token"] = json!({"type": "apiKey", "in": "query", "name": "token",
            "description": "The same credential as for `bearer`."});
    }
    schemes
}

/// Any one of these is enough; without credentials on this server, none is needed.
fn security(route: Route, about: &Description<'_>) -> Value {
    if !is_guarded(route, about) {
        return json!([]);
    }
    let mut any = vec![json!({"bearer": []})];
    if matches!(
        route,
        Route::Stream | Route::WebSocket | Route::WebSocketEcho
    ) {
        any.push(json!({"ticket": []}));
    }
    if about.takes_query_tokens {
        any.push(json!({"token": []}));
    }
    if !about.asks_for_credentials {
        any.push(json!({}));
    }
    any.into()
}
