//! What the machine or container allows this process: cores and memory.

use std::fs;
use std::path::{Path, PathBuf};

use crate::config::Machine;

/// Taken where no file tells the memory: a small machine's.
const MEMORY_UNKNOWN: u64 = 1 << 30;

/// Looks at this machine. Where something cannot be found out, a small machine is assumed.
pub fn detect() -> Machine {
    // Counts affinity masks and container quotas in.
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    Machine {
        cores,
        memory: memory(Path::new("/")),
    }
}

/// The smallest of the machine's memory and the limits of the control groups that this process is in.
/// `root` is where `/proc` and `/sys` are found.
fn memory(root: &Path) -> u64 {
    let groups = fs::read_to_string(root.join("proc/self/cgroup")).unwrap_or_default();
    let limits = groups.lines().flat_map(|line| limit_files(root, line));
    let limits =
        limits.filter_map(|path| fs::read_to_string(path).ok()?.trim().parse::<u64>().ok());
    // A limit of 0 allows nothing and is no limit that a running process can have.
    let limits = limits.filter(|bytes| *bytes > 0);
    limits
        .chain(installed(root))
        .min()
        .unwrap_or(MEMORY_UNKNOWN)
}

/// `MemTotal` of `/proc/meminfo`, see proc_meminfo(5).
fn installed(root: &Path) -> Option<u64> {
    let text = fs::read_to_string(root.join("proc/meminfo")).ok()?;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim_end().parse().ok()?;
    kibibytes.checked_mul(1024)
}

/// The files that may limit the memory of the group in one line of `/proc/self/cgroup`, see cgroups(7):
/// its own and those of the groups above it, of version 2 (`0::/path`) or of the memory controller of
/// version 1. In a container the path may lie outside of what is mounted, so the mount itself is there too.
fn limit_files(root: &Path, line: &str) -> Vec<PathBuf> {
    let mut parts = line.splitn(3, ':');
    let (Some(number), Some(controllers), Some(group)) = (parts.next(), parts.next(), parts.next())
    else {
        return Vec::new();
    };
    let (mount, file) = if number == "0" && controllers.is_empty() {
        ("sys/fs/cgroup", "memory.max")
    } else if controllers.split(',').any(|name| name == "memory") {
        ("sys/fs/cgroup/memory", "memory.limit_in_bytes")
    } else {
        return Vec::new();
    };
    let group = Path::new(group.trim_start_matches('/'));
    group
        .ancestors()
        .map(|part| root.join(mount).join(part).join(file))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        root
    }

    const MEMINFO: (&str, &str) = ("proc/meminfo", "MemTotal:        8000 kB\nMemFree: 1 kB\n");

    #[test]
    fn without_limits_the_machine_counts() {
        let root = tree(&[
            MEMINFO,
            ("proc/self/cgroup", "0::/user.slice\n"),
            ("sys/fs/cgroup/user.slice/memory.max", "max\n"),
        ]);
        assert_eq!(memory(root.path()), 8000 * 1024);
    }

    #[test]
    fn the_smallest_limit_of_the_groups_above_counts() {
        let root = tree(&[
            MEMINFO,
            ("proc/self/cgroup", "0::/a/b\n"),
            ("sys/fs/cgroup/a/b/memory.max", "3000000\n"),
            ("sys/fs/cgroup/a/memory.max", "2000000\n"),
        ]);
        assert_eq!(memory(root.path()), 2_000_000);
    }

    #[test]
    fn the_mount_counts_when_the_path_is_not_there() {
        let root = tree(&[
            MEMINFO,
            ("proc/self/cgroup", "0::/../../kubepods/x\n"),
            ("sys/fs/cgroup/memory.max", "4000000\n"),
        ]);
        assert_eq!(memory(root.path()), 4_000_000);
    }

    #[test]
    fn version_one_has_a_controller_of_its_own() {
        let root = tree(&[
            MEMINFO,
            (
                "proc/self/cgroup",
                "5:cpu,memory:/docker/x\n4:pids:/docker/x\nnonsense\n",
            ),
            ("sys/fs/cgroup/memory/memory.limit_in_bytes", "5000000\n"),
        ]);
        assert_eq!(memory(root.path()), 5_000_000);
    }

    #[test]
    fn a_machine_that_tells_nothing_is_small() {
        assert_eq!(memory(Path::new("/nonexistent")), MEMORY_UNKNOWN);
        assert!(detect().cores >= 1);
    }
}
