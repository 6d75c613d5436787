//! `pulsar-proxy sub`, as its user runs it: a process that prints a line for each message.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Instant;

use serde_json::Value;
use test_util::DEADLINE;

/// One that runs, and what it has printed.
pub(crate) struct Subscriber {
    child: Child,
    lines: Receiver<String>,
    printed: Vec<Value>,
}

impl Subscriber {
    /// Starts it, with these arguments in addition.
    pub(crate) fn start(address: SocketAddr, topics: &[&str], more: &[&str]) -> Subscriber {
        let mut child = Command::new(env!("CARGO_BIN_EXE_pulsar-proxy"))
            .arg("sub")
            .args(topics)
            .args(["--url", &format!("http://{address}"), "--json"])
            .args(more)
            .env_clear()
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .expect("the program can be started");
        let stdout = child.stdout.take().expect("standard output is piped");
        let (tell, lines) = channel();
        thread::spawn(move || {
            let lines = BufReader::new(stdout).lines().map_while(Result::ok);
            for line in lines {
                if tell.send(line).is_err() {
                    return;
                }
            }
        });
        Subscriber {
            child,
            lines,
            printed: Vec::new(),
        }
    }

    /// What it has printed, up to these messages, the last of their topics, which must come within the deadline.
    pub(crate) fn read_up_to(&mut self, last: &[String]) -> &[Value] {
        let end = Instant::now() + DEADLINE;
        let mut missing: Vec<&String> = last.iter().collect();
        missing.retain(|id| !self.printed.iter().any(|it| it["message_id"] == **id));
        while !missing.is_empty() {
            let left = end.saturating_duration_since(Instant::now());
            let line = self.lines.recv_timeout(left);
            let line = line.unwrap_or_else(|_| panic!("{missing:?} are not printed in time"));
            let value: Value = serde_json::from_str(&line).expect("a line is JSON");
            missing.retain(|id| value["message_id"] != **id);
            self.printed.push(value);
        }
        &self.printed
    }

    /// Waits until it has printed something.
    pub(crate) fn wait_for_first(&mut self) {
        let line = self
            .lines
            .recv_timeout(DEADLINE)
            .expect("it prints something in time");
        self.printed
            .push(serde_json::from_str(&line).expect("a line is JSON"));
    }

    /// Ends it as a user would, and checks that it has printed nothing else.
    pub(crate) fn stop(mut self) {
        let kill = format!("kill -INT {}", self.child.id());
        let status = Command::new("sh").args(["-c", &kill]).status();
        assert!(status.expect("a shell can be started").success());
        let status = self.child.wait().expect("it is ours");
        assert_eq!(status.code(), Some(0));
        assert_eq!(self.lines.iter().next(), None, "it prints nothing more");
    }
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        // Both fail only for a process that has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
