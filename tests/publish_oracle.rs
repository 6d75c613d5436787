//! Publish bodies are accepted and refused as FastAPI and pydantic do it, word for word.
//!
//! `tests/data/publish_oracle.jsonl` holds what those answered; `scripts/make-publish-oracle.py`
//! wrote it. The differences that are meant are in [`expected`].

use pulsar_proxy::api::publish::{Publication, ValidationErrors, parse_bulk, parse_one};
use serde_json::{Value, json};

/// Most entries of a 422 list.
const ENTRIES_MAX: usize = 100;

#[test]
fn answers_are_those_of_the_reference() {
    let cases = include_str!("data/publish_oracle.jsonl");
    let mut wrong = Vec::new();
    for line in cases.lines() {
        let case: Value = serde_json::from_str(line).unwrap();
        let body = body_of(&case);
        let answer = answer(&case, &body);
        if !expected(&case, &body, &answer) {
            wrong.push(format!("{line}\n   ours: {answer}"));
        }
    }
    assert!(
        wrong.is_empty(),
        "{}\n{} differ",
        wrong.join("\n"),
        wrong.len()
    );
}

fn body_of(case: &Value) -> Vec<u8> {
    if let Some(body) = case["body"].as_str() {
        return body.as_bytes().to_vec();
    }
    let hex = case["hex"].as_str().expect("a case has body or hex");
    (0..hex.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).expect("hex has hex digits"))
        .collect()
}

/// Our answer in the form of the fixture: `detail` or `messages`.
fn answer(case: &Value, body: &[u8]) -> Value {
    let content_type = match case.get("type") {
        None => Some("application/json"),
        Some(kind) => kind.as_str(),
    };
    let content_type = content_type.map(str::trim).map(str::as_bytes);
    let result = if case["bulk"] == true {
        parse_bulk(body, content_type)
    } else {
        parse_one(body, content_type).map(|publication| vec![publication])
    };
    match result {
        Ok(publications) => {
            json!({"messages": publications.iter().map(plain).collect::<Vec<_>>()})
        }
        Err(errors) => json!({"detail": detail(&errors)}),
    }
}

/// A list that `serde_json` cannot read (a lone surrogate was sent) is told as a string.
fn detail(errors: &ValidationErrors) -> Value {
    serde_json::from_slice(errors.detail())
        .unwrap_or_else(|_| String::from_utf8_lossy(errors.detail()).into())
}

fn plain(publication: &Publication<'_>) -> Value {
    let mut said = json!({"topic": publication.topic});
    if let Some(ttl) = publication.ttl {
        said["ttl"] = ttl.into();
    }
    if let Ok(payload) = serde_json::from_slice(&publication.payload) {
        said["payload"] = payload;
    }
    if let Some(metadata) = &publication.metadata {
        said["metadata"] = serde_json::from_slice(metadata).unwrap_or_default();
    }
    said
}

/// Whether our answer is as it should be.
///
/// Meant differences: `NaN` and the infinities, surrogates as UTF-8 and other encodings than UTF-8
/// are no JSON here. Where the reference answers 400 or 500 (malformed UTF-8, lone surrogates or
/// infinities in what it repeats, integers of more than 4300 digits) the tests beside the code say
/// what we do. A list of errors is cut at 100 entries.
fn expected(case: &Value, body: &[u8], ours: &Value) -> bool {
    if (case.get("hex").is_some() || says_not_a_number(body)) && is_json_invalid(ours) {
        return true;
    }
    match case["status"].as_u64() {
        Some(200) => same_messages(&case["messages"], &ours["messages"]),
        Some(422) => {
            let theirs = case["detail"].as_array().expect("422 has a list");
            let kept = &theirs[..theirs.len().min(ENTRIES_MAX)];
            same(&Value::from(kept.to_vec()), &ours["detail"])
        }
        Some(400 | 500) => true,
        _ => false,
    }
}

fn says_not_a_number(body: &[u8]) -> bool {
    let text = String::from_utf8_lossy(body);
    text.contains("NaN") || text.contains("Infinity")
}

fn is_json_invalid(ours: &Value) -> bool {
    ours["detail"][0]["type"] == "json_invalid"
}

/// A payload is compared where both sides could say it.
fn same_messages(theirs: &Value, ours: &Value) -> bool {
    let (Some(theirs), Some(ours)) = (theirs.as_array(), ours.as_array()) else {
        return false;
    };
    theirs.len() == ours.len()
        && theirs.iter().zip(ours).all(|(theirs, ours)| {
            let payloads = (theirs.get("payload"), ours.get("payload"));
            theirs["topic"] == ours["topic"]
                && theirs["ttl"] == ours["ttl"]
                && same(&theirs["metadata"], &ours["metadata"])
                && matches!(payloads, (Some(theirs), Some(ours)) if same(theirs, ours))
                    == payloads.0.is_some()
        })
}

/// Equal as JSON; numbers by their value, since they may be spelled in several ways.
fn same(left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::Number(left), Value::Number(right)) => left.as_f64() == right.as_f64(),
        (Value::Array(left), Value::Array(right)) => {
            left.len() == right.len() && left.iter().zip(right).all(|(l, r)| same(l, r))
        }
        (Value::Object(left), Value::Object(right)) => {
            left.len() == right.len()
                && left
                    .iter()
                    .all(|(key, value)| right.get(key).is_some_and(|other| same(value, other)))
        }
        _ => left == right,
    }
}
