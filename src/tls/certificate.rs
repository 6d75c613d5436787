//! The certificate that new connections are shown, and how it changes while the server runs.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use rustls::ServerConfig;

use super::load::{TlsError, TlsFiles, load};

/// A certificate with its key, out of files that are replaced before it ends.
#[derive(Debug)]
pub struct Certificate {
    files: TlsFiles,
    current: Mutex<Current>,
}

#[derive(Debug)]
struct Current {
    config: Arc<ServerConfig>,
    /// How the files were when they were last looked at, whether they could be used or not.
    stamps: Vec<Option<Stamp>>,
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

impl Certificate {
    /// Reads the files.
    ///
    /// # Errors
    /// When they cannot be used.
    pub fn open(files: TlsFiles) -> Result<Certificate, TlsError> {
        // Taken before, so that a change while they are read is seen as one.
        let stamps = stamps(&files);
        let config = load(&files)?;
        Ok(Certificate {
            files,
            current: Mutex::new(Current { config, stamps }),
        })
    }

    /// What a connection begins with.
    pub fn config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.lock().config)
    }

    /// Reads the files again; sessions of before are not resumed, connections of before go on.
    ///
    /// # Errors
    /// When they cannot be used: the old certificate stays.
    pub fn reload(&self) -> Result<(), TlsError> {
        let stamps = stamps(&self.files);
        let loaded = load(&self.files);
        let mut current = self.lock();
        current.stamps = stamps;
        current.config = loaded?;
        Ok(())
    }

    /// Whether a file is another one than when it was last looked at.
    pub fn has_changed(&self) -> bool {
        stamps(&self.files) != self.lock().stamps
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Current> {
        // Nothing is half done when a panic lets go of it.
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn stamps(files: &TlsFiles) -> Vec<Option<Stamp>> {
    let paths = [&files.certificate, &files.key].into_iter();
    let paths = paths.chain(&files.client_authorities);
    paths.map(|path| stamp(path)).collect()
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
