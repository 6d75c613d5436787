//! What a process has used, read from `/proc` (proc(5)): CPU time, memory, descriptors.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use super::Outcome;

/// A running process.
#[derive(Clone, Copy, Debug)]
pub struct Process {
    pid: u32,
}

/// CPU time used since the process started.
#[derive(Clone, Copy, Debug)]
pub struct Usage {
    /// Run time of all live threads, with the scheduler's nanosecond clock where the kernel has that.
    total: Duration,
    /// Clock ticks in user mode and in the kernel: coarse, taken for their ratio, and where there is nothing else.
    user_ticks: u64,
    kernel_ticks: u64,
}

/// CPU time used between two looks.
#[derive(Clone, Copy, Debug)]
pub struct Spent {
    /// Altogether.
    pub total: Duration,
    /// Part of `total` in user mode, 0..=1.
    pub user_share: f64,
}

/// Memory of a process, in bytes.
#[derive(Clone, Copy, Debug)]
pub struct Memory {
    /// What is in memory, shared pages included.
    pub resident: u64,
    /// What it alone has, and has written to.
    pub private_dirty: u64,
}

impl Process {
    /// This process.
    pub fn own() -> Self {
        Self::new(std::process::id())
    }

    /// The process that listens at this address of this machine, if it can be seen and there is one alone.
    pub fn listening_at(address: SocketAddr) -> Option<Self> {
        let sockets = listening_sockets(address);
        let mut found = None;
        for entry in fs::read_dir("/proc").ok()? {
            let name = entry.ok()?.file_name();
            let Some(pid) = name.to_str().and_then(|name| name.parse().ok()) else {
                continue;
            };
            let process = Self::new(pid);
            if process.has_one_of(&sockets) && found.replace(process).is_some() {
                return None;
            }
        }
        found
    }

    /// Whether one of these is among its descriptors, as far as they may be seen.
    fn has_one_of(self, sockets: &[String]) -> bool {
        let Ok(descriptors) = fs::read_dir(format!("/proc/{}/fd", self.pid)) else {
            return false;
        };
        descriptors
            .filter_map(|entry| fs::read_link(entry.ok()?.path()).ok())
            .any(|link| {
                sockets
                    .iter()
                    .any(|socket| link.as_os_str() == socket.as_str())
            })
    }

    /// Its number.
    pub fn pid(self) -> u32 {
        self.pid
    }

    /// The name of its program, as far as the kernel remembers it.
    ///
    /// # Errors
    /// When there is no such process.
    pub fn name(self) -> Outcome<String> {
        let name = fs::read_to_string(format!("/proc/{}/comm", self.pid))?;
        Ok(name.trim_end().to_owned())
    }

    /// The process of this number; it need not be there.
    pub fn new(pid: u32) -> Self {
        Self { pid }
    }

    /// CPU time so far. Time of threads that have ended is not in it; servers keep theirs.
    ///
    /// # Errors
    /// When there is no such process, or it may not be looked at.
    pub fn usage(self) -> Outcome<Usage> {
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
        Ok(Usage::new(
            nanoseconds,
            field(fields, 11)?,
            field(fields, 12)?,
        ))
    }

    /// Memory, counted page by page: slow, and for the owner of the process only.
    ///
    /// # Errors
    /// When there is no such process, or it may not be looked at.
    pub fn memory(self) -> Outcome<Memory> {
        let rollup = fs::read_to_string(format!("/proc/{}/smaps_rollup", self.pid))?;
        Ok(Memory {
            resident: kilobytes(&rollup, "Rss:")? * 1024,
            private_dirty: kilobytes(&rollup, "Private_Dirty:")? * 1024,
        })
    }

    /// Resident bytes, from the kernel's cheap counter: fit for frequent looks.
    ///
    /// # Errors
    /// When there is no such process.
    pub fn resident(self) -> Outcome<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid))?;
        Ok(kilobytes(&status, "VmRSS:")? * 1024)
    }

    /// Open descriptors.
    ///
    /// # Errors
    /// When there is no such process, or it may not be looked at.
    pub fn descriptors(self) -> Outcome<usize> {
        Ok(fs::read_dir(format!("/proc/{}/fd", self.pid))?.count())
    }
}

impl Usage {
    fn new(nanoseconds: u64, user_ticks: u64, kernel_ticks: u64) -> Self {
        // A kernel without schedstat has no such file, or one of zeros.
        let total = match nanoseconds {
            0 => {
                let ticks = (user_ticks + kernel_ticks) as f64;
                Duration::from_secs_f64(ticks / rustix::param::clock_ticks_per_second() as f64)
            }
            _ => Duration::from_nanos(nanoseconds),
        };
        Self {
            total,
            user_ticks,
            kernel_ticks,
        }
    }

    /// What was used since an earlier look.
    pub fn since(&self, earlier: &Usage) -> Spent {
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
    pub fn micros_per(&self, operations: u64) -> f64 {
        self.total.as_secs_f64() * 1e6 / operations.max(1) as f64
    }
}

/// The sockets that listen at an address of this machine, as links of `/proc/PID/fd` name them; none if it is
/// another machine's.
fn listening_sockets(address: SocketAddr) -> Vec<String> {
    // Only addresses of this machine can be bound to.
    if UdpSocket::bind((address.ip(), 0)).is_err() {
        return Vec::new();
    }
    ["/proc/net/tcp", "/proc/net/tcp6"]
        .iter()
        .filter_map(|path| fs::read_to_string(path).ok())
        .flat_map(|table| listeners(&table, address))
        .collect()
}

/// The lines of `/proc/net/tcp` (proc_net(5)) that would take a connection to this address.
fn listeners(table: &str, address: SocketAddr) -> Vec<String> {
    const LISTEN: &str = "0A";
    let listener = |line: &str| {
        let fields: Vec<_> = line.split_ascii_whitespace().collect();
        let (ip, port) = fields.get(1)?.split_once(':')?;
        let port = u16::from_str_radix(port, 16).ok()?;
        let ip = ip_of(ip)?;
        let takes = ip.is_unspecified() || ip.to_canonical() == address.ip().to_canonical();
        let is_one = *fields.get(3)? == LISTEN && port == address.port() && takes;
        is_one.then(|| fields.get(9).map(|inode| format!("socket:[{inode}]")))?
    };
    table.lines().filter_map(listener).collect()
}

/// An address as words of the machine's byte order in hexadecimal.
fn ip_of(digits: &str) -> Option<IpAddr> {
    let mut bytes = [0; 16];
    let words = digits.len() / 8;
    for (index, word) in bytes.chunks_mut(4).take(words).enumerate() {
        let word_digits = digits.get(index * 8..index * 8 + 8)?;
        word.copy_from_slice(&u32::from_str_radix(word_digits, 16).ok()?.to_ne_bytes());
    }
    match words {
        1 => Some(Ipv4Addr::new(bytes[0], bytes[1], bytes[2], bytes[3]).into()),
        4 => Some(Ipv6Addr::from(bytes).into()),
        _ => None,
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn a_listener_is_found_by_its_address() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let found = Process::listening_at(address).expect("this process can see itself");
        assert_eq!(found.pid(), std::process::id());
        assert!(found.usage().is_ok() && found.resident().unwrap() > 0);
        drop(listener);
        let elsewhere = ([192, 0, 2, 1], address.port()).into();
        assert!(Process::listening_at(elsewhere).is_none());
    }

    #[test]
    fn without_schedstat_ticks_tell_the_time() {
        let second = rustix::param::clock_ticks_per_second();
        let none = Usage::new(0, 0, 0);
        let spent = Usage::new(0, second, 2 * second).since(&none);
        assert_eq!(spent.total, Duration::from_secs(3));
        let spent = Usage::new(5_000, second, 0).since(&none);
        assert_eq!(spent.total, Duration::from_micros(5));
    }

    #[cfg(target_endian = "little")]
    #[test]
    fn lines_of_the_table_are_understood() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n\
             0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000 0 0 111 1 0 100 0\n\
             1: 0100007F:1F90 0100007F:9999 01 00000000:00000000 00:00000000 00000000 0 0 112 1 0 100 0\n\
             2: 00000000:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000 0 0 113 1 0 100 0\n\
             3: 0100007F:1F91 00000000:0000 0A 00000000:00000000 00:00000000 00000000 0 0 114 1 0 100 0\n\
             4: 00000000000000000000000001000000:1F90 0:0 0A 0:0 00:0 0 0 0 115 1 0 100 0\n\
             5: 0200007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000 0 0 116 1 0 100 0\n";
        let found = |address: &str| listeners(table, address.parse().unwrap());
        assert_eq!(found("127.0.0.1:8080"), ["socket:[111]", "socket:[113]"]);
        assert_eq!(found("[::1]:8080"), ["socket:[113]", "socket:[115]"]);
        assert!(found("127.0.0.1:80").is_empty());
    }
}
