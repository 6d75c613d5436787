//! Whom the server trusts while it runs: out of files, and out of what was fetched.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::key_set::{KeySet, NoKeySet, follow, unix_seconds};
use super::trust;
use crate::access::{Authority, Trust, VerificationKey, WantedKeys};
use crate::config::{AccessSettings, ConfigError};

/// What keeps an [`Authority`] up to date.
#[derive(Debug)]
pub struct Credentials {
    settings: AccessSettings,
    authority: Arc<Authority>,
    wanted: Arc<WantedKeys>,
    fetched: Mutex<Fetched>,
}

#[derive(Default, Debug)]
struct Fetched {
    /// The last good ones.
    keys: Vec<VerificationKey>,
    /// The last try failed, which the log knows.
    has_failed: bool,
}

impl Credentials {
    /// Reads what the settings name, and fetches keys once. `None` if no credentials are asked for. Keys that
    /// cannot be fetched are fetched later.
    ///
    /// # Errors
    /// When a file cannot be read, or a key breaks a rule.
    pub fn load(settings: &AccessSettings) -> Result<Option<Credentials>, ConfigError> {
        if !settings.asks_for_credentials() {
            return Ok(None);
        }
        let wanted = Arc::new(WantedKeys::default());
        let trust = trust::load(settings, &[])?;
        let credentials = Credentials {
            settings: settings.clone(),
            authority: Arc::new(Authority::new(with(trust, settings, &wanted))),
            wanted,
            fetched: Mutex::default(),
        };
        if let Some(url) = settings.jwks_url() {
            credentials.take_in(KeySet::new(url).fetch());
        }
        Ok(Some(credentials))
    }

    /// What the workers ask.
    pub fn authority(&self) -> &Arc<Authority> {
        &self.authority
    }

    /// Keeps fetching keys, if the settings say where from; calls `changed` after each change of keys.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn follow(
        self: &Arc<Credentials>,
        changed: impl Fn() + Send + 'static,
    ) -> std::io::Result<()> {
        let Some(url) = self.settings.jwks_url() else {
            return Ok(());
        };
        let (set, wanted) = (KeySet::new(url), Arc::clone(&self.wanted));
        follow(
            set,
            Arc::clone(self),
            wanted,
            self.settings.jwks_refresh,
            changed,
        )
    }

    /// Reads the files again.
    ///
    /// # Errors
    /// When one cannot be used: then nothing changes.
    pub fn reload(&self) -> Result<(), ConfigError> {
        self.renew(&self.lock())
    }

    /// Takes fetched keys, or goes on with those of before; whether they are others now.
    pub(super) fn take_in(&self, fetched: Result<Vec<VerificationKey>, NoKeySet>) -> bool {
        let mut known = self.lock();
        if fetched.is_ok() {
            self.authority.keys_fetched(unix_seconds());
        }
        match fetched {
            Ok(keys) if VerificationKey::are_same(&keys, &known.keys) => {
                known.has_failed = false;
                false
            }
            Ok(keys) => {
                let before = std::mem::replace(&mut known.keys, keys);
                known.has_failed = false;
                match self.renew(&known) {
                    Ok(()) => {
                        tracing::info!(keys = known.keys.len(), "the key set was fetched");
                        true
                    }
                    Err(error) => {
                        known.keys = before;
                        tracing::error!("the fetched key set is not used: {error}");
                        false
                    }
                }
            }
            Err(error) => {
                if !std::mem::replace(&mut known.has_failed, true) {
                    let keys = known.keys.len();
                    tracing::error!(
                        keys,
                        "the key set cannot be fetched, and stays as it was: {error}"
                    );
                }
                false
            }
        }
    }

    /// Whether keys were fetched yet.
    pub(super) fn has_fetched(&self) -> bool {
        !self.lock().keys.is_empty()
    }

    fn renew(&self, fetched: &Fetched) -> Result<(), ConfigError> {
        let trust = trust::load(&self.settings, &fetched.keys)?;
        self.authority
            .set(with(trust, &self.settings, &self.wanted));
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Fetched> {
        // What a panic could leave is whole.
        self.fetched.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A trust that says which keys it misses, if there is somebody to fetch them.
fn with(trust: Trust, settings: &AccessSettings, wanted: &Arc<WantedKeys>) -> Trust {
    match settings.jwks_url() {
        Some(_) => trust.wanting(Arc::clone(wanted)),
        None => trust,
    }
}
