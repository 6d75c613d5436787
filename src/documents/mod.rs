//! The documents that describe the interface: OpenAPI for HTTP, AsyncAPI for WebSocket and stream, and
//! the pages that show them. They are made once, when they are first asked for, from the table of routes
//! and the bounds of the code; sessions hand out references to them. No files, no sockets.
//!
//! OpenAPI and all schemas are built of the types of `utoipa`, which know what a document may say and how
//! it is written. No such library knows AsyncAPI: its envelope is written as JSON around the same schemas.
//! Nothing is derived from the types of the code, since what goes over the wire is written and read as bytes.
//!
//! That the schemas are what is really sent is proven by the tests: `tests/util` holds each answer and
//! message that any test sees against them.

mod asyncapi;
mod body;
mod http;
mod messages;
mod openapi;
mod operations;
mod parameters;
mod replies;
mod schemas;
mod topics;

use std::sync::OnceLock;

use serde_json::Value;

use crate::api::route::Route;

pub use body::{Body, Coding};

/// What a page may load and whom it may ask: this server, nobody else. Both pages set styles in
/// scripts; Redoc searches in a worker that it makes of a text.
pub const PAGE_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; \
     img-src 'self' data:; connect-src 'self'; worker-src blob:; base-uri 'none'; form-action 'none'; \
     frame-ancestors 'none'";

const JSON: &str = "application/json";
const HTML: &str = "text/html; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";

/// What the pages load, packed as `scripts/refresh-assets.sh` left it.
const PACKED: [(&str, &str, &[u8]); 3] = [
    (
        "swagger-ui-bundle.js",
        SCRIPT,
        include_bytes!("../../assets/docs/swagger-ui-bundle.js.gz"),
    ),
    (
        "swagger-ui.css",
        STYLE,
        include_bytes!("../../assets/docs/swagger-ui.css.gz"),
    ),
    (
        "redoc.standalone.js",
        SCRIPT,
        include_bytes!("../../assets/docs/redoc.standalone.js.gz"),
    ),
];

/// The same, of our own.
const PLAIN: [(&str, &str, &str); 2] = [
    (
        "swagger-start.js",
        SCRIPT,
        include_str!("../../assets/docs/swagger-start.js"),
    ),
    (
        "redoc-start.js",
        SCRIPT,
        include_str!("../../assets/docs/redoc-start.js"),
    ),
];

/// What the documents tell of this server beside what is the same for all.
#[derive(Clone, Copy, Debug)]
pub struct Description<'a> {
    /// The name of the installation.
    pub title: &'a str,
    /// The program's.
    pub version: &'a str,
    /// Whether [`Route::WebSocketEcho`] exists.
    pub has_echo: bool,
    /// Whether credentials are asked for.
    pub asks_for_credentials: bool,
    /// Whether a credential may stand in a query.
    pub takes_query_tokens: bool,
    /// Whether metrics need a credential, too.
    pub guards_metrics: bool,
}

impl Description<'_> {
    /// OpenAPI 3.1: every route with its methods.
    pub fn openapi(&self) -> Value {
        serde_json::to_value(openapi::describe(self)).expect("all keys of the document are texts")
    }

    /// AsyncAPI 3.0: every message of WebSocket and stream.
    pub fn asyncapi(&self) -> Value {
        asyncapi::describe(self)
    }
}

/// All documents.
#[derive(Debug)]
pub struct Documents {
    description: Description<'static>,
    openapi: OnceLock<Body>,
    asyncapi: OnceLock<Body>,
    swagger: Body,
    redoc: Body,
    files: Vec<(&'static str, Body)>,
}

impl Documents {
    /// All of a server, which are never freed: answers refer to them while they are written. The large ones are
    /// made when they are asked for: a server starts at once.
    pub fn new(description: &Description<'_>) -> &'static Documents {
        let title = Box::leak(Box::from(description.title));
        let version = Box::leak(Box::from(description.version));
        let packed = PACKED.map(|(name, kind, bytes)| (name, Body::packed(kind, bytes)));
        let plain = PLAIN.map(|(name, kind, text)| (name, Body::plain(kind, text.into())));
        let page = |text: &str| Body::plain(HTML, text.into());
        let documents = Documents {
            description: Description {
                title,
                version,
                ..*description
            },
            openapi: OnceLock::new(),
            asyncapi: OnceLock::new(),
            swagger: page(include_str!("../../assets/docs/swagger.html")),
            redoc: page(include_str!("../../assets/docs/redoc.html")),
            files: packed.into_iter().chain(plain).collect(),
        };
        Box::leak(Box::new(documents))
    }

    /// The one at a route and a percent-decoded path.
    pub fn at(&'static self, route: Route, path: &str) -> Option<&'static Body> {
        match route {
            Route::OpenApi => {
                let make = || Body::plain(JSON, self.description.openapi().to_string());
                Some(self.openapi.get_or_init(make))
            }
            Route::AsyncApi => {
                let make = || Body::plain(JSON, self.description.asyncapi().to_string());
                Some(self.asyncapi.get_or_init(make))
            }
            Route::Docs => Some(&self.swagger),
            Route::Redoc => Some(&self.redoc),
            Route::DocsFile => {
                let asked = route.name_in(path)?;
                let mut files = self.files.iter();
                files.find(|(name, _)| *name == asked).map(|(_, it)| it)
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests;
