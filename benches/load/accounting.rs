//! What a process has used, read from `/proc` (proc(5)): CPU time, memory, descriptors.

use std::fs;
use std::time::Duration;

use crate::Outcome;

/// A running process.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Process {
    pid: u32,
}

/// CPU time used since the process started.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Usage {
    /// Run time of all live threads, with the scheduler's nanosecond clock.
    total: Duration,
    /// Clock ticks in user mode and in the kernel: coarse, taken for their ratio only.
    user_ticks: u64,
    kernel_ticks: u64,
}

/// CPU time used between two looks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spent {
    pub(crate) total: Duration,
    /// Part of `total` in user mode, 0..=1.
    pub(crate) user_share: f64,
}

/// Memory of a process, in bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Memory {
    pub(crate) resident: u64,
    pub(crate) private_dirty: u64,
}

impl Process {
    pub(crate) fn new(pid: u32) -> Self {
        Self { pid }
    }

    /// CPU time so far. Time of threads that have ended is not in it; servers keep theirs.
    pub(crate) fn usage(self) -> Outcome<Usage> {
        let mut nanoseconds = 0;
        for task in fs::read_dir(format!("/proc/{}/task", self.pid))? {
            // A thread may end between the listing and the look.
            if let Ok(text) = fs::read_to_string(task?.path().join("schedstat")) {
                nanoseconds += field(&text, 0)?;
            }
        }
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid))?;
        // The second field is the program's name in parentheses and may hold anything.
        let (_, fields) = stat.rsplit_once(") ").ok_or("malformed stat")?;
        Ok(Usage {
            total: Duration::from_nanos(nanoseconds),
            user_ticks: field(fields, 11)?,
            kernel_ticks: field(fields, 12)?,
        })
    }

    pub(crate) fn memory(self) -> Outcome<Memory> {
        let rollup = fs::read_to_string(format!("/proc/{}/smaps_rollup", self.pid))?;
        Ok(Memory {
            resident: kilobytes(&rollup, "Rss:")? * 1024,
            private_dirty: kilobytes(&rollup, "Private_Dirty:")? * 1024,
        })
    }

    /// Resident bytes, from the kernel's cheap counter: fit for frequent looks.
    pub(crate) fn resident(self) -> Outcome<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid))?;
        Ok(kilobytes(&status, "VmRSS:")? * 1024)
    }

    /// Open descriptors.
    pub(crate) fn descriptors(self) -> Outcome<usize> {
        Ok(fs::read_dir(format!("/proc/{}/fd", self.pid))?.count())
    }
}

impl Usage {
    /// What was used since an earlier look.
    pub(crate) fn since(&self, earlier: &Usage) -> Spent {
        let user = self.user_ticks.saturating_sub(earlier.user_ticks);
        let kernel = self.kernel_ticks.saturating_sub(earlier.kernel_ticks);
        Spent {
            total: self.total.saturating_sub(earlier.total),
            user_share: user as f64 / (user + kernel).max(1) as f64,
        }
    }
}

impl Spent {
    /// Microseconds for each of `operations`.
    pub(crate) fn micros_per(&self, operations: u64) -> f64 {
        self.total.as_secs_f64() * 1e6 / operations.max(1) as f64
    }
}

fn field(text: &str, index: usize) -> Outcome<u64> {
    let word = text
        .split_ascii_whitespace()
        .nth(index)
        .ok_or("missing field in /proc")?;
    Ok(word.parse()?)
}

fn kilobytes(text: &str, name: &str) -> Outcome<u64> {
    let line = text.lines().find(|line| line.starts_with(name));
    field(line.ok_or_else(|| format!("no {name} in /proc"))?, 1)
}
