//! One wake-up for any amount of news, and none for a worker that is awake.

use super::sync::{AtomicBool, Ordering, fence};

/// Tells senders whether a worker sleeps. The worker owns the wake-up itself (an eventfd, say);
/// this decides whether it is needed.
///
/// ```text
///   owner:   sleeping = true     fence    look at the mailboxes    sleep if there is nothing
///   sender:  push                fence    sleeping.swap(false)     wake if it was set
/// ```
///
/// Each side writes before its fence what the other reads behind its own. `SeqCst` fences are
/// totally ordered, so at least one of the two sees the other's write: the owner finds the item,
/// or the sender finds it sleeping. Without either fence both may miss (the models prove it).
#[derive(Debug)]
pub struct Doorbell {
    sleeping: AtomicBool,
    look_at_all: AtomicBool,
}

impl Default for Doorbell {
    fn default() -> Doorbell {
        Doorbell {
            sleeping: AtomicBool::new(false),
            look_at_all: AtomicBool::new(false),
        }
    }
}

impl Doorbell {
    /// The owner is about to sleep. It must look at its mailboxes and at
    /// [`Doorbell::must_look_at_all`] once more after this, and sleep only if there is nothing.
    pub fn prepare_to_sleep(&self) {
        // Relaxed: the fence orders it before the look at the mailboxes.
        self.sleeping.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
    }

    /// The owner is awake: nobody needs to wake it.
    pub fn wake_up(&self) {
        // Relaxed: a sender that still sees the mark wakes once too often, nothing worse.
        self.sleeping.store(false, Ordering::Relaxed);
    }

    /// A sender has pushed news. Whether it must wake the owner now.
    #[must_use]
    pub fn ring(&self) -> bool {
        fence(Ordering::SeqCst);
        // Relaxed: the fence orders both behind the push; the wake-up itself carries no data. The
        // load spares the owner's line a write while it is awake.
        self.sleeping.load(Ordering::Relaxed) && self.sleeping.swap(false, Ordering::Relaxed)
    }

    /// A sender's news did not fit into the mailbox: the owner is to look at all its topics.
    pub fn ask_to_look_at_all(&self) {
        // Release: pairs with `take_look_at_all`, so that the owner sees what led to this.
        self.look_at_all.store(true, Ordering::Release);
    }

    /// Whether somebody asked, without answering.
    pub fn must_look_at_all(&self) -> bool {
        self.look_at_all.load(Ordering::Relaxed)
    }

    /// Whether the owner has to look at all its topics; takes the mark back.
    pub fn take_look_at_all(&self) -> bool {
        // The load spares the common case a write to a shared line.
        self.must_look_at_all() && self.look_at_all.swap(false, Ordering::AcqRel)
    }
}
