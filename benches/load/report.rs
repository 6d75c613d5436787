//! Figures in words and as a table, beside what a prototype of the design took.

use std::process::Command;

use pulsar_proxy::bench::histogram::Histogram;
use pulsar_proxy::bench::process::Spent;
use pulsar_proxy::bench::workload::Round;
use pulsar_proxy::bench::{Machine, now};

/// What the bare floor took in the prototype's runs, in µs per request.
const PROTOTYPE_FLOOR: f64 = 5.6;
/// How much more than the prototype, scaled by the floor, is accepted.
const TOLERANCE: f64 = 1.5;

/// A kind of operation and what the prototype took for it.
pub(crate) struct Measure {
    pub(crate) name: &'static str,
    pub(crate) unit: &'static str,
    prototype: Option<f64>,
    /// A limit that does not depend on the machine's speed.
    absolute: Option<f64>,
}

const fn scaled(name: &'static str, unit: &'static str, prototype: f64) -> Measure {
    Measure {
        name,
        unit,
        prototype: Some(prototype),
        absolute: None,
    }
}

const fn plain(name: &'static str, unit: &'static str) -> Measure {
    Measure {
        name,
        unit,
        prototype: None,
        absolute: None,
    }
}

pub(crate) const PUBLISH: Measure = scaled("publish", "µs/publish", 6.5);
pub(crate) const FANOUT: Measure = scaled("fan-out, saturated", "µs/delivery", 0.16);
pub(crate) const ONE_AT_A_TIME: Measure =
    scaled("fan-out, one message at a time", "µs/delivery", 5.3);
pub(crate) const PAIRS: Measure =
    scaled("one topic per subscriber", "µs/publish and delivery", 14.0);
pub(crate) const BULK: Measure = scaled("bulk", "µs/message", 0.5);
pub(crate) const IDLE: Measure = Measure {
    name: "idle WebSocket",
    unit: "bytes/connection",
    prototype: Some(330.0),
    absolute: Some(475.0),
};
pub(crate) const FLOOR: Measure = Measure {
    name: "bare floor",
    unit: "µs/request",
    prototype: Some(5.6),
    absolute: None,
};
pub(crate) const FLOOR_FANOUT: Measure = plain("bare writev", "µs/write");
pub(crate) const WAITING_POLL: Measure = plain("waiting poll", "bytes/poll");
pub(crate) const WAITING_POLL_TOPIC: Measure = plain("waiting poll, topic each", "bytes/poll");
pub(crate) const POLL_ANSWER: Measure = plain("answers to waiting polls", "µs/answer");
pub(crate) const POLL_ANSWER_TOPIC: Measure = plain(
    "answers to waiting polls, topic each",
    "µs/publish and answer",
);
pub(crate) const REPLAY: Measure = plain("replay, WebSocket", "µs/message");
pub(crate) const REPLAY_EVENTS: Measure = plain("replay, SSE", "µs/message");
pub(crate) const REPLAY_LINES: Measure = plain("replay, NDJSON", "µs/message");
pub(crate) const REPLAY_ACKS: Measure = plain("replay, at least once", "µs/message");
pub(crate) const REPLAY_POLLS: Measure = plain("replay, polls of 100", "µs/message");
pub(crate) const STREAM: Measure = plain("SSE fan-out, saturated", "µs/delivery");
pub(crate) const STREAM_ONE_AT_A_TIME: Measure =
    plain("SSE fan-out, one message at a time", "µs/delivery");
pub(crate) const AT_MOST_ONCE: Measure = plain("one consumer, at most once", "µs/message");
pub(crate) const ACK_EACH: Measure = plain("one consumer, acking each", "µs/message");
pub(crate) const ACK_CUMULATIVE: Measure = plain("one consumer, acking every 100", "µs/message");

/// One measured figure.
pub(crate) struct Figure {
    pub(crate) measure: Measure,
    pub(crate) value: f64,
    /// Part of the CPU time in user mode; None where no time was measured.
    pub(crate) user_share: Option<f64>,
    /// Operations a second.
    pub(crate) rate: Option<f64>,
    pub(crate) latency: Option<Histogram>,
    /// µs per request of the bare floor, measured beside it.
    pub(crate) floor: Option<f64>,
    /// Anything else worth saying.
    pub(crate) note: String,
}

impl Figure {
    /// A bare value.
    pub(crate) fn of(measure: Measure, value: f64) -> Self {
        Self {
            measure,
            value,
            user_share: None,
            rate: None,
            latency: None,
            floor: None,
            note: String::new(),
        }
    }

    /// CPU time per operation, of `operations` in one round.
    pub(crate) fn cpu(measure: Measure, operations: u64, spent: Spent, round: Round) -> Self {
        let latency = if round.deliveries.is_empty() {
            round.answers
        } else {
            round.deliveries
        };
        Self {
            user_share: Some(spent.user_share),
            rate: Some(operations as f64 / round.elapsed.as_secs_f64()),
            latency: Some(latency),
            ..Self::of(measure, spent.micros_per(operations))
        }
    }

    /// The largest value that is accepted, where there is one.
    fn limit(&self) -> Option<f64> {
        if self.measure.absolute.is_some() {
            return self.measure.absolute;
        }
        Some(TOLERANCE * self.measure.prototype? * self.floor? / PROTOTYPE_FLOOR)
    }

    /// Whether it is within its limit; a figure without a limit always is.
    pub(crate) fn passes(&self) -> bool {
        self.limit().is_none_or(|limit| self.value <= limit)
    }

    fn verdict(&self) -> &'static str {
        match (self.limit(), self.passes()) {
            (None, _) => "",
            (_, true) => "pass",
            (_, false) => "FAIL",
        }
    }

    fn row(&self) -> String {
        let number = |value: Option<f64>| value.map_or(String::new(), digits);
        let Measure {
            name,
            unit,
            prototype,
            ..
        } = &self.measure;
        let split = self.user_share.map_or(String::new(), |user| {
            format!(
                "{} + {}",
                digits(self.value * user),
                digits(self.value * (1.0 - user))
            )
        });
        let rate = self.rate.map_or(String::new(), |rate| format!("{rate:.0}"));
        let ratio = self.floor.map(|floor| self.value / floor);
        format!(
            "| {name} | {} {unit} | {split} | {rate} | {} | {} | {} | {} | {} |",
            digits(self.value),
            number(self.floor),
            number(ratio),
            number(*prototype),
            number(self.limit()),
            self.verdict(),
        )
    }
}

impl std::fmt::Display for Figure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{}: {} {}",
            self.measure.name,
            digits(self.value),
            self.measure.unit
        )?;
        if let Some(user) = self.user_share {
            write!(f, " ({:.0} % user)", user * 100.0)?;
        }
        if let Some(rate) = self.rate {
            write!(f, ", {rate:.0}/s")?;
        }
        if let Some(floor) = self.floor {
            write!(f, ", floor {}", digits(floor))?;
        }
        if let Some(limit) = self.limit() {
            write!(f, ", limit {} {}", digits(limit), self.verdict())?;
        }
        if let Some(latency) = &self.latency {
            write!(f, "\n  {latency}")?;
        }
        if !self.note.is_empty() {
            write!(f, "\n  {}", self.note)?;
        }
        Ok(())
    }
}

/// The table of a whole run, to be kept in docs/PERFORMANCE.md.
pub(crate) fn table(figures: &[Figure]) -> String {
    let machine = Machine::detect();
    let mut text = format!(
        "{}, commit {}, {} cores ({}), Linux {}: `{}`\n\n",
        now(),
        output_of("git", &["describe", "--always", "--dirty"]),
        machine.cores,
        machine.cpu,
        machine.kernel,
        command_line(),
    );
    text += "| load | server CPU or memory | user + kernel | per second | floor | ratio to floor \
             | prototype | limit | |\n|---|---|---|---|---|---|---|---|---|\n";
    for figure in figures {
        text += &figure.row();
        text.push('\n');
    }
    text
}

/// Three significant digits are more than these measurements repeat.
fn digits(value: f64) -> String {
    match value {
        value if value >= 100.0 => format!("{value:.0}"),
        value if value >= 10.0 => format!("{value:.1}"),
        value if value >= 1.0 => format!("{value:.2}"),
        value => format!("{value:.3}"),
    }
}

fn output_of(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    text.ok()
        .filter(|text| !text.is_empty())
        .unwrap_or_else(|| "unknown".to_owned())
}

fn command_line() -> String {
    let arguments: Vec<_> = std::env::args()
        .skip(1)
        .filter(|word| word != "--bench")
        .collect();
    format!("cargo bench --bench load -- {}", arguments.join(" "))
}
