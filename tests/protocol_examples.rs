//! The examples of `docs/PROTOCOL.md` do what they show: they are executed, in their order, against
//! a server, and read as the first table of the document says. This needs curl.

use std::collections::{BTreeMap, HashMap};
use std::io::Read;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::Instant;

use test_util::{Client, DEADLINE, Event, Server, contract, with_workers};

const DOCUMENT: &str = include_str!("../docs/PROTOCOL.md");
/// The settings that the document says its examples are executed with.
const FLAGS: [&str; 3] = ["--dead-letter-topic", "dead-letters", "--ws-compression"];
/// Where the document says that the server is.
const SHOWN_HOST: &str = "http://localhost:8080";
/// Characters of a message id before the hash of its topic, which is the same everywhere.
const HASH_AT: usize = "msg_".len() + 18;

#[test]
fn the_examples_do_what_they_show() {
    let blocks = blocks(DOCUMENT);
    assert!(blocks.len() > 20, "only {} blocks", blocks.len());
    let flags = FLAGS.join(" ");
    assert!(DOCUMENT.contains(&format!("`pulsar-proxy {flags}`")));
    with_workers(|workers| {
        let server = Server::start(&[&["--workers", workers][..], &FLAGS].concat());
        let mut known = Known::default();
        for steps in &blocks {
            let mut run = Run {
                server: &server,
                known: &mut known,
                clients: BTreeMap::new(),
            };
            steps.iter().for_each(|step| run.take(step));
            run.end();
        }
    });
}

#[test]
fn what_the_examples_send_and_get_is_as_asyncapi_tells() {
    let mut sent = 0;
    for steps in blocks(DOCUMENT) {
        for (index, step) in steps.iter().enumerate() {
            let Action::Send(client, text) = &step.action else {
                continue;
            };
            if text == "close" {
                continue;
            }
            sent += 1;
            let answer = steps[index + 1..].iter().find_map(|it| match &it.action {
                Action::Expect(name, text) if name == client => Some(text),
                _ => None,
            });
            let is_refused = answer.is_some_and(|it| it.contains(r#""type":"error""#));
            let wrong = contract::wrong_with_message("receive", text);
            let spaces = text.contains("no spaces");
            assert_eq!(
                wrong.is_some(),
                is_refused && !spaces,
                "line {}: {wrong:?}",
                step.line
            );
        }
    }
    assert!(sent > 20, "only {sent}");
}

#[test]
fn differences_are_noticed() {
    let (shown, real) = (id("0a", "t"), id("1b", "t"));
    let learned = |known: &mut Known| known.learn(&format!("<{shown}>"), &format!("<{real}>"));
    let mut known = Known::default();
    assert!(learned(&mut known) && learned(&mut known));
    assert_eq!(known.replace_in(&format!("?{shown}&")), format!("?{real}&"));
    assert!(!known.learn(&shown, &id("2c", "t")), "not the same again");
    assert!(
        !known.learn(&id("3d", "t"), &real),
        "not the one that it was"
    );
    assert!(
        !known.learn(&id("4e", "t"), &id("4e", "u")),
        "another topic"
    );
    assert!(!known.learn(&id("4e", "t"), "cur_0123456789"), "no id");
    assert!(known.learn("a…c…", "abbc") && known.learn("a\n…\nc", "a\nb\nb\nc"));
    for (shown, actual) in [("a…c", "ab"), ("ab", "abc"), ("abc", "ab"), ("", "a")] {
        assert!(!known.learn(shown, actual), "{shown} is not {actual}");
    }
}

fn id(position: &str, topic: &str) -> String {
    format!("msg_{position:0>14}0000{topic:0>12}")
}

/// One line of an example, with what belongs to it.
struct Step {
    /// Line of the document, from 1.
    line: usize,
    action: Action,
}

enum Action {
    /// A shell runs the command and prints this.
    Command(String, String),
    /// The client of this name sends a message or closes.
    Send(String, String),
    /// The client of this name gets a message or a close frame.
    Expect(String, String),
}

/// The steps of each block that is to be executed.
fn blocks(document: &str) -> Vec<Vec<Step>> {
    let (mut blocks, mut lines) = (Vec::new(), document.lines().zip(1..));
    while let Some((line, number)) = lines.next() {
        let Some(kind) = line.strip_prefix("```") else {
            continue;
        };
        let block: Vec<(&str, usize)> = lines.by_ref().take_while(|it| it.0 != "```").collect();
        match kind {
            "text" => {}
            "console" => blocks.push(steps(&block)),
            _ => panic!("line {number}: a block of an unknown kind"),
        }
    }
    blocks
}

fn steps(block: &[(&str, usize)]) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    for (text, line) in joined(block) {
        let sender = |mark| text.split_once(mark).filter(|(name, _)| name.len() < 2);
        let action = if let Some(command) = text.strip_prefix("$ ") {
            Action::Command(command.to_owned(), String::new())
        } else if let Some((client, message)) = sender("> ") {
            Action::Send(client.to_owned(), message.to_owned())
        } else if let Some((client, message)) = sender("< ") {
            Action::Expect(client.to_owned(), message.to_owned())
        } else if let Some(Action::Command(_, output)) = steps.last_mut().map(|it| &mut it.action) {
            output.push_str(&text);
            output.push('\n');
            continue;
        } else {
            panic!("line {line}: {text} belongs to no command");
        };
        steps.push(Step { line, action });
    }
    steps
}

/// Lines that were broken for the document, as one.
fn joined(block: &[(&str, usize)]) -> Vec<(String, usize)> {
    let mut lines: Vec<(String, usize)> = Vec::new();
    for (text, number) in block {
        match lines.last_mut() {
            Some((last, _)) if text.starts_with("  ") => {
                if last.ends_with('\\') {
                    last.pop();
                }
                last.push_str(text.trim_start());
            }
            _ => lines.push(((*text).to_owned(), *number)),
        }
    }
    lines
}

/// The execution of one block.
struct Run<'a> {
    server: &'a Server,
    known: &'a mut Known,
    clients: BTreeMap<String, Client>,
}

impl Run<'_> {
    fn take(&mut self, step: &Step) {
        let line = step.line;
        match &step.action {
            Action::Command(command, output) => self.command(command, output, line),
            Action::Send(name, text) if text == "close" => {
                let client = self.clients.remove(name);
                client.expect("it was opened in this block").close();
            }
            Action::Send(name, text) => {
                let text = self.known.replace_in(text);
                self.client(name).send_text(&text);
            }
            Action::Expect(name, shown) => {
                let actual = match self.client(name).next(DEADLINE) {
                    Event::Text(text) => text,
                    Event::Close(Some(code)) => format!("close {code}"),
                    other => format!("{other:?}"),
                };
                self.compare(shown, &actual, line);
            }
        }
    }

    fn client(&mut self, name: &str) -> &mut Client {
        let address = self.server.addr();
        let client = self.clients.entry(name.to_owned());
        client.or_insert_with(|| Client::connect(address))
    }

    fn command(&mut self, command: &str, shown: &str, line: usize) {
        assert!(command.starts_with("curl "), "line {line}: {command}");
        let host = format!("http://{}", self.server.addr());
        let command = self.known.replace_in(command).replace(SHOWN_HOST, &host);
        let mut program = Program::start(&command);
        match shown.strip_suffix("^C\n") {
            None => {
                program.read_until(|_| false);
                self.compare(shown.trim_end(), program.output().trim_end(), line);
            }
            Some(shown) => {
                let known = &mut *self.known;
                program.read_until(|output| known.learn(shown, output));
                self.compare(shown, program.output(), line);
            }
        }
    }

    fn compare(&mut self, shown: &str, actual: &str, line: usize) {
        let is_same = self.known.learn(shown, actual);
        let known = self.known.replace_in(shown);
        assert!(is_same, "line {line} shows\n{known}\nbut it is\n{actual}");
    }

    fn end(self) {
        self.clients.into_values().for_each(Client::close);
    }
}

/// A command that runs; stopped when dropped.
struct Program {
    child: Child,
    chunks: Receiver<Vec<u8>>,
    output: String,
}

impl Program {
    fn start(command: &str) -> Program {
        let mut child = Command::new("sh")
            .args(["-c", &format!("exec {command}")])
            .env("NO_PROXY", "*")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a shell can be started");
        let mut stdout = child.stdout.take().expect("standard output is piped");
        let (sender, chunks) = mpsc::channel();
        std::thread::spawn(move || {
            let mut chunk = [0; 4096];
            while let Ok(count @ 1..) = stdout.read(&mut chunk) {
                // Nobody waits for more once the program was stopped.
                let _ = sender.send(chunk[..count].to_vec());
            }
        });
        Program {
            child,
            chunks,
            output: String::new(),
        }
    }

    /// Reads until the output is enough, has ended or does not come in time.
    fn read_until(&mut self, mut is_enough: impl FnMut(&str) -> bool) {
        let (end, mut bytes) = (Instant::now() + DEADLINE, Vec::new());
        while !is_enough(&self.output) {
            let rest = end.saturating_duration_since(Instant::now());
            let Ok(chunk) = self.chunks.recv_timeout(rest) else {
                return;
            };
            bytes.extend(chunk);
            self.output = String::from_utf8_lossy(&bytes).replace('\r', "");
        }
    }

    fn output(&self) -> &str {
        &self.output
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // Both fail only for a process that has already ended and been reaped.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What the ids, cursors and times of the document stand for in this run.
#[derive(Clone, Default)]
struct Known {
    real: HashMap<String, String>,
}

impl Known {
    /// The text with all that is known put in place.
    fn replace_in(&self, text: &str) -> String {
        let (mut replaced, mut rest) = (String::new(), text);
        while let Some(first) = rest.chars().next() {
            let len = variable(rest).map_or(first.len_utf8(), |(_, len)| len);
            let (piece, behind) = rest.split_at(len);
            replaced.push_str(self.real.get(piece).map_or(piece, String::as_str));
            rest = behind;
        }
        replaced
    }

    /// Whether `actual` is what `shown` shows. If so, what stands in it is known from then on.
    fn learn(&mut self, shown: &str, actual: &str) -> bool {
        let learned = self.clone().matched(shown, actual);
        let is_match = learned.is_some();
        if let Some(learned) = learned {
            *self = learned;
        }
        is_match
    }

    fn matched(mut self, mut shown: &str, mut actual: &str) -> Option<Known> {
        while let Some(first) = shown.chars().next() {
            if first == '…' {
                let behind = &shown[first.len_utf8()..];
                let mut starts = (0..=actual.len()).filter(|at| actual.is_char_boundary(*at));
                return starts.find_map(|at| self.clone().matched(behind, &actual[at..]));
            }
            let (shown_len, actual_len) = match variable(shown) {
                None => (first.len_utf8(), first.len_utf8()),
                Some((kind, len)) => (len, variable(actual).filter(|it| it.0 == kind)?.1),
            };
            let (piece, real) = (&shown[..shown_len], actual.get(..actual_len)?);
            let is_same = match variable(shown) {
                None => piece == real,
                Some((kind, _)) => self.stands_for(kind, piece, real),
            };
            if !is_same {
                return None;
            }
            (shown, actual) = (&shown[shown_len..], &actual[actual_len..]);
        }
        actual.is_empty().then_some(self)
    }

    /// Each stands for one thing, and for each thing stands one; but two times may be equal.
    fn stands_for(&mut self, kind: &str, shown: &str, real: &str) -> bool {
        if kind == "msg_" && shown[HASH_AT..] != real[HASH_AT..] {
            return false;
        }
        if let Some(known) = self.real.get(shown) {
            return known == real;
        }
        let is_free = kind == "time" || self.real.values().all(|known| known != real);
        self.real.insert(shown.to_owned(), real.to_owned());
        is_free
    }
}

/// Kind and length of what the text begins with, if that differs from run to run.
fn variable(text: &str) -> Option<(&'static str, usize)> {
    let word = |from: usize| {
        let bytes = text.as_bytes().get(from..).unwrap_or_default().iter();
        bytes
            .take_while(|byte| byte.is_ascii_alphanumeric())
            .count()
    };
    for (kind, least) in [("msg_", 30), ("cur_", 4), ("sess_", 16), ("req_", 16)] {
        if text.starts_with(kind) && word(kind.len()) >= least {
            return Some((kind, kind.len() + word(kind.len())));
        }
    }
    let is_like = |form: &str| {
        let bytes = text.bytes().zip(form.bytes());
        text.len() >= form.len()
            && bytes.fold(true, |same, (byte, like)| {
                same && (byte == like || like == b'0' && byte.is_ascii_digit())
            })
    };
    let (time, stream_id) = ("0000-00-00T00:00:00.000000Z", "0000000000000-");
    if is_like(time) {
        Some(("time", time.len()))
    } else if is_like(stream_id) && word(stream_id.len()) > 0 {
        Some(("stream id", stream_id.len() + word(stream_id.len())))
    } else {
        None
    }
}
