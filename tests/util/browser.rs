//! A browser with pages of the test's own, which report to it what they see.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

/// A browser takes its time to start, on a busy machine above all.
const DEADLINE: Duration = Duration::from_secs(60);

/// What the page reports, as it comes.
pub struct Reports {
    receiver: Receiver<Value>,
    seen: Vec<Value>,
}

impl Reports {
    /// Of these pages, each served at its listener.
    pub fn of_pages(pages: impl IntoIterator<Item = (TcpListener, String)>) -> Reports {
        let (sender, receiver) = channel();
        for (listener, page) in pages {
            let sender = sender.clone();
            thread::spawn(move || serve_page(&listener, &page, &sender));
        }
        Reports {
            receiver,
            seen: Vec::new(),
        }
    }

    /// The first report, of those that came or come, that is `wanted`.
    ///
    /// # Panics
    ///
    /// When there is none within a minute.
    pub fn wait(&mut self, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let end = Instant::now() + DEADLINE;
        if let Some(report) = self.seen.iter().find(|it| wanted(it)) {
            return report.clone();
        }
        loop {
            let remaining = end.saturating_duration_since(Instant::now());
            let Ok(report) = self.receiver.recv_timeout(remaining) else {
                panic!("{what} was not reported, but {:#?}", self.seen);
            };
            self.seen.push(report.clone());
            if wanted(&report) {
                return report;
            }
        }
    }

    /// All reports so far from one part of the page.
    pub fn of(&mut self, from: &str) -> Vec<&Value> {
        self.seen.extend(self.receiver.try_iter());
        self.seen.iter().filter(|it| it["from"] == from).collect()
    }
}

/// A headless browser. Dropping it ends it.
pub struct Browser {
    child: Child,
    profile: tempfile::TempDir,
}

impl Browser {
    /// Starts it with a page.
    ///
    /// # Panics
    ///
    /// When none is installed.
    pub fn open(url: &str) -> Browser {
        Browser::open_with(&[], url)
    }

    /// Starts it with a page and with more switches.
    ///
    /// # Panics
    ///
    /// When none is installed.
    pub fn open_with(more: &[&str], url: &str) -> Browser {
        let profile = tempfile::tempdir().expect("a directory can be made");
        let switches = [
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--disable-dev-shm-usage",
            // Sites of which all are here.
            "--host-resolver-rules=MAP *.example 127.0.0.1",
        ];
        let names = ["chromium", "chromium-browser", "google-chrome"];
        let mut started = names.iter().filter_map(|name| {
            let mut command = Command::new(name);
            command.args(switches).args(more).arg(url);
            let directory = format!("--user-data-dir={}", profile.path().display());
            command.arg(directory).stdin(Stdio::null());
            command.stdout(Stdio::null()).stderr(Stdio::null());
            command.spawn().ok()
        });
        let child = started
            .next()
            .expect("a browser is needed: the Debian package chromium");
        Browser { child, profile }
    }

    /// What a file of its profile says.
    pub fn file(&self, name: &str) -> Option<String> {
        std::fs::read_to_string(self.profile.path().join(name)).ok()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // It may have ended by itself, which the test would have seen.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A listener for a page, and where it is.
///
/// # Panics
///
/// When no port is free.
pub fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port is free");
    let address = listener.local_addr().expect("the listener is bound");
    (listener, address)
}

/// Answers each request with the page, or takes its report.
fn serve_page(listener: &TcpListener, page: &str, reports: &Sender<Value>) {
    for stream in listener.incoming().map_while(Result::ok) {
        // A browser opens connections in advance, which must not hold up the others.
        let (page, reports) = (page.to_owned(), reports.clone());
        thread::spawn(move || serve_connection(stream, &page, &reports));
    }
}

fn serve_connection(stream: TcpStream, page: &str, reports: &Sender<Value>) -> Option<()> {
    let mut input = BufReader::new(stream.try_clone().ok()?);
    let mut output = stream;
    loop {
        let (method, length) = read_head(&mut input)?;
        let mut body = vec![0; length];
        input.read_exact(&mut body).ok()?;
        let text = match method.as_str() {
            "POST" => {
                reports.send(serde_json::from_slice(&body).ok()?).ok()?;
                ""
            }
            _ => page,
        };
        write!(
            output,
            "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {}\r\n\r\n{text}",
            text.len()
        )
        .ok()?;
    }
}

/// The method of the next request and the length of its body.
fn read_head(input: &mut impl BufRead) -> Option<(String, usize)> {
    let (mut method, mut length) = (None, 0);
    loop {
        let mut line = String::new();
        if input.read_line(&mut line).ok()? == 0 {
            return None;
        }
        let line = line.trim_end();
        if line.is_empty() {
            return Some((method?, length));
        }
        if method.is_none() {
            method = line.split(' ').next().map(str::to_owned);
        }
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse().ok()?;
        }
    }
}
