//! A clock that wakes the selector to the microsecond: its own timeout has milliseconds only, and sending a
//! millisecond late would be counted against the server.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::Duration;

use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};

/// See timerfd_create(2).
pub(super) struct Pacer {
    timer: OwnedFd,
}

impl Pacer {
    /// A timer whose events come with `token`.
    pub(super) fn new(registry: &Registry, token: Token) -> io::Result<Self> {
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let timer = timerfd_create(TimerfdClockId::Monotonic, flags)?;
        registry.register(&mut SourceFd(&timer.as_raw_fd()), token, Interest::READABLE)?;
        Ok(Self { timer })
    }

    /// Wakes once, after `wait`; an earlier wish is forgotten. Setting it also clears what it has counted, so
    /// that it never needs to be read.
    pub(super) fn wake_after(&self, wait: Duration) -> io::Result<()> {
        // Zero would stop it.
        let wait = wait.max(Duration::from_nanos(1));
        let time = |wait: Duration| Timespec {
            tv_sec: i64::try_from(wait.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: wait.subsec_nanos().into(),
        };
        let once = Itimerspec {
            it_interval: time(Duration::ZERO),
            it_value: time(wait),
        };
        timerfd_settime(&self.timer, TimerfdTimerFlags::empty(), &once)?;
        Ok(())
    }
}
