//! Credentials that were checked before: one table a worker, so that a request costs a hash of its
//! credential and one look.

use std::sync::Arc;

use hashbrown::HashMap;

use super::api_key::Digest;
use super::caller::Caller;
use super::trust::{Authority, Denied, Trust};

/// Most callers that a worker remembers. When there are more, those whose time is up go, and if there
/// are none all of them: they are checked again when they come.
const CALLERS_MAX: usize = 10_000;

/// Where a worker checks credentials.
#[derive(Debug)]
pub struct Gate {
    authority: Arc<Authority>,
    trust: Arc<Trust>,
    changes: u64,
    /// How often revocations had changed when they were looked at.
    revocations: u64,
    callers: HashMap<Digest, Arc<Caller>>,
}

impl Gate {
    /// A gate of this authority.
    pub fn new(authority: Arc<Authority>) -> Gate {
        let (trust, changes) = authority.present();
        Gate {
            authority,
            trust,
            changes,
            revocations: 0,
            callers: HashMap::new(),
        }
    }

    /// Finds out whose credential this is; the time is in seconds of Unix time.
    ///
    /// # Errors
    /// When it is nobody's, or holds no more.
    pub fn admit(&mut self, credential: &str, now_unix: u64) -> Result<Arc<Caller>, Denied> {
        let digest = Digest::of(credential.as_bytes());
        if let Some(caller) = self.callers.get(&digest)
            && caller.is_valid_at(now_unix)
        {
            return Ok(Arc::clone(caller));
        }
        let caller = Arc::new(self.trust.admit(credential, now_unix)?);
        if self.authority.revocations().cover(&caller) {
            return Err(Denied::Revoked);
        }
        self.make_room(now_unix);
        self.callers.insert(digest, Arc::clone(&caller));
        Ok(caller)
    }

    /// Finds out whose credential this is, also of one that was called back.
    ///
    /// # Errors
    /// When it is nobody's, or holds no more.
    pub fn identify(&self, credential: &str, now_unix: u64) -> Result<Caller, Denied> {
        self.trust.admit(credential, now_unix)
    }

    /// Takes over what the authority has changed. Returns whether it has: then callers who are here
    /// already may be none any more.
    pub fn refresh(&mut self) -> bool {
        let revocations = self.authority.revocations().changes();
        let has_revoked = std::mem::replace(&mut self.revocations, revocations) != revocations;
        let has_changed = self.authority.changes() != self.changes;
        if has_changed {
            (self.trust, self.changes) = self.authority.present();
            self.callers.clear();
        } else if has_revoked {
            let revocations = self.authority.revocations();
            self.callers.retain(|_, caller| !revocations.cover(caller));
        }
        has_changed || has_revoked
    }

    /// Whether a caller that was admitted once would be now, its time aside.
    pub fn still_admits(&self, caller: &Caller) -> bool {
        self.trust.still_admits(caller) && !self.authority.revocations().cover(caller)
    }

    fn make_room(&mut self, now_unix: u64) {
        if self.callers.len() < CALLERS_MAX {
            return;
        }
        self.callers
            .retain(|_, caller| caller.is_valid_at(now_unix));
        if self.callers.len() >= CALLERS_MAX {
            self.callers.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::api_key::ApiKeys;
    use super::super::jwt::Verifier;
    use super::*;

    fn keys(names: &[&str]) -> Trust {
        let keys = names.iter().fold(ApiKeys::default(), |keys, name| {
            let hash = Digest::of(name.as_bytes());
            keys.with_line(&format!("{name}:read:{hash}")).unwrap()
        });
        Trust::new(keys, Verifier::default())
    }

    #[test]
    fn callers_are_remembered_until_trust_changes() {
        let authority = Arc::new(Authority::new(keys(&["a", "b"])));
        let mut gate = Gate::new(Arc::clone(&authority));
        let (first, other) = (gate.admit("a", 0).unwrap(), gate.admit("b", 0).unwrap());
        assert!(Arc::ptr_eq(&first, &gate.admit("a", 0).unwrap()));
        assert_eq!(&*first.identity, "key:a");
        assert_eq!(gate.admit("c", 0), Err(Denied::Unknown));
        assert!(!gate.refresh());

        authority.set(keys(&["b", "c"]));
        assert!(gate.refresh() && !gate.refresh());
        assert!(!gate.still_admits(&first) && gate.still_admits(&other));
        assert_eq!(gate.admit("a", 0), Err(Denied::Unknown));
        assert!(gate.admit("c", 0).is_ok());
    }

    #[test]
    fn the_same_key_with_other_rights_is_another() {
        let authority = Arc::new(Authority::new(keys(&["a"])));
        let mut gate = Gate::new(Arc::clone(&authority));
        let caller = gate.admit("a", 0).unwrap();
        let line = format!("a:write:{}", Digest::of(b"a"));
        authority.set(Trust::new(
            ApiKeys::default().with_line(&line).unwrap(),
            Verifier::default(),
        ));
        assert!(gate.refresh() && !gate.still_admits(&caller));
    }
}
