//! What the rules, the dashboard and the documents say, held against each other and against the server.

use std::collections::BTreeSet;
use std::fs;

use test_util::{Server, metrics};

use super::dashboard;
use super::prometheus::{folder, promtool};

const ALERTS: &str = include_str!("../../deploy/prometheus/alerts.yml");
const ALERTS_TEST: &str = include_str!("../../deploy/prometheus/alerts_test.yml");
const OPERATIONS: &str = include_str!("../../docs/OPERATIONS.md");
const DEPLOYMENT: &str = include_str!("../../docs/DEPLOYMENT.md");

/// Values of a key, in order.
fn values<'t>(text: &'t str, key: &str) -> Vec<&'t str> {
    let key = format!("{key}: ");
    let lines = text.lines().map(|line| line.trim_start_matches([' ', '-']));
    lines.filter_map(|line| line.strip_prefix(&*key)).collect()
}

/// Names of metrics in a text or an expression, without what stands in quotes.
fn named(text: &str) -> BTreeSet<&str> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    // The blocks of a document are other programs' languages.
    let prose = text.split("```").step_by(2).flat_map(str::lines);
    let outside = prose.flat_map(|line| line.split('"').step_by(2));
    let words = outside.flat_map(|part| part.split(move |c| !is_name(c)));
    let prefixes = ["proxy_", "http_re", "process_"];
    words
        .filter(|word| prefixes.iter().any(|prefix| word.starts_with(prefix)))
        .collect()
}

/// The family of a series, if there is one.
fn family_of<'n>(page: &str, name: &'n str) -> Option<&'n str> {
    let suffixes = ["", "_bucket", "_sum", "_count"];
    let families = suffixes
        .iter()
        .filter_map(|suffix| name.strip_suffix(suffix));
    let mut families = families.filter(|family| metrics::declared_type(page, family).is_some());
    families.next()
}

#[test]
fn every_metric_that_is_named_exists_and_every_one_is_looked_at() {
    let server = Server::start(&[]);
    let page = server.metrics();
    let questions = dashboard::questions();
    let expressions: Vec<&str> = questions.iter().map(|it| &*it.expression).collect();
    let dashboard = expressions.join("\n");
    let mut seen = BTreeSet::new();
    for (place, text) in [
        ("the dashboard", &*dashboard),
        ("alerts.yml", ALERTS),
        ("alerts_test.yml", ALERTS_TEST),
        ("OPERATIONS.md", OPERATIONS),
        ("DEPLOYMENT.md", DEPLOYMENT),
    ] {
        for name in named(text) {
            // A document may speak of a group of them.
            let family = family_of(&page, name).or_else(|| {
                let is_group = name.ends_with('_') && place.ends_with(".md");
                is_group.then_some(name)
            });
            let family = family.unwrap_or_else(|| panic!("{place} names {name}"));
            if place == "the dashboard" {
                seen.insert(family);
            }
        }
    }
    let declared = page.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    let families = declared.filter_map(|rest| rest.split(' ').next());
    let unseen: Vec<&str> = families.filter(|it| !seen.contains(it)).collect();
    assert!(unseen.is_empty(), "not on the dashboard: {unseen:?}");
}

#[test]
fn every_alert_has_its_entry_in_the_runbook_and_the_other_way_round() {
    let alerts = values(ALERTS, "alert");
    let headings = OPERATIONS
        .lines()
        .filter_map(|line| line.strip_prefix("### "));
    let entries: Vec<&str> = headings
        .filter(|it| it.starts_with("PulsarProxy"))
        .collect();
    assert_eq!(alerts, entries, "the same ones, in the same order");
    let names: BTreeSet<&str> = alerts.iter().copied().collect();
    assert_eq!(names.len(), alerts.len(), "an alert is there twice");
    let urls = values(ALERTS, "runbook_url");
    let anchor = |name: &&str| format!("docs/OPERATIONS.md#{}", name.to_lowercase());
    assert_eq!(urls, alerts.iter().map(anchor).collect::<Vec<_>>());
    for key in ["summary", "description", "severity"] {
        assert_eq!(values(ALERTS, key).len(), alerts.len(), "{key}");
    }
    let severities = values(ALERTS, "severity");
    let known = ["critical", "warning", "info"];
    assert!(
        severities.iter().all(|it| known.contains(it)),
        "{severities:?}"
    );
}

#[test]
fn every_alert_is_shown_to_fire_and_to_be_silent() {
    let alerts = values(ALERTS, "alert");
    let (in_trouble, well) = ALERTS_TEST
        .split_once("  - name: Nothing is wrong\n")
        .expect("the last one is well");
    let cases: Vec<&str> = in_trouble.split("\n  - name: ").skip(1).collect();
    assert_eq!(cases.len(), alerts.len());
    for (case, alert) in cases.iter().zip(&alerts) {
        assert_eq!(values(case, "alertname"), [*alert]);
        assert_eq!(case.matches("exp_labels:").count(), 1, "{alert} fires once");
        // What is absent has no instance.
        if *alert != "PulsarProxyAbsent" {
            assert!(case.contains("instance=\"good\""), "{alert}");
            assert_eq!(values(case, "instance"), ["bad"], "{alert}");
        }
    }
    assert_eq!(values(well, "alertname"), alerts);
    assert_eq!(values(well, "exp_alerts"), vec!["[]"; alerts.len()]);
}

#[test]
fn promtool_finds_nothing_wrong() {
    let at = folder();
    for arguments in [
        &["check", "config", "prometheus.yml"][..],
        &["check", "rules", "alerts.yml"],
        &["test", "rules", "alerts_test.yml"],
    ] {
        if promtool(arguments, &at).is_none() {
            return;
        }
    }
    // What stands there as a comment is right too.
    let config = fs::read_to_string(at.join("prometheus.yml")).expect("it is there");
    let folder = tempfile::tempdir().expect("a folder can be made");
    let key = folder.path().join("key");
    let with_key = config
        .replace("# authorization:", "authorization:")
        .replace("#   credentials_file: ", "  credentials_file: ")
        .replace("/etc/prometheus/pulsar-proxy.key", &key.to_string_lossy());
    assert!(with_key.contains("\n    authorization:\n      credentials_file: /"));
    fs::write(&key, "a key").expect("a file can be written");
    fs::write(folder.path().join("prometheus.yml"), with_key).expect("a file can be written");
    fs::copy(at.join("alerts.yml"), folder.path().join("alerts.yml")).expect("it is copied");
    promtool(&["check", "config", "prometheus.yml"], folder.path());
}
