//! Dependencies point one way: `src/` is read, and what the tables here do not allow fails with
//! its file and line. Only code counts: comments, texts and tests may name anything.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

/// What each part of `src/` may import from the others.
const IMPORTS: &[(&str, &[&str])] = &[
    ("moment", &[]),
    // Codecs and stores know nothing of each other, nor of who drives them.
    ("http", &["moment"]),
    ("ws", &["moment"]),
    ("topic", &["moment"]),
    ("fanout", &["moment"]),
    ("idempotency", &["moment"]),
    ("clock", &["moment"]),
    ("spool", &["moment"]),
    ("tls", &[]),
    ("edge", &["http"]),
    ("quota", &[]),
    ("access", &["moment", "topic"]),
    ("api", &["http", "moment", "topic", "ws"]),
    ("documents", &["access", "api", "topic"]),
    (
        "session",
        &[
            "access",
            "api",
            "documents",
            "edge",
            "http",
            "idempotency",
            "moment",
            "quota",
            "topic",
            "ws",
        ],
    ),
    ("metrics", &["api", "moment", "session", "topic"]),
    (
        "valkey",
        &[
            "access",
            "api",
            "clock",
            "config",
            "edge",
            "fanout",
            "idempotency",
            "metrics",
            "moment",
            "spool",
            "topic",
        ],
    ),
    (
        "worker",
        &[
            "access",
            "api",
            "clock",
            "config",
            "documents",
            "edge",
            "fanout",
            "http",
            "idempotency",
            "metrics",
            "moment",
            "quota",
            "session",
            "tls",
            "topic",
            "valkey",
            "ws",
        ],
    ),
    (
        "server",
        &[
            "access",
            "api",
            "clock",
            "config",
            "documents",
            "edge",
            "fanout",
            "idempotency",
            "metrics",
            "moment",
            "quota",
            "service",
            "tls",
            "topic",
            "valkey",
            "worker",
        ],
    ),
    ("service", &["access", "config"]),
    ("config", &[]),
    ("logging", &["config"]),
    // They know the server by its protocol alone, like any stranger, and nothing of it imports them.
    ("client", &["config"]),
    ("bench", &["client", "config"]),
    (
        "cli",
        &[
            "access", "bench", "client", "clock", "config", "service", "topic",
        ],
    ),
    (
        "main",
        &["bench", "cli", "client", "config", "logging", "server"],
    ),
    ("lib", &[]),
];

/// What stands for the world outside, and the only parts and files that may name it. All else is a
/// function of its arguments, time included.
const OUTSIDE: &[(&str, &[&str], &[&str])] = &[
    (
        "the selector",
        &["mio"],
        &["bench", "worker", "server.rs", "server"],
    ),
    (
        "sockets",
        &[
            "socket2",
            "TcpListener",
            "TcpStream",
            "UdpSocket",
            "UnixDatagram",
            "UnixListener",
            "UnixStream",
        ],
        &["bench", "client", "worker", "server.rs", "server"],
    ),
    ("WebSocket clients", &["tungstenite"], &["client"]),
    (
        "signals",
        &["signal_hook"],
        &["bench/signals.rs", "client", "server.rs"],
    ),
    (
        "threads",
        &["thread::"],
        // Each of the last three for its own: what fetches keys, the writer, and how many the machine can run.
        &[
            "bench",
            "client",
            "worker",
            "valkey",
            "server.rs",
            "service/key_set.rs",
            "logging/writer.rs",
            "cli/machine.rs",
        ],
    ),
    (
        "clocks",
        &["Instant", "SystemTime::now"],
        &[
            "bench",
            "client",
            "clock.rs",
            "worker",
            "valkey",
            "server.rs",
            "server/supervisor.rs",
            "service/key_set.rs",
            "logging",
        ],
    ),
    (
        "files",
        &["fs::", "File::", "OpenOptions"],
        &[
            "bench/machine.rs",
            "bench/process.rs",
            "cli",
            "client",
            "logging",
            "metrics/process.rs",
            "service",
            "spool",
            "tls/load.rs",
            "server.rs",
            "server",
            "valkey/connect.rs",
        ],
    ),
    (
        "the environment",
        &["env::var", "env::vars", "env::args", "env::current_dir"],
        &["cli", "main.rs"],
    ),
    (
        "output",
        &[
            "println!",
            "eprintln!",
            "print!",
            "eprint!",
            "stdout",
            "stderr",
        ],
        &[
            "bench/command.rs",
            "bench/spawned.rs",
            "cli",
            "client",
            "logging",
            "main.rs",
        ],
    ),
    (
        "the end of the process",
        &["process::exit", "abort("],
        &["bench/signals.rs", "server.rs"],
    ),
];

/// What code never says, anywhere.
const NEVER: &[(&str, &str)] = &[
    (".unwrap()", "nothing may panic without saying why"),
    ("unsafe", "there is no unsafe code"),
    ("allow(dead_code)", "what is not used is not there"),
    ("todo!", "what is not built is not there"),
    ("unimplemented!", "what is not built is not there"),
];

/// Lines of a file, its tests included, past which a second idea is looked for.
const LINES_MAX: usize = 500;

/// Files that are longer all the same: flat catalogues, and one idea with many cases.
const LONGER: &[(&str, usize)] = &[];

/// A file of `src/` that is part of the program.
struct Source {
    /// Under `src/`, with slashes.
    path: String,
    lines: usize,
    /// The text, with blanks for comments, texts and tests.
    code: String,
}

#[test]
fn imports_point_one_way() {
    let mut wrong = String::new();
    for source in sources() {
        let part = source.part();
        let Some((_, allowed)) = IMPORTS.iter().find(|(name, _)| *name == part) else {
            let _ = writeln!(wrong, "src/{}: {part} has no line in IMPORTS", source.path);
            continue;
        };
        for (line, import) in source.imports() {
            if import != part && !allowed.contains(&import.as_str()) {
                let path = &source.path;
                let _ = writeln!(wrong, "src/{path}:{line}: {part} must not import {import}");
            }
        }
    }
    assert!(wrong.is_empty(), "\n{wrong}");
}

#[test]
fn only_the_edge_names_the_world_outside() {
    let mut wrong = String::new();
    for source in sources() {
        for (what, words, places) in OUTSIDE {
            if places.iter().any(|place| source.is_in(place)) {
                continue;
            }
            for word in *words {
                for line in source.lines_with(word) {
                    let path = &source.path;
                    let _ = writeln!(
                        wrong,
                        "src/{path}:{line}: `{word}`: {what} belong to {places:?}"
                    );
                }
            }
        }
    }
    assert!(wrong.is_empty(), "\n{wrong}");
}

#[test]
fn some_things_are_never_said() {
    let mut wrong = String::new();
    for source in sources() {
        for (word, why) in NEVER {
            for line in source.lines_with(word) {
                let _ = writeln!(wrong, "src/{}:{line}: `{word}`: {why}", source.path);
            }
        }
    }
    assert!(wrong.is_empty(), "\n{wrong}");
    for manifest in ["Cargo.toml", "tests/fuzz/Cargo.toml"] {
        let text = fs::read_to_string(root().join(manifest)).unwrap();
        let forbids = text.lines().any(|line| line == "unsafe_code = \"forbid\"");
        assert!(forbids, "{manifest}: the lint unsafe_code must forbid");
    }
}

#[test]
fn a_file_is_one_idea() {
    let mut wrong = String::new();
    for path in paths() {
        let lines = fs::read_to_string(root().join("src").join(&path))
            .unwrap()
            .lines()
            .count();
        let longer = LONGER.iter().find(|(name, _)| *name == path);
        let most = longer.map_or(LINES_MAX, |(_, most)| *most);
        if lines > most {
            let _ = writeln!(wrong, "src/{path}: {lines} lines, more than {most}");
        }
        if longer.is_some() && lines <= LINES_MAX {
            let _ = writeln!(wrong, "src/{path}: {lines} lines, need not be in LONGER");
        }
    }
    assert!(wrong.is_empty(), "\n{wrong}");
}

#[test]
fn every_line_of_the_tables_is_about_something() {
    let sources = sources();
    let exists = |place: &str| sources.iter().any(|source| source.is_in(place));
    for (part, _) in IMPORTS {
        assert!(
            sources.iter().any(|source| source.part() == *part),
            "IMPORTS: no {part}"
        );
    }
    for place in OUTSIDE.iter().flat_map(|(_, _, places)| *places) {
        assert!(exists(place), "OUTSIDE: no {place}");
    }
    for (path, _) in LONGER {
        assert!(exists(path), "LONGER: no {path}");
    }
}

impl Source {
    /// The module of the crate's root that it belongs to.
    fn part(&self) -> &str {
        let first = self
            .path
            .split('/')
            .next()
            .expect("split gives at least one part");
        first.strip_suffix(".rs").unwrap_or(first)
    }

    /// Whether it is this file, or in this folder.
    fn is_in(&self, place: &str) -> bool {
        let rest = self.path.strip_prefix(place);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }

    /// Modules between the crate's root and the code of the file.
    fn depth(&self) -> usize {
        let path = self.path.strip_suffix("/mod.rs").unwrap_or(&self.path);
        path.split('/').count()
    }

    /// Modules of the crate's root that it names, and in which lines.
    fn imports(&self) -> Vec<(usize, String)> {
        let root = "super::".repeat(self.depth());
        let fronts = ["crate::", "pulsar_proxy::", &root];
        let mut imports = Vec::new();
        for front in fronts {
            for at in places_of(&self.code, front) {
                let line = line_of(&self.code, at);
                let names = first_names(&self.code[at + front.len()..]);
                imports.extend(names.into_iter().map(|name| (line, name)));
            }
        }
        imports.sort();
        imports
    }

    fn lines_with(&self, word: &str) -> impl Iterator<Item = usize> {
        places_of(&self.code, word).map(|at| line_of(&self.code, at))
    }
}

/// Where a word stands by itself, not as a part of a longer name.
fn places_of(code: &str, word: &str) -> impl Iterator<Item = usize> {
    let is_name = |text: Option<char>| text.is_some_and(|it| it.is_alphanumeric() || it == '_');
    let ends_in_name = is_name(word.chars().last());
    code.match_indices(word)
        .map(|(at, _)| at)
        .filter(move |at| {
            let (before, behind) = (&code[..*at], &code[at + word.len()..]);
            let begins = !is_name(word.chars().next()) || !is_name(before.chars().last());
            let is_whole = !before.ends_with("super::") || !word.starts_with("super::");
            begins && is_whole && !(ends_in_name && is_name(behind.chars().next()))
        })
}

fn line_of(code: &str, at: usize) -> usize {
    1 + code[..at].matches('\n').count()
}

/// The name that a path goes on with; several if it goes on with braces.
fn first_names(path: &str) -> Vec<String> {
    let name = |text: &str| -> String {
        let text = text.trim_start();
        text.chars()
            .take_while(|it| it.is_alphanumeric() || *it == '_')
            .collect()
    };
    let Some(list) = path.trim_start().strip_prefix('{') else {
        return vec![name(path)];
    };
    let mut names = vec![name(list)];
    let mut depth = 0;
    for (at, sign) in list.char_indices() {
        match sign {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => names.push(name(&list[at + 1..])),
            _ => {}
        }
    }
    names.retain(|name| !name.is_empty() && name != "self");
    names
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// All files under `src/`, with slashes.
fn paths() -> Vec<String> {
    let base = root().join("src");
    let (mut folders, mut paths) = (vec![base.clone()], Vec::new());
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("src/ can be listed") {
            let path: PathBuf = entry.expect("src/ can be listed").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_none_or(|kind| kind != "lua") {
                let path = path
                    .strip_prefix(&base)
                    .expect("listed below it")
                    .to_str()
                    .expect("names are UTF-8");
                paths.push(path.replace('\\', "/"));
            }
        }
    }
    // Scripts that run elsewhere import nothing.
    paths.retain(|path| path.ends_with(".rs"));
    paths.sort();
    paths
}

/// The files of the program, without those that are tests.
fn sources() -> Vec<Source> {
    let mut tests = Vec::new();
    let mut sources = Vec::new();
    for path in paths() {
        let text =
            fs::read_to_string(root().join("src").join(&path)).expect("source files are UTF-8");
        let code = blank(&text);
        let (program, modules) = without_tests(&code);
        let folder = path.strip_suffix("mod.rs").map_or_else(
            || {
                format!(
                    "{}/",
                    path.strip_suffix(".rs").expect("source files end in .rs")
                )
            },
            str::to_owned,
        );
        for module in modules {
            tests.push(format!("{folder}{module}.rs"));
            tests.push(format!("{folder}{module}/"));
        }
        sources.push(Source {
            path,
            lines: text.lines().count(),
            code: program,
        });
    }
    sources.retain(|source| {
        let is_test = |test: &String| source.path.starts_with(test.as_str());
        source.lines > 0 && !tests.iter().any(is_test)
    });
    sources
}

/// Cuts off the tests at the end of a file; names the modules that are tests in files of their own.
fn without_tests(code: &str) -> (String, Vec<String>) {
    let mut program = String::new();
    let mut modules = Vec::new();
    let mut is_test = false;
    for line in code.lines() {
        let text = line.trim();
        // Tests that others use too are `pub(super)`.
        let item = text.strip_prefix("pub(super) ").unwrap_or(text);
        if is_test && let Some(module) = item.strip_prefix("mod ") {
            match module.strip_suffix(';') {
                Some(module) => modules.push(module.to_owned()),
                None => break,
            }
        }
        is_test = text.starts_with("#[cfg(test)]") || text.starts_with("#[cfg(all(test,");
        program.push_str(line);
        program.push('\n');
    }
    (program, modules)
}

/// The text with blanks in place of comments and of what stands in quotes.
fn blank(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let len = match first {
            '/' if rest.starts_with("//") => rest.find('\n').unwrap_or(rest.len()),
            '/' if rest.starts_with("/*") => rest.find("*/").map_or(rest.len(), |at| at + 2),
            '"' => quoted_len(rest),
            'r' if is_raw(&code, rest) => raw_len(rest),
            '\'' => char_len(rest),
            _ => {
                code.push(first);
                rest = &rest[first.len_utf8()..];
                continue;
            }
        };
        let skipped = &rest[..len];
        code.extend(
            skipped
                .chars()
                .map(|it| if it == '\n' { '\n' } else { ' ' }),
        );
        rest = &rest[len..];
    }
    code
}

/// Length of a text with its quotes.
fn quoted_len(text: &str) -> usize {
    let mut escaped = false;
    for (at, sign) in text.char_indices().skip(1) {
        match sign {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

fn is_raw(before: &str, text: &str) -> bool {
    let front = before.strip_suffix('b').unwrap_or(before);
    let in_name = front.ends_with(|it: char| it.is_alphanumeric() || it == '_');
    !in_name && text[1..].trim_start_matches('#').starts_with('"')
}

/// Length of a raw text with its quotes.
fn raw_len(text: &str) -> usize {
    let hashes = text[1..].chars().take_while(|it| *it == '#').count();
    let start = 2 + hashes;
    let end = format!("\"{}", "#".repeat(hashes));
    text[start..]
        .find(&end)
        .map_or(text.len(), |at| start + at + end.len())
}

/// Length of a character with its quotes; that of the quote alone where a lifetime begins.
fn char_len(text: &str) -> usize {
    let mut signs = text.char_indices().skip(1);
    match signs.next() {
        Some((_, '\\')) => text[3..].find('\'').map_or(text.len(), |at| at + 4),
        Some(_) => match signs.next() {
            Some((at, '\'')) => at + 1,
            _ => 1,
        },
        None => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(path: &str, code: &str) -> Source {
        Source {
            path: path.to_owned(),
            lines: 1,
            code: without_tests(&blank(code)).0,
        }
    }

    #[test]
    fn finds_imports_of_every_form() {
        let code = "use crate::topic::Name;\nuse crate::{http::{a, b}, ws, self};\n\
                    use super::super::api;\nlet x = crate::worker::run(); // crate::no\n\
                    let y = \"crate::no\"; use super::own; mycrate::no();\n\
                    #[cfg(test)]\nmod tests {\n use crate::server;\n}";
        let imports = source("session/a.rs", code).imports();
        let expected = [
            (1, "topic"),
            (2, "http"),
            (2, "ws"),
            (3, "api"),
            (4, "worker"),
        ];
        let expected: Vec<_> = expected
            .map(|(line, name)| (line, name.to_owned()))
            .to_vec();
        assert_eq!(imports, expected);
        let imports = source("session/mod.rs", "use super::api;").imports();
        assert_eq!(imports, [(1, "api".to_owned())]);
    }

    #[test]
    fn finds_words_and_no_parts_of_words() {
        let code = "mio::Poll; premio; mio_x;\nx.unwrap(); unwrap_or();\nr#\"mio\"#; b'\"'; mio;\n\
                    '\\''; /* mio\nmio */ let a: &'static str = \"mio \\\" mio\"; mio!";
        let source = source("a.rs", code);
        assert_eq!(source.lines_with("mio").collect::<Vec<_>>(), [1, 3, 5]);
        assert_eq!(source.lines_with(".unwrap()").collect::<Vec<_>>(), [2]);
    }

    #[test]
    fn knows_modules_that_are_tests() {
        let (_, modules) =
            without_tests("#[cfg(test)]\nmod tests;\nmod a;\n#[cfg(test)]\nfn b() {}");
        assert_eq!(modules, ["tests"]);
    }
}
