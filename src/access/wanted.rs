//! Keys that tokens name and nobody knows here.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Tells whoever fetches keys that one is wanted which is not known. Asking costs next to nothing, also
/// when everybody does.
#[derive(Default, Debug)]
pub struct WantedKeys {
    is_wanted: Mutex<bool>,
    changed: Condvar,
}

impl WantedKeys {
    /// A token names a key that is not known.
    pub fn want(&self) {
        let mut is_wanted = self.lock();
        if !std::mem::replace(&mut *is_wanted, true) {
            self.changed.notify_all();
        }
    }

    /// Waits until a key is wanted, or for so long. Whether one was; from then on none is.
    pub fn wait(&self, patience: Duration) -> bool {
        let waited = self
            .changed
            .wait_timeout_while(self.lock(), patience, |is_wanted| !*is_wanted);
        let (mut is_wanted, _) = waited.unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *is_wanted)
    }

    fn lock(&self) -> MutexGuard<'_, bool> {
        self.is_wanted
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[test]
    fn wishes_are_heard_once() {
        let wanted = Arc::new(WantedKeys::default());
        assert!(!wanted.wait(Duration::ZERO));
        wanted.want();
        wanted.want();
        assert!(wanted.wait(Duration::from_secs(60)) && !wanted.wait(Duration::ZERO));
        let other = Arc::clone(&wanted);
        let thread = std::thread::spawn(move || other.wait(Duration::from_secs(60)));
        wanted.want();
        assert!(thread.join().expect("it ends"));
    }
}
