//! How far it is, on standard error, where a person waits there.

use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

use crate::client::harmless::harmless;

/// Nobody wonders before.
const QUIET: Duration = Duration::from_secs(1);
/// Time between two looks of a person.
const INTERVAL: Duration = Duration::from_millis(200);

/// Counts messages, and shows the count while it takes long.
#[derive(Debug)]
pub(super) struct Progress {
    is_quiet: bool,
    is_terminal: bool,
    start: Instant,
    shown: Option<Instant>,
    pub(super) published: u64,
    pub(super) refused: u64,
}

impl Progress {
    pub(super) fn start(is_quiet: bool) -> Progress {
        Progress {
            is_quiet,
            is_terminal: io::stderr().is_terminal() && !is_quiet,
            start: Instant::now(),
            shown: None,
            published: 0,
            refused: 0,
        }
    }

    pub(super) fn show(&mut self) {
        let since = self.shown.unwrap_or(self.start).elapsed();
        let pause = if self.shown.is_some() {
            INTERVAL
        } else {
            QUIET
        };
        if self.is_terminal && since >= pause {
            self.shown = Some(Instant::now());
            self.write(&format!("\r{}\x1b[K", self.sentence()));
        }
    }

    /// Says something on a line of its own.
    pub(super) fn tell(&self, sentence: &str) {
        let clear = if self.shown.is_some() { "\r\x1b[K" } else { "" };
        let sentence = harmless(sentence);
        self.write(&format!("{clear}pulsar-proxy: {sentence}\n"));
    }

    pub(super) fn finish(&self) {
        if !self.is_quiet {
            self.tell(&self.sentence());
        }
    }

    fn sentence(&self) -> String {
        let seconds = self.start.elapsed().as_secs_f64();
        let (published, refused) = (self.published, self.refused);
        let rate = published as f64 / seconds.max(0.001);
        let refused = if refused > 0 {
            format!(", {refused} refused")
        } else {
            String::new()
        };
        format!("{published} messages published{refused} in {seconds:.1} s ({rate:.0}/s)")
    }

    fn write(&self, text: &str) {
        // Whoever closed it does not want to know.
        let _ = io::stderr().write_all(text.as_bytes());
    }
}
