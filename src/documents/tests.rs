//! The documents and the code say the same.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use serde_json::Value;

use super::*;
use crate::api::route::{self, Offer, Routed};
use crate::http::Method;

const DESCRIPTION: Description<'_> = Description {
    title: "Pulsar Proxy",
    version: env!("CARGO_PKG_VERSION"),
    has_echo: false,
    asks_for_credentials: false,
    takes_query_tokens: false,
    guards_metrics: false,
};

/// The copies in `docs/`, which the black-box tests hold answers against; `UPDATE_API_DOCS=1` writes
/// them.
#[test]
fn the_copies_are_what_the_server_serves() {
    for (name, document) in [
        ("openapi.json", DESCRIPTION.openapi()),
        ("asyncapi.json", DESCRIPTION.asyncapi()),
    ] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("docs")
            .join(name);
        let text = serde_json::to_string_pretty(&document).unwrap() + "\n";
        if std::env::var_os("UPDATE_API_DOCS").is_some() {
            fs::write(&path, &text).unwrap();
        }
        let kept = fs::read_to_string(&path).unwrap_or_default();
        assert!(
            kept == text,
            "docs/{name} is old: UPDATE_API_DOCS=1 cargo test --lib documents"
        );
    }
}

#[test]
fn every_route_and_method_is_described_and_nothing_else() {
    let everything = Description {
        has_echo: true,
        ..DESCRIPTION
    };
    let document = everything.openapi();
    let offer = Offer {
        echo: true,
        documents: true,
    };
    let mut real = BTreeSet::new();
    for route in Route::ALL {
        for method in Method::NAMED {
            if route::find(route.pattern(), method, offer) == Routed::Found(route) {
                real.insert((route.pattern().to_owned(), method.label().to_lowercase()));
            }
        }
    }
    let mut described = BTreeSet::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        let methods = item.as_object().unwrap().keys();
        described.extend(methods.map(|method| (path.clone(), method.clone())));
    }
    assert_eq!(described, real);
    let echo = "/ws/echo";
    assert!(DESCRIPTION.openapi()["paths"].get(echo).is_none());
}

#[test]
fn operations_have_names_of_their_own() {
    let document = DESCRIPTION.openapi();
    let operations = document["paths"].as_object().unwrap().values();
    let ids: Vec<&str> = operations
        .flat_map(|item| item.as_object().unwrap().values())
        .map(|operation| operation["operationId"].as_str().unwrap())
        .collect();
    let distinct: BTreeSet<&str> = ids.iter().copied().collect();
    assert_eq!(distinct.len(), ids.len());
}

#[test]
fn references_lead_somewhere_and_components_are_used() {
    for document in [DESCRIPTION.openapi(), DESCRIPTION.asyncapi()] {
        let mut references = BTreeSet::new();
        gather(&document, &mut references);
        assert!(references.len() > 20);
        for reference in &references {
            let pointer = reference.strip_prefix('#').expect("all is in one document");
            assert!(document.pointer(pointer).is_some(), "{reference}");
        }
    }
}

#[test]
fn security_tells_what_this_server_asks_for() {
    let asked = |description: Description<'_>, path: &str, method: &str| {
        description.openapi()["paths"][path][method]["security"].to_string()
    };
    let guarded = Description {
        asks_for_credentials: true,
        takes_query_tokens: true,
        ..DESCRIPTION
    };
    let publish = "/api/v1/messages";
    assert_eq!(asked(DESCRIPTION, publish, "post"), r#"[{"bearer":[]},{}]"#);
    assert_eq!(
        asked(guarded, publish, "post"),
        r#"[{"bearer":[]},{"token":[]}]"#
    );
    let stream = asked(guarded, "/api/v1/stream", "get");
    assert_eq!(stream, r#"[{"bearer":[]},{"ticket":[]},{"token":[]}]"#);
    for path in ["/health", "/metrics", "/docs", "/openapi.json"] {
        assert_eq!(asked(guarded, path, "get"), "[]", "{path}");
    }
    let metrics = Description {
        guards_metrics: true,
        ..guarded
    };
    assert_ne!(asked(metrics, "/metrics", "get"), "[]");
}

/// What the pages load is there, and comes from here.
#[test]
fn pages_load_only_what_is_here() {
    let documents = Documents::new(&DESCRIPTION);
    let bytes = |route, path: &str| -> &'static str {
        let body = documents.at(route, path).unwrap();
        std::str::from_utf8(body.bytes(Coding::Identity)).unwrap()
    };
    for route in [Route::Docs, Route::Redoc] {
        let page = bytes(route, route.pattern());
        assert!(!page.contains("//"), "an address: {page}");
        let loaded = page.split(['"']).filter(|it| it.starts_with("docs/"));
        let loaded: Vec<&str> = loaded.collect();
        assert!(loaded.len() >= 2, "{page}");
        for file in loaded {
            assert!(!bytes(Route::DocsFile, &format!("/{file}")).is_empty());
        }
    }
    assert!(documents.at(Route::DocsFile, "/docs/nothing").is_none());
    assert!(documents.at(Route::Health, "/health").is_none());
    let redoc = bytes(Route::DocsFile, "/docs/redoc.standalone.js");
    assert!(!redoc.contains("cdn.redoc.ly"), "its logo is elsewhere");
}

fn gather<'v>(value: &'v Value, references: &mut BTreeSet<&'v str>) {
    match value {
        Value::Object(members) => {
            references.extend(members.get("$ref").and_then(Value::as_str));
            members.values().for_each(|it| gather(it, references));
        }
        Value::Array(items) => items.iter().for_each(|it| gather(it, references)),
        _ => {}
    }
}
