//! A server that is started for the occasion, and ends with it.

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError, SyncSender};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use super::Outcome;
use super::process::Process;

/// How its log line names the address it listens on.
const LOOPBACK: &str = "127.0.0.1:";
/// How long it may take until it says so.
const START_TIMEOUT: Duration = Duration::from_secs(20);
/// Of what it says before, in bytes.
const FIRST_WORDS_MAX: u64 = 64 * 1024;

/// All that are running, so that a signal that ends this process can end them. Whoever starts or ends one holds
/// the lock meanwhile: none is between two hands when that happens.
static RUNNING: Mutex<Vec<Child>> = Mutex::new(Vec::new());

/// A process that is ended when this is dropped.
pub struct Spawned {
    /// Where it listens.
    pub address: SocketAddr,
    /// Itself.
    pub process: Process,
}

impl Spawned {
    /// Starts a program that tells on stderr at which port of 127.0.0.1 it listens, and waits for that. What it
    /// says further is shown if `verbose`.
    ///
    /// # Errors
    /// When it cannot be started, ends, or does not tell in time.
    pub fn start(mut command: Command, verbose: bool) -> Outcome<Self> {
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        let mut running = running();
        let mut child = command.spawn()?;
        let (process, log) = (Process::new(child.id()), child.stderr.take());
        running.push(child);
        drop(running);
        // From here on an error must not leave the child behind: the guard ends it.
        let mut server = Self {
            address: ([127, 0, 0, 1], 0).into(),
            process,
        };
        let log = log.ok_or("no stderr")?;
        let (tell, told) = mpsc::sync_channel(1);
        thread::spawn(move || read_log(BufReader::new(log), &tell, verbose));
        server.address = match told.recv_timeout(START_TIMEOUT) {
            Ok(Ok(address)) => address,
            Ok(Err(words)) => return Err(format!("the server did not start:\n{words}").into()),
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                let waited = START_TIMEOUT.as_secs();
                let text = format!("the server has not said within {waited} s where it listens");
                return Err(text.into());
            }
        };
        Ok(server)
    }
}

impl Drop for Spawned {
    fn drop(&mut self) {
        let mut running = running();
        if let Some(at) = running
            .iter()
            .position(|child| child.id() == self.process.pid())
        {
            end(running.swap_remove(at));
        }
    }
}

/// Ends all. No other is started as long as the result is held.
pub(super) fn end_all() -> MutexGuard<'static, Vec<Child>> {
    let mut running = running();
    running.drain(..).for_each(end);
    running
}

fn running() -> MutexGuard<'static, Vec<Child>> {
    // Nothing is half done when a panic lets go of it.
    RUNNING.lock().unwrap_or_else(PoisonError::into_inner)
}

fn end(mut child: Child) {
    // It may have ended by itself; then there is nothing left to end or wait for.
    let _ = child.kill();
    let _ = child.wait();
}

/// Tells the address, or what was said instead; then keeps the pipe empty, so that the server never waits for
/// its log.
fn read_log(mut log: impl BufRead, tell: &SyncSender<Result<SocketAddr, String>>, verbose: bool) {
    let address = find_address(&mut (&mut log).take(FIRST_WORDS_MAX));
    // Nobody waits for it any more when that took too long.
    let _ = tell.send(address);
    // The log ends with the server; how does not matter here.
    let _ = match verbose {
        true => std::io::copy(&mut log, &mut std::io::stderr()),
        false => std::io::copy(&mut log, &mut std::io::sink()),
    };
}

/// Reads log lines up to the one that names the port.
fn find_address(log: &mut impl BufRead) -> Result<SocketAddr, String> {
    let mut lines = String::new();
    loop {
        let from = lines.len();
        match log.read_line(&mut lines) {
            Ok(0) => return Err(lines),
            Ok(_) => {}
            Err(error) => return Err(lines + &error.to_string()),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_port_is_found_behind_other_lines() {
        let mut log =
            &b"a line\naddress=127.0.0.1:0\nlistening address=127.0.0.1:4711 workers=2\n"[..];
        assert_eq!(find_address(&mut log), Ok(([127, 0, 0, 1], 4711).into()));
        let mut log = &b"pulsar-proxy: no such setting\n"[..];
        let said = find_address(&mut log).unwrap_err();
        assert_eq!(said, "pulsar-proxy: no such setting\n");
    }
}
