//! What figures depend on beside the server: written next to them.

use std::fs;
use std::time::SystemTime;

use serde::Serialize;

/// The machine that measures, and in most cases is measured.
#[derive(Clone, Serialize, Debug)]
pub struct Machine {
    /// Cores that this process may use.
    pub cores: usize,
    /// The model of the first one.
    pub cpu: String,
    /// The release of the kernel.
    pub kernel: String,
}

impl Machine {
    /// This machine.
    pub fn detect() -> Self {
        Self {
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            cpu: cpu_model().unwrap_or_else(|| "unknown CPU".to_owned()),
            kernel: kernel().unwrap_or_else(|| "of unknown release".to_owned()),
        }
    }
}

/// The time in UTC, RFC 3339 with seconds.
pub fn now() -> String {
    humantime::format_rfc3339_seconds(SystemTime::now()).to_string()
}

fn cpu_model() -> Option<String> {
    let text = fs::read_to_string("/proc/cpuinfo").ok()?;
    let line = text.lines().find(|line| line.starts_with("model name"))?;
    let (_, model) = line.split_once(": ")?;
    Some(model.to_owned())
}

fn kernel() -> Option<String> {
    let text = fs::read_to_string("/proc/sys/kernel/osrelease").ok()?;
    Some(text.trim_end().to_owned())
}
