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
}

/// Stands in patterns for one part of a path: the name of a topic.
const NAME: &str = "{name}";

impl Route {
    /// Every route, those without a name in their path before those that would match them too.
    pub const ALL: [Route; 18] = [
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
    ];

    /// The path, as metrics label it; with `{name}` where the name of a topic stands.
    pub fn pattern(self) -> &'static str {
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
            | Route::TopicMessages => "GET, HEAD",
            Route::Topics => "GET, HEAD, POST",
            Route::Topic => "GET, HEAD, PUT, DELETE",
        }
    }

    /// What stands in a path where this route's pattern has a name. `None` when the path is not of
    /// this pattern.
    pub fn topic_in(self, path: &str) -> Option<&str> {
        let (front, back) = self.pattern().split_once(NAME)?;
        let name = path.strip_prefix(front)?.strip_suffix(back)?;
        (!name.is_empty() && !name.contains('/')).then_some(name)
    }

    fn is_at(self, path: &str) -> bool {
        self.pattern() == path || self.topic_in(path).is_some()
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
            | Route::TopicMessages => matches!(method, Method::Get | Method::Head),
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

/// Finds the route of a request. `path` is percent-decoded; `echo` says whether
/// [`Route::WebSocketEcho`] is enabled.
pub fn find(path: &str, method: Method<'_>, echo: bool) -> Routed {
    match named(path, echo) {
        Some(route) if route.has_method(method) => Routed::Found(route),
        Some(route) => Routed::MethodNotAllowed(route),
        None => match path.strip_suffix('/').and_then(|path| named(path, echo)) {
            Some(_) => Routed::Redirect,
            None => Routed::NotFound,
        },
    }
}

fn named(path: &str, echo: bool) -> Option<Route> {
    Route::ALL
        .into_iter()
        .filter(|route| echo || *route != Route::WebSocketEcho)
        .find(|route| route.is_at(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn get(path: &str) -> Routed {
        find(path, Method::Get, false)
    }

    #[test]
    fn finds_every_route_by_its_methods() {
        let methods = [
            Method::Get,
            Method::Head,
            Method::Post,
            Method::Put,
            Method::Delete,
            Method::Patch,
            Method::Options,
            Method::Other("get"),
        ];
        for route in Route::ALL {
            for method in methods {
                let allowed = route.allow().split(", ").any(|name| name == method.label());
                let expected = if allowed {
                    Routed::Found(route)
                } else {
                    Routed::MethodNotAllowed(route)
                };
                assert_eq!(find(route.pattern(), method, true), expected);
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
            let routed = find("/api/v1/messages/", method, false);
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
            assert_eq!(route.topic_in(path), name, "{path}");
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
            find("/ws/echo", Method::Get, true),
            Routed::Found(Route::WebSocketEcho)
        );
    }
}
