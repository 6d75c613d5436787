//! What describes the interface is served from the program, to everybody, and the pages work in a browser
//! that can reach nothing else. This needs Chromium.

use std::io::Read as _;

use serde_json::{Value, json};
use test_util::devtools::Page;
use test_util::tokens::{TOKEN_FLAGS, token};
use test_util::{Client, Http, Response, Server, with_workers};

const DOCUMENTS: [&str; 9] = [
    "/openapi.json",
    "/asyncapi.json",
    "/docs",
    "/redoc",
    "/docs/swagger-ui-bundle.js",
    "/docs/swagger-ui.css",
    "/docs/swagger-start.js",
    "/docs/redoc.standalone.js",
    "/docs/redoc-start.js",
];

fn get(server: &Server, path: &str, headers: &[(&str, &str)]) -> Response {
    Http::open(server.addr()).request("GET", path, headers, b"")
}

fn unpacked(answer: &Response) -> Vec<u8> {
    assert_eq!(answer.header("content-encoding"), Some("gzip"));
    let mut bytes = Vec::new();
    let mut decoder = flate2::read::GzDecoder::new(&answer.body[..]);
    decoder.read_to_end(&mut bytes).expect("gzip");
    bytes
}

#[test]
fn documents_come_plain_or_packed_and_only_once() {
    with_workers(|workers| {
        let server = Server::start(&["--workers", workers]);
        for path in DOCUMENTS {
            let plain = get(&server, path, &[]);
            let packed = get(&server, path, &[("Accept-Encoding", "br, gzip")]);
            assert_eq!((plain.status, packed.status), (200, 200), "{path}");
            assert_eq!(plain.header("content-encoding"), None);
            assert_eq!(plain.header("vary"), Some("Accept-Encoding"));
            assert_eq!(unpacked(&packed), plain.body, "{path}");
            assert_eq!(plain.header("content-type"), packed.header("content-type"));
            let tag = packed.header("etag").expect("documents have tags");
            assert_ne!(plain.header("etag"), Some(tag));
            for known in [tag, "*", &format!("\"a\", W/{tag}")] {
                let headers = [("Accept-Encoding", "gzip"), ("If-None-Match", known)];
                let answer = get(&server, path, &headers);
                assert_eq!(answer.status, 304, "{path} {known}");
                assert_eq!(answer.header("etag"), Some(tag));
            }
            let other = get(&server, path, &[("If-None-Match", tag)]);
            assert_eq!(other.status, 200, "the tag of another coding");
            let head = Http::open(server.addr()).request("HEAD", path, &[], b"");
            let length = plain.body.len().to_string();
            assert_eq!(head.header("content-length"), Some(&*length), "{path}");
            let policy = plain.header("content-security-policy");
            assert_eq!(policy.is_some(), ["/docs", "/redoc"].contains(&path));
        }
        let answer = get(&server, "/docs/nothing.js", &[]);
        answer.assert_error(404, "NOT_FOUND");
        assert_eq!(
            get(&server, "/docs/?a=1", &[]).header("location"),
            Some("/docs?a=1")
        );
        let answer = Http::open(server.addr()).post("/docs", "{}");
        answer.assert_error(405, "METHOD_NOT_ALLOWED");
    });
}

#[test]
fn documents_are_for_everybody_unless_they_are_switched_off() {
    let name = ["--app-name", "Shop \"7\""];
    let server = Server::start(&[&TOKEN_FLAGS[..], &name].concat());
    let foreign = [("Origin", "http://elsewhere.example")];
    for path in DOCUMENTS {
        let answer = get(&server, path, &foreign);
        assert_eq!(answer.status, 200, "{path}");
        assert_eq!(answer.header("access-control-allow-origin"), None);
    }
    get(&server, "/api/v1/topics", &foreign).assert_error(403, "FORBIDDEN");
    let document = get(&server, "/openapi.json", &[]).json();
    assert_eq!(document["info"]["title"], name[1]);
    assert_eq!(document["info"]["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(document["openapi"], "3.1.0");
    assert_eq!(
        get(&server, "/asyncapi.json", &[]).json()["asyncapi"],
        "3.0.0"
    );
    let server = Server::start(&["--api-docs=off"]);
    for path in DOCUMENTS {
        // Not described where it is not there: so not by the way that looks.
        let mut http = Http::open(server.addr());
        let request = http.encode("GET", path, &[], b"");
        http.send(request);
        http.read_response().assert_error(404, "NOT_FOUND");
    }
}

#[test]
fn what_varies_by_origin_too_says_so_in_one_field() {
    let origin = "http://page.example";
    let server = Server::start(&["--allowed-origins", origin]);
    for headers in [&[("Origin", origin)][..], &[]] {
        let answer = get(&server, "/openapi.json", headers);
        assert_eq!(answer.header("vary"), Some("Accept-Encoding, Origin"));
    }
}

/// Many large documents are asked for in one go and not read: the server holds no copy of them, goes on
/// serving others, and all come whole and in order when they are read.
#[test]
fn who_does_not_read_holds_nobody_up() {
    with_workers(|workers| {
        let server = Server::start(&["--workers", workers]);
        let large = get(&server, "/docs/swagger-ui-bundle.js", &[]).body;
        let mut slow = Http::open(server.addr());
        let one = slow.encode("GET", "/docs/swagger-ui-bundle.js", &[], b"");
        let small = slow.encode("GET", "/docs/swagger-start.js", &[], b"");
        slow.send([one, small].concat().repeat(40));
        for number in 0..50 {
            let message = json!({"topic": "others", "payload": {"n": number}});
            Http::open(server.addr()).publish(&message);
        }
        for _ in 0..40 {
            assert!(slow.read_response().body == large);
            assert!(slow.read_response().text().contains("SwaggerUIBundle"));
        }
        let mut last = Http::open(server.addr());
        let headers = [("Connection", "close")];
        let answer = last.request("GET", "/docs/swagger-ui-bundle.js", &headers, b"");
        assert!(answer.body == large);
        last.expect_closed();
    });
}

#[test]
fn the_description_of_messages_is_valid_asyncapi() {
    let packed = include_bytes!("data/asyncapi-3.0.0.json.gz");
    let mut schema = String::new();
    let mut decoder = flate2::read::GzDecoder::new(&packed[..]);
    decoder.read_to_string(&mut schema).expect("gzip");
    let schema: Value = serde_json::from_str(&schema).expect("JSON");
    let validator = jsonschema::validator_for(&schema).expect("the schema is whole");
    let server = Server::start(&[]);
    let document = get(&server, "/asyncapi.json", &[]).json();
    let wrong: Vec<String> = validator
        .iter_errors(&document)
        .map(|it| it.to_string())
        .collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
    let nothing = json!({"asyncapi": "3.0.0", "info": {"title": "a"}});
    assert!(!validator.is_valid(&nothing), "the schema is looked at");
}

#[test]
fn the_page_authorizes_and_tries() {
    let server = Server::start(&TOKEN_FLAGS);
    let origin = format!("http://{}", server.addr());
    let mut page = Page::open();
    page.go(&format!("{origin}/docs"));
    page.wait("document.querySelectorAll('.opblock').length > 20");
    page.wait("document.title === 'Pulsar Proxy'");
    let publish = "#operations-publish-publish";
    page.click(&format!("{publish} .opblock-summary-control"));
    page.click(&format!("{publish} .execute"));
    page.wait(&status_is(publish, 401));
    page.click(".btn.authorize");
    page.wait("!!document.querySelector('.auth-container input')");
    let token = token(600, &json!({"permissions": ["read", "write"]}));
    page.evaluate(&format!(
        "(() => {{ const input = document.querySelector('.auth-container input');
           Object.getOwnPropertyDescriptor(HTMLInputElement.prototype, 'value').set.call(input, '{token}');
           input.dispatchEvent(new Event('input', {{ bubbles: true }})); }})()"
    ));
    page.click(".auth-btn-wrapper .authorize");
    page.click(".auth-btn-wrapper .btn-done");
    page.click(&format!("{publish} .execute"));
    page.wait(&status_is(publish, 201));
    stays_here(&page, &origin);
}

#[test]
fn the_page_to_read_shows_the_interface() {
    let server = Server::start(&[]);
    let origin = format!("http://{}", server.addr());
    let mut page = Page::open();
    page.go(&format!("{origin}/redoc"));
    page.wait("document.body.innerText.includes('/api/v1/messages/bulk')");
    page.wait("document.body.innerText.includes('Idempotency-Key')");
    page.wait("document.title === 'Pulsar Proxy'");
    stays_here(&page, &origin);
    assert_eq!(page.complaints(), Vec::<String>::new());
    Client::subscribed(server.addr(), &["others"]).assert_quiet();
}

fn status_is(operation: &str, status: u16) -> String {
    format!(
        "document.querySelector('{operation} .live-responses-table tbody .response-col_status')\
         ?.innerText.startsWith('{status}') ?? false"
    )
}

/// Texts that a page has made itself are no requests.
fn stays_here(page: &Page, origin: &str) {
    let inside = ["data:", "blob:", "about:", "chrome"];
    let outside = page.requested().iter().filter(|url| {
        !url.starts_with(origin) && !inside.iter().any(|scheme| url.starts_with(scheme))
    });
    let outside: Vec<&String> = outside.collect();
    assert!(outside.is_empty(), "asked elsewhere: {outside:?}");
    assert!(page.requested().len() >= 4);
}
