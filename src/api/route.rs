//! Paths and methods to routes (SPEC section 2).

use crate::http::Method;

/// What a request can ask for.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Route {
    /// `POST /api/v1/messages`
    PublishOne,
    /// `POST /api/v1/messages/bulk`
    PublishBulk,
    /// `GET /ws`
    WebSocket,
    /// `GET /ws/echo`, for conformance tests; only where it is enabled.
    WebSocketEcho,
    /// `GET /api/v1/poll`
    Poll,
    /// `POST /messages/poll`, the form of long poll that `pulsar-relay-client` speaks.
    RelayPoll,
    /// `GET /messages/poll/stats`
    PollStats,
    /// `GET /api/v1/stream`
    Stream,
    /// `POST /api/v1/ack`
    Ack,
    /// `POST /api/v1/tickets`
    Tickets,
    /// `POST /api/v1/revocations`
    Revocations,
    /// `GET /health`
    Health,
    /// `GET /ready`
    Ready,
    /// `GET /metrics`
    Metrics,
    /// `GET`, `POST /api/v1/topics`
    Topics,
    /// `GET /api/v1/topics/stats`
    TopicTotals,
    /// `GET`, `PUT`, `DELETE /api/v1/topics/{name}`
    Topic,
    /// `GET /api/v1/topics/{name}/messages`
    TopicMessages,
    /// `GET /openapi.json`, the description of the HTTP interface.
    OpenApi,
    /// `GET /asyncapi.json`, the description of WebSocket and stream.
    AsyncApi,
    /// `GET /docs`, the page that shows it and tries it.
    Docs,
    /// `GET /redoc`, the page to read.
    Redoc,
    /// `GET /docs/{file}`, what these pages load.
    DocsFile,
}

/// Which of the routes exist that a server may do without.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Offer {
    /// [`Route::WebSocketEcho`].
    pub echo: bool,
    /// Those of [`Route::is_document`].
    pub documents: bool,
}

/// What stands in patterns for one part of a path: the name of a topic or of a file.
const PARTS: [&str; 2] = ["{name}", "{file}"];

impl Route {
    /// Every route, those without a name in their path before those that would match them too.
    pub const ALL: [Route; 23] = [
        Route::PublishOne,
        Route::PublishBulk,
        Route::WebSocket,
        Route::WebSocketEcho,
        Route::Poll,
        Route::RelayPoll,
        Route::PollStats,
        Route::Stream,
        Route::Ack,
        Route::Tickets,
        Route::Revocations,
        Route::Health,
        Route::Ready,
        Route::Metrics,
        Route::Topics,
        Route::TopicTotals,
        Route::Topic,
        Route::TopicMessages,
        Route::OpenApi,
        Route::AsyncApi,
        Route::Docs,
        Route::Redoc,
        Route::DocsFile,
    ];

    /// The path, as metrics label it; with `{name}` where the name of a topic stands, and `{file}` where that of a file does.
    pub const fn pattern(self) -> &'static str {
        match self {
            Route::PublishOne => "/api/v1/messages",
            Route::PublishBulk => "/api/v1/messages/bulk",
            Route::WebSocket => "/ws",
            Route::WebSocketEcho => "/ws/echo",
            Route::Poll => "/api/v1/poll",
            Route::RelayPoll => "/messages/poll",
            Route::PollStats => "/messages/poll/stats",
            Route::Stream => "/api/v1/stream",
            Route::Ack => "/api/v1/ack",
            Route::Tickets => "/api/v1/tickets",
            Route::Revocations => "/api/v1/revocations",
            Route::Health => "/health",
            Route::Ready => "/ready",
            Route::Metrics => "/metrics",
            Route::Topics => "/api/v1/topics",
            Route::TopicTotals => "/api/v1/topics/stats",
            Route::Topic => "/api/v1/topics/{name}",
            Route::TopicMessages => "/api/v1/topics/{name}/messages",
            Route::OpenApi => "/openapi.json",
            Route::AsyncApi => "/asyncapi.json",
            Route::Docs => "/docs",
            Route::Redoc => "/redoc",
            Route::DocsFile => "/docs/{file}",
        }
    }

    /// The methods, as `Allow` tells them.
    pub fn allow(self) -> &'static str {
        match self {
            Route::PublishOne
            | Route::PublishBulk
            | Route::RelayPoll
            | Route::Ack
            | Route::Tickets
            | Route::Revocations => "POST",
            // What waits or goes on cannot be answered without its body: no HEAD.
            Route::WebSocket | Route::WebSocketEcho | Route::Poll | Route::Stream => "GET",
            Route::PollStats
            | Route::Health
            | Route::Ready
            | Route::Metrics
            | Route::TopicTotals
            | Route::TopicMessages
            | Route::OpenApi
            | Route::AsyncApi
            | Route::Docs
            | Route::Redoc
            | Route::DocsFile => "GET, HEAD",
            Route::Topics => "GET, HEAD, POST",
            Route::Topic => "GET, HEAD, PUT, DELETE",
        }
    }

    /// Whether it is one of the documents that describe the interface: they are for everybody.
    pub fn is_document(self) -> bool {
        matches!(
            self,
            Route::OpenApi | Route::AsyncApi | Route::Docs | Route::Redoc | Route::DocsFile
        )
    }

    /// What stands in a path where this route's pattern has a name, of a topic or a file. `None` when
    /// the path is not of this pattern.
    pub fn name_in(self, path: &str) -> Option<&str> {
        let mut parts = PARTS.iter();
        let (front, back) = parts.find_map(|part| self.pattern().split_once(part))?;
        let name = path.strip_prefix(front)?.strip_suffix(back)?;
        (!name.is_empty() && !name.contains('/')).then_some(name)
    }

    fn is_in(self, offer: Offer) -> bool {
        match self {
            Route::WebSocketEcho => offer.echo,
            route => offer.documents || !route.is_document(),
        }
    }

    fn is_at(self, path: &str) -> bool {
        self.pattern() == path || self.name_in(path).is_some()
    }

    fn has_method(self, method: Method<'_>) -> bool {
        match self {
            Route::PublishOne
            | Route::PublishBulk
            | Route::RelayPoll
            | Route::Ack
            | Route::Tickets
            | Route::Revocations => method == Method::Post,
            Route::WebSocket | Route::WebSocketEcho | Route::Poll | Route::Stream => {
                method == Method::Get
            }
            Route::PollStats
            | Route::Health
            | Route::Ready
            | Route::Metrics
            | Route::TopicTotals
            | Route::TopicMessages
            | Route::OpenApi
            | Route::AsyncApi
            | Route::Docs
            | Route::Redoc
            | Route::DocsFile => matches!(method, Method::Get | Method::Head),
            Route::Topics => matches!(method, Method::Get | Method::Head | Method::Post),
            Route::Topic => matches!(
                method,
                Method::Get | Method::Head | Method::Put | Method::Delete
            ),
        }
    }
}

/// Where a request leads.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Routed {
    /// To a route. `HEAD` is answered like `GET`, without the body.
    Found(Route),
    /// Nowhere: 404.
    NotFound,
    /// To the path of this route, which has other methods: 405 with `Allow`.
    MethodNotAllowed(Route),
    /// To a path that the request's has one slash more than: 307, with the query kept.
    Redirect,
}

/// Finds the route of a request among those that are offered. `path` is percent-decoded.
pub fn find(path: &str, method: Method<'_>, offer: Offer) -> Routed {
    match named(path, offer) {
        Some(route) if route.has_method(method) => Routed::Found(route),
        Some(route) => Routed::MethodNotAllowed(route),
        None => match path.strip_suffix('/').and_then(|path| named(path, offer)) {
            Some(_) => Routed::Redirect,
            None => Routed::NotFound,
        },
    }
}

fn named(path: &str, offer: Offer) -> Option<Route> {
    Route::ALL
        .into_iter()
        .filter(|route| route.is_in(offer))
        .find(|route| route.is_at(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: Offer = Offer {
        echo: true,
        documents: true,
    };
    const LEAST: Offer = Offer {
        echo: false,
        documents: false,
    };

    fn get(path: &str) -> Routed {
        find(path, Method::Get, LEAST)
    }

    #[test]
    fn finds_every_route_by_its_methods() {
        let methods = Method::NAMED.into_iter().chain([Method::Other("get")]);
        for route in Route::ALL {
            for method in methods.clone() {
                let allowed = route.allow().split(", ").any(|name| name == method.label());
                let expected = if allowed {
                    Routed::Found(route)
                } else {
                    Routed::MethodNotAllowed(route)
                };
                assert_eq!(find(route.pattern(), method, ALL), expected);
            }
        }
    }

    #[test]
    fn paths_are_exact() {
        for path in [
            "",
            "/",
            "//",
            "/Health",
            "/health//",
            "//health",
            "/health/x",
            "/ws/",
            "/api/v1",
            "/api/v1/poll/",
            "/health\0",
            "health",
            "*",
            "/docs",
        ] {
            let expected = match path {
                "/ws/" | "/api/v1/poll/" => Routed::Redirect,
                _ => Routed::NotFound,
            };
            assert_eq!(get(path), expected, "{path}");
        }
    }

    #[test]
    fn one_slash_too_many_leads_back_whatever_the_method() {
        for method in [Method::Get, Method::Post, Method::Delete] {
            let routed = find("/api/v1/messages/", method, LEAST);
            assert_eq!(routed, Routed::Redirect);
        }
        for path in [
            "/api/v1/topics/",
            "/api/v1/topics/a/",
            "/api/v1/topics/a/messages/",
        ] {
            assert_eq!(get(path), Routed::Redirect, "{path}");
        }
    }

    #[test]
    fn names_of_topics_are_one_part_of_the_path() {
        for (path, route, name) in [
            ("/api/v1/topics/größe", Route::Topic, Some("größe")),
            ("/api/v1/topics/messages", Route::Topic, Some("messages")),
            (
                "/api/v1/topics/a b%/messages",
                Route::TopicMessages,
                Some("a b%"),
            ),
            (
                "/api/v1/topics/stats/messages",
                Route::TopicMessages,
                Some("stats"),
            ),
            ("/api/v1/topics/stats", Route::TopicTotals, None),
            ("/api/v1/topics", Route::Topics, None),
        ] {
            assert_eq!(get(path), Routed::Found(route), "{path}");
            assert_eq!(route.name_in(path), name, "{path}");
        }
        for path in [
            "/api/v1/topics//",
            "/api/v1/topics//messages",
            "/api/v1/topics/a/b",
            "/api/v1/topics/a/messages/b",
            "/api/v1/topics/a//messages",
        ] {
            assert_eq!(get(path), Routed::NotFound, "{path}");
        }
    }

    #[test]
    fn the_echo_route_exists_only_where_it_is_enabled() {
        assert_eq!(get("/ws/echo"), Routed::NotFound);
        assert_eq!(get("/ws/echo/"), Routed::NotFound);
        assert_eq!(
            find("/ws/echo", Method::Get, ALL),
            Routed::Found(Route::WebSocketEcho)
        );
    }

    #[test]
    fn documents_exist_only_where_they_are_offered() {
        for route in Route::ALL.into_iter().filter(|it| it.is_document()) {
            assert_eq!(get(route.pattern()), Routed::NotFound);
            let found = find(route.pattern(), Method::Head, ALL);
            assert_eq!(found, Routed::Found(route));
        }
        assert_eq!(find("/docs/", Method::Get, ALL), Routed::Redirect);
        assert_eq!(Route::DocsFile.name_in("/docs/a.js"), Some("a.js"));
        assert_eq!(
            find("/docs/a/b", Method::Get, ALL),
            Routed::NotFound,
            "no folders"
        );
    }
}
