//! The tables of `docs/SETTINGS.md`, which follow from the declarations.
//!
//! `UPDATE_SETTINGS=1 cargo test --lib config::document` writes them anew.

use std::fmt::Write;
use std::path::PathBuf;

use super::SETTINGS;
use super::table::{About, Declared};

const START: &str = "<!-- settings -->\n";
const END: &str = "<!-- /settings -->";

/// The table in Markdown: one for each heading of `--help`.
fn markdown() -> String {
    let mut text = String::new();
    let mut group = None;
    for setting in SETTINGS {
        let about = setting.about();
        if group != Some(about.group) {
            group = Some(about.group);
            let heading = about.group.heading();
            write!(text, "\n**{heading}**\n\n").expect("a String takes everything");
            text.push_str("| flag | default | environment | meaning |\n|---|---|---|---|\n");
        }
        text.push_str(&row(setting, about));
    }
    text.push('\n');
    text
}

fn row(setting: &dyn Declared, about: &About) -> String {
    let default = match setting.default_text() {
        text if text.is_empty() => "none".to_owned(),
        text if text.contains(' ') && about.plain_name != Some("APP_NAME") => text,
        text => format!("`{text}`"),
    };
    let names: Vec<String> = about
        .environment_names()
        .iter()
        .map(|name| format!("`{name}`"))
        .collect();
    let (name, names, help) = (about.name, names.join(", "), about.help);
    format!("| `--{name}` | {default} | {names} | {help} |\n")
}

#[test]
fn the_document_lists_every_setting() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("docs/SETTINGS.md");
    let document = std::fs::read_to_string(&path).unwrap();
    let (before, rest) = document.split_once(START).unwrap();
    let (table, after) = rest.split_once(END).unwrap();
    if std::env::var_os("UPDATE_SETTINGS").is_some() {
        std::fs::write(&path, format!("{before}{START}{}{END}{after}", markdown())).unwrap();
        return;
    }
    assert_eq!(
        table,
        markdown(),
        "run UPDATE_SETTINGS=1 cargo test --lib config::document to write the table anew"
    );
}
