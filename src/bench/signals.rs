//! SIGINT, SIGTERM and SIGHUP (a terminal that is closed) during a measurement.

use std::io;
use std::process;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use super::spawned;

/// What a shell says of a process that ended by SIGINT.
const EXIT_INTERRUPTED: i32 = 130;

/// Hears signals from now on, on a thread of its own: the first one sets `stop`, the second one ends the process
/// at once, and the server that it has started.
///
/// # Errors
/// When the system refuses.
pub(super) fn listen(stop: Arc<AtomicBool>) -> io::Result<()> {
    let mut signals = Signals::new([SIGHUP, SIGINT, SIGTERM])?;
    let hear = move || {
        for _ in signals.forever() {
            // Relaxed: a flag, it orders no other memory.
            if stop.swap(true, Ordering::Relaxed) {
                let _none_follows = spawned::end_all();
                process::exit(EXIT_INTERRUPTED);
            }
        }
    };
    thread::Builder::new()
        .name("signals".to_owned())
        .spawn(hear)?;
    Ok(())
}
