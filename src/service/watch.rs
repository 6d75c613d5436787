//! Files that others replace while the server runs.
//!
//! A look is a `stat` for each: it sees links that are moved, renames and network file systems all the same,
//! where what the kernel tells of by itself differs.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Files, and how they were when they were last looked at.
#[derive(Debug)]
pub struct Watch {
    files: Vec<(PathBuf, Option<Stamp>)>,
}

/// What changes when a file is written or another takes its place.
#[derive(PartialEq, Eq, Debug)]
struct Stamp {
    device: u64,
    inode: u64,
    len: u64,
    /// Seconds and nanoseconds of its last modification.
    modified: (i64, i64),
}

impl Watch {
    /// Begins to watch files as they are. To be called before they are read, so that a change after
    /// that is seen.
    pub fn new(paths: impl IntoIterator<Item = PathBuf>) -> Watch {
        let stamped = |path: PathBuf| {
            let stamp = stamp(&path);
            (path, stamp)
        };
        Watch {
            files: paths.into_iter().map(stamped).collect(),
        }
    }

    /// Whether a file is another one than at the last look.
    pub fn has_changed(&mut self) -> bool {
        let mut has_changed = false;
        for (path, known) in &mut self.files {
            let now = stamp(path);
            has_changed |= now != *known;
            *known = now;
        }
        has_changed
    }
}

/// `None` for one that is not there.
fn stamp(path: &Path) -> Option<Stamp> {
    let metadata = fs::metadata(path).ok()?;
    Some(Stamp {
        device: metadata.dev(),
        inode: metadata.ino(),
        len: metadata.len(),
        modified: (metadata.mtime(), metadata.mtime_nsec()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_change_is_seen_once() {
        let directory = tempfile::tempdir().unwrap();
        let (path, other) = (directory.path().join("a"), directory.path().join("b"));
        let mut watch = Watch::new([path.clone()]);
        assert!(!watch.has_changed());
        fs::write(&path, "one").unwrap();
        assert!(watch.has_changed() && !watch.has_changed());
        fs::write(&path, "three").unwrap();
        assert!(watch.has_changed() && !watch.has_changed());
        fs::write(&other, "three").unwrap();
        fs::rename(&other, &path).unwrap();
        assert!(watch.has_changed() && !watch.has_changed());
        fs::remove_file(&path).unwrap();
        assert!(watch.has_changed() && !watch.has_changed());
    }
}
