//! The result for reading.

use std::fmt::Write as _;

use super::report::{Cost, Latency, Report, Run};

/// The whole result.
pub(super) fn render(report: &Report) -> String {
    let mut text = headline(report) + "\n";
    for run in &report.runs {
        text += "\n";
        text += &title(run);
        text += "\n";
        for (name, value) in lines(run) {
            // A `String` takes everything.
            let _ = writeln!(text, "  {name:<21}{value}");
        }
    }
    text += &ending(report);
    text
}

/// What the figures depend on.
pub(super) fn headline(report: &Report) -> String {
    let machine = &report.machine;
    format!(
        "pulsar-proxy {} on {} cores ({}), Linux {}, {}\n{}\n{}",
        report.version,
        machine.cores,
        machine.cpu,
        machine.kernel,
        report.date,
        report.command,
        server(report)
    )
}

fn server(report: &Report) -> String {
    let facts = &report.server;
    let version = facts.version.as_deref().unwrap_or("unknown");
    let Some(url) = &facts.url else {
        return format!("each load against a server of its own, version {version}");
    };
    let process = match (facts.pid, &facts.program) {
        (Some(pid), Some(program)) => format!("process {pid} ({program})"),
        _ => "whose CPU time and memory are not known: no process of this machine that can be seen listens \
              there (see --pid)"
            .to_owned(),
    };
    format!("server {url}, version {version}, {process}")
}

/// One load in a line.
pub(super) fn title(run: &Run) -> String {
    let mode = match run.rate {
        Some(rate) => format!("{} messages/s", grouped(rate as f64)),
        None => run.mode.to_owned(),
    };
    let bulk = match run.messages_per_request {
        1 => String::new(),
        messages => format!(", {messages} in a request"),
    };
    let publishers = counted(run.connections, "publisher");
    let connections = match run.scenario {
        "publish" => publishers,
        "fanout" => publishers + ", " + &counted(run.subscribers, "WebSocket subscriber"),
        "idle" => counted(run.subscribers, "WebSocket"),
        _ => publishers + ", " + &counted(run.subscribers, "poll"),
    };
    let (topics, bytes) = (counted(run.topics, "topic"), run.message_bytes);
    format!(
        "{}, {mode}: {connections}, {topics}, {bytes} bytes{bulk}",
        run.scenario
    )
}

fn counted(count: usize, what: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{} {what}{plural}", grouped(count as f64))
}

/// Names and values.
fn lines(run: &Run) -> Vec<(&'static str, String)> {
    let mut lines = Vec::new();
    let rate = grouped(run.operations_per_second);
    let operations = grouped(run.operations as f64);
    lines.push(match run.scenario {
        "idle" => (
            "opened",
            format!(
                "{operations} connections, {rate} a second; silent for {:.1} s",
                run.seconds
            ),
        ),
        _ => (
            if run.operation == "publish" {
                "published"
            } else {
                "delivered"
            },
            format!("{rate} a second ({operations} in {:.1} s)", run.seconds),
        ),
    });
    if run.subscribers > 0 && run.scenario != "idle" {
        let published = run.published as f64;
        let rate = grouped(published / run.seconds);
        lines.push((
            "published",
            format!("{rate} a second ({})", grouped(published)),
        ));
    }
    for (name, latency) in [
        ("connect → subscribed", &run.open_latency),
        ("publish → answer", &run.publish_latency),
        ("publish → delivery", &run.delivery_latency),
    ] {
        lines.extend(latency.as_ref().map(|latency| (name, percentiles(latency))));
    }
    lines.push((
        "server",
        run.server
            .as_ref()
            .map_or("not known".to_owned(), |cost| costs(run, cost)),
    ));
    lines.push(("checked", verdict(run)));
    lines.extend(notes(run).into_iter().map(|note| ("note", note)));
    lines
}

fn percentiles(latency: &Latency) -> String {
    let [p50, p90, p99, p999, max] = latency.values().map(digits);
    format!("p50 {p50}  p90 {p90}  p99 {p99}  p99.9 {p999}  max {max} ms")
}

fn costs(run: &Run, cost: &Cost) -> String {
    let memory = cost.resident_bytes as f64 / 1e6;
    let silent = if run.scenario == "idle" {
        " while silent"
    } else {
        ""
    };
    let mut text = format!(
        "{} µs CPU per {} ({:.0} % user), {:.2} cores{silent}, {memory:.1} MB resident",
        digits(cost.cpu_us_per_operation),
        run.operation,
        cost.cpu_user_share * 100.0,
        cost.cpu_cores,
    );
    if let Some(bytes) = cost.bytes_per_connection {
        let _ = write!(text, ", {bytes:.0} bytes per connection");
    }
    text
}

/// What the checks have found.
pub(super) fn verdict(run: &Run) -> String {
    let faults = run.faults.words();
    match (faults.is_empty(), run.subscribers) {
        (true, 0) => "every message accepted".to_owned(),
        (true, _) => "every message accepted and delivered once and in order".to_owned(),
        (false, _) => {
            let first = run.faults.first.as_deref().unwrap_or_default();
            format!("FAILED: {}; first: {first}", faults.join(", "))
        }
    }
}

/// What one must know to read the figures.
pub(super) fn notes(run: &Run) -> Vec<String> {
    let mut notes = Vec::new();
    if run.unsent > 0 {
        notes.push(format!(
            "{} messages were due and could not be sent in time: the rate is too high, and the latencies of \
             these are not among the figures",
            grouped(run.unsent as f64)
        ));
    }
    if run.is_generator_bound() {
        notes.push(format!(
            "the load generator was busy ({:.2} of the one core it can use): the server may take more",
            run.generator_cores
        ));
    }
    if run.scenario == "fanout" && run.rate.is_none() {
        notes.push(
            "deliveries waited behind a backlog kept full; --rate tells the latency".to_owned(),
        );
    }
    notes
}

/// What is to be said at the end.
pub(super) fn ending(report: &Report) -> String {
    let mut text = String::new();
    if report.server.topics_left > 0 {
        // A `String` takes everything.
        let _ = writeln!(
            text,
            "\nTopics left on the server: {}. Deleting them needs the admin permission.",
            report.server.topics_left
        );
    }
    if report.interrupted {
        text += "\nEnded early: the figures are of what was done until then.\n";
    }
    if let Some(failure) = &report.failure {
        let _ = writeln!(text, "\nFAILED: {failure}");
    }
    text
}

/// Three digits: more than that does not repeat.
pub(super) fn digits(value: f64) -> String {
    match value {
        value if value >= 100.0 => grouped(value),
        value if value >= 10.0 => format!("{value:.1}"),
        value if value >= 1.0 => format!("{value:.2}"),
        value => format!("{value:.3}"),
    }
}

/// A whole number with a comma before every three digits.
pub(super) fn grouped(value: f64) -> String {
    let plain = format!("{value:.0}");
    let mut text = String::new();
    for (index, digit) in plain.chars().enumerate() {
        if index > 0 && (plain.len() - index).is_multiple_of(3) && !text.ends_with('-') {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short_and_grouped() {
        for (value, shown) in [
            (0.0, "0.000"),
            (0.12345, "0.123"),
            (7.218, "7.22"),
            (99.94, "99.9"),
            (117_086.4, "117,086"),
        ] {
            assert_eq!(digits(value), shown);
        }
        assert_eq!(grouped(-1234.0), "-1,234");
        assert_eq!(grouped(1_000_000.0), "1,000,000");
    }
}
