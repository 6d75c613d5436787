//! What the system knows of this process, from `/proc` (proc(5)); the only file of the metrics
//! that reads anything.

use std::fs;

/// Clock ticks per second in `/proc`: the same on every Linux (`USER_HZ`).
const TICKS_PER_SECOND: f64 = 100.0;

/// A reading of the process. What the system does not tell is absent.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Process {
    /// User and kernel time of all threads.
    pub(super) cpu_seconds: Option<f64>,
    pub(super) resident_bytes: Option<f64>,
    pub(super) virtual_bytes: Option<f64>,
    /// Open file descriptors.
    pub(super) open_fds: Option<f64>,
    /// How many there may be.
    pub(super) max_fds: Option<f64>,
    /// Seconds since the Unix epoch.
    pub(super) start_seconds: Option<f64>,
}

impl Process {
    /// Reads it now: half a dozen system calls.
    pub(super) fn read() -> Process {
        let text = |path| fs::read_to_string(path).unwrap_or_default();
        let mut process = Process {
            open_fds: open_fds(),
            max_fds: rlimit::Resource::NOFILE
                .get_soft()
                .ok()
                .map(|max| max as f64),
            ..Process::default()
        };
        process.parse_stat(&text("/proc/self/stat"), &text("/proc/stat"));
        process.parse_status(&text("/proc/self/status"));
        process
    }

    /// `stat` of the process and of the system, which knows when it booted.
    fn parse_stat(&mut self, stat: &str, system: &str) {
        // The second field is the program's name in parentheses, which may hold anything.
        let Some((_, fields)) = stat.rsplit_once(')') else {
            return;
        };
        // Numbers as in proc(5), of which the first two are gone.
        let field = |number: usize| {
            fields
                .split_whitespace()
                .nth(number - 3)?
                .parse::<f64>()
                .ok()
        };
        let sum = |(user, kernel): (f64, f64)| (user + kernel) / TICKS_PER_SECOND;
        self.cpu_seconds = field(14).zip(field(15)).map(sum);
        let boot = system
            .lines()
            .find_map(|line| line.strip_prefix("btime "))
            .and_then(|seconds| seconds.trim().parse::<f64>().ok());
        let start = |(boot, ticks): (f64, f64)| boot + ticks / TICKS_PER_SECOND;
        self.start_seconds = boot.zip(field(22)).map(start);
    }

    fn parse_status(&mut self, status: &str) {
        let bytes = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name))?;
            let kibibytes = line.trim().strip_suffix(" kB")?.parse::<f64>().ok()?;
            Some(kibibytes * 1024.0)
        };
        self.resident_bytes = bytes("VmRSS:");
        self.virtual_bytes = bytes("VmSize:");
    }
}

/// Newer kernels tell their number as the directory's size; older ones want it counted.
fn open_fds() -> Option<f64> {
    const DIRECTORY: &str = "/proc/self/fd";
    let told = fs::metadata(DIRECTORY).ok()?.len();
    if told > 0 {
        return Some(told as f64);
    }
    // The directory itself is open while it is read.
    let counted = fs::read_dir(DIRECTORY).ok()?.count().saturating_sub(1);
    Some(counted as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_fields_of_proc() {
        let mut process = Process::default();
        let stat = "42 (a) b (c)) S 1 2 3 4 5 6 7 8 9 10 150 50 13 14 15 16 17 18 1000 0";
        process.parse_stat(stat, "cpu 1 2\nbtime 1700000000\nprocesses 3\n");
        process.parse_status("Name:\tx\nVmSize:\t    8 kB\nVmRSS:\t    2 kB\n");
        assert_eq!(process.cpu_seconds, Some(2.0));
        assert_eq!(process.start_seconds, Some(1_700_000_010.0));
        assert_eq!(process.virtual_bytes, Some(8192.0));
        assert_eq!(process.resident_bytes, Some(2048.0));
    }

    #[test]
    fn what_is_not_told_is_absent() {
        let mut process = Process::default();
        process.parse_stat("", "");
        process.parse_stat("42 (x) S 1", "btime soon");
        process.parse_status("VmRSS: lots\n");
        assert!(process.cpu_seconds.is_none() && process.start_seconds.is_none());
        assert!(process.resident_bytes.is_none() && process.virtual_bytes.is_none());
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_descriptor_more_is_one_more() {
        // Other tests open files at the same time, so many more are held here.
        let before = Process::read().open_fds.unwrap();
        let held: Vec<fs::File> = (0..100)
            .map(|_| fs::File::open("/proc/self/stat").unwrap())
            .collect();
        let process = Process::read();
        assert!(process.open_fds.unwrap() >= before + 50.0);
        assert!(process.max_fds.unwrap() >= 100.0);
        assert!(process.resident_bytes.unwrap() > 100_000.0);
        drop(held);
    }
}
