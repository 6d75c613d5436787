//! What a page in a browser may do, by where it is from: one that is listed, and one that is not, each with a
//! stolen key and without, at a server that asks for one and at one on loopback that does not.

use serde_json::Value;
use sha2::{Digest, Sha256};
use test_util::Server;
use test_util::browser::{Browser, Reports, listen};

const PAGE: &str = include_str!("data/origins.html");
const KEY: &str = "0123456789abcdef-a-key-for-pages";

/// What a page that is listed, and one that is not, report of their tries.
fn tried(flags: &[&str]) -> (Server, Reports) {
    let (listed, listed_at) = listen();
    let (other, other_at) = listen();
    let allowed = format!("http://listed.example:{}", listed_at.port());
    let server = Server::start(&[flags, &["--allowed-origins", &allowed]].concat());
    let page = |from| {
        let page = PAGE.replace("{{FROM}}", from).replace("{{KEY}}", KEY);
        page.replace("{{SERVER}}", &server.addr().to_string())
    };
    let mut reports = Reports::of_pages([(listed, page("listed")), (other, page("other"))]);
    let pages = [
        ("listed", allowed),
        ("other", format!("http://other.example:{}", other_at.port())),
    ];
    for (from, origin) in pages {
        let _browser = Browser::open(&format!("{origin}/"));
        reports.wait(from, |it| it["from"] == from && it["what"] == "all");
    }
    (server, reports)
}

fn seen(reports: &mut Reports, from: &str, what: &str) -> Value {
    let all = reports.of(from);
    let seen = all.iter().find(|it| it["what"] == what);
    (*seen.unwrap_or_else(|| panic!("{what} is not in {all:?}"))).clone()
}

fn assert_refused(reports: &mut Reports, from: &str, tries: &[&str]) {
    for what in tries {
        let seen = seen(reports, from, what);
        assert!(seen["refused"].is_string(), "{seen}");
    }
}

const TRIES: [&str; 7] = [
    "topics",
    "topics without a key",
    "publish",
    "delete",
    "socket",
    "socket without a key",
    "source without a key",
];

#[test]
fn with_credentials_a_listed_page_needs_one_and_another_gets_nothing() {
    let hash: String = Sha256::digest(KEY.as_bytes())
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let keys = format!("page:read+write:sha256:{hash}");
    let (server, mut reports) = tried(&[
        "--api-keys",
        &keys,
        "--rate-limit-per-client",
        "100",
        "--workers",
        "4",
    ]);
    let reports = &mut reports;

    let topics = seen(reports, "listed", "topics");
    assert_eq!(topics["status"], 200, "{topics}");
    assert!(
        topics["left"].is_string() && topics["id"].is_string(),
        "the page may read them: {topics}"
    );
    let without = seen(reports, "listed", "topics without a key");
    assert_eq!(
        (&without["status"], &without["error"]),
        (&401.into(), &"UNAUTHORIZED".into())
    );
    assert_eq!(seen(reports, "listed", "publish")["status"], 201);
    let delete = seen(reports, "listed", "delete");
    assert_eq!(
        (&delete["status"], &delete["error"]),
        (&403.into(), &"FORBIDDEN".into())
    );
    let socket = seen(reports, "listed", "socket");
    assert_eq!(
        (&socket["type"], &socket["protocol"]),
        (&"subscribed".into(), &"bearer".into())
    );
    assert_refused(
        reports,
        "listed",
        &["socket without a key", "source without a key"],
    );

    assert_refused(reports, "other", &TRIES);
    assert_eq!(
        server.metric("proxy_messages_received_total", &[]),
        1.0,
        "nothing came in blindly"
    );
    assert!(!server.log().contains(KEY) && !server.metrics().contains(KEY));
}

#[test]
fn without_credentials_a_page_that_is_not_listed_gets_nothing() {
    let (server, mut reports) = tried(&["--workers", "1"]);
    let reports = &mut reports;
    for what in ["topics", "topics without a key", "publish"] {
        let status = seen(reports, "listed", what)["status"].as_u64();
        assert!(matches!(status, Some(200 | 201)), "{what}: {status:?}");
    }
    for what in ["socket", "socket without a key"] {
        assert_eq!(
            seen(reports, "listed", what)["type"],
            "subscribed",
            "{what}"
        );
    }
    assert_eq!(
        seen(reports, "listed", "source without a key")["subscribed"],
        true
    );

    assert_refused(reports, "other", &TRIES);
    // The listed page's two: a body without a type is JSON too.
    let received = server.metric("proxy_messages_received_total", &[]);
    assert!((1.0..=2.0).contains(&received), "{received}");
    let blindly = seen(reports, "other", "publish blindly");
    assert_eq!(blindly["status"], 0, "it was sent, and refused: {blindly}");
    let topic = server.get("/api/v1/topics/from-pages/messages").json();
    assert!(!topic.to_string().contains("other"), "{topic}");
}
