//! Who may talk to a server without credentials: origins, hosts and preflights.

use test_util::wire::{handshake, handshake_with};
use test_util::{Http, Response, Server, Wire, with_workers};

const PUBLISH: &str = "/api/v1/messages";
const BODY: &[u8] = br#"{"topic":"t","payload":{}}"#;

#[test]
fn loopback_origins_are_served() {
    with_workers(|workers| {
        let server = Server::start(&["--workers", workers]);
        for origin in [
            "http://localhost",
            "http://localhost:3000",
            "https://LOCALHOST:8443",
            "http://127.0.0.1:5500",
            "http://127.1.2.3",
            "http://[::1]:8000",
        ] {
            assert_eq!(publish_from(&server, origin).status, 201, "{origin}");
            assert_eq!(upgrade_from(&server, origin).status, 101, "{origin}");
        }
    });
}

#[test]
fn other_origins_are_forbidden() {
    with_workers(|workers| {
        let server = Server::start(&["--workers", workers]);
        for origin in [
            "https://evil.example",
            "http://localhost.evil.example",
            "http://127.0.0.1.evil.example",
            "http://evil.example:80#localhost",
            "http://localhost@evil.example",
            "http://10.0.0.1",
            "http://[::2]",
            "null",
            "file://",
            "localhost",
            "nonsense",
        ] {
            let response = publish_from(&server, origin);
            assert_eq!(response.status, 403, "{origin}: {response:?}");
            response.assert_error(403, "FORBIDDEN");
            let response = upgrade_from(&server, origin);
            assert_eq!(response.status, 403, "{origin}: {response:?}");
            let mut http = Http::open(server.addr());
            let health = http.request("GET", "/metrics", &[("Origin", origin)], b"");
            assert_eq!(health.status, 403, "{origin}");
            assert_eq!(health.header("access-control-allow-origin"), None);
        }
        assert_eq!(server.get("/health").status, 200);
    });
}

#[test]
fn the_servers_own_host_is_served() {
    let server = Server::start(&["--allowed-hosts", "proxy.example"]);
    let mut http = Http::open(server.addr());
    let headers = [
        ("Host", "proxy.example"),
        ("Origin", "https://proxy.example"),
    ];
    assert_eq!(http.request("POST", PUBLISH, &headers, BODY).status, 201);
    let headers = [
        ("Host", "proxy.example"),
        ("Origin", "https://other.example"),
    ];
    assert_eq!(http.request("POST", PUBLISH, &headers, BODY).status, 403);
}

#[test]
fn listed_origins_are_served_with_cors_headers() {
    with_workers(|workers| {
        let flags = [
            "--workers",
            workers,
            "--allowed-origins",
            "https://app.example",
        ];
        let server = Server::start(&flags);
        let response = publish_from(&server, "https://app.example");
        assert_eq!(response.status, 201);
        let allowed = response.header("access-control-allow-origin");
        assert_eq!(allowed, Some("https://app.example"));
        let vary = response
            .header("vary")
            .unwrap_or_default()
            .to_ascii_lowercase();
        assert!(vary.contains("origin"), "{response:?}");
        assert_eq!(upgrade_from(&server, "https://app.example").status, 101);

        for origin in [
            "https://evil.example",
            "http://app.example",
            "https://app.example:444",
        ] {
            let response = publish_from(&server, origin);
            assert_eq!(response.status, 403, "{origin}: {response:?}");
            assert_eq!(response.header("access-control-allow-origin"), None);
        }
    });
}

#[test]
fn null_is_served_only_when_listed() {
    let server = Server::start(&["--allowed-origins", "null"]);
    assert_eq!(publish_from(&server, "null").status, 201);
    assert_eq!(upgrade_from(&server, "null").status, 101);
}

#[test]
fn preflights_of_listed_origins_are_answered() {
    let server = Server::start(&["--allowed-origins", "https://app.example"]);
    let preflight = |origin: &str| {
        let headers = [
            ("Origin", origin),
            ("Access-Control-Request-Method", "POST"),
            ("Access-Control-Request-Headers", "content-type"),
        ];
        Http::open(server.addr()).request("OPTIONS", PUBLISH, &headers, b"")
    };
    let response = preflight("https://app.example");
    assert!(matches!(response.status, 200 | 204), "{response:?}");
    assert_eq!(
        response.header("access-control-allow-origin"),
        Some("https://app.example")
    );
    let methods = response
        .header("access-control-allow-methods")
        .unwrap_or_default();
    assert!(methods.contains("POST"), "{response:?}");
    let headers = response
        .header("access-control-allow-headers")
        .unwrap_or_default();
    assert!(
        headers.to_ascii_lowercase().contains("content-type"),
        "{response:?}"
    );

    let response = preflight("https://evil.example");
    assert_eq!(response.status, 403, "{response:?}");
    assert_eq!(response.header("access-control-allow-origin"), None);
}

#[test]
fn hosts_that_are_not_loopback_are_forbidden() {
    with_workers(|workers| {
        let server = Server::start(&["--workers", workers]);
        for host in [
            "localhost",
            "LocalHost:99",
            "127.0.0.1",
            "127.0.0.2:1",
            "[::1]",
            "[::1]:80",
        ] {
            assert_eq!(publish_to(&server, host).status, 201, "{host}");
        }
        for host in [
            "evil.example",
            "evil.example:8080",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "10.0.0.1",
            "[::2]",
        ] {
            let response = publish_to(&server, host);
            let error = response.assert_error(403, "FORBIDDEN");
            let message = error["message"].as_str().unwrap_or_default();
            assert!(
                message.contains("--allowed-hosts"),
                "the error says how: {error}"
            );
        }
        let request = String::from_utf8(handshake(server.addr())).expect("the request is text");
        let request = request.replace(&server.addr().to_string(), "evil.example");
        assert_eq!(Wire::handshake(server.addr(), request).1.status, 403);

        let mut http = Http::open(server.addr());
        http.send("GET http://evil.example/health HTTP/1.1\r\nHost: localhost\r\n\r\n");
        assert_eq!(
            http.read_response().status,
            403,
            "the target wins over the field"
        );
    });
}

#[test]
fn listed_hosts_are_served() {
    let server = Server::start(&["--allowed-hosts", "proxy.example"]);
    assert_eq!(publish_to(&server, "proxy.example").status, 201);
    assert_eq!(publish_to(&server, "Proxy.Example:8080").status, 201);
    assert_eq!(publish_to(&server, "localhost").status, 201);
    assert_eq!(publish_to(&server, "other.example").status, 403);

    let server = Server::start(&["--allowed-hosts", "*"]);
    assert_eq!(publish_to(&server, "anything.example").status, 201);
}

fn publish_from(server: &Server, origin: &str) -> Response {
    let headers = [("Origin", origin), ("Content-Type", "application/json")];
    Http::open(server.addr()).request("POST", PUBLISH, &headers, BODY)
}

fn publish_to(server: &Server, host: &str) -> Response {
    Http::open(server.addr()).request("POST", PUBLISH, &[("Host", host)], BODY)
}

fn upgrade_from(server: &Server, origin: &str) -> Response {
    Wire::handshake(
        server.addr(),
        handshake_with(server.addr(), &[("Origin", origin)]),
    )
    .1
}
