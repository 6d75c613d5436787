//! What other threads have to say to a worker: answers and news, several at once under one lock.

use std::sync::Arc;

use super::doorbell::Doorbell;
use super::sync::{AtomicBool, Mutex, Ordering, PoisonError};

/// Mail for one worker, from any number of threads that are not workers. Unlike a mailbox it is
/// never full: what is in it answers requests whose number is bounded, or is news, of which at most
/// one item per topic is under way.
#[derive(Debug)]
pub struct Inbox<T> {
    mail: Mutex<Vec<T>>,
    /// Whether there is any. Changes under the lock alone.
    has_mail: AtomicBool,
    doorbell: Arc<Doorbell>,
}

impl<T> Inbox<T> {
    /// An empty one, for the owner of `doorbell`.
    pub fn new(doorbell: Arc<Doorbell>) -> Inbox<T> {
        Inbox {
            mail: Mutex::new(Vec::new()),
            has_mail: AtomicBool::new(false),
            doorbell,
        }
    }

    /// Puts items in. Whether the owner must be woken to see them.
    #[must_use]
    pub fn post(&self, items: impl IntoIterator<Item = T>) -> bool {
        let mut mail = self.mail.lock().unwrap_or_else(PoisonError::into_inner);
        mail.extend(items);
        let has_mail = !mail.is_empty();
        // Relaxed: the lock orders the items, and the bell's fence this mark.
        self.has_mail.store(has_mail, Ordering::Relaxed);
        drop(mail);
        has_mail && self.doorbell.ring()
    }

    /// Whether nothing is in it; for an owner who is about to sleep, behind
    /// [`Doorbell::prepare_to_sleep`].
    pub fn is_empty(&self) -> bool {
        !self.has_mail.load(Ordering::Relaxed)
    }

    /// Takes everything out, oldest first, into an empty list, whose room serves the next items.
    pub fn take(&self, items: &mut Vec<T>) {
        if self.is_empty() {
            return;
        }
        debug_assert!(items.is_empty(), "what was taken before is done with");
        let mut mail = self.mail.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::swap(&mut *mail, items);
        self.has_mail.store(false, Ordering::Relaxed);
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn hands_over_in_order_and_rings_a_sleeper() {
        let doorbell = Arc::new(Doorbell::default());
        let inbox = Inbox::new(Arc::clone(&doorbell));
        assert!(inbox.is_empty() && !inbox.post([1, 2]));
        doorbell.prepare_to_sleep();
        assert!(inbox.post([3]) && !inbox.is_empty());
        let mut items = Vec::new();
        inbox.take(&mut items);
        assert_eq!(items, [1, 2, 3]);
        items.clear();
        inbox.take(&mut items);
        assert!(items.is_empty() && inbox.is_empty());
    }

    #[test]
    fn nothing_posted_wakes_nobody() {
        let doorbell = Arc::new(Doorbell::default());
        let inbox = Inbox::<u8>::new(Arc::clone(&doorbell));
        doorbell.prepare_to_sleep();
        assert!(!inbox.post([]));
    }
}
