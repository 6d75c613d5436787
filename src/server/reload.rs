//! What is read again while the server runs: whom to trust, and the certificate.

use std::path::PathBuf;

use super::Server;
use crate::config::{Config, ConfigError, Given, TlsSettings};
use crate::service::{self, Watch};
use crate::tls::{Certificate, TlsFiles};

/// Files that may be replaced.
#[derive(Debug)]
pub(super) struct Watches {
    credentials: Watch,
    certificate: Watch,
}

impl Watches {
    /// To be called before the files are read.
    pub(super) fn new(config: &Config) -> Watches {
        let tls = config.tls.iter();
        let files = tls.flat_map(|tls| {
            [
                Some(&tls.certificate),
                Some(&tls.key),
                tls.client_authorities.as_ref(),
            ]
        });
        Watches {
            credentials: Watch::new(service::files(&config.access)),
            certificate: Watch::new(files.flatten().map(|given| PathBuf::from(&given.text))),
        }
    }
}

/// Reads the certificate for the first time.
///
/// # Errors
/// When it cannot be used.
pub(super) fn certificate(settings: &TlsSettings) -> Result<Certificate, ConfigError> {
    let path = |given: &Given| PathBuf::from(&given.text);
    let opened = Certificate::open(TlsFiles {
        certificate: path(&settings.certificate),
        key: path(&settings.key),
        client_authorities: settings.client_authorities.as_ref().map(path),
    });
    opened.map_err(|error| ConfigError::Credentials(format!("tls-cert: {error}")))
}

impl Server {
    /// Reads everything again.
    pub(super) fn reload(&mut self) {
        let tells = self.supervisor.is_ready();
        if tells {
            self.supervisor.reloading();
        }
        // What is read now need not be read again for having changed.
        self.watches.credentials.has_changed();
        self.watches.certificate.has_changed();
        self.reload_trust();
        self.reload_certificate();
        if tells {
            self.supervisor.ready();
        }
    }

    /// Looks whether files have been replaced.
    pub(super) fn follow_files(&mut self) {
        if self.watches.credentials.has_changed() {
            self.reload_trust();
        }
        if self.watches.certificate.has_changed() {
            self.reload_certificate();
        }
    }

    /// Reads again whom to trust. What cannot be read changes nothing.
    fn reload_trust(&self) {
        match self.credentials.as_ref().map(|it| it.reload()) {
            Some(Ok(())) => {
                self.wake_workers();
                tracing::info!("the credentials were read again");
            }
            Some(Err(error)) => tracing::error!("the credentials stay as they were: {error}"),
            None => {}
        }
    }

    fn reload_certificate(&self) {
        match self.shared.tls.as_ref().map(Certificate::reload) {
            Some(Ok(())) => tracing::info!("the certificate was read again"),
            Some(Err(error)) => tracing::error!("the certificate stays as it was: {error}"),
            None => {}
        }
    }
}
