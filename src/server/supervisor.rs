//! What the supervisor that started the server is told of its life, by the protocol of sd_notify(3): systemd speaks
//! it, and so do some container engines. Without its socket nothing is told.
//!
//! It is told `READY=1` once, reloading and stopping when they begin, a sentence for `systemctl status`, and
//! `WATCHDOG=1` at twice the rate that it asks for, for as long as no worker's loop is stuck.

use std::ffi::OsString;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::mpsc::RecvTimeoutError;
use std::time::{Duration, Instant};

use sd_notify::NotifyState;

use super::{Event, READY_TIMEOUT, Server};
use crate::valkey::Health;

/// Time that sending may take when the supervisor does not read. What it does not take by then is lost.
const SEND_TIMEOUT: Duration = Duration::from_secs(1);

/// Between two looks at a server that is not well: what ends meanwhile must be told in time.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// Who started the server, as far as it wants to be told.
#[derive(Debug)]
pub struct Supervisor {
    line: Option<Line>,
    watchdog: Option<Watchdog>,
    /// The last sentence that was told.
    status: String,
    is_ready: bool,
}

#[derive(Debug)]
struct Line {
    socket: UnixDatagram,
    address: SocketAddr,
    /// Whether the last message did not get through. It is logged once until one does.
    is_broken: bool,
}

/// A supervisor that ends servers which it does not hear of.
#[derive(Debug)]
struct Watchdog {
    /// Half of the time after which it does.
    interval: Duration,
    due: Instant,
    /// What was seen last. It is logged once.
    is_well: bool,
}

impl Supervisor {
    /// The one that listens at the address in `NOTIFY_SOCKET`: a path, or `@` and an abstract name. Whether it has a
    /// watchdog the environment says, too (`WATCHDOG_USEC`, `WATCHDOG_PID`).
    pub fn new(notify_socket: Option<OsString>) -> Supervisor {
        let line = notify_socket.filter(|it| !it.is_empty()).and_then(|name| {
            Line::open(&name)
                .inspect_err(
                    |error| tracing::warn!(%error, "cannot reach the supervisor at NOTIFY_SOCKET"),
                )
                .ok()
        });
        let watchdog = sd_notify::watchdog_enabled().filter(|it| line.is_some() && !it.is_zero());
        Supervisor {
            line,
            watchdog: watchdog.map(|timeout| Watchdog {
                interval: timeout / 2,
                due: Instant::now(),
                is_well: true,
            }),
            status: String::new(),
            is_ready: false,
        }
    }

    /// Whether it waits to be told that the server is ready.
    fn awaits_ready(&self) -> bool {
        self.line.is_some() && !self.is_ready
    }

    /// Whether it was told that the server is ready.
    pub(super) fn is_ready(&self) -> bool {
        self.is_ready
    }

    /// The server has started.
    pub(super) fn ready(&mut self) {
        self.is_ready = true;
        self.tell(&[NotifyState::Ready]);
    }

    /// The server begins to read its files again. [`Supervisor::ready`] ends that.
    pub(super) fn reloading(&mut self) {
        // Since systemd 253 the time must stand there, by which it knows which of its signals is answered.
        match NotifyState::monotonic_usec_now() {
            Ok(now) => self.tell(&[NotifyState::Reloading, now]),
            Err(error) => tracing::warn!(%error, "the supervisor is not told of reloading"),
        }
    }

    /// The server begins to stop, for whatever reason.
    pub(super) fn stopping(&mut self) {
        self.tell(&[NotifyState::Stopping]);
    }

    /// Stopping goes on for so long at the most; meant for supervisors that have less patience.
    pub(super) fn needs(&mut self, time: Duration) {
        // It ends at 71 minutes, and what is configured at an hour.
        let micros = u32::try_from(time.as_micros()).unwrap_or(u32::MAX);
        self.tell(&[NotifyState::ExtendTimeoutUsec(micros)]);
    }

    /// How the server is, in a sentence without line breaks; told when it is another one than before.
    pub(super) fn status(&mut self, sentence: String) {
        if sentence != self.status {
            self.tell(&[NotifyState::Status(&sentence)]);
            self.status = sentence;
        }
    }

    /// When the watchdog is to hear of the server next; `None` without one.
    fn watchdog_due(&self) -> Option<Instant> {
        self.watchdog.as_ref().map(|watchdog| watchdog.due)
    }

    /// Tells the watchdog, if it is time and all is well.
    fn watch(&mut self, is_well: impl FnOnce() -> bool) {
        let now = Instant::now();
        let Some(watchdog) = self.watchdog.as_mut().filter(|it| it.due <= now) else {
            return;
        };
        let was_well = std::mem::replace(&mut watchdog.is_well, is_well());
        if watchdog.is_well {
            watchdog.due = now + watchdog.interval;
            self.tell(&[NotifyState::Watchdog]);
            return;
        }
        watchdog.due = now + watchdog.interval.min(LOOK_AGAIN);
        if was_well {
            tracing::error!(
                critical = true,
                "a worker's loop is stuck: the watchdog is not told"
            );
        }
    }

    fn tell(&mut self, states: &[NotifyState<'_>]) {
        let Some(line) = &mut self.line else {
            return;
        };
        let lines: Vec<String> = states.iter().map(ToString::to_string).collect();
        line.send(&lines.join("\n"));
    }
}

impl Line {
    fn open(name: &OsString) -> io::Result<Line> {
        let address = match name.as_bytes() {
            [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
            _ => SocketAddr::from_pathname(name)?,
        };
        let socket = UnixDatagram::unbound()?;
        socket.set_write_timeout(Some(SEND_TIMEOUT))?;
        Ok(Line {
            socket,
            address,
            is_broken: false,
        })
    }

    fn send(&mut self, message: &str) {
        let sent = self.socket.send_to_addr(message.as_bytes(), &self.address);
        if let Err(error) = &sent
            && !self.is_broken
        {
            tracing::warn!(%error, told = message, "the supervisor could not be told");
        }
        self.is_broken = sent.is_err();
    }
}

impl Server {
    /// Tells the supervisor how the server is, and that it is ready once it is, which is when it listens and its
    /// store has answered, or has not for [`READY_TIMEOUT`]. Whether nothing is left to be told soon.
    pub(super) fn report(&mut self) -> bool {
        let storage = self.shared.valkey.as_ref().map(|valkey| valkey.health());
        let storage = storage.unwrap_or(Health::Well);
        let address = self.addresses.main;
        let sentence = if !self.shared.are_workers_well() {
            format!("not ready on {address}: a worker is stalled")
        } else if storage != Health::Well {
            format!("not ready on {address}: {}", storage.as_str())
        } else {
            format!("serving on {address}")
        };
        self.supervisor.status(sentence);
        let is_time = storage == Health::Well || self.started.elapsed() >= READY_TIMEOUT;
        if is_time && self.supervisor.awaits_ready() {
            self.supervisor.ready();
        }
        !self.supervisor.awaits_ready()
    }

    /// What happens next, until `end`. The supervisor's watchdog is told meanwhile that all is well, if it is.
    pub(super) fn next_event(&mut self, end: Instant) -> Result<Event, RecvTimeoutError> {
        loop {
            let shared = &self.shared;
            self.supervisor.watch(|| shared.are_workers_well());
            let due = self.supervisor.watchdog_due();
            let until = due.map_or(end, |due| due.min(end));
            let patience = until.saturating_duration_since(Instant::now());
            match self.events.recv_timeout(patience) {
                Err(RecvTimeoutError::Timeout) if Instant::now() < end => {}
                happened => return happened,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A socket as a supervisor has it, and what was told to it so far.
    struct Heard(UnixDatagram);

    impl Heard {
        fn all(&self) -> Vec<String> {
            self.0.set_nonblocking(true).unwrap();
            let mut buffer = [0; 4096];
            let mut all = Vec::new();
            while let Ok(len) = self.0.recv(&mut buffer) {
                all.push(String::from_utf8(buffer[..len].to_vec()).unwrap());
            }
            all
        }
    }

    fn supervisor(directory: &tempfile::TempDir) -> (Supervisor, Heard) {
        let path = directory.path().join("notify");
        let heard = Heard(UnixDatagram::bind(&path).unwrap());
        (Supervisor::new(Some(path.into_os_string())), heard)
    }

    #[test]
    fn nothing_is_told_without_a_socket() {
        for socket in [None, Some(OsString::new()), Some("@".repeat(200).into())] {
            let mut supervisor = Supervisor::new(socket);
            supervisor.ready();
            supervisor.status("well".to_owned());
            supervisor.watch(|| unreachable!("there is no watchdog"));
            assert!(supervisor.is_ready() && supervisor.watchdog_due().is_none());
        }
    }

    #[test]
    fn a_sentence_is_told_when_it_changes() {
        let directory = tempfile::tempdir().unwrap();
        let (mut supervisor, heard) = supervisor(&directory);
        for sentence in ["a", "a", "b", "a"] {
            supervisor.status(sentence.to_owned());
        }
        assert_eq!(heard.all(), ["STATUS=a", "STATUS=b", "STATUS=a"]);
    }

    #[test]
    fn the_watchdog_hears_of_a_server_that_is_well_and_at_its_time() {
        let directory = tempfile::tempdir().unwrap();
        let (mut supervisor, heard) = supervisor(&directory);
        let due = |from_now| {
            Some(Watchdog {
                interval: Duration::from_secs(9),
                due: Instant::now() + from_now,
                is_well: true,
            })
        };
        supervisor.watchdog = due(Duration::ZERO);
        supervisor.watch(|| true);
        assert_eq!(heard.all(), ["WATCHDOG=1"]);
        supervisor.watch(|| unreachable!("it is not due"));
        supervisor.watchdog = due(Duration::ZERO);
        supervisor.watch(|| false);
        assert!(heard.all().is_empty(), "it is not well");
        let soon = Some(Instant::now() + 2 * LOOK_AGAIN);
        assert!(
            supervisor.watchdog_due() < soon,
            "it may be well again before time is up"
        );
    }

    #[test]
    fn abstract_names_and_long_times_are_understood() {
        let name = format!("pulsar-proxy-test-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        let heard = Heard(UnixDatagram::bind_addr(&address).unwrap());
        let mut supervisor = Supervisor::new(Some(format!("@{name}").into()));
        supervisor.needs(Duration::from_secs(3_604));
        supervisor.reloading();
        supervisor.ready();
        let all = heard.all();
        assert_eq!(all[0], "EXTEND_TIMEOUT_USEC=3604000000");
        assert!(
            all[1].starts_with("RELOADING=1\nMONOTONIC_USEC="),
            "{all:?}"
        );
        assert_eq!(all[2], "READY=1");
    }

    #[test]
    fn a_supervisor_that_does_not_read_holds_nobody_up_for_long() {
        let directory = tempfile::tempdir().unwrap();
        let (mut supervisor, _heard) = supervisor(&directory);
        let line = supervisor.line.as_mut().unwrap();
        while !line.is_broken {
            line.send("WATCHDOG=1");
        }
        let began = Instant::now();
        line.send("STOPPING=1");
        assert!(line.is_broken && began.elapsed() < Duration::from_secs(30));
    }
}
