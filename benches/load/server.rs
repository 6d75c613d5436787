//! The server under load: started for the occasion, or one that runs already.

use std::io::{BufRead, BufReader, Read};
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;

use crate::Outcome;
use crate::accounting::Process;
use crate::args::Common;

/// How its log line names the address it listens on.
const LOOPBACK: &str = "127.0.0.1:";

pub(crate) struct Server {
    /// None when it was not started here.
    child: Option<Child>,
    pub(crate) address: SocketAddr,
    pub(crate) process: Process,
}

impl Server {
    /// Starts the server on a free port, or takes the one named by `--url` and `--pid`.
    pub(crate) fn start(common: &Common, arguments: &[String]) -> Outcome<Self> {
        if let (Some(url), Some(pid)) = (&common.url, common.pid) {
            let authority = url.trim_start_matches("http://").trim_end_matches('/');
            let address = authority
                .to_socket_addrs()?
                .next()
                .ok_or("no address in --url")?;
            return Ok(Self {
                child: None,
                address,
                process: Process::new(pid),
            });
        }
        let built = Path::new(env!("CARGO_BIN_EXE_pulsar-proxy"));
        let mut command = Command::new(common.server.as_deref().unwrap_or(built));
        command.args(["--port", "0", "--workers", &common.workers.to_string()]);
        // What the command line gives replaces what the scenario would.
        let flag = |argument: &String| argument.split('=').next().map(str::to_owned);
        let is_given = |argument: &&String| {
            let mut given = common.server_arg.iter();
            given.any(|other| flag(other) == flag(argument))
        };
        command.args(arguments.iter().filter(|it| !is_given(it)));
        command.args(&common.server_arg);
        Self::spawn(command, common.verbose)
    }

    /// Starts the bare floor with so many threads.
    pub(crate) fn floor(workers: usize) -> Outcome<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["floor-server", "--workers", &workers.to_string()]);
        Self::spawn(command, true)
    }

    fn spawn(mut command: Command, verbose: bool) -> Outcome<Self> {
        let mut child = command
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()?;
        let process = Process::new(child.id());
        let log = child.stderr.take().ok_or("no stderr")?;
        // From here on an error must not leave the child behind: the guard ends it.
        let mut server = Self {
            child: Some(child),
            address: ([127, 0, 0, 1], 0).into(),
            process,
        };
        let mut log = BufReader::new(log);
        server.address = find_address(&mut log)?;
        thread::spawn(move || pass_on(log, verbose));
        Ok(server)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            // It may have ended by itself; then there is nothing left to end or wait for.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Reads log lines up to the one that names the port.
fn find_address(log: &mut impl BufRead) -> Outcome<SocketAddr> {
    let mut lines = String::new();
    loop {
        let from = lines.len();
        if log.read_line(&mut lines)? == 0 {
            return Err(format!("the server did not start:\n{lines}").into());
        }
        if let Some((_, rest)) = lines[from..].split_once(LOOPBACK) {
            let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
            match digits.parse() {
                Ok(0) | Err(_) => {}
                Ok(port) => return Ok(([127, 0, 0, 1], port).into()),
            }
        }
    }
}

/// Keeps the pipe empty, so that the server never waits for its log.
fn pass_on(mut log: impl Read, verbose: bool) {
    // The log ends with the server; how does not matter here.
    let _ = match verbose {
        true => std::io::copy(&mut log, &mut std::io::stderr()),
        false => std::io::copy(&mut log, &mut std::io::sink()),
    };
}
