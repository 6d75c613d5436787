//! Words of others on a terminal.

use std::borrow::Cow;

/// The text with its control characters (C0 but the tab, DEL, C1) escaped as JSON does: a terminal obeys them, and
/// a line break makes another line.
pub(crate) fn harmless(text: &str) -> Cow<'_, str> {
    let is_obeyed = |sign: char| sign.is_control() && sign != '\t';
    if !text.contains(is_obeyed) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for sign in text.chars() {
        if is_obeyed(sign) {
            shown.push_str(&format!("\\u{:04x}", u32::from(sign)));
        } else {
            shown.push(sign);
        }
    }
    Cow::Owned(shown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_commands_a_terminal() {
        assert_eq!(harmless("{\"a\":\t\"ü\"}"), "{\"a\":\t\"ü\"}");
        assert_eq!(harmless("a\u{9b}31m\u{7f}"), "a\\u009b31m\\u007f");
        assert_eq!(harmless("\u{1b}[2J\r\n"), "\\u001b[2J\\u000d\\u000a");
    }
}
