//! The dashboard: what it asks, and whether it is whole.

use std::collections::HashSet;

use serde_json::Value;

/// The file.
const DASHBOARD: &str = include_str!("../../deploy/grafana/dashboards/pulsar-proxy.json");

/// Columns of Grafana's grid.
const COLUMNS: u64 = 24;

/// One question of a panel.
#[derive(Debug)]
pub(crate) struct Question {
    /// `row: panel`.
    pub(crate) place: String,
    /// With variables.
    pub(crate) expression: String,
    /// What its series are called.
    pub(crate) legend: String,
}

impl Question {
    /// The expression with all variables filled in: all jobs and instances, and rates over `interval`.
    pub(crate) fn filled(&self, interval: &str) -> String {
        let filled = [
            ("$__rate_interval", interval),
            ("$instance", ".*"),
            ("$job", ".*"),
            ("$top", "10"),
        ]
        .into_iter()
        .fold(self.expression.clone(), |text, (name, value)| {
            text.replace(name, value)
        });
        assert!(!filled.contains('$'), "an unknown variable: {filled}");
        filled
    }
}

pub(crate) fn parsed() -> Value {
    serde_json::from_str(DASHBOARD).expect("the dashboard is JSON")
}

fn list<'v>(value: &'v Value, name: &str) -> &'v [Value] {
    value[name].as_array().map_or(&[], Vec::as_slice)
}

fn text<'v>(value: &'v Value, name: &str) -> &'v str {
    let text = value[name].as_str();
    text.unwrap_or_else(|| panic!("no {name}: {value}"))
}

/// Everything that it asks: panels and marks.
pub(crate) fn questions() -> Vec<Question> {
    let dashboard = parsed();
    let mut questions = Vec::new();
    let mut row = "";
    for panel in list(&dashboard, "panels") {
        if panel["type"] == "row" {
            row = text(panel, "title");
        }
        for target in list(panel, "targets") {
            questions.push(Question {
                place: format!("{row}: {}", text(panel, "title")),
                expression: text(target, "expr").to_owned(),
                legend: text(target, "legendFormat").to_owned(),
            });
        }
    }
    for mark in list(&dashboard["annotations"], "list") {
        if mark["expr"].is_string() {
            questions.push(Question {
                place: format!("marks: {}", text(mark, "name")),
                expression: text(mark, "expr").to_owned(),
                legend: text(mark, "titleFormat").to_owned(),
            });
        }
    }
    questions
}

#[test]
fn panels_have_a_place_a_unit_and_a_question() {
    let dashboard = parsed();
    let (mut ids, mut cells, mut titles) = (HashSet::new(), HashSet::new(), HashSet::new());
    let mut row = String::new();
    for panel in list(&dashboard, "panels") {
        let title = text(panel, "title");
        assert!(
            ids.insert(panel["id"].to_string()),
            "{title}: its id is taken"
        );
        let [x, y, w, h] = ["x", "y", "w", "h"].map(|name| {
            let number = panel["gridPos"][name].as_u64();
            number.unwrap_or_else(|| panic!("{title} has no {name}"))
        });
        assert!(
            w > 0 && h > 0 && x + w <= COLUMNS,
            "{title} is off the grid"
        );
        for cell in (x..x + w).flat_map(|x| (y..y + h).map(move |y| (x, y))) {
            assert!(cells.insert(cell), "{title} lies on another panel");
        }
        if panel["type"] == "row" {
            row = title.to_owned();
            continue;
        }
        assert!(
            titles.insert((row.clone(), title)),
            "{row}: {title} is there twice"
        );
        assert!(!list(panel, "targets").is_empty(), "{title} asks nothing");
        assert!(!text(&panel["fieldConfig"]["defaults"], "unit").is_empty());
        for target in list(panel, "targets") {
            assert_eq!(target["datasource"]["uid"], "${datasource}", "{title}");
            let has_legend = !text(target, "legendFormat").is_empty();
            assert!(
                has_legend || panel["type"] == "stat",
                "{title} has lines without a name"
            );
        }
    }
}

#[test]
fn legends_name_labels_that_their_series_have() {
    for question in questions() {
        let named = question
            .legend
            .split("{{")
            .skip(1)
            .filter_map(|rest| rest.split_once("}}"));
        for (label, _) in named {
            let grouped = question.expression.contains(" by (");
            let lists = question.expression.split(" by (").skip(1);
            let mut lists = lists.filter_map(|rest| rest.split_once(')'));
            let is_kept = lists.any(|(labels, _)| labels.split(", ").any(|it| it == label));
            assert!(is_kept || !grouped, "{}: {label}", question.place);
        }
    }
}
