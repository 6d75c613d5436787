//! Writing JSON by hand.

use crate::topic::MessageId;

/// Appends `text` as a JSON string with its quotes, not ASCII-escaped.
pub(super) fn append_string(out: &mut Vec<u8>, text: &str) {
    serde_json::to_writer(out, text).expect("writing a string to a Vec cannot fail");
}

/// Appends a number.
pub(super) fn append_number(out: &mut Vec<u8>, number: u64) {
    serde_json::to_writer(out, &number).expect("writing a number to a Vec cannot fail");
}

/// Appends a message id as a string; its characters need no escapes.
pub(super) fn append_id(out: &mut Vec<u8>, id: &MessageId) {
    out.push(b'"');
    out.extend_from_slice(&id.encode());
    out.push(b'"');
}

/// Appends a list of strings.
pub(super) fn append_strings<'s>(out: &mut Vec<u8>, texts: impl IntoIterator<Item = &'s str>) {
    out.push(b'[');
    append_joined(out, texts, append_string);
    out.push(b']');
}

/// Appends each item with a comma between.
pub(super) fn append_joined<T>(
    out: &mut Vec<u8>,
    items: impl IntoIterator<Item = T>,
    mut append: impl FnMut(&mut Vec<u8>, T),
) {
    for (index, item) in items.into_iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        append(out, item);
    }
}
