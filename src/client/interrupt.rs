//! SIGINT and SIGTERM, for a command that ends cleanly.

use std::net::Shutdown;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use signal_hook::low_level::emulate_default_handler;

use super::failure::{Failure, FailureKind};
use super::stream::Socket;

/// Whether the command is to end, and what waits until then.
#[derive(Clone, Debug)]
pub(super) struct Interrupt {
    shared: Arc<(Mutex<State>, Condvar)>,
}

#[derive(Debug, Default)]
struct State {
    is_due: bool,
    /// Somebody may be reading from it.
    socket: Option<Socket>,
}

impl Interrupt {
    /// Hears signals from now on, on a thread of its own. The second one ends the process at once.
    ///
    /// # Errors
    /// When the system refuses.
    pub(super) fn listen() -> Result<Interrupt, Failure> {
        let interrupt = Interrupt {
            shared: Arc::default(),
        };
        let hearing = interrupt.clone();
        let failed = |error| Failure::new(FailureKind::Failed, error);
        let mut signals = Signals::new([SIGINT, SIGTERM]).map_err(failed)?;
        let hear = move || {
            for signal in signals.forever() {
                if hearing.is_due() {
                    // Fails for signals alone that nobody may handle.
                    let _ = emulate_default_handler(signal);
                }
                hearing.end();
            }
        };
        let spawned = thread::Builder::new()
            .name("signals".to_owned())
            .spawn(hear);
        spawned.map_err(failed)?;
        Ok(interrupt)
    }

    /// Whether the command is to end.
    pub(super) fn is_due(&self) -> bool {
        self.lock().is_due
    }

    /// Ends reading from the socket once a signal has come.
    pub(super) fn watch(&self, socket: Option<Socket>) {
        let mut state = self.lock();
        state.socket = socket;
        state.stop_reading();
    }

    /// Waits; whether the command is to end.
    pub(super) fn sleep(&self, time: Duration) -> bool {
        let changed = &self.shared.1;
        let waited = changed.wait_timeout_while(self.lock(), time, |state| !state.is_due);
        waited.unwrap_or_else(PoisonError::into_inner).0.is_due
    }

    fn end(&self) {
        let mut state = self.lock();
        state.is_due = true;
        state.stop_reading();
        self.shared.1.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing is half done when a panic lets go of it.
        self.shared.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn stop_reading(&self) {
        if let Some(socket) = self.socket.as_ref().filter(|_| self.is_due) {
            // A connection that has ended is read from no more.
            let _ = socket.shutdown(Shutdown::Read);
        }
    }
}
