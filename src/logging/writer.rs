//! The thread that writes log lines, behind a bounded queue. A terminal that is stopped or a pipe that
//! nobody reads holds up this thread and nobody else.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::time::{Duration, SystemTime};

use super::line::{Format, Line};
use crate::config::LogLevel;

/// Lines that wait for the thread; a burst of this size is written whole.
const LINES_MAX: usize = 1_024;
/// Time that the end of the program waits for what is left to be written.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(1);
/// Looks for a place in a full queue within that time.
const FLUSH_ATTEMPTS: u32 = 100;

enum Item {
    Line(String),
    /// Everything before it is written; the sender is told.
    Flush(SyncSender<()>),
}

/// The sending side, for the log.
pub(super) struct Lines {
    items: SyncSender<Item>,
    dropped: Arc<AtomicU64>,
}

/// Writes what waits when it is dropped, for at most two seconds if stderr is stuck.
#[derive(Debug)]
pub struct Flush {
    items: SyncSender<Item>,
}

/// Starts the thread, which ends with the last sender.
pub(super) fn start(
    output: impl Write + Send + 'static,
    format: Format,
) -> std::io::Result<(Lines, Flush)> {
    let (items, received) = sync_channel(LINES_MAX);
    let dropped = Arc::new(AtomicU64::new(0));
    let lines = Lines {
        items: items.clone(),
        dropped: Arc::clone(&dropped),
    };
    let thread = std::thread::Builder::new().name("log".to_owned());
    thread.spawn(move || run(&received, &dropped, output, format))?;
    Ok((lines, Flush { items }))
}

impl Lines {
    /// Hands a line to the thread, or counts it when too many wait.
    pub(super) fn send(&self, line: String) {
        if let Err(TrySendError::Full(_)) = self.items.try_send(Item::Line(line)) {
            // Only a number to be told later: nothing is ordered by it.
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Drop for Flush {
    fn drop(&mut self) {
        let (done, written) = sync_channel(1);
        let mut item = Item::Flush(done);
        for _ in 0..FLUSH_ATTEMPTS {
            match self.items.try_send(item) {
                Ok(()) => {
                    // When the time is over, stderr is stuck, and there is nobody to tell.
                    let _ = written.recv_timeout(FLUSH_TIMEOUT);
                    return;
                }
                Err(TrySendError::Full(unsent)) => item = unsent,
                Err(TrySendError::Disconnected(_)) => return,
            }
            std::thread::sleep(FLUSH_TIMEOUT / FLUSH_ATTEMPTS);
        }
    }
}

fn run(received: &Receiver<Item>, dropped: &AtomicU64, mut output: impl Write, format: Format) {
    // Ends when every sender is gone. A log that cannot be written has no place to say so, and who
    // asked for a flush may have given up.
    while let Ok(item) = received.recv() {
        match item {
            Item::Line(line) => {
                let _ = output.write_all(line.as_bytes());
            }
            Item::Flush(done) => {
                let _ = done.try_send(());
            }
        }
        let count = dropped.swap(0, Ordering::Relaxed);
        if count > 0 {
            let _ = output.write_all(told(format, count).as_bytes());
        }
    }
}

/// The line that stands for those that were dropped.
fn told(format: Format, count: u64) -> String {
    let mut line = Line::new(format, SystemTime::now(), LogLevel::Warning);
    line.set_message(&format!(
        "{count} log lines were dropped: they came faster than stderr took them"
    ));
    line.finish(module_path!())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::{Sender, channel};

    /// Takes nothing until it is told to, and passes on what it takes.
    struct Stuck {
        open: Receiver<()>,
        taken: Sender<String>,
    }

    impl Write for Stuck {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            // Fails once the test has let go, and goes on.
            let _ = self.open.recv();
            self.taken
                .send(String::from_utf8(bytes.to_vec()).unwrap())
                .unwrap();
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_stuck_output_holds_up_nobody_and_losses_are_told() {
        let (release, open) = channel();
        let (taken, took) = channel();
        let (lines, flush) = start(Stuck { open, taken }, Format::Text).unwrap();
        for number in 0..LINES_MAX + 10 {
            lines.send(format!("{number}\n"));
        }
        drop(release);
        assert_eq!(took.recv_timeout(Duration::from_secs(10)).unwrap(), "0\n");
        let second = took.recv_timeout(Duration::from_secs(10)).unwrap();
        // The thread may hold a line besides those that wait.
        assert!(
            second.contains("9 log lines") || second.contains("10 log lines"),
            "{second}"
        );
        drop(flush);
        assert_eq!(
            took.try_iter().count(),
            LINES_MAX - if second.contains("10 ") { 1 } else { 0 }
        );
    }

    #[test]
    fn an_output_that_fails_is_ignored() {
        struct Broken;
        impl Write for Broken {
            fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
                Err(std::io::ErrorKind::BrokenPipe.into())
            }
            fn flush(&mut self) -> std::io::Result<()> {
                Ok(())
            }
        }
        let (lines, flush) = start(Broken, Format::Json).unwrap();
        lines.send("x\n".to_owned());
        drop(flush);
    }
}
