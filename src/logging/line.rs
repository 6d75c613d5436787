//! One event as one line, in text or in JSON. Whatever a value holds, the line stays one: control and
//! other line-breaking characters are escaped, and long values are cut.

use std::fmt::{Debug, Write};
use std::time::SystemTime;

use tracing::field::{Field, Visit};

use super::CRITICAL_FIELD;
use crate::config::LogLevel;

/// Bytes of one value that are shown. Values may come from clients.
const VALUE_BYTES_MAX: usize = 4 << 10;

/// The form of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    Text,
    Json,
}

/// A line in the making.
///
/// ```text
/// text   2026-01-31T12:00:00.123456Z INFO     started port=8080 (pulsar_proxy::server)
/// JSON   {"timestamp":"…","level":"INFO","message":"started","target":"…","port":8080}
/// ```
pub(super) struct Line {
    format: Format,
    /// Time and level, in the form of the line.
    head: String,
    message: String,
    /// The other fields, in the form of the line, each with what separates it from the one before.
    fields: String,
}

impl Line {
    pub(super) fn new(format: Format, now: SystemTime, level: LogLevel) -> Line {
        let (time, level) = (humantime::format_rfc3339_micros(now), level.name());
        let head = match format {
            Format::Text => format!("{time} {level:<8} "),
            Format::Json => {
                format!("{{\"timestamp\":\"{time}\",\"level\":\"{level}\",\"message\":")
            }
        };
        Line {
            format,
            head,
            message: String::new(),
            fields: String::new(),
        }
    }

    pub(super) fn set_message(&mut self, message: &str) {
        message.clone_into(&mut self.message);
    }

    /// The whole line with its line feed.
    pub(super) fn finish(self, target: &str) -> String {
        let Line {
            format,
            head: mut line,
            message,
            fields,
        } = self;
        match format {
            Format::Text => {
                push_escaped(&mut line, &message, format);
                line.push_str(&fields);
                line.push_str(" (");
                line.push_str(target);
                line.push_str(")\n");
            }
            Format::Json => {
                push_quoted(&mut line, &message, format);
                line.push_str(",\"target\":");
                push_quoted(&mut line, target, format);
                line.push_str(&fields);
                line.push_str("}\n");
            }
        }
        line
    }

    /// A value that looks the same in text and JSON: a number or a truth value.
    fn bare(&mut self, field: &Field, value: &dyn std::fmt::Display) {
        if self.name(field) {
            write!(self.fields, "{value}").expect("a String takes everything");
        }
    }

    fn text(&mut self, field: &Field, value: &str) {
        if field.name() == "message" {
            self.set_message(value);
        } else if self.name(field) {
            let plain = |c: char| c.is_ascii_graphic() && !matches!(c, '"' | '=' | '\\');
            if self.format == Format::Text && !value.is_empty() && value.chars().all(plain) {
                push_escaped(&mut self.fields, value, self.format);
            } else {
                push_quoted(&mut self.fields, value, self.format);
            }
        }
    }

    /// Begins a field; false for the mark of critical events, which the level shows already.
    fn name(&mut self, field: &Field) -> bool {
        let name = field.name();
        if name == CRITICAL_FIELD {
            return false;
        }
        let own = ["timestamp", "level", "target"].contains(&name);
        let mark = if own { "_" } else { "" };
        match self.format {
            Format::Text => write!(self.fields, " {name}{mark}="),
            Format::Json => write!(self.fields, ",\"{name}{mark}\":"),
        }
        .expect("a String takes everything");
        true
    }
}

impl Visit for Line {
    fn record_f64(&mut self, field: &Field, value: f64) {
        // JSON has no word for the others.
        if value.is_finite() {
            self.bare(field, &value);
        } else {
            self.text(field, &value.to_string());
        }
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.bare(field, &value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.bare(field, &value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.bare(field, &value);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.text(field, value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.text(field, &format!("{value:?}"));
    }
}

fn push_quoted(line: &mut String, text: &str, format: Format) {
    line.push('"');
    push_escaped(line, text, format);
    line.push('"');
}

/// Appends at most [`VALUE_BYTES_MAX`] bytes of the text, without anything that ends a line, drives a
/// terminal or turns the direction of writing.
fn push_escaped(line: &mut String, text: &str, format: Format) {
    let end = text.floor_char_boundary(VALUE_BYTES_MAX);
    for c in text[..end].chars() {
        match c {
            '\n' => line.push_str("\\n"),
            '"' | '\\' if format == Format::Json => line.extend(['\\', c]),
            _ if c.is_control() || is_layout(c) => {
                write!(line, "\\u{:04x}", u32::from(c)).expect("a String takes everything");
            }
            _ => line.push(c),
        }
    }
    if end < text.len() {
        line.push('…');
    }
}

/// Line and paragraph separators, and marks of direction; all of them have four hexadecimal digits.
fn is_layout(c: char) -> bool {
    matches!(c, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200e}' | '\u{200f}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn line(format: Format, message: &str) -> String {
        let now = SystemTime::UNIX_EPOCH + Duration::from_micros(1_769_860_800_123_456);
        let mut line = Line::new(format, now, LogLevel::Info);
        line.set_message(message);
        line.finish("here")
    }

    #[test]
    fn a_line_has_time_level_message_and_target() {
        assert_eq!(
            line(Format::Text, "started"),
            "2026-01-31T12:00:00.123456Z INFO     started (here)\n"
        );
        assert_eq!(
            line(Format::Json, "started"),
            "{\"timestamp\":\"2026-01-31T12:00:00.123456Z\",\"level\":\"INFO\",\
             \"message\":\"started\",\"target\":\"here\"}\n"
        );
    }

    #[test]
    fn long_values_are_cut_between_characters() {
        let long = "ä".repeat(VALUE_BYTES_MAX);
        for format in [Format::Text, Format::Json] {
            let line = line(format, &long);
            assert!(line.len() < VALUE_BYTES_MAX + 200);
            assert!(line.contains("ä…"));
        }
    }

    #[test]
    fn characters_that_move_the_line_are_escaped() {
        let text = line(Format::Text, "a\nb\rc\u{1b}\u{7f}\u{9b}\u{2029}\u{202e}d");
        assert!(
            text.contains("a\\nb\\u000dc\\u001b\\u007f\\u009b\\u2029\\u202ed"),
            "{text}"
        );
    }
}
