//! Every credential that the tests of a process show to servers: none may be found in a log or a metric.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

/// Shorter ones may stand in a log by chance.
const LENGTH_MIN: usize = 6;

/// Where credentials stand in what clients send.
const MARKS: [&str; 5] = ["Bearer ", "bearer.", "?token=", "&token=", "ticket="];
/// The settings that hold secrets.
const SETTINGS: [&str; 4] = [
    "--jwt-secret-key",
    "--valkey-password",
    "JWT_SECRET_KEY",
    "VALKEY_PASSWORD",
];

static SHOWN: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

/// Remembers the credentials in what is sent.
pub fn note_sent(bytes: &[u8]) {
    let end = bytes.windows(4).position(|it| it == b"\r\n\r\n");
    let Ok(head) = std::str::from_utf8(&bytes[..end.unwrap_or(0)]) else {
        return;
    };
    for mark in MARKS {
        for (at, _) in head.match_indices(mark) {
            let behind = &head[at + mark.len()..];
            let end = behind.find(|it: char| it.is_whitespace() || "&,".contains(it));
            note(&behind[..end.unwrap_or(behind.len())]);
        }
    }
}

/// Remembers the secrets in settings: names and values.
pub fn note_settings<'s>(settings: impl IntoIterator<Item = (&'s str, &'s str)>) {
    for (name, value) in settings {
        if SETTINGS.contains(&name.trim_start_matches("PULSAR_")) {
            note(value);
        }
    }
}

/// # Panics
///
/// When the text has one of the credentials that were shown until now, or the signature of a token.
pub fn assert_absent(text: &str, what: &str) {
    let shown = SHOWN.lock().unwrap_or_else(PoisonError::into_inner);
    for secret in shown.iter() {
        assert!(!text.contains(&**secret), "{what} tells {secret}:\n{text}");
    }
}

/// Whether any were shown.
pub fn are_shown() -> bool {
    let shown = SHOWN.lock().unwrap_or_else(PoisonError::into_inner);
    !shown.is_empty()
}

fn note(secret: &str) {
    let signature = secret.rsplit('.').next().unwrap_or(secret);
    let mut shown = SHOWN.lock().unwrap_or_else(PoisonError::into_inner);
    for text in [secret, signature] {
        if text.len() >= LENGTH_MIN {
            shown.insert(text.to_owned());
        }
    }
}
