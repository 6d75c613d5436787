//! The certificate that new connections are shown, and how it changes while the server runs.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustls::ServerConfig;

use super::load::{TlsError, TlsFiles, load};

/// A certificate with its key, out of files that are replaced before it ends.
#[derive(Debug)]
pub struct Certificate {
    files: TlsFiles,
    config: Mutex<Arc<ServerConfig>>,
}

impl Certificate {
    /// Reads the files.
    ///
    /// # Errors
    /// When they cannot be used.
    pub fn open(files: TlsFiles) -> Result<Certificate, TlsError> {
        let config = Mutex::new(load(&files)?);
        Ok(Certificate { files, config })
    }

    /// What a connection begins with.
    pub fn config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.lock())
    }

    /// Reads the files again; sessions of before are not resumed, connections of before go on.
    ///
    /// # Errors
    /// When they cannot be used: the old certificate stays.
    pub fn reload(&self) -> Result<(), TlsError> {
        let config = load(&self.files)?;
        *self.lock() = config;
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Arc<ServerConfig>> {
        // Nothing is half done when a panic lets go of it.
        self.config.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
