//! HTTP/1.1 as section 13 of the contract promises it, and the routes and errors around it.

use serde_json::json;
use test_util::{Http, Server, with_workers};

const PUBLISH: &str = "/api/v1/messages";
const BODY: &[u8] = br#"{"topic":"t","payload":{}}"#;

#[test]
fn a_connection_is_kept_alive() {
    with_workers(|workers| {
        let server = Server::start(&["--workers", workers]);
        let mut http = Http::open(server.addr());
        for _ in 0..20 {
            assert_eq!(http.get("/health").status, 200);
            assert_eq!(http.post(PUBLISH, BODY).status, 201);
            assert_eq!(
                http.post(PUBLISH, "{").status,
                422,
                "a wrong body is no reason to close"
            );
            assert_eq!(http.get("/nowhere").status, 404);
        }
        let response = http.request("GET", "/health", &[("Connection", "close")], b"");
        assert_eq!(response.header("connection"), Some("close"));
        http.expect_closed();
    });
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    with_workers(|workers| {
        let server = Server::start(&["--workers", workers]);
        let mut http = Http::open(server.addr());
        let mut bytes = Vec::new();
        for n in 0..40 {
            let id = format!("id-{n}");
            let headers = [("X-Request-Id", id.as_str())];
            bytes.extend(match n % 3 {
                0 => http.encode("GET", "/health", &headers, b""),
                1 => http.encode("POST", PUBLISH, &headers, BODY),
                _ => http.encode("GET", "/nowhere", &headers, b""),
            });
        }
        http.send(bytes);
        for n in 0..40 {
            let response = http.read_response();
            assert_eq!(
                response.header("x-request-id"),
                Some(format!("id-{n}").as_str())
            );
            assert_eq!(response.status, [200, 201, 404][n % 3]);
        }
    });
}

#[test]
fn chunked_bodies_with_extensions_and_trailers() {
    let server = Server::start(&[]);
    let mut http = Http::open(server.addr());
    let chunks = "5;ext=1\r\n{\"top\r\n1 ; a=\"b;c\"\r\ni\r\n0A\r\nc\":\"t\",\"pa\r\n\
                  9;x\r\nyload\":{}\r\n1\r\n}\r\n0;last\r\nTrailer-One: x\r\nDigest: y\r\n\r\n";
    for _ in 0..2 {
        http.send(format!(
            "POST {PUBLISH} HTTP/1.1\r\nHost: localhost\r\ntransfer-encoding: Chunked\r\n\r\n{chunks}"
        ));
        let response = http.read_response();
        assert_eq!(response.status, 201, "{response:?}");
    }
    assert_eq!(
        http.get("/health").status,
        200,
        "trailers end with the body"
    );
}

#[test]
fn expect_100_continue_is_answered_before_the_body() {
    let server = Server::start(&["--max-message-size", "2000"]);
    let mut http = Http::open(server.addr());
    for expect in ["100-continue", "100-Continue"] {
        http.send(format!(
            "POST {PUBLISH} HTTP/1.1\r\nHost: localhost\r\nExpect: {expect}\r\n\
             Content-Length: {}\r\n\r\n",
            BODY.len()
        ));
        assert_eq!(http.read_response().status, 100);
        http.send(BODY);
        assert_eq!(http.read_response().status, 201);
    }

    http.send(format!(
        "POST {PUBLISH} HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\n\
         Content-Length: 2001\r\n\r\n"
    ));
    let error = http.read_response().assert_error(413, "PAYLOAD_TOO_LARGE");
    assert_eq!(error["details"]["limit"], 2000);
    http.expect_closed();
}

#[test]
fn http_1_0_with_and_without_keep_alive() {
    let server = Server::start(&[]);
    let mut http = Http::open(server.addr());
    http.send("GET /health HTTP/1.0\r\n\r\n");
    assert_eq!(http.read_response().status, 200);
    http.expect_closed();

    let mut http = Http::open(server.addr());
    for _ in 0..3 {
        http.send("GET /health HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n");
        let response = http.read_response();
        assert_eq!(response.status, 200);
        let connection = response.header("connection").unwrap_or_default();
        assert!(
            connection.eq_ignore_ascii_case("keep-alive"),
            "{response:?}"
        );
    }
    http.send("GET /health HTTP/1.0\r\n\r\n");
    assert_eq!(http.read_response().status, 200);
    http.expect_closed();
}

#[test]
fn absolute_form_targets() {
    let server = Server::start(&[]);
    let mut http = Http::open(server.addr());
    let address = server.addr();
    http.send(format!(
        "GET http://{address}/health?x=1 HTTP/1.1\r\nHost: {address}\r\n\r\n"
    ));
    assert_eq!(http.read_response().status, 200);
    http.send(format!(
        "GET HTTP://localhost/health HTTP/1.1\r\nHost: {address}\r\n\r\n"
    ));
    assert_eq!(http.read_response().status, 200);
    http.send(format!(
        "GET http://{address} HTTP/1.1\r\nHost: {address}\r\n\r\n"
    ));
    assert_eq!(http.read_response().status, 404);
}

#[test]
fn a_half_closed_client_gets_all_its_answers() {
    with_workers(|workers| {
        let server = Server::start(&["--workers", workers]);
        let mut http = Http::open(server.addr());
        let request = http.encode("POST", PUBLISH, &[], BODY);
        http.send(request.repeat(20));
        http.finish();
        for _ in 0..20 {
            assert_eq!(http.read_response().status, 201);
        }
        http.expect_closed();

        let mut http = Http::open(server.addr());
        http.send(&request[..request.len() - 1]);
        http.finish();
        if let Some(response) = http.try_read_response() {
            assert_eq!(
                response.status, 400,
                "half a request is not published: {response:?}"
            );
        }
    });
}

#[test]
fn header_names_in_any_case_and_values_with_space_around() {
    let server = Server::start(&[]);
    let mut http = Http::open(server.addr());
    http.send(format!(
        "POST {PUBLISH} HTTP/1.1\r\nhOsT:localhost\r\nCONTENT-length: \t{}  \r\n\
         x-REQUEST-id:\t abc \r\nX-Empty:\r\n\r\n",
        BODY.len()
    ));
    http.send(BODY);
    let response = http.read_response();
    assert_eq!(response.status, 201);
    assert_eq!(response.header("x-request-id"), Some("abc"));
}

#[test]
fn empty_lines_before_a_request_are_skipped() {
    let server = Server::start(&[]);
    let mut http = Http::open(server.addr());
    http.send("\r\nGET /health HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_eq!(http.read_response().status, 200, "RFC 9112 section 2.2");
}

#[test]
fn unknown_paths_are_404() {
    let server = Server::start(&[]);
    let mut http = Http::open(server.addr());
    for path in [
        "/",
        "/nowhere",
        "/Health",
        "/API/v1/messages",
        "/health//",
        "/health/x",
        "/api/v1/polls",
        "/api/v1/acks",
        "/api/v1/streams",
        "/messages/polls",
        "/Docs",
        "/docs/nothing",
        "/openapi.yaml",
        "/auth/login",
        "/console",
    ] {
        let error = http.get(path).assert_error(404, "NOT_FOUND");
        assert_eq!(error["detail"], "Not Found", "{path}");
    }
}

#[test]
fn known_paths_with_another_method_are_405() {
    let server = Server::start(&[]);
    let mut http = Http::open(server.addr());
    for (method, path, allowed) in [
        ("GET", "/api/v1/messages", "POST"),
        ("PUT", "/api/v1/messages", "POST"),
        ("DELETE", "/api/v1/messages/bulk", "POST"),
        ("HEAD", "/api/v1/messages", "POST"),
        ("OPTIONS", "/api/v1/messages", "POST"),
        ("POST", "/health", "GET"),
        ("PATCH", "/ready", "GET"),
        ("post", "/metrics", "GET"),
        ("POST", "/metrics", "GET"),
        ("POST", "/ws", "GET"),
        ("HEAD", "/ws", "GET"),
        ("OPTIONS", "/health", "GET"),
        ("BREW", "/health", "GET"),
    ] {
        let response = http.request(method, path, &[], b"");
        assert_eq!(response.status, 405, "{method} {path}: {response:?}");
        let allow = response.header("allow").unwrap_or_default();
        assert!(
            allow.split(", ").any(|name| name == allowed),
            "{method} {path}: {allow}"
        );
        assert!(
            !allow.split(", ").any(|name| name == method),
            "{method} {path}: {allow}"
        );
        if method != "HEAD" {
            let error = response.assert_error(405, "METHOD_NOT_ALLOWED");
            assert_eq!(error["detail"], "Method Not Allowed");
        }
    }
}

#[test]
fn one_slash_too_many_is_redirected() {
    let server = Server::start(&[]);
    let mut http = Http::open(server.addr());
    for (method, path, target) in [
        ("GET", "/health/", "/health"),
        ("GET", "/health/?a=1&b=%2F", "/health?a=1&b=%2F"),
        ("POST", "/api/v1/messages/", "/api/v1/messages"),
        (
            "POST",
            "/api/v1/messages/bulk/?x",
            "/api/v1/messages/bulk?x",
        ),
    ] {
        let response = http.request(method, path, &[], b"");
        assert_eq!(response.status, 307, "{path}: {response:?}");
        let location = response.header("location").unwrap_or_default();
        let path_of = location.find("//").and_then(|start| {
            location[start + 2..]
                .find('/')
                .map(|slash| &location[start + 2 + slash..])
        });
        assert_eq!(path_of.unwrap_or(location), target);
    }
    http.get("/nowhere/").assert_error(404, "NOT_FOUND");
}

#[test]
fn paths_are_percent_decoded_once() {
    let server = Server::start(&[]);
    let mut http = Http::open(server.addr());
    assert_eq!(http.get("/he%61lth").status, 200);
    assert_eq!(http.get("/he%2561lth").status, 404);
    assert_eq!(
        http.get("/health?x=%zz").status,
        200,
        "the query is not looked at"
    );
}

#[test]
fn head_is_answered_like_get_without_body() {
    let server = Server::start(&[]);
    let mut http = Http::open(server.addr());
    for (path, status) in [
        ("/health", 200),
        ("/ready", 200),
        ("/metrics", 200),
        ("/nowhere", 404),
    ] {
        let get = http.get(path);
        let head = http.request("HEAD", path, &[], b"");
        assert_eq!((get.status, head.status), (status, status), "{path}");
        assert_eq!(
            head.header("content-type"),
            get.header("content-type"),
            "{path}"
        );
        if path == "/health" {
            assert_eq!(head.header("content-length"), get.header("content-length"));
        }
    }
    assert_eq!(http.get("/health").status, 200, "no body was sent");
}

#[test]
fn every_answer_says_who_when_and_which() {
    let server = Server::start(&[]);
    let mut http = Http::open(server.addr());
    let responses = [
        http.get("/health"),
        http.get("/metrics"),
        http.get("/nowhere"),
        http.get("/health/"),
        http.get("/ws"),
        http.request("HEAD", "/ready", &[], b""),
        http.post(PUBLISH, BODY),
        http.post(PUBLISH, "{"),
    ];
    let mut ids: Vec<&str> = Vec::new();
    for response in &responses {
        assert!(
            response
                .header("server")
                .is_some_and(|name| !name.is_empty()),
            "{response:?}"
        );
        let date = response.header("date").unwrap_or_default();
        assert!(date.ends_with(" GMT") && date.len() == 29, "{response:?}");
        assert!(response.header("content-length").is_some(), "{response:?}");
        let id = response.header("x-request-id").unwrap_or_default();
        assert!(id.starts_with("req_") && id.len() > 8, "{response:?}");
        ids.push(id);
    }
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), responses.len(), "request ids are all different");
}

#[test]
fn a_valid_request_id_is_kept_and_another_replaced() {
    let server = Server::start(&[]);
    let mut http = Http::open(server.addr());
    let longest = "x".repeat(128);
    for id in ["a", "A-1._b", longest.as_str()] {
        let response = http.request("GET", "/nowhere", &[("X-Request-Id", id)], b"");
        assert_eq!(response.header("x-request-id"), Some(id));
        assert_eq!(response.assert_error(404, "NOT_FOUND")["request_id"], id);
    }
    let too_long = "x".repeat(129);
    for id in ["", "a b", "a/b", "ä", "{}", too_long.as_str()] {
        let response = http.request("GET", "/nowhere", &[("X-Request-Id", id)], b"");
        let given = response.header("x-request-id").unwrap_or_default();
        assert!(given.starts_with("req_"), "{id:?} became {given:?}");
        response.assert_error(404, "NOT_FOUND");
    }
}

#[test]
fn a_body_over_the_limit_is_refused_at_the_header() {
    with_workers(|workers| {
        let server = Server::start(&["--workers", workers, "--max-message-size", "2000"]);
        let mut http = Http::open(server.addr());
        http.send(format!(
            "POST {PUBLISH} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2001\r\n\r\n"
        ));
        let error = http.read_response().assert_error(413, "PAYLOAD_TOO_LARGE");
        assert_eq!(error["details"]["limit"], 2000);
        http.expect_closed();

        let padding = " ".repeat(2000 - BODY.len());
        let largest = [BODY, padding.as_bytes()].concat();
        assert_eq!(server.post(PUBLISH, largest).status, 201);
    });
}

#[test]
fn a_chunked_body_is_refused_as_soon_as_it_passes_the_limit() {
    let server = Server::start(&["--max-message-size", "2000"]);
    let mut http = Http::open(server.addr());
    http.send(format!(
        "POST {PUBLISH} HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
    ));
    let chunk = format!("320\r\n{}\r\n", "x".repeat(800));
    for _ in 0..3 {
        http.send(&chunk);
    }
    let error = http.read_response().assert_error(413, "PAYLOAD_TOO_LARGE");
    assert_eq!(error["details"]["limit"], 2000);
    http.expect_closed();
}

#[test]
fn the_rest_of_a_refused_body_does_not_hide_the_answer() {
    let server = Server::start(&["--max-message-size", "2000"]);
    let mut http = Http::open(server.addr());
    let bytes = http.encode("POST", PUBLISH, &[], &vec![b'x'; 60_000]);
    http.send_to_deaf(bytes);
    http.read_response().assert_error(413, "PAYLOAD_TOO_LARGE");
    http.expect_closed();
}

#[test]
fn health_and_ready() {
    with_workers(|workers| {
        let server = Server::start(&["--workers", workers]);
        let health = server.get("/health");
        assert_eq!(health.status, 200);
        assert_eq!(health.header("content-type"), Some("application/json"));
        let health = health.json();
        assert_eq!(health["status"], "healthy");
        assert_eq!(health["version"], "0.1.0");
        assert!(
            health["timestamp"]
                .as_str()
                .is_some_and(|time| time.ends_with('Z'))
        );
        assert_eq!(health.as_object().map(serde_json::Map::len), Some(3));

        let ready = server.get("/ready");
        assert_eq!(ready.status, 200);
        let ready = ready.json();
        assert_eq!(ready["ready"], json!(true));
        assert_eq!(ready["checks"]["storage"], "ok");
    });
}
