//! The certificate that new connections are shown, and how it changes while the server runs.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustls::ServerConfig;

use super::load::{Loaded, TlsError, TlsFiles, load};

/// A certificate with its key, out of files that are replaced before it ends.
#[derive(Debug)]
pub struct Certificate {
    files: TlsFiles,
    loaded: Mutex<Loaded>,
}

impl Certificate {
    /// Reads the files.
    ///
    /// # Errors
    /// When they cannot be used.
    pub fn open(files: TlsFiles) -> Result<Certificate, TlsError> {
        let loaded = Mutex::new(load(&files)?);
        Ok(Certificate { files, loaded })
    }

    /// What a connection begins with.
    pub fn config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.lock().config)
    }

    /// When it ends, or the first of those that lead to its authority: in seconds since the Unix epoch.
    pub fn expires_at(&self) -> i64 {
        self.lock().expires_at
    }

    /// Reads the files again; sessions of before are not resumed, connections of before go on.
    ///
    /// # Errors
    /// When they cannot be used: the old certificate stays.
    pub fn reload(&self) -> Result<(), TlsError> {
        let loaded = load(&self.files)?;
        *self.lock() = loaded;
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Loaded> {
        // Nothing is half done when a panic lets go of it.
        self.loaded.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
