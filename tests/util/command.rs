//! A command of the program that is no server: what goes in, and what it says.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use crate::server::{binary, kept_environment};
use crate::{DEADLINE, wait_until};

/// A command that runs in `/`, with nothing in its environment but what is given.
pub struct Running {
    child: Child,
    input: Option<ChildStdin>,
    lines: Receiver<String>,
    errors: Arc<Mutex<String>>,
    reading: Option<JoinHandle<()>>,
}

/// What a command came to.
#[derive(Debug)]
pub struct Ended {
    /// The exit code; `None` for a signal.
    pub code: Option<i32>,
    /// Standard output, as far as it was not taken before.
    pub output: String,
    /// Standard error.
    pub errors: String,
}

impl Running {
    /// Starts a command.
    ///
    /// # Panics
    ///
    /// When it cannot be started.
    pub fn start(arguments: &[&str], environment: &[(&str, &str)]) -> Running {
        let mut child = Command::new(binary())
            .args(arguments)
            .env_clear()
            .envs(kept_environment())
            .envs(environment.iter().copied())
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program can be started");
        let (tell, lines) = mpsc::channel();
        let stdout = BufReader::new(child.stdout.take().expect("standard output is piped"));
        thread::spawn(move || {
            let told = |line| tell.send(line).is_ok();
            stdout
                .lines()
                .map_while(Result::ok)
                .take_while(|line| told(line.clone()))
                .count()
        });
        let errors = Arc::new(Mutex::new(String::new()));
        let (mut stderr, to) = (
            child.stderr.take().expect("it is piped"),
            Arc::clone(&errors),
        );
        let reading = thread::spawn(move || {
            let mut chunk = [0; 4096];
            while let Ok(count @ 1..) = stderr.read(&mut chunk) {
                let text = String::from_utf8_lossy(&chunk[..count]);
                to.lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .push_str(&text);
            }
        });
        Running {
            input: child.stdin.take(),
            child,
            lines,
            errors,
            reading: Some(reading),
        }
    }

    /// Runs a command to its end; `input` is all that it can read.
    ///
    /// # Panics
    ///
    /// When it does not end within [`DEADLINE`].
    pub fn run(arguments: &[&str], environment: &[(&str, &str)], input: &str) -> Ended {
        let mut running = Running::start(arguments, environment);
        running.give(input);
        running.end()
    }

    /// Writes to its standard input.
    pub fn give(&mut self, text: &str) {
        let input = self.input.as_mut().expect("the input is open");
        // A command that reads nothing may have ended.
        let _ = input.write_all(text.as_bytes());
    }

    /// The next line of its standard output.
    ///
    /// # Panics
    ///
    /// When none comes within [`DEADLINE`].
    pub fn line(&self) -> String {
        let line = self.lines.recv_timeout(DEADLINE);
        line.unwrap_or_else(|_| panic!("no line; standard error:\n{}", self.errors()))
    }

    /// Waits for a text on standard error.
    ///
    /// # Panics
    ///
    /// When it does not come within [`DEADLINE`].
    pub fn wait_for(&self, text: &str) {
        wait_until(text, DEADLINE, || self.errors().contains(text));
    }

    /// How often a text stands on standard error.
    pub fn said(&self, text: &str) -> usize {
        self.errors().matches(text).count()
    }

    /// Standard error so far.
    pub fn errors(&self) -> String {
        self.errors
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal such as `TERM`.
    pub fn signal(&self, name: &str) {
        let command = format!("kill -{name} {}", self.child.id());
        let status = Command::new("sh").args(["-c", &command]).status();
        assert!(status.expect("a shell can be started").success());
    }

    /// Closes its input, and waits for its end.
    ///
    /// # Panics
    ///
    /// When it does not end within [`DEADLINE`].
    pub fn end(mut self) -> Ended {
        drop(self.input.take());
        let end = Instant::now() + DEADLINE;
        let mut output = String::new();
        while let Ok(line) = self
            .lines
            .recv_timeout(end.saturating_duration_since(Instant::now()))
        {
            output += &line;
            output.push('\n');
        }
        let mut code = None;
        wait_until("the command ends", DEADLINE, || {
            let status = self.child.try_wait().expect("the child is ours");
            code = status.map(|status| status.code());
            code.is_some()
        });
        if let Some(reading) = self.reading.take() {
            reading.join().expect("it only reads");
        }
        Ended {
            code: code.flatten(),
            output,
            errors: self.errors(),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Both fail only for a process that has already ended and been reaped.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
