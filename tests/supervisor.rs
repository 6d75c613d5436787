//! What a supervisor that started the server hears of it, by the protocol of sd_notify(3).

use std::fs;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use test_util::{DEADLINE, Http, Program, Server, Valkey};

/// The supervisor's end of the line.
struct Supervisor {
    socket: UnixDatagram,
    directory: tempfile::TempDir,
}

impl Supervisor {
    fn new() -> Supervisor {
        let directory = tempfile::tempdir().expect("there is room");
        let socket = UnixDatagram::bind(directory.path().join("notify")).expect("the path is free");
        Supervisor { socket, directory }
    }

    fn address(&self) -> String {
        let path = self.directory.path().join("notify");
        path.into_os_string().into_string().expect("it is Unicode")
    }

    fn program(&self, flags: &[&str]) -> Program {
        Program::new(flags).env("NOTIFY_SOCKET", &self.address())
    }

    /// The next message; `None` if there is none for so long.
    fn next(&self, patience: Duration) -> Option<String> {
        let mut buffer = [0; 4096];
        let timeout = self.socket.set_read_timeout(Some(patience));
        timeout.expect("patience is not zero");
        match self.socket.recv(&mut buffer) {
            Ok(len) => Some(String::from_utf8_lossy(&buffer[..len]).into_owned()),
            Err(error) if error.kind() == ErrorKind::WouldBlock => None,
            Err(error) => panic!("{error}"),
        }
    }

    /// The next messages up to one that begins so, with it.
    fn until(&self, start: &str) -> Vec<String> {
        let mut heard = Vec::new();
        let end = Instant::now() + DEADLINE;
        while Instant::now() < end {
            let Some(message) = self.next(DEADLINE) else {
                break;
            };
            heard.push(message);
            if heard.last().is_some_and(|it| it.starts_with(start)) {
                return heard;
            }
        }
        panic!("no {start}, but {heard:?}");
    }
}

#[test]
fn a_whole_life_is_told_in_order() {
    let supervisor = Supervisor::new();
    let flags = ["--drain-delay", "1s", "--drain-timeout", "7s"];
    let mut server = supervisor.program(&flags).start();
    let serving = format!("STATUS=serving on {}", server.addr());
    assert_eq!(supervisor.until("READY=1"), [&*serving, "READY=1"]);

    server.signal("HUP");
    let reloading = &supervisor.until("READY=1");
    let [begins, ends] = reloading.as_slice() else {
        panic!("{reloading:?}");
    };
    let monotonic = begins.strip_prefix("RELOADING=1\nMONOTONIC_USEC=");
    let monotonic: u64 = monotonic.and_then(|it| it.parse().ok()).expect(begins);
    let uptime = fs::read_to_string("/proc/uptime").unwrap();
    let uptime: f64 = uptime.split(' ').next().unwrap().parse().unwrap();
    let age = uptime - monotonic as f64 / 1e6;
    assert!((-1.0..30.0).contains(&age), "{monotonic} against {uptime}");
    assert_eq!(ends, "READY=1");

    server.signal("TERM");
    let told = [
        "STOPPING=1",
        "STATUS=draining: /ready says no",
        "EXTEND_TIMEOUT_USEC=5000000",
        "STATUS=draining: connections are closed",
        "EXTEND_TIMEOUT_USEC=11000000",
    ];
    assert_eq!(supervisor.until("EXTEND_TIMEOUT_USEC=11"), told);
    assert_eq!(server.wait(DEADLINE), Some(0));
}

#[test]
fn the_watchdog_is_told_at_twice_its_rate() {
    let supervisor = Supervisor::new();
    let server = supervisor
        .program(&["--workers", "2"])
        .env("WATCHDOG_USEC", "400000")
        .start();
    supervisor.until("READY=1");
    let began = Instant::now();
    for _ in 0..5 {
        assert_eq!(supervisor.until("WATCHDOG=1"), ["WATCHDOG=1"]);
    }
    // Told late only when the machine is slow, but never early.
    let elapsed = began.elapsed();
    assert!(elapsed > Duration::from_millis(700), "{elapsed:?}");
    assert_eq!(server.get("/health").status, 200);
}

#[test]
fn a_watchdog_of_another_process_is_not_told() {
    let supervisor = Supervisor::new();
    let mut server = supervisor
        .program(&[])
        .env("WATCHDOG_USEC", "20000")
        .env("WATCHDOG_PID", "1")
        .start();
    supervisor.until("READY=1");
    server.signal("HUP");
    server.signal("TERM");
    let heard = supervisor.until("STATUS=draining");
    assert!(!heard.iter().any(|it| it == "WATCHDOG=1"), "{heard:?}");
    assert_eq!(server.wait(DEADLINE), Some(0));
}

#[test]
fn it_is_ready_when_the_store_has_answered() {
    let mut valkey = Valkey::start();
    valkey.kill();
    let port = valkey.port().to_string();
    let supervisor = Supervisor::new();
    let flags = ["--storage-backend", "valkey", "--valkey-port", &port];
    let server = supervisor.program(&flags).start();
    let first = supervisor
        .next(DEADLINE)
        .expect("the state is told at once");
    let unready = format!("STATUS=not ready on {}: ", server.addr());
    assert!(first.starts_with(&unready), "{first}");
    valkey.restart();
    let heard = supervisor.until("READY=1");
    let serving = format!("STATUS=serving on {}", server.addr());
    assert_eq!(heard.iter().rev().nth(1), Some(&serving), "{heard:?}");
    valkey.kill();
    supervisor.until(&unready);
}

#[test]
fn it_is_ready_without_a_store_that_does_not_come() {
    let mut valkey = Valkey::start();
    valkey.kill();
    let port = valkey.port().to_string();
    let supervisor = Supervisor::new();
    let began = Instant::now();
    let flags = ["--storage-backend", "valkey", "--valkey-port", &port];
    let server = supervisor.program(&flags).start();
    supervisor.until("READY=1");
    assert!(began.elapsed() > Duration::from_secs(9));
    assert_eq!(server.get("/ready").status, 503);
}

/// A worker's system call is held up from outside, as a hanging disk or a fault of the kernel would.
#[test]
fn the_watchdog_hears_nothing_while_a_worker_is_stuck() {
    let supervisor = Supervisor::new();
    let traced = Command::new("strace")
        .args(["-f", "-qq", "-o", "/dev/null", "-e", "trace=accept4"])
        .args(["-e", "inject=accept4:delay_enter=15000000:when=1"])
        .arg(program())
        .args(["--port", "0", "--workers", "1", "--log-format", "json"])
        .env("NOTIFY_SOCKET", supervisor.address())
        .env("WATCHDOG_USEC", "1000000")
        .env_remove("WATCHDOG_PID")
        .current_dir("/")
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("strace is installed (Debian: strace)");
    let _traced = Traced(traced);
    let heard = supervisor.until("READY=1");
    let address = heard[0]
        .strip_prefix("STATUS=serving on ")
        .expect(&heard[0]);
    let address: SocketAddr = address.parse().unwrap();
    supervisor.until("WATCHDOG=1");

    let connected = Http::open(address);
    // So long it takes to be sure that it is stuck; after that there is nothing for far more than the interval.
    let heard = supervisor.until("STATUS=not ready");
    assert_eq!(
        heard.last().unwrap(),
        &format!("STATUS=not ready on {address}: a worker is stalled")
    );
    assert_eq!(supervisor.next(Duration::from_secs(3)), None);
    // Then the call returns, the connection is served, and the watchdog told again.
    let heard = supervisor.until("WATCHDOG=1");
    let serving = format!("STATUS=serving on {address}");
    // Which of the two is due first is chance.
    if !heard.contains(&serving) {
        supervisor.until(&serving);
    }
    drop(connected);
}

#[test]
fn nothing_depends_on_a_supervisor_that_is_not_there() {
    let mut server = Program::new(&[])
        .env("NOTIFY_SOCKET", "/nowhere/notify")
        .env("WATCHDOG_USEC", "20000")
        .start();
    assert_eq!(server.get("/ready").status, 200);
    server.signal("HUP");
    assert_eq!(server.stop(), Some(0));
    let complaints = server
        .log()
        .matches("the supervisor could not be told")
        .count();
    assert_eq!(complaints, 1, "{}", server.log());
    let mut server = Server::start(&[]);
    assert_eq!(server.stop(), Some(0));
    assert!(!server.log().contains("supervisor"), "{}", server.log());
}

fn program() -> PathBuf {
    PathBuf::from(env!("CARGO_BIN_EXE_pulsar-proxy"))
}

/// A program and the one that traces it; both end when this is dropped.
struct Traced(Child);

impl Drop for Traced {
    fn drop(&mut self) {
        let children = format!("/proc/{0}/task/{0}/children", self.0.id());
        let children = fs::read_to_string(children).unwrap_or_default();
        for child in children.split_whitespace() {
            let mut shell = Command::new("sh");
            // What has ended by itself need not be ended.
            let _ = shell.args(["-c", "kill -KILL \"$0\"", child]).status();
        }
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
