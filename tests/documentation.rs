//! What the documents point to exists: files and headings that they link to, and the flags that they name.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Flags of other programs that the prose names.
const FLAGS_OF_OTHERS: &[&str] = &[
    // Docker.
    "--read-only",
    "--stop-timeout",
    "--ulimit",
    // uvicorn, in the guide for those who come from it.
    "--backlog",
    "--forwarded-allow-ips",
    "--limit-concurrency",
    "--proxy-headers",
    "--reload",
    "--root-path",
    "--ssl-certfile",
    "--ssl-keyfile",
    "--timeout-graceful-shutdown",
    "--timeout-keep-alive",
    "--uds",
];

/// Where flags of this project's programs are declared, beside the settings: scripts and the load generator.
const FLAGS_OF_TOOLS: &[&str] = &["benches/load/args.rs", "scripts"];

#[test]
fn links_lead_somewhere() {
    let documents = documents();
    let mut wrong = String::new();
    for (path, text) in &documents {
        for (line, target) in links(text) {
            if target.contains("://") {
                continue;
            }
            let (file, anchor) = target.split_once('#').unwrap_or((&target, ""));
            let file = match file {
                "" => path.clone(),
                _ => normal(&path.parent().unwrap().join(file)),
            };
            let name = path.display();
            if !root().join(&file).exists() {
                let _ = writeln!(wrong, "{name}:{line}: there is no {}", file.display());
            } else if !anchor.is_empty() {
                let headings = documents.get(&file).map(|text| headings(text));
                if !headings.is_some_and(|headings| headings.contains(anchor)) {
                    let _ = writeln!(wrong, "{name}:{line}: there is no heading for {target}");
                }
            }
        }
    }
    assert!(wrong.is_empty(), "\n{wrong}");
}

#[test]
fn flags_that_are_named_exist() {
    let known = known_flags();
    let mut wrong = String::new();
    for (path, text) in documents() {
        for (line, flag) in flags_in_code(&text) {
            if !known.contains(&flag) && !FLAGS_OF_OTHERS.contains(&flag.as_str()) {
                let _ = writeln!(wrong, "{}:{line}: there is no {flag}", path.display());
            }
        }
    }
    assert!(wrong.is_empty(), "\n{wrong}");
}

/// All Markdown files for readers, by their path from the root.
fn documents() -> BTreeMap<PathBuf, String> {
    let mut paths = vec![PathBuf::from("README.md"), PathBuf::from("CHANGELOG.md")];
    for entry in fs::read_dir(root().join("docs")).expect("there are documents") {
        let name = entry.expect("docs/ can be read").file_name();
        if Path::new(&name).extension().is_some_and(|it| it == "md") {
            paths.push(Path::new("docs").join(name));
        }
    }
    let read = |path: PathBuf| {
        let text = fs::read_to_string(root().join(&path)).expect("documents are text");
        (path, text)
    };
    paths.into_iter().map(read).collect()
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The path without `..`.
fn normal(path: &Path) -> PathBuf {
    let mut normal = PathBuf::new();
    for part in path {
        if part == ".." {
            normal.pop();
        } else if part != "." {
            normal.push(part);
        }
    }
    normal
}

/// Lines with their numbers, those of blocks of code left out.
fn prose(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut in_code = false;
    let lines = text.lines().enumerate();
    lines.filter_map(move |(number, line)| {
        let is_fence = line.trim_start().starts_with("```");
        in_code ^= is_fence;
        (!in_code && !is_fence).then_some((number + 1, line))
    })
}

/// Targets of links in the prose.
fn links(text: &str) -> Vec<(usize, String)> {
    let mut links = Vec::new();
    for (number, line) in prose(text) {
        for part in line.split("](").skip(1) {
            let target = part.split(')').next().unwrap_or_default();
            links.push((number, target.to_owned()));
        }
    }
    links
}

/// The anchors of a document's headings, as GitHub makes them.
fn headings(text: &str) -> BTreeSet<String> {
    let headings = prose(text).filter(|(_, line)| line.starts_with('#'));
    let slug = |line: &str| -> String {
        let title = line.trim_start_matches('#').trim().to_lowercase();
        let kept = title
            .chars()
            .filter(|it| it.is_alphanumeric() || " -_".contains(*it));
        kept.map(|it| if it == ' ' { '-' } else { it }).collect()
    };
    headings.map(|(_, line)| slug(line)).collect()
}

/// Flags in the prose's code: `` `--flag` `` or `` `--flag value` ``, also several in one.
fn flags_in_code(text: &str) -> Vec<(usize, String)> {
    let mut flags = Vec::new();
    for (number, line) in prose(text) {
        for code in line.split('`').skip(1).step_by(2) {
            if code.starts_with("--") {
                flags.extend(flags_of(code).map(|flag| (number, flag)));
            }
        }
    }
    flags
}

/// The flags that a text names.
fn flags_of(text: &str) -> impl Iterator<Item = String> {
    text.split(|it: char| !(it.is_ascii_alphanumeric() || it == '-'))
        .filter(|word| word.len() > 3 && word.starts_with("--"))
        .map(|word| word.trim_end_matches('-').to_owned())
        .filter(|word| word.len() > 2)
}

/// Flags of the program and all its subcommands, as their help tells, and of the project's tools.
fn known_flags() -> BTreeSet<String> {
    let mut flags = BTreeSet::new();
    help(&mut Vec::new(), &mut flags);
    for place in FLAGS_OF_TOOLS {
        let place = root().join(place);
        let files = match fs::read_dir(&place) {
            Ok(entries) => entries
                .map(|entry| entry.expect("scripts/ can be read").path())
                .collect(),
            Err(_) => vec![place],
        };
        for file in files.iter().filter(|file| file.is_file()) {
            let text = fs::read_to_string(file).expect("tools are text");
            flags.extend(flags_of(&text));
            flags.extend(clap_fields(&text));
        }
    }
    flags
}

/// Flags that clap makes of fields: `pub(crate) server_arg: …`.
fn clap_fields(text: &str) -> impl Iterator<Item = String> {
    let fields = text.lines().filter_map(|line| {
        let (name, _) = line.trim().strip_prefix("pub(crate) ")?.split_once(':')?;
        Some(name)
    });
    fields.map(|name| format!("--{}", name.replace('_', "-")))
}

/// Collects the flags of a command's help, and those of its subcommands.
fn help(command: &mut Vec<String>, flags: &mut BTreeSet<String>) {
    let output = Command::new(env!("CARGO_BIN_EXE_pulsar-proxy"))
        .args(&*command)
        .arg("--help")
        .env_clear()
        .output()
        .expect("the program starts");
    assert!(output.status.success(), "{command:?} --help");
    let text = String::from_utf8(output.stdout).expect("help is text");
    flags.extend(flags_of(&text));
    let behind = text.split("Commands:\n").nth(1).unwrap_or_default();
    for line in behind.lines().take_while(|line| line.starts_with("  ")) {
        // A longer indentation goes on with the description above.
        let Some(name) = line[2..]
            .split_whitespace()
            .next()
            .filter(|_| !line[2..].starts_with(' '))
        else {
            continue;
        };
        if name != "help" {
            command.push(name.to_owned());
            help(command, flags);
            command.pop();
        }
    }
}
