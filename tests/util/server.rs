//! The program under test: started on a port of its own, stopped and reaped when dropped.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::{DEADLINE, Http, Response, metrics, secrets, wait_until};

/// Time for the last metrics of a server.
const LAST_WORD: Duration = Duration::from_secs(2);

/// A running server. Dropping it kills and reaps the process; a server that died or panicked
/// on its own fails the test.
pub struct Server {
    child: Child,
    address: SocketAddr,
    log: Arc<Log>,
    stopped: bool,
}

/// The program before it runs: arguments, environment and limits.
#[derive(Default)]
pub struct Program {
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
    directory: Option<PathBuf>,
    descriptors_max: Option<u32>,
}

/// Standard error of the program, as far as it has been written.
#[derive(Default)]
struct Log {
    state: Mutex<LogState>,
    changed: Condvar,
}

#[derive(Default)]
struct LogState {
    lines: Vec<String>,
    ended: bool,
}

impl Program {
    /// The program with these arguments and nothing else; no port is chosen.
    pub fn new(arguments: &[&str]) -> Self {
        Program {
            arguments: arguments.iter().map(ToString::to_string).collect(),
            ..Self::default()
        }
    }

    /// Sets a variable. The environment is otherwise empty, so that no setting comes in unseen.
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Runs in `directory` instead of `/`.
    pub fn directory(mut self, directory: impl Into<PathBuf>) -> Self {
        self.directory = Some(directory.into());
        self
    }

    /// Limits open files, soft and hard.
    pub fn descriptors_max(mut self, limit: u32) -> Self {
        self.descriptors_max = Some(limit);
        self
    }

    /// Starts the program on a free port and waits until it listens.
    ///
    /// # Panics
    ///
    /// When it does not say within [`DEADLINE`] where it listens.
    pub fn start(mut self) -> Server {
        if !self.arguments.iter().any(|argument| argument == "--port") {
            self.arguments.extend(["--port", "0"].map(str::to_owned));
        }
        let (child, log) = self.spawn();
        let mut server = Server {
            child,
            address: ([0, 0, 0, 0], 0).into(),
            log,
            stopped: false,
        };
        match server.log.wait_for_address() {
            Some(address) => server.address = address,
            None => {
                server.stopped = true;
                panic!("the server did not start:\n{}", server.log.text());
            }
        }
        server
    }

    /// Runs the program to its end, which must come within [`DEADLINE`]; returns the exit code and
    /// standard error.
    ///
    /// # Panics
    ///
    /// When it goes on running.
    pub fn run(self) -> (Option<i32>, String) {
        let (mut child, log) = self.spawn();
        let Some(status) = wait_for_exit(&mut child, DEADLINE) else {
            kill(&mut child);
            panic!("the program goes on running:\n{}", log.text());
        };
        log.wait_for_end();
        (status.code(), log.text())
    }

    fn spawn(mut self) -> (Child, Arc<Log>) {
        let values = self.arguments.iter().skip(1);
        let flags = self.arguments.iter().zip(values);
        let variables = self.environment.iter().map(|(name, value)| (name, value));
        let settings = flags.chain(variables);
        secrets::note_settings(settings.map(|(name, value)| (&**name, &**value)));
        if !self
            .arguments
            .iter()
            .any(|argument| argument == "--log-format")
        {
            self.arguments
                .extend(["--log-format", "json"].map(str::to_owned));
        }
        let mut command = match self.descriptors_max {
            None => Command::new(binary()),
            Some(limit) => {
                let mut shell = Command::new("sh");
                let script = format!("ulimit -n {limit}; exec \"$0\" \"$@\"");
                shell.args(["-c", &script]).arg(binary());
                shell
            }
        };
        command
            .args(&self.arguments)
            .env_clear()
            .envs(kept_environment())
            .envs(self.environment)
            .current_dir(self.directory.unwrap_or_else(|| PathBuf::from("/")))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        let mut child = command.spawn().expect("the program can be started");
        let stderr = child.stderr.take().expect("standard error is piped");
        let log = Arc::new(Log::default());
        let writer = Arc::clone(&log);
        std::thread::spawn(move || writer.collect(BufReader::new(stderr)));
        (child, log)
    }
}

impl Server {
    /// Starts a server on a free port of 127.0.0.1 with these flags in addition.
    pub fn start(flags: &[&str]) -> Server {
        Program::new(flags).start()
    }

    /// Where the server listens.
    pub fn addr(&self) -> SocketAddr {
        self.address
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Resident memory in bytes.
    pub fn rss(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid()))
            .expect("the process is alive");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kibibytes = line.and_then(|rest| rest.trim().strip_suffix(" kB"));
        kibibytes
            .and_then(|number| number.parse::<u64>().ok())
            .expect("VmRSS is a number")
            * 1024
    }

    /// Number of descriptors that the process has open.
    pub fn open_descriptors(&self) -> usize {
        let directory = format!("/proc/{}/fd", self.pid());
        std::fs::read_dir(directory)
            .expect("the process is alive")
            .count()
    }

    /// Everything written to standard error so far.
    pub fn log(&self) -> String {
        self.log.text()
    }

    /// One GET on a connection of its own.
    pub fn get(&self, path: &str) -> Response {
        let mut http = Http::open(self.addr());
        http.request("GET", path, &[("Connection", "close")], b"")
    }

    /// Publishes any body on a connection of its own.
    pub fn post(&self, path: &str, body: impl AsRef<[u8]>) -> Response {
        Http::open(self.addr()).post(path, body)
    }

    /// Publishes a payload and returns the answer.
    ///
    /// # Panics
    ///
    /// When the answer is not 201.
    pub fn publish(&self, topic: &str, payload: &Value) -> Value {
        self.publish_message(&json!({"topic": topic, "payload": payload}))
    }

    /// Publishes a whole message and returns the answer.
    ///
    /// # Panics
    ///
    /// When the answer is not 201.
    pub fn publish_message(&self, message: &Value) -> Value {
        let response = self.post("/api/v1/messages", message.to_string());
        assert_eq!(response.status, 201, "{response:?}");
        response.json()
    }

    /// The page of metrics.
    pub fn metrics(&self) -> String {
        let response = self.get("/metrics");
        assert_eq!(response.status, 200, "{response:?}");
        response.text()
    }

    /// Sum of the samples of `name` that carry all of `labels`; 0 when there are none.
    pub fn metric(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        metrics::sum(&self.metrics(), name, labels)
    }

    /// Waits until a metric has a value.
    pub fn wait_for_metric(&self, name: &str, labels: &[(&str, &str)], value: f64) {
        let mut last = f64::NAN;
        let end = Instant::now() + DEADLINE;
        while Instant::now() < end {
            last = self.metric(name, labels);
            if last == value {
                return;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        panic!("{name}{labels:?} is {last}, not {value}");
    }

    /// Waits until `/ready` says that requests are welcome.
    ///
    /// # Panics
    ///
    /// When it does not within [`DEADLINE`].
    pub fn wait_until_ready(&self) {
        wait_until("ready", DEADLINE, || self.get("/ready").status == 200);
    }

    /// Waits until `/ready` says that requests had better go elsewhere.
    ///
    /// # Panics
    ///
    /// When it does not within [`DEADLINE`].
    pub fn wait_until_unready(&self) {
        wait_until("not ready", DEADLINE, || self.get("/ready").status == 503);
    }

    /// Number of open descriptors once no WebSocket is left and the number no longer changes.
    pub fn settled_descriptors(&self) -> usize {
        assert_eq!(self.get("/health").status, 200);
        self.wait_for_metric("proxy_websocket_connections_active", &[], 0.0);
        let mut last = self.open_descriptors();
        wait_until("descriptors settle", DEADLINE, || {
            let now = self.open_descriptors();
            std::mem::replace(&mut last, now) == now
        });
        last
    }

    /// Checks that the server answers, that no WebSocket is left and that descriptors are back at
    /// `base`, waiting for the server to notice that clients have gone.
    pub fn assert_recovered(&self, base: usize) {
        let health = self.get("/health");
        assert_eq!(health.status, 200, "{health:?}");
        self.wait_for_metric("proxy_websocket_connections_active", &[], 0.0);
        wait_until("descriptors are back", DEADLINE, || {
            self.open_descriptors() <= base
        });
    }

    /// Sends a signal such as `TERM`.
    pub fn signal(&self, name: &str) {
        // The shell's own kill, because not every machine has the program.
        let command = format!("kill -{name} {}", self.pid());
        let status = Command::new("sh").args(["-c", &command]).status();
        assert!(
            status.expect("a shell can be started").success(),
            "{command}"
        );
    }

    /// Waits for the process to end on its own and returns its exit code; `None` for a signal.
    ///
    /// # Panics
    ///
    /// When it does not end within `deadline`.
    pub fn wait(&mut self, deadline: Duration) -> Option<i32> {
        let status = wait_for_exit(&mut self.child, deadline);
        let status = status.unwrap_or_else(|| panic!("still running after {deadline:?}"));
        self.stopped = true;
        status.code()
    }

    /// Whether the process has ended.
    pub fn has_ended(&mut self) -> bool {
        let status = self.child.try_wait().expect("the child is ours");
        self.stopped |= status.is_some();
        status.is_some()
    }

    /// Stops the server with SIGTERM and returns its exit code.
    pub fn stop(&mut self) -> Option<i32> {
        self.signal("TERM");
        self.wait(DEADLINE)
    }
}

impl Server {
    /// What the metrics tell at the end, where credentials were shown; nothing if they cannot be had.
    fn last_metrics(&self) -> String {
        if self.stopped || !secrets::are_shown() || std::thread::panicking() {
            return String::new();
        }
        let told = || {
            let mut stream = TcpStream::connect_timeout(&self.address, LAST_WORD)?;
            stream.set_read_timeout(Some(LAST_WORD))?;
            let host = self.address;
            let head =
                format!("GET /metrics HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
            stream.write_all(head.as_bytes())?;
            let mut text = String::new();
            stream.read_to_string(&mut text)?;
            Ok::<_, io::Error>(text)
        };
        told().unwrap_or_default()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let died = !self.stopped && matches!(self.child.try_wait(), Ok(Some(_)));
        let metrics = self.last_metrics();
        kill(&mut self.child);
        self.log.wait_for_end();
        let log = self.log.text();
        let panicked = log.contains("panicked at");
        if !std::thread::panicking() {
            secrets::assert_absent(&log, "the log");
            secrets::assert_absent(&metrics, "the metrics");
        }
        if std::thread::panicking() {
            eprintln!("--- log of the server\n{log}---");
        } else if died || panicked {
            panic!("the server died or panicked:\n{log}");
        }
    }
}

impl Log {
    fn collect(&self, reader: impl BufRead) {
        for line in reader.lines().map_while(Result::ok) {
            self.lock().lines.push(line);
            self.changed.notify_all();
        }
        self.lock().ended = true;
        self.changed.notify_all();
    }

    fn wait_for_address(&self) -> Option<SocketAddr> {
        self.wait(|state| state.lines.iter().any(|line| listening(line).is_some()));
        self.lock().lines.iter().find_map(|line| listening(line))
    }

    fn wait_for_end(&self) {
        self.wait(|_| false);
    }

    /// Waits for `enough`, the end of the log or the deadline.
    fn wait(&self, enough: impl Fn(&LogState) -> bool) {
        let state = self.lock();
        let waiting = |state: &mut LogState| !state.ended && !enough(state);
        let result = self.changed.wait_timeout_while(state, DEADLINE, waiting);
        drop(result.unwrap_or_else(PoisonError::into_inner));
    }

    fn text(&self) -> String {
        self.lock()
            .lines
            .iter()
            .fold(String::new(), |text, line| text + line + "\n")
    }

    fn lock(&self) -> MutexGuard<'_, LogState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The address in the line that says where the server listens.
fn listening(line: &str) -> Option<SocketAddr> {
    let event: Value = serde_json::from_str(line).ok()?;
    if event.get("message")? != "listening" {
        return None;
    }
    event.get("address")?.as_str()?.parse().ok()
}

/// The built program, which Cargo names when it runs the tests.
pub(crate) fn binary() -> PathBuf {
    std::env::var_os("CARGO_BIN_EXE_pulsar-proxy").map_or_else(beside_the_tests, PathBuf::from)
}

/// Where Cargo puts the program when a test is started by hand: above the folder of the tests.
fn beside_the_tests() -> PathBuf {
    let test = std::env::current_exe().expect("a test knows its own path");
    let profile = test
        .ancestors()
        .nth(2)
        .expect("tests are in target/<profile>/deps");
    profile.join("pulsar-proxy")
}

/// Variables that a program needs to run, backtraces and coverage included.
pub(crate) fn kept_environment() -> impl Iterator<Item = (String, String)> {
    [
        "PATH",
        "HOME",
        "LD_LIBRARY_PATH",
        "RUST_BACKTRACE",
        "LLVM_PROFILE_FILE",
    ]
    .into_iter()
    .filter_map(|name| Some((name.to_owned(), std::env::var(name).ok()?)))
}

fn wait_for_exit(child: &mut Child, deadline: Duration) -> Option<ExitStatus> {
    let end = Instant::now() + deadline;
    loop {
        if let Some(status) = child.try_wait().expect("the child is ours") {
            return Some(status);
        }
        if Instant::now() >= end {
            return None;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn kill(child: &mut Child) {
    // Both fail only for a process that has already ended and been reaped.
    let _ = child.kill();
    let _ = child.wait();
}
