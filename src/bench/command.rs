//! `pulsar-proxy bench` from the order to the last line: signals, progress on a terminal, the result.

use std::io::{self, IsTerminal, Write};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use super::order::{Order, Output, Place, Scenario};
use super::report::Report;
use super::watch::{Progress, Watch};
use super::{markdown, runs, signals, text};
use crate::client::{Failure, FailureKind};

/// Measures, prints the result on stdout, and says whether everything ran without a fault. The first signal ends
/// the measurement with what it has, the second one the process.
///
/// # Errors
/// When the named server cannot be reached, signals cannot be had, or stdout is closed.
pub fn run(order: &Order) -> Result<bool, Failure> {
    if let Place::Running(running) = &order.place {
        let unreachable = |error| Failure::new(FailureKind::Unreachable, error);
        if let Some(warning) = running.warning {
            // Who closed stderr does not want to know.
            let _ = writeln!(io::stderr(), "pulsar-proxy: {warning}");
        }
        runs::reach(running).map_err(unreachable)?;
    }
    let failed = |error: io::Error| Failure::new(FailureKind::Failed, error);
    let stop = Arc::new(AtomicBool::new(false));
    signals::listen(Arc::clone(&stop)).map_err(failed)?;
    let mut line = Line::new(order);
    let report = runs::carry_out(
        order,
        &mut Watch::new(&stop, &mut |progress| line.show(progress)),
    );
    line.clear();
    let rendered = render(&report, order.output);
    writeln!(io::stdout(), "{}", rendered.trim_end()).map_err(failed)?;
    Ok(report.passed)
}

fn render(report: &Report, output: Output) -> String {
    match output {
        Output::Text => text::render(report),
        Output::Json => serde_json::to_string_pretty(report)
            .expect("every key is a text and every number finite or null"),
        Output::Markdown => markdown::render(report),
    }
}

/// The line that says where the measurement is.
struct Line {
    is_terminal: bool,
    scenario: Scenario,
    /// The load that runs, from one, and how many there are.
    number: usize,
    of: usize,
    duration: Duration,
}

impl Line {
    fn new(order: &Order) -> Self {
        let is_terminal = io::stderr().is_terminal();
        if is_terminal && matches!(order.place, Place::Own(_)) {
            let words = "no --url: measuring a server that is started for it and knows none of your settings";
            // Who closed stderr does not want to know.
            let _ = writeln!(io::stderr(), "{words}");
        }
        Self {
            is_terminal,
            scenario: Scenario::Publish,
            number: 0,
            of: order.loads.len(),
            duration: order.duration,
        }
    }

    fn show(&mut self, progress: Progress) {
        let what = match progress {
            Progress::Beginning(scenario) => {
                self.scenario = scenario;
                self.number += 1;
                "starting".to_owned()
            }
            Progress::Opening { done, of } => format!("opening connections: {done} of {of}"),
            Progress::Running {
                elapsed,
                published,
                delivered,
            } => {
                let seconds = elapsed.as_secs_f64();
                let (operations, what) = match delivered {
                    0 => (published, "publishes"),
                    _ => (delivered, "deliveries"),
                };
                let rate = text::grouped(operations as f64 / seconds.max(0.001));
                let of = self.duration.as_secs_f64();
                format!("{seconds:.1} of {of:.1} s, {rate} {what} a second")
            }
            Progress::Settling { missing } => format!("waiting for {missing} more"),
        };
        if self.is_terminal {
            let (number, of, name) = (self.number, self.of, self.scenario.name());
            // Who closed stderr does not want to know.
            let _ = write!(io::stderr(), "\r\x1b[K[{number}/{of}] {name}: {what}");
        }
    }

    fn clear(&self) {
        if self.is_terminal {
            // Who closed stderr does not want to know.
            let _ = write!(io::stderr(), "\r\x1b[K");
        }
    }
}
