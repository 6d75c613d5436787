//! The result for pasting.

use std::fmt::Write as _;

use super::report::{Latency, Report, Run};
use super::text::{digits, ending, grouped, headline, notes, title, verdict};

/// The whole result.
pub(super) fn render(report: &Report) -> String {
    let mut lines = headline(report);
    if let Some((machine, rest)) = lines.clone().split_once('\n') {
        let (command, server) = rest.split_once('\n').unwrap_or((rest, ""));
        lines = format!("{machine}: `{command}`, {server}.");
    }
    let mut text = lines;
    text += "\n\n| load | a second | latency of | p50 ms | p90 | p99 | p99.9 | max \
             | server CPU | server memory | checked |\n|---|---|---|---|---|---|---|---|---|---|---|\n";
    for run in &report.runs {
        text += &rows(run);
    }
    for run in &report.runs {
        for note in notes(run) {
            // A `String` takes everything.
            let _ = write!(text, "\n{}: {note}.\n", run.scenario);
        }
    }
    text + &ending(report)
}

/// A row for each kind of latency; what is not about one stands in the first.
fn rows(run: &Run) -> String {
    let kinds = [
        ("connect → subscribed", &run.open_latency),
        ("publish → answer", &run.publish_latency),
        ("publish → delivery", &run.delivery_latency),
    ];
    let mut kinds: Vec<_> = kinds
        .into_iter()
        .filter_map(|(name, latency)| Some((name, Some(latency.as_ref()?))))
        .collect();
    if kinds.is_empty() {
        kinds.push(("", None));
    }
    let mut text = String::new();
    for (index, (name, latency)) in kinds.into_iter().enumerate() {
        let [load, rate, cpu, memory, checked] = match index {
            0 => facts(run),
            _ => Default::default(),
        };
        let values = latency.map(Latency::values);
        let values = values.map_or(Default::default(), |values| values.map(digits));
        let _ = writeln!(
            text,
            "| {load} | {rate} | {name} | {} | {cpu} | {memory} | {checked} |",
            values.join(" | ")
        );
    }
    text
}

fn facts(run: &Run) -> [String; 5] {
    let operations = grouped(run.operations_per_second);
    let plural = match run.operation {
        "publish" => "publishes",
        "delivery" => "deliveries",
        _ => "connections",
    };
    let (cpu, memory) = match &run.server {
        None => ("not known".to_owned(), "not known".to_owned()),
        Some(cost) => {
            let memory = format!("{:.1} MB", cost.resident_bytes as f64 / 1e6);
            let each = cost.bytes_per_connection.map_or_else(String::new, |bytes| {
                format!(", {bytes:.0} bytes/connection")
            });
            let cpu = digits(cost.cpu_us_per_operation);
            (format!("{cpu} µs/{}", run.operation), memory + &each)
        }
    };
    // What the server says may hold what ends a cell.
    let checked = verdict(run).replace('|', "\\|").replace(['\r', '\n'], " ");
    [
        title(run),
        format!("{operations} {plural}"),
        cpu,
        memory,
        checked,
    ]
}
