//! Writing JSON by hand.

/// Appends `text` as a JSON string with its quotes, not ASCII-escaped.
pub(super) fn append_string(out: &mut Vec<u8>, text: &str) {
    serde_json::to_writer(out, text).expect("writing a string to a Vec cannot fail");
}
