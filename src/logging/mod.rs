//! The log: one line per event to stderr, as text or as JSON.
//!
//! Events come from the macros of `tracing`. A field `critical` makes an event one of level CRITICAL,
//! above ERROR: `tracing::error!(critical = true, "…")`. Payloads and credentials are never logged, and no
//! event stands for a single message. Spans are not used.

mod line;
mod writer;

use std::io::IsTerminal;
use std::time::SystemTime;

use tracing::field::Visit;
use tracing::subscriber::Interest;
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::{Context, SubscriberExt};

use crate::config::{LogFormat, LogLevel};
use line::{Format, Line};
pub use writer::Flush;

/// Sends every event of at least `level` to stderr from now on. The lines are written by a thread of
/// their own, so that a reader of stderr that is stuck never holds up the caller; what is dropped then is
/// counted and told. Dropping the returned value writes what waits, for at most two seconds.
///
/// # Errors
///
/// The thread cannot be started.
///
/// # Panics
///
/// A log was started before in this process.
pub fn start(level: LogLevel, format: LogFormat) -> std::io::Result<Flush> {
    let terminal = std::io::stderr().is_terminal();
    let format = match format {
        LogFormat::Text => Format::Text,
        LogFormat::Auto if terminal => Format::Text,
        LogFormat::Auto | LogFormat::Json => Format::Json,
    };
    let (lines, flush) = writer::start(std::io::stderr(), format)?;
    let log = Log {
        level,
        format,
        lines,
    };
    tracing::subscriber::set_global_default(tracing_subscriber::registry().with(log))
        .expect("the log is started once, by main");
    Ok(flush)
}

/// The field that makes an error critical. Its presence is known when the call site is registered, so
/// that filtering costs nothing per event.
const CRITICAL_FIELD: &str = "critical";

struct Log {
    level: LogLevel,
    format: Format,
    lines: writer::Lines,
}

impl<S: Subscriber> Layer<S> for Log {
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        if level_of(metadata) >= self.level {
            Interest::always()
        } else {
            Interest::never()
        }
    }

    fn enabled(&self, metadata: &Metadata<'_>, _: Context<'_, S>) -> bool {
        level_of(metadata) >= self.level
    }

    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let metadata = event.metadata();
        let mut line = Line::new(self.format, SystemTime::now(), level_of(metadata));
        event.record(&mut line as &mut dyn Visit);
        self.lines.send(line.finish(metadata.target()));
    }
}

fn level_of(metadata: &Metadata<'_>) -> LogLevel {
    match *metadata.level() {
        Level::ERROR if metadata.fields().field(CRITICAL_FIELD).is_some() => LogLevel::Critical,
        Level::ERROR => LogLevel::Error,
        Level::WARN => LogLevel::Warning,
        Level::INFO => LogLevel::Info,
        _ => LogLevel::Debug,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::sync::{Arc, Mutex};

    /// What a log wrote.
    #[derive(Clone, Default)]
    struct Sink(Arc<Mutex<Vec<u8>>>);

    impl Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn logged(level: LogLevel, format: Format, events: impl FnOnce()) -> Vec<String> {
        let sink = Sink::default();
        let (lines, flush) = writer::start(sink.clone(), format).unwrap();
        let log = Log {
            level,
            format,
            lines,
        };
        tracing::subscriber::with_default(tracing_subscriber::registry().with(log), events);
        drop(flush);
        let text = String::from_utf8(sink.0.lock().unwrap().clone()).unwrap();
        text.lines().map(str::to_owned).collect()
    }

    fn every_level() {
        tracing::trace!("0");
        tracing::debug!("1");
        tracing::info!("2");
        tracing::warn!("3");
        tracing::error!("4");
        tracing::error!(critical = true, "5");
    }

    #[test]
    fn levels_filter_from_the_least_on() {
        for (index, level) in LogLevel::ALL.into_iter().enumerate() {
            let lines = logged(level, Format::Text, every_level);
            // DEBUG takes in what the macros call trace.
            let expected = if level == LogLevel::Debug {
                6
            } else {
                5 - index
            };
            assert_eq!(lines.len(), expected, "{}: {lines:?}", level.name());
            assert!(lines.last().unwrap().contains("CRITICAL 5"), "{lines:?}");
        }
    }

    #[test]
    fn json_lines_are_objects_with_flat_fields() {
        let lines = logged(LogLevel::Info, Format::Json, || {
            let error = std::io::Error::other("broken");
            tracing::warn!(count = 3, ratio = 0.5, on = true, %error, name = "a\"\n", "took {}", 2);
        });
        assert_eq!(lines.len(), 1);
        let value: serde_json::Value = serde_json::from_str(&lines[0]).unwrap();
        assert_eq!(value["level"], "WARNING");
        assert_eq!(value["message"], "took 2");
        assert_eq!(value["count"], 3);
        assert_eq!(value["ratio"], 0.5);
        assert_eq!(value["on"], true);
        assert_eq!(value["error"], "broken");
        assert_eq!(value["name"], "a\"\n");
        assert!(value["target"].as_str().unwrap().contains("logging"));
        assert_eq!(
            value["timestamp"].as_str().unwrap().len(),
            "2026-01-31T12:00:00.123456Z".len()
        );
    }

    #[test]
    fn values_cannot_begin_a_line() {
        let evil = "x\n2026-01-31T12:00:00Z CRITICAL forged\r\u{1b}[2J\u{85}\u{2028}";
        for format in [Format::Text, Format::Json] {
            let lines = logged(LogLevel::Info, format, || tracing::info!(evil, "{evil}"));
            assert_eq!(lines.len(), 1);
            let odd = |c: char| c.is_control() || c == '\u{2028}';
            assert!(!lines[0].chars().any(odd), "{lines:?}");
        }
    }
}
