//! Access tokens, as somebody else would sign them.

use std::time::{SystemTime, UNIX_EPOCH};

use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Value, json};

/// The secret of the tokens.
pub const SECRET: &str = "a secret for tests: 0123456789abcdef";

/// The flags of a server that takes them.
pub const TOKEN_FLAGS: [&str; 2] = ["--jwt-secret-key", SECRET];

/// Seconds of Unix time.
///
/// # Panics
///
/// Before 1970.
pub fn now_unix() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.expect("a time after 1970").as_secs()
}

/// A token of `ann`, who may read and write, for so many seconds; with these claims in place of those.
///
/// # Panics
///
/// When `more` is no object.
pub fn token(seconds: u64, more: &Value) -> String {
    let mut claims =
        json!({"sub": "ann", "exp": now_unix() + seconds, "permissions": ["read", "write"]});
    for (name, value) in more.as_object().expect("claims") {
        claims[name] = value.clone();
    }
    let key = EncodingKey::from_secret(SECRET.as_bytes());
    encode(&Header::new(Algorithm::HS256), &claims, &key).expect("it is signed")
}
